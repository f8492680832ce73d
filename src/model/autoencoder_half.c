#include "model/autoencoder_half.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "base/text.h"

/* ---- shapes ---- */

int tim_half_in_channels(const TimHalf *half) {
    return half->decoder ? tim_autoencoder_latent_channels(half->config) : tim_autoencoder_picture_channels(half->config, false);
}

int tim_half_out_channels(const TimHalf *half) {
    if (half->decoder) return tim_autoencoder_picture_channels(half->config, true);
    return tim_autoencoder_latent_channels(half->config) * (half->config->kind == TIM_AUTOENCODER_KL ? 2 : 1);
}

static TimMap network(TimTape *tape, const TimHalf *half, TimMap x) {
    const TimAutoencoderConfig *c = half->config;
    if (c->kind == TIM_AUTOENCODER_KL) return half->decoder ? tim_kl_decoder(tape, &c->kl, x) : tim_kl_encoder(tape, &c->kl, x);
    return half->decoder ? tim_dc_decoder(tape, &c->dc, x) : tim_dc_encoder(tape, &c->dc, x);
}

/* ---- tapes ---- */

static TimMap coarse(TimHalfTape *t, const TimHalf *half, TimMap x) {
    const TimAutoencoderConfig *c = half->config;
    return c->kind == TIM_AUTOENCODER_KL ? tim_kl_decoder_before(t->tape, &c->kl, t->shape.stage, x)
                                         : tim_dc_decoder_coarse(t->tape, &c->dc, x);
}

static TimRef record_from_pictures(TimHalfTape *t, const TimHalf *half) {
    const TimHalfShape *s = &t->shape;
    const int channels = tim_half_in_channels(half);
    t->in = tim_tape_input(t->tape, TIM_F32, s->batch, (int64_t)channels * s->height * s->width, false);
    const TimMap x = tim_map_of_pictures(t->tape, t->in, channels, s->height, s->width);
    if (s->part == TIM_HALF_COARSE) return coarse(t, half, x).x;
    return tim_pictures_of_map(t->tape, network(t->tape, half, x));
}

/* The last local part ends in pictures. */
static TimRef record_fine(TimHalfTape *t, const TimHalf *half) {
    const TimAutoencoderConfig *c = half->config;
    const TimHalfShape *s = &t->shape;
    const bool kl = c->kind == TIM_AUTOENCODER_KL;
    const int channels = kl ? tim_kl_stage_channels(&c->kl, s->stage - 1) : c->dc.decoder[tim_dc_fine_stages(&c->dc)].channels;
    t->in = tim_tape_input(t->tape, TIM_F32, s->batch * s->height * s->width, channels, false);
    const TimMap x = {t->in, s->height, s->width};
    const TimMap y = kl ? tim_kl_decoder_stage(t->tape, &c->kl, s->stage, x, &t->norms) : tim_dc_decoder_fine(t->tape, &c->dc, x);
    return kl && s->stage + 1 < c->kl.stages ? y.x : tim_pictures_of_map(t->tape, y);
}

static TimStatus record(TimHalfTape *t, TimHalf *half, TimError *err) {
    const TimTapeOptions options = {.isa = half->options.isa,
                                    .threads = half->options.threads,
                                    .samples = t->shape.batch,
                                    .product = half->options.bf16 ? TIM_BF16 : TIM_F32,
                                    .dry = t->dry};
    TIM_TRY(tim_tape_new(&t->tape, &options, &half->params, err));
    t->out = t->shape.part == TIM_HALF_FINE ? record_fine(t, half) : record_from_pictures(t, half);
    tim_tape_keep(t->tape, t->out, false);
    return tim_tape_plan(t->tape, err);
}

static void drop(TimHalfTape *t) {
    tim_tape_free(t->tape);
    *t = (TimHalfTape){0};
}

TimStatus tim_half_bytes(TimHalf *half, const TimHalfShape *shape, size_t *bytes, TimError *err) {
    TimHalfTape t = {.shape = *shape, .dry = true};
    const TimStatus status = record(&t, half, err);
    if (status == TIM_OK) *bytes = tim_tape_bytes(t.tape);
    drop(&t);
    return status;
}

TimStatus tim_half_whole_bytes(TimHalf *half, int height, int width, size_t *bytes, TimError *err) {
    return tim_half_bytes(half, &(TimHalfShape){.batch = 1, .height = height, .width = width}, bytes, err);
}

/* A place for a new tape: the one used longest ago goes when there are as many as may be. */
static TimHalfTape *make_place(TimHalf *half) {
    for (;;) {
        TimHalfTape *oldest = NULL, *empty = NULL;
        int count = 0;
        for (int i = 0; i < TIM_HALF_TAPES; i++) {
            TimHalfTape *t = &half->tapes[i];
            count += t->tape != NULL;
            if (!t->tape) empty = t;
            if (t->tape && (!oldest || t->used < oldest->used)) oldest = t;
        }
        if (count < half->keep) return empty;
        drop(oldest);
    }
}

static bool same_shape(const TimHalfShape *a, const TimHalfShape *b) {
    return a->part == b->part && a->stage == b->stage && a->batch == b->batch && a->height == b->height && a->width == b->width;
}

TimStatus tim_half_tape(TimHalf *half, const TimHalfShape *shape, const TimHalfTape **out, TimError *err) {
    for (int i = 0; i < TIM_HALF_TAPES; i++) {
        TimHalfTape *t = &half->tapes[i];
        if (!t->tape || !same_shape(&t->shape, shape)) continue;
        t->used = ++half->clock;
        *out = t;
        return TIM_OK;
    }
    TimHalfTape *t = make_place(half);
    *t = (TimHalfTape){.shape = *shape, .used = ++half->clock};
    TimStatus status = record(t, half, err);
    if (status == TIM_OK) status = tim_tape_bind(t->tape, &half->bound, NULL, err);
    if (status != TIM_OK) drop(t);
    *out = t;
    return status;
}

/* ---- weights ---- */

/* True for the weights of products, which bf16 rounds; vectors stay f32. */
static bool is_matrix(const TimParam *param) {
    return param->rank > 1;
}

static TimStatus make_room(TimHalf *half, TimError *err) {
    size_t wide = 0, narrow = 0;
    for (size_t i = 0; i < half->params.count; i++)
        *(half->options.bf16 && is_matrix(&half->params.items[i]) ? &narrow : &wide) +=
            tim_whole_lines(half->params.items[i].count);
    char all[TIM_BYTES_TEXT], most[TIM_BYTES_TEXT];
    const size_t bytes = wide * sizeof *half->f32 + narrow * sizeof *half->bf16;
    if (half->options.max_copy_bytes && bytes > half->options.max_copy_bytes)
        return tim_fail(err, TIM_E_MEMORY, "its weights take %s, and the run may have %s; allow more", tim_bytes_text(all, bytes),
                        tim_bytes_text(most, half->options.max_copy_bytes));
    TIM_TRY(tim_new(&half->f32, wide, sizeof *half->f32, "the autoencoder's weights", err));
    TIM_TRY(tim_new(&half->bf16, narrow, sizeof *half->bf16, "the autoencoder's weights", err));
    TIM_TRY(tim_weights_new(&half->bound, half->params.count, err));
    half->weight_bytes = bytes;
    wide = narrow = 0;
    for (size_t i = 0; i < half->params.count; i++) {
        const TimParam *p = &half->params.items[i];
        if (half->options.bf16 && is_matrix(p))
            half->bound.bf16[i] = half->bf16 + narrow, narrow += tim_whole_lines(p->count);
        else
            half->bound.f32[i] = half->f32 + wide, wide += tim_whole_lines(p->count);
    }
    return TIM_OK;
}

/* The parameters are known once the network has been recorded, for the smallest picture there is. */
static TimStatus find_params(TimHalf *half, TimError *err) {
    const int side = half->decoder ? 1 : tim_autoencoder_factor(half->config);
    TimHalfTape t = {.shape = {.batch = 1, .height = side, .width = side}, .dry = true};
    const TimStatus status = record(&t, half, err);
    drop(&t);
    return status;
}

TimStatus tim_half_init(TimHalf *half, const TimAutoencoderConfig *config, const TimAutoencoderOptions *options, bool decoder,
                        TimError *err) {
    *half = (TimHalf){.config = config, .options = *options, .decoder = decoder, .keep = 1};
    return find_params(half, err);
}

void tim_half_rest(TimHalf *half) {
    for (int i = 0; i < TIM_HALF_TAPES; i++) drop(&half->tapes[i]);
}

void tim_half_done(TimHalf *half) {
    tim_half_rest(half);
    tim_weights_done(&half->bound);
    tim_params_done(&half->params);
    tim_free(half->f32);
    tim_free(half->bf16);
    *half = (TimHalf){0};
}

static void store(TimHalf *half, size_t index, const float *values) {
    const TimParam *p = &half->params.items[index];
    if (half->bound.f32[index]) {
        memcpy(half->f32 + (half->bound.f32[index] - half->f32), values, p->count * sizeof *values);
        return;
    }
    tim_bf16_round_all(half->bf16 + (half->bound.bf16[index] - half->bf16), values, p->count);
}

typedef struct Source {
    TimAutoencoderRead read;
    void *from;
} Source;

static TimStatus read_param(float *out, Source s, const TimParam *p, TimError *err) {
    size_t dims[TIM_PARAM_MAX_RANK];
    tim_param_dims(p, dims);
    return s.read(s.from, p->name, p->rank, dims, out, err);
}

/* The second convolution of a residual block has a bias only where a batch norm was folded into it. */
bool tim_half_is_folded(const TimHalf *half, const TimParam *p) {
    return half->config->kind == TIM_AUTOENCODER_DC && tim_ends_with(p->name, ".conv2.bias") &&
           strncmp(p->name, "decoder.up_blocks.", strlen("decoder.up_blocks.")) == 0;
}

enum { GAIN, BIAS, MEAN, VARIANCE, BN_PARTS };
static const char *const bn_parts[BN_PARTS] = {"norm.weight", "norm.bias", "norm.running_mean", "norm.running_var"};

/* gain (W x - mean) / sqrt(var + eps) + bias as one convolution; `kernel` holds W, `vectors` room for the four and the bias. */
static TimStatus fold(float *kernel, float *vectors, Source s, const TimParam *weight, TimError *err) {
    const int length = (int)(strlen(weight->name) - strlen("conv2.weight"));
    const size_t channels = (size_t)weight->rows;
    float *v[BN_PARTS];
    char name[192];
    for (int i = 0; i < BN_PARTS; i++) {
        v[i] = vectors + (size_t)i * channels;
        snprintf(name, sizeof name, "%.*s%s", length, weight->name, bn_parts[i]);
        TIM_TRY(s.read(s.from, name, 1, &channels, v[i], err));
    }
    for (size_t c = 0; c < channels; c++) {
        if (!(v[VARIANCE][c] >= 0))
            return tim_fail(err, TIM_E_FORMAT, "'%s' has %g for channel %zu; a variance is a number from 0 on", name,
                            (double)v[VARIANCE][c], c);
        const double scale = (double)v[GAIN][c] / sqrt((double)v[VARIANCE][c] + 1e-5);
        for (int64_t i = 0; i < weight->cols; i++)
            kernel[(int64_t)c * weight->cols + i] = (float)((double)kernel[(int64_t)c * weight->cols + i] * scale);
        vectors[BN_PARTS * channels + c] = (float)((double)v[BIAS][c] - (double)v[MEAN][c] * scale);
    }
    return TIM_OK;
}

/* `index` is a .conv2.weight, the parameter after it its .conv2.bias. */
static TimStatus set_folded(TimHalf *half, size_t index, float *kernel, Source s, TimError *err) {
    const TimParam *weight = &half->params.items[index];
    float *vectors;
    TIM_TRY(tim_new(&vectors, (size_t)weight->rows, (BN_PARTS + 1) * sizeof *vectors, "a batch norm", err));
    const TimStatus status = fold(kernel, vectors, s, weight, err);
    if (status == TIM_OK) {
        store(half, index, kernel);
        store(half, index + 1, vectors + BN_PARTS * (size_t)weight->rows);
    }
    tim_free(vectors);
    return status;
}

static TimStatus set_param(TimHalf *half, size_t index, float *values, Source s, TimError *err) {
    const TimParam *p = &half->params.items[index];
    if (tim_half_is_folded(half, p)) return TIM_OK; /* comes with its weight */
    TIM_TRY(read_param(values, s, p, err));
    if (index + 1 < half->params.count && tim_half_is_folded(half, p + 1)) return set_folded(half, index, values, s, err);
    store(half, index, values);
    return TIM_OK;
}

TimStatus tim_half_set_weights(TimHalf *half, TimAutoencoderRead read, void *from, TimError *err) {
    size_t most = 0;
    float *values;
    if (!half->f32) TIM_TRY(make_room(half, err));
    for (size_t i = 0; i < half->params.count; i++)
        if (half->params.items[i].count > most) most = half->params.items[i].count;
    TIM_TRY(tim_new(&values, most, sizeof *values, "a tensor of the autoencoder", err));
    TimStatus status = TIM_OK;
    for (size_t i = 0; status == TIM_OK && i < half->params.count; i++)
        status = set_param(half, i, values, (Source){read, from}, err);
    tim_free(values);
    return status;
}

/* ---- running ---- */

TimStatus tim_half_run(TimHalf *half, int64_t batch, int height, int width, const float *in, float *out, TimError *err) {
    const TimHalfTape *t;
    TIM_TRY(tim_half_tape(half, &(TimHalfShape){.batch = batch, .height = height, .width = width}, &t, err));
    const TimMatrix x = tim_tape_value(t->tape, t->in), y = tim_tape_value(t->tape, t->out);
    memcpy(x.data, in, (size_t)(x.rows * x.cols) * sizeof *in);
    tim_tape_forward(t->tape, false);
    memcpy(out, y.data, (size_t)(y.rows * y.cols) * sizeof *out);
    return TIM_OK;
}
