/* W += g' x for g (R, N), x (R, K) in bf16 and W (N, K) in fp32: a linear layer's weight gradient. Included by op files only.
 * Both factors are summed over their rows, so pairing neighbouring rows is all the packing there is; a library that takes a
 * transposed factor has to transpose it first (measured: 320 GFLOP/s against 410 here, docs/experiments.md).
 * Rows go by chunks whose packed halves stay in the second-level cache; each thread owns whole rows of W, so the order of sums is
 * fixed. */
#ifndef TIM_OP_OUTER_H
#define TIM_OP_OUTER_H

#include "op/matmul.h"
#include "op/tile.h"

enum { OUTER_ROWS = 192 /* of a chunk */, OUTER_BLOCK = 384 /* rows of W at most at once */ };

/* True where outer_sum serves: W's rows must be whole vectors. Where the library multiplies on tiles, it is faster even so (0.11
 * against 0.38 s of a train_small step on 2 cores of a Xeon with AMX). */
static inline bool outer_serves(const TimMatrix *g, const TimMatrix *x) {
    return !tim_matmul_has_tiles() && TILE_HAS_PAIRS && g->dtype == TIM_BF16 && x->dtype == TIM_BF16 && x->cols % TIM_VECTOR == 0;
}

/* How the rows of W are dealt: `count` blocks of `rows`, a multiple of the threads where there are enough rows. */
typedef struct OuterBlocks {
    int64_t count, rows;
} OuterBlocks;

static inline OuterBlocks outer_blocks(int64_t n, int threads) {
    const int64_t wanted = (n + OUTER_BLOCK - 1) / OUTER_BLOCK, dealt = (wanted + threads - 1) / threads * threads;
    const int64_t rows = ((n + dealt - 1) / dealt + TILE_ROWS - 1) / TILE_ROWS * TILE_ROWS;
    return (OuterBlocks){(n + rows - 1) / rows, rows};
}

/* Packed factors lie in panels of this many columns, so that the inner loop reads both front to back. */
enum { OUTER_PANEL = TILE_VECTORS * TIM_VECTOR, OUTER_PREFETCH = 24 /* rows ahead: what is packed comes from memory */ };

/* Workspace of one thread in floats. */
static inline size_t outer_scratch(int64_t n, int64_t k, int threads) {
    return (size_t)(OUTER_ROWS / 2 * (outer_blocks(n, threads).rows + k + 2 * OUTER_PANEL));
}

static inline void prefetch_rows(const TileSource *s, int64_t r) {
    for (int64_t i = 0; r + 1 < s->rows && i < s->cols; i += 32) {
        __builtin_prefetch(source_bf16(s, r) + i);
        __builtin_prefetch(source_bf16(s, r + 1) + i);
    }
}

/* Panel p = columns p * OUTER_PANEL ... as words by rows: (rows / 2, OUTER_PANEL), zero beyond the last column. */
static inline void pack_panels(float *out, const TileSource *s) {
    const int64_t words = (s->rows + 1) / 2;
    for (int64_t r = 0; r < s->rows; r += 2) {
        prefetch_rows(s, r + OUTER_PREFETCH);
        const uint16_t *even = source_bf16(s, r), *odd = r + 1 < s->rows ? source_bf16(s, r + 1) : NULL;
        float *row = out + r / 2 * OUTER_PANEL;
        for (int64_t c = 0; c < s->cols; c += OUTER_PANEL, row += words * OUTER_PANEL) {
            const int64_t n = s->cols - c < OUTER_PANEL ? s->cols - c : OUTER_PANEL;
            interleave((uint16_t *)(void *)row, even + c, odd ? odd + c : NULL, n);
            for (int64_t i = n; i < OUTER_PANEL; i++) row[i] = 0;
        }
    }
}

/* One chunk of rows: panels of g' times panels of x onto W's rows n0 ... n0 + n. */
static inline void multiply_panels(const TimMatrix *w, const float *g, const float *x, int64_t n0, int64_t n, int64_t words) {
    for (int64_t k0 = 0; k0 < w->cols; k0 += OUTER_PANEL)
        for (int64_t i0 = 0; i0 < n; i0 += OUTER_PANEL) {
            const int64_t m = n - i0 < OUTER_PANEL ? n - i0 : OUTER_PANEL,
                          cols = w->cols - k0 < OUTER_PANEL ? w->cols - k0 : OUTER_PANEL;
            float *c = tim_matrix_f32(w, n0 + i0) + k0;
            tile_product(
                &(TileProduct){m, cols, words, g + i0 * words, 1, OUTER_PANEL, x + k0 * words, OUTER_PANEL, c, w->stride, true},
                true);
        }
}

/* Rows n0 ... n0 + n of W. */
static inline void outer_block(const TimMatrix *w, const TimMatrix *g, const TimMatrix *x, int64_t n0, int64_t n, float *scratch) {
    float *g_words = scratch, *x_words = scratch + OUTER_ROWS / 2 * (n + OUTER_PANEL);
    for (int64_t r = 0; r < g->rows; r += OUTER_ROWS) {
        const int64_t rows = g->rows - r < OUTER_ROWS ? g->rows - r : OUTER_ROWS;
        pack_panels(g_words, &(TileSource){g, r, n0, rows, n});
        pack_panels(x_words, &(TileSource){x, r, 0, rows, x->cols});
        multiply_panels(w, g_words, x_words, n0, n, (rows + 1) / 2);
    }
}

static inline void outer_sum(const TimMatrix *w, const TimMatrix *g, const TimMatrix *x, float *scratch, int threads) {
    const OuterBlocks blocks = outer_blocks(w->rows, threads);
    const size_t each = scratch_floats((int64_t)outer_scratch(w->rows, x->cols, threads));
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int part = 0; part < threads; part++)
        for (int64_t b = part; b < blocks.count; b += threads) {
            const int64_t n0 = b * blocks.rows, left = w->rows - n0;
            outer_block(w, g, x, n0, left < blocks.rows ? left : blocks.rows, scratch + (size_t)part * each);
        }
}

#endif
