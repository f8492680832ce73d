/* Rows of layer norm: statistics, and the maps that its tangent and its cotangent go through. Included by the op files only.
 * All are inlined, so that a caller with a constant length gets straight code without remainder loops. */
#ifndef TIM_OP_NORM_H
#define TIM_OP_NORM_H

#include "op/vec.h"

typedef struct Stats {
    float mean, rstd;
} Stats;

static inline __attribute__((always_inline)) Stats row_stats(const float *x, int64_t n, float eps) {
    const float mean = row_sum(x, n) / (float)n;
    return (Stats){mean, 1.0F / sqrtf(row_squared_deviation(x, mean, n) / (float)n + eps)};
}

/* hat = (x - mean) rstd */
static inline __attribute__((always_inline)) void normalize(float *restrict hat, const float *restrict x, Stats s, int64_t n) {
#pragma omp simd
    for (int64_t i = 0; i < n; i++) hat[i] = (x[i] - s.mean) * s.rstd;
}

/* out = rstd (v - mean(v) - hat mean(v hat)): the derivative of the norm is symmetric, so tangents and cotangents both go here. */
static inline __attribute__((always_inline)) void norm_derivative(float *out, const float *v, const float *restrict hat, float rstd,
                                                                  int64_t n) {
    const float mean = row_sum(v, n) / (float)n, slope = row_dot(v, hat, n) / (float)n;
#pragma omp simd
    for (int64_t i = 0; i < n; i++) out[i] = rstd * (v[i] - mean - hat[i] * slope);
}

#endif
