#include "train/average.h"

#include <string.h>

#include "train/data.h"

/* ---- guidance and direction: at (x_t, t, t) ---- */

bool tim_average_guides(const TimObjective *o, TimPart part, int64_t k) {
    return !part.batch->unguided && tim_transport_guides(&o->config->transport, part.batch->t[part.first + k]);
}

/* How many of the part's samples are guided; the lane lists them. */
static int64_t list_guided(const TimObjective *o, TimPart part) {
    int64_t count = 0;
    for (int64_t k = 0; k < part.size; k++)
        if (tim_average_guides(o, part, k)) part.lane->guided[count++] = k;
    return count;
}

/* Row `row` of the tape = sample k of the part, at (x_t, t, t). */
static void fill_average(const TimObjective *o, TimNetwork *n, TimPart part, int64_t row, int64_t k,
                         const TimCondition *condition) {
    const double t = part.batch->t[part.first + k];
    memcpy(tim_part_row(n, n->x, row), tim_part_picture(o, part.lane->rows.x_t, k), o->picture * sizeof(float));
    tim_part_fill_times(o, n, row, t, t);
    tim_part_fill_condition(o, n, row, condition, part.first + k, 1);
}

/* Its tape for `size` samples, with its weights. */
static TimStatus average_for(const TimObjective *o, TimPart part, int64_t size, const TimWeights *ema, TimNetwork **out,
                             TimError *err) {
    if (!ema)
        return tim_fail(err, TIM_E_ARGUMENT,
                        "model guidance, average_direction and composed samples need the averaged weights: keep an EMA");
    TIM_TRY(tim_part_network(o, part, TIM_FOR_EVALUATION, size, false, out, err));
    return tim_tape_bind((*out)->tape, ema, NULL, err);
}

/* Rows from `row` on = the guided samples, the last of them repeated up to `rows`. */
static void fill_guided(const TimObjective *o, TimNetwork *n, TimPart part, int64_t row, int64_t rows, int64_t count,
                        const TimCondition *condition) {
    for (int64_t j = 0; j < rows; j++) fill_average(o, n, part, row + j, part.lane->guided[j < count ? j : count - 1], condition);
}

/* out = F of the guided samples, from row `row` on, each in its place. */
static void take_guided(const TimObjective *o, const TimNetwork *n, TimPart part, int64_t row, int64_t count, float *out) {
    for (int64_t j = 0; j < count; j++)
        memcpy(tim_part_picture(o, out, part.lane->guided[j]), tim_part_row(n, n->f, row + j), o->picture * sizeof *out);
}

/* Both conditions are one batch; the teacher's half is left out when w_cond = 0. Batches come in quarters of the part, so that a
 * few tapes serve all; the largest is made first, so that what memory lacks shows at once and not when chance first guides all. */
TimStatus tim_average_guide(const TimObjective *o, TimPart part, const TimWeights *ema, TimError *err) {
    const bool both = o->config->transport.w_cond != 0;
    const int64_t count = list_guided(o, part), quarter = (part.size + 3) / 4, up = (count + quarter - 1) / quarter * quarter,
                  rows = up < part.size ? up : part.size;
    TimNetwork *n;
    if (count == 0) return TIM_OK;
    TIM_TRY(tim_part_network(o, part, TIM_FOR_EVALUATION, both ? 2 * part.size : part.size, false, &n, err));
    TIM_TRY(average_for(o, part, both ? 2 * rows : rows, ema, &n, err));
    fill_guided(o, n, part, 0, rows, count, &part.batch->null);
    if (both) fill_guided(o, n, part, rows, rows, count, &part.batch->teacher);
    tim_tape_forward(n->tape, false);
    take_guided(o, n, part, 0, count, part.lane->rows.f_null);
    if (both)
        take_guided(o, n, part, rows, count, part.lane->rows.f_cond);
    else
        memset(part.lane->rows.f_cond, 0, (size_t)part.size * o->picture * sizeof(float));
    return TIM_OK;
}

TimStatus tim_average_direct(const TimObjective *o, const TimNetwork *trained, TimPart part, const TimWeights *ema, TimError *err) {
    TimNetwork *n;
    TIM_TRY(average_for(o, part, part.size, ema, &n, err));
    for (int64_t k = 0; k < part.size; k++) fill_average(o, n, part, k, k, &part.batch->condition);
    tim_tape_forward(n->tape, false);
    const TimMatrix tangent = tim_tape_tangent(trained->tape, trained->x);
    memcpy(tangent.data, tim_part_row(n, n->f, 0), (size_t)part.size * o->picture * sizeof(float));
    return TIM_OK;
}

/* ---- composed jumps ---- */

/* The transport of a sampler that takes the composed jumps: the model's own but for the last of them. */
static TimTransportConfig composed_transport(const TimObjective *o) {
    TimTransportConfig transport = o->config->transport;
    transport.last_jump = o->config->transition.composed_last_jump;
    return transport;
}

/* When `j` of the jumps from t to r are done. */
static double jump_time(const TimObjective *o, const TimTransportConfig *transport, TimPart part, int64_t k, int j) {
    const double t = part.batch->t[part.first + k], r = part.batch->r[part.first + k];
    return tim_transport_time(transport, t, r, o->config->transition.composed_jumps, j);
}

/* Jump `j` of every row of rows.target by the average's F. */
static void jump_once(const TimObjective *o, TimNetwork *n, TimPart part, int j) {
    const TimTransportConfig transport = composed_transport(o);
    memcpy(tim_part_row(n, n->x, 0), part.lane->rows.target, (size_t)part.size * o->picture * sizeof(float));
    for (int64_t k = 0; k < part.size; k++) {
        const double t = jump_time(o, &transport, part, k, j), next = jump_time(o, &transport, part, k, j + 1);
        tim_part_fill_times(o, n, k, t, tim_transport_told(&transport, o->config->transition.composed_jumps, t, next));
    }
    tim_tape_forward(n->tape, false);
    for (int64_t k = 0; k < part.size; k++) {
        const double t = jump_time(o, &transport, part, k, j), next = jump_time(o, &transport, part, k, j + 1);
        const TimJump jump = o->transport->jump(&transport, t, next);
        const float *f = tim_part_row(n, n->f, k);
        float *x = tim_part_picture(o, part.lane->rows.target, k);
        for (size_t p = 0; p < o->picture; p++) x[p] = (float)(jump.x_t * (double)x[p] + jump.f * (double)f[p]);
    }
}

/* Turns x_r, the row of rows.target, into the target: F = (x_r - a x_t) / b, where a jump is x_r = a x_t + b F. */
static void target_from_end(const TimObjective *o, TimPart part, int64_t k) {
    const int64_t i = part.first + k;
    const TimJump jump = o->transport->jump(&o->config->transport, part.batch->t[i], part.batch->r[i]);
    const float *x_t = tim_part_picture(o, part.lane->rows.x_t, k);
    float *target = tim_part_picture(o, part.lane->rows.target, k);
    for (size_t p = 0; p < o->picture; p++) target[p] = (float)(((double)target[p] - jump.x_t * (double)x_t[p]) / jump.f);
}

/* Moves where the jumps of sample `k` ended away from its class's mean. */
static void spread(const TimObjective *o, TimPart part, int64_t k) {
    tim_data_spread(tim_part_picture(o, part.lane->rows.target, k), part.batch->means, part.batch->condition.labels[part.first + k],
                    o->picture, o->config->transition.composed_spread);
}

TimStatus tim_average_compose(const TimObjective *o, TimPart part, const TimWeights *ema, TimError *err) {
    TimNetwork *n;
    TIM_TRY(average_for(o, part, part.size, ema, &n, err));
    tim_part_fill_condition(o, n, 0, &part.batch->condition, part.first, part.size);
    memcpy(part.lane->rows.target, part.lane->rows.x_t, (size_t)part.size * o->picture * sizeof(float));
    for (int j = 0; j < o->config->transition.composed_jumps; j++) jump_once(o, n, part, j);
    const bool spreads = o->config->transition.composed_spread != 1;
    for (int64_t k = 0; k < part.size; k++) {
        if (spreads) spread(o, part, k);
        target_from_end(o, part, k);
    }
    return TIM_OK;
}
