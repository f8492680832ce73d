#include "model/gemma3.h"

#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "model/prompts.h"
#include "nn/layers.h"

enum { NAME_MAX_BYTES = 80 };

/* ---- the network ---- */

/* Where layers are added. */
typedef struct Recording {
    TimTape *tape;
    const TimGemma3Config *c;
    TimDtype product;
    TimRef positions, lengths;
    const float *cos[2], *sin[2]; /* by whether the layer slides */
} Recording;

static const char *name_of(char name[NAME_MAX_BYTES], int layer, const char *part) {
    snprintf(name, NAME_MAX_BYTES, "model.layers.%d.%s", layer, part);
    return name;
}

static TimRef linear(const Recording *r, TimRef x, int64_t width, TimDtype out, int layer, const char *part) {
    char name[NAME_MAX_BYTES];
    const TimLinearSpec spec = {.out_features = width, .init = TIM_INIT_XAVIER, .dtype = r->product, .out = out};
    return tim_linear(r->tape, x, &spec, name_of(name, layer, part));
}

/* Gemma's norms scale by 1 + weight. */
static TimRef norm(const Recording *r, TimRef x, TimDtype out, int layer, const char *part) {
    char name[NAME_MAX_BYTES];
    return tim_rms_norm(r->tape, x, (float)r->c->rms_norm_eps, 1, out, name_of(name, layer, part));
}

/* Norm of each head, then rotary. */
static TimRef turn(const Recording *r, TimRef x, int layer, const char *part) {
    char name[NAME_MAX_BYTES];
    const bool sliding = r->c->sliding[layer];
    const TimOpParams params = {
        .head_rms_norm = {.eps = (float)r->c->rms_norm_eps, .offset = 1, .cos = r->cos[sliding], .sin = r->sin[sliding]}};
    TimRef in[3] = {x};
    in[1] = tim_prefixed_param(r->tape, TIM_F32, TIM_INIT_ZERO, 1, &r->c->head_dim, name_of(name, layer, part), "weight");
    in[2] = r->positions;
    return tim_tape_add(r->tape, TIM_OP_HEAD_RMS_NORM, params, 3, in);
}

static TimRef attention(const Recording *r, TimRef x, int layer) {
    const TimGemma3Config *c = r->c;
    const int64_t q_width = c->num_attention_heads * c->head_dim, kv_width = c->num_key_value_heads * c->head_dim;
    TimRef in[4];
    in[0] = linear(r, x, q_width, r->product, layer, "self_attn.q_proj");
    in[1] = linear(r, x, kv_width, r->product, layer, "self_attn.k_proj");
    in[2] = linear(r, x, kv_width, r->product, layer, "self_attn.v_proj");
    in[0] = turn(r, in[0], layer, "self_attn.q_norm");
    in[1] = turn(r, in[1], layer, "self_attn.k_norm");
    in[3] = r->lengths;
    const TimOpParams params = {.attention_masked = {.heads = (int)c->num_attention_heads,
                                                     .kv_heads = (int)c->num_key_value_heads,
                                                     .scale = (float)(1 / sqrt(c->query_pre_attn_scalar)),
                                                     .causal = true,
                                                     .window = c->sliding[layer] ? c->sliding_window : 0}};
    const TimRef o = tim_tape_add(r->tape, TIM_OP_ATTENTION_MASKED, params, 4, in);
    return linear(r, o, c->hidden_size, TIM_F32, layer, "self_attn.o_proj");
}

static TimRef mlp(const Recording *r, TimRef x, int layer) {
    TimRef in[2];
    in[0] = linear(r, x, r->c->intermediate_size, r->product, layer, "mlp.gate_proj");
    in[1] = linear(r, x, r->c->intermediate_size, r->product, layer, "mlp.up_proj");
    const TimRef hidden = tim_tape_add(r->tape, TIM_OP_GEGLU, (TimOpParams){0}, 2, in);
    return linear(r, hidden, r->c->hidden_size, TIM_F32, layer, "mlp.down_proj");
}

/* The stream stays in f32. */
static TimRef block(const Recording *r, TimRef x, int layer) {
    TimRef h = norm(r, x, r->product, layer, "input_layernorm");
    h = attention(r, h, layer);
    x = tim_add(r->tape, x, norm(r, h, TIM_F32, layer, "post_attention_layernorm"), 1);
    h = norm(r, x, r->product, layer, "pre_feedforward_layernorm");
    h = mlp(r, h, layer);
    return tim_add(r->tape, x, norm(r, h, TIM_F32, layer, "post_feedforward_layernorm"), 1);
}

/* The published code rounds the square root to the precision of the weights: 34 instead of 33.94 in bf16. */
static float embedding_scale(const Recording *r) {
    const float root = (float)sqrt((double)r->c->hidden_size);
    return r->product == TIM_BF16 ? tim_bf16_round(root) : root;
}

static TimRef embed(const Recording *r, TimRef ids) {
    const int64_t table[2] = {r->c->vocab_size, r->c->hidden_size};
    TimRef in[2] = {ids};
    in[1] = tim_tape_param(r->tape, r->product, TIM_INIT_NORMAL, 2, table, "model.embed_tokens.weight");
    return tim_tape_add(r->tape, TIM_OP_EMBEDDING, (TimOpParams){.embedding = {.scale = embedding_scale(r)}}, 2, in);
}

static TimRef record(const Recording *r, TimRef ids, TimHiddenState output) {
    const int layers = (int)r->c->num_hidden_layers - (output == TIM_HIDDEN_BEFORE_LAST);
    TimRef x = embed(r, ids);
    for (int layer = 0; layer < layers; layer++) x = block(r, x, layer);
    if (output == TIM_HIDDEN_BEFORE_LAST) return x;
    return tim_rms_norm(r->tape, x, (float)r->c->rms_norm_eps, 1, TIM_F32, "model.norm");
}

/* cos and sin (positions, dh / 2), angles in fp32 as in the published code: position times base^(-2 i / dh) / factor. */
static void fill_rotary(float *cosines, float *sines, int64_t positions, int64_t half, double base, double factor) {
    for (int64_t i = 0; i < half; i++) {
        const float frequency = (float)(1 / pow(base, (double)i / (double)half)) / (float)factor;
        for (int64_t n = 0; n < positions; n++) {
            const float angle = (float)n * frequency;
            cosines[n * half + i] = (float)cos((double)angle);
            sines[n * half + i] = (float)sin((double)angle);
        }
    }
}

static TimStatus make_rotary(TimGemma3Network *n, Recording *r, TimError *err) {
    const int64_t half = r->c->head_dim / 2;
    const size_t table = (size_t)(n->shape.tokens * half);
    TIM_TRY(tim_new(&n->rotary, 4 * table, sizeof *n->rotary, "the rotary tables", err));
    for (int sliding = 0; sliding < 2; sliding++) {
        float *cosines = n->rotary + (size_t)(2 * sliding) * table;
        fill_rotary(cosines, cosines + table, n->shape.tokens, half, sliding ? r->c->rope_local_base_freq : r->c->rope_theta,
                    sliding ? 1 : r->c->rope_factor);
        r->cos[sliding] = cosines, r->sin[sliding] = cosines + table;
    }
    return TIM_OK;
}

static TimStatus fill_network(TimGemma3Network *n, const TimGemma3Config *config, const TimNetworkOptions *options,
                              TimParams *params, TimError *err) {
    const TimDtype product = options->precision == TIM_PRECISION_BF16 ? TIM_BF16 : TIM_F32;
    const TimTapeOptions tape = {
        .isa = options->isa, .threads = options->threads, .samples = 1, .product = product, .dry = options->dry};
    TIM_TRY(tim_tape_new(&n->tape, &tape, params, err));
    n->ids = tim_tape_input(n->tape, TIM_I64, n->shape.rows, 1, false);
    n->positions = tim_tape_input(n->tape, TIM_I64, n->shape.rows, 1, false);
    n->lengths = tim_tape_input(n->tape, TIM_I64, n->shape.prompts, 2, false);
    Recording r = {.tape = n->tape, .c = config, .product = product, .positions = n->positions, .lengths = n->lengths};
    TIM_TRY(make_rotary(n, &r, err));
    n->hidden = record(&r, n->ids, n->shape.output);
    tim_tape_keep(n->tape, n->hidden, false);
    return tim_tape_plan(n->tape, err);
}

TimStatus tim_gemma3_network_new(TimGemma3Network *network, const TimGemma3Config *config, const TimGemma3Shape *shape,
                                 const TimNetworkOptions *options, TimParams *params, TimError *err) {
    *network = (TimGemma3Network){.shape = *shape};
    const TimStatus status = fill_network(network, config, options, params, err);
    if (status != TIM_OK) tim_gemma3_network_done(network);
    return status;
}

void tim_gemma3_network_done(TimGemma3Network *network) {
    tim_tape_free(network->tape);
    tim_free(network->rotary);
    *network = (TimGemma3Network){0};
}

/* ---- one with weights ---- */

/* Declares all parameters by recording the smallest network. */
static TimStatus declare(TimGemma3 *gemma, TimError *err) {
    const TimGemma3Shape smallest = {.rows = 1, .prompts = 1, .tokens = 1};
    const TimNetworkOptions options = {.isa = TIM_ISA_REF, .threads = 1, .precision = TIM_PRECISION_F32};
    TimGemma3Network network;
    TIM_TRY(tim_gemma3_network_new(&network, &gemma->config, &smallest, &options, &gemma->weights.params, err));
    tim_gemma3_network_done(&network);
    return tim_frozen_init(&gemma->weights, &gemma->options, err);
}

TimStatus tim_gemma3_init(TimGemma3 *gemma, const TimGemma3Config *config, const TimNetworkOptions *options, TimError *err) {
    *gemma = (TimGemma3){.config = *config, .options = *options};
    if (!gemma->options.threads) gemma->options.threads = omp_get_max_threads();
    const TimStatus status = declare(gemma, err);
    if (status != TIM_OK) tim_gemma3_done(gemma);
    return status;
}

static TimStatus open_files(TimGemma3 *gemma, const char *config_path, const char *folder, const TimNetworkOptions *options,
                            TimError *err) {
    static const char *const ignored[] = {"lm_head.", NULL}; /* the head of the language model: the embeddings again */
    static const TimFrozenNames names = {.prefix = "model.", .ignored = ignored}; /* a Gemma3TextModel is saved without */
    TimGemma3Config config;
    TIM_TRY(tim_gemma3_config_read(&config, config_path, err));
    TIM_TRY(tim_gemma3_init(gemma, &config, options, err));
    return tim_frozen_open(&gemma->weights, folder, &names, err);
}

TimStatus tim_gemma3_open(TimGemma3 *gemma, const char *folder, const TimNetworkOptions *options, TimError *err) {
    char *config_path = NULL;
    *gemma = (TimGemma3){0};
    TimStatus status = tim_path_at(&config_path, folder, "config.json", err);
    if (status == TIM_OK) status = open_files(gemma, config_path, folder, options, err);
    tim_free(config_path);
    if (status != TIM_OK) tim_gemma3_done(gemma);
    return status;
}

void tim_gemma3_done(TimGemma3 *gemma) {
    tim_gemma3_network_done(&gemma->network);
    tim_frozen_done(&gemma->weights);
    *gemma = (TimGemma3){0};
}

/* ---- running ---- */

static TimStatus check_prompts(const TimGemma3Config *c, const int64_t *ids, const int64_t *lengths, int64_t prompts,
                               int64_t tokens, TimError *err) {
    if (prompts < 1 || tokens < 1 || tokens > c->max_position_embeddings)
        return tim_fail(err, TIM_E_ARGUMENT,
                        "%lld prompts of %lld tokens; there must be at least one of each, and tokens at most %lld",
                        (long long)prompts, (long long)tokens, (long long)c->max_position_embeddings);
    return tim_prompts_check(ids, lengths, prompts, tokens, 0, c->vocab_size, err);
}

/* The network of this shape: the last one, or a new one in its place. */
static TimStatus network_for(TimGemma3 *gemma, const TimGemma3Shape *shape, TimError *err) {
    TimGemma3Network *n = &gemma->network;
    if (n->tape && n->shape.rows == shape->rows && n->shape.prompts == shape->prompts && n->shape.tokens == shape->tokens &&
        n->shape.output == shape->output)
        return TIM_OK;
    tim_gemma3_network_done(n);
    TIM_TRY(tim_gemma3_network_new(n, &gemma->config, shape, &gemma->options, &gemma->weights.params, err));
    const TimStatus status = tim_tape_bind(n->tape, &gemma->weights.bound, NULL, err);
    if (status != TIM_OK) tim_gemma3_network_done(n);
    return status;
}

/* The prompts one after the other; a last row beyond them is padding. */
static void put_tokens(const TimGemma3 *gemma, const int64_t *ids, const int64_t *lengths, int64_t tokens) {
    const TimGemma3Network *n = &gemma->network;
    int64_t *id = tim_tape_value(n->tape, n->ids).data, *position = tim_tape_value(n->tape, n->positions).data;
    int64_t *length = tim_tape_value(n->tape, n->lengths).data, row = 0;
    for (int64_t b = 0; b < n->shape.prompts; b++) {
        length[2 * b] = length[2 * b + 1] = lengths[b];
        for (int64_t i = 0; i < lengths[b]; i++, row++) id[row] = ids[b * tokens + i], position[row] = i;
    }
    if (row < n->shape.rows) id[row] = gemma->config.pad_token_id, position[row] = 0;
}

static void take_hidden(const TimGemma3 *gemma, const int64_t *lengths, int64_t tokens, float *hidden) {
    const TimMatrix m = tim_tape_value(gemma->network.tape, gemma->network.hidden);
    const size_t bytes = (size_t)m.cols * sizeof *hidden;
    int64_t row = 0;
    for (int64_t b = 0; b < gemma->network.shape.prompts; b++)
        for (int64_t i = 0; i < tokens; i++, hidden += m.cols)
            memcpy(hidden, tim_matrix_f32(&m, i < lengths[b] ? row++ : m.rows - 1), bytes);
}

TimStatus tim_gemma3_encode(TimGemma3 *gemma, const int64_t *ids, const int64_t *lengths, int64_t prompts, int64_t tokens,
                            TimHiddenState output, float *hidden, TimError *err) {
    TIM_TRY(check_prompts(&gemma->config, ids, lengths, prompts, tokens, err));
    int64_t rows = 0;
    for (int64_t b = 0; b < prompts; b++) rows += lengths[b];
    const TimGemma3Shape shape = {.rows = rows + (rows < prompts * tokens), .prompts = prompts, .tokens = tokens, .output = output};
    TIM_TRY(network_for(gemma, &shape, err));
    put_tokens(gemma, ids, lengths, tokens);
    tim_tape_forward(gemma->network.tape, false);
    take_hidden(gemma, lengths, tokens, hidden);
    return TIM_OK;
}
