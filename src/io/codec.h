/* What the picture formats share: the check of what is written, and how a file appears whole or not at all. */
#ifndef TIM_IO_CODEC_H
#define TIM_IO_CODEC_H

#include "io/file.h"
#include "tim/image.h"

/* TIM_E_ARGUMENT, with `what` in front, unless the image is as tim_image_new makes it. */
TimStatus tim_image_check(const TimImage *image, const char *what, TimError *err);

#endif
