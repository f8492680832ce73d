/* Classes to pictures: batches of the sampler for models that work on pixels.
 * Invariant: picture i depends on (seed, i), its class and the options; cutting the pictures into batches changes rounding only. */
#include <string.h>

#include "base/memory.h"
#include "sample/sampler.h"
#include "tim/sample.h"
#include "transport/transport.h"

void tim_sample_options_init(TimSampleOptions *options) {
    *options = (TimSampleOptions){.count = 1,
                                  .steps = 1,
                                  .mode = TIM_SAMPLE_TRANSITION,
                                  .guidance = 1.0,
                                  .guidance_low = 0.0,
                                  .guidance_high = 1.0,
                                  .batch = 16,
                                  .rounding = TIM_IMAGE_ROUNDING_C2I};
}

/* ---- checks ---- */

static TimStatus check_model(const TimConfig *config, bool guided, TimError *err) {
    const TimNetworkConfig *n = &config->network;
    if (n->kind != TIM_NETWORK_C2I)
        return tim_fail(err, TIM_E_UNSUPPORTED, "the model is conditioned on text; this call draws from class models");
    if (config->vae_dir)
        return tim_fail(err, TIM_E_UNSUPPORTED,
                        "the model makes latents of the autoencoder %s, which is needed to turn them into pictures; "
                        "only models that work on pixels (without vae_dir) can be drawn from so far",
                        config->vae_dir);
    if (n->in_channels != 1 && n->in_channels != 3)
        return tim_fail(err, TIM_E_UNSUPPORTED, "the model's pictures have %d channels; only 1 (gray) and 3 (RGB) can be shown",
                        n->in_channels);
    if (guided && !(n->class_dropout_prob > 0.0))
        return tim_fail(err, TIM_E_UNSUPPORTED,
                        "guidance needs the null class, and the model was trained without one (class_dropout_prob 0); "
                        "set the guidance to 1");
    return TIM_OK;
}

static TimStatus check_size(const char *name, int size, int patch, TimError *err) {
    if (size >= 1 && size <= TIM_IMAGE_MAX_SIDE && size % patch == 0) return TIM_OK;
    return tim_fail(err, TIM_E_ARGUMENT, "%s is %d; give a multiple of the patch, %d, up to %d, or 0 for the model's own", name,
                    size, patch, TIM_IMAGE_MAX_SIDE);
}

static int or_default(int size, const TimConfig *config) {
    return size ? size : config->network.input_size;
}

static TimStatus check_options(const TimConfig *config, const TimSampleOptions *o, TimError *err) {
    if (o->count < 1 || o->count > TIM_SAMPLER_MAX_PICTURES)
        return tim_fail(err, TIM_E_ARGUMENT, "count is %lld; give at least 1", (long long)o->count);
    if (o->first < 0 || o->first > TIM_SAMPLER_MAX_PICTURES - o->count)
        return tim_fail(err, TIM_E_ARGUMENT, "first is %lld; give a number from 0 to 2^%d - count", (long long)o->first,
                        64 - TIM_SAMPLER_STEP_BITS);
    if (o->batch < 1) return tim_fail(err, TIM_E_ARGUMENT, "batch is %d; give at least 1", o->batch);
    if (o->rounding != TIM_IMAGE_ROUNDING_T2I && o->rounding != TIM_IMAGE_ROUNDING_C2I)
        return tim_fail(err, TIM_E_ARGUMENT, "rounding is %d; give one of TimImageRounding", (int)o->rounding);
    TIM_TRY(check_size("height", or_default(o->height, config), config->network.patch_size, err));
    return check_size("width", or_default(o->width, config), config->network.patch_size, err);
}

static TimStatus check_labels(const TimConfig *config, const TimSampleOptions *o, TimError *err) {
    const int classes = config->network.num_classes;
    for (int64_t i = 0; o->labels && i < o->count; i++)
        if (o->labels[i] < 0 || o->labels[i] >= classes)
            return tim_fail(err, TIM_E_ARGUMENT, "class %lld of picture %lld; the model has the classes 0 to %d",
                            (long long)o->labels[i], (long long)(o->first + i), classes - 1);
    return TIM_OK;
}

static TimSamplerOptions sampler_options(const TimSampleOptions *o) {
    return (TimSamplerOptions){.steps = o->steps,
                               .mode = o->mode,
                               .guidance = o->guidance,
                               .guidance_low = o->guidance_low,
                               .guidance_high = o->guidance_high,
                               .stochasticity = o->stochasticity,
                               .seed = o->seed};
}

TimStatus tim_sample_plan(const TimModel *model, const TimSampleOptions *options, TimSampleInfo *info, TimError *err) {
    const TimSamplerOptions sampler = sampler_options(options);
    TIM_TRY(tim_sampler_plan(&model->config.transport, &sampler, info, err));
    TIM_TRY(check_model(&model->config, info->guided_steps > 0, err));
    TIM_TRY(check_options(&model->config, options, err));
    return check_labels(&model->config, options, err);
}

/* ---- drawing ---- */

typedef struct Run {
    TimModel *model;
    const TimSampleOptions *options;
    TimSamplerOptions sampler;
    TimPictures *out;
    size_t size;            /* elements of one picture */
    double *state;          /* (batch, C, H, W) */
    float *chw;             /* (C, H, W) of one picture */
    int64_t *labels, *null; /* (batch) */
    int64_t steps_before;   /* done in earlier batches */
} Run;

static bool report(int64_t done, int64_t total, void *user) {
    const Run *run = user;
    const int64_t batches = (run->options->count - 1) / run->options->batch + 1;
    return run->options->progress(run->steps_before + done, total * batches, run->options->user);
}

/* Noise at T_max, as published: as it is, but for VE-SDE, whose states are as large as sigma(T_max). */
static double initial_scale(const TimTransportConfig *c) {
    return c->kind == TIM_TRANSPORT_VE_SDE ? tim_transport_get(c->kind)->path(c, c->t_max).sigma : 1.0;
}

static void fill_noise(const Run *run, int64_t first, int64_t count) {
    const double scale = initial_scale(&run->model->config.transport);
    for (int64_t b = 0; b < count; b++) {
        double *state = run->state + (size_t)b * run->size;
        tim_sampler_noise(run->chw, run->size, run->options->seed, first + b, 0);
        for (size_t i = 0; i < run->size; i++) state[i] = scale * run->chw[i];
    }
}

static void fill_labels(const Run *run, int64_t offset, int64_t count) {
    const TimSampleOptions *o = run->options;
    const int64_t classes = run->model->config.network.num_classes;
    for (int64_t b = 0; b < count; b++) {
        run->labels[b] = o->labels ? o->labels[offset + b] : (o->first + offset + b) % classes;
        run->null[b] = classes;
    }
}

/* At T_min the state is alpha x and next to no noise; alpha is 1 but for EDM, whose path is scaled to unit variance. */
static TimStatus keep_picture(const Run *run, int64_t b, int64_t offset, TimError *err) {
    const TimTransportConfig *c = &run->model->config.transport;
    const double alpha = tim_transport_get(c->kind)->path(c, c->t_min).alpha;
    const double *state = run->state + (size_t)b * run->size;
    TimImage image;
    for (size_t i = 0; i < run->size; i++) run->chw[i] = (float)(state[i] / alpha);
    TIM_TRY(
        tim_image_from_chw(&image, run->chw, run->out->channels, run->out->height, run->out->width, run->options->rounding, err));
    memcpy(run->out->pixels + (size_t)(offset + b) * run->size, image.pixels, run->size);
    tim_image_done(&image);
    return TIM_OK;
}

static TimStatus draw_batch(Run *run, int64_t offset, int64_t count, TimSampleInfo *info, TimError *err) {
    const int64_t first = run->options->first + offset;
    fill_noise(run, first, count);
    fill_labels(run, offset, count);
    const TimSamplerBatch batch = {.batch = count,
                                   .height = run->out->height,
                                   .width = run->out->width,
                                   .state = run->state,
                                   .first = first,
                                   .condition = {.labels = run->labels},
                                   .null = {.labels = run->null}};
    TIM_TRY(tim_sampler_run(run->model, &batch, &run->sampler, info, err));
    for (int64_t b = 0; b < count; b++) TIM_TRY(keep_picture(run, b, offset, err));
    run->steps_before += run->options->steps;
    return TIM_OK;
}

static TimStatus allocate(Run *run, TimError *err) {
    const TimSampleOptions *o = run->options;
    TimPictures *out = run->out;
    const size_t batch = (size_t)(o->count < o->batch ? o->count : o->batch);
    run->size = (size_t)out->channels * (size_t)out->height * (size_t)out->width; /* at most 3 * 2^28 */
    size_t elements;
    if (!tim_mul_size(batch, run->size, &elements))
        return tim_fail(err, TIM_E_MEMORY, "a batch of %d pictures does not fit into memory; use a smaller one", o->batch);
    TIM_TRY(tim_new(&out->pixels, (size_t)o->count, run->size, "the pictures", err));
    TIM_TRY(tim_new(&run->state, elements, sizeof *run->state, "the sampler's state", err));
    TIM_TRY(tim_new(&run->chw, run->size, sizeof *run->chw, "a picture", err));
    TIM_TRY(tim_new(&run->labels, batch, sizeof *run->labels, "the labels", err));
    return tim_new(&run->null, batch, sizeof *run->null, "the labels", err);
}

static TimStatus draw(Run *run, TimSampleInfo *info, TimError *err) {
    const TimSampleOptions *o = run->options;
    TIM_TRY(allocate(run, err));
    for (int64_t offset = 0; offset < o->count; offset += o->batch) {
        const int64_t left = o->count - offset;
        TIM_TRY(draw_batch(run, offset, left < o->batch ? left : o->batch, info, err));
    }
    return TIM_OK;
}

TimStatus tim_sample(TimModel *model, const TimSampleOptions *options, TimPictures *pictures, TimSampleInfo *info, TimError *err) {
    TimSampleInfo plan;
    *pictures = (TimPictures){0};
    TIM_TRY(tim_sample_plan(model, options, &plan, err));
    *pictures = (TimPictures){.count = options->count,
                              .height = or_default(options->height, &model->config),
                              .width = or_default(options->width, &model->config),
                              .channels = model->config.network.in_channels};
    Run run = {.model = model, .options = options, .sampler = sampler_options(options), .out = pictures};
    if (options->progress) run.sampler.progress = report, run.sampler.user = &run;
    const TimStatus status = draw(&run, &plan, err);
    tim_free(run.state);
    tim_free(run.chw);
    tim_free(run.labels);
    tim_free(run.null);
    if (status != TIM_OK)
        tim_pictures_done(pictures);
    else if (info)
        *info = plan;
    return status;
}
