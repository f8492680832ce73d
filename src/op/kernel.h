/* What the op files share: the per-instruction-set symbol names, rows in fp32, and shape checks.
 * Included only by op files, which are compiled once per instruction set with TIM_ISA and TIM_VECTOR (floats a vector) defined. */
#ifndef TIM_OP_KERNEL_H
#define TIM_OP_KERNEL_H

#include <math.h>
#include <string.h>

#include "base/bf16.h"
#include "base/memory.h"
#include "op/op.h"

#if defined(__AVX512BF16__)
#include <immintrin.h>
#endif

#define TIM_JOIN_(a, b) a##_##b
#define TIM_JOIN(a, b) TIM_JOIN_(a, b)
/* The name of `symbol` in this instruction set's library. */
#define TIM_ISA_SYMBOL(symbol) TIM_JOIN(symbol, TIM_ISA)

static inline void widen(float *restrict out, const uint16_t *restrict in, int64_t n) {
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        const uint32_t bits = (uint32_t)in[i] << 16;
        memcpy(&out[i], &bits, sizeof bits);
    }
}

static inline void narrow(uint16_t *restrict out, const float *restrict in, int64_t n) {
    int64_t i = 0;
#if defined(__AVX512BF16__)
    for (; i + 16 <= n; i += 16) {
        const __m256bh half = _mm512_cvtneps_pbh(_mm512_loadu_ps(in + i));
        memcpy(out + i, &half, sizeof half);
    }
#endif
    for (; i < n; i++) out[i] = tim_bf16_from_f32(in[i]);
}

/* Row `row` in fp32: the row itself, or its widened copy in `scratch`. */
static inline const float *row_read(const TimMatrix *m, int64_t row, float *scratch) {
    if (m->dtype == TIM_F32) return tim_matrix_f32(m, row);
    widen(scratch, tim_matrix_bf16(m, row), m->cols);
    return scratch;
}

/* Where to compute row `row` in fp32 before row_commit: the row itself, or `scratch`. */
static inline float *row_begin(const TimMatrix *m, int64_t row, float *scratch) {
    return m->dtype == TIM_F32 ? tim_matrix_f32(m, row) : scratch;
}

/* Stores what row_begin gave. */
static inline void row_commit(const TimMatrix *m, int64_t row, const float *values) {
    if (m->dtype != TIM_F32) narrow(tim_matrix_bf16(m, row), values, m->cols);
}

/* row = values, or row += values. */
static inline void row_write(const TimMatrix *m, int64_t row, const float *restrict values, bool add) {
    if (m->dtype == TIM_F32) {
        float *restrict out = tim_matrix_f32(m, row);
        if (!add) {
            memcpy(out, values, (size_t)m->cols * sizeof *out);
            return;
        }
#pragma omp simd
        for (int64_t i = 0; i < m->cols; i++) out[i] += values[i];
        return;
    }
    uint16_t *out = tim_matrix_bf16(m, row);
    if (!add) {
        narrow(out, values, m->cols);
        return;
    }
    for (int64_t i = 0; i < m->cols; i++) out[i] = tim_bf16_from_f32(tim_bf16_to_f32(out[i]) + values[i]);
}

/* Elements rounded up to whole cache lines, so that per-thread rows never share one. */
static inline size_t scratch_floats(int64_t n) {
    return tim_whole_lines((size_t)n);
}

/* Asks for `per_thread` floats of workspace for every thread. */
static inline TimStatus want_scratch(TimNode *node, size_t per_thread, TimError *err) {
    size_t bytes;
    if (!tim_mul_size(per_thread, sizeof(float) * (size_t)node->threads, &bytes))
        return tim_fail(err, TIM_E_MEMORY, "%s: workspace of %zu floats a thread does not fit; use a smaller batch or picture",
                        node->op->name, per_thread);
    if (bytes > node->work_bytes) node->work_bytes = bytes;
    return TIM_OK;
}

static inline TimMatrix matrix_of(TimDtype dtype, int64_t rows, int64_t cols) {
    return (TimMatrix){.rows = rows, .cols = cols, .stride = cols, .dtype = dtype};
}

/* Fails unless `ok`; the op's name and what it wants are in the text. */
static inline TimStatus require(const TimNode *node, bool ok, const char *what, TimError *err) {
    if (ok) return TIM_OK;
    return tim_fail(err, TIM_E_INTERNAL, "op %s: %s; first input is (%lld, %lld)", node->op->name, what,
                    (long long)node->in[0].rows, (long long)node->in[0].cols);
}

static inline bool is_float(const TimMatrix *m) {
    return m->dtype == TIM_F32 || m->dtype == TIM_BF16;
}

#endif
