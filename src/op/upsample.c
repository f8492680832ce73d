/* y(f y + i, f x + j) = x(y, x): each pixel of a map (B H W, C) becomes f x f of them, (B fH fW, C). Inference only. */
#include "op/kernel.h"

static TimStatus infer(TimNode *node, TimError *err) {
    const TimUpsampleParams *p = &node->params.upsample;
    const TimMatrix *x = &node->in[0];
    TIM_TRY(require(node,
                    node->n_in == 1 && is_float(x) && p->factor > 0 && p->height > 0 && p->width > 0 &&
                        x->rows % ((int64_t)p->height * p->width) == 0,
                    "wants float rows of whole pictures", err));
    node->n_out = 1;
    node->out[0] = matrix_of(p->out, x->rows * p->factor * p->factor, x->cols);
    return want_scratch(node, scratch_floats(x->cols), err);
}

static void forward(const TimNode *node) {
    const TimUpsampleParams *p = &node->params.upsample;
    const TimMatrix *x = &node->in[0], *y = &node->out[0];
    const int64_t f = p->factor, width = p->width * f, lines = y->rows / width;
#pragma omp parallel for num_threads(node->threads) schedule(static)
    for (int part = 0; part < node->threads; part++) {
        float *scratch = (float *)node->work + (size_t)part * scratch_floats(x->cols);
        const int64_t end = lines * (part + 1) / node->threads;
        for (int64_t line = lines * part / node->threads; line < end; line++)
            for (int64_t at = 0; at < width; at++)
                row_write(y, line * width + at, row_read(x, line / f * p->width + at / f, scratch), false);
    }
}

extern const TimOp TIM_ISA_SYMBOL(tim_op_upsample);
const TimOp TIM_ISA_SYMBOL(tim_op_upsample) = {"upsample", infer, NULL, NULL, forward, NULL, NULL};
