/* out = a + scale b, both (R, D). vjp: g_a = g, g_b = scale g. jvp: t = t_a + scale t_b. */
#include "op/kernel.h"

enum { A, B }; /* the inputs */

static TimStatus infer(TimNode *node, TimError *err) {
    const TimMatrix *a = &node->in[A], *b = &node->in[B];
    TIM_TRY(require(node, node->n_in == 2 && a->dtype == TIM_F32 && b->dtype == TIM_F32, "wants two f32 matrices", err));
    TIM_TRY(require(node, a->rows == b->rows && a->cols == b->cols, "the matrices differ in shape", err));
    node->n_out = 1;
    node->out[0] = matrix_of(TIM_F32, a->rows, a->cols);
    return TIM_OK;
}

enum { FEW_ROWS = 4096 }; /* not worth waking threads */

/* out = a + scale b by rows; an absent matrix is zero. */
static void sum(const TimMatrix *out, const TimMatrix *a, const TimMatrix *b, float scale, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static) if (out->rows > FEW_ROWS)
    for (int64_t r = 0; r < out->rows; r++) {
        float *o = tim_matrix_f32(out, r);
        const float *x = a->data ? tim_matrix_f32(a, r) : NULL, *y = b->data ? tim_matrix_f32(b, r) : NULL;
        for (int64_t i = 0; i < out->cols; i++) o[i] = (x ? x[i] : 0) + (y ? scale * y[i] : 0);
    }
}

static void forward(const TimNode *node) {
    sum(&node->out[0], &node->in[A], &node->in[B], node->params.add.scale, node->threads);
}

static void jvp(const TimNode *node) {
    sum(&node->t_out[0], &node->t_in[A], &node->t_in[B], node->params.add.scale, node->threads);
}

static void give(const TimMatrix *g_in, bool add, const TimMatrix *g, float scale) {
    for (int64_t r = 0; g_in->data && r < g->rows; r++) {
        float *o = tim_matrix_f32(g_in, r);
        const float *x = tim_matrix_f32(g, r);
        for (int64_t i = 0; i < g->cols; i++) o[i] = (add ? o[i] : 0) + scale * x[i];
    }
}

static void vjp(const TimNode *node) {
    give(&node->g_in[A], node->add_in[A], &node->g_out[0], 1.0F);
    give(&node->g_in[B], node->add_in[B], &node->g_out[0], node->params.add.scale);
}

extern const TimOp TIM_ISA_SYMBOL(tim_op_add);
const TimOp TIM_ISA_SYMBOL(tim_op_add) = {"add", infer, NULL, NULL, forward, vjp, jvp};
