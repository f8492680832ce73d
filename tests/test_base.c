/* Random numbers, bf16 and half precision, error text, checked sizes and allocation. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/bf16.h"
#include "base/error.h"
#include "base/f16.h"
#include "base/memory.h"
#include "base/rng.h"
#include "base/utf8.h"

/* ---- random numbers ---- */

/* From the known-answer file of Random123 (Salmon et al.), philox4x32-10. */
static void test_philox_known_counters_known_words(void **state) {
    (void)state;
    static const struct {
        uint32_t counter[4], key[2], out[4];
    } known[] = {
        {{0, 0, 0, 0}, {0, 0}, {0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8}},
        {{0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF},
         {0xFFFFFFFF, 0xFFFFFFFF},
         {0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD}},
        {{0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344},
         {0xA4093822, 0x299F31D0},
         {0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1}},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        uint32_t out[4];
        tim_philox(known[i].counter, known[i].key, out);
        assert_memory_equal(out, known[i].out, sizeof out);
    }
}

typedef void Draw(float *out, size_t count, uint64_t seed, uint64_t stream, uint64_t first);

/* Any split of a range into chunks gives the same numbers, also where the index passes 32 bits. */
static void expect_chunks_agree(Draw *draw, uint64_t first) {
    enum { COUNT = 61 };
    float whole[COUNT], parts[COUNT + 1];
    draw(whole, COUNT, 7, 9, first);
    for (size_t size = 1; size <= 13; size++) {
        memset(parts, 0, sizeof parts);
        for (size_t at = 0; at < COUNT; at += size) draw(parts + at, at + size < COUNT ? size : COUNT - at, 7, 9, first + at);
        assert_memory_equal(parts, whole, sizeof whole);
        assert_true(parts[COUNT] == 0);
    }
}

static void test_rng_chunks_same_numbers(void **state) {
    (void)state;
    static const uint64_t starts[] = {0, 1, 2, 3, ((uint64_t)1 << 34) - 30, ((uint64_t)1 << 40) + 5};
    for (size_t i = 0; i < sizeof starts / sizeof *starts; i++) {
        expect_chunks_agree(tim_rng_normal, starts[i]);
        expect_chunks_agree(tim_rng_uniform, starts[i]);
    }
}

static void test_rng_count_zero_writes_nothing(void **state) {
    (void)state;
    float untouched = 5;
    tim_rng_normal(&untouched, 0, 1, 2, 3);
    tim_rng_uniform(&untouched, 0, 1, 2, 3);
    assert_true(untouched == 5);
}

/* Seed and stream fill their 64 bits: changing either half of either gives other numbers. */
static void test_rng_word_other_seed_or_stream_other_words(void **state) {
    (void)state;
    const uint64_t high = (uint64_t)1 << 32, word = tim_rng_word(1, 1, 1);
    assert_true(word != tim_rng_word(2, 1, 1) && word != tim_rng_word(1 + high, 1, 1));
    assert_true(word != tim_rng_word(1, 2, 1) && word != tim_rng_word(1, 1 + high, 1));
    assert_true(word != tim_rng_word(1, 1, 0) && word != tim_rng_word(1, 1, 1 + high));
    assert_true(word == tim_rng_word(1, 1, 1));
}

/* Moments within five standard errors of those of a standard normal. */
static void test_rng_normal_many_numbers_normal_moments(void **state) {
    (void)state;
    enum { COUNT = 200000 };
    static float x[COUNT];
    double sum[5] = {0}, lag = 0;
    tim_rng_normal(x, COUNT, 42, 3, 0);
    for (size_t i = 0; i < COUNT; i++) {
        assert_true(isfinite(x[i]));
        for (int power = 1; power <= 4; power++) sum[power] += pow(x[i], power) / COUNT;
        lag += i ? (double)x[i] * x[i - 1] / COUNT : 0;
    }
    const double error = 5 / sqrt(COUNT);
    assert_true(fabs(sum[1]) < error && fabs(lag) < error);
    assert_true(fabs(sum[2] - 1) < error * sqrt(2));
    assert_true(fabs(sum[3]) < error * sqrt(15));
    assert_true(fabs(sum[4] - 3) < error * sqrt(96));
}

static void test_rng_uniform_many_numbers_fill_unit_interval(void **state) {
    (void)state;
    enum { COUNT = 200000, BINS = 50 };
    static float x[COUNT];
    int bins[BINS] = {0};
    tim_rng_uniform(x, COUNT, 42, 3, 0);
    for (size_t i = 0; i < COUNT; i++) {
        assert_true(x[i] >= 0 && x[i] < 1);
        bins[(int)(x[i] * BINS)]++;
    }
    double chi_square = 0;
    for (int i = 0; i < BINS; i++) chi_square += pow(bins[i] - COUNT / BINS, 2) / (COUNT / BINS);
    assert_true(chi_square < BINS - 1 + 5 * sqrt(2.0 * (BINS - 1)));
}

/* ---- bf16 and half ---- */

static float from_bits(uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static bool is_nan_bf16(uint32_t value) {
    return (value & 0x7FFF) > 0x7F80;
}

static void test_bf16_every_value_survives_f32(void **state) {
    (void)state;
    for (uint32_t value = 0; value < 0x10000; value++) {
        const TimBf16 back = tim_bf16_from_f32(tim_bf16_to_f32((TimBf16)value));
        if (is_nan_bf16(value))
            assert_true(is_nan_bf16(back) && isnan(tim_bf16_to_f32(back)) && (back & 0x8000) == (value & 0x8000));
        else
            assert_int_equal(back, value);
    }
}

/* Between each finite value and its neighbour away from zero: just below the middle down, the middle to even, just above up. */
static void test_bf16_between_values_rounds_to_nearest_even(void **state) {
    (void)state;
    for (uint32_t value = 0; value < 0x10000; value++) {
        if ((value & 0x7FFF) >= 0x7F80) continue;
        assert_int_equal(tim_bf16_from_f32(from_bits(value << 16 | 0x0001)), value);
        assert_int_equal(tim_bf16_from_f32(from_bits(value << 16 | 0x7FFF)), value);
        assert_int_equal(tim_bf16_from_f32(from_bits(value << 16 | 0x8000)), value + (value & 1));
        assert_int_equal(tim_bf16_from_f32(from_bits(value << 16 | 0x8001)), value + 1);
        assert_int_equal(tim_bf16_from_f32(from_bits(value << 16 | 0xFFFF)), value + 1);
    }
}

/* A NaN whose payload is all in the lower half must not become infinity, nor wrap around to zero. */
static void test_bf16_nan_of_low_bits_stays_nan(void **state) {
    (void)state;
    static const uint32_t nans[] = {0x7F800001, 0xFF800001, 0x7F80FFFF, 0x7FFFFFFF, 0xFFFFFFFF, 0x7FBFFFFF};
    for (size_t i = 0; i < sizeof nans / sizeof *nans; i++)
        assert_true(isnan(tim_bf16_to_f32(tim_bf16_from_f32(from_bits(nans[i])))));
}

static void test_f16_every_value_equals_formula(void **state) {
    (void)state;
    for (uint32_t value = 0; value < 0x10000; value++) {
        const int exponent = (int)(value >> 10 & 0x1F);
        const double mantissa = (double)(value & 0x3FF), sign = value & 0x8000 ? -1 : 1;
        const float actual = tim_f16_to_f32((TimF16)value);
        assert_int_equal(signbit(actual) != 0, sign < 0);
        if (exponent == 31)
            assert_true(mantissa > 0 ? isnan(actual) : isinf(actual));
        else
            assert_true(actual == sign * (exponent ? ldexp(1024 + mantissa, exponent - 25) : ldexp(mantissa, -24)));
    }
}

/* ---- errors ---- */

static void test_fail_with_values_text_and_status(void **state) {
    (void)state;
    TimError err;
    assert_int_equal(tim_fail(&err, TIM_E_IO, "%s: %d", "file", 3), TIM_E_IO);
    assert_int_equal(err.status, TIM_E_IO);
    assert_string_equal(err.text, "file: 3");
    assert_int_equal(tim_fail(NULL, TIM_E_FORMAT, "%d", 1), TIM_E_FORMAT);
}

/* `length` characters through tim_fail. */
static void fail_with_length(TimError *err, int length) {
    memset(err, 0x55, sizeof *err);
    tim_fail(err, TIM_E_ARGUMENT, "%0*d", length, 0);
}

static void test_fail_longest_text_kept_longer_cut_with_dots(void **state) {
    (void)state;
    TimError err;
    const int longest = (int)sizeof err.text - 1;
    fail_with_length(&err, longest);
    assert_int_equal(strlen(err.text), longest);
    assert_null(strchr(err.text, '.'));
    for (int over = 1; over < 2000; over += 331) {
        fail_with_length(&err, longest + over);
        assert_int_equal(strlen(err.text), longest);
        assert_string_equal(err.text + longest - 3, "...");
        assert_true(err.text[longest - 4] == '0');
    }
}

/* Bindings that decode strictly show it. */
static void test_fail_text_is_utf8_wherever_it_is_cut(void **state) {
    (void)state;
    TimError err;
    char long_text[2 * sizeof err.text + 2] = "";
    for (int shift = 0; shift < 4; shift++) {
        memset(long_text, 'a', (size_t)shift);
        for (size_t i = (size_t)shift; i + 3 < sizeof long_text; i += 3) memcpy(long_text + i, "\xE2\x96\x81", 4);
        tim_fail(&err, TIM_E_IO, "%s", long_text);
        assert_int_equal(tim_utf8_valid(err.text, strlen(err.text)), strlen(err.text));
        assert_non_null(strstr(err.text, "\x96\x81..."));
        tim_fail_within(&err, TIM_E_IO, "%s", long_text);
        assert_int_equal(tim_utf8_valid(err.text, strlen(err.text)), strlen(err.text));
    }
    tim_fail(&err, TIM_E_IO, "caf\xE9/a\xC2\x9B");
    assert_string_equal(err.text, "caf?/a??");
}

static void test_fail_within_context_comes_first(void **state) {
    (void)state;
    TimError err;
    tim_fail(&err, TIM_E_FORMAT, "bad byte");
    assert_int_equal(tim_fail_within(&err, TIM_E_IO, "%s %d", "tensor", 7), TIM_E_IO);
    assert_int_equal(err.status, TIM_E_IO);
    assert_string_equal(err.text, "tensor 7: bad byte");
    assert_int_equal(tim_fail_within(NULL, TIM_E_IO, "x"), TIM_E_IO);
    fail_with_length(&err, (int)sizeof err.text - 1);
    tim_fail_within(&err, TIM_E_IO, "context");
    assert_int_equal(strlen(err.text), sizeof err.text - 1);
    assert_memory_equal(err.text, "context: 000", 12);
    assert_string_equal(err.text + sizeof err.text - 4, "...");
}

/* However long the name of what failed, the cause is there. */
static void test_fail_within_long_context_leaves_cause(void **state) {
    (void)state;
    TimError err;
    tim_fail(&err, TIM_E_FORMAT, "bad byte");
    tim_fail_within(&err, TIM_E_FORMAT, "tensor '%03000d'", 0);
    assert_int_equal(strlen(err.text), sizeof err.text - 1);
    assert_memory_equal(err.text, "tensor '000", 11);
    assert_string_equal(err.text + sizeof err.text - 1 - strlen("0...: bad byte"), "0...: bad byte");
}

static void test_fail_disarms_control_characters(void **state) {
    (void)state;
    TimError err;
    tim_fail(&err, TIM_E_FORMAT, "a\033[2Jb\nc\x7F \xC2\x9B \xC3\x9B");
    assert_string_equal(err.text, "a?[2Jb?c? ?? \xC3\x9B");
    tim_fail_within(&err, TIM_E_FORMAT, "\r");
    tim_fail_further(&err, TIM_E_FORMAT, "\b");
    assert_string_equal(err.text, "?: a?[2Jb?c? ?? \xC3\x9B?");
}

static void test_fail_further_text_comes_last(void **state) {
    (void)state;
    TimError err;
    tim_fail(&err, TIM_E_FORMAT, "bad byte");
    assert_int_equal(tim_fail_further(&err, TIM_E_FORMAT, " (%s %d)", "tensor", 7), TIM_E_FORMAT);
    assert_string_equal(err.text, "bad byte (tensor 7)");
    assert_int_equal(tim_fail_further(NULL, TIM_E_IO, "x"), TIM_E_IO);
    for (int length = (int)sizeof err.text - 6; length < (int)sizeof err.text; length++) {
        fail_with_length(&err, length);
        tim_fail_further(&err, TIM_E_IO, "further");
        assert_int_equal(strlen(err.text), sizeof err.text - 1);
        assert_string_equal(err.text + sizeof err.text - 4, "...");
    }
}

static TimStatus pass_on(TimStatus status, int *reached) {
    TIM_TRY(status);
    ++*reached;
    return TIM_OK;
}

static void test_try_failure_returns_it_success_goes_on(void **state) {
    (void)state;
    int reached = 0;
    assert_int_equal(pass_on(TIM_E_CANCELLED, &reached), TIM_E_CANCELLED);
    assert_int_equal(reached, 0);
    assert_int_equal(pass_on(TIM_OK, &reached), TIM_OK);
    assert_int_equal(reached, 1);
}

static void test_status_name_every_status_own_name(void **state) {
    (void)state;
    assert_string_equal(tim_status_name(TIM_OK), "ok");
    assert_string_equal(tim_status_name(TIM_E_INTERNAL), "internal");
    assert_string_equal(tim_status_name((TimStatus)99), "unknown");
    assert_string_equal(tim_status_name((TimStatus)-1), "unknown");
    for (int a = TIM_OK; a <= TIM_E_INTERNAL; a++)
        for (int b = TIM_OK; b < a; b++) assert_string_not_equal(tim_status_name((TimStatus)a), tim_status_name((TimStatus)b));
}

/* ---- sizes and memory ---- */

static void test_mul_and_add_size_overflow_refused(void **state) {
    (void)state;
    const size_t half = SIZE_MAX / 2;
    size_t out = 0;
    assert_true(tim_mul_size(half, 2, &out) && out == SIZE_MAX - 1);
    assert_true(tim_mul_size(SIZE_MAX, 0, &out) && out == 0);
    assert_true(tim_mul_size(1, SIZE_MAX, &out) && out == SIZE_MAX);
    assert_false(tim_mul_size(half + 1, 2, &out));
    assert_false(tim_mul_size(SIZE_MAX, SIZE_MAX, &out));
    assert_true(tim_add_size(SIZE_MAX - 1, 1, &out) && out == SIZE_MAX);
    assert_false(tim_add_size(SIZE_MAX, 1, &out));
}

static void test_alloc_zero_or_overflow_null(void **state) {
    (void)state;
    assert_null(tim_alloc(0, 8));
    assert_null(tim_alloc(8, 0));
    assert_null(tim_alloc(SIZE_MAX / 2 + 1, 2));
    assert_null(tim_alloc(SIZE_MAX, 1)); /* does not overflow, its rounding up does */
    assert_null(tim_alloc(SIZE_MAX - TIM_ALIGNMENT + 2, 1));
    tim_free(NULL);
}

/* From one byte to beyond the size from which pages are huge. */
static void test_alloc_any_size_aligned_and_zero(void **state) {
    (void)state;
    static const size_t sizes[] = {1, 63, 64, 65, 4096, 100001, ((size_t)8 << 20) - 1, ((size_t)8 << 20) + 3};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        unsigned char *block = tim_alloc(sizes[i], 1);
        assert_non_null(block);
        assert_int_equal((uintptr_t)block % TIM_ALIGNMENT, 0);
        for (size_t at = 0; at < sizes[i]; at++)
            if (block[at]) fail_msg("byte %zu of %zu is not zero", at, sizes[i]);
        memset(block, 0xFF, sizes[i]); /* the next one may get the same memory */
        tim_free(block);
    }
}

static void test_new_overflow_names_the_block(void **state) {
    (void)state;
    TimError err;
    void *block = &err;
    assert_int_equal(tim_new(&block, SIZE_MAX, 8, "the gradients", &err), TIM_E_MEMORY);
    assert_null(block);
    assert_non_null(strstr(err.text, "the gradients"));
    assert_int_equal(tim_new(&block, SIZE_MAX, 8, "the gradients", NULL), TIM_E_MEMORY);
    assert_int_equal(tim_new(&block, 0, 8, "nothing", &err), TIM_OK);
    assert_non_null(block);
    tim_free(block);
}

static void test_copy_text_any_text_equal_copy(void **state) {
    (void)state;
    TimError err;
    static const char *const texts[] = {"", "x", "blocks.0.attn.qkv.weight"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        char *copy;
        assert_int_equal(tim_copy_text(&copy, texts[i], &err), TIM_OK);
        assert_string_equal(copy, texts[i]);
        assert_ptr_not_equal(copy, texts[i]);
        tim_free(copy);
    }
}

static void test_grow_one_by_one_keeps_content(void **state) {
    (void)state;
    TimError err;
    int64_t *items = NULL;
    size_t capacity = 0;
    for (size_t count = 0; count < 1000; count++) {
        assert_int_equal(tim_grow(&items, &capacity, count, sizeof *items, "numbers", &err), TIM_OK);
        assert_true(capacity > count);
        items[count] = (int64_t)count;
    }
    for (size_t i = 0; i < 1000; i++) assert_int_equal(items[i], i);
    tim_free(items);
}

static void test_grow_overflow_keeps_items(void **state) {
    (void)state;
    TimError err;
    char *items = NULL;
    size_t capacity = 0;
    assert_int_equal(tim_grow(&items, &capacity, 0, 1, "bytes", &err), TIM_OK);
    char *const before = items;
    const size_t before_capacity = capacity;
    assert_int_equal(tim_grow(&items, &capacity, capacity, SIZE_MAX / 4, "bytes", &err), TIM_E_MEMORY);
    assert_ptr_equal(items, before);
    assert_int_equal(capacity, before_capacity);
    tim_free(items);
}

int main(void) {
    const struct CMUnitTest base[] = {
        cmocka_unit_test(test_philox_known_counters_known_words),
        cmocka_unit_test(test_rng_chunks_same_numbers),
        cmocka_unit_test(test_rng_count_zero_writes_nothing),
        cmocka_unit_test(test_rng_word_other_seed_or_stream_other_words),
        cmocka_unit_test(test_rng_normal_many_numbers_normal_moments),
        cmocka_unit_test(test_rng_uniform_many_numbers_fill_unit_interval),
        cmocka_unit_test(test_bf16_every_value_survives_f32),
        cmocka_unit_test(test_bf16_between_values_rounds_to_nearest_even),
        cmocka_unit_test(test_bf16_nan_of_low_bits_stays_nan),
        cmocka_unit_test(test_f16_every_value_equals_formula),
        cmocka_unit_test(test_fail_with_values_text_and_status),
        cmocka_unit_test(test_fail_longest_text_kept_longer_cut_with_dots),
        cmocka_unit_test(test_fail_text_is_utf8_wherever_it_is_cut),
        cmocka_unit_test(test_fail_within_context_comes_first),
        cmocka_unit_test(test_fail_within_long_context_leaves_cause),
        cmocka_unit_test(test_fail_disarms_control_characters),
        cmocka_unit_test(test_fail_further_text_comes_last),
        cmocka_unit_test(test_try_failure_returns_it_success_goes_on),
        cmocka_unit_test(test_status_name_every_status_own_name),
        cmocka_unit_test(test_mul_and_add_size_overflow_refused),
        cmocka_unit_test(test_alloc_zero_or_overflow_null),
        cmocka_unit_test(test_alloc_any_size_aligned_and_zero),
        cmocka_unit_test(test_new_overflow_names_the_block),
        cmocka_unit_test(test_copy_text_any_text_equal_copy),
        cmocka_unit_test(test_grow_one_by_one_keeps_content),
        cmocka_unit_test(test_grow_overflow_keeps_items),
    };
    return cmocka_run_group_tests(base, NULL, NULL);
}
