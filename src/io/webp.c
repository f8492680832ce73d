/* WebP files by libwebp's simple interface, which returns instead of jumping.
 * Format: RFC 9649. */
#include <string.h>

#include <webp/decode.h>
#include <webp/encode.h>

#include "base/memory.h"
#include "io/codec.h"

/* ---- writing ---- */

/* libwebp knows no gray: three equal channels, to be freed, or the image's own pixels. */
static TimStatus widen(const TimImage *image, uint8_t **gray, TimError *err) {
    const size_t count = (size_t)image->height * (size_t)image->width;
    *gray = NULL;
    if (image->channels == 3) return TIM_OK;
    TIM_TRY(tim_new(gray, count, 3, "a gray picture as RGB", err));
    for (size_t i = 0; i < count; i++) memset(*gray + 3 * i, image->pixels[i], 3);
    return TIM_OK;
}

static size_t encode(uint8_t **out, const uint8_t *rgb, const TimImage *image, int quality) {
    const int stride = 3 * image->width;
    if (quality == 100) return WebPEncodeLosslessRGB(rgb, image->width, image->height, stride, out);
    return WebPEncodeRGB(rgb, image->width, image->height, stride, (float)quality, out);
}

static TimStatus encode_webp(const TimImage *image, const char *path, const void *settings, TimFileWriter *writer, TimError *err) {
    uint8_t *gray, *out = NULL;
    TIM_TRY(widen(image, &gray, err));
    const size_t size = encode(&out, gray ? gray : image->pixels, image, *(const int *)settings);
    tim_free(gray);
    const TimStatus status = size > 0 ? tim_file_writer_write(writer, out, size, err)
                                      : tim_fail(err, TIM_E_MEMORY, "%s: libwebp cannot encode it; is memory short?", path);
    WebPFree(out);
    return status;
}

TimStatus tim_image_write_webp(const TimImage *image, const char *path, int quality, TimError *err) {
    if (quality < 1 || quality > 100)
        return tim_fail(err, TIM_E_ARGUMENT, "%s: WebP quality %d; give 1 ... 99, or 100 for lossless", path, quality);
    if (image->height > WEBP_MAX_DIMENSION || image->width > WEBP_MAX_DIMENSION)
        return tim_fail(err, TIM_E_ARGUMENT, "%s: height %d, width %d; a WebP has at most %d a side", path, image->height,
                        image->width, WEBP_MAX_DIMENSION);
    return tim_image_write_with(encode_webp, &quality, image, path, err);
}

/* ---- reading ---- */

/* Pixels that any file may claim, and how many for each of its bytes beyond that. One colour takes a lossless WebP almost no bytes
 * whatever its size, so the format itself sets no bound; this one keeps memory in proportion all the same. */
enum { FREE_PIXELS = 1 << 24, PIXELS_A_BYTE = 1024 };

static TimStatus check_features(const WebPBitstreamFeatures *features, const TimFile *file, const char *path, TimError *err) {
    const uint64_t pixels = (uint64_t)features->width * (uint64_t)features->height;
    if (features->has_animation) return tim_fail(err, TIM_E_UNSUPPORTED, "%s: an animated WebP; export one of its frames", path);
    if (pixels > FREE_PIXELS && pixels / PIXELS_A_BYTE > file->size)
        return tim_fail(err, TIM_E_FORMAT, "%s: %zu bytes are too few for a WebP of height %d, width %d; export it as a PNG", path,
                        file->size, features->height, features->width);
    return TIM_OK;
}

static const char *cause_of(VP8StatusCode code) {
    switch (code) {
    case VP8_STATUS_NOT_ENOUGH_DATA:
        return "the file ends too early";
    case VP8_STATUS_UNSUPPORTED_FEATURE:
        return "it uses a feature that libwebp does not know";
    default:
        return "its data is damaged";
    }
}

static TimStatus refuse(VP8StatusCode code, const char *path, TimError *err) {
    if (code == VP8_STATUS_OUT_OF_MEMORY) return tim_fail(err, TIM_E_MEMORY, "%s: libwebp has too little memory; free some", path);
    return tim_fail(err, TIM_E_FORMAT, "%s: not a valid WebP: %s; export it again", path, cause_of(code));
}

/* The decoder is told to write RGB into the image's own pixels. It leaves alpha out without blending. */
static TimStatus decode(TimImage *image, WebPDecoderConfig *config, const TimFile *file, const char *path, TimError *err) {
    VP8StatusCode code = WebPGetFeatures(file->data, file->size, &config->input);
    if (code != VP8_STATUS_OK) return refuse(code, path, err);
    TIM_TRY(check_features(&config->input, file, path, err));
    TIM_TRY(tim_image_new(image, config->input.height, config->input.width, 3, err));
    config->output.colorspace = MODE_RGB;
    config->output.is_external_memory = 1;
    config->output.u.RGBA.rgba = image->pixels;
    config->output.u.RGBA.stride = 3 * image->width;
    config->output.u.RGBA.size = (size_t)image->height * (size_t)image->width * 3;
    code = WebPDecode(file->data, file->size, config);
    return code == VP8_STATUS_OK ? TIM_OK : refuse(code, path, err);
}

TimStatus tim_webp_decode(TimImage *image, const TimFile *file, const char *path, TimError *err) {
    WebPDecoderConfig config;
    *image = (TimImage){0};
    if (!WebPInitDecoderConfig(&config))
        return tim_fail(err, TIM_E_INTERNAL, "%s: the libwebp that is installed is not the one this was built with", path);
    const TimStatus status = decode(image, &config, file, path, err);
    WebPFreeDecBuffer(&config.output);
    if (status != TIM_OK) tim_image_done(image);
    return status;
}
