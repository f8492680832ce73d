/* RMS norm of each head, then half-split rotary: what Gemma does to q and k. x and y (R, H dh), w (1, dh), positions (R, 1) i64.
 *   n = x / sqrt(mean(x x) + eps) (offset + w)                             over each head
 *   y = (n0 cos - n1 sin, n1 cos + n0 sin)                                 n0 and n1 are the halves of a head
 * cos and sin (P, dh / 2) are read in the row of each token's position; the caller has checked that positions are below P.
 * No tangent and no cotangent: the networks that have it are frozen. */
#include "op/rms.h"

enum { X, W, POSITIONS }; /* the inputs */

static TimStatus infer(TimNode *node, TimError *err) {
    const TimMatrix *x = &node->in[X], *w = &node->in[W], *positions = &node->in[POSITIONS];
    TIM_TRY(require(node, node->n_in == 3 && is_float(x) && w->dtype == TIM_F32 && positions->dtype == TIM_I64,
                    "wants x, an f32 weight and i64 positions", err));
    TIM_TRY(require(node, w->rows == 1 && w->cols > 0 && w->cols % 2 == 0 && x->cols % w->cols == 0,
                    "the weight is not as wide as a head, or that is odd", err));
    TIM_TRY(require(node, positions->rows == x->rows && positions->cols == 1, "wants a position for each row", err));
    node->n_out = 1;
    node->out[0] = matrix_of(x->dtype, x->rows, x->cols);
    return want_scratch(node, 2 * scratch_floats(x->cols), err);
}

/* In place on one head of 2 `half` columns. */
static void rotate(float *restrict x, const float *restrict cos, const float *restrict sin, int64_t half) {
#pragma omp simd
    for (int64_t i = 0; i < half; i++) {
        const float a = x[i], b = x[half + i];
        x[i] = a * cos[i] - b * sin[i];
        x[half + i] = b * cos[i] + a * sin[i];
    }
}

static void forward(const TimNode *node) {
    const TimMatrix *x = &node->in[X], *y = &node->out[0], *w = &node->in[W];
    const TimHeadRmsNormParams *p = &node->params.head_rms_norm;
    const int64_t width = w->cols, half = width / 2;
    const size_t cols = scratch_floats(x->cols);
#pragma omp parallel for num_threads(node->threads) schedule(static)
    for (int part = 0; part < node->threads; part++) {
        float *scratch = (float *)node->work + (size_t)part * 2 * cols;
        const int64_t end = x->rows * (part + 1) / node->threads;
        for (int64_t r = x->rows * part / node->threads; r < end; r++) {
            const int64_t position = ((const int64_t *)node->in[POSITIONS].data)[r * node->in[POSITIONS].stride];
            const float *row = row_read(x, r, scratch);
            float *out = row_begin(y, r, scratch + cols);
            for (int64_t h = 0; h < x->cols; h += width) {
                rms_normalize(out + h, row + h, row_rstd(row + h, width, p->eps), w->data, p->offset, width);
                rotate(out + h, p->cos + position * half, p->sin + position * half, half);
            }
            row_commit(y, r, out);
        }
    }
}

extern const TimOp TIM_ISA_SYMBOL(tim_op_head_rms_norm);
const TimOp TIM_ISA_SYMBOL(tim_op_head_rms_norm) = {"head_rms_norm", infer, NULL, NULL, forward, NULL, NULL};
