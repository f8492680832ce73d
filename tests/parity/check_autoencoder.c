/* The files in vae and the autoencoders in full/: pictures x -> mean and logvar, or encoded; latents z -> decoded; big ->
 * big_decoded, and big_tiled in tiled mode. vae/NAME_tiny are diffusers folders: loaded, they must do what vae/NAME.safetensors
 * says. */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "model/autoencoder.h"
#include "nn/hash_weights.h"
#include "parity/checks.h"
#include "parity/model.h"

static const double tolerance_narrow = 5e-5, tolerance_full = 2e-4, tolerance_bf16 = 2e-2;

/* ---- the network ---- */

static bool has(const ParityFile *file, const char *name) {
    return tim_safetensors_find(&file->tensors, name) != NULL;
}

static TimStatus get_options(const ParityFile *file, TimAutoencoderOptions *options, TimError *err) {
    TimNetworkOptions network;
    TIM_TRY(parity_network_options(file, &network, err));
    *options = (TimAutoencoderOptions){.isa = network.isa,
                                       .threads = network.threads,
                                       .bf16 = file->run->options.bf16,
                                       .encoder = has(file, "x"),
                                       .decoder = has(file, "z") || has(file, "big")};
    return TIM_OK;
}

/* A TimAutoencoderRead: the official tensor as its name makes it; a variance must be positive, as Inception's are. */
static TimStatus read_hash(void *from, const char *name, int rank, const size_t *dims, float *out, TimError *err) {
    (void)from;
    return tim_hash_weights(name, dims, rank, strstr(name, "running_var") ? TIM_HASH_INCEPTION : TIM_HASH_PLAIN, out, err);
}

static TimStatus make(ParityFile *file, TimAutoencoder **a, TimError *err) {
    const char *config_text, *class_name;
    TimAutoencoderConfig config;
    TimAutoencoderOptions options;
    TIM_TRY(parity_text(file, "config", &config_text, err));
    TIM_TRY(parity_text(file, "class", &class_name, err));
    TIM_TRY(tim_autoencoder_config_parse(&config, config_text, class_name, err));
    TIM_TRY(get_options(file, &options, err));
    return tim_autoencoder_new(a, &config, &options, err);
}

/* DC-AE's tiles are chosen by whoever runs it: "tiling" holds one side and one stride for both axes. */
static TimStatus get_tiling(ParityFile *file, const TimAutoencoder *a, TimTiling *tiling, TimError *err) {
    json_t *value;
    *tiling = tim_autoencoder_tiling(tim_autoencoder_config(a));
    if (!tim_safetensors_text(&file->tensors, "tiling")) return TIM_OK;
    TIM_TRY(parity_json(file, "tiling", &value, err));
    const int tile = (int)json_integer_value(json_object_get(value, "min"));
    const int stride = (int)json_integer_value(json_object_get(value, "stride"));
    *tiling = (TimTiling){tile, tile, stride, stride};
    return TIM_OK;
}

/* ---- comparing ---- */

static void compare(ParityFile *file, const char *name, const float *values, size_t count) {
    if (file->run->options.bf16)
        parity_compare_l2(file, name, values, count, 0, tolerance_bf16);
    else
        parity_compare_f32(file, name, values, count, strncmp(file->name, "full/", 5) == 0 ? tolerance_full : tolerance_narrow);
}

static TimStatus get_input(ParityFile *file, const char *name, float **values, const TimStoredTensor **shape, TimError *err) {
    TIM_TRY(parity_input_f32(file, name, values, shape, err));
    const size_t *dims = (*shape)->dims;
    if ((*shape)->rank != 4 || dims[2] > 65536 || dims[3] > 65536)
        return tim_fail(err, TIM_E_FORMAT, "%s is no (B, C, H, W) with sides up to 65536", name);
    return TIM_OK;
}

static TimStatus check_channels(const TimStoredTensor *shape, int channels, TimError *err) {
    if (shape->dims[1] == (size_t)channels) return TIM_OK;
    return tim_fail(err, TIM_E_FORMAT, "%s has %zu channels, the network %d", shape->name, shape->dims[1], channels);
}

static TimStatus check_encoder(ParityFile *file, TimAutoencoder *a, TimError *err) {
    const TimAutoencoderConfig *config = tim_autoencoder_config(a);
    const TimStoredTensor *shape;
    float *x, *mean, *logvar;
    if (!has(file, "x")) return TIM_OK;
    TIM_TRY(get_input(file, "x", &x, &shape, err));
    TIM_TRY(check_channels(shape, tim_autoencoder_picture_channels(config, false), err));
    const size_t *dims = shape->dims, factor = (size_t)tim_autoencoder_factor(config);
    const size_t count = dims[0] * (size_t)tim_autoencoder_latent_channels(config) * (dims[2] / factor) * (dims[3] / factor);
    TIM_TRY(parity_new(file, &mean, count, sizeof *mean, err));
    TIM_TRY(parity_new(file, &logvar, count, sizeof *logvar, err));
    TIM_TRY(tim_autoencoder_encode(a, (int64_t)dims[0], (int)dims[2], (int)dims[3], x, mean, logvar, err));
    compare(file, config->kind == TIM_AUTOENCODER_DC ? "encoded" : "mean", mean, count);
    if (config->kind == TIM_AUTOENCODER_KL) compare(file, "logvar", logvar, count);
    return TIM_OK;
}

/* Compares the decoded latent `name` with `whole` and with `tiled`, whichever there are. */
static TimStatus check_decoder(ParityFile *file, TimAutoencoder *a, const char *name, const char *whole, const char *tiled,
                               TimError *err) {
    const TimAutoencoderConfig *config = tim_autoencoder_config(a);
    const TimStoredTensor *shape;
    TimTiling tiling;
    float *z, *x;
    if (!has(file, name)) return TIM_OK;
    TIM_TRY(get_input(file, name, &z, &shape, err));
    TIM_TRY(check_channels(shape, tim_autoencoder_latent_channels(config), err));
    const size_t *dims = shape->dims, factor = (size_t)tim_autoencoder_factor(config);
    const size_t count = dims[0] * (size_t)tim_autoencoder_picture_channels(config, true) * dims[2] * factor * dims[3] * factor;
    TIM_TRY(parity_new(file, &x, count, sizeof *x, err));
    TIM_TRY(get_tiling(file, a, &tiling, err));
    if (has(file, whole)) {
        TIM_TRY(tim_autoencoder_decode(a, (int64_t)dims[0], (int)dims[2], (int)dims[3], z, x, err));
        compare(file, whole, x, count);
    }
    if (has(file, tiled)) {
        TIM_TRY(tim_autoencoder_decode_tiled(a, &tiling, (int64_t)dims[0], (int)dims[2], (int)dims[3], z, x, err));
        compare(file, tiled, x, count);
    }
    return TIM_OK;
}

static TimStatus check_all(ParityFile *file, TimAutoencoder *a, TimError *err) {
    TIM_TRY(check_encoder(file, a, err));
    TIM_TRY(check_decoder(file, a, "z", "decoded", "decoded_tiled", err));
    return check_decoder(file, a, "big", "big_decoded", "big_tiled", err);
}

TimStatus check_autoencoder(ParityFile *file, TimError *err) {
    TimAutoencoder *a;
    TIM_TRY(make(file, &a, err));
    TimStatus status = tim_autoencoder_set_weights(a, read_hash, NULL, err);
    if (status == TIM_OK) status = check_all(file, a, err);
    tim_autoencoder_close(a);
    return status;
}

/* ---- folders ---- */

static const char suffix[] = "_tiny";

/* The folder of file->path, and beside it the golden file of the same network. */
static TimStatus find_places(ParityFile *file, char **folder, char **golden, TimError *err) {
    const size_t size = strlen(file->path) + sizeof ".safetensors";
    TIM_TRY(parity_new(file, folder, size, 1, err));
    TIM_TRY(parity_new(file, golden, size, 1, err));
    const char *slash = strrchr(file->path, '/');
    snprintf(*folder, size, "%.*s", slash ? (int)(slash - file->path) : 0, file->path);
    snprintf(*golden, size, "%.*s.safetensors", (int)(strlen(*folder) - strlen(suffix)), *folder);
    return TIM_OK;
}

static TimStatus check_folder(ParityFile *file, const char *folder, ParityFile *golden, TimError *err) {
    TimAutoencoderOptions options;
    TimAutoencoder *a;
    TIM_TRY(get_options(golden, &options, err));
    if (!golden->path) options.encoder = options.decoder = true;
    TIM_TRY(tim_autoencoder_open(&a, folder, &options, err));
    for (size_t i = 0; i < file->tensors.count; i++) file->used[i] = true; /* opening is strict */
    const TimStatus status = golden->path ? check_all(golden, a, err) : TIM_OK;
    if (!golden->path) parity_report(file, "-", 0, 0);
    tim_autoencoder_close(a);
    return status;
}

TimStatus check_autoencoder_folder(ParityFile *file, TimError *err) {
    char *folder, *path;
    struct stat info;
    ParityFile golden = {.run = file->run, .name = file->name};
    TIM_TRY(find_places(file, &folder, &path, err));
    TimStatus status = stat(path, &info) == 0 ? parity_file_open(&golden, file->run, path, file->name, err) : TIM_OK;
    if (status == TIM_OK) status = check_folder(file, folder, &golden, err);
    parity_file_close(&golden);
    return status;
}
