/* Speed of this library on this machine, beside the machine's own peak measured in the same run. */
#ifndef TIM_BENCH_H
#define TIM_BENCH_H

#include "tim/config.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The best rate of a matrix product over a fixed list of shapes, in GFLOP/s. */
typedef struct TimBenchPeak {
    double bf16, f32;
} TimBenchPeak;

typedef struct TimBenchOptions {
    TimPrecision precision;
    int threads;         /* 0: as many as OpenMP would use */
    int runs;            /* timed repetitions after one warm-up, at least 1 */
    int64_t micro_batch; /* of training cases; 0: the default */
    const char *isa;     /* NULL: the best */
} TimBenchOptions;

enum { TIM_BENCH_MAX_OPS = 32 };

/* Seconds of one op kind within one repetition, averaged. */
typedef struct TimBenchOp {
    const char *name; /* static storage */
    double forward, jvp, vjp;
} TimBenchOp;

typedef struct TimBenchResult {
    double median_s, min_s;
    double gflop;      /* matrix products and attention of one repetition: 2 per multiply-add; a training step counts 3 forwards,
                               1 for each exact derivative, 2 for each finite difference */
    double memory_mib; /* of weights and their bf16 copy, gradients, moments and tapes */
    int runs;
    TimBenchOp ops[TIM_BENCH_MAX_OPS];
    int op_count;
} TimBenchResult;

/* Measures the peak with options->threads; about two seconds. The other options have no effect. Errors: TIM_E_ARGUMENT without
 * options and for a number of threads out of range; TIM_E_MEMORY. Not thread-safe with itself. */
TIM_API TimStatus tim_bench_peak(TimBenchPeak *peak, const TimBenchOptions *options, TimError *err);

/* The names of the cases, as train_small:jvp or xl256; NULL beyond the last. Static storage. */
TIM_API const char *tim_bench_case(int index);

/* Runs one case with random weights. TIM_E_ARGUMENT when no case has that name, and for options without a run or with a number of
 * threads out of range; TIM_E_UNSUPPORTED for an instruction set this processor lacks; TIM_E_MEMORY. Not thread-safe with itself:
 * it measures the machine. */
TIM_API TimStatus tim_bench_run(TimBenchResult *result, const char *name, const TimBenchOptions *options, TimError *err);

#ifdef __cplusplus
}
#endif
#endif
