/* tim_eval: draws every setting of the sampler with every seed, has the judge look, and writes the reports. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/memory.h"
#include "base/processor.h"
#include "eval/finished.h"
#include "eval/judge.h"
#include "eval/report.h"
#include "eval/subject.h"
#include "io/file.h"
#include "model/model.h"
#include "model/store.h"

enum { MAX_STEP_COUNTS = 64, MAX_SEEDS = 100, SHEET_COLUMNS = 16, NAME_BYTES = 64 };

void tim_eval_options_init(TimEvalOptions *options) {
    static const int steps[] = {1, 2, 4, 8, 32, 128};
    *options = (TimEvalOptions){.steps = steps,
                                .step_count = sizeof steps / sizeof *steps,
                                .diffusion = true,
                                .samples = 10000,
                                .seeds = 3,
                                .precision = TIM_PRECISION_BF16};
}

typedef struct Evaluation {
    const TimEvalOptions *options;
    TimJudge *judge;
    TimModel *model;
    int64_t *labels; /* (samples) */
    TimReport report;
    TimReportRow *rows; /* by mode, then by number of steps */
    double *values;     /* (rows, TIM_MEASURE_COUNT, seeds) */
    uint8_t *sheets[2]; /* by mode */
    TimFinished finished;
    TimPictures drawn[TIM_FINISHED_PAIRS]; /* of the pairs */
    TimReportPair pairs[TIM_FINISHED_PAIRS];
    char processor[TIM_PROCESSOR_BYTES];
    char model_hash[TIM_HASH_TEXT], features_hash[TIM_HASH_TEXT], config[256];
    char names[SHEET_COLUMNS][NAME_BYTES];
    const char *name_list[SHEET_COLUMNS];
    double begin;
    int done, total;
} Evaluation;

/* ---- opening ---- */

static TimStatus check_steps(const TimEvalOptions *o, TimError *err) {
    if (o->step_count < 1 || o->step_count > MAX_STEP_COUNTS || !o->steps)
        return tim_fail(err, TIM_E_ARGUMENT, "%d numbers of steps; give 1 to %d", o->steps ? o->step_count : 0, MAX_STEP_COUNTS);
    for (int i = 0; i < o->step_count; i++)
        if (o->steps[i] < 1 || o->steps[i] > TIM_SAMPLE_MAX_STEPS)
            return tim_fail(err, TIM_E_ARGUMENT, "a number of steps is %d; give 1 to %d", o->steps[i], TIM_SAMPLE_MAX_STEPS);
    for (int i = 1; i < o->step_count; i++)
        for (int k = 0; k < i; k++)
            if (o->steps[i] == o->steps[k])
                return tim_fail(err, TIM_E_ARGUMENT, "the number of steps %d is given twice; give each once", o->steps[i]);
    return TIM_OK;
}

static TimStatus check_options(const TimEvalOptions *o, TimError *err) {
    if (!o) return tim_fail(err, TIM_E_ARGUMENT, "an evaluation needs options");
    if (!o->model || !o->reference || !o->classifier || !o->out)
        return tim_fail(err, TIM_E_ARGUMENT, "an evaluation needs a model, a reference, a classifier and a folder for the report");
    TIM_TRY(check_steps(o, err));
    if (o->seeds < 1 || o->seeds > MAX_SEEDS)
        return tim_fail(err, TIM_E_ARGUMENT, "seeds is %d; give 1 to %d", o->seeds, MAX_SEEDS);
    if (o->samples < 4 || o->samples > INT32_MAX)
        return tim_fail(err, TIM_E_ARGUMENT, "samples is %lld; give 4 to %d, 10000 for figures that can be compared",
                        (long long)o->samples, INT32_MAX);
    if (o->seed > (uint64_t)(INT64_MAX - o->seeds)) /* what a reader of JSON takes for an integer */
        return tim_fail(err, TIM_E_ARGUMENT, "seed is %llu; give 0 to %lld", (unsigned long long)o->seed,
                        (long long)INT64_MAX - o->seeds);
    if (o->batch < 0) return tim_fail(err, TIM_E_ARGUMENT, "batch is %d; give 1 or more, or 0 for a good default", o->batch);
    return TIM_OK;
}

static TimStatus check_free(const char *path, bool replace, TimError *err) {
    if (access(path, F_OK) != 0) return TIM_OK;
    if (!tim_is_file(path))
        return tim_fail(err, TIM_E_ARGUMENT, "%s is no file, and would be replaced; give the report another folder", path);
    if (replace) return TIM_OK;
    return tim_fail(
        err, TIM_E_ARGUMENT,
        "%s is there, and nothing to go on from; give the report another folder, or have this one replaced (--overwrite)", path);
}

/* A report without the file to go on from, such as one that comes along with a model, is not to be lost. */
static TimStatus check_reports(const TimEvalOptions *o, TimError *err) {
    static const char *const names[] = {"report.json", "report.html"};
    char *path;
    TIM_TRY(tim_join_path(&path, o->out, "finished.txt", err));
    const bool replace = o->overwrite || tim_is_file(path);
    tim_free(path);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        TIM_TRY(tim_join_path(&path, o->out, names[i], err));
        const TimStatus status = check_free(path, replace, err);
        tim_free(path);
        TIM_TRY(status);
    }
    return TIM_OK;
}

/* What was done before counts only if everything that the numbers depend on is the same. */
static TimStatus open_finished(Evaluation *e, TimError *err) {
    char subject[TIM_SUBJECT_BYTES], *path;
    tim_eval_subject(subject, e->model_hash, e->features_hash, e->options, e->model, e->judge);
    TIM_TRY(tim_join_path(&path, e->options->out, "finished.txt", err));
    const TimStatus status = tim_finished_open(&e->finished, path, subject, e->options->overwrite, err);
    tim_free(path);
    return status;
}

static TimStatus check_model(const TimModel *model, const char *path, TimError *err) {
    if (model->config.network.kind == TIM_NETWORK_C2I && !model->config.vae_dir) return TIM_OK;
    return tim_fail(err, TIM_E_UNSUPPORTED,
                    "%s: draws %s; only class models on pixels are drawn from here: draw the pictures first, and judge these", path,
                    model->config.network.kind == TIM_NETWORK_C2I ? "latents" : "what texts say");
}

static TimStatus check_size(const Evaluation *e, TimError *err) {
    const TimNetworkConfig *n = &e->model->config.network;
    const TimStatus status = tim_judge_check(e->judge, n->input_size, n->input_size, n->in_channels, n->num_classes, err);
    return status == TIM_OK ? TIM_OK : tim_fail_within(err, status, "%s", e->options->model);
}

static TimStatus open_all(Evaluation *e, TimError *err) {
    const TimEvalOptions *o = e->options;
    const TimModelOptions model = {.precision = o->precision, .threads = o->threads, .isa = o->isa};
    tim_processor_name(e->processor);
    TIM_TRY(tim_model_open(&e->model, o->model, o->config, &model, err));
    TIM_TRY(check_model(e->model, o->model, err));
    const TimJudgeOptions judge = {
        .classifier = o->classifier, .reference = o->reference, .training = o->training, .threads = o->threads, .isa = o->isa};
    TIM_TRY(tim_hash_set(e->model_hash, &e->model->frozen.set, err));
    TIM_TRY(tim_weights_hash(e->features_hash, o->classifier, err)); /* before the judge looks at all real pictures */
    TIM_TRY(tim_judge_open(&e->judge, &judge, err));
    TIM_TRY(check_size(e, err));
    return open_finished(e, err);
}

/* ---- the record ---- */

static int mode_count(const Evaluation *e) {
    return e->options->diffusion ? 2 : 1;
}

static int sheet_columns(const Evaluation *e) {
    const int classes = e->model->config.network.num_classes;
    return classes < SHEET_COLUMNS ? classes : SHEET_COLUMNS;
}

static size_t picture_bytes(const Evaluation *e) {
    const TimPictureArray *s = &e->judge->reference;
    return (size_t)s->height * (size_t)s->width * (size_t)s->channels;
}

static double *values_of(const Evaluation *e, int row, TimMeasure measure) {
    return e->values + ((size_t)row * TIM_MEASURE_COUNT + measure) * (size_t)e->options->seeds;
}

static TimStatus make_space(Evaluation *e, TimError *err) {
    const TimEvalOptions *o = e->options;
    const size_t rows = (size_t)(mode_count(e) * o->step_count);
    const size_t sheet = (size_t)o->step_count * (size_t)sheet_columns(e) * picture_bytes(e);
    TIM_TRY(tim_new(&e->rows, rows, sizeof *e->rows, "the report", err));
    TIM_TRY(tim_new(&e->values, rows * TIM_MEASURE_COUNT * (size_t)o->seeds, sizeof(double), "the report", err));
    TIM_TRY(tim_new(&e->labels, (size_t)o->samples, sizeof *e->labels, "the labels", err));
    for (int mode = 0; mode < mode_count(e); mode++) TIM_TRY(tim_new(&e->sheets[mode], sheet, 1, "the contact sheet", err));
    for (int64_t i = 0; i < o->samples; i++) e->labels[i] = i % e->model->config.network.num_classes;
    e->total = (int)rows * o->seeds;
    return TIM_OK;
}

/* A judgement as the report's measures; distances also in units of the reference's. */
static void as_measures(double out[TIM_MEASURE_COUNT], const TimJudgement *j, double reference_distance, double speed) {
    out[TIM_MEASURE_FRECHET] = j->frechet;
    out[TIM_MEASURE_FRECHET_LIMIT] = j->frechet_limit;
    out[TIM_MEASURE_FRECHET_2000] = j->frechet_2000;
    out[TIM_MEASURE_KERNEL] = j->kernel;
    out[TIM_MEASURE_PRECISION] = j->precision;
    out[TIM_MEASURE_RECALL] = j->recall;
    out[TIM_MEASURE_AGREEMENT] = j->agreement;
    out[TIM_MEASURE_DISTANCE] = j->distance;
    out[TIM_MEASURE_DISTANCE_RATIO] = j->distance / reference_distance;
    out[TIM_MEASURE_NEAR_SHARE] = j->near;
    out[TIM_MEASURE_SPEED] = speed;
}

/* ---- drawing and judging ---- */

/* `count` pictures from number `first` on, labels from `labels`. */
static TimStatus draw(Evaluation *e, TimSampleMode mode, int steps, int seed, int64_t first, int64_t count, const int64_t *labels,
                      TimPictures *pictures, TimSampleInfo *info, TimError *err) {
    const TimEvalOptions *o = e->options;
    TimSampleOptions sample;
    tim_sample_options_init(&sample);
    sample.labels = labels;
    sample.first = first, sample.count = count;
    sample.steps = steps, sample.mode = mode;
    sample.seed = o->seed + (uint64_t)seed;
    sample.batch = tim_eval_batch(o);
    return tim_sample(e->model, &sample, pictures, info, err);
}

/* Says in which setting something failed. */
static TimStatus fail_setting(const Evaluation *e, const TimFinishedSetting *s, TimStatus status, TimError *err) {
    return tim_fail_within(err, status, "%s: %s mode, %d steps, seed %llu", e->options->model,
                           s->mode == TIM_SAMPLE_TRANSITION ? "transition" : "diffusion", s->steps,
                           (unsigned long long)(e->options->seed + (uint64_t)s->seed_index));
}

static TimStatus tell(Evaluation *e, const TimFinishedSetting *s, TimError *err) {
    const TimEvalProgress progress = {.done = ++e->done,
                                      .total = e->total,
                                      .mode = s->mode,
                                      .steps = s->steps,
                                      .seed_index = s->seed_index,
                                      .judgement = &s->judgement,
                                      .pictures_per_second = s->pictures_per_second,
                                      .seconds = tim_clock() - e->begin};
    if (!e->options->progress || e->options->progress(&progress, e->options->user)) return TIM_OK;
    return tim_fail(err, TIM_E_CANCELLED, "the evaluation was stopped after %d of %d settings", e->done, e->total);
}

static int most_steps(const TimEvalOptions *o) {
    int most = o->steps[0];
    for (int k = 1; k < o->step_count; k++)
        if (o->steps[k] > most) most = o->steps[k];
    return most;
}

/* Whether the pictures of this setting are the ones that are searched for copies: the most steps, the first seed. */
static bool is_searched(const Evaluation *e, const TimFinishedSetting *s) {
    return s->mode == TIM_SAMPLE_TRANSITION && s->seed_index == 0 && s->steps == most_steps(e->options) &&
           e->judge->training.count > 0;
}

static uint64_t processor_here(const Evaluation *e) {
    return tim_fnv1a_text(TIM_FNV1A_EMPTY, e->processor);
}

/* Draws and judges one setting with one seed. */
static TimStatus evaluate_once(Evaluation *e, TimFinishedSetting *s, TimError *err) {
    TimPictures pictures;
    TimSampleInfo info;
    const double start = tim_clock();
    TIM_TRY(draw(e, s->mode, s->steps, s->seed_index, 0, e->options->samples, e->labels, &pictures, &info, err));
    s->pictures_per_second = (double)pictures.count / (tim_clock() - start);
    s->evaluations = info.evaluations;
    s->processor = processor_here(e);
    TimStatus status = tim_judge_pictures(e->judge, &pictures, e->labels, &s->judgement, err);
    if (status == TIM_OK && is_searched(e, s)) status = tim_judge_closest(e->judge, &pictures, s->pairs, &s->pair_count, err);
    tim_pictures_done(&pictures);
    return status;
}

/* The setting as an earlier run has done it; NULL if it has not, or has not searched it, having been asked for more steps. */
static const TimFinishedSetting *find_done(const Evaluation *e, const TimFinishedSetting *s) {
    const TimFinishedSetting *before = tim_finished_find(&e->finished, s->mode, s->steps, s->seed_index);
    return before && is_searched(e, s) && before->pair_count == 0 ? NULL : before;
}

/* How fast it was drawn, if on this processor: the report names one. */
static double speed_here(const Evaluation *e, const TimFinishedSetting *s) {
    return s->processor == processor_here(e) ? s->pictures_per_second : NAN;
}

/* One setting with one seed, unless it has been done. */
static TimStatus do_setting(Evaluation *e, TimSampleMode mode, int k, int seed, TimError *err) {
    const int row = (mode == TIM_SAMPLE_DIFFUSION ? e->options->step_count : 0) + k, steps = e->options->steps[k];
    TimFinishedSetting setting = {.mode = mode, .steps = steps, .seed_index = seed};
    const TimFinishedSetting *before = find_done(e, &setting);
    if (before) {
        setting = *before;
    } else {
        const TimStatus status = evaluate_once(e, &setting, err);
        if (status != TIM_OK) return fail_setting(e, &setting, status, err);
        TIM_TRY(tim_finished_add(&e->finished, &setting, err));
    }
    double measures[TIM_MEASURE_COUNT];
    as_measures(measures, &setting.judgement, e->report.real[TIM_MEASURE_DISTANCE], speed_here(e, &setting));
    for (int m = 0; m < TIM_MEASURE_COUNT; m++) values_of(e, row, (TimMeasure)m)[seed] = measures[m];
    e->rows[row] = (TimReportRow){.mode = mode, .steps = steps, .evaluations = setting.evaluations};
    return tell(e, &setting, err);
}

static TimStatus evaluate_all(Evaluation *e, TimError *err) {
    for (int mode = 0; mode < mode_count(e); mode++)
        for (int k = 0; k < e->options->step_count; k++)
            for (int seed = 0; seed < e->options->seeds; seed++)
                TIM_TRY(do_setting(e, mode ? TIM_SAMPLE_DIFFUSION : TIM_SAMPLE_TRANSITION, k, seed, err));
    return TIM_OK;
}

/* ---- pictures for the eye ---- */

/* The first pictures of the first seed, drawn once more: a picture depends on its number and seed, so they are the judged ones. */
static TimStatus draw_sheets(Evaluation *e, TimError *err) {
    const size_t row = (size_t)sheet_columns(e) * picture_bytes(e);
    for (int mode = 0; mode < mode_count(e); mode++)
        for (int k = 0; k < e->options->step_count; k++) {
            TimPictures pictures;
            TIM_TRY(draw(e, mode ? TIM_SAMPLE_DIFFUSION : TIM_SAMPLE_TRANSITION, e->options->steps[k], 0, 0, sheet_columns(e), NULL,
                         &pictures, NULL, err));
            memcpy(e->sheets[mode] + (size_t)k * row, pictures.pixels, row);
            tim_pictures_done(&pictures);
        }
    return TIM_OK;
}

/* The pictures of the closest pairs, by their numbers. */
static TimStatus draw_pairs(Evaluation *e, TimError *err) {
    const int steps = most_steps(e->options);
    const TimFinishedSetting *s = tim_finished_find(&e->finished, TIM_SAMPLE_TRANSITION, steps, 0);
    for (int i = 0; i < s->pair_count; i++) {
        const TimNearPair *pair = &s->pairs[i];
        if (pair->picture >= e->options->samples || pair->training >= e->judge->training.count) continue; /* a damaged file */
        const int k = e->report.pictures.pair_count;
        TIM_TRY(draw(e, TIM_SAMPLE_TRANSITION, steps, 0, pair->picture, 1, &e->labels[pair->picture], &e->drawn[k], NULL, err));
        e->pairs[k] = (TimReportPair){.generated = e->drawn[k].pixels,
                                      .training = tim_picture_array_at(&e->judge->training, pair->training),
                                      .distance = pair->distance,
                                      .training_index = pair->training,
                                      .mode = TIM_SAMPLE_TRANSITION,
                                      .steps = steps};
        e->report.pictures.pair_count++;
    }
    e->report.pictures.pairs = e->pairs;
    return TIM_OK;
}

/* ---- the report ---- */

static TimStatus judge_real(Evaluation *e, TimError *err) {
    TimJudgement floor;
    TIM_TRY(tim_judge_floor(e->judge, e->options->samples, &floor, err));
    as_measures(e->report.real, &floor, floor.distance, NAN);
    e->report.near_distance = e->judge->near_distance;
    return TIM_OK;
}

static const char *summary(Evaluation *e) {
    static const char *const transports[] = {"OT-FM", "TrigFlow", "EDM", "VP-SDE", "VE-SDE"};
    const TimNetworkConfig *n = &e->model->config.network;
    snprintf(e->config, sizeof e->config, "%d blocks of %d, %d heads, patch %d, %d x %d pixels, transport %s", n->depth,
             n->hidden_size, n->num_heads, n->patch_size, n->input_size, n->input_size,
             transports[e->model->config.transport.kind]);
    return e->config;
}

static void name_classes(Evaluation *e) {
    if (!e->options->class_name) return;
    for (int i = 0; i < sheet_columns(e); i++) {
        e->options->class_name(e->names[i], NAME_BYTES, &e->model->config, i);
        e->name_list[i] = e->names[i];
    }
    e->report.pictures.class_names = e->name_list;
}

/* As the metadata of the weights tell; -1 when they do not. */
static int64_t training_steps(const TimModel *model) {
    const TimTensorSet *set = &model->frozen.set;
    for (size_t i = 0; i < set->text_count; i++)
        if (strcmp(set->texts[i].key, TIM_TRAINING_STEPS) == 0) return strtoll(set->texts[i].value, NULL, 10);
    return -1;
}

static void fill_facts(Evaluation *e) {
    const TimEvalOptions *o = e->options;
    const TimPictureArray *s = &e->judge->reference;
    TimReport *r = &e->report;
    r->model.name = o->model, r->model.hash = e->model_hash;
    r->model.parameters = (int64_t)tim_model_parameter_count(e->model);
    r->model.training_steps = training_steps(e->model), r->model.config = summary(e);
    r->features.name = o->classifier, r->features.hash = e->features_hash;
    r->features.test_accuracy = e->judge->extractor.test_accuracy;
    r->data.name = o->reference, r->data.training_name = o->training;
    r->data.training_count = e->judge->training.count, r->data.test_count = e->judge->reference.count;
    r->run.samples = o->samples, r->run.seeds = o->seeds, r->run.seed = o->seed;
    r->run.steps = o->steps, r->run.step_count = o->step_count;
    r->run.processor = *e->processor ? e->processor : NULL;
    r->run.threads = e->model->options.threads, r->run.isa = tim_isa_name(e->model->options.isa);
    r->run.batch = tim_eval_batch(o);
    r->run.precision = o->precision == TIM_PRECISION_BF16 ? "bf16" : "fp32";
    r->run.version = TIM_VERSION, r->run.date = o->date;
    r->pictures.height = s->height, r->pictures.width = s->width, r->pictures.channels = s->channels;
    r->pictures.columns = sheet_columns(e);
    for (int mode = 0; mode < 2; mode++) r->pictures.sheets[mode] = e->sheets[mode];
}

static void fill_rows(Evaluation *e) {
    e->report.rows = e->rows;
    e->report.row_count = mode_count(e) * e->options->step_count;
    for (int row = 0; row < e->report.row_count; row++)
        for (int m = 0; m < TIM_MEASURE_COUNT; m++)
            e->rows[row].scores[m] = tim_report_score(values_of(e, row, (TimMeasure)m), e->options->seeds);
}

static TimStatus write_reports(const Evaluation *e, TimError *err) {
    char *json = NULL, *html = NULL;
    TimStatus status = tim_join_path(&json, e->options->out, "report.json", err);
    if (status == TIM_OK) status = tim_join_path(&html, e->options->out, "report.html", err);
    if (status == TIM_OK) status = tim_report_write_json(&e->report, json, err);
    if (status == TIM_OK) status = tim_report_write_html(&e->report, html, err);
    tim_free(json);
    tim_free(html);
    return status;
}

/* ---- the whole ---- */

static TimStatus run_in_folder(Evaluation *e, TimError *err) {
    TIM_TRY(check_reports(e->options, err)); /* before anything that takes long */
    TIM_TRY(open_all(e, err));
    TIM_TRY(make_space(e, err));
    TIM_TRY(judge_real(e, err));
    TIM_TRY(evaluate_all(e, err));
    TIM_TRY(draw_sheets(e, err));
    TIM_TRY(draw_pairs(e, err));
    fill_facts(e);
    name_classes(e);
    fill_rows(e);
    return write_reports(e, err);
}

static TimStatus run(Evaluation *e, TimError *err) {
    int lock;
    TIM_TRY(check_options(e->options, err));
    TIM_TRY(tim_folder_make(e->options->out, err));
    TIM_TRY(tim_folder_lock(&lock, e->options->out, err));
    const TimStatus status = run_in_folder(e, err);
    tim_folder_unlock(lock);
    return status;
}

static void done(Evaluation *e) {
    tim_finished_close(&e->finished);
    tim_judge_close(e->judge);
    tim_model_close(e->model);
    for (int i = 0; i < TIM_FINISHED_PAIRS; i++) tim_pictures_done(&e->drawn[i]);
    void *const blocks[] = {e->labels, e->rows, e->values, e->sheets[0], e->sheets[1]};
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++) tim_free(blocks[i]);
}

TimStatus tim_eval(const TimEvalOptions *options, TimError *err) {
    Evaluation *e;
    TIM_TRY(tim_new(&e, 1, sizeof *e, "an evaluation", err));
    e->options = options;
    e->begin = tim_clock();
    const TimStatus status = run(e, err);
    done(e);
    tim_free(e);
    return status;
}
