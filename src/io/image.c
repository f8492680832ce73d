/* 8-bit pictures in memory and their two published roundings from floats (GenEval and DPG; class-to-image and MJHQ).
 * Invariant: a non-empty TimImage has sides in 1 ... TIM_IMAGE_MAX_SIDE, 1 or 3 channels, and height * width * channels bytes. */
#include "tim/image.h"

#include "base/memory.h"
#include "io/codec.h"

TimStatus tim_image_new(TimImage *image, int height, int width, int channels, TimError *err) {
    *image = (TimImage){0};
    if (height < 1 || width < 1 || height > TIM_IMAGE_MAX_SIDE || width > TIM_IMAGE_MAX_SIDE)
        return tim_fail(err, TIM_E_ARGUMENT, "image: height %d, width %d; each must be 1 ... %d", height, width,
                        TIM_IMAGE_MAX_SIDE);
    if (channels != 1 && channels != 3)
        return tim_fail(err, TIM_E_ARGUMENT, "image: %d channels; give 1 (gray) or 3 (RGB)", channels);
    uint8_t *pixels;
    TIM_TRY(tim_new(&pixels, (size_t)height * (size_t)width, (size_t)channels, "the pixels of an image", err));
    *image = (TimImage){pixels, height, width, channels};
    return TIM_OK;
}

void tim_image_done(TimImage *image) {
    if (!image) return;
    tim_free(image->pixels);
    *image = (TimImage){0};
}

TimStatus tim_image_check(const TimImage *image, const char *what, TimError *err) {
    const bool sides =
        image->height >= 1 && image->height <= TIM_IMAGE_MAX_SIDE && image->width >= 1 && image->width <= TIM_IMAGE_MAX_SIDE;
    if (image->pixels && sides && (image->channels == 1 || image->channels == 3)) return TIM_OK;
    return tim_fail(err, TIM_E_ARGUMENT, "%s: got an image of height %d, width %d, %d channels%s; make it with tim_image_new", what,
                    image->height, image->width, image->channels, image->pixels ? "" : " without pixels");
}

/* Both comparisons are false for NaN only where the answer is then 0. */
static uint8_t clamp_and_truncate(float value) {
    if (!(value > 0.0F)) return 0;
    return value < 255.0F ? (uint8_t)value : 255;
}

/* The reference rounds the product to float before it adds. `volatile` keeps a compiler for a CPU with fused multiply-add from
 * skipping that rounding, which would move values that lie next to a step. */
static uint8_t byte_t2i(float x) {
    volatile float product = 127.5F * x;
    return clamp_and_truncate(product + 128.0F);
}

static uint8_t byte_c2i(float x) {
    return clamp_and_truncate(255.0F * ((x + 1.0F) / 2.0F));
}

TimStatus tim_image_from_chw(TimImage *image, const float *chw, int channels, int height, int width, TimImageRounding rounding,
                             TimError *err) {
    *image = (TimImage){0};
    if (rounding != TIM_IMAGE_ROUNDING_T2I && rounding != TIM_IMAGE_ROUNDING_C2I)
        return tim_fail(err, TIM_E_ARGUMENT, "image: unknown rounding %d; give one of TimImageRounding", (int)rounding);
    TIM_TRY(tim_image_new(image, height, width, channels, err));
    const size_t plane = (size_t)height * (size_t)width, depth = (size_t)channels;
    uint8_t (*const byte)(float) = rounding == TIM_IMAGE_ROUNDING_T2I ? byte_t2i : byte_c2i;
    for (size_t c = 0; c < depth; c++)
        for (size_t i = 0; i < plane; i++) image->pixels[i * depth + c] = byte(chw[c * plane + i]);
    return TIM_OK;
}
