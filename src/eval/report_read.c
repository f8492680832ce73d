/* A report's JSON, read back as far as plots and tables need it. The file may be hostile. */
#include <jansson.h>
#include <limits.h>
#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "eval/report_parts.h"
#include "io/hf_config.h"

enum { MAX_ROWS = 256 }; /* twice what tim_eval writes; the verdict's cost grows with their square */

static double number_of(const json_t *object, const char *key) {
    const json_t *value = json_object_get(object, key);
    return json_is_number(value) ? json_number_value(value) : NAN;
}

static int64_t integer_of(const json_t *object, const char *key) {
    return json_integer_value(json_object_get(object, key));
}

static const char *text_of(const json_t *object, const char *key) {
    return json_string_value(json_object_get(object, key));
}

static bool read_mode(TimSampleMode *mode, const char *name) {
    *mode = TIM_SAMPLE_TRANSITION;
    if (name && strcmp(name, tim_mode_name(TIM_SAMPLE_TRANSITION)) == 0) return true;
    *mode = TIM_SAMPLE_DIFFUSION;
    return name && strcmp(name, tim_mode_name(TIM_SAMPLE_DIFFUSION)) == 0;
}

static bool read_count(int64_t *count, const json_t *object, const char *key, int64_t most) {
    *count = integer_of(object, key);
    return json_is_integer(json_object_get(object, key)) && *count >= 0 && *count <= most;
}

static TimStatus read_row(TimReportRow *row, const json_t *object, TimError *err) {
    int64_t steps;
    if (!read_mode(&row->mode, text_of(object, "mode")) || !read_count(&steps, object, "steps", INT_MAX) ||
        !read_count(&row->evaluations, object, "evaluations", INT64_MAX))
        return tim_fail(err, TIM_E_FORMAT, "a row without mode, steps or evaluations");
    row->steps = (int)steps;
    for (int i = 0; i < TIM_MEASURE_COUNT; i++) {
        const json_t *score = json_object_get(object, tim_measures[i].key);
        row->scores[i] = (TimReportScore){.mean = number_of(score, "mean"), .error = number_of(score, "standard_error")};
    }
    return TIM_OK;
}

static TimStatus read_rows(TimReportFile *file, const json_t *rows, TimError *err) {
    const size_t count = json_array_size(rows);
    if (count < 1 || count > MAX_ROWS) return tim_fail(err, TIM_E_FORMAT, "%zu rows; a report has 1 to %d", count, MAX_ROWS);
    TIM_TRY(tim_new(&file->rows, count, sizeof *file->rows, "the rows of a report", err));
    for (size_t i = 0; i < count; i++) TIM_TRY(read_row(&file->rows[i], json_array_get(rows, i), err));
    file->report.rows = file->rows;
    file->report.row_count = (int)count;
    return TIM_OK;
}

static TimStatus read_object(TimReportFile *file, TimError *err) {
    TimReport *r = &file->report;
    const char *format = text_of(file->json, "format");
    if (!format || strcmp(format, "tim-report") != 0) return tim_fail(err, TIM_E_FORMAT, "no report of tim eval");
    const int64_t version = integer_of(file->json, "version");
    if (version != 1)
        return tim_fail(err, TIM_E_FORMAT, "a report of version %lld; version 1 is read here: evaluate again", (long long)version);
    const json_t *model = json_object_get(file->json, "model"), *data = json_object_get(file->json, "data");
    r->model.name = text_of(model, "name"), r->model.hash = text_of(model, "hash");
    r->data.name = text_of(data, "name"), r->data.test_count = integer_of(data, "test_pictures");
    const json_t *run = json_object_get(file->json, "run"), *features = json_object_get(file->json, "features");
    r->features.name = text_of(features, "name"), r->features.hash = text_of(features, "hash");
    const int64_t seeds = integer_of(run, "seeds"), threads = integer_of(run, "threads");
    r->run.samples = integer_of(run, "samples");
    r->run.seeds = seeds > 0 && seeds < INT_MAX ? (int)seeds : 0;
    r->run.threads = threads > 0 && threads < INT_MAX ? (int)threads : 0;
    r->run.processor = text_of(run, "processor");
    for (int i = 0; i < TIM_MEASURE_COUNT; i++) r->real[i] = number_of(json_object_get(file->json, "real"), tim_measures[i].key);
    return read_rows(file, json_object_get(file->json, "rows"), err);
}

TimStatus tim_report_read(TimReportFile *file, const char *path, TimError *err) {
    *file = (TimReportFile){0};
    TIM_TRY(tim_hf_config_open(&file->json, path, err));
    const TimStatus status = read_object(file, err);
    if (status == TIM_OK) return TIM_OK;
    tim_report_file_done(file);
    return tim_fail_within(err, status, "%s", path);
}

void tim_report_file_done(TimReportFile *file) {
    tim_free(file->rows);
    json_decref(file->json);
    *file = (TimReportFile){0};
}
