#include "nn/hash_weights.h"

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/hash.h"
#include "base/memory.h"
#include "base/text.h"

/* An element is offset + factor u. */
typedef struct Affine {
    float offset, factor;
} Affine;

/* splitmix64's output function; the upper 24 bits make a float on [-1, 1) without rounding. */
static float uniform(uint64_t start, uint64_t i) {
    uint64_t h = start + (i + 1) * 0x9E3779B97F4A7C15U;
    h = (h ^ h >> 30) * 0xBF58476D1CE4E5B9U;
    h = (h ^ h >> 27) * 0x94D049BB133111EBU;
    h ^= h >> 31;
    return (float)(h >> 40) * 0x1p-23F - 1.0F;
}

void tim_hash_uniform(const char *name, size_t count, float *out) {
    const uint64_t start = tim_fnv1a_text(TIM_FNV1A_EMPTY, name);
    for (size_t i = 0; i < count; i++) out[i] = uniform(start, i);
}

static Affine vector_rule(const char *name, TimHashRule rule) {
    const bool scale = strstr(name, "norm") && tim_ends_with(name, "weight");
    if (rule == TIM_HASH_INCEPTION && tim_ends_with(name, "running_var")) return (Affine){1.0F, 0.5F};
    if (rule == TIM_HASH_INCEPTION && tim_ends_with(name, "bn.weight")) return (Affine){1.0F, 0.1F};
    if (scale && rule != TIM_HASH_GEMMA) return (Affine){1.0F, 0.1F};
    return (Affine){0.0F, 0.1F};
}

static Affine matrix_rule(double fan_in, TimHashRule rule) {
    const double gain = rule == TIM_HASH_INCEPTION ? 6.0 : 3.0;
    return (Affine){0.0F, (float)sqrt(gain / fan_in)};
}

TimStatus tim_hash_weights(const char *name, const size_t *dims, int rank, TimHashRule rule, float *out, TimError *err) {
    if (rank < 0) return tim_fail(err, TIM_E_ARGUMENT, "hash weights %s: rank %d is negative", name, rank);
    size_t count = 1, fan_in = 1;
    for (int axis = 0; axis < rank; axis++) {
        if (!tim_mul_size(count, dims[axis], &count) || (axis > 0 && !tim_mul_size(fan_in, dims[axis], &fan_in)))
            return tim_fail(err, TIM_E_MEMORY, "hash weights %s: the shape does not fit into memory; use a smaller model", name);
    }
    const Affine affine = rank >= 2 ? matrix_rule((double)fan_in, rule) : vector_rule(name, rule);
    const uint64_t start = tim_fnv1a_text(TIM_FNV1A_EMPTY, name);
    for (size_t i = 0; i < count; i++) {
        volatile float scaled = affine.factor * uniform(start, i); /* rounded before it is added, whatever may be fused */
        out[i] = affine.offset + scaled;
    }
    return TIM_OK;
}
