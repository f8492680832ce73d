/* y = max(x, 0), any shape. dy/dx = 1 where x > 0, else 0. */
#include "op/kernel.h"

static TimStatus infer(TimNode *node, TimError *err) {
    const TimMatrix *x = &node->in[0];
    TIM_TRY(require(node, node->n_in == 1 && is_float(x), "wants one float matrix", err));
    node->n_out = 1;
    node->out[0] = matrix_of(x->dtype, x->rows, x->cols);
    node->vjp_reads_in = 1;
    return want_scratch(node, 3 * scratch_floats(x->cols), err);
}

/* out (+)= v where x > 0; forward is the case v = x. x has the rows that belong to v. */
static void apply(const TimNode *node, const TimMatrix *out, const TimMatrix *v, TimMatrix x, bool add) {
    const size_t width = scratch_floats(x.cols);
#pragma omp parallel for num_threads(node->threads) schedule(static)
    for (int part = 0; part < node->threads; part++) {
        float *scratch = (float *)node->work + (size_t)part * 3 * width, *passed = scratch + 2 * width;
        const int64_t end = x.rows * (part + 1) / node->threads;
        for (int64_t r = x.rows * part / node->threads; r < end; r++) {
            const float *restrict in = row_read(&x, r, scratch), *restrict value = row_read(v, r, scratch + width);
#pragma omp simd
            for (int64_t i = 0; i < x.cols; i++) passed[i] = in[i] <= 0 ? 0.0F : value[i]; /* keeps a NaN */
            row_write(out, r, passed, add);
        }
    }
}

static void forward(const TimNode *node) {
    apply(node, &node->out[0], &node->in[0], node->in[0], false);
}

static void jvp(const TimNode *node) {
    apply(node, &node->t_out[0], &node->t_in[0], tim_matrix_rows(node->in[0], node->in[0].rows - node->t_out[0].rows), false);
}

static void vjp(const TimNode *node) {
    apply(node, &node->g_in[0], &node->g_out[0], node->in[0], node->add_in[0]);
}

extern const TimOp TIM_ISA_SYMBOL(tim_op_relu);
const TimOp TIM_ISA_SYMBOL(tim_op_relu) = {"relu", infer, NULL, NULL, forward, vjp, jvp};
