#include "train/objective.h"

#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "train/lane.h"
#include "train/loss.h"
#include "train/time_weight.h"
#include "transport/transport.h"

enum { DEFAULT_MICRO_BATCH = 64 };

/* Every lane has a gradient vector, which are added at the end of a step: only small networks, whose ops are too short to share among
 * threads, have more than one. */
static const size_t max_lane_bytes = (size_t)256 << 20;

struct TimObjective {
    const TimConfig *config;
    const TimTransport *transport;
    TimNetworkOptions options; /* threads: those of one lane */
    TimObjectiveShape shape;
    TimParams *params;
    size_t picture; /* C H W */
    TimLane *lanes;
    int lane_count;
};

/* ---- making ---- */

/* One lane a thread where that is cheap, else one with all threads. */
static TimStatus make_lanes(TimObjective *o, TimError *err) {
    size_t bytes;
    const bool small =
        tim_mul_size(o->params->elements * sizeof(float), (size_t)o->options.threads, &bytes) && bytes <= max_lane_bytes;
    o->lane_count = small ? o->options.threads : 1;
    if (small) o->options.threads = 1;
    TIM_TRY(tim_new(&o->lanes, (size_t)o->lane_count, sizeof *o->lanes, "the lanes of the objective", err));
    for (int i = 0; i < o->lane_count; i++) {
        TIM_TRY(tim_lane_init(&o->lanes[i], o->shape.micro_batch, o->picture, err));
        if (i) TIM_TRY(tim_new(&o->lanes[i].gradients, o->params->elements, sizeof(float), "a lane's gradients", err));
    }
    return TIM_OK;
}

TimStatus tim_objective_new(TimObjective **out, const TimConfig *config, const TimNetworkOptions *options,
                            const TimObjectiveShape *shape, TimParams *params, TimError *err) {
    TimObjective *o;
    *out = NULL;
    TIM_TRY(tim_new(&o, 1, sizeof *o, "the objective", err));
    o->config = config;
    o->transport = tim_transport_get(config->transport.kind);
    o->options = *options;
    o->shape = *shape;
    o->params = params;
    o->picture = (size_t)config->network.in_channels * (size_t)shape->height * (size_t)shape->width;
    if (o->shape.micro_batch <= 0) o->shape.micro_batch = DEFAULT_MICRO_BATCH;
    const TimStatus status = make_lanes(o, err);
    if (status != TIM_OK) {
        tim_objective_free(o);
        return status;
    }
    *out = o;
    return TIM_OK;
}

void tim_objective_free(TimObjective *o) {
    if (!o) return;
    for (int i = 0; o->lanes && i < o->lane_count; i++) {
        tim_lane_done(&o->lanes[i]);
        if (i) tim_free(o->lanes[i].gradients); /* the first are the caller's */
    }
    tim_free(o->lanes);
    tim_free(o);
}

size_t tim_objective_bytes(const TimObjective *o) {
    size_t sum = 0;
    for (int i = 0; i < o->lane_count; i++) sum += tim_lane_bytes(&o->lanes[i]);
    return sum;
}

void tim_objective_measure(TimObjective *o, TimTapeTimes *times) {
    tim_lane_measure(&o->lanes[0], times);
}

/* ---- tapes ---- */

static TimStatus tape_for(const TimObjective *o, TimLane *lane, TimPurpose purpose, int64_t batch, bool tangent, TimNetwork **out,
                          TimError *err) {
    const bool trains = purpose == TIM_FOR_TRAINING;
    const TimNetworkShape shape = {.batch = batch,
                                   .height = o->shape.height,
                                   .width = o->shape.width,
                                   .caption_tokens = o->shape.caption_tokens,
                                   .tangent_samples = tangent ? batch : 0,
                                   .gradients = trains,
                                   .hidden = trains && o->shape.alignment};
    return tim_lane_network(lane, purpose, &o->config->network, &shape, &o->options, o->params, out, err);
}

/* ---- filling ---- */

/* Where a sample's target comes from: its velocity, the identity with its derivative, or the average's jumps. */
typedef enum Kind { DIFFUSION, TRANSITION, COMPOSED } Kind;

/* One micro-batch: samples first ... first + size of the batch, all of one kind. */
typedef struct Part {
    const TimBatch *batch;
    TimLane *lane;
    int64_t first, size;
    Kind kind;
} Part;

static void fill_condition(const TimObjective *o, TimNetwork *n, int64_t row, const TimCondition *condition, int64_t first,
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

static void fill_times(const TimObjective *o, TimNetwork *n, int64_t row, double t, double r) {
    const TimMatrix of_t = tim_tape_value(n->tape, n->t), of_r = tim_tape_value(n->tape, n->r);
    *tim_matrix_f32(&of_t, row) = (float)o->transport->c_noise(&o->config->transport, t);
    *tim_matrix_f32(&of_r, row) = (float)o->transport->c_noise(&o->config->transport, r);
}

/* out = a x + b z for the picture of batch sample `i` */
static void combine(const TimObjective *o, float *out, const TimBatch *batch, int64_t i, double a, double b) {
    const float *x = batch->x + (size_t)i * o->picture, *z = batch->z + (size_t)i * o->picture;
    for (size_t p = 0; p < o->picture; p++) out[p] = (float)(a * (double)x[p] + b * (double)z[p]);
}

static float *picture_row(const TimNetwork *n, TimRef ref, int64_t row) {
    const TimMatrix m = tim_tape_value(n->tape, ref);
    return tim_matrix_f32(&m, row);
}

/* x_t, v_t and the inputs of the training tape, with the tangents (v_t, dt = 1, dr = 0) where it has them. */
static void fill_training(const TimObjective *o, TimNetwork *n, Part part) {
    const size_t bytes = o->picture * sizeof(float);
    const TimMatrix t_x = tim_tape_tangent(n->tape, n->x), t_t = tim_tape_tangent(n->tape, n->t);
    for (int64_t k = 0; k < part.size; k++) {
        const int64_t i = part.first + k;
        const double t = part.batch->t[i];
        const TimPath path = o->transport->path(&o->config->transport, t);
        float *x_t = part.lane->rows.x_t + (size_t)k * o->picture, *v_t = part.lane->rows.v_t + (size_t)k * o->picture;
        combine(o, x_t, part.batch, i, path.alpha, path.sigma);
        combine(o, v_t, part.batch, i, path.d_alpha, path.d_sigma);
        memcpy(picture_row(n, n->x, k), x_t, bytes);
        fill_times(o, n, k, t, part.batch->r[i]);
        if (!t_x.data) continue;
        memcpy(tim_matrix_f32(&t_x, k), v_t, bytes);
        *tim_matrix_f32(&t_t, k) = (float)o->transport->d_c_noise(&o->config->transport, t);
    }
    fill_condition(o, n, 0, &part.batch->condition, part.first, part.size);
}

/* ---- the derivative E ---- */

/* E from the finite difference: both ends of every sample in one batch of 2 size. */
static TimStatus differentiate(const TimObjective *o, Part part, const TimWeights *weights, TimError *err) {
    TimNetwork *n;
    TIM_TRY(tape_for(o, part.lane, TIM_FOR_DIFFERENCE, 2 * part.size, false, &n, err));
    TIM_TRY(tim_tape_bind(n->tape, weights, NULL, err));
    const double e = o->config->transition.differential_epsilon;
    for (int64_t k = 0; k < 2 * part.size; k++) {
        const int64_t i = part.first + k % part.size;
        const double t = part.batch->t[i] + (k < part.size ? e : -e);
        const TimPath path = o->transport->path(&o->config->transport, t);
        combine(o, picture_row(n, n->x, k), part.batch, i, path.alpha, path.sigma);
        fill_times(o, n, k, t, part.batch->r[i]);
    }
    fill_condition(o, n, 0, &part.batch->condition, part.first, part.size);
    fill_condition(o, n, part.size, &part.batch->condition, part.first, part.size);
    tim_tape_forward(n->tape, false);
    const float *above = picture_row(n, n->f, 0), *below = picture_row(n, n->f, part.size);
    const float factor = (float)(1.0 / (2.0 * e));
    for (size_t p = 0; p < (size_t)part.size * o->picture; p++)
        part.lane->rows.derivative[p] = above[p] * factor - below[p] * factor;
    return TIM_OK;
}

static TimStatus find_derivative(const TimObjective *o, const TimNetwork *n, Part part, const TimWeights *weights, TimError *err) {
    const size_t bytes = (size_t)part.size * o->picture * sizeof(float);
    const TimMatrix tangent = tim_tape_tangent(n->tape, n->f);
    if (part.kind != TRANSITION || o->shape.no_derivative)
        memset(part.lane->rows.derivative, 0, bytes);
    else if (tangent.data)
        memcpy(part.lane->rows.derivative, tangent.data, bytes);
    else
        return differentiate(o, part, weights, err);
    return TIM_OK;
}

/* ---- what the averaged network says at (x_t, t, t) ---- */

static bool is_guided(const TimObjective *o, Part part, int64_t k) {
    return !part.batch->unguided && tim_transport_guides(&o->config->transport, part.batch->t[part.first + k]);
}

/* How many of the part's samples are guided; the lane lists them. */
static int64_t list_guided(const TimObjective *o, Part part) {
    int64_t count = 0;
    for (int64_t k = 0; k < part.size; k++)
        if (is_guided(o, part, k)) part.lane->guided[count++] = k;
    return count;
}

/* Row `row` of the tape = sample k of the part, at (x_t, t, t). */
static void fill_average(const TimObjective *o, TimNetwork *n, Part part, int64_t row, int64_t k, const TimCondition *condition) {
    const double t = part.batch->t[part.first + k];
    memcpy(picture_row(n, n->x, row), part.lane->rows.x_t + (size_t)k * o->picture, o->picture * sizeof(float));
    fill_times(o, n, row, t, t);
    fill_condition(o, n, row, condition, part.first + k, 1);
}

/* Its tape for `size` samples, with its weights. */
static TimStatus average_for(const TimObjective *o, Part part, int64_t size, const TimWeights *ema, TimNetwork **out,
                             TimError *err) {
    if (!ema)
        return tim_fail(err, TIM_E_ARGUMENT,
                        "model guidance, average_direction and composed samples need the averaged weights: keep an EMA");
    TIM_TRY(tape_for(o, part.lane, TIM_FOR_AVERAGE, size, false, out, err));
    return tim_tape_bind((*out)->tape, ema, NULL, err);
}

/* Rows from `row` on = the guided samples, the last of them repeated up to `rows`. */
static void fill_guided(const TimObjective *o, TimNetwork *n, Part part, int64_t row, int64_t rows, int64_t count,
                        const TimCondition *condition) {
    for (int64_t j = 0; j < rows; j++) fill_average(o, n, part, row + j, part.lane->guided[j < count ? j : count - 1], condition);
}

/* out = F of the guided samples, from row `row` on, each in its place. */
static void take_guided(const TimObjective *o, const TimNetwork *n, Part part, int64_t row, int64_t count, float *out) {
    for (int64_t j = 0; j < count; j++)
        memcpy(out + (size_t)part.lane->guided[j] * o->picture, picture_row(n, n->f, row + j), o->picture * sizeof *out);
}

/* F_cond and F_null of the guiding network at (x_t, t, t) of the guided samples, in one batch; the conditional half is left out when
 * w_cond = 0. Batches come in quarters of the part, so that a few tapes serve all; the largest is made first, so that what memory lacks
 * shows at once and not when chance first guides all. */
static TimStatus guide(const TimObjective *o, Part part, const TimWeights *ema, TimError *err) {
    const bool both = o->config->transport.w_cond != 0;
    const int64_t count = list_guided(o, part), quarter = (part.size + 3) / 4, up = (count + quarter - 1) / quarter * quarter,
                  rows = up < part.size ? up : part.size;
    TimNetwork *n;
    if (count == 0) return TIM_OK;
    TIM_TRY(tape_for(o, part.lane, TIM_FOR_AVERAGE, both ? 2 * part.size : part.size, false, &n, err));
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

/* The tangents of x_t become the average's velocity there, under the condition that the derivative has. */
static TimStatus find_direction(const TimObjective *o, const TimNetwork *trained, Part part, const TimWeights *ema, TimError *err) {
    TimNetwork *n;
    TIM_TRY(average_for(o, part, part.size, ema, &n, err));
    for (int64_t k = 0; k < part.size; k++) fill_average(o, n, part, k, k, &part.batch->condition);
    tim_tape_forward(n->tape, false);
    const TimMatrix tangent = tim_tape_tangent(trained->tape, trained->x);
    memcpy(tangent.data, picture_row(n, n->f, 0), (size_t)part.size * o->picture * sizeof(float));
    return TIM_OK;
}

/* ---- composed jumps ---- */

/* When `j` of the jumps from t to r are done: the times of a sampler that takes as many. */
static double jump_time(const TimObjective *o, Part part, int64_t k, int j) {
    const double t = part.batch->t[part.first + k], r = part.batch->r[part.first + k];
    return tim_transport_time(&o->config->transport, t, r, o->config->transition.composed_jumps, j);
}

/* Jump `j` of every row of rows.target by the average's F. */
static void jump_once(const TimObjective *o, TimNetwork *n, Part part, int j) {
    memcpy(picture_row(n, n->x, 0), part.lane->rows.target, (size_t)part.size * o->picture * sizeof(float));
    for (int64_t k = 0; k < part.size; k++) {
        const double t = jump_time(o, part, k, j), next = jump_time(o, part, k, j + 1);
        fill_times(o, n, k, t, tim_transport_told(&o->config->transport, t, next));
    }
    tim_tape_forward(n->tape, false);
    for (int64_t k = 0; k < part.size; k++) {
        const TimJump jump = o->transport->jump(&o->config->transport, jump_time(o, part, k, j), jump_time(o, part, k, j + 1));
        const float *f = picture_row(n, n->f, k);
        float *x = part.lane->rows.target + (size_t)k * o->picture;
        for (size_t p = 0; p < o->picture; p++) x[p] = (float)(jump.x_t * (double)x[p] + jump.f * (double)f[p]);
    }
}

/* Turns x_r, the row of rows.target, into the target: F = (x_r - a x_t) / b, where a jump is x_r = a x_t + b F. */
static void target_from_end(const TimObjective *o, Part part, int64_t k) {
    const int64_t i = part.first + k;
    const TimJump jump = o->transport->jump(&o->config->transport, part.batch->t[i], part.batch->r[i]);
    const float *x_t = part.lane->rows.x_t + (size_t)k * o->picture;
    float *target = part.lane->rows.target + (size_t)k * o->picture;
    for (size_t p = 0; p < o->picture; p++) target[p] = (float)(((double)target[p] - jump.x_t * (double)x_t[p]) / jump.f);
}

/* Targets from where the average's jumps lead from x_t. */
static TimStatus compose(const TimObjective *o, Part part, const TimWeights *ema, TimError *err) {
    TimNetwork *n;
    TIM_TRY(average_for(o, part, part.size, ema, &n, err));
    fill_condition(o, n, 0, &part.batch->condition, part.first, part.size);
    memcpy(part.lane->rows.target, part.lane->rows.x_t, (size_t)part.size * o->picture * sizeof(float));
    for (int j = 0; j < o->config->transition.composed_jumps; j++) jump_once(o, n, part, j);
    for (int64_t k = 0; k < part.size; k++) target_from_end(o, part, k);
    return TIM_OK;
}

/* ---- target and losses ---- */

static void make_target(const TimObjective *o, Part part, int64_t k) {
    const int64_t i = part.first + k;
    const size_t at = (size_t)k * o->picture;
    TimTarget c = o->transport->target(&o->config->transport, part.batch->t[i], part.batch->r[i]);
    const bool guided = is_guided(o, part, k);
    if (guided) c = tim_transport_guide(&o->config->transport, c);
    const float *x = part.batch->x + (size_t)i * o->picture, *z = part.batch->z + (size_t)i * o->picture;
    for (size_t p = 0; p < o->picture; p++) {
        double sum = c.x * (double)x[p] + c.z * (double)z[p] + c.x_t * (double)part.lane->rows.x_t[at + p] +
                     c.e * (double)part.lane->rows.derivative[at + p];
        if (guided) sum += c.f_cond * (double)part.lane->rows.f_cond[at + p] + c.f_null * (double)part.lane->rows.f_null[at + p];
        part.lane->rows.target[at + p] = (float)sum;
    }
}

static TimSampleLoss finish_sample(const TimObjective *o, TimNetwork *n, Part part, int64_t k) {
    const TimLosses *losses = &part.lane->losses;
    const TimNetworkConfig *c = &o->config->network;
    const int64_t i = part.first + k;
    const double batch = (double)part.batch->size;
    const TimLossShape shape = {.channels = (size_t)c->in_channels,
                                .positions = (size_t)o->shape.height * (size_t)o->shape.width,
                                .direction = o->config->transition.use_dir_loss,
                                .absolute = part.kind == COMPOSED};
    const TimMatrix g_f = tim_tape_cotangent(n->tape, n->f);
    const float *f = picture_row(n, n->f, k), *target = part.lane->rows.target + (size_t)k * o->picture;
    if (part.kind != COMPOSED) make_target(o, part, k);
    const double w_time = tim_time_weight(&o->config->transition, o->config->transport.sigma_d, part.batch->t[i], part.batch->r[i],
                                          part.kind != TRANSITION);
    TimSampleLoss loss = {.denoising = tim_loss(f, target, shape)};
    const float expected = part.batch->expected_loss ? part.batch->expected_loss[i] : 0;
    const double scale = expected > 0 ? (double)expected : loss.denoising;
    const double weight = w_time / pow(scale + 1e-5, o->config->transition.loss_weight_power);
    loss.weighted = weight * loss.denoising;
    tim_loss_gradient(tim_matrix_f32(&g_f, k), f, target, shape, weight / batch);
    if (losses->target) memcpy(losses->target + (size_t)i * o->picture, target, o->picture * sizeof *target);
    if (losses->per_sample) losses->per_sample[i] = (float)loss.denoising;
    if (losses->time_weight) losses->time_weight[i] = (float)w_time;
    if (n->hidden == TIM_NONE) return loss;
    const TimMatrix h = tim_tape_value(n->tape, n->hidden), g_h = tim_tape_cotangent(n->tape, n->hidden);
    const size_t tokens = (size_t)(h.rows / part.size), width = (size_t)h.cols, at = (size_t)k * tokens;
    const float *h_target = part.batch->h_target + (size_t)i * tokens * width;
    loss.proj = tim_alignment_loss(tim_matrix_f32(&h, (int64_t)at), h_target, tokens, width);
    tim_alignment_gradient(tim_matrix_f32(&g_h, (int64_t)at), tim_matrix_f32(&h, (int64_t)at), h_target, tokens, width,
                           o->config->training.proj_coeff / batch);
    return loss;
}

/* The sums run in order of the samples: the same bits in every run. */
static void finish(const TimObjective *o, TimNetwork *n, Part part) {
    TimLosses *losses = &part.lane->losses;
#pragma omp parallel for num_threads(o->options.threads) schedule(static)
    for (int64_t k = 0; k < part.size; k++) part.lane->sample_losses[k] = finish_sample(o, n, part, k);
    const double batch = (double)part.batch->size;
    for (int64_t k = 0; k < part.size; k++) {
        losses->weighted += part.lane->sample_losses[k].weighted / batch;
        losses->denoising += part.lane->sample_losses[k].denoising / batch;
        losses->proj += part.lane->sample_losses[k].proj / batch;
    }
}

/* ---- one step ---- */

/* What every lane reads in a step. */
typedef struct Step {
    const TimBatch *batch;
    const TimWeights *weights, *ema;
} Step;

static TimStatus run_part(const TimObjective *o, const Step *step, Part part, TimError *err) {
    const bool exact =
        part.kind == TRANSITION && o->config->transition.derivative_type == TIM_DERIVATIVE_JVP && !o->shape.no_derivative;
    TimNetwork *n;
    TIM_TRY(tape_for(o, part.lane, TIM_FOR_TRAINING, part.size, exact, &n, err));
    TIM_TRY(tim_tape_bind(n->tape, step->weights, part.lane->gradients, err));
    fill_training(o, n, part);
    if (exact && o->config->transition.average_direction) TIM_TRY(find_direction(o, n, part, step->ema, err));
    tim_tape_forward(n->tape, exact);
    if (part.kind == COMPOSED) {
        TIM_TRY(compose(o, part, step->ema, err));
    } else {
        TIM_TRY(guide(o, part, step->ema, err));
        TIM_TRY(find_derivative(o, n, part, step->weights, err));
    }
    finish(o, n, part);
    tim_tape_backward(n->tape);
    return TIM_OK;
}

/* The lane's share of samples [first, first + count), in pieces of nearly equal size, at most two sizes, as many for every lane. */
static TimStatus run_range(const TimObjective *o, const Step *step, TimLane *lane, int64_t first, int64_t count, Kind kind,
                           TimError *err) {
    const int64_t lanes = o->lane_count, wanted = (count + o->shape.micro_batch - 1) / o->shape.micro_batch;
    const int64_t even = (wanted + lanes - 1) / lanes * lanes, pieces = even < count ? even : count;
    for (int64_t p = lane - o->lanes; p < pieces; p += lanes) {
        const int64_t begin = count * p / pieces, end = count * (p + 1) / pieces;
        TIM_TRY(run_part(o, step, (Part){step->batch, lane, first + begin, end - begin, kind}, err));
    }
    return TIM_OK;
}

static TimStatus run_lane(const TimObjective *o, const Step *step, TimLane *lane, TimError *err) {
    const TimBatch *b = step->batch;
    const int64_t composed = b->size - b->composed; /* the first of them */
    TIM_TRY(run_range(o, step, lane, 0, b->diffusion, DIFFUSION, err));
    TIM_TRY(run_range(o, step, lane, b->diffusion, composed - b->diffusion, TRANSITION, err));
    return run_range(o, step, lane, composed, b->composed, COMPOSED, err);
}

static TimStatus check(const TimObjective *o, const TimBatch *b, TimError *err) {
    if (b->size <= 0 || b->diffusion < 0 || b->composed < 0 || b->diffusion > b->size - b->composed)
        return tim_fail(err, TIM_E_ARGUMENT, "a batch of %lld with %lld diffusion and %lld composed samples", (long long)b->size,
                        (long long)b->diffusion, (long long)b->composed);
    if (o->shape.alignment && !b->h_target) return tim_fail(err, TIM_E_ARGUMENT, "the alignment loss needs h_target");
    if (o->config->network.kind != TIM_NETWORK_C2I) return TIM_OK;
    TIM_TRY(tim_model_check_labels(&o->config->network, b->condition.labels, b->size, err));
    if (!o->config->transport.enhance_target) return TIM_OK;
    TIM_TRY(tim_model_check_labels(&o->config->network, b->teacher.labels, b->size, err));
    return tim_model_check_labels(&o->config->network, b->null.labels, b->size, err);
}

/* The first lane works on the caller's gradients, the others on theirs, from zero. */
static void start_lanes(TimObjective *o, float *gradients, const TimLosses *losses) {
    for (int i = 0; i < o->lane_count; i++) {
        o->lanes[i].losses = *losses;
        if (i) memset(o->lanes[i].gradients, 0, o->params->elements * sizeof(float));
    }
    o->lanes[0].gradients = gradients;
}

static void run_lanes(TimObjective *o, const Step *step) {
    if (o->lane_count == 1) { /* outside of a parallel region, for its ops open their own */
        o->lanes[0].status = run_lane(o, step, &o->lanes[0], &o->lanes[0].err);
        return;
    }
#pragma omp parallel for num_threads(o->lane_count) schedule(static, 1)
    for (int i = 0; i < o->lane_count; i++) o->lanes[i].status = run_lane(o, step, &o->lanes[i], &o->lanes[i].err);
}

/* Added in order of the lanes: the same bits in every run with as many. */
static void add_lanes(TimObjective *o, TimLosses *losses) {
    float *restrict sum = o->lanes[0].gradients;
    for (int i = 0; i < o->lane_count; i++) {
        losses->weighted += o->lanes[i].losses.weighted;
        losses->denoising += o->lanes[i].losses.denoising;
        losses->proj += o->lanes[i].losses.proj;
    }
    for (int i = 1; i < o->lane_count; i++) {
        const float *restrict gradients = o->lanes[i].gradients;
#pragma omp parallel for num_threads(o->lane_count) schedule(static)
        for (size_t k = 0; k < o->params->elements; k++) sum[k] += gradients[k];
    }
}

TimStatus tim_objective_step(TimObjective *o, const TimBatch *batch, const TimWeights *weights, const TimWeights *ema,
                             float *gradients, TimLosses *losses, TimError *err) {
    TIM_TRY(check(o, batch, err));
    losses->weighted = losses->denoising = losses->proj = 0;
    start_lanes(o, gradients, losses);
    run_lanes(o, &(Step){batch, weights, ema});
    for (int i = 0; i < o->lane_count; i++) {
        if (o->lanes[i].status == TIM_OK) continue;
        if (err) *err = o->lanes[i].err;
        return o->lanes[i].status;
    }
    add_lanes(o, losses);
    return TIM_OK;
}
