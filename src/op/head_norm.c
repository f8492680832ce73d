/* From a packed projection to the inputs of attention, in one pass. The D columns of each slot (q, k or v) are heads of width dh:
 *   u = x + shift[sample]                      (the interval-aware term, one row a sample; optional)
 *   n = LN(u) w + b over the head              (q and k when the network norms them)
 *   y = (n0 cos - n1 sin, n1 cos + n0 sin)     (2-D rotary on interleaved pairs; optional by slot)
 * x and y are (B N, slots D), shift (B, slots D), w and b (1, dh), cos and sin (N, dh) with one angle for both of a pair.
 * Statistics are recomputed in the other passes: a head is a few vectors long. */
#include "op/norm.h"

enum { X, SHIFT }; /* the first inputs; where the norms' are, TimHeadNormParams says */

enum { ROWS = 4 }; /* scratch rows of slots * D a thread; parameter sums follow */

static TimStatus infer(TimNode *node, TimError *err) {
    const TimHeadNormParams *p = &node->params.head_norm;
    const TimMatrix *x = &node->in[X];
    TIM_TRY(require(node,
                    node->n_in >= 1 && is_float(x) && p->heads > 0 && p->slots > 0 && p->slots <= TIM_HEAD_NORM_MAX_SLOTS &&
                        x->cols % (p->heads * p->slots) == 0 && x->rows % node->samples == 0,
                    "wants a projection of heads x slots", err));
    const int64_t width = x->cols / (p->heads * p->slots);
    TIM_TRY(require(node, width % 2 == 0, "wants an even head width", err));
    node->vjp_reads_in = 1U << X;
    if (p->has_shift) {
        const TimMatrix *shift = &node->in[SHIFT];
        TIM_TRY(require(node, shift->rows == node->samples && shift->cols == x->cols && shift->dtype == TIM_F32,
                        "the shift does not fit x", err));
        node->vjp_reads_in |= 1U << SHIFT;
    }
    for (int s = 0; s < p->slots; s++) {
        const int w = p->norm[s], b = w + 1;
        if (w < 0) continue;
        TIM_TRY(require(node, b < node->n_in && node->in[w].cols == width && node->in[b].cols == width,
                        "a norm's weight or bias does not fit the head", err));
        TIM_TRY(require(node, node->in[w].dtype == TIM_F32 && node->in[b].dtype == TIM_F32, "wants f32 norm weights", err));
        node->vjp_reads_in |= 1U << w | 1U << b;
        node->params_in |= 1U << w | 1U << b;
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
    const int64_t cols = node->in[X].cols;
    return (Shape){node->in[X].rows / node->samples, cols / (p->heads * p->slots), cols, scratch_floats(cols), p};
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
static inline __attribute__((always_inline)) void rotate(float *x, const float *cos, const float *sin, float sign,
                                                         const int64_t width) {
#if TIM_VECTOR == 1
    for (int64_t i = 0; i < width; i += 2) {
        const float a = x[i], b = x[i + 1], c = cos[i], d = sign * sin[i];
        x[i] = a * c - b * d;
        x[i + 1] = b * c + a * d;
    }
#else
    for (int64_t i = 0; i < width; i += TIM_VECTOR) {
        const int64_t n = vec_count(i, width);
        const Vec v = vec_load_some(x + i, n);
        vec_store_some(x + i, v * vec_load_some(cos + i, n) + vec_rotate_pairs(v) * (sign * vec_load_some(sin + i, n)), n);
    }
#endif
}

static inline __attribute__((always_inline)) void multiply(float *restrict y, const float *restrict w, const int64_t n) {
#pragma omp simd
    for (int64_t i = 0; i < n; i++) y[i] *= w[i];
}

/* A pass over the heads of one slot of one row. `width` is a constant at the calls below for the usual widths. */
typedef struct Heads {
    int count;
    const float *w, *b;     /* NULL: no norm */
    const float *cos, *sin; /* the token's row; NULL: no rotary */
    float eps;
} Heads;

static Heads heads_of(const TimNode *node, Shape s, int slot, int64_t token) {
    Heads h = {.count = s.p->heads, .eps = s.p->eps, .w = weight_of(node, s, slot)};
    if (h.w) h.b = bias_of(node, s, slot);
    if (s.p->rope[slot]) h.cos = s.p->cos + token * s.width, h.sin = s.p->sin + token * s.width;
    return h;
}

/* ---- forward ---- */

static inline __attribute__((always_inline)) void forward_heads(float *restrict u, const Heads *h, const int64_t width) {
    for (int i = 0; i < h->count; i++, u += width) {
        if (h->w) {
            const Stats stats = row_stats(u, width, h->eps);
            const float *restrict w = h->w, *restrict b = h->b;
#pragma omp simd
            for (int64_t d = 0; d < width; d++) u[d] = (u[d] - stats.mean) * stats.rstd * w[d] + b[d];
        }
        if (h->cos) rotate(u, h->cos, h->sin, 1.0F, width);
    }
}

static void forward_slot(float *u, const Heads *h, int64_t width) {
    switch (width) {
    case 32:
        forward_heads(u, h, 32);
        return;
    case 64:
        forward_heads(u, h, 64);
        return;
    case 72:
        forward_heads(u, h, 72);
        return;
    case 128:
        forward_heads(u, h, 128);
        return;
    default:
        forward_heads(u, h, width);
    }
}

static void forward(const TimNode *node) {
    const Shape s = shape_of(node);
    const int64_t rows = node->in[X].rows, slot_cols = s.cols / s.p->slots;
#pragma omp parallel for num_threads(node->threads) schedule(static)
    for (int part = 0; part < node->threads; part++) {
        float *u = scratch_of(node, s, part);
        const int64_t end = rows * (part + 1) / node->threads;
        for (int64_t r = rows * part / node->threads; r < end; r++) {
            read_shifted(s, &node->in[X], &node->in[SHIFT], r, r / s.tokens, u);
            for (int slot = 0; slot < s.p->slots; slot++) {
                const Heads h = heads_of(node, s, slot, r % s.tokens);
                if (h.w || h.cos) forward_slot(u + slot * slot_cols, &h, s.width);
            }
            row_write(&node->out[0], r, u, false);
        }
    }
}

/* ---- jvp ---- */

static inline __attribute__((always_inline)) void jvp_heads(const float *restrict u, float *restrict t, float *restrict hat,
                                                            const Heads *h, const int64_t width) {
    for (int i = 0; i < h->count; i++, u += width, t += width) {
        if (h->w) {
            const Stats stats = row_stats(u, width, h->eps);
            normalize(hat, u, stats, width);
            norm_derivative(t, t, hat, stats.rstd, width);
            multiply(t, h->w, width);
        }
        if (h->cos) rotate(t, h->cos, h->sin, 1.0F, width);
    }
}

static void jvp_slot(const float *u, float *t, float *hat, const Heads *h, int64_t width) {
    switch (width) {
    case 32:
        jvp_heads(u, t, hat, h, 32);
        return;
    case 64:
        jvp_heads(u, t, hat, h, 64);
        return;
    case 72:
        jvp_heads(u, t, hat, h, 72);
        return;
    case 128:
        jvp_heads(u, t, hat, h, 128);
        return;
    default:
        jvp_heads(u, t, hat, h, width);
    }
}

static void read_tangent(const TimNode *node, Shape s, int64_t r, float *t) {
    static const TimMatrix none = {0};
    const TimMatrix *shift = s.p->has_shift ? &node->t_in[SHIFT] : &none;
    if (node->t_in[X].data) {
        read_shifted(s, &node->t_in[X], shift, r, r / s.tokens, t);
        return;
    }
    if (shift->data)
        memcpy(t, tim_matrix_f32(shift, r / s.tokens), (size_t)s.cols * sizeof *t);
    else
        memset(t, 0, (size_t)s.cols * sizeof *t);
}

static void jvp(const TimNode *node) {
    const Shape s = shape_of(node);
    const int64_t rows = node->t_out[0].rows, first = node->in[X].rows - rows, slot_cols = s.cols / s.p->slots;
#pragma omp parallel for num_threads(node->threads) schedule(static)
    for (int part = 0; part < node->threads; part++) {
        float *u = scratch_of(node, s, part), *t = u + s.row, *hat = t + s.row;
        const int64_t end = rows * (part + 1) / node->threads;
        for (int64_t r = rows * part / node->threads; r < end; r++) {
            read_shifted(s, &node->in[X], &node->in[SHIFT], first + r, (first + r) / s.tokens, u);
            read_tangent(node, s, r, t);
            for (int slot = 0; slot < s.p->slots; slot++) {
                const Heads h = heads_of(node, s, slot, r % s.tokens);
                if (h.w || h.cos) jvp_slot(u + slot * slot_cols, t + slot * slot_cols, hat, &h, s.width);
            }
            row_write(&node->t_out[0], r, t, false);
        }
    }
}

/* ---- vjp ---- */

/* This thread's sums for the slot's norm weight; those for its bias follow. */
static float *parameter_sums(Shape s, float *scratch, int slot) {
    return scratch + ROWS * s.row + 2 * (size_t)slot * scratch_floats(s.width);
}

/* g becomes the cotangent of u; g_w and g_b are this thread's sums. */
static inline __attribute__((always_inline)) void vjp_heads(const float *restrict u, float *restrict g, float *restrict hat,
                                                            float *restrict g_w, float *restrict g_b, const Heads *h,
                                                            const int64_t width) {
    for (int i = 0; i < h->count; i++, u += width, g += width) {
        if (h->cos) rotate(g, h->cos, h->sin, -1.0F, width);
        if (!h->w) continue;
        const Stats stats = row_stats(u, width, h->eps);
        normalize(hat, u, stats, width);
#pragma omp simd
        for (int64_t d = 0; d < width; d++) {
            g_w[d] += g[d] * hat[d];
            g_b[d] += g[d];
        }
        multiply(g, h->w, width);
        norm_derivative(g, g, hat, stats.rstd, width);
    }
}

static void vjp_slot(const float *u, float *g, float *hat, float *g_w, float *g_b, const Heads *h, int64_t width) {
    switch (width) {
    case 32:
        vjp_heads(u, g, hat, g_w, g_b, h, 32);
        return;
    case 64:
        vjp_heads(u, g, hat, g_w, g_b, h, 64);
        return;
    case 72:
        vjp_heads(u, g, hat, g_w, g_b, h, 72);
        return;
    case 128:
        vjp_heads(u, g, hat, g_w, g_b, h, 128);
        return;
    default:
        vjp_heads(u, g, hat, g_w, g_b, h, width);
    }
}

static void vjp_row(const TimNode *node, Shape s, int64_t r, float *scratch, float *restrict shift_sum) {
    float *u = scratch, *g = scratch + s.row, *hat = scratch + 2 * s.row;
    const int64_t slot_cols = s.cols / s.p->slots;
    read_shifted(s, &node->in[X], &node->in[SHIFT], r, r / s.tokens, u);
    const float *row = row_read(&node->g_out[0], r, g);
    if (row != g) memcpy(g, row, (size_t)s.cols * sizeof *g);
    for (int slot = 0; slot < s.p->slots; slot++) {
        const Heads h = heads_of(node, s, slot, r % s.tokens);
        float *g_w = parameter_sums(s, scratch, slot);
        if (h.w || h.cos)
            vjp_slot(u + slot * slot_cols, g + slot * slot_cols, hat, g_w, g_w + scratch_floats(s.width), &h, s.width);
    }
    if (node->g_in[X].data) row_write(&node->g_in[X], r, g, node->add_in[X]);
#pragma omp simd
    for (int64_t i = 0; i < (shift_sum ? s.cols : 0); i++) shift_sum[i] += g[i];
}

static float *shift_row(const TimNode *node, Shape s, int64_t sample) {
    if (!s.p->has_shift || !node->g_in[SHIFT].data) return NULL;
    float *row = tim_matrix_f32(&node->g_in[SHIFT], sample);
    if (!node->add_in[SHIFT]) memset(row, 0, (size_t)s.cols * sizeof *row);
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
