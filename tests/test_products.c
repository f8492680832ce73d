/* Products and convolutions whose fp32 copies are made piece by piece, against the same in one piece. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/bf16.h"
#include "base/memory.h"
#include "base/rng.h"
#include "op/convolve.h"
#include "op/matmul.h"

/* Uniform in -1 ... 1, rounded to bf16. */
static TimBf16 *numbers(size_t count, uint64_t seed) {
    TimBf16 *values = malloc(count * sizeof *values);
    assert_non_null(values);
    for (size_t i = 0; i < count; i++) {
        float number;
        tim_rng_uniform(&number, 1, seed, 0, i);
        values[i] = tim_bf16_from_f32(2 * number - 1);
    }
    return values;
}

/* `count` elements that no product writes by chance. */
static void *poisoned(size_t count, TimDtype dtype) {
    void *values = malloc(count * tim_dtype_size(dtype));
    assert_non_null(values);
    memset(values, 0x7f, count * tim_dtype_size(dtype));
    return values;
}

/* Of a plan that needs `bytes`; with tim_free. */
static void *workspace(size_t bytes) {
    TimError err;
    char *work;
    assert_int_equal(tim_new(&work, bytes ? bytes : 1, 1, "work", &err), TIM_OK);
    return work;
}

/* ---- convolutions ---- */

static size_t convolve(const TimConvolveShape *shape, TimBf16 *x, TimBf16 *w, const float *bias, void *y) {
    TimConvolve *plan;
    TimError err;
    assert_int_equal(tim_convolve_new(&plan, TIM_CONVOLVE_Y, shape, &err), TIM_OK);
    const size_t bytes = tim_convolve_work(plan);
    void *work = workspace(bytes);
    tim_convolve_run(plan, x, w, bias, y, work);
    tim_convolve_free(plan);
    tim_free(work);
    return bytes;
}

/* Three pictures in whole, and in pieces of every number of rows from the fewest there are to two pictures: the same bits, between
 * the rows too. */
static void check_convolution(TimConvolveShape shape) {
    const int64_t out_h = window_out_h(&shape.window),
                  of_a_row = shape.window.width * shape.in_channels * shape.window.stride +
                             window_out_w(&shape.window) * shape.out_channels; /* elements of the copies */
    const int64_t rows = shape.pictures * window_out_h(&shape.window) * window_out_w(&shape.window);
    const size_t x_count = (size_t)(shape.pictures * shape.window.height * shape.window.width * shape.x_stride),
                 w_count = (size_t)(shape.out_channels * (shape.in_channels / shape.groups) * shape.window.kernel_h *
                                    shape.window.kernel_w),
                 y_count = (size_t)(rows * shape.y_stride);
    const float bias[8] = {0.5F, -0.25F, 1, 2, -3, 0, 0.125F, 4};
    TimBf16 *x = numbers(x_count, 1), *w = numbers(w_count, 2);
    void *whole = poisoned(y_count, shape.out), *pieces = poisoned(y_count, shape.out);
    const size_t of_whole = convolve(&shape, x, w, bias, whole);
    for (int64_t piece = 8; piece <= 2 * out_h; piece++) {
        memset(pieces, 0x7f, y_count * tim_dtype_size(shape.out));
        shape.copy_bytes = (size_t)(piece * of_a_row) * sizeof(float);
        const size_t of_pieces = convolve(&shape, x, w, bias, pieces);
        assert_memory_equal(whole, pieces, y_count * tim_dtype_size(shape.out));
        if (shape.plain && piece == 8) assert_true(of_pieces < of_whole / 3);
    }
    free(x), free(w), free(whole), free(pieces);
}

static void test_convolution_in_pieces_is_the_whole(void **state) {
    (void)state;
    const TimWindow windows[] = {
        {.kernel_h = 3, .kernel_w = 3, .stride = 1, .pad_y = 1, .pad_x = 1},
        {.kernel_h = 3, .kernel_w = 3, .stride = 2, .pad_y = 1, .pad_x = 1, .pad_end = true},
        {.kernel_h = 3, .kernel_w = 5, .stride = 2, .pad_y = 2, .pad_x = 1},
        {.kernel_h = 1, .kernel_w = 1, .stride = 1},
        {.kernel_h = 4, .kernel_w = 3, .stride = 1},
    };
    for (size_t i = 0; i < sizeof windows / sizeof *windows; i++)
        for (int variant = 0; variant < 8; variant++) {
            TimConvolveShape shape = {.window = windows[i],
                                      .pictures = 3,
                                      .in_channels = 4,
                                      .out_channels = 8,
                                      .x_stride = 5,
                                      .y_stride = 9,
                                      .groups = variant & 1 ? 4 : 1,
                                      .in = TIM_BF16,
                                      .out = variant & 2 ? TIM_BF16 : TIM_F32,
                                      .has_bias = true,
                                      .silu = i == 0,
                                      .plain = variant & 4,
                                      .threads = 2};
            shape.window.height = 37, shape.window.width = 11;
            check_convolution(shape);
        }
}

/* ---- matrix products ---- */

static size_t multiply(const TimMatmulShape *shape, const TimBf16 *a, const TimBf16 *b, const float *bias, void *c) {
    TimMatmul *plan;
    TimError err;
    assert_int_equal(tim_matmul_new(&plan, shape, &err), TIM_OK);
    const size_t bytes = tim_matmul_work(plan);
    void *work = workspace(bytes);
    tim_matmul_run(plan, a, b, bias, c, work);
    tim_matmul_free(plan);
    tim_free(work);
    return bytes;
}

static void check_product(TimMatmulShape shape) {
    const float bias[6] = {1, -2, 0.5F, 0, 3, -0.125F};
    const size_t a_count = (size_t)((shape.a_transposed ? shape.k : shape.m) * shape.lda),
                 b_count = (size_t)((shape.b_transposed ? shape.n : shape.k) * shape.ldb), c_count = (size_t)(shape.m * shape.ldc);
    TimBf16 *a = numbers(a_count, 3), *b = numbers(b_count, 4);
    void *whole = poisoned(c_count, shape.out), *pieces = poisoned(c_count, shape.out);
    if (shape.add) memset(whole, 0, c_count * tim_dtype_size(shape.out)), memset(pieces, 0, c_count * tim_dtype_size(shape.out));
    const size_t of_whole = multiply(&shape, a, b, bias, whole);
    shape.copy_bytes = 1;
    const size_t of_pieces = multiply(&shape, a, b, bias, pieces);
    assert_memory_equal(whole, pieces, c_count * tim_dtype_size(shape.out));
    if (tim_matmul_copies_bf16() && !shape.a_transposed && !shape.add) assert_true(of_pieces < of_whole / 2);
    free(a), free(b), free(whole), free(pieces);
}

/* 2500 rows: pieces have 1024 at least. */
static void test_product_in_pieces_is_the_whole(void **state) {
    (void)state;
    for (int variant = 0; variant < 16; variant++) {
        const bool a_transposed = variant & 1, b_transposed = variant & 2, add = variant & 8;
        check_product((TimMatmulShape){.m = 2500,
                                       .n = 6,
                                       .k = 24,
                                       .lda = a_transposed ? 2501 : 25,
                                       .ldb = b_transposed ? 25 : 7,
                                       .ldc = 8,
                                       .a_transposed = a_transposed,
                                       .b_transposed = b_transposed,
                                       .in = TIM_BF16,
                                       .out = variant & 4 ? TIM_BF16 : TIM_F32,
                                       .has_bias = !add,
                                       .add = add,
                                       .threads = 2});
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_convolution_in_pieces_is_the_whole),
        cmocka_unit_test(test_product_in_pieces_is_the_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
