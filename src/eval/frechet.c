/* The trace of the root: with factors C_a = A A^T and C_b = B B^T the eigenvalues of C_a C_b are the squares of the singular values
 * of A^T B, so the trace is the sum of these. The usual ways (a root of C_a C_b, or the eigenvalues of S C_b S with S^2 = C_a) take
 * roots of eigenvalues that carry an error of 1e-16 of the largest one, which leaves 1e-8 in every small one: with covariances of
 * condition 1e10 they miss by 1e-9 and singular values by 1e-16, and where a covariance lacks rank they are worst (docs/traps.md).
 * Cholesky with pivots gives the factors and ends where the rank does; it costs a tenth of an eigenvalue decomposition. */
#include "eval/frechet.h"

#include <cblas.h>
#include <lapacke.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

#include "base/memory.h"
#include "eval/features.h"

enum { ROWS = 256 }; /* merged at once: enough for a product to be fast, 4 MiB at width 2048 */

/* ---- moments ---- */

static TimStatus make_moments(TimMoments *m, TimError *err) {
    size_t square;
    if (!tim_mul_size(m->width, m->width, &square)) return tim_fail(err, TIM_E_MEMORY, "a covariance of width %zu", m->width);
    TIM_TRY(tim_new(&m->origin, m->width, sizeof *m->origin, "the origin", err));
    TIM_TRY(tim_new(&m->mean, m->width, sizeof *m->mean, "the mean", err));
    TIM_TRY(tim_new(&m->covariance, square, sizeof *m->covariance, "the covariance", err));
    return tim_new(&m->rows, (ROWS + 1) * m->width, sizeof *m->rows, "rows of features", err);
}

TimStatus tim_moments_init(TimMoments *moments, size_t width, TimError *err) {
    *moments = (TimMoments){.width = width};
    if (width >= 1 && width <= TIM_MOMENTS_MAX_WIDTH) return make_moments(moments, err);
    return tim_fail(err, TIM_E_ARGUMENT, "moments of rows of %zu values; give 1 to %d", width, TIM_MOMENTS_MAX_WIDTH);
}

void tim_moments_done(TimMoments *moments) {
    tim_free(moments->origin);
    tim_free(moments->mean);
    tim_free(moments->covariance);
    tim_free(moments->rows);
    *moments = (TimMoments){0};
}

/* mean (d) of the waiting rows, which become deviations from it. */
static void centre_rows(TimMoments *m, double *mean) {
    memset(mean, 0, m->width * sizeof *mean);
    for (size_t i = 0; i < m->waiting; i++)
        for (size_t c = 0; c < m->width; c++) mean[c] += m->rows[i * m->width + c];
    for (size_t c = 0; c < m->width; c++) mean[c] /= (double)m->waiting;
    for (size_t i = 0; i < m->waiting; i++)
        for (size_t c = 0; c < m->width; c++) m->rows[i * m->width + c] -= mean[c];
}

/* Merges the waiting rows: sum of squares += theirs about their own mean, and n w / (n + w) x the outer square of the step from the
 * old mean to that one. The step rides as one row more, so both are one product; with n = 0 it is zero. */
static void merge_rows(TimMoments *m) {
    if (m->waiting == 0) return;
    const double w = (double)m->waiting, n = (double)(m->count - m->waiting);
    double *step = m->rows + m->waiting * m->width;
    centre_rows(m, step);
    for (size_t c = 0; c < m->width; c++) {
        const double difference = step[c] - m->mean[c];
        m->mean[c] += difference * (w / (n + w));
        step[c] = difference * sqrt(n * w / (n + w));
    }
    const int d = (int)m->width;
    cblas_dsyrk(CblasColMajor, CblasLower, CblasNoTrans, d, (int)m->waiting + 1, 1.0, m->rows, d, 1.0, m->covariance, d);
    m->waiting = 0;
}

static TimStatus check_open(const TimMoments *m, TimError *err) {
    if (!m->finished) return TIM_OK;
    return tim_fail(err, TIM_E_ARGUMENT, "the moments of %zu rows are finished; start new ones to add rows", m->count);
}

static TimStatus bad_value(const TimMoments *m, size_t index, double value, TimError *err) {
    return tim_fail(err, TIM_E_ARGUMENT, "features: row %zu, column %zu is %g; leave that picture out or mend its features",
                    m->count + index / m->width, index % m->width, value);
}

/* The place of the next row, after merging where none is left. */
static double *next_row(TimMoments *m) {
    if (m->waiting == ROWS) merge_rows(m);
    m->count++;
    return m->rows + m->waiting++ * m->width;
}

TimStatus tim_moments_add(TimMoments *moments, const float *rows, size_t count, TimError *err) {
    const size_t d = moments->width;
    TIM_TRY(check_open(moments, err));
    for (size_t i = 0; i < count * d; i++)
        if (!isfinite(rows[i])) return bad_value(moments, i, (double)rows[i], err);
    for (size_t c = 0; moments->count == 0 && count > 0 && c < d; c++) moments->origin[c] = (double)rows[c];
    for (size_t i = 0; i < count; i++) {
        double *row = next_row(moments);
        for (size_t c = 0; c < d; c++) row[c] = (double)rows[i * d + c] - moments->origin[c];
    }
    return TIM_OK;
}

TimStatus tim_moments_add_f64(TimMoments *moments, const double *rows, size_t count, TimError *err) {
    const size_t d = moments->width;
    TIM_TRY(check_open(moments, err));
    for (size_t i = 0; i < count * d; i++)
        if (!isfinite(rows[i])) return bad_value(moments, i, rows[i], err);
    for (size_t c = 0; moments->count == 0 && count > 0 && c < d; c++) moments->origin[c] = rows[c];
    for (size_t i = 0; i < count; i++) {
        double *row = next_row(moments);
        for (size_t c = 0; c < d; c++) row[c] = rows[i * d + c] - moments->origin[c];
    }
    return TIM_OK;
}

/* Sums of squares become the covariance, both triangles of it. */
static void divide_sums(TimMoments *m) {
    const size_t d = m->width;
    const double denominator = (double)(m->count - 1);
    for (size_t j = 0; j < d; j++)
        for (size_t i = j; i < d; i++) {
            const double value = m->covariance[j * d + i] / denominator;
            m->covariance[j * d + i] = m->covariance[i * d + j] = value;
        }
}

static void close_moments(TimMoments *m) {
    tim_free(m->rows);
    m->rows = NULL;
    m->finished = true;
}

TimStatus tim_moments_finish(TimMoments *moments, TimError *err) {
    TIM_TRY(check_open(moments, err));
    if (moments->count < 2)
        return tim_fail(err, TIM_E_ARGUMENT, "a covariance of %zu rows of features; add at least 2", moments->count);
    merge_rows(moments);
    divide_sums(moments);
    for (size_t c = 0; c < moments->width; c++) moments->mean[c] += moments->origin[c];
    close_moments(moments);
    return TIM_OK;
}

/* ---- moments known already ---- */

static TimStatus check_vectors(const TimMoments *m, double *largest, TimError *err) {
    const size_t d = m->width;
    *largest = 0;
    for (size_t c = 0; c < d; c++) {
        const double variance = m->covariance[c * d + c];
        if (!isfinite(m->mean[c])) return tim_fail(err, TIM_E_FORMAT, "the mean of column %zu is %g", c, m->mean[c]);
        if (!isfinite(variance) || variance < 0)
            return tim_fail(err, TIM_E_FORMAT, "the variance of column %zu is %g; a variance is a number from 0 on", c, variance);
        *largest = fmax(*largest, variance);
    }
    return TIM_OK;
}

/* Files may hold fp32, hence room for rounding. */
static TimStatus check_covariance(const TimMoments *m, double largest, TimError *err) {
    const size_t d = m->width;
    const double *values = m->covariance, share = 1e-4, tiny = 1e-9 * largest;
    for (size_t i = 0; i < d; i++)
        for (size_t j = 0; j < i; j++) {
            const double most = sqrt(values[i * d + i]) * sqrt(values[j * d + j]), one = values[i * d + j],
                         other = values[j * d + i];
            if (fabs(one) <= (1 + share) * most + tiny && fabs(one - other) <= share * most + tiny) continue;
            return tim_fail(err, TIM_E_FORMAT,
                            "(%zu, %zu) is %g and (%zu, %zu) is %g, with variances %g and %g: that is no covariance", i, j, one, j,
                            i, other, values[i * d + i], values[j * d + j]);
        }
    return TIM_OK;
}

TimStatus tim_moments_accept(TimMoments *moments, TimError *err) {
    double largest;
    TIM_TRY(check_open(moments, err));
    TIM_TRY(check_vectors(moments, &largest, err));
    TIM_TRY(check_covariance(moments, largest, err));
    moments->count = SIZE_MAX; /* nothing is known that bounds the rank */
    close_moments(moments);
    return TIM_OK;
}

/* ---- distance ---- */

static double trace(const TimMoments *m) {
    double sum = 0;
    for (size_t c = 0; c < m->width; c++) sum += m->covariance[c * m->width + c];
    return sum;
}

static double step_of_means(const TimMoments *a, const TimMoments *b) {
    double sum = 0;
    for (size_t c = 0; c < a->width; c++) sum += (a->mean[c] - b->mean[c]) * (a->mean[c] - b->mean[c]);
    return sum;
}

/* A factor of a covariance: C = F F^T with F (d, rank) by columns. */
typedef struct Factor {
    double *values;
    size_t rank;
} Factor;

/* Rows of the triangle that Cholesky left in `lower`, put back where its pivots took them from. */
static void unpivot(double *factor, const double *lower, const lapack_int *pivots, size_t d, size_t rank) {
    for (size_t j = 0; j < rank; j++)
        for (size_t i = j; i < d; i++) factor[j * d + (size_t)pivots[i] - 1] = lower[j * d + i];
}

/* N rows give at most rank N - 1; pivots beyond are rounding, as are those below LAPACK's tolerance, d x 1e-16 of the largest. */
static TimStatus factorise(Factor *out, const TimMoments *m, double *lower, lapack_int *pivots, double *work, TimError *err) {
    const size_t d = m->width;
    const lapack_int n = (lapack_int)d;
    lapack_int rank = 0;
    memcpy(lower, m->covariance, d * d * sizeof *lower);
    const lapack_int info = LAPACKE_dpstrf_work(LAPACK_COL_MAJOR, 'L', n, lower, n, pivots, &rank, -1.0, work);
    if (info < 0) return tim_fail(err, TIM_E_INTERNAL, "LAPACK's dpstrf refuses argument %d", -(int)info);
    out->rank = (size_t)rank < m->count - 1 ? (size_t)rank : m->count - 1;
    unpivot(out->values, lower, pivots, d, out->rank);
    return TIM_OK;
}

/* The (d, d) blocks and vectors of one distance. */
typedef struct Work {
    double *lower, *vector; /* (d, d); (2 d): work of Cholesky, then singular values */
    lapack_int *pivots;     /* (d) */
    Factor a, b;
} Work;

static TimStatus make_work(Work *w, size_t d, TimError *err) {
    const char *what = "the factors of covariances";
    TIM_TRY(tim_new(&w->lower, d * d, sizeof *w->lower, what, err));
    TIM_TRY(tim_new(&w->vector, 2 * d, sizeof *w->vector, what, err));
    TIM_TRY(tim_new(&w->pivots, d, sizeof *w->pivots, what, err));
    TIM_TRY(tim_new(&w->a.values, d * d, sizeof *w->a.values, what, err));
    return tim_new(&w->b.values, d * d, sizeof *w->b.values, what, err);
}

static void free_work(Work *w) {
    tim_free(w->lower);
    tim_free(w->vector);
    tim_free(w->pivots);
    tim_free(w->a.values);
    tim_free(w->b.values);
}

/* values (the smaller of m and n) = singular values of matrix (m, n) by columns, which is overwritten. The calls that end in _work
 * check no NaN and read no environment. */
static TimStatus singular_values(double *values, double *matrix, lapack_int m, lapack_int n, TimError *err) {
    double wanted, *work;
    lapack_int info = LAPACKE_dgesvd_work(LAPACK_COL_MAJOR, 'N', 'N', m, n, matrix, m, values, NULL, 1, NULL, 1, &wanted, -1);
    if (info != 0) return tim_fail(err, TIM_E_INTERNAL, "LAPACK's dgesvd refuses argument %d", -(int)info);
    TIM_TRY(tim_new(&work, (size_t)wanted, sizeof *work, "the singular values", err));
    info = LAPACKE_dgesvd_work(LAPACK_COL_MAJOR, 'N', 'N', m, n, matrix, m, values, NULL, 1, NULL, 1, work, (lapack_int)wanted);
    tim_free(work);
    if (info == 0) return TIM_OK;
    return tim_fail(err, TIM_E_INTERNAL, "LAPACK's dgesvd found no singular values of a %d x %d matrix: %d", (int)m, (int)n,
                    (int)info);
}

static TimStatus trace_of_root(double *out, Work *w, const TimMoments *a, const TimMoments *b, TimError *err) {
    TIM_TRY(factorise(&w->a, a, w->lower, w->pivots, w->vector, err));
    TIM_TRY(factorise(&w->b, b, w->lower, w->pivots, w->vector, err));
    const int d = (int)a->width, m = (int)w->a.rank, n = (int)w->b.rank;
    *out = 0;
    if (m == 0 || n == 0) return TIM_OK; /* a set without spread */
    cblas_dgemm(CblasColMajor, CblasTrans, CblasNoTrans, m, n, d, 1.0, w->a.values, d, w->b.values, d, 0.0, w->lower, m);
    TIM_TRY(singular_values(w->vector, w->lower, m, n, err));
    for (int i = 0; i < (m < n ? m : n); i++) *out += w->vector[i];
    return TIM_OK;
}

static TimStatus check_pair(const TimMoments *a, const TimMoments *b, TimError *err) {
    if (!a->finished || !b->finished)
        return tim_fail(err, TIM_E_ARGUMENT, "the moments of the %s set are not finished; call tim_moments_finish first",
                        a->finished ? "second" : "first");
    TIM_TRY(tim_features_check_widths(a->width, b->width, err));
    /* finite diagonals bound every other element */
    if (isfinite(trace(a)) && isfinite(trace(b)) && isfinite(step_of_means(a, b))) return TIM_OK;
    return tim_fail(err, TIM_E_ARGUMENT, "traces %g and %g of the covariances, or the means, overflow; scale the features down",
                    trace(a), trace(b));
}

TimStatus tim_frechet_distance(double *out, const TimMoments *a, const TimMoments *b, TimError *err) {
    TIM_TRY(check_pair(a, b, err));
    Work work = {0};
    double root = 0;
    TimStatus status = make_work(&work, a->width, err);
    if (status == TIM_OK) status = trace_of_root(&root, &work, a, b, err);
    free_work(&work);
    TIM_TRY(status);
    *out = fmax(0.0, step_of_means(a, b) + trace(a) + trace(b) - 2.0 * root); /* rounding may fall below 0 */
    return TIM_OK;
}
