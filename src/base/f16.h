/* IEEE half precision, as files store it: 1 sign, 5 exponent, 10 mantissa bits. Widening is exact; infinities and NaN stay. */
#ifndef TIM_BASE_F16_H
#define TIM_BASE_F16_H

#include <stdint.h>
#include <string.h>

typedef uint16_t TimF16;

static inline float tim_f16_to_f32(TimF16 value) {
    const uint32_t sign = (uint32_t)(value & 0x8000U) << 16, exponent = (value >> 10) & 0x1FU, mantissa = value & 0x3FFU;
    const float small = (float)mantissa * 0x1p-24F; /* zero and the subnormals, which are normal numbers in fp32 */
    const uint32_t biased = exponent == 31 ? 0xFFU : exponent + 112;
    uint32_t bits = biased << 23 | mantissa << 13;
    if (exponent == 0) memcpy(&bits, &small, sizeof bits);
    bits |= sign;
    float out;
    memcpy(&out, &bits, sizeof out);
    return out;
}

#endif
