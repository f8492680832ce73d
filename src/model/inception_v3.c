#include "model/inception_v3.h"

#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "nn/maps.h"

enum { CHANNELS = 3, NAME_MAX_BYTES = 64 };

/* ---- the network ---- */

/* Windows by height x width; `valid` and `half` see no padding, the others keep the sides. */
static const TimWindowSpec k1x1 = {.kernel_h = 1, .kernel_w = 1};
static const TimWindowSpec k3x3 = {.kernel_h = 3, .kernel_w = 3, .pad_y = 1, .pad_x = 1};
static const TimWindowSpec k5x5 = {.kernel_h = 5, .kernel_w = 5, .pad_y = 2, .pad_x = 2};
static const TimWindowSpec k1x3 = {.kernel_h = 1, .kernel_w = 3, .pad_x = 1};
static const TimWindowSpec k3x1 = {.kernel_h = 3, .kernel_w = 1, .pad_y = 1};
static const TimWindowSpec k1x7 = {.kernel_h = 1, .kernel_w = 7, .pad_x = 3};
static const TimWindowSpec k7x1 = {.kernel_h = 7, .kernel_w = 1, .pad_y = 3};
static const TimWindowSpec valid3x3 = {.kernel_h = 3, .kernel_w = 3};
static const TimWindowSpec half3x3 = {.kernel_h = 3, .kernel_w = 3, .stride = 2};

/* Where units are added: the tape, and what their names begin with. */
typedef struct Block {
    TimTape *tape;
    const char *prefix;
} Block;

/* Convolution, batch norm (folded) and ReLU. */
static TimMap unit(Block b, TimMap x, int64_t channels, TimWindowSpec window, const char *name) {
    const TimConvolutionSpec spec = {.window = window, .out_channels = channels, .bias = true};
    char full[NAME_MAX_BYTES];
    snprintf(full, sizeof full, "%s%s.conv", b.prefix, name);
    return tim_relu(b.tape, tim_convolution(b.tape, x, &spec, full));
}

static TimMap mixed_a(Block b, TimMap x, int64_t pool_channels) {
    TimMap y[4];
    y[0] = unit(b, x, 64, k1x1, "branch1x1");

    y[1] = unit(b, x, 48, k1x1, "branch5x5_1");
    y[1] = unit(b, y[1], 64, k5x5, "branch5x5_2");

    y[2] = unit(b, x, 64, k1x1, "branch3x3dbl_1");
    y[2] = unit(b, y[2], 96, k3x3, "branch3x3dbl_2");
    y[2] = unit(b, y[2], 96, k3x3, "branch3x3dbl_3");

    y[3] = unit(b, tim_average_pool(b.tape, x, k3x3), pool_channels, k1x1, "branch_pool");
    return tim_concat(b.tape, y, 4);
}

static TimMap mixed_b(Block b, TimMap x) {
    TimMap y[3];
    y[0] = unit(b, x, 384, half3x3, "branch3x3");

    y[1] = unit(b, x, 64, k1x1, "branch3x3dbl_1");
    y[1] = unit(b, y[1], 96, k3x3, "branch3x3dbl_2");
    y[1] = unit(b, y[1], 96, half3x3, "branch3x3dbl_3");

    y[2] = tim_max_pool(b.tape, x, half3x3);
    return tim_concat(b.tape, y, 3);
}

/* `width` channels inside the branches of 7 x 7. */
static TimMap mixed_c(Block b, TimMap x, int64_t width) {
    TimMap y[4];
    y[0] = unit(b, x, 192, k1x1, "branch1x1");

    y[1] = unit(b, x, width, k1x1, "branch7x7_1");
    y[1] = unit(b, y[1], width, k1x7, "branch7x7_2");
    y[1] = unit(b, y[1], 192, k7x1, "branch7x7_3");

    y[2] = unit(b, x, width, k1x1, "branch7x7dbl_1");
    y[2] = unit(b, y[2], width, k7x1, "branch7x7dbl_2");
    y[2] = unit(b, y[2], width, k1x7, "branch7x7dbl_3");
    y[2] = unit(b, y[2], width, k7x1, "branch7x7dbl_4");
    y[2] = unit(b, y[2], 192, k1x7, "branch7x7dbl_5");

    y[3] = unit(b, tim_average_pool(b.tape, x, k3x3), 192, k1x1, "branch_pool");
    return tim_concat(b.tape, y, 4);
}

static TimMap mixed_d(Block b, TimMap x) {
    TimMap y[3];
    y[0] = unit(b, x, 192, k1x1, "branch3x3_1");
    y[0] = unit(b, y[0], 320, half3x3, "branch3x3_2");

    y[1] = unit(b, x, 192, k1x1, "branch7x7x3_1");
    y[1] = unit(b, y[1], 192, k1x7, "branch7x7x3_2");
    y[1] = unit(b, y[1], 192, k7x1, "branch7x7x3_3");
    y[1] = unit(b, y[1], 192, half3x3, "branch7x7x3_4");

    y[2] = tim_max_pool(b.tape, x, half3x3);
    return tim_concat(b.tape, y, 3);
}

/* `pooled` is x after the pool of the pool branch. */
static TimMap mixed_e(Block b, TimMap x, TimMap pooled) {
    TimMap y[6];
    y[0] = unit(b, x, 320, k1x1, "branch1x1");

    const TimMap a = unit(b, x, 384, k1x1, "branch3x3_1");
    y[1] = unit(b, a, 384, k1x3, "branch3x3_2a");
    y[2] = unit(b, a, 384, k3x1, "branch3x3_2b");

    TimMap d = unit(b, x, 448, k1x1, "branch3x3dbl_1");
    d = unit(b, d, 384, k3x3, "branch3x3dbl_2");
    y[3] = unit(b, d, 384, k1x3, "branch3x3dbl_3a");
    y[4] = unit(b, d, 384, k3x1, "branch3x3dbl_3b");

    y[5] = unit(b, pooled, 192, k1x1, "branch_pool");
    return tim_concat(b.tape, y, 6);
}

static void keep_mean(TimInceptionNetwork *n, TimMap map, TimInceptionOutput which) {
    n->outputs[which] = tim_global_average(n->tape, map);
    tim_tape_keep(n->tape, n->outputs[which], false);
}

static void record(TimInceptionNetwork *n, int64_t pictures) {
    TimTape *t = n->tape;
    const Block stem = {t, ""};
    n->x = tim_tape_input(t, TIM_F32, pictures, CHANNELS * TIM_INCEPTION_PIXELS, false);
    TimMap x = tim_map_of_pictures(t, n->x, CHANNELS, TIM_INCEPTION_SIDE, TIM_INCEPTION_SIDE);

    x = unit(stem, x, 32, half3x3, "Conv2d_1a_3x3"); /* 149 x 149 */
    x = unit(stem, x, 32, valid3x3, "Conv2d_2a_3x3");
    x = unit(stem, x, 64, k3x3, "Conv2d_2b_3x3");
    x = tim_max_pool(t, x, half3x3); /* 73 x 73 */
    keep_mean(n, x, TIM_INCEPTION_BLOCK0);

    x = unit(stem, x, 80, k1x1, "Conv2d_3b_1x1");
    x = unit(stem, x, 192, valid3x3, "Conv2d_4a_3x3");
    x = tim_max_pool(t, x, half3x3); /* 35 x 35 */
    keep_mean(n, x, TIM_INCEPTION_BLOCK1);

    x = mixed_a((Block){t, "Mixed_5b."}, x, 32);
    x = mixed_a((Block){t, "Mixed_5c."}, x, 64);
    x = mixed_a((Block){t, "Mixed_5d."}, x, 64);
    x = mixed_b((Block){t, "Mixed_6a."}, x); /* 17 x 17 */
    x = mixed_c((Block){t, "Mixed_6b."}, x, 128);
    x = mixed_c((Block){t, "Mixed_6c."}, x, 160);
    x = mixed_c((Block){t, "Mixed_6d."}, x, 160);
    n->mixed_6d = x.x;
    tim_tape_keep(t, n->mixed_6d, false);
    x = mixed_c((Block){t, "Mixed_6e."}, x, 192);
    keep_mean(n, x, TIM_INCEPTION_BLOCK2);

    x = mixed_d((Block){t, "Mixed_7a."}, x); /* 8 x 8 */
    x = mixed_e((Block){t, "Mixed_7b."}, x, tim_average_pool(t, x, k3x3));
    x = mixed_e((Block){t, "Mixed_7c."}, x, tim_max_pool(t, x, k3x3));
    keep_mean(n, x, TIM_INCEPTION_POOL);
}

static void free_network(TimInceptionNetwork *network) {
    tim_tape_free(network->tape);
    *network = (TimInceptionNetwork){0};
}

/* Records and plans for inference. `params` gains the parameters on the first trace. */
static TimStatus new_network(TimInceptionNetwork *network, const TimTapeOptions *options, TimParams *params, TimError *err) {
    *network = (TimInceptionNetwork){0};
    TIM_TRY(tim_tape_new(&network->tape, options, params, err));
    record(network, options->samples);
    const TimStatus status = tim_tape_plan(network->tape, err);
    if (status != TIM_OK) free_network(network);
    return status;
}

/* ---- one with weights ---- */

static TimStatus fill(TimInception *n, TimIsa isa, int threads, TimError *err) {
    const TimTapeOptions options = {.isa = isa, .threads = threads, .samples = n->batch, .product = TIM_F32};
    TIM_TRY(new_network(&n->network, &options, &n->params, err));
    TIM_TRY(tim_new(&n->weights, n->params.elements, sizeof *n->weights, "the weights of Inception v3", err));
    TIM_TRY(tim_weights_new(&n->bound, n->params.count, err));
    tim_weights_point(&n->bound, &n->params, n->weights, NULL);
    return tim_tape_bind(n->network.tape, &n->bound, NULL, err);
}

TimStatus tim_inception_init(TimInception *inception, int64_t batch, TimIsa isa, int threads, TimError *err) {
    *inception = (TimInception){.batch = batch};
    const TimStatus status = fill(inception, isa, threads, err);
    if (status != TIM_OK) tim_inception_done(inception);
    return status;
}

void tim_inception_done(TimInception *inception) {
    free_network(&inception->network);
    tim_weights_done(&inception->bound);
    tim_params_done(&inception->params);
    tim_free(inception->weights);
    *inception = (TimInception){0};
}

/* ---- pictures ---- */

/* Between which two pixels of a line an output pixel lies, and the share of the second. */
typedef struct Between {
    int first, second;
    float share;
} Between;

/* Where the line of `size` pixels is read for an output pixel. The graph's own sums are in fp32. */
static double place(int index, int size, TimInceptionInput input) {
    if (input == TIM_INCEPTION_AS_TORCH) return (index + 0.5) * size / TIM_INCEPTION_SIDE - 0.5;
    const float step = (float)size / TIM_INCEPTION_SIDE;
    return (double)((float)index * step);
}

static Between between(int index, int size, TimInceptionInput input) {
    const double at = place(index, size, input);
    if (at <= 0) return (Between){0};
    const int first = (int)at;
    return (Between){first, first + 1 < size ? first + 1 : first, (float)(at - first)};
}

static float mix(float a, float b, float share) {
    return a + share * (b - a);
}

static void prepare_row(float *out, const float *top, const float *bottom, float share, int width, TimInceptionInput input) {
    const float gain = input == TIM_INCEPTION_AS_TORCH ? 2.0F : 1.0F / 128; /* powers of two: exact */
    for (int x = 0; x < TIM_INCEPTION_SIDE; x++) {
        const Between b = between(x, width, input);
        const float upper = mix(top[b.first], top[b.second], b.share), lower = mix(bottom[b.first], bottom[b.second], b.share);
        out[x] = gain * mix(upper, lower, share) - 1;
    }
}

/* x (3, 299, 299) of a picture (3, height, width) in [0, 1], or in [0, 255] for the graph. */
static void prepare(float *x, const float *picture, int height, int width, TimInceptionInput input) {
    for (int c = 0; c < CHANNELS; c++) {
        const float *plane = picture + (size_t)c * (size_t)height * (size_t)width;
        float *out = x + (size_t)c * TIM_INCEPTION_PIXELS;
        for (int y = 0; y < TIM_INCEPTION_SIDE; y++) {
            const Between b = between(y, height, input);
            prepare_row(out + y * TIM_INCEPTION_SIDE, plane + (size_t)b.first * (size_t)width,
                        plane + (size_t)b.second * (size_t)width, b.share, width, input);
        }
    }
}

void tim_inception_prepare(float *x, const float *picture, int height, int width) {
    prepare(x, picture, height, width, TIM_INCEPTION_AS_TORCH);
}

/* planes (3, pixels) = the values of a picture (pixels, channels), divided */
static void split(float *planes, const uint8_t *picture, size_t pixels, size_t channels, float divisor) {
    for (size_t c = 0; c < CHANNELS; c++)
        for (size_t i = 0; i < pixels; i++) planes[c * pixels + i] = (float)picture[i * channels + c % channels] / divisor;
}

static TimStatus check_picture(int height, int width, int channels, TimError *err) {
    size_t pixels, bytes;
    if (height < 1 || width < 1 || (channels != 1 && channels != CHANNELS))
        return tim_fail(err, TIM_E_ARGUMENT,
                        "Inception v3: cannot take a picture of height %d, width %d and %d channels; sides must be positive and "
                        "channels 1 or 3",
                        height, width, channels);
    if (!tim_mul_size((size_t)height, (size_t)width, &pixels) || !tim_mul_size(pixels, CHANNELS * sizeof(float), &bytes))
        return tim_fail(err, TIM_E_MEMORY, "Inception v3: a picture of height %d and width %d does not fit into memory", height,
                        width);
    return TIM_OK;
}

TimStatus tim_inception_put(TimInception *n, int64_t at, TimInceptionInput input, const uint8_t *picture, int height, int width,
                            int channels, TimError *err) {
    float *planes;
    TIM_TRY(check_picture(height, width, channels, err));
    const size_t pixels = (size_t)height * (size_t)width;
    const TimMatrix x = tim_tape_value(n->network.tape, n->network.x);
    TIM_TRY(tim_new(&planes, pixels, CHANNELS * sizeof *planes, "a picture in floats", err));
    split(planes, picture, pixels, (size_t)channels, input == TIM_INCEPTION_AS_TORCH ? 255.0F : 1.0F);
    prepare(tim_matrix_f32(&x, at), planes, height, width, input);
    tim_free(planes);
    return TIM_OK;
}

TimStatus tim_inception_run(TimInception *n, const uint8_t *pictures, int64_t count, int height, int width, int channels,
                            float *features, TimError *err) {
    TIM_TRY(check_picture(height, width, channels, err));
    if (count < 0) return tim_fail(err, TIM_E_ARGUMENT, "Inception v3: %lld pictures; give 0 or more", (long long)count);
    const size_t bytes = (size_t)height * (size_t)width * (size_t)channels;
    const TimMatrix pool = tim_tape_value(n->network.tape, n->network.outputs[TIM_INCEPTION_POOL]);
    for (int64_t first = 0; first < count; first += n->batch) {
        const int64_t size = count - first < n->batch ? count - first : n->batch;
        for (int64_t i = 0; i < size; i++)
            TIM_TRY(tim_inception_put(n, i, TIM_INCEPTION_AS_TORCH, pictures + (size_t)(first + i) * bytes, height, width, channels,
                                      err));
        tim_tape_forward(n->network.tape, false);
        memcpy(features + first * pool.cols, pool.data, (size_t)(size * pool.cols) * sizeof *features);
    }
    return TIM_OK;
}
