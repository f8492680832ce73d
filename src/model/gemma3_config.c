/* config.json of Gemma 3's text decoder. Absent keys have the values of transformers' Gemma3TextConfig. */
#include <jansson.h>
#include <string.h>

#include "io/hf_config.h"
#include "model/gemma3.h"

#define WHOLE(name, most, needed)                                                                                                  \
    { .key = #name, .type = TIM_HF_INT, .offset = offsetof(TimGemma3Config, name), .low = 1, .high = (most), .required = (needed) }
#define REAL(name, least, most)                                                                                                    \
    { .key = #name, .type = TIM_HF_DOUBLE, .offset = offsetof(TimGemma3Config, name), .low = (least), .high = (most) }

static const TimHfField fields[] = {
    {.key = "model_type", .type = TIM_HF_ONLY, .only = "\"gemma3_text\"", .required = true},
    WHOLE(vocab_size, 1 << 24, true),
    WHOLE(hidden_size, 1 << 16, true),
    WHOLE(intermediate_size, 1 << 20, true),
    WHOLE(num_hidden_layers, TIM_GEMMA3_MAX_LAYERS, true),
    WHOLE(num_attention_heads, 1024, true),
    WHOLE(num_key_value_heads, 1024, true),
    WHOLE(head_dim, 1024, false),
    WHOLE(sliding_window, 1 << 24, true),
    WHOLE(max_position_embeddings, 1 << 24, false),
    {.key = "pad_token_id", .type = TIM_HF_INT, .offset = offsetof(TimGemma3Config, pad_token_id), .low = 0, .high = 1 << 24},
    REAL(rms_norm_eps, 1e-12, 1),
    REAL(query_pre_attn_scalar, 1e-6, 1e6),
    REAL(rope_theta, 1.001, 1e12),
    REAL(rope_local_base_freq, 1.001, 1e12),
    {.key = "hidden_activation", .type = TIM_HF_ONLY, .only = "\"gelu_pytorch_tanh\""},
    {.key = "pruned_heads", .type = TIM_HF_ONLY, .only = "{}|null"},
    {.key = "attention_bias", .type = TIM_HF_ONLY, .only = "false"},
    {.key = "attn_logit_softcapping", .type = TIM_HF_ONLY, .only = "null"},
    {.key = "use_bidirectional_attention", .type = TIM_HF_ONLY, .only = "false"},
    {.key = "rope_scaling", .type = TIM_HF_SKIP}, /* read below, as the next three */
    {.key = "layer_types", .type = TIM_HF_SKIP},
    {.key = "sliding_window_pattern", .type = TIM_HF_SKIP},
    {.key = "_sliding_window_pattern", .type = TIM_HF_SKIP},
    {.key = "final_logit_softcapping", .type = TIM_HF_SKIP}, /* of the logits, which nobody asks for */
    {.key = "attention_dropout", .type = TIM_HF_SKIP},       /* of training */
    {.key = "initializer_range", .type = TIM_HF_SKIP},
};

static TimStatus read_layer_types(TimGemma3Config *config, const json_t *types, TimError *err) {
    if (!json_is_array(types) || (int64_t)json_array_size(types) != config->num_hidden_layers)
        return tim_fail(err, TIM_E_FORMAT, "'layer_types' has %zu entries; it must be a list with one for each of %lld layers",
                        json_array_size(types), (long long)config->num_hidden_layers);
    for (size_t i = 0; i < json_array_size(types); i++) {
        const char *type = json_string_value(json_array_get(types, i));
        config->sliding[i] = type && strcmp(type, "sliding_attention") == 0;
        if (!config->sliding[i] && !(type && strcmp(type, "full_attention") == 0))
            return tim_fail(
                err, TIM_E_UNSUPPORTED,
                "'layer_types' has \"%s\" at %zu; this library can only run \"sliding_attention\" and \"full_attention\"",
                type ? type : "(no text)", i);
    }
    return TIM_OK;
}

/* Every so-manieth layer sees all; newer files list the layers one by one. */
static TimStatus read_layers(TimGemma3Config *config, const json_t *object, TimError *err) {
    const json_t *types = json_object_get(object, "layer_types"), *pattern = json_object_get(object, "sliding_window_pattern");
    if (types && !json_is_null(types)) return read_layer_types(config, types, err);
    if (!pattern) pattern = json_object_get(object, "_sliding_window_pattern");
    const json_int_t every = pattern ? json_integer_value(pattern) : 6;
    if (every < 1) return tim_fail(err, TIM_E_FORMAT, "'sliding_window_pattern' must be a whole number from 1 on");
    for (int64_t i = 0; i < config->num_hidden_layers; i++) config->sliding[i] = (i + 1) % every != 0;
    return TIM_OK;
}

/* null, or {"rope_type": "default"}, or {"rope_type": "linear", "factor": 8.0} as the larger models have it; once the key was "type". */
static TimStatus read_rope_scaling(TimGemma3Config *config, const json_t *scaling, TimError *err) {
    const json_t *type = json_object_get(scaling, "rope_type"), *factor = json_object_get(scaling, "factor");
    if (!scaling || json_is_null(scaling)) return TIM_OK;
    const char *name = json_string_value(type ? type : json_object_get(scaling, "type"));
    if (name && strcmp(name, "default") == 0) return TIM_OK;
    if (!name || strcmp(name, "linear") != 0)
        return tim_fail(err, TIM_E_UNSUPPORTED,
                        "'rope_scaling' is of type %.60s; this library can only run \"default\" and \"linear\"",
                        name ? name : "(none)");
    config->rope_factor = json_number_value(factor);
    if (config->rope_factor >= 1 && config->rope_factor <= 1e6) return TIM_OK;
    return tim_fail(err, TIM_E_FORMAT, "'rope_scaling' has the factor %g; it must be a number from 1 to 1e6", config->rope_factor);
}

static TimStatus check(const TimGemma3Config *c, TimError *err) {
    if (c->num_attention_heads % c->num_key_value_heads != 0)
        return tim_fail(err, TIM_E_FORMAT, "'num_key_value_heads' is %lld, which does not divide %lld 'num_attention_heads'",
                        (long long)c->num_key_value_heads, (long long)c->num_attention_heads);
    if (c->head_dim % 2 != 0)
        return tim_fail(err, TIM_E_FORMAT, "'head_dim' is %lld; rotary wants an even one", (long long)c->head_dim);
    if (c->pad_token_id >= c->vocab_size)
        return tim_fail(err, TIM_E_FORMAT, "'pad_token_id' is %lld, beyond 'vocab_size' %lld", (long long)c->pad_token_id,
                        (long long)c->vocab_size);
    return TIM_OK;
}

static TimStatus read_object(TimGemma3Config *config, json_t *object, TimError *err) {
    *config = (TimGemma3Config){.head_dim = 256,
                                .max_position_embeddings = 131072,
                                .rms_norm_eps = 1e-6,
                                .query_pre_attn_scalar = 256,
                                .rope_theta = 1e6,
                                .rope_local_base_freq = 1e4,
                                .rope_factor = 1};
    TIM_TRY(tim_hf_config_read(config, fields, sizeof fields / sizeof *fields, object, err));
    TIM_TRY(read_layers(config, object, err));
    TIM_TRY(read_rope_scaling(config, json_object_get(object, "rope_scaling"), err));
    return check(config, err);
}

TimStatus tim_gemma3_config_read(TimGemma3Config *config, const char *path, TimError *err) {
    json_t *object;
    TIM_TRY(tim_hf_config_open(&object, path, err));
    const TimStatus status = read_object(config, object, err);
    json_decref(object);
    return status == TIM_OK ? TIM_OK : tim_fail_within(err, status, "%s", path);
}

TimStatus tim_gemma3_config_parse(TimGemma3Config *config, const char *json_text, TimError *err) {
    json_t *object;
    TIM_TRY(tim_hf_config_parse(&object, json_text, strlen(json_text), err));
    const TimStatus status = read_object(config, object, err);
    json_decref(object);
    return status;
}
