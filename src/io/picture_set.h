/* The sources of picture sets: one file each, one struct of functions, told apart in picture_set.c. */
#ifndef TIM_IO_PICTURE_SET_H
#define TIM_IO_PICTURE_SET_H

#include "base/error.h"
#include "tim/pictures.h"

typedef struct TimPictureSource {
    /* Makes the source's own state and counts its pictures; after a failure there is nothing to close. */
    TimStatus (*open)(void **state, int64_t *count, const char *source, TimError *err);
    /* Picture `index`: the one after the last that was read, or 0. */
    TimStatus (*read)(void *state, int64_t index, TimImage *image, int64_t *label, TimError *err);
    void (*close)(void *state);
} TimPictureSource;

extern const TimPictureSource tim_picture_folder, tim_picture_idx, tim_picture_npz;

/* The length of FOLDER in "FOLDER:train" and "FOLDER:test"; 0 for any other source. */
size_t tim_picture_idx_folder(const char *source);

#endif
