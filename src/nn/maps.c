#include "nn/maps.h"

#include "nn/layers.h"
#include "op/window.h"

TimMap tim_map_of_pictures(TimTape *tape, TimRef pictures, int channels, int height, int width) {
    const TimOpParams params = {.patch = {.channels = channels, .height = height, .width = width, .patch = 1, .out = TIM_F32}};
    return (TimMap){tim_tape_add(tape, TIM_OP_PATCHIFY, params, 1, &pictures), height, width};
}

static TimWindow window_on(TimMap map, TimWindowSpec s) {
    return (TimWindow){.height = map.height,
                       .width = map.width,
                       .kernel_h = s.kernel_h,
                       .kernel_w = s.kernel_w,
                       .stride = s.stride ? s.stride : 1,
                       .pad_y = s.pad_y,
                       .pad_x = s.pad_x};
}

/* The map that a window makes of its picture; the op has checked the window. */
static TimMap slid(TimRef x, const TimWindow *w) {
    return (TimMap){x, (int)window_out_h(w), (int)window_out_w(w)};
}

TimMap tim_convolution(TimTape *tape, TimMap map, const TimConvolutionSpec *spec, const char *name) {
    const TimWindow window = window_on(map, spec->window);
    const int64_t dims[4] = {spec->out_channels, tim_tape_shape(tape, map.x).cols, window.kernel_h, window.kernel_w};
    TimRef in[3] = {map.x};
    in[1] = tim_prefixed_param(tape, TIM_F32, TIM_INIT_XAVIER, 4, dims, name, "weight");
    if (spec->bias) in[2] = tim_prefixed_param(tape, TIM_F32, TIM_INIT_ZERO, 1, dims, name, "bias");
    const TimOpParams params = {.convolution = {window, spec->bias}};
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
