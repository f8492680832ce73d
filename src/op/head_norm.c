/* From a packed projection to the inputs of attention, in one pass. The D columns of each slot (q, k or v) are heads of width dh:
 *   u = x + shift[sample]                      (the interval-aware term, one row a sample; optional)
 *   n = LN(u) w + b over the head              (q and k when the network norms them)
 *   y = (n0 cos - n1 sin, n1 cos + n0 sin)     (2-D rotary on interleaved pairs; optional by slot)
 * x and y are (B N, slots D), shift (B, slots D), w and b (1, dh), cos and sin (N, dh).
 * Statistics are recomputed in the other passes: a head is a few vectors long. */
#include "op/norm.h"

enum { ROWS = 4 }; /* scratch rows of slots * D a thread; parameter sums follow */

static TimStatus infer(TimNode *node, TimError *err) {
    const TimHeadNormParams *p = &node->params.head_norm;
    const TimMatrix *x = &node->in[0];
    TIM_TRY(require(node, node->n_in >= 1 && is_float(x) && p->heads > 0 && p->slots > 0 && p->slots <= TIM_HEAD_NORM_MAX_SLOTS &&
                              x->cols % (p->heads * p->slots) == 0 && x->rows % node->samples == 0,
                    "wants a projection of heads x slots", err));
    const int64_t width = x->cols / (p->heads * p->slots);
    TIM_TRY(require(node, width % 2 == 0, "wants an even head width", err));
    node->vjp_reads_in = 1;
    if (p->has_shift) {
        const TimMatrix *shift = &node->in[1];
        TIM_TRY(require(node, shift->rows == node->samples && shift->cols == x->cols && shift->dtype == TIM_F32, "the shift does not fit x", err));
        node->vjp_reads_in |= 2;
    }
    for (int s = 0; s < p->slots; s++) {
        if (p->norm[s] < 0) continue;
        TIM_TRY(require(node, p->norm[s] + 1 < node->n_in && node->in[p->norm[s]].cols == width && node->in[p->norm[s] + 1].cols == width,
                        "a norm's weight or bias does not fit the head", err));
        node->vjp_reads_in |= 3U << p->norm[s];
    }
    node->n_out = 1;
    node->out[0] = matrix_of(x->dtype, x->rows, x->cols);
    return want_scratch(node, ROWS * scratch_floats(x->cols) + 2 * TIM_HEAD_NORM_MAX_SLOTS * scratch_floats(width), err);
}

/* Fixed facts of a pass. */
typedef struct Shape {
    int64_t tokens, width, cols;
    size_t row; /* floats of one scratch row */
    const TimHeadNormParams *p;
} Shape;

static Shape shape_of(const TimNode *node) {
    const TimHeadNormParams *p = &node->params.head_norm;
    const int64_t cols = node->in[0].cols;
    return (Shape){node->in[0].rows / node->samples, cols / (p->heads * p->slots), cols, scratch_floats(cols), p};
}

static float *scratch_of(const TimNode *node, Shape s, int part) {
    return (float *)node->work + (size_t)part * (ROWS * s.row + 2 * TIM_HEAD_NORM_MAX_SLOTS * scratch_floats(s.width));
}

static const float *weight_of(const TimNode *node, Shape s, int slot) {
    return s.p->norm[slot] < 0 ? NULL : node->in[s.p->norm[slot]].data;
}

static const float *bias_of(const TimNode *node, Shape s, int slot) {
    return node->in[s.p->norm[slot] + 1].data;
}

/* Row r of x with its sample's shift added, in `u`. */
static void read_shifted(Shape s, const TimMatrix *x, const TimMatrix *shift, int64_t r, int64_t sample, float *u) {
    const float *row = row_read(x, r, u);
    if (s.p->has_shift && shift->data) {
        const float *add = tim_matrix_f32(shift, sample);
#pragma omp simd
        for (int64_t i = 0; i < s.cols; i++) u[i] = row[i] + add[i];
    } else if (row != u) {
        memcpy(u, row, (size_t)s.cols * sizeof *u);
    }
}

/* In place; `sign` -1 rotates back, which is the transpose. */
static void rotate(float *restrict x, const float *restrict cos, const float *restrict sin, float sign, int64_t width) {
#pragma omp simd
    for (int64_t i = 0; i < width; i += 2) {
        const float a = x[i], b = x[i + 1], c = cos[i], d = sign * sin[i];
        x[i] = a * c - b * d;
        x[i + 1] = b * c + a * d;
    }
}

static void affine(float *restrict y, const float *restrict w, const float *restrict b, int64_t n) {
#pragma omp simd
    for (int64_t i = 0; i < n; i++) y[i] = y[i] * w[i] + b[i];
}

static void multiply(float *restrict y, const float *restrict w, int64_t n) {
#pragma omp simd
    for (int64_t i = 0; i < n; i++) y[i] *= w[i];
}

/* ---- forward ---- */

static void forward_head(const TimNode *node, Shape s, int slot, int64_t token, float *u, float *hat) {
    const float *w = weight_of(node, s, slot);
    if (w) {
        normalize(hat, u, row_stats(u, s.width, s.p->eps), s.width);
        affine(hat, w, bias_of(node, s, slot), s.width);
        memcpy(u, hat, (size_t)s.width * sizeof *u);
    }
    if (s.p->rope[slot]) rotate(u, s.p->cos + token * s.width, s.p->sin + token * s.width, 1.0F, s.width);
}

static void forward(const TimNode *node) {
    const Shape s = shape_of(node);
    const int64_t rows = node->in[0].rows;
#pragma omp parallel for num_threads(node->threads) schedule(static)
    for (int part = 0; part < node->threads; part++) {
        float *u = scratch_of(node, s, part), *hat = u + s.row;
        const int64_t end = rows * (part + 1) / node->threads;
        for (int64_t r = rows * part / node->threads; r < end; r++) {
            read_shifted(s, &node->in[0], &node->in[1], r, r / s.tokens, u);
            for (int h = 0; h < s.p->heads * s.p->slots; h++)
                forward_head(node, s, h / s.p->heads, r % s.tokens, u + h * s.width, hat);
            row_write(&node->out[0], r, u, false);
        }
    }
}

/* ---- jvp ---- */

static void jvp_head(const TimNode *node, Shape s, int slot, int64_t token, const float *u, float *t, float *hat) {
    const float *w = weight_of(node, s, slot);
    if (w) {
        const Stats stats = row_stats(u, s.width, s.p->eps);
        normalize(hat, u, stats, s.width);
        norm_derivative(t, t, hat, stats.rstd, s.width);
        multiply(t, w, s.width);
    }
    if (s.p->rope[slot]) rotate(t, s.p->cos + token * s.width, s.p->sin + token * s.width, 1.0F, s.width);
}

static void read_tangent(const TimNode *node, Shape s, int64_t r, float *t) {
    static const TimMatrix none = {0};
    const TimMatrix *shift = s.p->has_shift ? &node->t_in[1] : &none;
    if (node->t_in[0].data) {
        read_shifted(s, &node->t_in[0], shift, r, r / s.tokens, t);
        return;
    }
    if (shift->data)
        memcpy(t, tim_matrix_f32(shift, r / s.tokens), (size_t)s.cols * sizeof *t);
    else
        memset(t, 0, (size_t)s.cols * sizeof *t);
}

static void jvp(const TimNode *node) {
    const Shape s = shape_of(node);
    const int64_t rows = node->t_out[0].rows, first = node->in[0].rows - rows;
#pragma omp parallel for num_threads(node->threads) schedule(static)
    for (int part = 0; part < node->threads; part++) {
        float *u = scratch_of(node, s, part), *t = u + s.row, *hat = t + s.row;
        const int64_t end = rows * (part + 1) / node->threads;
        for (int64_t r = rows * part / node->threads; r < end; r++) {
            read_shifted(s, &node->in[0], &node->in[1], first + r, (first + r) / s.tokens, u);
            read_tangent(node, s, r, t);
            for (int h = 0; h < s.p->heads * s.p->slots; h++)
                jvp_head(node, s, h / s.p->heads, r % s.tokens, u + h * s.width, t + h * s.width, hat);
            row_write(&node->t_out[0], r, t, false);
        }
    }
}

/* ---- vjp ---- */

/* This thread's sums for the slot's norm weight; those for its bias follow. */
static float *parameter_sums(Shape s, float *scratch, int slot) {
    return scratch + ROWS * s.row + 2 * (size_t)slot * scratch_floats(s.width);
}

static void vjp_head(const TimNode *node, Shape s, int slot, int64_t token, const float *u, float *restrict g, float *restrict hat, float *scratch) {
    if (s.p->rope[slot]) rotate(g, s.p->cos + token * s.width, s.p->sin + token * s.width, -1.0F, s.width);
    const float *w = weight_of(node, s, slot);
    if (!w) return;
    float *restrict g_w = parameter_sums(s, scratch, slot), *restrict g_b = g_w + scratch_floats(s.width);
    const Stats stats = row_stats(u, s.width, s.p->eps);
    normalize(hat, u, stats, s.width);
#pragma omp simd
    for (int64_t i = 0; i < s.width; i++) {
        g_w[i] += g[i] * hat[i];
        g_b[i] += g[i];
    }
    multiply(g, w, s.width);
    norm_derivative(g, g, hat, stats.rstd, s.width);
}

static void vjp_row(const TimNode *node, Shape s, int64_t r, float *scratch, float *shift_sum) {
    float *u = scratch, *g = scratch + s.row, *hat = scratch + 2 * s.row;
    read_shifted(s, &node->in[0], &node->in[1], r, r / s.tokens, u);
    const float *row = row_read(&node->g_out[0], r, g);
    if (row != g) memcpy(g, row, (size_t)s.cols * sizeof *g);
    for (int h = 0; h < s.p->heads * s.p->slots; h++)
        vjp_head(node, s, h / s.p->heads, r % s.tokens, u + h * s.width, g + h * s.width, hat, scratch);
    if (node->g_in[0].data) row_write(&node->g_in[0], r, g, node->add_in[0]);
    for (int64_t i = 0; shift_sum && i < s.cols; i++) shift_sum[i] += g[i];
}

static float *shift_row(const TimNode *node, Shape s, int64_t sample) {
    if (!s.p->has_shift || !node->g_in[1].data) return NULL;
    float *row = tim_matrix_f32(&node->g_in[1], sample);
    if (!node->add_in[1]) memset(row, 0, (size_t)s.cols * sizeof *row);
    return row;
}

static void add_parameter_sums(const TimNode *node, Shape s, const float *sums, int slot) {
    const int index = s.p->norm[slot];
    if (index < 0) return;
    float *g_w = node->g_in[index].data, *g_b = node->g_in[index + 1].data;
    for (int64_t i = 0; g_w && i < s.width; i++) g_w[i] += sums[i];
    for (int64_t i = 0; g_b && i < s.width; i++) g_b[i] += sums[scratch_floats(s.width) + (size_t)i];
}

static void vjp(const TimNode *node) {
    const Shape s = shape_of(node);
#pragma omp parallel for num_threads(node->threads) schedule(static)
    for (int part = 0; part < node->threads; part++) {
        float *scratch = scratch_of(node, s, part);
        memset(parameter_sums(s, scratch, 0), 0, 2 * TIM_HEAD_NORM_MAX_SLOTS * scratch_floats(s.width) * sizeof(float));
        const int64_t end = node->samples * (part + 1) / node->threads;
        for (int64_t b = node->samples * part / node->threads; b < end; b++) {
            float *shift_sum = shift_row(node, s, b);
            for (int64_t r = b * s.tokens; r < (b + 1) * s.tokens; r++) vjp_row(node, s, r, scratch, shift_sum);
        }
    }
    for (int part = 0; part < node->threads; part++)
        for (int slot = 0; slot < s.p->slots; slot++)
            add_parameter_sums(node, s, parameter_sums(s, scratch_of(node, s, part), slot), slot);
}

extern const TimOp TIM_ISA_SYMBOL(tim_op_head_norm);
const TimOp TIM_ISA_SYMBOL(tim_op_head_norm) = {"head_norm", infer, NULL, NULL, forward, vjp, jvp};
