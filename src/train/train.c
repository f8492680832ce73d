/* A whole run: where it starts, its steps, its log and its checkpoints, and what ends it.
 * Invariant: the newest checkpoint and the steps after it are a function of configuration, seed, threads and micro-batch, not of
 * interruptions. */
#include "tim/train.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "io/config_diff.h"
#include "io/file.h"
#include "model/store.h"
#include "op/matmul.h"
#include "train/checkpoints.h"
#include "train/folder.h"
#include "train/log.h"
#include "train/time_pairs.h"
#include "train/trainer.h"

enum {
    LOG_EVERY = 50,     /* steps */
    MOST_SKIPPED = 100, /* steps in a row without an update: what the weights are by then gives no finite gradient any more */
};

/* Sums over the steps since the last line of the log. */
typedef struct Window {
    int64_t steps, updates;
    TimTrainReport sum; /* losses and norm over updates, times over steps; the rest is the last step's */
} Window;

typedef struct Run {
    const TimTrainOptions *options;
    TimTrainer *trainer;
    double begin;
    int64_t saved; /* the step of the checkpoint written or read last, or -1 */
    int skipped;   /* the last so many steps made no update */
    Window window;
    TimTrainEnd end;
    char checkpoints[TIM_MAX_PATH], log[TIM_MAX_PATH];
    char from[TIM_MAX_PATH]; /* the checkpoint to go on from, or empty */
} Run;

/* ---- telling ---- */

/* `text` is a note's or a path. */
static void tell(Run *run, TimTrainEvent event, const TimTrainReport *report, const char *text) {
    const TimTrainer *t = run->trainer;
    const TimTrainProgress progress = {.event = event,
                                       .end = run->end,
                                       .step = t->state.step,
                                       .max_steps = t->model->config.training.max_train_steps,
                                       .seconds = tim_clock() - run->begin,
                                       .report = report,
                                       .path = event == TIM_TRAIN_NOTED ? NULL : text,
                                       .note = event == TIM_TRAIN_NOTED ? text : NULL,
                                       .parameters = tim_model_parameter_count(t->model),
                                       .pictures = tim_data_count(t->data),
                                       .average = t->ema};
    if (!run->options->progress || run->options->progress(&progress, run->options->user)) return;
    if (run->end == TIM_TRAIN_RUNNING) run->end = TIM_TRAIN_CANCELLED;
}

static void note(Run *run, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* One line; cut when longer. */
static void note(Run *run, const char *format, ...) {
    char text[3 * TIM_MAX_PATH];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    tell(run, TIM_TRAIN_NOTED, NULL, text);
}

/* ---- the log ---- */

static void add_to_window(Window *window, const TimTrainReport *r) {
    TimTrainReport *sum = &window->sum;
    const bool updated = !r->skipped_now;
    window->steps++;
    window->updates += updated;
    sum->step = r->step;
    sum->skipped = r->skipped;
    sum->skipped_now |= r->skipped_now;
    sum->loss += updated ? r->loss : 0;
    sum->denoising += updated ? r->denoising : 0;
    sum->proj += updated ? r->proj : 0;
    sum->grad_norm += updated ? r->grad_norm : 0;
    sum->learning_rate = r->learning_rate;
    if (updated) sum->ema_decay = r->ema_decay;
    sum->seconds += r->seconds;
    sum->seconds_data += r->seconds_data;
    sum->seconds_objective += r->seconds_objective;
    sum->seconds_update += r->seconds_update;
}

/* The means; losses, norm and decay are NaN when no step made an update. */
static TimTrainReport mean_of(const Window *window, int batch_size) {
    TimTrainReport mean = window->sum;
    const double steps = (double)window->steps, updates = window->updates ? (double)window->updates : NAN;
    mean.loss /= updates;
    mean.denoising /= updates;
    mean.proj /= updates;
    mean.grad_norm /= updates;
    if (!window->updates) mean.ema_decay = NAN;
    mean.pictures_per_second = batch_size * steps / mean.seconds;
    mean.seconds /= steps;
    mean.seconds_data /= steps;
    mean.seconds_objective /= steps;
    mean.seconds_update /= steps;
    return mean;
}

/* Adds the line when it is due, at every multiple of log_every and at the end. */
static TimStatus log_steps(Run *run, TimError *err) {
    const int64_t every = run->options->log_every ? run->options->log_every : LOG_EVERY;
    const bool due = run->trainer->state.step % every == 0 || run->end != TIM_TRAIN_RUNNING;
    if (!due || run->window.steps == 0) return TIM_OK;
    const TimTrainReport mean = mean_of(&run->window, run->trainer->model->config.training.batch_size);
    run->window = (Window){0};
    TIM_TRY(tim_log_append(run->log, &mean, err));
    tell(run, TIM_TRAIN_LOGGED, &mean, NULL);
    return TIM_OK;
}

/* ---- checkpoints ---- */

static TimStatus save(Run *run, TimError *err) {
    const TimTrainer *t = run->trainer;
    char path[TIM_MAX_PATH];
    TIM_TRY(tim_path(path, err, "%s/checkpoint-%lld", run->checkpoints, (long long)t->state.step));
    TIM_TRY(tim_trainer_save(t, path, err));
    run->saved = t->state.step;
    TIM_TRY(tim_checkpoint_rotate(run->checkpoints, t->model->config.training.checkpoints_total_limit, t->state.step, err));
    tell(run, TIM_TRAIN_SAVED, NULL, path);
    return TIM_OK;
}

/* Weights that have gone wrong must not push out those of before: steps without an update put a checkpoint off. */
static TimStatus save_when_due(Run *run, TimError *err) {
    const int64_t step = run->trainer->state.step, every = run->trainer->model->config.training.checkpointing_steps;
    const bool due = step / every > run->saved / every && !run->skipped;
    return run->saved != step && (due || run->end != TIM_TRAIN_RUNNING) ? save(run, err) : TIM_OK;
}

/* ---- the start ---- */

static TimStatus check(const TimTrainOptions *options, TimError *err) {
    if (!options) return tim_fail(err, TIM_E_ARGUMENT, "no options for the run; they name at least the folder to write to");
    if (!options->out || !*options->out) return tim_fail(err, TIM_E_ARGUMENT, "no folder for the run; give one to write to");
    if (options->resume && !*options->resume)
        return tim_fail(err, TIM_E_ARGUMENT, "resume is an empty text; give \"latest\", \"none\" or the folder of a checkpoint");
    if (options->log_every < 0)
        return tim_fail(err, TIM_E_ARGUMENT, "log_every is %lld; it must be at least 0", (long long)options->log_every);
    if (options->minutes >= 0 && options->minutes <= 1e9) return TIM_OK;
    return tim_fail(err, TIM_E_ARGUMENT, "minutes is %g; it must be from 0 to 1e9", options->minutes);
}

static TimStatus make_folders(Run *run, TimError *err) {
    char configs[TIM_MAX_PATH];
    TIM_TRY(tim_path(configs, err, "%s/configs", run->options->out));
    TIM_TRY(tim_path(run->checkpoints, err, "%s/checkpoints", run->options->out));
    TIM_TRY(tim_path(run->log, err, "%s/log.jsonl", run->options->out));
    TIM_TRY(tim_folder_make(configs, err));
    return tim_folder_make(run->checkpoints, err);
}

/* A run that was killed between putting checkpoints out of the way and its own first has them still, and a log: no new run over
 * these. */
static TimStatus check_abandoned(const Run *run, TimError *err) {
    char name[TIM_CHECKPOINT_NAME];
    TIM_TRY(tim_checkpoint_abandoned(name, run->checkpoints, err));
    if (!*name) return TIM_OK;
    return tim_fail(
        err, TIM_E_ARGUMENT,
        "%s holds no checkpoint but %s, which another run put out of its way: resume that by its name, or give a new run "
        "another folder",
        run->checkpoints, name);
}

/* The checkpoint to go on from, or an empty path. */
static TimStatus find_start(const Run *run, char path[TIM_MAX_PATH], TimError *err) {
    const char *how = run->options->resume ? run->options->resume : "latest";
    int64_t latest;
    *path = '\0';
    if (strcmp(how, "latest") != 0 && strcmp(how, "none") != 0) return tim_path(path, err, "%s", how);
    TIM_TRY(tim_checkpoint_latest(&latest, run->checkpoints, err));
    if (latest < 0) return check_abandoned(run, err);
    if (strcmp(how, "none") == 0)
        return tim_fail(err, TIM_E_ARGUMENT,
                        "%s holds checkpoint-%lld of another run: resume that, or give a new run another folder", run->checkpoints,
                        (long long)latest);
    return tim_path(path, err, "%s/checkpoint-%lld", run->checkpoints, (long long)latest);
}

static TimStatus start_new(Run *run, TimError *err) {
    run->saved = -1;
    if (remove(run->log) == 0 || errno == ENOENT) return TIM_OK;
    return tim_fail(err, TIM_E_IO, "%s: cannot remove the log of an earlier run: %s", run->log, strerror(errno));
}

/* ---- what a resumed run leaves ---- */

/* Checkpoints that the one resumed from does not lead to must not be what the next run goes on from, nor push this run's out. */
static TimStatus leave_other_branch(Run *run, const char *path, TimError *err) {
    for (;;) {
        char kept[TIM_MAX_PATH];
        TIM_TRY(tim_checkpoint_abandon(kept, run->checkpoints, run->saved, err));
        if (!*kept) return TIM_OK;
        note(run, "a checkpoint that %s does not lead to is out of the way, as %s", path, kept);
    }
}

static void note_difference(void *context, const char *path, const char *was, const char *is) {
    note(context, "%s: was %s, is %s", path, was, is);
}

/* The checkpoint's own configuration and seed against this run's. */
static TimStatus note_differences(Run *run, const char *path, uint64_t seed, TimError *err) {
    char file[TIM_MAX_PATH];
    TimConfig was;
    TIM_TRY(tim_path(file, err, "%s/" TIM_CONFIG_FILE, path));
    if (tim_config_read(&was, file, NULL) == TIM_OK)
        tim_config_compare(&was, &run->trainer->model->config, note_difference, run);
    else
        note(run, "%s cannot be read: what differs from the checkpoint's configuration is not known", file);
    tim_config_done(&was);
    if (seed != run->trainer->state.seed)
        note(run, "seed: was %llu, is %llu; the checkpoint's stays", (unsigned long long)run->trainer->state.seed,
             (unsigned long long)seed);
    return TIM_OK;
}

/* The configuration of the steps so far, or what else is there, if it is not this run's too; then the run's is written. */
static TimStatus put_config(Run *run, TimError *err) {
    char path[TIM_MAX_PATH], kept[TIM_MAX_PATH], suffix[32];
    const TimConfig *config = &run->trainer->model->config;
    TimConfig was;
    TIM_TRY(tim_path(path, err, "%s/configs/config.yaml", run->options->out));
    const bool same =
        tim_config_read(&was, path, NULL) == TIM_OK && !*was.untrainable && tim_config_compare(&was, config, NULL, NULL) == 0;
    tim_config_done(&was);
    if (same) return TIM_OK;
    if (tim_is_file(path)) {
        snprintf(suffix, sizeof suffix, "until-%lld", (long long)run->trainer->state.step);
        TIM_TRY(tim_path_keep(kept, path, suffix, err));
        note(run, "%s, which differs, is kept as %s", path, kept);
    }
    return tim_config_write(config, path, err);
}

/* The step of this run's own checkpoint if `path` is one, else -1. */
static TimStatus find_saved(Run *run, const char *path, TimError *err) {
    char own[TIM_MAX_PATH];
    TIM_TRY(tim_path(own, err, "%s/checkpoint-%lld", run->checkpoints, (long long)run->trainer->state.step));
    run->saved = tim_folder_same(own, path) ? run->trainer->state.step : -1;
    return TIM_OK;
}

/* The log tells of the steps that lead here. */
static TimStatus cut_log(Run *run, TimError *err) {
    char kept[TIM_MAX_PATH];
    TIM_TRY(tim_log_cut(kept, run->log, run->trainer->state.step, err));
    if (*kept)
        note(run, "%s goes beyond step %lld: the whole of it is kept as %s", run->log, (long long)run->trainer->state.step, kept);
    return TIM_OK;
}

static bool goes_on_from_latest(const Run *run) {
    return !run->options->resume || strcmp(run->options->resume, "latest") == 0;
}

static TimStatus resume(Run *run, const char *path, TimError *err) {
    const TimStatus status = tim_trainer_resume(run->trainer, path, err);
    if (status != TIM_OK)
        return tim_fail_within(err, status, "cannot resume%s",
                               goes_on_from_latest(run) ? " (to go on from an older checkpoint, name its folder as resume)" : "");
    if (run->options->trainer.init) note(run, "the weights are those of %s, not of %s", path, run->options->trainer.init);
    TIM_TRY(find_saved(run, path, err));
    TIM_TRY(note_differences(run, path, run->options->trainer.seed, err));
    TIM_TRY(cut_log(run, err));
    return leave_other_branch(run, path, err);
}

static void note_late(Run *run, bool wanted, int64_t start, const char *key, const char *what) {
    const int64_t end = run->trainer->model->config.training.max_train_steps;
    if (wanted && start >= end)
        note(run, "training.%s is %lld and the training ends with step %lld: %s", key, (long long)start, (long long)end, what);
}

static void note_no_composed(Run *run) {
    const double ratio = run->trainer->model->config.transition.composed_ratio;
    const int batch = run->trainer->model->config.training.batch_size;
    if (ratio > 0 && tim_time_share(ratio, (size_t)batch) == 0)
        note(run, "model.transition_loss.composed_ratio is %g, of a batch of %d less than a sample: composed samples never begin",
             ratio, batch);
}

static void note_slow_precision(Run *run) {
    if (run->trainer->model->config.training.mixed_precision == TIM_PRECISION_BF16 && tim_matmul_copies_bf16())
        note(run, "training.mixed_precision is bf16, which this processor does not multiply: fp32 is faster here");
}

/* What a training of fewer steps or smaller batches than its configuration was made for would leave out in silence. */
static void note_what_never_begins(Run *run) {
    const TimConfig *c = &run->trainer->model->config;
    const TimTrainingConfig *t = &c->training;
    note_late(run, c->transition.composed_ratio > 0, t->composed_start_step, "composed_start_step", "composed samples never begin");
    note_late(run, c->transition.expected_loss, t->expected_loss_start_step, "expected_loss_start_step",
              "expected_loss never begins");
    note_late(run, c->data_spread != 1, t->data_spread_start_step, "data_spread_start_step", "pictures are never spread");
    note_late(run, c->transport.enhance_target, t->guidance_start_step, "guidance_start_step",
              "guidance of the target never begins");
    note_late(run, t->lr_scheduler != TIM_SCHEDULE_CONSTANT && t->lr_warmup_steps > 0, t->lr_warmup_steps, "lr_warmup_steps",
              "the rate still rises at the end");
    note_no_composed(run);
}

static TimStatus start(Run *run, TimError *err) {
    const char *path = run->from;
    TIM_TRY(*path ? resume(run, path, err) : start_new(run, err));
    TIM_TRY(put_config(run, err));
    TIM_TRY(tim_checkpoint_rotate(run->checkpoints, 0, run->saved, err)); /* what killed runs left takes room */
    note_what_never_begins(run);
    note_slow_precision(run);
    tell(run, TIM_TRAIN_STARTED, NULL, *path ? path : NULL);
    return *path && run->saved < 0 ? save(run, err) : TIM_OK; /* so that the next run goes on from here */
}

/* ---- the run ---- */

static void decide(Run *run) {
    const TimTrainer *t = run->trainer;
    const bool time_up = run->options->minutes > 0 && tim_clock() - run->begin >= 60 * run->options->minutes;
    if (run->end != TIM_TRAIN_RUNNING) return;
    if (t->state.step >= t->model->config.training.max_train_steps)
        run->end = TIM_TRAIN_FINISHED;
    else if (time_up)
        run->end = TIM_TRAIN_TIME_UP;
}

static TimStatus check_learning(const Run *run, TimError *err) {
    const long long step = (long long)run->trainer->state.step;
    char newest[64] = "none";
    if (run->skipped < MOST_SKIPPED) return TIM_OK;
    if (run->saved >= 0) snprintf(newest, sizeof newest, "checkpoint-%lld", (long long)run->saved);
    return tim_fail(err, TIM_E_ARGUMENT,
                    "no gradient of steps %lld to %lld was finite, so nothing is learned any more: resume a checkpoint of before "
                    "(the newest in %s: %s) with a smaller training.learning_rate",
                    step - MOST_SKIPPED + 1, step, run->checkpoints, newest);
}

static TimStatus step(Run *run, TimError *err) {
    TimTrainReport report;
    TIM_TRY(tim_trainer_step(run->trainer, &report, err));
    run->skipped = report.skipped_now ? run->skipped + 1 : 0;
    add_to_window(&run->window, &report);
    tell(run, TIM_TRAIN_STEP, &report, NULL);
    return check_learning(run, err);
}

static TimStatus run_steps(Run *run, TimError *err) {
    for (decide(run); run->end == TIM_TRAIN_RUNNING;) {
        TIM_TRY(step(run, err));
        decide(run);
        TIM_TRY(log_steps(run, err));
        TIM_TRY(save_when_due(run, err));
    }
    TIM_TRY(log_steps(run, err)); /* for a callback that ended the run when told of a line or a checkpoint */
    TIM_TRY(save_when_due(run, err));
    tell(run, TIM_TRAIN_ENDED, NULL, NULL);
    return TIM_OK;
}

/* A step that fails has changed nothing, so what those before it learned is saved, if they learned. */
static TimStatus run_started(Run *run, TimError *err) {
    const int64_t begin = run->trainer->state.step;
    const TimStatus status = run_steps(run, err);
    const int64_t step = run->trainer->state.step;
    if (status != TIM_OK && step > begin && step != run->saved && run->skipped < MOST_SKIPPED) (void)save(run, NULL);
    return status;
}

static TimStatus run_in_folder(Run *run, const TimConfig *config, TimError *err) {
    TimTrainerOptions trainer = run->options->trainer;
    TIM_TRY(find_start(run, run->from, err));
    if (*run->from) trainer.init = NULL; /* it may be gone, and would not be used */
    TIM_TRY(tim_trainer_new(&run->trainer, config, &trainer, err));
    TimStatus status = start(run, err);
    if (status == TIM_OK) status = run_started(run, err);
    tim_trainer_free(run->trainer);
    return status;
}

TimStatus tim_train(const TimConfig *config, const TimTrainOptions *options, TimError *err) {
    Run run = {.options = options, .begin = tim_clock()};
    int lock;
    TIM_TRY(check(options, err));
    TIM_TRY(make_folders(&run, err)); /* first: it fails fastest */
    TIM_TRY(tim_folder_lock(&lock, options->out, err));
    const TimStatus status = run_in_folder(&run, config, err);
    tim_folder_unlock(lock);
    return status;
}
