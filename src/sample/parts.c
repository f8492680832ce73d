/* Finding and opening the parts of a pipeline. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/memory.h"
#include "base/text.h"
#include "io/file.h"
#include "model/store.h"
#include "sample/pipeline.h"

/* ---- places ---- */

static bool is_folder(const char *path) {
    struct stat info;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

/* The folder of the model: itself, or the one that the file lies in. */
static TimStatus find_base(char **base, const char *model, TimError *err) {
    struct stat info;
    if (stat(model, &info) != 0)
        return tim_fail(err, TIM_E_IO,
                        "%s: %s; give a folder with weights and config.yaml, a file of weights, or a YAML beside them", model,
                        strerror(errno));
    return S_ISDIR(info.st_mode) ? tim_copy_text(base, model, err) : tim_path_beside(base, model, ".", err);
}

/* *found = `folder`/`name` when it is a folder, or stays NULL; the place is noted in `looked`. */
static TimStatus try_place(char **found, const char *folder, const char *name, char *looked, size_t size, TimError *err) {
    char *path;
    if (*found || !name || !*name) return TIM_OK;
    TIM_TRY(folder ? tim_join_path(&path, folder, name, err) : tim_copy_text(&path, name, err));
    const size_t at = strlen(looked);
    snprintf(looked + at, size - at, "%s%s", at ? ", " : "", path);
    if (is_folder(path))
        *found = path;
    else
        tim_free(path);
    return TIM_OK;
}

/* A part that the model needs: where diffusers has it, and the name that the configuration gives it. */
typedef struct Wanted {
    const char *what, *place, *name, *option;
} Wanted;

/* *path = the part's folder: the one given, or the first place that is one. */
static TimStatus find_part(char **path, const char *given, const char *base, const Wanted *w, TimError *err) {
    char looked[2048] = "";
    if (given) return tim_copy_text(path, given, err);
    const char *last = w->name ? strrchr(w->name, '/') : NULL;
    TIM_TRY(try_place(path, base, w->place, looked, sizeof looked, err));
    if (!w->name || *w->name != '/') TIM_TRY(try_place(path, base, w->name, looked, sizeof looked, err));
    TIM_TRY(try_place(path, base, last ? last + 1 : NULL, looked, sizeof looked, err));
    TIM_TRY(try_place(path, NULL, w->name, looked, sizeof looked, err));
    if (*path) return TIM_OK;
    return tim_fail(err, TIM_E_IO,
                    "the %s %s is not there: looked for %s; get it under that name from the Hugging Face hub, or give its "
                    "folder with %s",
                    w->what, w->name ? w->name : "of the model", looked, w->option);
}

/* ---- the configuration ---- */

static TimStatus check_one_config(const TimPipelineParts *parts, TimError *err) {
    if (!parts->config || !tim_is_yaml(parts->model)) return TIM_OK;
    return tim_fail(err, TIM_E_ARGUMENT,
                    "%s is a configuration, and %s another; give weights, or the folder that holds them, as the model",
                    parts->model, parts->config);
}

TimStatus tim_pipeline_read_config(TimConfig *config, const TimPipelineParts *parts, TimError *err) {
    tim_config_init(config);
    TIM_TRY(check_one_config(parts, err));
    if (tim_is_yaml(parts->model)) return tim_config_read(config, parts->model, err);
    return tim_model_config_read(config, parts->model, parts->config, err);
}

/* ---- all places ---- */

static TimStatus find_text(TimPlaces *places, const TimPipelineParts *parts, const TimConfig *config, TimError *err) {
    const Wanted wanted = {"text encoder", "text_encoder", config->text_encoder_dir, "--text-encoder"};
    char unused[2048] = "";
    TIM_TRY(find_part(&places->encoder, parts->text_encoder, places->base, &wanted, err));
    if (parts->tokenizer) return tim_copy_text(&places->tokenizer, parts->tokenizer, err);
    TIM_TRY(try_place(&places->tokenizer, places->base, "tokenizer", unused, sizeof unused, err));
    if (places->tokenizer) return TIM_OK;
    return tim_is_file(places->encoder) ? tim_path_beside(&places->tokenizer, places->encoder, ".", err)
                                        : tim_copy_text(&places->tokenizer, places->encoder, err);
}

static TimStatus find_autoencoder(TimPlaces *places, const TimPipelineParts *parts, const TimConfig *config, TimError *err) {
    const Wanted wanted = {"autoencoder", "vae", config->vae_dir, "--autoencoder"};
    return find_part(&places->autoencoder, parts->autoencoder, places->base, &wanted, err);
}

/* Whether the pictures are latents: of an autoencoder that somebody names, or of channels that no picture has. */
static bool makes_latents(const TimPipelineParts *parts, const TimConfig *config) {
    const int channels = config->network.in_channels;
    return config->vae_dir || parts->autoencoder || (channels != 1 && channels != 3);
}

TimStatus tim_places_find(TimPlaces *places, const TimPipelineParts *parts, const TimConfig *config, TimError *err) {
    *places = (TimPlaces){.wants_text = config->network.kind == TIM_NETWORK_T2I, .wants_latents = makes_latents(parts, config)};
    TIM_TRY(find_base(&places->base, parts->model, err));
    places->weights = tim_is_yaml(parts->model) ? places->base : parts->model;
    if (places->wants_text) places->text_status = find_text(places, parts, config, &places->text_err);
    if (places->wants_latents) places->latents_status = find_autoencoder(places, parts, config, &places->latents_err);
    return TIM_OK;
}

void tim_places_done(TimPlaces *places) {
    tim_free(places->base);
    tim_free(places->encoder);
    tim_free(places->tokenizer);
    tim_free(places->autoencoder);
    *places = (TimPlaces){0};
}

/* ---- opening ---- */

TimStatus tim_pipeline_open_model(TimModel **model, const TimPipelineParts *parts, const TimModelOptions *options, TimError *err) {
    const bool yaml = tim_is_yaml(parts->model);
    char *base = NULL;
    *model = NULL;
    TIM_TRY(check_one_config(parts, err));
    TIM_TRY(find_base(&base, parts->model, err));
    const TimStatus status = tim_model_open(model, yaml ? base : parts->model, yaml ? parts->model : parts->config, options, err);
    tim_free(base);
    if (status != TIM_E_IO || !yaml) return status;
    return tim_fail_further(err, status, " (%s is looked for weights beside it; of weights elsewhere it is the configuration)",
                            parts->model);
}

TimStatus tim_places_check_latents(const TimAutoencoder *autoencoder, const TimConfig *config, const char *folder, TimError *err) {
    const int latents = tim_autoencoder_latent_channels(tim_autoencoder_config(autoencoder)), wanted = config->network.in_channels;
    if (latents == wanted) return TIM_OK;
    return tim_fail(err, TIM_E_FORMAT,
                    "%s: its latents have %d channels and the model makes %d (in_channels); do the two belong together?", folder,
                    latents, wanted);
}

TimStatus tim_places_name(TimStatus status, const char *name, TimError *err) {
    if (status == TIM_OK || !err || !name || strstr(err->text, name)) return status;
    return tim_fail_further(err, status, " (the configuration names %s)", name);
}

/* What copies of further weights may take; 0: no bound. */
static size_t copies_left(const TimPipeline *p) {
    const size_t most = p->model->options.max_copy_bytes,
                 taken = p->model->frozen.copied + (p->captioner ? tim_captioner_copied(p->captioner) : 0) +
                         (p->autoencoder ? tim_autoencoder_weight_bytes(p->autoencoder) : 0);
    if (!most) return 0;
    return most > taken ? most - taken : 1;
}

static TimStatus open_captioner(TimPipeline *p, const TimPlaces *places, TimError *err) {
    const TimConfig *c = &p->model->config;
    TimNetworkOptions options = p->model->options;
    options.max_copy_bytes = copies_left(p);
    if (places->text_status == TIM_OK)
        return tim_places_name(tim_captioner_open(&p->captioner, places->encoder, places->tokenizer, c, &options, err),
                               c->text_encoder_dir, err);
    if (err) *err = places->text_err;
    return places->text_status;
}

static TimStatus open_autoencoder(TimPipeline *p, TimPlaces *places, TimError *err) {
    const TimNetworkOptions *run = &p->model->options;
    const TimAutoencoderOptions options = {
        .isa = run->isa, .threads = run->threads, .bf16 = p->autoencoder_bf16, .decoder = true, .max_copy_bytes = copies_left(p)};
    if (places->latents_status != TIM_OK) {
        if (err) *err = places->latents_err;
        return places->latents_status;
    }
    p->autoencoder_folder = places->autoencoder;
    places->autoencoder = NULL;
    TIM_TRY(tim_places_name(tim_autoencoder_open(&p->autoencoder, p->autoencoder_folder, &options, err), p->model->config.vae_dir,
                            err));
    return tim_places_check_latents(p->autoencoder, &p->model->config, p->autoencoder_folder, err);
}

TimStatus tim_pipeline_encoder(TimPipeline *p, TimAutoencoder **encoder, TimError *err) {
    const TimNetworkOptions *run = &p->model->options;
    const TimAutoencoderOptions options = {
        .isa = run->isa, .threads = run->threads, .bf16 = p->autoencoder_bf16, .encoder = true, .max_copy_bytes = copies_left(p)};
    if (!p->encoder) TIM_TRY(tim_autoencoder_open(&p->encoder, p->autoencoder_folder, &options, err));
    *encoder = p->encoder;
    return TIM_OK;
}

static TimStatus open_parts(TimPipeline *p, TimPlaces *places, TimError *err) {
    if (places->wants_text) TIM_TRY(open_captioner(p, places, err));
    return places->wants_latents ? open_autoencoder(p, places, err) : TIM_OK;
}

/* Of the autoencoder, which need not be the model's. */
static TimStatus read_precision(TimPipeline *p, const TimModelOptions *options, TimError *err) {
    const TimPartPrecision part = options ? options->autoencoder : TIM_PART_AS_MODEL;
    if ((unsigned)part > TIM_PART_BF16)
        return tim_fail(err, TIM_E_ARGUMENT, "the autoencoder's precision is %d; give one of TimPartPrecision", (int)part);
    p->autoencoder_bf16 = part == TIM_PART_AS_MODEL ? options && options->precision == TIM_PRECISION_BF16 : part == TIM_PART_BF16;
    return TIM_OK;
}

static TimStatus open_all(TimPipeline *p, const TimPipelineParts *parts, const TimModelOptions *options, TimError *err) {
    TimPlaces places;
    TIM_TRY(read_precision(p, options, err));
    TIM_TRY(tim_pipeline_open_model(&p->model, parts, options, err));
    TIM_TRY(tim_places_find(&places, parts, &p->model->config, err));
    const TimStatus status = open_parts(p, &places, err);
    tim_places_done(&places);
    return status;
}

TimStatus tim_pipeline_open(TimPipeline **pipeline, const TimPipelineParts *parts, const TimModelOptions *options, TimError *err) {
    TimPipeline *p;
    *pipeline = NULL;
    TIM_TRY(tim_new(&p, 1, sizeof *p, "a pipeline", err));
    const TimStatus status = open_all(p, parts, options, err);
    if (status == TIM_OK)
        *pipeline = p;
    else
        tim_pipeline_close(p);
    return status;
}

void tim_pipeline_close(TimPipeline *p) {
    if (!p) return;
    tim_autoencoder_close(p->autoencoder);
    tim_autoencoder_close(p->encoder);
    tim_free(p->autoencoder_folder);
    tim_captioner_close(p->captioner);
    tim_model_close(p->model);
    tim_free(p);
}

const TimConfig *tim_pipeline_config(const TimPipeline *p) {
    return &p->model->config;
}
