/* What is known of a velocity before any network: out = f + g(t) x, with g(t) x the best linear guess of z - x0 from x = (1 - t) x0 + t z,
 * for data x0 of standard deviation s and normal noise z:
 *   g(t) = (t - (1 - t) s^2) / D,  D = t^2 + (1 - t)^2 s^2,  g'(t) = (1 + s^2) / D - 2 g(t)^2.
 * f, x (B, D), t (B, 1), f32. Source: the skip of EDM (arXiv 2206.00364, table 1), for the straight path and its velocity.
 * vjp: g_f = c, g_x = g c, g_t = g' sum x c for the cotangent c. jvp: t_f + g t_x + g' t_t x. */
#include "op/kernel.h"

static TimStatus infer(TimNode *node, TimError *err) {
    const TimMatrix *f = &node->in[0], *x = &node->in[1], *t = &node->in[2];
    TIM_TRY(require(node, node->n_in == 3 && f->dtype == TIM_F32 && x->dtype == TIM_F32 && t->dtype == TIM_F32,
                    "wants three f32 matrices", err));
    TIM_TRY(require(node, f->rows == x->rows && f->cols == x->cols, "the matrices differ in shape", err));
    TIM_TRY(require(node, t->rows == x->rows && t->cols == 1, "wants a time for each row", err));
    node->n_out = 1;
    node->out[0] = matrix_of(TIM_F32, f->rows, f->cols);
    node->vjp_reads_in = 2 | 4;
    return TIM_OK;
}

typedef struct Gain {
    float value, slope; /* g(t), g'(t) */
} Gain;

static Gain gain_at(const TimNode *node, int64_t row) {
    const float t = *tim_matrix_f32(&node->in[2], row), s2 = node->params.skip.std * node->params.skip.std;
    const float d = t * t + (1 - t) * (1 - t) * s2, g = (t - (1 - t) * s2) / d;
    return (Gain){g, (1 + s2) / d - 2 * g * g};
}

static const float *row_or_null(const TimMatrix *m, int64_t row) {
    return m->data ? tim_matrix_f32(m, row) : NULL;
}

static void forward(const TimNode *node) {
    for (int64_t r = 0; r < node->out[0].rows; r++) {
        const float *f = tim_matrix_f32(&node->in[0], r), *x = tim_matrix_f32(&node->in[1], r), g = gain_at(node, r).value;
        float *out = tim_matrix_f32(&node->out[0], r);
        for (int64_t i = 0; i < node->out[0].cols; i++) out[i] = f[i] + g * x[i];
    }
}

static void jvp(const TimNode *node) {
    const int64_t first = node->in[0].rows - node->t_out[0].rows;
    for (int64_t r = 0; r < node->t_out[0].rows; r++) {
        const Gain g = gain_at(node, first + r);
        const float *x = tim_matrix_f32(&node->in[1], first + r);
        const float *t_f = row_or_null(&node->t_in[0], r), *t_x = row_or_null(&node->t_in[1], r),
                    *t_t = row_or_null(&node->t_in[2], r);
        float *out = tim_matrix_f32(&node->t_out[0], r);
        const float slope = t_t ? g.slope * *t_t : 0;
        for (int64_t i = 0; i < node->t_out[0].cols; i++) out[i] = (t_f ? t_f[i] : 0) + (t_x ? g.value * t_x[i] : 0) + slope * x[i];
    }
}

static void give(const TimMatrix *g_in, bool add, int64_t row, const float *c, float factor) {
    if (!g_in->data) return;
    float *out = tim_matrix_f32(g_in, row);
    for (int64_t i = 0; i < g_in->cols; i++) out[i] = (add ? out[i] : 0) + factor * c[i];
}

static void vjp(const TimNode *node) {
    for (int64_t r = 0; r < node->g_out[0].rows; r++) {
        const float *c = tim_matrix_f32(&node->g_out[0], r), *x = tim_matrix_f32(&node->in[1], r);
        const Gain g = gain_at(node, r);
        give(&node->g_in[0], node->add_in[0], r, c, 1);
        give(&node->g_in[1], node->add_in[1], r, c, g.value);
        if (!node->g_in[2].data) continue;
        float *g_t = tim_matrix_f32(&node->g_in[2], r), sum = 0;
        for (int64_t i = 0; i < node->g_out[0].cols; i++) sum += x[i] * c[i];
        *g_t = (node->add_in[2] ? *g_t : 0) + g.slope * sum;
    }
}

extern const TimOp TIM_ISA_SYMBOL(tim_op_skip);
const TimOp TIM_ISA_SYMBOL(tim_op_skip) = {"skip", infer, NULL, NULL, forward, vjp, jvp};
