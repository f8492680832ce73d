/* One half of an autoencoder: its parameters, weights, and tapes by shape. Internal to src/model/autoencoder*.c. */
#ifndef TIM_MODEL_AUTOENCODER_HALF_H
#define TIM_MODEL_AUTOENCODER_HALF_H

#include "model/autoencoder.h"

static inline int tim_smaller(int a, int b) {
    return a < b ? a : b;
}

/* ---- strips: rows of a map, run on a window of it that has as many rows beyond them as the result depends on ---- */

/* Rows of the map for `rows` of the picture, `scale` of which show one. */
static inline int tim_strip_rows(int rows, int scale) {
    return rows < scale ? 1 : rows / scale;
}

static inline int tim_strip_window(int rows, int halo, int height) {
    return tim_smaller(rows + 2 * halo, height);
}

/* The first row of the window of the strip that begins at row `first`: at the picture's edges it ends where the picture does. */
static inline int tim_strip_top(int first, int rows, int window, int height) {
    const int halo = (window - rows) / 2, wanted = first - halo > 0 ? first - halo : 0;
    return tim_smaller(wanted, height - window);
}

enum { TIM_HALF_TAPES = 2 /* a tiled row has two shapes: whole tiles and the last one */ };

/* What a tape runs: all of the half, or of a decoder the part before the local ones, or a local one, with the map between parts in
 * rows of pixels (autoencoder_dc.h has one local part, autoencoder_kl.h one a stage). */
typedef enum TimHalfPart { TIM_HALF_WHOLE, TIM_HALF_COARSE, TIM_HALF_FINE } TimHalfPart;

/* Inputs (B, C, H, W), of a local part (B H W, C). */
typedef struct TimHalfShape {
    TimHalfPart part;
    int stage; /* of a KL: the first that is not in the coarse part, or the local part's; else 0 */
    int64_t batch;
    int height, width;
} TimHalfShape;

typedef struct TimHalfTape {
    TimHalfShape shape;
    TimTape *tape; /* NULL: none */
    TimRef in, out;
    TimKlNorms norms; /* of a KL's local part */
    bool dry;         /* it tells its bytes, and cannot run */
    uint64_t used;    /* when, by the half's clock */
} TimHalfTape;

typedef struct TimHalf {
    const TimAutoencoderConfig *config;
    TimAutoencoderOptions options;
    bool decoder;
    TimParams params;
    TimWeights bound;
    float *f32;    /* vectors and, without bf16, all; packed one after another */
    TimBf16 *bf16; /* the others */
    size_t weight_bytes;
    TimHalfTape tapes[TIM_HALF_TAPES];
    int keep; /* how many of them may be there at once */
    uint64_t clock;
} TimHalf;

/* Finds the parameters and makes room for weights. Done is due in any case. */
TimStatus tim_half_init(TimHalf *half, const TimAutoencoderConfig *config, const TimAutoencoderOptions *options, bool decoder,
                        TimError *err);
void tim_half_done(TimHalf *half);

/* A parameter of a DC that no file has: the bias that a batch norm leaves in the convolution before it. */
bool tim_half_is_folded(const TimHalf *half, const TimParam *param);

TimStatus tim_half_set_weights(TimHalf *half, TimAutoencoderRead read, void *from, TimError *err);

/* The tape for this shape, recorded unless it is there. */
TimStatus tim_half_tape(TimHalf *half, const TimHalfShape *shape, const TimHalfTape **out, TimError *err);

/* Channels that come in and go out; a KL encoder gives mean and logvar. */
int tim_half_in_channels(const TimHalf *half);
int tim_half_out_channels(const TimHalf *half);

/* *bytes = of a tape for this shape. */
TimStatus tim_half_bytes(TimHalf *half, const TimHalfShape *shape, size_t *bytes, TimError *err);

/* The same of a whole picture. */
TimStatus tim_half_whole_bytes(TimHalf *half, int height, int width, size_t *bytes, TimError *err);

/* The same of tim_half_run_strips and tim_half_run_kl_strips: the largest tape with the maps beside it. */
TimStatus tim_half_strips_bytes(TimHalf *half, int rows, int height, int width, size_t *bytes, TimError *err);
TimStatus tim_half_kl_strips_bytes(TimHalf *half, int stage, int rows, int height, int width, size_t *bytes, TimError *err);

/* Lets the tapes go. */
void tim_half_rest(TimHalf *half);

/* out (B, C', H', W') of in (B, C, H, W). */
TimStatus tim_half_run(TimHalf *half, int64_t batch, int height, int width, const float *in, float *out, TimError *err);

/* The same of DC-AE's decoder, its fine part in strips of `rows` rows of the map between the parts, 1 or more: the whole picture's
 * result but for rounding, in less memory. */
TimStatus tim_half_run_strips(TimHalf *half, int rows, int64_t batch, int height, int width, const float *in, float *out,
                              TimError *err);

/* The same of a KL's decoder, up blocks `stage` > 0 and later in strips of `rows` rows of the picture. Norms see the whole picture:
 * a stage runs once more for each of its norms, as far as that norm, before it runs for its result. */
TimStatus tim_half_run_kl_strips(TimHalf *half, int stage, int rows, int64_t batch, int height, int width, const float *in,
                                 float *out, TimError *err);

/* The same tile by tile. */
TimStatus tim_half_run_tiled(TimHalf *half, const TimTiling *tiling, int64_t batch, int height, int width, const float *in,
                             float *out, TimError *err);

/* *bytes = of its tapes and tiles. */
TimStatus tim_half_tiled_bytes(TimHalf *half, const TimTiling *tiling, int height, int width, size_t *bytes, TimError *err);

#endif
