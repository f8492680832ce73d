/* y = x W' (+ b) on the processor's matrix tiles (Intel AMX), with W (N, K) in bf16 as its file stores it. Included by op files
 * only. A tile product wants its right factor in pairs of rows. A library therefore rearranges W at every call, which costs more
 * than the product itself where x has few rows; here W is the left factor, whose tiles are its rows as they lie, and x is
 * rearranged once. So W is read once, and y comes in transposed tiles. */
#ifndef TIM_OP_STORED_H
#define TIM_OP_STORED_H

#include "op/tile.h"

enum { STORED_MAX_ROWS = 512 /* of x: beyond them the library is as fast */ };

#if defined(__AMX_BF16__)

enum {
    AMX_STEP = 2 * AMX_SIDE,    /* bf16 numbers that a product of tiles sums over */
    STORED_BLOCK = 2 * AMX_SIDE /* rows of W and of x at a time: four sums, two tiles of each factor */
};

static inline bool stored_serves(const TimMatrix *x, const TimMatrix *w) {
    return x->rows <= STORED_MAX_ROWS && w->dtype == TIM_BF16 && w->cols % AMX_STEP == 0 && w->rows % STORED_BLOCK == 0;
}

/* Blocks of 16 rows that x is rearranged in. */
static inline int64_t stored_blocks(int64_t rows) {
    return (rows + AMX_SIDE - 1) / AMX_SIDE;
}

/* Bytes of x rearranged. */
static inline size_t stored_bytes(int64_t rows, int64_t cols) {
    return (size_t)(stored_blocks(rows) * AMX_SIDE * cols) * sizeof(uint16_t);
}

/* Block b of x as right factors: for every step a tile whose row is a pair of columns of x, 0 beyond the last row. */
static inline void pack_rows(float *out, const TimMatrix *x, int64_t b) {
    for (int64_t step = 0; step < x->cols / AMX_STEP; step++, out += AMX_WORDS) {
        Vec rows[AMX_SIDE];
        for (int64_t i = 0; i < AMX_SIDE; i++) {
            const int64_t row = b * AMX_SIDE + i;
            rows[i] = (Vec){0};
            if (row < x->rows) memcpy(&rows[i], tim_matrix_bf16(x, row) + step * AMX_STEP, sizeof rows[i]);
        }
        transpose_square(rows);
        for (int i = 0; i < AMX_SIDE; i++) vec_store(out + i * AMX_SIDE, rows[i]);
    }
}

typedef struct Stored {
    const TimMatrix *w, *y;
    const float *bias, *x; /* rearranged */
    int64_t steps, rows;   /* of x */
} Stored;

/* sums (2, 2) tiles = 32 rows of W from n on times block b of x and the one after it, where there is one. */
static inline void stored_multiply(const Stored *p, int64_t n, int64_t b, float sums[4][AMX_WORDS]) {
    const bool both = (b + 1) * AMX_SIDE < p->rows;
    const int64_t ld = p->w->stride * (int64_t)sizeof(uint16_t);
    const uint16_t *low = tim_matrix_bf16(p->w, n), *high = tim_matrix_bf16(p->w, n + AMX_SIDE);
    const float *left = p->x + b * p->steps * AMX_WORDS, *right = both ? left + p->steps * AMX_WORDS : left;
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (int64_t step = 0; step < p->steps; step++) {
        _tile_loadd(4, low + step * AMX_STEP, ld);
        _tile_loadd(5, high + step * AMX_STEP, ld);
        _tile_loadd(6, left + step * AMX_WORDS, AMX_ROW_BYTES);
        _tile_dpbf16ps(0, 4, 6);
        _tile_dpbf16ps(1, 5, 6);
        if (!both) continue;
        _tile_loadd(7, right + step * AMX_WORDS, AMX_ROW_BYTES);
        _tile_dpbf16ps(2, 4, 7);
        _tile_dpbf16ps(3, 5, 7);
    }
    _tile_stored(0, sums[0], AMX_ROW_BYTES);
    _tile_stored(1, sums[1], AMX_ROW_BYTES);
    _tile_stored(2, sums[2], AMX_ROW_BYTES);
    _tile_stored(3, sums[3], AMX_ROW_BYTES);
}

/* 16 columns of y from n on, of the rows of block b. */
static inline void stored_write(const Stored *p, int64_t n, int64_t b, const float *sums) {
    const Vec bias = p->bias ? vec_load(p->bias + n) : (Vec){0};
    Vec rows[AMX_SIDE];
    for (int i = 0; i < AMX_SIDE; i++) rows[i] = vec_load(sums + i * AMX_SIDE);
    transpose_square(rows);
    for (int64_t i = 0; i < AMX_SIDE && b * AMX_SIDE + i < p->rows; i++) {
        const Vec sum = rows[i] + bias;
        if (p->y->dtype == TIM_F32)
            vec_store(tim_matrix_f32(p->y, b * AMX_SIDE + i) + n, sum);
        else
            narrow(tim_matrix_bf16(p->y, b * AMX_SIDE + i) + n, (const float *)&sum, AMX_SIDE);
    }
}

/* The rows of W that come next, on their way from memory while these are at work: share `part` of `parts`. */
static inline void stored_prefetch(const Stored *p, int64_t n, int64_t part, int64_t parts) {
    if (n >= p->w->rows) return;
    for (int64_t row = STORED_BLOCK * part / parts; row < STORED_BLOCK * (part + 1) / parts; row++)
        for (int64_t k = 0; k < p->w->cols; k += AMX_STEP) __builtin_prefetch(tim_matrix_bf16(p->w, n + row) + k, 0, 2);
}

static inline void stored_columns(const Stored *p, int64_t n) {
    float sums[4][AMX_WORDS] __attribute__((aligned(64)));
    const int64_t parts = (p->rows + STORED_BLOCK - 1) / STORED_BLOCK;
    for (int64_t part = 0; part < parts; part++) {
        stored_prefetch(p, n + STORED_BLOCK, part, parts);
        stored_multiply(p, n, 2 * part, sums);
        for (int i = 0; i < 4; i++) stored_write(p, n + i % 2 * AMX_SIDE, 2 * part + i / 2, sums[i]);
    }
}

/* x in bf16; `space` of stored_bytes, `bias` f32 (N) or NULL, y f32 or bf16. */
static inline void stored_product(const TimMatrix *y, const TimMatrix *x, const TimMatrix *w, const float *bias, float *space,
                                  int threads) {
    const Stored p = {.w = w, .y = y, .bias = bias, .x = space, .steps = w->cols / AMX_STEP, .rows = x->rows};
    const int64_t blocks = stored_blocks(x->rows), columns = w->rows / STORED_BLOCK;
#pragma omp parallel num_threads(threads)
    {
#pragma omp for schedule(static)
        for (int64_t b = 0; b < blocks; b++) pack_rows(space + b * p.steps * AMX_WORDS, x, b);
        amx_begin(AMX_SIDE, 0);
#pragma omp for schedule(static)
        for (int64_t c = 0; c < columns; c++) stored_columns(&p, c * STORED_BLOCK);
        _tile_release();
    }
}

#else

static inline bool stored_serves(const TimMatrix *x, const TimMatrix *w) {
    (void)x, (void)w;
    return false;
}

static inline size_t stored_bytes(int64_t rows, int64_t cols) {
    (void)rows, (void)cols;
    return 0;
}

static inline void stored_product(const TimMatrix *y, const TimMatrix *x, const TimMatrix *w, const float *bias, float *space,
                                  int threads) {
    (void)y, (void)x, (void)w, (void)bias, (void)space, (void)threads;
}

#endif
#endif
