/* y = SiLU(g) x, all (R, K) (Shazeer, arXiv 2002.05202).
 * With s = sigmoid(g): dy = s (1 + g (1 - s)) x dg + g s dx. */
#include "op/vec.h"

enum { G, X }; /* the inputs */

enum { ROWS = 6 };

static TimStatus infer(TimNode *node, TimError *err) {
    const TimMatrix *g = &node->in[G], *x = &node->in[X];
    TIM_TRY(require(node, node->n_in == 2 && is_float(g) && g->dtype == x->dtype, "wants g and x of one dtype", err));
    TIM_TRY(require(node, g->rows == x->rows && g->cols == x->cols, "g and x differ in shape", err));
    node->n_out = 1;
    node->out[0] = matrix_of(g->dtype, g->rows, g->cols);
    node->vjp_reads_in = 1U << G | 1U << X;
    return want_scratch(node, ROWS * scratch_floats(g->cols), err);
}

static float *scratch_of(const TimNode *node, int part) {
    return (float *)node->work + (size_t)part * ROWS * scratch_floats(node->in[G].cols);
}

static void gated(float *restrict y, const float *restrict g, const float *restrict x, int64_t n) {
    for (int64_t i = 0; i < n; i += TIM_VECTOR) {
        const int64_t m = vec_count(i, n);
        const Vec v = vec_load_some(g + i, m);
        vec_store_some(y + i, v * vec_sigmoid(v) * vec_load_some(x + i, m), m);
    }
}

static void forward(const TimNode *node) {
    const TimMatrix *g = &node->in[G], *y = &node->out[0];
    const size_t width = scratch_floats(g->cols);
#pragma omp parallel for num_threads(node->threads) schedule(static)
    for (int part = 0; part < node->threads; part++) {
        float *scratch = scratch_of(node, part);
        const int64_t end = g->rows * (part + 1) / node->threads;
        for (int64_t r = g->rows * part / node->threads; r < end; r++) {
            float *out = row_begin(y, r, scratch + 2 * width);
            gated(out, row_read(g, r, scratch), row_read(&node->in[X], r, scratch + width), g->cols);
            row_commit(y, r, out);
        }
    }
}

static void tangent(float *restrict t_y, const float *restrict g, const float *restrict x, const float *restrict t_g,
                    const float *restrict t_x, int64_t n) {
    for (int64_t i = 0; i < n; i += TIM_VECTOR) {
        const int64_t m = vec_count(i, n);
        const Vec v = vec_load_some(g + i, m), s = vec_sigmoid(v);
        const Vec of_g = s * (1.0F + v * (1.0F - s)) * vec_load_some(x + i, m) * vec_load_some(t_g + i, m);
        vec_store_some(t_y + i, of_g + v * s * vec_load_some(t_x + i, m), m);
    }
}

static const float *row_or_zero(const TimMatrix *m, int64_t r, float *scratch, int64_t n) {
    if (m->data) return row_read(m, r, scratch);
    memset(scratch, 0, (size_t)n * sizeof *scratch);
    return scratch;
}

static void jvp(const TimNode *node) {
    const int64_t first = node->in[G].rows - node->t_out[0].rows, n = node->in[G].cols, rows = node->t_out[0].rows;
    const TimMatrix g = tim_matrix_rows(node->in[G], first), x = tim_matrix_rows(node->in[X], first);
    const size_t width = scratch_floats(n);
#pragma omp parallel for num_threads(node->threads) schedule(static)
    for (int part = 0; part < node->threads; part++) {
        float *s = scratch_of(node, part);
        const int64_t end = rows * (part + 1) / node->threads;
        for (int64_t r = rows * part / node->threads; r < end; r++) {
            float *out = row_begin(&node->t_out[0], r, s + 4 * width);
            tangent(out, row_read(&g, r, s), row_read(&x, r, s + width), row_or_zero(&node->t_in[G], r, s + 2 * width, n),
                    row_or_zero(&node->t_in[X], r, s + 3 * width, n), n);
            row_commit(&node->t_out[0], r, out);
        }
    }
}

static void cotangent(float *restrict g_g, float *restrict g_x, const float *restrict g, const float *restrict x,
                      const float *restrict g_y, int64_t n) {
    for (int64_t i = 0; i < n; i += TIM_VECTOR) {
        const int64_t m = vec_count(i, n);
        const Vec v = vec_load_some(g + i, m), s = vec_sigmoid(v), c = vec_load_some(g_y + i, m);
        vec_store_some(g_g + i, c * s * (1.0F + v * (1.0F - s)) * vec_load_some(x + i, m), m);
        vec_store_some(g_x + i, c * v * s, m);
    }
}

static void vjp(const TimNode *node) {
    const int64_t rows = node->in[G].rows, n = node->in[G].cols;
    const size_t width = scratch_floats(n);
#pragma omp parallel for num_threads(node->threads) schedule(static)
    for (int part = 0; part < node->threads; part++) {
        float *s = scratch_of(node, part);
        const int64_t end = rows * (part + 1) / node->threads;
        for (int64_t r = rows * part / node->threads; r < end; r++) {
            cotangent(s + 3 * width, s + 4 * width, row_read(&node->in[G], r, s), row_read(&node->in[X], r, s + width),
                      row_read(&node->g_out[0], r, s + 2 * width), n);
            if (node->g_in[G].data) row_write(&node->g_in[G], r, s + 3 * width, node->add_in[G]);
            if (node->g_in[X].data) row_write(&node->g_in[X], r, s + 4 * width, node->add_in[X]);
        }
    }
}

extern const TimOp TIM_ISA_SYMBOL(tim_op_swiglu);
const TimOp TIM_ISA_SYMBOL(tim_op_swiglu) = {"swiglu", infer, NULL, NULL, forward, vjp, jvp};
