/* Pixels and channels of maps (B H W, C) change places, f32; f is the factor of the sides, n the count, [+ h] an input added:
 *   pixel_shuffle:    y(c; f y + i, f x + j) = x(((c f + i) f + j) / n rounded down; y, x) [+ h]          (B fH fW, C n / f^2)
 *   pixel_unshuffle:  y(c; y, x) = mean of n channels u(c n ...; y, x) [+ h]                               (B H/f W/f, C f^2 / n)
 *                     where u((c f + i) f + j; y, x) = x(c; f y + i, f x + j)
 * With n = 1 they are each other's inverse; with f = 1 channels are only repeated or averaged. These are the shortcuts beside the
 * convolutions that change the sides (DC-AE, arXiv 2410.10733). Inference only. */
#include "op/kernel.h"

enum { X, H }; /* the inputs */

static TimStatus check(const TimNode *node, TimError *err) {
    const TimShuffleParams *p = &node->params.shuffle;
    const TimMatrix *x = &node->in[X];
    TIM_TRY(
        require(node, node->n_in == (p->add ? 2 : 1) && x->dtype == TIM_F32, "wants f32 x, and what is added if anything is", err));
    return require(node,
                   p->height > 0 && p->width > 0 && p->factor > 0 && p->count > 0 && x->rows % ((int64_t)p->height * p->width) == 0,
                   "wants rows of whole pictures", err);
}

static TimStatus finish(TimNode *node, int64_t rows, int64_t cols, TimError *err) {
    const TimMatrix *h = &node->in[H];
    node->n_out = 1;
    node->out[0] = matrix_of(TIM_F32, rows, cols);
    return require(node, !node->params.shuffle.add || (h->dtype == TIM_F32 && h->rows == rows && h->cols == cols),
                   "what is added is not f32 of the result's shape", err);
}

static void add_to(float *restrict y, const float *restrict h, int64_t n) {
#pragma omp simd
    for (int64_t i = 0; i < n; i++) y[i] += h[i];
}

/* ---- pixel_shuffle ---- */

static TimStatus infer_shuffle(TimNode *node, TimError *err) {
    const TimShuffleParams *p = &node->params.shuffle;
    const int64_t area = (int64_t)p->factor * p->factor;
    TIM_TRY(check(node, err));
    TIM_TRY(require(node, node->in[X].cols * p->count % area == 0, "the square of the factor does not divide the channels", err));
    return finish(node, node->in[X].rows * area, node->in[X].cols * p->count / area, err);
}

/* y[c] = x[(c area + k) / n] */
static void pick(float *restrict y, const float *restrict x, int64_t k, int64_t area, int64_t n, int64_t channels) {
    if (area % n) {
        for (int64_t c = 0; c < channels; c++) y[c] = x[(c * area + k) / n];
        return;
    }
    const int64_t step = area / n;
    for (int64_t c = 0; c < channels; c++) y[c] = x[c * step + k / n];
}

static void forward_shuffle(const TimNode *node) {
    const TimShuffleParams *p = &node->params.shuffle;
    const TimMatrix *x = &node->in[X], *y = &node->out[0];
    const int64_t f = p->factor, width = p->width * f;
#pragma omp parallel for num_threads(node->threads) schedule(static)
    for (int64_t line = 0; line < y->rows / width; line++)
        for (int64_t at = 0; at < width; at++) {
            const int64_t from =
                line / f * p->width + at / f; /* lines of all pictures are numbered through: f divides each one's */
            float *row = tim_matrix_f32(y, line * width + at);
            pick(row, tim_matrix_f32(x, from), line % f * f + at % f, f * f, p->count, y->cols);
            if (p->add) add_to(row, tim_matrix_f32(&node->in[H], line * width + at), y->cols);
        }
}

/* ---- pixel_unshuffle ---- */

static TimStatus infer_unshuffle(TimNode *node, TimError *err) {
    const TimShuffleParams *p = &node->params.shuffle;
    const int64_t area = (int64_t)p->factor * p->factor;
    TIM_TRY(check(node, err));
    TIM_TRY(require(node, p->height % p->factor == 0 && p->width % p->factor == 0 && node->in[X].cols * area % p->count == 0,
                    "the factor does not divide the sides, or the count the channels", err));
    TIM_TRY(finish(node, node->in[X].rows / area, node->in[X].cols * area / p->count, err));
    return want_scratch(node, scratch_floats(node->in[X].cols * area), err);
}

/* u[c area + k] = x[c] */
static void spread(float *restrict u, const float *restrict x, int64_t k, int64_t area, int64_t channels) {
    for (int64_t c = 0; c < channels; c++) u[c * area + k] = x[c];
}

static void average(float *restrict y, const float *restrict u, int64_t n, int64_t channels) {
    const float scale = 1.0F / (float)n;
    for (int64_t c = 0; c < channels; c++) {
        float sum = 0;
        for (int64_t i = 0; i < n; i++) sum += u[c * n + i];
        y[c] = sum * scale;
    }
}

static void unshuffle_row(const TimNode *node, int64_t r, float *u) {
    const TimShuffleParams *p = &node->params.shuffle;
    const TimMatrix *x = &node->in[X], *y = &node->out[0];
    const int64_t f = p->factor, width = p->width / f, top = r / width * f, left = r % width * f;
    for (int64_t i = 0; i < f; i++)
        for (int64_t j = 0; j < f; j++) spread(u, tim_matrix_f32(x, (top + i) * p->width + left + j), i * f + j, f * f, x->cols);
    average(tim_matrix_f32(y, r), u, p->count, y->cols);
    if (p->add) add_to(tim_matrix_f32(y, r), tim_matrix_f32(&node->in[H], r), y->cols);
}

static void forward_unshuffle(const TimNode *node) {
    const TimShuffleParams *p = &node->params.shuffle;
    const int64_t rows = node->out[0].rows;
    const size_t each = scratch_floats(node->in[X].cols * p->factor * p->factor);
#pragma omp parallel for num_threads(node->threads) schedule(static)
    for (int part = 0; part < node->threads; part++) {
        const int64_t end = rows * (part + 1) / node->threads;
        for (int64_t r = rows * part / node->threads; r < end; r++)
            unshuffle_row(node, r, (float *)node->work + (size_t)part * each);
    }
}

extern const TimOp TIM_ISA_SYMBOL(tim_op_pixel_shuffle), TIM_ISA_SYMBOL(tim_op_pixel_unshuffle);
const TimOp TIM_ISA_SYMBOL(tim_op_pixel_shuffle) = {"pixel_shuffle", infer_shuffle, NULL, NULL, forward_shuffle, NULL, NULL};
const TimOp TIM_ISA_SYMBOL(tim_op_pixel_unshuffle) = {
    "pixel_unshuffle", infer_unshuffle, NULL, NULL, forward_unshuffle, NULL, NULL};
