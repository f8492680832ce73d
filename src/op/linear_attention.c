/* o_i = sum_j v_j (k_j . q_i) / (sum_j k_j . q_i + eps), q and k through max(., 0), for every sample and head: attention with a
 * kernel instead of a softmax, linear in the number of pixels (Katharopoulos et al., arXiv 2006.16236; EfficientViT, arXiv
 * 2205.14756). Each input (B N, 3 width heads_i) holds its heads one after another, a head's q, k and v side by side; the heads of
 * all inputs give o (B N, width heads). Sums over 128 pixels are fp32, all others fp64. Inference only. */
#include "op/kernel.h"

enum { BLOCK = 128 };

static TimStatus infer(TimNode *node, TimError *err) {
    const TimMatrix *first = &node->in[0];
    const int64_t width = node->params.linear_attention.width;
    int64_t cols = 0;
    TIM_TRY(require(node, node->n_in >= 1 && is_float(first) && width > 0 && first->rows % node->samples == 0,
                    "wants float matrices whose rows the samples divide, and a head's width", err));
    for (int i = 0; i < node->n_in; i++) {
        const TimMatrix *x = &node->in[i];
        TIM_TRY(require(node, x->dtype == first->dtype && x->rows == first->rows && x->cols % (3 * width) == 0,
                        "wants inputs of one dtype and equally many rows, with whole heads of q, k and v", err));
        cols += x->cols / 3;
    }
    node->n_out = 1;
    node->out[0] = matrix_of(first->dtype, first->rows, cols);
    return want_scratch(node, 3 * scratch_floats(width * (width + 1)) + scratch_floats(3 * width) + scratch_floats(width), err);
}

/* One thread's workspace. */
typedef struct Space {
    double *total; /* (width + 1, width): sums of k_e v, and of k in the last row */
    float *sum;    /* the same of BLOCK pixels, then of all */
    float *row;    /* (3 width): q, k, v */
    float *out;    /* (width) */
} Space;

static Space space_of(const TimNode *node, int part) {
    const int64_t width = node->params.linear_attention.width;
    const size_t sums = scratch_floats(width * (width + 1)), row = scratch_floats(3 * width);
    float *p = (float *)node->work + (size_t)part * (3 * sums + row + scratch_floats(width));
    return (Space){(double *)p, p + 2 * sums, p + 3 * sums, p + 3 * sums + row};
}

/* A head: columns `col` to col + 3 width of the input `in`. */
typedef struct Head {
    const TimMatrix *in;
    int64_t col, out_col;
} Head;

static Head head_at(const TimNode *node, int64_t index) {
    const int64_t width = node->params.linear_attention.width;
    Head head = {node->in, index * 3 * width, index * width};
    while (head.col >= head.in->cols) head.col -= head.in++->cols;
    return head;
}

static const float *read(const Head *head, int64_t row, float *scratch, int64_t n) {
    if (head->in->dtype == TIM_F32) return tim_matrix_f32(head->in, row) + head->col;
    widen(scratch, tim_matrix_bf16(head->in, row) + head->col, n);
    return scratch;
}

/* sum (width + 1, width) += k_e v by rows e, and k in the last one */
static void add_pixel(float *restrict sum, const float *restrict k, const float *restrict v, int64_t width) {
    for (int64_t e = 0; e < width; e++) {
        const float weight = k[e] <= 0 ? 0.0F : k[e]; /* keeps a NaN */
#pragma omp simd
        for (int64_t d = 0; d < width; d++) sum[e * width + d] += weight * v[d];
        sum[width * width + e] += weight;
    }
}

static void sum_keys(const Space *s, const Head *head, int64_t first, int64_t end, int64_t width) {
    const int64_t n = width * (width + 1);
    memset(s->total, 0, (size_t)n * sizeof *s->total);
    for (int64_t r = first; r < end; r += BLOCK) {
        memset(s->sum, 0, (size_t)n * sizeof *s->sum);
        for (int64_t i = r; i < end && i < r + BLOCK; i++) {
            const float *qkv = read(head, i, s->row, 3 * width);
            add_pixel(s->sum, qkv + width, qkv + 2 * width, width);
        }
        for (int64_t i = 0; i < n; i++) s->total[i] += (double)s->sum[i];
    }
    for (int64_t i = 0; i < n; i++) s->sum[i] = (float)s->total[i];
}

/* out = (sum of q_e row e) / (q . last row + eps) */
static void ask(float *restrict out, const float *restrict q, const float *restrict sum, int64_t width, float eps) {
    float divisor = 0;
    memset(out, 0, (size_t)width * sizeof *out);
    for (int64_t e = 0; e < width; e++) {
        const float weight = q[e] <= 0 ? 0.0F : q[e];
        divisor += weight * sum[width * width + e];
#pragma omp simd
        for (int64_t d = 0; d < width; d++) out[d] += weight * sum[e * width + d];
    }
    const float scale = 1.0F / (divisor + eps);
#pragma omp simd
    for (int64_t d = 0; d < width; d++) out[d] *= scale;
}

static void write(const TimMatrix *m, int64_t row, int64_t col, const float *values, int64_t n) {
    if (m->dtype == TIM_F32)
        memcpy(tim_matrix_f32(m, row) + col, values, (size_t)n * sizeof *values);
    else
        narrow(tim_matrix_bf16(m, row) + col, values, n);
}

static void forward(const TimNode *node) {
    const TimLinearAttentionParams *p = &node->params.linear_attention;
    const int64_t width = p->width, heads = node->out[0].cols / width, pixels = node->in[0].rows / node->samples;
    const int64_t tasks = node->samples * heads;
#pragma omp parallel for num_threads(node->threads) schedule(static)
    for (int part = 0; part < node->threads; part++) {
        const Space s = space_of(node, part);
        for (int64_t task = tasks * part / node->threads; task < tasks * (part + 1) / node->threads; task++) {
            const Head head = head_at(node, task % heads);
            const int64_t first = task / heads * pixels;
            sum_keys(&s, &head, first, first + pixels, width);
            for (int64_t r = first; r < first + pixels; r++) {
                ask(s.out, read(&head, r, s.row, width), s.sum, width, p->eps);
                write(&node->out[0], r, head.out_col, s.out, width);
            }
        }
    }
}

extern const TimOp TIM_ISA_SYMBOL(tim_op_linear_attention);
const TimOp TIM_ISA_SYMBOL(tim_op_linear_attention) = {"linear_attention", infer, NULL, NULL, forward, NULL, NULL};
