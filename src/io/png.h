/* PNG files in memory, for what embeds them; tim/image.h writes them to disk. */
#ifndef TIM_IO_PNG_H
#define TIM_IO_PNG_H

#include "io/buffer.h"
#include "tim/image.h"

/* Appends the image as a whole PNG file, the bytes that tim_image_write_png would put into a file without texts.
 * Errors: TIM_E_ARGUMENT for an image out of range; TIM_E_MEMORY. After a failure `out` ends in a part of a file. */
TimStatus tim_image_encode_png(TimBuffer *out, const TimImage *image, TimError *err);

#endif
