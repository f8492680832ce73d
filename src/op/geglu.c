/* y = GELU(g) x, all (R, K) (Shazeer, arXiv 2002.05202), with the tanh form of GELU (Hendrycks and Gimpel, arXiv 1606.08415), which
 * is gelu_pytorch_tanh in Gemma and gelu_new in T5:
 *   GELU(g) = g / 2 (1 + tanh(u)) = g sigmoid(2 u),  u = sqrt(2 / pi) (g + 0.044715 g^3)
 * No tangent and no cotangent: the networks that have it are frozen. */
#include "op/vec.h"

enum { G, X }; /* the inputs */

enum { ROWS = 3 };

static TimStatus infer(TimNode *node, TimError *err) {
    const TimMatrix *g = &node->in[G], *x = &node->in[X];
    TIM_TRY(require(node, node->n_in == 2 && is_float(g) && g->dtype == x->dtype, "wants g and x of one dtype", err));
    TIM_TRY(require(node, g->rows == x->rows && g->cols == x->cols, "g and x differ in shape", err));
    node->n_out = 1;
    node->out[0] = matrix_of(g->dtype, g->rows, g->cols);
    return want_scratch(node, ROWS * scratch_floats(g->cols), err);
}

static void gated(float *restrict y, const float *restrict g, const float *restrict x, int64_t n) {
    for (int64_t i = 0; i < n; i += TIM_VECTOR) {
        const int64_t m = vec_count(i, n);
        const Vec v = vec_load_some(g + i, m), twice_u = 1.59576912160573F * v * (1.0F + 0.044715F * v * v);
        vec_store_some(y + i, v * vec_sigmoid(twice_u) * vec_load_some(x + i, m), m);
    }
}

static void forward(const TimNode *node) {
    const TimMatrix *g = &node->in[G], *y = &node->out[0];
    const size_t width = scratch_floats(g->cols);
#pragma omp parallel for num_threads(node->threads) schedule(static)
    for (int part = 0; part < node->threads; part++) {
        float *scratch = (float *)node->work + (size_t)part * ROWS * width;
        const int64_t end = g->rows * (part + 1) / node->threads;
        for (int64_t r = g->rows * part / node->threads; r < end; r++) {
            float *out = row_begin(y, r, scratch + 2 * width);
            gated(out, row_read(g, r, scratch), row_read(&node->in[X], r, scratch + width), g->cols);
            row_commit(y, r, out);
        }
    }
}

extern const TimOp TIM_ISA_SYMBOL(tim_op_geglu);
const TimOp TIM_ISA_SYMBOL(tim_op_geglu) = {"geglu", infer, NULL, NULL, forward, NULL, NULL};
