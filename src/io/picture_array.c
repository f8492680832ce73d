#include "io/picture_array.h"

#include <string.h>

#include "base/memory.h"
#include "tim/pictures.h"

/* Room for another of `all` pictures of `size` bytes: at first for all, or as many as take 64 MiB, and beyond for what is there,
 * whatever the set claims to hold. */
static TimStatus make_room(TimPictureArray *a, size_t size, size_t all, TimError *err) {
    static const char *const pixels = "a set of pictures", *const labels = "the labels of a set of pictures";
    if (a->capacity == 0) {
        const size_t few = ((size_t)64 << 20) / size + 1;
        a->capacity = all < few ? all : few;
        TIM_TRY(tim_new(&a->pixels, a->capacity, size, pixels, err));
        return tim_new(&a->labels, a->capacity, sizeof *a->labels, labels, err);
    }
    size_t capacity = a->capacity; /* both grow alike */
    TIM_TRY(tim_grow(&a->pixels, &capacity, (size_t)a->count, size, pixels, err));
    return tim_grow(&a->labels, &a->capacity, (size_t)a->count, sizeof *a->labels, labels, err);
}

/* Gray is three equal channels, of `count` pixels. */
static void widen(uint8_t *out, const uint8_t *gray, size_t count) {
    for (size_t i = 0; i < count; i++) out[3 * i] = out[3 * i + 1] = out[3 * i + 2] = gray[i];
}

/* All are in colour from now on, as the next one is. */
static TimStatus make_colour(TimPictureArray *a, TimError *err) {
    const size_t size = (size_t)a->height * (size_t)a->width;
    uint8_t *pixels;
    TIM_TRY(tim_new(&pixels, a->capacity, 3 * size, "a set of pictures", err));
    widen(pixels, a->pixels, (size_t)a->count * size);
    tim_free(a->pixels);
    a->pixels = pixels, a->channels = 3;
    return TIM_OK;
}

/* Appends a picture of `all`; the first one says how large the others must be, and any in colour makes all so. */
static TimStatus append(TimPictureArray *a, const TimImage *image, int64_t label, int64_t all, const char *source, TimError *err) {
    const size_t pixels = (size_t)image->height * (size_t)image->width;
    if (a->count == 0) a->height = image->height, a->width = image->width, a->channels = image->channels;
    if (image->height != a->height || image->width != a->width)
        return tim_fail(err, TIM_E_FORMAT, "%s: picture %lld is %d x %d, the first %d x %d: they must be alike; resize them first",
                        source, (long long)a->count, image->width, image->height, a->width, a->height);
    if (image->channels > a->channels) TIM_TRY(make_colour(a, err));
    const size_t size = pixels * (size_t)a->channels;
    TIM_TRY(make_room(a, size, (size_t)all, err));
    uint8_t *place = a->pixels + (size_t)a->count * size;
    if (image->channels == a->channels)
        memcpy(place, image->pixels, size);
    else
        widen(place, image->pixels, pixels);
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
