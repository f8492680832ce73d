/* The TiM network (arXiv 2509.04394): a DiT with two times, conditioned on a class or on caption features. */
#ifndef TIM_MODEL_NETWORK_H
#define TIM_MODEL_NETWORK_H

#include "tape/tape.h"
#include "tim/config.h"

/* What one trace is for. */
typedef struct TimNetworkShape {
    int64_t batch;           /* B */
    int height, width;       /* of the picture or latent, multiples of the patch */
    int caption_tokens;      /* M, text network only */
    bool caption_keys;       /* what depends on the caption alone comes from a TimCaptionNetwork; for inference */
    int64_t tangent_samples; /* the last of the batch; see TimTapeOptions */
    bool gradients;
    bool hidden; /* also the projected hidden state */
} TimNetworkShape;

/* How it runs. */
typedef struct TimNetworkOptions {
    TimIsa isa;
    int threads;
    TimPrecision precision;
    bool dry;              /* of the tape: it tells its bytes, and cannot run */
    bool rounded_rotary;   /* TimModelOptions */
    size_t max_copy_bytes; /* that converted weights may take; 0: no bound */
    bool frozen; /* the weights are used as a checkpoint stores them: every matrix in the dtype of the products. For inference */
} TimNetworkOptions;

/* A network recorded for one shape. The references are inputs and outputs of the tape:
 *   x (B, C H W), t and r (B, 1) after c_noise, labels (B, 1) i64 or caption (B M, cap_feat_dim); f32 unless said.
 *   f (B, C H W): the output F.   hidden (B N, z_dim): the projection, TIM_NONE unless asked for.
 * With tangent samples, x and t have tangents (r has none); with gradients, f and hidden are seeded. */
typedef struct TimNetwork {
    TimTape *tape;
    TimNetworkShape shape;
    TimRef x, t, r, labels, caption;
    TimRef *keys; /* (depth) inputs (B M, 2D) with caption_keys, else NULL; `caption` is TIM_NONE then */
    TimRef f, hidden;
    float *cos, *sin; /* (N, dh) */
} TimNetwork;

/* Records and plans. `params` gains the parameters on the first trace and must outlive the network. */
TimStatus tim_network_new(TimNetwork *network, const TimNetworkConfig *config, const TimNetworkShape *shape,
                          const TimNetworkOptions *options, TimParams *params, TimError *err);

void tim_network_done(TimNetwork *network);

/* The part of the text network that sees the caption alone: caption (B M, cap_feat_dim) f32 to the keys and values of every block's
 * cross-attention, (B M, 2D) in the dtype of the products. Once for all steps of a sampler. */
typedef struct TimCaptionNetwork {
    TimTape *tape;
    TimRef caption;
    TimRef *keys; /* (depth) */
} TimCaptionNetwork;

/* Records and plans for the batch and tokens of `shape`. */
TimStatus tim_caption_network_new(TimCaptionNetwork *network, const TimNetworkConfig *config, const TimNetworkShape *shape,
                                  const TimNetworkOptions *options, TimParams *params, TimError *err);

void tim_caption_network_done(TimCaptionNetwork *network);

/* Bytes of the rotary tables beside a network's tape: cosines and sines. */
size_t tim_network_rope_bytes(const TimNetworkConfig *config, const TimNetworkShape *shape);

/* Lists all parameters of the network, the projector's included, in the order of the checkpoint. */
TimStatus tim_network_params(TimParams *params, const TimNetworkConfig *config, TimError *err);

/* Arithmetic of one sample's forward pass: 2 per multiply-add of the matrix products and of attention. */
double tim_network_flops(const TimNetworkConfig *config, int height, int width, int caption_tokens, bool hidden);

#endif
