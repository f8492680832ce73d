/* The encoder of T5 (Raffel et al., arXiv 1910.10683): token ids to hidden states. Its MLP has ReLU as in the first T5, or gated
 * GELU as in T5 v1.1 and Flan-T5 (Shazeer, arXiv 2002.05202).
 *
 * Every token attends to the real tokens of its prompt, also the padded ones, whose hidden states the published runs keep: prompts
 * are computed up to their common length.
 * Tensor names are the official ones; the embedding is encoder.embed_tokens.weight or shared.weight. For inference only. */
#ifndef TIM_MODEL_T5_ENCODER_H
#define TIM_MODEL_T5_ENCODER_H

#include "model/frozen.h"
#include "model/network.h"
#include "model/prompts.h"

typedef struct TimT5Config {
    int64_t vocab_size, d_model, d_kv, d_ff, num_layers, num_heads, pad_token_id;
    int64_t relative_attention_num_buckets, relative_attention_max_distance;
    double layer_norm_epsilon;
    bool gated; /* GELU times another projection; else ReLU */
} TimT5Config;

/* Reads a config.json of model_type t5. The text of an error names file, key, value and remedy. */
TimStatus tim_t5_config_read(TimT5Config *config, const char *path, TimError *err);

/* The same of a JSON text, without a file to name. */
TimStatus tim_t5_config_parse(TimT5Config *config, const char *json_text, TimError *err);

/* An encoder recorded for B prompts of M tokens: ids (B M, 1) and lengths (B, 2), M and the real tokens of each, i64; hidden (B M,
 * D) f32. */
typedef struct TimT5Network {
    TimTape *tape;
    int64_t prompts, tokens;
    TimHiddenState output;
    TimRef ids, lengths, hidden;
} TimT5Network;

/* Records and plans. `params` gains the parameters on the first recording. */
TimStatus tim_t5_network_new(TimT5Network *network, const TimT5Config *config, int64_t prompts, int64_t tokens,
                             TimHiddenState output, const TimNetworkOptions *options, TimParams *params, TimError *err);

void tim_t5_network_done(TimT5Network *network);

/* An encoder: weights, and the network of the last shape. */
typedef struct TimT5 {
    TimT5Config config;
    TimNetworkOptions options;
    TimFrozen weights;
    TimT5Network network;
} TimT5;

/* An encoder whose weights are still to be taken; 0 threads are as many as OpenMP would use. Free with _done. */
TimStatus tim_t5_init(TimT5 *t5, const TimT5Config *config, const TimNetworkOptions *options, TimError *err);

/* The encoder of a Hugging Face folder: config.json and weights of any kind that io/tensor_set.h finds there; a decoder beside it
 * is not read. In bf16 precision a bf16 file is used in its map. */
TimStatus tim_t5_open(TimT5 *t5, const char *folder, const TimNetworkOptions *options, TimError *err);

/* Frees what the encoder owns; {0} is fine. */
void tim_t5_done(TimT5 *t5);

/* hidden (B, M, D) of ids (B, M), of which prompt b has the first lengths[b] (1 ... M); what follows in its rows of
 * ids is taken as padding. TIM_E_ARGUMENT names an id or a length out of range. One call at a time. */
TimStatus tim_t5_encode(TimT5 *t5, const int64_t *ids, const int64_t *lengths, int64_t prompts, int64_t tokens,
                        TimHiddenState output, float *hidden, TimError *err);

#endif
