/* Rows of layer norm: statistics, and the maps that its tangent and its cotangent go through. Included by the op files only.
 * All are inlined, so that a caller with a constant length gets straight code without remainder loops. */
#ifndef TIM_OP_NORM_H
#define TIM_OP_NORM_H

#include "op/kernel.h"

typedef struct Stats {
    float mean, rstd;
} Stats;

static inline __attribute__((always_inline)) float row_mean(const float *restrict x, int64_t n) {
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < n; i++) sum += x[i];
    return sum / (float)n;
}

static inline __attribute__((always_inline)) Stats row_stats(const float *restrict x, int64_t n, float eps) {
    const float mean = row_mean(x, n);
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < n; i++) sum += (x[i] - mean) * (x[i] - mean);
    return (Stats){mean, 1.0F / sqrtf(sum / (float)n + eps)};
}

/* hat = (x - mean) rstd */
static inline __attribute__((always_inline)) void normalize(float *restrict hat, const float *restrict x, Stats s, int64_t n) {
#pragma omp simd
    for (int64_t i = 0; i < n; i++) hat[i] = (x[i] - s.mean) * s.rstd;
}

/* out = rstd (v - mean(v) - hat mean(v hat)): the derivative of the norm is symmetric, so tangents and cotangents both go here. */
static inline __attribute__((always_inline)) void norm_derivative(float *out, const float *v, const float *restrict hat, float rstd,
                                                                  int64_t n) {
    float sum = 0, product = 0;
#pragma omp simd reduction(+ : sum, product)
    for (int64_t i = 0; i < n; i++) {
        sum += v[i];
        product += v[i] * hat[i];
    }
    const float mean = sum / (float)n, slope = product / (float)n;
#pragma omp simd
    for (int64_t i = 0; i < n; i++) out[i] = rstd * (v[i] - mean - hat[i] * slope);
}

#endif
