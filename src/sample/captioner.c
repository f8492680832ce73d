#include "sample/captioner.h"

#include <jansson.h>
#include <string.h>

#include "base/memory.h"
#include "io/file.h"
#include "io/hf_config.h"
#include "model/gemma3.h"
#include "model/t5_encoder.h"
#include "text/tokenizer.h"

struct TimCaptioner {
    TimTextEncoder kind;
    TimGemma3 gemma3;
    TimT5 t5;
    TimTokenizer *tokenizer;
    TimHiddenState output;
    int longest; /* tokens, those that begin or end a prompt included */
};

/* ---- opening ---- */

TimTextEncoder tim_text_encoder_of(const json_t *config) {
    const char *type = json_string_value(json_object_get(config, "model_type"));
    if (!type) return TIM_TEXT_ENCODER_NONE;
    if (strcmp(type, "gemma3_text") == 0) return TIM_TEXT_ENCODER_GEMMA3;
    return strcmp(type, "t5") == 0 || strcmp(type, "mt5") == 0 ? TIM_TEXT_ENCODER_T5 : TIM_TEXT_ENCODER_NONE;
}

static TimStatus read_kind(TimTextEncoder *kind, const char *path, TimError *err) {
    json_t *object;
    TIM_TRY(tim_hf_config_open(&object, path, err));
    *kind = tim_text_encoder_of(object);
    const char *name = json_string_value(json_object_get(object, "model_type"));
    const TimStatus status = *kind ? TIM_OK : TIM_E_UNSUPPORTED;
    if (status != TIM_OK)
        tim_fail(
            err, status,
            "%s: model_type is '%.60s'; text encoders are Gemma 3 (gemma3_text, such as google/gemma-3-1b-it) and T5 (t5, mt5)",
            path, name ? name : "missing");
    json_decref(object);
    return status;
}

static TimStatus find_kind(TimTextEncoder *kind, const char *folder, TimError *err) {
    char *path;
    TIM_TRY(tim_path_at(&path, folder, "config.json", err));
    const TimStatus status = read_kind(kind, path, err);
    tim_free(path);
    return status;
}

/* The published tokenizer of Gemma 3 has a token more than the text model has rows, so their numbers say nothing. */
static TimStatus check_tokenizer(const TimCaptioner *c, const char *path, TimError *err) {
    const int32_t mark = c->kind == TIM_TEXT_ENCODER_GEMMA3 ? tim_tokenizer_bos(c->tokenizer) : tim_tokenizer_eos(c->tokenizer);
    if (mark >= 0) return TIM_OK;
    return tim_fail(err, TIM_E_FORMAT, "%s: the tokenizer has no token that %s a text; does it belong to the text encoder?", path,
                    c->kind == TIM_TEXT_ENCODER_GEMMA3 ? "begins" : "ends");
}

/* T5 has no positions to run out of. */
static TimStatus check_positions(const TimCaptioner *c, const char *encoder, TimError *err) {
    const int64_t most = c->gemma3.config.max_position_embeddings;
    if (c->kind == TIM_TEXT_ENCODER_T5 || c->longest <= most) return TIM_OK;
    return tim_fail(
        err, TIM_E_FORMAT,
        "%s: its max_position_embeddings are %lld and the model's captions have up to %d tokens (max_seq_length); do the two "
        "belong together?",
        encoder, (long long)most, c->longest);
}

static TimStatus fill(TimCaptioner *c, const char *encoder, const char *tokenizer, const TimConfig *config,
                      const TimNetworkOptions *options, TimError *err) {
    c->output = config->use_last_hidden_state ? TIM_HIDDEN_LAST : TIM_HIDDEN_BEFORE_LAST;
    c->longest = config->max_seq_length;
    TIM_TRY(find_kind(&c->kind, encoder, err));
    TIM_TRY(tim_tokenizer_open(&c->tokenizer, tokenizer, err));
    TIM_TRY(c->kind == TIM_TEXT_ENCODER_GEMMA3 ? tim_gemma3_open(&c->gemma3, encoder, options, err)
                                               : tim_t5_open(&c->t5, encoder, options, err));
    TIM_TRY(check_positions(c, encoder, err));
    TIM_TRY(check_tokenizer(c, tokenizer, err));
    const int64_t width = tim_captioner_width(c);
    if (width == config->network.cap_feat_dim) return TIM_OK;
    return tim_fail(err, TIM_E_FORMAT,
                    "%s: its captions have %lld columns and the model wants %d (cap_feat_dim); do the two belong together?",
                    encoder, (long long)width, config->network.cap_feat_dim);
}

TimStatus tim_captioner_open(TimCaptioner **out, const char *encoder, const char *tokenizer, const TimConfig *config,
                             const TimNetworkOptions *options, TimError *err) {
    TimCaptioner *c;
    *out = NULL;
    TIM_TRY(tim_new(&c, 1, sizeof *c, "a text encoder", err));
    const TimStatus status = fill(c, encoder, tokenizer, config, options, err);
    if (status != TIM_OK) {
        tim_captioner_close(c);
        return status;
    }
    *out = c;
    return TIM_OK;
}

void tim_captioner_close(TimCaptioner *c) {
    if (!c) return;
    tim_gemma3_done(&c->gemma3);
    tim_t5_done(&c->t5);
    tim_tokenizer_close(c->tokenizer);
    tim_free(c);
}

static TimStatus gemma3_tape_bytes(TimGemma3 *g, int64_t count, int tokens, TimHiddenState output, size_t *bytes, TimError *err) {
    const TimGemma3Shape shape = {.rows = count * tokens + 1, .prompts = count, .tokens = tokens, .output = output};
    TimNetworkOptions dry = g->options;
    TimGemma3Network network;
    dry.dry = true;
    TIM_TRY(tim_gemma3_network_new(&network, &g->config, &shape, &dry, &g->weights.params, err));
    *bytes = tim_tape_bytes(network.tape);
    tim_gemma3_network_done(&network);
    return TIM_OK;
}

static TimStatus t5_tape_bytes(TimT5 *t5, int64_t count, int tokens, TimHiddenState output, size_t *bytes, TimError *err) {
    TimNetworkOptions dry = t5->options;
    TimT5Network network;
    dry.dry = true;
    TIM_TRY(tim_t5_network_new(&network, &t5->config, count, tokens, output, &dry, &t5->weights.params, err));
    *bytes = tim_tape_bytes(network.tape);
    tim_t5_network_done(&network);
    return TIM_OK;
}

TimStatus tim_captioner_bytes(TimCaptioner *c, int64_t count, int tokens, size_t *bytes, TimError *err) {
    TIM_TRY(c->kind == TIM_TEXT_ENCODER_GEMMA3 ? gemma3_tape_bytes(&c->gemma3, count, tokens, c->output, bytes, err)
                                               : t5_tape_bytes(&c->t5, count, tokens, c->output, bytes, err));
    *bytes += c->gemma3.weights.mapped + c->t5.weights.mapped;
    return TIM_OK;
}

size_t tim_captioner_copied(const TimCaptioner *c) {
    return c->gemma3.weights.copied + c->t5.weights.copied + tim_tokenizer_bytes(c->tokenizer);
}

void tim_captioner_rest(TimCaptioner *c) {
    tim_gemma3_network_done(&c->gemma3.network);
    tim_t5_network_done(&c->t5.network);
    tim_tensor_set_rest(&c->gemma3.weights.set);
    tim_tensor_set_rest(&c->t5.weights.set);
}

int64_t tim_captioner_width(const TimCaptioner *c) {
    return c->kind == TIM_TEXT_ENCODER_GEMMA3 ? c->gemma3.config.hidden_size : c->t5.config.d_model;
}

/* ---- tokens ---- */

/* The ids of a prompt, at most `longest`: Gemma's after the token that begins a text, T5's before the one that ends it. */
static TimStatus tokenize(const TimCaptioner *c, const char *prompt, TimTokenIds *ids, bool *cut, TimError *err) {
    const size_t longest = (size_t)c->longest;
    if (c->kind == TIM_TEXT_ENCODER_GEMMA3) TIM_TRY(tim_token_ids_add(ids, tim_tokenizer_bos(c->tokenizer), err));
    TIM_TRY(tim_tokenizer_encode(c->tokenizer, prompt, strlen(prompt), ids, err));
    if (c->kind == TIM_TEXT_ENCODER_GEMMA3) {
        *cut = ids->count > longest;
        if (*cut) ids->count = longest;
        return TIM_OK;
    }
    *cut = ids->count > longest - 1;
    if (*cut) ids->count = longest - 1;
    return tim_token_ids_add(ids, tim_tokenizer_eos(c->tokenizer), err);
}

/* The published Gemma tokenizer has a token more than the model has rows. */
static TimStatus check_known(const TimCaptioner *c, const TimTokenIds *ids, TimError *err) {
    const int64_t known = c->kind == TIM_TEXT_ENCODER_GEMMA3 ? c->gemma3.config.vocab_size : c->t5.config.vocab_size;
    for (size_t i = 0; i < ids->count; i++)
        if (ids->ids[i] < 0 || ids->ids[i] >= known)
            return tim_fail(
                err, TIM_E_ARGUMENT,
                "its token %zu is number %lld, and the text encoder knows 0 to %lld: leave that piece of the text out, or give "
                "the tokenizer that belongs to the weights",
                i, (long long)ids->ids[i], (long long)known - 1);
    return TIM_OK;
}

TimStatus tim_captioner_count(const TimCaptioner *c, const char *prompt, int *tokens, bool *cut, TimError *err) {
    TimTokenIds ids = {0};
    bool was_cut = false;
    TimStatus status = tokenize(c, prompt, &ids, &was_cut, err);
    if (status == TIM_OK) status = check_known(c, &ids, err);
    *tokens = (int)ids.count;
    if (cut) *cut = was_cut;
    tim_token_ids_done(&ids);
    return status;
}

/* ---- captions ---- */

static TimStatus put_prompt(const TimCaptioner *c, const char *prompt, int tokens, int64_t *row, int64_t *length, TimError *err) {
    TimTokenIds ids = {0};
    bool cut;
    TimStatus status = tokenize(c, prompt, &ids, &cut, err);
    if (status == TIM_OK && ids.count > (size_t)tokens)
        status = tim_fail(err, TIM_E_ARGUMENT, "a prompt of %zu tokens in a caption of %d", ids.count, tokens);
    if (status == TIM_OK) {
        *length = (int64_t)ids.count;
        for (size_t i = 0; i < ids.count; i++) row[i] = ids.ids[i];
    }
    tim_token_ids_done(&ids);
    return status;
}

static TimStatus encode(TimCaptioner *c, const char *const *prompts, int64_t count, int tokens, int64_t *ids, int64_t *lengths,
                        float *captions, TimError *err) {
    for (int64_t b = 0; b < count; b++) TIM_TRY(put_prompt(c, prompts[b], tokens, ids + b * tokens, &lengths[b], err));
    if (c->kind == TIM_TEXT_ENCODER_T5) return tim_t5_encode(&c->t5, ids, lengths, count, tokens, c->output, captions, err);
    return tim_gemma3_encode(&c->gemma3, ids, lengths, count, tokens, c->output, captions, err);
}

TimStatus tim_captioner_encode(TimCaptioner *c, const char *const *prompts, int64_t count, int tokens, float *captions,
                               TimError *err) {
    int64_t *ids = NULL, *lengths = NULL;
    size_t places;
    if (!tim_mul_size((size_t)count, (size_t)tokens, &places))
        return tim_fail(err, TIM_E_MEMORY, "%lld prompts do not fit into memory", (long long)count);
    TimStatus status = tim_new(&ids, places, sizeof *ids, "the tokens", err);
    if (status == TIM_OK) status = tim_new(&lengths, (size_t)count, sizeof *lengths, "the prompts' lengths", err);
    if (status == TIM_OK) status = encode(c, prompts, count, tokens, ids, lengths, captions, err);
    tim_free(ids);
    tim_free(lengths);
    return status;
}
