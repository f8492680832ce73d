/* out (R, C_0 + C_1 + ...) = the columns of in[0] (R, C_0), in[1] (R, C_1), ... side by side, all of one dtype.
 * Only moves elements: tangents and cotangents move alike; an absent tangent is zero. */
#include "op/kernel.h"

static TimStatus infer(TimNode *node, TimError *err) {
    const TimMatrix *first = &node->in[0];
    int64_t cols = 0;
    TIM_TRY(require(node, node->n_in >= 1 && is_float(first), "wants float matrices", err));
    for (int i = 0; i < node->n_in; i++) {
        TIM_TRY(require(node, node->in[i].dtype == first->dtype && node->in[i].rows == first->rows,
                        "wants matrices of one dtype with equally many rows", err));
        cols += node->in[i].cols;
    }
    node->n_out = 1;
    node->out[0] = matrix_of(first->dtype, first->rows, cols);
    return want_scratch(node, 2 * scratch_floats(cols), err);
}

/* to (+)= from, row by row; zeros where `from` is absent. Shapes and dtypes agree. */
static void move(const TimNode *node, TimMatrix to, TimMatrix from, bool add) {
    const size_t bytes = (size_t)to.cols * tim_dtype_size(to.dtype), width = scratch_floats(node->out[0].cols);
#pragma omp parallel for num_threads(node->threads) schedule(static)
    for (int part = 0; part < node->threads; part++) {
        float *scratch = (float *)node->work + (size_t)part * 2 * width;
        const int64_t end = to.rows * (part + 1) / node->threads;
        for (int64_t r = to.rows * part / node->threads; r < end; r++) {
            const TimMatrix row = tim_matrix_rows(to, r);
            if (!from.data)
                memset(row.data, 0, bytes);
            else if (add)
                row_write(&to, r, row_read(&from, r, scratch), true);
            else
                memcpy(row.data, tim_matrix_rows(from, r).data, bytes);
        }
    }
}

static void join(const TimNode *node, TimMatrix out, const TimMatrix *in) {
    int64_t at = 0;
    for (int i = 0; i < node->n_in; i++) {
        move(node, tim_matrix_columns(out, at, node->in[i].cols), in[i], false);
        at += node->in[i].cols;
    }
}

static void forward(const TimNode *node) {
    join(node, node->out[0], node->in);
}

static void jvp(const TimNode *node) {
    join(node, node->t_out[0], node->t_in);
}

static void vjp(const TimNode *node) {
    int64_t at = 0;
    for (int i = 0; i < node->n_in; i++) {
        if (node->g_in[i].data)
            move(node, node->g_in[i], tim_matrix_columns(node->g_out[0], at, node->in[i].cols), node->add_in[i]);
        at += node->in[i].cols;
    }
}

extern const TimOp TIM_ISA_SYMBOL(tim_op_concat);
const TimOp TIM_ISA_SYMBOL(tim_op_concat) = {"concat", infer, NULL, NULL, forward, vjp, jvp};
