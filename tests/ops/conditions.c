/* sinusoid, embedding and skip: what times and labels enter by, one row a sample. */
#include <math.h>

#include "ops/ops.h"

/* ---- sinusoid ---- */

static void list_sinusoid(OpCases *cases, TimDtype dtype) {
    static const int widths[] = {2, 4, 6, 16, 30, 64, 130, 256};
    static const double spreads[] = {1, 10, 1000};
    if (dtype != TIM_F32) return;
    for (size_t i = 0; i < 48; i++) {
        const int64_t rows = ops_rows[i % 6];
        OpCase c = ops_case(TIM_OP_SINUSOID, rows, i);
        c.params.sinusoid = (TimSinusoidParams){widths[i % 8], 10000.0F};
        c.n_in = 1;
        c.in[0] = (OpInput){.rows = rows, .cols = 1, .dtype = TIM_F32, .spread = spreads[i / 2 % 3]};
        c.tangents = c.wanted = 1;
        c.slack = 1 + c.in[0].spread / 10; /* an angle in fp32 is off by 1e-7 of itself */
        ops_add(cases, c);
    }
}

static void sinusoid(const OpCase *c, double *const *in, double *const *out) {
    const int64_t width = c->params.sinusoid.width, half = width / 2;
    for (int64_t r = 0; r < c->in[0].rows; r++)
        for (int64_t i = 0; i < half; i++) {
            const double angle = in[0][r] * pow((double)c->params.sinusoid.max_period, -(double)i / (double)half);
            out[0][r * width + i] = cos(angle);
            out[0][r * width + half + i] = sin(angle);
        }
}

const OpSuite ops_suite_sinusoid = {"sinusoid", list_sinusoid, sinusoid};

/* ---- embedding ---- */

/* Small tables: labels repeat within the batch. */
static void list_embedding(OpCases *cases, TimDtype dtype) {
    for (size_t i = 0; i < OPS_ROWS * OPS_COLS; i++) {
        const int64_t rows = ops_rows[i / OPS_COLS], entries = 1 + (int64_t)(i % 5);
        OpCase c = ops_case(TIM_OP_EMBEDDING, rows, i);
        c.n_in = 2;
        c.in[0] = (OpInput){.rows = rows, .cols = 1, .dtype = TIM_I64, .spread = (double)entries};
        c.in[1] = (OpInput){.rows = entries, .cols = ops_cols[i % OPS_COLS], .dtype = dtype, .param = true};
        c.params.embedding.scale = i % 2 ? 0 : 1.5F;
        c.wanted = 2;
        ops_add(cases, c);
    }
}

static void embedding(const OpCase *c, double *const *in, double *const *out) {
    const int64_t width = c->in[1].cols;
    const double scale = c->params.embedding.scale == 0 ? 1 : c->params.embedding.scale;
    for (int64_t at = 0; at < c->in[0].rows * width; at++)
        out[0][at] = scale * in[1][(int64_t)in[0][at / width] * width + at % width];
}

const OpSuite ops_suite_embedding = {"embedding", list_embedding, embedding};

/* ---- skip ---- */

static void list_skip(OpCases *cases, TimDtype dtype) {
    if (dtype != TIM_F32) return;
    for (size_t i = 0; i < OPS_ROWS * OPS_COLS; i++) {
        const int64_t rows = ops_rows[i / OPS_COLS], cols = ops_cols[i % OPS_COLS];
        OpCase c = ops_case(TIM_OP_SKIP, rows, i);
        c.n_in = 3;
        c.in[0] = c.in[1] = (OpInput){.rows = rows, .cols = cols, .dtype = TIM_F32};
        c.in[2] = (OpInput){.rows = rows, .cols = 1, .dtype = TIM_F32};
        c.tangents = ops_mostly(7, i);
        c.wanted = ops_mostly(7, i / 3);
        ops_add(cases, c);
    }
}

static void skip(const OpCase *c, double *const *in, double *const *out) {
    const int64_t width = c->in[1].cols;
    for (int64_t at = 0; at < c->in[0].rows * width; at++) out[0][at] = in[0][at] + in[2][at / width] * in[1][at];
}

const OpSuite ops_suite_skip = {"skip", list_skip, skip};
