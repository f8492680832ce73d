/* cmocka's own comparison of floats lets a NaN pass; this one does not. */
#ifndef TIM_TESTS_NEAR_H
#define TIM_TESTS_NEAR_H

#include <math.h>

static inline void assert_near(double actual, double expected, double tolerance) {
    if (!(fabs(actual - expected) <= tolerance)) fail_msg("%g is not %g", actual, expected);
}

#endif
