/* y = LN(x) w + b: x (R, D), w and b (1, D). Statistics are recomputed in the other passes: cheaper than keeping them. */
#include "op/norm.h"

enum { X, W, BIAS }; /* the inputs */

static TimStatus infer(TimNode *node, TimError *err) {
    const TimMatrix *x = &node->in[X];
    TIM_TRY(require(node, node->n_in == 3 && is_float(x), "wants x, weight and bias", err));
    TIM_TRY(require(node, node->in[W].cols == x->cols && node->in[BIAS].cols == x->cols, "weight or bias have another width than x",
                    err));
    TIM_TRY(require(node, node->in[W].dtype == TIM_F32 && node->in[BIAS].dtype == TIM_F32, "wants f32 weight and bias", err));
    node->n_out = 1;
    node->out[0] = matrix_of(x->dtype, x->rows, x->cols);
    node->vjp_reads_in = 1U << X | 1U << W;
    node->params_in = 1U << W | 1U << BIAS;
    return want_scratch(node, 6 * scratch_floats(x->cols), err);
}

static void affine(float *restrict y, const float *restrict hat, const float *restrict w, const float *restrict b, int64_t n) {
#pragma omp simd
    for (int64_t i = 0; i < n; i++) y[i] = hat[i] * w[i] + b[i];
}

static void multiply(float *restrict y, const float *restrict a, const float *restrict b, int64_t n) {
#pragma omp simd
    for (int64_t i = 0; i < n; i++) y[i] = a[i] * b[i];
}

static float *scratch_of(const TimNode *node, int part) {
    return (float *)node->work + (size_t)part * 6 * scratch_floats(node->in[X].cols);
}

static void forward(const TimNode *node) {
    const TimMatrix *x = &node->in[X], *y = &node->out[0];
    const int64_t n = x->cols;
    const size_t width = scratch_floats(n);
#pragma omp parallel for num_threads(node->threads) schedule(static)
    for (int part = 0; part < node->threads; part++) {
        float *scratch = scratch_of(node, part), *hat = scratch + width;
        const int64_t end = x->rows * (part + 1) / node->threads;
        for (int64_t r = x->rows * part / node->threads; r < end; r++) {
            const float *row = row_read(x, r, scratch);
            normalize(hat, row, row_stats(row, n, node->params.layer_norm.eps), n);
            float *out = row_begin(y, r, scratch + 2 * width);
            affine(out, hat, node->in[W].data, node->in[BIAS].data, n);
            row_commit(y, r, out);
        }
    }
}

static void jvp(const TimNode *node) {
    const TimMatrix *t_y = &node->t_out[0], *t_x = &node->t_in[X];
    const TimMatrix x = tim_matrix_rows(node->in[X], node->in[X].rows - t_y->rows);
    const int64_t n = x.cols;
    const size_t width = scratch_floats(n);
#pragma omp parallel for num_threads(node->threads) schedule(static)
    for (int part = 0; part < node->threads; part++) {
        float *scratch = scratch_of(node, part), *hat = scratch + width, *t_hat = scratch + 2 * width;
        const int64_t end = x.rows * (part + 1) / node->threads;
        for (int64_t r = x.rows * part / node->threads; r < end; r++) {
            const float *row = row_read(&x, r, scratch);
            const Stats stats = row_stats(row, n, node->params.layer_norm.eps);
            normalize(hat, row, stats, n);
            norm_derivative(t_hat, row_read(t_x, r, scratch), hat, stats.rstd, n);
            float *out = row_begin(t_y, r, scratch + 3 * width);
            multiply(out, t_hat, node->in[W].data, n);
            row_commit(t_y, r, out);
        }
    }
}

/* One row of the vjp; g_w and g_b are this thread's sums. */
static void vjp_row(const TimNode *node, int64_t r, float *scratch, float *restrict g_w, float *restrict g_b) {
    const TimMatrix *x = &node->in[X];
    const int64_t n = x->cols;
    const size_t width = scratch_floats(n);
    float *hat = scratch + width, *g_hat = scratch + 2 * width;
    const float *row = row_read(x, r, scratch);
    const Stats stats = row_stats(row, n, node->params.layer_norm.eps);
    normalize(hat, row, stats, n);
    const float *g = row_read(&node->g_out[0], r, scratch + 3 * width);
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        g_w[i] += g[i] * hat[i];
        g_b[i] += g[i];
    }
    if (!node->g_in[X].data) return;
    multiply(g_hat, g, node->in[W].data, n);
    norm_derivative(g_hat, g_hat, hat, stats.rstd, n);
    row_write(&node->g_in[X], r, g_hat, node->add_in[X]);
}

static void add_into(const TimMatrix *out, const float *values) {
    float *o = out->data;
    for (int64_t i = 0; o && i < out->cols; i++) o[i] += values[i];
}

static void vjp(const TimNode *node) {
    const int64_t n = node->in[X].cols, rows = node->in[X].rows;
    const size_t width = scratch_floats(n);
#pragma omp parallel for num_threads(node->threads) schedule(static)
    for (int part = 0; part < node->threads; part++) {
        float *scratch = scratch_of(node, part), *sums = scratch + 4 * width;
        memset(sums, 0, 2 * width * sizeof *sums);
        const int64_t end = rows * (part + 1) / node->threads;
        for (int64_t r = rows * part / node->threads; r < end; r++) vjp_row(node, r, scratch, sums, sums + width);
    }
    for (int part = 0; part < node->threads; part++) {
        add_into(&node->g_in[W], scratch_of(node, part) + 4 * width);
        add_into(&node->g_in[BIAS], scratch_of(node, part) + 5 * width);
    }
}

extern const TimOp TIM_ISA_SYMBOL(tim_op_layer_norm);
const TimOp TIM_ISA_SYMBOL(tim_op_layer_norm) = {"layer_norm", infer, NULL, NULL, forward, vjp, jvp};
