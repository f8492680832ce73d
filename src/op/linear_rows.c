/* y = x W' + b for a few rows, such as one a sample: x (R, K) f32, which is not rounded, W (N, K) f32 or bf16, b (N), y (R, N) f32.
 * A matrix product of bf16 would round x as well, and the times of neighbouring steps differ by less than that. For inference.
 * The time is that of reading W: each of its rows is widened once and meets all rows of x. */
#include "op/vec.h"

enum { X, W, BIAS }; /* the inputs */

static TimStatus infer(TimNode *node, TimError *err) {
    const TimMatrix *x = &node->in[X], *w = &node->in[W];
    TIM_TRY(require(node, (node->n_in == 2 || node->n_in == 3) && x->dtype == TIM_F32 && is_float(w),
                    "wants x in f32, W, and perhaps a bias", err));
    TIM_TRY(require(node, x->cols == w->cols, "W has other columns than x", err));
    TIM_TRY(require(node, node->n_in == 2 || (node->in[BIAS].cols == w->rows && node->in[BIAS].dtype == TIM_F32),
                    "the bias does not fit W", err));
    node->n_out = 1;
    node->out[0] = matrix_of(TIM_F32, x->rows, w->rows);
    return want_scratch(node, scratch_floats(w->cols), err);
}

static void forward(const TimNode *node) {
    const TimMatrix *x = &node->in[X], *w = &node->in[W], *y = &node->out[0];
    const float *bias = node->n_in == 3 ? node->in[BIAS].data : NULL;
#pragma omp parallel for num_threads(node->threads) schedule(static)
    for (int part = 0; part < node->threads; part++) {
        float *scratch = (float *)node->work + (size_t)part * scratch_floats(w->cols);
        const int64_t end = w->rows * (part + 1) / node->threads;
        for (int64_t n = w->rows * part / node->threads; n < end; n++) {
            const float *weights = row_read(w, n, scratch);
            for (int64_t r = 0; r < x->rows; r++)
                tim_matrix_f32(y, r)[n] = row_dot(tim_matrix_f32(x, r), weights, x->cols) + (bias ? bias[n] : 0);
        }
    }
}

extern const TimOp TIM_ISA_SYMBOL(tim_op_linear_rows);
const TimOp TIM_ISA_SYMBOL(tim_op_linear_rows) = {"linear_rows", infer, NULL, NULL, forward, NULL, NULL};
