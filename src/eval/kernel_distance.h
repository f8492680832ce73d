/* The kernel distance (KID) of two sets of features: the unbiased squared maximum mean discrepancy
 *   sum_{i != j} k(x_i, x_j) / (m (m - 1)) + sum_{i != j} k(y_i, y_j) / (m (m - 1)) - 2 sum_{i, j} k(x_i, y_j) / m^2,
 *   k(x, y) = (x . y / d + 1)^3,
 * of random subsets of m rows drawn without repetition; its mean and standard deviation over the subsets.
 * Sources: Binkowski et al. (arXiv 1801.01401), section 4; the defaults and the deviation over the subsets (not N - 1) are those of
 * torch-fidelity, whose subsets come from another generator. Products and sums in fp64. */
#ifndef TIM_EVAL_KERNEL_DISTANCE_H
#define TIM_EVAL_KERNEL_DISTANCE_H

#include <stdint.h>

#include "eval/features.h"

typedef struct TimKernelOptions {
    size_t subsets;     /* at least 1 */
    size_t subset_size; /* m, at least 2; more than the smaller set has means all of that set */
    uint64_t seed;      /* subset s of the first set is a function of (seed, 2 s), of the second of (seed, 2 s + 1) */
} TimKernelOptions;

typedef struct TimKernelDistance {
    double mean, deviation;
} TimKernelDistance;

/* 100 subsets of 1000, seed 0. */
TimKernelOptions tim_kernel_options_default(void);

/* Sets of one width with at least 2 rows each. Being unbiased it may be negative. Holds two (m, d) matrices of fp64; uses OpenMP
 * and BLAS threads inside. */
TimStatus tim_kernel_distance(TimKernelDistance *out, TimFeatures a, TimFeatures b, const TimKernelOptions *options, TimError *err);

#endif
