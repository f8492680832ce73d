/* out = f + t x, each row of x scaled by its own t: what of a noisy picture belongs to its velocity whatever the network says.
 * f, x (B, D), t (B, 1), f32. vjp for the cotangent c: g_f = c, g_x = t c, g_t = sum x c. jvp: t_f + t t_x + t_t x. */
#include "op/kernel.h"
#include "op/vec.h"

enum { F, X, T }; /* the inputs */

static TimStatus infer(TimNode *node, TimError *err) {
    const TimMatrix *f = &node->in[F], *x = &node->in[X], *t = &node->in[T];
    TIM_TRY(require(node, node->n_in == 3 && f->dtype == TIM_F32 && x->dtype == TIM_F32 && t->dtype == TIM_F32,
                    "wants three f32 matrices", err));
    TIM_TRY(require(node, f->rows == x->rows && f->cols == x->cols, "the matrices differ in shape", err));
    TIM_TRY(require(node, t->rows == x->rows && t->cols == 1, "wants a time for each row", err));
    node->n_out = 1;
    node->out[0] = matrix_of(TIM_F32, f->rows, f->cols);
    node->vjp_reads_in = 1U << X | 1U << T;
    return TIM_OK;
}

/* out = f + t x + s y for one row; what is absent is zero */
static void combine(float *out, const float *f, float t, const float *x, float s, const float *y, int64_t n) {
    for (int64_t i = 0; i < n; i++) out[i] = (f ? f[i] : 0) + (x ? t * x[i] : 0) + (y ? s * y[i] : 0);
}

static const float *row_of(const TimMatrix *m, int64_t row) {
    return m->data ? tim_matrix_f32(m, row) : NULL;
}

static void forward(const TimNode *node) {
    const TimMatrix *in = node->in, *out = &node->out[0];
    for (int64_t r = 0; r < out->rows; r++)
        combine(tim_matrix_f32(out, r), row_of(&in[F], r), *row_of(&in[T], r), row_of(&in[X], r), 0, NULL, out->cols);
}

static void jvp(const TimNode *node) {
    const TimMatrix *in = node->in, *t_in = node->t_in, *out = &node->t_out[0];
    const int64_t first = in[F].rows - out->rows;
    for (int64_t r = 0; r < out->rows; r++) {
        const float *t_t = row_of(&t_in[T], r);
        combine(tim_matrix_f32(out, r), row_of(&t_in[F], r), *row_of(&in[T], first + r), row_of(&t_in[X], r), t_t ? *t_t : 0,
                row_of(&in[X], first + r), out->cols);
    }
}

/* row of g_in = or += factor c */
static void give(const TimMatrix *g_in, bool add, int64_t row, float factor, const float *c) {
    if (g_in->data) combine(tim_matrix_f32(g_in, row), add ? row_of(g_in, row) : NULL, factor, c, 0, NULL, g_in->cols);
}

static void vjp(const TimNode *node) {
    for (int64_t r = 0; r < node->g_out[0].rows; r++) {
        const float *c = row_of(&node->g_out[0], r);
        give(&node->g_in[F], node->add_in[F], r, 1, c);
        give(&node->g_in[X], node->add_in[X], r, *row_of(&node->in[T], r), c);
        if (!node->g_in[T].data) continue;
        float *g_t = tim_matrix_f32(&node->g_in[T], r);
        *g_t = (node->add_in[T] ? *g_t : 0) + row_dot(row_of(&node->in[X], r), c, node->g_out[0].cols);
    }
}

extern const TimOp TIM_ISA_SYMBOL(tim_op_skip);
const TimOp TIM_ISA_SYMBOL(tim_op_skip) = {"skip", infer, NULL, NULL, forward, vjp, jvp};
