/* Pictures and labels of IDX files as a set. They are loaded whole: the largest known, MNIST's, takes 47 MB. */
#include <string.h>

#include "base/memory.h"
#include "io/idx.h"
#include "io/picture_set.h"

static bool ends_with(const char *text, size_t length, const char *end) {
    const size_t tail = strlen(end);
    return length > tail && strcmp(text + length - tail, end) == 0;
}

size_t tim_picture_idx_folder(const char *source) {
    static const char train[] = ":train", test[] = ":test";
    const size_t length = strlen(source);
    if (ends_with(source, length, train)) return length - strlen(train);
    return ends_with(source, length, test) ? length - strlen(test) : 0;
}

/* The test pictures of these sets are called t10k. */
static TimStatus load(TimIdxData *data, const char *source, TimError *err) {
    char *folder;
    const size_t length = tim_picture_idx_folder(source);
    const char *split = strcmp(source + length, ":train") == 0 ? "train" : "t10k";
    TIM_TRY(tim_copy_text(&folder, source, err));
    folder[length] = '\0';
    const TimStatus status = tim_idx_read(data, strcmp(folder, "fashion-mnist") == 0 ? TIM_IDX_FASHION_MNIST : folder, split, err);
    tim_free(folder);
    return status;
}

static TimStatus open_idx(void **state, int64_t *count, const char *source, TimError *err) {
    TimIdxData *data;
    TIM_TRY(tim_new(&data, 1, sizeof *data, "a set of pictures", err));
    const TimStatus status = load(data, source, err);
    *state = data;
    *count = (int64_t)data->count;
    if (status != TIM_OK) tim_free(data);
    return status;
}

static TimStatus read_idx(void *state, int64_t index, TimImage *image, int64_t *label, TimError *err) {
    const TimIdxData *data = state;
    TIM_TRY(tim_image_new(image, data->height, data->width, 1, err));
    const size_t pixels = (size_t)data->height * (size_t)data->width;
    memcpy(image->pixels, data->images + (size_t)index * pixels, pixels);
    *label = data->labels[index];
    return TIM_OK;
}

static void close_idx(void *state) {
    tim_idx_done(state);
    tim_free(state);
}

const TimPictureSource tim_picture_idx = {open_idx, read_idx, close_idx};
