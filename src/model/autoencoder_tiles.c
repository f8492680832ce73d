/* The tiled mode of diffusers: tiles at a stride, each through the network by itself; where two overlap the later one fades in over
 * the one above it and then over the one to its left. Every tile is blended with tiles that are blended already, in reading order,
 * so only the row above is kept. What a tile adds to the result is its first `stride`. */
#include <string.h>

#include "base/memory.h"
#include "model/autoencoder_half.h"

/* One axis, in pixels of the result: tiles of `tile` every `stride`; the input's are num / den of it. */
typedef struct Axis {
    int in_size, in_tile, in_stride;
    int size, stride, blend;
    int count;
} Axis;

typedef struct Tile {
    float *data; /* (B C, height, width) */
    int height, width;
} Tile;

typedef struct Tiled {
    TimHalf *half;
    int64_t batch;
    Axis y, x;
    const float *in; /* (B, C, in_size, in_size) */
    float *out;
    float *cut; /* room for one tile of the input */
    Tile *rows; /* (2, x.count): the row above and this one */
} Tiled;

static int scaled(const TimHalf *half, int size) {
    const int factor = tim_autoencoder_factor(half->config);
    return half->decoder ? size * factor : size / factor;
}

static Axis axis_of(const TimHalf *half, int in_size, int tile, int stride) {
    const int factor = tim_autoencoder_factor(half->config), div = half->decoder ? factor : 1;
    Axis a = {.in_size = in_size, .in_tile = tile / div, .in_stride = stride / div};
    a.size = scaled(half, in_size);
    a.stride = scaled(half, a.in_stride);
    a.blend = scaled(half, a.in_tile) - a.stride;
    a.count = (in_size + a.in_stride - 1) / a.in_stride;
    return a;
}

/* Where tile `index` starts in the input, and how long it is. */
static int start(const Axis *a, int index) {
    return index * a->in_stride;
}

static int length(const Axis *a, int index) {
    return tim_smaller(a->in_tile, a->in_size - start(a, index));
}

static void cut(const Tiled *t, int i, int j, int height, int width) {
    const int64_t planes = t->batch * tim_half_in_channels(t->half);
    for (int64_t p = 0; p < planes; p++)
        for (int y = 0; y < height; y++)
            memcpy(t->cut + (p * height + y) * width,
                   t->in + (p * t->y.in_size + start(&t->y, i) + y) * t->x.in_size + start(&t->x, j),
                   (size_t)width * sizeof *t->cut);
}

/* b fades in over the last rows of `a`, the tile above. */
static void blend_down(const Tile *a, Tile *b, int64_t planes, int extent) {
    extent = tim_smaller(extent, tim_smaller(a->height, b->height));
    for (int64_t p = 0; p < planes; p++)
        for (int y = 0; y < extent; y++) {
            const float part = (float)y / (float)extent;
            const float *from = a->data + (p * a->height + a->height - extent + y) * a->width;
            float *to = b->data + (p * b->height + y) * b->width;
            for (int x = 0; x < b->width; x++) to[x] = from[x] * (1 - part) + to[x] * part;
        }
}

/* b fades in over the last columns of `a`, the tile to its left. */
static void blend_right(const Tile *a, Tile *b, int64_t planes, int extent) {
    extent = tim_smaller(extent, tim_smaller(a->width, b->width));
    for (int64_t row = 0; row < planes * b->height; row++)
        for (int x = 0; x < extent; x++) {
            const float part = (float)x / (float)extent;
            float *to = b->data + row * b->width + x;
            *to = a->data[row * a->width + a->width - extent + x] * (1 - part) + *to * part;
        }
}

static void paste(const Tiled *t, const Tile *tile, int i, int j, int64_t planes) {
    const int top = i * t->y.stride, left = j * t->x.stride;
    const int height = tim_smaller(t->y.stride, tile->height), width = tim_smaller(t->x.stride, tile->width);
    for (int64_t p = 0; p < planes; p++)
        for (int y = 0; y < height; y++)
            memcpy(t->out + (p * t->y.size + top + y) * t->x.size + left, tile->data + (p * tile->height + y) * tile->width,
                   (size_t)width * sizeof *t->out);
}

static TimStatus run_tile(const Tiled *t, int i, int j, TimError *err) {
    Tile *above = &t->rows[(i + 1) % 2 * t->x.count], *now = &t->rows[i % 2 * t->x.count];
    const int height = length(&t->y, i), width = length(&t->x, j);
    const int64_t planes = t->batch * tim_half_out_channels(t->half);
    now[j].height = scaled(t->half, height), now[j].width = scaled(t->half, width);
    cut(t, i, j, height, width);
    TIM_TRY(tim_half_run(t->half, t->batch, height, width, t->cut, now[j].data, err));
    if (i > 0) blend_down(&above[j], &now[j], planes, t->y.blend);
    if (j > 0) blend_right(&now[j - 1], &now[j], planes, t->x.blend);
    paste(t, &now[j], i, j, planes);
    return TIM_OK;
}

/* Elements of a tile of the input, and of the result. */
static size_t in_elements(const Tiled *t) {
    return (size_t)(t->batch * tim_half_in_channels(t->half)) * (size_t)t->y.in_tile * (size_t)t->x.in_tile;
}

static size_t out_elements(const Tiled *t) {
    const size_t planes = (size_t)(t->batch * tim_half_out_channels(t->half));
    return planes * (size_t)scaled(t->half, t->y.in_tile) * (size_t)scaled(t->half, t->x.in_tile);
}

static TimStatus make_tiles(Tiled *t, TimError *err) {
    const size_t in = in_elements(t), out = out_elements(t);
    TIM_TRY(tim_new(&t->cut, in, sizeof *t->cut, "a tile", err));
    TIM_TRY(tim_new(&t->rows, (size_t)t->x.count, 2 * sizeof *t->rows, "the tiles", err));
    for (int i = 0; i < 2 * t->x.count; i++) TIM_TRY(tim_new(&t->rows[i].data, out, sizeof *t->cut, "a tile", err));
    return TIM_OK;
}

static void free_tiles(Tiled *t) {
    for (int i = 0; t->rows && i < 2 * t->x.count; i++) tim_free(t->rows[i].data);
    tim_free(t->rows);
    tim_free(t->cut);
}

static TimStatus run_tiles(const Tiled *t, TimError *err) {
    for (int i = 0; i < t->y.count; i++)
        for (int j = 0; j < t->x.count; j++) TIM_TRY(run_tile(t, i, j, err));
    return TIM_OK;
}

static TimStatus check(const TimHalf *half, const TimTiling *t, TimError *err) {
    const int factor = tim_autoencoder_factor(half->config);
    const int sizes[4] = {t->tile_h, t->tile_w, t->stride_h, t->stride_w};
    for (int i = 0; i < 4; i++)
        if (sizes[i] <= 0 || sizes[i] % factor)
            return tim_fail(err, TIM_E_ARGUMENT, "tiles of %d x %d every %d x %d: all must be positive multiples of %d", t->tile_h,
                            t->tile_w, t->stride_h, t->stride_w, factor);
    if (t->stride_h <= t->tile_h && t->stride_w <= t->tile_w) return TIM_OK;
    return tim_fail(err, TIM_E_ARGUMENT, "tiles of %d x %d every %d x %d leave gaps; the stride is at most the tile", t->tile_h,
                    t->tile_w, t->stride_h, t->stride_w);
}

static Tiled tiled_of(TimHalf *half, const TimTiling *tiling, int64_t batch, int height, int width) {
    return (Tiled){.half = half,
                   .batch = batch,
                   .y = axis_of(half, height, tiling->tile_h, tiling->stride_h),
                   .x = axis_of(half, width, tiling->tile_w, tiling->stride_w)};
}

static bool is_one_tile(const Tiled *t) {
    return t->y.in_size <= t->y.in_tile && t->x.in_size <= t->x.in_tile;
}

TimStatus tim_half_run_tiled(TimHalf *half, const TimTiling *tiling, int64_t batch, int height, int width, const float *in,
                             float *out, TimError *err) {
    TIM_TRY(check(half, tiling, err));
    Tiled t = tiled_of(half, tiling, batch, height, width);
    if (is_one_tile(&t)) return tim_half_run(half, batch, height, width, in, out, err);
    t.in = in, t.out = out;
    half->keep = TIM_HALF_TAPES;
    TimStatus status = make_tiles(&t, err);
    if (status == TIM_OK) status = run_tiles(&t, err);
    half->keep = 1;
    free_tiles(&t);
    return status;
}

TimStatus tim_half_tiled_bytes(TimHalf *half, const TimTiling *tiling, int height, int width, size_t *bytes, TimError *err) {
    TIM_TRY(check(half, tiling, err));
    const Tiled t = tiled_of(half, tiling, 1, height, width);
    if (is_one_tile(&t)) return tim_half_whole_bytes(half, height, width, bytes, err);
    TIM_TRY(tim_half_whole_bytes(half, tim_smaller(height, t.y.in_tile), tim_smaller(width, t.x.in_tile), bytes, err));
    *bytes = TIM_HALF_TAPES * *bytes + sizeof(float) * (in_elements(&t) + 2 * (size_t)t.x.count * out_elements(&t));
    return TIM_OK;
}
