/* text and full: hidden states of text encoders with hash weights, from ids (B, M) and mask (B, M), ones and then zeros. The
 * outputs by name, each possibly cut to its first tokens ("_first_64"):
 *   last_hidden_state, hidden_minus_2   compared where the mask is one
 *   zero_padded in the name             everywhere
 * model.safetensors in a folder: what the encoder of a Hugging Face folder takes for its weights is what the file holds. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "model/gemma3.h"
#include "model/t5_encoder.h"
#include "nn/hash_weights.h"
#include "parity/checks.h"
#include "parity/model.h"

static const double tolerance = 5e-5, tolerance_full = 2e-4;
/* bf16 products through narrow layers average less than those of the published sizes. */
static const double tolerance_bf16 = 4e-2, tolerance_full_bf16 = 2e-2;

typedef struct Prompts {
    int64_t *ids, *mask, *lengths;
    int64_t count, tokens;
    int64_t width; /* of a hidden state */
} Prompts;

static TimStatus read_prompts(ParityFile *file, Prompts *p, TimError *err) {
    const TimStoredTensor *ids, *mask;
    TIM_TRY(parity_input_i64(file, "ids", &p->ids, &ids, err));
    TIM_TRY(parity_input_i64(file, "mask", &p->mask, &mask, err));
    if (ids->rank != 2 || mask->rank != 2 || ids->dims[0] != mask->dims[0] || ids->dims[1] != mask->dims[1])
        return tim_fail(err, TIM_E_FORMAT, "ids and mask are not both (B, M)");
    p->count = (int64_t)ids->dims[0], p->tokens = (int64_t)ids->dims[1];
    TIM_TRY(parity_new(file, &p->lengths, ids->dims[0], sizeof *p->lengths, err));
    for (int64_t i = 0; i < p->count * p->tokens; i++) {
        int64_t *length = &p->lengths[i / p->tokens];
        if (p->mask[i] && *length != i % p->tokens)
            return tim_fail(err, TIM_E_FORMAT, "the mask of prompt %lld has a one behind a zero", (long long)(i / p->tokens));
        *length += p->mask[i] != 0;
    }
    return TIM_OK;
}

/* A TimFrozenMake; `from` points to the rule. */
static TimStatus make_hash(void *from, const TimParam *param, float *out, TimError *err) {
    size_t dims[TIM_PARAM_MAX_RANK];
    tim_param_dims(param, dims);
    return tim_hash_weights(param->name, dims, param->rank, *(const TimHashRule *)from, out, err);
}

/* ---- comparing ---- */

/* Copies what is compared of one stored output: the first tokens of each prompt, real ones only unless `padded`. Returns
 * elements. */
static size_t gather(double *actual, double *expected, const float *hidden, const double *stored, const Prompts *p, int64_t tokens,
                     bool padded) {
    size_t count = 0;
    for (int64_t b = 0; b < p->count; b++)
        for (int64_t i = 0; i < tokens; i++) {
            if (!padded && i >= p->lengths[b]) continue;
            for (int64_t d = 0; d < p->width; d++, count++) {
                actual[count] = hidden[(b * p->tokens + i) * p->width + d];
                expected[count] = stored[(b * tokens + i) * p->width + d];
            }
        }
    return count;
}

static double error_of(const double *actual, const double *expected, size_t count, bool l2) {
    double difference = 0, magnitude = 0;
    for (size_t i = 0; i < count; i++) {
        const double d = fabs(actual[i] - expected[i]), m = fabs(expected[i]);
        if (!isfinite(d)) return (double)NAN;
        difference = l2 ? difference + d * d : fmax(difference, d);
        magnitude = l2 ? magnitude + m * m : fmax(magnitude, m);
    }
    const double error = magnitude > 0 ? difference / magnitude : difference;
    return l2 ? sqrt(error) : error;
}

static TimStatus compare(ParityFile *file, const char *name, const float *hidden, const Prompts *p, double limit, TimError *err) {
    const TimStoredTensor *tensor;
    double *stored, *actual, *expected;
    TIM_TRY(parity_input_f64(file, name, &stored, &tensor, err));
    if (tensor->rank != 3 || tensor->dims[0] != (size_t)p->count || tensor->dims[1] > (size_t)p->tokens ||
        tensor->dims[2] != (size_t)p->width)
        return tim_fail(err, TIM_E_FORMAT, "%s is no (%lld, M, %lld) with at most %lld tokens", name, (long long)p->count,
                        (long long)p->width, (long long)p->tokens);
    TIM_TRY(parity_new(file, &actual, tensor->count, sizeof *actual, err));
    TIM_TRY(parity_new(file, &expected, tensor->count, sizeof *expected, err));
    const bool padded = strstr(name, "zero_padded") != NULL, bf16 = file->run->options.bf16;
    const size_t count = gather(actual, expected, hidden, stored, p, (int64_t)tensor->dims[1], padded);
    parity_report(file, name, error_of(actual, expected, count, bf16), limit);
    return TIM_OK;
}

/* ---- Gemma 3 ---- */

static TimStatus encode_gemma(ParityFile *file, TimGemma3 *gemma, const Prompts *p, double limit, TimError *err) {
    float *last, *before;
    const size_t count = (size_t)(p->count * p->tokens * p->width);
    bool wants_before = false;
    TIM_TRY(parity_new(file, &last, count, sizeof *last, err));
    TIM_TRY(parity_new(file, &before, count, sizeof *before, err));
    for (size_t i = 0; i < file->tensors.count; i++) wants_before |= strstr(file->tensors.tensors[i].name, "minus_2") != NULL;
    TIM_TRY(tim_gemma3_encode(gemma, p->ids, p->lengths, p->count, p->tokens, TIM_HIDDEN_LAST, last, err));
    if (wants_before)
        TIM_TRY(tim_gemma3_encode(gemma, p->ids, p->lengths, p->count, p->tokens, TIM_HIDDEN_BEFORE_LAST, before, err));
    for (size_t i = 0; i < file->tensors.count; i++) {
        const char *name = file->tensors.tensors[i].name;
        const bool is_before = strncmp(name, "hidden_minus_2", strlen("hidden_minus_2")) == 0;
        if (is_before || strncmp(name, "last_hidden_state", strlen("last_hidden_state")) == 0 ||
            strncmp(name, "zero_padded", strlen("zero_padded")) == 0)
            TIM_TRY(compare(file, name, is_before ? before : last, p, limit, err));
    }
    return TIM_OK;
}

static TimStatus check_gemma(ParityFile *file, double limit, TimError *err) {
    static TimHashRule rule = TIM_HASH_GEMMA;
    const char *json;
    Prompts p = {0};
    TimGemma3Config config;
    TimNetworkOptions options;
    TimGemma3 gemma;
    TIM_TRY(parity_text(file, "config", &json, err));
    TIM_TRY(tim_gemma3_config_parse(&config, json, err));
    TIM_TRY(parity_network_options(file, &options, err));
    TIM_TRY(read_prompts(file, &p, err));
    p.width = config.hidden_size;
    TIM_TRY(tim_gemma3_init(&gemma, &config, &options, err));
    TimStatus status = tim_frozen_make(&gemma.weights, make_hash, &rule, err);
    if (status == TIM_OK) status = encode_gemma(file, &gemma, &p, limit, err);
    tim_gemma3_done(&gemma);
    return status;
}

TimStatus check_text_gemma(ParityFile *file, TimError *err) {
    return check_gemma(file, file->run->options.bf16 ? tolerance_bf16 : tolerance, err);
}

TimStatus check_full_gemma(ParityFile *file, TimError *err) {
    return check_gemma(file, file->run->options.bf16 ? tolerance_full_bf16 : tolerance_full, err);
}

/* ---- T5 ---- */

static TimStatus encode_t5(ParityFile *file, TimT5 *t5, const Prompts *p, TimError *err) {
    static const char *const names[] = {[TIM_HIDDEN_LAST] = "last_hidden_state", [TIM_HIDDEN_BEFORE_LAST] = "hidden_minus_2"};
    float *hidden;
    TIM_TRY(parity_new(file, &hidden, (size_t)(p->count * p->tokens * p->width), sizeof *hidden, err));
    for (TimHiddenState output = TIM_HIDDEN_LAST; output <= TIM_HIDDEN_BEFORE_LAST; output++) {
        if (output && !tim_safetensors_find(&file->tensors, names[output])) continue;
        TIM_TRY(tim_t5_encode(t5, p->ids, p->lengths, p->count, p->tokens, output, hidden, err));
        TIM_TRY(compare(file, names[output], hidden, p, file->run->options.bf16 ? tolerance_bf16 : tolerance, err));
    }
    return TIM_OK;
}

TimStatus check_text_t5(ParityFile *file, TimError *err) {
    static TimHashRule rule = TIM_HASH_PLAIN;
    const char *json;
    Prompts p = {0};
    TimT5Config config;
    TimNetworkOptions options;
    TimT5 t5;
    TIM_TRY(parity_text(file, "config", &json, err));
    TIM_TRY(tim_t5_config_parse(&config, json, err));
    TIM_TRY(parity_network_options(file, &options, err));
    TIM_TRY(read_prompts(file, &p, err));
    p.width = config.d_model;
    TIM_TRY(tim_t5_init(&t5, &config, &options, err));
    TimStatus status = tim_frozen_make(&t5.weights, make_hash, &rule, err);
    if (status == TIM_OK) status = encode_t5(file, &t5, &p, err);
    tim_t5_done(&t5);
    return status;
}

/* ---- folders ---- */

static void compare_weights(ParityFile *file, const TimFrozen *weights) {
    for (size_t i = 0; i < weights->params.count; i++) {
        const TimParam *param = &weights->params.items[i];
        parity_compare_f32(file, param->name, weights->bound.f32[i], param->count, 0);
    }
}

TimStatus check_text_folder(ParityFile *file, TimError *err) {
    char *folder;
    TimNetworkOptions options;
    TimGemma3 gemma;
    TIM_TRY(parity_network_options(file, &options, err));
    options.precision = TIM_PRECISION_F32;
    TIM_TRY(parity_new(file, &folder, strlen(file->path) + 1, 1, err));
    snprintf(folder, strlen(file->path) + 1, "%.*s", (int)(strrchr(file->path, '/') - file->path), file->path);
    TIM_TRY(tim_gemma3_open(&gemma, folder, &options, err));
    compare_weights(file, &gemma.weights);
    tim_gemma3_done(&gemma);
    return TIM_OK;
}
