/* Classes and prompts to pictures: batches of the sampler, with the captions before it and the decoder behind it.
 * Invariant: picture i depends on (seed, i), its class or prompt and the options; cutting the pictures into batches changes rounding
 * only. */
#include "sample/pipeline.h"

#include <string.h>

#include "base/clock.h"
#include "base/memory.h"
#include "sample/sampler.h"
#include "transport/transport.h"

void tim_sample_options_init(TimSampleOptions *options) {
    *options = (TimSampleOptions){.count = 1,
                                  .steps = 1,
                                  .mode = TIM_SAMPLE_TRANSITION,
                                  .guidance = 1.0,
                                  .guidance_low = 0.0,
                                  .guidance_high = 1.0,
                                  .strength = 0.7,
                                  .batch = 16,
                                  .rounding = TIM_IMAGE_ROUNDING_C2I};
}

/* ---- checks ---- */

/* Pixels a side for one element of the network's input. */
static int factor_of(const TimPipeline *p) {
    return p->autoencoder ? tim_autoencoder_factor(tim_autoencoder_config(p->autoencoder)) : 1;
}

static int channels_of(const TimPipeline *p) {
    return p->autoencoder ? tim_autoencoder_picture_channels(tim_autoencoder_config(p->autoencoder), true)
                          : p->model->config.network.in_channels;
}

int tim_pipeline_step(const TimPipeline *p) {
    return factor_of(p) * p->model->config.network.patch_size;
}

static TimStatus check_parts(const TimPipeline *p, bool guided, TimError *err) {
    const TimConfig *config = &p->model->config;
    const TimNetworkConfig *n = &config->network;
    if (n->kind == TIM_NETWORK_T2I && !p->captioner)
        return tim_fail(err, TIM_E_UNSUPPORTED,
                        "the model is conditioned on text, which needs a text encoder: open it as a pipeline");
    if (config->vae_dir && !p->autoencoder)
        return tim_fail(err, TIM_E_UNSUPPORTED,
                        "the model makes latents of the autoencoder %s, which is needed to turn them into pictures: open it as a "
                        "pipeline",
                        config->vae_dir);
    if (channels_of(p) != 1 && channels_of(p) != 3)
        return tim_fail(err, TIM_E_UNSUPPORTED, "the model's pictures have %d channels; only 1 (gray) and 3 (RGB) can be shown",
                        channels_of(p));
    if (guided && n->kind == TIM_NETWORK_C2I && !(n->class_dropout_prob > 0.0))
        return tim_fail(err, TIM_E_UNSUPPORTED,
                        "guidance needs the null class, and the model was trained without one (class_dropout_prob 0); "
                        "set the guidance to 1");
    return TIM_OK;
}

/* The multiple of `step` next to `size`, within the limits. */
static int nearest(int size, int step) {
    const int most = TIM_IMAGE_MAX_SIDE / step * step, next = (size / step + (size % step * 2 >= step)) * step;
    return next < step ? step : next > most ? most : next;
}

static TimStatus check_size(const char *name, int size, int step, TimError *err) {
    if (size >= 1 && size <= TIM_IMAGE_MAX_SIDE && size % step == 0) return TIM_OK;
    return tim_fail(err, TIM_E_ARGUMENT, "%s is %d; give a multiple of %d up to %d, such as %d, or 0 for the model's own", name,
                    size, step, TIM_IMAGE_MAX_SIDE, nearest(size, step));
}

static int or_default(int size, const TimPipeline *p) {
    return size ? size : p->model->config.network.input_size * factor_of(p);
}

/* Pictures kept of each that is drawn. */
static size_t stages_of(const TimSampleOptions *o) {
    return o->stages ? (size_t)o->steps : 1;
}

static TimStatus check_options(const TimPipeline *p, const TimSampleOptions *o, TimError *err) {
    const int64_t most = TIM_SAMPLER_MAX_PICTURES / (int64_t)stages_of(o);
    if (o->count < 1 || o->count > most)
        return tim_fail(err, TIM_E_ARGUMENT, "count is %lld; give 1 to %lld", (long long)o->count, (long long)most);
    if (o->first < 0 || o->first > TIM_SAMPLER_MAX_PICTURES - o->count)
        return tim_fail(err, TIM_E_ARGUMENT, "first is %lld; give a number from 0 to 2^%d - count", (long long)o->first,
                        64 - TIM_SAMPLER_STEP_BITS);
    if (o->batch < 1) return tim_fail(err, TIM_E_ARGUMENT, "batch is %d; give at least 1", o->batch);
    if (o->rounding != TIM_IMAGE_ROUNDING_T2I && o->rounding != TIM_IMAGE_ROUNDING_C2I)
        return tim_fail(err, TIM_E_ARGUMENT, "rounding is %d; give one of TimImageRounding", (int)o->rounding);
    if (o->init && !(o->strength > 0 && o->strength <= 1))
        return tim_fail(err, TIM_E_ARGUMENT, "strength is %g; give a number above 0 up to 1", o->strength);
    TIM_TRY(check_size("height", or_default(o->height, p), tim_pipeline_step(p), err));
    return check_size("width", or_default(o->width, p), tim_pipeline_step(p), err);
}

static TimStatus check_labels(const TimConfig *config, const TimSampleOptions *o, TimError *err) {
    const int classes = config->network.num_classes;
    for (int64_t i = 0; o->labels && i < o->count; i++)
        if (o->labels[i] < 0 || o->labels[i] >= classes)
            return tim_fail(err, TIM_E_ARGUMENT, "class %lld of picture %lld; the model has the classes 0 to %d",
                            (long long)o->labels[i], (long long)(o->first + i), classes - 1);
    return TIM_OK;
}

static TimStatus check_prompts(const TimPipeline *p, const TimSampleOptions *o, TimSampleInfo *info, TimError *err) {
    if (!o->prompts) return tim_fail(err, TIM_E_ARGUMENT, "the model is conditioned on text: give prompts");
    if (o->labels) return tim_fail(err, TIM_E_ARGUMENT, "the model is conditioned on text and has no classes: give prompts alone");
    for (int64_t i = 0; i < o->count; i++) {
        int tokens;
        bool cut;
        if (!o->prompts[i]) return tim_fail(err, TIM_E_ARGUMENT, "picture %lld has no prompt", (long long)(o->first + i));
        const TimStatus status = tim_captioner_count(p->captioner, o->prompts[i], &tokens, &cut, err);
        if (status != TIM_OK) return tim_fail_within(err, status, "the prompt of picture %lld", (long long)(o->first + i));
        info->cut_prompts += cut;
    }
    return TIM_OK;
}

static TimStatus check_conditions(const TimPipeline *p, const TimSampleOptions *o, TimSampleInfo *info, TimError *err) {
    if (p->captioner) return check_prompts(p, o, info, err);
    if (o->prompts) return tim_fail(err, TIM_E_ARGUMENT, "the model is conditioned on classes, not on text: give classes");
    return check_labels(&p->model->config, o, err);
}

static TimSamplerOptions sampler_options(const TimSampleOptions *o) {
    return (TimSamplerOptions){.steps = o->steps,
                               .mode = o->mode,
                               .guidance = o->guidance,
                               .guidance_low = o->guidance_low,
                               .guidance_high = o->guidance_high,
                               .stochasticity = o->stochasticity,
                               .rounded_times = o->rounded_times,
                               .start = o->init ? o->strength : 1,
                               .seed = o->seed};
}

/* ---- memory ---- */

/* What a run holds. */
typedef struct Need {
    size_t always;                     /* copies of weights, pictures, states */
    size_t captions, network, decoder; /* tapes and mapped weights of each phase */
    int strip_rows;                    /* in which pictures are decoded; 0: whole */
} Need;

/* Without a bound a picture is decoded whole as long as that takes no more; small ones never do, and are not even counted. */
static const size_t usual_decoder = (size_t)5 << 29, small_picture = 1200 * 1200;

static size_t larger(size_t a, size_t b) {
    return a > b ? a : b;
}

/* The longest caption of all prompts, and the most pictures at once. */
static TimStatus longest_caption(const TimPipeline *p, const TimSampleOptions *o, int *tokens, TimError *err) {
    *tokens = 0;
    for (int64_t i = 0; p->captioner && i < o->count; i++) {
        int own;
        TIM_TRY(tim_captioner_count(p->captioner, o->prompts[i], &own, NULL, err));
        if (own > *tokens) *tokens = own;
    }
    return TIM_OK;
}

static TimStatus count_need(TimPipeline *p, const TimSampleOptions *o, bool guided, Need *need, TimError *err) {
    const int height = or_default(o->height, p), width = or_default(o->width, p), factor = factor_of(p);
    const int64_t batch = o->count < o->batch ? o->count : o->batch;
    const size_t pixels = (size_t)height * (size_t)width * (size_t)channels_of(p);
    const size_t input = (size_t)(height / factor) * (size_t)(width / factor) * (size_t)p->model->config.network.in_channels;
    int tokens;
    TIM_TRY(longest_caption(p, o, &tokens, err));
    *need = (Need){.always = p->model->frozen.copied + tim_autoencoder_bytes(p->autoencoder) +
                             (p->captioner ? tim_captioner_copied(p->captioner) : 0) +
                             pixels * (stages_of(o) * (size_t)o->count + sizeof(float)) +
                             (o->stages ? stages_of(o) * (size_t)batch * input * sizeof(float) : 0)};
    if (p->captioner) TIM_TRY(tim_captioner_bytes(p->captioner, batch + guided, tokens, &need->captions, err));
    TIM_TRY(
        tim_model_tape_bytes(p->model, guided ? 2 * batch : batch, height / factor, width / factor, tokens, &need->network, err));
    need->network += tim_tensor_set_bytes(&p->model->frozen.set);
    const size_t left = o->memory > need->always ? o->memory - need->always : 0;
    return tim_autoencoder_strip_rows(p->autoencoder, height / factor, width / factor, o->memory ? left : usual_decoder,
                                      &need->strip_rows, &need->decoder, err);
}

static TimStatus plan_memory(TimPipeline *p, const TimSampleOptions *o, TimSampleInfo *info, Need *need, TimError *err) {
    tim_autoencoder_rest(p->autoencoder);
    TIM_TRY(count_need(p, o, info->guided_steps > 0, need, err));
    const bool rests = o->memory || need->strip_rows;
    info->memory = need->always + (rests ? larger(larger(need->captions, need->network), need->decoder)
                                         : need->captions + need->network + need->decoder);
    if (!o->memory || info->memory <= o->memory) return TIM_OK;
    return tim_fail(
        err, TIM_E_MEMORY,
        "the run needs about %.2f GB and may have %.2f: %.2f GB throughout, %.2f for captions, %.2f for the network, %.2f for "
        "the decoder in its smallest strips; allow more, or draw smaller or fewer pictures at once",
        1e-9 * (double)info->memory, 1e-9 * (double)o->memory, 1e-9 * (double)need->always, 1e-9 * (double)need->captions,
        1e-9 * (double)need->network, 1e-9 * (double)need->decoder);
}

static TimStatus plan_all(TimPipeline *p, const TimSampleOptions *options, TimSampleInfo *info, Need *need, TimError *err) {
    const TimSamplerOptions sampler = sampler_options(options);
    TIM_TRY(tim_sampler_plan(&p->model->config.transport, &sampler, info, err));
    TIM_TRY(check_parts(p, info->guided_steps > 0, err));
    TIM_TRY(check_options(p, options, err));
    TIM_TRY(check_conditions(p, options, info, err));
    *need = (Need){0};
    const size_t pixels = (size_t)or_default(options->height, p) * (size_t)or_default(options->width, p);
    return p->autoencoder && (options->memory || pixels > small_picture) ? plan_memory(p, options, info, need, err) : TIM_OK;
}

TimStatus tim_pipeline_plan(TimPipeline *p, const TimSampleOptions *options, TimSampleInfo *info, TimError *err) {
    Need need;
    return plan_all(p, options, info, &need, err);
}

/* ---- drawing ---- */

typedef struct Run {
    TimPipeline *pipeline;
    const TimSampleOptions *options;
    TimSamplerOptions sampler;
    TimSampleInfo *info;
    TimPictures *out;
    int height, width;      /* of the network's input */
    size_t size, pixels;    /* elements of one such input, and of one picture */
    double *state;          /* (batch, C, H, W) */
    float *estimates;       /* (steps, batch, C, H, W) of the pictures' stages; NULL: nobody asks */
    float *init;            /* (C, H, W) of the picture to start from; NULL: noise alone */
    float *input;           /* (C, H, W): noise, then latent of one picture */
    float *chw;             /* one picture; `input` itself without autoencoder */
    int64_t *labels, *null; /* (batch), class models */
    int tokens;             /* M of this batch's captions, text models */
    float *captions;        /* (batch + 1, M, width): the last is the null caption */
    float *null_captions;   /* (batch, M, width) */
    int64_t done, batch;    /* pictures of earlier batches, and of this one */
    int strip_rows;         /* in which pictures are decoded; 0: whole */
    bool rests;             /* parts let go of what they can make anew while others work */
} Run;

/* Batches are unequal where captions are: the steps of every picture are counted. */
static bool report(int64_t done, int64_t total, void *user) {
    const Run *run = user;
    return run->options->progress(run->done * total + done * run->batch, total * run->options->count, run->options->user);
}

/* The states that a run starts from: alpha x + sigma noise at its first time where there is a picture x. Without one, noise at T_max as
 * published: as it is, but for VE-SDE, whose states are as large as sigma(T_max). */
static TimPath start_of(const Run *run) {
    const TimTransportConfig *c = &run->pipeline->model->config.transport;
    const TimPath path = tim_transport_get(c->kind)->path(c, tim_sampler_start(c, run->sampler.start));
    if (run->init) return path;
    return (TimPath){.alpha = 0, .sigma = c->kind == TIM_TRANSPORT_VE_SDE ? path.sigma : 1};
}

static void fill_state(const Run *run, int64_t first, int64_t count) {
    const TimPath start = start_of(run);
    for (int64_t b = 0; b < count; b++) {
        double *state = run->state + (size_t)b * run->size;
        tim_sampler_noise(run->input, run->size, run->options->seed, first + b, 0);
        for (size_t i = 0; i < run->size; i++)
            state[i] = start.sigma * run->input[i] + (run->init ? start.alpha * run->init[i] : 0);
    }
}

static TimStatus encode_init(Run *run, TimError *err) {
    const double begin = tim_clock();
    TIM_TRY(tim_new(&run->init, run->size, sizeof *run->init, "the picture to start from", err));
    TIM_TRY(tim_pipeline_encode(run->pipeline, run->options->init, run->out->height, run->out->width, run->init, err));
    run->info->seconds_decoder += tim_clock() - begin;
    return TIM_OK;
}

/* ---- conditions ---- */

static void fill_labels(const Run *run, int64_t offset, int64_t count) {
    const TimSampleOptions *o = run->options;
    const int64_t classes = run->pipeline->model->config.network.num_classes;
    for (int64_t b = 0; b < count; b++) {
        run->labels[b] = o->labels ? o->labels[offset + b] : (o->first + offset + b) % classes;
        run->null[b] = classes;
    }
}

static TimStatus count_tokens(const Run *run, int64_t index, int *tokens, TimError *err) {
    return tim_captioner_count(run->pipeline->captioner, run->options->prompts[index], tokens, NULL, err);
}

/* How many of the `most` pictures from `offset` on are one batch: those whose captions are as long as the first's, *tokens. */
static TimStatus batch_from(const Run *run, int64_t offset, int64_t most, int64_t *count, int *tokens, TimError *err) {
    *count = most, *tokens = 0;
    if (!run->pipeline->captioner) return TIM_OK;
    TIM_TRY(count_tokens(run, offset, tokens, err));
    for (int64_t b = 1; b < most; b++) {
        int other;
        TIM_TRY(count_tokens(run, offset + b, &other, err));
        if (other == *tokens) continue;
        *count = b;
        break;
    }
    return TIM_OK;
}

/* The prompts' captions and, where steps are guided, the empty prompt's beside them. */
static TimStatus encode_prompts(const Run *run, const char **prompts, int64_t offset, int64_t count, TimError *err) {
    const size_t caption = (size_t)run->tokens * (size_t)tim_captioner_width(run->pipeline->captioner);
    const bool guided = run->info->guided_steps > 0;
    for (int64_t b = 0; b < count; b++) prompts[b] = run->options->prompts[offset + b];
    prompts[count] = "";
    TIM_TRY(tim_captioner_encode(run->pipeline->captioner, prompts, count + guided, run->tokens, run->captions, err));
    for (int64_t b = 0; guided && b < count; b++)
        memcpy(run->null_captions + (size_t)b * caption, run->captions + (size_t)count * caption, caption * sizeof(float));
    return TIM_OK;
}

static TimStatus fill_captions(Run *run, int64_t offset, int64_t count, TimError *err) {
    const size_t width = (size_t)tim_captioner_width(run->pipeline->captioner);
    const double begin = tim_clock();
    const char **prompts;
    size_t elements;
    tim_free(run->captions), tim_free(run->null_captions);
    run->captions = run->null_captions = NULL;
    if (!tim_mul_size((size_t)count + 1, (size_t)run->tokens * width, &elements))
        return tim_fail(err, TIM_E_MEMORY, "%lld captions do not fit into memory; use a smaller batch", (long long)count);
    TIM_TRY(tim_new(&run->captions, elements, sizeof *run->captions, "the captions", err));
    TIM_TRY(tim_new(&run->null_captions, elements, sizeof *run->null_captions, "the captions", err));
    TIM_TRY(tim_new(&prompts, (size_t)count + 1, sizeof *prompts, "the prompts", err));
    const TimStatus status = encode_prompts(run, prompts, offset, count, err);
    tim_free(prompts);
    if (run->rests) tim_captioner_rest(run->pipeline->captioner);
    run->info->seconds_captions += tim_clock() - begin;
    return status;
}

/* ---- a batch ---- */

/* `input` = what the state of picture b at T_min, or the estimate of a stage before the last, is worth as a latent or picture. At T_min
 * the state is alpha x and next to no noise; alpha is 1 but for EDM, whose path is scaled to unit variance. */
static void take_input(const Run *run, int64_t b, size_t stage) {
    const TimTransportConfig *c = &run->pipeline->model->config.transport;
    const TimAutoencoder *autoencoder = run->pipeline->autoencoder;
    const double alpha = tim_transport_get(c->kind)->path(c, c->t_min).alpha,
                 scaling = autoencoder ? tim_autoencoder_scaling(tim_autoencoder_config(autoencoder)) : 1.0;
    const double *state = run->state + (size_t)b * run->size;
    const bool last = stage + 1 == stages_of(run->options);
    const float *estimate = last ? NULL : run->estimates + (stage * (size_t)run->batch + (size_t)b) * run->size;
    for (size_t i = 0; i < run->size; i++) run->input[i] = (float)((estimate ? estimate[i] : state[i]) / (alpha * scaling));
}

static TimStatus decode(const Run *run, TimError *err) {
    TimAutoencoder *autoencoder = run->pipeline->autoencoder;
    if (!autoencoder) return TIM_OK;
    if (run->strip_rows)
        return tim_autoencoder_decode_strips(autoencoder, run->strip_rows, 1, run->height, run->width, run->input, run->chw, err);
    return tim_autoencoder_decode(autoencoder, 1, run->height, run->width, run->input, run->chw, err);
}

static TimStatus keep_stage(const Run *run, int64_t b, size_t stage, uint8_t *pixels, TimError *err) {
    TimImage image;
    const double begin = tim_clock();
    take_input(run, b, stage);
    TIM_TRY(decode(run, err));
    TIM_TRY(
        tim_image_from_chw(&image, run->chw, run->out->channels, run->out->height, run->out->width, run->options->rounding, err));
    memcpy(pixels, image.pixels, run->pixels);
    tim_image_done(&image);
    run->info->seconds_decoder += tim_clock() - begin;
    return TIM_OK;
}

/* One after the other: however many stages, one picture is decoded at a time. */
static TimStatus keep_picture(const Run *run, int64_t b, int64_t offset, TimError *err) {
    const size_t stages = stages_of(run->options);
    uint8_t *pixels = run->out->pixels + (size_t)(offset + b) * stages * run->pixels;
    for (size_t stage = 0; stage < stages; stage++) TIM_TRY(keep_stage(run, b, stage, pixels + stage * run->pixels, err));
    return TIM_OK;
}

static TimStatus draw_batch(Run *run, int64_t offset, int64_t count, TimError *err) {
    const int64_t first = run->options->first + offset;
    run->batch = count;
    fill_state(run, first, count);
    if (run->pipeline->captioner)
        TIM_TRY(fill_captions(run, offset, count, err));
    else
        fill_labels(run, offset, count);
    const TimSamplerBatch batch = {.batch = count,
                                   .height = run->height,
                                   .width = run->width,
                                   .state = run->state,
                                   .first = first,
                                   .condition = {run->labels, run->captions, run->tokens},
                                   .null = {run->null, run->null_captions, run->tokens}};
    const double begin = tim_clock();
    TIM_TRY(tim_sampler_run(run->pipeline->model, &batch, &run->sampler, NULL, err));
    run->info->seconds_network += tim_clock() - begin;
    if (run->rests) tim_model_rest(run->pipeline->model);
    for (int64_t b = 0; b < count; b++) TIM_TRY(keep_picture(run, b, offset, err));
    if (run->rests) tim_autoencoder_rest(run->pipeline->autoencoder);
    run->done += count;
    return TIM_OK;
}

/* ---- a run ---- */

static TimStatus allocate(Run *run, TimError *err) {
    const TimSampleOptions *o = run->options;
    TimPictures *out = run->out;
    const size_t batch = (size_t)(o->count < o->batch ? o->count : o->batch);
    run->height = out->height / factor_of(run->pipeline), run->width = out->width / factor_of(run->pipeline);
    run->pixels = (size_t)out->channels * (size_t)out->height * (size_t)out->width; /* at most 3 * 2^28 */
    size_t elements, stages;
    if (!tim_mul_size((size_t)run->height * (size_t)run->width, (size_t)run->pipeline->model->config.network.in_channels,
                      &run->size) ||
        !tim_mul_size(batch, run->size, &elements) || !tim_mul_size(elements, stages_of(o), &stages))
        return tim_fail(err, TIM_E_MEMORY, "a batch of %d pictures does not fit into memory; use a smaller one", o->batch);
    TIM_TRY(tim_new(&out->pixels, (size_t)out->count, run->pixels, "the pictures", err));
    if (o->stages) TIM_TRY(tim_new(&run->estimates, stages, sizeof *run->estimates, "the pictures' stages", err));
    run->sampler.estimates = run->estimates;
    TIM_TRY(tim_new(&run->state, elements, sizeof *run->state, "the sampler's state", err));
    TIM_TRY(tim_new(&run->input, run->size, sizeof *run->input, "a picture", err));
    run->chw = run->input;
    if (run->pipeline->autoencoder) TIM_TRY(tim_new(&run->chw, run->pixels, sizeof *run->chw, "a picture", err));
    TIM_TRY(tim_new(&run->labels, batch, sizeof *run->labels, "the labels", err));
    return tim_new(&run->null, batch, sizeof *run->null, "the labels", err);
}

static void release(Run *run) {
    if (run->chw != run->input) tim_free(run->chw);
    void *const blocks[] = {run->state,  run->estimates, run->init,     run->input,
                            run->labels, run->null,      run->captions, run->null_captions};
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++) tim_free(blocks[i]);
}

static TimStatus draw(Run *run, TimError *err) {
    const TimSampleOptions *o = run->options;
    TIM_TRY(allocate(run, err));
    if (o->init) TIM_TRY(encode_init(run, err));
    for (int64_t offset = 0, count; offset < o->count; offset += count) {
        const int64_t left = o->count - offset;
        TIM_TRY(batch_from(run, offset, left < o->batch ? left : o->batch, &count, &run->tokens, err));
        TIM_TRY(draw_batch(run, offset, count, err));
    }
    return TIM_OK;
}

TimStatus tim_pipeline_draw(TimPipeline *p, const TimSampleOptions *options, TimPictures *pictures, TimSampleInfo *info,
                            TimError *err) {
    TimSampleInfo plan;
    Need need = {0};
    *pictures = (TimPictures){0};
    TIM_TRY(plan_all(p, options, &plan, &need, err));
    *pictures = (TimPictures){.count = options->count * (int64_t)stages_of(options),
                              .height = or_default(options->height, p),
                              .width = or_default(options->width, p),
                              .channels = channels_of(p)};
    Run run = {.pipeline = p, .options = options, .sampler = sampler_options(options), .info = &plan, .out = pictures};
    run.strip_rows = need.strip_rows, run.rests = options->memory || need.strip_rows;
    if (options->progress) run.sampler.progress = report, run.sampler.user = &run;
    const TimStatus status = draw(&run, err);
    release(&run);
    if (status != TIM_OK)
        tim_pictures_done(pictures);
    else if (info)
        *info = plan;
    return status;
}

/* ---- a model by itself ---- */

/* A plan only reads it. */
static TimPipeline alone(const TimModel *model) {
    TimPipeline p = {0};
    memcpy(&p.model, &model, sizeof model);
    return p;
}

TimStatus tim_sample_plan(const TimModel *model, const TimSampleOptions *options, TimSampleInfo *info, TimError *err) {
    TimPipeline p = alone(model);
    return tim_pipeline_plan(&p, options, info, err);
}

TimStatus tim_sample(TimModel *model, const TimSampleOptions *options, TimPictures *pictures, TimSampleInfo *info, TimError *err) {
    TimPipeline p = {.model = model};
    return tim_pipeline_draw(&p, options, pictures, info, err);
}
