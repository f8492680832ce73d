/* config.json of T5. Absent keys have the values of transformers' T5Config, and of its MT5Config. */
#include <jansson.h>
#include <string.h>

#include "io/hf_config.h"
#include "model/t5_encoder.h"

#define WHOLE(name, least, most, needed)                                                                                           \
    {                                                                                                                              \
        .key = #name, .type = TIM_HF_INT, .offset = offsetof(TimT5Config, name), .low = (least), .high = (most),                   \
        .required = (needed)                                                                                                       \
    }

static const TimHfField fields[] = {
    {.key = "model_type", .type = TIM_HF_ONLY, .only = "\"t5\"|\"mt5\"", .required = true},
    WHOLE(vocab_size, 1, 1 << 24, true),
    WHOLE(d_model, 1, 1 << 16, true),
    WHOLE(d_kv, 1, 1024, true),
    WHOLE(d_ff, 1, 1 << 20, true),
    WHOLE(num_layers, 1, 256, true),
    WHOLE(num_heads, 1, 1024, true),
    WHOLE(pad_token_id, 0, 1 << 24, false),
    WHOLE(relative_attention_num_buckets, 4, 1 << 16, false),
    WHOLE(relative_attention_max_distance, 2, 1 << 24, false),
    {.key = "layer_norm_epsilon",
     .type = TIM_HF_DOUBLE,
     .offset = offsetof(TimT5Config, layer_norm_epsilon),
     .low = 1e-12,
     .high = 1},
    {.key = "feed_forward_proj", .type = TIM_HF_ONLY, .only = "\"gated-gelu\"|\"relu\""},
    {.key = "pruned_heads", .type = TIM_HF_ONLY, .only = "{}|null"},
    {.key = "dense_act_fn", .type = TIM_HF_ONLY, .only = "\"gelu_new\"|\"relu\""}, /* follows from the one before, as the next */
    {.key = "is_gated_act", .type = TIM_HF_ONLY, .only = "true|false"},
    {.key = "num_decoder_layers", .type = TIM_HF_SKIP}, /* of the decoder */
    {.key = "scale_decoder_outputs", .type = TIM_HF_SKIP},
    {.key = "n_positions", .type = TIM_HF_SKIP},  /* no limit: the bias is relative */
    {.key = "dropout_rate", .type = TIM_HF_SKIP}, /* of training, as the following */
    {.key = "classifier_dropout", .type = TIM_HF_SKIP},
    {.key = "initializer_factor", .type = TIM_HF_SKIP},
    {.key = "gradient_checkpointing", .type = TIM_HF_SKIP},
};

static TimStatus check(const TimT5Config *c, TimError *err) {
    if (c->d_kv % 2 != 0)
        return tim_fail(err, TIM_E_UNSUPPORTED, "'d_kv' is %lld; this library wants an even one", (long long)c->d_kv);
    if (c->relative_attention_num_buckets % 4 != 0 || c->relative_attention_max_distance <= c->relative_attention_num_buckets / 4)
        return tim_fail(
            err, TIM_E_UNSUPPORTED,
            "'relative_attention_num_buckets' is %lld and 'relative_attention_max_distance' %lld; the buckets must be a "
            "multiple of 4, and the distance above a quarter of them",
            (long long)c->relative_attention_num_buckets, (long long)c->relative_attention_max_distance);
    if (c->pad_token_id >= c->vocab_size)
        return tim_fail(err, TIM_E_FORMAT, "'pad_token_id' is %lld, beyond 'vocab_size' %lld", (long long)c->pad_token_id,
                        (long long)c->vocab_size);
    return TIM_OK;
}

/* Saved files repeat what follows from feed_forward_proj; transformers would obey the copy. */
static TimStatus check_activation(const TimT5Config *c, const json_t *object, TimError *err) {
    const char *name = json_string_value(json_object_get(object, "dense_act_fn")), *wanted = c->gated ? "gelu_new" : "relu";
    const json_t *gated = json_object_get(object, "is_gated_act");
    if ((!name || strcmp(name, wanted) == 0) && (!gated || json_is_true(gated) == c->gated)) return TIM_OK;
    return tim_fail(
        err, TIM_E_UNSUPPORTED,
        "'dense_act_fn' is \"%s\" and 'is_gated_act' %s, where 'feed_forward_proj' is \"%s\"; this library runs \"relu\" "
        "and \"gated-gelu\" as the published models have them",
        name ? name : "(absent)",
        !gated                ? "(absent)"
        : json_is_true(gated) ? "true"
                              : "false",
        c->gated ? "gated-gelu" : "relu");
}

static TimStatus read_object(TimT5Config *config, json_t *object, TimError *err) {
    *config =
        (TimT5Config){.relative_attention_num_buckets = 32, .relative_attention_max_distance = 128, .layer_norm_epsilon = 1e-6};
    TIM_TRY(tim_hf_config_read(config, fields, sizeof fields / sizeof *fields, object, err));
    const char *proj = json_string_value(json_object_get(object, "feed_forward_proj"));
    const char *type = json_string_value(json_object_get(object, "model_type"));
    config->gated = strcmp(proj ? proj : type && strcmp(type, "mt5") == 0 ? "gated-gelu" : "relu", "gated-gelu") == 0;
    TIM_TRY(check_activation(config, object, err));
    return check(config, err);
}

TimStatus tim_t5_config_read(TimT5Config *config, const char *path, TimError *err) {
    json_t *object;
    TIM_TRY(tim_hf_config_open(&object, path, err));
    const TimStatus status = read_object(config, object, err);
    json_decref(object);
    return status == TIM_OK ? TIM_OK : tim_fail_within(err, status, "%s", path);
}

TimStatus tim_t5_config_parse(TimT5Config *config, const char *json_text, TimError *err) {
    json_t *object;
    TIM_TRY(tim_hf_config_parse(&object, json_text, strlen(json_text), err));
    const TimStatus status = read_object(config, object, err);
    json_decref(object);
    return status;
}
