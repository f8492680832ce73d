#include "model/autoencoder.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "io/tensor_set.h"
#include "model/autoencoder_half.h"
#include "model/old_names.h"
#include "model/store.h"

#define CONFIG_FILE "config.json"

/* ---- one ---- */

struct TimAutoencoder {
    TimAutoencoderConfig config;
    TimAutoencoderOptions options;
    TimHalf encoder, decoder;
};

static TimStatus fill(TimAutoencoder *a, TimError *err) {
    if (a->options.encoder) TIM_TRY(tim_half_init(&a->encoder, &a->config, &a->options, false, err));
    if (a->options.decoder) TIM_TRY(tim_half_init(&a->decoder, &a->config, &a->options, true, err));
    return TIM_OK;
}

TimStatus tim_autoencoder_new(TimAutoencoder **out, const TimAutoencoderConfig *config, const TimAutoencoderOptions *options,
                              TimError *err) {
    TIM_TRY(tim_new(out, 1, sizeof **out, "an autoencoder", err));
    (*out)->config = *config;
    (*out)->options = *options;
    const TimStatus status = fill(*out, err);
    if (status == TIM_OK) return TIM_OK;
    tim_autoencoder_close(*out);
    *out = NULL;
    return status;
}

void tim_autoencoder_close(TimAutoencoder *a) {
    if (!a) return;
    tim_half_done(&a->encoder);
    tim_half_done(&a->decoder);
    tim_free(a);
}

const TimAutoencoderConfig *tim_autoencoder_config(const TimAutoencoder *a) {
    return &a->config;
}

TimStatus tim_autoencoder_set_weights(TimAutoencoder *a, TimAutoencoderRead read, void *from, TimError *err) {
    if (a->options.encoder) TIM_TRY(tim_half_set_weights(&a->encoder, read, from, err));
    if (a->options.decoder) TIM_TRY(tim_half_set_weights(&a->decoder, read, from, err));
    return TIM_OK;
}

/* ---- running ---- */

static TimStatus check(const TimAutoencoder *a, const TimHalf *half, int64_t batch, int height, int width, TimError *err) {
    enum { MAX_SIDE = 1 << 16 };
    const int factor = tim_autoencoder_factor(&a->config), step = half == &a->decoder ? 1 : factor;
    if (!half->params.count)
        return tim_fail(err, TIM_E_ARGUMENT, "the autoencoder was opened without its %s", step == 1 ? "decoder" : "encoder");
    if (batch > 0 && height > 0 && width > 0 && height % step == 0 && width % step == 0 && height <= MAX_SIDE && width <= MAX_SIDE)
        return TIM_OK;
    return tim_fail(err, TIM_E_ARGUMENT, "%lld pictures of %d x %d: the sides must be positive multiples of %d, at most %d",
                    (long long)batch, height, width, step, MAX_SIDE);
}

static TimStatus run(TimHalf *half, const TimTiling *tiling, int64_t batch, int height, int width, const float *in, float *out,
                     TimError *err) {
    return tiling ? tim_half_run_tiled(half, tiling, batch, height, width, in, out, err)
                  : tim_half_run(half, batch, height, width, in, out, err);
}

/* moments (B, 2 c, n) -> mean and logvar (B, c, n) */
static void split_moments(const float *moments, int64_t batch, int64_t count, float *mean, float *logvar) {
    for (int64_t b = 0; b < batch; b++) {
        memcpy(mean + b * count, moments + 2 * b * count, (size_t)count * sizeof *mean);
        for (int64_t i = 0; logvar && i < count; i++)
            logvar[b * count + i] = fminf(fmaxf(moments[(2 * b + 1) * count + i], -30), 20);
    }
}

static TimStatus encode(TimAutoencoder *a, const TimTiling *tiling, int64_t batch, int height, int width, const float *x,
                        float *mean, float *logvar, TimError *err) {
    TIM_TRY(check(a, &a->encoder, batch, height, width, err));
    if (a->config.kind == TIM_AUTOENCODER_DC) return run(&a->encoder, tiling, batch, height, width, x, mean, err);
    const int factor = tim_autoencoder_factor(&a->config);
    const int64_t count = (int64_t)a->config.kl.latent_channels * (height / factor) * (width / factor);
    float *moments;
    TIM_TRY(tim_new(&moments, (size_t)(batch * count), 2 * sizeof *moments, "mean and variance of latents", err));
    const TimStatus status = run(&a->encoder, tiling, batch, height, width, x, moments, err);
    if (status == TIM_OK) split_moments(moments, batch, count, mean, logvar);
    tim_free(moments);
    return status;
}

TimStatus tim_autoencoder_encode(TimAutoencoder *a, int64_t batch, int height, int width, const float *x, float *mean,
                                 float *logvar, TimError *err) {
    return encode(a, NULL, batch, height, width, x, mean, logvar, err);
}

TimStatus tim_autoencoder_encode_tiled(TimAutoencoder *a, const TimTiling *tiling, int64_t batch, int height, int width,
                                       const float *x, float *mean, float *logvar, TimError *err) {
    return encode(a, tiling, batch, height, width, x, mean, logvar, err);
}

TimStatus tim_autoencoder_decode(TimAutoencoder *a, int64_t batch, int height, int width, const float *z, float *x, TimError *err) {
    TIM_TRY(check(a, &a->decoder, batch, height, width, err));
    return run(&a->decoder, NULL, batch, height, width, z, x, err);
}

void tim_autoencoder_rest(TimAutoencoder *a) {
    if (!a) return;
    tim_half_rest(&a->encoder);
    tim_half_rest(&a->decoder);
}

/* ---- strips ---- */

/* Whether there is anything to cut. */
static bool has_strips(const TimAutoencoderConfig *c) {
    return c->kind == TIM_AUTOENCODER_KL ? c->kl.stages > 1 : tim_dc_fine_stages(&c->dc) > 0;
}

/* Rows of the picture for one of the map that is cut. */
static int strip_scale(const TimAutoencoderConfig *c, int stage) {
    return c->kind == TIM_AUTOENCODER_KL ? tim_kl_stage_scale(&c->kl, stage) : tim_dc_fine_scale(&c->dc);
}

static TimStatus strips_bytes(TimAutoencoder *a, const TimStrips *s, int height, int width, size_t *bytes, TimError *err) {
    if (a->config.kind == TIM_AUTOENCODER_KL)
        return tim_half_kl_strips_bytes(&a->decoder, s->stage, s->rows, height, width, bytes, err);
    return tim_half_strips_bytes(&a->decoder, tim_strip_rows(s->rows, strip_scale(&a->config, 0)), height, width, bytes, err);
}

/* Rows of the map that is cut which a strip sees above and below. */
static int strip_halo(const TimAutoencoderConfig *c, int stage) {
    return c->kind == TIM_AUTOENCODER_KL ? tim_kl_stage_halo(&c->kl, stage) : tim_dc_fine_halo(&c->dc);
}

/* From the whole picture's half down to `least` rows of the map, as long as it helps and is needed; `best` and `bytes` are the best
 * that is known. */
static TimStatus halve_strips(TimAutoencoder *a, int stage, int least, int height, int width, size_t most, TimStrips *best,
                              size_t *bytes, TimError *err) {
    const int scale = strip_scale(&a->config, stage);
    size_t last = SIZE_MAX;
    for (int rows = height * tim_autoencoder_factor(&a->config) / scale; *bytes > most && rows > least;) {
        size_t now;
        rows = (rows + 1) / 2;
        const TimStrips next = {.rows = rows * scale, .stage = stage};
        TIM_TRY(strips_bytes(a, &next, height, width, &now, err));
        if (now >= last) break; /* what is not cut is what it takes */
        last = now;
        if (now < *bytes) *best = next, *bytes = now;
    }
    return TIM_OK;
}

/* Strips that see twice their own rows at most, in as few stages as do; then all others. */
TimStatus tim_autoencoder_find_strips(TimAutoencoder *a, int height, int width, size_t most, TimStrips *strips, size_t *bytes,
                                      TimError *err) {
    TIM_TRY(check(a, &a->decoder, 1, height, width, err));
    *strips = (TimStrips){0};
    TIM_TRY(tim_half_whole_bytes(&a->decoder, height, width, bytes, err));
    if (!has_strips(&a->config)) return TIM_OK;
    const bool kl = a->config.kind == TIM_AUTOENCODER_KL;
    for (int narrow = 0; narrow < 2; narrow++)
        for (int stage = kl ? a->config.kl.stages - 1 : 0; *bytes > most && stage >= kl; stage--)
            TIM_TRY(
                halve_strips(a, stage, narrow ? 1 : 4 * strip_halo(&a->config, stage), height, width, most, strips, bytes, err));
    return TIM_OK;
}

TimStatus tim_autoencoder_decode_strips(TimAutoencoder *a, const TimStrips *strips, int64_t batch, int height, int width,
                                        const float *z, float *x, TimError *err) {
    TIM_TRY(check(a, &a->decoder, batch, height, width, err));
    if (!has_strips(&a->config))
        return tim_fail(err, TIM_E_UNSUPPORTED,
                        "this autoencoder has no stages that can run in strips; decode the picture whole or in tiles");
    if (a->config.kind == TIM_AUTOENCODER_DC)
        return tim_half_run_strips(&a->decoder, tim_strip_rows(strips->rows, strip_scale(&a->config, 0)), batch, height, width, z,
                                   x, err);
    if (strips->stage < 1 || strips->stage >= a->config.kl.stages)
        return tim_fail(err, TIM_E_ARGUMENT, "strips from up block %d on; give 1 to %d", strips->stage, a->config.kl.stages - 1);
    return tim_half_run_kl_strips(&a->decoder, strips->stage, strips->rows, batch, height, width, z, x, err);
}

TimStatus tim_autoencoder_decode_tiled(TimAutoencoder *a, const TimTiling *tiling, int64_t batch, int height, int width,
                                       const float *z, float *x, TimError *err) {
    TIM_TRY(check(a, &a->decoder, batch, height, width, err));
    return run(&a->decoder, tiling, batch, height, width, z, x, err);
}

TimStatus tim_autoencoder_tiled_bytes(TimAutoencoder *a, bool decoder, const TimTiling *tiling, int height, int width,
                                      size_t *bytes, TimError *err) {
    TimHalf *half = decoder ? &a->decoder : &a->encoder;
    TIM_TRY(check(a, half, 1, height, width, err));
    return tim_half_tiled_bytes(half, tiling, height, width, bytes, err);
}

static size_t half_bytes(const TimHalf *half) {
    size_t bytes = half->weight_bytes;
    for (int i = 0; i < TIM_HALF_TAPES; i++)
        if (half->tapes[i].tape) bytes += tim_tape_bytes(half->tapes[i].tape);
    return bytes;
}

TimStatus tim_autoencoder_encode_bytes(TimAutoencoder *a, int height, int width, size_t *bytes, TimError *err) {
    return tim_half_whole_bytes(&a->encoder, height, width, bytes, err);
}

size_t tim_autoencoder_bytes(const TimAutoencoder *a) {
    return half_bytes(&a->encoder) + half_bytes(&a->decoder);
}

size_t tim_autoencoder_weight_bytes(const TimAutoencoder *a) {
    return a->encoder.weight_bytes + a->decoder.weight_bytes;
}

static void measure_half(const TimHalf *half, TimTapeTimes *times) {
    for (int i = 0; i < TIM_HALF_TAPES; i++)
        if (half->tapes[i].tape) tim_tape_measure(half->tapes[i].tape, times);
}

void tim_autoencoder_measure(TimAutoencoder *a, TimTapeTimes *times) {
    measure_half(&a->encoder, times);
    measure_half(&a->decoder, times);
}

/* ---- files ---- */

/* A TimAutoencoderRead from an open TimTensorSet. */
static TimStatus read_stored(void *from, const char *name, int rank, const size_t *dims, float *out, TimError *err) {
    const TimTensorSet *file = from;
    char old[TIM_OLD_NAME_BYTES];
    const TimStoredTensor *tensor = tim_tensor_set_find(file, name);
    if (!tensor) tensor = tim_tensor_set_find(file, tim_old_name(old, name));
    const TimWantedTensor wanted = {
        name, rank, dims, CONFIG_FILE, "does " CONFIG_FILE " belong to these weights?", "do the two belong together?"};
    TIM_TRY(tim_stored_check(tensor, &wanted, file->count, err));
    return tim_safetensors_read_f32(tensor, out, tensor->count, err);
}

static bool starts_with(const char *text, const char *start) {
    return strncmp(text, start, strlen(start)) == 0;
}

/* The half whose tensor it would be, or NULL for a half that is not open. What belongs to neither is looked for in one that is. */
static const TimHalf *half_of(const TimAutoencoder *a, const char *name) {
    const bool decoder = starts_with(name, "decoder.") || starts_with(name, "post_quant_conv."),
               encoder = starts_with(name, "encoder.") || starts_with(name, "quant_conv.");
    const TimHalf *half = decoder ? &a->decoder : &a->encoder;
    if (!decoder && !encoder && !half->params.count) half = &a->decoder;
    return half->params.count ? half : NULL;
}

static bool has_param(const TimHalf *half, const char *name) {
    const int i = tim_params_find(&half->params, name);
    return i >= 0 && !tim_half_is_folded(half, &half->params.items[i]);
}

/* True for the parts of a batch norm that is folded into <block>.conv2. */
static bool is_batch_norm(const TimHalf *half, const char *name) {
    static const char *const parts[] = {".norm.weight", ".norm.bias", ".norm.running_mean", ".norm.running_var",
                                        ".norm.num_batches_tracked"};
    char bias[192];
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        const size_t length = strlen(name), tail = strlen(parts[i]);
        if (length < tail || length - tail > 128 || strcmp(name + length - tail, parts[i]) != 0) continue;
        snprintf(bias, sizeof bias, "%.*s.conv2.bias", (int)(length - tail), name);
        return tim_params_find(&half->params, bias) >= 0;
    }
    return false;
}

static TimStatus check_known(const TimAutoencoder *a, const TimTensorSet *file, TimError *err) {
    char shape[TIM_SHAPE_TEXT], modern[TIM_OLD_NAME_BYTES];
    for (size_t i = 0; i < file->count; i++) {
        const TimStoredTensor *t = &file->tensors[i];
        const TimHalf *half = half_of(a, t->name);
        if (!half || has_param(half, tim_modern_name(modern, t->name)) || is_batch_norm(half, t->name)) continue;
        return tim_fail(err, TIM_E_FORMAT,
                        "the tensor '%s' %s belongs to no layer of the network; does " CONFIG_FILE " belong to these weights?",
                        t->name, tim_shape_text(shape, t->rank, t->dims));
    }
    return TIM_OK;
}

/* Before room is made for what a configuration asks for: the file has most of it. A tensor that is missing is named later. */
static TimStatus check_count(const TimAutoencoder *a, const TimTensorSet *file, TimError *err) {
    size_t stored = 0;
    for (size_t i = 0; i < file->count; i++) stored += file->tensors[i].count;
    const size_t wanted = a->encoder.params.elements + a->decoder.params.elements;
    if (stored >= wanted / 2) return TIM_OK;
    return tim_fail(err, TIM_E_FORMAT, "%zu numbers, where " CONFIG_FILE " asks for %zu; do they belong together?", stored, wanted);
}

/* The only place that knows what holds the tensors. */
static TimStatus read_weights(TimAutoencoder *a, const char *folder, TimError *err) {
    TimTensorSet file;
    TIM_TRY(tim_tensor_set_open_weights(&file, folder, err));
    TimStatus status = check_known(a, &file, err);
    if (status == TIM_OK) status = check_count(a, &file, err);
    if (status == TIM_OK) status = tim_autoencoder_set_weights(a, read_stored, &file, err);
    if (status != TIM_OK) tim_tensor_set_fail(&file, status, err);
    tim_tensor_set_close(&file);
    return status;
}

static TimStatus open_folder(TimAutoencoder **out, const char *config_path, const char *folder,
                             const TimAutoencoderOptions *options, TimError *err) {
    TimAutoencoderConfig config;
    TIM_TRY(tim_autoencoder_config_read(&config, config_path, err));
    const TimStatus made = tim_autoencoder_new(out, &config, options, err);
    if (made != TIM_OK) return tim_fail_within(err, made, "%s", config_path);
    const TimStatus status = read_weights(*out, folder, err);
    if (status == TIM_OK) return TIM_OK;
    tim_autoencoder_close(*out);
    *out = NULL;
    return status;
}

TimStatus tim_autoencoder_open(TimAutoencoder **out, const char *folder, const TimAutoencoderOptions *options, TimError *err) {
    char *config = NULL;
    *out = NULL;
    TimStatus status = tim_path_at(&config, folder, CONFIG_FILE, err);
    if (status == TIM_OK) status = open_folder(out, config, folder, options, err);
    tim_free(config);
    return status;
}
