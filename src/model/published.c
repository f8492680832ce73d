#include "model/published.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "model/old_names.h"

typedef struct Published {
    const char *name;
    size_t tensors;
    uint64_t hash; /* FNV-1a of the lines "NAME AXIS,AXIS,...\n", sorted by name */
} Published;

/* From the list of names and shapes of each official file; named as on the Hugging Face hub. */
static const Published all[] = {
    {"TiM-B/4, classes at 256 pixels, of which no weights are published", 271, 0x21654A7A929DA029U},
    {"GoodEnough/TiM-C2I: c2i_model_256.safetensors, TiM-XL/2, classes at 256 pixels", 607, 0xB109AA3A423934B0U},
    {"GoodEnough/TiM-C2I: c2i_model_512.safetensors, TiM-XL/1, classes at 512 pixels", 607, 0x4232789AE237FD01U},
    {"GoodEnough/TiM-T2I: t2i_model.bin, TiM-XL/1, text at native resolutions", 894, 0x2438A73450F09BA6U},
    {"google/gemma-3-1b-it", 340, 0x8960F3F6F406E78DU},
    {"mit-han-lab/dc-ae-f32c32-sana-1.1-diffusers", 375, 0x7F0AE05D1A0F9D9DU},
    {"stabilityai/sd-vae-ft-ema", 248, 0x20498DB8D89BE505U},
};

static uint64_t add(uint64_t hash, const char *text) {
    for (; *text; text++) hash = (hash ^ (unsigned char)*text) * 0x100000001B3U;
    return hash;
}

static uint64_t add_tensor(uint64_t hash, const char *name, int rank, const size_t *dims) {
    hash = add(add(hash, name), " ");
    for (int i = 0; i < rank; i++) {
        char axis[32];
        snprintf(axis, sizeof axis, "%s%zu", i ? "," : "", dims[i]);
        hash = add(hash, axis);
    }
    return add(hash, "\n");
}

static bool is_projector(const char *name) {
    static const char projector[] = "projector.";
    return strncmp(name, projector, sizeof projector - 1) == 0;
}

static const char *name_of(uint64_t hash, size_t tensors) {
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (all[i].tensors == tensors && all[i].hash == hash) return all[i].name;
    return NULL;
}

static const uint64_t start = 0xCBF29CE484222325U;

const char *tim_published_name(const TimTensorSet *set) {
    uint64_t hash = start;
    size_t tensors = 0;
    for (size_t i = 0; i < set->count; i++) {
        char modern[TIM_OLD_NAME_BYTES]; /* new names sort as the old ones do */
        const TimStoredTensor *t = set->by_name[i];
        if (is_projector(t->name)) continue;
        hash = add_tensor(hash, tim_modern_name(modern, t->name), t->rank, t->dims);
        tensors++;
    }
    return name_of(hash, tensors);
}

static int by_name(const void *a, const void *b) {
    const TimParam *const *left = a, *const *right = b;
    return strcmp((*left)->name, (*right)->name);
}

const char *tim_published_of(const TimParams *params) {
    const TimParam **sorted;
    uint64_t hash = start;
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
