#include "tim/synth.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "io/config_json.h"
#include "io/file.h"
#include "io/hf_config.h"
#include "model/store.h"
#include "nn/hash_weights.h"

/* What a kind of checkpoint is recognised by, and how it is laid out. */
typedef struct Kind {
    const char *name, *key; /* of the configuration, which only this kind has; NULL: any */
    const char *file;
    TimHashRule rule;
} Kind;

static const Kind kinds[] = {
    {"TiM", "qk_norm", TIM_MODEL_FILE, TIM_HASH_PLAIN},
    {"AutoencoderKL", "down_block_types", "diffusion_pytorch_model.safetensors", TIM_HASH_PLAIN},
    {"AutoencoderDC", "encoder_block_types", "diffusion_pytorch_model.safetensors", TIM_HASH_PLAIN},
    {"gemma3_text", "sliding_window", TIM_MODEL_FILE, TIM_HASH_GEMMA},
    {"t5", "d_model", TIM_MODEL_FILE, TIM_HASH_PLAIN},
    {"tensors", NULL, TIM_MODEL_FILE, TIM_HASH_PLAIN},
};
static const Kind inception = {"tensors", NULL, TIM_MODEL_FILE, TIM_HASH_INCEPTION};

typedef struct Synth {
    json_t *manifest, *config, *tensors; /* the latter two borrowed from the first; config may be NULL */
    const Kind *kind;
    TimPrecision precision;
    TimSafetensorsWriter writer;
    void **data; /* (count) */
    size_t count, parameters;
} Synth;

/* ---- the manifest ---- */

static TimStatus read_manifest(Synth *s, const char *path, TimError *err) {
    TIM_TRY(tim_hf_config_open(&s->manifest, path, err));
    s->config = json_object_get(s->manifest, "config");
    s->tensors = json_object_get(s->manifest, "tensors");
    if (!json_is_object(s->tensors) || json_object_size(s->tensors) == 0)
        return tim_fail(err, TIM_E_FORMAT, "%s: no object 'tensors' of names and shapes; is it a manifest?", path);
    s->kind = kinds;
    while (s->kind->key && !json_object_get(s->config, s->kind->key)) s->kind++;
    if (!s->kind->key && json_object_get(s->tensors, "Conv2d_1a_3x3.conv.weight")) s->kind = &inception;
    return TIM_OK;
}

static TimStatus read_shape(const json_t *json, const char *name, int *rank, size_t *dims, TimError *err) {
    if (!json_is_array(json) || json_array_size(json) > TIM_SAFETENSORS_MAX_RANK)
        return tim_fail(err, TIM_E_FORMAT, "the tensor '%s' is given no list of at most %d axes", name, TIM_SAFETENSORS_MAX_RANK);
    *rank = (int)json_array_size(json);
    for (int i = 0; i < *rank; i++) {
        const json_int_t axis = json_integer_value(json_array_get(json, (size_t)i));
        if (axis < 1) return tim_fail(err, TIM_E_FORMAT, "axis %d of the tensor '%s' is no whole number from 1", i, name);
        dims[i] = (size_t)axis;
    }
    return TIM_OK;
}

/* ---- tensors ---- */

static TimStatus make_tensor(Synth *s, const char *name, int rank, const size_t *dims, TimError *err) {
    size_t count = 1;
    float *values;
    TimBf16 *rounded;
    for (int i = 0; i < rank; i++)
        if (!tim_mul_size(count, dims[i], &count))
            return tim_fail(err, TIM_E_MEMORY, "the tensor '%s' does not fit into memory", name);
    TIM_TRY(tim_new(&values, count, sizeof *values, name, err));
    s->data[s->count++] = values;
    s->parameters += count;
    TIM_TRY(tim_hash_weights(name, dims, rank, s->kind->rule, values, err));
    if (s->precision == TIM_PRECISION_F32) return tim_safetensors_writer_add(&s->writer, name, TIM_F32, rank, dims, values, err);
    TIM_TRY(tim_new(&rounded, count, sizeof *rounded, name, err));
    tim_bf16_round_all(rounded, values, count);
    tim_free(values);
    s->data[s->count - 1] = rounded;
    return tim_safetensors_writer_add(&s->writer, name, TIM_BF16, rank, dims, rounded, err);
}

static TimStatus make_tensors(Synth *s, TimError *err) {
    const char *name;
    json_t *shape;
    TIM_TRY(tim_new(&s->data, json_object_size(s->tensors), sizeof *s->data, "the tensors", err));
    TIM_TRY(tim_safetensors_writer_init(&s->writer, err));
    TIM_TRY(tim_safetensors_writer_add_text(&s->writer, "format", "pt", err));
    TIM_TRY(tim_safetensors_writer_add_text(&s->writer, "weights", "hash", err));
    json_object_foreach(s->tensors, name, shape) {
        int rank = 0;
        size_t dims[TIM_SAFETENSORS_MAX_RANK];
        TIM_TRY(read_shape(shape, name, &rank, dims, err));
        TIM_TRY(make_tensor(s, name, rank, dims, err));
    }
    return TIM_OK;
}

/* ---- the configuration ---- */

static TimStatus set_texts(TimConfig *config, TimError *err) {
    const int channels = config->network.in_channels;
    const char *autoencoder = channels == 32  ? "mit-han-lab/dc-ae-f32c32-sana-1.1-diffusers"
                              : channels == 4 ? "stabilityai/sd-vae-ft-ema"
                                              : NULL; /* of pixels */
    if (autoencoder) TIM_TRY(tim_copy_text(&config->vae_dir, autoencoder, err));
    if (config->network.kind != TIM_NETWORK_T2I) return TIM_OK;
    return tim_copy_text(&config->text_encoder_dir, "google/gemma-3-1b-it", err);
}

/* The autoencoder and text encoder are those of the published models with as many channels. */
static TimStatus write_yaml(const Synth *s, const char *folder, TimError *err) {
    TimConfig config;
    char *path = NULL, *text = json_dumps(s->config, 0);
    const char *kind = json_string_value(json_object_get(s->manifest, "model"));
    tim_config_init(&config);
    TimStatus status = text ? tim_network_config_from_json(&config.network, text, kind ? kind : "c2i", err)
                            : tim_fail(err, TIM_E_MEMORY, "no memory for the configuration");
    if (status == TIM_OK) status = set_texts(&config, err);
    if (status == TIM_OK) status = tim_join_path(&path, folder, TIM_CONFIG_FILE, err);
    if (status == TIM_OK) status = tim_config_write(&config, path, err);
    tim_free(path);
    free(text);
    tim_config_done(&config);
    return status;
}

static TimStatus write_json(const Synth *s, const char *folder, TimError *err) {
    const bool autoencoder = strncmp(s->kind->name, "Autoencoder", strlen("Autoencoder")) == 0;
    char *path = NULL, *text = NULL;
    if (json_object_set_new(s->config, autoencoder ? "_class_name" : "model_type", json_string(s->kind->name)) == 0)
        text = json_dumps(s->config, JSON_INDENT(2));
    TimStatus status = text ? TIM_OK : tim_fail(err, TIM_E_MEMORY, "no memory for the configuration");
    if (status == TIM_OK) status = tim_join_path(&path, folder, "config.json", err);
    if (status == TIM_OK) status = tim_file_write(path, text, strlen(text), err);
    tim_free(path);
    free(text);
    return status;
}

static TimStatus write_config(const Synth *s, const char *folder, TimError *err) {
    if (s->kind == kinds) return write_yaml(s, folder, err);
    return s->kind->key ? write_json(s, folder, err) : TIM_OK;
}

/* ---- one ---- */

/* Both are on disk before either takes its place. */
static TimStatus write_files(const Synth *s, const char *manifest, const char *folder, TimError *err) {
    char *path;
    TimFileWriter out;
    TIM_TRY(tim_join_path(&path, folder, s->kind->file, err));
    TimStatus status = tim_file_writer_open(&out, path, err);
    tim_free(path);
    if (status != TIM_OK) return status;
    status = tim_safetensors_writer_write(&s->writer, &out, err);
    if (status == TIM_OK) status = tim_file_writer_sync(&out, err);
    if (status == TIM_OK) {
        status = write_config(s, folder, err);
        if (status != TIM_OK) tim_fail_within(err, status, "%s", manifest);
    }
    if (status == TIM_OK) status = tim_file_writer_commit(&out, err);
    tim_file_writer_abandon(&out);
    return status;
}

static TimStatus run(Synth *s, const char *manifest, const char *folder, TimError *err) {
    TIM_TRY(read_manifest(s, manifest, err));
    TIM_TRY(tim_folder_make(folder, err));
    const TimStatus status = make_tensors(s, err);
    return status == TIM_OK ? write_files(s, manifest, folder, err) : tim_fail_within(err, status, "%s", manifest);
}

TimStatus tim_synth(const char *manifest, const char *folder, TimPrecision precision, TimSynthInfo *info, TimError *err) {
    Synth s = {.precision = precision};
    TIM_TRY(tim_precision_check(precision, err));
    const TimStatus status = run(&s, manifest, folder, err);
    if (status == TIM_OK && info) *info = (TimSynthInfo){s.count, s.parameters, s.kind->name};
    for (size_t i = 0; s.data && i < s.count; i++) tim_free(s.data[i]);
    tim_free(s.data);
    tim_safetensors_writer_done(&s.writer);
    json_decref(s.manifest);
    return status;
}
