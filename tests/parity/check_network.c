/* The files in network: F, the projected hidden state, and the exact derivative dF along (v, 1, 0), all from one forward pass with
 * tangents. */
#include <string.h>

#include "parity/checks.h"
#include "parity/model.h"

static const double tolerance_f = 2e-5, tolerance_df = 1e-4;
/* bf16 products: 8 bits of mantissa through a few layers. */
static const double tolerance_bf16 = 4e-2;

typedef struct Inputs {
    float *x, *v, *t, *r;
    TimCondition condition;
    const TimStoredTensor *shape; /* of x: (B, C, H, W) */
} Inputs;

static TimStatus read_inputs(ParityFile *file, const TimNetworkConfig *config, Inputs *in, TimError *err) {
    TIM_TRY(parity_input_f32(file, "x", &in->x, &in->shape, err));
    TIM_TRY(parity_input_f32(file, "v", &in->v, NULL, err));
    TIM_TRY(parity_input_f32(file, "t", &in->t, NULL, err));
    TIM_TRY(parity_input_f32(file, "r", &in->r, NULL, err));
    if (in->shape->rank != 4) return tim_fail(err, TIM_E_FORMAT, "x has %d axes, not (B, C, H, W)", in->shape->rank);
    return parity_condition(file, config, "y", &in->condition, err);
}

static void put(const TimMatrix m, const void *values) {
    memcpy(m.data, values, (size_t)(m.rows * m.cols) * tim_dtype_size(m.dtype));
}

static void run(TimNetwork *n, const Inputs *in) {
    put(tim_tape_value(n->tape, n->x), in->x);
    put(tim_tape_value(n->tape, n->t), in->t);
    put(tim_tape_value(n->tape, n->r), in->r);
    if (n->labels != TIM_NONE) put(tim_tape_value(n->tape, n->labels), in->condition.labels);
    if (n->caption != TIM_NONE) put(tim_tape_value(n->tape, n->caption), in->condition.caption);
    put(tim_tape_tangent(n->tape, n->x), in->v);
    const TimMatrix t_t = tim_tape_tangent(n->tape, n->t);
    for (int64_t i = 0; i < t_t.rows; i++) *tim_matrix_f32(&t_t, i) = 1.0F;
    tim_tape_forward(n->tape, true);
}

static void compare(ParityFile *file, const char *name, TimMatrix m, double tolerance) {
    const size_t count = (size_t)(m.rows * m.cols);
    if (file->run->options.bf16)
        parity_compare_l2(file, name, m.data, count, 0, tolerance_bf16);
    else
        parity_compare_f32(file, name, m.data, count, tolerance);
}

static TimStatus check(ParityFile *file, TimModel *model, TimError *err) {
    Inputs in;
    TIM_TRY(read_inputs(file, &model->config.network, &in, err));
    const TimNetworkShape shape = {.batch = (int64_t)in.shape->dims[0],
                                   .height = (int)in.shape->dims[2],
                                   .width = (int)in.shape->dims[3],
                                   .caption_tokens = in.condition.caption_tokens,
                                   .tangent_samples = (int64_t)in.shape->dims[0],
                                   .hidden = true};
    TimNetwork n;
    TIM_TRY(tim_network_new(&n, &model->config.network, &shape, &model->options, &model->params, err));
    const TimStatus status = tim_tape_bind(n.tape, &model->weights, NULL, err);
    if (status == TIM_OK) {
        run(&n, &in);
        compare(file, "F", tim_tape_value(n.tape, n.f), tolerance_f);
        compare(file, "h_proj", tim_tape_value(n.tape, n.hidden), tolerance_f);
        compare(file, "dF", tim_tape_tangent(n.tape, n.f), tolerance_df);
    }
    tim_network_done(&n);
    return status;
}

TimStatus check_network(ParityFile *file, TimError *err) {
    TimModel *model;
    TIM_TRY(parity_model(file, &model, err));
    const TimStatus status = check(file, model, err);
    tim_model_close(model);
    return status;
}
