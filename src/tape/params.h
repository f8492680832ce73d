/* The parameters of a network: names as in the official checkpoints, shapes, and where each lies in one long vector.
 * The vector is what the optimiser, EMA and gradients work on; every parameter starts on a 64-byte boundary of it. */
#ifndef TIM_TAPE_PARAMS_H
#define TIM_TAPE_PARAMS_H

#include <stddef.h>
#include <stdint.h>

#include "base/bf16.h"
#include "base/error.h"

enum { TIM_PARAM_MAX_RANK = 4 };

/* How training starts. */
typedef enum TimInit { TIM_INIT_ZERO, TIM_INIT_ONE, TIM_INIT_XAVIER, TIM_INIT_NORMAL /* N(0, 0.02) */ } TimInit;

typedef struct TimParam {
    char *name;
    int rank;
    int64_t dims[TIM_PARAM_MAX_RANK];
    int64_t rows, cols; /* as a matrix: first axis, product of the others; a vector is (1, n) */
    size_t count;
    size_t offset; /* elements from the start of the vector */
    TimInit init;
} TimParam;

typedef struct TimParams {
    TimParam *items;
    size_t count, capacity;
    size_t elements; /* length of the vector, padding included */
} TimParams;

/* The axes as files count them, in `dims`. */
static inline void tim_param_dims(const TimParam *param, size_t dims[TIM_PARAM_MAX_RANK]) {
    for (int i = 0; i < param->rank; i++) dims[i] = (size_t)param->dims[i];
}

/* Index of the parameter, or -1. */
int tim_params_find(const TimParams *params, const char *name);

/* Appends a parameter, or finds the one of that name and checks its shape: networks may share parameters. */
TimStatus tim_params_add(TimParams *params, const char *name, int rank, const int64_t *dims, TimInit init, int *index,
                         TimError *err);

void tim_params_done(TimParams *params);

/* Number of elements without padding. */
size_t tim_params_total(const TimParams *params);

/* Values for every parameter, by index: f32, bf16, or both. An absent one is NULL. Owns the two lists, not the values. */
typedef struct TimWeights {
    const float **f32;
    const TimBf16 **bf16;
} TimWeights;

TimStatus tim_weights_new(TimWeights *weights, size_t count, TimError *err);

/* Points every entry into the vectors `f32` and `bf16` (either may be NULL). */
void tim_weights_point(TimWeights *weights, const TimParams *params, const float *f32, const TimBf16 *bf16);

void tim_weights_done(TimWeights *weights);

#endif
