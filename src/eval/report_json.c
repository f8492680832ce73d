/* The report as JSON. Written by hand: a library's tree would refuse texts that are not UTF-8, has no shortest digits, and each of
 * its hundreds of nodes is an allocation to check; here the order of keys is the order of the lines below. */
#include <math.h>

#include "eval/markup.h"
#include "eval/report_parts.h"
#include "io/number.h"

enum { VERSION = 1 }; /* of the format: grows when a key changes its meaning or goes */

typedef struct Json {
    TimBuffer out;
    int depth;
    bool first; /* nothing stands yet in the innermost object or array */
} Json;

static void new_line(Json *json) {
    tim_buffer_format(&json->out, "\n%*s", 2 * json->depth, "");
}

/* What stands before a value; `key` is NULL in arrays. */
static void begin_value(Json *json, const char *key) {
    if (!json->first) tim_buffer_text(&json->out, ",");
    if (json->depth > 0) new_line(json);
    if (key) tim_buffer_format(&json->out, "\"%s\": ", key);
    json->first = false;
}

static void open_group(Json *json, const char *key, const char *bracket) {
    begin_value(json, key);
    tim_buffer_text(&json->out, bracket);
    json->depth++;
    json->first = true;
}

static void close_group(Json *json, const char *bracket) {
    json->depth--;
    if (!json->first) new_line(json);
    tim_buffer_text(&json->out, bracket);
    json->first = false;
}

static void put_text(Json *json, const char *key, const char *text) {
    begin_value(json, key);
    tim_markup_json(&json->out, text);
}

static void put_integer(Json *json, const char *key, int64_t value) {
    begin_value(json, key);
    tim_buffer_format(&json->out, "%lld", (long long)value);
}

static void put_known(Json *json, const char *key, int64_t value, bool known) {
    if (known)
        put_integer(json, key, value);
    else
        put_text(json, key, NULL);
}

static void put_digits(Json *json, double value) {
    char digits[32];
    tim_number_print(value, digits, sizeof digits);
    tim_buffer_text(&json->out, isfinite(value) ? digits : "null");
}

static void put_number(Json *json, const char *key, double value) {
    begin_value(json, key);
    put_digits(json, value);
}

static void put_array(Json *json, const double *values, int count) {
    tim_buffer_text(&json->out, "[");
    for (int i = 0; i < count; i++) {
        if (i > 0) tim_buffer_text(&json->out, ", ");
        put_digits(json, values[i]);
    }
    tim_buffer_text(&json->out, "]");
}

static void put_integers(Json *json, const char *key, const int *values, int count) {
    begin_value(json, key);
    tim_buffer_text(&json->out, "[");
    for (int i = 0; i < count; i++) tim_buffer_format(&json->out, "%s%d", i > 0 ? ", " : "", values[i]);
    tim_buffer_text(&json->out, "]");
}

/* ---- the parts, in the order of the file ---- */

static void put_verdict(Json *json, const TimReport *report) {
    begin_value(json, "verdict");
    tim_buffer_text(&json->out, "\"");
    tim_report_verdict(&json->out, report);
    tim_buffer_text(&json->out, "\"");
}

static void put_model(Json *json, const TimReport *report) {
    open_group(json, "model", "{");
    put_text(json, "name", report->model.name);
    put_integer(json, "parameters", report->model.parameters);
    put_text(json, "hash", report->model.hash);
    put_known(json, "training_steps", report->model.training_steps, report->model.training_steps >= 0);
    put_text(json, "config", report->model.config);
    close_group(json, "}");
}

static void put_judges(Json *json, const TimReport *report) {
    open_group(json, "features", "{");
    put_text(json, "name", report->features.name);
    put_text(json, "hash", report->features.hash);
    put_number(json, "test_accuracy", report->features.test_accuracy);
    close_group(json, "}");
    open_group(json, "data", "{");
    put_text(json, "name", report->data.name);
    put_text(json, "training_name", report->data.training_name);
    put_integer(json, "training_pictures", report->data.training_count);
    put_integer(json, "test_pictures", report->data.test_count);
    close_group(json, "}");
}

static void put_run(Json *json, const TimReport *report) {
    open_group(json, "run", "{");
    put_integer(json, "samples", report->run.samples);
    put_integer(json, "seeds", report->run.seeds);
    begin_value(json, "first_seed");
    tim_buffer_format(&json->out, "%llu", (unsigned long long)report->run.seed);
    put_integers(json, "steps", report->run.steps, report->run.step_count);
    put_integer(json, "threads", report->run.threads);
    put_text(json, "processor", report->run.processor);
    put_text(json, "isa", report->run.isa);
    put_integer(json, "batch", report->run.batch);
    put_text(json, "precision", report->run.precision);
    put_text(json, "version", report->run.version);
    put_text(json, "date", report->run.date);
    close_group(json, "}");
}

static void put_real(Json *json, const TimReport *report) {
    open_group(json, "real", "{");
    for (int i = 0; i < TIM_MEASURE_COUNT; i++) put_number(json, tim_measures[i].key, report->real[i]);
    put_number(json, "nearest_distance_percentile_1", report->near_distance);
    close_group(json, "}");
}

/* In one line. */
static void put_score(Json *json, const char *key, const TimReportScore *score, int seeds) {
    const bool there = isfinite(score->mean);
    begin_value(json, key);
    tim_buffer_text(&json->out, "{\"mean\": ");
    put_digits(json, score->mean);
    tim_buffer_text(&json->out, ", \"standard_error\": ");
    put_digits(json, there ? score->error : NAN);
    tim_buffer_text(&json->out, ", \"values\": ");
    if (there && score->values)
        put_array(json, score->values, seeds);
    else
        tim_buffer_text(&json->out, "null");
    tim_buffer_text(&json->out, "}");
}

static void put_row(Json *json, const TimReportRow *row, int seeds) {
    open_group(json, NULL, "{");
    put_text(json, "mode", tim_mode_name(row->mode));
    put_integer(json, "steps", row->steps);
    put_integer(json, "evaluations", row->evaluations);
    for (int i = 0; i < TIM_MEASURE_COUNT; i++) put_score(json, tim_measures[i].key, &row->scores[i], seeds);
    close_group(json, "}");
}

static void put_pair(Json *json, const TimReportPair *pair) {
    open_group(json, NULL, "{");
    put_number(json, "distance", pair->distance);
    put_known(json, "training_index", pair->training_index, pair->training_index >= 0);
    put_text(json, "mode", pair->steps > 0 ? tim_mode_name(pair->mode) : NULL);
    put_known(json, "steps", pair->steps, pair->steps > 0);
    close_group(json, "}");
}

static void put_lists(Json *json, const TimReport *report) {
    open_group(json, "rows", "[");
    for (int i = 0; i < report->row_count; i++) put_row(json, &report->rows[i], report->run.seeds);
    close_group(json, "]");
    open_group(json, "neighbours", "[");
    for (int i = 0; i < report->pictures.pair_count; i++) put_pair(json, &report->pictures.pairs[i]);
    close_group(json, "]");
}

static void put_report(Json *json, const TimReport *report) {
    open_group(json, NULL, "{");
    put_text(json, "format", "tim-report");
    put_integer(json, "version", VERSION);
    put_verdict(json, report);
    put_model(json, report);
    put_judges(json, report);
    put_run(json, report);
    put_real(json, report);
    put_lists(json, report);
    close_group(json, "}");
    tim_buffer_text(&json->out, "\n");
}

TimStatus tim_report_write_json(const TimReport *report, const char *path, TimError *err) {
    Json json = {.first = true};
    TIM_TRY(tim_report_check(report, err));
    put_report(&json, report);
    const TimStatus status = tim_buffer_write(&json.out, path, err);
    tim_buffer_done(&json.out);
    return status;
}
