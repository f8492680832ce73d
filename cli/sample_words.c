/* Settings of a picture as words, on the command line and in its PNG. */
#include <stdio.h>

#include "sample.h"

const char *const sample_mode_words[] = {"transition", "diffusion", NULL};
const char *const sample_precision_words[] = {"fp32", "bf16", NULL};

bool sample_parse_size(const char *text, TimSampleOptions *o) {
    int end = 0;
    const bool fits = sscanf(text, "%5dx%5d%n", &o->width, &o->height, &end) == 2 && text[end] == '\0';
    return fits && o->width >= 1 && o->height >= 1 && o->width <= TIM_IMAGE_MAX_SIDE && o->height <= TIM_IMAGE_MAX_SIDE;
}
