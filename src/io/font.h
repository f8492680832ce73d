/* Text in pictures: a small proportional bitmap font for ASCII 32 ... 126.
 * Invariant: drawing stays inside the image and inside the width it was given, whatever the text. */
#ifndef TIM_IO_FONT_H
#define TIM_IO_FONT_H

#include <stdbool.h>
#include <stdint.h>

#include "tim/image.h"

enum { TIM_FONT_HEIGHT = 12 }; /* pixels: capitals are 9 high, then 3 for descenders */

typedef struct TimTextStyle {
    int scale;   /* 1 or more: each of the font's pixels becomes scale x scale */
    bool bold;   /* strokes twice as wide */
    uint8_t ink; /* gray level, in every channel */
} TimTextStyle;

/* How far `text` reaches to the right, in pixels, but at most `limit`. UTF-8; a character outside the font counts as '?'. */
int tim_text_width(const char *text, TimTextStyle style, int limit);

/* Draws `text` with its upper left corner at (x, y); one wider than `limit` pixels is cut and ends in "..". */
void tim_text_draw(TimImage *image, int x, int y, const char *text, int limit, TimTextStyle style);

#endif
