/* layer_norm, modulate, head_norm: what goes through layer norm. */
#include <math.h>

#include "ops/ops.h"

/* hat = (x - mean) / sqrt(variance + eps); the two may be the same row. */
static void normalize(double *hat, const double *x, int64_t n, double eps) {
    double mean = 0, variance = 0;
    for (int64_t i = 0; i < n; i++) mean += x[i] / (double)n;
    for (int64_t i = 0; i < n; i++) variance += (x[i] - mean) * (x[i] - mean) / (double)n;
    for (int64_t i = 0; i < n; i++) hat[i] = (x[i] - mean) / sqrt(variance + eps);
}

/* Two columns normed are -1 and 1 whatever they were, and the derivative all cancellation, unless eps is large. */
static float eps_for(int64_t cols, double spread) {
    return cols <= 2 ? (float)(0.5 * spread * spread) : 1e-6F;
}

/* Mean far from zero, large and tiny values. */
static OpInput stream(int64_t rows, int64_t cols, TimDtype dtype, size_t index) {
    static const double centers[] = {0, 0, 0, 10, 0, 0}, spreads[] = {1, 1, 1, 1, 1e4, 1e-6};
    const size_t at = (index + index / 6) % 6;
    return (OpInput){.rows = rows, .cols = cols, .dtype = dtype, .center = centers[at], .spread = spreads[at]};
}

static OpInput vector(int64_t rows, int64_t cols, bool param) {
    return (OpInput){.rows = rows, .cols = cols, .dtype = TIM_F32, .param = param};
}

/* ---- layer_norm ---- */

static void list_layer_norm(OpCases *cases, TimDtype dtype) {
    for (size_t i = 0; i < OPS_ROWS * OPS_COLS; i++) {
        const int64_t rows = ops_rows[i / OPS_COLS], cols = ops_cols[i % OPS_COLS];
        OpCase c = ops_case(TIM_OP_LAYER_NORM, rows, i);
        c.n_in = 3;
        c.in[0] = stream(rows, cols, dtype, i);
        c.in[1] = c.in[2] = vector(1, cols, true);
        c.params.layer_norm.eps = eps_for(cols, c.in[0].spread);
        c.tangents = 1;
        c.wanted = ops_mostly(7, i);
        c.slack = 1 + c.in[0].center;
        ops_add(cases, c);
    }
}

static void layer_norm(const OpCase *c, double *const *in, double *const *out) {
    const int64_t n = c->in[0].cols;
    for (int64_t r = 0; r < c->in[0].rows; r++) {
        double *y = out[0] + r * n;
        normalize(y, in[0] + r * n, n, c->params.layer_norm.eps);
        for (int64_t i = 0; i < n; i++) y[i] = y[i] * in[1][i] + in[2][i];
    }
}

const OpSuite ops_suite_layer_norm = {"layer_norm", list_layer_norm, layer_norm};

/* ---- modulate ---- */

/* x, then h and gate with `residual`, then shift and scale with `modulate`. */
static void add_modulate(OpCases *cases, int64_t tokens, int64_t cols, TimDtype dtype, bool residual, bool modulate, size_t index) {
    const int64_t samples = 1 + (int64_t)(index % 3), rows = samples * tokens;
    OpCase c = {.kind = TIM_OP_MODULATE, .samples = samples, .tangent_samples = 1 + (int64_t)(index / 3) % samples};
    c.in[c.n_in++] = stream(rows, cols, TIM_F32, index);
    if (residual) {
        c.in[c.n_in] = c.in[0];
        c.in[c.n_in++].dtype = index % 5 ? dtype : TIM_F32;
        c.in[c.n_in++] = vector(samples, cols, false);
    }
    for (int i = 0; i < (modulate ? 2 : 0); i++) c.in[c.n_in++] = vector(samples, cols, false);
    c.params.modulate =
        (TimModulateParams){.residual = residual, .modulate = modulate, .eps = eps_for(cols, c.in[0].spread), .out = dtype};
    const unsigned all = (1U << c.n_in) - 1;
    c.tangents = ops_subset(all, index / 4 * 7);
    c.wanted = ops_mostly(all, index);
    c.seeded = residual ? 1 + (unsigned)(index % 3) : 3;
    c.slack = 1 + c.in[0].center;
    ops_add(cases, c);
}

static void list_modulate(OpCases *cases, TimDtype dtype) {
    for (size_t i = 0; i < OPS_ROWS * OPS_COLS; i++)
        for (unsigned options = i % 2; options < 4; options += 2)
            add_modulate(cases, ops_rows[i / OPS_COLS] / 2 + 1, ops_cols[i % OPS_COLS], dtype, options & 1, options & 2,
                         cases->count + i / OPS_COLS);
}

static void modulate(const OpCase *c, double *const *in, double *const *out) {
    const TimModulateParams *p = &c->params.modulate;
    const int64_t n = c->in[0].cols, tokens = c->in[0].rows / c->samples;
    double *const *shift_scale = in + (p->residual ? 3 : 1);
    for (int64_t at = 0; at < c->in[0].rows * n && p->residual; at++)
        out[1][at] = in[0][at] + in[2][at / n / tokens * n + at % n] * in[1][at];
    for (int64_t r = 0; r < c->in[0].rows; r++) {
        double *y = out[0] + r * n;
        normalize(y, (p->residual ? out[1] : in[0]) + r * n, n, p->eps);
        const int64_t sample = r / tokens * n;
        for (int64_t i = 0; i < n && p->modulate; i++) y[i] = y[i] * (1 + shift_scale[1][sample + i]) + shift_scale[0][sample + i];
    }
}

const OpSuite ops_suite_modulate = {"modulate", list_modulate, modulate};

/* ---- head_norm ---- */

enum { MAX_TOKENS = 66, MAX_WIDTH = 256 };

/* Any angles will do; a pair shares one, as the rotary tables have it. */
static const float *rope_table(bool sine) {
    static float table[2][MAX_TOKENS * MAX_WIDTH];
    static bool filled;
    for (int i = 0; i < MAX_TOKENS * MAX_WIDTH && !filled; i++) {
        const double angle = 0.37 * (i / 2);
        table[0][i] = (float)cos(angle);
        table[1][i] = (float)sin(angle);
    }
    filled = true;
    return table[sine];
}

/* `norms` and `ropes` have a bit a slot. */
static void add_head_norm(OpCases *cases, TimDtype dtype, int slots, bool shift, unsigned norms, unsigned ropes, size_t index) {
    static const int widths[] = {4, 8, 16, 32, 64, 72, 96, 128, 256, 2, 6};
    static const int64_t token_counts[] = {1, 2, 3, 7, 17, 49, 65};
    const int heads = 1 + (int)(index % 3), width = widths[index % 11];
    const int64_t tokens = token_counts[index % 7], samples = 1 + (int64_t)(index / 3 % 3), cols = (int64_t)heads * slots * width;
    OpCase c = {.kind = TIM_OP_HEAD_NORM, .samples = samples, .tangent_samples = 1 + (int64_t)(index / 9) % samples};
    TimHeadNormParams p = {.heads = heads,
                           .slots = slots,
                           .norm = {-1, -1, -1},
                           .has_shift = shift,
                           .eps = eps_for(width, 1),
                           .cos = rope_table(false),
                           .sin = rope_table(true)};
    c.in[c.n_in++] = (OpInput){.rows = samples * tokens, .cols = cols, .dtype = dtype, .spread = index % 8 == 7 ? 100 : 1};
    if (shift) c.in[c.n_in++] = vector(samples, cols, false);
    c.tangents = ops_subset((1U << c.n_in) - 1, index);
    for (int s = 0; s < slots; s++) {
        p.rope[s] = ropes >> s & 1;
        if (!(norms >> s & 1)) continue;
        p.norm[s] = c.n_in;
        for (int i = 0; i < 2; i++) c.in[c.n_in++] = vector(1, width, true);
    }
    c.params.head_norm = p;
    c.wanted = ops_mostly((1U << c.n_in) - 1, index);
    ops_add(cases, c);
}

/* Every combination of options; widths, heads and counts go round. */
static void list_head_norm(OpCases *cases, TimDtype dtype) {
    for (int slots = 1; slots <= TIM_HEAD_NORM_MAX_SLOTS; slots++)
        for (unsigned norms = 0; norms < 1U << slots; norms++)
            for (unsigned ropes = 0; ropes < 1U << slots; ropes++)
                for (int shift = 0; shift < 2; shift++) add_head_norm(cases, dtype, slots, shift, norms, ropes, cases->count);
}

static void head_forward(const TimHeadNormParams *p, int slot, int64_t token, int64_t width, double *const *in, double *head) {
    if (p->norm[slot] >= 0) {
        const double *w = in[p->norm[slot]], *b = in[p->norm[slot] + 1];
        normalize(head, head, width, p->eps);
        for (int64_t i = 0; i < width; i++) head[i] = head[i] * w[i] + b[i];
    }
    const float *cosine = p->cos + token * width, *sine = p->sin + token * width;
    for (int64_t i = 0; i < width && p->rope[slot]; i += 2) {
        const double a = head[i], b = head[i + 1];
        head[i] = a * cosine[i] - b * sine[i];
        head[i + 1] = b * cosine[i + 1] + a * sine[i + 1];
    }
}

static void head_norm(const OpCase *c, double *const *in, double *const *out) {
    const TimHeadNormParams *p = &c->params.head_norm;
    const int64_t rows = c->in[0].rows, cols = c->in[0].cols, tokens = rows / c->samples, width = cols / (p->heads * p->slots);
    for (int64_t at = 0; at < rows * cols; at++)
        out[0][at] = in[0][at] + (p->has_shift ? in[1][at / cols / tokens * cols + at % cols] : 0);
    for (int64_t r = 0; r < rows; r++)
        for (int h = 0; h < p->heads * p->slots; h++)
            head_forward(p, h / p->heads, r % tokens, width, in, out[0] + r * cols + h * width);
}

const OpSuite ops_suite_head_norm = {"head_norm", list_head_norm, head_norm};
