#include "model/t5_encoder.h"

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
    const TimT5Config *c;
    TimDtype product;
    TimRef lengths, bias; /* the first layer's bias serves all */
} Recording;

static const char *name_of(char name[NAME_MAX_BYTES], int layer, const char *part) {
    snprintf(name, NAME_MAX_BYTES, "encoder.block.%d.layer.%s", layer, part);
    return name;
}

static TimRef linear(const Recording *r, TimRef x, int64_t width, TimDtype out, int layer, const char *part) {
    char name[NAME_MAX_BYTES];
    const TimLinearSpec spec = {.out_features = width, .init = TIM_INIT_XAVIER, .dtype = r->product, .out = out};
    return tim_linear(r->tape, x, &spec, name_of(name, layer, part));
}

static TimRef norm(const Recording *r, TimRef x, int layer, const char *part) {
    char name[NAME_MAX_BYTES];
    return tim_rms_norm(r->tape, x, (float)r->c->layer_norm_epsilon, 0, r->product, name_of(name, layer, part));
}

/* Scores are not scaled; their bias goes by the distance of the tokens. */
static TimRef attention(const Recording *r, TimRef x, int layer) {
    const int64_t width = r->c->num_heads * r->c->d_kv;
    TimRef in[5];
    in[0] = linear(r, x, width, r->product, layer, "0.SelfAttention.q");
    in[1] = linear(r, x, width, r->product, layer, "0.SelfAttention.k");
    in[2] = linear(r, x, width, r->product, layer, "0.SelfAttention.v");
    in[3] = r->lengths;
    in[4] = r->bias;
    const TimOpParams params = {.attention_masked = {.heads = (int)r->c->num_heads,
                                                     .kv_heads = (int)r->c->num_heads,
                                                     .scale = 1,
                                                     .max_distance = (int)r->c->relative_attention_max_distance}};
    const TimRef o = tim_tape_add(r->tape, TIM_OP_ATTENTION_MASKED, params, 5, in);
    return linear(r, o, r->c->d_model, TIM_F32, layer, "0.SelfAttention.o");
}

static TimRef plain_mlp(const Recording *r, TimRef x, int layer) {
    const TimRef h = linear(r, x, r->c->d_ff, r->product, layer, "1.DenseReluDense.wi");
    const TimRef hidden = tim_tape_add(r->tape, TIM_OP_RELU, (TimOpParams){0}, 1, &h);
    return linear(r, hidden, r->c->d_model, TIM_F32, layer, "1.DenseReluDense.wo");
}

static TimRef gated_mlp(const Recording *r, TimRef x, int layer) {
    TimRef in[2];
    in[0] = linear(r, x, r->c->d_ff, r->product, layer, "1.DenseReluDense.wi_0");
    in[1] = linear(r, x, r->c->d_ff, r->product, layer, "1.DenseReluDense.wi_1");
    const TimRef hidden = tim_tape_add(r->tape, TIM_OP_GEGLU, (TimOpParams){0}, 2, in);
    return linear(r, hidden, r->c->d_model, TIM_F32, layer, "1.DenseReluDense.wo");
}

/* The stream stays in f32: its values grow far beyond what 16 bits hold well. */
static TimRef block(const Recording *r, TimRef x, int layer) {
    x = tim_add(r->tape, x, attention(r, norm(r, x, layer, "0.layer_norm"), layer), 1);
    const TimRef h = norm(r, x, layer, "1.layer_norm");
    return tim_add(r->tape, x, r->c->gated ? gated_mlp(r, h, layer) : plain_mlp(r, h, layer), 1);
}

static TimRef record(Recording *r, TimRef ids, TimHiddenState output) {
    const TimT5Config *c = r->c;
    const int layers = (int)c->num_layers - (output == TIM_HIDDEN_BEFORE_LAST);
    const int64_t table[2] = {c->vocab_size, c->d_model}, buckets[2] = {c->relative_attention_num_buckets, c->num_heads};
    TimRef in[2] = {ids};
    in[1] = tim_tape_param(r->tape, r->product, TIM_INIT_NORMAL, 2, table, "encoder.embed_tokens.weight");
    r->bias = tim_tape_param(r->tape, r->product, TIM_INIT_NORMAL, 2, buckets,
                             "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight");
    TimRef x = tim_tape_add(r->tape, TIM_OP_EMBEDDING, (TimOpParams){0}, 2, in);
    for (int layer = 0; layer < layers; layer++) x = block(r, x, layer);
    if (output == TIM_HIDDEN_BEFORE_LAST) return x;
    return tim_rms_norm(r->tape, x, (float)c->layer_norm_epsilon, 0, TIM_F32, "encoder.final_layer_norm");
}

static TimStatus fill_network(TimT5Network *n, const TimT5Config *config, const TimNetworkOptions *options, TimParams *params,
                              TimError *err) {
    const TimDtype product = options->precision == TIM_PRECISION_BF16 ? TIM_BF16 : TIM_F32;
    const TimTapeOptions tape = {
        .isa = options->isa, .threads = options->threads, .samples = 1, .product = product, .dry = options->dry};
    TIM_TRY(tim_tape_new(&n->tape, &tape, params, err));
    n->ids = tim_tape_input(n->tape, TIM_I64, n->prompts * n->tokens, 1, false);
    n->lengths = tim_tape_input(n->tape, TIM_I64, n->prompts, 2, false);
    Recording r = {.tape = n->tape, .c = config, .product = product, .lengths = n->lengths};
    n->hidden = record(&r, n->ids, n->output);
    tim_tape_keep(n->tape, n->hidden, false);
    return tim_tape_plan(n->tape, err);
}

TimStatus tim_t5_network_new(TimT5Network *network, const TimT5Config *config, int64_t prompts, int64_t tokens,
                             TimHiddenState output, const TimNetworkOptions *options, TimParams *params, TimError *err) {
    *network = (TimT5Network){.prompts = prompts, .tokens = tokens, .output = output};
    const TimStatus status = fill_network(network, config, options, params, err);
    if (status != TIM_OK) tim_t5_network_done(network);
    return status;
}

void tim_t5_network_done(TimT5Network *network) {
    tim_tape_free(network->tape);
    *network = (TimT5Network){0};
}

/* ---- one with weights ---- */

/* Declares all parameters by recording the smallest network. */
static TimStatus declare(TimT5 *t5, TimError *err) {
    const TimNetworkOptions options = {.isa = TIM_ISA_REF, .threads = 1, .precision = TIM_PRECISION_F32};
    TimT5Network network;
    TIM_TRY(tim_t5_network_new(&network, &t5->config, 1, 1, TIM_HIDDEN_LAST, &options, &t5->weights.params, err));
    tim_t5_network_done(&network);
    return tim_frozen_init(&t5->weights, &t5->options, err);
}

TimStatus tim_t5_init(TimT5 *t5, const TimT5Config *config, const TimNetworkOptions *options, TimError *err) {
    *t5 = (TimT5){.config = *config, .options = *options};
    if (!t5->options.threads) t5->options.threads = omp_get_max_threads();
    const TimStatus status = declare(t5, err);
    if (status != TIM_OK) tim_t5_done(t5);
    return status;
}

static TimStatus open_files(TimT5 *t5, const char *config_path, const char *folder, const TimNetworkOptions *options,
                            TimError *err) {
    static const char *const ignored[] = {"decoder.", "lm_head.", NULL};
    static const TimFrozenNames names = {.name = "encoder.embed_tokens.weight", .alias = "shared.weight", .ignored = ignored};
    TimT5Config config;
    TIM_TRY(tim_t5_config_read(&config, config_path, err));
    TIM_TRY(tim_t5_init(t5, &config, options, err));
    return tim_frozen_open(&t5->weights, folder, &names, err);
}

TimStatus tim_t5_open(TimT5 *t5, const char *folder, const TimNetworkOptions *options, TimError *err) {
    char *config_path = NULL;
    *t5 = (TimT5){0};
    TimStatus status = tim_path_at(&config_path, folder, "config.json", err);
    if (status == TIM_OK) status = open_files(t5, config_path, folder, options, err);
    tim_free(config_path);
    if (status != TIM_OK) tim_t5_done(t5);
    return status;
}

void tim_t5_done(TimT5 *t5) {
    tim_t5_network_done(&t5->network);
    tim_frozen_done(&t5->weights);
    *t5 = (TimT5){0};
}

/* ---- running ---- */

static TimStatus check_prompts(const TimT5Config *c, const int64_t *ids, const int64_t *lengths, int64_t prompts, int64_t tokens,
                               TimError *err) {
    enum { MOST = 1 << 20 };
    if (prompts < 1 || tokens < 1 || prompts > MOST || tokens > MOST)
        return tim_fail(err, TIM_E_ARGUMENT, "%lld prompts of %lld tokens; there must be 1 to %d of each", (long long)prompts,
                        (long long)tokens, MOST);
    return tim_prompts_check(ids, lengths, prompts, tokens, 1, c->vocab_size, err);
}

/* The network of this shape: the last one, or a new one in its place. */
static TimStatus network_for(TimT5 *t5, int64_t prompts, int64_t tokens, TimHiddenState output, TimError *err) {
    TimT5Network *n = &t5->network;
    if (n->tape && n->prompts == prompts && n->tokens == tokens && n->output == output) return TIM_OK;
    tim_t5_network_done(n);
    TIM_TRY(tim_t5_network_new(n, &t5->config, prompts, tokens, output, &t5->options, &t5->weights.params, err));
    const TimStatus status = tim_tape_bind(n->tape, &t5->weights.bound, NULL, err);
    if (status != TIM_OK) tim_t5_network_done(n);
    return status;
}

TimStatus tim_t5_encode(TimT5 *t5, const int64_t *ids, const int64_t *lengths, int64_t prompts, int64_t tokens,
                        TimHiddenState output, float *hidden, TimError *err) {
    TIM_TRY(check_prompts(&t5->config, ids, lengths, prompts, tokens, err));
    TIM_TRY(network_for(t5, prompts, tokens, output, err));
    const TimT5Network *n = &t5->network;
    int64_t *id = tim_tape_value(n->tape, n->ids).data, *length = tim_tape_value(n->tape, n->lengths).data;
    for (int64_t b = 0; b < prompts; b++) {
        length[2 * b] = tokens, length[2 * b + 1] = lengths[b];
        for (int64_t i = 0; i < tokens; i++) id[b * tokens + i] = i < lengths[b] ? ids[b * tokens + i] : t5->config.pad_token_id;
    }
    tim_tape_forward(n->tape, false);
    const TimMatrix out = tim_tape_value(n->tape, n->hidden);
    memcpy(hidden, out.data, (size_t)(out.rows * out.cols) * sizeof *hidden);
    return TIM_OK;
}
