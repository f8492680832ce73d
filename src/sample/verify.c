/* What the parts of a pipeline are, and whether they would run: each is opened as it would be, and let go. */
#include <stdio.h>

#include "io/tensor_set.h"
#include "model/published.h"
#include "sample/pipeline.h"
#include "text/tokenizer.h"

static TimPartReport *add(TimPartReport *reports, int *count, const char *part, const char *path) {
    TimPartReport *report = &reports[(*count)++];
    *report = (TimPartReport){.part = part};
    snprintf(report->path, sizeof report->path, "%s", path ? path : "");
    return report;
}

/* The file, its tensors and whose they are; a failure stays with the report. */
static void look(TimPartReport *report, const char *path) {
    TimTensorSet set;
    report->status = tim_tensor_set_open_weights(&set, path, &report->err);
    if (report->status != TIM_OK) return;
    snprintf(report->path, sizeof report->path, "%s", set.path);
    snprintf(report->wrapper, sizeof report->wrapper, "%s", tim_tensor_set_wrapper(&set));
    report->published = tim_published_name(&set);
    report->hash_weights = tim_published_is_hash(&set);
    report->tensors = set.count;
    for (size_t i = 0; i < set.count; i++) report->bytes += set.tensors[i].bytes;
    tim_tensor_set_close(&set);
}

static const TimNetworkOptions run = {.isa = TIM_ISA_GENERIC, .threads = 1, .precision = TIM_PRECISION_BF16};

static void verify_model(TimPartReport *report, const TimPipelineParts *parts, const TimPlaces *places) {
    static const TimModelOptions options = {.precision = TIM_PRECISION_BF16};
    TimModel *model;
    look(report, places->weights);
    report->status = tim_pipeline_open_model(&model, parts, &options, &report->err);
    tim_model_close(model);
}

static void verify_encoder(TimPartReport *report, const TimPlaces *places, const TimConfig *config) {
    TimCaptioner *captioner = NULL;
    look(report, places->encoder);
    if (report->status == TIM_OK)
        report->status = tim_captioner_open(&captioner, places->encoder, places->tokenizer, config, &run, &report->err);
    tim_places_name(report->status, config->text_encoder_dir, &report->err);
    tim_captioner_close(captioner);
}

static void verify_tokenizer(TimPartReport *report, const TimPlaces *places) {
    TimTokenizer *tokenizer;
    report->status = tim_tokenizer_open(&tokenizer, places->tokenizer, &report->err);
    tim_tokenizer_close(tokenizer);
}

static TimStatus open_half(TimAutoencoder **autoencoder, const TimPlaces *places, bool encoder, TimError *err) {
    const TimAutoencoderOptions options = {.isa = run.isa, .threads = 1, .bf16 = true, .encoder = encoder, .decoder = !encoder};
    return tim_autoencoder_open(autoencoder, places->autoencoder, &options, err);
}

/* The decoder, which every picture needs, then the encoder. */
static void verify_autoencoder(TimPartReport *report, const TimPlaces *places, const TimConfig *config) {
    TimAutoencoder *autoencoder = NULL;
    look(report, places->autoencoder);
    if (report->status == TIM_OK) report->status = open_half(&autoencoder, places, false, &report->err);
    if (report->status == TIM_OK) report->status = tim_places_check_latents(autoencoder, config, places->autoencoder, &report->err);
    tim_autoencoder_close(autoencoder);
    autoencoder = NULL;
    if (report->status == TIM_OK) report->init_status = open_half(&autoencoder, places, true, &report->err);
    tim_places_name(report->status != TIM_OK ? report->status : report->init_status, config->vae_dir, &report->err);
    tim_autoencoder_close(autoencoder);
}

static void missing(TimPartReport *report, TimStatus status, const TimError *err) {
    report->status = status;
    report->err = *err;
}

static void verify_text(TimPartReport *reports, int *count, const TimPlaces *places, const TimConfig *config) {
    TimPartReport *encoder = add(reports, count, "text encoder", places->encoder);
    if (places->text_status != TIM_OK) {
        missing(encoder, places->text_status, &places->text_err);
        return;
    }
    verify_tokenizer(add(reports, count, "tokenizer", places->tokenizer), places);
    verify_encoder(encoder, places, config);
}

TimStatus tim_pipeline_verify(const TimPipelineParts *parts, TimPartReport reports[TIM_PIPELINE_PARTS], int *count, TimError *err) {
    TimConfig config;
    TimPlaces places = {0};
    *count = 0;
    TimStatus status = tim_pipeline_read_config(&config, parts, err);
    if (status == TIM_OK) status = tim_places_find(&places, parts, &config, err);
    if (status == TIM_OK) {
        verify_model(add(reports, count, "model", parts->model), parts, &places);
        if (places.wants_text) verify_text(reports, count, &places, &config);
    }
    if (status == TIM_OK && places.wants_latents) {
        TimPartReport *report = add(reports, count, "autoencoder", places.autoencoder);
        if (places.latents_status == TIM_OK)
            verify_autoencoder(report, &places, &config);
        else
            missing(report, places.latents_status, &places.latents_err);
    }
    tim_places_done(&places);
    tim_config_done(&config);
    return status;
}
