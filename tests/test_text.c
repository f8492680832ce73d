/* Text encoders: their configurations and what is refused of them, folders in every precision, prompts in batches and alone. */
#include <errno.h>
#include <limits.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/memory.h"
#include "model/gemma3.h"
#include "model/store.h"
#include "model/t5_encoder.h"
#include "nn/hash_weights.h"

/* ---- our allocator, which can fail ---- */

int __real_posix_memalign(void **out, size_t alignment, size_t size);
int __wrap_posix_memalign(void **out, size_t alignment, size_t size);

static int allocations, fail_at = INT_MAX; /* calls so far; the one that fails */

int __wrap_posix_memalign(void **out, size_t alignment, size_t size) {
    return allocations++ == fail_at ? ENOMEM : __real_posix_memalign(out, alignment, size);
}

static int reset_allocations(void **state) {
    (void)state;
    fail_at = INT_MAX;
    return 0;
}

/* ---- what the tests share ---- */

static const char tiny[] = "tests/golden/text/gemma3_tiny", golden_t5[] = "tests/golden/text/t5.safetensors";
static const TimNetworkOptions in_f32 = {.threads = 1, .precision = TIM_PRECISION_F32, .isa = TIM_ISA_REF},
                               in_bf16 = {.threads = 1, .precision = TIM_PRECISION_BF16, .isa = TIM_ISA_REF};

enum { PROMPTS = 3, TOKENS = 10, WIDTH = 32, HIDDEN = PROMPTS * TOKENS * WIDTH };
/* The third is empty; what stands behind a prompt must not matter. */
static const int64_t ids[PROMPTS * TOKENS] = {2, 7,  300, 19, 250, 4,  5,   6,   77,  8,  2,  9,  10, -5, 999,
                                              0, 11, 12,  13, 14,  15, -16, 171, 818, 19, 20, 21, 22, 23, -24};
static const int64_t lengths[PROMPTS] = {10, 3, 0};

static char folder[] = "/tmp/tim-text-XXXXXX";

static int make_folder(void **state) {
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

static int clean(void **state) {
    (void)state;
    char command[PATH_MAX];
    snprintf(command, sizeof command, "rm -r %s", folder);
    return system(command);
}

static void must(TimStatus status, const TimError *err) {
    if (status != TIM_OK) fail_msg("%s", err->text);
}

static void expect_error(TimStatus status, TimStatus expected, const TimError *err, const char *text) {
    assert_int_equal(status, expected);
    assert_int_equal(err->status, expected);
    if (!strstr(err->text, text)) fail_msg("'%s' is not in '%s'", text, err->text);
}

static const char *in_folder(char path[PATH_MAX], const char *name) {
    snprintf(path, PATH_MAX, "%s/%s", folder, name);
    return path;
}

static void write_text(const char *name, const char *text) {
    char path[PATH_MAX];
    FILE *file = fopen(in_folder(path, name), "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

/* ---- configurations ---- */

#define GEMMA(more)                                                                                                                \
    "{\"model_type\": \"gemma3_text\", \"vocab_size\": 320, \"hidden_size\": 32, \"intermediate_size\": 64, "                      \
    "\"num_hidden_layers\": "                                                                                                      \
    "7, \"num_attention_heads\": 4, \"num_key_value_heads\": 2, \"sliding_window\": 8" more "}"
#define T5(more)                                                                                                                   \
    "{\"model_type\": \"t5\", \"vocab_size\": 320, \"d_model\": 32, \"d_kv\": 8, \"d_ff\": 64, \"num_layers\": 3, \"num_heads\": " \
    "4, "                                                                                                                          \
    "\"feed_forward_proj\": \"gated-gelu\"" more "}"

static void test_gemma_config_absent_keys_published_defaults(void **state) {
    (void)state;
    TimGemma3Config c;
    TimError err;
    must(tim_gemma3_config_parse(&c, GEMMA(", \"torch_dtype\": \"bfloat16\", \"rope_theta\": 1000000"), &err), &err);
    assert_int_equal(c.head_dim, 256);
    assert_int_equal(c.max_position_embeddings, 131072);
    assert_true(c.rope_theta == 1e6 && c.rope_local_base_freq == 1e4 && c.rms_norm_eps == 1e-6 && c.query_pre_attn_scalar == 256);
    assert_true(c.rope_factor == 1);
    for (int i = 0; i < 7; i++) assert_int_equal(c.sliding[i], i != 5);
    must(tim_gemma3_config_parse(&c, GEMMA(", \"rope_scaling\": {\"type\": \"linear\", \"factor\": 8.0}"), &err), &err);
    assert_true(c.rope_factor == 8);
    must(tim_gemma3_config_parse(&c, GEMMA(", \"rope_scaling\": {\"rope_type\": \"default\"}"), &err), &err);
    assert_true(c.rope_factor == 1);
}

static void test_gemma_config_layers_by_pattern_or_list(void **state) {
    (void)state;
    TimGemma3Config c;
    TimError err;
    must(tim_gemma3_config_parse(&c, GEMMA(", \"sliding_window_pattern\": 2"), &err), &err);
    for (int i = 0; i < 7; i++) assert_int_equal(c.sliding[i], i % 2 == 0);
    must(tim_gemma3_config_parse(&c,
                                 GEMMA(", \"_sliding_window_pattern\": 2, \"layer_types\": [\"full_attention\", "
                                       "\"sliding_attention\", \"sliding_attention\", \"full_attention\", \"full_attention\", "
                                       "\"sliding_attention\", \"full_attention\"]"),
                                 &err),
         &err);
    static const bool expected[] = {false, true, true, false, false, true, false};
    for (int i = 0; i < 7; i++) assert_int_equal(c.sliding[i], expected[i]);
}

static void test_gemma_config_refused_settings_named(void **state) {
    (void)state;
    static const struct {
        const char *json, *text;
        TimStatus status;
    } wrong[] = {
        {"[]", "not a JSON object", TIM_E_FORMAT},
        {"{\"model_type\": ", "not valid JSON at line 1", TIM_E_FORMAT},
        {"{\"vocab_size\": 320}", "the key 'model_type' is missing", TIM_E_FORMAT},
        {"{\"model_type\": \"gemma3\"}", "'model_type' is \"gemma3\"; this library can only run", TIM_E_UNSUPPORTED},
        {GEMMA(", \"hidden_activation\": \"silu\""), "'hidden_activation' is \"silu\"", TIM_E_UNSUPPORTED},
        {GEMMA(", \"rope_scaling\": {\"factor\": 8}"), "'rope_scaling' is of type (none)", TIM_E_UNSUPPORTED},
        {GEMMA(", \"rope_scaling\": {\"type\": \"linear\", \"factor\": 8, \"rope_theta\": 5e5}"), "'rope_scaling' has 'rope_theta'",
         TIM_E_UNSUPPORTED},
        {GEMMA(", \"rope_scaling\": 8"), "'rope_scaling' is of type (none)", TIM_E_UNSUPPORTED},
        {GEMMA(", \"rope_scaling\": {\"type\": \"yarn\", \"factor\": 8}"), "'rope_scaling' is of type yarn", TIM_E_UNSUPPORTED},
        {GEMMA(", \"rope_scaling\": {\"rope_type\": \"linear\", \"factor\": 0}"), "has the factor 0", TIM_E_FORMAT},
        {GEMMA(", \"rope_scaling\": {\"rope_type\": \"linear\"}"), "has the factor 0", TIM_E_FORMAT},
        {GEMMA(", \"rope_parameters\": {\"rope_type\": \"linear\", \"factor\": 8}"), "'rope_parameters' must be an object with",
         TIM_E_UNSUPPORTED},
        {GEMMA(", \"rope_parameters\": 3"), "'rope_parameters' must be an object with", TIM_E_UNSUPPORTED},
        {GEMMA(", \"rope_parameters\": {\"full_attention\": 3}"), "which is no object", TIM_E_FORMAT},
        {GEMMA(", \"rope_parameters\": {\"full_attention\": {\"rope_type\": \"yarn\"}}"), "'rope_parameters' is of type yarn",
         TIM_E_UNSUPPORTED},
        {GEMMA(", \"rope_parameters\": {\"full_attention\": {\"rope_type\": \"default\", \"rope_theta\": 1}}"), "the rope_theta 1;",
         TIM_E_FORMAT},
        {GEMMA(", \"rope_parameters\": {\"sliding_attention\": {\"rope_type\": \"linear\", \"factor\": 2}}"),
         "scales the sliding layers by 2", TIM_E_UNSUPPORTED},
        {GEMMA(", \"rope_parameters\": {\"full_attention\": {\"rope_type\": \"linear\", \"factor\": 8, "
               "\"partial_rotary_factor\": 0.5}}"),
         "'rope_parameters' has 'partial_rotary_factor'", TIM_E_UNSUPPORTED},
        {GEMMA(", \"attn_logit_softcapping\": 50"), "'attn_logit_softcapping' is 50", TIM_E_UNSUPPORTED},
        {GEMMA(", \"use_bidirectional_attention\": true"), "'use_bidirectional_attention' is true", TIM_E_UNSUPPORTED},
        {GEMMA(", \"quantization_config\": {}"), "'quantization_config' is {}; this library does not know", TIM_E_FORMAT},
        {GEMMA(", \"head_dim\": 7"), "'head_dim' is 7", TIM_E_FORMAT},
        {GEMMA(", \"head_dim\": 16.5"), "'head_dim' is 16.5; it must be a whole number", TIM_E_FORMAT},
        {GEMMA(", \"head_dim\": \"16\""), "'head_dim' is \"16\"; it must be a whole number", TIM_E_FORMAT},
        {GEMMA(", \"head_dim\": 0"), "'head_dim' is 0; it must be 1 to 1024", TIM_E_FORMAT},
        {GEMMA(", \"head_dim\": 1e300"), "it must be 1 to 1024", TIM_E_FORMAT},
        {GEMMA(", \"rms_norm_eps\": 0"), "'rms_norm_eps' is 0; it must be 1e-12 to 1", TIM_E_FORMAT},
        {GEMMA(", \"rms_norm_eps\": null"), "'rms_norm_eps' is null; it must be a number", TIM_E_FORMAT},
        {GEMMA(", \"pad_token_id\": 320"), "'pad_token_id' is 320, beyond", TIM_E_FORMAT},
        {GEMMA(", \"vocab_size\": 3"), "not valid JSON", TIM_E_FORMAT},
        {GEMMA(", \"sliding_window_pattern\": 0"), "'sliding_window_pattern' must be", TIM_E_FORMAT},
        {GEMMA(", \"layer_types\": [\"full_attention\"]"), "'layer_types' has 1 entries", TIM_E_FORMAT},
        {GEMMA(", \"layer_types\": \"full\""), "'layer_types' has 0 entries", TIM_E_FORMAT},
        {GEMMA(", \"layer_types\": [1, 2, 3, 4, 5, 6, 7]"), "'layer_types' has \"(no text)\" at 0", TIM_E_UNSUPPORTED},
    };
    TimGemma3Config c;
    TimError err;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        expect_error(tim_gemma3_config_parse(&c, wrong[i].json, &err), wrong[i].status, &err, wrong[i].text);
    expect_error(tim_gemma3_config_parse(&c, wrong[4].json, NULL), TIM_E_UNSUPPORTED, &(TimError){TIM_E_UNSUPPORTED, ""}, "");
}

static void test_gemma_config_heads_do_not_divide_refused(void **state) {
    (void)state;
    TimGemma3Config c;
    TimError err;
    const char json[] = "{\"model_type\": \"gemma3_text\", \"vocab_size\": 320, \"hidden_size\": 32, \"intermediate_size\": 64, "
                        "\"num_hidden_layers\": 7, \"num_attention_heads\": 4, \"num_key_value_heads\": 3, \"sliding_window\": 8}";
    expect_error(tim_gemma3_config_parse(&c, json, &err), TIM_E_FORMAT, &err, "'num_key_value_heads' is 3");
}

/* An mT5 whose file does not say has the gate that its kind has. */
static void test_t5_config_gate_of_the_kind(void **state) {
    (void)state;
    static const char rest[] =
        "\"vocab_size\": 320, \"d_model\": 32, \"d_kv\": 8, \"d_ff\": 64, \"num_layers\": 3, \"num_heads\": 4}";
    static const struct {
        const char *begin;
        bool gated;
    } kinds[] = {{"{\"model_type\": \"mt5\", ", true},
                 {"{\"model_type\": \"t5\", ", false},
                 {"{\"model_type\": \"mt5\", \"feed_forward_proj\": \"relu\", ", false}};
    TimT5Config c;
    TimError err;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        char json[512];
        snprintf(json, sizeof json, "%s%s", kinds[i].begin, rest);
        assert_int_equal(tim_t5_config_parse(&c, json, &err), TIM_OK);
        assert_int_equal(c.gated, kinds[i].gated);
    }
}

static void test_t5_config_refused_settings_named(void **state) {
    (void)state;
    static const struct {
        const char *json, *text;
        TimStatus status;
    } wrong[] = {
        {"{\"model_type\": \"umt5\"}", "'model_type' is \"umt5\"", TIM_E_UNSUPPORTED},
        {"{\"model_type\": \"t5\", \"feed_forward_proj\": \"gated-silu\"}", "'feed_forward_proj' is \"gated-silu\"",
         TIM_E_UNSUPPORTED},
        {T5(", \"dense_act_fn\": \"relu\", \"is_gated_act\": true"), "'dense_act_fn' is \"relu\" and 'is_gated_act' true",
         TIM_E_UNSUPPORTED},
        {T5(", \"is_gated_act\": false"), "'is_gated_act' false, where 'feed_forward_proj' is \"gated-gelu\"", TIM_E_UNSUPPORTED},
        {T5(", \"dense_act_fn\": \"gelu\""), "'dense_act_fn' is \"gelu\"", TIM_E_UNSUPPORTED},
        {T5(", \"relative_attention_num_buckets\": 30"), "'relative_attention_num_buckets' is 30", TIM_E_UNSUPPORTED},
        {T5(", \"relative_attention_max_distance\": 8"), "'relative_attention_max_distance' 8", TIM_E_UNSUPPORTED},
        {T5(", \"scalable_attention\": true"), "'scalable_attention' is true; this library does not know", TIM_E_FORMAT},
        {"{\"model_type\": \"t5\", \"feed_forward_proj\": \"gated-gelu\"}", "the key 'vocab_size' is missing", TIM_E_FORMAT},
    };
    TimT5Config c;
    TimError err;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        expect_error(tim_t5_config_parse(&c, wrong[i].json, &err), wrong[i].status, &err, wrong[i].text);
    must(tim_t5_config_parse(&c, T5(", \"n_positions\": 512, \"decoder_start_token_id\": 0, \"output_past\": true"), &err), &err);
    assert_int_equal(c.relative_attention_max_distance, 128);
}

static void test_open_config_error_names_file(void **state) {
    (void)state;
    TimGemma3 gemma;
    TimT5 t5;
    TimError err;
    write_text("config.json", GEMMA(", \"attention_bias\": true"));
    expect_error(tim_gemma3_open(&gemma, folder, &in_f32, &err), TIM_E_UNSUPPORTED, &err, "config.json: 'attention_bias' is true");
    expect_error(tim_t5_open(&t5, folder, &in_f32, &err), TIM_E_UNSUPPORTED, &err, "config.json: 'model_type' is");
    expect_error(tim_gemma3_open(&gemma, "/nowhere", &in_f32, &err), TIM_E_IO, &err, "/nowhere/config.json");
}

/* ---- Gemma 3 ---- */

static double distance(const float *a, const float *b, size_t count) {
    double difference = 0, magnitude = 0;
    for (size_t i = 0; i < count; i++) {
        assert_true(isfinite(a[i]) && isfinite(b[i])); /* fmax passes a NaN over */
        difference = fmax(difference, fabs((double)a[i] - (double)b[i]));
        magnitude = fmax(magnitude, fabs((double)b[i]));
    }
    return difference / magnitude;
}

static void encode(TimGemma3 *gemma, float hidden[HIDDEN]) {
    TimError err;
    must(tim_gemma3_encode(gemma, ids, lengths, PROMPTS, TOKENS, TIM_HIDDEN_LAST, hidden, &err), &err);
}

static void test_gemma_open_matching_dtype_used_in_map(void **state) {
    (void)state;
    TimGemma3 gemma;
    TimError err;
    must(tim_gemma3_open(&gemma, tiny, &in_f32, &err), &err);
    assert_int_equal(gemma.weights.copied, 0);
    assert_int_equal(gemma.config.hidden_size, WIDTH);
    tim_gemma3_done(&gemma);
}

static void copy_config(void) {
    char command[PATH_MAX];
    snprintf(command, sizeof command, "cp %s/config.json %s", tiny, folder);
    assert_int_equal(system(command), 0);
}

/* The tiny model's folder with bf16 weights. */
static void write_bf16(const TimGemma3 *gemma) {
    char path[PATH_MAX];
    TimError err;
    const TimParams *params = &gemma->weights.params;
    float *vector;
    must(tim_new(&vector, params->elements, sizeof *vector, "weights", &err), &err);
    for (size_t i = 0; i < params->count; i++)
        memcpy(vector + params->items[i].offset, gemma->weights.bound.f32[i], params->items[i].count * sizeof *vector);
    must(tim_weights_write(vector, params, TIM_BF16, NULL, 0, in_folder(path, "model.safetensors"), &err), &err);
    tim_free(vector);
    copy_config();
}

static void test_gemma_open_bf16_matrices_in_map_vectors_copied(void **state) {
    (void)state;
    TimGemma3 gemma, wide, narrow;
    TimError err;
    static float hidden[HIDDEN], in_map[HIDDEN], widened[HIDDEN], rounded[HIDDEN];
    must(tim_gemma3_open(&gemma, tiny, &in_f32, &err), &err);
    encode(&gemma, hidden);
    write_bf16(&gemma);
    tim_gemma3_done(&gemma);

    must(tim_gemma3_open(&narrow, folder, &in_bf16, &err), &err);
    size_t vectors = 0;
    for (size_t i = 0; i < narrow.weights.params.count; i++)
        vectors += narrow.weights.params.items[i].rank == 1 ? narrow.weights.params.items[i].count * sizeof(float) : 0;
    assert_int_equal(narrow.weights.copied, vectors);
    encode(&narrow, in_map);
    tim_gemma3_done(&narrow);
    must(tim_gemma3_open(&wide, folder, &in_f32, &err), &err);
    encode(&wide, widened);
    tim_gemma3_done(&wide);
    must(tim_gemma3_open(&narrow, tiny, &in_bf16, &err), &err); /* rounded here instead of in the file; norms are not */
    encode(&narrow, rounded);
    tim_gemma3_done(&narrow);
    assert_true(distance(widened, hidden, HIDDEN) < 5e-2);
    assert_true(distance(in_map, widened, HIDDEN) < 5e-2);
    assert_true(distance(in_map, rounded, HIDDEN) < 5e-2);
}

/* The tensors of `weights` as f32, behind `before` bytes of one that nobody reads; `short_names`: without "model.". */
static void write_f32(const TimFrozen *weights, size_t before, bool short_names) {
    char path[PATH_MAX];
    TimError err;
    TimSafetensorsWriter writer;
    must(tim_safetensors_writer_init(&writer, &err), &err);
    if (before > 0) must(tim_safetensors_writer_add(&writer, "lm_head.odd", TIM_U8, 1, &before, "abcd", &err), &err);
    for (size_t i = 0; i < weights->params.count; i++) {
        const TimParam *p = &weights->params.items[i];
        const size_t dims[2] = {(size_t)p->dims[0], p->rank == 2 ? (size_t)p->dims[1] : 0};
        const char *name = p->name + (short_names ? strlen("model.") : 0);
        must(tim_safetensors_writer_add(&writer, name, TIM_F32, p->rank, dims, weights->bound.f32[i], &err), &err);
    }
    must(tim_safetensors_writer_save(&writer, in_folder(path, "model.safetensors"), &err), &err);
    tim_safetensors_writer_done(&writer);
}

/* Writes the tiny model as write_f32 does and opens it again: it has to encode the same. Returns the bytes of its copies. */
static size_t copied_of_rewritten(size_t before, bool short_names) {
    TimGemma3 gemma;
    TimError err;
    static float plain[HIDDEN], again[HIDDEN];
    must(tim_gemma3_open(&gemma, tiny, &in_f32, &err), &err);
    encode(&gemma, plain);
    copy_config();
    write_f32(&gemma.weights, before, short_names);
    tim_gemma3_done(&gemma);
    must(tim_gemma3_open(&gemma, folder, &in_f32, &err), &err);
    const size_t copied = gemma.weights.copied;
    encode(&gemma, again);
    tim_gemma3_done(&gemma);
    assert_memory_equal(again, plain, sizeof plain);
    return copied;
}

static void test_gemma_open_unaligned_file_copied_same_values(void **state) {
    (void)state;
    assert_true(copied_of_rewritten(3, false) > 300000); /* none is aligned */
}

/* A Gemma3TextModel is saved without the name of what it is part of in a language model. */
static void test_gemma_open_names_without_model(void **state) {
    (void)state;
    assert_int_equal(copied_of_rewritten(0, true), 0);
}

static void test_gemma_encode_batch_equals_each_alone(void **state) {
    (void)state;
    TimGemma3 gemma;
    TimError err;
    static float together[HIDDEN], alone[TOKENS * WIDTH];
    must(tim_gemma3_open(&gemma, tiny, &in_f32, &err), &err);
    encode(&gemma, together);
    for (int b = 0; b < PROMPTS; b++) {
        must(tim_gemma3_encode(&gemma, ids + b * TOKENS, lengths + b, 1, TOKENS, TIM_HIDDEN_LAST, alone, &err), &err);
        assert_true(distance(together + b * TOKENS * WIDTH, alone, TOKENS * WIDTH) < 1e-5);
    }
    tim_gemma3_done(&gemma);
}

static void test_gemma_encode_padding_is_one_constant(void **state) {
    (void)state;
    TimGemma3 gemma;
    TimError err;
    static float hidden[HIDDEN], before[HIDDEN];
    must(tim_gemma3_open(&gemma, tiny, &in_f32, &err), &err);
    encode(&gemma, hidden);
    must(tim_gemma3_encode(&gemma, ids, lengths, PROMPTS, TOKENS, TIM_HIDDEN_BEFORE_LAST, before, &err), &err);
    tim_gemma3_done(&gemma);
    const size_t last = (size_t)(PROMPTS * TOKENS - 1) * WIDTH, row = WIDTH * sizeof *hidden;
    for (int i = 13; i < PROMPTS * TOKENS; i++) {
        if (i >= 10 + 3 && i < 20) assert_memory_equal(hidden + i * WIDTH, hidden + last, row);
        if (i >= 20) assert_memory_equal(before + i * WIDTH, before + last, row);
    }
    assert_true(distance(before, hidden, HIDDEN) > 0.1);
}

static void test_gemma_encode_wrong_prompts_argument_error(void **state) {
    (void)state;
    TimGemma3 gemma;
    TimError err;
    static float hidden[HIDDEN];
    const int64_t long_one[] = {11, 0, 0}, negative[] = {1, -1, 0}, all[] = {10, 10, 10};
    must(tim_gemma3_open(&gemma, tiny, &in_f32, &err), &err);
    expect_error(tim_gemma3_encode(&gemma, ids, long_one, PROMPTS, TOKENS, TIM_HIDDEN_LAST, hidden, &err), TIM_E_ARGUMENT, &err,
                 "prompt 0 has 11 tokens, not 0 to 10");
    expect_error(tim_gemma3_encode(&gemma, ids, negative, PROMPTS, TOKENS, TIM_HIDDEN_LAST, hidden, &err), TIM_E_ARGUMENT, &err,
                 "prompt 1 has -1 tokens");
    expect_error(tim_gemma3_encode(&gemma, ids, all, PROMPTS, TOKENS, TIM_HIDDEN_LAST, hidden, &err), TIM_E_ARGUMENT, &err,
                 "token 3 of prompt 1 is -5, not 0 to 319");
    expect_error(tim_gemma3_encode(&gemma, ids, lengths, 0, TOKENS, TIM_HIDDEN_LAST, hidden, &err), TIM_E_ARGUMENT, &err,
                 "0 prompts of 10 tokens");
    expect_error(tim_gemma3_encode(&gemma, ids, lengths, 1, 129, TIM_HIDDEN_LAST, hidden, &err), TIM_E_ARGUMENT, &err,
                 "tokens at most 128");
    tim_gemma3_done(&gemma);
}

/* ---- T5 ---- */

static TimStatus make_hash(void *from, const TimParam *param, float *out, TimError *err) {
    (void)from;
    size_t dims[TIM_PARAM_MAX_RANK];
    tim_param_dims(param, dims);
    return tim_hash_weights(param->name, dims, param->rank, TIM_HASH_PLAIN, out, err);
}

static void t5_with_hash_weights(TimT5 *t5) {
    TimT5Config config;
    TimError err;
    must(tim_t5_config_parse(&config, T5(""), &err), &err);
    must(tim_t5_init(t5, &config, &in_f32, &err), &err);
    must(tim_frozen_make(&t5->weights, make_hash, NULL, &err), &err);
}

/* The reference lets padded queries see the real tokens, and so do we: the golden file holds them too. */
static void test_t5_encode_padded_places_as_reference(void **state) {
    (void)state;
    enum { B = 3, M = 24, COUNT = B * M * WIDTH };
    TimSafetensors file;
    TimError err;
    TimT5 t5;
    int64_t tokens[B * M], mask[B * M], real[B] = {0};
    static float expected[COUNT], hidden[COUNT];
    must(tim_safetensors_open(&file, golden_t5, &err), &err);
    must(tim_safetensors_read_i64(tim_safetensors_find(&file, "ids"), tokens, B * M, &err), &err);
    must(tim_safetensors_read_i64(tim_safetensors_find(&file, "mask"), mask, B * M, &err), &err);
    must(tim_safetensors_read_f32(tim_safetensors_find(&file, "last_hidden_state"), expected, COUNT, &err), &err);
    tim_safetensors_close(&file);
    for (int i = 0; i < B * M; i++) real[i / M] += mask[i];
    t5_with_hash_weights(&t5);
    must(tim_t5_encode(&t5, tokens, real, B, M, TIM_HIDDEN_LAST, hidden, &err), &err);
    tim_t5_done(&t5);
    assert_true(distance(hidden, expected, COUNT) < 5e-5);
}

/* The weights of `t5` under official names, the embedding as `embedding`, and one tensor more. */
static void write_t5(const TimT5 *t5, const char *embedding, const char *more) {
    char path[PATH_MAX];
    TimError err;
    TimSafetensorsWriter writer;
    static const float zeros[4];
    must(tim_safetensors_writer_init(&writer, &err), &err);
    for (size_t i = 0; i < t5->weights.params.count; i++) {
        const TimParam *p = &t5->weights.params.items[i];
        const size_t dims[2] = {(size_t)p->dims[0], p->rank == 2 ? (size_t)p->dims[1] : 0};
        const char *name = strcmp(p->name, "encoder.embed_tokens.weight") == 0 ? embedding : p->name;
        if (name) must(tim_safetensors_writer_add(&writer, name, TIM_F32, p->rank, dims, t5->weights.bound.f32[i], &err), &err);
    }
    must(tim_safetensors_writer_add(&writer, more, TIM_F32, 1, (const size_t[]){4}, zeros, &err), &err);
    must(tim_safetensors_writer_save(&writer, in_folder(path, "model.safetensors"), &err), &err);
    tim_safetensors_writer_done(&writer);
    write_text("config.json", T5(""));
}

static void test_t5_open_shared_embedding_and_decoder_fine(void **state) {
    (void)state;
    static const char *const names[] = {"shared.weight", "encoder.embed_tokens.weight"};
    const int64_t length = 5;
    static float made[5 * WIDTH], read[5 * WIDTH];
    TimT5 t5, opened;
    TimError err;
    t5_with_hash_weights(&t5);
    must(tim_t5_encode(&t5, ids, &length, 1, 5, TIM_HIDDEN_LAST, made, &err), &err);
    for (int i = 0; i < 2; i++) {
        write_t5(&t5, names[i], "decoder.block.0.layer.0.layer_norm.weight");
        must(tim_t5_open(&opened, folder, &in_f32, &err), &err);
        must(tim_t5_encode(&opened, ids, &length, 1, 5, TIM_HIDDEN_LAST, read, &err), &err);
        assert_memory_equal(read, made, sizeof made);
        tim_t5_done(&opened);
    }
    tim_t5_done(&t5);
}

static void test_t5_open_wrong_tensors_named(void **state) {
    (void)state;
    TimT5 t5, opened;
    TimError err;
    t5_with_hash_weights(&t5);
    write_t5(&t5, NULL, "decoder.x");
    expect_error(tim_t5_open(&opened, folder, &in_f32, &err), TIM_E_FORMAT, &err,
                 "'encoder.embed_tokens.weight' (320, 32) is missing");
    write_t5(&t5, "shared.weight", "vision.weight");
    expect_error(tim_t5_open(&opened, folder, &in_f32, &err), TIM_E_FORMAT, &err, "'vision.weight' (4) belongs to no layer");
    write_t5(&t5, "shared.weight", "decoder.x");
    write_text("config.json", "{\"model_type\": \"t5\", \"vocab_size\": 300, \"d_model\": 32, \"d_kv\": 8, \"d_ff\": 64, "
                              "\"num_layers\": 3, \"num_heads\": 4, \"feed_forward_proj\": \"gated-gelu\"}");
    expect_error(tim_t5_open(&opened, folder, &in_f32, &err), TIM_E_FORMAT, &err,
                 "model.safetensors: the tensor 'shared.weight' has the shape (320, 32), and the configuration wants "
                 "(300, 32)");
    tim_t5_done(&t5);
}

static void test_t5_encode_wrong_prompts_argument_error(void **state) {
    (void)state;
    TimT5 t5;
    TimError err;
    static float hidden[HIDDEN];
    const int64_t empty[] = {10, 0, 3}, full[] = {10, 10, 10};
    t5_with_hash_weights(&t5);
    expect_error(tim_t5_encode(&t5, ids, empty, PROMPTS, TOKENS, TIM_HIDDEN_LAST, hidden, &err), TIM_E_ARGUMENT, &err,
                 "prompt 1 has 0 tokens, not 1 to 10");
    expect_error(tim_t5_encode(&t5, ids, full, PROMPTS, TOKENS, TIM_HIDDEN_LAST, hidden, &err), TIM_E_ARGUMENT, &err,
                 "token 3 of prompt 1 is -5");
    expect_error(tim_t5_encode(&t5, ids, full, 1, -1, TIM_HIDDEN_LAST, hidden, &err), TIM_E_ARGUMENT, &err,
                 "1 prompts of -1 tokens");
    tim_t5_done(&t5);
}

/* ---- memory ---- */

/* Opening and encoding, with the k-th allocation failing. */
static TimStatus open_and_encode(TimError *err) {
    TimGemma3 gemma;
    static float hidden[HIDDEN];
    TIM_TRY(tim_gemma3_open(&gemma, tiny, &in_bf16, err));
    const TimStatus status = tim_gemma3_encode(&gemma, ids, lengths, PROMPTS, TOKENS, TIM_HIDDEN_LAST, hidden, err);
    tim_gemma3_done(&gemma);
    return status;
}

static void test_gemma_each_allocation_fails_memory_error(void **state) {
    (void)state;
    TimError err;
    fail_at = INT_MAX, allocations = 0;
    must(open_and_encode(&err), &err);
    const int count = allocations;
    assert_true(count > 100);
    for (int k = 0; k < count; k++) {
        fail_at = k, allocations = 0;
        assert_int_equal(open_and_encode(&err), TIM_E_MEMORY);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gemma_config_absent_keys_published_defaults),
        cmocka_unit_test(test_gemma_config_layers_by_pattern_or_list),
        cmocka_unit_test(test_gemma_config_refused_settings_named),
        cmocka_unit_test(test_gemma_config_heads_do_not_divide_refused),
        cmocka_unit_test(test_t5_config_gate_of_the_kind),
        cmocka_unit_test(test_t5_config_refused_settings_named),
        cmocka_unit_test(test_open_config_error_names_file),
        cmocka_unit_test(test_gemma_open_matching_dtype_used_in_map),
        cmocka_unit_test(test_gemma_open_bf16_matrices_in_map_vectors_copied),
        cmocka_unit_test(test_gemma_open_unaligned_file_copied_same_values),
        cmocka_unit_test(test_gemma_open_names_without_model),
        cmocka_unit_test(test_gemma_encode_batch_equals_each_alone),
        cmocka_unit_test(test_gemma_encode_padding_is_one_constant),
        cmocka_unit_test(test_gemma_encode_wrong_prompts_argument_error),
        cmocka_unit_test(test_t5_encode_padded_places_as_reference),
        cmocka_unit_test(test_t5_open_shared_embedding_and_decoder_fine),
        cmocka_unit_test(test_t5_open_wrong_tensors_named),
        cmocka_unit_test(test_t5_encode_wrong_prompts_argument_error),
        cmocka_unit_test_teardown(test_gemma_each_allocation_fails_memory_error, reset_allocations),
    };
    return cmocka_run_group_tests(tests, make_folder, clean);
}
