/* Checked allocation: every size goes through an overflow check, every block is aligned for the widest vector. */
#ifndef TIM_BASE_MEMORY_H
#define TIM_BASE_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

enum { TIM_ALIGNMENT = 64 };

/* *product = a * b; false when it does not fit. */
static inline bool tim_mul_size(size_t a, size_t b, size_t *product) {
    return !__builtin_mul_overflow(a, b, product);
}

/* *sum = a + b; false when it does not fit. */
static inline bool tim_add_size(size_t a, size_t b, size_t *sum) {
    return !__builtin_add_overflow(a, b, sum);
}

/* `value` up to a multiple of `multiple`, which is not zero; unchecked: the result must fit. */
static inline size_t tim_round_up(size_t value, size_t multiple) {
    return (value + multiple - 1) / multiple * multiple;
}

/* `floats`, elements of four bytes, up to whole lines of TIM_ALIGNMENT bytes, so that what follows them is aligned and shares no
 * line. */
static inline size_t tim_whole_lines(size_t floats) {
    return tim_round_up(floats, TIM_ALIGNMENT / sizeof(float));
}

/* Zeroed block of count * size bytes, 64-byte aligned; NULL on overflow, exhaustion, or a zero product. Free with tim_free. */
void *tim_alloc(size_t count, size_t size);

/* Frees what tim_alloc gave; NULL is fine. */
void tim_free(void *block);

/* tim_alloc into *out with the error written: `what` names the block in the text ("gradients"). A zero product gives one byte. */
TimStatus tim_new(void *out, size_t count, size_t size, const char *what, TimError *err);

/* A copy of `text` from tim_alloc. */
TimStatus tim_copy_text(char **out, const char *text, TimError *err);

/* Grows *items (from tim_alloc, capacity in elements) so that `count` + 1 elements fit; the content is kept. */
TimStatus tim_grow(void *items, size_t *capacity, size_t count, size_t size, const char *what, TimError *err);

#endif
