/* An autoencoder between pictures and latents, of either kind that diffusers folders hold: AutoencoderKL or AutoencoderDC.
 * Pictures are (B, C, H, W) in [-1, 1], latents (B, c, h, w) as the network makes them: scaling_factor and shift_factor are for the
 * caller. Encoder and decoder are separate halves, so that whoever needs one pays for one. */
#ifndef TIM_MODEL_AUTOENCODER_H
#define TIM_MODEL_AUTOENCODER_H

#include "model/autoencoder_dc.h"
#include "model/autoencoder_kl.h"

typedef enum TimAutoencoderKind { TIM_AUTOENCODER_KL, TIM_AUTOENCODER_DC } TimAutoencoderKind;

typedef struct TimAutoencoderConfig {
    TimAutoencoderKind kind;
    TimKlConfig kl;
    TimDcConfig dc;
} TimAutoencoderConfig;

/* Reads the config.json of a diffusers folder. The text of an error names file, key, value and remedy. */
TimStatus tim_autoencoder_config_read(TimAutoencoderConfig *config, const char *path, TimError *err);

/* From the text of a config.json. `class_name` is AutoencoderKL or AutoencoderDC; NULL: the text's own _class_name. */
TimStatus tim_autoencoder_config_parse(TimAutoencoderConfig *config, const char *json_text, const char *class_name, TimError *err);

/* Pixels a side for one latent pixel, and channels. */
int tim_autoencoder_factor(const TimAutoencoderConfig *config);
int tim_autoencoder_picture_channels(const TimAutoencoderConfig *config, bool decoder);
int tim_autoencoder_latent_channels(const TimAutoencoderConfig *config);

/* What the network knows of a channel is (latent - shift) scaling; before decoding it is divided by `scaling`, and `shift` is
 * added. */
double tim_autoencoder_scaling(const TimAutoencoderConfig *config, int channel);
double tim_autoencoder_shift(const TimAutoencoderConfig *config, int channel);

typedef struct TimAutoencoderOptions {
    TimIsa isa;
    int threads;
    bool bf16;             /* products; norms, sums and the residual stream stay f32 */
    bool encoder, decoder; /* the halves to have */
    size_t max_copy_bytes; /* that their weights may take; 0: no bound */
} TimAutoencoderOptions;

typedef struct TimAutoencoder TimAutoencoder;

/* Makes one whose weights are still to be set. Free with tim_autoencoder_close. One call at a time on one autoencoder. */
TimStatus tim_autoencoder_new(TimAutoencoder **out, const TimAutoencoderConfig *config, const TimAutoencoderOptions *options,
                              TimError *err);
void tim_autoencoder_close(TimAutoencoder *autoencoder);
const TimAutoencoderConfig *tim_autoencoder_config(const TimAutoencoder *autoencoder);

/* Gives the official tensor `name` of the shape dims[0 ... rank - 1], row-major, in `out`. */
typedef TimStatus (*TimAutoencoderRead)(void *from, const char *name, int rank, const size_t *dims, float *out, TimError *err);

/* Makes the weights of the halves from the official tensors; batch norms are folded into the convolutions before them. */
TimStatus tim_autoencoder_set_weights(TimAutoencoder *autoencoder, TimAutoencoderRead read, void *from, TimError *err);

/* Opens a diffusers folder: config.json and weights of any kind that io/tensor_set.h finds there. Strict: a tensor that is missing,
 * unknown or of another shape is TIM_E_FORMAT, a setting this library does not run TIM_E_UNSUPPORTED; the text names file, key or
 * tensor, and value. */
TimStatus tim_autoencoder_open(TimAutoencoder **out, const char *folder, const TimAutoencoderOptions *options, TimError *err);

/* x (B, C, H, W), sides multiples of the factor -> mean (B, c, h, w) and, of a KL, the logarithm of the variance, from -30 to 20;
 * `logvar` may be NULL and stays as it is for a DC, whose latent is the mean. */
TimStatus tim_autoencoder_encode(TimAutoencoder *autoencoder, int64_t batch, int height, int width, const float *x, float *mean,
                                 float *logvar, TimError *err);

/* z (B, c, h, w) -> x (B, C, h factor, w factor). */
TimStatus tim_autoencoder_decode(TimAutoencoder *autoencoder, int64_t batch, int height, int width, const float *z, float *x,
                                 TimError *err);

/* How a picture is decoded in strips; {0}: whole. */
typedef struct TimStrips {
    int rows; /* of the picture */
    int stage; /* of a KL: up blocks from this one on are cut, 1 ... stages - 1. Norms see the whole picture, so that each of these stages
                * runs about half as many times as it has norms */
} TimStrips;

/* *strips = those in which a picture from a latent of these sides is decoded with at most `most` bytes of tapes and maps, at as
 * little work as does; *bytes = what it takes then. When not even the smallest strips fit, or there are none, *bytes is more than
 * `most`. */
TimStatus tim_autoencoder_find_strips(TimAutoencoder *autoencoder, int height, int width, size_t most, TimStrips *strips,
                                      size_t *bytes, TimError *err);

/* *bytes = of the tape that encodes a picture of these sides, whole. */
TimStatus tim_autoencoder_encode_bytes(TimAutoencoder *autoencoder, int height, int width, size_t *bytes, TimError *err);

/* As tim_autoencoder_decode, in strips, their rows rounded to what the stages divide into: the whole picture's result but for
 * rounding, in less memory. TIM_E_UNSUPPORTED when no stage can be cut, TIM_E_ARGUMENT for a stage that there is not. */
TimStatus tim_autoencoder_decode_strips(TimAutoencoder *autoencoder, const TimStrips *strips, int64_t batch, int height, int width,
                                        const float *z, float *x, TimError *err);

/* Lets the tapes go; the next call makes them anew. NULL is fine: a model on pixels has none. */
void tim_autoencoder_rest(TimAutoencoder *autoencoder);

/* ---- tiled mode, as published: each tile by itself, blended where they overlap. Not the whole picture's result. ---- */

/* In pixels, multiples of the factor; tiles start every `stride` and overlap by tile - stride. */
typedef struct TimTiling {
    int tile_h, tile_w, stride_h, stride_w;
} TimTiling;

/* What diffusers would use, rounded down to the factor: for a KL tiles of sample_size overlapping by a quarter, for a DC 512 every
 * 448. */
TimTiling tim_autoencoder_tiling(const TimAutoencoderConfig *config);

TimStatus tim_autoencoder_encode_tiled(TimAutoencoder *autoencoder, const TimTiling *tiling, int64_t batch, int height, int width,
                                       const float *x, float *mean, float *logvar, TimError *err);
TimStatus tim_autoencoder_decode_tiled(TimAutoencoder *autoencoder, const TimTiling *tiling, int64_t batch, int height, int width,
                                       const float *z, float *x, TimError *err);

/* *bytes = of the tapes and tiles that encode or decode a picture, or a latent, of these sides so. */
TimStatus tim_autoencoder_tiled_bytes(TimAutoencoder *autoencoder, bool decoder, const TimTiling *tiling, int height, int width,
                                      size_t *bytes, TimError *err);

/* Bytes of weights and of the tapes kept at the moment. */
size_t tim_autoencoder_bytes(const TimAutoencoder *autoencoder);

/* Of the weights alone. */
size_t tim_autoencoder_weight_bytes(const TimAutoencoder *autoencoder);

/* Starts (or stops, with NULL) measuring the tapes kept at the moment; see tim_tape_measure. */
void tim_autoencoder_measure(TimAutoencoder *autoencoder, TimTapeTimes *times);

#endif
