#include <math.h>

#include "ops/ops.h"

typedef struct Dtypes {
    TimDtype x, w, y;
} Dtypes;

/* In bf16: all of it, an f32 result, an f32 input, both. W in f32 with other dtypes beside it is nothing a network asks for. */
static Dtypes dtypes_of(TimDtype dtype, size_t index) {
    return (Dtypes){index & 1 ? TIM_F32 : dtype, dtype, index & 2 ? TIM_F32 : dtype};
}

static void list(OpCases *cases, TimDtype dtype) {
    for (size_t i = 0; i < 80; i++) {
        const bool whole = i >= 60; /* tiles of a processor that has them: by W as it is stored */
        const bool split = i == 73; /* so many rows that tiles serve the tangent alone, whose workspace is then the largest */
        const int64_t rows = split ? 1000 : ops_rows[i % OPS_ROWS],
                      k = split   ? 512
                          : whole ? 32 * (1 + (int64_t)(i % 3))
                                  : ops_cols[i * 5 % OPS_COLS],
                      n = whole ? 32 * (1 + (int64_t)(i % 4)) : ops_cols[(i * 7 + i / OPS_COLS + 2) % OPS_COLS];
        const Dtypes of = dtypes_of(dtype, i / 2 % 4);
        OpCase c = ops_case(TIM_OP_LINEAR, rows, i);
        c.params.linear = (TimLinearParams){.out = of.y, .has_bias = i % 2};
        c.n_in = i % 2 ? 3 : 2;
        c.in[0] = (OpInput){.rows = rows, .cols = k, .dtype = of.x};
        c.in[1] = (OpInput){.rows = n, .cols = k, .dtype = of.w, .param = true};
        c.in[2] = (OpInput){.rows = 1, .cols = n, .dtype = TIM_F32, .param = true};
        c.tangents = 1;
        c.wanted = split ? 0 : ops_mostly(i % 2 ? 7 : 3, i);
        c.rounds = of.x != of.w || of.y != of.w;
        if (c.rounds)
            c.floor =
                sqrt((double)k); /* rounded factors err by a share of what k products usually sum to, also where they cancel */
        ops_add(cases, c);
    }
}

static void forward(const OpCase *c, double *const *in, double *const *out) {
    const int64_t k = c->in[0].cols, n = c->in[1].rows;
    for (int64_t r = 0; r < c->in[0].rows; r++)
        for (int64_t j = 0; j < n; j++) {
            double sum = c->params.linear.has_bias ? in[2][j] : 0;
            for (int64_t l = 0; l < k; l++) sum += in[0][r * k + l] * in[1][j * k + l];
            out[0][r * n + j] = sum;
        }
}

const OpSuite ops_suite_linear = {"linear", list, forward};

/* ---- linear_rows ---- */

static void list_rows(OpCases *cases, TimDtype dtype) {
    for (size_t i = 0; i < 60; i++) {
        const int64_t rows = ops_rows[i % OPS_ROWS], k = ops_cols[i * 5 % OPS_COLS],
                      n = ops_cols[(i * 7 + i / OPS_COLS + 2) % OPS_COLS];
        OpCase c = ops_case(TIM_OP_LINEAR_ROWS, rows, i);
        c.n_in = i % 2 ? 3 : 2;
        c.in[0] = (OpInput){.rows = rows, .cols = k, .dtype = TIM_F32};
        c.in[1] = (OpInput){.rows = n, .cols = k, .dtype = dtype, .param = true};
        c.in[2] = (OpInput){.rows = 1, .cols = n, .dtype = TIM_F32, .param = true};
        ops_add(cases, c);
    }
}

static void forward_rows(const OpCase *c, double *const *in, double *const *out) {
    OpCase linear = *c;
    linear.params.linear.has_bias = c->n_in == 3;
    forward(&linear, in, out);
}

const OpSuite ops_suite_linear_rows = {"linear_rows", list_rows, forward_rows};
