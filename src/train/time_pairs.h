/* The times of a training batch: which (t, r) each sample is trained at. */
#ifndef TIM_TRAIN_TIME_PAIRS_H
#define TIM_TRAIN_TIME_PAIRS_H

#include <stddef.h>
#include <stdint.h>

#include "tim/config.h"

/* How many samples of a batch the share `ratio` is: round(ratio batch), at most `batch`. */
size_t tim_time_share(double ratio, size_t batch);

/* Draws t[i] and r[i] for `batch` samples and returns n_diffusion, the number of leading samples with r = t.
 * t is the larger and r the smaller of two random times; then the first round(diffusion_ratio batch) samples get r = t and the last
 * round(consistency_ratio batch) of the others r = t_min, or t where that is less, halves rounded to even.
 * The two times of sample i depend on (seed, stream, step, i) only, not on the batch; step < 2^30 and batch < 2^32.
 * Times are rounded to fp32, the precision in which the network sees them, so that path and network agree on t, and stay below
 * the transport's end. */
size_t tim_time_pairs(double *t, double *r, size_t batch, const TimTransportConfig *transport,
                      const TimTransitionConfig *transition, uint64_t seed, uint64_t stream, uint64_t step);

#endif
