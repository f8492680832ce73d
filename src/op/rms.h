/* Rows of RMS norm. Included by op files only; inlined, so that a caller with a constant length gets straight code. */
#ifndef TIM_OP_RMS_H
#define TIM_OP_RMS_H

#include "op/vec.h"

/* 1 / sqrt(mean(x x) + eps) */
static inline __attribute__((always_inline)) float row_rstd(const float *x, int64_t n, float eps) {
    return 1.0F / sqrtf(row_dot(x, x, n) / (float)n + eps);
}

/* y = x rstd (offset + w); x and y may be the same row. */
static inline __attribute__((always_inline)) void rms_normalize(float *y, const float *x, float rstd, const float *restrict w,
                                                                float offset, int64_t n) {
#pragma omp simd
    for (int64_t i = 0; i < n; i++) y[i] = x[i] * rstd * (offset + w[i]);
}

#endif
