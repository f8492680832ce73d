/* The text decoder of Gemma 3 as an encoder of prompts (Gemma Team, arXiv 2503.19786): token ids to hidden states.
 *
 * Prompts of a batch lie one after the other without padding, so only real tokens are computed. The published runs pad to a common
 * length and their attention gives zero at padded queries in every layer, so a padded row is one constant vector; it is computed as
 * one more row that belongs to no prompt, and copied to all padded places.
 * Tensor names are the official ones. For inference only. */
#ifndef TIM_MODEL_GEMMA3_H
#define TIM_MODEL_GEMMA3_H

#include "model/frozen.h"
#include "model/network.h"
#include "model/prompts.h"

enum { TIM_GEMMA3_MAX_LAYERS = 256 };

typedef struct TimGemma3Config {
    int64_t vocab_size, hidden_size, intermediate_size, num_hidden_layers;
    int64_t num_attention_heads, num_key_value_heads, head_dim;
    int64_t sliding_window, max_position_embeddings, pad_token_id;
    bool sliding[TIM_GEMMA3_MAX_LAYERS]; /* the layer sees the last sliding_window keys, else all before */
    double rms_norm_eps, query_pre_attn_scalar;
    double rope_theta, rope_local_base_freq; /* bases of rotary in layers that see all, and in sliding ones */
    double rope_factor;                      /* positions are divided by it in layers that see all: "linear" scaling; 1: none */
} TimGemma3Config;

/* Reads a config.json of model_type gemma3_text. The text of an error names file, key, value and remedy. */
TimStatus tim_gemma3_config_read(TimGemma3Config *config, const char *path, TimError *err);

/* The same of a JSON text, without a file to name. */
TimStatus tim_gemma3_config_parse(TimGemma3Config *config, const char *json_text, TimError *err);

/* What one recording is for. */
typedef struct TimGemma3Shape {
    int64_t rows; /* tokens of all prompts, and one more where a padded row is wanted */
    int64_t prompts;
    int64_t tokens; /* positions are below it */
    TimHiddenState output;
} TimGemma3Shape;

/* A network recorded for one shape: ids (R, 1) and positions (R, 1) within their prompts, lengths (B, 2) twice the prompt's tokens,
 * all i64; hidden (R, D) f32. */
typedef struct TimGemma3Network {
    TimTape *tape;
    TimGemma3Shape shape;
    TimRef ids, positions, lengths, hidden;
    float *rotary; /* cos and sin (tokens, dh / 2) for layers that see all, then for sliding ones */
} TimGemma3Network;

/* Records and plans. `params` gains the parameters on the first recording. */
TimStatus tim_gemma3_network_new(TimGemma3Network *network, const TimGemma3Config *config, const TimGemma3Shape *shape,
                                 const TimNetworkOptions *options, TimParams *params, TimError *err);

void tim_gemma3_network_done(TimGemma3Network *network);

/* An encoder: weights, and the network of the last shape. */
typedef struct TimGemma3 {
    TimGemma3Config config;
    TimNetworkOptions options;
    TimFrozen weights;
    TimGemma3Network network;
} TimGemma3;

/* An encoder whose weights are still to be taken; 0 threads are as many as OpenMP would use. Free with _done. */
TimStatus tim_gemma3_init(TimGemma3 *gemma, const TimGemma3Config *config, const TimNetworkOptions *options, TimError *err);

/* The encoder of a Hugging Face folder: config.json and weights of any kind that io/tensor_set.h finds there. In bf16 precision a
 * bf16 file is used in its map. */
TimStatus tim_gemma3_open(TimGemma3 *gemma, const char *folder, const TimNetworkOptions *options, TimError *err);

/* Frees what the encoder owns; {0} is fine. */
void tim_gemma3_done(TimGemma3 *gemma);

/* hidden (B, M, D) of ids (B, M), of which prompt b has the first lengths[b] (0 ... M); what follows in its rows of ids is not
 * read, and in its rows of hidden is the constant of padding. TIM_E_ARGUMENT names an id or a length out of range. One call at a
 * time. */
TimStatus tim_gemma3_encode(TimGemma3 *gemma, const int64_t *ids, const int64_t *lengths, int64_t prompts, int64_t tokens,
                            TimHiddenState output, float *hidden, TimError *err);

#endif
