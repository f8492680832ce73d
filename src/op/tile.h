/* Small dense products on tiles that sit in the cache: the arithmetic of attention. Included by op files only.
 *
 * A tile is made of 32-bit words. A word is one float, or, where the instruction set multiplies bf16 (`pairs`), two bf16 numbers
 * that are neighbours along the summed axis. C (m, n) f32 = [C +] A B sums over words:
 *   A is read one word at a time with any strides, so a transposed A costs nothing;
 *   B has one row a summed word, its rows and those of C are contiguous and n is a multiple of TIM_VECTOR: tiles are padded.
 * Loading "by columns" pairs neighbours of a row (sums over columns), "by rows" pairs neighbouring rows (sums over rows). */
#ifndef TIM_OP_TILE_H
#define TIM_OP_TILE_H

#include "op/vec.h"

#if defined(__AVX512BF16__)
enum { TILE_HAS_PAIRS = 1 };
#else
enum { TILE_HAS_PAIRS = 0 };
#endif

/* The register block: as many accumulators as fit beside a row of B and one word of A. */
enum { TILE_ROWS = 6, TILE_VECTORS = TIM_VECTOR == 16 ? 4 : 2 };

/* Columns rounded up to whole vectors. */
static inline int64_t padded(int64_t n) {
    return (n + TIM_VECTOR - 1) / TIM_VECTOR * TIM_VECTOR;
}

/* acc + word * row */
static inline __attribute__((always_inline)) Vec vec_madd(Vec acc, const float *word, Vec row, const bool pairs) {
#if defined(__AVX512BF16__)
    if (pairs) {
        int32_t bits;
        memcpy(&bits, word, sizeof bits);
        return (Vec)_mm512_dpbf16_ps((__m512)acc, (__m512bh)row, (__m512bh)_mm512_set1_epi32(bits));
    }
#else
    (void)pairs;
#endif
    return acc + *word * row;
}

/* ---- product ---- */

typedef struct TileProduct {
    int64_t m, n, k; /* k in words */
    const float *a;
    int64_t a_row, a_col; /* strides of A in words */
    const float *b;
    int64_t ldb;
    float *c;
    int64_t ldc;
    bool add;
} TileProduct;

/* rows x vectors of C; the constants are known at every call, so the accumulators stay in registers. */
static inline __attribute__((always_inline)) void tile_block(const int rows, const int vectors, const bool pairs,
                                                             const TileProduct *t, int64_t i0, int64_t j0) {
    Vec acc[TILE_ROWS][TILE_VECTORS];
    const float *a = t->a + i0 * t->a_row, *b = t->b + j0;
    float *c = t->c + i0 * t->ldc + j0;
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < vectors; j++) acc[i][j] = t->add ? vec_load(c + i * t->ldc + j * TIM_VECTOR) : (Vec){0};
    for (int64_t l = 0; l < t->k; l++) {
        Vec row[TILE_VECTORS];
        for (int j = 0; j < vectors; j++) row[j] = vec_load(b + l * t->ldb + j * TIM_VECTOR);
        for (int i = 0; i < rows; i++)
            for (int j = 0; j < vectors; j++) acc[i][j] = vec_madd(acc[i][j], &a[i * t->a_row + l * t->a_col], row[j], pairs);
    }
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < vectors; j++) vec_store(c + i * t->ldc + j * TIM_VECTOR, acc[i][j]);
}

static inline __attribute__((always_inline)) void tile_columns(const int vectors, const bool pairs, const TileProduct *t,
                                                               int64_t j0) {
    int64_t i = 0;
    for (; i + TILE_ROWS <= t->m; i += TILE_ROWS) tile_block(TILE_ROWS, vectors, pairs, t, i, j0);
    switch (t->m - i) {
    case 5:
        tile_block(5, vectors, pairs, t, i, j0);
        break;
    case 4:
        tile_block(4, vectors, pairs, t, i, j0);
        break;
    case 3:
        tile_block(3, vectors, pairs, t, i, j0);
        break;
    case 2:
        tile_block(2, vectors, pairs, t, i, j0);
        break;
    case 1:
        tile_block(1, vectors, pairs, t, i, j0);
        break;
    default:
        break;
    }
}

static inline __attribute__((always_inline)) void tile_product_of(const bool pairs, const TileProduct *t) {
    int64_t j = 0;
    for (; j + TILE_VECTORS * TIM_VECTOR <= t->n; j += TILE_VECTORS * TIM_VECTOR) tile_columns(TILE_VECTORS, pairs, t, j);
    switch ((t->n - j) / TIM_VECTOR) {
#if TIM_VECTOR == 16
    case 3:
        tile_columns(3, pairs, t, j);
        break;
    case 2:
        tile_columns(2, pairs, t, j);
        break;
#endif
    case 1:
        tile_columns(1, pairs, t, j);
        break;
    default:
        break;
    }
}

static __attribute__((noinline)) void tile_product_f32(const TileProduct *t) {
    tile_product_of(false, t);
}

#if defined(__AMX_BF16__)
static void tile_product_pairs(const TileProduct *t); /* tile_amx.h */
#elif defined(__AVX512BF16__)
static __attribute__((noinline)) void tile_product_pairs(const TileProduct *t) {
    tile_product_of(true, t);
}
#endif

static inline void tile_product(const TileProduct *t, bool pairs) {
#if defined(__AVX512BF16__)
    if (pairs) {
        tile_product_pairs(t);
        return;
    }
#else
    (void)pairs;
#endif
    tile_product_f32(t);
}

/* ---- loading ---- */

/* A rectangle of a matrix: rows row ... row + rows, columns col ... col + cols. */
typedef struct TileSource {
    const TimMatrix *m;
    int64_t row, col, rows, cols;
} TileSource;

/* Where the words of a tile lie and how far apart its rows are. */
typedef struct TileWords {
    const float *data;
    int64_t ld;
} TileWords;

static inline const uint16_t *source_bf16(const TileSource *s, int64_t r) {
    return tim_matrix_bf16(s->m, s->row + r) + s->col;
}

/* out = row r of the source in fp32, zero up to `ld`. */
static inline void tile_load_row(float *out, int64_t ld, const TileSource *s, int64_t r) {
    if (s->m->dtype == TIM_F32)
        memcpy(out, tim_matrix_f32(s->m, s->row + r) + s->col, (size_t)s->cols * sizeof *out);
    else
        widen(out, source_bf16(s, r), s->cols);
    for (int64_t i = s->cols; i < ld; i++) out[i] = 0;
}

/* fp32 tile (rows, ld). */
static inline void tile_load(float *tile, int64_t ld, const TileSource *s) {
    for (int64_t r = 0; r < s->rows; r++) tile_load_row(tile + r * ld, ld, s, r);
}

/* Words by columns. They are the matrix's own memory when its elements are words already, else a widened copy in `space`. */
static inline TileWords tile_by_columns(float *space, int64_t ld, const TileSource *s, bool pairs) {
    if (pairs) return (TileWords){(const float *)(const void *)source_bf16(s, 0), s->m->stride / 2};
    if (s->m->dtype == TIM_F32) return (TileWords){tim_matrix_f32(s->m, s->row) + s->col, s->m->stride};
    tile_load(space, ld, s);
    return (TileWords){space, ld};
}

/* out[2 i] = a[i], out[2 i + 1] = b[i]: two bf16 rows become one row of words. A NULL b is zeros. */
static inline void interleave(uint16_t *restrict out, const uint16_t *restrict a, const uint16_t *restrict b, int64_t n) {
    int64_t i = 0;
#if defined(__AVX512BF16__)
    for (; i + 16 <= n; i += 16) {
        const __m512i low = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const void *)(a + i)));
        const __m512i high = b ? _mm512_cvtepu16_epi32(_mm256_loadu_si256((const void *)(b + i))) : _mm512_setzero_si512();
        _mm512_storeu_si512(out + 2 * i, _mm512_or_si512(low, _mm512_slli_epi32(high, 16)));
    }
#endif
    for (; i < n; i++) {
        out[2 * i] = a[i];
        out[2 * i + 1] = b ? b[i] : 0;
    }
}

/* tile = words by rows: (rows, ld), or (rows / 2, ld) of pairs; an odd last row is paired with zeros. */
static inline void tile_load_by_rows(float *tile, int64_t ld, const TileSource *s, bool pairs) {
    if (!pairs) {
        tile_load(tile, ld, s);
        return;
    }
    for (int64_t r = 0; r < s->rows; r += 2) {
        uint16_t *out = (uint16_t *)(void *)(tile + r / 2 * ld);
        interleave(out, source_bf16(s, r), r + 1 < s->rows ? source_bf16(s, r + 1) : NULL, s->cols);
        memset(out + 2 * s->cols, 0, (size_t)(ld - s->cols) * sizeof(float));
    }
}

/* ---- packing computed tiles ---- */

/* An fp32 tile (rows, cols) as words by columns; in place, or in `space`. Columns up to the next even one must be readable. */
static inline TileWords tile_pack_by_columns(float *space, const float *tile, int64_t ld, int64_t rows, int64_t cols, bool pairs) {
    if (!pairs) return (TileWords){tile, ld};
    for (int64_t r = 0; r < rows; r++) narrow((uint16_t *)(void *)(space + r * ld), tile + r * ld, (cols + 15) / 16 * 16);
    return (TileWords){space, ld};
}

#if defined(__AVX512BF16__)
/* Rows a and b, n a multiple of 16, as one row of words. */
static inline void pack_two_rows(float *out, const float *a, const float *b, int64_t n) {
    for (int64_t i = 0; i < n; i += 16) {
        const __m512i low = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(_mm512_loadu_ps(a + i)));
        const __m512i high = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(_mm512_loadu_ps(b + i)));
        _mm512_storeu_si512(out + i, _mm512_or_si512(low, _mm512_slli_epi32(high, 16)));
    }
}
#endif

/* The same by rows: row r of the result holds rows 2 r and 2 r + 1. `zeros` is a row of zeros for an odd last one. */
static inline TileWords tile_pack_by_rows(float *space, const float *tile, int64_t ld, int64_t rows, int64_t cols,
                                          const float *zeros, bool pairs) {
#if defined(__AVX512BF16__)
    if (pairs) {
        for (int64_t r = 0; r < rows; r += 2)
            pack_two_rows(space + r / 2 * ld, tile + r * ld, r + 1 < rows ? tile + (r + 1) * ld : zeros, (cols + 15) / 16 * 16);
        return (TileWords){space, ld};
    }
#else
    (void)space, (void)rows, (void)cols, (void)zeros, (void)pairs;
#endif
    return (TileWords){tile, ld};
}

/* ---- transposing ---- */

#if TIM_VECTOR > 1
typedef int32_t VecIndex __attribute__((vector_size(4 * TIM_VECTOR)));

/* rows[i][j] <-> rows[j][i] of a square of TIM_VECTOR words: log2 rounds of perfect shuffles. */
static inline __attribute__((always_inline)) void transpose_square(Vec rows[TIM_VECTOR]) {
    VecIndex low, high;
    for (int i = 0; i < TIM_VECTOR; i++) {
        low[i] = i / 2 + (i % 2) * TIM_VECTOR;
        high[i] = low[i] + TIM_VECTOR / 2;
    }
    for (int round = 1; round < TIM_VECTOR; round *= 2) {
        Vec next[TIM_VECTOR];
        for (int i = 0; i < TIM_VECTOR / 2; i++) {
            next[2 * i] = __builtin_shuffle(rows[i], rows[i + TIM_VECTOR / 2], low);
            next[2 * i + 1] = __builtin_shuffle(rows[i], rows[i + TIM_VECTOR / 2], high);
        }
        for (int i = 0; i < TIM_VECTOR; i++) rows[i] = next[i];
    }
}

/* A square at the edge: rows beyond `rows` and columns beyond `cols` are zero and not read. */
static inline void transpose_edge(float *out, int64_t ld, const float *in, int64_t ld_in, int64_t rows, int64_t cols) {
    Vec square[TIM_VECTOR];
    for (int i = 0; i < TIM_VECTOR; i++) {
        square[i] = (Vec){0};
        if (i < rows) memcpy(&square[i], in + i * ld_in, (size_t)cols * sizeof(float));
    }
    transpose_square(square);
    for (int i = 0; i < cols; i++) vec_store(out + i * ld, square[i]);
}

static inline void transpose_whole(float *out, int64_t ld, const float *in, int64_t ld_in) {
    Vec rows[TIM_VECTOR];
    for (int i = 0; i < TIM_VECTOR; i++) rows[i] = vec_load(in + i * ld_in);
    transpose_square(rows);
    for (int i = 0; i < TIM_VECTOR; i++) vec_store(out + i * ld, rows[i]);
}
#endif

/* out (cols, ld) = the transpose of the words (rows, cols); columns of `out` from `rows` to its next whole vector are zero.
 * Words move as bits: a pair need not be a float that survives a register of its own. */
static inline void tile_transpose(float *restrict out, int64_t ld, TileWords in, int64_t rows, int64_t cols) {
    for (int64_t r = 0; r < rows; r += TIM_VECTOR)
        for (int64_t c = 0; c < cols; c += TIM_VECTOR) {
            const float *corner = in.data + r * in.ld + c;
#if TIM_VECTOR > 1
            if (r + TIM_VECTOR <= rows && c + TIM_VECTOR <= cols)
                transpose_whole(out + c * ld + r, ld, corner, in.ld);
            else
                transpose_edge(out + c * ld + r, ld, corner, in.ld, rows - r, cols - c < TIM_VECTOR ? cols - c : TIM_VECTOR);
#else
            memcpy(out + c * ld + r, corner, sizeof(float));
#endif
        }
}

/* ---- storing ---- */

/* m[row ...][col ...] (+)= tile */
static inline void tile_store(const TimMatrix *m, int64_t row, int64_t col, int64_t rows, int64_t cols, const float *tile,
                              int64_t ld, bool add) {
    const TimMatrix part = tim_matrix_columns(*m, col, cols);
    for (int64_t r = 0; r < rows; r++) row_write(&part, row + r, tile + r * ld, add);
}

#if defined(__AMX_BF16__)
#include "op/tile_amx.h"
#endif

#endif
