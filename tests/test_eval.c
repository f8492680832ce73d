/* The statistics of features: against numbers from NumPy and SciPy in fp64, against all pairs compared in fp64, and by what must
 * not change them. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include <cmocka.h>

#include "eval/features.h"
#include "eval/frechet.h"
#include "eval/inception_score.h"
#include "eval/kernel_distance.h"
#include "eval/neighbours.h"

static void close_to(double actual, double expected, double tolerance) {
    if (!(fabs(actual - expected) <= tolerance * fmax(1.0, fabs(expected)))) {
        print_error("%.17g is not within %g of %.17g\n", actual, tolerance, expected);
        fail();
    }
}

static void *block(size_t count, size_t size) {
    void *out = calloc(count, size);
    assert_non_null(out);
    return out;
}

/* Number `index` of a fixed sequence, uniform on [-1, 1); the comments' NumPy values use the same. */
static double number(uint64_t index) {
    uint64_t h = (index + 1) * UINT64_C(0x9E3779B97F4A7C15);
    h = (h ^ h >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    h = (h ^ h >> 27) * UINT64_C(0x94D049BB133111EB);
    h ^= h >> 31;
    return (double)(h >> 40) * 0x1p-23 - 1.0;
}

/* Value c of row i = shift + scale u / (1 + c), u being number first + i d + c: columns of unlike spread. */
static float *make(uint64_t first, size_t count, size_t width, double shift, double scale) {
    float *values = block(count * width, sizeof *values);
    for (size_t i = 0; i < count * width; i++) values[i] = (float)(shift + scale * number(first + i) / (1.0 + (double)(i % width)));
    return values;
}

static TimFeatures features(const float *values, size_t count, size_t width) {
    return (TimFeatures){values, count, width};
}

static void assert_text(TimStatus status, const TimError *err, const char *part) {
    assert_int_equal(status, TIM_E_ARGUMENT);
    if (!strstr(err->text, part)) {
        print_error("\"%s\" does not say \"%s\"\n", err->text, part);
        fail();
    }
}

/* ---- moments ---- */

/* Added `batch` rows at a time. */
static TimMoments moments_of(const float *values, size_t count, size_t width, size_t batch) {
    TimMoments m;
    TimError err;
    assert_int_equal(tim_moments_init(&m, width, &err), TIM_OK);
    for (size_t i = 0; i < count; i += batch)
        assert_int_equal(tim_moments_add(&m, values + i * width, count - i < batch ? count - i : batch, &err), TIM_OK);
    assert_int_equal(tim_moments_finish(&m, &err), TIM_OK);
    return m;
}

enum { ROWS = 700, WIDTH = 9 };

static void test_moments_any_batch_size_gives_the_same_bits(void **state) {
    (void)state;
    static const size_t batches[] = {1, 7, 256, 257, 600};
    float *values = make(0, ROWS, WIDTH, 100, 3);
    TimMoments whole = moments_of(values, ROWS, WIDTH, ROWS);
    for (size_t b = 0; b < sizeof batches / sizeof *batches; b++) {
        TimMoments m = moments_of(values, ROWS, WIDTH, batches[b]);
        assert_int_equal(m.count, ROWS);
        assert_memory_equal(m.mean, whole.mean, WIDTH * sizeof(double));
        assert_memory_equal(m.covariance, whole.covariance, WIDTH * WIDTH * sizeof(double));
        tim_moments_done(&m);
    }
    tim_moments_done(&whole);
    free(values);
}

static TimMoments moments_of_f64(const double *values, size_t count, size_t width, size_t batch) {
    TimMoments m;
    TimError err;
    assert_int_equal(tim_moments_init(&m, width, &err), TIM_OK);
    for (size_t i = 0; i < count; i += batch)
        assert_int_equal(tim_moments_add_f64(&m, values + i * width, count - i < batch ? count - i : batch, &err), TIM_OK);
    assert_int_equal(tim_moments_finish(&m, &err), TIM_OK);
    return m;
}

/* Against two passes in fp64; `origin` is what every value of the moments has more than `values`. */
static void compare_moments(const TimMoments *m, const double *values, double origin, double tolerance) {
    double mean[WIDTH] = {0};
    for (size_t i = 0; i < ROWS * WIDTH; i++) mean[i % WIDTH] += values[i] / ROWS;
    for (size_t a = 0; a < WIDTH; a++) {
        close_to(m->mean[a] - origin, mean[a], tolerance * fmax(1, origin));
        for (size_t b = 0; b < WIDTH; b++) {
            double sum = 0;
            for (size_t i = 0; i < ROWS; i++) sum += (values[i * WIDTH + a] - mean[a]) * (values[i * WIDTH + b] - mean[b]);
            close_to(m->covariance[a * WIDTH + b], sum / (ROWS - 1), tolerance);
        }
    }
}

static void test_moments_rows_in_either_order_equal_two_passes(void **state) {
    (void)state;
    double values[ROWS * WIDTH], reversed[ROWS * WIDTH];
    for (size_t i = 0; i < ROWS * WIDTH; i++) values[i] = number(i) + (double)(i / WIDTH) / ROWS; /* the mean drifts */
    for (size_t i = 0; i < ROWS; i++) memcpy(reversed + (ROWS - 1 - i) * WIDTH, values + i * WIDTH, WIDTH * sizeof *values);
    TimMoments m = moments_of_f64(values, ROWS, WIDTH, 50), r = moments_of_f64(reversed, ROWS, WIDTH, 1);
    compare_moments(&m, values, 0, 1e-14);
    compare_moments(&r, values, 0, 1e-14);
    tim_moments_done(&m);
    tim_moments_done(&r);
}

/* With a mean of 1e8 and a spread of 1, sums of plain squares would keep no digit. */
static void test_moments_far_from_zero_keep_their_digits(void **state) {
    (void)state;
    const double origin = 0x1p27;
    double values[ROWS * WIDTH], far[ROWS * WIDTH];
    for (size_t i = 0; i < ROWS * WIDTH; i++) values[i] = number(i), far[i] = origin + values[i]; /* exact: 24 bits and 27 */
    TimMoments m = moments_of_f64(far, ROWS, WIDTH, 3);
    compare_moments(&m, values, origin, 1e-12);
    tim_moments_done(&m);
}

static void test_moments_float_and_double_rows_agree(void **state) {
    (void)state;
    float *values = make(5, ROWS, WIDTH, 0.25, 2);
    double wide[ROWS * WIDTH];
    for (size_t i = 0; i < ROWS * WIDTH; i++) wide[i] = (double)values[i];
    TimMoments a = moments_of(values, ROWS, WIDTH, 11), b = moments_of_f64(wide, ROWS, WIDTH, 12);
    assert_memory_equal(a.covariance, b.covariance, WIDTH * WIDTH * sizeof(double));
    tim_moments_done(&a);
    tim_moments_done(&b);
    free(values);
}

static void test_moments_wrong_width_refused(void **state) {
    (void)state;
    TimMoments m;
    TimError err;
    assert_text(tim_moments_init(&m, 0, &err), &err, "rows of 0 values");
    tim_moments_done(&m);
    assert_text(tim_moments_init(&m, TIM_MOMENTS_MAX_WIDTH + 1, &err), &err, "rows of 16385 values");
    tim_moments_done(&m);
}

static void test_moments_bad_value_refused_and_nothing_added(void **state) {
    (void)state;
    TimMoments m;
    TimError err;
    const float good[6] = {1, 2, 3, 4, 5, 7}, bad[6] = {1, 2, 3, 4, 5, NAN};
    const double infinite[3] = {0, -INFINITY, 0};
    assert_int_equal(tim_moments_init(&m, 3, &err), TIM_OK);
    assert_int_equal(tim_moments_add(&m, good, 2, &err), TIM_OK);
    assert_text(tim_moments_add(&m, bad, 2, &err), &err, "row 3, column 2 is nan");
    assert_text(tim_moments_add_f64(&m, infinite, 1, &err), &err, "row 2, column 1 is -inf");
    assert_int_equal(m.count, 2);
    assert_int_equal(tim_moments_finish(&m, &err), TIM_OK);
    close_to(m.mean[2], 5, 0);
    close_to(m.covariance[8], 8, 0);
    tim_moments_done(&m);
}

static void test_moments_order_of_calls_is_checked(void **state) {
    (void)state;
    TimMoments m;
    TimError err;
    const float rows[4] = {1, 2, 3, 4};
    double distance;
    assert_int_equal(tim_moments_init(&m, 2, &err), TIM_OK);
    assert_int_equal(tim_moments_add(&m, NULL, 0, &err), TIM_OK);
    assert_int_equal(tim_moments_add(&m, rows, 1, &err), TIM_OK);
    assert_text(tim_moments_finish(&m, &err), &err, "1 rows");
    assert_int_equal(tim_moments_add(&m, rows + 2, 1, &err), TIM_OK);
    assert_text(tim_frechet_distance(&distance, &m, &m, &err), &err, "first set are not finished");
    assert_int_equal(tim_moments_finish(&m, &err), TIM_OK);
    assert_text(tim_moments_add(&m, rows, 1, &err), &err, "2 rows are finished");
    assert_text(tim_moments_finish(&m, &err), &err, "finished");
    tim_moments_done(&m);
}

/* ---- Frechet distance ---- */

static double frechet_of(TimFeatures a, TimFeatures b) {
    TimMoments of_a = moments_of(a.values, a.count, a.width, a.count), of_b = moments_of(b.values, b.count, b.width, b.count);
    double distance, other_way;
    TimError err;
    assert_int_equal(tim_frechet_distance(&distance, &of_a, &of_b, &err), TIM_OK);
    assert_int_equal(tim_frechet_distance(&other_way, &of_b, &of_a, &err), TIM_OK);
    close_to(other_way, distance, 1e-13);
    tim_moments_done(&of_a);
    tim_moments_done(&of_b);
    return distance;
}

/* SciPy: |mu|^2 + tr(Ca + Cb - 2 sqrtm(Ca Cb)); the low ranks by singular values of the centred rows, as sqrtm errs by 7e-9. */
static void test_frechet_numbers_of_scipy(void **state) {
    (void)state;
    float *a = make(0, 40, 6, 0.5, 1.0), *b = make(1000, 30, 6, 0.75, 1.5);
    close_to(frechet_of(features(a, 40, 6), features(b, 30, 6)), 0.56872026373113238, 1e-13);
    close_to(frechet_of(features(a, 5, 6), features(b, 4, 6)), 1.1027824063986122, 1e-13);
    free(a);
    free(b);
}

static void test_frechet_set_to_itself_is_zero(void **state) {
    (void)state;
    static const size_t counts[] = {500, 41, 40, 12, 2}; /* of width 40: full rank, and all below */
    float *a = make(0, 500, 40, 2, 1);
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
        close_to(frechet_of(features(a, counts[i], 40), features(a, counts[i], 40)), 0, 1e-12);
    free(a);
}

static void test_frechet_shifted_set_is_the_squared_shift(void **state) {
    (void)state;
    static const size_t counts[] = {200, 6};
    float *a = make(0, 200, 10, 0, 1), *b = make(0, 200, 10, 0, 1);
    for (size_t i = 0; i < 2000; i++) a[i] = roundf(a[i] * 0x1p12F) * 0x1p-12F, b[i] = a[i] + (float)(i % 10) * 0.5F; /* exact */
    for (size_t i = 0; i < 2; i++) close_to(frechet_of(features(a, counts[i], 10), features(b, counts[i], 10)), 285 * 0.25, 1e-13);
    free(a);
    free(b);
}

/* sum (s - 1)^2 var_c for a set stretched by s about its mean */
static void test_frechet_stretched_set_follows_formula(void **state) {
    (void)state;
    float *a = make(0, 300, 7, 0, 1), *b = make(0, 300, 7, 0, 1);
    for (size_t i = 0; i < 2100; i++) b[i] *= 4.0F;
    TimMoments m = moments_of(a, 300, 7, 300);
    double expected = 0;
    for (size_t c = 0; c < 7; c++) expected += 9.0 * (m.covariance[c * 8] + m.mean[c] * m.mean[c]);
    close_to(frechet_of(features(a, 300, 7), features(b, 300, 7)), expected, 1e-13);
    tim_moments_done(&m);
    free(a);
    free(b);
}

static void test_frechet_constant_columns_add_their_means_only(void **state) {
    (void)state;
    float *a = make(0, 50, 4, 0, 1), *b = make(900, 60, 4, 0.5, 2), wide[2][60 * 6];
    for (size_t i = 0; i < 60; i++)
        for (size_t c = 0; c < 6; c++) {
            if (i < 50) wide[0][i * 6 + c] = c == 0 ? 3.0F : c == 5 ? 0.0F : a[i * 4 + c - 1];
            wide[1][i * 6 + c] = c == 0 ? 5.0F : c == 5 ? 0.0F : b[i * 4 + c - 1];
        }
    const double narrow = frechet_of(features(a, 50, 4), features(b, 60, 4));
    close_to(frechet_of(features(wide[0], 50, 6), features(wide[1], 60, 6)), narrow + 4, 1e-13);
    free(a);
    free(b);
}

/* NumPy, singular values of the centred rows. Roots of eigenvalues err by 1e-8 here, up or down with the processor. */
static void test_frechet_collinear_columns_keep_all_digits(void **state) {
    (void)state;
    float *a = make(0, 40, 6, 0.5, 1.0), *b = make(1000, 30, 6, 0.75, 1.5);
    for (size_t i = 0; i < 30; i++) b[i * 6 + 4] = 2.0F * b[i * 6 + 3];
    close_to(frechet_of(features(a, 40, 6), features(b, 30, 6)), 1.9657635148928829, 1e-13);
    free(a);
    free(b);
}

static void test_frechet_set_without_spread_adds_the_other_trace(void **state) {
    (void)state;
    float same[6] = {1, 2, 1, 2, 1, 2}, other[6] = {1, 2, 3, 4, 5, 0};
    close_to(frechet_of(features(same, 3, 2), features(same, 3, 2)), 0, 0);
    close_to(frechet_of(features(same, 3, 2), features(other, 3, 2)), 4 + 4 + 4, 1e-14);
}

static void test_frechet_widths_and_overflow_refused(void **state) {
    (void)state;
    const double large[4] = {1e200, 0, -1e200, 1};
    float rows[6] = {1, 2, 3, 4, 5, 7};
    double distance;
    TimError err;
    TimMoments a = moments_of(rows, 2, 3, 2), b = moments_of(rows, 3, 2, 1), c = moments_of_f64(large, 2, 2, 2);
    assert_text(tim_frechet_distance(&distance, &a, &b, &err), &err, "rows of 3 and of 2 values");
    assert_text(tim_frechet_distance(&distance, &b, &c, &err), &err, "overflow");
    tim_moments_done(&a);
    tim_moments_done(&b);
    tim_moments_done(&c);
}

/* ---- kernel distance ---- */

static TimKernelDistance kernel_of(TimFeatures a, TimFeatures b, size_t subsets, size_t size, uint64_t seed) {
    TimKernelDistance out;
    TimError err;
    const TimKernelOptions options = {subsets, size, seed};
    assert_int_equal(tim_kernel_distance(&out, a, b, &options, &err), TIM_OK);
    return out;
}

/* Subsets of everything are permutations, and NumPy knows the sum. */
static void test_kernel_whole_sets_give_the_number_of_numpy(void **state) {
    (void)state;
    float *a = make(0, 30, 6, 0.5, 1.0), *b = make(1000, 30, 6, 0.75, 1.5);
    const TimKernelDistance d = kernel_of(features(a, 30, 6), features(b, 30, 6), 5, 1000, 0);
    close_to(d.mean, 0.53180637395932617, 1e-13);
    close_to(d.deviation, 0, 1e-13);
    free(a);
    free(b);
}

static double kernel(const float *x, const float *y, size_t d) {
    double dot = 0;
    for (size_t c = 0; c < d; c++) dot += (double)x[c] * (double)y[c];
    return pow(dot / (double)d + 1.0, 3.0);
}

/* Sum over all pairs of rows, without the pairs (i, i) where the sets are one. */
static double kernel_pairs(const float *x, const float *y, size_t n, size_t d) {
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < n; j++)
            if (x != y || i != j) sum += kernel(x + i * d, y + j * d, d);
    return sum;
}

static void test_kernel_many_panels_equal_all_pairs(void **state) {
    (void)state;
    static const size_t sizes[] = {2, 127, 128, 129, 300};
    enum { D = 11 };
    float *a = make(0, 300, D, 0, 2), *b = make(5000, 300, D, 0.5, 1);
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        const size_t n = sizes[s];
        const double m = (double)n, within = kernel_pairs(a, a, n, D) + kernel_pairs(b, b, n, D);
        const double expected = within / (m * (m - 1)) - 2 * kernel_pairs(a, b, n, D) / (m * m);
        close_to(kernel_of(features(a, n, D), features(b, n, D), 1, n, 3).mean, expected, 1e-12);
    }
    free(a);
    free(b);
}

static void test_kernel_same_distribution_is_zero_within_the_deviation(void **state) {
    (void)state;
    float *a = make(0, 1500, 16, 0, 1), *b = make(77777, 1000, 16, 0, 1), *c = make(99999, 1000, 16, 0.1, 1);
    const TimKernelDistance same = kernel_of(features(a, 1500, 16), features(b, 1000, 16), 50, 100, 1);
    const TimKernelDistance moved = kernel_of(features(a, 1500, 16), features(c, 1000, 16), 50, 100, 1);
    assert_true(same.deviation > 0 && fabs(same.mean) < same.deviation);
    assert_true(moved.mean > 3 * fabs(same.mean));
    free(a);
    free(b);
    free(c);
}

/* The mean over many subsets comes near the value of the whole sets: the estimate is unbiased, and so is the draw. */
static void test_kernel_subsets_average_to_the_whole(void **state) {
    (void)state;
    float *a = make(0, 200, 5, 0, 1), *b = make(5000, 200, 5, 0.4, 1);
    const TimFeatures x = features(a, 200, 5), y = features(b, 200, 5);
    const double whole = kernel_of(x, y, 1, 200, 0).mean;
    const TimKernelDistance d = kernel_of(x, y, 2000, 20, 9);
    assert_true(fabs(d.mean - whole) < 4 * d.deviation / sqrt(2000));
    free(a);
    free(b);
}

static void test_kernel_seed_decides_the_subsets(void **state) {
    (void)state;
    float *a = make(0, 90, 5, 0, 1), *b = make(5000, 70, 5, 0.4, 1);
    const TimFeatures x = features(a, 90, 5), y = features(b, 70, 5);
    const TimKernelDistance first = kernel_of(x, y, 4, 30, 1), again = kernel_of(x, y, 4, 30, 1), other = kernel_of(x, y, 4, 30, 2);
    assert_memory_equal(&first, &again, sizeof first);
    assert_true(first.mean != other.mean && first.deviation > 0);
    free(a);
    free(b);
}

static void test_kernel_bad_arguments_refused(void **state) {
    (void)state;
    float good[8] = {1, 2, 3, 4, 5, 6, 7, 8}, bad[8] = {1, 2, 3, 4, 5, INFINITY, 7, 8}, huge[8] = {1e38F, 1e38F, 1e38F, 1e38F};
    TimKernelDistance out;
    TimError err;
    TimKernelOptions options = tim_kernel_options_default();
    assert_true(options.subsets == 100 && options.subset_size == 1000);
    const TimFeatures x = features(good, 4, 2);
    assert_text(tim_kernel_distance(&out, features(good, 1, 2), x, &options, &err), &err, "first set of features: 1 rows");
    assert_text(tim_kernel_distance(&out, x, features(good, 1, 2), &options, &err), &err, "second set of features: 1 rows");
    assert_text(tim_kernel_distance(&out, features(good, 4, 0), x, &options, &err), &err, "a row has 0 values");
    assert_text(tim_kernel_distance(&out, features(good, 2, 4), x, &options, &err), &err, "rows of 4 and of 2 values");
    assert_text(tim_kernel_distance(&out, x, features(bad, 4, 2), &options, &err), &err, "row 2, column 1 is inf");
    options.subset_size = 1;
    assert_text(tim_kernel_distance(&out, x, x, &options, &err), &err, "100 subsets of 1 rows");
    options = (TimKernelOptions){.subset_size = 2};
    assert_text(tim_kernel_distance(&out, x, x, &options, &err), &err, "0 subsets of 2 rows");
    options = tim_kernel_options_default();
    assert_int_equal(tim_kernel_distance(&out, features(huge, 4, 2), x, &options, &err), TIM_OK); /* 1e228 fits into fp64 */
}

/* ---- neighbours ---- */

static double square_of(const float *a, const float *b, size_t d) {
    long double sum = 0;
    for (size_t c = 0; c < d; c++) sum += ((double)a[c] - (double)b[c]) * ((double)a[c] - (double)b[c]);
    return (double)sum;
}

/* Index of the first nearest row by all pairs. */
static size_t nearest_of(const float *query, TimFeatures references, double *distance) {
    size_t best = 0;
    double least = INFINITY;
    for (size_t j = 0; j < references.count; j++) {
        const double square = square_of(query, references.values + j * references.width, references.width);
        if (square < least) least = square, best = j;
    }
    *distance = sqrt(least);
    return best;
}

static void check_nearest(TimFeatures queries, TimFeatures references) {
    size_t *index = block(queries.count, sizeof *index), *alone = block(queries.count, sizeof *alone);
    double *distance = block(queries.count, sizeof *distance);
    TimError err;
    assert_int_equal(tim_neighbours_nearest(index, distance, queries, references, &err), TIM_OK);
    assert_int_equal(tim_neighbours_nearest(alone, NULL, queries, references, &err), TIM_OK);
    assert_memory_equal(index, alone, queries.count * sizeof *index);
    for (size_t i = 0; i < queries.count; i++) {
        double expected;
        assert_int_equal(index[i], nearest_of(queries.values + i * queries.width, references, &expected));
        assert_true(fabs(distance[i] - expected) <= 1e-14 * expected);
    }
    free(index);
    free(alone);
    free(distance);
}

static void test_nearest_random_rows_equal_all_pairs(void **state) {
    (void)state;
    static const size_t shapes[][3] = {{300, 2100, 7}, {256, 2048, 3}, {257, 2049, 16}, {1, 1, 1}, {3, 65, 129}, {40, 500, 700}};
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
        const size_t n = shapes[s][0], m = shapes[s][1], d = shapes[s][2];
        float *q = make(0, n, d, 0, 1), *r = make(1000000, m, d, 0.1, 1);
        check_nearest(features(q, n, d), features(r, m, d));
        free(q);
        free(r);
    }
}

/* Large pictures: thousands of such rows at a time would be gigabytes. */
static void test_nearest_wide_rows_take_little_memory(void **state) {
    (void)state;
    enum { N = 9, M = 10, D = TIM_FEATURES_MAX_WIDTH };
    struct rusage usage;
    float *q = make(0, N, D, 0, 1), *r = make(1000000, M, D, 0.1, 1);
    check_nearest(features(q, N, D), features(r, M, D));
    free(q);
    free(r);
    assert_int_equal(getrusage(RUSAGE_SELF, &usage), 0);
    assert_true(usage.ru_maxrss < 1 << 20); /* KiB */
}

/* Far from zero, in two clusters far apart, and with queries elsewhere, fp32 squares hold no digit of the small distances. */
static void test_nearest_large_offsets_equal_all_pairs(void **state) {
    (void)state;
    enum { N = 200, M = 900, D = 12 };
    float *q = make(0, N, D, 0, 1), *r = make(1000000, M, D, 0, 1);
    for (size_t i = 0; i < N * D; i++) q[i] += 3e4F;
    for (size_t i = 0; i < M * D; i++) r[i] += 3e4F;
    check_nearest(features(q, N, D), features(r, M, D));
    for (size_t i = 0; i < N / 2 * D; i++) q[i] -= 6e4F;
    for (size_t i = 0; i < M / 2 * D; i++) r[i] -= 6e4F;
    check_nearest(features(q, N, D), features(r, M, D));
    for (size_t i = 0; i < N * D; i++) q[i] += 3e6F;
    check_nearest(features(q, N, D), features(r, M, D));
    free(q);
    free(r);
}

static void test_nearest_extreme_scales_equal_all_pairs(void **state) {
    (void)state;
    static const float scales[] = {1e38F, 1e20F, 1e-20F, 1e-38F, 1e-43F};
    enum { N = 60, M = 300, D = 5 };
    for (size_t s = 0; s < sizeof scales / sizeof *scales; s++) {
        float *q = make(0, N, D, 0, 1), *r = make(1000000, M, D, 0, 1);
        for (size_t i = 0; i < N * D; i++) q[i] *= scales[s];
        for (size_t i = 0; i < M * D; i++) r[i] *= scales[s];
        check_nearest(features(q, N, D), features(r, M, D));
        r[7] = 3e38F; /* one row beside which all others shrink to nothing */
        check_nearest(features(q, N, D), features(r, M, D));
        free(q);
        free(r);
    }
}

/* On a coarse grid most queries have several references at one distance, many at 0. */
static void test_nearest_ties_go_to_the_first(void **state) {
    (void)state;
    enum { N = 300, M = 2500, D = 3 };
    float *q = make(0, N, D, 0, 3), *r = make(1000000, M, D, 0, 3);
    for (size_t i = 0; i < N * D; i++) q[i] = roundf(q[i]);
    for (size_t i = 0; i < M * D; i++) r[i] = roundf(r[i]);
    check_nearest(features(q, N, D), features(r, M, D));
    check_nearest(features(r, M, D), features(r, M, D));
    for (size_t i = 0; i < M * D; i++) r[i] = 0.3F;
    check_nearest(features(q, N, D), features(r, M, D));
    free(q);
    free(r);
}

/* The worst order: every reference is nearer than all before it. */
static void test_nearest_approaching_references_equal_all_pairs(void **state) {
    (void)state;
    enum { N = 3, M = 2300 };
    float *q = make(0, N, 1, -5, 1), *r = block(M, sizeof *r);
    for (size_t j = 0; j < M; j++) r[j] = (float)(M - j);
    check_nearest(features(q, N, 1), features(r, M, 1));
    free(q);
    free(r);
}

static int ascending(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The k-th smallest squared distance from row i to the others. */
static double radius_square(TimFeatures f, size_t i, size_t k) {
    double *squares = block(f.count, sizeof *squares);
    for (size_t j = 0; j < f.count; j++)
        squares[j] = j == i ? INFINITY : square_of(f.values + i * f.width, f.values + j * f.width, f.width);
    qsort(squares, f.count, sizeof *squares, ascending);
    const double square = squares[k - 1];
    free(squares);
    return square;
}

static void check_radii(TimFeatures f, size_t k) {
    double *radius = block(f.count, sizeof *radius);
    TimError err;
    assert_int_equal(tim_neighbours_radii(radius, f, k, &err), TIM_OK);
    for (size_t i = 0; i < f.count; i++) {
        const double expected = sqrt(radius_square(f, i, k));
        assert_true(fabs(radius[i] - expected) <= 1e-14 * expected);
    }
    free(radius);
}

static void test_radii_equal_all_pairs(void **state) {
    (void)state;
    static const size_t ks[] = {1, 3, 10, 599};
    enum { N = 600, D = 9 };
    float *f = make(0, N, D, 4, 1);
    for (size_t i = 0; i < sizeof ks / sizeof *ks; i++) check_radii(features(f, N, D), ks[i]);
    for (size_t i = 0; i < N * D; i++) f[i] = roundf(f[i]); /* duplicates */
    for (size_t i = 0; i < sizeof ks / sizeof *ks; i++) check_radii(features(f, N, D), ks[i]);
    memset(f, 0, N * D * sizeof *f);
    check_radii(features(f, N, D), 3);
    free(f);
}

static TimPrecisionRecall precision_recall(TimFeatures generated, TimFeatures real, size_t k) {
    TimPrecisionRecall out;
    TimError err;
    assert_int_equal(tim_precision_recall(&out, generated, real, k, &err), TIM_OK);
    return out;
}

static double share_of(TimFeatures queries, TimFeatures balls, size_t k) {
    size_t inside = 0;
    double *squares = block(balls.count, sizeof *squares);
    for (size_t j = 0; j < balls.count; j++) squares[j] = radius_square(balls, j, k);
    for (size_t i = 0; i < queries.count; i++) {
        bool found = false;
        for (size_t j = 0; j < balls.count && !found; j++)
            found = square_of(queries.values + i * queries.width, balls.values + j * balls.width, balls.width) <= squares[j];
        inside += found;
    }
    free(squares);
    return (double)inside / (double)queries.count;
}

static void test_precision_recall_equal_all_pairs(void **state) {
    (void)state;
    static const double shifts[] = {0, 0.15, 0.3};
    enum { N = 500, M = 700, D = 4 };
    for (size_t s = 0; s < 3; s++)
        for (int grid = 0; grid < 2; grid++) {
            float *g = make(0, N, D, shifts[s], 0.7), *r = make(1000000, M, D, 0, 1);
            for (size_t i = 0; grid && i < N * D; i++) g[i] = roundf(8 * g[i]);
            for (size_t i = 0; grid && i < M * D; i++) r[i] = roundf(8 * r[i]);
            const TimFeatures generated = features(g, N, D), real = features(r, M, D);
            const TimPrecisionRecall out = precision_recall(generated, real, 3);
            close_to(out.precision, share_of(generated, real, 3), 0);
            close_to(out.recall, share_of(real, generated, 3), 0);
            assert_true(out.precision > 0.05 && out.recall > 0.05 && out.recall < 1);
            free(g);
            free(r);
        }
}

static void test_precision_recall_one_set_twice_is_one(void **state) {
    (void)state;
    float *a = make(0, 400, 20, 1, 1);
    const TimPrecisionRecall out = precision_recall(features(a, 400, 20), features(a, 400, 20), 3);
    assert_true(out.precision == 1 && out.recall == 1);
    free(a);
}

static void test_precision_recall_far_sets_is_zero(void **state) {
    (void)state;
    float *a = make(0, 400, 20, 1, 1), *b = make(9000, 300, 20, 50, 1);
    const TimPrecisionRecall out = precision_recall(features(a, 400, 20), features(b, 300, 20), 3);
    assert_true(out.precision == 0 && out.recall == 0);
    free(a);
    free(b);
}

/* Few generated pictures of one kind, all real: precision without recall; and the reverse. */
static void test_precision_recall_tell_quality_from_variety(void **state) {
    (void)state;
    float *narrow = make(0, 300, 2, 0, 0.05), *broad = make(9000, 300, 2, 0, 1);
    const TimPrecisionRecall out = precision_recall(features(narrow, 300, 2), features(broad, 300, 2), 3);
    assert_true(out.precision == 1 && out.recall < 0.1);
    free(narrow);
    free(broad);
}

static void test_precision_recall_surface_counts_as_inside(void **state) {
    (void)state;
    float real[2] = {0, 1}, generated[4] = {2, nextafterf(2, 3), -1, nextafterf(-1, -2)};
    close_to(precision_recall(features(generated, 4, 1), features(real, 2, 1), 1).precision, 0.5, 0);
}

static void test_neighbours_bad_arguments_refused(void **state) {
    (void)state;
    float good[12] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}, bad[6] = {1, 2, NAN, 4, 5, 6};
    const TimFeatures x = features(good, 6, 2);
    size_t index[6];
    double radius[6];
    TimPrecisionRecall out;
    TimError err;
    assert_text(tim_neighbours_nearest(index, NULL, features(good, 0, 2), x, &err), &err, "queries: 0 rows");
    assert_text(tim_neighbours_nearest(index, NULL, x, features(bad, 3, 2), &err), &err, "references: row 1, column 0 is nan");
    assert_text(tim_neighbours_nearest(index, NULL, x, features(good, 4, 3), &err), &err, "rows of 2 and of 3 values");
    assert_text(tim_neighbours_nearest(index, NULL, x, features(good, 4, 0), &err), &err, "references: a row has 0 values");
    assert_text(tim_neighbours_radii(radius, x, 6, &err), &err, "neighbour 6 of a row among 6 rows");
    assert_text(tim_neighbours_radii(radius, x, 0, &err), &err, "neighbour 0");
    assert_text(tim_neighbours_radii(radius, features(good, 1, 2), 1, &err), &err, "1 rows");
    assert_text(tim_precision_recall(&out, x, features(good, 3, 2), 3, &err), &err, "real features: neighbour 3 of a row among 3");
    assert_text(tim_precision_recall(&out, features(bad, 3, 2), x, 1, &err), &err, "generated features: row 1, column 0 is nan");
}

/* ---- moments known already ---- */

/* Two columns of this mean and covariance, accepted or not. */
static TimStatus accept(TimMoments *m, const double mean[2], const double covariance[4], TimError *err) {
    assert_int_equal(tim_moments_init(m, 2, err), TIM_OK);
    memcpy(m->mean, mean, 2 * sizeof *mean);
    memcpy(m->covariance, covariance, 4 * sizeof *covariance);
    return tim_moments_accept(m, err);
}

/* Diagonal covariances: sum of (m - n)^2 + (sqrt(a) - sqrt(b))^2. Full ones: SciPy's sqrtm. */
static void test_moments_accepted_give_the_distance(void **state) {
    (void)state;
    TimMoments a, b;
    TimError err;
    double distance;
    assert_int_equal(accept(&a, (double[]){1, 2}, (double[]){4, 0, 0, 9}, &err), TIM_OK);
    assert_int_equal(accept(&b, (double[]){3, 1}, (double[]){1, 0, 0, 25}, &err), TIM_OK);
    assert_int_equal(tim_frechet_distance(&distance, &a, &b, &err), TIM_OK);
    close_to(distance, 4 + 1 + 1 + 4, 1e-13);
    tim_moments_done(&b);
    assert_int_equal(accept(&b, (double[]){3, 1}, (double[]){2, -1, -1, 3}, &err), TIM_OK);
    assert_int_equal(tim_frechet_distance(&distance, &a, &b, &err), TIM_OK);
    close_to(distance, 7.27323100824616, 1e-13);
    assert_int_equal(tim_moments_add_f64(&a, (double[]){1, 2}, 1, &err), TIM_E_ARGUMENT);
    tim_moments_done(&a);
    tim_moments_done(&b);
}

static void test_moments_that_are_none_refused(void **state) {
    (void)state;
    static const struct {
        double mean[2], covariance[4];
        const char *text;
    } cases[] = {
        {{NAN, 0}, {1, 0, 0, 1}, "the mean of column 0 is nan"},
        {{0, INFINITY}, {1, 0, 0, 1}, "the mean of column 1 is inf"},
        {{0, 0}, {1, 0, 0, -1e-9}, "the variance of column 1 is -1e-09"},
        {{0, 0}, {NAN, 0, 0, 1}, "the variance of column 0 is nan"},
        {{0, 0}, {1, 0.5, 0.4, 1}, "(1, 0) is 0.4 and (0, 1) is 0.5"},
        {{0, 0}, {1, NAN, NAN, 1}, "no covariance"},
        {{0, 0}, {1, 2.1, 2.1, 4}, "(1, 0) is 2.1"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        TimMoments m;
        TimError err;
        assert_int_equal(accept(&m, cases[i].mean, cases[i].covariance, &err), TIM_E_FORMAT);
        if (!strstr(err.text, cases[i].text)) fail_msg("\"%s\" does not say \"%s\"", err.text, cases[i].text);
        assert_false(m.finished);
        tim_moments_done(&m);
    }
}

/* ---- inception score ---- */

/* NumPy, fp64: mean over the splits of exp(mean(sum(p (log p - log mean p)))). A probability that is 0 in fp64 adds nothing. */
static void test_inception_score_numbers_of_numpy(void **state) {
    (void)state;
    enum { SCORED = 7, CLASSES = 5 };
    static const struct {
        size_t split;
        double score;
    } cases[] = {{3, 1.1299333702054355}, {7, 1.3522278237084557}, {5000, 1.3522278237084557}, {1, 1}};
    for (size_t n = 0; n < sizeof cases / sizeof *cases; n++) {
        TimInceptionScore s;
        TimError err;
        assert_int_equal(tim_inception_score_init(&s, CLASSES, cases[n].split, &err), TIM_OK);
        assert_true(isnan(tim_inception_score(&s)));
        for (int i = 0; i < SCORED; i++) {
            float logits[CLASSES];
            for (int c = 0; c < CLASSES; c++) logits[c] = (float)((3 * i * i + 5 * c * i + 2 * c) % 11) / 2 - 2;
            tim_inception_score_add(&s, logits);
        }
        close_to(tim_inception_score(&s), cases[n].score, 1e-14);
        tim_inception_score_done(&s);
    }
}

/* Each picture its own class, without a doubt: as many as there are classes. */
static void test_inception_score_of_certain_classes_is_their_number(void **state) {
    (void)state;
    TimInceptionScore s;
    TimError err;
    assert_int_equal(tim_inception_score_init(&s, 3, 5000, &err), TIM_OK);
    for (int i = 0; i < 3; i++) tim_inception_score_add(&s, (float[]){i == 0 ? 3e38F : 0, i == 1 ? 1e4F : 0, i == 2 ? 1e4F : 0});
    close_to(tim_inception_score(&s), 3, 1e-14);
    tim_inception_score_done(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_moments_accepted_give_the_distance),
        cmocka_unit_test(test_moments_that_are_none_refused),
        cmocka_unit_test(test_inception_score_numbers_of_numpy),
        cmocka_unit_test(test_inception_score_of_certain_classes_is_their_number),
        cmocka_unit_test(test_moments_any_batch_size_gives_the_same_bits),
        cmocka_unit_test(test_moments_rows_in_either_order_equal_two_passes),
        cmocka_unit_test(test_moments_far_from_zero_keep_their_digits),
        cmocka_unit_test(test_moments_float_and_double_rows_agree),
        cmocka_unit_test(test_moments_wrong_width_refused),
        cmocka_unit_test(test_moments_bad_value_refused_and_nothing_added),
        cmocka_unit_test(test_moments_order_of_calls_is_checked),
        cmocka_unit_test(test_frechet_numbers_of_scipy),
        cmocka_unit_test(test_frechet_set_to_itself_is_zero),
        cmocka_unit_test(test_frechet_shifted_set_is_the_squared_shift),
        cmocka_unit_test(test_frechet_stretched_set_follows_formula),
        cmocka_unit_test(test_frechet_constant_columns_add_their_means_only),
        cmocka_unit_test(test_frechet_collinear_columns_keep_all_digits),
        cmocka_unit_test(test_frechet_set_without_spread_adds_the_other_trace),
        cmocka_unit_test(test_frechet_widths_and_overflow_refused),
        cmocka_unit_test(test_kernel_whole_sets_give_the_number_of_numpy),
        cmocka_unit_test(test_kernel_many_panels_equal_all_pairs),
        cmocka_unit_test(test_kernel_same_distribution_is_zero_within_the_deviation),
        cmocka_unit_test(test_kernel_subsets_average_to_the_whole),
        cmocka_unit_test(test_kernel_seed_decides_the_subsets),
        cmocka_unit_test(test_kernel_bad_arguments_refused),
        cmocka_unit_test(test_nearest_random_rows_equal_all_pairs),
        cmocka_unit_test(test_nearest_wide_rows_take_little_memory),
        cmocka_unit_test(test_nearest_large_offsets_equal_all_pairs),
        cmocka_unit_test(test_nearest_extreme_scales_equal_all_pairs),
        cmocka_unit_test(test_nearest_ties_go_to_the_first),
        cmocka_unit_test(test_nearest_approaching_references_equal_all_pairs),
        cmocka_unit_test(test_radii_equal_all_pairs),
        cmocka_unit_test(test_precision_recall_equal_all_pairs),
        cmocka_unit_test(test_precision_recall_one_set_twice_is_one),
        cmocka_unit_test(test_precision_recall_far_sets_is_zero),
        cmocka_unit_test(test_precision_recall_tell_quality_from_variety),
        cmocka_unit_test(test_precision_recall_surface_counts_as_inside),
        cmocka_unit_test(test_neighbours_bad_arguments_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
