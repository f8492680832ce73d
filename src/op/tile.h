/* Small dense products in fp32 on tiles that sit in the cache: the arithmetic of attention. Included by op files only.
 * C (m, n) = [C +] A (m, k) B (k, n). A is read one element at a time, with any strides, so a transposed A costs nothing;
 * rows of B and C are contiguous and n is a multiple of TIM_VECTOR: tiles are padded. */
#ifndef TIM_OP_TILE_H
#define TIM_OP_TILE_H

#include "op/kernel.h"

#if TIM_VECTOR == 1
typedef float Vec;
#else
typedef float Vec __attribute__((vector_size(4 * TIM_VECTOR)));
#endif

/* The register block: as many accumulators as fit beside a row of B and one element of A. */
enum { TILE_ROWS = 6, TILE_VECTORS = TIM_VECTOR == 16 ? 4 : 2 };

static inline Vec vec_load(const float *p) {
    Vec v;
    memcpy(&v, p, sizeof v);
    return v;
}

static inline void vec_store(float *p, Vec v) {
    memcpy(p, &v, sizeof v);
}

/* Columns rounded up to whole vectors. */
static inline int64_t padded(int64_t n) {
    return (n + TIM_VECTOR - 1) / TIM_VECTOR * TIM_VECTOR;
}

typedef struct TileProduct {
    int64_t m, n, k;
    const float *a;
    int64_t a_row, a_col; /* strides of A */
    const float *b;
    int64_t ldb;
    float *c;
    int64_t ldc;
    bool add;
} TileProduct;

/* rows x vectors of C; both are compile-time constants at every call, so the accumulators stay in registers. */
static inline __attribute__((always_inline)) void tile_block(const int rows, const int vectors, const TileProduct *t, int64_t i0, int64_t j0) {
    Vec acc[TILE_ROWS][TILE_VECTORS];
    const float *a = t->a + i0 * t->a_row, *b = t->b + j0;
    float *c = t->c + i0 * t->ldc + j0;
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < vectors; j++) acc[i][j] = t->add ? vec_load(c + i * t->ldc + j * TIM_VECTOR) : (Vec){0};
    for (int64_t l = 0; l < t->k; l++) {
        Vec row[TILE_VECTORS];
        for (int j = 0; j < vectors; j++) row[j] = vec_load(b + l * t->ldb + j * TIM_VECTOR);
        for (int i = 0; i < rows; i++) {
            const float s = a[i * t->a_row + l * t->a_col];
            for (int j = 0; j < vectors; j++) acc[i][j] += s * row[j];
        }
    }
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < vectors; j++) vec_store(c + i * t->ldc + j * TIM_VECTOR, acc[i][j]);
}

static inline __attribute__((always_inline)) void tile_columns(const int vectors, const TileProduct *t, int64_t j0) {
    int64_t i = 0;
    for (; i + TILE_ROWS <= t->m; i += TILE_ROWS) tile_block(TILE_ROWS, vectors, t, i, j0);
    switch (t->m - i) {
    case 5: tile_block(5, vectors, t, i, j0); break;
    case 4: tile_block(4, vectors, t, i, j0); break;
    case 3: tile_block(3, vectors, t, i, j0); break;
    case 2: tile_block(2, vectors, t, i, j0); break;
    case 1: tile_block(1, vectors, t, i, j0); break;
    default: break;
    }
}

static inline void tile_product(const TileProduct *t) {
    int64_t j = 0;
    for (; j + TILE_VECTORS * TIM_VECTOR <= t->n; j += TILE_VECTORS * TIM_VECTOR) tile_columns(TILE_VECTORS, t, j);
    switch ((t->n - j) / TIM_VECTOR) {
#if TIM_VECTOR == 16
    case 3: tile_columns(3, t, j); break;
    case 2: tile_columns(2, t, j); break;
#endif
    case 1: tile_columns(1, t, j); break;
    default: break;
    }
}

/* tile (rows, ld) = scale * m[first row ..][first column ...], columns beyond `cols` zero. */
static inline void tile_load(float *tile, int64_t ld, const TimMatrix *m, int64_t row, int64_t col, int64_t rows, int64_t cols, float scale) {
    for (int64_t r = 0; r < rows; r++) {
        float *out = tile + r * ld;
        if (m->dtype == TIM_F32)
            memcpy(out, tim_matrix_f32(m, row + r) + col, (size_t)cols * sizeof *out);
        else
            widen(out, tim_matrix_bf16(m, row + r) + col, cols);
        for (int64_t i = cols; i < ld; i++) out[i] = 0;
        if (scale == 1.0F) continue;
#pragma omp simd
        for (int64_t i = 0; i < cols; i++) out[i] *= scale;
    }
}

/* out (cols, ld) = the transpose of tile (rows, ld_in); columns of `out` beyond `rows` zero. */
static inline void tile_transpose(float *restrict out, int64_t ld, const float *restrict tile, int64_t ld_in, int64_t rows, int64_t cols) {
    for (int64_t c = 0; c < cols; c++) {
        for (int64_t r = 0; r < rows; r++) out[c * ld + r] = tile[r * ld_in + c];
        for (int64_t r = rows; r < ld; r++) out[c * ld + r] = 0;
    }
}

/* m[first row ..][first column ..] (+)= scale * tile. */
static inline void tile_store(const TimMatrix *m, int64_t row, int64_t col, int64_t rows, int64_t cols, float *tile, int64_t ld, float scale, bool add) {
    for (int64_t r = 0; r < rows; r++) {
        const TimMatrix part = tim_matrix_columns(*m, col, cols);
        float *values = tile + r * ld;
#pragma omp simd
        for (int64_t i = 0; i < cols; i++) values[i] *= scale;
        row_write(&part, row + r, values, add);
    }
}

#endif
