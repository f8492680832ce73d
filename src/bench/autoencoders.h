/* The bench's cases of the autoencoders: one decoding of the published sizes. */
#ifndef TIM_BENCH_AUTOENCODERS_H
#define TIM_BENCH_AUTOENCODERS_H

#include "tape/tape.h"
#include "tim/bench.h"

/* Name of case `index`; NULL beyond the last. */
const char *tim_bench_autoencoder_case(int index);

/* Runs case `index`; result->runs is given. `sums` takes the time of each op kind over all runs but the first, untimed one. */
TimStatus tim_bench_autoencoder(TimBenchResult *result, int index, const TimBenchOptions *options, TimTapeTimes *sums,
                                TimError *err);

#endif
