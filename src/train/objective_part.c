#include "train/objective_part.h"

#include <math.h>
#include <string.h>

#include "train/loss.h"
#include "train/time_weight.h"

TimStatus tim_part_network(const TimObjective *o, TimPart part, TimPurpose purpose, int64_t batch, bool tangent, TimNetwork **out,
                           TimError *err) {
    const bool trains = purpose == TIM_FOR_TRAINING;
    const TimNetworkShape shape = {.batch = batch,
                                   .height = o->shape.height,
                                   .width = o->shape.width,
                                   .caption_tokens = o->shape.caption_tokens,
                                   .tangent_samples = tangent ? batch : 0,
                                   .gradients = trains,
                                   .hidden = trains && o->shape.alignment};
    return tim_lane_network(part.lane, purpose, &o->config->network, &shape, &o->options, o->params, out, err);
}

void tim_part_fill_condition(const TimObjective *o, TimNetwork *n, int64_t row, const TimCondition *condition, int64_t first,
                             int64_t size) {
    if (n->labels != TIM_NONE) {
        const TimMatrix m = tim_tape_value(n->tape, n->labels);
        memcpy((int64_t *)m.data + row, condition->labels + first, (size_t)size * sizeof(int64_t));
        return;
    }
    const size_t caption = (size_t)o->shape.caption_tokens * (size_t)o->config->network.cap_feat_dim;
    const TimMatrix m = tim_tape_value(n->tape, n->caption);
    memcpy((float *)m.data + (size_t)row * caption, condition->caption + (size_t)first * caption,
           (size_t)size * caption * sizeof(float));
}

void tim_part_fill_times(const TimObjective *o, TimNetwork *n, int64_t row, double t, double r) {
    const TimMatrix of_t = tim_tape_value(n->tape, n->t), of_r = tim_tape_value(n->tape, n->r);
    *tim_matrix_f32(&of_t, row) = (float)o->transport->c_noise(&o->config->transport, t);
    *tim_matrix_f32(&of_r, row) = (float)o->transport->c_noise(&o->config->transport, r);
}

/* What the weight of sample `k` is divided by: (loss + 1e-5)^p, of the loss that the batch expects of it where it does. */
static double divisor(const TimObjective *o, TimPart part, int64_t k, double loss) {
    const float expected = part.batch->expected_loss ? part.batch->expected_loss[part.first + k] : 0;
    return pow((expected > 0 ? (double)expected : loss) + 1e-5, o->config->transition.loss_weight_power);
}

static TimLossShape loss_shape(const TimObjective *o, TimSampleKind kind) {
    return (TimLossShape){.channels = (size_t)o->config->network.in_channels,
                          .positions = (size_t)o->shape.height * (size_t)o->shape.width,
                          .direction = o->config->transition.use_dir_loss,
                          .absolute = kind == TIM_COMPOSED,
                          .edges = o->config->transition.composed_edges,
                          .width = (size_t)o->shape.width};
}

TimSampleLoss tim_part_weigh(const TimObjective *o, TimNetwork *n, TimPart part, int64_t k) {
    const TimLosses *losses = &part.lane->losses;
    const int64_t i = part.first + k;
    const TimLossShape shape = loss_shape(o, part.kind);
    const TimMatrix g_f = tim_tape_cotangent(n->tape, n->f);
    const float *f = tim_part_row(n, n->f, k), *target = tim_part_picture(o, part.lane->rows.target, k);
    const double w_kind = part.kind == TIM_COMPOSED ? o->config->transition.composed_weight : 1;
    const double w_time = tim_time_weight(&o->config->transition, o->config->transport.sigma_d, part.batch->t[i], part.batch->r[i],
                                          part.kind != TIM_TRANSITION);
    TimSampleLoss loss = {.denoising = tim_loss(f, target, shape)};
    const double weight = w_kind * w_time / divisor(o, part, k, loss.denoising);
    loss.weighted = weight * loss.denoising;
    tim_loss_gradient(tim_matrix_f32(&g_f, k), f, target, shape, weight / (double)part.batch->size);
    if (losses->target) memcpy(tim_part_picture(o, losses->target, i), target, o->picture * sizeof *target);
    if (losses->per_sample) losses->per_sample[i] = (float)loss.denoising;
    if (losses->time_weight) losses->time_weight[i] = (float)w_time;
    return loss;
}

void tim_part_add_losses(TimPart part) {
    TimLosses *losses = &part.lane->losses;
    const double batch = (double)part.batch->size;
    for (int64_t k = 0; k < part.size; k++) {
        losses->weighted += part.lane->sample_losses[k].weighted / batch;
        losses->denoising += part.lane->sample_losses[k].denoising / batch;
        losses->proj += part.lane->sample_losses[k].proj / batch;
    }
}
