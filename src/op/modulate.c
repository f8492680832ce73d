/* Gated residual, layer norm and adaLN modulation in one pass over the rows (DiT; TiM blocks):
 *   x2 = x + gate h          (only with `residual`)
 *   y  = LN(x2) (1 + scale) + shift   (without `modulate`: LN(x2))
 * x, h, x2, y are (B N, D); gate, shift, scale are (B, D) and f32, usually columns of the block's modulation. x is f32.
 * Mean and 1/std of every row are kept for the other passes. */
#include "op/norm.h"

enum { X, H, GATE }; /* the first inputs; h and gate with `residual` only */
enum { Y, X2 };      /* the outputs */

enum { ROWS = 6 }; /* scratch rows a thread */

/* Inputs that are not always there; the index is -1 when the op has no such input. */
typedef struct Inputs {
    int h, gate, shift, scale;
} Inputs;

static Inputs inputs_of(const TimModulateParams *p) {
    const int first = p->residual ? GATE + 1 : X + 1;
    return (Inputs){p->residual ? H : -1, p->residual ? GATE : -1, p->modulate ? first : -1, p->modulate ? first + 1 : -1};
}

static bool is_per_sample(const TimNode *node, int index) {
    if (index < 0) return true;
    const TimMatrix *m = &node->in[index];
    return m->dtype == TIM_F32 && m->rows == node->samples && m->cols == node->in[X].cols;
}

static TimStatus infer(TimNode *node, TimError *err) {
    const TimModulateParams *p = &node->params.modulate;
    const Inputs at = inputs_of(p);
    const TimMatrix *x = &node->in[X];
    TIM_TRY(require(node, node->n_in == 1 + 2 * p->residual + 2 * p->modulate, "has another number of inputs than its options say",
                    err));
    TIM_TRY(
        require(node, x->dtype == TIM_F32 && x->rows % node->samples == 0, "wants f32 x with as many rows for each sample", err));
    TIM_TRY(require(node, is_per_sample(node, at.gate) && is_per_sample(node, at.shift) && is_per_sample(node, at.scale),
                    "wants f32 gate, shift and scale with one row a sample", err));
    TIM_TRY(require(node, at.h < 0 || (node->in[at.h].rows == x->rows && node->in[at.h].cols == x->cols),
                    "h differs from x in shape", err));
    node->n_out = p->residual ? 2 : 1;
    node->out[Y] = matrix_of(p->out, x->rows, x->cols);
    if (p->residual) node->out[X2] = matrix_of(TIM_F32, x->rows, x->cols);
    node->n_save = 1;
    node->save[0] = matrix_of(TIM_F32, x->rows, 2);
    node->vjp_reads_in = (p->residual ? 1U << H | 1U << GATE : 1U << X) | (p->modulate ? 1U << at.scale : 0U);
    node->vjp_reads_out = p->residual ? 1U << X2 : 0U;
    return want_scratch(node, ROWS * scratch_floats(x->cols), err);
}

static float *scratch_of(const TimNode *node, int part) {
    return (float *)node->work + (size_t)part * ROWS * scratch_floats(node->in[X].cols);
}

static const float *sample_row(const TimMatrix *all, int index, int64_t sample) {
    return index < 0 || !all[index].data ? NULL : tim_matrix_f32(&all[index], sample);
}

/* ---- forward ---- */

static void add_gated(float *restrict out, const float *restrict x, const float *restrict gate, const float *restrict h,
                      int64_t n) {
#pragma omp simd
    for (int64_t i = 0; i < n; i++) out[i] = x[i] + gate[i] * h[i];
}

static void modulate(float *restrict y, const float *restrict x, Stats s, const float *restrict scale, const float *restrict shift,
                     int64_t n) {
    if (!scale) {
        normalize(y, x, s, n);
        return;
    }
#pragma omp simd
    for (int64_t i = 0; i < n; i++) y[i] = (x[i] - s.mean) * s.rstd * (1.0F + scale[i]) + shift[i];
}

static void forward_row(const TimNode *node, Inputs at, int64_t r, float *scratch) {
    const int64_t n = node->in[X].cols, sample = r / (node->in[X].rows / node->samples);
    const float *x = tim_matrix_f32(&node->in[X], r);
    if (at.h >= 0) {
        float *x2 = tim_matrix_f32(&node->out[X2], r);
        add_gated(x2, x, sample_row(node->in, at.gate, sample), row_read(&node->in[at.h], r, scratch), n);
        x = x2;
    }
    const Stats stats = row_stats(x, n, node->params.modulate.eps);
    memcpy(tim_matrix_f32(&node->save[0], r), &stats, sizeof stats);
    float *y = row_begin(&node->out[Y], r, scratch);
    modulate(y, x, stats, sample_row(node->in, at.scale, sample), sample_row(node->in, at.shift, sample), n);
    row_commit(&node->out[Y], r, y);
}

static void forward(const TimNode *node) {
    const Inputs at = inputs_of(&node->params.modulate);
    const int64_t rows = node->in[X].rows;
#pragma omp parallel for num_threads(node->threads) schedule(static)
    for (int part = 0; part < node->threads; part++) {
        const int64_t end = rows * (part + 1) / node->threads;
        for (int64_t r = rows * part / node->threads; r < end; r++) forward_row(node, at, r, scratch_of(node, part));
    }
}

/* The normed stream: x2, or x when there is no residual. */
static const float *stream_row(const TimNode *node, int64_t r) {
    return tim_matrix_f32(node->params.modulate.residual ? &node->out[X2] : &node->in[X], r);
}

static Stats stats_of(const TimNode *node, int64_t r) {
    Stats stats;
    memcpy(&stats, tim_matrix_f32(&node->save[0], r), sizeof stats);
    return stats;
}

/* ---- jvp ---- */

static void add_product(float *restrict out, const float *restrict a, const float *restrict b, int64_t n) {
#pragma omp simd
    for (int64_t i = 0; i < n; i++) out[i] += a[i] * b[i];
}

/* t_x2 = t_x + t_gate h + gate t_h, row r of the tangents, row `first` + r of the primal. */
static const float *stream_tangent(const TimNode *node, Inputs at, int64_t first, int64_t r, int64_t sample, int64_t t_sample,
                                   float *scratch) {
    const int64_t n = node->in[X].cols;
    const size_t bytes = (size_t)n * sizeof(float);
    float *t = node->params.modulate.residual ? tim_matrix_f32(&node->t_out[X2], r) : scratch;
    if (node->t_in[X].data)
        memcpy(t, tim_matrix_f32(&node->t_in[X], r), bytes);
    else
        memset(t, 0, bytes);
    if (at.h < 0) return t;
    float *row = scratch + scratch_floats(n);
    const float *t_gate = sample_row(node->t_in, at.gate, t_sample);
    if (t_gate) add_product(t, t_gate, row_read(&node->in[at.h], first + r, row), n);
    if (node->t_in[at.h].data) add_product(t, sample_row(node->in, at.gate, sample), row_read(&node->t_in[at.h], r, row), n);
    return t;
}

static void jvp_row(const TimNode *node, Inputs at, int64_t r, float *scratch) {
    const int64_t n = node->in[X].cols, tokens = node->in[X].rows / node->samples;
    const int64_t first = node->in[X].rows - node->t_out[Y].rows, t_sample = r / tokens, sample = (first + r) / tokens;
    const size_t width = scratch_floats(n);
    float *hat = scratch + 2 * width, *t_hat = scratch + 3 * width;
    const float *t_x2 = stream_tangent(node, at, first, r, sample, t_sample, scratch);
    const Stats stats = stats_of(node, first + r);
    normalize(hat, stream_row(node, first + r), stats, n);
    norm_derivative(t_hat, t_x2, hat, stats.rstd, n);
    const float *scale = sample_row(node->in, at.scale, sample);
    const float *t_scale = sample_row(node->t_in, at.scale, t_sample), *t_shift = sample_row(node->t_in, at.shift, t_sample);
    for (int64_t i = 0; scale && i < n; i++) t_hat[i] *= 1.0F + scale[i];
    if (t_scale) add_product(t_hat, hat, t_scale, n);
    if (t_shift)
        for (int64_t i = 0; i < n; i++) t_hat[i] += t_shift[i];
    row_write(&node->t_out[Y], r, t_hat, false);
}

static void jvp(const TimNode *node) {
    const Inputs at = inputs_of(&node->params.modulate);
    const int64_t rows = node->t_out[Y].rows;
#pragma omp parallel for num_threads(node->threads) schedule(static)
    for (int part = 0; part < node->threads; part++) {
        const int64_t end = rows * (part + 1) / node->threads;
        for (int64_t r = rows * part / node->threads; r < end; r++) jvp_row(node, at, r, scratch_of(node, part));
    }
}

/* ---- vjp ---- */

/* Where the sums over a sample's tokens go: its rows of the cotangents of gate, shift and scale; NULL when nobody wants one. */
typedef struct Sums {
    float *gate, *shift, *scale;
} Sums;

static float *sum_row(const TimNode *node, int index, int64_t sample) {
    if (index < 0 || !node->g_in[index].data) return NULL;
    float *row = tim_matrix_f32(&node->g_in[index], sample);
    if (!node->add_in[index]) memset(row, 0, (size_t)node->g_in[index].cols * sizeof *row);
    return row;
}

static void add_to(float *restrict out, const float *restrict a, int64_t n) {
#pragma omp simd
    for (int64_t i = 0; i < n; i++) out[i] += a[i];
}

/* What y passes on to g_x2 of row r, in `out`. */
static void norm_cotangent(const TimNode *node, const float *scale, Sums sums, int64_t r, float *out, float *scratch) {
    const int64_t n = node->in[X].cols;
    const size_t width = scratch_floats(n);
    float *hat = scratch, *g_hat = scratch + width;
    const Stats stats = stats_of(node, r);
    normalize(hat, stream_row(node, r), stats, n);
    const float *g_y = row_read(&node->g_out[Y], r, scratch + 2 * width);
    if (sums.shift) add_to(sums.shift, g_y, n);
    if (sums.scale) add_product(sums.scale, g_y, hat, n);
    memcpy(g_hat, g_y, (size_t)n * sizeof *g_hat);
    if (scale) add_product(g_hat, g_y, scale, n);
    norm_derivative(out, g_hat, hat, stats.rstd, n);
}

/* g_x2 of row r, in `out`: either output may have no cotangent. */
static void stream_cotangent(const TimNode *node, const float *scale, Sums sums, int64_t r, float *out, float *scratch) {
    const int64_t n = node->in[X].cols;
    if (node->g_out[Y].data)
        norm_cotangent(node, scale, sums, r, out, scratch);
    else
        memset(out, 0, (size_t)n * sizeof *out);
    if (node->n_out == 2 && node->g_out[X2].data) add_to(out, tim_matrix_f32(&node->g_out[X2], r), n);
}

static void vjp_row(const TimNode *node, Inputs at, Sums sums, int64_t r, int64_t sample, float *scratch) {
    const int64_t n = node->in[X].cols;
    const size_t width = scratch_floats(n);
    float *g_x2 = scratch + 3 * width;
    stream_cotangent(node, sample_row(node->in, at.scale, sample), sums, r, g_x2, scratch);
    if (node->g_in[X].data) row_write(&node->g_in[X], r, g_x2, node->add_in[X]);
    if (at.h < 0) return;
    if (sums.gate) add_product(sums.gate, g_x2, row_read(&node->in[at.h], r, scratch), n);
    float *g_h = scratch + 4 * width;
    const float *gate = sample_row(node->in, at.gate, sample);
#pragma omp simd
    for (int64_t i = 0; i < n; i++) g_h[i] = g_x2[i] * gate[i];
    if (node->g_in[at.h].data) row_write(&node->g_in[at.h], r, g_h, node->add_in[at.h]);
}

/* Threads take whole samples, so that the sums over tokens need no second step. */
static void vjp(const TimNode *node) {
    const Inputs at = inputs_of(&node->params.modulate);
    const int64_t tokens = node->in[X].rows / node->samples;
#pragma omp parallel for num_threads(node->threads) schedule(static)
    for (int part = 0; part < node->threads; part++) {
        const int64_t end = node->samples * (part + 1) / node->threads;
        for (int64_t b = node->samples * part / node->threads; b < end; b++) {
            const Sums sums = {sum_row(node, at.gate, b), sum_row(node, at.shift, b), sum_row(node, at.scale, b)};
            for (int64_t r = b * tokens; r < (b + 1) * tokens; r++) vjp_row(node, at, sums, r, b, scratch_of(node, part));
        }
    }
}

extern const TimOp TIM_ISA_SYMBOL(tim_op_modulate);
const TimOp TIM_ISA_SYMBOL(tim_op_modulate) = {"modulate", infer, NULL, NULL, forward, vjp, jvp};
