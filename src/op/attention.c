/* o = softmax(q k' / sqrt(dh)) v for every sample and head, without a mask; q (B N, D), k and v (B M, D), o (B N, D).
 * Tiled with a running maximum and sum (Dao et al., FlashAttention, arXiv 2205.14135): memory is O(N), and the logarithm of each row's
 * sum of exponentials is kept for the other passes, which recompute the probabilities P = exp(S - lse) tile by tile:
 *   jvp:  t_S = t_q k' + q t_k';  t_o = (P t_S) v + P t_v - rowsum(P t_S) o
 *   vjp:  g_v = P' g_o;  g_S = P (g_o v' - rowsum(g_o o));  g_q = g_S k;  g_k = g_S' q
 * Arithmetic is fp32. The scale goes into the loaded q once. */
#include <omp.h>

#include "op/tile.h"

enum { TQ = 64, TK = 128 }; /* queries and keys of a tile */

static TimStatus check(const TimNode *node, TimError *err) {
    const TimMatrix *q = &node->in[0], *k = &node->in[1], *v = &node->in[2];
    const int heads = node->params.attention.heads;
    TIM_TRY(require(node, node->n_in == 3 && is_float(q) && q->dtype == k->dtype && q->dtype == v->dtype, "wants q, k and v of one dtype", err));
    TIM_TRY(require(node, k->rows == v->rows && q->cols == k->cols && q->cols == v->cols, "k or v do not fit q", err));
    return require(node, heads > 0 && q->cols % heads == 0 && q->rows % node->samples == 0 && k->rows % node->samples == 0,
                   "heads or samples do not divide the shape", err);
}

/* Fixed facts of a pass. */
typedef struct Shape {
    int64_t heads, width, ld; /* dh, and dh in whole vectors */
    int64_t n, m;             /* queries and keys of a sample */
    float scale;
} Shape;

static Shape shape_of(const TimNode *node) {
    const int64_t heads = node->params.attention.heads, width = node->in[0].cols / heads;
    return (Shape){heads, width, padded(width), node->in[0].rows / node->samples, node->in[1].rows / node->samples,
                   1.0F / sqrtf((float)width)};
}

/* Tiles of one thread, carved from its workspace. */
typedef struct Tiles {
    float *q, *t_q, *o, *g_o;            /* (TQ, ld) */
    float *k, *v, *t_k, *t_v, *g_k, *g_v; /* (TK, ld) */
    float *kt, *vt, *t_kt;               /* (width, TK) */
    float *s, *t_s;                      /* (TQ, TK) */
    float *max, *sum, *delta;            /* (TQ) */
    float *g_q;                          /* (N, ld): the vjp sums it over the key tiles */
} Tiles;

static size_t tiles_floats(Shape s) {
    return (size_t)((4 * TQ + 6 * TK + s.n + TQ) * s.ld + 3 * TK * s.ld + 2 * TQ * TK + 3 * TQ);
}

static Tiles tiles_of(const TimNode *node, Shape s) {
    const int thread = omp_get_thread_num();
    float *p = (float *)node->work + (size_t)thread * scratch_floats((int64_t)tiles_floats(s));
    Tiles t;
    float **const of_q[] = {&t.q, &t.t_q, &t.o, &t.g_o}, **const of_k[] = {&t.k, &t.v, &t.t_k, &t.t_v, &t.g_k, &t.g_v};
    float **const transposed[] = {&t.kt, &t.vt, &t.t_kt}, **const of_s[] = {&t.s, &t.t_s}, **const rows[] = {&t.max, &t.sum, &t.delta};
    for (int i = 0; i < 4; i++, p += TQ * s.ld) *of_q[i] = p;
    for (int i = 0; i < 6; i++, p += TK * s.ld) *of_k[i] = p;
    for (int i = 0; i < 3; i++, p += TK * s.ld) *transposed[i] = p;
    for (int i = 0; i < 2; i++, p += TQ * TK) *of_s[i] = p;
    for (int i = 0; i < 3; i++, p += TQ) *rows[i] = p;
    t.g_q = p;
    return t;
}

static TimStatus infer(TimNode *node, TimError *err) {
    TIM_TRY(check(node, err));
    const Shape s = shape_of(node);
    node->n_out = 1;
    node->out[0] = matrix_of(node->in[0].dtype, node->in[0].rows, node->in[0].cols);
    node->n_save = 1;
    node->save[0] = matrix_of(TIM_F32, node->samples * s.heads, s.n);
    node->vjp_reads_in = 7;
    node->vjp_reads_out = 1;
    return want_scratch(node, scratch_floats((int64_t)tiles_floats(s)), err);
}

static int64_t min64(int64_t a, int64_t b) {
    return a < b ? a : b;
}

/* One tile's place: rows q0 .. q0 + nq of queries, k0 .. k0 + nk of keys, of head `head` of a sample. */
typedef struct Place {
    int64_t q_row, k_row, col; /* first rows of the sample and first column of the head in the matrices */
    int64_t q0, nq, k0, nk, nk_padded;
} Place;

static Place at_queries(Shape s, int64_t sample, int64_t head, int64_t q0) {
    return (Place){.q_row = sample * s.n, .k_row = sample * s.m, .col = head * s.width, .q0 = q0, .nq = min64(TQ, s.n - q0)};
}

static Place at_keys(Shape s, Place p, int64_t k0) {
    p.k0 = k0, p.nk = min64(TK, s.m - k0), p.nk_padded = padded(p.nk);
    return p;
}

static void load_queries(float *tile, Shape s, const TimMatrix *m, Place p, float scale) {
    tile_load(tile, s.ld, m, p.q_row + p.q0, p.col, p.nq, s.width, scale);
}

static void load_keys(float *tile, Shape s, const TimMatrix *m, Place p) {
    tile_load(tile, s.ld, m, p.k_row + p.k0, p.col, p.nk, s.width, 1.0F);
}

static void load_keys_transposed(float *tile, float *space, Shape s, const TimMatrix *m, Place p) {
    load_keys(space, s, m, p);
    tile_transpose(tile, TK, space, s.ld, p.nk, s.width);
}

/* out (nq, TK) = [out +] rows (nq, width) * transposed keys (width, TK) */
static void scores(float *out, const float *rows, const float *transposed, Shape s, Place p, bool add) {
    tile_product(&(TileProduct){p.nq, p.nk_padded, s.width, rows, s.ld, 1, transposed, TK, out, TK, add});
}

/* out (nq, ld) += weights (nq, nk) * values (nk, ld) */
static void weigh(float *out, const float *weights, const float *values, Shape s, Place p) {
    tile_product(&(TileProduct){p.nq, s.ld, p.nk, weights, TK, 1, values, s.ld, out, s.ld, true});
}

/* out (nk, ld) += weights' (nk, nq) * values (nq, ld) */
static void weigh_transposed(float *out, const float *weights, const float *values, Shape s, Place p) {
    tile_product(&(TileProduct){p.nk, s.ld, p.nq, weights, 1, TK, values, s.ld, out, s.ld, true});
}

/* ---- forward ---- */

static float row_max(const float *restrict x, int64_t n) {
    float max = x[0];
#pragma omp simd reduction(max : max)
    for (int64_t i = 0; i < n; i++) max = x[i] > max ? x[i] : max;
    return max;
}

/* x = exp(x - shift); returns the sum. */
static float row_exp(float *restrict x, float shift, int64_t n) {
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < n; i++) {
        x[i] = exp_f32(x[i] - shift);
        sum += x[i];
    }
    return sum;
}

/* Folds one row of scores into the running maximum, sum and output. */
static void soften_row(Tiles *t, Shape s, Place p, int64_t i) {
    float *row = t->s + i * TK, *o = t->o + i * s.ld;
    const float max = fmaxf(t->max[i], row_max(row, p.nk));
    const float decay = p.k0 ? exp_f32(t->max[i] - max) : 0.0F;
    t->max[i] = max;
    t->sum[i] = t->sum[i] * decay + row_exp(row, max, p.nk);
#pragma omp simd
    for (int64_t d = 0; d < s.ld; d++) o[d] *= decay;
}

static void forward_tile(const TimNode *node, Shape s, Tiles *t, Place p, float *lse) {
    load_queries(t->q, s, &node->in[0], p, s.scale);
    memset(t->o, 0, (size_t)(p.nq * s.ld) * sizeof *t->o);
    for (int64_t i = 0; i < p.nq; i++) t->max[i] = -INFINITY, t->sum[i] = 0;
    for (int64_t k0 = 0; k0 < s.m; k0 += TK) {
        p = at_keys(s, p, k0);
        load_keys_transposed(t->kt, t->v, s, &node->in[1], p);
        load_keys(t->v, s, &node->in[2], p);
        scores(t->s, t->q, t->kt, s, p, false);
        for (int64_t i = 0; i < p.nq; i++) soften_row(t, s, p, i);
        weigh(t->o, t->s, t->v, s, p);
    }
    const TimMatrix out = tim_matrix_columns(node->out[0], p.col, s.width);
    for (int64_t i = 0; i < p.nq; i++) {
        lse[i] = t->max[i] + logf(t->sum[i]);
        const float inverse = 1.0F / t->sum[i];
        for (int64_t d = 0; d < s.width; d++) t->o[i * s.ld + d] *= inverse;
        row_write(&out, p.q_row + p.q0 + i, t->o + i * s.ld, false);
    }
}

static void forward(const TimNode *node) {
    const Shape s = shape_of(node);
    const int64_t tiles = (s.n + TQ - 1) / TQ, tasks = node->samples * s.heads * tiles;
#pragma omp parallel for num_threads(node->threads) schedule(static)
    for (int64_t task = 0; task < tasks; task++) {
        const int64_t pair = task / tiles, q0 = task % tiles * TQ;
        Tiles t = tiles_of(node, s);
        forward_tile(node, s, &t, at_queries(s, pair / s.heads, pair % s.heads, q0), tim_matrix_f32(&node->save[0], pair) + q0);
    }
}

/* s = P = exp(S - lse) of the tile at `p`; padding columns 0. */
static void probabilities(Tiles *t, Shape s, Place p, const float *lse) {
    scores(t->s, t->q, t->kt, s, p, false);
    for (int64_t i = 0; i < p.nq; i++) row_exp(t->s + i * TK, lse[i], p.nk);
}

/* ---- jvp ---- */

/* t_s = P (t_q k' + q t_k') on the tile; sums its rows. Returns false when the scores have no tangent. */
static bool score_tangents(const TimNode *node, Tiles *t, Shape s, Place p, Place t_p) {
    const bool of_q = node->t_in[0].data, of_k = node->t_in[1].data;
    if (of_q) scores(t->t_s, t->t_q, t->kt, s, p, false);
    if (of_k) {
        load_keys_transposed(t->t_kt, t->t_k, s, &node->t_in[1], t_p);
        scores(t->t_s, t->q, t->t_kt, s, p, of_q);
    }
    if (!of_q && !of_k) return false;
    for (int64_t i = 0; i < p.nq; i++) {
        float *restrict w = t->t_s + i * TK;
        const float *restrict probability = t->s + i * TK;
        float sum = 0;
#pragma omp simd reduction(+ : sum)
        for (int64_t j = 0; j < p.nk; j++) {
            w[j] *= probability[j];
            sum += w[j];
        }
        t->sum[i] += sum;
    }
    return true;
}

static void jvp_tile(const TimNode *node, Shape s, Tiles *t, Place p, Place t_p, const float *lse) {
    load_queries(t->q, s, &node->in[0], p, s.scale);
    if (node->t_in[0].data) load_queries(t->t_q, s, &node->t_in[0], t_p, s.scale);
    memset(t->g_o, 0, (size_t)(p.nq * s.ld) * sizeof *t->g_o);
    for (int64_t i = 0; i < p.nq; i++) t->sum[i] = 0;
    for (int64_t k0 = 0; k0 < s.m; k0 += TK) {
        p = at_keys(s, p, k0), t_p = at_keys(s, t_p, k0);
        load_keys_transposed(t->kt, t->v, s, &node->in[1], p);
        load_keys(t->v, s, &node->in[2], p);
        probabilities(t, s, p, lse);
        if (score_tangents(node, t, s, p, t_p)) weigh(t->g_o, t->t_s, t->v, s, p);
        if (!node->t_in[2].data) continue;
        load_keys(t->t_v, s, &node->t_in[2], t_p);
        weigh(t->g_o, t->s, t->t_v, s, p);
    }
    load_queries(t->o, s, &node->out[0], p, 1.0F);
    const TimMatrix out = tim_matrix_columns(node->t_out[0], p.col, s.width);
    for (int64_t i = 0; i < p.nq; i++) {
        float *restrict t_o = t->g_o + i * s.ld;
        const float *restrict o = t->o + i * s.ld;
        for (int64_t d = 0; d < s.width; d++) t_o[d] -= t->sum[i] * o[d];
        row_write(&out, t_p.q_row + p.q0 + i, t_o, false);
    }
}

static void jvp(const TimNode *node) {
    const Shape s = shape_of(node);
    const int64_t tiles = (s.n + TQ - 1) / TQ, tasks = node->tangent_samples * s.heads * tiles;
    const int64_t first = node->samples - node->tangent_samples;
#pragma omp parallel for num_threads(node->threads) schedule(static)
    for (int64_t task = 0; task < tasks; task++) {
        const int64_t pair = task / tiles, q0 = task % tiles * TQ, sample = pair / s.heads, head = pair % s.heads;
        Tiles t = tiles_of(node, s);
        const float *lse = tim_matrix_f32(&node->save[0], first * s.heads + pair) + q0;
        jvp_tile(node, s, &t, at_queries(s, first + sample, head, q0), at_queries(s, sample, head, q0), lse);
    }
}

/* ---- vjp ---- */

/* delta = rowsum(g_o o) of the query tile, whose g_o is loaded. */
static void output_sums(Tiles *t, Shape s, Place p) {
    for (int64_t i = 0; i < p.nq; i++) {
        const float *restrict o = t->o + i * s.ld, *restrict g_o = t->g_o + i * s.ld;
        float sum = 0;
#pragma omp simd reduction(+ : sum)
        for (int64_t d = 0; d < s.ld; d++) sum += o[d] * g_o[d];
        t->delta[i] = sum;
    }
}

/* t_s = g_S = P (g_o v' - delta) */
static void score_cotangents(Tiles *t, Shape s, Place p) {
    scores(t->t_s, t->g_o, t->vt, s, p, false);
    for (int64_t i = 0; i < p.nq; i++) {
        float *restrict g = t->t_s + i * TK;
        const float *restrict probability = t->s + i * TK, delta = t->delta[i];
#pragma omp simd
        for (int64_t j = 0; j < p.nk; j++) g[j] = probability[j] * (g[j] - delta);
    }
}

static void vjp_tile(const TimNode *node, Shape s, Tiles *t, Place p, const float *lse) {
    load_queries(t->q, s, &node->in[0], p, s.scale);
    load_queries(t->o, s, &node->out[0], p, 1.0F);
    load_queries(t->g_o, s, &node->g_out[0], p, 1.0F);
    output_sums(t, s, p);
    probabilities(t, s, p, lse);
    score_cotangents(t, s, p);
    weigh_transposed(t->g_v, t->s, t->g_o, s, p);
    weigh_transposed(t->g_k, t->t_s, t->q, s, p);
    weigh(t->g_q + p.q0 * s.ld, t->t_s, t->k, s, p);
}

static void vjp_head(const TimNode *node, Shape s, Tiles *t, int64_t sample, int64_t head) {
    const float *lse = tim_matrix_f32(&node->save[0], sample * s.heads + head);
    const size_t keys = (size_t)(TK * s.ld) * sizeof(float);
    memset(t->g_q, 0, (size_t)(s.n * s.ld) * sizeof(float));
    for (int64_t k0 = 0; k0 < s.m; k0 += TK) {
        const Place key = at_keys(s, at_queries(s, sample, head, 0), k0);
        load_keys(t->k, s, &node->in[1], key);
        tile_transpose(t->kt, TK, t->k, s.ld, key.nk, s.width);
        load_keys_transposed(t->vt, t->v, s, &node->in[2], key);
        memset(t->g_k, 0, keys);
        memset(t->g_v, 0, keys);
        for (int64_t q0 = 0; q0 < s.n; q0 += TQ) vjp_tile(node, s, t, at_keys(s, at_queries(s, sample, head, q0), k0), lse + q0);
        if (node->g_in[1].data)
            tile_store(&node->g_in[1], key.k_row + k0, key.col, key.nk, s.width, t->g_k, s.ld, 1.0F, node->add_in[1]);
        if (node->g_in[2].data)
            tile_store(&node->g_in[2], key.k_row + k0, key.col, key.nk, s.width, t->g_v, s.ld, 1.0F, node->add_in[2]);
    }
    if (node->g_in[0].data)
        tile_store(&node->g_in[0], sample * s.n, head * s.width, s.n, s.width, t->g_q, s.ld, s.scale, node->add_in[0]);
}

static void vjp(const TimNode *node) {
    const Shape s = shape_of(node);
#pragma omp parallel for num_threads(node->threads) schedule(static)
    for (int64_t pair = 0; pair < node->samples * s.heads; pair++) {
        Tiles t = tiles_of(node, s);
        vjp_head(node, s, &t, pair / s.heads, pair % s.heads);
    }
}

extern const TimOp TIM_ISA_SYMBOL(tim_op_attention);
const TimOp TIM_ISA_SYMBOL(tim_op_attention) = {"attention", infer, NULL, NULL, forward, vjp, jvp};
