/* tim eval: draws from a model at several numbers of steps, judges the pictures, and writes a report; or judges given pictures. */
#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "class_names.h"
#include "commands.h"
#include "eval_pictures.h"
#include "options.h"
#include "support.h"
#include "tim/eval.h"

enum { MAX_STEP_COUNTS = 64 };

typedef struct Request {
    TimEvalOptions eval;
    const char *pictures; /* a set to judge instead of a model; NULL: none */
    NumberList steps;
    bool only_transition, json, names_judge; /* --reference and --classifier are both given */
    int precision, suite, isa;
    char date[16];
    int step_items[MAX_STEP_COUNTS];
} Request;

static const char *const suite_words[] = {"own", "adm", NULL};
enum { SUITE_OWN, SUITE_ADM };
static const char own_classifier[] = "models/fashion-judge/model.safetensors";

static const TimPrecision precisions[] = {TIM_PRECISION_BF16, TIM_PRECISION_F32};

static bool show(const TimEvalProgress *p, void *user) {
    (void)user;
    const TimJudgement *j = p->judgement;
    char agreement[48] = "";
    if (!isnan(j->agreement)) snprintf(agreement, sizeof agreement, "agreement %5.1f %%  ", 100 * j->agreement);
    printf("%3d of %d  %-10s %5d %s  seed %d  Frechet %9.4g  %sprecision %.3f  recall %.3f  %.0f pictures/s  %.0f s\n", p->done,
           p->total, p->mode == TIM_SAMPLE_TRANSITION ? "transition" : "diffusion", p->steps, p->steps == 1 ? "step " : "steps",
           p->seed_index, j->frechet, agreement, j->precision, j->recall, p->pictures_per_second, p->seconds);
    fflush(stdout);
    return true;
}

/* Today in UTC: a report says when it was made. */
static void write_date(Request *r) {
    const time_t now = time(NULL);
    struct tm parts;
    if (gmtime_r(&now, &parts) && strftime(r->date, sizeof r->date, "%Y-%m-%d", &parts)) r->eval.date = r->date;
}

static bool uses_own_classifier(const Request *r) {
    return strcmp(r->eval.classifier, own_classifier) == 0;
}

/* The one that comes along is found from the root of the source only. */
static bool has_classifier(const Request *r) {
    if (!uses_own_classifier(r) || access(own_classifier, R_OK) == 0) return true;
    fprintf(stderr, "tim eval: %s is not here: name the file as --classifier, or run in the source's root folder\n",
            own_classifier);
    return false;
}

/* What tim_eval_options and this program take where nothing is named is Fashion-MNIST's: not for a model of other pictures. */
static TimStatus check_defaults(const Request *r, TimError *err) {
    if (r->names_judge) return TIM_OK;
    const TimModelOptions options = {.precision = TIM_PRECISION_F32, .threads = 1};
    TimModel *model;
    TimStatus status = tim_model_open(&model, r->eval.model, r->eval.config, &options, err);
    if (status != TIM_OK) return status;
    const TimConfig *c = tim_model_config(model);
    if (c->data_type && strcmp(c->data_type, "idx") == 0)
        status = fail_with(
            err, TIM_E_ARGUMENT,
            "%.300s: has learned pictures of %.300s, not Fashion-MNIST: name real ones as --reference, such as %.300s:test, "
            "and a classifier of these, which tim classifier makes, as --classifier",
            r->eval.model, c->data_dir ? c->data_dir : "IDX files", c->data_dir ? c->data_dir : "FOLDER");
    tim_model_close(model);
    return status;
}

static ExitCode evaluate_model(Request *r) {
    TimError err;
    if (!r->eval.out) return command_line_misused("eval", "--model wants --out, the folder for its report");
    if (r->steps.count > MAX_STEP_COUNTS)
        return command_line_misused("eval", "--steps has %" PRId64 " numbers; at most %d", r->steps.count, MAX_STEP_COUNTS);
    if (!has_classifier(r)) return EXIT_FAILED;
    for (int64_t i = 0; i < r->steps.count; i++) r->step_items[i] = (int)r->steps.items[i];
    if (r->steps.count) r->eval.steps = r->step_items, r->eval.step_count = (int)r->steps.count;
    r->eval.diffusion = !r->only_transition;
    r->eval.precision = precisions[r->precision];
    r->eval.progress = show;
    r->eval.class_name = class_label;
    write_date(r);
    if (check_defaults(r, &err) != TIM_OK || tim_eval(&r->eval, &err) != TIM_OK) {
        fprintf(stderr, "tim eval: %s\n", err.text);
        return EXIT_FAILED;
    }
    printf("%s/report.html\n", r->eval.out);
    return EXIT_FINE;
}

/* ---- pictures drawn elsewhere ---- */

static ExitCode evaluate_pictures(Request *r) {
    TimError err;
    if (!has_classifier(r)) return EXIT_FAILED;
    if (r->suite == SUITE_ADM && strcmp(r->eval.reference, "fashion-mnist") == 0) r->eval.reference = "fashion-mnist:test";
    const EvalPictures what = {.judge = {.classifier = r->eval.classifier,
                                         .reference = r->eval.reference,
                                         .training = r->eval.training,
                                         .threads = r->eval.threads,
                                         .isa = r->eval.isa},
                               .pictures = r->pictures,
                               .json = r->json};
    if ((r->suite == SUITE_ADM ? eval_pictures_adm(&what, &err) : eval_pictures(&what, &err)) == TIM_OK) return EXIT_FINE;
    fprintf(stderr, "tim eval: %s\n", err.text);
    return EXIT_FAILED;
}

static bool is_among(const char *name, const char *const *names) {
    while (*names && strcmp(*names, name) != 0) names++;
    return *names;
}

/* What is given and would have no effect; NULL: nothing. */
static const char *idle_option(const Request *r, const CommandLine *line) {
    static const char *const drawing[] = {"config",       "out",   "steps",     "samples",   "seeds", "seed",
                                          "no-diffusion", "batch", "precision", "overwrite", NULL},
                             *const copies[] = {"training", NULL};
    for (size_t i = 0; i < line->option_count; i++) {
        const char *name = line->options[i].name;
        if (!line->given[i]) continue;
        if ((r->pictures && is_among(name, drawing)) || (r->suite == SUITE_ADM && is_among(name, copies))) return name;
    }
    return NULL;
}

static ExitCode evaluate(Request *r, const CommandLine *line) {
    if (!r->eval.model == !r->pictures)
        return command_line_misused("eval", "give either --model, to draw and judge, or --pictures, to judge what is there");
    if (r->eval.model && r->suite == SUITE_ADM)
        return command_line_misused("eval", "--suite adm judges --pictures; write an npz with tim sample first");
    if (r->eval.model && r->json)
        return command_line_misused("eval", "--json is of --pictures; of a model --out gets a report.json");
    const char *idle = idle_option(r, line);
    if (idle)
        return command_line_misused("eval", "--%s has no effect on --pictures%s; leave it out", idle,
                                    r->suite == SUITE_ADM ? " with --suite adm" : "");
    if (r->suite == SUITE_ADM && uses_own_classifier(r))
        return command_line_misused("eval", "--suite adm wants the weights of the FID network: name their file as --classifier");
    r->eval.isa = chosen_isa(r->isa);
    r->names_judge = command_line_given(line, &r->eval.reference) && command_line_given(line, &r->eval.classifier);
    return r->pictures ? evaluate_pictures(r) : evaluate_model(r);
}

static ExitCode parse(Request *r, int count, char **words) {
    bool given[32] = {false};
    const Option options[] = {
        option_text("model", &r->eval.model, "DIR|FILE", "a class model on pixels: its folder or file (of others: --pictures)"),
        option_text("pictures", &r->pictures, "DATA", "instead of a model: pictures to judge, drawn elsewhere"),
        option_choice("suite", &r->suite, suite_words, "the numbers of --pictures: ours, or those of ADM's suite (default own)"),
        option_flag("json", &r->json, "print what is found of --pictures as JSON"),
        option_text("config", &r->eval.config, "YAML",
                    "its configuration (default: config.yaml beside the weights, or the official one)"),
        option_text("out", &r->eval.out, "DIR", "folder for report.json, report.html and what is finished, of a model"),
        option_text("reference", &r->eval.reference, "DATA", "real pictures to compare with (default fashion-mnist)"),
        option_text("training", &r->eval.training, "DATA",
                    "pictures the model has learned from, to find copies (default: those of fashion-mnist, else none)"),
        option_text("classifier", &r->eval.classifier, "FILE",
                    "from tim classifier, or Inception v3 (default models/fashion-judge/model.safetensors)"),
        option_list("steps", &r->steps, 1, TIM_SAMPLE_MAX_STEPS, "numbers of steps (default 1,2,4,8,32,128)"),
        option_int64("samples", &r->eval.samples, 4, INT_MAX, "pictures for each number of steps and seed (default 10000)"),
        option_int("seeds", &r->eval.seeds, 1, 100, "repetitions, for the standard errors (default 3)"),
        option_uint64("seed", &r->eval.seed, "the first of them, below 2^63 (default 0)"),
        option_flag("no-diffusion", &r->only_transition, "leave out the diffusion mode, the baseline"),
        option_int("batch", &r->eval.batch, 1, 65536, "pictures drawn at a time (default 100)"),
        option_choice("precision", &r->precision, precision_words, "of the matrix products (default bf16)"),
        option_threads(&r->eval.threads),
        option_flag("overwrite", &r->eval.overwrite, "replace what an evaluation of something else left in --out"),
        option_isa(&r->isa),
    };
    _Static_assert(sizeof options / sizeof *options <= sizeof given / sizeof *given, "every option has a place");
    const CommandLine line = {
        .given = given,
        .command = "eval",
        .summary = "Judges a model by the pictures it draws, in the transition and in the diffusion mode, and writes a report; "
                   "or judges pictures that are there.",
        .options = options,
        .option_count = sizeof options / sizeof *options,
        .notes =
            "The same command goes on where a run that was ended has stopped, and with more --steps or --seeds draws only these.\n"
            "DATA is fashion-mnist (its test pictures, and its training pictures for copies), FOLDER:test with IDX files, a folder "
            "of PNG, JPEG or WebP files or of sub-folders with these, a class each, called by its number or else in the order of "
            "names, or an .npz with arr_0 and perhaps arr_1, the classes. Inception v3 is a file of tensors with the names of the "
            "FID network, "
            "Conv2d_1a_3x3.conv.weight and so on. "
            "Pictures are all of the reference's size; --suite adm, which wants Inception, takes any. It takes ADM's reference "
            "batches too: FID, sFID, "
            "inception score, precision and recall as guided-diffusion's evaluator.py.",
    };
    Operands none;
    ExitCode code;
    return command_line_parse(&line, count, words, &none, &code) ? evaluate(r, &line) : code;
}

int cmd_eval(int count, char **words) {
    Request r = {0};
    tim_eval_options_init(&r.eval);
    r.eval.reference = "fashion-mnist";
    r.eval.classifier = own_classifier;
    const ExitCode code = parse(&r, count, words);
    number_list_done(&r.steps);
    return code;
}
