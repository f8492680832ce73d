#include "nn/maps.h"

#include "nn/layers.h"
#include "op/window.h"

TimMap tim_map_of_pictures(TimTape *tape, TimRef pictures, int channels, int height, int width) {
    const TimOpParams params = {.patch = {.channels = channels, .height = height, .width = width, .patch = 1, .out = TIM_F32}};
    return (TimMap){tim_tape_add(tape, TIM_OP_PATCHIFY, params, 1, &pictures), height, width};
}

TimRef tim_pictures_of_map(TimTape *tape, TimMap map) {
    const int channels = (int)tim_tape_shape(tape, map.x).cols;
    const TimOpParams params = {
        .patch = {.channels = channels, .height = map.height, .width = map.width, .patch = 1, .out = TIM_F32}};
    return tim_tape_add(tape, TIM_OP_UNPATCHIFY, params, 1, &map.x);
}

static TimWindow window_on(TimMap map, TimWindowSpec s) {
    return (TimWindow){.height = map.height,
                       .width = map.width,
                       .kernel_h = s.kernel_h,
                       .kernel_w = s.kernel_w,
                       .stride = s.stride ? s.stride : 1,
                       .pad_y = s.pad_y,
                       .pad_x = s.pad_x,
                       .pad_end = s.pad_end};
}

/* The map that a window makes of its picture; the op has checked the window. */
static TimMap slid(TimRef x, const TimWindow *w) {
    return (TimMap){x, (int)window_out_h(w), (int)window_out_w(w)};
}

static TimDtype float_or_bf16(TimDtype dtype) {
    return dtype == TIM_BF16 ? TIM_BF16 : TIM_F32;
}

TimMap tim_convolution(TimTape *tape, TimMap map, const TimConvolutionSpec *spec, const char *name) {
    const TimWindow window = window_on(map, spec->window);
    const int groups = spec->groups ? spec->groups : 1;
    const int64_t dims[4] = {spec->out_channels, tim_tape_shape(tape, map.x).cols / groups, window.kernel_h, window.kernel_w};
    TimRef in[3] = {map.x};
    in[1] = tim_prefixed_param(tape, float_or_bf16(spec->dtype), TIM_INIT_XAVIER, 4, dims, name, "weight");
    if (spec->bias) in[2] = tim_prefixed_param(tape, TIM_F32, TIM_INIT_ZERO, 1, dims, name, "bias");
    const TimOpParams params = {
        .convolution = {
            .window = window, .has_bias = spec->bias, .groups = groups, .silu = spec->silu, .out = float_or_bf16(spec->out)}};
    return slid(tim_tape_add(tape, TIM_OP_CONVOLUTION, params, spec->bias ? 3 : 2, in), &window);
}

static TimMap pool(TimTape *tape, TimMap map, TimWindowSpec spec, bool average) {
    const TimWindow window = window_on(map, spec);
    return slid(tim_tape_add(tape, TIM_OP_POOL, (TimOpParams){.pool = {window, average}}, 1, &map.x), &window);
}

TimMap tim_max_pool(TimTape *tape, TimMap map, TimWindowSpec window) {
    return pool(tape, map, window, false);
}

TimMap tim_average_pool(TimTape *tape, TimMap map, TimWindowSpec window) {
    return pool(tape, map, window, true);
}

TimRef tim_global_average(TimTape *tape, TimMap map) {
    return tim_average_pool(tape, map, (TimWindowSpec){.kernel_h = map.height, .kernel_w = map.width}).x;
}

TimMap tim_concat(TimTape *tape, const TimMap *maps, int count) {
    TimRef in[TIM_OP_MAX_IN] = {0};
    if (count > TIM_OP_MAX_IN) tim_tape_fail(tape, TIM_E_INTERNAL, "%d maps to join; at most %d", count, TIM_OP_MAX_IN);
    for (int i = 0; i < count && i < TIM_OP_MAX_IN; i++) in[i] = maps[i].x;
    const TimRef joined = tim_tape_add(tape, TIM_OP_CONCAT, (TimOpParams){0}, count, in);
    return (TimMap){joined, maps[0].height, maps[0].width};
}

TimMap tim_relu(TimTape *tape, TimMap map) {
    map.x = tim_tape_add(tape, TIM_OP_RELU, (TimOpParams){0}, 1, &map.x);
    return map;
}

/* ---- for inference only ---- */

static TimRef vector(TimTape *tape, TimInit init, int64_t length, const char *name, const char *part) {
    return tim_prefixed_param(tape, TIM_F32, init, 1, &length, name, part);
}

TimMap tim_group_norm(TimTape *tape, TimMap map, TimRef moments, const TimGroupNormParams *params, const char *name) {
    const int64_t channels = tim_tape_shape(tape, map.x).cols;
    TimRef in[4] = {map.x, TIM_NONE, TIM_NONE, moments};
    in[1] = vector(tape, TIM_INIT_ONE, channels, name, "weight");
    in[2] = vector(tape, TIM_INIT_ZERO, channels, name, "bias");
    map.x = tim_tape_add(tape, TIM_OP_GROUP_NORM, (TimOpParams){.group_norm = *params}, moments == TIM_NONE ? 3 : 4, in);
    return map;
}

TimMap tim_channel_norm(TimTape *tape, TimMap map, TimRef residual, bool relu, TimDtype out, const char *name) {
    const int64_t channels = tim_tape_shape(tape, map.x).cols;
    const bool adds = residual != TIM_NONE;
    const TimOpParams params = {.channel_norm = {.residual = adds, .relu = relu, .eps = 1e-5F, .out = out}};
    TimRef in[4] = {map.x};
    in[1] = vector(tape, TIM_INIT_ONE, channels, name, "weight");
    in[2] = vector(tape, TIM_INIT_ZERO, channels, name, "bias");
    in[3] = residual;
    map.x = tim_tape_add(tape, TIM_OP_CHANNEL_NORM, params, adds ? 4 : 3, in);
    return map;
}

TimMap tim_upsample(TimTape *tape, TimMap map, TimDtype out) {
    const TimOpParams params = {.upsample = {.height = map.height, .width = map.width, .factor = 2, .out = out}};
    return (TimMap){tim_tape_add(tape, TIM_OP_UPSAMPLE, params, 1, &map.x), 2 * map.height, 2 * map.width};
}

static TimRef shuffle(TimTape *tape, TimOpKind kind, TimMap map, int factor, int count, TimRef added) {
    const bool adds = added != TIM_NONE;
    const TimRef in[2] = {map.x, added};
    const TimOpParams params = {
        .shuffle = {.height = map.height, .width = map.width, .factor = factor, .count = count, .add = adds}};
    return tim_tape_add(tape, kind, params, adds ? 2 : 1, in);
}

TimMap tim_pixel_shuffle(TimTape *tape, TimMap map, int factor, int count, TimRef added) {
    return (TimMap){shuffle(tape, TIM_OP_PIXEL_SHUFFLE, map, factor, count, added), map.height * factor, map.width * factor};
}

TimMap tim_pixel_unshuffle(TimTape *tape, TimMap map, int factor, int count, TimRef added) {
    return (TimMap){shuffle(tape, TIM_OP_PIXEL_UNSHUFFLE, map, factor, count, added), map.height / factor, map.width / factor};
}
