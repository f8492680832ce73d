/* out = in in another dtype (R, D). Tangent and cotangent are converted the same way. */
#include "op/kernel.h"

static TimStatus infer(TimNode *node, TimError *err) {
    TIM_TRY(require(node, node->n_in == 1 && is_float(&node->in[0]), "wants one f32 or bf16 matrix", err));
    node->n_out = 1;
    node->out[0] = matrix_of(node->params.cast.dtype, node->in[0].rows, node->in[0].cols);
    return want_scratch(node, 2 * scratch_floats(node->in[0].cols), err);
}

static void convert(const TimNode *node, const TimMatrix *out, const TimMatrix *in, bool add) {
    const size_t width = scratch_floats(in->cols);
#pragma omp parallel for num_threads(node->threads) schedule(static)
    for (int part = 0; part < node->threads; part++) {
        float *scratch = (float *)node->work + (size_t)part * width;
        const int64_t end = in->rows * (part + 1) / node->threads;
        for (int64_t r = in->rows * part / node->threads; r < end; r++) row_write(out, r, row_read(in, r, scratch), add);
    }
}

static void forward(const TimNode *node) {
    convert(node, &node->out[0], &node->in[0], false);
}

static void jvp(const TimNode *node) {
    convert(node, &node->t_out[0], &node->t_in[0], false);
}

static void vjp(const TimNode *node) {
    convert(node, &node->g_in[0], &node->g_out[0], node->add_in[0]);
}

extern const TimOp TIM_ISA_SYMBOL(tim_op_cast);
const TimOp TIM_ISA_SYMBOL(tim_op_cast) = {"cast", infer, NULL, NULL, forward, vjp, jvp};
