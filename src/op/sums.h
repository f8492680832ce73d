/* Column sums, the gradient of a bias. Included only by op files; see kernel.h. */
#ifndef TIM_OP_SUMS_H
#define TIM_OP_SUMS_H

#include "op/kernel.h"

static inline void add_row(float *restrict sum, const float *restrict row, int64_t n) {
#pragma omp simd
    for (int64_t i = 0; i < n; i++) sum[i] += row[i];
}

/* Floats for each thread that add_column_sums wants at `space`. */
static inline size_t column_sums_scratch(int64_t cols) {
    return 2 * scratch_floats(cols);
}

/* g_b += column sums of g_y. Each thread sums a fixed range of rows; the partial sums are added in order: same bits each time. */
static inline void add_column_sums(const TimNode *node, const TimMatrix *g_y, float *g_b, float *space) {
    const int64_t n = g_y->cols;
    const size_t width = scratch_floats(n);
#pragma omp parallel for num_threads(node->threads) schedule(static)
    for (int part = 0; part < node->threads; part++) {
        float *sum = space + (size_t)part * 2 * width, *scratch = sum + width;
        memset(sum, 0, (size_t)n * sizeof *sum);
        const int64_t end = g_y->rows * (part + 1) / node->threads;
        for (int64_t r = g_y->rows * part / node->threads; r < end; r++) add_row(sum, row_read(g_y, r, scratch), n);
    }
    for (int part = 0; part < node->threads; part++) add_row(g_b, space + (size_t)part * 2 * width, n);
}

#endif
