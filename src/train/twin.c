#include "train/twin.h"

#include <string.h>

#include "train/loss.h"

/* The tapes of a micro-batch: `jump` runs on the weights in training, the others on the critic's. */
typedef struct Twins {
    TimNetwork *jump;  /* n twins */
    TimNetwork *learn; /* 2n: drawn pictures, then pictures of the batch */
    TimNetwork *data;  /* n */
} Twins;

static TimStatus open_tapes(Twins *w, const TimObjective *o, TimPart part, const TimWeights *weights, TimError *err) {
    const TimBatch *b = part.batch;
    TIM_TRY(tim_part_network(o, part, TIM_FOR_TRAINING, part.size, false, &w->jump, err));
    TIM_TRY(tim_part_network(o, part, TIM_FOR_CRITIC, 2 * part.size, false, &w->learn, err));
    TIM_TRY(tim_part_network(o, part, TIM_FOR_EVALUATION, part.size, false, &w->data, err));
    TIM_TRY(tim_tape_bind(w->jump->tape, weights, part.lane->gradients, err));
    TIM_TRY(tim_tape_bind(w->learn->tape, b->critic, part.lane->critic_gradients, err));
    return tim_tape_bind(w->data->tape, b->critic, NULL, err);
}

/* The batch's sample whose picture the critic sees beside the first twin of the part: twins are the last samples, these are the
 * first. */
static int64_t first_beside(TimPart part) {
    return part.first - (part.batch->size - part.batch->twins);
}

static double time_of(TimPart part, int64_t k) {
    return part.batch->t[part.first + k];
}

/* ---- the jump ---- */

static void jump(const TimObjective *o, TimNetwork *n, TimPart part) {
    const TimTransportConfig *c = &o->config->transport;
    memcpy(tim_part_row(n, n->x, 0), part.batch->z + (size_t)part.first * o->picture,
           (size_t)part.size * o->picture * sizeof(float));
    for (int64_t k = 0; k < part.size; k++) tim_part_fill_times(o, n, k, c->t_max, c->t_min);
    tim_part_fill_condition(o, n, 0, &part.batch->condition, part.first, part.size);
    tim_tape_forward(n->tape, false);
}

/* x_0 of twin `k` */
static void draw(const TimObjective *o, const TimNetwork *n, int64_t k, float *x_0) {
    const TimTransportConfig *c = &o->config->transport;
    const TimJump end = o->transport->jump(c, c->t_max, c->t_min);
    const float *z = tim_part_row(n, n->x, k), *f = tim_part_row(n, n->f, k);
    for (size_t p = 0; p < o->picture; p++) x_0[p] = (float)(end.x_t * (double)z[p] + end.f * (double)f[p]);
}

/* ---- the critic ---- */

/* Row `row` of the tape, and its target, from picture `x` and the noise and time of twin `k`; it is told a jump to r = t +
 * `further`. */
static void noise(const TimObjective *o, TimNetwork *n, TimPart part, int64_t row, int64_t k, const float *x, double further,
                  float *target) {
    const TimTransportConfig *c = &o->config->transport;
    const double t = time_of(part, k);
    const TimPath path = o->transport->path(c, t);
    const TimTarget at = o->transport->target(c, t, t);
    const float *e = part.batch->x + (size_t)(part.first + k) * o->picture; /* a twin's x is its noise */
    float *x_t = tim_part_row(n, n->x, row);
    for (size_t p = 0; p < o->picture; p++) {
        x_t[p] = (float)(path.alpha * (double)x[p] + path.sigma * (double)e[p]);
        target[p] = (float)(at.x * (double)x[p] + at.z * (double)e[p] + at.x_t * (double)x_t[p]);
    }
    tim_part_fill_times(o, n, row, t, t + further);
}

/* Targets of drawn pictures into rows.target, of the others into rows.derivative. */
static void show(const TimObjective *o, const Twins *w, TimPart part) {
    const double tenth = (o->config->transport.t_max - o->config->transport.t_min) / 10;
    const int64_t beside = first_beside(part);
    TimNetwork *n = w->learn;
    for (int64_t k = 0; k < part.size; k++) {
        float *x_0 = tim_part_picture(o, part.lane->rows.x_t, k);
        draw(o, w->jump, k, x_0);
        noise(o, n, part, k, k, x_0, tenth, tim_part_picture(o, part.lane->rows.target, k));
        noise(o, n, part, part.size + k, k, part.batch->x + (size_t)(beside + k) * o->picture, 0,
              tim_part_picture(o, part.lane->rows.derivative, k));
    }
    tim_part_fill_condition(o, n, 0, &part.batch->condition, part.first, part.size);
    tim_part_fill_condition(o, n, part.size, &part.batch->condition, beside, part.size);
    tim_tape_forward(n->tape, false);
}

/* The loss of row `row` against `target`; its cotangent weighs as a diffusion sample's at the time of twin `k`. */
static double teach(const TimObjective *o, const TimNetwork *n, TimPart part, int64_t row, int64_t k, const float *target) {
    const TimLossShape shape = {.channels = (size_t)o->config->network.in_channels,
                                .positions = (size_t)o->shape.height * (size_t)o->shape.width};
    const TimMatrix g_f = tim_tape_cotangent(n->tape, n->f);
    const float *f = tim_part_row(n, n->f, row);
    const double loss = tim_loss(f, target, shape);
    const double weight = 1 / tim_part_expected_divisor(o, part, k, loss);
    tim_loss_gradient(tim_matrix_f32(&g_f, row), f, target, shape, weight / (double)part.batch->size);
    return loss;
}

static void teach_all(const TimObjective *o, const Twins *w, TimPart part) {
    for (int64_t k = 0; k < part.size; k++) {
        const float *drawn = tim_part_picture(o, part.lane->rows.target, k),
                    *data = tim_part_picture(o, part.lane->rows.derivative, k);
        const double loss = teach(o, w->learn, part, k, k, drawn), beside = teach(o, w->learn, part, part.size + k, k, data);
        part.lane->sample_losses[k].denoising = loss;
        part.lane->losses.critic_loss += (loss + beside) / (2 * (double)part.batch->twins);
    }
}

/* ---- the pull ---- */

/* The cotangent of twin k's jump; returns mean (C_drawn - C_data)^2 / scale. */
static double pull(const TimObjective *o, const Twins *w, TimPart part, int64_t k) {
    const TimMatrix g_f = tim_tape_cotangent(w->jump->tape, w->jump->f);
    const float *drawn = tim_part_row(w->learn, w->learn->f, k), *data = tim_part_row(w->data, w->data->f, k);
    const double scale = tim_part_divisor(o, part.lane->sample_losses[k].denoising);
    const double weight = part.batch->pull * o->config->transition.twin_weight;
    const double factor = 2 * weight / (scale * (double)o->picture * (double)part.batch->size);
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
    tim_part_look(o, w->data, part, tim_part_row(w->learn, w->learn->x, 0));
    for (int64_t k = 0; k < part.size; k++) part.lane->losses.twin_gap += pull(o, w, part, k) / (double)part.batch->twins;
}

TimStatus tim_twin_run(const TimObjective *o, TimPart part, const TimWeights *weights, TimError *err) {
    Twins w;
    TIM_TRY(open_tapes(&w, o, part, weights, err));
    jump(o, w.jump, part);
    show(o, &w, part);
    teach_all(o, &w, part);
    const bool pulls = part.batch->pull > 0;
    if (pulls) pull_all(o, &w, part); /* before a backward pass, which takes the values' place */
    tim_tape_backward(w.learn->tape);
    if (pulls) tim_tape_backward(w.jump->tape);
    return TIM_OK;
}
