#include "model/network.h"

#include <stdio.h>

#include "base/memory.h"
#include "nn/layers.h"
#include "nn/rope_table.h"

/* What the functions below share while one network is recorded. */
typedef struct Build {
    const TimNetworkConfig *config;
    TimTape *tape;
    TimDtype product;    /* of the products over tokens */
    TimDtype conditions; /* of the matrices of the conditioning path, whose values are f32: it has one row a sample */
    TimNetwork *network;
    TimRef interval, c, caption; /* (B, D), (B, D), (B M, D) */
    TimHeads heads;
} Build;

static const float eps_block = 1e-6F;

static TimLinearSpec over_tokens(const Build *b, int64_t out_features) {
    return (TimLinearSpec){
        .out_features = out_features, .bias = true, .init = TIM_INIT_XAVIER, .dtype = b->product, .out = b->product};
}

static TimLinearSpec over_samples(const Build *b, int64_t out_features, bool bias, TimInit init) {
    return (TimLinearSpec){
        .out_features = out_features, .bias = bias, .init = init, .dtype = b->conditions, .out = TIM_F32, .few = true};
}

/* ---- inputs ---- */

static void add_inputs(Build *b) {
    TimNetwork *n = b->network;
    const TimNetworkConfig *c = b->config;
    n->x = tim_tape_input(b->tape, TIM_F32, n->shape.batch, (int64_t)c->in_channels * n->shape.height * n->shape.width, true);
    n->t = tim_tape_input(b->tape, TIM_F32, n->shape.batch, 1, true);
    n->r = tim_tape_input(b->tape, TIM_F32, n->shape.batch, 1, false);
    n->labels = n->caption = TIM_NONE;
    if (c->kind == TIM_NETWORK_C2I)
        n->labels = tim_tape_input(b->tape, TIM_I64, n->shape.batch, 1, false);
    else if (!n->shape.caption_keys)
        n->caption = tim_tape_input(b->tape, TIM_F32, n->shape.batch * n->shape.caption_tokens, c->cap_feat_dim, false);
    for (int i = 0; n->keys && i < c->depth; i++)
        n->keys[i] = tim_tape_input(b->tape, b->product, n->shape.batch * n->shape.caption_tokens, 2 * c->hidden_size, false);
}

/* (B, C H W) -> (B N, D) */
static TimRef embed_patches(const Build *b) {
    const TimNetworkConfig *c = b->config;
    const TimPatchParams patch = {.channels = c->in_channels,
                                  .height = b->network->shape.height,
                                  .width = b->network->shape.width,
                                  .patch = c->patch_size,
                                  .out = b->product};
    TimLinearSpec spec = over_tokens(b, c->hidden_size);
    spec.out = TIM_F32;
    spec.rank = 4;
    spec.dims[0] = c->hidden_size, spec.dims[1] = c->in_channels, spec.dims[2] = spec.dims[3] = c->patch_size;
    return tim_linear(b->tape, tim_tape_add(b->tape, TIM_OP_PATCHIFY, (TimOpParams){.patch = patch}, 1, &b->network->x), &spec,
                      "x_embedder.proj");
}

/* ---- conditions ---- */

/* t_embedder starts at N(0, 0.02), delta_embedder at Xavier: the published initialisation treats them differently. */
static TimRef embed_t(const Build *b, TimRef time) {
    const TimLinearSpec spec = over_samples(b, b->config->hidden_size, true, TIM_INIT_NORMAL);
    return tim_timestep_embedding(b->tape, time, &spec, "t_embedder");
}

static TimRef embed_delta(const Build *b, TimRef time) {
    if (!b->config->use_new_embed) return embed_t(b, time);
    const TimLinearSpec spec = over_samples(b, b->config->hidden_size, true, TIM_INIT_XAVIER);
    return tim_timestep_embedding(b->tape, time, &spec, "delta_embedder");
}

/* The interval's embedding: the terms of `new_condition`, the last one through delta_embedder. */
static TimRef embed_interval(const Build *b, TimRef of_t) {
    TimTape *tape = b->tape;
    const TimNetwork *n = b->network;
    const TimNewCondition kind = b->config->new_condition;
    const bool ends_in_r = kind == TIM_CONDITION_R || kind == TIM_CONDITION_T_R;
    TimRef sum = embed_delta(b, ends_in_r ? n->r : tim_add(tape, n->t, n->r, -1.0F));
    if (kind == TIM_CONDITION_R_T_MINUS_R || kind == TIM_CONDITION_T_R_T_MINUS_R) sum = tim_add(tape, sum, embed_t(b, n->r), 1.0F);
    if (kind == TIM_CONDITION_T_R || kind == TIM_CONDITION_T_T_MINUS_R || kind == TIM_CONDITION_T_R_T_MINUS_R)
        sum = tim_add(tape, sum, of_t, 1.0F);
    return sum;
}

static TimRef embed_class(const Build *b) {
    const TimNetworkConfig *c = b->config;
    const int64_t dims[2] = {c->num_classes + (c->class_dropout_prob > 0), c->hidden_size};
    const TimRef in[2] = {b->network->labels,
                          tim_tape_param(b->tape, b->conditions, TIM_INIT_NORMAL, 2, dims, "y_embedder.embedding_table.weight")};
    return tim_tape_add(b->tape, TIM_OP_EMBEDDING, (TimOpParams){0}, 2, in);
}

/* (B M, cap_feat_dim) -> (B M, D) f32 */
static TimRef embed_caption(const Build *b, TimRef caption) {
    const int64_t d = b->config->hidden_size;
    TimLinearSpec spec = over_tokens(b, d);
    spec.out = TIM_F32;
    spec.init = TIM_INIT_NORMAL;
    const TimRef normed = tim_layer_norm(b->tape, caption, 1e-5F, "y_embedder.norm");
    return tim_swiglu_mlp(b->tape, tim_cast(b->tape, normed, b->product), 4 * d, TIM_INIT_NORMAL, &spec, "y_embedder.mlp");
}

static void embed_conditions(Build *b) {
    const TimRef of_t = embed_t(b, b->network->t);
    b->interval = embed_interval(b, of_t);
    b->c = tim_add(b->tape, of_t, b->interval, 1.0F);
    if (b->config->kind == TIM_NETWORK_C2I)
        b->c = tim_add(b->tape, b->c, embed_class(b), 1.0F);
    else if (!b->network->keys)
        b->caption = embed_caption(b, b->network->caption);
}

/* ---- blocks ---- */

typedef struct Modulation {
    TimRef shift, scale, gate;
} Modulation;

/* Chunk `index` of the block's modulation (B, 3 D chunks). */
static Modulation chunk(const Build *b, TimRef all, int index) {
    const int64_t d = b->config->hidden_size, first = 3 * d * index;
    return (Modulation){tim_tape_columns(b->tape, all, first, d), tim_tape_columns(b->tape, all, first + d, d),
                        tim_tape_columns(b->tape, all, first + 2 * d, d)};
}

/* `block` and `part` as one parameter name; the buffer is the caller's. */
static const char *join(char name[128], const char *block, const char *part) {
    snprintf(name, 128, "%s.%s", block, part);
    return name;
}

static TimRef attend_to_self(const Build *b, TimRef y, const char *block) {
    char name[128];
    const int64_t d = b->config->hidden_size;
    TimHeads heads = b->heads;
    TimLinearSpec qkv = over_tokens(b, 3 * d), proj = over_tokens(b, d);
    const TimRef packed = tim_linear(b->tape, y, &qkv, join(name, block, "attn.qkv"));
    if (b->config->distance_aware) {
        const TimLinearSpec qkv_d = over_samples(b, 3 * d, false, TIM_INIT_XAVIER);
        heads.shift = tim_linear(b->tape, b->interval, &qkv_d, join(name, block, "attn.qkv_d"));
    }
    const TimRef o = tim_self_attention(b->tape, packed, &heads, join(name, block, "attn"));
    return tim_linear(b->tape, o, &proj, join(name, block, "attn.proj"));
}

/* Keys and values of the caption for one block. */
static TimRef caption_keys(const Build *b, const char *block) {
    char name[128];
    const TimLinearSpec kv = over_tokens(b, 2 * (int64_t)b->config->hidden_size);
    TimStream caption = {b->caption, TIM_NONE, TIM_NONE};
    const TimRef normed = tim_stream_norm(b->tape, &caption, TIM_NONE, TIM_NONE, eps_block);
    const TimRef packed = tim_linear(b->tape, normed, &kv, join(name, block, "cross_attn.kv"));
    return tim_cross_keys(b->tape, packed, &b->heads, join(name, block, "cross_attn"));
}

static TimRef attend_to_caption(const Build *b, TimRef y, const char *block, int index) {
    char name[128];
    const int64_t d = b->config->hidden_size;
    const TimLinearSpec q = over_tokens(b, d), proj = over_tokens(b, d);
    const TimRef queries = tim_linear(b->tape, y, &q, join(name, block, "cross_attn.q"));
    const TimRef keys = b->network->keys ? b->network->keys[index] : caption_keys(b, block);
    const TimRef o = tim_cross_attention(b->tape, queries, keys, &b->heads, join(name, block, "cross_attn"));
    return tim_linear(b->tape, o, &proj, join(name, block, "cross_attn.proj"));
}

/* Of a block's SwiGLU. */
static int64_t mlp_width(const TimNetworkConfig *c) {
    return (int64_t)(c->hidden_size * c->mlp_ratio) * 2 / 3;
}

/* Of what leads from the condition to a block's shifts, scales and gates, and how many of these there are. */
static int64_t lora_width(const TimNetworkConfig *c) {
    return c->lora_hidden_size ? c->lora_hidden_size : c->hidden_size / 4 * 3;
}

static int chunk_count(const TimNetworkConfig *c) {
    return c->kind == TIM_NETWORK_T2I ? 9 : 6;
}

static TimRef feed_forward(const Build *b, TimRef y, const char *block) {
    char name[128];
    const TimLinearSpec fc2 = over_tokens(b, b->config->hidden_size);
    return tim_swiglu_mlp(b->tape, y, mlp_width(b->config), TIM_INIT_XAVIER, &fc2, join(name, block, "mlp"));
}

static TimRef modulation_of(const Build *b, const char *block) {
    char name[128];
    const TimNetworkConfig *c = b->config;
    const TimLinearSpec fc2 = over_samples(b, (int64_t)chunk_count(c) * c->hidden_size, true, TIM_INIT_ZERO);
    return tim_swiglu_mlp(b->tape, b->c, lora_width(c), TIM_INIT_XAVIER, &fc2, join(name, block, "adaLN_modulation"));
}

/* The stream's hidden state becomes readable when the next norm has added what waits: the projector reads it there. */
static TimRef open_stream(Build *b, TimStream *stream, Modulation m, int finished_blocks);

static void add_block(Build *b, TimStream *stream, int index) {
    char block[32];
    snprintf(block, sizeof block, "blocks.%d", index);
    const TimRef all = modulation_of(b, block);
    int next = 0;

    const Modulation msa = chunk(b, all, next++);
    stream->h = attend_to_self(b, open_stream(b, stream, msa, index), block);
    stream->gate = msa.gate;
    if (b->config->kind == TIM_NETWORK_T2I) {
        const Modulation msc = chunk(b, all, next++);
        stream->h = attend_to_caption(b, open_stream(b, stream, msc, -1), block, index);
        stream->gate = msc.gate;
    }
    const Modulation mlp = chunk(b, all, next++);
    stream->h = feed_forward(b, open_stream(b, stream, mlp, -1), block);
    stream->gate = mlp.gate;
}

/* ---- heads ---- */

/* Linear -> SiLU -> Linear -> SiLU -> Linear, hidden width projector_dim: (B N, z_dim) f32 */
static TimRef project(const Build *b, TimRef x) {
    const TimLinearSpec hidden = over_tokens(b, b->config->projector_dim);
    TimLinearSpec last = over_tokens(b, b->config->z_dim);
    last.out = TIM_F32;
    TimRef y = tim_linear(b->tape, tim_cast(b->tape, x, b->product), &hidden, "projector.0");
    y = tim_tape_add(b->tape, TIM_OP_SILU, (TimOpParams){0}, 1, &y);
    y = tim_linear(b->tape, y, &hidden, "projector.2");
    y = tim_tape_add(b->tape, TIM_OP_SILU, (TimOpParams){0}, 1, &y);
    return tim_linear(b->tape, y, &last, "projector.4");
}

static TimRef open_stream(Build *b, TimStream *stream, Modulation m, int finished_blocks) {
    const TimRef y = tim_stream_norm(b->tape, stream, m.shift, m.scale, eps_block);
    if (b->network->shape.hidden && finished_blocks == b->config->encoder_depth) b->network->hidden = project(b, stream->x);
    return y;
}

/* F = t x + what the blocks say, where asked for: (B, C H W) */
static TimRef add_skip(const Build *b, TimRef f) {
    const TimRef in[3] = {f, b->network->x, b->network->t};
    return b->config->input_skip ? tim_tape_add(b->tape, TIM_OP_SKIP, (TimOpParams){0}, 3, in) : f;
}

/* Norm, modulation, linear, unpatchify: (B, C H W) */
static TimRef final_layer(Build *b, TimStream *stream) {
    const TimNetworkConfig *c = b->config;
    const int64_t d = c->hidden_size;
    const TimLinearSpec fc2 = over_samples(b, 2 * d, true, TIM_INIT_ZERO);
    const TimRef all = tim_swiglu_mlp(b->tape, b->c, d / 2, TIM_INIT_XAVIER, &fc2, "final_layer.adaLN_modulation");
    const Modulation m = {tim_tape_columns(b->tape, all, 0, d), tim_tape_columns(b->tape, all, d, d), TIM_NONE};
    TimLinearSpec linear = over_tokens(b, (int64_t)c->patch_size * c->patch_size * c->in_channels);
    linear.init = TIM_INIT_ZERO;
    linear.out = TIM_F32;
    const TimRef tokens = tim_linear(b->tape, open_stream(b, stream, m, c->depth), &linear, "final_layer.linear");
    const TimPatchParams patch = {
        .channels = c->in_channels, .height = b->network->shape.height, .width = b->network->shape.width, .patch = c->patch_size};
    return tim_tape_add(b->tape, TIM_OP_UNPATCHIFY, (TimOpParams){.patch = patch}, 1, &tokens);
}

/* The figure. */
static void record(Build *b) {
    add_inputs(b);
    TimStream stream = {embed_patches(b), TIM_NONE, TIM_NONE};
    embed_conditions(b);
    for (int i = 0; i < b->config->depth; i++) add_block(b, &stream, i);
    b->network->f = add_skip(b, final_layer(b, &stream));
    tim_tape_keep(b->tape, b->network->f, true);
    tim_tape_keep(b->tape, b->network->hidden, true);
}

/* ---- interface ---- */

/* Of each rotary table, (N, dh). */
static bool rope_count(size_t *count, const TimNetworkConfig *c, const TimNetworkShape *s) {
    return tim_mul_size((size_t)(s->height / c->patch_size), (size_t)(s->width / c->patch_size), count) &&
           tim_mul_size(*count, (size_t)(c->hidden_size / c->num_heads), count);
}

size_t tim_network_rope_bytes(const TimNetworkConfig *config, const TimNetworkShape *shape) {
    size_t bytes;
    return rope_count(&bytes, config, shape) && tim_mul_size(bytes, 2 * sizeof(float), &bytes) ? bytes : SIZE_MAX;
}

static TimStatus make_rope(TimNetwork *n, const TimNetworkConfig *config, bool rounded, TimError *err) {
    const int h = n->shape.height / config->patch_size, w = n->shape.width / config->patch_size,
              width = config->hidden_size / config->num_heads;
    size_t count;
    if (!rope_count(&count, config, &n->shape))
        return tim_fail(err, TIM_E_MEMORY, "a grid of %d x %d tokens does not fit into memory", h, w);
    TIM_TRY(tim_new(&n->cos, count, sizeof *n->cos, "the rotary table", err));
    TIM_TRY(tim_new(&n->sin, count, sizeof *n->sin, "the rotary table", err));
    TimRopeConfig rope = tim_rope_config_default();
    rope.rounded = rounded;
    return tim_rope_table(n->cos, n->sin, h, w, width, &rope, err);
}

static TimStatus check_shape(const TimNetworkConfig *c, const TimNetworkShape *s, TimError *err) {
    if (s->height <= 0 || s->width <= 0 || s->height % c->patch_size || s->width % c->patch_size)
        return tim_fail(err, TIM_E_ARGUMENT,
                        "a picture of %d x %d (width x height) cannot be cut into patches of %d: use multiples of %d", s->width,
                        s->height, c->patch_size, c->patch_size);
    if (c->kind == TIM_NETWORK_T2I && s->caption_tokens <= 0)
        return tim_fail(err, TIM_E_ARGUMENT, "the text network wants a caption of at least one token, not %d", s->caption_tokens);
    return TIM_OK;
}

static TimStatus record_and_plan(Build *b, const TimNetworkOptions *options, TimParams *params, TimError *err) {
    TimNetwork *n = b->network;
    const TimTapeOptions tape = {.isa = options->isa,
                                 .threads = options->threads,
                                 .samples = n->shape.batch,
                                 .tangent_samples = n->shape.tangent_samples,
                                 .gradients = n->shape.gradients,
                                 .product = b->product,
                                 .dry = options->dry};
    TIM_TRY(make_rope(n, b->config, options->rounded_rotary, err));
    if (n->shape.caption_keys) TIM_TRY(tim_new(&n->keys, (size_t)b->config->depth, sizeof *n->keys, "the captions' keys", err));
    TIM_TRY(tim_tape_new(&n->tape, &tape, params, err));
    b->tape = n->tape;
    b->heads =
        (TimHeads){.heads = b->config->num_heads, .cos = n->cos, .sin = n->sin, .shift = TIM_NONE, .qk_norm = b->config->qk_norm};
    record(b);
    return tim_tape_plan(n->tape, err);
}

static Build build_for(const TimNetworkConfig *config, TimNetwork *network, const TimNetworkOptions *options) {
    const TimDtype product = options->precision == TIM_PRECISION_BF16 ? TIM_BF16 : TIM_F32;
    return (Build){.config = config, .network = network, .product = product, .conditions = options->frozen ? product : TIM_F32};
}

TimStatus tim_network_new(TimNetwork *network, const TimNetworkConfig *config, const TimNetworkShape *shape,
                          const TimNetworkOptions *options, TimParams *params, TimError *err) {
    *network = (TimNetwork){.shape = *shape, .f = TIM_NONE, .hidden = TIM_NONE};
    TIM_TRY(check_shape(config, shape, err));
    Build build = build_for(config, network, options);
    const TimStatus status = record_and_plan(&build, options, params, err);
    if (status != TIM_OK) tim_network_done(network);
    return status;
}

void tim_network_done(TimNetwork *network) {
    tim_tape_free(network->tape);
    tim_free(network->keys);
    tim_free(network->cos);
    tim_free(network->sin);
    *network = (TimNetwork){.f = TIM_NONE, .hidden = TIM_NONE};
}

/* ---- captions ---- */

static void record_captions(Build *b, TimCaptionNetwork *n, const TimNetworkShape *shape) {
    n->caption = tim_tape_input(b->tape, TIM_F32, shape->batch * shape->caption_tokens, b->config->cap_feat_dim, false);
    b->caption = embed_caption(b, n->caption);
    for (int i = 0; i < b->config->depth; i++) {
        char block[32];
        snprintf(block, sizeof block, "blocks.%d", i);
        n->keys[i] = caption_keys(b, block);
        tim_tape_keep(b->tape, n->keys[i], false);
    }
}

static TimStatus plan_captions(TimCaptionNetwork *n, const TimNetworkConfig *config, const TimNetworkShape *shape,
                               const TimNetworkOptions *options, TimParams *params, TimError *err) {
    Build b = build_for(config, NULL, options);
    const TimTapeOptions tape = {
        .isa = options->isa, .threads = options->threads, .samples = shape->batch, .product = b.product, .dry = options->dry};
    TIM_TRY(tim_new(&n->keys, (size_t)config->depth, sizeof *n->keys, "the captions' keys", err));
    TIM_TRY(tim_tape_new(&n->tape, &tape, params, err));
    b.tape = n->tape;
    b.heads = (TimHeads){.heads = config->num_heads, .shift = TIM_NONE, .qk_norm = config->qk_norm};
    record_captions(&b, n, shape);
    return tim_tape_plan(n->tape, err);
}

TimStatus tim_caption_network_new(TimCaptionNetwork *network, const TimNetworkConfig *config, const TimNetworkShape *shape,
                                  const TimNetworkOptions *options, TimParams *params, TimError *err) {
    *network = (TimCaptionNetwork){0};
    const TimStatus status = plan_captions(network, config, shape, options, params, err);
    if (status != TIM_OK) tim_caption_network_done(network);
    return status;
}

void tim_caption_network_done(TimCaptionNetwork *network) {
    tim_tape_free(network->tape);
    tim_free(network->keys);
    *network = (TimCaptionNetwork){0};
}

/* ---- parameters ---- */

TimStatus tim_network_params(TimParams *params, const TimNetworkConfig *config, TimError *err) {
    const TimNetworkShape smallest = {
        .batch = 1, .height = config->patch_size, .width = config->patch_size, .caption_tokens = 1, .hidden = true};
    const TimNetworkOptions options = {.isa = TIM_ISA_REF, .threads = 1, .precision = TIM_PRECISION_F32};
    TimNetwork network;
    TIM_TRY(tim_network_new(&network, config, &smallest, &options, params, err));
    tim_network_done(&network);
    return TIM_OK;
}

/* ---- arithmetic ---- */

static double product(double rows, double in, double out) {
    return 2 * rows * in * out;
}

/* SwiGLU MLP: two products into the hidden width, one out of it. */
static double mlp_flops(double rows, double in, double hidden, double out) {
    return 2 * product(rows, in, hidden) + product(rows, hidden, out);
}

static double block_flops(const TimNetworkConfig *c, double n, double m) {
    const double d = c->hidden_size;
    double sum = product(n, d, 4 * d) + 4 * n * n * d + mlp_flops(n, d, (double)mlp_width(c), d) +
                 mlp_flops(1, d, (double)lora_width(c), chunk_count(c) * d);
    if (c->distance_aware) sum += product(1, d, 3 * d);
    if (c->kind == TIM_NETWORK_T2I) sum += product(n, d, 2 * d) + product(m, d, 2 * d) + 4 * n * m * d;
    return sum;
}

double tim_network_flops(const TimNetworkConfig *c, int height, int width, int caption_tokens, bool hidden) {
    const double d = c->hidden_size, p = c->patch_size, m = caption_tokens;
    const double n = (double)(height / c->patch_size) * (double)(width / c->patch_size), patch = p * p * c->in_channels;
    double sum = product(n, patch, d) * 2 + 2 * (product(1, 256, d) + product(1, d, d)) + c->depth * block_flops(c, n, m);
    sum += mlp_flops(1, d, (double)(c->hidden_size / 2), 2 * d);
    if (c->kind == TIM_NETWORK_T2I) sum += mlp_flops(m, c->cap_feat_dim, 4 * d, d);
    if (hidden)
        sum += product(n, d, c->projector_dim) + product(n, c->projector_dim, c->projector_dim) +
               product(n, c->projector_dim, c->z_dim);
    return sum;
}
