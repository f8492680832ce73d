/* tim demo: what the small model that comes with the program draws, from one evaluation of the network to 32, as one sheet.
 * Every row starts from the same noise: only the number of evaluations differs. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "commands.h"
#include "options.h"
#include "step_sheet.h"
#include "support.h"
#include "tim/eval.h"

enum { MAX_PATH = 4096 };

typedef struct Demo {
    const char *model_path, *out;
    int precision, threads;
    uint64_t seed;
    TimModel *model;
} Demo;

/* ---- the sheet ---- */

static void show_row(const char *label, double seconds) {
    printf("  %-14s %6.3f s\n", label, seconds);
}

static TimStatus write_sheet(const Demo *d, const char *path, TimError *err) {
    static const int steps[] = {1, 2, 4, 8, 32};
    char run[MAX_PATH];
    snprintf(run, sizeof run, "model %.1024s, seed %" PRIu64 ", precision %s", d->model_path, d->seed,
             precision_words[d->precision]);
    const TimImageText texts[] = {{"Software", "tim " TIM_VERSION}, {"parameters", run}};
    const StepSheet sheet = {.steps = steps,
                             .rows = sizeof steps / sizeof *steps,
                             .seed = d->seed,
                             .title = "tim.c: one set of weights, any number of steps",
                             .texts = texts,
                             .text_count = sizeof texts / sizeof *texts,
                             .told = show_row};
    return step_sheet_write(d->model, &sheet, path, err);
}

/* ---- before and after ---- */

static TimStatus open_model(Demo *d, TimError *err) {
    const TimModelOptions options = {.precision = d->precision == 0 ? TIM_PRECISION_BF16 : TIM_PRECISION_F32,
                                     .threads = d->threads};
    const TimStatus status = tim_model_open(&d->model, d->model_path, NULL, &options, err);
    if (status != TIM_OK) return status;
    printf("%s: %.2f M parameters, %s\n", d->model_path, 1e-6 * (double)tim_model_parameter_count(d->model),
           precision_words[d->precision]);
    return TIM_OK;
}

static void print_place(const char *path) {
    char *whole = realpath(path, NULL);
    puts(whole ? whole : path);
    free(whole);
}

/* The report in the model's folder, or beside its file. */
static int name_report(char report[MAX_PATH], const char *model) {
    struct stat info;
    const char *slash = strrchr(model, '/');
    if (stat(model, &info) == 0 && S_ISDIR(info.st_mode)) return snprintf(report, MAX_PATH, "%s/report.json", model);
    return snprintf(report, MAX_PATH, "%.*sreport.json", slash ? (int)(slash + 1 - model) : 0, model);
}

/* index.html, where the model comes with a report of its own. */
static TimStatus write_page(const Demo *d, const char *sheet, TimError *err) {
    char report[MAX_PATH], page[MAX_PATH];
    const int a = name_report(report, d->model_path), b = snprintf(page, sizeof page, "%s/index.html", d->out);
    if (a < 0 || a >= MAX_PATH || b < 0 || b >= MAX_PATH || access(report, R_OK) != 0) return TIM_OK;
    const TimStatus status = tim_report_write_demo(report, d->model, sheet, page, err);
    if (status == TIM_OK) print_place(page);
    if (status != TIM_E_ARGUMENT) return status;
    fprintf(stderr, "note: no page: %s\n", err->text);
    return TIM_OK;
}

static TimStatus run(Demo *d, const char *path, TimError *err) {
    TimStatus status = open_model(d, err);
    if (status == TIM_OK) status = make_folder(d->out, err);
    if (status == TIM_OK) status = write_sheet(d, path, err);
    if (status == TIM_OK) print_place(path);
    return status == TIM_OK ? write_page(d, path, err) : status;
}

static ExitCode demo(Demo *d, const char *path) {
    TimError err;
    const TimStatus status = run(d, path, &err);
    tim_model_close(d->model);
    if (status == TIM_OK) return EXIT_FINE;
    fprintf(stderr, "tim demo: %s\n", err.text);
    if (!d->model && err.status == TIM_E_IO)
        fputs("The model comes with the source, in models/fashion: run './bootstrap demo' in the source's root folder.\n"
              "Or train one, 'tim train --config configs/fashion.yaml --out runs/fashion', and name its checkpoint with --model.\n",
              stderr);
    return EXIT_FAILED;
}

/* ---- the command line ---- */

static bool parse(Demo *d, int count, char **words, ExitCode *code) {
    const Option options[] = {
        option_text("out", &d->out, "DIR", "folder for sheet.png and index.html (default out/demo)"),
        option_text("model", &d->model_path, "DIR|FILE", "what to draw from (default models/fashion)"),
        option_uint64("seed", &d->seed, "start of the random numbers (default 1)"),
        option_choice("precision", &d->precision, precision_words, "of the matrix products (default bf16)"),
        option_threads(&d->threads),
    };
    const CommandLine line = {
        .command = "demo",
        .summary = "Draws a sheet of pictures, a column for each class, with 1 to 32 evaluations of one small model.",
        .options = options,
        .option_count = sizeof options / sizeof *options,
        .notes = "The rows of a column start from the same noise. The last line printed is the path of the page, or of the sheet "
                 "where the model has no "
                 "report.json beside it.",
    };
    Operands none;
    return command_line_parse(&line, count, words, &none, code);
}

int cmd_demo(int count, char **words) {
    Demo d = {.model_path = "models/fashion", .out = "out/demo", .seed = 1};
    ExitCode code;
    char path[MAX_PATH];
    if (!parse(&d, count, words, &code)) return code;
    const int length = snprintf(path, sizeof path, "%s/sheet.png", d.out);
    if (*d.out == '\0' || length < 0 || (size_t)length >= sizeof path)
        return command_line_misused("demo", "--out: name a folder, in at most %d bytes", MAX_PATH - 16);
    return demo(&d, path);
}
