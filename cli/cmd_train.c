/* tim train: trains a network as a configuration says, into a folder from which it can go on after any interruption. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "commands.h"
#include "interruption.h"
#include "options.h"
#include "preview.h"
#include "support.h"
#include "tim/train.h"

static const char *const train_precision_words[] = {"config", "fp32", "bf16", NULL};

/* What the command line asks for. */
typedef struct Request {
    const char *config;
    int64_t steps; /* -1: as configured; likewise below */
    int batch;     /* 0 */
    double lr;     /* -1 */
    int precision, isa;
    TimTrainOptions train;
    Preview preview;
    char reference[MAX_PATH_BYTES]; /* of the preview, where none is named */
    TimTrainEnd end;                /* why the run ended */
} Request;

/* ---- what is shown ---- */

/* Where lines go: stderr, and on a terminal the last one is written over. */
typedef struct Display {
    Request *request;
    Preview *preview;
    TimError *err; /* of the preview that failed and ended the run */
    bool failed;
    bool terminal;
    double shown; /* when the last line over which the next is written came, in seconds of the run */
    int64_t first_step;
} Display;

/* "1 h 05 min", "3 min 20 s", "12 s" */
static const char *duration(char text[32], double seconds) {
    const long long s = seconds < 1e9 ? (long long)(seconds + 0.5) : 1000000000;
    if (s >= 3600)
        snprintf(text, 32, "%lld h %02lld min", s / 3600, s / 60 % 60);
    else if (s >= 60)
        snprintf(text, 32, "%lld min %02lld s", s / 60, s % 60);
    else
        snprintf(text, 32, "%lld s", s);
    return text;
}

/* Of the run, by the pace of its steps; the time limit may end it first. */
static double seconds_left(const Display *d, const TimTrainProgress *p, double seconds_per_step) {
    const double by_steps = (double)(p->max_steps - p->step) * seconds_per_step, limit = 60 * d->request->train.minutes;
    return limit > 0 ? fmax(0, fmin(by_steps, limit - p->seconds)) : by_steps;
}

static void clear_line(const Display *d) {
    if (d->terminal) fputs("\r\033[K", stderr);
}

static void show_start(Display *d, const TimTrainProgress *p) {
    d->first_step = p->step;
    fprintf(stderr, "%s: %.2f M parameters, %zu pictures, %s%s\n", d->request->train.out, 1e-6 * (double)p->parameters, p->pictures,
            p->path ? "goes on from " : "a new run", p->path ? p->path : "");
}

static void show_step(Display *d, const TimTrainProgress *p) {
    if (p->report->skipped_now) {
        clear_line(d);
        fprintf(stderr, "step %" PRId64 ": the gradient is not finite; no update (%" PRId64 " so far)\n", p->step,
                p->report->skipped);
    }
    if (!d->terminal || p->seconds - d->shown < 0.2) return;
    d->shown = p->seconds;
    fprintf(stderr, "\r\033[Kstep %" PRId64 " of %" PRId64 ", %.0f pictures/s", p->step, p->max_steps,
            p->report->pictures_per_second);
}

static void show_means(const Display *d, const TimTrainProgress *p) {
    const TimTrainReport *r = p->report;
    char left[32];
    clear_line(d);
    fprintf(stderr, "step %6" PRId64 "  loss %.4f  denoising %.4f", p->step, r->loss, r->denoising);
    if (r->proj > 0) fprintf(stderr, "  proj %.4f", r->proj);
    fprintf(stderr, "  norm %.3g  lr %.2e  %.3f s/step  %.0f pictures/s  %s left\n", r->grad_norm, r->learning_rate, r->seconds,
            r->pictures_per_second, duration(left, seconds_left(d, p, r->seconds)));
}

static void show_end(const Display *d, const TimTrainProgress *p) {
    static const char *const reasons[] = {"", "done", "time is up", "interrupted"};
    char time[32];
    clear_line(d);
    d->request->end = p->end;
    printf("%s: %s after %" PRId64 " of %" PRId64 " steps; %" PRId64 " now, in %s\n", d->request->train.out,
           d->failed ? "a preview failed" : reasons[p->end], p->step, p->max_steps, p->step - d->first_step,
           duration(time, p->seconds));
}

/* A preview that cannot be drawn ends the run, which saves first: whoever asked for it wants to know. Who interrupts does not wait
 * for one. */
static void draw_preview(Display *d, const TimTrainProgress *p) {
    if (!preview_due(d->preview, p->step) || interrupted()) return;
    clear_line(d);
    const TimStatus status = preview_draw(d->preview, p, d->err);
    d->failed = status != TIM_OK && status != TIM_E_CANCELLED;
}

static bool show(const TimTrainProgress *progress, void *user) {
    Display *d = user;
    switch (progress->event) {
    case TIM_TRAIN_NOTED:
        say_disarmed("note", "%s", progress->note);
        break;
    case TIM_TRAIN_STARTED:
        show_start(d, progress);
        break;
    case TIM_TRAIN_STEP:
        show_step(d, progress);
        draw_preview(d, progress);
        break;
    case TIM_TRAIN_LOGGED:
        show_means(d, progress);
        break;
    case TIM_TRAIN_SAVED:
        clear_line(d);
        fprintf(stderr, "saved %s\n", progress->path);
        break;
    case TIM_TRAIN_ENDED:
        show_end(d, progress);
        break;
    }
    return !interrupted() && !d->failed;
}

/* ---- the command ---- */

static void override(TimTrainingConfig *config, const Request *r) {
    if (r->steps >= 0) config->max_train_steps = r->steps;
    if (r->batch > 0) config->batch_size = r->batch;
    if (r->lr >= 0) config->learning_rate = r->lr;
    if (r->precision > 0) config->mixed_precision = r->precision == 1 ? TIM_PRECISION_F32 : TIM_PRECISION_BF16;
}

static TimStatus read_config(TimConfig *config, const Request *r, TimError *err) {
    const TimStatus status = tim_config_read(config, r->config, err);
    override(&config->training, r);
    if (status == TIM_OK && *config->without_effect)
        say_disarmed("note", "%s: these keys have no effect here: %s", r->config, config->without_effect);
    return status;
}

/* Real pictures of those that are learned, unless others are named. */
static TimStatus name_reference(Request *r, const TimConfig *config, TimError *err) {
    if (r->preview.reference) return TIM_OK;
    r->preview.reference = "fashion-mnist:test";
    if (!config->data_dir) return TIM_OK;
    r->preview.reference = r->reference;
    const int length = snprintf(r->reference, sizeof r->reference, "%s:test", config->data_dir);
    if (length > 0 && (size_t)length < sizeof r->reference) return TIM_OK;
    return fail_with(err, TIM_E_ARGUMENT, "data.dataset.data_dir: the path is longer than %zu bytes", sizeof r->reference - 6);
}

static TimStatus train(Request *r, TimError *err) {
    TimError preview;
    Display display = {.request = r, .preview = &r->preview, .err = &preview, .terminal = isatty(STDERR_FILENO) == 1};
    TimConfig config;
    TimStatus status = read_config(&config, r, err);
    r->train.trainer.isa = chosen_isa(r->isa);
    r->train.progress = show;
    r->train.user = &display;
    r->preview.out = r->train.out, r->preview.threads = r->train.trainer.threads, r->preview.isa = r->train.trainer.isa;
    if (status == TIM_OK) status = name_reference(r, &config, err);
    if (status == TIM_OK) status = preview_open(&r->preview, &config, err);
    if (status == TIM_OK) status = tim_train(&config, &r->train, err);
    if (status == TIM_OK && display.failed) *err = preview, status = preview.status;
    preview_done(&r->preview);
    if (status != TIM_OK) clear_line(&display);
    tim_config_done(&config);
    return status;
}

static bool parse(Request *r, int count, char **words, ExitCode *code) {
    TimTrainOptions *t = &r->train;
    const Option options[] = {
        option_required(option_text("config", &r->config, "YAML", "configuration")),
        option_required(option_text("out", &t->out, "DIR", "folder of the run")),
        option_text("resume", &t->resume, "WHAT", "latest, none, or a checkpoint's folder (default latest)"),
        option_text("init", &t->trainer.init, "MODEL", "of a new run: a model whose weights it begins with (default: random)"),
        option_int64("steps", &r->steps, 0, 1 << 30, "where training and the rate's schedule end (default: the configuration's)"),
        option_real("minutes", &t->minutes, 0, 1e9, "save and end after this time (default: no limit)"),
        option_int("batch", &r->batch, 1, 1000000, "pictures a step (default: the configuration's)"),
        option_int("micro-batch", &t->trainer.micro_batch, 1, 1000000, "of them at once: memory and speed (default: chosen)"),
        option_real("lr", &r->lr, 0, 1000, "learning rate, before scale_lr (default: the configuration's)"),
        option_uint64("seed", &t->trainer.seed, "of a new run; a resumed one keeps its own (default 0)"),
        option_choice("precision", &r->precision, train_precision_words, "of matrix products (default config)"),
        option_threads(&t->trainer.threads),
        option_isa(&r->isa),
        option_int64("preview-every", &r->preview.every, 1, 1e9, "steps between sheets of pictures in DIR/samples (default: none)"),
        option_text("classifier", &r->preview.classifier, "FILE",
                    "from tim classifier: previews also log a quick Frechet distance"),
        option_text("reference", &r->preview.reference, "DATA",
                    "real pictures for it (default: the test pictures of what is learned)"),
        option_int64("preview-pictures", &r->preview.pictures, 10, 10000, "pictures for it (default 1000)"),
        option_int64("log-every", &t->log_every, 1, 1e9, "steps between lines of the log (default 50)"),
    };
    const CommandLine line = {
        .command = "train",
        .summary = "Trains a class-conditional network on pictures.",
        .options = options,
        .option_count = sizeof options / sizeof *options,
        .notes = "DIR gets configs/config.yaml, log.jsonl and checkpoints/checkpoint-N, whose model.safetensors holds the averaged "
                 "weights: tim sample "
                 "--model DIR/checkpoints/checkpoint-N draws from them.\n"
                 "Ctrl-C, as --minutes, finishes the step, saves and ends, with 130 where --minutes ends with 0; the same command "
                 "(without --resume) then goes on, and "
                 "the result has the same "
                 "bits as if nothing had happened, given the same threads, micro-batch and instruction set. --resume FOLDER puts "
                 "checkpoints out of the "
                 "way that do not lead to it.",
    };
    Operands operands;
    return command_line_parse(&line, count, words, &operands, code);
}

int cmd_train(int count, char **words) {
    Request request = {.steps = -1, .lr = -1};
    ExitCode code;
    TimError err;
    if (!parse(&request, count, words, &code)) return code;
    if (request.preview.classifier && !request.preview.every)
        return command_line_misused("train", "--classifier judges previews: say with --preview-every how often");
    if ((request.preview.reference || request.preview.pictures) && !request.preview.classifier)
        return command_line_misused("train", "--reference and --preview-pictures are for judging: name a --classifier");
    if (!request.preview.pictures) request.preview.pictures = 1000;
    catch_interruptions();
    if (train(&request, &err) == TIM_OK) return request.end == TIM_TRAIN_CANCELLED ? interruption_code() : EXIT_FINE;
    fprintf(stderr, "tim train: %s\n", err.text);
    return EXIT_FAILED;
}
