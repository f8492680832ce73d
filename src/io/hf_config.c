#include "io/hf_config.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "io/file.h"

/* What every model's configuration may say: how it was made, trained, labelled, and how text is generated with it. */
static const char *const shared_keys[] = {
    "_attn_implementation_autoset",
    "_name_or_path",
    "add_cross_attention",
    "architectures",
    "bad_words_ids",
    "begin_suppress_tokens",
    "bos_token_id",
    "cache_implementation",
    "chunk_size_feed_forward",
    "cross_attention_hidden_size",
    "decoder_start_token_id",
    "diversity_penalty",
    "do_sample",
    "dtype",
    "early_stopping",
    "encoder_no_repeat_ngram_size",
    "eos_token_id",
    "exponential_decay_length_penalty",
    "finetuning_task",
    "forced_bos_token_id",
    "forced_eos_token_id",
    "id2label",
    "is_decoder",
    "is_encoder_decoder",
    "label2id",
    "length_penalty",
    "max_length",
    "min_length",
    "no_repeat_ngram_size",
    "num_beam_groups",
    "num_beams",
    "num_return_sequences",
    "output_attentions",
    "output_hidden_states",
    "output_past",
    "output_scores",
    "prefix",
    "problem_type",
    "remove_invalid_values",
    "repetition_penalty",
    "return_dict",
    "return_dict_in_generate",
    "sep_token_id",
    "suppress_tokens",
    "task_specific_params",
    "temperature",
    "tf_legacy_loss",
    "tie_encoder_decoder",
    "tie_word_embeddings",
    "tokenizer_class",
    "top_k",
    "top_p",
    "torch_dtype",
    "torchscript",
    "transformers_version",
    "typical_p",
    "unsloth_fixed",
    "unsloth_version",
    "use_bfloat16",
    "use_cache",
};

static bool is_shared(const char *key) {
    for (size_t i = 0; i < sizeof shared_keys / sizeof *shared_keys; i++)
        if (strcmp(key, shared_keys[i]) == 0) return true;
    return false;
}

/* ---- opening ---- */

TimStatus tim_hf_config_parse(json_t **object, const char *text, size_t size, TimError *err) {
    json_error_t cause;
    *object = NULL;
    if (size > TIM_HF_CONFIG_MAX)
        return tim_fail(err, TIM_E_FORMAT, "%zu bytes of JSON, and at most %d are read; is it a configuration, manifest or report?",
                        size, TIM_HF_CONFIG_MAX);
    json_t *root = json_loadb(text, size, JSON_REJECT_DUPLICATES, &cause);
    if (!root && json_error_code(&cause) == json_error_out_of_memory)
        return tim_fail(err, TIM_E_MEMORY, "%zu bytes of JSON do not fit into memory; free some", size);
    if (!root) return tim_fail(err, TIM_E_FORMAT, "not valid JSON at line %d: %s", cause.line, cause.text);
    if (!json_is_object(root)) {
        json_decref(root);
        return tim_fail(err, TIM_E_FORMAT, "not a JSON object; is it a configuration, manifest or report?");
    }
    *object = root;
    return TIM_OK;
}

TimStatus tim_hf_config_open(json_t **object, const char *path, TimError *err) {
    TimFile file;
    *object = NULL;
    TIM_TRY(tim_file_open(&file, path, err));
    const TimStatus status = tim_hf_config_parse(object, (const char *)file.data, file.size, err);
    tim_file_close(&file);
    return status == TIM_OK ? TIM_OK : tim_fail_within(err, status, "%s", path);
}

/* ---- reading ---- */

/* Fails with "'key' is value; why what". */
static TimStatus refuse(TimStatus status, const char *key, const json_t *value, const char *why, const char *what, TimError *err) {
    enum { MOST = 80 };
    char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
    if (!text) return tim_fail(err, TIM_E_MEMORY, "no memory for the value of '%s'", key);
    tim_fail(err, status, "'%.80s' is %.*s; %s %s", key, MOST, text, why, what);
    free(text);
    return status;
}

static TimStatus read_int(int64_t *out, const TimHfField *field, const json_t *value, TimError *err) {
    double number = json_number_value(value), whole;
    if (!json_is_number(value) || modf(number, &whole) != 0)
        return refuse(TIM_E_FORMAT, field->key, value, "it must be a", "whole number", err);
    if (!(number >= field->low && number <= field->high))
        return tim_fail(err, TIM_E_FORMAT, "'%s' is %.0f; it must be %.0f to %.0f", field->key, number, field->low, field->high);
    *out = (int64_t)number;
    return TIM_OK;
}

static TimStatus read_double(double *out, const TimHfField *field, const json_t *value, TimError *err) {
    const double number = json_number_value(value);
    if (!json_is_number(value)) return refuse(TIM_E_FORMAT, field->key, value, "it must be a", "number", err);
    if (!(number >= field->low && number <= field->high))
        return tim_fail(err, TIM_E_FORMAT, "'%s' is %g; it must be %g to %g", field->key, number, field->low, field->high);
    *out = number;
    return TIM_OK;
}

static bool equal(const json_t *a, const json_t *b) {
    if (json_is_number(a) && json_is_number(b)) return json_number_value(a) == json_number_value(b);
    return json_equal(a, b);
}

static TimStatus check_only(const TimHfField *field, const json_t *value, TimError *err) {
    for (const char *text = field->only; *text; text += strspn(text, "|")) {
        const size_t length = strcspn(text, "|");
        json_t *known = json_loadb(text, length, JSON_DECODE_ANY, NULL);
        if (!known) return tim_fail(err, TIM_E_MEMORY, "no memory for the known values of '%s'", field->key);
        const bool same = equal(known, value);
        json_decref(known);
        if (same) return TIM_OK;
        text += length;
    }
    return refuse(TIM_E_UNSUPPORTED, field->key, value, "this library can only run models that have it as", field->only, err);
}

static TimStatus read_field(void *out, const TimHfField *field, const json_t *value, TimError *err) {
    void *place = (char *)out + field->offset;
    switch (field->type) {
    case TIM_HF_INT:
        return read_int(place, field, value, err);
    case TIM_HF_DOUBLE:
        return read_double(place, field, value, err);
    case TIM_HF_ONLY:
        return check_only(field, value, err);
    case TIM_HF_SKIP:
        break;
    }
    return TIM_OK;
}

static const TimHfField *find_field(const TimHfField *fields, size_t count, const char *key) {
    for (size_t i = 0; i < count; i++)
        if (strcmp(fields[i].key, key) == 0) return &fields[i];
    return NULL;
}

TimStatus tim_hf_config_read(void *out, const TimHfField *fields, size_t count, json_t *object, TimError *err) {
    const char *key;
    json_t *value;
    json_object_foreach(object, key, value) {
        const TimHfField *field = find_field(fields, count, key);
        if (field)
            TIM_TRY(read_field(out, field, value, err));
        else if (!is_shared(key))
            return refuse(TIM_E_FORMAT, key, value, "this library does not know what the key changes:",
                          "take config.json as it was published, or remove a key that changes nothing", err);
    }
    for (size_t i = 0; i < count; i++)
        if (fields[i].required && !json_object_get(object, fields[i].key))
            return tim_fail(err, TIM_E_FORMAT, "the key '%s' is missing; take config.json as it was published", fields[i].key);
    return TIM_OK;
}
