/* Configurations: config.json of text encoders and autoencoders, the network in a checkpoint's metadata, and our YAML, which is
 * also written and read back. */
#include <stdlib.h>
#include <string.h>

#include "fuzz/folder.h"
#include "fuzz/targets.h"
#include "io/config_json.h"
#include "io/file.h"
#include "model/autoencoder.h"
#include "model/gemma3.h"
#include "model/t5_encoder.h"

static void require(bool sound) {
    if (!sound) abort();
}

int fuzz_gemma3_config(const uint8_t *data, size_t size) {
    TimGemma3Config config;
    TimError err;
    char path[FUZZ_PATH];
    if (!fuzz_taken(tim_gemma3_config_read(&config, fuzz_file(path, "config.json", data, size), &err), &err)) return 0;
    require(config.num_hidden_layers >= 1 && config.num_hidden_layers <= TIM_GEMMA3_MAX_LAYERS);
    require(config.num_key_value_heads >= 1 && config.num_attention_heads % config.num_key_value_heads == 0);
    return 1;
}

int fuzz_t5_config(const uint8_t *data, size_t size) {
    TimT5Config config;
    TimError err;
    char path[FUZZ_PATH];
    if (!fuzz_taken(tim_t5_config_read(&config, fuzz_file(path, "config.json", data, size), &err), &err)) return 0;
    require(config.num_layers >= 1 && config.d_kv >= 2 && config.pad_token_id < config.vocab_size);
    return 1;
}

int fuzz_autoencoder_config(const uint8_t *data, size_t size) {
    TimAutoencoderConfig config;
    TimError err;
    char path[FUZZ_PATH];
    if (!fuzz_taken(tim_autoencoder_config_read(&config, fuzz_file(path, "config.json", data, size), &err), &err)) return 0;
    const TimTiling tiling = tim_autoencoder_tiling(&config);
    require(tim_autoencoder_factor(&config) >= 1 && tim_autoencoder_latent_channels(&config) >= 1);
    require(tim_autoencoder_picture_channels(&config, true) >= 1 && tim_autoencoder_picture_channels(&config, false) >= 1);
    require(tiling.tile_h >= 0 && tiling.stride_h >= 0 && tim_autoencoder_scaling(&config, 0) > 0);
    return 1;
}

int fuzz_network_json(const uint8_t *data, size_t size) {
    static const char *const kinds[] = {"c2i", "t2i"};
    int taken = 0;
    char *text = malloc(size + 1);
    if (!text) abort();
    memcpy(text, data, size);
    text[size] = '\0';
    for (int i = 0; i < 2; i++) {
        TimNetworkConfig config;
        TimError err;
        taken |= fuzz_taken(tim_network_config_from_json(&config, text, kinds[i], &err), &err);
        require(config.num_heads >= 1 && config.hidden_size % config.num_heads == 0);
    }
    free(text);
    return taken;
}

/* ---- YAML ---- */

static void read_back(TimConfig *config, const char *path) {
    TimError err;
    require(tim_config_read(config, path, &err) == TIM_OK && tim_config_check(config, &err) == TIM_OK);
}

static void require_equal(const char *left, const char *right) {
    TimFile a, b;
    TimError err;
    require(tim_file_open(&a, left, &err) == TIM_OK && tim_file_open(&b, right, &err) == TIM_OK);
    require(a.size == b.size && memcmp(a.data, b.data, a.size) == 0);
    tim_file_close(&a);
    tim_file_close(&b);
}

/* What is sound can be written; what was written is read, and written to the same bytes. */
static void write_twice(const TimConfig *config) {
    TimConfig again;
    TimError err;
    char first[FUZZ_PATH], second[FUZZ_PATH];
    if (tim_config_check(config, &err) != TIM_OK) return;
    require(tim_config_write(config, fuzz_path(first, "first.yaml"), &err) == TIM_OK);
    read_back(&again, first);
    require(tim_config_write(&again, fuzz_path(second, "second.yaml"), &err) == TIM_OK);
    require_equal(first, second);
    tim_config_done(&again);
}

int fuzz_yaml_config(const uint8_t *data, size_t size) {
    TimConfig config;
    TimError err;
    char path[FUZZ_PATH];
    const int taken = fuzz_taken(tim_config_read(&config, fuzz_file(path, "config.yaml", data, size), &err), &err);
    if (taken) write_twice(&config);
    tim_config_done(&config);
    return taken;
}
