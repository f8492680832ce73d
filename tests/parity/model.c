#include "parity/model.h"

#include "io/config_json.h"
#include "nn/hash_weights.h"

TimStatus parity_network_config(ParityFile *file, TimNetworkConfig *config, TimError *err) {
    const char *json, *kind;
    TIM_TRY(parity_text(file, "config", &json, err));
    TIM_TRY(parity_text(file, "model", &kind, err));
    return tim_network_config_from_json(config, json, kind, err);
}

TimStatus parity_network_options(const ParityFile *file, TimNetworkOptions *options, TimError *err) {
    const ParityOptions *o = &file->run->options;
    *options = (TimNetworkOptions){.threads = 2, .precision = o->bf16 ? TIM_PRECISION_BF16 : TIM_PRECISION_F32};
    return tim_isa_choose(o->reference ? "ref" : o->isa, &options->isa, err);
}

TimStatus parity_fill_weights(const TimParams *params, float *weights, TimError *err) {
    for (size_t i = 0; i < params->count; i++) {
        const TimParam *p = &params->items[i];
        size_t dims[TIM_PARAM_MAX_RANK];
        tim_param_dims(p, dims);
        TIM_TRY(tim_hash_weights(p->name, dims, p->rank, TIM_HASH_PLAIN, weights + p->offset, err));
    }
    return TIM_OK;
}

TimStatus parity_model(ParityFile *file, TimModel **model, TimError *err) {
    TimConfig config;
    TimNetworkOptions options;
    tim_config_init(&config);
    TIM_TRY(parity_network_config(file, &config.network, err));
    TIM_TRY(parity_network_options(file, &options, err));
    TIM_TRY(tim_model_new(model, &config, &options, err));
    const TimStatus status = parity_fill_weights(&(*model)->params, (*model)->f32, err);
    if (status != TIM_OK) {
        tim_model_close(*model);
        return status;
    }
    tim_model_weights_changed(*model);
    return TIM_OK;
}

TimStatus parity_condition(ParityFile *file, const TimNetworkConfig *config, const char *name, TimCondition *condition,
                           TimError *err) {
    *condition = (TimCondition){0};
    if (config->kind == TIM_NETWORK_C2I) {
        int64_t *labels;
        TIM_TRY(parity_input_i64(file, name, &labels, NULL, err));
        condition->labels = labels;
        return TIM_OK;
    }
    float *caption;
    const TimStoredTensor *tensor;
    TIM_TRY(parity_input_f32(file, name, &caption, &tensor, err));
    if (tensor->rank != 3) return tim_fail(err, TIM_E_FORMAT, "tensor %s has %d axes, not (B, M, cap)", name, tensor->rank);
    condition->caption = caption;
    condition->caption_tokens = (int)tensor->dims[1];
    return TIM_OK;
}
