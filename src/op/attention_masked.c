/* o = softmax(scale q k' + bias) v over the keys that a mask lets through: q and o (R, H dh), k and v (R, G dh), G divides H; query
 * head h reads head h / (H / G) of k and v.
 *
 * Rows are sequences one after the other, of any lengths: lengths (S, 2) i64 holds the rows of each and how many of these are keys,
 * from its first on. Query i of a sequence sees key j of the same if j < keys, j <= i (causal) and j > i - window (window > 0).
 * A query that sees no key, and a row behind the last sequence, gets zero: what variable-length attention leaves at padded queries.
 * bias, optional, is T5's (Raffel et al., arXiv 1910.10683): a table (buckets, H), read in the row of the bucket of j - i. One half
 * of the buckets is for j > i; in each half the first half is for single distances and the rest for ever wider ranges up to
 * max_distance. The caller has checked that the sequences fit into R.
 *
 * Tiled as attention.c is; tiles that the mask hides entirely are not computed. Query heads that share keys load them again, which
 * is little beside their products. No tangent and no cotangent: the networks that have it are frozen. */
#include <omp.h>

#include "op/online_softmax.h"
#include "op/tile.h"

enum { Q, K, V, LENGTHS, BIAS }; /* the inputs */

enum { TQ = 64, TK = 128 }; /* queries and keys of a tile at most; TK is whole vectors */

static int64_t min64(int64_t a, int64_t b) {
    return a < b ? a : b;
}

static int64_t max64(int64_t a, int64_t b) {
    return a > b ? a : b;
}

static TimStatus check_bias(const TimNode *node, TimError *err) {
    const TimMaskedAttentionParams *p = &node->params.attention_masked;
    const TimMatrix *bias = &node->in[BIAS];
    TIM_TRY(require(node, is_float(bias) && bias->cols == p->heads, "wants a column of the bias for each head", err));
    return require(node, bias->rows % 4 == 0 && bias->rows > 0 && p->max_distance > bias->rows / 4,
                   "wants buckets in fours, and a largest distance above a quarter of them", err);
}

static TimStatus check(const TimNode *node, TimError *err) {
    const TimMaskedAttentionParams *p = &node->params.attention_masked;
    const TimMatrix *q = &node->in[Q], *k = &node->in[K], *v = &node->in[V], *lengths = &node->in[LENGTHS];
    TIM_TRY(require(node, (node->n_in == 4 || node->n_in == 5) && is_float(q) && q->dtype == k->dtype && q->dtype == v->dtype,
                    "wants q, k and v of one dtype, lengths, and the bias if it has one", err));
    TIM_TRY(require(node, p->heads > 0 && p->kv_heads > 0 && p->heads % p->kv_heads == 0 && q->cols % p->heads == 0,
                    "heads do not divide the shape", err));
    TIM_TRY(require(node,
                    k->rows == q->rows && v->rows == q->rows && k->cols == q->cols / p->heads * p->kv_heads && v->cols == k->cols,
                    "k or v do not fit q", err));
    TIM_TRY(require(node, lengths->dtype == TIM_I64 && lengths->cols == 2, "wants i64 lengths (S, 2)", err));
    TIM_TRY(require(node, q->cols / p->heads % 2 == 0 && q->stride % 2 == 0 && k->stride % 2 == 0 && v->stride % 2 == 0,
                    "wants even widths", err));
    return node->n_in == 5 ? check_bias(node, err) : TIM_OK;
}

/* Fixed facts of a run. */
typedef struct Shape {
    const TimMaskedAttentionParams *p;
    int64_t heads, width, ld; /* dh, and dh in whole vectors */
    float scale;              /* what is left to do in the softmax: 1 where the bias has been added to scaled scores */
    bool pairs;
    int64_t words;  /* of one head's row */
    int64_t tq, tk; /* queries and keys of a tile */
} Shape;

static Shape shape_of(const TimNode *node) {
    const TimMaskedAttentionParams *p = &node->params.attention_masked;
    const int64_t width = node->in[Q].cols / p->heads, rows = node->in[Q].rows;
    const bool pairs = TILE_HAS_PAIRS && node->in[Q].dtype == TIM_BF16;
    return (Shape){.p = p,
                   .heads = p->heads,
                   .width = width,
                   .ld = padded(width),
                   .scale = node->n_in == 5 ? 1.0F : p->scale,
                   .pairs = pairs,
                   .words = pairs ? width / 2 : width,
                   .tq = min64(rows, TQ),
                   .tk = padded(min64(rows, TK))};
}

/* Tiles of one thread, carved from its workspace. */
typedef struct Tiles {
    float *q, *sum_o;   /* (tq, ld): words by columns where a copy is needed; the output */
    float *v, *kt;      /* (tk, ld): words by rows, or a copy by columns on its way to kt; (words, tk) */
    float *s, *packed;  /* (tq, tk) */
    float *max, *sum;   /* (tq) */
    float *by_distance; /* (tq + tk): the bias */
} Tiles;

static size_t tiles_floats(Shape s) {
    return (size_t)(2 * (s.tq + s.tk) * s.ld + 2 * s.tq * s.tk + 3 * s.tq + s.tk);
}

static Tiles tiles_of(const TimNode *node, Shape s) {
    float *p = (float *)node->work + (size_t)omp_get_thread_num() * scratch_floats((int64_t)tiles_floats(s));
    Tiles t;
    t.q = p, p += s.tq * s.ld;
    t.sum_o = p, p += s.tq * s.ld;
    t.v = p, p += s.tk * s.ld;
    t.kt = p, p += s.tk * s.ld;
    t.s = p, p += s.tq * s.tk;
    t.packed = p, p += s.tq * s.tk;
    t.max = p, p += s.tq;
    t.sum = p, p += s.tq;
    t.by_distance = p;
    return t;
}

static TimStatus infer(TimNode *node, TimError *err) {
    TIM_TRY(check(node, err));
    node->n_out = 1;
    node->out[0] = matrix_of(node->in[Q].dtype, node->in[Q].rows, node->in[Q].cols);
    return want_scratch(node, scratch_floats((int64_t)tiles_floats(shape_of(node))), err);
}

/* ---- sequences ---- */

typedef struct Sequence {
    int64_t row, rows, keys;
} Sequence;

/* The sequence behind `previous`, number `index`. */
static Sequence next_sequence(const TimNode *node, Sequence previous, int64_t index) {
    const int64_t *length = (const int64_t *)node->in[LENGTHS].data + index * node->in[LENGTHS].stride;
    return (Sequence){previous.row + previous.rows, length[0], min64(length[0], length[1])};
}

/* One tile's place: queries q0 ... q0 + nq and keys k0 ... k0 + nk of a sequence, in one head. */
typedef struct Place {
    Sequence seq;
    int64_t head, kv_head;
    int64_t q0, nq, k0, nk, nk_padded;
} Place;

static int64_t tiles_in(Shape s, Sequence seq) {
    return (seq.rows + s.tq - 1) / s.tq;
}

/* Heads and query tiles of all sequences, counted through; the sequences are few. */
static Place place_of_task(const TimNode *node, Shape s, int64_t task) {
    const int64_t head = task % s.heads;
    int64_t tile = task / s.heads;
    Sequence seq = next_sequence(node, (Sequence){0}, 0);
    for (int64_t i = 1; tile >= tiles_in(s, seq); i++) {
        tile -= tiles_in(s, seq);
        seq = next_sequence(node, seq, i);
    }
    return (Place){.seq = seq,
                   .head = head,
                   .kv_head = head / (s.heads / s.p->kv_heads),
                   .q0 = tile * s.tq,
                   .nq = min64(s.tq, seq.rows - tile * s.tq)};
}

/* ---- the mask ---- */

/* Keys first ... end - 1 that query i of a sequence sees. */
typedef struct Seen {
    int64_t first, end;
} Seen;

static Seen seen_by(Shape s, Sequence seq, int64_t i) {
    return (Seen){s.p->window > 0 ? max64(0, i - s.p->window + 1) : 0, s.p->causal ? min64(seq.keys, i + 1) : seq.keys};
}

/* Scores of keys that their query does not see, and of padding columns, become nothing. */
static void hide(float *tile, Shape s, Place p) {
    for (int64_t i = 0; i < p.nq; i++) {
        const Seen seen = seen_by(s, p.seq, p.q0 + i);
        float *row = tile + i * s.tk;
        for (int64_t j = 0; j < min64(seen.first - p.k0, p.nk); j++) row[j] = HIDDEN_SCORE;
        for (int64_t j = max64(0, min64(seen.end - p.k0, p.nk)); j < p.nk_padded; j++) row[j] = HIDDEN_SCORE;
    }
}

/* ---- the bias ---- */

/* T5's bucket of key minus query. A distance that lies on the edge of a range belongs to the range above; hence the addend. */
static int64_t bucket_of(int64_t distance, int64_t buckets, int max_distance) {
    const int64_t half = buckets / 2, exact = half / 2, base = distance > 0 ? half : 0, d = distance > 0 ? distance : -distance;
    if (d < exact) return base + d;
    const double share = log((double)d / (double)exact) / log((double)max_distance / (double)exact);
    return base + min64(half - 1, exact + (int64_t)(share * (double)(half - exact) + 1e-9));
}

static float bias_at(const TimMatrix *bias, int64_t bucket, int64_t head) {
    return bias->dtype == TIM_F32 ? tim_matrix_f32(bias, bucket)[head] : tim_bf16_to_f32(tim_matrix_bf16(bias, bucket)[head]);
}

/* tile = scale tile + bias. Along a row the bias is a piece of one line: distances from the last query's first key on. */
static void add_bias(const TimNode *node, Tiles *t, Shape s, Place p) {
    const TimMatrix *bias = &node->in[BIAS];
    for (int64_t i = 0; i < p.nq + p.nk - 1; i++) {
        const int64_t distance = p.k0 - p.q0 - (p.nq - 1) + i;
        t->by_distance[i] = bias_at(bias, bucket_of(distance, bias->rows, s.p->max_distance), p.head);
    }
    for (int64_t i = 0; i < p.nq; i++) {
        float *restrict row = t->s + i * s.tk;
        const float *restrict line = t->by_distance + (p.nq - 1 - i);
#pragma omp simd
        for (int64_t j = 0; j < p.nk; j++) row[j] = s.p->scale * row[j] + line[j];
    }
}

/* ---- forward ---- */

static TileSource queries(const TimMatrix *m, Shape s, Place p) {
    return (TileSource){m, p.seq.row + p.q0, p.head * s.width, p.nq, s.width};
}

static TileSource keys(const TimMatrix *m, Shape s, Place p) {
    return (TileSource){m, p.seq.row + p.k0, p.kv_head * s.width, p.nk, s.width};
}

/* s (nq, tk) = q k', with v loaded on the way. */
static void score(const TimNode *node, Tiles *t, TileWords q, Shape s, Place p) {
    const TileSource k = keys(&node->in[K], s, p), v = keys(&node->in[V], s, p);
    tile_transpose(t->kt, s.tk, tile_by_columns(t->v, s.ld, &k, s.pairs), p.nk, s.words);
    tile_load_by_rows(t->v, s.ld, &v, s.pairs);
    tile_product(&(TileProduct){p.nq, p.nk_padded, s.words, q.data, q.ld, 1, t->kt, s.tk, t->s, s.tk, false}, s.pairs);
}

/* Folds the scores into the running maxima, sums and the output. */
static void fold(Tiles *t, Shape s, Place p) {
    for (int64_t i = 0; i < p.nq; i++) {
        float *restrict o = t->sum_o + i * s.ld;
        const float decay = online_softmax_update(t->s + i * s.tk, s.scale, p.nk_padded, &t->max[i], &t->sum[i]);
#pragma omp simd
        for (int64_t d = 0; d < s.ld; d++) o[d] *= decay;
    }
    const TileWords weights = tile_pack_by_columns(t->packed, t->s, s.tk, p.nq, p.nk_padded, s.pairs);
    const int64_t words = s.pairs ? (p.nk + 1) / 2 : p.nk;
    tile_product(&(TileProduct){p.nq, s.ld, words, weights.data, weights.ld, 1, t->v, s.ld, t->sum_o, s.ld, true}, s.pairs);
}

/* Queries that see nothing get zero, not the mean of what is hidden from them. */
static void write_output(const TimNode *node, Tiles *t, Shape s, Place p) {
    for (int64_t i = 0; i < p.nq; i++) {
        const Seen seen = seen_by(s, p.seq, p.q0 + i);
        float *restrict o = t->sum_o + i * s.ld;
        if (seen.first >= seen.end) {
            memset(o, 0, (size_t)s.ld * sizeof *o);
            continue;
        }
        const float inverse = 1.0F / t->sum[i];
#pragma omp simd
        for (int64_t d = 0; d < s.ld; d++) o[d] *= inverse;
    }
    tile_store(&node->out[0], p.seq.row + p.q0, p.head * s.width, p.nq, s.width, t->sum_o, s.ld, false);
}

static void forward_tile(const TimNode *node, Shape s, Tiles *t, Place p) {
    const TileSource source = queries(&node->in[Q], s, p);
    const TileWords q = tile_by_columns(t->q, s.ld, &source, s.pairs);
    memset(t->sum_o, 0, (size_t)(p.nq * s.ld) * sizeof *t->sum_o);
    for (int64_t i = 0; i < p.nq; i++) t->max[i] = -INFINITY, t->sum[i] = 0;
    const int64_t first = seen_by(s, p.seq, p.q0).first, end = seen_by(s, p.seq, p.q0 + p.nq - 1).end;
    for (p.k0 = first; p.k0 < end; p.k0 += s.tk) {
        p.nk = min64(s.tk, end - p.k0), p.nk_padded = padded(p.nk);
        score(node, t, q, s, p);
        if (node->n_in == 5) add_bias(node, t, s, p);
        hide(t->s, s, p);
        fold(t, s, p);
    }
    write_output(node, t, s, p);
}

static void clear_rows(const TimMatrix *m, int64_t first) {
    for (int64_t r = first; r < m->rows; r++)
        memset((char *)m->data + (size_t)(r * m->stride) * tim_dtype_size(m->dtype), 0, (size_t)m->cols * tim_dtype_size(m->dtype));
}

static void forward(const TimNode *node) {
    const Shape s = shape_of(node);
    Sequence seq = {0};
    int64_t tasks = 0;
    for (int64_t i = 0; i < node->in[LENGTHS].rows; i++) {
        seq = next_sequence(node, seq, i);
        tasks += s.heads * tiles_in(s, seq);
    }
    clear_rows(&node->out[0], seq.row + seq.rows);
    /* later tiles of a causal sequence have more keys */
#pragma omp parallel for num_threads(node->threads) schedule(dynamic)
    for (int64_t task = 0; task < tasks; task++) {
        Tiles t = tiles_of(node, s);
        forward_tile(node, s, &t, place_of_task(node, s, task));
    }
}

extern const TimOp TIM_ISA_SYMBOL(tim_op_attention_masked);
const TimOp TIM_ISA_SYMBOL(tim_op_attention_masked) = {"attention_masked", infer, NULL, NULL, forward, NULL, NULL};
