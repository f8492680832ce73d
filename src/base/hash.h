/* FNV-1a of 64 bits (Fowler, Noll, Vo): fast, and no defence against whoever wants two texts to collide. */
#ifndef TIM_BASE_HASH_H
#define TIM_BASE_HASH_H

#include <stdint.h>

/* The hash of nothing. */
static const uint64_t TIM_FNV1A_EMPTY = UINT64_C(0xCBF29CE484222325);

/* The hash of what `hash` is of and one more byte. */
static inline uint64_t tim_fnv1a_step(uint64_t hash, uint8_t byte) {
    return (hash ^ byte) * UINT64_C(0x100000001B3);
}

/* The same of a text's bytes, without the zero at its end. */
static inline uint64_t tim_fnv1a_text(uint64_t hash, const char *text) {
    for (; *text; text++) hash = tim_fnv1a_step(hash, (uint8_t)*text);
    return hash;
}

#endif
