#include "train/muon.h"

#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "op/matmul.h"

enum { ITERATIONS = 5 };
/* The odd polynomial a s + b s^3 + c s^5 that each iteration applies to the singular values. */
static const float a = 3.4445f, b = -4.7750f, c = 2.0315f;

/* One matrix of a block and the products of its iteration. S is symmetric, of the smaller side. */
typedef struct Matrix {
    size_t offset, count;
    int64_t rows, cols, side;
    TimMatmul *gram;   /* S = X X^T, or X^T X when there are more rows */
    TimMatmul *square; /* S S */
    TimMatmul *apply;  /* P X, or X P */
} Matrix;

/* What one thread works in. */
typedef struct Bench {
    float *x, *s, *product;
    void *x_in, *s_in; /* the same in the products' dtype */
    void *work;
} Bench;

/* Parameters between two matrices, which AdamW updates. */
typedef struct Range {
    size_t offset, count;
} Range;

struct TimMuon {
    TimDtype product;
    int threads;
    Matrix *matrices;
    size_t matrix_count;
    Range *ranges; /* (matrix_count + 1) */
    Bench *benches;
};

/* ---- making ---- */

static bool is_taken(const TimParam *p) {
    return p->rank == 2 && strncmp(p->name, "blocks.", strlen("blocks.")) == 0;
}

static bool is_zero(const float *values, size_t count) {
    size_t i = 0;
    while (i < count && values[i] == 0) i++;
    return i == count;
}

bool tim_muon_left(const TimParams *params, const float *first, const float *second) {
    bool moved = false;
    for (size_t i = 0; i < params->count; i++) {
        const TimParam *p = &params->items[i];
        if (!is_taken(p)) continue;
        if (!is_zero(second + p->offset, p->count)) return false;
        moved |= !is_zero(first + p->offset, p->count);
    }
    return moved;
}

void tim_muon_forget(const TimParams *params, float *second) {
    for (size_t i = 0; i < params->count; i++) {
        const TimParam *p = &params->items[i];
        if (is_taken(p)) memset(second + p->offset, 0, p->count * sizeof(float));
    }
}

static TimStatus plan(Matrix *m, TimDtype product, TimError *err) {
    const bool tall = m->rows > m->cols;
    const int64_t side = m->side, other = tall ? m->rows : m->cols;
    const TimMatmulShape common = {.in = product, .out = TIM_F32, .threads = 1};
    TimMatmulShape gram = common, square = common, apply = common;
    gram.m = gram.n = gram.ldc = side, gram.k = other, gram.lda = gram.ldb = m->cols;
    gram.a_transposed = tall, gram.b_transposed = !tall;
    square.m = square.n = square.k = square.lda = square.ldb = square.ldc = side;
    apply.m = m->rows, apply.n = apply.ldc = m->cols, apply.k = side;
    apply.lda = tall ? m->cols : side, apply.ldb = tall ? side : m->cols;
    TIM_TRY(tim_matmul_new(&m->gram, &gram, err));
    TIM_TRY(tim_matmul_new(&m->square, &square, err));
    return tim_matmul_new(&m->apply, &apply, err);
}

static size_t larger(size_t x, size_t y) {
    return x > y ? x : y;
}

static TimStatus make_benches(TimMuon *muon, TimError *err) {
    size_t count = 0, side = 0, work = 0;
    for (size_t i = 0; i < muon->matrix_count; i++) {
        const Matrix *m = &muon->matrices[i];
        count = larger(count, m->count), side = larger(side, (size_t)m->side);
        work = larger(work, tim_matmul_work(m->gram));
        work = larger(work, larger(tim_matmul_work(m->square), tim_matmul_work(m->apply)));
    }
    const char *what = "Muon's matrices";
    TIM_TRY(tim_new(&muon->benches, (size_t)muon->threads, sizeof *muon->benches, what, err));
    for (int i = 0; i < muon->threads; i++) {
        Bench *bench = &muon->benches[i];
        TIM_TRY(tim_new(&bench->x, count, sizeof(float), what, err));
        TIM_TRY(tim_new(&bench->product, count, sizeof(float), what, err)); /* no S is larger than its X */
        TIM_TRY(tim_new(&bench->s, side * side, sizeof(float), what, err));
        TIM_TRY(tim_new(&bench->x_in, count, sizeof(float), what, err));
        TIM_TRY(tim_new(&bench->s_in, side * side, sizeof(float), what, err));
        TIM_TRY(tim_new(&bench->work, work, 1, what, err));
    }
    return TIM_OK;
}

static TimStatus fill(TimMuon *muon, const TimParams *params, TimError *err) {
    size_t taken = 0;
    for (size_t i = 0; i < params->count; i++) taken += is_taken(&params->items[i]);
    TIM_TRY(tim_new(&muon->matrices, taken, sizeof *muon->matrices, "Muon's matrices", err));
    TIM_TRY(tim_new(&muon->ranges, taken + 1, sizeof *muon->ranges, "Muon's matrices", err));
    size_t begin = 0; /* of the parameters that are not taken */
    for (size_t i = 0; i < params->count; i++) {
        const TimParam *p = &params->items[i];
        if (!is_taken(p)) continue;
        Matrix *m = &muon->matrices[muon->matrix_count];
        muon->ranges[muon->matrix_count++] = (Range){begin, p->offset - begin};
        *m = (Matrix){.offset = p->offset, .count = p->count, .rows = p->rows, .cols = p->cols};
        m->side = p->rows < p->cols ? p->rows : p->cols;
        begin = p->offset + p->count;
        TIM_TRY(plan(m, muon->product, err));
    }
    muon->ranges[muon->matrix_count] = (Range){begin, params->elements - begin};
    return make_benches(muon, err);
}

TimStatus tim_muon_new(TimMuon **out, const TimParams *params, TimDtype product, int threads, TimError *err) {
    TimMuon *muon;
    *out = NULL;
    TIM_TRY(tim_new(&muon, 1, sizeof *muon, "Muon", err));
    muon->product = product;
    muon->threads = threads;
    const TimStatus status = fill(muon, params, err);
    if (status != TIM_OK) {
        tim_muon_free(muon);
        return status;
    }
    *out = muon;
    return TIM_OK;
}

void tim_muon_free(TimMuon *muon) {
    if (!muon) return;
    for (size_t i = 0; i < muon->matrix_count; i++) {
        tim_matmul_free(muon->matrices[i].gram);
        tim_matmul_free(muon->matrices[i].square);
        tim_matmul_free(muon->matrices[i].apply);
    }
    for (int i = 0; muon->benches && i < muon->threads; i++) {
        const Bench *bench = &muon->benches[i];
        void *const blocks[] = {bench->x, bench->s, bench->product, bench->x_in, bench->s_in, bench->work};
        for (size_t k = 0; k < sizeof blocks / sizeof *blocks; k++) tim_free(blocks[k]);
    }
    tim_free(muon->benches);
    tim_free(muon->matrices);
    tim_free(muon->ranges);
    tim_free(muon);
}

/* ---- the update ---- */

/* The momentum is renewed, and x becomes u / |u|. */
static void start(const Matrix *m, const TimAdamWVectors *v, float gradient_scale, float momentum, float *restrict x) {
    const float *restrict g = v->gradients + m->offset;
    float *restrict first = v->first + m->offset;
    double sum = 0;
    for (size_t i = 0; i < m->count; i++) {
        const float gradient = g[i] * gradient_scale;
        first[i] = momentum * first[i] + (1 - momentum) * gradient;
        x[i] = (1 - momentum) * gradient + momentum * first[i];
        sum += (double)x[i] * (double)x[i];
    }
    const float factor = (float)(1.0 / fmax(sqrt(sum), 1e-7));
    for (size_t i = 0; i < m->count; i++) x[i] *= factor;
}

static const void *rounded(const float *values, size_t count, TimDtype dtype, void *room) {
    if (dtype == TIM_F32) return values;
    tim_bf16_round_all(room, values, count);
    return room;
}

/* X <- a X + (b S + c S S) X with S = X X^T. */
static void iterate(const Matrix *m, const Bench *bench, TimDtype dtype) {
    const size_t square = (size_t)m->side * (size_t)m->side;
    const void *x = rounded(bench->x, m->count, dtype, bench->x_in);
    tim_matmul_run(m->gram, x, x, NULL, bench->s, bench->work);
    const void *s = rounded(bench->s, square, dtype, bench->s_in);
    tim_matmul_run(m->square, s, s, NULL, bench->product, bench->work);
    for (size_t i = 0; i < square; i++) bench->s[i] = b * bench->s[i] + c * bench->product[i];
    s = rounded(bench->s, square, dtype, bench->s_in);
    const bool tall = m->rows > m->cols;
    tim_matmul_run(m->apply, tall ? x : s, tall ? s : x, NULL, bench->product, bench->work);
    for (size_t i = 0; i < m->count; i++) bench->x[i] = a * bench->x[i] + bench->product[i];
}

static void update_matrix(const Matrix *m, const Bench *bench, TimDtype dtype, const TimAdamWVectors *v, const TimAdamWStep *step,
                          double momentum) {
    start(m, v, (float)step->gradient_scale, (float)momentum, bench->x);
    for (int i = 0; i < ITERATIONS; i++) iterate(m, bench, dtype);
    const float decay = (float)(1.0 - step->lr * step->weight_decay);
    const float size = (float)(step->lr * 0.2 * sqrt((double)(m->rows > m->cols ? m->rows : m->cols)));
    float *restrict w = v->weights + m->offset;
    for (size_t i = 0; i < m->count; i++) w[i] = w[i] * decay - size * bench->x[i];
    tim_adamw_follow(v, step->ema_decay, m->offset, m->offset + m->count);
}

static void update_rest(const Range *range, const TimAdamWVectors *v, const TimAdamWStep *step) {
    const TimAdamWVectors part = {.weights = v->weights + range->offset,
                                  .first = v->first + range->offset,
                                  .second = v->second + range->offset,
                                  .ema = v->ema ? v->ema + range->offset : NULL,
                                  .gradients = v->gradients + range->offset,
                                  .bf16 = v->bf16 ? v->bf16 + range->offset : NULL,
                                  .count = range->count};
    tim_adamw_update(&part, step);
}

void tim_muon_update(TimMuon *muon, const TimAdamWVectors *vectors, const TimAdamWStep *step, double momentum) {
    for (size_t i = 0; i <= muon->matrix_count; i++) update_rest(&muon->ranges[i], vectors, step);
#pragma omp parallel for num_threads(muon->threads) schedule(static)
    for (int thread = 0; thread < muon->threads; thread++)
        for (size_t i = (size_t)thread; i < muon->matrix_count; i += (size_t)muon->threads)
            update_matrix(&muon->matrices[i], &muon->benches[thread], muon->product, vectors, step, momentum);
}
