#include "model/autoencoder_dc.h"

#include "nn/layers.h"

enum { EXPANSION = 4 /* of the gated MLP */ };

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
    if (!dc->out_shortcut) return y;
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

/* Rows seen around a row before an upsampling whose result is seen `rows` around: its window lies before or behind the new
 * pixels. */
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
    TimMap x = dc->in_shortcut ? tim_pixel_shuffle(tape, z, 1, (int)(coarsest / dc->latent_channels), first.x) : first;
    for (int i = dc->stages - 1; i >= tim_dc_fine_stages(dc); i--) x = decoder_stage(n, x, i);
    return x;
}

TimMap tim_dc_decoder_fine(TimTape *tape, const TimDcConfig *dc, TimMap x) {
    const Net net = net_of(tape, dc), *n = &net;
    for (int i = tim_dc_fine_stages(dc) - 1; i >= 0; i--) x = decoder_stage(n, x, i);
    x = tim_channel_norm(tape, x, TIM_NONE, !dc->silu_out, n->product, "decoder.norm_out");
    if (dc->silu_out) x.x = tim_tape_add(tape, TIM_OP_SILU, (TimOpParams){0}, 1, &x.x);
    return dc->decoder[0].layers ? convolve(n, x, dc->in_channels, "decoder.conv_out")
                                 : twice(n, x, dc->in_channels, false, "decoder.conv_out");
}

TimMap tim_dc_decoder(TimTape *tape, const TimDcConfig *dc, TimMap z) {
    return tim_dc_decoder_fine(tape, dc, tim_dc_decoder_coarse(tape, dc, z));
}
