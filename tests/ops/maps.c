/* What autoencoders do to maps: group and channel norms, pixels that change places with channels, upsampling, linear attention.
 * All serve inference only: no tangents, nothing wanted. */
#include <math.h>
#include <string.h>

#include "ops/ops.h"

static OpInput weights(int64_t cols) {
    return (OpInput){.rows = 1, .cols = cols, .dtype = TIM_F32, .param = true};
}

/* ---- channel_norm ---- */

static void list_channel_norm(OpCases *cases, TimDtype dtype) {
    static const double spreads[] = {1, 1, 1e4, 1e-6};
    for (size_t i = 0; i < OPS_ROWS * OPS_COLS; i++) {
        const int64_t rows = ops_rows[i / OPS_COLS], cols = ops_cols[i % OPS_COLS];
        OpCase c = ops_case(TIM_OP_CHANNEL_NORM, rows, i);
        c.params.channel_norm =
            (TimChannelNormParams){.residual = i % 2, .relu = i % 3 == 0, .eps = 1e-5F, .out = i % 4 == 3 ? TIM_F32 : dtype};
        c.n_in = i % 2 ? 4 : 3;
        c.in[0] = (OpInput){.rows = rows, .cols = cols, .dtype = dtype, .spread = spreads[i % 4]};
        c.in[1] = c.in[2] = weights(cols);
        c.in[3] = (OpInput){.rows = rows, .cols = cols, .dtype = TIM_F32};
        ops_add(cases, c);
    }
}

static void channel_norm(const OpCase *c, double *const *in, double *const *out) {
    const TimChannelNormParams *p = &c->params.channel_norm;
    const int64_t n = c->in[0].cols;
    for (int64_t r = 0; r < c->in[0].rows; r++) {
        const double *x = in[0] + r * n;
        double square = 0;
        for (int64_t i = 0; i < n; i++) square += x[i] * x[i] / (double)n;
        for (int64_t i = 0; i < n; i++) {
            const double y = x[i] / sqrt(square + (double)p->eps) * in[1][i] + in[2][i] + (p->residual ? in[3][r * n + i] : 0);
            out[0][r * n + i] = p->relu ? fmax(y, 0) : y;
        }
    }
}

const OpSuite ops_suite_channel_norm = {"channel_norm", list_channel_norm, channel_norm};

/* ---- group_norm ---- */

/* Means far from zero; one pixel, and more than a block of them. */
static void list_group_norm(OpCases *cases, TimDtype dtype) {
    static const double centers[] = {0, 10, 0, 0, 0}, spreads[] = {1, 1, 1e4, 1e-3, 1};
    static const int64_t pixels[] = {4, 1, 64, 65, 17, 200}, groups[] = {1, 2, 4, 32, 3}, widths[] = {1, 4, 2, 5, 16};
    for (size_t i = 0; i < 120; i++) {
        OpCase c = {.kind = TIM_OP_GROUP_NORM, .samples = 1 + (int64_t)(i % 3), .tangent_samples = 1};
        const int64_t width = widths[i / 5 % 5], count = groups[i % 5], rows = c.samples * pixels[i % 6];
        c.n_in = 3;
        c.in[0] = (OpInput){
            .rows = rows, .cols = width * count, .dtype = dtype, .center = centers[i / 3 % 5], .spread = spreads[i / 3 % 5]};
        c.in[1] = c.in[2] = weights(width * count);
        const double spread = c.in[0].spread;
        c.params.group_norm = (TimGroupNormParams){.groups = (int)count,
                                                   .silu = i % 2,
                                                   .eps = pixels[i % 6] * width < 4 ? (float)(spread * spread) : 1e-6F,
                                                   .out = i % 7 == 3 ? TIM_F32 : dtype};
        c.slack = 1 + c.in[0].center;
        ops_add(cases, c);
        c.n_in = 4; /* the whole picture's moments are given */
        c.in[3] = (OpInput){.rows = c.samples, .cols = 2 * count, .dtype = TIM_F32, .center = 2, .spread = 0.5};
        if (i % 4 == 0 && spread == 1) ops_add(cases, c);
    }
}

/* Mean, and 1 / sqrt(var + eps), of columns first ... first + width - 1 of the rows of one picture. */
static void moments_of(const OpCase *c, const double *x, int64_t pixels, int64_t first, int64_t width, double out[2]) {
    const int64_t n = c->in[0].cols;
    const double count = (double)(pixels * width);
    double mean = 0, variance = 0;
    for (int64_t r = 0; r < pixels; r++)
        for (int64_t i = first; i < first + width; i++) mean += x[r * n + i] / count;
    for (int64_t r = 0; r < pixels; r++)
        for (int64_t i = first; i < first + width; i++) variance += pow(x[r * n + i] - mean, 2) / count;
    out[0] = mean, out[1] = 1 / sqrt(variance + (double)c->params.group_norm.eps);
}

/* Those columns of picture b. */
static void norm_group(const OpCase *c, double *const *in, double *const *out, int64_t b, int64_t pixels, int64_t first,
                       int64_t width) {
    const TimGroupNormParams *p = &c->params.group_norm;
    const int64_t n = c->in[0].cols, group = first / width;
    const double *x = in[0] + b * pixels * n;
    double *y = out[0] + b * pixels * n, moments[2];
    moments_of(c, x, pixels, first, width, moments);
    if (c->n_in == 4) moments[0] = in[3][b * 2 * p->groups + group], moments[1] = in[3][(b * 2 + 1) * p->groups + group];
    for (int64_t r = 0; r < pixels; r++)
        for (int64_t i = first; i < first + width; i++) {
            const double v = (x[r * n + i] - moments[0]) * moments[1] * in[1][i] + in[2][i];
            y[r * n + i] = p->silu ? v / (1 + exp(-v)) : v;
        }
}

static void group_norm(const OpCase *c, double *const *in, double *const *out) {
    const int64_t n = c->in[0].cols, pixels = c->in[0].rows / c->samples, width = n / c->params.group_norm.groups;
    for (int64_t b = 0; b < c->samples; b++)
        for (int64_t first = 0; first < n; first += width) norm_group(c, in, out, b, pixels, first, width);
}

const OpSuite ops_suite_group_norm = {"group_norm", list_group_norm, group_norm};

/* ---- pixel_shuffle, pixel_unshuffle ---- */

typedef struct Sides {
    int height, width, factor, count;
    int64_t channels; /* of x */
} Sides;

static void list_shuffles(OpCases *cases, TimOpKind kind, const Sides *sides, size_t count) {
    for (size_t i = 0; i < 6 * count; i++) {
        const Sides *s = &sides[i % count];
        const bool up = kind == TIM_OP_PIXEL_SHUFFLE;
        const int64_t pictures = 1 + (int64_t)(i / count) % 3, area = (int64_t)s->factor * s->factor;
        const int64_t rows = pictures * s->height * s->width;
        OpCase c = ops_case(kind, pictures, i);
        c.params.shuffle = (TimShuffleParams){
            .height = s->height, .width = s->width, .factor = s->factor, .count = s->count, .add = i / count % 2};
        c.n_in = i / count % 2 ? 2 : 1;
        c.in[0] = (OpInput){.rows = rows, .cols = s->channels, .dtype = TIM_F32};
        c.in[1] = (OpInput){.rows = up ? rows * area : rows / area,
                            .cols = up ? s->channels * s->count / area : s->channels * area / s->count,
                            .dtype = TIM_F32};
        ops_add(cases, c);
    }
}

static void list_shuffle(OpCases *cases, TimDtype dtype) {
    static const Sides sides[] = {{3, 5, 2, 1, 8}, {1, 1, 2, 2, 6}, {2, 3, 2, 4, 17}, {4, 1, 1, 8, 3},
                                  {2, 2, 2, 8, 5}, {3, 2, 3, 1, 9}, {2, 3, 2, 3, 4},  {1, 7, 1, 1, 16}};
    if (dtype == TIM_F32) list_shuffles(cases, TIM_OP_PIXEL_SHUFFLE, sides, sizeof sides / sizeof *sides);
}

static void list_unshuffle(OpCases *cases, TimDtype dtype) {
    static const Sides sides[] = {{4, 6, 2, 1, 3},  {2, 2, 2, 2, 5}, {6, 4, 2, 4, 16}, {3, 5, 1, 8, 32},
                                  {2, 8, 2, 8, 10}, {3, 6, 3, 1, 2}, {2, 4, 2, 3, 6},  {7, 1, 1, 1, 9}};
    if (dtype == TIM_F32) list_shuffles(cases, TIM_OP_PIXEL_UNSHUFFLE, sides, sizeof sides / sizeof *sides);
}

/* Index of channel c of pixel (y, x) of picture b. */
static int64_t element(int64_t b, int64_t y, int64_t x, int64_t c, int64_t height, int64_t width, int64_t channels) {
    return ((b * height + y) * width + x) * channels + c;
}

static void shuffle(const OpCase *c, double *const *in, double *const *out) {
    const TimShuffleParams *p = &c->params.shuffle;
    const int64_t channels = c->in[0].cols, f = p->factor, repeated = channels * p->count, h = p->height, w = p->width;
    for (int64_t b = 0; b < c->in[0].rows / (h * w); b++)
        for (int64_t u = 0; u < repeated; u++)
            for (int64_t y = 0; y < h; y++)
                for (int64_t x = 0; x < w; x++) {
                    const int64_t i = u / f % f, j = u % f;
                    const int64_t to = element(b, y * f + i, x * f + j, u / (f * f), h * f, w * f, repeated / (f * f));
                    out[0][to] = in[0][element(b, y, x, u / p->count, h, w, channels)] + (p->add ? in[1][to] : 0);
                }
}

static void unshuffle(const OpCase *c, double *const *in, double *const *out) {
    const TimShuffleParams *p = &c->params.shuffle;
    const int64_t channels = c->in[0].cols, f = p->factor, h = p->height / f, w = p->width / f;
    const int64_t results = channels * f * f / p->count, pictures = c->in[0].rows / (p->height * p->width);
    for (int64_t to = 0; to < pictures * h * w * results; to++) out[0][to] = p->add ? in[1][to] : 0;
    for (int64_t b = 0; b < pictures; b++)
        for (int64_t u = 0; u < channels * f * f; u++)
            for (int64_t y = 0; y < h; y++)
                for (int64_t x = 0; x < w; x++)
                    out[0][element(b, y, x, u / p->count, h, w, results)] +=
                        in[0][element(b, y * f + u / f % f, x * f + u % f, u / (f * f), p->height, p->width, channels)] / p->count;
}

const OpSuite ops_suite_pixel_shuffle = {"pixel_shuffle", list_shuffle, shuffle};
const OpSuite ops_suite_pixel_unshuffle = {"pixel_unshuffle", list_unshuffle, unshuffle};

/* ---- upsample ---- */

static void list_upsample(OpCases *cases, TimDtype dtype) {
    for (size_t i = 0; i < 4 * OPS_COLS; i++) {
        const TimUpsampleParams p = {.height = 1 + (int)(i % 5),
                                     .width = 1 + (int)(i / 2 % 4),
                                     .factor = 1 + (int)(i % 3),
                                     .out = i % 4 == 3 ? TIM_F32 : dtype};
        const int64_t pictures = 1 + (int64_t)(i / OPS_COLS);
        OpCase c = ops_case(TIM_OP_UPSAMPLE, pictures, i);
        c.params.upsample = p;
        c.n_in = 1;
        c.in[0] =
            (OpInput){.rows = pictures * p.height * p.width, .cols = ops_cols[i % OPS_COLS], .dtype = i % 2 ? TIM_F32 : dtype};
        ops_add(cases, c);
    }
}

static void upsample(const OpCase *c, double *const *in, double *const *out) {
    const TimUpsampleParams *p = &c->params.upsample;
    const int64_t n = c->in[0].cols, f = p->factor, h = p->height, w = p->width;
    for (int64_t b = 0; b < c->in[0].rows / (h * w); b++)
        for (int64_t y = 0; y < h * f; y++)
            for (int64_t x = 0; x < w * f; x++)
                memcpy(out[0] + element(b, y, x, 0, h * f, w * f, n), in[0] + element(b, y / f, x / f, 0, h, w, n),
                       (size_t)n * sizeof *out[0]);
}

const OpSuite ops_suite_upsample = {"upsample", list_upsample, upsample};

/* ---- linear_attention ---- */

/* One pixel, and more than a block of them; one input, or more with different numbers of heads. */
static void list_linear_attention(OpCases *cases, TimDtype dtype) {
    static const int64_t pixels[] = {1, 6, 30, 128, 130, 300};
    static const int widths[] = {1, 4, 8, 32, 17};
    for (size_t i = 0; i < 60; i++) {
        OpCase c = {.kind = TIM_OP_LINEAR_ATTENTION, .samples = 1 + (int64_t)(i % 3), .tangent_samples = 1};
        const int width = widths[i % 5];
        c.params.linear_attention = (TimLinearAttentionParams){.width = width, .eps = 1e-15F};
        c.n_in = 1 + (int)(i / 2 % 3);
        for (int j = 0; j < c.n_in; j++)
            c.in[j] = (OpInput){.rows = c.samples * pixels[i % 6],
                                .cols = (int64_t)3 * width * (1 + (int64_t)(i + (size_t)j) % 3),
                                .dtype = dtype,
                                .center = 1}; /* else a query of no positive products divides nothing by nothing */
        c.rounds = true;
        ops_add(cases, c);
    }
}

/* Columns of one head of one picture; o has rows of `stride`. */
static void attend(const OpCase *c, double *o, const double *qkv, int64_t pixels, int64_t cols, int64_t stride) {
    const int64_t width = c->params.linear_attention.width;
    for (int64_t i = 0; i < pixels; i++) {
        double divisor = (double)c->params.linear_attention.eps;
        for (int64_t d = 0; d < width; d++) o[i * stride + d] = 0;
        for (int64_t j = 0; j < pixels; j++) {
            const double *q = qkv + i * cols, *k = qkv + j * cols + width, *v = qkv + j * cols + 2 * width;
            double weight = 0;
            for (int64_t e = 0; e < width; e++) weight += fmax(q[e], 0) * fmax(k[e], 0);
            divisor += weight;
            for (int64_t d = 0; d < width; d++) o[i * stride + d] += weight * v[d];
        }
        for (int64_t d = 0; d < width; d++) o[i * stride + d] /= divisor;
    }
}

static void linear_attention(const OpCase *c, double *const *in, double *const *out) {
    const int64_t width = c->params.linear_attention.width, pixels = c->in[0].rows / c->samples;
    int64_t stride = 0, col = 0;
    for (int i = 0; i < c->n_in; i++) stride += c->in[i].cols / 3;
    for (int i = 0; i < c->n_in; i++)
        for (int64_t at = 0; at < c->in[i].cols; at += 3 * width, col += width)
            for (int64_t b = 0; b < c->samples; b++)
                attend(c, out[0] + b * pixels * stride + col, in[i] + b * pixels * c->in[i].cols + at, pixels, c->in[i].cols,
                       stride);
}

const OpSuite ops_suite_linear_attention = {"linear_attention", list_linear_attention, linear_attention};
