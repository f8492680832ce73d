/* y = x / sqrt(mean(x x) + eps) (offset + w): x (R, D), w (1, D); offset is 1 in Gemma, 0 in T5 (Zhang and Sennrich, arXiv
 * 1910.07467). No tangent and no cotangent: the networks that have it are frozen. */
#include "op/rms.h"

enum { X, W }; /* the inputs */

static TimStatus infer(TimNode *node, TimError *err) {
    const TimMatrix *x = &node->in[X], *w = &node->in[W];
    TIM_TRY(require(node, node->n_in == 2 && is_float(x) && w->dtype == TIM_F32, "wants x and an f32 weight", err));
    TIM_TRY(require(node, w->rows == 1 && w->cols == x->cols, "the weight has another width than x", err));
    node->n_out = 1;
    node->out[0] = matrix_of(node->params.rms_norm.out, x->rows, x->cols);
    return want_scratch(node, 2 * scratch_floats(x->cols), err);
}

static void forward(const TimNode *node) {
    const TimMatrix *x = &node->in[X], *y = &node->out[0];
    const TimRmsNormParams *p = &node->params.rms_norm;
    const size_t width = scratch_floats(x->cols);
#pragma omp parallel for num_threads(node->threads) schedule(static)
    for (int part = 0; part < node->threads; part++) {
        float *scratch = (float *)node->work + (size_t)part * 2 * width;
        const int64_t end = x->rows * (part + 1) / node->threads;
        for (int64_t r = x->rows * part / node->threads; r < end; r++) {
            const float *row = row_read(x, r, scratch);
            float *out = row_begin(y, r, scratch + width);
            rms_normalize(out, row, row_rstd(row, x->cols, p->eps), node->in[W].data, p->offset, x->cols);
            row_commit(y, r, out);
        }
    }
}

extern const TimOp TIM_ISA_SYMBOL(tim_op_rms_norm);
const TimOp TIM_ISA_SYMBOL(tim_op_rms_norm) = {"rms_norm", infer, NULL, NULL, forward, NULL, NULL};
