/* y = x / sqrt(mean(x^2) + eps) w + b [+ h], then [max(y, 0)]: RMS norm over the channels (Zhang and Sennrich, arXiv 1910.07467).
 * x, h, y (R, C); w, b (1, C) and h f32. Inference only. */
#include "op/rms.h"

enum { X, W, BIAS, H }; /* the inputs */

static TimStatus infer(TimNode *node, TimError *err) {
    const TimChannelNormParams *p = &node->params.channel_norm;
    const TimMatrix *x = &node->in[X], *w = &node->in[W], *b = &node->in[BIAS], *h = &node->in[H];
    TIM_TRY(require(node, node->n_in == (p->residual ? 4 : 3) && is_float(x) && w->dtype == TIM_F32 && b->dtype == TIM_F32,
                    "wants x, f32 weight and bias, and what is added if anything is", err));
    TIM_TRY(require(node, w->cols == x->cols && b->cols == x->cols, "weight or bias have another width than x", err));
    TIM_TRY(require(node, !p->residual || (h->dtype == TIM_F32 && h->rows == x->rows && h->cols == x->cols),
                    "what is added is not f32 of x's shape", err));
    node->n_out = 1;
    node->out[0] = matrix_of(p->out, x->rows, x->cols);
    return want_scratch(node, 2 * scratch_floats(x->cols), err);
}

static void affine(float *restrict y, const float *restrict x, float scale, const float *restrict w, const float *restrict b,
                   int64_t n) {
#pragma omp simd
    for (int64_t i = 0; i < n; i++) y[i] = x[i] * scale * w[i] + b[i];
}

static void add_to(float *restrict y, const float *restrict h, int64_t n) {
#pragma omp simd
    for (int64_t i = 0; i < n; i++) y[i] += h[i];
}

static void clip(float *y, int64_t n) {
#pragma omp simd
    for (int64_t i = 0; i < n; i++) y[i] = y[i] <= 0 ? 0.0F : y[i]; /* keeps a NaN */
}

static void forward_row(const TimNode *node, int64_t r, float *scratch) {
    const TimChannelNormParams *p = &node->params.channel_norm;
    const int64_t n = node->in[X].cols;
    const float *x = row_read(&node->in[X], r, scratch);
    float *y = row_begin(&node->out[0], r, scratch + scratch_floats(n));
    affine(y, x, row_rstd(x, n, p->eps), node->in[W].data, node->in[BIAS].data, n);
    if (p->residual) add_to(y, tim_matrix_f32(&node->in[H], r), n);
    if (p->relu) clip(y, n);
    row_commit(&node->out[0], r, y);
}

static void forward(const TimNode *node) {
    const int64_t rows = node->in[X].rows;
#pragma omp parallel for num_threads(node->threads) schedule(static)
    for (int part = 0; part < node->threads; part++) {
        float *scratch = (float *)node->work + (size_t)part * 2 * scratch_floats(node->in[X].cols);
        const int64_t end = rows * (part + 1) / node->threads;
        for (int64_t r = rows * part / node->threads; r < end; r++) forward_row(node, r, scratch);
    }
}

extern const TimOp TIM_ISA_SYMBOL(tim_op_channel_norm);
const TimOp TIM_ISA_SYMBOL(tim_op_channel_norm) = {"channel_norm", infer, NULL, NULL, forward, NULL, NULL};
