#include "model/published.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/memory.h"
#include "model/old_names.h"

typedef struct Published {
    const char *name;
    size_t tensors;
    uint64_t hash;      /* FNV-1a of the lines "NAME AXIS,AXIS,...\n", sorted by name */
    const char *config; /* YAML: what of the published configuration drawing depends on, and the loss; NULL: no TiM */
} Published;

#define CLASSES                                                                                                                    \
    "model:\n  network:\n    target: tim.models.c2i.tim_model.TiM\n    params: {class_dropout_prob: 0.1, num_classes: 1000, "      \
    "new_condition: t-r, use_new_embed: true, distance_aware: true, qk_norm: true, z_dim: 768, "
#define TEXTS                                                                                                                      \
    "model:\n  network:\n    target: tim.models.t2i.tim_model.TiM\n    params: {cap_feat_dim: 1152, new_condition: t-r, "          \
    "use_new_embed: true, distance_aware: true, qk_norm: true, z_dim: 768, "
#define XL "depth: 28, hidden_size: 1152, num_heads: 16, lora_hidden_size: 384, encoder_depth: 8}\n"
#define BASE "depth: 12, hidden_size: 768, num_heads: 12, lora_hidden_size: 256, encoder_depth: 4}\n"
#define TRANSPORT(mean, deviation)                                                                                                 \
    "  transport:\n    target: tim.schedulers.transports.OT_FM\n    params: {P_mean: " mean ", P_std: " deviation                  \
    ", sigma_d: 1.0}\n"                                                                                                            \
    "  transition_loss: {diffusion_ratio: 0.5, consistency_ratio: 0.1, derivative_type: dde, differential_epsilon: 0.005, "        \
    "weight_time_type: sqrt, weight_time_tangent: true}\n"
#define SD_VAE "  vae_dir: stabilityai/sd-vae-ft-ema\n"
#define DC_AE "  vae_dir: mit-han-lab/dc-ae-f32c32-sana-1.1-diffusers\n"
#define GEMMA "  text_encoder_dir: google/gemma-3-1b-it\n  use_last_hidden_state: true\n  max_seq_length: 256\n"

/* From the list of names and shapes of each official file; named as on the Hugging Face hub. */
static const Published all[] = {
    {"TiM-B/4, classes at 256 pixels, of which no weights are published", 271, 0x21654A7A929DA029U,
     CLASSES "input_size: 32, patch_size: 4, in_channels: 4, " BASE TRANSPORT("-0.4", "1.0") SD_VAE "data: {data_type: latent}\n"},
    {"GoodEnough/TiM-C2I: c2i_model_256.safetensors, TiM-XL/2, classes at 256 pixels", 607, 0xB109AA3A423934B0U,
     CLASSES "input_size: 32, patch_size: 2, in_channels: 4, " XL TRANSPORT("-0.4", "1.0") SD_VAE "data: {data_type: latent}\n"},
    {"GoodEnough/TiM-C2I: c2i_model_512.safetensors, TiM-XL/1, classes at 512 pixels", 607, 0x4232789AE237FD01U,
     CLASSES "input_size: 16, patch_size: 1, in_channels: 32, " XL TRANSPORT("-0.4", "1.0") DC_AE "data: {data_type: latent}\n"},
    {"GoodEnough/TiM-T2I: t2i_model.bin, TiM-XL/1, text at native resolutions", 894, 0x2438A73450F09BA6U,
     TEXTS "input_size: 16, patch_size: 1, in_channels: 32, " XL TRANSPORT("0.0", "1.6") DC_AE GEMMA
     "data: {data_type: image_ms}\n"},
    {"google/gemma-3-1b-it", 340, 0x8960F3F6F406E78DU, NULL},
    {"mit-han-lab/dc-ae-f32c32-sana-1.1-diffusers", 375, 0x7F0AE05D1A0F9D9DU, NULL},
    {"stabilityai/sd-vae-ft-ema", 248, 0x20498DB8D89BE505U, NULL},
};

static uint64_t add_tensor(uint64_t hash, const char *name, int rank, const size_t *dims) {
    hash = tim_fnv1a_text(tim_fnv1a_text(hash, name), " ");
    for (int i = 0; i < rank; i++) {
        char axis[32];
        snprintf(axis, sizeof axis, "%s%zu", i ? "," : "", dims[i]);
        hash = tim_fnv1a_text(hash, axis);
    }
    return tim_fnv1a_text(hash, "\n");
}

static bool is_projector(const char *name) {
    static const char projector[] = "projector.";
    return strncmp(name, projector, sizeof projector - 1) == 0;
}

static const Published *find(uint64_t hash, size_t tensors) {
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (all[i].tensors == tensors && all[i].hash == hash) return &all[i];
    return NULL;
}

static const char *name_of(uint64_t hash, size_t tensors) {
    const Published *found = find(hash, tensors);
    return found ? found->name : NULL;
}

static const Published *find_set(const TimTensorSet *set) {
    uint64_t hash = TIM_FNV1A_EMPTY;
    size_t tensors = 0;
    for (size_t i = 0; i < set->count; i++) {
        char modern[TIM_OLD_NAME_BYTES]; /* new names sort as the old ones do */
        const TimStoredTensor *t = set->by_name[i];
        if (is_projector(t->name)) continue;
        hash = add_tensor(hash, tim_modern_name(modern, t->name), t->rank, t->dims);
        tensors++;
    }
    return find(hash, tensors);
}

const char *tim_published_name(const TimTensorSet *set) {
    const Published *found = find_set(set);
    return found ? found->name : NULL;
}

const char *tim_published_config(const TimTensorSet *set) {
    const Published *found = find_set(set);
    return found ? found->config : NULL;
}

static int by_name(const void *a, const void *b) {
    const TimParam *const *left = a, *const *right = b;
    return strcmp((*left)->name, (*right)->name);
}

const char *tim_published_of(const TimParams *params) {
    const TimParam **sorted;
    uint64_t hash = TIM_FNV1A_EMPTY;
    size_t tensors = 0;
    if (tim_new(&sorted, params->count, sizeof *sorted, "the names of parameters", NULL) != TIM_OK) return NULL;
    for (size_t i = 0; i < params->count; i++)
        if (!is_projector(params->items[i].name)) sorted[tensors++] = &params->items[i];
    if (tensors > 0) qsort(sorted, tensors, sizeof *sorted, by_name);
    for (size_t i = 0; i < tensors; i++) {
        size_t dims[TIM_PARAM_MAX_RANK];
        tim_param_dims(sorted[i], dims);
        hash = add_tensor(hash, sorted[i]->name, sorted[i]->rank, dims);
    }
    tim_free(sorted);
    return name_of(hash, tensors);
}

TimStatus tim_published_fail(const TimParams *params, const TimTensorSet *set, TimStatus status, TimError *err) {
    const char *wanted = tim_published_of(params), *found = set ? tim_published_name(set) : NULL;
    if (found) tim_fail_further(err, status, " (the file is that of %s)", found);
    if (wanted) tim_fail_further(err, status, " (the configuration wants %s)", wanted);
    return status;
}

bool tim_published_is_hash(const TimTensorSet *set) {
    for (size_t i = 0; i < set->text_count; i++)
        if (strcmp(set->texts[i].key, "weights") == 0 && strcmp(set->texts[i].value, "hash") == 0) return true;
    return false;
}
