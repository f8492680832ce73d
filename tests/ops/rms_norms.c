/* rms_norm and head_rms_norm: what goes through RMS norm. */
#include <math.h>

#include "ops/ops.h"

static void normalize(double *y, const double *x, const double *w, int64_t n, double eps, double offset) {
    double square = 0;
    for (int64_t i = 0; i < n; i++) square += x[i] * x[i] / (double)n;
    for (int64_t i = 0; i < n; i++) y[i] = x[i] / sqrt(square + eps) * (offset + w[i]);
}

static OpInput weight(int64_t cols) {
    return (OpInput){.rows = 1, .cols = cols, .dtype = TIM_F32, .param = true};
}

/* ---- rms_norm ---- */

/* bf16 comes in or goes out, or both. */
static void list_rms_norm(OpCases *cases, TimDtype dtype) {
    static const double centers[] = {0, 0, 10, 0, 0}, spreads[] = {1, 1, 1, 1e4, 1e-6};
    for (size_t i = 0; i < OPS_ROWS * OPS_COLS; i++) {
        const int64_t rows = ops_rows[i / OPS_COLS], cols = ops_cols[i % OPS_COLS];
        OpCase c = ops_case(TIM_OP_RMS_NORM, rows, i);
        c.n_in = 2;
        c.in[0] = (OpInput){.rows = rows,
                            .cols = cols,
                            .dtype = i % 3 ? dtype : TIM_F32,
                            .center = centers[(i + i / 5) % 5],
                            .spread = spreads[(i + i / 5) % 5]};
        c.in[1] = weight(cols);
        c.params.rms_norm = (TimRmsNormParams){.eps = 1e-6F, .offset = (float)(i % 2), .out = i % 3 == 1 ? TIM_F32 : dtype};
        ops_add(cases, c);
    }
}

static void rms_norm(const OpCase *c, double *const *in, double *const *out) {
    const TimRmsNormParams *p = &c->params.rms_norm;
    const int64_t n = c->in[0].cols;
    for (int64_t r = 0; r < c->in[0].rows; r++) normalize(out[0] + r * n, in[0] + r * n, in[1], n, p->eps, p->offset);
}

const OpSuite ops_suite_rms_norm = {"rms_norm", list_rms_norm, rms_norm};

/* ---- head_rms_norm ---- */

enum { POSITIONS = 50, MAX_HALF = 128 };

static const float *rope_table(bool sine) {
    static float table[2][POSITIONS * MAX_HALF];
    static bool filled;
    for (int i = 0; i < POSITIONS * MAX_HALF && !filled; i++) {
        table[0][i] = (float)cos(0.37 * i);
        table[1][i] = (float)sin(0.37 * i);
    }
    filled = true;
    return table[sine];
}

static void list_head_rms_norm(OpCases *cases, TimDtype dtype) {
    static const int widths[] = {2, 4, 6, 8, 16, 32, 64, 72, 256};
    for (size_t i = 0; i < 90; i++) {
        const int64_t rows = ops_rows[i % OPS_ROWS];
        const int width = widths[i % 9], heads = 1 + (int)(i / 9 % 4);
        OpCase c = ops_case(TIM_OP_HEAD_RMS_NORM, rows, i);
        c.n_in = 3;
        c.in[0] = (OpInput){.rows = rows, .cols = (int64_t)heads * width, .dtype = dtype, .spread = i % 8 == 7 ? 100 : 1};
        c.in[1] = weight(width);
        c.in[2] = (OpInput){.rows = rows, .cols = 1, .dtype = TIM_I64, .spread = POSITIONS};
        c.params.head_rms_norm =
            (TimHeadRmsNormParams){.eps = 1e-6F, .offset = (float)(i % 2), .cos = rope_table(false), .sin = rope_table(true)};
        ops_add(cases, c);
    }
}

static void head_rms_norm(const OpCase *c, double *const *in, double *const *out) {
    const TimHeadRmsNormParams *p = &c->params.head_rms_norm;
    const int64_t width = c->in[1].cols, half = width / 2, heads = c->in[0].cols / width;
    for (int64_t at = 0; at < c->in[0].rows * heads; at++) {
        double *y = out[0] + at * width;
        normalize(y, in[0] + at * width, in[1], width, p->eps, p->offset);
        const int64_t row = (int64_t)in[2][at / heads] * half;
        for (int64_t i = 0; i < half; i++) {
            const double a = y[i], b = y[half + i], cosine = p->cos[row + i], sine = p->sin[row + i];
            y[i] = a * cosine - b * sine;
            y[half + i] = b * cosine + a * sine;
        }
    }
}

const OpSuite ops_suite_head_rms_norm = {"head_rms_norm", list_head_rms_norm, head_rms_norm};
