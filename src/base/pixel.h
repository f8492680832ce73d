/* Pixels of one byte as networks take them. */
#ifndef TIM_BASE_PIXEL_H
#define TIM_BASE_PIXEL_H

#include <stdint.h>

/* In [-1, 1], in fp32 throughout. src/sample/encode.c computes in fp64: half of all bytes then get another rounding. */
static inline float tim_pixel_from_byte(uint8_t byte) {
    return (float)byte / 127.5F - 1.0F;
}

#endif
