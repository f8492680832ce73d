/* bf16 matrices as fp32 and back: for processors whose library has no products of bf16. Widening is exact, so such a product
 * differs from one of bf16 in the order of its fp32 sums alone. */
#ifndef TIM_OP_WIDEN_H
#define TIM_OP_WIDEN_H

#include <stddef.h>
#include <stdint.h>

#include "base/bf16.h"
#include "base/memory.h"

/* How many rows copies of `row` elements each hold, about, when they may take `bytes`; 0 bytes: 64 MiB, beyond which whole copies
 * of large pictures would be most of what a decoder takes. */
static inline int64_t wide_rows(size_t bytes, int64_t row) {
    return (int64_t)((bytes ? bytes : (size_t)64 << 20) / sizeof(float)) / row;
}

/* Where the piece begins that is next at `at` of `all`: the last ends where they do, so that all pieces are of one size. */
static inline int64_t piece_begin(int64_t at, int64_t piece, int64_t all) {
    return at < all - piece ? at : all - piece;
}

/* out (rows, cols), close = in, whose rows are `stride` apart. */
static inline void widen_rows(float *out, const TimBf16 *in, int64_t rows, int64_t cols, int64_t stride, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t r = 0; r < rows; r++)
        for (int64_t i = 0; i < cols; i++) out[r * cols + i] = tim_bf16_to_f32(in[r * stride + i]);
}

/* out, whose rows are `stride` apart = in (rows, cols), close, rounded. */
static inline void narrow_rows(TimBf16 *out, const float *in, int64_t rows, int64_t cols, int64_t stride, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t r = 0; r < rows; r++)
        for (int64_t i = 0; i < cols; i++) out[r * stride + i] = tim_bf16_from_f32(in[r * cols + i]);
}

#endif
