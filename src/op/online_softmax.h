/* Rows of a softmax that sees its scores tile by tile, with a running maximum and sum (Dao et al., FlashAttention, arXiv
 * 2205.14135). Rows are whole vectors, as tiles are padded. Included by the attention ops only. */
#ifndef TIM_OP_ONLINE_SOFTMAX_H
#define TIM_OP_ONLINE_SOFTMAX_H

#include "op/vec.h"

/* A score that no softmax sees: its exponential is nothing beside any real one, whatever the scale. */
static const float HIDDEN_SCORE = -1e30F;

static float row_max(const float *x, int64_t n) {
    Vec max = vec_load(x);
    for (int64_t i = TIM_VECTOR; i < n; i += TIM_VECTOR) max = vec_max(max, vec_load(x + i));
    return vec_largest(max);
}

/* x = exp(scale x - shift); returns the sum. */
static float row_exp(float *x, float scale, float shift, int64_t n) {
    Vec sum = {0};
    for (int64_t i = 0; i < n; i += TIM_VECTOR) {
        const Vec y = vec_exp(vec_load(x + i) * scale - shift);
        vec_store(x + i, y);
        sum += y;
    }
    return vec_sum(sum);
}

/* Folds the scores `row` (n) into the running maximum and sum; they become exp(scale row - max). Returns the factor by which what
 * was summed with the old maximum shrinks. */
static inline float online_softmax_update(float *row, float scale, int64_t n, float *running_max, float *running_sum) {
    const float max = fmaxf(*running_max, scale * row_max(row, n));
    const float decay = exp_f32(*running_max - max);
    *running_max = max;
    *running_sum = *running_sum * decay + row_exp(row, scale, max, n);
    return decay;
}

#endif
