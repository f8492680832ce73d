/* What the picture formats share: decoders of a file's bytes, the check of what is written, and how a file appears whole or not at
 * all. Invariant of every decoder: the bytes may be hostile, and the image is left empty on failure. */
#ifndef TIM_IO_CODEC_H
#define TIM_IO_CODEC_H

#include "io/file.h"
#include "tim/image.h"

/* TIM_E_ARGUMENT, with `what` in front, unless the image is as tim_image_new makes it. */
TimStatus tim_image_check(const TimImage *image, const char *what, TimError *err);

/* Makes an image from a whole file, which stays the caller's; `path` names it in errors. `image` is written over. */
typedef TimStatus (*TimImageDecoder)(TimImage *image, const TimFile *file, const char *path, TimError *err);

TimStatus tim_png_decode(TimImage *image, const TimFile *file, const char *path, TimError *err);
TimStatus tim_jpeg_decode(TimImage *image, const TimFile *file, const char *path, TimError *err);
TimStatus tim_webp_decode(TimImage *image, const TimFile *file, const char *path, TimError *err);

/* The one of these that the first bytes call for; TIM_E_FORMAT when they are none's. */
TimStatus tim_image_decode(TimImage *image, const TimFile *file, const char *path, TimError *err);

/* Opens `path`, decodes, closes. */
TimStatus tim_image_read_with(TimImageDecoder decode, TimImage *image, const char *path, TimError *err);

/* Writes an image to the writer; `settings` are those of the format. */
typedef TimStatus (*TimImageEncoder)(const TimImage *image, const char *path, const void *settings, TimFileWriter *writer,
                                     TimError *err);

/* Checks the image and has it encoded to "<path>.tmp", which becomes `path` or, after a failure, nothing. */
TimStatus tim_image_write_with(TimImageEncoder encode, const void *settings, const TimImage *image, const char *path,
                               TimError *err);

#endif
