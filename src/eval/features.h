/* What the statistics of this room work on: a matrix of features, one picture a row. It owns nothing. */
#ifndef TIM_EVAL_FEATURES_H
#define TIM_EVAL_FEATURES_H

#include <stddef.h>

#include "base/error.h"

enum { TIM_FEATURES_MAX_WIDTH = 1 << 20 }; /* the error bound of neighbours.c and the ints of BLAS hold well beyond */

typedef struct TimFeatures {
    const float *values; /* (count, width) */
    size_t count, width;
} TimFeatures;

/* TIM_E_ARGUMENT unless there are at least `least` rows of 1 to TIM_FEATURES_MAX_WIDTH finite values. `name` tells the set in the
 * text ("generated features"); rows and columns count from 0. */
TimStatus tim_features_check(TimFeatures features, size_t least, const char *name, TimError *err);

/* TIM_E_ARGUMENT unless both have rows of one width. */
TimStatus tim_features_check_widths(size_t a, size_t b, TimError *err);

#endif
