/* tim eval: draws from a model at several numbers of steps, judges the pictures, and writes a report. */
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <time.h>

#include "class_names.h"
#include "commands.h"
#include "options.h"
#include "tim/eval.h"

enum { MAX_STEP_COUNTS = 64 };

typedef struct Request {
    TimEvalOptions eval;
    NumberList steps;
    bool only_transition;
    int precision;
    char date[16];
    int step_items[MAX_STEP_COUNTS];
} Request;

static const char *const precision_words[] = {"bf16", "fp32", NULL};
static const TimPrecision precisions[] = {TIM_PRECISION_BF16, TIM_PRECISION_F32};

static bool show(const TimEvalProgress *p, void *user) {
    (void)user;
    const TimJudgement *j = p->judgement;
    printf("%3d of %d  %-10s %5d %s  seed %d  Frechet %8.2f  agreement %5.1f %%  precision %.3f  recall %.3f  %.0f pictures/s  "
           "%.0f s\n",
           p->done, p->total, p->mode == TIM_SAMPLE_TRANSITION ? "transition" : "diffusion", p->steps,
           p->steps == 1 ? "step " : "steps", p->seed_index, j->frechet, 100 * j->agreement, j->precision, j->recall,
           p->pictures_per_second, p->seconds);
    fflush(stdout);
    return true;
}

/* Today in UTC: a report says when it was made. */
static void write_date(Request *r) {
    const time_t now = time(NULL);
    struct tm parts;
    if (gmtime_r(&now, &parts) && strftime(r->date, sizeof r->date, "%Y-%m-%d", &parts)) r->eval.date = r->date;
}

static ExitCode evaluate(Request *r) {
    TimError err;
    if (r->steps.count > MAX_STEP_COUNTS)
        return command_line_misused("eval", "--steps has %" PRId64 " numbers; at most %d", r->steps.count, MAX_STEP_COUNTS);
    for (int64_t i = 0; i < r->steps.count; i++) r->step_items[i] = (int)r->steps.items[i];
    if (r->steps.count) r->eval.steps = r->step_items, r->eval.step_count = (int)r->steps.count;
    r->eval.diffusion = !r->only_transition;
    r->eval.precision = precisions[r->precision];
    r->eval.progress = show;
    r->eval.class_name = class_label;
    write_date(r);
    if (tim_eval(&r->eval, &err) != TIM_OK) {
        fprintf(stderr, "tim eval: %s\n", err.text);
        return EXIT_FAILED;
    }
    printf("%s/report.html\n", r->eval.out);
    return EXIT_FINE;
}

static ExitCode parse(Request *r, int count, char **words) {
    const Option options[] = {
        option_required(option_text("model", &r->eval.model, "DIR|FILE", "folder with model.safetensors, or the file")),
        option_text("config", &r->eval.config, "YAML", "its configuration (default: config.yaml beside the weights)"),
        option_required(option_text("out", &r->eval.out, "DIR", "folder for report.json and report.html")),
        option_text("reference", &r->eval.reference, "DATA", "real pictures to compare with (default fashion-mnist)"),
        option_text("training", &r->eval.training, "DATA",
                    "pictures the model has learned from, to find copies (default DATA:train)"),
        option_text("classifier", &r->eval.classifier, "FILE",
                    "from tim classifier (default models/fashion-judge/model.safetensors)"),
        option_list("steps", &r->steps, 1, TIM_SAMPLE_MAX_STEPS, "numbers of steps (default 1,2,4,8,32,128)"),
        option_int64("samples", &r->eval.samples, 4, INT_MAX, "pictures for each number of steps and seed (default 10000)"),
        option_int("seeds", &r->eval.seeds, 1, 100, "repetitions, for the standard errors (default 3)"),
        option_uint64("seed", &r->eval.seed, "the first of them (default 0)"),
        option_flag("no-diffusion", &r->only_transition, "leave out the diffusion mode, the baseline"),
        option_int("batch", &r->eval.batch, 1, 65536, "pictures drawn at a time (default 100)"),
        option_choice("precision", &r->precision, precision_words, "of the matrix products (default bf16)"),
        option_int("threads", &r->eval.threads, 1, 4096, "threads to use (default: as many as there are cores)"),
        option_text("isa", &r->eval.isa, "NAME", "instruction set, as for tim sample (default: the best there is)"),
    };
    const CommandLine line = {
        .command = "eval",
        .summary = "Judges a model by the pictures it draws, in the transition and in the diffusion mode, and writes a report.",
        .options = options,
        .option_count = sizeof options / sizeof *options,
        .notes = "DATA is fashion-mnist (its test pictures, and its training pictures for copies), FOLDER:test with IDX files,\n"
                 "a folder of PNG, JPEG or WebP files, or an .npz with arr_0.",
    };
    Operands none;
    ExitCode code;
    return command_line_parse(&line, count, words, &none, &code) ? evaluate(r) : code;
}

int cmd_eval(int count, char **words) {
    Request r = {0};
    tim_eval_options_init(&r.eval);
    r.eval.reference = "fashion-mnist";
    r.eval.classifier = "models/fashion-judge/model.safetensors";
    const ExitCode code = parse(&r, count, words);
    number_list_done(&r.steps);
    return code;
}
