#include "io/picture_array.h"

#include <string.h>

#include "base/memory.h"
#include "tim/pictures.h"

static TimStatus take_shape(TimPictureArray *a, const TimImage *image, int64_t count, const char *source, TimError *err) {
    size_t pixels;
    a->height = image->height, a->width = image->width, a->channels = image->channels;
    if (!tim_mul_size((size_t)image->height * (size_t)image->width, (size_t)image->channels, &pixels) ||
        !tim_mul_size(pixels, (size_t)count, &pixels))
        return tim_fail(err, TIM_E_MEMORY, "%s: %lld pictures of %d x %d do not fit into memory", source, (long long)count,
                        image->width, image->height);
    TIM_TRY(tim_new(&a->pixels, pixels, 1, "a set of pictures", err));
    return tim_new(&a->labels, (size_t)count, sizeof *a->labels, "the labels of a set of pictures", err);
}

/* Appends a picture; the first one says what the others must be like. */
static TimStatus append(TimPictureArray *a, const TimImage *image, int64_t label, int64_t count, const char *source,
                        TimError *err) {
    if (a->count == 0) TIM_TRY(take_shape(a, image, count, source, err));
    if (image->height != a->height || image->width != a->width || image->channels != a->channels)
        return tim_fail(
            err, TIM_E_FORMAT,
            "%s: picture %lld is %d x %d with %d channels, the first %d x %d with %d: they must be alike; resize them first",
            source, (long long)a->count, image->width, image->height, image->channels, a->width, a->height, a->channels);
    const size_t size = (size_t)a->height * (size_t)a->width * (size_t)a->channels;
    memcpy(a->pixels + (size_t)a->count * size, image->pixels, size);
    a->labels[a->count++] = label;
    return TIM_OK;
}

static TimStatus read_all(TimPictureArray *a, TimPictureSet *set, int64_t count, const char *source, TimError *err) {
    while (a->count < count) {
        TimImage image;
        int64_t label;
        TIM_TRY(tim_picture_set_next(set, &image, &label, err));
        const TimStatus status = append(a, &image, label, count, source, err);
        tim_image_done(&image);
        TIM_TRY(status);
    }
    return TIM_OK;
}

/* One more than the largest label; 0 when any is missing, or is so large that it can be no class. */
static int count_classes(const TimPictureArray *a) {
    int64_t largest = 0;
    for (int64_t i = 0; i < a->count; i++) {
        if (a->labels[i] < 0 || a->labels[i] > 1000000) return 0;
        if (a->labels[i] > largest) largest = a->labels[i];
    }
    return (int)largest + 1;
}

TimStatus tim_picture_array_read(TimPictureArray *array, const char *source, int64_t limit, TimError *err) {
    TimPictureSet *set;
    *array = (TimPictureArray){0};
    TIM_TRY(tim_picture_set_open(&set, source, err));
    const int64_t all = tim_picture_set_count(set);
    const TimStatus status = read_all(array, set, limit > 0 && limit < all ? limit : all, source, err);
    tim_picture_set_close(set);
    if (status != TIM_OK) {
        tim_picture_array_done(array);
        return status;
    }
    array->classes = count_classes(array);
    return TIM_OK;
}

void tim_picture_array_done(TimPictureArray *array) {
    tim_free(array->pixels);
    tim_free(array->labels);
    *array = (TimPictureArray){0};
}
