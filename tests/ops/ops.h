/* Op checks: what a case of an op is, how it is run, and the fp64 oracle it is held against.
 *
 * A case is one op with its options and the shapes of its inputs, without values. Values are pure functions of the case, rounded to
 * its dtypes; they and all results travel as dense fp64 tensors, so that runs in different dtypes and layouts compare directly.
 * Invariant: the case lists of a suite for f32 and for bf16 do not depend on instruction set, threads or layout.
 *
 * To add an op: write tests/ops/<op>.c with its cases and a plain fp64 forward, and put its suite into the table in suites.c. */
#ifndef TIM_TESTS_OPS_H
#define TIM_TESTS_OPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "op/op.h"

/* ---- cases ---- */

typedef struct OpInput {
    int64_t rows, cols;
    TimDtype dtype;
    bool param;    /* a weight: dense, without a tangent, its cotangent f32 and always added to */
    double center; /* values are normal numbers around `center`; labels are 0 ... spread - 1 */
    double spread; /* 0 stands for 1 */
} OpInput;

typedef struct OpCase {
    TimOpKind kind;
    TimOpParams params;
    int64_t samples, tangent_samples;
    int n_in;
    OpInput in[TIM_OP_MAX_IN];
    unsigned tangents; /* bit i: in[i] has a tangent */
    unsigned wanted;   /* bit i: somebody wants the cotangent of in[i] */
    unsigned seeded;   /* bit i: out[i] has a cotangent; 0 stands for all */
    bool rounds;       /* in bf16 the op rounds inside, not only what it stores */
    double slack;      /* factor on every tolerance; 0 stands for 1 */
    double floor;      /* results below this are compared with it instead: sums that cancel to nothing */
    uint64_t seed;     /* set by ops_add */
} OpCase;

typedef struct OpCases {
    OpCase *items;
    size_t count, capacity;
} OpCases;

/* Appends a case. */
void ops_add(OpCases *cases, OpCase c);

void ops_cases_free(OpCases *cases);

/* Awkward counts of rows and of columns: one, vectors of 4, 8, 16 and a little more or less, primes, and beyond a tile. */
enum { OPS_ROWS = 10, OPS_COLS = 18 };
extern const int64_t ops_rows[OPS_ROWS], ops_cols[OPS_COLS];

/* A case with samples and tangent samples set: `rows` rows are cut into 1, 2 or 3 samples, as `index` and divisibility have it. */
OpCase ops_case(TimOpKind kind, int64_t rows, size_t index);

/* Number `index` of the nonempty subsets of the bits in `all`, in a cycle. */
unsigned ops_subset(unsigned all, size_t index);

/* `all` two times of three, else a nonempty subset. */
unsigned ops_mostly(unsigned all, size_t index);

/* ---- values ---- */

typedef struct OpTensor {
    double *v; /* (rows, cols); NULL: absent */
    int64_t rows, cols;
    TimDtype dtype; /* what it is rounded to */
} OpTensor;

/* INPUT in[i]; TANGENT of in[i], last samples only; COTANGENT of out[i]; BASE: what in[i]'s cotangent holds before a vjp that adds;
 * DIRECTION: a second tangent of in[i], all samples, also of parameters. Tangents and directions spread like their input. */
typedef enum OpRole { OPS_INPUT, OPS_TANGENT, OPS_COTANGENT, OPS_BASE, OPS_DIRECTION } OpRole;

OpTensor ops_values(const OpCase *c, OpRole role, int i);

OpTensor ops_tensor_new(int64_t rows, int64_t cols, TimDtype dtype);
void ops_tensor_free(OpTensor *tensor);

/* Sum of products; the shapes agree. */
double ops_dot(const OpTensor *a, const OpTensor *b);

/* ---- runs ---- */

typedef struct OpSetup {
    TimIsa isa;
    int threads;
    bool in_f32;  /* keep the rounded values, compute and store in f32: the oracle of a bf16 case */
    bool padded;  /* matrices are columns of wider ones; else dense */
    unsigned add; /* bit i: the cotangent of in[i] is added to, not overwritten */
} OpSetup;

typedef struct OpRun {
    OpTensor out[TIM_OP_MAX_OUT], t_out[TIM_OP_MAX_OUT], g_in[TIM_OP_MAX_IN];
    bool contained; /* nothing was written outside the results and the workspace */
} OpRun;

/* Forward, jvp and vjp of the case. Workspace and what is not yet written hold NaN. Fails the test when the op refuses the case. */
OpRun ops_run(const OpCase *c, OpSetup setup);

void ops_run_free(OpRun *run);

/* The op's node after infer, shapes only. */
TimNode ops_node(const OpCase *c, TimIsa isa);

/* Whether any input, output or weight is bf16. */
bool ops_has_bf16(const OpCase *c);

/* ---- suites ---- */

typedef struct OpSuite {
    const char *name;
    void (*list)(OpCases *cases, TimDtype dtype);                            /* no cases: the op does not exist in that dtype */
    void (*forward)(const OpCase *c, double *const *in, double *const *out); /* the formula in fp64, dense */
} OpSuite;

enum { OPS_SUITES = TIM_OP_COUNT };
extern const OpSuite *const ops_suites[OPS_SUITES];

extern const OpSuite ops_suite_add, ops_suite_attention, ops_suite_cast, ops_suite_embedding, ops_suite_head_norm,
    ops_suite_layer_norm, ops_suite_linear, ops_suite_modulate, ops_suite_patchify, ops_suite_silu, ops_suite_sinusoid,
    ops_suite_swiglu, ops_suite_unpatchify, ops_suite_relu, ops_suite_concat, ops_suite_convolution, ops_suite_pool,
    ops_suite_attention_masked, ops_suite_geglu, ops_suite_head_rms_norm, ops_suite_rms_norm, ops_suite_channel_norm,
    ops_suite_group_norm, ops_suite_pixel_shuffle, ops_suite_pixel_unshuffle, ops_suite_upsample, ops_suite_linear_attention,
    ops_suite_linear_rows, ops_suite_skip;

/* out = the op at in (n_in) in fp64; fills `out` with new tensors. */
void ops_forward_f64(const OpSuite *suite, const OpCase *c, const OpTensor *in, OpTensor out[TIM_OP_MAX_OUT]);

/* d_out = the derivative of the fp64 forward at `in` along `along`, all samples; absent directions are zero. */
void ops_difference(const OpSuite *suite, const OpCase *c, const OpTensor *in, const OpTensor *along,
                    OpTensor d_out[TIM_OP_MAX_OUT]);

#endif
