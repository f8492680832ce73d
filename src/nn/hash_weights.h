/* Weights made from a tensor's own name, so that a model of any size can be built and compared without a checkpoint.
 * Element i is a pure function of (name, i): splitmix64 over the FNV-1a hash of the name. The reference implementations' golden
 * values are made with the same formula, so no bit of it may change. */
#ifndef TIM_NN_HASH_WEIGHTS_H
#define TIM_NN_HASH_WEIGHTS_H

#include <stddef.h>

#include "base/error.h"

typedef enum TimHashRule {
    TIM_HASH_PLAIN,    /* TiM, the autoencoders, T5 */
    TIM_HASH_GEMMA,    /* norm weights are 0.1 u, because Gemma's norms multiply by 1 + w */
    TIM_HASH_INCEPTION /* matrices and kernels times sqrt(2), running_var 1 + 0.5 u, bn.weight 1 + 0.1 u */
} TimHashRule;

/* out[i] = u_i of `name`, uniform on [-1, 1) and exact in fp32, for i < count. Pure; any thread. */
void tim_hash_uniform(const char *name, size_t count, float *out);

/* The weights of tensor `name` with the shape dims[0 ... rank - 1], row-major, into `out`, owned by the caller.
 * Two or more axes: u sqrt(3 / fan_in), fan_in the product of all axes but the first. One axis, 'norm' in the name and 'weight' at
 * its end: 1 + 0.1 u. Anything else: 0.1 u. `rule` says how a model departs from that.
 * TIM_E_ARGUMENT for a negative rank, TIM_E_MEMORY when the shape's size does not fit. Pure; any thread. */
TimStatus tim_hash_weights(const char *name, const size_t *dims, int rank, TimHashRule rule, float *out, TimError *err);

#endif
