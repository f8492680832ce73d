#include "model/autoencoder_kl.h"

#include "nn/layers.h"

typedef struct Net {
    TimTape *tape;
    const TimKlConfig *kl;
    TimDtype product;
    TimKlNorms *norms; /* NULL: the maps are whole, and have their own moments */
} Net;

static Net net_of(TimTape *tape, const TimKlConfig *kl) {
    return (Net){tape, kl, tim_tape_options(tape)->product, NULL};
}

static TimMap convolve(const Net *n, TimMap x, int64_t channels, TimWindowSpec window, TimDtype out, const char *name) {
    const TimConvolutionSpec spec = {.window = window, .out_channels = channels, .bias = true, .dtype = n->product, .out = out};
    return tim_convolution(n->tape, x, &spec, name);
}

static const TimWindowSpec one = {.kernel_h = 1, .kernel_w = 1}, three = {.kernel_h = 3, .kernel_w = 3, .pad_y = 1, .pad_x = 1};

/* An input for the moments of a norm of x. */
static TimRef moments_input(const Net *n, TimMap x) {
    TimKlNorms *norms = n->norms;
    if (!norms) return TIM_NONE;
    norms->in[norms->count] = x.x;
    return norms->moments[norms->count++] = tim_tape_input(n->tape, TIM_F32, 1, (int64_t)2 * n->kl->groups, false);
}

static TimMap norm(const Net *n, TimMap x, bool silu, const char *name) {
    const TimGroupNormParams params = {.groups = n->kl->groups, .silu = silu, .eps = TIM_KL_NORM_EPS, .out = n->product};
    return tim_group_norm(n->tape, x, moments_input(n, x), &params, name);
}

/* x + conv(silu(norm(conv(silu(norm(x)))))), x through a 1 x 1 convolution where the channels change. */
static TimMap residual_block(const Net *n, TimMap x, int64_t channels, const char *name) {
    char at[TIM_NAME_BYTES];
    TimMap h = norm(n, x, true, tim_name(n->tape, at, "%s.norm1", name));
    h = convolve(n, h, channels, three, n->product, tim_name(n->tape, at, "%s.conv1", name));
    h = norm(n, h, true, tim_name(n->tape, at, "%s.norm2", name));
    h = convolve(n, h, channels, three, TIM_F32, tim_name(n->tape, at, "%s.conv2", name));
    if (tim_tape_shape(n->tape, x.x).cols != channels)
        x = convolve(n, x, channels, one, TIM_F32, tim_name(n->tape, at, "%s.conv_shortcut", name));
    h.x = tim_add(n->tape, x.x, h.x, 1.0F);
    return h;
}

static TimRef linear(const Net *n, TimRef x, TimDtype out, const char *prefix, const char *suffix) {
    char at[TIM_NAME_BYTES];
    const TimLinearSpec spec = {
        .out_features = tim_tape_shape(n->tape, x).cols, .bias = true, .init = TIM_INIT_XAVIER, .dtype = n->product, .out = out};
    return tim_linear(n->tape, x, &spec, tim_name(n->tape, at, "%s.%s", prefix, suffix));
}

/* One head as wide as the map, over all its pixels. */
static TimMap attend(const Net *n, TimMap x, const char *name) {
    char at[TIM_NAME_BYTES];
    const TimRef h = norm(n, x, false, tim_name(n->tape, at, "%s.group_norm", name)).x;
    TimRef qkv[3];
    qkv[0] = linear(n, h, n->product, name, "to_q");
    qkv[1] = linear(n, h, n->product, name, "to_k");
    qkv[2] = linear(n, h, n->product, name, "to_v");
    const TimRef o = tim_tape_add(n->tape, TIM_OP_ATTENTION, (TimOpParams){.attention = {.heads = 1}}, 3, qkv);
    x.x = tim_add(n->tape, x.x, linear(n, o, TIM_F32, name, "to_out.0"), 1.0F);
    return x;
}

static TimMap middle(const Net *n, TimMap x, const char *name) {
    char at[TIM_NAME_BYTES];
    const int64_t channels = n->kl->channels[n->kl->stages - 1];
    x = residual_block(n, x, channels, tim_name(n->tape, at, "%s.resnets.0", name));
    if (n->kl->mid_attention) x = attend(n, x, tim_name(n->tape, at, "%s.attentions.0", name));
    return residual_block(n, x, channels, tim_name(n->tape, at, "%s.resnets.1", name));
}

static TimMap stage(const Net *n, TimMap x, int64_t channels, int layers, const char *name) {
    char at[TIM_NAME_BYTES];
    for (int i = 0; i < layers; i++) {
        tim_name(n->tape, at, "%s.resnets.%d", name, i);
        x = residual_block(n, x, channels, at);
    }
    return x;
}

TimMap tim_kl_encoder(TimTape *tape, const TimKlConfig *kl, TimMap x) {
    static const TimWindowSpec halve = {.kernel_h = 3, .kernel_w = 3, .stride = 2, .pad_y = 1, .pad_x = 1, .pad_end = true};
    const Net net = net_of(tape, kl), *n = &net;
    char name[TIM_NAME_BYTES], at[TIM_NAME_BYTES];
    x = convolve(n, x, kl->channels[0], three, TIM_F32, "encoder.conv_in");
    for (int i = 0; i < kl->stages; i++) {
        tim_name(n->tape, name, "encoder.down_blocks.%d", i);
        x = stage(n, x, kl->channels[i], kl->layers, name);
        if (i + 1 < kl->stages)
            x = convolve(n, x, kl->channels[i], halve, TIM_F32, tim_name(n->tape, at, "%s.downsamplers.0.conv", name));
    }
    x = middle(n, x, "encoder.mid_block");
    x = norm(n, x, true, "encoder.conv_norm_out");
    x = convolve(n, x, (int64_t)2 * kl->latent_channels, three, TIM_F32, "encoder.conv_out");
    if (kl->quant_conv) x = convolve(n, x, (int64_t)2 * kl->latent_channels, one, TIM_F32, "quant_conv");
    return x;
}

/* ---- the decoder ---- */

static int64_t up_channels(const TimKlConfig *kl, int block) {
    return kl->channels[kl->stages - 1 - block];
}

static TimMap up_block(const Net *n, TimMap x, int block) {
    char name[TIM_NAME_BYTES];
    return stage(n, x, up_channels(n->kl, block), n->kl->layers + 1, tim_name(n->tape, name, "decoder.up_blocks.%d", block));
}

/* What stands at the end of the block before. */
static TimMap upsample(const Net *n, TimMap x, int block) {
    char name[TIM_NAME_BYTES];
    tim_name(n->tape, name, "decoder.up_blocks.%d.upsamplers.0.conv", block - 1);
    return convolve(n, tim_upsample(n->tape, x, n->product), up_channels(n->kl, block - 1), three, TIM_F32, name);
}

static TimMap to_picture(const Net *n, TimMap x) {
    x = norm(n, x, true, "decoder.conv_norm_out");
    return convolve(n, x, n->kl->out_channels, three, TIM_F32, "decoder.conv_out");
}

static TimMap before(const Net *n, int block, TimMap x) {
    if (n->kl->post_quant_conv) x = convolve(n, x, n->kl->latent_channels, one, TIM_F32, "post_quant_conv");
    x = convolve(n, x, up_channels(n->kl, 0), three, TIM_F32, "decoder.conv_in");
    x = up_block(n, middle(n, x, "decoder.mid_block"), 0);
    for (int i = 1; i < block; i++) x = up_block(n, upsample(n, x, i), i);
    return x;
}

TimMap tim_kl_decoder(TimTape *tape, const TimKlConfig *kl, TimMap z) {
    const Net net = net_of(tape, kl);
    return to_picture(&net, before(&net, kl->stages, z));
}

TimMap tim_kl_decoder_before(TimTape *tape, const TimKlConfig *kl, int stage, TimMap z) {
    const Net net = net_of(tape, kl);
    return before(&net, stage, z);
}

TimMap tim_kl_decoder_stage(TimTape *tape, const TimKlConfig *kl, int stage, TimMap x, TimKlNorms *norms) {
    Net net = net_of(tape, kl);
    net.norms = norms;
    norms->count = 0;
    x = up_block(&net, upsample(&net, x, stage), stage);
    return stage + 1 < kl->stages ? x : to_picture(&net, x);
}

int tim_kl_stage_channels(const TimKlConfig *kl, int stage) {
    return stage + 1 < kl->stages ? (int)up_channels(kl, stage) : kl->out_channels;
}

int tim_kl_stage_scale(const TimKlConfig *kl, int stage) {
    return 1 << (kl->stages - stage);
}

/* 3 x 3 windows: that of the upsampling, two in each residual block, and the last. */
int tim_kl_stage_halo(const TimKlConfig *kl, int stage) {
    const int windows = 1 + 2 * (kl->layers + 1) + (stage + 1 == kl->stages);
    return (windows + 1) / 2;
}
