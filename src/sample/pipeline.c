/* Classes and prompts to pictures: batches of the sampler, with the captions before it and the decoder behind it.
 * Invariant: picture i depends on (seed, i), its class or prompt and the options; cutting the pictures into batches changes
 * rounding only. */
#include <string.h>

#include "base/clock.h"
#include "base/finite.h"
#include "base/memory.h"
#include "sample/plan.h"
#include "transport/transport.h"

/* ---- drawing ---- */

typedef struct Run {
    TimPipeline *pipeline;
    const TimSampleOptions *options;
    TimPlan *plan; /* its info is what the run has done */
    TimPictures *out;
    int height, width;      /* of the network's input */
    size_t size, pixels;    /* elements of one such input, and of one picture */
    double *state;          /* (batch, C, H, W) */
    float *estimates;       /* (steps, batch, C, H, W) of the pictures' stages; NULL: nobody asks */
    float *init;            /* (C, H, W) of the picture to start from; NULL: noise alone */
    float *input;           /* (C, H, W): noise, then latent of one picture */
    float *chw;             /* one picture; `input` itself without autoencoder */
    TimNoiseKey *keys;      /* (batch) */
    int64_t *labels, *null; /* (batch), class models */
    int tokens;             /* M of this batch's captions, text models */
    float *captions;        /* (batch + 1, M, width): the last is the null caption */
    float *null_captions;   /* (batch, M, width) */
    int64_t done, batch;    /* pictures of earlier batches, and of this one */
} Run;

/* Batches are unequal where captions are: the steps of every picture are counted. */
static bool report(int64_t done, int64_t total, void *user) {
    const Run *run = user;
    return run->options->progress(run->done * total + done * run->batch, total * run->options->count, run->options->user);
}

/* The states that a run starts from: alpha x + sigma noise at its first time where there is a picture x. Without one, noise at
 * T_max as published: as it is, but where the transport's states are as large as sigma(T_max). */
static TimPath start_of(const Run *run) {
    const TimTransportConfig *c = &run->pipeline->model->config.transport;
    const TimTransport *transport = tim_transport_get(c->kind);
    const TimPath path = transport->path(c, tim_sampler_start(c, run->plan->sampler.start));
    if (run->init) return path;
    return (TimPath){.alpha = 0, .sigma = transport->starts_at_sigma ? path.sigma : 1};
}

/* Which of the options' pictures is at `place` of the order in which they are drawn. */
static int64_t picture_at(const Run *run, int64_t place) {
    return run->plan->order ? run->plan->order[place] : place;
}

static void fill_state(const Run *run, int64_t place, int64_t count) {
    const TimSampleOptions *o = run->options;
    const TimPath start = start_of(run);
    for (int64_t b = 0; b < count; b++) {
        const int64_t picture = picture_at(run, place + b);
        double *state = run->state + (size_t)b * run->size;
        run->keys[b] = (TimNoiseKey){.seed = o->seeds ? o->seeds[picture] : o->seed, .picture = o->first + picture};
        tim_sampler_noise(run->input, run->size, run->keys[b], 0);
        for (size_t i = 0; i < run->size; i++)
            state[i] = start.sigma * run->input[i] + (run->init ? start.alpha * run->init[i] : 0);
    }
}

/* A picture of what is no number would be black, and say nothing. */
static TimStatus check_made(const float *values, size_t count, const char *part, const char *of, TimError *err) {
    const size_t i = tim_first_not_finite(values, count);
    if (i == count) return TIM_OK;
    return tim_fail(err, TIM_E_FORMAT,
                    "the %s makes %s of %s: its weights are not finite or too large for this precision; look for what damaged "
                    "them, or try fp32",
                    part, tim_not_finite_text(values[i]), of);
}

static TimStatus encode_init(Run *run, TimError *err) {
    const double begin = tim_clock();
    TIM_TRY(tim_new(&run->init, run->size, sizeof *run->init, "the picture to start from", err));
    TIM_TRY(tim_pipeline_encode(run->pipeline, run->options->init, run->out->height, run->out->width, run->plan->tiled, run->init,
                                err));
    if (run->plan->rests) tim_autoencoder_rest(run->pipeline->encoder);
    TIM_TRY(check_made(run->init, run->size, "autoencoder", "the picture to start from", err));
    run->plan->info.seconds_decoder += tim_clock() - begin;
    return TIM_OK;
}

/* ---- conditions ---- */

static void fill_labels(const Run *run, int64_t place, int64_t count) {
    const TimSampleOptions *o = run->options;
    const int64_t classes = run->pipeline->model->config.network.num_classes;
    for (int64_t b = 0; b < count; b++) {
        const int64_t i = picture_at(run, place + b);
        run->labels[b] = o->labels ? o->labels[i] : (o->first + i) % classes;
        run->null[b] = classes;
    }
}

static int tokens_at(const Run *run, int64_t place) {
    return run->plan->tokens ? run->plan->tokens[picture_at(run, place)] : 0;
}

/* How many of the `most` pictures from `place` on are one batch: those whose captions are as long as the first's. */
static int64_t batch_from(const Run *run, int64_t place, int64_t most) {
    int64_t count = 1;
    while (count < most && tokens_at(run, place + count) == tokens_at(run, place)) count++;
    return count;
}

/* The prompts' captions and, where steps are guided, beside them that of the prompt to lead away from. */
static TimStatus encode_prompts(const Run *run, const char **prompts, int64_t place, int64_t count, TimError *err) {
    const size_t caption = (size_t)run->tokens * (size_t)tim_captioner_width(run->pipeline->captioner);
    const bool guided = run->plan->info.guided_steps > 0;
    for (int64_t b = 0; b < count; b++) prompts[b] = run->options->prompts[picture_at(run, place + b)];
    prompts[count] = run->options->negative_prompt ? run->options->negative_prompt : "";
    TIM_TRY(tim_captioner_encode(run->pipeline->captioner, prompts, count + guided, run->tokens, run->captions, err));
    TIM_TRY(check_made(run->captions, caption * (size_t)(count + guided), "text encoder", "a prompt", err));
    for (int64_t b = 0; guided && b < count; b++)
        memcpy(run->null_captions + (size_t)b * caption, run->captions + (size_t)count * caption, caption * sizeof(float));
    return TIM_OK;
}

static TimStatus fill_captions(Run *run, int64_t place, int64_t count, TimError *err) {
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
    const TimStatus status = encode_prompts(run, prompts, place, count, err);
    tim_free(prompts);
    if (run->plan->rests) tim_captioner_rest(run->pipeline->captioner);
    run->plan->info.seconds_captions += tim_clock() - begin;
    return status;
}

/* ---- a batch ---- */

/* `input` = what the state of picture b at T_min, or the estimate of a stage before the last, is worth as a latent or picture. At
 * T_min the state is alpha x and next to no noise; alpha is 1 but for EDM, whose path is scaled to unit variance. */
static void take_input(const Run *run, int64_t b, size_t stage) {
    const TimTransportConfig *c = &run->pipeline->model->config.transport;
    const TimAutoencoder *autoencoder = run->pipeline->autoencoder;
    const double alpha = tim_transport_get(c->kind)->path(c, c->t_min).alpha;
    const double *state = run->state + (size_t)b * run->size;
    const bool last = stage + 1 == run->plan->stages;
    const float *estimate = last ? NULL : run->estimates + (stage * (size_t)run->batch + (size_t)b) * run->size;
    const size_t channels = (size_t)run->pipeline->model->config.network.in_channels, pixels = run->size / channels;
    for (size_t i = 0; i < run->size; i++) {
        const int channel = (int)(i / pixels);
        const double scaling = autoencoder ? tim_autoencoder_scaling(tim_autoencoder_config(autoencoder), channel) : 1.0,
                     shift = autoencoder ? tim_autoencoder_shift(tim_autoencoder_config(autoencoder), channel) : 0.0;
        run->input[i] = (float)((estimate ? estimate[i] : state[i]) / (alpha * scaling) + shift);
    }
}

static TimStatus decode(const Run *run, TimError *err) {
    TimAutoencoder *autoencoder = run->pipeline->autoencoder;
    if (!autoencoder) return TIM_OK;
    const TimTiling tiling = tim_autoencoder_tiling(tim_autoencoder_config(autoencoder));
    if (run->plan->tiled)
        return tim_autoencoder_decode_tiled(autoencoder, &tiling, 1, run->height, run->width, run->input, run->chw, err);
    if (run->plan->strips.rows)
        return tim_autoencoder_decode_strips(autoencoder, &run->plan->strips, 1, run->height, run->width, run->input, run->chw,
                                             err);
    return tim_autoencoder_decode(autoencoder, 1, run->height, run->width, run->input, run->chw, err);
}

static TimStatus keep_stage(const Run *run, int64_t b, size_t stage, uint8_t *pixels, TimError *err) {
    TimImage image;
    const double begin = tim_clock();
    take_input(run, b, stage);
    TIM_TRY(decode(run, err));
    if (run->pipeline->autoencoder) TIM_TRY(check_made(run->chw, run->pixels, "autoencoder", "finite latents", err));
    TIM_TRY(
        tim_image_from_chw(&image, run->chw, run->out->channels, run->out->height, run->out->width, run->options->rounding, err));
    memcpy(pixels, image.pixels, run->pixels);
    tim_image_done(&image);
    run->plan->info.seconds_decoder += tim_clock() - begin;
    return TIM_OK;
}

/* One after the other: however many stages, one picture is decoded at a time. */
static TimStatus keep_picture(const Run *run, int64_t b, int64_t place, TimError *err) {
    const size_t stages = run->plan->stages;
    uint8_t *pixels = run->out->pixels + (size_t)picture_at(run, place + b) * stages * run->pixels;
    for (size_t stage = 0; stage < stages; stage++) TIM_TRY(keep_stage(run, b, stage, pixels + stage * run->pixels, err));
    return TIM_OK;
}

static TimStatus draw_batch(Run *run, int64_t place, int64_t count, TimError *err) {
    run->batch = count;
    run->tokens = tokens_at(run, place);
    fill_state(run, place, count);
    if (run->pipeline->captioner)
        TIM_TRY(fill_captions(run, place, count, err));
    else
        fill_labels(run, place, count);
    const TimSamplerBatch batch = {.batch = count,
                                   .height = run->height,
                                   .width = run->width,
                                   .state = run->state,
                                   .keys = run->keys,
                                   .condition = {run->labels, run->captions, run->tokens},
                                   .null = {run->null, run->null_captions, run->tokens}};
    const double begin = tim_clock();
    TIM_TRY(tim_sampler_run(run->pipeline->model, &batch, &run->plan->sampler, NULL, err));
    run->plan->info.seconds_network += tim_clock() - begin;
    if (run->plan->rests) tim_model_rest(run->pipeline->model);
    for (int64_t b = 0; b < count; b++) TIM_TRY(keep_picture(run, b, place, err));
    if (run->plan->rests) tim_autoencoder_rest(run->pipeline->autoencoder);
    run->done += count;
    return TIM_OK;
}

/* ---- a run ---- */

static TimStatus allocate(Run *run, TimError *err) {
    const TimSampleOptions *o = run->options;
    TimPictures *out = run->out;
    const size_t batch = (size_t)(o->count < o->batch ? o->count : o->batch);
    run->height = out->height / run->plan->factor, run->width = out->width / run->plan->factor;
    run->pixels = (size_t)out->channels * (size_t)out->height * (size_t)out->width; /* at most 3 * 2^28 */
    size_t elements, stages;
    if (!tim_mul_size((size_t)run->height * (size_t)run->width, (size_t)run->pipeline->model->config.network.in_channels,
                      &run->size) ||
        !tim_mul_size(batch, run->size, &elements) || !tim_mul_size(elements, run->plan->stages, &stages))
        return tim_fail(err, TIM_E_MEMORY, "a batch of %d pictures does not fit into memory; use a smaller one", o->batch);
    TIM_TRY(tim_new(&out->pixels, (size_t)out->count, run->pixels, "the pictures", err));
    if (o->stages) TIM_TRY(tim_new(&run->estimates, stages, sizeof *run->estimates, "the pictures' stages", err));
    run->plan->sampler.estimates = run->estimates;
    TIM_TRY(tim_new(&run->state, elements, sizeof *run->state, "the sampler's state", err));
    TIM_TRY(tim_new(&run->input, run->size, sizeof *run->input, "a picture", err));
    run->chw = run->input;
    if (run->pipeline->autoencoder) TIM_TRY(tim_new(&run->chw, run->pixels, sizeof *run->chw, "a picture", err));
    TIM_TRY(tim_new(&run->keys, batch, sizeof *run->keys, "the pictures' random numbers", err));
    TIM_TRY(tim_new(&run->labels, batch, sizeof *run->labels, "the labels", err));
    return tim_new(&run->null, batch, sizeof *run->null, "the labels", err);
}

static void release(Run *run) {
    if (run->chw != run->input) tim_free(run->chw);
    void *const blocks[] = {run->state,  run->estimates, run->init,     run->input,        run->keys,
                            run->labels, run->null,      run->captions, run->null_captions};
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++) tim_free(blocks[i]);
}

static TimStatus draw(Run *run, TimError *err) {
    const TimSampleOptions *o = run->options;
    TIM_TRY(allocate(run, err));
    if (o->init) TIM_TRY(encode_init(run, err));
    for (int64_t place = 0, count; place < o->count; place += count) {
        const int64_t left = o->count - place;
        count = batch_from(run, place, left < o->batch ? left : o->batch);
        TIM_TRY(draw_batch(run, place, count, err));
    }
    return TIM_OK;
}

static TimStatus draw_planned(TimPipeline *p, const TimSampleOptions *options, TimPlan *plan, TimPictures *pictures,
                              TimError *err) {
    *pictures = (TimPictures){
        .count = options->count * (int64_t)plan->stages, .height = plan->height, .width = plan->width, .channels = plan->channels};
    Run run = {.pipeline = p, .options = options, .plan = plan, .out = pictures};
    if (options->progress) plan->sampler.progress = report, plan->sampler.user = &run;
    const TimStatus status = draw(&run, err);
    release(&run);
    if (status != TIM_OK) tim_pictures_done(pictures);
    return status;
}

TimStatus tim_pipeline_draw(TimPipeline *p, const TimSampleOptions *options, TimPictures *pictures, TimSampleInfo *info,
                            TimError *err) {
    TimPlan plan;
    *pictures = (TimPictures){0};
    TimStatus status = tim_plan_make(&plan, p, options, err);
    if (status == TIM_OK) status = draw_planned(p, options, &plan, pictures, err);
    if (status == TIM_OK && info) *info = plan.info;
    tim_plan_done(&plan);
    return status;
}

/* ---- a model by itself ---- */

TimStatus tim_sample_plan(TimModel *model, const TimSampleOptions *options, TimSampleInfo *info, TimError *err) {
    TimPipeline p = {.model = model};
    return tim_pipeline_plan(&p, options, info, err);
}

TimStatus tim_sample(TimModel *model, const TimSampleOptions *options, TimPictures *pictures, TimSampleInfo *info, TimError *err) {
    TimPipeline p = {.model = model};
    return tim_pipeline_draw(&p, options, pictures, info, err);
}
