#include "train/objective_part.h"

#include <string.h>

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
