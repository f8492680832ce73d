#include "preview.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "interruption.h"
#include "step_sheet.h"
#include "support.h"

static const int judged_steps[] = {1, 4};

TimStatus preview_open(Preview *p, const TimConfig *config, TimError *err) {
    const TimJudgeOptions options = {.classifier = p->classifier, .reference = p->reference, .threads = p->threads, .isa = p->isa};
    const TimNetworkConfig *n = &config->network;
    if (!p->classifier) return TIM_OK;
    const TimStatus status = tim_judge_open(&p->judge, &options, err);
    return status == TIM_OK ? tim_judge_check(p->judge, n->input_size, n->input_size, n->in_channels, n->num_classes, err) : status;
}

bool preview_due(const Preview *preview, int64_t step) {
    return preview->every > 0 && step > 0 && step % preview->every == 0;
}

static TimStatus write_sheet(const Preview *p, const TimTrainProgress *progress, TimError *err) {
    static const int steps[] = {1, 2, 4, 8, 32};
    char folder[MAX_PATH_BYTES], path[MAX_PATH_BYTES], name[64], title[64];
    snprintf(name, sizeof name, "step-%06" PRId64, progress->step);
    TimStatus status = join_path(folder, p->out, "samples", "", err);
    if (status == TIM_OK) status = make_folder(folder, err);
    if (status == TIM_OK) status = join_path(path, folder, name, ".png", err);
    if (status != TIM_OK) return status;
    snprintf(title, sizeof title, "after %" PRId64 " steps", progress->step);
    const StepSheet sheet = {.steps = steps, .rows = sizeof steps / sizeof *steps, .title = title};
    return step_sheet_write(progress->average, &sheet, path, err);
}

static bool go_on(int64_t done, int64_t total, void *user) {
    (void)done, (void)total, (void)user;
    return !interrupted();
}

static TimStatus judge(Preview *p, const TimTrainProgress *progress, int steps, TimJudgement *out, TimError *err) {
    const int classes = tim_model_config(progress->average)->network.num_classes;
    TimPictures pictures;
    TimSampleOptions options;
    int64_t labels[10000];
    tim_sample_options_init(&options);
    options.count = p->pictures, options.steps = steps, options.batch = 100, options.labels = labels;
    options.progress = go_on;
    for (int64_t i = 0; i < p->pictures; i++) labels[i] = i % classes;
    TimStatus status = tim_sample(progress->average, &options, &pictures, NULL, err);
    if (status == TIM_OK) status = tim_judge_quickly(p->judge, &pictures, labels, out, err);
    tim_pictures_done(&pictures);
    return status;
}

static TimStatus append_line(const Preview *p, int64_t step, const TimJudgement *judgements, TimError *err) {
    char path[MAX_PATH_BYTES];
    const TimStatus joined = join_path(path, p->out, "log.jsonl", "", err);
    if (joined != TIM_OK) return joined;
    FILE *stream = fopen(path, "a");
    if (!stream) return fail_with(err, TIM_E_IO, "%.300s: cannot open for appending: %s", path, strerror(errno));
    fprintf(stream, "{\"step\": %" PRId64 ", \"pictures\": %" PRId64, step, p->pictures);
    for (size_t i = 0; i < sizeof judged_steps / sizeof *judged_steps; i++) {
        fprintf(stream, ", \"frechet_%d\": %.6g", judged_steps[i], judgements[i].frechet);
        if (!isnan(judgements[i].agreement)) fprintf(stream, ", \"agreement_%d\": %.4f", judged_steps[i], judgements[i].agreement);
    }
    fputs("}\n", stream);
    return fclose(stream) == 0 ? TIM_OK : fail_with(err, TIM_E_IO, "%.300s: cannot write: %s", path, strerror(errno));
}

static TimStatus judge_all(Preview *p, const TimTrainProgress *progress, TimError *err) {
    TimJudgement judgements[sizeof judged_steps / sizeof *judged_steps];
    TimStatus status = TIM_OK;
    fprintf(stderr, "step %6" PRId64 " ", progress->step);
    for (size_t i = 0; status == TIM_OK && i < sizeof judged_steps / sizeof *judged_steps; i++) {
        status = judge(p, progress, judged_steps[i], &judgements[i], err);
        if (status == TIM_OK) fprintf(stderr, "  at %d: Frechet %.4g", judged_steps[i], judgements[i].frechet);
        if (status == TIM_OK && !isnan(judgements[i].agreement))
            fprintf(stderr, ", agreement %.1f %%", 100 * judgements[i].agreement);
    }
    fputc('\n', stderr);
    return status == TIM_OK ? append_line(p, progress->step, judgements, err) : status;
}

TimStatus preview_draw(Preview *p, const TimTrainProgress *progress, TimError *err) {
    const TimStatus status = write_sheet(p, progress, err);
    return status == TIM_OK && p->classifier ? judge_all(p, progress, err) : status;
}

void preview_done(Preview *p) {
    tim_judge_close(p->judge);
    p->judge = NULL;
}
