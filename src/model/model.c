#include "model/model.h"

#include <omp.h>
#include <string.h>

#include "base/memory.h"

/* ---- making ---- */

static TimStatus copy_config(TimConfig *out, const TimConfig *config, TimError *err) {
    *out = *config;
    char **const texts[] = {&out->data_type, &out->data_dir, &out->vae_dir, &out->text_encoder_dir};
    const char *const sources[] = {config->data_type, config->data_dir, config->vae_dir, config->text_encoder_dir};
    for (int i = 0; i < 4; i++) *texts[i] = NULL;
    for (int i = 0; i < 4; i++)
        if (sources[i]) TIM_TRY(tim_copy_text(texts[i], sources[i], err));
    return TIM_OK;
}

static TimStatus make_frozen(TimModel *model, TimError *err) {
    model->frozen.params = model->params;
    TIM_TRY(tim_frozen_init(&model->frozen, model->options.precision, model->options.threads, err));
    model->weights = model->frozen.bound;
    return TIM_OK;
}

static TimStatus make_vectors(TimModel *model, TimError *err) {
    TIM_TRY(tim_new(&model->f32, model->params.elements, sizeof *model->f32, "the weights", err));
    if (model->options.precision == TIM_PRECISION_BF16)
        TIM_TRY(tim_new(&model->bf16, model->params.elements, sizeof *model->bf16, "the bf16 weights", err));
    TIM_TRY(tim_weights_new(&model->weights, model->params.count, err));
    tim_weights_point(&model->weights, &model->params, model->f32, model->bf16);
    return TIM_OK;
}

static TimStatus fill(TimModel *model, const TimConfig *config, TimError *err) {
    TIM_TRY(copy_config(&model->config, config, err));
    TIM_TRY(tim_config_check(&model->config, err));
    TIM_TRY(tim_network_params(&model->params, &model->config.network, err));
    return model->options.frozen ? make_frozen(model, err) : make_vectors(model, err);
}

TimStatus tim_model_new_frozen(TimModel **out, const TimConfig *config, const TimNetworkOptions *options, TimError *err) {
    TimNetworkOptions frozen = *options;
    frozen.frozen = true;
    return tim_model_new(out, config, &frozen, err);
}

TimStatus tim_model_new(TimModel **out, const TimConfig *config, const TimNetworkOptions *options, TimError *err) {
    *out = NULL;
    TimModel *model;
    TIM_TRY(tim_new(&model, 1, sizeof *model, "a model", err));
    model->options = *options;
    if (!model->options.threads) model->options.threads = omp_get_max_threads();
    const TimStatus status = fill(model, config, err);
    if (status != TIM_OK) {
        tim_model_free(model);
        return status;
    }
    *out = model;
    return TIM_OK;
}

static void release_slot(TimModel *model, int i) {
    tim_network_done(&model->tapes[i]);
    tim_caption_network_done(&model->captions[i]);
    model->used[i] = model->seen[i] = 0;
}

void tim_model_free(TimModel *model) {
    if (!model) return;
    for (int i = 0; i < TIM_MODEL_TAPES; i++) release_slot(model, i);
    tim_config_done(&model->config);
    if (model->options.frozen && model->frozen.params.items) {
        tim_frozen_done(&model->frozen);
    } else {
        tim_weights_done(&model->weights);
        tim_params_done(&model->params);
    }
    tim_free(model->f32);
    tim_free(model->bf16);
    tim_free(model);
}

void tim_model_weights_changed(TimModel *model) {
    if (!model->bf16) return;
    const size_t count = model->params.elements;
#pragma omp parallel for num_threads(model->options.threads) schedule(static)
    for (size_t i = 0; i < count; i++) model->bf16[i] = tim_bf16_from_f32(model->f32[i]);
}

/* ---- looking ---- */

const TimConfig *tim_model_config(const TimModel *model) {
    return &model->config;
}

size_t tim_model_parameter_count(const TimModel *model) {
    return tim_params_total(&model->params);
}

size_t tim_model_tensor_count(const TimModel *model) {
    return model->params.count;
}

TimStatus tim_model_tensor(const TimModel *model, size_t index, TimTensorInfo *info, TimError *err) {
    if (index >= model->params.count)
        return tim_fail(err, TIM_E_ARGUMENT, "tensor %zu of a model that has %zu", index, model->params.count);
    const TimParam *param = &model->params.items[index];
    *info = (TimTensorInfo){.name = param->name, .rank = param->rank, .count = param->count};
    memcpy(info->dims, param->dims, sizeof info->dims);
    return TIM_OK;
}

const char *tim_best_isa(void) {
    return tim_isa_name(tim_isa_best());
}

/* ---- running ---- */

static bool same_shape(const TimNetwork *n, const TimNetworkShape *s) {
    return n->tape && n->shape.batch == s->batch && n->shape.height == s->height && n->shape.width == s->width &&
           n->shape.caption_tokens == s->caption_tokens;
}

static TimStatus fill_slot(TimModel *model, int i, const TimNetworkShape *shape, TimError *err) {
    const TimNetworkConfig *config = &model->config.network;
    TIM_TRY(tim_network_new(&model->tapes[i], config, shape, &model->options, &model->params, err));
    TIM_TRY(tim_tape_bind(model->tapes[i].tape, &model->weights, NULL, err));
    if (!shape->caption_keys) return TIM_OK;
    TIM_TRY(tim_caption_network_new(&model->captions[i], config, shape, &model->options, &model->params, err));
    return tim_tape_bind(model->captions[i].tape, &model->weights, NULL, err);
}

/* The place of the tape for this shape: a kept one, or a new one in the place of the longest unused. */
static TimStatus slot_for(TimModel *model, const TimNetworkShape *shape, int *slot, TimError *err) {
    int oldest = 0;
    for (int i = 0; i < TIM_MODEL_TAPES; i++) {
        if (same_shape(&model->tapes[i], shape)) {
            model->used[i] = ++model->clock;
            *slot = i;
            return TIM_OK;
        }
        if (model->used[i] < model->used[oldest]) oldest = i;
    }
    release_slot(model, oldest);
    const TimStatus status = fill_slot(model, oldest, shape, err);
    if (status != TIM_OK) {
        release_slot(model, oldest);
        return status;
    }
    model->used[oldest] = ++model->clock;
    *slot = oldest;
    return TIM_OK;
}

TimStatus tim_model_check_labels(const TimNetworkConfig *config, const int64_t *labels, int64_t batch, TimError *err) {
    const int64_t rows = config->num_classes + (config->class_dropout_prob > 0);
    for (int64_t i = 0; i < batch; i++)
        if (labels[i] < 0 || labels[i] >= rows)
            return tim_fail(err, TIM_E_ARGUMENT, "class %lld of picture %lld is not in 0 ... %lld", (long long)labels[i],
                            (long long)i, (long long)rows - 1);
    return TIM_OK;
}

static void fill_value(const TimTape *tape, TimRef ref, const void *values) {
    const TimMatrix m = tim_tape_value(tape, ref);
    memcpy(m.data, values, (size_t)(m.rows * m.cols) * tim_dtype_size(m.dtype));
}

void tim_model_rest(TimModel *model) {
    for (int i = 0; i < TIM_MODEL_TAPES; i++) release_slot(model, i);
    tim_tensor_set_rest(&model->frozen.set);
}

uint64_t tim_model_caption_version(TimModel *model) {
    return ++model->clock;
}

/* The captions' keys into the tape, unless they lie there already. */
static void see_captions(TimModel *model, int slot, const TimCondition *condition) {
    const TimNetwork *n = &model->tapes[slot];
    const TimCaptionNetwork *c = &model->captions[slot];
    if (condition->caption_version && model->seen[slot] == condition->caption_version) return;
    fill_value(c->tape, c->caption, condition->caption);
    tim_tape_forward(c->tape, false);
    for (int i = 0; i < model->config.network.depth; i++) fill_value(n->tape, n->keys[i], tim_tape_value(c->tape, c->keys[i]).data);
    model->seen[slot] = condition->caption_version;
}

TimStatus tim_model_tape_bytes(TimModel *model, int64_t batch, int height, int width, int tokens, size_t *bytes, TimError *err) {
    const TimNetworkConfig *config = &model->config.network;
    const TimNetworkShape shape = {
        .batch = batch, .height = height, .width = width, .caption_tokens = tokens, .caption_keys = tokens > 0};
    TimNetworkOptions dry = model->options;
    TimNetwork network;
    TimCaptionNetwork captions;
    dry.dry = true;
    TIM_TRY(tim_network_new(&network, config, &shape, &dry, &model->params, err));
    *bytes = tim_tape_bytes(network.tape);
    tim_network_done(&network);
    if (!tokens) return TIM_OK;
    TIM_TRY(tim_caption_network_new(&captions, config, &shape, &dry, &model->params, err));
    *bytes += tim_tape_bytes(captions.tape);
    tim_caption_network_done(&captions);
    return TIM_OK;
}

TimStatus tim_model_evaluate(TimModel *model, int64_t batch, int height, int width, const float *x, const float *t, const float *r,
                             const TimCondition *condition, float *f, TimError *err) {
    const TimNetworkConfig *config = &model->config.network;
    const bool text = config->kind == TIM_NETWORK_T2I;
    if (!text) TIM_TRY(tim_model_check_labels(config, condition->labels, batch, err));
    const TimNetworkShape shape = {.batch = batch,
                                   .height = height,
                                   .width = width,
                                   .caption_tokens = text ? condition->caption_tokens : 0,
                                   .caption_keys = text};
    int slot;
    TIM_TRY(slot_for(model, &shape, &slot, err));
    const TimNetwork *n = &model->tapes[slot];
    fill_value(n->tape, n->x, x);
    fill_value(n->tape, n->t, t);
    fill_value(n->tape, n->r, r);
    if (text)
        see_captions(model, slot, condition);
    else
        fill_value(n->tape, n->labels, condition->labels);
    tim_tape_forward(n->tape, false);
    const TimMatrix out = tim_tape_value(n->tape, n->f);
    memcpy(f, out.data, (size_t)(out.rows * out.cols) * sizeof *f);
    return TIM_OK;
}
