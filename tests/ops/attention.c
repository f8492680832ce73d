#include <math.h>

#include "base/memory.h"
#include "ops/ops.h"

/* Around the tiles of 64 queries and 128 keys. */
static const int64_t queries[] = {1, 5, 49, 63, 64, 65, 130}, keys[] = {1, 7, 127, 128, 129, 200};
static const int widths[] = {4, 8, 16, 32, 64, 72, 96, 128, 256};
enum { QUERIES = 7, KEYS = 6, WIDTHS = 9, CASES = 63 };

/* Scores have the deviation of q times that of k: with 5 each they reach +-80, and the softmax picks one key. Keys around 20 shift
 * all scores of a query by as much, which no probability may notice. */
static void list(OpCases *cases, TimDtype dtype) {
    for (size_t i = 0; i < CASES; i++) {
        const int heads = 1 + (int)(i % 3), width = widths[i % WIDTHS];
        const int64_t samples = i / 2 % 2 ? 3 : 1, n = samples * queries[i % QUERIES], m = samples * keys[(i + i / KEYS) % KEYS];
        const bool extreme = i % 5 == 4, shifted = i % 7 == 3;
        OpCase c = {.kind = TIM_OP_ATTENTION, .samples = samples, .tangent_samples = samples == 1 ? 1 : 1 + (int64_t)(i % 3)};
        c.params.attention.heads = heads;
        c.n_in = 3;
        for (int j = 0; j < 3; j++)
            c.in[j] =
                (OpInput){.rows = j ? m : n, .cols = (int64_t)heads * width, .dtype = dtype, .spread = extreme && j < 2 ? 5 : 1};
        c.tangents = ops_subset(7, i + 3);
        c.wanted = ops_mostly(7, i);
        c.rounds = true;
        if (shifted) c.in[1].center = 20;
        c.slack = extreme || shifted ? 10 : 1; /* a score of 80 in fp32 is off by 1e-5, and so is its exponential */
        /* With one key the derivative by q and k is zero, and nearly so with one that dominates: sums of this size cancel. */
        if (extreme || shifted) c.floor = c.in[0].spread + c.in[1].center;
        if (m == samples) c.floor = sqrt((double)n);
        ops_add(cases, c);
    }
}

/* One query of one head: o (width) = softmax(q k' / sqrt(width)) v; `weights` has room for the m keys, rows are `stride` apart. */
static void attend(double *o, const double *q, const double *k, const double *v, double *weights, int64_t m, int64_t width,
                   int64_t stride) {
    double max = -INFINITY, sum = 0;
    for (int64_t j = 0; j < m; j++) {
        double score = 0;
        for (int64_t d = 0; d < width; d++) score += q[d] * k[j * stride + d];
        weights[j] = score / sqrt((double)width);
        max = fmax(max, weights[j]);
    }
    for (int64_t j = 0; j < m; j++) sum += weights[j] = exp(weights[j] - max);
    for (int64_t d = 0; d < width; d++) {
        o[d] = 0;
        for (int64_t j = 0; j < m; j++) o[d] += weights[j] / sum * v[j * stride + d];
    }
}

static void forward(const OpCase *c, double *const *in, double *const *out) {
    const int64_t heads = c->params.attention.heads, stride = c->in[0].cols, width = stride / heads;
    const int64_t n = c->in[0].rows / c->samples, m = c->in[1].rows / c->samples;
    OpTensor weights = ops_tensor_new(1, m, TIM_F64);
    for (int64_t task = 0; task < c->samples * n * heads; task++) {
        const int64_t row = task / heads, col = task % heads * width, key = row / n * m * stride + col;
        attend(out[0] + row * stride + col, in[0] + row * stride + col, in[1] + key, in[2] + key, weights.v, m, width, stride);
    }
    ops_tensor_free(&weights);
}

const OpSuite ops_suite_attention = {"attention", list, forward};
