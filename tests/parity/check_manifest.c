/* manifests: names and shapes of the tensors of published checkpoints. Those of a TiM are what our network of that configuration
 * has; those of another part must be a published one that tim verify knows. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "io/config_json.h"
#include "model/network.h"
#include "model/published.h"
#include "parity/checks.h"

static TimStatus read_tensors(TimParams *out, json_t *tensors, TimError *err) {
    const char *name;
    json_t *shape;
    json_object_foreach(tensors, name, shape) {
        int64_t dims[TIM_PARAM_MAX_RANK];
        const size_t rank = json_array_size(shape);
        int index;
        if (!json_is_array(shape) || rank > TIM_PARAM_MAX_RANK) return tim_fail(err, TIM_E_FORMAT, "%s: no list of axes", name);
        for (size_t i = 0; i < rank; i++) dims[i] = json_integer_value(json_array_get(shape, i));
        TIM_TRY(tim_params_add(out, name, (int)rank, dims, TIM_INIT_ZERO, &index, err));
    }
    return TIM_OK;
}

static TimStatus read_network(TimParams *out, const json_t *manifest, TimError *err) {
    TimNetworkConfig config;
    char *text = json_dumps(json_object_get(manifest, "config"), JSON_ENCODE_ANY);
    const char *kind = json_string_value(json_object_get(manifest, "model"));
    TimStatus status =
        text ? tim_network_config_from_json(&config, text, kind, err) : tim_fail(err, TIM_E_FORMAT, "no configuration in it");
    free(text);
    return status == TIM_OK ? tim_network_params(out, &config, err) : status;
}

static const TimParam *find(const TimParams *params, const char *name) {
    for (size_t i = 0; i < params->count; i++)
        if (strcmp(params->items[i].name, name) == 0) return &params->items[i];
    return NULL;
}

static bool same_shape(const TimParam *a, const TimParam *b) {
    size_t of_a[TIM_PARAM_MAX_RANK], of_b[TIM_PARAM_MAX_RANK];
    if (!b || a->rank != b->rank) return false;
    tim_param_dims(a, of_a), tim_param_dims(b, of_b);
    return memcmp(of_a, of_b, (size_t)a->rank * sizeof *of_a) == 0;
}

/* Each way: what is listed is there, and nothing else. */
static void compare(ParityFile *file, const TimParams *listed, const TimParams *ours) {
    for (size_t i = 0; i < listed->count; i++)
        parity_report(file, listed->items[i].name, same_shape(&listed->items[i], find(ours, listed->items[i].name)) ? 0 : 1, 0);
    for (size_t i = 0; i < ours->count; i++)
        if (!find(listed, ours->items[i].name)) parity_fail(file, ours->items[i].name, "is in our network alone");
}

static TimStatus check(ParityFile *file, const json_t *manifest, TimParams *listed, TimParams *ours, TimError *err) {
    TIM_TRY(read_tensors(listed, json_object_get(manifest, "tensors"), err));
    const double total = (double)json_integer_value(json_object_get(manifest, "parameters"));
    parity_report(file, "parameters", fabs((double)tim_params_total(listed) - total), 0);
    if (json_object_get(manifest, "model")) {
        TIM_TRY(read_network(ours, manifest, err));
        compare(file, listed, ours);
    } else {
        parity_report(file, "published", tim_published_of(listed) ? 0 : 1, 0);
    }
    return TIM_OK;
}

TimStatus check_manifest(ParityFile *file, TimError *err) {
    json_t *manifest;
    TimParams listed = {0}, ours = {0};
    TIM_TRY(parity_json_file(file, &manifest, err));
    const TimStatus status = check(file, manifest, &listed, &ours, err);
    tim_params_done(&listed);
    tim_params_done(&ours);
    return status;
}
