/* Pooling of pictures whose pixels are rows: x (B H W, C) -> (B H' W', C), f32; H' = (H + 2 pad - kernel) / stride + 1 rounded
 * down. average: mean of the window's pixels inside the picture (padding is not counted); else their maximum, of which the first in
 * reading order gets the cotangent and gives the tangent. A window as large as the picture is global pooling. */
#include "op/kernel.h"
#include "op/window.h"

static TimStatus infer(TimNode *node, TimError *err) {
    const TimPoolParams *p = &node->params.pool;
    const TimMatrix *x = &node->in[0];
    TIM_TRY(require(node, node->n_in == 1 && x->dtype == TIM_F32 && window_fits(&p->window, x->rows),
                    "wants f32 rows of whole pictures and a window that fits them", err));
    const int64_t pictures = x->rows / ((int64_t)p->window.height * p->window.width);
    node->n_out = 1;
    node->out[0] = matrix_of(TIM_F32, pictures * window_out_h(&p->window) * window_out_w(&p->window), x->cols);
    node->vjp_reads_in = p->average ? 0 : 1;
    return TIM_OK;
}

static void add_scaled(float *restrict out, const float *restrict in, float scale, int64_t n) {
#pragma omp simd
    for (int64_t i = 0; i < n; i++) out[i] += scale * in[i];
}

/* The window of one output pixel: a function of this kind sees each output pixel of each picture once. `x0` is the picture's first
 * row. */
typedef struct Spot {
    WindowRange range;
    int64_t x0, y; /* rows of the input and of the output */
    int64_t width;
    double weight; /* 1 / number of pixels in the window */
} Spot;

static int64_t row_of(const Spot *s, int64_t i, int64_t j) {
    return s->x0 + i * s->width + j;
}

enum { CHANNELS = 64 };

/* sum[c] of `n` channels from `first` on, over the window: in fp64, for a window may be a whole picture */
static void sum_channels(double sum[CHANNELS], const TimMatrix *in, const Spot *s, int64_t first, int64_t n) {
    memset(sum, 0, CHANNELS * sizeof *sum);
    for (int64_t i = s->range.top; i < s->range.bottom; i++)
        for (int64_t j = s->range.left; j < s->range.right; j++) {
            const float *from = tim_matrix_f32(in, row_of(s, i, j)) + first;
#pragma omp simd
            for (int64_t c = 0; c < n; c++) sum[c] += (double)from[c];
        }
}

/* out[y] = mean of in over the window */
static void average_spot(const TimMatrix *out, const TimMatrix *in, const Spot *s) {
    double sum[CHANNELS];
    for (int64_t first = 0; first < out->cols; first += CHANNELS) {
        const int64_t left = out->cols - first, n = left < CHANNELS ? left : CHANNELS;
        float *to = tim_matrix_f32(out, s->y) + first;
        sum_channels(sum, in, s, first, n);
        for (int64_t c = 0; c < n; c++) to[c] = (float)(sum[c] * s->weight);
    }
}

/* The transpose: in += weight out[y] over the window */
static void spread_spot(const TimMatrix *in, const TimMatrix *out, const Spot *s) {
    for (int64_t i = s->range.top; i < s->range.bottom; i++)
        for (int64_t j = s->range.left; j < s->range.right; j++)
            add_scaled(tim_matrix_f32(in, row_of(s, i, j)), tim_matrix_f32(out, s->y), (float)s->weight, in->cols);
}

static void max_spot(const TimMatrix *out, const TimMatrix *in, const Spot *s) {
    float *restrict to = tim_matrix_f32(out, s->y);
    memcpy(to, tim_matrix_f32(in, row_of(s, s->range.top, s->range.left)), (size_t)out->cols * sizeof *to);
    for (int64_t i = s->range.top; i < s->range.bottom; i++)
        for (int64_t j = s->range.left; j < s->range.right; j++) {
            const float *restrict from = tim_matrix_f32(in, row_of(s, i, j));
#pragma omp simd
            for (int64_t c = 0; c < out->cols; c++)
                to[c] = from[c] > to[c] || from[c] != from[c] ? from[c] : to[c]; /* keeps a NaN */
        }
}

/* The row of channel c's maximum. */
static int64_t max_row(const TimMatrix *x, const Spot *s, int64_t c) {
    int64_t best = row_of(s, s->range.top, s->range.left);
    for (int64_t i = s->range.top; i < s->range.bottom; i++)
        for (int64_t j = s->range.left; j < s->range.right; j++)
            if (tim_matrix_f32(x, row_of(s, i, j))[c] > tim_matrix_f32(x, best)[c]) best = row_of(s, i, j);
    return best;
}

typedef enum Pass { FORWARD, JVP, VJP } Pass;

/* `in` and `out` are values, tangents or cotangents; `x` the values that belong to them. */
static void pool_spot(const TimNode *node, Pass pass, const TimMatrix *in, const TimMatrix *out, const TimMatrix *x,
                      const Spot *s) {
    if (node->params.pool.average) {
        if (pass == VJP)
            spread_spot(in, out, s);
        else
            average_spot(out, in, s);
        return;
    }
    if (pass == FORWARD) {
        max_spot(out, in, s);
        return;
    }
    float *row = tim_matrix_f32(out, s->y);
    for (int64_t c = 0; c < out->cols; c++) {
        float *picked = &tim_matrix_f32(in, max_row(x, s, c))[c];
        if (pass == JVP)
            row[c] = *picked;
        else
            *picked += row[c];
    }
}

/* Windows overlap inside a picture only, so pictures run in parallel and the pixels of one in order. */
static void each_spot(const TimNode *node, Pass pass, const TimMatrix *in, const TimMatrix *out, const TimMatrix *x) {
    const TimWindow *w = &node->params.pool.window;
    const int64_t out_h = window_out_h(w), out_w = window_out_w(w), pixels = (int64_t)w->height * w->width;
#pragma omp parallel for num_threads(node->threads) schedule(static)
    for (int64_t b = 0; b < in->rows / pixels; b++)
        for (int64_t y = 0; y < out_h; y++)
            for (int64_t z = 0; z < out_w; z++) {
                Spot s = {window_range(w, y, z), b * pixels, (b * out_h + y) * out_w + z, w->width, 0};
                s.weight = 1.0 / (double)((s.range.bottom - s.range.top) * (s.range.right - s.range.left));
                pool_spot(node, pass, in, out, x, &s);
            }
}

static void forward(const TimNode *node) {
    each_spot(node, FORWARD, &node->in[0], &node->out[0], &node->in[0]);
}

static void jvp(const TimNode *node) {
    const TimMatrix x = tim_matrix_rows(node->in[0], node->in[0].rows - node->t_in[0].rows);
    each_spot(node, JVP, &node->t_in[0], &node->t_out[0], &x);
}

static void vjp(const TimNode *node) {
    const TimMatrix *g_x = &node->g_in[0];
    for (int64_t r = 0; !node->add_in[0] && r < g_x->rows; r++)
        memset(tim_matrix_f32(g_x, r), 0, (size_t)g_x->cols * sizeof(float));
    each_spot(node, VJP, g_x, &node->g_out[0], &node->in[0]);
}

extern const TimOp TIM_ISA_SYMBOL(tim_op_pool);
const TimOp TIM_ISA_SYMBOL(tim_op_pool) = {"pool", infer, NULL, NULL, forward, vjp, jvp};
