/* A whole set of equally large pictures in memory, with labels where the set has them. */
#ifndef TIM_IO_PICTURE_ARRAY_H
#define TIM_IO_PICTURE_ARRAY_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

typedef struct TimPictureArray {
    uint8_t *pixels; /* (count, height, width, channels) */
    int64_t *labels; /* (count), -1 where unknown */
    int64_t count;
    int height, width, channels;
    int classes;     /* largest label + 1; 0 when any picture has none */
    size_t capacity; /* pictures that there is room for */
} TimPictureArray;

/* Reads the first `limit` pictures (0: all) of `source`, named as for tim_picture_set_open; where some are in colour, gray ones get
 * three equal channels. Free with tim_picture_array_done.
 * Errors: as the reader's; TIM_E_FORMAT when the pictures differ in size. */
TimStatus tim_picture_array_read(TimPictureArray *array, const char *source, int64_t limit, TimError *err);

void tim_picture_array_done(TimPictureArray *array);

static inline const uint8_t *tim_picture_array_at(const TimPictureArray *a, int64_t i) {
    return a->pixels + (size_t)i * (size_t)a->height * (size_t)a->width * (size_t)a->channels;
}

#endif
