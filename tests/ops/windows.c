/* convolution and pool: windows that slide over pictures whose pixels are rows. */
#include <math.h>

#include "ops/ops.h"

/* Windows as the networks have them, and awkward ones: a single pixel, a stride that leaves a rest, more padding than picture. */
static const TimWindow windows[] = {
    {.height = 1, .width = 1, .kernel_h = 1, .kernel_w = 1, .stride = 1},
    {.height = 5, .width = 7, .kernel_h = 3, .kernel_w = 3, .stride = 1, .pad_y = 1, .pad_x = 1},
    {.height = 8, .width = 6, .kernel_h = 2, .kernel_w = 2, .stride = 2},
    {.height = 9, .width = 8, .kernel_h = 3, .kernel_w = 3, .stride = 2},
    {.height = 4, .width = 10, .kernel_h = 1, .kernel_w = 7, .stride = 1, .pad_x = 3},
    {.height = 10, .width = 3, .kernel_h = 7, .kernel_w = 1, .stride = 1, .pad_y = 3},
    {.height = 7, .width = 7, .kernel_h = 7, .kernel_w = 7, .stride = 1},
    {.height = 6, .width = 5, .kernel_h = 5, .kernel_w = 5, .stride = 1, .pad_y = 2, .pad_x = 2},
    {.height = 1, .width = 2, .kernel_h = 3, .kernel_w = 3, .stride = 2, .pad_y = 1, .pad_x = 1},
    {.height = 11, .width = 4, .kernel_h = 3, .kernel_w = 2, .stride = 3, .pad_y = 1},
    {.height = 6, .width = 8, .kernel_h = 3, .kernel_w = 3, .stride = 2, .pad_y = 1, .pad_x = 1, .pad_end = true},
};
enum { WINDOWS = sizeof windows / sizeof *windows };

static int64_t output_side(int size, int pads, int kernel, int stride) {
    return (size + pads - kernel) / stride + 1;
}

static int64_t output_h(const TimWindow *w) {
    return output_side(w->height, (w->pad_end ? 1 : 2) * w->pad_y, w->kernel_h, w->stride);
}

static int64_t output_w(const TimWindow *w) {
    return output_side(w->width, (w->pad_end ? 1 : 2) * w->pad_x, w->kernel_w, w->stride);
}

static OpCase case_of(TimOpKind kind, size_t index, int64_t channels) {
    const TimWindow *w = &windows[index % WINDOWS];
    const int64_t pictures = 1 + (int64_t)(index / WINDOWS) % 4;
    OpCase c = ops_case(kind, pictures, index);
    c.n_in = 1;
    c.in[0] = (OpInput){.rows = pictures * w->height * w->width, .cols = channels, .dtype = TIM_F32};
    c.tangents = c.wanted = 1;
    return c;
}

/* Row of the pixel of picture b that lies at (i, j) under the window of output pixel (y, x), or -1 in the padding. */
static int64_t pixel(const TimWindow *w, int64_t b, int64_t y, int64_t x, int64_t i, int64_t j) {
    y = y * w->stride + i - (w->pad_end ? 0 : w->pad_y);
    x = x * w->stride + j - (w->pad_end ? 0 : w->pad_x);
    return y < 0 || x < 0 || y >= w->height || x >= w->width ? -1 : (b * w->height + y) * w->width + x;
}

/* ---- convolution ---- */

/* Depthwise, in groups, or whole. */
static int groups_of(size_t index, int64_t in, int64_t out) {
    if (index % 4 == 1 && out % in == 0) return (int)in;
    return index % 4 == 2 && in % 8 == 0 && out % 8 == 0 ? 4 : 1;
}

static void add_convolution(OpCases *cases, TimDtype dtype, size_t i) {
    static const int64_t channels[] = {1, 3, 16, 5, 32, 17, 8};
    const int64_t in = channels[i % 7], out = i % 4 == 1 ? in * (1 + (int64_t)(i / 2 % 2)) : channels[(i / 2 + 3) % 7];
    const bool derivable = dtype == TIM_F32 && i % 5 != 4;
    OpCase c = case_of(TIM_OP_CONVOLUTION, i, in);
    const TimWindow *w = &windows[i % WINDOWS];
    c.params.convolution = (TimConvolutionParams){.window = *w,
                                                  .has_bias = i % 3 != 0,
                                                  .groups = groups_of(i, in, out),
                                                  .silu = !derivable && i % 2,
                                                  .out = i % 7 == 5 ? TIM_F32 : dtype};
    const int64_t seen = in / c.params.convolution.groups;
    c.n_in = i % 3 ? 3 : 2;
    c.in[0].dtype = i % 5 == 3 ? TIM_F32 : dtype;
    c.in[1] = (OpInput){.rows = out, .cols = seen * w->kernel_h * w->kernel_w, .dtype = dtype, .param = true};
    c.in[2] = (OpInput){.rows = 1, .cols = out, .dtype = TIM_F32, .param = true};
    c.wanted = derivable ? ops_mostly(i % 3 ? 7 : 3, i) : 0;
    if (!derivable) c.tangents = 0;
    c.rounds = dtype == TIM_BF16;
    if (c.in[0].rows < 8) c.floor = 0.1; /* a few cotangents may cancel in a bias */
    ops_add(cases, c);
}

static void list_convolution(OpCases *cases, TimDtype dtype) {
    for (size_t i = 0; i < 12 * WINDOWS; i++) add_convolution(cases, dtype, i);
}

/* The sum of output channel o at (y, z), `seen` channels from `first` on. */
static double convolved(const TimWindow *w, const double *x, const double *kernel, int64_t channels, int64_t seen, int64_t first,
                        int64_t b, int64_t y, int64_t z) {
    double sum = 0;
    for (int64_t i = 0; i < w->kernel_h; i++)
        for (int64_t j = 0; j < w->kernel_w; j++) {
            const int64_t row = pixel(w, b, y, z, i, j);
            for (int64_t c = 0; row >= 0 && c < seen; c++)
                sum += x[row * channels + first + c] * kernel[(c * w->kernel_h + i) * w->kernel_w + j];
        }
    return sum;
}

static void convolution(const OpCase *c, double *const *in, double *const *out) {
    const TimConvolutionParams *p = &c->params.convolution;
    const TimWindow *w = &p->window;
    const int64_t pictures = c->in[0].rows / (w->height * w->width), outputs = c->in[1].rows, channels = c->in[0].cols;
    const int64_t groups = p->groups, seen = channels / groups;
    double *to = out[0];
    for (int64_t b = 0; b < pictures; b++)
        for (int64_t y = 0; y < output_h(w); y++)
            for (int64_t x = 0; x < output_w(w); x++)
                for (int64_t o = 0; o < outputs; o++) {
                    const int64_t first = o / (outputs / groups) * seen;
                    const double v = convolved(w, in[0], in[1] + o * c->in[1].cols, channels, seen, first, b, y, x) +
                                     (p->has_bias ? in[2][o] : 0);
                    *to++ = p->silu ? v / (1 + exp(-v)) : v;
                }
}

const OpSuite ops_suite_convolution = {"convolution", list_convolution, convolution};

/* ---- pool ---- */

static void list_pool(OpCases *cases, TimDtype dtype) {
    if (dtype != TIM_F32) return;
    for (size_t i = 0; i < 6 * WINDOWS; i++) {
        OpCase c = case_of(TIM_OP_POOL, i, ops_cols[i * 5 % OPS_COLS]);
        c.params.pool = (TimPoolParams){.window = windows[i % WINDOWS], .average = i / WINDOWS % 2};
        ops_add(cases, c);
    }
}

static double pooled(const TimPoolParams *p, const double *x, int64_t channels, int64_t b, int64_t y, int64_t z) {
    const TimWindow *w = &p->window;
    double sum = 0, max = -HUGE_VAL;
    int64_t count = 0;
    for (int64_t i = 0; i < w->kernel_h; i++)
        for (int64_t j = 0; j < w->kernel_w; j++) {
            const int64_t row = pixel(w, b, y, z, i, j);
            if (row < 0) continue;
            sum += x[row * channels];
            max = fmax(max, x[row * channels]);
            count++;
        }
    return p->average ? sum / (double)count : max;
}

static void pool(const OpCase *c, double *const *in, double *const *out) {
    const TimPoolParams *p = &c->params.pool;
    const TimWindow *w = &p->window;
    const int64_t channels = c->in[0].cols;
    double *to = out[0];
    for (int64_t b = 0; b < c->in[0].rows / (w->height * w->width); b++)
        for (int64_t y = 0; y < output_h(w); y++)
            for (int64_t x = 0; x < output_w(w); x++)
                for (int64_t k = 0; k < channels; k++) *to++ = pooled(p, in[0] + k, channels, b, y, x);
}

const OpSuite ops_suite_pool = {"pool", list_pool, pool};
