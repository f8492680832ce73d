/* Settings of a picture as words, on the command line and in its PNG. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sample.h"

const char *const sample_mode_words[] = {"transition", "diffusion", NULL};
const char *const sample_precision_words[] = {"fp32", "bf16", NULL};
const char *const sample_rounding_words[] = {"t2i", "c2i", NULL};

const char *sample_find_line(const char *text, const char *start) {
    const size_t length = strlen(start);
    const char *found = NULL;
    for (const char *at = text; at;) {
        if (strncmp(at, start, length) == 0) found = at;
        at = strchr(at, '\n');
        if (at) at++;
    }
    return found;
}

bool sample_parse_size(const char *text, TimSampleOptions *o) {
    int end = 0;
    const bool fits = sscanf(text, "%5d%*1[xX]%5d%n", &o->width, &o->height, &end) == 2 && text[end] == '\0';
    return fits && o->width >= 1 && o->height >= 1 && o->width <= TIM_IMAGE_MAX_SIDE && o->height <= TIM_IMAGE_MAX_SIDE;
}

bool sample_parse_bytes(const char *text, size_t *out) {
    static const char units[] = "KMG";
    char *end;
    double value = strtod(text, &end);
    const char *unit = *end ? strchr(units, toupper((unsigned char)*end)) : NULL;
    for (int i = 0; unit && i <= unit - units; i++) value *= 1024;
    if (unit) end++;
    if (unit && (*end == 'B' || *end == 'b')) end++;
    if (end == text || *end || !(value >= 1 && value < 1e18)) return false;
    *out = (size_t)value;
    return true;
}
