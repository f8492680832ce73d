#include <math.h>

#include "base/memory.h"
#include "ops/ops.h"

/* Around the tiles of 64 queries and 128 keys. */
static const int64_t rows[] = {1, 2, 7, 63, 64, 65, 129, 200, 300};
static const int widths[] = {4, 8, 16, 64, 72, 256};
static const int64_t windows[] = {0, 1, 5, 64, 100};
enum { ROWS = 9, WIDTHS = 6, WINDOWS = 5, CASES = 120, BUCKETS = 8 };

/* lengths (S, 2) are drawn from 0 ... R / S, so that they fit into R rows together: sequences may be empty, have rows behind their
 * keys or no keys at all, and rows are left behind the last. */
static void list(OpCases *cases, TimDtype dtype) {
    for (size_t i = 0; i < CASES; i++) {
        const int64_t r = rows[i % ROWS], sequences = 1 + (int64_t)(i % 4);
        const int kv_heads = 1 + (int)(i / 2 % 2), heads = kv_heads * (1 + (int)(i / 3 % 3)), width = widths[i % WIDTHS];
        const bool extreme = i % 5 == 4, biased = i % 3 == 2;
        OpCase c = {.kind = TIM_OP_ATTENTION_MASKED, .samples = 1, .n_in = biased ? 5 : 4, .rounds = true};
        c.params.attention_masked = (TimMaskedAttentionParams){.heads = heads,
                                                               .kv_heads = kv_heads,
                                                               .scale = i % 7 ? 1 / sqrtf((float)width) : 0.5F / (float)width,
                                                               .causal = i % 4 < 2,
                                                               .window = windows[i / 4 % WINDOWS],
                                                               .max_distance = 20};
        c.in[0] = (OpInput){.rows = r, .cols = (int64_t)heads * width, .dtype = dtype, .spread = extreme ? 5 : 1};
        c.in[1] = (OpInput){.rows = r, .cols = (int64_t)kv_heads * width, .dtype = dtype, .spread = extreme ? 5 : 1};
        c.in[2] = (OpInput){.rows = r, .cols = (int64_t)kv_heads * width, .dtype = dtype};
        c.in[3] = (OpInput){.rows = sequences, .cols = 2, .dtype = TIM_I64, .spread = (double)(r / sequences + 1)};
        c.in[4] = (OpInput){.rows = BUCKETS, .cols = heads, .dtype = i % 2 ? dtype : TIM_F32, .spread = 3, .param = true};
        c.slack = extreme ? 10 : 1; /* a score of 80 in fp32 is off by 1e-5, and so is its exponential */
        ops_add(cases, c);
    }
}

/* T5's bucket: one half for keys behind the query; in it single distances, then ranges whose ends grow geometrically. */
static int64_t bucket_of(int64_t distance, int max_distance) {
    const int64_t half = BUCKETS / 2, exact = half / 2, d = distance < 0 ? -distance : distance;
    int64_t bucket = d < exact ? d : exact;
    while (d >= exact && bucket + 1 < half) {
        const double share = (double)(bucket + 1 - exact) / (double)(half - exact);
        if ((double)exact * pow((double)max_distance / (double)exact, share) > (double)d * (1 + 1e-12)) break;
        bucket++;
    }
    return distance > 0 ? half + bucket : bucket;
}

/* One query of one head over keys first ... end - 1. `weights` has room for them. */
typedef struct Query {
    const double *q, *k, *v, *bias; /* k, v: the sequence's first row; bias: the head's column, or NULL */
    int64_t at, first, end, width, kv_stride, heads;
} Query;

static void attend(double *o, const Query *x, const TimMaskedAttentionParams *p, double *weights) {
    double max = -INFINITY, sum = 0;
    for (int64_t j = x->first; j < x->end; j++) {
        double score = 0;
        for (int64_t d = 0; d < x->width; d++) score += x->q[d] * x->k[j * x->kv_stride + d];
        weights[j] = (double)p->scale * score + (x->bias ? x->bias[bucket_of(j - x->at, p->max_distance) * x->heads] : 0);
        max = fmax(max, weights[j]);
    }
    for (int64_t j = x->first; j < x->end; j++) sum += weights[j] = exp(weights[j] - max);
    for (int64_t d = 0; d < x->width; d++)
        for (int64_t j = x->first; j < x->end; j++) o[d] += weights[j] / sum * x->v[j * x->kv_stride + d];
}

static void sequence(const OpCase *c, double *const *in, double *out, int64_t row, int64_t length, int64_t keys, double *weights) {
    const TimMaskedAttentionParams *p = &c->params.attention_masked;
    const int64_t stride = c->in[0].cols, kv_stride = c->in[1].cols, width = stride / p->heads;
    for (int64_t i = 0; i < length; i++)
        for (int64_t h = 0; h < p->heads; h++) {
            const int64_t kv = row * kv_stride + h / (p->heads / p->kv_heads) * width, at = (row + i) * stride + h * width;
            const Query x = {.q = in[0] + at,
                             .k = in[1] + kv,
                             .v = in[2] + kv,
                             .bias = c->n_in == 5 ? in[4] + h : NULL,
                             .at = i,
                             .first = p->window > 0 && i >= p->window ? i - p->window + 1 : 0,
                             .end = p->causal && i + 1 < keys ? i + 1 : keys,
                             .width = width,
                             .kv_stride = kv_stride,
                             .heads = p->heads};
            attend(out + at, &x, p, weights);
        }
}

/* New tensors are zero, and so is what no sequence writes. */
static void forward(const OpCase *c, double *const *in, double *const *out) {
    OpTensor weights = ops_tensor_new(1, c->in[0].rows, TIM_F64);
    int64_t row = 0;
    for (int64_t s = 0; s < c->in[3].rows; s++) {
        const int64_t length = (int64_t)in[3][2 * s], keys = (int64_t)in[3][2 * s + 1];
        sequence(c, in, out[0], row, length, keys < length ? keys : length, weights.v);
        row += length;
    }
    ops_tensor_free(&weights);
}

const OpSuite ops_suite_attention_masked = {"attention_masked", list, forward};
