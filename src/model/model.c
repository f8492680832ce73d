#include "model/model.h"

#include <omp.h>
#include <string.h>

#include "base/memory.h"

/* Up to this size of its weights every thread reads them all, rather than all threads share each op. */
static const size_t max_lane_bytes = (size_t)64 << 20;

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
    TIM_TRY(tim_frozen_init(&model->frozen, &model->options, err));
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

static TimStatus make_tapes(TimModel *model, TimError *err) {
    const bool small = model->params.elements <= max_lane_bytes / sizeof(float);
    model->lanes = small && model->config.network.kind == TIM_NETWORK_C2I ? model->options.threads : 1;
    TIM_TRY(tim_new(&model->of_lane, (size_t)model->lanes, sizeof(TimModelTape *), "a model's tapes", err));
    return tim_new(&model->tapes, (size_t)model->lanes, TIM_MODEL_TAPES * sizeof *model->tapes, "a model's tapes", err);
}

static TimStatus fill(TimModel *model, const TimConfig *config, TimError *err) {
    TIM_TRY(copy_config(&model->config, config, err));
    TIM_TRY(tim_config_check(&model->config, err));
    TIM_TRY(tim_network_params(&model->params, &model->config.network, err));
    TIM_TRY(make_tapes(model, err));
    return model->options.frozen ? make_frozen(model, err) : make_vectors(model, err);
}

TimStatus tim_model_new_frozen(TimModel **out, const TimConfig *config, const TimNetworkOptions *options, TimError *err) {
    TimNetworkOptions frozen = *options;
    frozen.frozen = true;
    return tim_model_new(out, config, &frozen, err);
}

TimStatus tim_precision_check(TimPrecision precision, TimError *err) {
    if (precision == TIM_PRECISION_F32 || precision == TIM_PRECISION_BF16) return TIM_OK;
    return tim_fail(err, TIM_E_ARGUMENT, "precision is %d; give one of TimPrecision", (int)precision);
}

TimStatus tim_model_new(TimModel **out, const TimConfig *config, const TimNetworkOptions *options, TimError *err) {
    *out = NULL;
    TimModel *model;
    TIM_TRY(tim_new(&model, 1, sizeof *model, "a model", err));
    model->options = *options;
    if (!model->options.threads) model->options.threads = omp_get_max_threads();
    const TimStatus status = fill(model, config, err);
    if (status != TIM_OK) {
        tim_model_close(model);
        return status;
    }
    *out = model;
    return TIM_OK;
}

static void empty(TimModelTape *tape) {
    tim_network_done(&tape->network);
    tim_caption_network_done(&tape->captions);
    *tape = (TimModelTape){0};
}

static void empty_all(TimModel *model) {
    for (int i = 0; model->tapes && i < TIM_MODEL_TAPES * model->lanes; i++) empty(&model->tapes[i]);
}

void tim_model_close(TimModel *model) {
    if (!model) return;
    empty_all(model);
    tim_free(model->of_lane);
    tim_free(model->tapes);
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

const char *tim_isa_best_name(void) {
    return tim_isa_name(tim_isa_best());
}

/* ---- running ---- */

static bool same_shape(const TimNetwork *n, const TimNetworkShape *s) {
    return n->tape && n->shape.batch == s->batch && n->shape.height == s->height && n->shape.width == s->width &&
           n->shape.caption_tokens == s->caption_tokens;
}

static TimNetworkOptions lane_options(const TimModel *model, int lanes) {
    TimNetworkOptions options = model->options;
    if (lanes > 1) options.threads = 1;
    return options;
}

static TimStatus fill_tape(TimModelTape *tape, TimModel *model, const TimNetworkShape *shape, int lanes, TimError *err) {
    const TimNetworkConfig *config = &model->config.network;
    const TimNetworkOptions options = lane_options(model, lanes);
    TIM_TRY(tim_network_new(&tape->network, config, shape, &options, &model->params, err));
    TIM_TRY(tim_tape_bind(tape->network.tape, &model->weights, NULL, err));
    if (!shape->caption_keys) return TIM_OK;
    TIM_TRY(tim_caption_network_new(&tape->captions, config, shape, &options, &model->params, err));
    return tim_tape_bind(tape->captions.tape, &model->weights, NULL, err);
}

/* The lane's tape for this shape: a kept one, or a new one in the place of the longest unused of all lanes. */
static TimStatus tape_for(TimModel *model, const TimNetworkShape *shape, int lane, int lanes, TimModelTape **out, TimError *err) {
    TimModelTape *oldest = &model->tapes[0];
    for (int i = 0; i < TIM_MODEL_TAPES * model->lanes; i++) {
        TimModelTape *tape = &model->tapes[i];
        if (tape->lane == lane && tape->lanes == lanes && same_shape(&tape->network, shape)) {
            tape->used = ++model->clock;
            *out = tape;
            return TIM_OK;
        }
        if (tape->used < oldest->used) oldest = tape;
    }
    empty(oldest);
    const TimStatus status = fill_tape(oldest, model, shape, lanes, err);
    if (status != TIM_OK) {
        empty(oldest);
        return status;
    }
    oldest->lane = lane, oldest->lanes = lanes;
    oldest->used = ++model->clock;
    *out = oldest;
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
    empty_all(model);
    tim_tensor_set_rest(&model->frozen.set);
}

uint64_t tim_model_caption_version(TimModel *model) {
    return ++model->clock;
}

/* The captions' keys into the tape, unless they lie there already. */
static void see_captions(TimModelTape *tape, int depth, const TimCondition *condition) {
    const TimNetwork *n = &tape->network;
    const TimCaptionNetwork *c = &tape->captions;
    if (condition->caption_version && tape->seen == condition->caption_version) return;
    fill_value(c->tape, c->caption, condition->caption);
    tim_tape_forward(c->tape, false);
    for (int i = 0; i < depth; i++) fill_value(n->tape, n->keys[i], tim_tape_value(c->tape, c->keys[i]).data);
    tape->seen = condition->caption_version;
}

/* Bytes of the tapes for one share. */
static TimStatus share_bytes(TimModel *model, const TimNetworkShape *shape, int lanes, size_t *bytes, TimError *err) {
    const TimNetworkConfig *config = &model->config.network;
    TimNetworkOptions dry = lane_options(model, lanes);
    TimNetwork network;
    TimCaptionNetwork captions;
    dry.dry = true;
    TIM_TRY(tim_network_new(&network, config, shape, &dry, &model->params, err));
    *bytes = tim_tape_bytes(network.tape) + tim_network_rope_bytes(config, shape);
    tim_network_done(&network);
    if (!shape->caption_keys) return TIM_OK;
    TIM_TRY(tim_caption_network_new(&captions, config, shape, &dry, &model->params, err));
    *bytes += tim_tape_bytes(captions.tape);
    tim_caption_network_done(&captions);
    return TIM_OK;
}

/* A batch cut into one share a lane. */
typedef struct Cut {
    TimNetworkShape shape; /* of the whole batch */
    int lanes;
} Cut;

static Cut cut(const TimModel *model, int64_t batch, int height, int width, int tokens) {
    return (Cut){.shape = {.batch = batch, .height = height, .width = width, .caption_tokens = tokens, .caption_keys = tokens > 0},
                 .lanes = batch < model->lanes ? (int)batch : model->lanes};
}

static int64_t first_of(const Cut *c, int lane) {
    return c->shape.batch * lane / c->lanes;
}

static TimNetworkShape share_of(const Cut *c, int lane) {
    TimNetworkShape share = c->shape;
    share.batch = first_of(c, lane + 1) - first_of(c, lane);
    return share;
}

TimStatus tim_model_tape_bytes(TimModel *model, int64_t batch, int height, int width, int tokens, size_t *bytes, TimError *err) {
    const Cut c = cut(model, batch, height, width, tokens);
    *bytes = 0;
    for (int lane = 0; lane < c.lanes; lane++) {
        const TimNetworkShape share = share_of(&c, lane);
        size_t more;
        TIM_TRY(share_bytes(model, &share, c.lanes, &more, err));
        *bytes += more;
    }
    return TIM_OK;
}

/* What one evaluation reads and writes. */
typedef struct Call {
    const float *x, *t, *r;
    const TimCondition *condition;
    float *f;
    size_t picture; /* C H W */
} Call;

static void run_share(TimModelTape *tape, int depth, const Call *call, int64_t first) {
    const TimNetwork *n = &tape->network;
    fill_value(n->tape, n->x, call->x + (size_t)first * call->picture);
    fill_value(n->tape, n->t, call->t + first);
    fill_value(n->tape, n->r, call->r + first);
    if (n->labels != TIM_NONE)
        fill_value(n->tape, n->labels, call->condition->labels + first);
    else
        see_captions(tape, depth, call->condition);
    tim_tape_forward(n->tape, false);
    const TimMatrix out = tim_tape_value(n->tape, n->f);
    memcpy(call->f + (size_t)first * call->picture, out.data, (size_t)(out.rows * out.cols) * sizeof *call->f);
}

static void run_cut(const TimModel *model, const Cut *c, const Call *call) {
    const int depth = model->config.network.depth;
    if (c->lanes == 1) { /* outside of a parallel region, for its ops open their own */
        run_share(model->of_lane[0], depth, call, 0);
        return;
    }
#pragma omp parallel for num_threads(c->lanes) schedule(static, 1)
    for (int lane = 0; lane < c->lanes; lane++) run_share(model->of_lane[lane], depth, call, first_of(c, lane));
}

TimStatus tim_model_evaluate(TimModel *model, int64_t batch, int height, int width, const float *x, const float *t, const float *r,
                             const TimCondition *condition, float *f, TimError *err) {
    const TimNetworkConfig *config = &model->config.network;
    const bool text = config->kind == TIM_NETWORK_T2I;
    if (!text) TIM_TRY(tim_model_check_labels(config, condition->labels, batch, err));
    const Cut c = cut(model, batch, height, width, text ? condition->caption_tokens : 0);
    for (int lane = 0; lane < c.lanes; lane++) {
        const TimNetworkShape share = share_of(&c, lane);
        TIM_TRY(tape_for(model, &share, lane, c.lanes, &model->of_lane[lane], err));
    }
    const Call call = {x, t, r, condition, f, (size_t)config->in_channels * (size_t)height * (size_t)width};
    run_cut(model, &c, &call);
    return TIM_OK;
}
