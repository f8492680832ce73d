/* A picture as the network takes it: resized, in [-1, 1], and where the model works on latents, through the encoder. */
#include <string.h>

#include "base/memory.h"
#include "sample/pipeline.h"

/* chw (channels, H, W) = byte / 127.5 - 1; gray fills every channel, and one channel gets the mean of colours as Pillow weighs
 * them. */
static void to_planes(float *chw, const TimImage *image, int channels) {
    const size_t pixels = (size_t)image->height * (size_t)image->width;
    for (size_t i = 0; i < pixels; i++) {
        const uint8_t *p = image->pixels + i * (size_t)image->channels;
        for (int c = 0; c < channels; c++) {
            const double value = image->channels == 1 ? p[0] : channels == 3 ? p[c] : 0.299 * p[0] + 0.587 * p[1] + 0.114 * p[2];
            chw[(size_t)c * pixels + i] = (float)(value / 127.5 - 1);
        }
    }
}

static TimStatus encode_planes(TimPipeline *p, const float *chw, int height, int width, bool tiled, float *x, TimError *err) {
    TimAutoencoder *encoder;
    TIM_TRY(tim_pipeline_encoder(p, &encoder, err));
    const TimAutoencoderConfig *config = tim_autoencoder_config(encoder);
    const int factor = tim_autoencoder_factor(config);
    const size_t size = (size_t)tim_autoencoder_latent_channels(config) * (size_t)(height / factor) * (size_t)(width / factor);
    const TimTiling tiling = tim_autoencoder_tiling(config);
    TIM_TRY(tiled ? tim_autoencoder_encode_tiled(encoder, &tiling, 1, height, width, chw, x, NULL, err)
                  : tim_autoencoder_encode(encoder, 1, height, width, chw, x, NULL, err));
    const size_t pixels = (size_t)(height / factor) * (size_t)(width / factor);
    for (size_t i = 0; i < size; i++) {
        const int channel = (int)(i / pixels);
        x[i] = (x[i] - (float)tim_autoencoder_shift(config, channel)) * (float)tim_autoencoder_scaling(config, channel);
    }
    return TIM_OK;
}

static TimStatus encode_resized(TimPipeline *p, const TimImage *image, bool tiled, float *x, TimError *err) {
    const TimAutoencoder *decoder = p->autoencoder;
    const int channels =
        decoder ? tim_autoencoder_picture_channels(tim_autoencoder_config(decoder), false) : p->model->config.network.in_channels;
    float *chw;
    if (!decoder) {
        to_planes(x, image, channels);
        return TIM_OK;
    }
    TIM_TRY(tim_new(&chw, (size_t)channels * (size_t)image->height * (size_t)image->width, sizeof *chw, "the picture", err));
    to_planes(chw, image, channels);
    const TimStatus status = encode_planes(p, chw, image->height, image->width, tiled, x, err);
    tim_free(chw);
    return status;
}

TimStatus tim_pipeline_encode(TimPipeline *p, const TimImage *init, int height, int width, bool tiled, float *x, TimError *err) {
    TimImage resized;
    TIM_TRY(tim_image_resize(&resized, init, height, width, TIM_IMAGE_BICUBIC, err));
    const TimStatus status = encode_resized(p, &resized, tiled, x, err);
    tim_image_done(&resized);
    return status;
}
