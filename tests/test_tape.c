/* Layout of lifetimes, recording and its failures, running without allocating, and whole networks on a tape: derivatives against
 * differences, and every allocation failing in turn. */
#include <errno.h>
#include <limits.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/memory.h"
#include "base/rng.h"
#include "model/network.h"
#include "nn/layers.h"
#include "tape/layout.h"

/* ---- our allocator, watched ---- */

/* The linker sends the library's calls here (--wrap). Those of oneDNN and the C library do not come by. */
int __real_posix_memalign(void **out, size_t alignment, size_t size);
int __wrap_posix_memalign(void **out, size_t alignment, size_t size);
void *__real_aligned_alloc(size_t alignment, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size);
void __real_free(void *block);
void __wrap_free(void *block);

static int allocations;       /* calls so far */
static int live;              /* blocks not freed yet */
static int fail_at = INT_MAX; /* the allocation that fails, counted from 0 */

static bool refuses(void) {
    const bool fails = allocations++ == fail_at;
    live += !fails;
    return fails;
}

int __wrap_posix_memalign(void **out, size_t alignment, size_t size) {
    return refuses() ? ENOMEM : __real_posix_memalign(out, alignment, size);
}

void *__wrap_aligned_alloc(size_t alignment, size_t size) {
    return refuses() ? NULL : __real_aligned_alloc(alignment, size);
}

void __wrap_free(void *block) {
    live -= block != NULL;
    __real_free(block);
}

static int reset_allocations(void **state) {
    (void)state;
    fail_at = INT_MAX;
    return 0;
}

/* ---- layout ---- */

static uint64_t below(uint64_t stream, uint64_t index, uint64_t limit) {
    return tim_rng_word(5, stream, index) % limit;
}

static bool together(const TimBlock *a, const TimBlock *b) {
    return a->born <= b->dies && b->born <= a->dies;
}

static bool overlap(const TimBlock *a, const TimBlock *b) {
    return a->offset < b->offset + b->bytes && b->offset < a->offset + a->bytes;
}

/* The most bytes alive at one time: no layout needs less. */
static size_t peak(const TimBlock *blocks, size_t count, int end) {
    size_t most = 0;
    for (int time = 0; time < end; time++) {
        size_t now = 0;
        for (size_t i = 0; i < count; i++) now += blocks[i].born <= time && time <= blocks[i].dies ? blocks[i].bytes : 0;
        most = now > most ? now : most;
    }
    return most;
}

static void check_layout(const TimBlock *blocks, size_t count, size_t total) {
    size_t sum = 0, last = 0;
    for (size_t i = 0; i < count; i++) {
        const size_t end = blocks[i].offset + blocks[i].bytes;
        assert_int_equal(blocks[i].offset % TIM_ALIGNMENT, 0);
        last = end > last ? end : last;
        sum += (blocks[i].bytes + TIM_ALIGNMENT - 1) / TIM_ALIGNMENT * TIM_ALIGNMENT;
        for (size_t j = 0; j < i; j++) assert_false(together(&blocks[i], &blocks[j]) && overlap(&blocks[i], &blocks[j]));
    }
    assert_true(last <= total && total <= sum);
}

static void test_layout_random_lifetimes_kept_apart(void **state) {
    (void)state;
    enum { MOST = 80, TIMES = 50 };
    static const size_t sizes[] = {0, 1, 63, 64, 65, 1000, 4096, 1000000};
    TimError err;
    for (uint64_t round = 0; round < 300; round++) {
        TimBlock blocks[MOST];
        const size_t count = 1 + below(round, 0, MOST);
        size_t total;
        for (size_t i = 0; i < count; i++) {
            const int born = (int)below(round, 3 * i + 1, TIMES), lasts = (int)below(round, 3 * i + 2, 1 + round % 12);
            blocks[i] = (TimBlock){.bytes = sizes[below(round, 3 * i + 3, 8)], .born = born, .dies = born + lasts};
        }
        assert_int_equal(tim_layout(blocks, count, &total, &err), TIM_OK);
        check_layout(blocks, count, total);
        assert_true(total >= peak(blocks, count, 2 * TIMES));
    }
}

static void test_layout_one_after_another_share_all(void **state) {
    (void)state;
    TimError err;
    TimBlock blocks[10];
    size_t total;
    for (int i = 0; i < 10; i++) blocks[i] = (TimBlock){.bytes = 640, .born = 9 - i, .dies = 9 - i};
    assert_int_equal(tim_layout(blocks, 10, &total, &err), TIM_OK);
    assert_int_equal(total, 640);
}

static void test_layout_same_blocks_same_offsets(void **state) {
    (void)state;
    TimError err;
    TimBlock a[20], b[20];
    size_t total[2];
    for (int i = 0; i < 20; i++) a[i] = b[i] = (TimBlock){.bytes = 128, .born = i % 3, .dies = 4};
    assert_int_equal(tim_layout(a, 20, &total[0], &err), TIM_OK);
    assert_int_equal(tim_layout(b, 20, &total[1], &err), TIM_OK);
    assert_memory_equal(a, b, sizeof a);
}

static void test_layout_nothing_takes_nothing(void **state) {
    (void)state;
    TimError err;
    TimBlock none;
    size_t total = 1;
    assert_int_equal(tim_layout(&none, 0, &total, &err), TIM_OK);
    assert_int_equal(total, 0);
}

static void test_layout_sizes_overflow_memory_error(void **state) {
    (void)state;
    TimError err;
    size_t total;
    TimBlock one = {.bytes = SIZE_MAX, .dies = 1},
             two[] = {{.bytes = SIZE_MAX / 2, .dies = 1}, {.bytes = SIZE_MAX / 2, .dies = 1}, {.bytes = 64, .dies = 1}};
    assert_int_equal(tim_layout(&one, 1, &total, &err), TIM_E_MEMORY);
    assert_int_equal(tim_layout(two, 3, &total, &err), TIM_E_MEMORY);
}

/* ---- recording ---- */

/* A tape with its parameters. */
typedef struct Fixture {
    TimParams params;
    TimTape *tape;
    TimWeights weights;
    float *values, *gradients;
    TimBf16 *halves; /* the values rounded */
    TimError err;
} Fixture;

static const TimTapeOptions plain = {.isa = TIM_ISA_REF, .threads = 1, .samples = 2, .product = TIM_F32};
static const TimTapeOptions learning = {.isa = TIM_ISA_REF, .threads = 1, .samples = 2, .gradients = true, .product = TIM_F32};

static void must(TimStatus status, const TimError *err) {
    if (status != TIM_OK) fail_msg("%s", err->text);
}

static void fixture_init(Fixture *f, const TimTapeOptions *options) {
    *f = (Fixture){0};
    must(tim_tape_new(&f->tape, options, &f->params, &f->err), &f->err);
}

static void fixture_done(Fixture *f) {
    tim_tape_free(f->tape);
    tim_params_done(&f->params);
    tim_weights_done(&f->weights);
    tim_free(f->values);
    tim_free(f->halves);
    tim_free(f->gradients);
}

/* Weights that keep the size of what passes through them. */
static void fill_weights(Fixture *f) {
    for (size_t i = 0; i < f->params.count; i++) {
        const TimParam *p = &f->params.items[i];
        const float spread = p->rank == 1 ? 0.5F : 1 / sqrtf((float)p->cols);
        tim_rng_normal(f->values + p->offset, p->count, 1, i, 0);
        for (size_t at = 0; at < p->count; at++) f->values[p->offset + at] *= spread;
    }
}

/* Random weights, zero gradients, bound to `tape`. */
static void fixture_bind(Fixture *f, TimTape *tape) {
    must(tim_new(&f->values, f->params.elements, sizeof(float), "weights", &f->err), &f->err);
    must(tim_new(&f->gradients, f->params.elements, sizeof(float), "gradients", &f->err), &f->err);
    must(tim_new(&f->halves, f->params.elements, sizeof *f->halves, "weights", &f->err), &f->err);
    must(tim_weights_new(&f->weights, f->params.count, &f->err), &f->err);
    fill_weights(f);
    for (size_t i = 0; i < f->params.elements; i++) f->halves[i] = tim_bf16_from_f32(f->values[i]);
    tim_weights_point(&f->weights, &f->params, f->values, f->halves);
    must(tim_tape_bind(tape, &f->weights, f->gradients, &f->err), &f->err);
}

static void expect_plan_fails(Fixture *f, TimStatus status, const char *text) {
    assert_int_equal(tim_tape_plan(f->tape, &f->err), status);
    assert_int_equal(f->err.status, status);
    if (!strstr(f->err.text, text)) fail_msg("'%s' is not in '%s'", text, f->err.text);
    fixture_done(f);
}

static void fill(TimMatrix m, uint64_t stream) {
    for (int64_t r = 0; r < m.rows; r++) tim_rng_normal(tim_matrix_f32(&m, r), (size_t)m.cols, 2, stream, (uint64_t)(r * m.cols));
}

static TimRef input(Fixture *f, int64_t rows, int64_t cols) {
    return tim_tape_input(f->tape, TIM_F32, rows, cols, true);
}

static TimRef linear(Fixture *f, TimRef x, int64_t width, const char *name) {
    const TimLinearSpec spec = {.out_features = width, .bias = true, .init = TIM_INIT_XAVIER, .dtype = TIM_F32, .out = TIM_F32};
    return tim_linear(f->tape, x, &spec, name);
}

static TimRef silu(Fixture *f, TimRef x) {
    return tim_tape_add(f->tape, TIM_OP_SILU, (TimOpParams){0}, 1, &x);
}

static void test_new_options_out_of_range_argument_error(void **state) {
    (void)state;
    static const TimTapeOptions wrong[] = {
        {.threads = 1, .samples = 0},
        {.threads = 1, .samples = -1},
        {.threads = 0, .samples = 1},
        {.threads = 1, .samples = 2, .tangent_samples = 3},
        {.threads = 1, .samples = 2, .tangent_samples = -1},
    };
    TimParams params = {0};
    TimTape *tape;
    TimError err;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        assert_int_equal(tim_tape_new(&tape, &wrong[i], &params, &err), TIM_E_ARGUMENT);
        assert_null(tape);
    }
    const TimTapeOptions unknown = {.isa = TIM_ISA_COUNT, .threads = 1, .samples = 1};
    assert_int_equal(tim_tape_new(&tape, &unknown, &params, &err), TIM_E_UNSUPPORTED);
    tim_tape_free(NULL);
}

/* An op that serves inference only, after a layer that has gradients to learn. */
static void record_upsampled(Fixture *f) {
    const TimOpParams params = {.upsample = {.height = 1, .width = 1, .factor = 2, .out = TIM_F32}};
    const TimRef y = linear(f, input(f, 2, 4), 3, "layer");
    tim_tape_keep(f->tape, tim_tape_add(f->tape, TIM_OP_UPSAMPLE, params, 1, &y), true);
}

static void test_plan_op_for_inference_alone_is_fine(void **state) {
    (void)state;
    Fixture f;
    fixture_init(&f, &plain);
    record_upsampled(&f);
    must(tim_tape_plan(f.tape, &f.err), &f.err);
    fixture_done(&f);
}

static void test_recording_first_error_sticks(void **state) {
    (void)state;
    Fixture f;
    fixture_init(&f, &plain);
    const TimRef x = input(&f, 2, 4);
    assert_int_equal(tim_tape_columns(f.tape, x, 3, 2), TIM_NONE);
    assert_int_equal(silu(&f, x), TIM_NONE);
    assert_int_equal(input(&f, 2, 4), TIM_NONE);
    assert_int_equal(tim_tape_columns(f.tape, x, 0, 2), TIM_NONE);
    tim_tape_keep(f.tape, TIM_NONE, true);
    tim_tape_fail(f.tape, TIM_E_ARGUMENT, "a later failure");
    assert_int_equal(tim_tape_shape(f.tape, TIM_NONE).rows, 0);
    expect_plan_fails(&f, TIM_E_INTERNAL, "columns 3 to 5 of a value with 4");
}

static void test_recording_failed_text_kept_cut_with_dots(void **state) {
    (void)state;
    Fixture f;
    fixture_init(&f, &plain);
    tim_tape_fail(f.tape, TIM_E_UNSUPPORTED, "%01100d", 0);
    assert_int_equal(tim_tape_plan(f.tape, &f.err), TIM_E_UNSUPPORTED);
    assert_int_equal(strlen(f.err.text), sizeof f.err.text - 1);
    assert_string_equal(f.err.text + sizeof f.err.text - 4, "...");
    fixture_done(&f);
}

/* Each op on inputs of which none fits another. */
static void test_add_shapes_disagree_error_names_op(void **state) {
    (void)state;
    for (int kind = 0; kind < TIM_OP_COUNT; kind++) {
        Fixture f;
        fixture_init(&f, &plain);
        const TimRef in[] = {input(&f, 3, 5), input(&f, 4, 7), input(&f, 6, 11)};
        const TimOpParams heads = {.attention = {3}}, patch = {.patch = {.channels = 1, .height = 4, .width = 4, .patch = 3}},
                          none = {0};
        const bool patches = kind == TIM_OP_PATCHIFY || kind == TIM_OP_UNPATCHIFY;
        const TimOpParams params = patches ? patch : kind == TIM_OP_ATTENTION ? heads : none;
        assert_int_equal(tim_tape_add(f.tape, (TimOpKind)kind, params, 3, in), TIM_NONE);
        expect_plan_fails(&f, TIM_E_INTERNAL, tim_op_get((TimOpKind)kind, TIM_ISA_REF)->name);
    }
}

static const TimTapeOptions tangents = {.isa = TIM_ISA_REF, .threads = 1, .samples = 2, .tangent_samples = 1, .product = TIM_F32};

/* rms_norm is for frozen networks: it has neither vjp nor jvp. */
static TimRef rms_norm(Fixture *f, TimRef x) {
    const int64_t width = tim_tape_shape(f->tape, x).cols;
    const TimRef in[] = {x, tim_tape_param(f->tape, TIM_F32, TIM_INIT_ONE, 1, &width, "norm.weight")};
    return tim_tape_add(f->tape, TIM_OP_RMS_NORM, (TimOpParams){.rms_norm = {.out = TIM_F32}}, 2, in);
}

static void test_add_op_without_vjp_refused_with_gradients(void **state) {
    (void)state;
    Fixture f;
    fixture_init(&f, &learning);
    assert_int_equal(rms_norm(&f, input(&f, 2, 4)), TIM_NONE);
    expect_plan_fails(&f, TIM_E_INTERNAL, "op rms_norm has no vjp");
}

static void test_add_op_without_jvp_refused_on_tangents(void **state) {
    (void)state;
    Fixture f;
    fixture_init(&f, &tangents);
    assert_int_equal(rms_norm(&f, input(&f, 2, 4)), TIM_NONE);
    expect_plan_fails(&f, TIM_E_INTERNAL, "op rms_norm has no jvp");
}

static void test_add_op_without_derivatives_recorded_for_inference(void **state) {
    (void)state;
    Fixture f;
    fixture_init(&f, &plain);
    assert_int_not_equal(rms_norm(&f, input(&f, 2, 4)), TIM_NONE);
    must(tim_tape_plan(f.tape, &f.err), &f.err);
    fixture_done(&f);
}

static void test_add_missing_input_internal_error(void **state) {
    (void)state;
    Fixture f;
    fixture_init(&f, &plain);
    const TimRef in[] = {input(&f, 2, 4), TIM_NONE};
    assert_int_equal(tim_tape_add(f.tape, TIM_OP_ADD, (TimOpParams){0}, 2, in), TIM_NONE);
    expect_plan_fails(&f, TIM_E_INTERNAL, "input 1");
}

static void test_param_two_shapes_error_names_it(void **state) {
    (void)state;
    Fixture f;
    fixture_init(&f, &plain);
    linear(&f, input(&f, 2, 4), 3, "layer");
    linear(&f, input(&f, 2, 5), 3, "layer");
    expect_plan_fails(&f, TIM_E_INTERNAL, "layer.weight");
}

static void test_param_empty_axis_argument_error(void **state) {
    (void)state;
    Fixture f;
    fixture_init(&f, &plain);
    const int64_t dims[] = {3, 0};
    assert_int_equal(tim_tape_param(f.tape, TIM_F32, TIM_INIT_ZERO, 2, dims, "empty"), TIM_NONE);
    expect_plan_fails(&f, TIM_E_ARGUMENT, "empty");
}

static void test_bind_values_missing_error_names_parameter(void **state) {
    (void)state;
    Fixture f;
    fixture_init(&f, &plain);
    tim_tape_keep(f.tape, linear(&f, input(&f, 2, 4), 3, "layer"), false);
    must(tim_tape_plan(f.tape, &f.err), &f.err);
    must(tim_weights_new(&f.weights, f.params.count, &f.err), &f.err);
    assert_int_equal(tim_tape_bind(f.tape, &f.weights, NULL, &f.err), TIM_E_ARGUMENT);
    assert_non_null(strstr(f.err.text, "layer.weight"));
    assert_non_null(strstr(f.err.text, "F32"));
    fixture_done(&f);
}

/* ---- column views ---- */

static void test_columns_of_value_see_its_memory(void **state) {
    (void)state;
    Fixture f;
    const TimTapeOptions options = {.isa = TIM_ISA_REF, .threads = 1, .samples = 2, .tangent_samples = 1, .gradients = true};
    fixture_init(&f, &options);
    const TimRef x = input(&f, 4, 3), y = linear(&f, x, 6, "layer");
    const TimRef left = tim_tape_columns(f.tape, y, 0, 2), right = tim_tape_columns(f.tape, y, 2, 4);
    const TimRef out[] = {silu(&f, left), silu(&f, right)};
    tim_tape_keep(f.tape, y, false);
    for (int i = 0; i < 2; i++) tim_tape_keep(f.tape, out[i], true);
    must(tim_tape_plan(f.tape, &f.err), &f.err);
    const TimMatrix whole = tim_tape_value(f.tape, y), part = tim_tape_value(f.tape, right);
    assert_ptr_equal(part.data, tim_matrix_f32(&whole, 0) + 2);
    assert_true(part.rows == 4 && part.cols == 4 && part.stride == 6);
    const TimMatrix g_whole = tim_tape_cotangent(f.tape, y), g_part = tim_tape_cotangent(f.tape, right);
    assert_ptr_equal(g_part.data, tim_matrix_f32(&g_whole, 0) + 2);
    const TimMatrix t_whole = tim_tape_tangent(f.tape, y), t_part = tim_tape_tangent(f.tape, right);
    assert_ptr_equal(t_part.data, tim_matrix_f32(&t_whole, 0) + 2);
    assert_true(t_part.rows == 2 && t_part.cols == 4 && t_part.stride == 6);
    fixture_done(&f);
}

static TimRef seeded_silu(Fixture *f, TimRef x) {
    const TimRef y = silu(f, x);
    tim_tape_keep(f->tape, y, true);
    return y;
}

static void test_columns_partly_covered_plan_fails(void **state) {
    (void)state;
    Fixture f;
    fixture_init(&f, &learning);
    const TimRef y = linear(&f, input(&f, 2, 3), 6, "layer");
    seeded_silu(&f, tim_tape_columns(f.tape, y, 0, 2));
    seeded_silu(&f, tim_tape_columns(f.tape, y, 2, 3));
    expect_plan_fails(&f, TIM_E_INTERNAL, "5 of 6 columns");
}

static void test_columns_beside_whole_value_plan_fails(void **state) {
    (void)state;
    Fixture f;
    fixture_init(&f, &learning);
    const TimRef y = linear(&f, input(&f, 2, 3), 6, "layer");
    seeded_silu(&f, tim_tape_columns(f.tape, y, 0, 6));
    seeded_silu(&f, y);
    expect_plan_fails(&f, TIM_E_INTERNAL, "whole and by columns");
}

static void test_columns_that_overlap_plan_fails(void **state) {
    (void)state;
    Fixture f;
    fixture_init(&f, &learning);
    const TimRef y = linear(&f, input(&f, 2, 3), 6, "layer");
    seeded_silu(&f, tim_tape_columns(f.tape, y, 0, 2)); /* twice, and columns 2 and 3 never: six in all */
    seeded_silu(&f, tim_tape_columns(f.tape, y, 0, 2));
    seeded_silu(&f, tim_tape_columns(f.tape, y, 4, 2));
    expect_plan_fails(&f, TIM_E_INTERNAL, "share columns");
}

static void test_columns_of_columns_refused(void **state) {
    (void)state;
    Fixture f;
    fixture_init(&f, &plain);
    const TimRef view = tim_tape_columns(f.tape, input(&f, 2, 6), 0, 4);
    assert_int_equal(tim_tape_columns(f.tape, view, 0, 2), TIM_NONE);
    expect_plan_fails(&f, TIM_E_INTERNAL, "columns");
}

/* A parameter has no memory before it is bound, so a view of it could not be placed. */
static void test_columns_of_parameter_refused(void **state) {
    (void)state;
    Fixture f;
    fixture_init(&f, &plain);
    const int64_t dims[] = {2, 6};
    silu(&f, tim_tape_columns(f.tape, tim_tape_param(f.tape, TIM_F32, TIM_INIT_ZERO, 2, dims, "table"), 0, 4));
    expect_plan_fails(&f, TIM_E_INTERNAL, "columns");
}

/* ---- small tapes ---- */

/* a = W1 x is read by two ops, so its cotangent is set by one and added to by the other: y = W2 (silu(a) + a). */
static TimRef record_twice_used(Fixture *f, TimRef x) {
    const TimRef a = linear(f, x, 5, "first");
    const TimRef y = linear(f, tim_add(f->tape, silu(f, a), a, 1.0F), 4, "second");
    tim_tape_keep(f->tape, y, true);
    return y;
}

/* The cotangent of bias j of the first layer by hand: the sum over rows of g_a = (W2' g) (silu'(a) + 1). */
static double first_bias_cotangent(const Fixture *f, const TimMatrix *x, const TimMatrix *g, int j) {
    const TimParam *p = f->params.items;
    const float *w1 = f->values + p[0].offset, *b1 = f->values + p[1].offset, *w2 = f->values + p[2].offset;
    double sum = 0;
    for (int r = 0; r < 2; r++) {
        double a = b1[j], g_a = 0;
        for (int l = 0; l < 3; l++) a += (double)w1[j * 3 + l] * tim_matrix_f32(x, r)[l];
        for (int i = 0; i < 4; i++) g_a += (double)w2[i * 5 + j] * tim_matrix_f32(g, r)[i];
        const double s = 1 / (1 + exp(-a));
        sum += g_a * (s * (1 + a * (1 - s)) + 1);
    }
    return sum;
}

static void test_backward_value_used_twice_cotangents_add(void **state) {
    (void)state;
    Fixture f;
    fixture_init(&f, &learning);
    const TimRef x = input(&f, 2, 3), y = record_twice_used(&f, x);
    must(tim_tape_plan(f.tape, &f.err), &f.err);
    fixture_bind(&f, f.tape);
    const TimMatrix x_value = tim_tape_value(f.tape, x), g = tim_tape_cotangent(f.tape, y);
    double expected[5];
    fill(x_value, 1);
    tim_tape_forward(f.tape, false);
    fill(g, 2);
    for (int j = 0; j < 5; j++) expected[j] = first_bias_cotangent(&f, &x_value, &g, j);
    tim_tape_backward(f.tape);
    for (int j = 0; j < 5; j++) assert_true(fabs(f.gradients[f.params.items[1].offset + (size_t)j] - expected[j]) < 1e-5);
    fixture_done(&f);
}

static void test_backward_again_gradients_accumulate(void **state) {
    (void)state;
    Fixture f;
    fixture_init(&f, &learning);
    const TimRef x = input(&f, 2, 3), y = record_twice_used(&f, x);
    must(tim_tape_plan(f.tape, &f.err), &f.err);
    fixture_bind(&f, f.tape);
    float once[64];
    assert_true(f.params.elements <= 128);
    for (int pass = 0; pass < 2; pass++) {
        fill(tim_tape_value(f.tape, x), 1);
        tim_tape_forward(f.tape, false);
        fill(tim_tape_cotangent(f.tape, y), 2);
        tim_tape_backward(f.tape);
        if (pass == 0) memcpy(once, f.gradients, sizeof once);
    }
    for (size_t i = 0; i < 64; i++) assert_true(fabsf(f.gradients[i] - 2 * once[i]) <= 1e-6F * (1 + fabsf(once[i])));
    fixture_done(&f);
}

/* ---- networks ---- */

static const TimNetworkConfig tiny = {.patch_size = 2,
                                      .in_channels = 3,
                                      .depth = 2,
                                      .hidden_size = 16,
                                      .num_heads = 2,
                                      .encoder_depth = 1,
                                      .mlp_ratio = 2,
                                      .z_dim = 6,
                                      .projector_dim = 10,
                                      .num_classes = 5,
                                      .class_dropout_prob = 0.1,
                                      .cap_feat_dim = 7,
                                      .use_new_embed = true,
                                      .qk_norm = true,
                                      .distance_aware = true};

enum { NETWORKS = 3 }; /* of classes, of text, of classes with the skip */

static TimNetworkConfig tiny_network(int index) {
    TimNetworkConfig config = tiny;
    config.kind = index == 1 ? TIM_NETWORK_T2I : TIM_NETWORK_C2I;
    config.input_skip = index == 2;
    return config;
}

static const TimNetworkShape step = {
    .batch = 3, .height = 4, .width = 6, .caption_tokens = 5, .tangent_samples = 2, .gradients = true, .hidden = true};

static const TimNetworkOptions reference = {.isa = TIM_ISA_REF, .threads = 1, .precision = TIM_PRECISION_F32};

/* A network bound to random weights, its inputs filled. */
typedef struct NetworkFixture {
    Fixture base; /* no tape of its own */
    TimNetwork network;
} NetworkFixture;

static void fill_inputs(const TimNetwork *n) {
    fill(tim_tape_value(n->tape, n->x), 10);
    fill(tim_tape_value(n->tape, n->t), 11);
    fill(tim_tape_value(n->tape, n->r), 12);
    if (n->caption != TIM_NONE) fill(tim_tape_value(n->tape, n->caption), 13);
    if (n->labels != TIM_NONE)
        for (int64_t i = 0; i < n->shape.batch; i++) ((int64_t *)tim_tape_value(n->tape, n->labels).data)[i] = i * 2;
    if (n->shape.tangent_samples == 0) return;
    fill(tim_tape_tangent(n->tape, n->x), 14);
    fill(tim_tape_tangent(n->tape, n->t), 15);
}

static void network_init(NetworkFixture *f, int index, const TimNetworkShape *shape, const TimNetworkOptions *options) {
    *f = (NetworkFixture){0};
    Fixture *base = &f->base;
    const TimNetworkConfig config = tiny_network(index);
    must(tim_network_new(&f->network, &config, shape, options, &base->params, &base->err), &base->err);
    fixture_bind(base, f->network.tape);
    fill_inputs(&f->network);
}

static void network_done(NetworkFixture *f) {
    tim_network_done(&f->network);
    fixture_done(&f->base);
}

/* What a step leaves: f, its tangent, and the gradients. The first two may be overwritten by backward. */
typedef struct Outcome {
    float f[3 * 3 * 4 * 6], t_f[2 * 3 * 4 * 6];
    float gradients[40000];
} Outcome;

/* Forward with tangents, and backward. */
static void run_step(const NetworkFixture *f, Outcome *out) {
    const TimNetwork *n = &f->network;
    const size_t elements = f->base.params.elements;
    assert_true(elements <= sizeof out->gradients / sizeof(float));
    memset(f->base.gradients, 0, elements * sizeof(float));
    tim_tape_forward(n->tape, true);
    memcpy(out->f, tim_tape_value(n->tape, n->f).data, sizeof out->f);
    memcpy(out->t_f, tim_tape_tangent(n->tape, n->f).data, sizeof out->t_f);
    fill(tim_tape_cotangent(n->tape, n->f), 20);
    fill(tim_tape_cotangent(n->tape, n->hidden), 21);
    tim_tape_backward(n->tape);
    memcpy(out->gradients, f->base.gradients, elements * sizeof(float));
}

static void test_tape_without_gradients_smaller(void **state) {
    (void)state;
    for (int k = 0; k < NETWORKS; k++) {
        TimNetworkShape shapes[3] = {step, step, step};
        size_t bytes[3];
        shapes[1].tangent_samples = 0;
        shapes[2].tangent_samples = 0, shapes[2].gradients = false;
        for (int i = 0; i < 3; i++) {
            NetworkFixture f;
            network_init(&f, k, &shapes[i], &reference);
            bytes[i] = tim_tape_bytes(f.network.tape);
            network_done(&f);
        }
        assert_true(bytes[0] > bytes[1] && bytes[1] > bytes[2]);
    }
}

/* With what the step before left in memory, in fp32 and bf16, with one and three threads. */
static void test_step_twice_same_bits(void **state) {
    (void)state;
    static Outcome first, second;
    for (int variant = 0; variant < 4 * NETWORKS; variant++) {
        NetworkFixture f;
        const TimNetworkOptions options = {.isa = tim_isa_best(),
                                           .threads = variant & 1 ? 3 : 1,
                                           .precision = variant & 2 ? TIM_PRECISION_BF16 : TIM_PRECISION_F32};
        network_init(&f, variant / 4, &step, &options);
        for (int pass = 0; pass < 2; pass++) run_step(&f, pass ? &second : &first);
        assert_memory_equal(&first, &second, sizeof first);
        network_done(&f);
    }
}

static void test_step_allocates_nothing(void **state) {
    (void)state;
    static Outcome outcome;
    for (int variant = 0; variant < 2 * NETWORKS; variant++) {
        NetworkFixture f;
        const TimNetworkOptions options = {
            .isa = tim_isa_best(), .threads = 2, .precision = variant & 1 ? TIM_PRECISION_BF16 : TIM_PRECISION_F32};
        network_init(&f, variant / 2, &step, &options);
        const int before = allocations;
        run_step(&f, &outcome);
        must(tim_tape_bind(f.network.tape, &f.base.weights, f.base.gradients, &f.base.err), &f.base.err);
        run_step(&f, &outcome);
        assert_int_equal(allocations, before);
        network_done(&f);
    }
}

static void test_skip_adds_share_of_input(void **state) {
    (void)state;
    const float times[] = {0, 0.5F, 1};
    static Outcome with, without;
    for (int k = 0; k < 2; k++) {
        Outcome *out = k ? &with : &without;
        NetworkFixture f;
        network_init(&f, k ? 2 : 0, &step, &reference);
        memcpy(tim_tape_value(f.network.tape, f.network.t).data, times, sizeof times);
        run_step(&f, out);
        network_done(&f);
    }
    float x[3 * 72];
    tim_rng_normal(x, 3 * 72, 2, 10, 0);
    for (size_t i = 0; i < 3 * 72; i++) {
        const float expected = without.f[i] + times[i / 72] * x[i];
        assert_true(fabsf(with.f[i] - expected) <= 1e-5F * (1 + fabsf(expected)));
    }
}

/* ---- derivatives of whole networks ---- */

static double dot_seeds(TimMatrix m, uint64_t stream) {
    double sum = 0;
    float row[256];
    for (int64_t r = 0; r < m.rows; r++) {
        tim_rng_normal(row, (size_t)m.cols, 2, stream, (uint64_t)(r * m.cols));
        for (int64_t i = 0; i < m.cols; i++) sum += (double)row[i] * tim_matrix_f32(&m, r)[i];
    }
    return sum;
}

/* <g_f, f> + <g_hidden, hidden> */
static double loss(const TimNetwork *n) {
    tim_tape_forward(n->tape, false);
    return dot_seeds(tim_tape_value(n->tape, n->f), 20) + dot_seeds(tim_tape_value(n->tape, n->hidden), 21);
}

enum { MOST = 4096 }; /* elements of a parameter */

/* The loss with `count` weights moved by e along their direction. */
static double loss_moved(const NetworkFixture *f, float *weights, size_t count, double e) {
    float before[MOST], along[MOST];
    assert_true(count <= MOST);
    memcpy(before, weights, count * sizeof *weights);
    tim_rng_normal(along, count, 3, count, 0);
    for (size_t i = 0; i < count; i++) weights[i] += (float)(e / sqrt((double)count)) * along[i];
    const double moved = loss(&f->network);
    memcpy(weights, before, count * sizeof *weights);
    return moved;
}

static double along_gradient(const float *gradient, size_t count) {
    float along[MOST];
    double sum = 0;
    tim_rng_normal(along, count, 3, count, 0);
    for (size_t i = 0; i < count; i++) sum += (double)gradient[i] * along[i];
    return sum / sqrt((double)count);
}

/* Each parameter along a direction of its own. fp32 leaves an uncertainty of 1e-3 over this step. */
static void test_backward_network_equals_difference(void **state) {
    (void)state;
    static Outcome outcome;
    const double e = 1e-2;
    for (int variant = 0; variant < 2 * NETWORKS; variant++) {
        NetworkFixture f;
        const TimNetworkOptions options = {
            .isa = variant & 1 ? tim_isa_best() : TIM_ISA_REF, .threads = 1, .precision = TIM_PRECISION_F32};
        network_init(&f, variant / 2, &step, &options);
        run_step(&f, &outcome);
        for (size_t i = 0; i < f.base.params.count; i++) {
            const TimParam *p = &f.base.params.items[i];
            float *weights = f.base.values + p->offset;
            const double slope = (loss_moved(&f, weights, p->count, e) - loss_moved(&f, weights, p->count, -e)) / (2 * e);
            const double actual = along_gradient(f.base.gradients + p->offset, p->count);
            if (!(fabs(actual - slope) <= 4e-3)) fail_msg("%s: %g, by difference %g", p->name, actual, slope);
        }
        network_done(&f);
    }
}

/* f at x + e t_x and t + e t_t of the last samples, from the start of the last samples. */
static void forward_moved(const TimNetwork *n, double e, float *out, size_t count) {
    const TimRef moved[] = {n->x, n->t};
    fill_inputs(n);
    for (int i = 0; i < 2; i++) {
        const TimMatrix tangent = tim_tape_tangent(n->tape, moved[i]), whole = tim_tape_value(n->tape, moved[i]);
        const TimMatrix last = tim_matrix_rows(whole, whole.rows - tangent.rows);
        for (int64_t r = 0; r < last.rows; r++)
            for (int64_t c = 0; c < last.cols; c++) tim_matrix_f32(&last, r)[c] += (float)e * tim_matrix_f32(&tangent, r)[c];
    }
    tim_tape_forward(n->tape, false);
    const TimMatrix f = tim_tape_value(n->tape, n->f);
    memcpy(out, (float *)f.data + (size_t)(f.rows * f.cols) - count, count * sizeof *out);
}

static void test_tangents_network_equal_difference(void **state) {
    (void)state;
    const double e = 3e-3;
    for (int variant = 0; variant < 2 * NETWORKS; variant++) {
        NetworkFixture f;
        const TimNetworkOptions options = {
            .isa = variant & 1 ? tim_isa_best() : TIM_ISA_REF, .threads = 1, .precision = TIM_PRECISION_F32};
        network_init(&f, variant / 2, &step, &options);
        static Outcome outcome;
        float up[2 * 3 * 4 * 6], down[2 * 3 * 4 * 6];
        run_step(&f, &outcome);
        forward_moved(&f.network, e, up, sizeof up / sizeof *up);
        forward_moved(&f.network, -e, down, sizeof down / sizeof *down);
        for (size_t i = 0; i < sizeof up / sizeof *up; i++) {
            const double slope = ((double)up[i] - down[i]) / (2 * e);
            if (!(fabs(outcome.t_f[i] - slope) <= 3e-3)) fail_msg("%zu: %g, by difference %g", i, outcome.t_f[i], slope);
        }
        network_done(&f);
    }
}

/* ---- allocations that fail ---- */

/* Makes a network of which allocation k fails; true when it succeeds, k being beyond the last. */
static bool network_without(int index, int k) {
    const TimNetworkConfig config = tiny_network(index);
    const int before = live;
    TimNetwork network;
    TimParams params = {0};
    TimError err = {0};
    allocations = 0;
    fail_at = k;
    const TimStatus status = tim_network_new(&network, &config, &step, &reference, &params, &err);
    fail_at = INT_MAX;
    if (status == TIM_OK) {
        assert_true(allocations <= k);
        tim_network_done(&network);
    } else {
        assert_int_equal(status, TIM_E_MEMORY);
        assert_int_equal(err.status, TIM_E_MEMORY);
        assert_true(err.text[0] != '\0');
        assert_null(network.tape);
        tim_network_done(&network); /* also allowed */
    }
    tim_params_done(&params);
    if (live != before) fail_msg("allocation %d: %d blocks leak", k, live - before);
    return status == TIM_OK;
}

static void test_network_new_each_allocation_fails_memory_error(void **state) {
    (void)state;
    for (int index = 0; index < NETWORKS; index++) {
        int k = 0;
        while (!network_without(index, k)) k++;
        assert_true(k > 50); /* the wrapping works */
    }
}

/* What is no number must be seen at the end, not become a 0 or the largest other on its way. */
static void test_run_keeps_what_is_no_number(void **state) {
    (void)state;
    enum { PIXELS = 4, CHANNELS = 20, AT = 7 };
    for (int pixel = 0; pixel < PIXELS; pixel++)
        for (int isa = TIM_ISA_REF; isa <= TIM_ISA_GENERIC; isa++) {
            const TimTapeOptions options = {.isa = (TimIsa)isa, .threads = 1, .samples = 1, .product = TIM_F32};
            const TimPoolParams pool = {.window = {.height = 2, .width = 2, .kernel_h = 2, .kernel_w = 2, .stride = 2}};
            Fixture f;
            fixture_init(&f, &options);
            const TimRef x = tim_tape_input(f.tape, TIM_F32, PIXELS, CHANNELS, false),
                         relu = tim_tape_add(f.tape, TIM_OP_RELU, (TimOpParams){0}, 1, &x),
                         most = tim_tape_add(f.tape, TIM_OP_POOL, (TimOpParams){.pool = pool}, 1, &relu);
            tim_tape_keep(f.tape, most, false);
            must(tim_tape_plan(f.tape, &f.err), &f.err);
            fixture_bind(&f, f.tape);
            const TimMatrix in = tim_tape_value(f.tape, x);
            for (int p = 0; p < PIXELS; p++)
                for (int c = 0; c < CHANNELS; c++) tim_matrix_f32(&in, p)[c] = p == pixel && c == AT ? NAN : (float)(p - c % 3);
            tim_tape_forward(f.tape, false);
            const TimMatrix out = tim_tape_value(f.tape, most);
            for (int c = 0; c < CHANNELS; c++) {
                assert_true(isnan(tim_matrix_f32(&out, 0)[c]) == (c == AT));
                if (c != AT) assert_true(tim_matrix_f32(&out, 0)[c] == (float)(3 - c % 3));
            }
            fixture_done(&f);
        }
}

/* A tape of one op that is only run; *x and *y are what goes in and what comes out. */
static void record_one(Fixture *f, TimIsa isa, TimOpKind kind, TimOpParams params, int64_t rows, int64_t cols, TimMatrix *x,
                       TimMatrix *y) {
    const TimTapeOptions options = {.isa = isa, .threads = 1, .samples = 1, .product = TIM_F32};
    fixture_init(f, &options);
    const TimRef in = tim_tape_input(f->tape, TIM_F32, rows, cols, false), out = tim_tape_add(f->tape, kind, params, 1, &in);
    tim_tape_keep(f->tape, out, false);
    must(tim_tape_plan(f->tape, &f->err), &f->err);
    fixture_bind(f, f->tape);
    *x = tim_tape_value(f->tape, in), *y = tim_tape_value(f->tape, out);
}

/* A key or query that is no number makes no finite picture. */
static void test_linear_attention_keeps_what_is_no_number(void **state) {
    (void)state;
    enum { PIXELS = 3, WIDTH = 2 };
    const TimOpParams params = {.linear_attention = {.width = WIDTH, .eps = 1e-5F}};
    for (int at = 0; at < 3 * WIDTH; at++) {
        Fixture f;
        TimMatrix in, out;
        record_one(&f, TIM_ISA_REF, TIM_OP_LINEAR_ATTENTION, params, PIXELS, 3 * WIDTH, &in, &out);
        for (int i = 0; i < PIXELS * 3 * WIDTH; i++) tim_matrix_f32(&in, i / (3 * WIDTH))[i % (3 * WIDTH)] = i == at ? NAN : 1;
        tim_tape_forward(f.tape, false);
        assert_true(isnan(tim_matrix_f32(&out, 0)[at % WIDTH]));
        fixture_done(&f);
    }
}

/* The mean of a whole picture: 65,536 equal numbers, which a sum in fp32 rounds down one after the other. */
static void test_pool_average_of_a_large_picture_is_its_mean(void **state) {
    (void)state;
    enum { SIDE = 256 };
    const float value = 1 + 0x1p-9F;
    const TimPoolParams pool = {.window = {.height = SIDE, .width = SIDE, .kernel_h = SIDE, .kernel_w = SIDE, .stride = SIDE},
                                .average = true};
    Fixture f;
    TimMatrix in, out;
    record_one(&f, TIM_ISA_GENERIC, TIM_OP_POOL, (TimOpParams){.pool = pool}, SIDE * SIDE, 1, &in, &out);
    for (int i = 0; i < SIDE * SIDE; i++) *tim_matrix_f32(&in, i) = value;
    tim_tape_forward(f.tape, false);
    assert_true(*tim_matrix_f32(&out, 0) == value);
    fixture_done(&f);
}

/* What backward could not tell apart, or would write in fp32 over what is something else. */
static void test_add_inputs_that_backward_cannot_serve_are_refused(void **state) {
    (void)state;
    Fixture f;
    fixture_init(&f, &learning);
    const TimRef y = linear(&f, input(&f, 2, 4), 4, "layer");
    tim_tape_add(f.tape, TIM_OP_ATTENTION, (TimOpParams){.attention = {1}}, 3, (const TimRef[]){y, y, y});
    expect_plan_fails(&f, TIM_E_INTERNAL, "inputs 0 and 1 of op attention are one value");
    fixture_init(&f, &learning);
    const TimRef x = linear(&f, input(&f, 2, 4), 4, "x"), w = linear(&f, input(&f, 2, 4), 4, "w");
    tim_tape_add(f.tape, TIM_OP_LINEAR, (TimOpParams){.linear = {.out = TIM_F32}}, 2, (const TimRef[]){x, w});
    expect_plan_fails(&f, TIM_E_INTERNAL, "input 1 of op linear has to be a parameter");
}

/* Bytes of a tape that draws on so many threads: a linear layer that rounds what it reads, then attention over a large picture. */
static size_t bytes_with(int threads) {
    enum { ROWS = 16384, WIDTH = 64 };
    const TimTapeOptions options = {.isa = TIM_ISA_GENERIC, .threads = threads, .samples = 1, .product = TIM_BF16, .dry = true};
    const TimLinearSpec spec = {.out_features = WIDTH, .dtype = TIM_BF16, .out = TIM_BF16};
    Fixture f;
    fixture_init(&f, &options);
    const TimRef x = tim_tape_input(f.tape, TIM_F32, ROWS, WIDTH, false), y = tim_linear(f.tape, x, &spec, "y");
    tim_tape_keep(f.tape, tim_tape_add(f.tape, TIM_OP_ATTENTION, (TimOpParams){.attention = {1}}, 3, (const TimRef[]){y, y, y}),
                  false);
    must(tim_tape_plan(f.tape, &f.err), &f.err);
    const size_t bytes = tim_tape_bytes(f.tape);
    fixture_done(&f);
    return bytes;
}

/* What a thread needs of its own are tiles; copies of whole matrices and the sums of a backward that does not come are not. */
static void test_plan_a_further_thread_costs_tiles_alone(void **state) {
    (void)state;
    const size_t one = bytes_with(1), many = bytes_with(33), each = (many - one) / 32;
    if (each > 1 << 20) fail_msg("%zu bytes a thread", each);
}

int main(void) {
    const struct CMUnitTest tape[] = {
        cmocka_unit_test(test_layout_random_lifetimes_kept_apart),
        cmocka_unit_test(test_layout_one_after_another_share_all),
        cmocka_unit_test(test_layout_same_blocks_same_offsets),
        cmocka_unit_test(test_layout_nothing_takes_nothing),
        cmocka_unit_test(test_layout_sizes_overflow_memory_error),
        cmocka_unit_test(test_new_options_out_of_range_argument_error),
        cmocka_unit_test(test_plan_op_for_inference_alone_is_fine),
        cmocka_unit_test(test_recording_first_error_sticks),
        cmocka_unit_test(test_recording_failed_text_kept_cut_with_dots),
        cmocka_unit_test(test_add_shapes_disagree_error_names_op),
        cmocka_unit_test(test_add_op_without_vjp_refused_with_gradients),
        cmocka_unit_test(test_add_op_without_jvp_refused_on_tangents),
        cmocka_unit_test(test_add_op_without_derivatives_recorded_for_inference),
        cmocka_unit_test(test_add_missing_input_internal_error),
        cmocka_unit_test(test_param_two_shapes_error_names_it),
        cmocka_unit_test(test_param_empty_axis_argument_error),
        cmocka_unit_test(test_bind_values_missing_error_names_parameter),
        cmocka_unit_test(test_columns_of_value_see_its_memory),
        cmocka_unit_test(test_columns_partly_covered_plan_fails),
        cmocka_unit_test(test_columns_beside_whole_value_plan_fails),
        cmocka_unit_test(test_columns_that_overlap_plan_fails),
        cmocka_unit_test(test_columns_of_columns_refused),
        cmocka_unit_test(test_columns_of_parameter_refused),
        cmocka_unit_test(test_backward_value_used_twice_cotangents_add),
        cmocka_unit_test(test_backward_again_gradients_accumulate),
        cmocka_unit_test(test_tape_without_gradients_smaller),
        cmocka_unit_test(test_step_twice_same_bits),
        cmocka_unit_test(test_skip_adds_share_of_input),
        cmocka_unit_test(test_step_allocates_nothing),
        cmocka_unit_test(test_backward_network_equals_difference),
        cmocka_unit_test(test_tangents_network_equal_difference),
        cmocka_unit_test(test_run_keeps_what_is_no_number),
        cmocka_unit_test(test_linear_attention_keeps_what_is_no_number),
        cmocka_unit_test(test_pool_average_of_a_large_picture_is_its_mean),
        cmocka_unit_test(test_add_inputs_that_backward_cannot_serve_are_refused),
        cmocka_unit_test(test_plan_a_further_thread_costs_tiles_alone),
        cmocka_unit_test_teardown(test_network_new_each_allocation_fails_memory_error, reset_allocations),
    };
    return cmocka_run_group_tests(tape, NULL, NULL);
}
