/* The autoencoder of Stable Diffusion as diffusers' AutoencoderKL runs it: residual blocks with group norm, one attention in the
 * middle, a Gaussian for each latent pixel. Source: Rombach et al., arXiv 2112.10752; names and shapes: the published
 * checkpoints. */
#ifndef TIM_MODEL_AUTOENCODER_KL_H
#define TIM_MODEL_AUTOENCODER_KL_H

#include "model/diffusers_config.h"
#include "nn/maps.h"

enum { TIM_KL_MAX_STAGES = 8, TIM_KL_MAX_LAYERS = 64, TIM_KL_MAX_NORMS = 2 * TIM_KL_MAX_LAYERS + 3, TIM_KL_MAX_NORMALIZED = 64 };

#define TIM_KL_NORM_EPS 1e-6F

typedef struct TimKlConfig {
    int in_channels, out_channels, latent_channels;
    int stages, channels[TIM_KL_MAX_STAGES]; /* from the picture to the latent; sides are halved between stages */
    int layers;                              /* residual blocks of a stage; the decoder has one more */
    int groups;                              /* of the norms */
    bool quant_conv, post_quant_conv, mid_attention;
    int sample_size; /* side of a tile in tiled mode */
    double scaling_factor, shift_factor;
    bool normalized; /* channels have means and standard deviations of their own, in place of shift_factor */
    double latents_mean[TIM_KL_MAX_NORMALIZED], latents_std[TIM_KL_MAX_NORMALIZED];
} TimKlConfig;

TimStatus tim_kl_config_read(TimKlConfig *kl, TimDiffusersConfig *config, TimError *err);

/* Records the encoder: a map of in_channels -> mean and logvar, 2 latent_channels, f32. Products are in the tape's type. */
TimMap tim_kl_encoder(TimTape *tape, const TimKlConfig *kl, TimMap x);

/* Records the decoder: a map of latent_channels -> out_channels, f32. */
TimMap tim_kl_decoder(TimTape *tape, const TimKlConfig *kl, TimMap z);

/* ---- the decoder in parts, each of which but for the moments of its norms is local: up block 0 with all before it, then a part
 * for every other up block, from its upsampling on, the last with all behind it ---- */

/* The norms of one part in their order: what each reads, and where its moments go in. */
typedef struct TimKlNorms {
    int count;
    TimRef in[TIM_KL_MAX_NORMS], moments[TIM_KL_MAX_NORMS]; /* (1, 2 groups) inputs: see TIM_OP_GROUP_NORM */
} TimKlNorms;

/* All before up block `stage` > 0: a map of the channels of up block stage - 1, f32. */
TimMap tim_kl_decoder_before(TimTape *tape, const TimKlConfig *kl, int stage, TimMap z);

/* Up block `stage` > 0 from such a map, or a part of it, to the next, f32. `norms` takes their moments out of the caller's
 * hands. */
TimMap tim_kl_decoder_stage(TimTape *tape, const TimKlConfig *kl, int stage, TimMap x, TimKlNorms *norms);

/* Channels of the map that up block `stage` makes; of the last, of the picture. */
int tim_kl_stage_channels(const TimKlConfig *kl, int stage);

/* Rows of the picture for one of a stage's input. */
int tim_kl_stage_scale(const TimKlConfig *kl, int stage);

/* Rows of a stage's input around a row that the result depends on, above and below. */
int tim_kl_stage_halo(const TimKlConfig *kl, int stage);

#endif
