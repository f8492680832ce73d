/* The weights that training starts from. */
#ifndef TIM_TRAIN_INIT_H
#define TIM_TRAIN_INIT_H

#include <stdint.h>

#include "tape/params.h"

/* Fills the vector `weights` (params->elements) by each parameter's `init`: zero, one, N(0, 0.02), or Xavier-uniform on
 * +-sqrt(6 / (rows + cols)) with the parameter as a matrix, so a fused qkv is one matrix and a patch embedding is (D, C p p).
 * An element depends on (seed, name of its parameter, its index) only. Padding is set to zero. */
void tim_init_weights(float *weights, const TimParams *params, uint64_t seed, int threads);

#endif
