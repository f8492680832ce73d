/* y = x sigmoid(x), any shape. dy/dx = s (1 + x (1 - s)) with s = sigmoid(x). */
#include "op/vec.h"

static TimStatus infer(TimNode *node, TimError *err) {
    const TimMatrix *x = &node->in[0];
    TIM_TRY(require(node, node->n_in == 1 && is_float(x), "wants one float matrix", err));
    node->n_out = 1;
    node->out[0] = matrix_of(x->dtype, x->rows, x->cols);
    node->vjp_reads_in = 1;
    return want_scratch(node, 3 * scratch_floats(x->cols), err);
}

static void silu(float *out, const float *x, int64_t n) {
    for (int64_t i = 0; i < n; i += TIM_VECTOR) {
        const int64_t m = vec_count(i, n);
        const Vec a = vec_load_some(x + i, m);
        vec_store_some(out + i, a * vec_sigmoid(a), m);
    }
}

/* out = v dy/dx at x: the tangent and the cotangent alike. */
static void derivative(float *restrict out, const float *restrict x, const float *restrict v, int64_t n) {
    for (int64_t i = 0; i < n; i += TIM_VECTOR) {
        const int64_t m = vec_count(i, n);
        const Vec a = vec_load_some(x + i, m), s = vec_sigmoid(a);
        vec_store_some(out + i, vec_load_some(v + i, m) * s * (1.0F + a * (1.0F - s)), m);
    }
}

static float *scratch_of(const TimNode *node, int part) {
    return (float *)node->work + (size_t)part * 3 * scratch_floats(node->in[0].cols);
}

static void forward(const TimNode *node) {
    const TimMatrix *x = &node->in[0], *y = &node->out[0];
    const size_t width = scratch_floats(x->cols);
#pragma omp parallel for num_threads(node->threads) schedule(static)
    for (int part = 0; part < node->threads; part++) {
        float *scratch = scratch_of(node, part);
        const int64_t end = x->rows * (part + 1) / node->threads;
        for (int64_t r = x->rows * part / node->threads; r < end; r++) {
            float *out = row_begin(y, r, scratch + width);
            silu(out, row_read(x, r, scratch), x->cols);
            row_commit(y, r, out);
        }
    }
}

/* out (+)= v dy/dx by rows; x has the rows that belong to v. */
static void apply(const TimNode *node, const TimMatrix *out, const TimMatrix *v, TimMatrix x, bool add) {
    const size_t width = scratch_floats(x.cols);
#pragma omp parallel for num_threads(node->threads) schedule(static)
    for (int part = 0; part < node->threads; part++) {
        float *scratch = scratch_of(node, part);
        const int64_t end = x.rows * (part + 1) / node->threads;
        for (int64_t r = x.rows * part / node->threads; r < end; r++) {
            derivative(scratch + 2 * width, row_read(&x, r, scratch), row_read(v, r, scratch + width), x.cols);
            row_write(out, r, scratch + 2 * width, add);
        }
    }
}

static void jvp(const TimNode *node) {
    apply(node, &node->t_out[0], &node->t_in[0], tim_matrix_rows(node->in[0], node->in[0].rows - node->t_out[0].rows), false);
}

static void vjp(const TimNode *node) {
    apply(node, &node->g_in[0], &node->g_out[0], node->in[0], node->add_in[0]);
}

extern const TimOp TIM_ISA_SYMBOL(tim_op_silu);
const TimOp TIM_ISA_SYMBOL(tim_op_silu) = {"silu", infer, NULL, NULL, forward, vjp, jvp};
