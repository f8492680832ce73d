/* Timestep features: out[b] = (cos(t f_i), sin(t f_i)), f_i = max_period^(-i / half), i < half = width / 2. t (B, 1), out (B,
 * width), f32. Frequencies in fp32 as the published code computes them; the product and the functions too. */
#include "op/kernel.h"

static TimStatus infer(TimNode *node, TimError *err) {
    const TimMatrix *t = &node->in[0];
    TIM_TRY(require(node, node->n_in == 1 && t->cols == 1 && t->dtype == TIM_F32, "wants f32 times (B, 1)", err));
    TIM_TRY(require(node, node->params.sinusoid.width % 2 == 0, "wants an even width", err));
    node->n_out = 1;
    node->out[0] = matrix_of(TIM_F32, t->rows, node->params.sinusoid.width);
    node->vjp_reads_in = 1;
    return TIM_OK;
}

static float frequency(const TimNode *node, int64_t i, int64_t half) {
    return expf(-logf(node->params.sinusoid.max_period) * (float)i / (float)half);
}

static float time_of(const TimMatrix *t, int64_t row) {
    return *tim_matrix_f32(t, row);
}

static void forward(const TimNode *node) {
    const int64_t half = node->out[0].cols / 2;
    for (int64_t i = 0; i < half; i++) {
        const float f = frequency(node, i, half);
        for (int64_t r = 0; r < node->out[0].rows; r++) {
            float *out = tim_matrix_f32(&node->out[0], r);
            const float angle = time_of(&node->in[0], r) * f;
            out[i] = cosf(angle);
            out[half + i] = sinf(angle);
        }
    }
}

static void jvp(const TimNode *node) {
    const int64_t half = node->out[0].cols / 2, first = node->in[0].rows - node->t_out[0].rows;
    for (int64_t i = 0; i < half; i++) {
        const float f = frequency(node, i, half);
        for (int64_t r = 0; r < node->t_out[0].rows; r++) {
            float *out = tim_matrix_f32(&node->t_out[0], r);
            const float angle = time_of(&node->in[0], first + r) * f, t_angle = time_of(&node->t_in[0], r) * f;
            out[i] = -sinf(angle) * t_angle;
            out[half + i] = cosf(angle) * t_angle;
        }
    }
}

static void vjp(const TimNode *node) {
    const int64_t half = node->out[0].cols / 2;
    for (int64_t r = 0; r < node->g_out[0].rows; r++) {
        const float *g = tim_matrix_f32(&node->g_out[0], r), t = time_of(&node->in[0], r);
        float sum = node->add_in[0] ? time_of(&node->g_in[0], r) : 0;
        for (int64_t i = 0; i < half; i++) {
            const float f = frequency(node, i, half);
            sum += f * (g[half + i] * cosf(t * f) - g[i] * sinf(t * f));
        }
        *tim_matrix_f32(&node->g_in[0], r) = sum;
    }
}

extern const TimOp TIM_ISA_SYMBOL(tim_op_sinusoid);
const TimOp TIM_ISA_SYMBOL(tim_op_sinusoid) = {"sinusoid", infer, NULL, NULL, forward, vjp, jvp};
