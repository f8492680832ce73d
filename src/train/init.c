#include "train/init.h"

#include <math.h>
#include <string.h>

#include "base/hash.h"
#include "base/rng.h"
#include "train/streams.h"

enum { CHUNK = 4096 }; /* elements one thread takes at a time */

static void fill_xavier(float *out, size_t count, const TimParam *param, uint64_t seed, uint64_t stream, size_t first) {
    const float bound = (float)sqrt(6.0 / ((double)param->rows + (double)param->cols));
    tim_rng_uniform(out, count, seed, stream, first);
    for (size_t i = 0; i < count; i++) out[i] = (2.0F * out[i] - 1.0F) * bound;
}

static void fill_normal(float *out, size_t count, uint64_t seed, uint64_t stream, size_t first) {
    tim_rng_normal(out, count, seed, stream, first);
    for (size_t i = 0; i < count; i++) out[i] *= 0.02F;
}

/* Elements first ... first + count - 1 of the parameter. */
static void fill_range(float *out, size_t count, const TimParam *param, uint64_t seed, uint64_t stream, size_t first) {
    switch (param->init) {
    case TIM_INIT_ZERO:
        return; /* as the vector is already */
    case TIM_INIT_ONE:
        for (size_t i = 0; i < count; i++) out[i] = 1.0F;
        return;
    case TIM_INIT_XAVIER:
        fill_xavier(out, count, param, seed, stream, first);
        return;
    case TIM_INIT_NORMAL:
        fill_normal(out, count, seed, stream, first);
        return;
    }
}

void tim_init_weights(float *weights, const TimParams *params, uint64_t seed, int threads) {
    memset(weights, 0, params->elements * sizeof *weights);
    for (size_t p = 0; p < params->count; p++) {
        const TimParam *param = &params->items[p];
        const uint64_t stream = tim_stream(TIM_STREAM_INIT, tim_fnv1a_text(TIM_FNV1A_EMPTY, param->name));
#pragma omp parallel for num_threads(threads) schedule(static) if (param->count > CHUNK)
        for (size_t first = 0; first < param->count; first += CHUNK) {
            const size_t count = param->count - first < CHUNK ? param->count - first : CHUNK;
            fill_range(weights + param->offset + first, count, param, seed, stream, first);
        }
    }
}
