/* Kernels are made in panels of some rows, so memory does not grow with m^2. fp64 products, because the three sums
 * nearly cancel. */
#include "eval/kernel_distance.h"

#include <cblas.h>
#include <limits.h>
#include <math.h>

#include "base/memory.h"
#include "base/rng.h"

enum { PANEL = 128 }; /* rows of a panel */

typedef struct Work {
    size_t m, d;
    size_t *order;   /* the larger set's count: row numbers, shuffled */
    double *x, *y;   /* (m, d): the subsets */
    double *panel;   /* (PANEL, m) */
    double *row_sum; /* (PANEL) */
} Work;

TimKernelOptions tim_kernel_options_default(void) {
    return (TimKernelOptions){.subsets = 100, .subset_size = 1000};
}

static TimStatus make_work(Work *w, size_t rows, TimError *err) {
    const char *what = "subsets of features";
    size_t elements;
    if (w->m > INT_MAX || !tim_mul_size(w->m, w->d > PANEL ? w->d : PANEL, &elements))
        return tim_fail(err, TIM_E_MEMORY, "subsets of %zu rows of %zu values do not fit; use smaller ones", w->m, w->d);
    TIM_TRY(tim_new(&w->order, rows, sizeof *w->order, what, err));
    TIM_TRY(tim_new(&w->x, w->m * w->d, sizeof *w->x, what, err));
    TIM_TRY(tim_new(&w->y, w->m * w->d, sizeof *w->y, what, err));
    TIM_TRY(tim_new(&w->panel, PANEL * w->m, sizeof *w->panel, what, err));
    return tim_new(&w->row_sum, PANEL, sizeof *w->row_sum, what, err);
}

static void free_work(Work *w) {
    tim_free(w->order);
    tim_free(w->x);
    tim_free(w->y);
    tim_free(w->panel);
    tim_free(w->row_sum);
}

/* subset (m, d) = m random rows: the first m steps of a shuffle, so that none comes twice. */
static void draw(double *subset, TimFeatures from, const Work *w, uint64_t seed, uint64_t stream) {
    for (size_t i = 0; i < from.count; i++) w->order[i] = i;
    for (size_t i = 0; i < w->m; i++) {
        const size_t other = i + (size_t)(tim_rng_word(seed, stream, i) % (from.count - i)), row = w->order[other];
        w->order[other] = w->order[i];
        for (size_t c = 0; c < w->d; c++) subset[i * w->d + c] = (double)from.values[row * w->d + c];
    }
}

static double kernel_sum(const double *products, size_t count) {
    double sum = 0;
#pragma omp simd reduction(+ : sum)
    for (size_t j = 0; j < count; j++) {
        const double base = products[j] + 1.0;
        sum += base * base * base;
    }
    return sum;
}

/* Sum of k over `rows` rows of x from `first` and the rows of y from `skip`. With `above` only over those beyond the diagonal. */
static double panel_sum(const Work *w, const double *x, const double *y, size_t first, size_t rows, bool above) {
    const size_t skip = above ? first : 0, columns = w->m - skip;
    const int d = (int)w->d, n = (int)columns;
    cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)rows, n, d, 1.0 / (double)d, x + first * w->d, d, y + skip * w->d, d,
                0.0, w->panel, n);
#pragma omp parallel for schedule(static)
    for (size_t i = 0; i < rows; i++) {
        const size_t from = above ? i + 1 : 0;
        w->row_sum[i] = kernel_sum(w->panel + i * columns + from, columns - from);
    }
    double sum = 0;
    for (size_t i = 0; i < rows; i++) sum += w->row_sum[i];
    return sum;
}

/* Sum of k over all pairs of rows of x and y, or with `above` over pairs i < j of x = y. */
static double pair_sum(const Work *w, const double *x, const double *y, bool above) {
    double sum = 0;
    for (size_t first = 0; first < w->m; first += PANEL)
        sum += panel_sum(w, x, y, first, w->m - first < PANEL ? w->m - first : PANEL, above);
    return sum;
}

static double discrepancy(const Work *w) {
    const double m = (double)w->m;
    const double within = 2.0 * (pair_sum(w, w->x, w->x, true) + pair_sum(w, w->y, w->y, true));
    return within / (m * (m - 1.0)) - 2.0 * pair_sum(w, w->x, w->y, false) / (m * m);
}

/* Mean and deviation by Welford's update: the distances lie close together. */
static void measure(TimKernelDistance *out, TimFeatures a, TimFeatures b, const Work *w, const TimKernelOptions *options) {
    double mean = 0, squares = 0;
    for (size_t s = 0; s < options->subsets; s++) {
        draw(w->x, a, w, options->seed, 2 * s);
        draw(w->y, b, w, options->seed, 2 * s + 1);
        const double value = discrepancy(w), step = value - mean;
        mean += step / (double)(s + 1);
        squares += step * (value - mean);
    }
    *out = (TimKernelDistance){mean, sqrt(squares / (double)options->subsets)};
}

static TimStatus check(TimFeatures a, TimFeatures b, const TimKernelOptions *options, TimError *err) {
    TIM_TRY(tim_features_check(a, 2, "first set of features", err));
    TIM_TRY(tim_features_check(b, 2, "second set of features", err));
    TIM_TRY(tim_features_check_widths(a.width, b.width, err));
    if (options->subsets >= 1 && options->subset_size >= 2) return TIM_OK;
    return tim_fail(err, TIM_E_ARGUMENT, "%zu subsets of %zu rows; give at least 1 subset of at least 2, such as 100 of 1000",
                    options->subsets, options->subset_size);
}

TimStatus tim_kernel_distance(TimKernelDistance *out, TimFeatures a, TimFeatures b, const TimKernelOptions *options,
                              TimError *err) {
    TIM_TRY(check(a, b, options, err));
    const size_t fewer = a.count < b.count ? a.count : b.count, more = a.count < b.count ? b.count : a.count;
    Work work = {.m = options->subset_size < fewer ? options->subset_size : fewer, .d = a.width};
    const TimStatus status = make_work(&work, more, err);
    if (status == TIM_OK) measure(out, a, b, &work, options);
    free_work(&work);
    TIM_TRY(status);
    if (isfinite(out->mean) && isfinite(out->deviation)) return TIM_OK;
    return tim_fail(err, TIM_E_ARGUMENT, "the kernel (x . y / d + 1)^3 overflows; scale the features down");
}
