#include "train/objective.h"

#include <string.h>

#include "base/memory.h"
#include "train/average.h"
#include "train/loss.h"
#include "train/objective_part.h"

enum { DEFAULT_MICRO_BATCH = 64 };

/* Every lane has a gradient vector, which are added at the end of a step: only small networks, whose ops are too short to share
 * among threads, have more than one. */
static const size_t max_lane_bytes = (size_t)256 << 20;

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

/* ---- filling ---- */

/* out = a x + b z for the picture of batch sample `i` */
static void combine(const TimObjective *o, float *out, const TimBatch *batch, int64_t i, double a, double b) {
    const float *x = batch->x + (size_t)i * o->picture, *z = batch->z + (size_t)i * o->picture;
    for (size_t p = 0; p < o->picture; p++) out[p] = (float)(a * (double)x[p] + b * (double)z[p]);
}

/* x_t, v_t and the inputs of the training tape, with the tangents (v_t, dt = 1, dr = 0) where it has them. */
static void fill_training(const TimObjective *o, TimNetwork *n, TimPart part) {
    const size_t bytes = o->picture * sizeof(float);
    const TimMatrix t_x = tim_tape_tangent(n->tape, n->x), t_t = tim_tape_tangent(n->tape, n->t);
    for (int64_t k = 0; k < part.size; k++) {
        const int64_t i = part.first + k;
        const double t = part.batch->t[i];
        const TimPath path = o->transport->path(&o->config->transport, t);
        float *x_t = tim_part_picture(o, part.lane->rows.x_t, k), *v_t = tim_part_picture(o, part.lane->rows.v_t, k);
        combine(o, x_t, part.batch, i, path.alpha, path.sigma);
        combine(o, v_t, part.batch, i, path.d_alpha, path.d_sigma);
        memcpy(tim_part_row(n, n->x, k), x_t, bytes);
        tim_part_fill_times(o, n, k, t, part.batch->r[i]);
        if (!t_x.data) continue;
        memcpy(tim_matrix_f32(&t_x, k), v_t, bytes);
        *tim_matrix_f32(&t_t, k) = (float)o->transport->d_c_noise(&o->config->transport, t);
    }
    tim_part_fill_condition(o, n, 0, &part.batch->condition, part.first, part.size);
}

/* ---- the derivative E ---- */

/* E from the finite difference: both ends of every sample in one batch of 2 size. */
static TimStatus differentiate(const TimObjective *o, TimPart part, const TimWeights *weights, TimError *err) {
    TimNetwork *n;
    TIM_TRY(tim_part_network(o, part, TIM_FOR_DIFFERENCE, 2 * part.size, false, &n, err));
    TIM_TRY(tim_tape_bind(n->tape, weights, NULL, err));
    const double e = o->config->transition.differential_epsilon;
    for (int64_t k = 0; k < 2 * part.size; k++) {
        const int64_t i = part.first + k % part.size;
        const double t = part.batch->t[i] + (k < part.size ? e : -e);
        const TimPath path = o->transport->path(&o->config->transport, t);
        combine(o, tim_part_row(n, n->x, k), part.batch, i, path.alpha, path.sigma);
        tim_part_fill_times(o, n, k, t, part.batch->r[i]);
    }
    tim_part_fill_condition(o, n, 0, &part.batch->condition, part.first, part.size);
    tim_part_fill_condition(o, n, part.size, &part.batch->condition, part.first, part.size);
    tim_tape_forward(n->tape, false);
    const float *above = tim_part_row(n, n->f, 0), *below = tim_part_row(n, n->f, part.size);
    const float factor = (float)(1.0 / (2.0 * e));
    for (size_t p = 0; p < (size_t)part.size * o->picture; p++)
        part.lane->rows.derivative[p] = above[p] * factor - below[p] * factor;
    return TIM_OK;
}

static TimStatus find_derivative(const TimObjective *o, const TimNetwork *n, TimPart part, const TimWeights *weights,
                                 TimError *err) {
    const size_t bytes = (size_t)part.size * o->picture * sizeof(float);
    const TimMatrix tangent = tim_tape_tangent(n->tape, n->f);
    if (part.kind != TIM_TRANSITION || o->shape.no_derivative)
        memset(part.lane->rows.derivative, 0, bytes);
    else if (tangent.data)
        memcpy(part.lane->rows.derivative, tangent.data, bytes);
    else
        return differentiate(o, part, weights, err);
    return TIM_OK;
}

/* ---- target and losses ---- */

static void make_target(const TimObjective *o, TimPart part, int64_t k) {
    const int64_t i = part.first + k;
    const TimRows *rows = &part.lane->rows;
    TimTarget c = o->transport->target(&o->config->transport, part.batch->t[i], part.batch->r[i]);
    const bool guided = tim_average_guides(o, part, k);
    if (guided) c = tim_transport_guide(&o->config->transport, c);
    const float *x = part.batch->x + (size_t)i * o->picture, *z = part.batch->z + (size_t)i * o->picture;
    const float *x_t = tim_part_picture(o, rows->x_t, k), *e = tim_part_picture(o, rows->derivative, k);
    const float *f_cond = tim_part_picture(o, rows->f_cond, k), *f_null = tim_part_picture(o, rows->f_null, k);
    float *target = tim_part_picture(o, rows->target, k);
    for (size_t p = 0; p < o->picture; p++) {
        double sum = c.x * (double)x[p] + c.z * (double)z[p] + c.x_t * (double)x_t[p] + c.e * (double)e[p];
        if (guided) sum += c.f_cond * (double)f_cond[p] + c.f_null * (double)f_null[p];
        target[p] = (float)sum;
    }
}

/* The hidden tokens against h_target: the alignment loss, and their cotangent. */
static double align_sample(const TimObjective *o, TimNetwork *n, TimPart part, int64_t k) {
    const TimMatrix h = tim_tape_value(n->tape, n->hidden), g_h = tim_tape_cotangent(n->tape, n->hidden);
    const size_t tokens = (size_t)(h.rows / part.size), width = (size_t)h.cols;
    const float *h_target = part.batch->h_target + (size_t)(part.first + k) * tokens * width;
    const int64_t at = k * (int64_t)tokens;
    const double loss = tim_alignment_loss(tim_matrix_f32(&h, at), h_target, tokens, width);
    tim_alignment_gradient(tim_matrix_f32(&g_h, at), tim_matrix_f32(&h, at), h_target, tokens, width,
                           o->config->training.proj_coeff / (double)part.batch->size);
    return loss;
}

static TimSampleLoss finish_sample(const TimObjective *o, TimNetwork *n, TimPart part, int64_t k) {
    if (part.kind != TIM_COMPOSED) make_target(o, part, k);
    TimSampleLoss loss = tim_part_weigh(o, n, part, k);
    if (n->hidden != TIM_NONE) loss.proj = align_sample(o, n, part, k);
    return loss;
}

static void finish(const TimObjective *o, TimNetwork *n, TimPart part) {
#pragma omp parallel for num_threads(o->options.threads) schedule(static)
    for (int64_t k = 0; k < part.size; k++) part.lane->sample_losses[k] = finish_sample(o, n, part, k);
    tim_part_add_losses(part);
}

/* ---- one step ---- */

/* What every lane reads in a step. */
typedef struct Step {
    const TimBatch *batch;
    const TimWeights *weights, *ema;
} Step;

static TimStatus run_part(const TimObjective *o, const Step *step, TimPart part, TimError *err) {
    const bool exact =
        part.kind == TIM_TRANSITION && o->config->transition.derivative_type == TIM_DERIVATIVE_JVP && !o->shape.no_derivative;
    TimNetwork *n;
    TIM_TRY(tim_part_network(o, part, TIM_FOR_TRAINING, part.size, exact, &n, err));
    TIM_TRY(tim_tape_bind(n->tape, step->weights, part.lane->gradients, err));
    fill_training(o, n, part);
    if (exact && o->config->transition.average_direction) TIM_TRY(tim_average_direct(o, n, part, step->ema, err));
    tim_tape_forward(n->tape, exact);
    if (part.kind == TIM_COMPOSED) {
        TIM_TRY(tim_average_compose(o, part, step->ema, err));
    } else {
        TIM_TRY(tim_average_guide(o, part, step->ema, err));
        TIM_TRY(find_derivative(o, n, part, step->weights, err));
    }
    finish(o, n, part);
    tim_tape_backward(n->tape);
    return TIM_OK;
}

/* The lane's share of samples [first, first + count), in pieces of nearly equal size, at most two sizes, as many for every lane
 * where there are samples for all. */
static TimStatus run_range(const TimObjective *o, const Step *step, TimLane *lane, int64_t first, int64_t count, TimSampleKind kind,
                           TimError *err) {
    const int64_t lanes = o->lane_count, wanted = (count + o->shape.micro_batch - 1) / o->shape.micro_batch;
    const int64_t even = (wanted + lanes - 1) / lanes * lanes, pieces = even < count ? even : count;
    for (int64_t p = lane - o->lanes; p < pieces; p += lanes) {
        const int64_t begin = count * p / pieces, end = count * (p + 1) / pieces;
        TIM_TRY(run_part(o, step, (TimPart){step->batch, lane, first + begin, end - begin, kind}, err));
    }
    return TIM_OK;
}

static TimStatus run_lane(const TimObjective *o, const Step *step, TimLane *lane, TimError *err) {
    const TimBatch *b = step->batch;
    const int64_t composed = b->size - b->composed; /* the first of them */
    TIM_TRY(run_range(o, step, lane, 0, b->diffusion, TIM_DIFFUSION, err));
    TIM_TRY(run_range(o, step, lane, b->diffusion, composed - b->diffusion, TIM_TRANSITION, err));
    return run_range(o, step, lane, composed, b->composed, TIM_COMPOSED, err);
}

static TimStatus check(const TimObjective *o, const TimBatch *b, TimError *err) {
    if (b->size <= 0 || b->diffusion < 0 || b->composed < 0 || b->composed > b->size || b->diffusion > b->size - b->composed)
        return tim_fail(err, TIM_E_ARGUMENT, "a batch of %lld with %lld diffusion and %lld composed samples", (long long)b->size,
                        (long long)b->diffusion, (long long)b->composed);
    if (b->composed > 0 && o->config->transition.composed_spread != 1 && !(b->means && b->condition.labels))
        return tim_fail(err, TIM_E_ARGUMENT, "composed_spread is %g and needs classes and their mean pictures",
                        o->config->transition.composed_spread);
    if (o->shape.alignment && !b->h_target) return tim_fail(err, TIM_E_ARGUMENT, "the alignment loss needs h_target");
    if (o->config->network.kind != TIM_NETWORK_C2I) return TIM_OK;
    TIM_TRY(tim_model_check_labels(&o->config->network, b->condition.labels, b->size, err));
    if (!o->config->transport.enhance_target) return TIM_OK;
    TIM_TRY(tim_model_check_labels(&o->config->network, b->teacher.labels, b->size, err));
    return tim_model_check_labels(&o->config->network, b->null.labels, b->size, err);
}

/* The first lane works on the caller's gradients, the others on theirs, from zero. */
static void start_lanes(TimObjective *o, float *gradients, const TimLosses *losses) {
    const size_t bytes = o->params->elements * sizeof(float);
    for (int i = 0; i < o->lane_count; i++) {
        o->lanes[i].losses = *losses;
        if (i) memset(o->lanes[i].gradients, 0, bytes);
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

static void add(float *restrict sum, const float *restrict more, size_t count, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
    for (size_t k = 0; k < count; k++) sum[k] += more[k];
}

/* Added in order of the lanes: the same bits in every run with as many. */
static void add_lanes(TimObjective *o, TimLosses *losses) {
    for (int i = 0; i < o->lane_count; i++) {
        losses->weighted += o->lanes[i].losses.weighted;
        losses->denoising += o->lanes[i].losses.denoising;
        losses->proj += o->lanes[i].losses.proj;
    }
    for (int i = 1; i < o->lane_count; i++) add(o->lanes[0].gradients, o->lanes[i].gradients, o->params->elements, o->lane_count);
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
