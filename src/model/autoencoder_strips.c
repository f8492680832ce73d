/* DC-AE's decoder with its fine part in strips. The map between the parts is kept whole; each strip runs on a window of its rows,
 * with as many beyond the strip as its result depends on. All windows have one height, so that one tape serves: at the picture's
 * edges a window ends where the picture does, and its padding is the picture's; elsewhere what its padding has spoilt is not
 * taken. */
#include <string.h>

#include "base/memory.h"
#include "model/autoencoder_half.h"

typedef struct Strips {
    TimHalf *half;
    int64_t batch;
    int height, width, channels; /* of the map between the parts */
    int rows, window, scale;     /* rows of it that a strip adds, and that it sees; rows of the picture for one */
    float *map;                  /* (B, height, width, channels) */
    float *out;                  /* (B, C, height scale, width scale) */
} Strips;

/* Rows of the map between the parts for a latent of `height`, and what a strip sees of them. */
static int map_rows(const TimHalf *half, int height) {
    return height * (tim_autoencoder_factor(half->config) / tim_dc_fine_scale(&half->config->dc));
}

static int window_of(const TimHalf *half, int rows, int height) {
    return tim_strip_window(rows, tim_dc_fine_halo(&half->config->dc), height);
}

static TimStatus run_coarse(Strips *s, int height, int width, const float *in, TimError *err) {
    const TimHalfTape *t;
    TIM_TRY(tim_half_tape(s->half, &(TimHalfShape){.part = TIM_HALF_COARSE, .batch = s->batch, .height = height, .width = width},
                          &t, err));
    const TimMatrix x = tim_tape_value(t->tape, t->in), y = tim_tape_value(t->tape, t->out);
    s->channels = (int)y.cols;
    s->height = map_rows(s->half, height);
    s->width = map_rows(s->half, width);
    TIM_TRY(tim_new(&s->map, (size_t)(y.rows * y.cols), sizeof *s->map, "the map between the decoder's parts", err));
    memcpy(x.data, in, (size_t)(x.rows * x.cols) * sizeof *in);
    tim_tape_forward(t->tape, false);
    memcpy(s->map, y.data, (size_t)(y.rows * y.cols) * sizeof *s->map);
    return TIM_OK;
}

/* Rows first ... first + count of the map's picture b, from a window that starts at row `top`. */
static void take(const Strips *s, const TimMatrix *y, int64_t b, int top, int first, int count) {
    const int planes = tim_half_out_channels(s->half);
    const size_t row = (size_t)s->width * (size_t)s->scale, above = (size_t)((first - top) * s->scale) * row;
    for (int c = 0; c < planes; c++)
        memcpy(s->out + ((size_t)(b * planes + c) * (size_t)s->height + (size_t)first) * (size_t)s->scale * row,
               tim_matrix_f32(y, 0) + (size_t)c * (size_t)s->window * (size_t)s->scale * row + above,
               (size_t)(count * s->scale) * row * sizeof *s->out);
}

static TimStatus run_strip(Strips *s, int64_t b, int first, int count, TimError *err) {
    const TimHalfTape *t;
    const int top = tim_strip_top(first, s->rows, s->window, s->height);
    const size_t row = (size_t)s->width * (size_t)s->channels;
    TIM_TRY(tim_half_tape(s->half, &(TimHalfShape){.part = TIM_HALF_FINE, .batch = 1, .height = s->window, .width = s->width}, &t,
                          err));
    const TimMatrix x = tim_tape_value(t->tape, t->in), y = tim_tape_value(t->tape, t->out);
    memcpy(x.data, s->map + ((size_t)b * (size_t)s->height + (size_t)top) * row, (size_t)s->window * row * sizeof *s->map);
    tim_tape_forward(t->tape, false);
    take(s, &y, b, top, first, count);
    return TIM_OK;
}

static TimStatus run_fine(Strips *s, TimError *err) {
    for (int64_t b = 0; b < s->batch; b++)
        for (int first = 0; first < s->height; first += s->rows)
            TIM_TRY(run_strip(s, b, first, tim_smaller(s->rows, s->height - first), err));
    return TIM_OK;
}

TimStatus tim_half_strips_bytes(TimHalf *half, int rows, int height, int width, size_t *bytes, TimError *err) {
    const TimDcConfig *dc = &half->config->dc;
    const int map_height = map_rows(half, height), map_width = map_rows(half, width);
    const size_t map =
        (size_t)map_height * (size_t)map_width * (size_t)dc->decoder[tim_dc_fine_stages(dc)].channels * sizeof(float);
    const TimHalfShape before = {.part = TIM_HALF_COARSE, .batch = 1, .height = height, .width = width},
                       window = {
                           .part = TIM_HALF_FINE, .batch = 1, .height = window_of(half, rows, map_height), .width = map_width};
    size_t coarse, fine;
    TIM_TRY(tim_half_bytes(half, &before, &coarse, err));
    TIM_TRY(tim_half_bytes(half, &window, &fine, err));
    *bytes = map + (coarse > fine ? coarse : fine);
    return TIM_OK;
}

TimStatus tim_half_run_strips(TimHalf *half, int rows, int64_t batch, int height, int width, const float *in, float *out,
                              TimError *err) {
    const TimDcConfig *dc = &half->config->dc;
    Strips s = {.half = half, .batch = batch, .rows = rows, .scale = tim_dc_fine_scale(dc), .out = out};
    TimStatus status = run_coarse(&s, height, width, in, err);
    s.window = window_of(half, rows, s.height);
    if (status == TIM_OK) status = run_fine(&s, err);
    tim_free(s.map);
    return status;
}
