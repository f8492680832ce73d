/* o = softmax(q k' / sqrt(dh)) v for every sample and head, without a mask; q (B N, D), k and v (B M, D), o (B N, D).
 * Tiled with a running maximum and sum (Dao et al., FlashAttention, arXiv 2205.14135): memory is O(N), and the logarithm of each
 * row's sum of exponentials is kept for the other passes, which recompute the probabilities P = exp(scale S - lse) tile by tile:
 *   jvp:  t_S = scale (t_q k' + q t_k');  t_o = (P t_S) v + P t_v - rowsum(P t_S) o
 *   vjp:  g_v = P' g_o;  g_S = scale P (g_o v' - rowsum(g_o o));  g_q = g_S k;  g_k = g_S' q
 * Products take bf16 pairs where the data is bf16 and the instruction set has them, else fp32; everything between is fp32. */
#include <omp.h>

#include "op/online_softmax.h"
#include "op/tile.h"

enum { Q, K, V }; /* the inputs */

enum { TQ = 64, TK = 128 }; /* queries and keys of a tile at most; TK is whole vectors */

static TimStatus check(const TimNode *node, TimError *err) {
    const TimMatrix *q = &node->in[Q], *k = &node->in[K], *v = &node->in[V];
    const int heads = node->params.attention.heads;
    TIM_TRY(require(node, node->n_in == 3 && is_float(q) && q->dtype == k->dtype && q->dtype == v->dtype,
                    "wants q, k and v of one dtype", err));
    TIM_TRY(require(node, k->rows == v->rows && q->cols == k->cols && q->cols == v->cols, "k or v do not fit q", err));
    TIM_TRY(require(node, heads > 0 && q->cols % heads == 0 && q->rows % node->samples == 0 && k->rows % node->samples == 0,
                    "heads or samples do not divide the shape", err));
    return require(node, q->cols / heads % 2 == 0 && q->stride % 2 == 0 && k->stride % 2 == 0 && v->stride % 2 == 0,
                   "wants even widths", err);
}

/* Fixed facts of a pass. */
typedef struct Shape {
    int64_t heads, width, ld; /* dh, and dh in whole vectors */
    int64_t n, m;             /* queries and keys of a sample */
    float scale;
    bool pairs;
    int64_t words;  /* of one head's row */
    int64_t tq, tk; /* queries and keys of a tile: no more than there are, so that small tiles lie close together */
} Shape;

static int64_t min64(int64_t a, int64_t b) {
    return a < b ? a : b;
}

static Shape shape_of(const TimNode *node) {
    const int64_t heads = node->params.attention.heads, width = node->in[Q].cols / heads;
    const bool pairs = TILE_HAS_PAIRS && node->in[Q].dtype == TIM_BF16;
    const int64_t n = node->in[Q].rows / node->samples, m = node->in[K].rows / node->samples;
    return (Shape){.heads = heads,
                   .width = width,
                   .ld = padded(width),
                   .n = n,
                   .m = m,
                   .scale = 1.0F / sqrtf((float)width),
                   .pairs = pairs,
                   .words = pairs ? width / 2 : width,
                   .tq = min64(n, TQ),
                   .tk = padded(min64(m, TK))};
}

/* Summed words of `count` rows. */
static int64_t row_words(Shape s, int64_t count) {
    return s.pairs ? (count + 1) / 2 : count;
}

/* Tiles of one thread, carved from its workspace. */
typedef struct Tiles {
    float *q, *t_q, *g_o, *o;        /* (tq, ld): words by columns where a copy is needed; o is fp32 */
    float *sum_o;                    /* (tq, ld): the output or its tangent */
    float *q_rows, *g_o_rows;        /* (tq, ld): words by rows */
    float *k, *v, *t_k, *t_v;        /* (tk, ld): words by rows, or a copy by columns on its way to a transposed tile */
    float *g_k, *g_v;                /* (tk, ld) */
    float *kt, *vt, *t_kt;           /* (words, tk): transposed */
    float *s, *t_s, *packed, *other; /* (tq, tk) */
    float *max, *sum, *delta;        /* (tq) */
    float *zeros;                    /* (tk) */
    float *g_q;                      /* (N, ld): the vjp sums it over the key tiles */
} Tiles;

static bool has_vjp(const TimNode *node) {
    return node->g_in[Q].rows || node->g_in[K].rows || node->g_in[V].rows;
}

/* Of one thread; with g_q only where it is summed: of a large picture it is most of it. */
static size_t tiles_floats(const TimNode *node, Shape s) {
    const int64_t g_q = has_vjp(node) ? s.n : 0;
    return scratch_floats((7 * s.tq + 9 * s.tk + g_q) * s.ld + 4 * s.tq * s.tk + 3 * s.tq + s.tk);
}

static Tiles tiles_of(const TimNode *node, Shape s) {
    float *p = (float *)node->work + (size_t)omp_get_thread_num() * tiles_floats(node, s);
    Tiles t;
    float **const of_q[] = {&t.q, &t.t_q, &t.g_o, &t.o, &t.sum_o, &t.q_rows, &t.g_o_rows};
    float **const of_k[] = {&t.k, &t.v, &t.t_k, &t.t_v, &t.g_k, &t.g_v, &t.kt, &t.vt, &t.t_kt};
    float **const of_s[] = {&t.s, &t.t_s, &t.packed, &t.other}, **const rows[] = {&t.max, &t.sum, &t.delta};
    for (int i = 0; i < 7; i++, p += s.tq * s.ld) *of_q[i] = p;
    for (int i = 0; i < 9; i++, p += s.tk * s.ld) *of_k[i] = p;
    for (int i = 0; i < 4; i++, p += s.tq * s.tk) *of_s[i] = p;
    for (int i = 0; i < 3; i++, p += s.tq) *rows[i] = p;
    t.zeros = p;
    t.g_q = p + s.tk;
    memset(t.zeros, 0, s.tk * sizeof *t.zeros);
    return t;
}

static TimStatus infer(TimNode *node, TimError *err) {
    TIM_TRY(check(node, err));
    const Shape s = shape_of(node);
    node->n_out = 1;
    node->out[0] = matrix_of(node->in[Q].dtype, node->in[Q].rows, node->in[Q].cols);
    node->n_save = 1;
    node->save[0] = matrix_of(TIM_F32, node->samples * s.heads, s.n);
    node->vjp_reads_in = 1U << Q | 1U << K | 1U << V;
    node->vjp_reads_out = 1;
    node->distinct_in = true;
    return TIM_OK;
}

/* The passes are known by now. */
static TimStatus prepare(TimNode *node, TimError *err) {
    return want_scratch(node, tiles_floats(node, shape_of(node)), err);
}

/* One tile's place: queries q0 ... q0 + nq and keys k0 ... k0 + nk of head `head` of a sample. */
typedef struct Place {
    int64_t q_row, k_row, col; /* first rows of the sample and first column of the head in the matrices */
    int64_t q0, nq, k0, nk, nk_padded;
} Place;

static Place at_queries(Shape s, int64_t sample, int64_t head, int64_t q0) {
    return (Place){.q_row = sample * s.n, .k_row = sample * s.m, .col = head * s.width, .q0 = q0, .nq = min64(s.tq, s.n - q0)};
}

static Place at_keys(Shape s, Place p, int64_t k0) {
    p.k0 = k0, p.nk = min64(s.tk, s.m - k0), p.nk_padded = padded(p.nk);
    return p;
}

static TileSource queries(const TimMatrix *m, Shape s, Place p) {
    return (TileSource){m, p.q_row + p.q0, p.col, p.nq, s.width};
}

static TileSource keys(const TimMatrix *m, Shape s, Place p) {
    return (TileSource){m, p.k_row + p.k0, p.col, p.nk, s.width};
}

/* Keys as the right side of a product that sums over the head's width; `space` is only used on the way. */
static void load_transposed(float *tile, float *space, const TimMatrix *m, Shape s, Place p) {
    const TileSource source = keys(m, s, p);
    tile_transpose(tile, s.tk, tile_by_columns(space, s.ld, &source, s.pairs), p.nk, s.words);
}

static void load_key_rows(float *tile, const TimMatrix *m, Shape s, Place p) {
    const TileSource source = keys(m, s, p);
    tile_load_by_rows(tile, s.ld, &source, s.pairs);
}

/* out (nq, tk) = [out +] rows * transposed keys */
static void scores(float *out, TileWords rows, const float *transposed, Shape s, Place p, bool add) {
    tile_product(&(TileProduct){p.nq, p.nk_padded, s.words, rows.data, rows.ld, 1, transposed, s.tk, out, s.tk, add}, s.pairs);
}

/* out (nq, ld) += weights (nq, nk) * values (nk, ld); the weights are words by columns */
static void weigh(float *out, TileWords weights, const float *values, Shape s, Place p) {
    tile_product(&(TileProduct){p.nq, s.ld, row_words(s, p.nk), weights.data, weights.ld, 1, values, s.ld, out, s.ld, true},
                 s.pairs);
}

/* out (nk, ld) += weights' (nk, nq) * values (nq, ld); the weights are words by rows */
static void weigh_transposed(float *out, TileWords weights, const float *values, Shape s, Place p) {
    tile_product(&(TileProduct){p.nk, s.ld, row_words(s, p.nq), weights.data, 1, weights.ld, values, s.ld, out, s.ld, true},
                 s.pairs);
}

static TileWords by_columns(float *space, const float *tile, Shape s, Place p) {
    return tile_pack_by_columns(space, tile, s.tk, p.nq, p.nk_padded, s.pairs);
}

static TileWords by_rows(float *space, const float *tile, const Tiles *t, Shape s, Place p) {
    return tile_pack_by_rows(space, tile, s.tk, p.nq, p.nk_padded, t->zeros, s.pairs);
}

/* Padding columns get a score that no softmax sees, so that rows can be treated in whole vectors. */
static void hide_padding(float *tile, Shape s, Place p) {
    for (int64_t i = 0; p.nk < p.nk_padded && i < p.nq; i++)
        for (int64_t j = p.nk; j < p.nk_padded; j++) tile[i * s.tk + j] = HIDDEN_SCORE;
}

/* ---- forward ---- */

/* Folds one row of scores into the running maximum, sum and output. */
static void update_row(Tiles *t, Shape s, Place p, int64_t i) {
    float *restrict o = t->sum_o + i * s.ld;
    const float decay = online_softmax_update(t->s + i * s.tk, s.scale, p.nk_padded, &t->max[i], &t->sum[i]);
    if (p.k0 == 0) return;
#pragma omp simd
    for (int64_t d = 0; d < s.ld; d++) o[d] *= decay;
}

static void write_output(const TimNode *node, Tiles *t, Shape s, Place p, float *lse) {
    for (int64_t i = 0; i < p.nq; i++) {
        float *restrict o = t->sum_o + i * s.ld;
        lse[i] = t->max[i] + logf(t->sum[i]);
        const float inverse = 1.0F / t->sum[i];
#pragma omp simd
        for (int64_t d = 0; d < s.ld; d++) o[d] *= inverse;
    }
    tile_store(&node->out[0], p.q_row + p.q0, p.col, p.nq, s.width, t->sum_o, s.ld, false);
}

static void forward_tile(const TimNode *node, Shape s, Tiles *t, Place p, float *lse) {
    const TileSource q = queries(&node->in[Q], s, p);
    const TileWords q_words = tile_by_columns(t->q, s.ld, &q, s.pairs);
    memset(t->sum_o, 0, (size_t)(p.nq * s.ld) * sizeof *t->sum_o);
    for (int64_t i = 0; i < p.nq; i++) t->max[i] = -INFINITY, t->sum[i] = 0;
    for (int64_t k0 = 0; k0 < s.m; k0 += s.tk) {
        p = at_keys(s, p, k0);
        load_transposed(t->kt, t->v, &node->in[K], s, p);
        load_key_rows(t->v, &node->in[V], s, p);
        scores(t->s, q_words, t->kt, s, p, false);
        hide_padding(t->s, s, p);
        for (int64_t i = 0; i < p.nq; i++) update_row(t, s, p, i);
        weigh(t->sum_o, by_columns(t->packed, t->s, s, p), t->v, s, p);
    }
    write_output(node, t, s, p, lse);
}

static void forward(const TimNode *node) {
    const Shape s = shape_of(node);
    const int64_t tiles = (s.n + s.tq - 1) / s.tq, tasks = node->samples * s.heads * tiles;
#pragma omp parallel for num_threads(node->threads) schedule(static)
    for (int64_t task = 0; task < tasks; task++) {
        const int64_t pair = task / tiles, q0 = task % tiles * s.tq;
        Tiles t = tiles_of(node, s);
        forward_tile(node, s, &t, at_queries(s, pair / s.heads, pair % s.heads, q0), tim_matrix_f32(&node->save[0], pair) + q0);
    }
}

/* s = P = exp(scale S - lse) of the tile at `p`. */
static void probabilities(Tiles *t, TileWords q, Shape s, Place p, const float *lse) {
    scores(t->s, q, t->kt, s, p, false);
    hide_padding(t->s, s, p);
    for (int64_t i = 0; i < p.nq; i++) row_exp(t->s + i * s.tk, s.scale, lse[i], p.nk_padded);
}

/* ---- jvp ---- */

/* w = scale P w by rows; adds each row's sum to t->sum. */
static void weigh_score_tangents(Tiles *t, Shape s, Place p) {
    for (int64_t i = 0; i < p.nq; i++) {
        float *restrict w = t->t_s + i * s.tk;
        const float *restrict probability = t->s + i * s.tk;
#pragma omp simd
        for (int64_t j = 0; j < p.nk_padded; j++) w[j] *= s.scale * probability[j];
        t->sum[i] += row_sum(w, p.nk_padded);
    }
}

/* t_s = P t_S on the tile, its rows summed. False when the scores have no tangent. */
static bool score_tangents(const TimNode *node, Tiles *t, TileWords q, Shape s, Place p, Place t_p) {
    const bool of_q = node->t_in[Q].data, of_k = node->t_in[K].data;
    if (!of_q && !of_k) return false;
    if (of_q) {
        const TileSource source = queries(&node->t_in[Q], s, t_p);
        scores(t->t_s, tile_by_columns(t->t_q, s.ld, &source, s.pairs), t->kt, s, p, false);
    }
    if (of_k) {
        load_transposed(t->t_kt, t->t_k, &node->t_in[K], s, t_p);
        scores(t->t_s, q, t->t_kt, s, p, of_q);
    }
    weigh_score_tangents(t, s, p);
    return true;
}

static void write_tangent(const TimNode *node, Tiles *t, Shape s, Place p, Place t_p) {
    const TileSource out = queries(&node->out[0], s, p);
    tile_load(t->o, s.ld, &out);
    for (int64_t i = 0; i < p.nq; i++) {
        float *restrict t_o = t->sum_o + i * s.ld;
        const float *restrict o = t->o + i * s.ld;
#pragma omp simd
        for (int64_t d = 0; d < s.ld; d++) t_o[d] -= t->sum[i] * o[d];
    }
    tile_store(&node->t_out[0], t_p.q_row + t_p.q0, t_p.col, p.nq, s.width, t->sum_o, s.ld, false);
}

/* `p` is the tile's place in the primal matrices, `t_p` in the tangents. */
static void jvp_tile(const TimNode *node, Shape s, Tiles *t, Place p, Place t_p, const float *lse) {
    const TileSource source = queries(&node->in[Q], s, p);
    const TileWords q = tile_by_columns(t->q, s.ld, &source, s.pairs);
    memset(t->sum_o, 0, (size_t)(p.nq * s.ld) * sizeof *t->sum_o);
    memset(t->sum, 0, s.tq * sizeof *t->sum);
    for (int64_t k0 = 0; k0 < s.m; k0 += s.tk) {
        p = at_keys(s, p, k0), t_p = at_keys(s, t_p, k0);
        load_transposed(t->kt, t->v, &node->in[K], s, p);
        probabilities(t, q, s, p, lse);
        if (score_tangents(node, t, q, s, p, t_p)) {
            load_key_rows(t->v, &node->in[V], s, p);
            weigh(t->sum_o, by_columns(t->packed, t->t_s, s, p), t->v, s, p);
        }
        if (!node->t_in[V].data) continue;
        load_key_rows(t->t_v, &node->t_in[V], s, t_p);
        weigh(t->sum_o, by_columns(t->packed, t->s, s, p), t->t_v, s, p);
    }
    write_tangent(node, t, s, p, t_p);
}

static void jvp(const TimNode *node) {
    const Shape s = shape_of(node);
    const int64_t tiles = (s.n + s.tq - 1) / s.tq, tasks = node->tangent_samples * s.heads * tiles;
    const int64_t first = node->samples - node->tangent_samples;
#pragma omp parallel for num_threads(node->threads) schedule(static)
    for (int64_t task = 0; task < tasks; task++) {
        const int64_t pair = task / tiles, q0 = task % tiles * s.tq, sample = pair / s.heads, head = pair % s.heads;
        Tiles t = tiles_of(node, s);
        const float *lse = tim_matrix_f32(&node->save[0], first * s.heads + pair) + q0;
        jvp_tile(node, s, &t, at_queries(s, first + sample, head, q0), at_queries(s, sample, head, q0), lse);
    }
}

/* ---- vjp ---- */

/* delta = rowsum(g_o o) of the query tile. */
static void output_sums(const TimNode *node, Tiles *t, Shape s, Place p) {
    const TileSource o = queries(&node->out[0], s, p), g_o = queries(&node->g_out[0], s, p);
    for (int64_t i = 0; i < p.nq; i++) {
        tile_load_row(t->o, s.ld, &o, i);
        tile_load_row(t->sum_o, s.ld, &g_o, i);
        t->delta[i] = row_dot(t->o, t->sum_o, s.ld);
    }
}

/* t_s = g_S = scale P (g_o v' - delta) */
static void score_cotangents(Tiles *t, TileWords g_o, Shape s, Place p) {
    scores(t->t_s, g_o, t->vt, s, p, false);
    for (int64_t i = 0; i < p.nq; i++) {
        float *restrict g = t->t_s + i * s.tk;
        const float *restrict probability = t->s + i * s.tk, delta = t->delta[i];
#pragma omp simd
        for (int64_t j = 0; j < p.nk_padded; j++) g[j] = s.scale * probability[j] * (g[j] - delta);
    }
}

static void vjp_tile(const TimNode *node, Shape s, Tiles *t, Place p, const float *lse) {
    const TileSource q = queries(&node->in[Q], s, p), g_o = queries(&node->g_out[0], s, p);
    output_sums(node, t, s, p);
    probabilities(t, tile_by_columns(t->q, s.ld, &q, s.pairs), s, p, lse);
    score_cotangents(t, tile_by_columns(t->g_o, s.ld, &g_o, s.pairs), s, p);
    tile_load_by_rows(t->q_rows, s.ld, &q, s.pairs);
    tile_load_by_rows(t->g_o_rows, s.ld, &g_o, s.pairs);
    weigh_transposed(t->g_v, by_rows(t->packed, t->s, t, s, p), t->g_o_rows, s, p);
    weigh_transposed(t->g_k, by_rows(t->packed, t->t_s, t, s, p), t->q_rows, s, p);
    weigh(t->g_q + p.q0 * s.ld, by_columns(t->packed, t->t_s, s, p), t->k, s, p);
}

static void vjp_keys(const TimNode *node, Shape s, Tiles *t, Place key, const float *lse) {
    load_transposed(t->kt, t->k, &node->in[K], s, key);
    load_transposed(t->vt, t->k, &node->in[V], s, key);
    load_key_rows(t->k, &node->in[K], s, key);
    memset(t->g_k, 0, (size_t)(key.nk * s.ld) * sizeof(float));
    memset(t->g_v, 0, (size_t)(key.nk * s.ld) * sizeof(float));
    for (int64_t q0 = 0; q0 < s.n; q0 += s.tq) {
        Place p = key;
        p.q0 = q0, p.nq = min64(s.tq, s.n - q0);
        vjp_tile(node, s, t, p, lse + q0);
    }
    const int64_t row = key.k_row + key.k0;
    if (node->g_in[K].data) tile_store(&node->g_in[K], row, key.col, key.nk, s.width, t->g_k, s.ld, node->add_in[K]);
    if (node->g_in[V].data) tile_store(&node->g_in[V], row, key.col, key.nk, s.width, t->g_v, s.ld, node->add_in[V]);
}

static void vjp_head(const TimNode *node, Shape s, Tiles *t, int64_t sample, int64_t head) {
    const float *lse = tim_matrix_f32(&node->save[0], sample * s.heads + head);
    const Place place = at_queries(s, sample, head, 0);
    memset(t->g_q, 0, (size_t)(s.n * s.ld) * sizeof(float));
    for (int64_t k0 = 0; k0 < s.m; k0 += s.tk) vjp_keys(node, s, t, at_keys(s, place, k0), lse);
    if (node->g_in[Q].data) tile_store(&node->g_in[Q], place.q_row, place.col, s.n, s.width, t->g_q, s.ld, node->add_in[Q]);
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
const TimOp TIM_ISA_SYMBOL(tim_op_attention) = {"attention", infer, prepare, NULL, forward, vjp, jvp};
