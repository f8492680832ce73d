/* The autoencoder of Stable Diffusion as diffusers' AutoencoderKL runs it: residual blocks with group norm, one attention in the
 * middle, a Gaussian for each latent pixel. Source: Rombach et al., arXiv 2112.10752; names and shapes: the published checkpoints. */
#ifndef TIM_MODEL_AUTOENCODER_KL_H
#define TIM_MODEL_AUTOENCODER_KL_H

#include "model/diffusers_config.h"
#include "nn/maps.h"

enum { TIM_KL_MAX_STAGES = 8 };

typedef struct TimKlConfig {
    int in_channels, out_channels, latent_channels;
    int stages, channels[TIM_KL_MAX_STAGES]; /* from the picture to the latent; sides are halved between stages */
    int layers;                              /* residual blocks of a stage; the decoder has one more */
    int groups;                              /* of the norms */
    bool quant_conv, post_quant_conv, mid_attention;
    int sample_size; /* side of a tile in tiled mode */
    double scaling_factor, shift_factor;
} TimKlConfig;

TimStatus tim_kl_config_read(TimKlConfig *kl, TimDiffusersConfig *config, TimError *err);

/* Records the encoder: a map of in_channels -> mean and logvar, 2 latent_channels, f32. Products are in the tape's type. */
TimMap tim_kl_encoder(TimTape *tape, const TimKlConfig *kl, TimMap x);

/* Records the decoder: a map of latent_channels -> out_channels, f32. */
TimMap tim_kl_decoder(TimTape *tape, const TimKlConfig *kl, TimMap z);

#endif
