/* Counter-based random numbers (Philox 4x32-10, Salmon et al., SC 2011).
 * A number is a pure function of (seed, stream, index): nothing is stepped, so threads, batch size and order cannot change it. */
#ifndef TIM_BASE_RNG_H
#define TIM_BASE_RNG_H

#include <stddef.h>
#include <stdint.h>

/* Four 32-bit words for the given counter under the given key. */
void tim_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]);

/* out[i] = standard normal number `first + i` of (seed, stream), by Box-Muller in double precision. */
void tim_rng_normal(float *out, size_t count, uint64_t seed, uint64_t stream, uint64_t first);

/* out[i] = number `first + i` of (seed, stream), uniform on [0, 1), 24 bits. */
void tim_rng_uniform(float *out, size_t count, uint64_t seed, uint64_t stream, uint64_t first);

/* One 64-bit word, number `index` of (seed, stream). */
uint64_t tim_rng_word(uint64_t seed, uint64_t stream, uint64_t index);

#endif
