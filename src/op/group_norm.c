/* y = (x - mean) / sqrt(var + eps) w + b, then [SiLU]; mean and variance over the pixels of a picture and the channels of a group
 * (Wu and He, arXiv 1803.08494). x, y (B N, C), pictures as many rows each; w, b (1, C) f32. Inference only.
 * Of a part of a picture, `moments` gives the whole picture's moments, (B, 2 groups) f32: every group's mean, then every 1 /
 * sqrt(var + eps). One pass over x sums d and d^2 for each channel, where d = x - first pixel: a mean far from zero then costs no
 * digits. Sums of 64 rows are fp32, all others fp64. */
#include "op/vec.h"

enum { X, W, BIAS, MOMENTS }; /* the inputs */

enum { BLOCK = 64 };

static TimStatus infer(TimNode *node, TimError *err) {
    const TimGroupNormParams *p = &node->params.group_norm;
    const TimMatrix *x = &node->in[X], *w = &node->in[W], *b = &node->in[BIAS];
    TIM_TRY(require(node, (node->n_in == 3 || node->n_in == 4) && is_float(x) && w->dtype == TIM_F32 && b->dtype == TIM_F32,
                    "wants x, weight and bias in f32, and perhaps moments", err));
    TIM_TRY(require(node, w->cols == x->cols && b->cols == x->cols, "weight or bias have another width than x", err));
    TIM_TRY(require(node, p->groups > 0 && x->cols % p->groups == 0 && x->rows % node->samples == 0,
                    "groups or samples do not divide the shape", err));
    if (node->n_in == 4)
        TIM_TRY(require(node,
                        node->in[MOMENTS].dtype == TIM_F32 && node->in[MOMENTS].rows == node->samples &&
                            node->in[MOMENTS].cols == (int64_t)2 * p->groups,
                        "moments are no (B, 2 groups) in f32", err));
    node->n_out = 1;
    node->out[0] = matrix_of(p->out, x->rows, x->cols);
    return want_scratch(node, 11 * scratch_floats(x->cols), err);
}

/* One thread's workspace. */
typedef struct Space {
    double *sum, *square;            /* (C) of d and d^2 */
    float *block_sum, *block_square; /* (C) of BLOCK rows */
    float *row, *out;                /* (C) */
    float *first, *scale, *offset;   /* (C) first pixel of the picture; the map of each channel; thread 0 has them */
} Space;

static Space space_of(const TimNode *node, int part) {
    const size_t width = scratch_floats(node->in[X].cols);
    float *p = (float *)node->work + (size_t)part * 11 * width;
    return (Space){(double *)p,   (double *)(p + 2 * width),
                   p + 4 * width, p + 5 * width,
                   p + 6 * width, p + 7 * width,
                   p + 8 * width, p + 9 * width,
                   p + 10 * width};
}

static void add_row(float *restrict sum, float *restrict square, const float *restrict x, const float *restrict first, int64_t n) {
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        const float d = x[i] - first[i];
        sum[i] += d;
        square[i] += d * d;
    }
}

static void add_block(double *restrict sum, float *restrict block, int64_t n) {
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        sum[i] += (double)block[i];
        block[i] = 0;
    }
}

static void sum_rows(const TimNode *node, Space s, const float *first, int64_t begin, int64_t end) {
    const int64_t n = node->in[X].cols;
    memset(s.sum, 0, (size_t)n * sizeof *s.sum);
    memset(s.square, 0, (size_t)n * sizeof *s.square);
    memset(s.block_sum, 0, (size_t)n * sizeof *s.block_sum);
    memset(s.block_square, 0, (size_t)n * sizeof *s.block_square);
    for (int64_t r = begin; r < end; r += BLOCK) {
        for (int64_t i = r; i < end && i < r + BLOCK; i++)
            add_row(s.block_sum, s.block_square, row_read(&node->in[X], i, s.row), first, n);
        add_block(s.sum, s.block_sum, n);
        add_block(s.square, s.block_square, n);
    }
}

/* The map of channels begin ... end - 1 from their group's moments. */
static void set_map(const TimNode *node, Space s, int64_t begin, int64_t end, double mean, double rstd) {
    const float *w = node->in[W].data, *b = node->in[BIAS].data;
    for (int64_t c = begin; c < end; c++) {
        s.scale[c] = (float)(rstd * (double)w[c]);
        s.offset[c] = (float)((double)b[c] - mean * rstd * (double)w[c]);
    }
}

/* The same from its channels' sums: their means and variances, and how far the means lie apart. */
static void solve_group(const TimNode *node, Space s, int64_t begin, int64_t end, double pixels) {
    double mean = 0, variance = 0;
    const double channels = (double)(end - begin);
    for (int64_t c = begin; c < end; c++) mean += ((double)s.first[c] + s.sum[c] / pixels) / channels;
    for (int64_t c = begin; c < end; c++) {
        const double d = s.sum[c] / pixels, apart = (double)s.first[c] + d - mean;
        variance += (s.square[c] / pixels - d * d + apart * apart) / channels;
    }
    set_map(node, s, begin, end, mean, 1.0 / sqrt((variance > 0 ? variance : 0) + (double)node->params.group_norm.eps));
}

/* scale and offset of every channel of the picture whose rows are first_row ... first_row + pixels - 1. */
static void solve_picture(const TimNode *node, int64_t first_row, int64_t pixels) {
    const int64_t n = node->in[X].cols, width = n / node->params.group_norm.groups;
    const Space all = space_of(node, 0);
    memcpy(all.first, row_read(&node->in[X], first_row, all.row), (size_t)n * sizeof *all.first);
#pragma omp parallel for num_threads(node->threads) schedule(static)
    for (int part = 0; part < node->threads; part++)
        sum_rows(node, space_of(node, part), all.first, first_row + pixels * part / node->threads,
                 first_row + pixels * (part + 1) / node->threads);
    for (int part = 1; part < node->threads; part++) {
        const Space s = space_of(node, part);
        for (int64_t c = 0; c < n; c++) all.sum[c] += s.sum[c], all.square[c] += s.square[c];
    }
    for (int64_t c = 0; c < n; c += width) solve_group(node, all, c, c + width, (double)pixels);
}

/* The same of picture b from its moments. */
static void take_moments(const TimNode *node, int64_t b) {
    const int64_t groups = node->params.group_norm.groups, width = node->in[X].cols / groups;
    const float *mean = tim_matrix_f32(&node->in[MOMENTS], b), *rstd = mean + groups;
    for (int64_t g = 0; g < groups; g++)
        set_map(node, space_of(node, 0), g * width, (g + 1) * width, (double)mean[g], (double)rstd[g]);
}

static void map_row(float *restrict y, const float *restrict x, const float *restrict scale, const float *restrict offset,
                    int64_t n) {
#pragma omp simd
    for (int64_t i = 0; i < n; i++) y[i] = x[i] * scale[i] + offset[i];
}

static void map_row_silu(float *restrict y, const float *restrict x, const float *restrict scale, const float *restrict offset,
                         int64_t n) {
    for (int64_t i = 0; i < n; i += TIM_VECTOR) {
        const int64_t m = vec_count(i, n);
        const Vec v = vec_load_some(x + i, m) * vec_load_some(scale + i, m) + vec_load_some(offset + i, m);
        vec_store_some(y + i, v * vec_sigmoid(v), m);
    }
}

static void map_picture(const TimNode *node, int64_t first_row, int64_t pixels) {
    const int64_t n = node->in[X].cols;
    const Space all = space_of(node, 0);
#pragma omp parallel for num_threads(node->threads) schedule(static)
    for (int part = 0; part < node->threads; part++) {
        const Space s = space_of(node, part);
        const int64_t end = first_row + pixels * (part + 1) / node->threads;
        for (int64_t r = first_row + pixels * part / node->threads; r < end; r++) {
            float *y = row_begin(&node->out[0], r, s.out);
            (node->params.group_norm.silu ? map_row_silu : map_row)(y, row_read(&node->in[X], r, s.row), all.scale, all.offset, n);
            row_commit(&node->out[0], r, y);
        }
    }
}

static void forward(const TimNode *node) {
    const int64_t pixels = node->in[X].rows / node->samples;
    for (int64_t b = 0; b < node->samples; b++) {
        if (node->n_in == 4)
            take_moments(node, b);
        else
            solve_picture(node, b * pixels, pixels);
        map_picture(node, b * pixels, pixels);
    }
}

extern const TimOp TIM_ISA_SYMBOL(tim_op_group_norm);
const TimOp TIM_ISA_SYMBOL(tim_op_group_norm) = {"group_norm", infer, NULL, NULL, forward, NULL, NULL};
