/* One golden file: opening, inputs, metadata, comparisons and the lines of the report; parity.h says what each promises. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "parity/parity.h"

static bool ends_with(const char *text, const char *end) {
    const size_t length = strlen(text), tail = strlen(end);
    return length >= tail && strcmp(text + length - tail, end) == 0;
}

TimStatus parity_file_open(ParityFile *file, Parity *run, const char *path, const char *name, TimError *err) {
    *file = (ParityFile){.run = run, .path = path, .name = name, .documents = json_array()};
    if (!file->documents) return tim_fail(err, TIM_E_MEMORY, "no memory for the list of JSON documents");
    if (!ends_with(name, ".safetensors")) return TIM_OK;
    TIM_TRY(tim_safetensors_open(&file->tensors, path, err));
    return parity_new(file, &file->used, file->tensors.count, sizeof *file->used, err);
}

void parity_file_finish(ParityFile *file) {
    for (size_t i = 0; i < file->tensors.count && file->used; i++)
        if (!file->used[i]) parity_fail(file, file->tensors.tensors[i].name, "neither read as input nor compared");
}

void parity_file_close(ParityFile *file) {
    for (size_t i = 0; i < file->block_count; i++) tim_free(file->blocks[i]);
    tim_free(file->blocks);
    json_decref(file->documents);
    tim_safetensors_close(&file->tensors);
    *file = (ParityFile){0};
}

TimStatus parity_new(ParityFile *file, void *out, size_t count, size_t size, TimError *err) {
    TIM_TRY(tim_grow(&file->blocks, &file->block_capacity, file->block_count, sizeof *file->blocks, "list of blocks", err));
    void *block;
    TIM_TRY(tim_new(&block, count, size, file->name, err));
    file->blocks[file->block_count++] = block;
    memcpy(out, &block, sizeof block);
    return TIM_OK;
}

TimStatus parity_text(ParityFile *file, const char *key, const char **text, TimError *err) {
    *text = tim_safetensors_text(&file->tensors, key);
    return *text ? TIM_OK : tim_fail(err, TIM_E_FORMAT, "metadata has no \"%s\"", key);
}

TimStatus parity_number(ParityFile *file, const char *key, double *number, TimError *err) {
    const char *text;
    TIM_TRY(parity_text(file, key, &text, err));
    char *end;
    *number = strtod(text, &end);
    return end != text && *end == '\0' ? TIM_OK : tim_fail(err, TIM_E_FORMAT, "metadata \"%s\": \"%s\" is no number", key, text);
}

TimStatus parity_optional_number(ParityFile *file, const char *key, double *number, TimError *err) {
    return tim_safetensors_text(&file->tensors, key) ? parity_number(file, key, number, err) : TIM_OK;
}

/* Hands a parsed document to the file, or reports why there is none. */
static TimStatus keep_document(ParityFile *file, json_t *parsed, const json_error_t *cause, json_t **value, TimError *err) {
    if (!parsed) return tim_fail(err, TIM_E_FORMAT, "JSON, line %d: %s", cause->line, cause->text);
    *value = parsed;
    return json_array_append_new(file->documents, parsed) == 0 ? TIM_OK
                                                               : tim_fail(err, TIM_E_MEMORY, "no memory for a JSON document");
}

TimStatus parity_json(ParityFile *file, const char *key, json_t **value, TimError *err) {
    const char *text;
    json_error_t cause;
    TIM_TRY(parity_text(file, key, &text, err));
    return keep_document(file, json_loads(text, 0, &cause), &cause, value, err);
}

TimStatus parity_json_file(ParityFile *file, json_t **value, TimError *err) {
    json_error_t cause;
    return keep_document(file, json_load_file(file->path, JSON_ALLOW_NUL, &cause), &cause, value, err);
}

static void mark(ParityFile *file, const TimStoredTensor *tensor) {
    if (tensor) file->used[tensor - file->tensors.tensors] = true;
}

TimStatus parity_find(ParityFile *file, const char *name, const TimStoredTensor **tensor, TimError *err) {
    return tim_safetensors_get(tensor, &file->tensors, name, err);
}

/* Room for an input's values, and its mark. */
static TimStatus begin_input(ParityFile *file, const char *name, void *values, size_t size, const TimStoredTensor **found,
                             const TimStoredTensor **tensor, TimError *err) {
    TIM_TRY(parity_find(file, name, found, err));
    TIM_TRY(parity_new(file, values, (*found)->count, size, err));
    mark(file, *found);
    if (tensor) *tensor = *found;
    return TIM_OK;
}

TimStatus parity_input_f64(ParityFile *file, const char *name, double **values, const TimStoredTensor **tensor, TimError *err) {
    const TimStoredTensor *found;
    TIM_TRY(begin_input(file, name, values, sizeof **values, &found, tensor, err));
    return tim_safetensors_read_f64(found, *values, found->count, err);
}

TimStatus parity_input_f32(ParityFile *file, const char *name, float **values, const TimStoredTensor **tensor, TimError *err) {
    const TimStoredTensor *found;
    TIM_TRY(begin_input(file, name, values, sizeof **values, &found, tensor, err));
    return tim_safetensors_read_f32(found, *values, found->count, err);
}

TimStatus parity_input_i64(ParityFile *file, const char *name, int64_t **values, const TimStoredTensor **tensor, TimError *err) {
    const TimStoredTensor *found;
    TIM_TRY(begin_input(file, name, values, sizeof **values, &found, tensor, err));
    return tim_safetensors_read_i64(found, *values, found->count, err);
}

void parity_report(ParityFile *file, const char *name, double error, double tolerance) {
    mark(file, tim_safetensors_find(&file->tensors, name));
    const bool ok = error <= tolerance; /* false for NaN */
    *(ok ? &file->run->passed : &file->run->failed) += 1;
    printf("%s %s error %.3g tolerance %.3g %s\n", file->name, name, error, tolerance, ok ? "ok" : "FAIL");
}

void parity_fail(ParityFile *file, const char *what, const char *format, ...) {
    file->run->failed++;
    printf("%s %s ", file->name, what);
    va_list args;
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    printf(" FAIL\n");
}

/* The stored values of an output as doubles, or NULL after a failure line. */
static const double *expected_values(ParityFile *file, const char *name, size_t count) {
    TimError err;
    double *expected = NULL;
    const TimStoredTensor *tensor;
    if (parity_input_f64(file, name, &expected, &tensor, &err) != TIM_OK)
        parity_fail(file, name, "%s", err.text);
    else if (tensor->count == count)
        return expected;
    else
        parity_fail(file, name, "holds %zu elements, computed were %zu", tensor->count, count);
    return NULL;
}

/* max |a - b| / max |b|; NaN as soon as there is a NaN or an infinity, which fmax would hide. */
static double largest_error(const double *actual, const double *expected, size_t count) {
    double difference = 0.0, magnitude = 0.0;
    for (size_t i = 0; i < count; i++) {
        if (!isfinite(actual[i]) || !isfinite(expected[i])) return (double)NAN;
        difference = fmax(difference, fabs(actual[i] - expected[i]));
        magnitude = fmax(magnitude, fabs(expected[i]));
    }
    return magnitude > 0.0 ? difference / magnitude : difference;
}

/* A NaN or an infinity anywhere makes the sums, and so the error, NaN or infinite. */
static double l2_error(const double *actual, const double *expected, size_t count, double floor) {
    double difference = 0.0, magnitude = 0.0;
    for (size_t i = 0; i < count; i++) {
        difference += (actual[i] - expected[i]) * (actual[i] - expected[i]);
        magnitude += expected[i] * expected[i];
    }
    const double scale = fmax(sqrt(magnitude), floor);
    return scale > 0.0 ? sqrt(difference) / scale : sqrt(difference);
}

void parity_compare(ParityFile *file, const char *name, const double *actual, size_t count, double tolerance) {
    const double *expected = expected_values(file, name, count);
    if (expected) parity_report(file, name, largest_error(actual, expected, count), tolerance);
}

/* `actual` as doubles in a block of the file, or NULL after a failure line. */
static const double *widened(ParityFile *file, const char *name, const float *actual, size_t count) {
    TimError err;
    double *wide = NULL;
    if (parity_new(file, &wide, count, sizeof *wide, &err) != TIM_OK) parity_fail(file, name, "%s", err.text);
    for (size_t i = 0; wide && i < count; i++) wide[i] = actual[i];
    return wide;
}

void parity_compare_f32(ParityFile *file, const char *name, const float *actual, size_t count, double tolerance) {
    const double *wide = widened(file, name, actual, count);
    if (wide) parity_compare(file, name, wide, count, tolerance);
}

void parity_compare_l2(ParityFile *file, const char *name, const float *actual, size_t count, double floor, double tolerance) {
    const double *wide = widened(file, name, actual, count), *expected = wide ? expected_values(file, name, count) : NULL;
    if (expected) parity_report(file, name, l2_error(wide, expected, count, floor), tolerance);
}
