/* A tape: the ops of one network for one shape, laid out once, run many times without allocating.
 *
 * Recording: inputs, parameters and ops are added in order; every value is a matrix named by a TimRef. The first failure sticks:
 * later calls do nothing and return TIM_NONE, and tim_tape_plan reports it, so that a model reads as straight lines.
 * Planning: what needs cotangents and tangents is found, lifetimes are laid into one block by first fit, ops prepare their plans.
 * Running: forward, with the tangents beside it when asked for; then, after the caller has filled the cotangents of the outputs,
 * backward, which adds to the parameters' gradients. */
#ifndef TIM_TAPE_TAPE_H
#define TIM_TAPE_TAPE_H

#include "op/op.h"
#include "tape/params.h"

typedef int TimRef;
enum { TIM_NONE = -1 };

typedef struct TimTape TimTape;

typedef struct TimTapeOptions {
    TimIsa isa;
    int threads;
    int64_t samples;         /* B */
    int64_t tangent_samples; /* the last of them carry tangents; 0: none are recorded */
    bool gradients;          /* backward will run */
    TimDtype product;        /* f32 or bf16: inputs of the matrix products over tokens */
    bool dry;                /* planning allocates no block: the tape tells its bytes, and cannot run */
} TimTapeOptions;

/* `params` is borrowed and grows while recording. */
TimStatus tim_tape_new(TimTape **out, const TimTapeOptions *options, TimParams *params, TimError *err);
void tim_tape_free(TimTape *tape);
const TimTapeOptions *tim_tape_options(const TimTape *tape);

/* ---- recording ---- */

/* A matrix the caller fills before each forward; `tangent`: its last tangent_samples samples have one, filled as well. */
TimRef tim_tape_input(TimTape *tape, TimDtype dtype, int64_t rows, int64_t cols, bool tangent);

/* A parameter in f32 or bf16. */
TimRef tim_tape_param(TimTape *tape, TimDtype dtype, TimInit init, int rank, const int64_t *dims, const char *name);

/* `count` columns of a value from column `first`. All views of a value must be disjoint and, for backward, cover it. */
TimRef tim_tape_columns(TimTape *tape, TimRef value, int64_t first, int64_t count);

/* Records an op; returns its first output, the second is the next reference. */
TimRef tim_tape_add(TimTape *tape, TimOpKind kind, TimOpParams params, int n_in, const TimRef *in);

/* Keeps a value (and its tangent) readable after forward until backward, which may write over it; with `seeded`, the caller fills
 * its cotangent before backward. */
void tim_tape_keep(TimTape *tape, TimRef value, bool seeded);

/* Shape and dtype of a value; an empty matrix for TIM_NONE. */
TimMatrix tim_tape_shape(const TimTape *tape, TimRef value);

/* Makes the recording fail with this text, unless it has failed already. */
void tim_tape_fail(TimTape *tape, TimStatus status, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* ---- planning and running ---- */

TimStatus tim_tape_plan(TimTape *tape, TimError *err);

/* Bytes of the block that holds all values of this tape, with the workspace of its ops. */
size_t tim_tape_bytes(const TimTape *tape);

/* Points the parameters at `weights` and their cotangents into the vector `gradients` (NULL without backward). Fails when a
 * parameter lacks the dtype the tape wants. Cheap; runs may be bound to other weights in turn. */
TimStatus tim_tape_bind(TimTape *tape, const TimWeights *weights, float *gradients, TimError *err);

void tim_tape_forward(TimTape *tape, bool tangents);

/* Without tangents and no further than the op that makes `value`, which is readable then, kept or not, until the tape runs
 * again. */
void tim_tape_forward_to(TimTape *tape, TimRef value);
void tim_tape_backward(TimTape *tape);

/* Time spent in each op kind's forward, jvp and vjp, added up since the tape was made, in seconds. */
typedef struct TimTapeTimes {
    double forward[TIM_OP_COUNT], jvp[TIM_OP_COUNT], vjp[TIM_OP_COUNT];
} TimTapeTimes;

/* Starts (or stops, with NULL) measuring into `times`. */
void tim_tape_measure(TimTape *tape, TimTapeTimes *times);

/* Where a kept or input value, its cotangent or its tangent lies. */
TimMatrix tim_tape_value(const TimTape *tape, TimRef value);
TimMatrix tim_tape_cotangent(const TimTape *tape, TimRef value);
TimMatrix tim_tape_tangent(const TimTape *tape, TimRef value);

#endif
