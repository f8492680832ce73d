/* Reading a model strictly (store.h) and opening it for inference. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/finite.h"
#include "base/memory.h"
#include "base/threads.h"
#include "io/config_fields.h"
#include "io/file.h"
#include "io/tensor_set.h"
#include "model/published.h"
#include "model/store.h"

/* ---- weights ---- */

static TimStatus check_known(const TimTensorSet *file, const TimParams *params, TimError *err) {
    char shape[TIM_SHAPE_TEXT];
    for (size_t i = 0; i < file->count; i++) {
        const TimStoredTensor *tensor = &file->tensors[i];
        if (tim_params_find(params, tensor->name) < 0)
            return tim_fail(
                err, TIM_E_FORMAT,
                "the tensor '%s' %s belongs to no layer of the configured network; does the configuration belong to these weights?",
                tensor->name, tim_shape_text(shape, tensor->rank, tensor->dims));
    }
    return TIM_OK;
}

static TimStatus read_param(float *vector, const TimParam *param, const TimTensorSet *file, TimError *err) {
    const TimStoredTensor *tensor = tim_tensor_set_find(file, param->name);
    size_t dims[TIM_PARAM_MAX_RANK];
    tim_param_dims(param, dims);
    const TimWantedTensor wanted = {param->name,
                                    param->rank,
                                    dims,
                                    "the configuration",
                                    "does the configuration belong to these weights?",
                                    "do the two belong together?"};
    TIM_TRY(tim_stored_check(tensor, &wanted, file->count, err));
    float *values = vector + param->offset;
    TIM_TRY(tim_safetensors_read_f32(tensor, values, param->count, err));
    const size_t i = tim_first_not_finite(values, param->count);
    if (i == param->count) return TIM_OK;
    return tim_fail(err, TIM_E_FORMAT, "element %zu of the tensor '%s' is %s; the file is damaged, or its training had failed", i,
                    param->name, tim_not_finite_text(values[i]));
}

static TimStatus read_params(float *vector, const TimParams *params, const TimTensorSet *file, TimError *err) {
    TIM_TRY(check_known(file, params, err));
    for (size_t i = 0; i < params->count; i++) TIM_TRY(read_param(vector, &params->items[i], file, err));
    return TIM_OK;
}

TimStatus tim_weights_read(float *vector, const TimParams *params, const char *path, TimError *err) {
    TimTensorSet file;
    TIM_TRY(tim_tensor_set_open_weights(&file, path, err));
    const TimStatus status = read_params(vector, params, &file, err);
    if (status != TIM_OK) tim_tensor_set_fail(&file, status, err);
    tim_tensor_set_close(&file);
    return status;
}

/* ---- a model ---- */

/* Where a model's two files are; from tim_alloc. */
typedef struct Places {
    char *weights, *config;
} Places;

static void free_places(Places *places) {
    tim_free(places->weights);
    tim_free(places->config);
}

static TimStatus find_places(Places *places, const char *path, const char *config_path, TimError *err) {
    struct stat info;
    *places = (Places){0};
    if (stat(path, &info) != 0)
        return tim_fail(err, TIM_E_IO, "%s: %s; give a file of weights, or a folder with a " TIM_MODEL_FILE, path, strerror(errno));
    TIM_TRY(tim_copy_text(&places->weights, path, err));
    if (config_path) return tim_copy_text(&places->config, config_path, err);
    return S_ISDIR(info.st_mode) ? tim_join_path(&places->config, path, TIM_CONFIG_FILE, err)
                                 : tim_path_beside(&places->config, path, TIM_CONFIG_FILE, err);
}

/* The official files come without a configuration: their tensors tell which it is. */
static TimStatus read_published(TimConfig *config, const char *weights, bool *found, TimError *err) {
    TimTensorSet set;
    *found = false;
    TIM_TRY(tim_tensor_set_open_weights(&set, weights, err));
    const char *text = tim_published_config(&set);
    *found = text != NULL;
    const TimStatus status = text ? tim_config_parse(config, text, err) : TIM_OK;
    tim_tensor_set_close(&set);
    return status;
}

static TimStatus read_config(TimConfig *config, const Places *places, bool given, TimError *err) {
    bool found = false;
    if (!given && !tim_is_file(places->config)) {
        tim_config_init(config);
        TIM_TRY(read_published(config, places->weights, &found, err));
        if (found) return TIM_OK;
    }
    const TimStatus status = tim_config_read(config, places->config, err);
    if (status != TIM_E_IO || given) return status;
    return tim_fail_within(err, status, "no configuration beside the weights");
}

TimStatus tim_model_config_read(TimConfig *config, const char *path, const char *config_path, TimError *err) {
    Places places;
    tim_config_init(config);
    TimStatus status = find_places(&places, path, config_path, err);
    if (status == TIM_OK) status = read_config(config, &places, config_path != NULL, err);
    free_places(&places);
    return status;
}

static TimStatus network_options(TimNetworkOptions *out, const TimModelOptions *options, TimError *err) {
    int threads;
    TIM_TRY(tim_precision_check(options->precision, err));
    TIM_TRY(tim_threads_choose(options->threads, &threads, err));
    *out = (TimNetworkOptions){.threads = threads,
                               .precision = options->precision,
                               .rounded_rotary = options->rounded_rotary,
                               .max_copy_bytes = options->max_copy_bytes};
    return tim_isa_choose(options->isa, &out->isa, err);
}

static TimStatus open_places(TimModel **model, const Places *places, bool config_given, const TimNetworkOptions *options,
                             TimError *err) {
    static const TimFrozenNames names = {.optional = "projector.", .config = "the configuration"};
    TimConfig config;
    TimStatus status = read_config(&config, places, config_given, err);
    if (status == TIM_OK) {
        status = tim_model_new_frozen(model, &config, options, err);
        if (status != TIM_OK)
            tim_fail_within(err, status, "%s", config_given || tim_is_file(places->config) ? places->config : places->weights);
    }
    tim_config_done(&config);
    return status == TIM_OK ? tim_frozen_open(&(*model)->frozen, places->weights, &names, err) : status;
}

TimStatus tim_model_open(TimModel **model, const char *path, const char *config_path, const TimModelOptions *options,
                         TimError *err) {
    static const TimModelOptions defaults = {.precision = TIM_PRECISION_F32};
    TimNetworkOptions network;
    Places places;
    *model = NULL;
    TIM_TRY(network_options(&network, options ? options : &defaults, err));
    TimStatus status = find_places(&places, path, config_path, err);
    if (status == TIM_OK) status = open_places(model, &places, config_path != NULL, &network, err);
    free_places(&places);
    if (status == TIM_OK) return TIM_OK;
    tim_model_close(*model);
    *model = NULL;
    return status;
}
