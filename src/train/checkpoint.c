#include "train/checkpoint.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/file.h"
#include "model/store.h"
#include "train/folder.h"
#include "train/muon.h"

enum { VERSION = 1, MAX_STATE = 64 << 10 }; /* of state.json: its version, and the bytes of it that are read */
#define EXPECTED_LOSS "expected_loss"

/* ---- moments ---- */

static TimStatus add_prefixed(TimParams *out, const TimParams *params, const char *prefix, TimError *err) {
    for (size_t i = 0; i < params->count; i++) {
        const TimParam *p = &params->items[i];
        char name[256];
        int index;
        const int length = snprintf(name, sizeof name, "%s.%s", prefix, p->name);
        if (length < 0 || (size_t)length >= sizeof name)
            return tim_fail(err, TIM_E_INTERNAL, "the parameter name %.80s... is too long", p->name);
        TIM_TRY(tim_params_add(out, name, p->rank, p->dims, TIM_INIT_ZERO, &index, err));
    }
    return TIM_OK;
}

TimStatus tim_moment_params(TimParams *out, const TimParams *params, TimError *err) {
    TIM_TRY(add_prefixed(out, params, "exp_avg", err));
    return add_prefixed(out, params, "exp_avg_sq", err);
}

/* ---- writing ---- */

static TimStatus write_vector(const float *vector, const TimParams *params, int64_t step, const char *folder, const char *name,
                              TimError *err) {
    char path[TIM_MAX_PATH], steps[24];
    snprintf(steps, sizeof steps, "%lld", (long long)step);
    const TimStoredText texts[] = {{"format", "pt"} /* what Python's readers ask for */, {TIM_TRAINING_STEPS, steps}};
    TIM_TRY(tim_path(path, err, "%s/%s", folder, name));
    return tim_weights_write(vector, params, TIM_F32, texts, sizeof texts / sizeof *texts, path, err);
}

/* Adds a list of [log_mean, count], one a bin; false without memory. */
static bool add_loss_scale(json_t *object, const TimLossScale *scale) {
    json_t *bins = json_array();
    if (json_object_set_new(object, EXPECTED_LOSS, bins) != 0) return false;
    for (size_t i = 0; i < TIM_LOSS_BINS; i++)
        if (json_array_append_new(bins, json_pack("[ff]", (double)scale->log_mean[i], (double)scale->count[i])) != 0) return false;
    return true;
}

/* JSON's integers are signed: seeds from 2^63 on appear negative. */
static TimStatus write_state(const TimTrainer *t, const char *folder, TimError *err) {
    char path[TIM_MAX_PATH];
    const TimTrainState *state = &t->state;
    TIM_TRY(tim_path(path, err, "%s/" TIM_STATE_FILE, folder));
    json_t *object =
        json_pack("{sisIsIsIsI}", "version", VERSION, "step", (json_int_t)state->step, "skipped", (json_int_t)state->skipped,
                  "seed", (json_int_t)state->seed, "position", (json_int_t)state->position);
    const bool whole = object && (!t->model->config.transition.expected_loss || add_loss_scale(object, &t->loss_scale));
    char *text = whole ? json_dumps(object, 0) : NULL;
    json_decref(object);
    if (!text) return tim_fail(err, TIM_E_MEMORY, "%s: no memory for its text", path);
    const TimStatus status = tim_file_write(path, text, strlen(text), err);
    free(text);
    return status;
}

static TimStatus write_all(const TimTrainer *t, const char *folder, TimError *err) {
    const TimParams *params = &t->model->params;
    char config[TIM_MAX_PATH];
    TIM_TRY(tim_path(config, err, "%s/" TIM_CONFIG_FILE, folder));
    TIM_TRY(tim_config_write(&t->model->config, config, err));
    TIM_TRY(write_vector(t->ema->f32, params, t->state.step, folder, TIM_MODEL_FILE, err));
    TIM_TRY(write_vector(t->model->f32, params, t->state.step, folder, TIM_RAW_WEIGHTS_FILE, err));
    TIM_TRY(write_vector(t->moments, &t->moment_params, t->state.step, folder, TIM_OPTIMIZER_FILE, err));
    return write_state(t, folder, err);
}

static TimStatus write_folder(const TimTrainer *t, const char *temporary, const char *folder, TimError *err) {
    TIM_TRY(tim_folder_remove(temporary, err)); /* of a run that was killed while it wrote */
    TIM_TRY(tim_folder_make(temporary, err));
    TIM_TRY(write_all(t, temporary, err));
    return tim_folder_publish(temporary, folder, err);
}

TimStatus tim_trainer_save(const TimTrainer *t, const char *folder, TimError *err) {
    char bare[TIM_MAX_PATH], temporary[TIM_MAX_PATH];
    TIM_TRY(tim_path(bare, err, "%s", folder));
    for (size_t end = strlen(bare); end > 1 && bare[end - 1] == '/'; end--)
        bare[end - 1] = '\0'; /* others get its name and an ending */
    TIM_TRY(tim_path(temporary, err, "%s" TIM_FOLDER_WRITTEN, bare));
    const TimStatus status = write_folder(t, temporary, bare, err);
    if (status != TIM_OK) (void)tim_folder_remove(temporary, NULL);
    return status;
}

/* ---- reading ---- */

static TimStatus get_integer(const json_t *object, const char *key, int64_t low, int64_t *out, TimError *err) {
    const json_t *value = json_object_get(object, key);
    *out = json_integer_value(value);
    if (!value) return tim_fail(err, TIM_E_FORMAT, "the key '%s' is missing", key);
    if (!json_is_integer(value)) return tim_fail(err, TIM_E_FORMAT, "the key '%s' is no integer", key);
    if (*out >= low) return TIM_OK;
    return tim_fail(err, TIM_E_FORMAT, "the key '%s' is %lld; it must be at least %lld", key, (long long)*out, (long long)low);
}

/* Without the key everything is to be learned again: the checkpoint is of a training that did not ask for it. */
static TimStatus parse_loss_scale(TimLossScale *scale, const json_t *object, TimError *err) {
    const json_t *bins = json_object_get(object, EXPECTED_LOSS);
    *scale = (TimLossScale){0};
    if (!bins) return TIM_OK;
    if (json_array_size(bins) != TIM_LOSS_BINS)
        return tim_fail(err, TIM_E_FORMAT, "the key '" EXPECTED_LOSS "' is no list of %d pairs", TIM_LOSS_BINS);
    for (size_t i = 0; i < TIM_LOSS_BINS; i++) {
        const json_t *pair = json_array_get(bins, i), *mean = json_array_get(pair, 0), *count = json_array_get(pair, 1);
        scale->log_mean[i] = (float)json_number_value(mean);
        scale->count[i] = (float)json_number_value(count);
        if (!json_is_number(mean) || !json_is_number(count) || !(scale->count[i] >= 0) || !isfinite(scale->count[i]) ||
            !isfinite(scale->log_mean[i]))
            return tim_fail(err, TIM_E_FORMAT, "pair %zu of '" EXPECTED_LOSS "' is not the logarithm of a loss and a count", i);
    }
    return TIM_OK;
}

static TimStatus parse_state(TimTrainer *t, const json_t *object, TimError *err) {
    TimTrainState *state = &t->state;
    int64_t version = 0, seed = 0, position = 0;
    TIM_TRY(get_integer(object, "version", 0, &version, err));
    if (version != VERSION)
        return tim_fail(err, TIM_E_UNSUPPORTED, "it has the version %lld; this library reads version %d", (long long)version,
                        VERSION);
    TIM_TRY(get_integer(object, "step", 0, &state->step, err));
    TIM_TRY(get_integer(object, "skipped", 0, &state->skipped, err));
    TIM_TRY(get_integer(object, "seed", INT64_MIN, &seed, err));
    TIM_TRY(get_integer(object, "position", 0, &position, err));
    state->seed = (uint64_t)seed;
    state->position = (uint64_t)position;
    if (state->skipped > state->step)
        return tim_fail(err, TIM_E_FORMAT, "%lld of %lld steps were skipped", (long long)state->skipped, (long long)state->step);
    return parse_loss_scale(&t->loss_scale, object, err);
}

static TimStatus parse_json(TimTrainer *t, const TimFile *file, TimError *err) {
    json_error_t at;
    if (file->size > MAX_STATE)
        return tim_fail(err, TIM_E_FORMAT, "it has %zu bytes, and a training's state at most %d; take another checkpoint",
                        file->size, MAX_STATE);
    json_t *object = json_loadb((const char *)file->data, file->size, JSON_REJECT_DUPLICATES, &at);
    if (!object)
        return tim_fail(err, json_error_code(&at) == json_error_out_of_memory ? TIM_E_MEMORY : TIM_E_FORMAT,
                        "it is no JSON: %s in line %d; is it complete?", at.text, at.line);
    const TimStatus status = parse_state(t, object, err);
    json_decref(object);
    return status;
}

static TimStatus read_json(TimTrainer *t, const char *path, TimError *err) {
    TimFile file;
    TIM_TRY(tim_file_open(&file, path, err));
    const TimStatus status = parse_json(t, &file, err);
    tim_file_close(&file);
    return status == TIM_OK ? TIM_OK : tim_fail_within(err, status, "%s", path);
}

static TimStatus read_state(TimTrainer *t, const char *folder, TimError *err) {
    char path[TIM_MAX_PATH];
    TIM_TRY(tim_path(path, err, "%s/" TIM_STATE_FILE, folder));
    return read_json(t, path, err);
}

static TimStatus read_vector(float *vector, const TimParams *params, const char *folder, const char *name, TimError *err) {
    char path[TIM_MAX_PATH];
    TIM_TRY(tim_path(path, err, "%s/%s", folder, name));
    return tim_weights_read(vector, params, path, err);
}

/* AdamW divides by second moments, which Muon does not keep, and after its first steps no more makes up for their being young. */
static TimStatus read_moments(TimTrainer *t, const char *folder, TimError *err) {
    const TimParams *params = &t->model->params;
    float *second = t->moments + params->elements;
    TIM_TRY(read_vector(t->moments, &t->moment_params, folder, TIM_OPTIMIZER_FILE, err));
    if (t->muon) tim_muon_forget(params, second);
    if (t->muon || !tim_muon_left(params, t->moments, second)) return TIM_OK;
    return tim_fail(err, TIM_E_ARGUMENT,
                    "%s/" TIM_OPTIMIZER_FILE
                    ": Muon made it and left no second moments of the blocks' matrices, which AdamW wants; go "
                    "on with training.optimizer.target: torch.optim.Muon",
                    folder);
}

TimStatus tim_trainer_resume(TimTrainer *t, const char *folder, TimError *err) {
    const TimParams *params = &t->model->params;
    TIM_TRY(read_state(t, folder, err));
    TIM_TRY(read_vector(t->ema->f32, params, folder, TIM_MODEL_FILE, err));
    TIM_TRY(read_vector(t->model->f32, params, folder, TIM_RAW_WEIGHTS_FILE, err));
    TIM_TRY(read_moments(t, folder, err));
    tim_model_weights_changed(t->model);
    tim_model_weights_changed(t->ema);
    return TIM_OK;
}
