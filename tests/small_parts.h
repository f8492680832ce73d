/* All parts of a text model and of a class model on latents, small enough for tests, in the test's folder (fixture.h). Runs from
 * the root of the sources. */
#ifndef TIM_TESTS_SMALL_PARTS_H
#define TIM_TESTS_SMALL_PARTS_H

#include <jansson.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "fixture.h"
#include "io/file.h"
#include "io/safetensors.h"
#include "model/gemma3.h"
#include "model/old_names.h"
#include "model/t5_encoder.h"
#include "saved_model.h"
#include "tim/synth.h"

enum { WIDTH = 32, LATENTS = 8, GRID = 2, FACTOR = 32, SIZE = GRID * FACTOR, LONGEST = 12, NAME_BYTES = 128 };

/* ---- the parts ---- */

static inline void copy_file(const char *from, const char *to) {
    TimFile file;
    assert_ok(tim_file_open(&file, from, &err));
    write_file(in_folder(to), file.data, file.size);
    tim_file_close(&file);
}

/* A Gemma 3 with rows for all tokens of the golden tokenizer. */
static const char gemma_config[] = "{\"model_type\": \"gemma3_text\", \"vocab_size\": 700, \"hidden_size\": 32, "
                                   "\"intermediate_size\": 48, \"num_hidden_layers\": 2, "
                                   "\"num_attention_heads\": 2, \"num_key_value_heads\": 1, \"head_dim\": 16, \"sliding_window\": "
                                   "8, \"query_pre_attn_scalar\": 16, "
                                   "\"rope_theta\": 1000000.0, \"rope_local_base_freq\": 10000.0, \"rms_norm_eps\": 1e-06, "
                                   "\"hidden_activation\": \"gelu_pytorch_tanh\", "
                                   "\"sliding_window_pattern\": 6}";

/* A manifest as the published models have one. */
static inline void write_manifest(const char *path, const char *config, const char *more, const TimParams *params) {
    FILE *out = fopen(path, "w");
    assert_non_null(out);
    fprintf(out, "{%s \"config\": %s, \"tensors\": {", more, config);
    for (size_t i = 0; i < params->count; i++) {
        const TimParam *p = &params->items[i];
        fprintf(out, "%s\"%s\": [", i ? ", " : "", p->name);
        for (int k = 0; k < p->rank; k++) fprintf(out, "%s%lld", k ? ", " : "", (long long)p->dims[k]);
        fputs("]", out);
    }
    fputs("}}\n", out);
    assert_int_equal(fclose(out), 0);
}

/* A T5 with rows for all tokens of the golden tokenizer. */
static const char t5_config[] = "{\"model_type\": \"t5\", \"vocab_size\": 200, \"d_model\": 32, \"d_kv\": 16, \"d_ff\": 48, "
                                "\"num_layers\": 2, \"num_heads\": 2, \"feed_forward_proj\": \"gated-gelu\"}";

/* With its tokenizer. */
static inline void make_t5(const char *name) {
    char tokenizer[NAME_BYTES];
    TimT5Config config;
    TimT5 t5;
    assert_ok(tim_t5_config_parse(&config, t5_config, &err));
    assert_ok(tim_t5_init(&t5, &config, &(TimNetworkOptions){.threads = 1}, &err));
    write_manifest(in_folder("t5.json"), t5_config, "", &t5.weights.params);
    tim_t5_done(&t5);
    assert_ok(tim_synth(in_folder("t5.json"), in_folder(name), TIM_PRECISION_F32, NULL, &err));
    snprintf(tokenizer, sizeof tokenizer, "%s/spiece.model", name);
    copy_file("tests/golden/tokenizer/unigram.model", tokenizer);
}

static inline void synth_gemma(const char *name) {
    TimGemma3Config config;
    TimGemma3 gemma;
    assert_ok(tim_gemma3_config_parse(&config, gemma_config, &err));
    assert_ok(tim_gemma3_init(&gemma, &config, &(TimNetworkOptions){.threads = 1}, &err));
    write_manifest(in_folder("gemma.json"), gemma_config, "", &gemma.weights.params);
    tim_gemma3_done(&gemma);
    assert_ok(tim_synth(in_folder("gemma.json"), in_folder(name), TIM_PRECISION_F32, NULL, &err));
}

static inline void put_vae(const char *name, const char *golden) {
    char from[NAME_BYTES], to[NAME_BYTES];
    static const char *const files[] = {"config.json", "diffusion_pytorch_model.safetensors"};
    mkdir(in_folder(name), 0777);
    for (int i = 0; i < 2; i++) {
        snprintf(from, sizeof from, "tests/golden/vae/%s/%s", golden, files[i]);
        snprintf(to, sizeof to, "%s/%s", name, files[i]);
        copy_file(from, to);
    }
}

/* The weights of an autoencoder without its encoder's. */
static inline void leave_out_encoder(const char *path) {
    TimSafetensors file;
    TimSafetensorsWriter writer;
    assert_ok(tim_safetensors_open(&file, path, &err));
    assert_ok(tim_safetensors_writer_init(&writer, &err));
    for (size_t i = 0; i < file.count; i++) {
        const TimStoredTensor *t = &file.tensors[i];
        if (strncmp(t->name, "encoder.", 8) == 0) continue;
        assert_ok(tim_safetensors_writer_add(&writer, t->name, t->dtype, t->rank, t->dims, t->data, &err));
    }
    assert_ok(tim_safetensors_writer_save(&writer, path, &err));
    tim_safetensors_writer_done(&writer);
    tim_safetensors_close(&file);
}

/* The golden autoencoder without its encoder. */
static inline void put_decoder(const char *name, const char *golden) {
    char weights[NAME_BYTES];
    put_vae(name, golden);
    snprintf(weights, sizeof weights, "%s/diffusion_pytorch_model.safetensors", name);
    leave_out_encoder(in_folder(weights));
}

static char vae_name[] = "maker/dc-ae-f32", encoder_name[] = "maker/gemma";

static inline TimConfig text_config(void) {
    TimConfig config = small_config(TIM_TRANSPORT_OT_FM);
    config.network.kind = TIM_NETWORK_T2I;
    config.network.in_channels = LATENTS, config.network.patch_size = 1, config.network.input_size = GRID;
    config.network.cap_feat_dim = WIDTH;
    config.vae_dir = vae_name, config.text_encoder_dir = encoder_name;
    config.max_seq_length = LONGEST;
    return config;
}

/* text/: all parts where diffusers has them. hub/: under the last parts of their published names. class/: classes to KL latents. */
static inline int make_parts(void **state) {
    (void)state;
    if (!mkdtemp(folder)) return -1;
    TimConfig config = text_config();
    save_model("text", &config);
    save_model("hub", &config);
    synth_gemma("text/text_encoder"), synth_gemma("hub/gemma");
    copy_file("tests/golden/tokenizer/bpe.model", "text/text_encoder/tokenizer.model");
    mkdir(in_folder("hub/tokenizer"), 0777);
    copy_file("tests/golden/tokenizer/bpe.model", "hub/tokenizer/tokenizer.model");
    put_vae("text/vae", "dc_ae_tiny"), put_vae("hub/dc-ae-f32", "dc_ae_tiny");
    config = small_config(TIM_TRANSPORT_OT_FM);
    config.network.in_channels = 4;
    config.vae_dir = vae_name;
    save_model("class", &config);
    put_vae("class/vae", "sd_vae_tiny");
    return 0;
}

/* ---- the tensors of published files ---- */

enum { MOST_TENSORS = 1000 };

/* The tensors that a manifest lists, under the names of 2022. */
static inline size_t read_manifest(const char *manifest, TimStoredTensor tensors[MOST_TENSORS],
                                   char names[MOST_TENSORS][TIM_OLD_NAME_BYTES]) {
    char path[PATH_BYTES];
    const char *name;
    json_t *dims;
    size_t count = 0;
    snprintf(path, sizeof path, "tests/golden/manifests/%s", manifest);
    json_t *root = json_load_file(path, 0, NULL);
    assert_non_null(root);
    json_object_foreach(json_object_get(root, "tensors"), name, dims) {
        TimStoredTensor *t = &tensors[count];
        char old[TIM_OLD_NAME_BYTES];
        assert_true(count < MOST_TENSORS);
        snprintf(names[count], TIM_OLD_NAME_BYTES, "%s", tim_old_name(old, name));
        *t = (TimStoredTensor){.name = names[count++], .rank = (int)json_array_size(dims)};
        for (int i = 0; i < t->rank; i++) t->dims[i] = (size_t)json_integer_value(json_array_get(dims, (size_t)i));
    }
    json_decref(root);
    return count;
}

/* A safetensors file of these tensors in bf16, all zeros: the file system keeps nothing of them. */
static inline void write_zeros(const char *path, const TimStoredTensor *tensors, size_t count) {
    static char header[1 << 20];
    size_t at = 8, offset = 0;
    for (size_t i = 0; i < count; i++) {
        size_t bytes = 2;
        at += (size_t)snprintf(header + at, sizeof header - at, "%c\"%s\":{\"dtype\":\"BF16\",\"shape\":[", i ? ',' : '{',
                               tensors[i].name);
        for (int k = 0; k < tensors[i].rank; k++) {
            at += (size_t)snprintf(header + at, sizeof header - at, "%s%zu", k ? "," : "", tensors[i].dims[k]);
            bytes *= tensors[i].dims[k];
        }
        at += (size_t)snprintf(header + at, sizeof header - at, "],\"data_offsets\":[%zu,%zu]}", offset, offset + bytes);
        offset += bytes;
    }
    header[at++] = '}';
    const uint64_t size = at - 8;
    memcpy(header, &size, sizeof size);
    write_file(path, header, at);
    assert_int_equal(truncate(path, (off_t)(at + offset)), 0);
}

/* ---- pictures ---- */

static inline void assert_same_pixels(const uint8_t *a, const uint8_t *b, size_t count, int most) {
    for (size_t i = 0; i < count; i++)
        if (abs(a[i] - b[i]) > most) fail_msg("byte %zu is %d and %d", i, a[i], b[i]);
}

#endif
