#include "model/autoencoder_dc.h"

#include "nn/layers.h"

enum { MAX_CHANNELS = 16384, EXPANSION = 4 /* of the gated MLP */ };

/* ---- configuration ---- */

/* The keys of one half, and what they are without them. */
typedef struct HalfKeys {
    const char *types, *channels, *layers, *scales;
} HalfKeys;

static TimStatus read_scales(TimDcStage *stages, int count, const json_t *value, const char *key, TimError *err) {
    if (!value) return TIM_OK;
    if (!json_is_array(value) || json_array_size(value) != (size_t)count)
        return tim_diffusers_refuse(key, value, "a list with a list for each stage", err);
    for (int i = 0; i < count; i++) {
        TimDcStage *s = &stages[i];
        TIM_TRY(
            tim_diffusers_list(json_array_get(value, (size_t)i), key, 1, 99, TIM_DC_MAX_SCALES, s->scales, &s->scale_count, err));
        for (int k = 0; k < s->scale_count; k++)
            if (s->scales[k] % 2 == 0) return tim_diffusers_refuse(key, value, "lists of odd numbers", err);
    }
    return TIM_OK;
}

static TimStatus read_half(TimDcStage stages[TIM_DC_MAX_STAGES], int *count, TimDiffusersConfig *config, const HalfKeys *keys,
                           TimError *err) {
    static const char *const types[] = {"ResBlock", "EfficientViTBlock", NULL};
    int channels[TIM_DC_MAX_STAGES] = {128, 256, 512, 512, 1024, 1024}, layers[TIM_DC_MAX_STAGES], layer_count = 6;
    int vit[TIM_DC_MAX_STAGES] = {0};
    *count = 6;
    for (int i = 0; i < 6; i++) layers[i] = stages[i].layers;
    TIM_TRY(tim_diffusers_ints(config, keys->channels, 1, MAX_CHANNELS, TIM_DC_MAX_STAGES, channels, count, err));
    TIM_TRY(tim_diffusers_ints(config, keys->layers, 0, 64, TIM_DC_MAX_STAGES, layers, &layer_count, err));
    if (*count < 2 || layer_count != *count)
        return tim_fail(err, TIM_E_FORMAT, "'%s' has %d numbers and '%s' %d; both have one for each of at least two stages",
                        keys->channels, *count, keys->layers, layer_count);
    TIM_TRY(tim_diffusers_names(config, keys->types, types, *count, vit, err));
    TIM_TRY(read_scales(stages, *count, tim_diffusers_get(config, keys->scales), keys->scales, err));
    for (int i = 0; i < *count; i++) stages[i].channels = channels[i], stages[i].layers = layers[i], stages[i].vit = vit[i];
    return TIM_OK;
}

static TimStatus read_decoder_styles(TimDcConfig *dc, TimDiffusersConfig *config, TimError *err) {
    static const char *const norms[] = {"rms_norm", "batch_norm", NULL}, *const acts[] = {"silu", "relu", NULL};
    int norm[TIM_DC_MAX_STAGES] = {0}, act[TIM_DC_MAX_STAGES] = {0};
    TIM_TRY(tim_diffusers_names(config, "decoder_norm_types", norms, dc->stages, norm, err));
    TIM_TRY(tim_diffusers_names(config, "decoder_act_fns", acts, dc->stages, act, err));
    for (int i = 0; i < dc->stages; i++) {
        TimDcStage *s = &dc->decoder[i];
        s->batch_norm = norm[i], s->relu = act[i];
        if (s->vit && s->batch_norm)
            return tim_fail(
                err, TIM_E_UNSUPPORTED,
                "'decoder_norm_types' is \"batch_norm\" for stage %d of EfficientViT blocks; this library runs them with "
                "\"rms_norm\"",
                i);
    }
    return TIM_OK;
}

/* The shortcuts copy or average whole channels. */
static TimStatus check_half(const TimDcConfig *dc, const TimDcStage *s, const char *half, TimError *err) {
    for (int i = 0; i < dc->stages; i++) {
        const int fine = s[i].channels, coarse = i + 1 < dc->stages ? s[i + 1].channels : dc->latent_channels;
        const bool last = i + 1 == dc->stages;
        if (last ? fine % coarse : (4 * fine) % coarse || coarse % 4 || fine % 4)
            return tim_fail(err, TIM_E_UNSUPPORTED,
                            "'%s_block_out_channels' go from %d to %d at stage %d; shortcuts need multiples of four where four "
                            "times the first is a multiple of the second, and the last a multiple of 'latent_channels'",
                            half, fine, coarse, i);
        if (s[i].vit && s[i].channels % dc->head_width)
            return tim_fail(err, TIM_E_UNSUPPORTED, "'attention_head_dim' is %d, which does not divide the %d channels of stage %d",
                            dc->head_width, s[i].channels, i);
    }
    if (s[dc->stages - 1].layers == 0)
        return tim_fail(err, TIM_E_UNSUPPORTED, "'%s_layers_per_block' ends with 0; the coarsest stage has a layer at least", half);
    return TIM_OK;
}

TimStatus tim_dc_config_read(TimDcConfig *dc, TimDiffusersConfig *config, TimError *err) {
    static const HalfKeys encoder = {"encoder_block_types", "encoder_block_out_channels", "encoder_layers_per_block",
                                     "encoder_qkv_multiscales"},
                          decoder = {"decoder_block_types", "decoder_block_out_channels", "decoder_layers_per_block",
                                     "decoder_qkv_multiscales"};
    static const char *const downs[] = {"Conv", "pixel_unshuffle", NULL}, *const ups[] = {"interpolate", "pixel_shuffle", NULL};
    int down = 1, up = 1, stages;
    *dc = (TimDcConfig){.in_channels = 3, .latent_channels = 32, .head_width = 32, .scaling_factor = 1};
    for (int i = 0; i < 6; i++) {
        dc->encoder[i] = (TimDcStage){.layers = i < 3 ? 2 : 3, .scales = {5}, .scale_count = i >= 3};
        dc->decoder[i] = (TimDcStage){.layers = 3, .scales = {5}, .scale_count = i >= 3};
    }
    TIM_TRY(tim_diffusers_int(config, "in_channels", 1, 64, &dc->in_channels, err));
    TIM_TRY(tim_diffusers_int(config, "latent_channels", 1, 4096, &dc->latent_channels, err));
    TIM_TRY(tim_diffusers_int(config, "attention_head_dim", 1, 1024, &dc->head_width, err));
    TIM_TRY(tim_diffusers_number(config, "scaling_factor", &dc->scaling_factor, err));
    TIM_TRY(tim_diffusers_name(config, "downsample_block_type", downs, &down, err));
    TIM_TRY(tim_diffusers_name(config, "upsample_block_type", ups, &up, err));
    dc->unshuffle_down = down, dc->shuffle_up = up;
    TIM_TRY(read_half(dc->encoder, &dc->stages, config, &encoder, err));
    TIM_TRY(read_half(dc->decoder, &stages, config, &decoder, err));
    if (stages != dc->stages)
        return tim_fail(err, TIM_E_UNSUPPORTED, "the encoder has %d stages and the decoder %d; both need as many", dc->stages,
                        stages);
    TIM_TRY(read_decoder_styles(dc, config, err));
    TIM_TRY(check_half(dc, dc->encoder, "encoder", err));
    TIM_TRY(check_half(dc, dc->decoder, "decoder", err));
    return tim_diffusers_finish(config, err);
}

/* ---- parts ---- */

typedef struct Net {
    TimTape *tape;
    const TimDcConfig *dc;
    TimDtype product;
} Net;

static Net net_of(TimTape *tape, const TimDcConfig *dc) {
    return (Net){tape, dc, tim_tape_options(tape)->product};
}

static int64_t channels_of(const Net *n, TimMap x) {
    return tim_tape_shape(n->tape, x.x).cols;
}

/* A square window that keeps the sides. */
static TimWindowSpec window(int side) {
    return (TimWindowSpec){.kernel_h = side, .kernel_w = side, .pad_y = side / 2, .pad_x = side / 2};
}

/* 3 x 3 with a bias, f32 out. */
static TimMap convolve(const Net *n, TimMap x, int64_t channels, const char *name) {
    const TimConvolutionSpec spec = {
        .window = window(3), .out_channels = channels, .bias = true, .dtype = n->product, .out = TIM_F32};
    return tim_convolution(n->tape, x, &spec, name);
}

/* ---- residual block ---- */

/* x + norm(conv(act(conv(x)))) */
static TimMap residual_block(const Net *n, TimMap x, const TimDcStage *s, const char *name) {
    char at[TIM_NAME_BYTES];
    const TimConvolutionSpec first = {
        .window = window(3), .out_channels = s->channels, .bias = true, .silu = !s->relu, .dtype = n->product, .out = n->product};
    const TimConvolutionSpec second = {.window = window(3),
                                       .out_channels = s->channels,
                                       .bias = s->batch_norm,
                                       .dtype = n->product,
                                       .out = s->batch_norm ? TIM_F32 : n->product};
    TimMap h = tim_convolution(n->tape, x, &first, tim_name(n->tape, at, "%s.conv1", name));
    if (s->relu) h = tim_relu(n->tape, h);
    h = tim_convolution(n->tape, h, &second, tim_name(n->tape, at, "%s.conv2", name));
    if (!s->batch_norm) return tim_channel_norm(n->tape, h, x.x, false, TIM_F32, tim_name(n->tape, at, "%s.norm", name));
    h.x = tim_add(n->tape, x.x, h.x, 1.0F);
    return h;
}

/* ---- EfficientViT block ---- */

static TimRef linear(const Net *n, TimRef x, int64_t features, const char *prefix, const char *suffix) {
    char at[TIM_NAME_BYTES];
    const TimLinearSpec spec = {.out_features = features, .init = TIM_INIT_XAVIER, .dtype = n->product, .out = n->product};
    return tim_linear(n->tape, x, &spec, tim_name(n->tape, at, "%s.%s", prefix, suffix));
}

/* q, k and v of a pixel as they are, and aggregated over windows: depthwise, then each head's part by itself. */
static TimMap aggregate(const Net *n, TimMap qkv, int side, int index, const char *name) {
    char at[TIM_NAME_BYTES];
    const int64_t channels = channels_of(n, qkv);
    const TimConvolutionSpec depthwise = {
        .window = window(side), .out_channels = channels, .groups = (int)channels, .dtype = n->product, .out = n->product};
    const TimConvolutionSpec pointwise = {.window = window(1),
                                          .out_channels = channels,
                                          .groups = (int)channels / n->dc->head_width,
                                          .dtype = n->product,
                                          .out = n->product};
    tim_name(n->tape, at, "%s.to_qkv_multiscale.%d.proj_in", name, index);
    qkv = tim_convolution(n->tape, qkv, &depthwise, at);
    tim_name(n->tape, at, "%s.to_qkv_multiscale.%d.proj_out", name, index);
    return tim_convolution(n->tape, qkv, &pointwise, at);
}

/* x + norm(linear(multi-scale linear attention(x))) */
static TimMap attend(const Net *n, TimMap x, const TimDcStage *s, const char *name) {
    char at[TIM_NAME_BYTES];
    const int64_t channels = s->channels;
    TimMap parts[3] = {x, x, x};
    TimRef scales[1 + TIM_DC_MAX_SCALES];
    parts[0].x = linear(n, x.x, channels, name, "to_q");
    parts[1].x = linear(n, x.x, channels, name, "to_k");
    parts[2].x = linear(n, x.x, channels, name, "to_v");
    const TimMap qkv = tim_concat(n->tape, parts, 3);
    scales[0] = qkv.x;
    for (int i = 0; i < s->scale_count; i++) scales[1 + i] = aggregate(n, qkv, s->scales[i], i, name).x;
    const TimOpParams params = {.linear_attention = {.width = n->dc->head_width, .eps = 1e-15F}};
    TimMap o = x;
    o.x = tim_tape_add(n->tape, TIM_OP_LINEAR_ATTENTION, params, 1 + s->scale_count, scales);
    o.x = linear(n, o.x, channels, name, "to_out");
    return tim_channel_norm(n->tape, o, x.x, false, TIM_F32, tim_name(n->tape, at, "%s.norm_out", name));
}

/* x + norm(point(a silu(g))), a and g the halves of depthwise(silu(inverted(x))) */
static TimMap gated_mlp(const Net *n, TimMap x, int64_t channels, const char *name) {
    char at[TIM_NAME_BYTES];
    const int64_t hidden = EXPANSION * channels;
    const TimConvolutionSpec inverted = {
        .window = window(1), .out_channels = 2 * hidden, .bias = true, .silu = true, .dtype = n->product, .out = n->product};
    const TimConvolutionSpec depthwise = {.window = window(3),
                                          .out_channels = 2 * hidden,
                                          .bias = true,
                                          .groups = (int)(2 * hidden),
                                          .dtype = n->product,
                                          .out = n->product};
    const TimConvolutionSpec point = {.window = window(1), .out_channels = channels, .dtype = n->product, .out = n->product};
    TimMap h = tim_convolution(n->tape, x, &inverted, tim_name(n->tape, at, "%s.conv_inverted", name));
    h = tim_convolution(n->tape, h, &depthwise, tim_name(n->tape, at, "%s.conv_depth", name));
    const TimRef halves[2] = {tim_tape_columns(n->tape, h.x, hidden, hidden), tim_tape_columns(n->tape, h.x, 0, hidden)};
    h.x = tim_tape_add(n->tape, TIM_OP_SWIGLU, (TimOpParams){0}, 2, halves);
    h = tim_convolution(n->tape, h, &point, tim_name(n->tape, at, "%s.conv_point", name));
    return tim_channel_norm(n->tape, h, x.x, false, TIM_F32, tim_name(n->tape, at, "%s.norm", name));
}

static TimMap block(const Net *n, TimMap x, const TimDcStage *s, const char *name) {
    char at[TIM_NAME_BYTES];
    if (!s->vit) return residual_block(n, x, s, name);
    x = attend(n, x, s, tim_name(n->tape, at, "%s.attn", name));
    return gated_mlp(n, x, s->channels, tim_name(n->tape, at, "%s.conv_out", name));
}

/* ---- changes of the sides ---- */

/* Half the sides: a convolution, and beside it the four pixels' channels averaged in groups. */
static TimMap halve(const Net *n, TimMap x, int64_t channels, bool shortcut, const char *name) {
    char at[TIM_NAME_BYTES];
    TimMap y;
    tim_name(n->tape, at, "%s.conv", name);
    if (n->dc->unshuffle_down) {
        y = tim_pixel_unshuffle(n->tape, convolve(n, x, channels / 4, at), 2, 1, TIM_NONE);
    } else {
        TimConvolutionSpec spec = {
            .window = window(3), .out_channels = channels, .bias = true, .dtype = n->product, .out = TIM_F32};
        spec.window.stride = 2;
        y = tim_convolution(n->tape, x, &spec, at);
    }
    return shortcut ? tim_pixel_unshuffle(n->tape, x, 2, (int)(4 * channels_of(n, x) / channels), y.x) : y;
}

/* Twice the sides: a convolution, and beside it channels repeated and dealt to four pixels. */
static TimMap twice(const Net *n, TimMap x, int64_t channels, bool shortcut, const char *name) {
    char at[TIM_NAME_BYTES];
    tim_name(n->tape, at, "%s.conv", name);
    const TimMap y = n->dc->shuffle_up ? tim_pixel_shuffle(n->tape, convolve(n, x, 4 * channels, at), 2, 1, TIM_NONE)
                                       : convolve(n, tim_upsample(n->tape, x, n->product), channels, at);
    return shortcut ? tim_pixel_shuffle(n->tape, x, 2, (int)(4 * channels / channels_of(n, x)), y.x) : y;
}

/* ---- the network ---- */

TimMap tim_dc_encoder(TimTape *tape, const TimDcConfig *dc, TimMap x) {
    const Net net = net_of(tape, dc), *n = &net;
    char name[TIM_NAME_BYTES];
    x = dc->encoder[0].layers ? convolve(n, x, dc->encoder[0].channels, "encoder.conv_in")
                              : halve(n, x, dc->encoder[1].channels, false, "encoder.conv_in");
    for (int i = 0; i < dc->stages; i++) {
        const TimDcStage *s = &dc->encoder[i];
        for (int j = 0; j < s->layers; j++) {
            tim_name(n->tape, name, "encoder.down_blocks.%d.%d", i, j);
            x = block(n, x, s, name);
        }
        tim_name(n->tape, name, "encoder.down_blocks.%d.%d", i, s->layers);
        if (i + 1 < dc->stages && s->layers) x = halve(n, x, dc->encoder[i + 1].channels, true, name);
    }
    const TimMap y = convolve(n, x, dc->latent_channels, "encoder.conv_out");
    return tim_pixel_unshuffle(tape, x, 1, (int)(channels_of(n, x) / dc->latent_channels), y.x);
}

/* ---- the decoder ---- */

/* All but the coarsest stage begin with an upsampling, unless they have no blocks. */
static bool has_upsampling(const TimDcConfig *dc, int stage) {
    return stage + 1 < dc->stages && dc->decoder[stage].layers > 0;
}

static TimMap decoder_stage(const Net *n, TimMap x, int stage) {
    char name[TIM_NAME_BYTES];
    const TimDcStage *s = &n->dc->decoder[stage];
    const int before = has_upsampling(n->dc, stage); /* it is block 0 */
    tim_name(n->tape, name, "decoder.up_blocks.%d.0", stage);
    if (before) x = twice(n, x, s->channels, true, name);
    for (int j = 0; j < s->layers; j++) {
        tim_name(n->tape, name, "decoder.up_blocks.%d.%d", stage, before + j);
        x = block(n, x, s, name);
    }
    return x;
}

int tim_dc_fine_stages(const TimDcConfig *dc) {
    int fine = 0;
    while (fine + 1 < dc->stages && !dc->decoder[fine].vit) fine++;
    return fine;
}

int tim_dc_fine_scale(const TimDcConfig *dc) {
    int scale = dc->decoder[0].layers ? 1 : 2;
    for (int i = 0; i < tim_dc_fine_stages(dc); i++)
        if (has_upsampling(dc, i)) scale *= 2;
    return scale;
}

/* Rows seen around a row before an upsampling whose result is seen `rows` around: its window lies before or behind the new pixels. */
static int before_twice(const TimDcConfig *dc, int rows) {
    return dc->shuffle_up ? (rows + 1) / 2 + 1 : (rows + 2) / 2;
}

/* From the picture backwards: 3 x 3 windows, two in each residual block. */
int tim_dc_fine_halo(const TimDcConfig *dc) {
    int rows = dc->decoder[0].layers ? 1 : before_twice(dc, 0);
    for (int i = 0; i < tim_dc_fine_stages(dc); i++) {
        rows += 2 * dc->decoder[i].layers;
        if (has_upsampling(dc, i)) rows = before_twice(dc, rows);
    }
    return rows;
}

TimMap tim_dc_decoder_coarse(TimTape *tape, const TimDcConfig *dc, TimMap z) {
    const Net net = net_of(tape, dc), *n = &net;
    const int64_t coarsest = dc->decoder[dc->stages - 1].channels;
    const TimMap first = convolve(n, z, coarsest, "decoder.conv_in");
    TimMap x = tim_pixel_shuffle(tape, z, 1, (int)(coarsest / dc->latent_channels), first.x);
    for (int i = dc->stages - 1; i >= tim_dc_fine_stages(dc); i--) x = decoder_stage(n, x, i);
    return x;
}

TimMap tim_dc_decoder_fine(TimTape *tape, const TimDcConfig *dc, TimMap x) {
    const Net net = net_of(tape, dc), *n = &net;
    for (int i = tim_dc_fine_stages(dc) - 1; i >= 0; i--) x = decoder_stage(n, x, i);
    x = tim_channel_norm(tape, x, TIM_NONE, true, n->product, "decoder.norm_out");
    return dc->decoder[0].layers ? convolve(n, x, dc->in_channels, "decoder.conv_out")
                                 : twice(n, x, dc->in_channels, false, "decoder.conv_out");
}

TimMap tim_dc_decoder(TimTape *tape, const TimDcConfig *dc, TimMap z) {
    return tim_dc_decoder_fine(tape, dc, tim_dc_decoder_coarse(tape, dc, z));
}
