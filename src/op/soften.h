/* Rows of a softmax that sees its scores tile by tile, with a running maximum and sum (Dao et al., FlashAttention, arXiv 2205.14135).
 * Included by the attention ops only. */
#ifndef TIM_OP_SOFTEN_H
#define TIM_OP_SOFTEN_H

#include "op/vec.h"

/* A score that no softmax sees: its exponential is nothing beside any real one, whatever the scale. */
static const float HIDDEN_SCORE = -1e30F;

static float row_max(const float *x, int64_t n) {
    Vec max = {0};
    max += HIDDEN_SCORE;
    for (int64_t i = 0; i < n; i += TIM_VECTOR) {
        const int64_t count = vec_count(i, n);
        if (count < TIM_VECTOR)
            for (int64_t j = i; j < n; j++) max = vec_max(max, (Vec){0} + x[j]);
        else
            max = vec_max(max, vec_load(x + i));
    }
    return vec_largest(max);
}

/* x = exp(scale x - shift); returns the sum. */
static float row_exp(float *x, float scale, float shift, int64_t n) {
    Vec sum = {0};
    for (int64_t i = 0; i < n; i += TIM_VECTOR) {
        const int64_t count = vec_count(i, n);
        const Vec y = vec_keep(vec_exp(vec_load_some(x + i, count) * scale - shift), count);
        vec_store_some(x + i, y, count);
        sum += y;
    }
    return vec_sum(sum);
}

/* Folds the scores `row` (n) into the running maximum and sum; they become exp(scale row - max). Returns the factor by which what was
 * summed with the old maximum shrinks. */
static inline float soften(float *row, float scale, int64_t n, float *running_max, float *running_sum) {
    const float max = fmaxf(*running_max, scale * row_max(row, n));
    const float decay = exp_f32(*running_max - max);
    *running_max = max;
    *running_sum = *running_sum * decay + row_exp(row, scale, max, n);
    return decay;
}

#endif
