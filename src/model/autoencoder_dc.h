/* The deep-compression autoencoder as diffusers' AutoencoderDC runs it: residual blocks at the fine stages, EfficientViT blocks at
 * the coarse ones, and shortcuts that carry pixels into channels and back beside every change of the sides.
 * Source: Chen et al., DC-AE, arXiv 2410.10733; Cai et al., EfficientViT, arXiv 2205.14756; names and shapes: the published
 * checkpoints. */
#ifndef TIM_MODEL_AUTOENCODER_DC_H
#define TIM_MODEL_AUTOENCODER_DC_H

#include "model/diffusers_config.h"
#include "nn/maps.h"

enum { TIM_DC_MAX_STAGES = 10, TIM_DC_MAX_SCALES = 4 };

typedef struct TimDcStage {
    int channels, layers;
    bool vit;                                   /* EfficientViT blocks; else residual ones */
    int scales[TIM_DC_MAX_SCALES], scale_count; /* sides of the windows that aggregate q, k and v */
    bool batch_norm;                            /* of a residual block: at rest, folded into the convolution before it; else RMS */
    bool relu;                                  /* the residual blocks' activation; else SiLU */
} TimDcStage;

typedef struct TimDcConfig {
    int in_channels, latent_channels, head_width, stages;
    TimDcStage encoder[TIM_DC_MAX_STAGES], decoder[TIM_DC_MAX_STAGES]; /* from the picture to the latent */
    bool out_shortcut, in_shortcut;  /* of the encoder's last and the decoder's first convolution */
    bool silu_out;                   /* before the decoder's last convolution; else ReLU */
    bool unshuffle_down, shuffle_up; /* sides change by moving pixels; else by a stride and by nearest pixels */
    double scaling_factor;
} TimDcConfig;

TimStatus tim_dc_config_read(TimDcConfig *dc, TimDiffusersConfig *config, TimError *err);

/* Records the encoder: a map of in_channels -> latent_channels, f32. Products are in the tape's type. */
TimMap tim_dc_encoder(TimTape *tape, const TimDcConfig *dc, TimMap x);

/* Records the decoder: a map of latent_channels -> in_channels, f32. */
TimMap tim_dc_decoder(TimTape *tape, const TimDcConfig *dc, TimMap z);

/* ---- the decoder in two parts: the coarse one, in which every pixel sees every other, and the fine one, which is local ---- */

/* How many of the stages, from the finest on, are the fine part; 0 when there is none. */
int tim_dc_fine_stages(const TimDcConfig *dc);

/* Of the fine part: rows of the result for a row of its input, and rows of the input around it that the result depends on, above
 * and below. */
int tim_dc_fine_scale(const TimDcConfig *dc);
int tim_dc_fine_halo(const TimDcConfig *dc);

/* z -> a map of decoder[tim_dc_fine_stages].channels, f32; and from there to the picture. */
TimMap tim_dc_decoder_coarse(TimTape *tape, const TimDcConfig *dc, TimMap z);
TimMap tim_dc_decoder_fine(TimTape *tape, const TimDcConfig *dc, TimMap x);

#endif
