#include "train/twin.h"

#include <string.h>

/* The tapes of a micro-batch; `jump` and `drawn` are trained. */
typedef struct Twins {
    TimNetwork *jump, *drawn, *data;
} Twins;

static TimStatus open_tapes(Twins *w, const TimObjective *o, TimPart part, const TimWeights *weights, TimError *err) {
    TIM_TRY(tim_part_network(o, part, TIM_FOR_TRAINING, part.size, false, &w->jump, err));
    TIM_TRY(tim_part_network(o, part, TIM_FOR_TWIN, part.size, false, &w->drawn, err));
    TIM_TRY(tim_part_network(o, part, TIM_FOR_EVALUATION, part.size, false, &w->data, err));
    TIM_TRY(tim_tape_bind(w->jump->tape, weights, part.lane->gradients, err));
    TIM_TRY(tim_tape_bind(w->drawn->tape, weights, part.lane->gradients, err));
    return tim_tape_bind(w->data->tape, weights, NULL, err);
}

/* The noise `e` that the picture of sample `k` gets. */
static const float *noise_of(const TimObjective *o, TimPart part, int64_t k) {
    return part.batch->x + (size_t)(part.first + k) * o->picture;
}

static void jump(const TimObjective *o, TimNetwork *n, TimPart part) {
    const TimTransportConfig *c = &o->config->transport;
    memcpy(tim_part_row(n, n->x, 0), part.batch->z + (size_t)part.first * o->picture,
           (size_t)part.size * o->picture * sizeof(float));
    for (int64_t k = 0; k < part.size; k++) tim_part_fill_times(o, n, k, c->t_max, c->t_min);
    tim_part_fill_condition(o, n, 0, &part.batch->condition, part.first, part.size);
    tim_tape_forward(n->tape, false);
}

/* rows.x_t of sample `k` from the picture that its jump leads to, and rows.target, that picture's F at (t, t). */
static void draw(const TimObjective *o, const TimNetwork *n, TimPart part, int64_t k) {
    const TimTransportConfig *c = &o->config->transport;
    const double t = part.batch->t[part.first + k];
    const TimJump end = o->transport->jump(c, c->t_max, c->t_min);
    const TimPath path = o->transport->path(c, t);
    const TimTarget at = o->transport->target(c, t, t);
    const float *z = tim_part_row(n, n->x, k), *f = tim_part_row(n, n->f, k), *e = noise_of(o, part, k);
    float *x_t = tim_part_picture(o, part.lane->rows.x_t, k), *target = tim_part_picture(o, part.lane->rows.target, k);
    for (size_t p = 0; p < o->picture; p++) {
        const double x_0 = end.x_t * (double)z[p] + end.f * (double)f[p];
        x_t[p] = (float)(path.alpha * x_0 + path.sigma * (double)e[p]);
        target[p] = (float)(at.x * x_0 + at.z * (double)e[p] + at.x_t * (double)x_t[p]);
    }
}

/* The cotangent of sample k's jump; returns mean (F_drawn - F_data)^2 / scale. */
static double pull(const TimObjective *o, const Twins *w, TimPart part, int64_t k) {
    const TimMatrix g_f = tim_tape_cotangent(w->jump->tape, w->jump->f);
    const float *drawn = tim_part_row(w->drawn, w->drawn->f, k), *data = tim_part_row(w->data, w->data->f, k);
    const double scale = tim_part_divisor(o, part.lane->sample_losses[k].denoising);
    const double factor = 2 * o->config->transition.twin_weight / (scale * (double)o->picture * (double)part.batch->size);
    float *g = tim_matrix_f32(&g_f, k);
    double sum = 0;
    for (size_t p = 0; p < o->picture; p++) {
        const double difference = (double)drawn[p] - (double)data[p];
        g[p] = (float)(factor * difference);
        sum += difference * difference;
    }
    return sum / ((double)o->picture * scale);
}

static void pull_all(const TimObjective *o, const Twins *w, TimPart part) {
    tim_part_look(o, w->data, part, 0);
    for (int64_t k = 0; k < part.size; k++) part.lane->losses.twin_gap += pull(o, w, part, k) / (double)part.batch->twins;
}

TimStatus tim_twin_run(const TimObjective *o, TimPart part, const TimWeights *weights, TimError *err) {
    const TimTransportConfig *c = &o->config->transport;
    Twins w;
    TIM_TRY(open_tapes(&w, o, part, weights, err));
    jump(o, w.jump, part);
    for (int64_t k = 0; k < part.size; k++) draw(o, w.jump, part, k);
    tim_part_look(o, w.drawn, part, c->t_max - c->t_min);
    for (int64_t k = 0; k < part.size; k++) part.lane->sample_losses[k] = tim_part_weigh(o, w.drawn, part, k);
    tim_part_add_losses(part);
    if (part.batch->pull) pull_all(o, &w, part); /* before a backward pass, which takes the values' place */
    tim_tape_backward(w.drawn->tape);
    if (part.batch->pull) tim_tape_backward(w.jump->tape);
    return TIM_OK;
}
