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
    {.key = "rope_scaling", .type = TIM_HF_SKIP}, /* read below, as the next four */
    {.key = "rope_parameters", .type = TIM_HF_SKIP},
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

static TimStatus check_rope_keys(const json_t *rope, const char *where, TimError *err) {
    static const char *const known[] = {"rope_type", "type", "factor", "rope_theta"};
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)rope, key, value) {
        size_t i = 0;
        while (i < sizeof known / sizeof *known && strcmp(key, known[i]) != 0) i++;
        if (i == sizeof known / sizeof *known)
            return tim_fail(err, TIM_E_UNSUPPORTED, "'%s' has '%.60s', which this library does not know", where, key);
    }
    return TIM_OK;
}

/* *factor of {"rope_type": "default"} or {"rope_type": "linear", "factor": 8.0}; once the key was "type". `usual` stands for an
 * absent one. */
static TimStatus read_rope(const json_t *rope, const char *where, const char *usual, double *factor, TimError *err) {
    const json_t *type = json_object_get(rope, "rope_type");
    if (!type) type = json_object_get(rope, "type");
    const char *name = type ? json_string_value(type) : usual;
    TIM_TRY(check_rope_keys(rope, where, err));
    if (name && strcmp(name, "default") == 0) return TIM_OK;
    if (!name || strcmp(name, "linear") != 0)
        return tim_fail(err, TIM_E_UNSUPPORTED, "'%s' is of type %.60s; this library can only run \"default\" and \"linear\"",
                        where, name ? name : "(none)");
    *factor = json_number_value(json_object_get(rope, "factor"));
    if (*factor >= 1 && *factor <= 1e6) return TIM_OK;
    return tim_fail(err, TIM_E_FORMAT, "'%s' has the factor %g; it must be a number from 1 to 1e6", where, *factor);
}

/* As newer files say it for one kind of layers: {"rope_type": ..., "rope_theta": 1e6}. */
static TimStatus read_rope_of(const json_t *parameters, const char *layers, double *theta, double *factor, TimError *err) {
    const json_t *rope = json_object_get(parameters, layers), *base = json_object_get(rope, "rope_theta");
    if (!rope) return TIM_OK;
    if (!json_is_object(rope)) return tim_fail(err, TIM_E_FORMAT, "'rope_parameters' has '%s', which is no object", layers);
    TIM_TRY(read_rope(rope, "rope_parameters", "default", factor, err));
    if (base) *theta = json_number_value(base);
    if (*theta >= 1.001 && *theta <= 1e12) return TIM_OK;
    return tim_fail(err, TIM_E_FORMAT, "'rope_parameters' has the rope_theta %g; it must be a number from 1.001 to 1e12", *theta);
}

static TimStatus read_rope_parameters(TimGemma3Config *config, const json_t *parameters, TimError *err) {
    double sliding = 1;
    const size_t known =
        (json_object_get(parameters, "full_attention") != NULL) + (json_object_get(parameters, "sliding_attention") != NULL);
    if (!parameters || json_is_null(parameters)) return TIM_OK;
    if (!json_is_object(parameters) || json_object_size(parameters) != known)
        return tim_fail(err, TIM_E_UNSUPPORTED,
                        "'rope_parameters' must be an object with full_attention and sliding_attention alone");
    TIM_TRY(read_rope_of(parameters, "full_attention", &config->rope_theta, &config->rope_factor, err));
    TIM_TRY(read_rope_of(parameters, "sliding_attention", &config->rope_local_base_freq, &sliding, err));
    if (sliding == 1) return TIM_OK;
    return tim_fail(err, TIM_E_UNSUPPORTED,
                    "'rope_parameters' scales the sliding layers by %g; this library scales the others alone", sliding);
}

static TimStatus read_ropes(TimGemma3Config *config, const json_t *object, TimError *err) {
    const json_t *scaling = json_object_get(object, "rope_scaling");
    if (scaling && json_object_get(scaling, "rope_theta"))
        return tim_fail(err, TIM_E_UNSUPPORTED,
                        "'rope_scaling' has 'rope_theta', which stands beside it or in 'rope_parameters'; move it");
    if (scaling && !json_is_null(scaling)) TIM_TRY(read_rope(scaling, "rope_scaling", NULL, &config->rope_factor, err));
    return read_rope_parameters(config, json_object_get(object, "rope_parameters"), err);
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
    TIM_TRY(read_ropes(config, object, err));
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
