/* out[b] = scale table[label[b]]: labels (B, 1) i64, table (rows, D) f32 or bf16, out (B, D) f32. vjp: g_table[label[b]] += scale
 * g[b]. No tangent. The caller has checked that every label is a row of the table. */
#include "op/kernel.h"

enum { LABELS, TABLE }; /* the inputs */

static TimStatus infer(TimNode *node, TimError *err) {
    const TimMatrix *labels = &node->in[LABELS], *table = &node->in[TABLE];
    TIM_TRY(require(node, node->n_in == 2 && labels->dtype == TIM_I64 && labels->cols == 1, "wants i64 labels (B, 1)", err));
    TIM_TRY(require(node, is_float(table), "wants a table in f32 or bf16", err));
    node->n_out = 1;
    node->out[0] = matrix_of(TIM_F32, labels->rows, table->cols);
    node->vjp_reads_in = 1U << LABELS;
    node->params_in = 1U << TABLE;
    return TIM_OK;
}

static int64_t label_of(const TimNode *node, int64_t row) {
    return ((const int64_t *)node->in[LABELS].data)[row * node->in[LABELS].stride];
}

static float scale_of(const TimNode *node) {
    const float scale = node->params.embedding.scale;
    return scale == 0 ? 1 : scale;
}

static void forward(const TimNode *node) {
    const TimMatrix *table = &node->in[TABLE], *out = &node->out[0];
    const float scale = scale_of(node);
    for (int64_t r = 0; r < out->rows; r++) {
        float *y = tim_matrix_f32(out, r);
        const float *entry = row_read(table, label_of(node, r), y);
        for (int64_t i = 0; i < out->cols; i++) y[i] = scale * entry[i];
    }
}

static void vjp(const TimNode *node) {
    if (!node->g_in[TABLE].data) return;
    const float scale = scale_of(node);
    for (int64_t r = 0; r < node->g_out[0].rows; r++) {
        float *entry = tim_matrix_f32(&node->g_in[TABLE], label_of(node, r));
        const float *g = tim_matrix_f32(&node->g_out[0], r);
        for (int64_t i = 0; i < node->g_out[0].cols; i++) entry[i] += scale * g[i];
    }
}

extern const TimOp TIM_ISA_SYMBOL(tim_op_embedding);
const TimOp TIM_ISA_SYMBOL(tim_op_embedding) = {"embedding", infer, NULL, NULL, forward, vjp, NULL};
