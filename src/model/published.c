#include "model/published.h"

#include <stdio.h>
#include <string.h>

typedef struct Published {
    const char *name;
    size_t tensors;
    uint64_t hash; /* FNV-1a of the lines "NAME AXIS,AXIS,...\n", sorted by name */
} Published;

/* From the list of names and shapes of each official file. */
static const Published all[] = {
    {"TiM-B/4, classes at 256 pixels", 271, 0x21654A7A929DA029U},
    {"TiM-XL/2, classes at 256 pixels", 607, 0xB109AA3A423934B0U},
    {"TiM-XL/1, classes at 512 pixels", 607, 0x4232789AE237FD01U},
    {"TiM-XL/1, text at native resolutions", 894, 0x2438A73450F09BA6U},
    {"google/gemma-3-1b-it", 340, 0x8960F3F6F406E78DU},
    {"mit-han-lab/dc-ae-f32c32-sana-1.1-diffusers", 375, 0x7F0AE05D1A0F9D9DU},
    {"stabilityai/sd-vae-ft-ema", 248, 0x20498DB8D89BE505U},
};

static uint64_t add(uint64_t hash, const char *text) {
    for (; *text; text++) hash = (hash ^ (unsigned char)*text) * 0x100000001B3U;
    return hash;
}

static uint64_t add_tensor(uint64_t hash, const TimStoredTensor *t) {
    hash = add(add(hash, t->name), " ");
    for (int i = 0; i < t->rank; i++) {
        char axis[32];
        snprintf(axis, sizeof axis, "%s%zu", i ? "," : "", t->dims[i]);
        hash = add(hash, axis);
    }
    return add(hash, "\n");
}

const char *tim_published_name(const TimTensorSet *set) {
    static const char projector[] = "projector.";
    uint64_t hash = 0xCBF29CE484222325U;
    size_t tensors = 0;
    for (size_t i = 0; i < set->count; i++) {
        if (strncmp(set->by_name[i]->name, projector, sizeof projector - 1) == 0) continue;
        hash = add_tensor(hash, set->by_name[i]);
        tensors++;
    }
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (all[i].tensors == tensors && all[i].hash == hash) return all[i].name;
    return NULL;
}

bool tim_published_is_hash(const TimTensorSet *set) {
    for (size_t i = 0; i < set->text_count; i++)
        if (strcmp(set->texts[i].key, "weights") == 0 && strcmp(set->texts[i].value, "hash") == 0) return true;
    return false;
}
