/* Where numbers stop being numbers. */
#ifndef TIM_BASE_FINITE_H
#define TIM_BASE_FINITE_H

#include <math.h>
#include <stddef.h>

/* Which is the first that is not finite; `count` where all are. */
static inline size_t tim_first_not_finite(const float *values, size_t count) {
    size_t i = 0;
    while (i < count && isfinite(values[i])) i++;
    return i;
}

/* What such a number is called, whatever its sign. */
static inline const char *tim_not_finite_text(double value) {
    return isnan(value) ? "NaN" : "infinity";
}

#endif
