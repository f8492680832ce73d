/* One step: network at (c_noise(t), c_noise(r)), guidance, the transport's jump (sampler.h). */
#include "sample/sampler.h"

#include <math.h>
#include <string.h>

#include "base/bf16.h"
#include "base/finite.h"
#include "base/memory.h"
#include "base/rng.h"
#include "transport/transport.h"

TimSamplerOptions tim_sampler_options_default(void) {
    return (TimSamplerOptions){.steps = 1, .guidance = 1.0, .guidance_low = 0.0, .guidance_high = 1.0};
}

/* ---- the schedule ---- */

double tim_sampler_start(const TimTransportConfig *transport, double start) {
    if (start == 0 || start == 1) return transport->t_max;
    return transport->t_min + start * (transport->t_max - transport->t_min);
}

double tim_sampler_time(const TimTransportConfig *transport, double start, int steps, int i) {
    return tim_transport_time(transport, tim_sampler_start(transport, start), transport->t_min, steps, i);
}

typedef struct Step {
    double t, next;
    double r; /* what the network is told as the time to jump to */
    bool guided, noised;
} Step;

/* To the nearest bf16. */
static double rounded(double value) {
    return tim_bf16_round((float)value);
}

/* a < b in fp32, or in the bf16 of rounded times, in which the published code compares: a time that equals an end of the window
 * there lies outside. */
static bool below(const TimSamplerOptions *o, double a, double b) {
    return o->rounded_times ? rounded(a) < rounded(b) : (float)a < (float)b;
}

static double as_computed(const TimSamplerOptions *o, double time) {
    return o->rounded_times ? rounded(time) : time;
}

static Step step_at(const TimTransportConfig *c, const TimSamplerOptions *o, int i) {
    const bool diffusion = o->mode == TIM_SAMPLE_DIFFUSION;
    const double t = tim_sampler_time(c, o->start, o->steps, i), next = tim_sampler_time(c, o->start, o->steps, i + 1);
    Step step = {.t = as_computed(o, t), .next = as_computed(o, next)};
    step.r = diffusion ? step.t : as_computed(o, tim_transport_told(c, o->steps, t, next));
    step.guided =
        o->guidance > 1.0 && below(o, o->guidance_low * c->t_max, step.t) && below(o, step.t, o->guidance_high * c->t_max);
    step.noised = o->stochasticity > 0.0 && below(o, step.t, c->t_max) &&
                  below(o, c->t_min, diffusion ? step.t : step.next); /* the published diffusion mode noises the last jump too */
    return step;
}

/* The jump of OT-FM as bf16 times give it: the published code computes t - r, 1 - t and sqrt(2 s t dt) in their type. */
static TimJump rounded_jump(double t, double r, double ratio) {
    const double dt = rounded(t - r);
    return (TimJump){.x_t = 1.0 - ratio * dt,
                     .f = -dt - ratio * dt * rounded(1.0 - t),
                     .noise = rounded(sqrt(rounded(rounded(2.0 * ratio * t) * dt)))};
}

static TimStatus check_options(const TimTransportConfig *transport, const TimSamplerOptions *o, TimError *err) {
    TimJump unused;
    if (o->steps < 1 || o->steps > TIM_SAMPLE_MAX_STEPS)
        return tim_fail(err, TIM_E_ARGUMENT, "steps is %d; give 1 to %d", o->steps, TIM_SAMPLE_MAX_STEPS);
    if (o->mode != TIM_SAMPLE_TRANSITION && o->mode != TIM_SAMPLE_DIFFUSION)
        return tim_fail(err, TIM_E_ARGUMENT, "mode is %d; give one of TimSampleMode", (int)o->mode);
    if (!isfinite(o->guidance))
        return tim_fail(err, TIM_E_ARGUMENT, "the guidance is %g; give a finite number, 1 for none", o->guidance);
    if (!isfinite(o->guidance_low) || !isfinite(o->guidance_high))
        return tim_fail(err, TIM_E_ARGUMENT, "the guidance window is %g to %g; give two finite shares of T_max", o->guidance_low,
                        o->guidance_high);
    if (!(o->start >= 0 && o->start <= 1))
        return tim_fail(err, TIM_E_ARGUMENT, "the start is %g; give a share above 0 up to 1 of the way from T_min to T_max",
                        o->start);
    if (o->rounded_times && transport->kind != TIM_TRANSPORT_OT_FM)
        return tim_fail(err, TIM_E_UNSUPPORTED,
                        "times are rounded as published for the OT_FM transport only; leave them as they are");
    if (!isfinite(o->stochasticity))
        return tim_fail(err, TIM_E_ARGUMENT, "the stochasticity is %g; give 0 or more", o->stochasticity);
    return tim_transport_stochastic_jump(transport, transport->t_max, transport->t_min, o->stochasticity, &unused, err);
}

TimStatus tim_sampler_plan(const TimTransportConfig *transport, const TimSamplerOptions *options, TimSampleInfo *info,
                           TimError *err) {
    TIM_TRY(check_options(transport, options, err));
    *info = (TimSampleInfo){.evaluations = options->steps};
    for (int i = 0; i < options->steps; i++) {
        const Step step = step_at(transport, options, i);
        info->guided_steps += step.guided;
        info->noised_steps += step.noised;
    }
    info->evaluations += info->guided_steps;
    info->guidance_without_effect = options->guidance > 1.0 && info->guided_steps == 0;
    return TIM_OK;
}

void tim_sampler_noise(float *out, size_t count, TimNoiseKey key, int step) {
    tim_rng_normal(out, count, key.seed, (uint64_t)key.picture << TIM_SAMPLER_STEP_BITS | (uint64_t)step, 0);
}

/* ---- one run ---- */

typedef struct Run {
    TimModel *model;
    const TimTransport *transport;
    const TimSamplerBatch *in;
    const TimSamplerOptions *options;
    size_t width, size; /* elements of one state, and of the batch */
    size_t caption;     /* elements of the captions of one batch; 0 for the class network */
    TimCondition both;  /* condition, then null, (2B): its first half is the condition alone */
    float *x, *f;       /* (2B, C H W): the second half is used by guided steps only */
    float *t, *r;       /* (2B) */
    float *noise;       /* (C H W) of one picture */
    int64_t *labels;    /* (2B) */
    float *captions;    /* (2 caption) */
    int64_t noises_used;
} Run;

static TimStatus check_captions(const TimSamplerBatch *in, bool guided, TimError *err) {
    const int tokens = in->condition.caption_tokens;
    if (tokens < 1) return tim_fail(err, TIM_E_ARGUMENT, "a caption of %d tokens; give at least 1", tokens);
    if (guided && in->null.caption_tokens != tokens)
        return tim_fail(err, TIM_E_ARGUMENT,
                        "the captions have %d tokens and the null caption has %d; cut or pad it to the same length", tokens,
                        in->null.caption_tokens);
    return TIM_OK;
}

static TimStatus check_batch(const Run *run, bool guided, TimError *err) {
    const TimSamplerBatch *in = run->in;
    if (in->batch < 1 || in->height < 1 || in->width < 1)
        return tim_fail(err, TIM_E_ARGUMENT, "a batch of %lld pictures of %d x %d (width x height); all must be at least 1",
                        (long long)in->batch, in->width, in->height);
    return run->model->config.network.kind == TIM_NETWORK_T2I ? check_captions(in, guided, err) : TIM_OK;
}

/* Sizes of a state, of the batch and of its captions, such that two batches still fit. */
static TimStatus measure(Run *run, TimError *err) {
    const TimNetworkConfig *c = &run->model->config.network;
    const TimSamplerBatch *in = run->in;
    const size_t tokens = c->kind == TIM_NETWORK_T2I ? (size_t)in->condition.caption_tokens : 0;
    size_t twice;
    if (tim_mul_size((size_t)c->in_channels, (size_t)in->height, &run->width) &&
        tim_mul_size(run->width, (size_t)in->width, &run->width) && tim_mul_size(run->width, (size_t)in->batch, &run->size) &&
        tim_mul_size(run->size, 2, &twice) && tim_mul_size((size_t)in->batch, tokens, &run->caption) &&
        tim_mul_size(run->caption, (size_t)c->cap_feat_dim, &run->caption) && tim_mul_size(run->caption, 2, &twice))
        return TIM_OK;
    return tim_fail(err, TIM_E_MEMORY, "a batch of %lld pictures of %d x %d does not fit into memory; use a smaller batch",
                    (long long)in->batch, in->width, in->height);
}

static TimStatus allocate(Run *run, size_t copies, TimError *err) {
    const size_t batch = copies * (size_t)run->in->batch; /* measured above for two copies of far more */
    TIM_TRY(tim_new(&run->x, copies * run->size, sizeof *run->x, "the network's input", err));
    TIM_TRY(tim_new(&run->f, copies * run->size, sizeof *run->f, "the network's output", err));
    TIM_TRY(tim_new(&run->t, batch, sizeof *run->t, "the times", err));
    TIM_TRY(tim_new(&run->r, batch, sizeof *run->r, "the times", err));
    TIM_TRY(tim_new(&run->noise, run->width, sizeof *run->noise, "the noise", err));
    TIM_TRY(tim_new(&run->labels, batch, sizeof *run->labels, "the labels", err));
    return tim_new(&run->captions, copies * run->caption, sizeof *run->captions, "the captions", err);
}

static void release(Run *run) {
    tim_free(run->x);
    tim_free(run->f);
    tim_free(run->t);
    tim_free(run->r);
    tim_free(run->noise);
    tim_free(run->labels);
    tim_free(run->captions);
}

static void join_conditions(Run *run, size_t copies) {
    const TimCondition *const parts[2] = {&run->in->condition, &run->in->null};
    const size_t batch = (size_t)run->in->batch;
    for (size_t k = 0; k < copies; k++) {
        if (run->caption)
            memcpy(run->captions + k * run->caption, parts[k]->caption, run->caption * sizeof *run->captions);
        else
            memcpy(run->labels + k * batch, parts[k]->labels, batch * sizeof *run->labels);
    }
    run->both = (TimCondition){.labels = run->labels,
                               .caption = run->captions,
                               .caption_tokens = run->in->condition.caption_tokens,
                               .caption_version = tim_model_caption_version(run->model)};
}

/* F into the first half of f, guided or not. */
static TimStatus evaluate(Run *run, const Step *step, TimError *err) {
    const TimTransportConfig *config = &run->model->config.transport;
    const int64_t rows = run->in->batch * (step->guided ? 2 : 1);
    const float t = (float)run->transport->c_noise(config, step->t), r = (float)run->transport->c_noise(config, step->r);
    for (int64_t i = 0; i < rows; i++) run->t[i] = t, run->r[i] = r;
    for (size_t i = 0; i < run->size; i++) run->x[i] = (float)run->in->state[i];
    if (step->guided) memcpy(run->x + run->size, run->x, run->size * sizeof *run->x);
    return tim_model_evaluate(run->model, rows, run->in->height, run->in->width, run->x, run->t, run->r, &run->both, run->f, err);
}

/* F of element i: F_null + s (F_cond - F_null), the order of the batch being cond, null. */
static double output_at(const Run *run, const Step *step, size_t i) {
    const double f = run->f[i];
    if (!step->guided) return f;
    const double null = run->f[run->size + i];
    return null + run->options->guidance * (f - null);
}

/* The clean picture that the step's F stands for: the jump from the same state, on to T_min. In the last step that is the jump
 * itself. */
static void estimate(const Run *run, const Step *step, int index) {
    const TimTransportConfig *config = &run->model->config.transport;
    float *out = run->options->estimates;
    if (!out) return;
    const TimJump by = run->transport->jump(config, step->t, config->t_min);
    out += (size_t)index * run->size;
    for (size_t i = 0; i < run->size; i++) out[i] = (float)(by.x_t * run->in->state[i] + by.f * output_at(run, step, i));
}

/* The fresh noise of picture b of the batch for this step (0, 1, ...). */
static const float *noise_for(Run *run, int step, size_t b) {
    if (run->options->noises) return run->options->noises + (size_t)run->noises_used * run->size + b * run->width;
    tim_sampler_noise(run->noise, run->width, run->in->keys[b], step + 1);
    return run->noise;
}

static TimStatus coefficients(const Run *run, const Step *step, TimJump *by, TimError *err) {
    const double ratio = step->noised ? run->options->stochasticity : 0.0;
    if (!run->options->rounded_times)
        return tim_transport_stochastic_jump(&run->model->config.transport, step->t, step->next, ratio, by, err);
    *by = rounded_jump(step->t, step->next, ratio);
    return TIM_OK;
}

static TimStatus jump(Run *run, const Step *step, int index, TimError *err) {
    TimJump by;
    TIM_TRY(coefficients(run, step, &by, err));
    double *state = run->in->state;
    for (size_t b = 0; b < (size_t)run->in->batch; b++) {
        const float *noise = step->noised ? noise_for(run, index, b) : NULL;
        for (size_t k = 0, i = b * run->width; k < run->width; k++, i++)
            state[i] = by.x_t * state[i] + by.f * output_at(run, step, i) + (noise ? by.noise * noise[k] : 0.0);
    }
    run->noises_used += step->noised;
    return TIM_OK;
}

/* A picture of what is no number would be black, and say nothing. */
static TimStatus check_state(const Run *run, int index, TimError *err) {
    const double *state = run->in->state;
    for (size_t i = 0; i < run->size; i++)
        if (!isfinite(state[i]))
            return tim_fail(err, TIM_E_FORMAT,
                            "step %d of %d led to %s in picture %zu of its batch: the network's weights, or the captions, are not "
                            "finite or too large for this precision; look for what damaged them, or try fp32",
                            index + 1, run->options->steps, tim_not_finite_text(state[i]), i / run->width);
    return TIM_OK;
}

static void record(const Run *run, int index) {
    float *out = run->options->trajectory;
    if (!out) return;
    out += (size_t)index * run->size;
    for (size_t i = 0; i < run->size; i++) out[i] = (float)run->in->state[i];
}

static TimStatus walk(Run *run, TimError *err) {
    const TimSamplerOptions *o = run->options;
    record(run, 0);
    for (int i = 0; i < o->steps; i++) {
        const Step step = step_at(&run->model->config.transport, o, i);
        TIM_TRY(evaluate(run, &step, err));
        estimate(run, &step, i);
        TIM_TRY(jump(run, &step, i, err));
        TIM_TRY(check_state(run, i, err));
        record(run, i + 1);
        if (o->progress && !o->progress(i + 1, o->steps, o->user))
            return tim_fail(err, TIM_E_CANCELLED, "sampling was stopped after step %d of %d", i + 1, o->steps);
    }
    return TIM_OK;
}

TimStatus tim_sampler_run(TimModel *model, const TimSamplerBatch *batch, const TimSamplerOptions *options, TimSampleInfo *info,
                          TimError *err) {
    TimSampleInfo plan;
    const TimTransportConfig *config = &model->config.transport;
    Run run = {.model = model, .transport = tim_transport_get(config->kind), .in = batch, .options = options};
    TIM_TRY(tim_sampler_plan(config, options, &plan, err));
    if (options->noises && options->noise_count < plan.noised_steps)
        return tim_fail(err, TIM_E_ARGUMENT, "%lld noises are given and %lld steps use one; give as many, or none",
                        (long long)options->noise_count, (long long)plan.noised_steps);
    if (plan.noised_steps && !options->noises && !batch->keys)
        return tim_fail(err, TIM_E_ARGUMENT, "%lld steps use fresh noise; give the pictures' keys, or the noises",
                        (long long)plan.noised_steps);
    const size_t copies = plan.guided_steps > 0 ? 2 : 1;
    TIM_TRY(check_batch(&run, copies == 2, err));
    TIM_TRY(measure(&run, err));
    TimStatus status = allocate(&run, copies, err);
    if (status == TIM_OK) {
        join_conditions(&run, copies);
        status = walk(&run, err);
    }
    release(&run);
    if (status == TIM_OK && info) *info = plan;
    return status;
}
