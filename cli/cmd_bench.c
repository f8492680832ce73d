/* tim bench: the speed of forward passes and training steps, beside the peak of a matrix product measured in the same run. */
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "commands.h"
#include "nearest.h"
#include "options.h"
#include "support.h"
#include "tim/bench.h"
#include "tim/model.h"

typedef enum Precisions { ONLY_BF16, ONLY_F32, BOTH } Precisions;

static const char *const bench_precision_words[] = {"bf16", "fp32", "both", NULL};
static const char *const default_cases[] = {"train_small:jvp", "train_small:dde", "train_small:none", NULL};

enum { MAX_CASES = 64 };

/* One case in one precision. */
typedef struct Figures {
    const char *name;
    TimPrecision precision;
    TimBenchResult result;
} Figures;

typedef struct Bench {
    const char *names[MAX_CASES + 1]; /* the cases to run, up to NULL */
    int precisions, isa;
    bool list, json, ops;
    TimBenchOptions options;
    TimBenchPeak peak;
    Figures *figures;
    int count; /* of figures */
} Bench;

/* ---- figures ---- */

static const char *precision_name(TimPrecision precision) {
    return precision == TIM_PRECISION_BF16 ? "bf16" : "fp32";
}

static const char *isa_name(const Bench *b) {
    return b->options.isa ? b->options.isa : tim_isa_best_name();
}

static double rate(const Figures *f) {
    return f->result.gflop / f->result.median_s;
}

static double percent_of_peak(const Bench *b, const Figures *f) {
    return 100 * rate(f) / (f->precision == TIM_PRECISION_BF16 ? b->peak.bf16 : b->peak.f32);
}

static double op_seconds(const TimBenchOp *op) {
    return op->forward + op->jvp + op->vjp;
}

/* ---- the table ---- */

/* A column of at least four significant digits. */
static void print_figure(double value, int width) {
    const int decimals = value < 1 ? 4 : value < 10 ? 3 : value < 100 ? 2 : value < 1000 ? 1 : 0;
    printf(" %*.*f", width, decimals, value);
}

static void print_heading(const Bench *b) {
    printf("threads: %d, instruction set: %s, peak of a matrix product: %.1f GFLOP/s in bf16, %.1f in fp32\n\n", b->options.threads,
           isa_name(b), b->peak.bf16, b->peak.f32);
    printf("%-17s %-9s %9s %9s %9s %9s %9s %9s\n", "case", "precision", "median s", "min s", "GFLOP", "GFLOP/s", "% of peak",
           "MiB");
}

static void print_ops(const TimBenchResult *result) {
    double all = 0;
    for (int i = 0; i < result->op_count; i++) all += op_seconds(&result->ops[i]);
    printf("  %-25s %9s %9s %9s %9s %9s\n", "op", "forward s", "jvp s", "vjp s", "all s", "% of ops");
    for (int i = 0; i < result->op_count; i++) {
        const TimBenchOp *op = &result->ops[i];
        printf("  %-25s %9.4f %9.4f %9.4f %9.4f %9.1f\n", op->name, op->forward, op->jvp, op->vjp, op_seconds(op),
               100 * op_seconds(op) / all);
    }
    putchar('\n');
}

static void print_row(const Bench *b, const Figures *f) {
    printf("%-17s %-9s", f->name, precision_name(f->precision));
    print_figure(f->result.median_s, 9);
    print_figure(f->result.min_s, 9);
    print_figure(f->result.gflop, 9);
    print_figure(rate(f), 9);
    printf(" %9.1f %9.0f\n", percent_of_peak(b, f), f->result.memory_mib);
    if (b->ops) print_ops(&f->result);
    fflush(stdout); /* also where it is no terminal: the next case may take a minute */
}

/* ---- JSON ---- */

static void print_json_ops(const TimBenchResult *result) {
    fputs(", \"ops\": [", stdout);
    for (int i = 0; i < result->op_count; i++) {
        const TimBenchOp *op = &result->ops[i];
        printf("%s\n      {\"name\": \"%s\", \"forward_s\": %.6g, \"jvp_s\": %.6g, \"vjp_s\": %.6g}", i ? "," : "", op->name,
               op->forward, op->jvp, op->vjp);
    }
    putchar(']');
}

static void print_json_figures(const Bench *b, const Figures *f) {
    const TimBenchResult *r = &f->result;
    printf("    {\"case\": \"%s\", \"precision\": \"%s\", \"runs\": %d, \"median_s\": %.6g, \"min_s\": %.6g, \"gflop\": %.6g, "
           "\"gflop_per_s\": %.6g, \"percent_of_peak\": %.4g, \"memory_mib\": %.6g",
           f->name, precision_name(f->precision), r->runs, r->median_s, r->min_s, r->gflop, rate(f), percent_of_peak(b, f),
           r->memory_mib);
    print_json_ops(r);
    putchar('}');
}

static void print_json(const Bench *b) {
    printf("{\n  \"version\": \"%s\",\n  \"isa\": \"%s\",\n  \"threads\": %d,\n", TIM_VERSION, isa_name(b), b->options.threads);
    printf("  \"peak\": {\"bf16\": %.6g, \"f32\": %.6g},\n  \"cases\": [", b->peak.bf16, b->peak.f32);
    for (int i = 0; i < b->count; i++) {
        fputs(i ? ",\n" : "\n", stdout);
        print_json_figures(b, &b->figures[i]);
    }
    fputs("\n  ]\n}\n", stdout);
}

/* ---- measuring ---- */

/* On a terminal, stderr says what is being measured: a case may take a minute. */
static void show(const char *text, const char *more) {
    if (isatty(STDERR_FILENO)) fprintf(stderr, "\r\033[K%s%s%s", text, *more ? " in " : "", more);
}

static TimStatus measure_case(Bench *b, const char *name, TimPrecision precision, TimError *err) {
    Figures *f = &b->figures[b->count];
    f->name = name;
    f->precision = precision;
    b->options.precision = precision;
    show(name, precision_name(precision));
    const TimStatus status = tim_bench_run(&f->result, name, &b->options, err);
    show("", "");
    if (status != TIM_OK) return status;
    b->count++;
    if (!b->json) print_row(b, f);
    return TIM_OK;
}

static TimStatus measure_cases(Bench *b, TimError *err) {
    TimStatus status = TIM_OK;
    for (const char **name = b->names; *name && status == TIM_OK; name++) {
        if (b->precisions != ONLY_F32) status = measure_case(b, *name, TIM_PRECISION_BF16, err);
        if (b->precisions != ONLY_BF16 && status == TIM_OK) status = measure_case(b, *name, TIM_PRECISION_F32, err);
    }
    return status;
}

static TimStatus measure(Bench *b, TimError *err) {
    show("the peak of a matrix product", "");
    TimStatus status = tim_bench_peak(&b->peak, &b->options, err);
    show("", "");
    if (status == TIM_OK && !b->json) print_heading(b);
    if (status == TIM_OK) status = measure_cases(b, err);
    if (status == TIM_OK && b->json) print_json(b);
    return status;
}

static ExitCode bench(Bench *b) {
    TimError err;
    b->figures = calloc(2 * MAX_CASES, sizeof *b->figures);
    if (!b->figures) {
        fputs("tim bench: no memory for the figures\n", stderr);
        return EXIT_FAILED;
    }
    const TimStatus status = measure(b, &err);
    free(b->figures);
    if (status == TIM_OK) return EXIT_FINE;
    fprintf(stderr, "tim bench: %s\n", err.text);
    return EXIT_FAILED;
}

/* ---- the command line ---- */

static void name_all(const char *names[MAX_CASES + 1]) {
    int count = 0;
    for (; count < MAX_CASES && tim_bench_case(count); count++) names[count] = tim_bench_case(count);
    names[count] = NULL;
}

static ExitCode print_list(void) {
    for (int i = 0; tim_bench_case(i); i++) puts(tim_bench_case(i));
    return EXIT_FINE;
}

static bool is_case(const char *name) {
    for (int i = 0; tim_bench_case(i); i++)
        if (strcmp(tim_bench_case(i), name) == 0) return true;
    return false;
}

static ExitCode unknown_case(const char *name) {
    const char *names[MAX_CASES + 1];
    name_all(names);
    const char *near = nearest_word(name, names);
    if (near) return command_line_misused("bench", "no case is called '%s'; did you mean '%s'?", name, near);
    return command_line_misused("bench", "no case is called '%s'; --list names them", name);
}

static ExitCode choose_cases(Bench *b, const Operands *given) {
    if (given->count == 1 && strcmp(given->items[0], "all") == 0) {
        name_all(b->names);
        return EXIT_FINE;
    }
    for (int i = 0; i < given->count; i++) {
        if (!is_case(given->items[i])) return unknown_case(given->items[i]);
        b->names[i] = given->items[i];
    }
    if (given->count == 0) memcpy(b->names, default_cases, sizeof default_cases);
    return EXIT_FINE;
}

static bool parse(Bench *b, int count, char **words, Operands *cases, ExitCode *code) {
    const Option options[] = {
        option_flag("list", &b->list, "name the cases and end"),
        option_flag("json", &b->json, "print one JSON document with every figure"),
        option_choice("precision", &b->precisions, bench_precision_words, "of the matrix products (default bf16)"),
        option_int("runs", &b->options.runs, 1, 1000000, "timed repetitions, after one for warming up (default 5)"),
        option_threads(&b->options.threads),
        option_isa(&b->isa),
        option_int64("micro-batch", &b->options.micro_batch, 1, 65536, "samples at once in training (default: chosen)"),
        option_flag("ops", &b->ops, "add the seconds of each kind of op"),
    };
    const CommandLine line = {
        .command = "bench",
        .summary = "Measures this machine: the peak of a matrix product, then forward passes and whole training steps beside it.",
        .operands = "[CASE...|all]",
        .options = options,
        .option_count = sizeof options / sizeof *options,
        .max_operands = MAX_OPERANDS,
        .notes = "Without CASE: train_small:jvp train_small:dde train_small:none.\n"
                 "GFLOP counts the matrix products and attention of one repetition. The rate is that of the median repetition, and "
                 "the peak the best over "
                 "several sizes in the same precision. MiB are of weights, gradients, moments and tapes.",
    };
    return command_line_parse(&line, count, words, cases, code);
}

int cmd_bench(int count, char **words) {
    Bench b = {.options.runs = 5, .options.threads = omp_get_max_threads()};
    Operands cases;
    ExitCode code;
    if (!parse(&b, count, words, &cases, &code)) return code;
    if (b.list) return print_list();
    b.options.isa = chosen_isa(b.isa);
    code = choose_cases(&b, &cases);
    return code == EXIT_FINE ? bench(&b) : code;
}
