/* A KL's decoder with its fine stages in strips. Between stages the map is kept whole; a strip runs on a window of its rows, with
 * as many beyond it as its result depends on, as in autoencoder_strips.c. What is not local are the group norms: for each of a
 * stage's norms all strips run as far as what it reads, whose sums over the strips' own rows are the picture's, and only then can
 * anything behind it run. */
#include <math.h>
#include <string.h>

#include "base/bf16.h"
#include "base/memory.h"
#include "model/autoencoder_half.h"

/* Of one group: sums of d and d^2, where d = x - start. */
typedef struct Sums {
    double start, sum, square;
} Sums;

/* One stage of one picture. */
typedef struct Stage {
    TimHalf *half;
    int index, groups;
    int height, width, channels; /* of its input; the result's sides are twice as long */
    int rows, window;            /* of its input: what a strip adds, and sees */
    bool last;                   /* the result is a picture, (C, H, W); else a map, (H W, C) */
    const float *in;
    float *out;
    float *moments; /* (norms, 2 groups) */
    Sums *sums;     /* (groups) */
    Sums *parts;    /* (threads, groups) */
} Stage;

static int thread_count(const TimHalf *half) {
    return half->options.threads > 0 ? half->options.threads : 1;
}

static const TimKlConfig *kl_of(const Stage *s) {
    return &s->half->config->kl;
}

/* ---- windows ---- */

static int top_of(const Stage *s, int first) {
    return tim_strip_top(first, s->rows, s->window, s->height);
}

static TimStatus tape_of(const Stage *s, const TimHalfTape **t, TimError *err) {
    const TimHalfShape shape = {.part = TIM_HALF_FINE, .stage = s->index, .batch = 1, .height = s->window, .width = s->width};
    return tim_half_tape(s->half, &shape, t, err);
}

/* The window from row `top` on, and the moments that are known. */
static void load(const Stage *s, const TimHalfTape *t, int top) {
    const size_t row = (size_t)s->width * (size_t)s->channels, both = (size_t)s->groups * 2;
    memcpy(tim_tape_value(t->tape, t->in).data, s->in + (size_t)top * row, (size_t)s->window * row * sizeof *s->in);
    for (int i = 0; i < t->norms.count; i++)
        memcpy(tim_tape_value(t->tape, t->norms.moments[i]).data, s->moments + (size_t)i * both, both * sizeof *s->moments);
}

/* ---- moments ---- */

static double value_at(const TimMatrix *x, int64_t row, int64_t column) {
    if (x->dtype == TIM_F32) return (double)tim_matrix_f32(x, row)[column];
    return (double)tim_bf16_to_f32(tim_matrix_bf16(x, row)[column]);
}

/* Rows first ... first + count - 1 of the matrix into `sums`, (groups). */
static void add_rows(const Stage *s, const TimMatrix *x, int64_t first, int64_t count, Sums *sums) {
    const int64_t width = x->cols / s->groups;
    for (int64_t r = first; r < first + count; r++)
        for (int g = 0; g < s->groups; g++)
            for (int64_t c = g * width; c < (g + 1) * width; c++) {
                const double d = value_at(x, r, c) - s->sums[g].start;
                sums[g].sum += d;
                sums[g].square += d * d;
            }
}

/* Pixels of the strip's own, a share for each thread. */
static void add_pixels(const Stage *s, const TimMatrix *x, int64_t first, int64_t count) {
    const int threads = thread_count(s->half);
    memset(s->parts, 0, (size_t)threads * (size_t)s->groups * sizeof *s->parts);
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int part = 0; part < threads; part++) {
        const int64_t begin = first + count * part / threads, end = first + count * (part + 1) / threads;
        add_rows(s, x, begin, end - begin, s->parts + (size_t)part * (size_t)s->groups);
    }
    for (int part = 0; part < threads; part++)
        for (int g = 0; g < s->groups; g++) {
            const Sums *more = &s->parts[(size_t)part * (size_t)s->groups + (size_t)g];
            s->sums[g].sum += more->sum, s->sums[g].square += more->square;
        }
}

/* Every group starts from its first value, so that a mean far from zero costs no digits. */
static void start_sums(const Stage *s, const TimMatrix *x) {
    for (int g = 0; g < s->groups; g++) s->sums[g] = (Sums){.start = value_at(x, 0, g * (x->cols / s->groups))};
}

static void solve(const Stage *s, float *moments, double count) {
    for (int g = 0; g < s->groups; g++) {
        const Sums *sums = &s->sums[g];
        const double mean = sums->sum / count, variance = sums->square / count - mean * mean;
        moments[g] = (float)(sums->start + mean);
        moments[s->groups + g] = (float)(1 / sqrt((variance > 0 ? variance : 0) + (double)TIM_KL_NORM_EPS));
    }
}

/* The moments of norm `index`, all before it being known. */
static void find_moments(const Stage *s, const TimHalfTape *t, int index) {
    const TimMatrix x = tim_tape_shape(t->tape, t->norms.in[index]);
    const int64_t line = (int64_t)2 * s->width; /* pixels of a row */
    for (int first = 0; first < s->height; first += s->rows) {
        const int top = top_of(s, first), count = tim_smaller(s->rows, s->height - first);
        load(s, t, top);
        tim_tape_forward_to(t->tape, t->norms.in[index]);
        const TimMatrix value = tim_tape_value(t->tape, t->norms.in[index]);
        if (first == 0) start_sums(s, &value);
        add_pixels(s, &value, 2 * (first - top) * line, 2 * count * line);
    }
    solve(s, s->moments + (size_t)index * (size_t)s->groups * 2, 2.0 * s->height * (double)line * (double)(x.cols / s->groups));
}

/* ---- the result ---- */

static void take_map(const Stage *s, const TimMatrix *y, int top, int first, int count) {
    const size_t line = (size_t)2 * (size_t)s->width * (size_t)y->cols;
    memcpy(s->out + (size_t)(2 * first) * line, tim_matrix_f32(y, 0) + (size_t)(2 * (first - top)) * line,
           (size_t)(2 * count) * line * sizeof *s->out);
}

static void take_picture(const Stage *s, const TimMatrix *y, int top, int first, int count) {
    const size_t line = (size_t)2 * (size_t)s->width;
    for (int c = 0; c < kl_of(s)->out_channels; c++)
        memcpy(s->out + ((size_t)c * (size_t)(2 * s->height) + (size_t)(2 * first)) * line,
               tim_matrix_f32(y, 0) + ((size_t)c * (size_t)(2 * s->window) + (size_t)(2 * (first - top))) * line,
               (size_t)(2 * count) * line * sizeof *s->out);
}

static TimStatus run_stage(const Stage *s, TimError *err) {
    const TimHalfTape *t;
    TIM_TRY(tape_of(s, &t, err));
    for (int i = 0; i < t->norms.count; i++) find_moments(s, t, i);
    for (int first = 0; first < s->height; first += s->rows) {
        const int top = top_of(s, first), count = tim_smaller(s->rows, s->height - first);
        load(s, t, top);
        tim_tape_forward(t->tape, false);
        const TimMatrix y = tim_tape_value(t->tape, t->out);
        (s->last ? take_picture : take_map)(s, &y, top, first, count);
    }
    return TIM_OK;
}

/* ---- all stages of a picture ---- */

/* The stage whose input is a map of a latent of these sides. */
static Stage stage_of(TimHalf *half, int index, int rows, int height, int width) {
    const TimKlConfig *kl = &half->config->kl;
    Stage s = {.half = half, .index = index, .groups = kl->groups, .last = index + 1 == kl->stages};
    s.height = height << (index - 1), s.width = width << (index - 1);
    s.channels = tim_kl_stage_channels(kl, index - 1);
    s.rows = tim_strip_rows(rows, tim_kl_stage_scale(kl, index));
    s.window = tim_strip_window(s.rows, tim_kl_stage_halo(kl, index), s.height);
    return s;
}

static size_t map_elements(const Stage *s) {
    return (size_t)s->height * (size_t)s->width * (size_t)s->channels;
}

static TimStatus run_before(TimHalf *half, int stage, int height, int width, const float *in, float **map, TimError *err) {
    const TimHalfShape shape = {.part = TIM_HALF_COARSE, .stage = stage, .batch = 1, .height = height, .width = width};
    const TimHalfTape *t;
    TIM_TRY(tim_half_tape(half, &shape, &t, err));
    const TimMatrix x = tim_tape_value(t->tape, t->in), y = tim_tape_value(t->tape, t->out);
    TIM_TRY(tim_new(map, (size_t)(y.rows * y.cols), sizeof **map, "the map between the decoder's parts", err));
    memcpy(x.data, in, (size_t)(x.rows * x.cols) * sizeof *in);
    tim_tape_forward(t->tape, false);
    memcpy(*map, y.data, (size_t)(y.rows * y.cols) * sizeof **map);
    tim_half_rest(half);
    return TIM_OK;
}

/* *map, the stage's input, becomes its result; of the last stage that is `out`. */
static TimStatus pass(Stage *s, float **map, float *out, TimError *err) {
    float *next = NULL;
    const size_t result = (size_t)4 * (size_t)s->height * (size_t)s->width * (size_t)tim_kl_stage_channels(kl_of(s), s->index);
    if (!s->last) TIM_TRY(tim_new(&next, result, sizeof *next, "the map between the decoder's stages", err));
    s->in = *map, s->out = s->last ? out : next;
    const TimStatus status = run_stage(s, err);
    tim_half_rest(s->half);
    tim_free(*map);
    *map = next;
    return status;
}

static TimStatus make_workspace(Stage *s, TimError *err) {
    const size_t groups = (size_t)s->groups, threads = (size_t)thread_count(s->half);
    TIM_TRY(tim_new(&s->moments, TIM_KL_MAX_NORMS, groups * 2 * sizeof *s->moments, "the norms' moments", err));
    TIM_TRY(tim_new(&s->sums, groups, sizeof *s->sums, "the norms' sums", err));
    return tim_new(&s->parts, groups * threads, sizeof *s->parts, "the norms' sums", err);
}

static TimStatus run_stages(TimHalf *half, int first, int rows, int height, int width, const Stage *work, float **map, float *out,
                            TimError *err) {
    for (int i = first; i < half->config->kl.stages; i++) {
        Stage s = stage_of(half, i, rows, height, width);
        s.moments = work->moments, s.sums = work->sums, s.parts = work->parts;
        TIM_TRY(pass(&s, map, out, err));
    }
    return TIM_OK;
}

static TimStatus run_picture(TimHalf *half, int stage, int rows, int height, int width, const float *in, float *out,
                             TimError *err) {
    Stage work = stage_of(half, stage, rows, height, width);
    float *map = NULL;
    TimStatus status = run_before(half, stage, height, width, in, &map, err);
    if (status == TIM_OK) status = make_workspace(&work, err);
    if (status == TIM_OK) status = run_stages(half, stage, rows, height, width, &work, &map, out, err);
    tim_free(map);
    tim_free(work.moments);
    tim_free(work.sums);
    tim_free(work.parts);
    return status;
}

TimStatus tim_half_run_kl_strips(TimHalf *half, int stage, int rows, int64_t batch, int height, int width, const float *in,
                                 float *out, TimError *err) {
    const int factor = tim_autoencoder_factor(half->config);
    const size_t pixels = (size_t)height * (size_t)width, latent = pixels * (size_t)tim_half_in_channels(half),
                 picture = pixels * (size_t)(factor * factor) * (size_t)tim_half_out_channels(half);
    for (int64_t b = 0; b < batch; b++)
        TIM_TRY(run_picture(half, stage, rows, height, width, in + (size_t)b * latent, out + (size_t)b * picture, err));
    return TIM_OK;
}

/* ---- memory ---- */

static TimStatus stage_bytes(TimHalf *half, int index, int rows, int height, int width, size_t *bytes, TimError *err) {
    const Stage s = stage_of(half, index, rows, height, width);
    const TimHalfShape shape = {.part = TIM_HALF_FINE, .stage = index, .batch = 1, .height = s.window, .width = s.width};
    TIM_TRY(tim_half_bytes(half, &shape, bytes, err));
    *bytes += map_elements(&s) * sizeof(float);
    if (s.last) return TIM_OK;
    const Stage next = stage_of(half, index + 1, rows, height, width);
    *bytes += map_elements(&next) * sizeof(float);
    return TIM_OK;
}

TimStatus tim_half_kl_strips_bytes(TimHalf *half, int stage, int rows, int height, int width, size_t *bytes, TimError *err) {
    const Stage first = stage_of(half, stage, rows, height, width);
    const TimHalfShape before = {.part = TIM_HALF_COARSE, .stage = stage, .batch = 1, .height = height, .width = width};
    TIM_TRY(tim_half_bytes(half, &before, bytes, err));
    *bytes += map_elements(&first) * sizeof(float);
    for (int i = stage; i < half->config->kl.stages; i++) {
        size_t one;
        TIM_TRY(stage_bytes(half, i, rows, height, width, &one, err));
        if (one > *bytes) *bytes = one;
    }
    return TIM_OK;
}
