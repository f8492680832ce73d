/* add, cast, silu, swiglu, geglu, relu, concat: ops that move or map elements. */
#include <math.h>

#include "ops/ops.h"

static OpInput values(int64_t rows, int64_t cols, TimDtype dtype, double spread) {
    return (OpInput){.rows = rows, .cols = cols, .dtype = dtype, .spread = spread};
}

static int64_t length(const OpCase *c) {
    return c->in[0].rows * c->in[0].cols;
}

/* A case with n_in equal inputs. */
static OpCase alike(TimOpKind kind, int64_t rows, int64_t cols, int n_in, TimDtype dtype, double spread, size_t index) {
    OpCase c = ops_case(kind, rows, index);
    c.n_in = n_in;
    for (int i = 0; i < n_in; i++) c.in[i] = values(rows, cols, dtype, spread);
    const unsigned all = (1U << n_in) - 1;
    c.tangents = ops_subset(all, index);
    c.wanted = ops_mostly(all, index);
    return c;
}

/* ---- add ---- */

static void list_add(OpCases *cases, TimDtype dtype) {
    if (dtype != TIM_F32) return;
    for (size_t i = 0; i < OPS_ROWS * OPS_COLS; i++) {
        OpCase c = alike(TIM_OP_ADD, ops_rows[i / OPS_COLS], ops_cols[i % OPS_COLS], 2, TIM_F32, 1, i);
        c.params.add.scale = i % 2 ? -1.0F : 0.75F;
        ops_add(cases, c);
    }
}

static void add(const OpCase *c, double *const *in, double *const *out) {
    for (int64_t i = 0; i < length(c); i++) out[0][i] = in[0][i] + (double)c->params.add.scale * in[1][i];
}

const OpSuite ops_suite_add = {"add", list_add, add};

/* ---- cast ---- */

static void list_cast(OpCases *cases, TimDtype dtype) {
    for (size_t i = 0; i < OPS_ROWS * OPS_COLS; i++) {
        const bool widens = dtype == TIM_F32 || i % 2;
        OpCase c = alike(TIM_OP_CAST, ops_rows[i / OPS_COLS], ops_cols[i % OPS_COLS], 1, widens ? dtype : TIM_F32, 1, i);
        c.params.cast.dtype = widens ? TIM_F32 : dtype;
        ops_add(cases, c);
    }
}

static void cast(const OpCase *c, double *const *in, double *const *out) {
    for (int64_t i = 0; i < length(c); i++) out[0][i] = in[0][i];
}

const OpSuite ops_suite_cast = {"cast", list_cast, cast};

/* ---- silu and swiglu ---- */

static double sigmoid(double x) {
    return 1 / (1 + exp(-x));
}

/* Beyond 88 either way exp leaves the range of fp32; 1e15 squared does not yet. */
static const double spreads[] = {1, 1, 1, 1, 1, 30, 1e4, 1e15, 1e-15};
enum { SPREADS = sizeof spreads / sizeof *spreads };

static void list_gates(OpCases *cases, TimOpKind kind, int n_in, TimDtype dtype) {
    for (size_t i = 0; i < OPS_ROWS * OPS_COLS; i++)
        ops_add(cases,
                alike(kind, ops_rows[i / OPS_COLS], ops_cols[i % OPS_COLS], n_in, dtype, spreads[(i + i / SPREADS) % SPREADS], i));
}

static void list_silu(OpCases *cases, TimDtype dtype) {
    list_gates(cases, TIM_OP_SILU, 1, dtype);
}

static void silu(const OpCase *c, double *const *in, double *const *out) {
    for (int64_t i = 0; i < length(c); i++) out[0][i] = in[0][i] * sigmoid(in[0][i]);
}

const OpSuite ops_suite_silu = {"silu", list_silu, silu};

static void list_swiglu(OpCases *cases, TimDtype dtype) {
    list_gates(cases, TIM_OP_SWIGLU, 2, dtype);
}

static void swiglu(const OpCase *c, double *const *in, double *const *out) {
    for (int64_t i = 0; i < length(c); i++) out[0][i] = in[0][i] * sigmoid(in[0][i]) * in[1][i];
}

const OpSuite ops_suite_swiglu = {"swiglu", list_swiglu, swiglu};

/* Without derivatives. */
static void list_geglu(OpCases *cases, TimDtype dtype) {
    const size_t first = cases->count;
    list_gates(cases, TIM_OP_GEGLU, 2, dtype);
    for (size_t i = first; i < cases->count; i++) cases->items[i].tangents = cases->items[i].wanted = 0;
}

static void geglu(const OpCase *c, double *const *in, double *const *out) {
    for (int64_t i = 0; i < length(c); i++) {
        const double g = in[0][i];
        out[0][i] = g / 2 * (1 + tanh(sqrt(2 / M_PI) * (g + 0.044715 * g * g * g))) * in[1][i];
    }
}

const OpSuite ops_suite_geglu = {"geglu", list_geglu, geglu};

/* ---- relu and concat ---- */

static void list_relu(OpCases *cases, TimDtype dtype) {
    for (size_t i = 0; i < OPS_ROWS * OPS_COLS; i++)
        ops_add(cases, alike(TIM_OP_RELU, ops_rows[i / OPS_COLS], ops_cols[i % OPS_COLS], 1, dtype, 1, i));
}

static void relu(const OpCase *c, double *const *in, double *const *out) {
    for (int64_t i = 0; i < length(c); i++) out[0][i] = in[0][i] > 0 ? in[0][i] : 0;
}

const OpSuite ops_suite_relu = {"relu", list_relu, relu};

static void list_concat(OpCases *cases, TimDtype dtype) {
    for (size_t i = 0; i < 100; i++) {
        const int n_in = 1 + (int)(i % TIM_OP_MAX_IN);
        OpCase c = alike(TIM_OP_CONCAT, ops_rows[i % OPS_ROWS], 1, n_in, dtype, 1, i);
        for (int k = 0; k < n_in; k++) c.in[k].cols = ops_cols[(i + 5 * (size_t)k) % OPS_COLS];
        ops_add(cases, c);
    }
}

static void concat(const OpCase *c, double *const *in, double *const *out) {
    double *to = out[0];
    for (int64_t r = 0; r < c->in[0].rows; r++)
        for (int i = 0; i < c->n_in; i++)
            for (int64_t k = 0; k < c->in[i].cols; k++) *to++ = in[i][r * c->in[i].cols + k];
}

const OpSuite ops_suite_concat = {"concat", list_concat, concat};
