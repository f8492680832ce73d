/* A tensor on the tape is a matrix view: rows of contiguous elements, a fixed stride apart. It owns nothing.
 * (B, N, D) is B * N rows of D; a picture (B, C, H, W) is B rows; a chunk of columns is the same view with another start.
 * What a row means beyond that (tokens, heads, channels) is known to the op that uses it. */
#ifndef TIM_TENSOR_MATRIX_H
#define TIM_TENSOR_MATRIX_H

#include <stdint.h>

#include "tensor/dtype.h"

typedef struct TimMatrix {
    void *data; /* NULL: absent; for a tangent that means zero, for a cotangent that nobody wants it */
    int64_t rows, cols;
    int64_t stride; /* elements from one row to the next */
    TimDtype dtype;
} TimMatrix;

/* Rows `first` and later of `m`. */
static inline TimMatrix tim_matrix_rows(TimMatrix m, int64_t first) {
    if (m.data) m.data = (char *)m.data + (size_t)(first * m.stride) * tim_dtype_size(m.dtype);
    m.rows -= first;
    return m;
}

/* `count` columns of `m` from column `first`. */
static inline TimMatrix tim_matrix_columns(TimMatrix m, int64_t first, int64_t count) {
    if (m.data) m.data = (char *)m.data + (size_t)first * tim_dtype_size(m.dtype);
    m.cols = count;
    return m;
}

static inline float *tim_matrix_f32(const TimMatrix *m, int64_t row) {
    return (float *)m->data + row * m->stride;
}

static inline uint16_t *tim_matrix_bf16(const TimMatrix *m, int64_t row) {
    return (uint16_t *)m->data + row * m->stride;
}

#endif
