/* AdamW (Loshchilov and Hutter, arXiv 1711.05101), gradient clipping and EMA in one pass over the parameter vector. */
#ifndef TIM_TRAIN_ADAMW_H
#define TIM_TRAIN_ADAMW_H

#include <stddef.h>
#include <stdint.h>

#include "base/bf16.h"

typedef struct TimAdamWStep {
    double lr, beta1, beta2, eps, weight_decay;
    int64_t step;          /* 1 for the first */
    double gradient_scale; /* gradients are multiplied by this first: clipping */
    double ema_decay;      /* d: ema += (1 - d) (w - ema) */
    int threads;
} TimAdamWStep;

/* The vectors have `count` elements; `bf16` (the rounded weights) and `ema` may be NULL. */
typedef struct TimAdamWVectors {
    float *weights, *first, *second, *ema;
    const float *gradients;
    TimBf16 *bf16;
    size_t count;
} TimAdamWVectors;

void tim_adamw_update(const TimAdamWVectors *vectors, const TimAdamWStep *step);

/* What follows the weights, for elements begin ... end - 1: their average and their rounded copy. */
void tim_adamw_follow(const TimAdamWVectors *vectors, double ema_decay, size_t begin, size_t end);

/* L2 norm of `values`, summed in fp64. The same bits for any thread count. */
double tim_l2_norm(const float *values, size_t count, int threads);

/* The factor that clips a gradient of norm `norm` to `max_norm`: min(1, max_norm / (norm + 1e-6)), 1 when max_norm <= 0. */
double tim_clip_factor(double norm, double max_norm);

#endif
