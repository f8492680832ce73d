#include "base/rng.h"

#include <math.h>

void tim_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]) {
    uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3], k0 = key[0], k1 = key[1];
    for (int round = 0; round < 10; round++) {
        const uint64_t p0 = (uint64_t)0xD2511F53U * c0, p1 = (uint64_t)0xCD9E8D57U * c2;
        c0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
        c1 = (uint32_t)p1;
        c2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c3 = (uint32_t)p0;
        k0 += 0x9E3779B9U;
        k1 += 0xBB67AE85U;
    }
    out[0] = c0, out[1] = c1, out[2] = c2, out[3] = c3;
}

/* The four words of block `block` of (seed, stream). */
static void words(uint64_t seed, uint64_t stream, uint64_t block, uint32_t out[4]) {
    const uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    const uint32_t counter[4] = {(uint32_t)block, (uint32_t)(block >> 32), (uint32_t)stream, (uint32_t)(stream >> 32)};
    tim_philox(counter, key, out);
}

/* Normal numbers 4 * block ... 4 * block + 3: two Box-Muller pairs. */
static void normals(uint64_t seed, uint64_t stream, uint64_t block, float out[4]) {
    uint32_t w[4];
    words(seed, stream, block, w);
    for (int pair = 0; pair < 2; pair++) {
        const double u = ((double)w[2 * pair] + 1.0) * 0x1p-32; /* (0, 1] */
        const double angle = 6.283185307179586476925 * ((double)w[2 * pair + 1] * 0x1p-32);
        const double radius = sqrt(-2.0 * log(u));
        out[2 * pair] = (float)(radius * cos(angle));
        out[2 * pair + 1] = (float)(radius * sin(angle));
    }
}

void tim_rng_normal(float *out, size_t count, uint64_t seed, uint64_t stream, uint64_t first) {
    for (size_t i = 0; i < count;) {
        const uint64_t index = first + i;
        float four[4];
        normals(seed, stream, index / 4, four);
        for (uint64_t lane = index % 4; lane < 4 && i < count; lane++) out[i++] = four[lane];
    }
}

void tim_rng_uniform(float *out, size_t count, uint64_t seed, uint64_t stream, uint64_t first) {
    for (size_t i = 0; i < count; i++) {
        const uint64_t index = first + i;
        uint32_t w[4];
        words(seed, stream, index / 4, w);
        out[i] = (float)(w[index % 4] >> 8) * 0x1p-24F;
    }
}

uint64_t tim_rng_word(uint64_t seed, uint64_t stream, uint64_t index) {
    uint32_t w[4];
    words(seed, stream, index / 2, w);
    return index % 2 ? (uint64_t)w[3] << 32 | w[2] : (uint64_t)w[1] << 32 | w[0];
}
