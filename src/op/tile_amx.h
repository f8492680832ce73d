/* The product of tile.h on the processor's matrix tiles (Intel AMX), for words that are pairs. Part of tile.h.
 * A matrix tile is up to 16 rows of 16 words: 16 x 16 of A times 16 x 16 of B, whose rows are summed words, is what one instruction
 * adds to a tile of C. What is left of the rows of A and of the summed words takes tiles that are as much smaller. */
#ifndef TIM_OP_TILE_AMX_H
#define TIM_OP_TILE_AMX_H

enum {
    AMX_SIDE = 16,                   /* rows of a tile, and 32-bit words of its row */
    AMX_WORDS = AMX_SIDE * AMX_SIDE, /* of a tile */
    AMX_ROW_BYTES = AMX_SIDE * 4,
    AMX_MOST = 96, /* words of a transposed A at most */
    AMX_SPAN = 4   /* tiles of C side by side, registers 0 to 3; A and B use 4 and 5, for what is left of the words 6 and 7 */
};

/* The tiles' shapes, as the instruction reads them. */
typedef struct AmxConfig {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
} __attribute__((aligned(64))) AmxConfig;

/* Tiles of C and A have `rows` rows; `rest` words are left. */
static inline void amx_begin(int64_t rows, int64_t rest) {
    AmxConfig config = {.palette = 1};
    for (int i = 0; i < 8; i++) config.row_bytes[i] = AMX_ROW_BYTES, config.rows[i] = (uint8_t)rows;
    config.rows[5] = AMX_SIDE;
    if (rest) config.row_bytes[6] = (uint16_t)(rest * 4), config.rows[7] = (uint8_t)rest;
    _tile_loadconfig(&config);
}

/* A row of tiles of C: what it is made of. */
typedef struct AmxRow {
    const float *a; /* words by columns */
    int64_t ld_a, whole, rest;
    const float *b;
    int64_t ld_b;
    float *c;
    int64_t ld_c;
    bool add;
} AmxRow;

/* Instructions name their registers, so this is written once for each: what to do with tile 0, and with 1 to 3 of a wider span. */
#define AMX_EACH(span, DO)                                                                                                         \
    do {                                                                                                                           \
        DO(0);                                                                                                                     \
        if (span > 1) DO(1);                                                                                                       \
        if (span > 2) DO(2);                                                                                                       \
        if (span > 3) DO(3);                                                                                                       \
    } while (0)
#define AMX_ZERO(i) _tile_zero(i)
#define AMX_LOAD(i) _tile_loadd(i, c + (i)*AMX_SIDE, r->ld_c * 4)
#define AMX_STORE(i) _tile_stored(i, c + (i)*AMX_SIDE, r->ld_c * 4)
#define AMX_WHOLE(i)                                                                                                               \
    do {                                                                                                                           \
        _tile_loadd(5, b + (i)*AMX_SIDE, r->ld_b * 4);                                                                             \
        _tile_dpbf16ps(i, 4, 5);                                                                                                   \
    } while (0)
#define AMX_REST(i)                                                                                                                \
    do {                                                                                                                           \
        _tile_loadd(7, b + (i)*AMX_SIDE, r->ld_b * 4);                                                                             \
        _tile_dpbf16ps(i, 6, 7);                                                                                                   \
    } while (0)

/* `span` tiles from column j on. */
static inline __attribute__((always_inline)) void amx_span(const int span, const AmxRow *r, int64_t j) {
    const float *b = r->b + j;
    float *c = r->c + j;
    if (r->add)
        AMX_EACH(span, AMX_LOAD);
    else
        AMX_EACH(span, AMX_ZERO);
    for (int64_t step = 0; step < r->whole; step++, b += AMX_SIDE * r->ld_b) {
        _tile_loadd(4, r->a + step * AMX_SIDE, r->ld_a * 4);
        AMX_EACH(span, AMX_WHOLE);
    }
    if (r->rest) {
        _tile_loadd(6, r->a + r->whole * AMX_SIDE, r->ld_a * 4);
        AMX_EACH(span, AMX_REST);
    }
    AMX_EACH(span, AMX_STORE);
}

static inline void amx_row(const AmxRow *r, int64_t n) {
    int64_t j = 0;
    for (; j + AMX_SPAN * AMX_SIDE <= n; j += AMX_SPAN * AMX_SIDE) amx_span(AMX_SPAN, r, j);
    switch ((n - j) / AMX_SIDE) {
    case 3:
        amx_span(3, r, j);
        break;
    case 2:
        amx_span(2, r, j);
        break;
    case 1:
        amx_span(1, r, j);
        break;
    default:
        break;
    }
}

/* Words of A by columns for `rows` rows from i on: as they lie, or transposed into `space` (16, AMX_MOST). */
static inline TileWords amx_left(float *space, const TileProduct *t, int64_t i, int64_t rows) {
    if (t->a_col == 1) return (TileWords){t->a + i * t->a_row, t->a_row};
    tile_transpose(space, AMX_MOST, (TileWords){t->a + i, t->a_col}, t->k, rows);
    return (TileWords){space, AMX_MOST};
}

static __attribute__((noinline)) void tile_product_pairs(const TileProduct *t) {
    float space[AMX_SIDE * AMX_MOST] __attribute__((aligned(64)));
    if (t->a_col != 1 && (t->a_row != 1 || t->k > AMX_MOST)) { /* no user has such a one */
        tile_product_of(true, t);
        return;
    }
    AmxRow r = {.whole = t->k / AMX_SIDE, .rest = t->k % AMX_SIDE, .b = t->b, .ld_b = t->ldb, .ld_c = t->ldc, .add = t->add};
    for (int64_t i = 0, before = 0; i < t->m; i += AMX_SIDE) {
        const int64_t rows = t->m - i < AMX_SIDE ? t->m - i : AMX_SIDE;
        if (rows != before) amx_begin(rows, r.rest);
        const TileWords a = amx_left(space, t, i, rows);
        before = rows;
        r.a = a.data, r.ld_a = a.ld, r.c = t->c + i * t->ldc;
        amx_row(&r, t->n);
    }
    _tile_release();
}
#endif
