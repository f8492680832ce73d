/* bfloat16: the upper half of a float; conversion rounds to nearest even, as hardware does. NaN stays NaN. */
#ifndef TIM_BASE_BF16_H
#define TIM_BASE_BF16_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef uint16_t TimBf16;

static inline float tim_bf16_to_f32(TimBf16 value) {
    const uint32_t bits = (uint32_t)value << 16;
    float out;
    memcpy(&out, &bits, sizeof out);
    return out;
}

static inline TimBf16 tim_bf16_from_f32(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    const uint32_t rounded = (bits + 0x7FFFU + ((bits >> 16) & 1U)) >> 16;
    const uint32_t nan = (bits >> 16) | 0x40U;
    return (TimBf16)((bits & 0x7FFFFFFFU) > 0x7F800000U ? nan : rounded);
}

/* To the nearest bf16. */
static inline float tim_bf16_round(float value) {
    return tim_bf16_to_f32(tim_bf16_from_f32(value));
}

/* out[i] = in[i] rounded */
static inline void tim_bf16_round_all(TimBf16 *restrict out, const float *restrict in, size_t count) {
    for (size_t i = 0; i < count; i++) out[i] = tim_bf16_from_f32(in[i]);
}

#endif
