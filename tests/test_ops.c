/* Every op against the scalar reference and against fp64, for each instruction set this machine has, in f32 and bf16.
 *   test_ops [--isa NAME] [--op NAME]
 * The reference computes in f32 on the rounded inputs of a case; it is held against fp64 itself. Failures name the case. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/memory.h"
#include "ops/ops.h"

/* Relative to the largest magnitude of a result. f32: sums of a few hundred terms in another order. bf16: rounding is off by at
 * most 2^-8 of the number; an op that rounds inside as well gets twice that. */
static const double tolerance_f32 = 1e-5, tolerance_bf16 = 0x1p-8 + 1e-5;

static const char *only_isa, *only_op;
static size_t failures;

/* Sanitizers cost tens of times: there every so-manieth case has to do. */
#if defined(__SANITIZE_ADDRESS__)
enum { THINNING = 11 };
#else
enum { THINNING = 1 };
#endif

/* ---- telling ---- */

static const char *dtype_mark(TimDtype dtype) {
    return dtype == TIM_F32 ? "" : tim_dtype_name(dtype);
}

static void print_case(const OpCase *c) {
    print_error("    case %u of %s: samples %lld, with tangents %lld; tangents %#x, wanted %#x, seeded %#x; in", (unsigned)c->seed,
                tim_op_get(c->kind, TIM_ISA_REF)->name, (long long)c->samples, (long long)c->tangent_samples, c->tangents,
                c->wanted, c->seeded);
    for (int i = 0; i < c->n_in; i++)
        print_error(" (%lld, %lld)%s", (long long)c->in[i].rows, (long long)c->in[i].cols, dtype_mark(c->in[i].dtype));
    if (c->kind == TIM_OP_ATTENTION) print_error(", heads %d", c->params.attention.heads);
    if (c->kind == TIM_OP_ATTENTION_MASKED) {
        const TimMaskedAttentionParams *p = &c->params.attention_masked;
        print_error(", heads %d of %d, causal %d, window %lld", p->heads, p->kv_heads, p->causal, (long long)p->window);
    }
    if (c->kind == TIM_OP_HEAD_NORM) {
        const TimHeadNormParams *p = &c->params.head_norm;
        print_error(", heads %d, slots %d, shift %d, norms %d %d %d, rope %d %d %d", p->heads, p->slots, p->has_shift, p->norm[0],
                    p->norm[1], p->norm[2], p->rope[0], p->rope[1], p->rope[2]);
    }
    print_error("\n");
}

/* Counts a failure unless error <= limit; NaN fails. The first few are told. */
static void expect(const OpCase *c, OpSetup s, const char *what, int index, double error, double limit) {
    if (error <= limit || ++failures > 5) return;
    print_error("  %s %s[%d]: %g is above %g (threads %d%s, add %#x)\n", tim_isa_name(s.isa), what, index, error, limit, s.threads,
                s.padded ? ", padded" : "", s.add);
    print_case(c);
}

static double largest(const OpTensor *t) {
    double max = 0;
    for (int64_t i = 0; i < t->rows * t->cols; i++) max = fmax(max, fabs(t->v[i]));
    return max;
}

/* The largest |a - b|; NaN when any is. */
static double distance(const OpTensor *a, const OpTensor *b) {
    double max = 0;
    for (int64_t i = 0; i < b->rows * b->cols; i++) {
        const double d = fabs(a->v[i] - b->v[i]);
        if (!(d <= max)) max = d;
        if (isnan(max)) break;
    }
    return max;
}

static double tolerance_of(const OpCase *c, TimDtype dtype) {
    if (c->rounds && ops_has_bf16(c)) return c->slack * 2 * tolerance_bf16;
    return c->slack * (dtype == TIM_BF16 ? tolerance_bf16 : tolerance_f32);
}

static void expect_close(const OpCase *c, OpSetup s, const char *what, int index, const OpTensor *actual,
                         const OpTensor *expected) {
    assert_true(actual->rows == expected->rows && actual->cols == expected->cols);
    if (!actual->v) return;
    const double scale = fmax(largest(expected), c->floor);
    expect(c, s, what, index, distance(actual, expected) / (scale > 0 ? scale : 1), tolerance_of(c, actual->dtype));
}

static void expect_runs_close(const OpCase *c, OpSetup s, const OpRun *actual, const OpRun *expected) {
    for (int i = 0; i < TIM_OP_MAX_OUT; i++) expect_close(c, s, "out", i, &actual->out[i], &expected->out[i]);
    for (int i = 0; i < TIM_OP_MAX_OUT; i++) expect_close(c, s, "t_out", i, &actual->t_out[i], &expected->t_out[i]);
    for (int i = 0; i < TIM_OP_MAX_IN; i++) expect_close(c, s, "g_in", i, &actual->g_in[i], &expected->g_in[i]);
}

/* ---- going through cases and instruction sets ---- */

typedef void Check(const OpSuite *suite, const OpCase *c, TimIsa isa);

static bool is_tested(TimIsa isa) {
    return tim_isa_available(isa) && (!only_isa || strcmp(only_isa, tim_isa_name(isa)) == 0);
}

/* Every `stride`th case of both dtypes. */
static void for_cases(const OpSuite *suite, size_t stride, TimIsa isa, Check *check) {
    for (int bf16 = 0; bf16 < 2; bf16++) {
        OpCases cases = {0};
        suite->list(&cases, bf16 ? TIM_BF16 : TIM_F32);
        for (size_t i = 0; i < cases.count; i += stride * THINNING) check(suite, &cases.items[i], isa);
        ops_cases_free(&cases);
    }
}

static void for_isas(void **state, size_t stride, Check *check) {
    failures = 0;
    for (int isa = 0; isa < TIM_ISA_COUNT; isa++)
        if (is_tested((TimIsa)isa)) for_cases(*state, stride, (TimIsa)isa, check);
    if (failures) fail_msg("%zu failures", failures);
}

static void for_reference(void **state, Check *check) {
    failures = 0;
    for_cases(*state, 1, TIM_ISA_REF, check);
    if (failures) fail_msg("%zu failures", failures);
}

/* One thread unless threads are the point, padded every other case. */
static OpSetup usual(const OpCase *c, TimIsa isa) {
    return (OpSetup){.isa = isa, .threads = 1, .padded = c->seed % 2};
}

static const OpSetup oracle = {.isa = TIM_ISA_REF, .threads = 1, .in_f32 = true};

/* ---- against the reference ---- */

static void check_reference(const OpSuite *suite, const OpCase *c, TimIsa ignored) {
    (void)suite, (void)ignored;
    OpRun expected = ops_run(c, oracle);
    for (int isa = 0; isa < TIM_ISA_COUNT; isa++) {
        if (!is_tested((TimIsa)isa)) continue;
        const OpSetup setup = usual(c, (TimIsa)isa);
        OpRun actual = ops_run(c, setup);
        expect_runs_close(c, setup, &actual, &expected);
        ops_run_free(&actual);
    }
    ops_run_free(&expected);
}

static void test_against_ref_agrees(void **state) {
    for_reference(state, check_reference);
}

/* ---- the reference against fp64 ---- */

static void make_values(const OpCase *c, OpRole role, unsigned chosen, OpTensor values[TIM_OP_MAX_IN]) {
    memset(values, 0, TIM_OP_MAX_IN * sizeof *values);
    for (int i = 0; i < c->n_in; i++)
        if (chosen >> i & 1) values[i] = ops_values(c, role, i);
}

static void free_all(OpTensor *tensors, int count) {
    for (int i = 0; i < count; i++) ops_tensor_free(&tensors[i]);
}

static void check_forward(const OpSuite *suite, const OpCase *c, TimIsa isa) {
    (void)isa;
    OpTensor in[TIM_OP_MAX_IN], expected[TIM_OP_MAX_OUT];
    make_values(c, OPS_INPUT, ~0U, in);
    ops_forward_f64(suite, c, in, expected);
    OpRun run = ops_run(c, oracle);
    for (int i = 0; i < TIM_OP_MAX_OUT; i++) expect_close(c, oracle, "out", i, &run.out[i], &expected[i]);
    ops_run_free(&run);
    free_all(in, TIM_OP_MAX_IN);
    free_all(expected, TIM_OP_MAX_OUT);
}

static void test_forward_equals_fp64(void **state) {
    for_reference(state, check_forward);
}

/* The last rows of `whole`, as many as `part` has; borrowed. */
static OpTensor last_rows(const OpTensor *whole, const OpTensor *part) {
    OpTensor last = *whole;
    last.v += (whole->rows - part->rows) * whole->cols;
    last.rows = part->rows;
    return last;
}

/* Zero but for the last samples, which are `tangent`; frees it. */
static OpTensor over_all_samples(const OpInput *input, OpTensor tangent) {
    OpTensor all = ops_tensor_new(input->rows, input->cols, TIM_F64);
    memcpy(last_rows(&all, &tangent).v, tangent.v, (size_t)(tangent.rows * tangent.cols) * sizeof *tangent.v);
    ops_tensor_free(&tangent);
    return all;
}

static void check_jvp(const OpSuite *suite, const OpCase *c, TimIsa isa) {
    (void)isa;
    if (!c->tangents) return;
    OpTensor in[TIM_OP_MAX_IN], along[TIM_OP_MAX_IN] = {0}, expected[TIM_OP_MAX_OUT];
    make_values(c, OPS_INPUT, ~0U, in);
    for (int i = 0; i < c->n_in; i++)
        if (c->tangents >> i & 1) along[i] = over_all_samples(&c->in[i], ops_values(c, OPS_TANGENT, i));
    ops_difference(suite, c, in, along, expected);
    OpRun run = ops_run(c, oracle);
    for (int i = 0; i < TIM_OP_MAX_OUT; i++) {
        const OpTensor last = last_rows(&expected[i], &run.t_out[i]);
        expect_close(c, oracle, "t_out", i, &run.t_out[i], &last);
    }
    ops_run_free(&run);
    free_all(in, TIM_OP_MAX_IN);
    free_all(along, TIM_OP_MAX_IN);
    free_all(expected, TIM_OP_MAX_OUT);
}

static void test_jvp_equals_difference(void **state) {
    for_reference(state, check_jvp);
}

/* What rounding does to sum a b when each a is off by a part of |a| + floor, independently. */
static double dot_noise(const OpTensor *a, const OpTensor *b, double floor) {
    double sum = 0;
    for (int64_t i = 0; i < b->rows * b->cols; i++) sum += pow((fabs(a->v[i]) + floor) * b->v[i], 2);
    return sqrt(sum);
}

/* <g, J u> in fp64, u along input i only. */
static double slope_f64(const OpSuite *suite, const OpCase *c, const OpTensor *in, int i, const OpTensor *u) {
    OpTensor along[TIM_OP_MAX_IN] = {0}, d_out[TIM_OP_MAX_OUT];
    double slope = 0;
    along[i] = *u;
    ops_difference(suite, c, in, along, d_out);
    for (int j = 0; j < TIM_OP_MAX_OUT && d_out[j].v; j++) {
        if (!(c->seeded >> j & 1)) continue;
        OpTensor g = ops_values(c, OPS_COTANGENT, j);
        slope += ops_dot(&g, &d_out[j]);
        ops_tensor_free(&g);
    }
    free_all(d_out, TIM_OP_MAX_OUT);
    return slope;
}

static void check_vjp_of(const OpSuite *suite, const OpCase *c, const OpTensor *in, int i, const OpTensor *g_in) {
    OpTensor u = ops_values(c, OPS_DIRECTION, i), base = ops_values(c, OPS_BASE, i);
    const double expected = slope_f64(suite, c, in, i, &u), before = c->in[i].param ? ops_dot(&base, &u) : 0;
    expect(c, oracle, "<g_in, u>", i, fabs(ops_dot(g_in, &u) - before - expected),
           tolerance_of(c, g_in->dtype) * dot_noise(g_in, &u, c->floor));
    ops_tensor_free(&u);
    ops_tensor_free(&base);
}

static void check_vjp(const OpSuite *suite, const OpCase *c, TimIsa isa) {
    (void)isa;
    OpTensor in[TIM_OP_MAX_IN];
    make_values(c, OPS_INPUT, ~0U, in);
    OpRun run = ops_run(c, oracle);
    for (int i = 0; i < c->n_in; i++)
        if (run.g_in[i].v) check_vjp_of(suite, c, in, i, &run.g_in[i]);
    ops_run_free(&run);
    free_all(in, TIM_OP_MAX_IN);
}

static void test_vjp_equals_difference(void **state) {
    for_reference(state, check_vjp);
}

/* ---- adjointness ---- */

static double dot_last(const OpTensor *whole, const OpTensor *part, double floor, double *noise) {
    const OpTensor last = last_rows(whole, part);
    *noise = hypot(*noise, dot_noise(&last, part, floor));
    return ops_dot(&last, part);
}

/* <g, J t> = <J' g, t> over the samples that have tangents; they are a block of their own in J. Three standard deviations. */
static void check_adjoint(const OpSuite *suite, const OpCase *c, TimIsa isa) {
    (void)suite;
    if (!c->tangents) return;
    OpCase all = *c;
    all.wanted |= c->tangents;
    const OpSetup setup = usual(c, isa);
    OpRun run = ops_run(&all, setup);
    double outside = 0, inside = 0, noise = 0;
    const bool bf16 = ops_has_bf16(c);
    for (int i = 0; i < TIM_OP_MAX_OUT && run.t_out[i].v; i++) {
        if (!(c->seeded >> i & 1)) continue;
        OpTensor g = ops_values(c, OPS_COTANGENT, i);
        outside += dot_last(&g, &run.t_out[i], c->floor, &noise);
        ops_tensor_free(&g);
    }
    for (int i = 0; i < c->n_in; i++) {
        if (!(c->tangents >> i & 1)) continue;
        OpTensor t = ops_values(c, OPS_TANGENT, i);
        inside += dot_last(&run.g_in[i], &t, c->floor, &noise);
        ops_tensor_free(&t);
    }
    expect(c, setup, "<g, J t> - <J' g, t>", 0, fabs(outside - inside), 3 * tolerance_of(c, bf16 ? TIM_BF16 : TIM_F32) * noise);
    ops_run_free(&run);
}

static void test_vjp_is_transposed_jvp(void **state) {
    for_isas(state, 1, check_adjoint);
}

/* ---- repetition and threads ---- */

/* With more threads than processors a parallel region costs milliseconds, hence the strides. */

static bool same_bits(const OpTensor *a, const OpTensor *b) {
    return !b->v || memcmp(a->v, b->v, (size_t)(b->rows * b->cols) * sizeof *b->v) == 0;
}

static bool same_runs(const OpRun *a, const OpRun *b) {
    bool same = true;
    for (int i = 0; i < TIM_OP_MAX_OUT; i++) same &= same_bits(&a->out[i], &b->out[i]) && same_bits(&a->t_out[i], &b->t_out[i]);
    for (int i = 0; i < TIM_OP_MAX_IN; i++) same &= same_bits(&a->g_in[i], &b->g_in[i]);
    return same;
}

static void check_repetition(const OpSuite *suite, const OpCase *c, TimIsa isa) {
    (void)suite;
    OpSetup setup = usual(c, isa);
    setup.threads = c->seed % 8 ? 1 : 3;
    OpRun first = ops_run(c, setup), second = ops_run(c, setup);
    expect(c, setup, "repetition", 0, same_runs(&first, &second) ? 0 : 1, 0);
    ops_run_free(&first);
    ops_run_free(&second);
}

static void test_twice_gives_same_bits(void **state) {
    for_isas(state, 3, check_repetition);
}

static void check_threads(const OpSuite *suite, const OpCase *c, TimIsa isa) {
    (void)suite;
    static const int counts[] = {2, 3, 5};
    OpSetup setup = usual(c, isa);
    OpRun one = ops_run(c, setup);
    setup.threads = counts[c->seed % 3];
    OpRun more = ops_run(c, setup);
    expect_runs_close(c, setup, &more, &one);
    expect(c, setup, "stray writes", 0, more.contained ? 0 : 1, 0);
    ops_run_free(&one);
    ops_run_free(&more);
}

static void test_threads_agree(void **state) {
    for_isas(state, 13, check_threads);
}

/* ---- memory ---- */

/* Adding to a cotangent gives what was there plus what overwriting gives, which is rounded once more; weights are always added to.
 * Some inputs of a case are added to, others overwritten in the same vjp. */
static void check_addition(const OpSuite *suite, const OpCase *c, TimIsa isa) {
    (void)suite;
    OpSetup setup = usual(c, isa);
    OpRun set = ops_run(c, setup);
    setup.add = ops_subset((1U << c->n_in) - 1, c->seed);
    OpRun add = ops_run(c, setup);
    OpCase twice = *c;
    twice.slack *= 2;
    for (int i = 0; i < c->n_in; i++) {
        if (!set.g_in[i].v) continue;
        OpTensor base = ops_values(c, OPS_BASE, i);
        const bool added = (setup.add >> i & 1) && !c->in[i].param;
        twice.floor = fmax(largest(&base), largest(&set.g_in[i]));
        for (int64_t at = 0; at < base.rows * base.cols && added; at++) set.g_in[i].v[at] += base.v[at];
        expect_close(&twice, setup, "g_in", i, &add.g_in[i], &set.g_in[i]);
        ops_tensor_free(&base);
    }
    ops_run_free(&set);
    ops_run_free(&add);
}

static void test_added_cotangents_add(void **state) {
    for_isas(state, 1, check_addition);
}

static void check_containment(const OpSuite *suite, const OpCase *c, TimIsa isa) {
    (void)suite;
    for (int padded = 0; padded < 2; padded++) {
        const OpSetup setup = {.isa = isa, .threads = 1, .padded = padded, .add = (unsigned)c->seed};
        OpRun run = ops_run(c, setup);
        expect(c, setup, "stray writes", 0, run.contained ? 0 : 1, 0);
        ops_run_free(&run);
    }
}

static void test_writes_stay_inside(void **state) {
    for_isas(state, 1, check_containment);
}

/* ---- the program ---- */

enum { JVP = 1, VJP = 2 };

typedef struct Kind {
    const char *name;
    CMUnitTestFunction run;
    unsigned passes; /* besides forward, those it is about */
} Kind;

static const Kind kinds[] = {
    {"forward_equals_fp64", test_forward_equals_fp64, 0},
    {"jvp_equals_difference", test_jvp_equals_difference, JVP},
    {"vjp_equals_difference", test_vjp_equals_difference, VJP},
    {"against_ref_agrees", test_against_ref_agrees, 0},
    {"vjp_is_transposed_jvp", test_vjp_is_transposed_jvp, JVP | VJP},
    {"twice_gives_same_bits", test_twice_gives_same_bits, 0},
    {"threads_agree", test_threads_agree, 0},
    {"added_cotangents_add", test_added_cotangents_add, VJP},
    {"writes_stay_inside", test_writes_stay_inside, 0},
};
enum { KINDS = sizeof kinds / sizeof *kinds, NAME_BYTES = 64 };

/* False for a check of a pass that the suite's op lacks, or that no input of it can have. */
static bool applies(const Kind *kind, const OpSuite *suite) {
    OpCases cases = {0};
    suite->list(&cases, TIM_F32);
    const TimOp *op = tim_op_get(cases.items[0].kind, TIM_ISA_REF);
    const bool tangents = cases.items[0].tangents != 0;
    ops_cases_free(&cases);
    return ((op->jvp && tangents) || !(kind->passes & JVP)) && (op->vjp || !(kind->passes & VJP));
}

/* One test an op and kind of check. */
static size_t list_tests(struct CMUnitTest tests[OPS_SUITES * KINDS], char names[OPS_SUITES * KINDS][NAME_BYTES]) {
    size_t count = 0;
    for (int s = 0; s < OPS_SUITES; s++)
        for (int k = 0; k < KINDS; k++) {
            if (only_op && strcmp(only_op, ops_suites[s]->name) != 0) continue;
            if (!applies(&kinds[k], ops_suites[s])) continue;
            snprintf(names[count], NAME_BYTES, "test_%s_%s", ops_suites[s]->name, kinds[k].name);
            void *suite;
            memcpy(&suite, &ops_suites[s], sizeof suite); /* cmocka's state is not const */
            tests[count] = (struct CMUnitTest){.name = names[count], .test_func = kinds[k].run, .initial_state = suite};
            count++;
        }
    return count;
}

static bool read_options(int argc, char **argv) {
    TimIsa isa;
    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--isa") == 0)
            only_isa = argv[i + 1];
        else if (strcmp(argv[i], "--op") == 0)
            only_op = argv[i + 1];
        else
            return false;
    }
    return argc % 2 && (!only_isa || (tim_isa_from_name(only_isa, &isa) && tim_isa_available(isa)));
}

int main(int argc, char **argv) {
    static struct CMUnitTest tests[OPS_SUITES * KINDS];
    static char names[OPS_SUITES * KINDS][NAME_BYTES];
    const bool known = read_options(argc, argv);
    const size_t count = known ? list_tests(tests, names) : 0;
    if (count == 0) {
        fprintf(stderr, "usage: test_ops [--isa NAME] [--op NAME]\nNAME is an instruction set of this machine, or an op\n");
        return 2;
    }
    return _cmocka_run_group_tests("ops", tests, count, NULL, NULL);
}
