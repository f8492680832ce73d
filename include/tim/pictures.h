/* Sets of pictures: many of one size in memory, or one after the other from a folder, an npz or IDX files. */
#ifndef TIM_PICTURES_H
#define TIM_PICTURES_H

#include <stdint.h>

#include "tim/image.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Pictures of one size. The owner calls tim_pictures_done; {0} is a valid empty set. */
typedef struct TimPictures {
    uint8_t *pixels; /* (count, height, width, channels), row-major; owned */
    int64_t count;
    int height, width, channels; /* channels: 1 gray, 3 red, green, blue */
} TimPictures;

/* Frees the pixels and leaves the set empty. NULL and an empty set are fine. */
TIM_API void tim_pictures_done(TimPictures *pictures);

/* A set read from the disk in its order, one picture at a time. Opaque; one thread at a time. */
typedef struct TimPictureSet TimPictureSet;

/* Opens the set that `source` names, which is borrowed for this call. Close with tim_picture_set_close.
 * - "FOLDER:train", "FOLDER:test": IDX files named as MNIST's, plain or compressed by gzip, and loaded whole; labelled.
 *   "fashion-mnist" for FOLDER is the one of Debian's package dataset-fashion-mnist.
 * - A folder: the files in it called *.png, *.jpg, *.jpeg or *.webp in any case of letters, sorted by the bytes of their names and
 *   without labels. Without such files, its sub-folders are the classes, and their pictures come class by class: where all have
 *   whole numbers for names these are the labels; else, sorted likewise, they are 0 ... K - 1, also an empty one. Other files and what
 *   begins with a dot are ignored; pictures may differ in size and channels.
 * - Any other file: an npz, stored or deflated, of arr_0, uint8 (n, height, width, channels), and perhaps arr_1, the labels, whole
 *   numbers (n). Other members are ignored. Pictures are unpacked as they are asked for, and the checksum is compared at the last.
 * Errors: TIM_E_ARGUMENT for a source without pictures; TIM_E_IO, naming the path; TIM_E_FORMAT and TIM_E_UNSUPPORTED, naming file
 * and member, for content that is not as above; TIM_E_MEMORY. *set is NULL then. Files may be hostile. */
TIM_API TimStatus tim_picture_set_open(TimPictureSet **set, const char *source, TimError *err);

/* Number of pictures, at least 1. */
TIM_API int64_t tim_picture_set_count(const TimPictureSet *set);

/* Makes an image from the next picture. `image` is written over, not freed, and left empty on failure; *label is the picture's
 * class or -1 where the set knows none. Errors: TIM_E_ARGUMENT after the last picture; otherwise as tim_image_read, and
 * TIM_E_FORMAT for a damaged npz. After a failure a folder's set stays at that picture, and an npz has to be rewound. */
TIM_API TimStatus tim_picture_set_next(TimPictureSet *set, TimImage *image, int64_t *label, TimError *err);

/* The first picture comes next. */
TIM_API void tim_picture_set_rewind(TimPictureSet *set);

/* Closes the set; NULL is fine. */
TIM_API void tim_picture_set_close(TimPictureSet *set);

#ifdef __cplusplus
}
#endif
#endif
