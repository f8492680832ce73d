#include "train/log.h"

#include <errno.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "io/file.h"
#include "io/number.h"

/* JSON knows no NaN. */
static void print_number(FILE *stream, const char *key, double value) {
    char text[40] = "null";
    if (isfinite(value)) tim_number_print(value, text, sizeof text);
    fprintf(stream, ", \"%s\": %s", key, text);
}

static void print_line(FILE *stream, const TimTrainReport *r) {
    fprintf(stream, "{\"step\": %lld, \"skipped\": %lld", (long long)r->step, (long long)r->skipped);
    print_number(stream, "loss", r->loss);
    print_number(stream, "denoising", r->denoising);
    print_number(stream, "proj", r->proj);
    print_number(stream, "grad_norm", r->grad_norm);
    print_number(stream, "lr", r->learning_rate);
    print_number(stream, "ema_decay", r->ema_decay);
    print_number(stream, "seconds_per_step", r->seconds);
    print_number(stream, "pictures_per_second", r->pictures_per_second);
    fputs("}\n", stream);
}

TimStatus tim_log_append(const char *path, const TimTrainReport *report, TimError *err) {
    FILE *stream = fopen(path, "a");
    if (!stream) return tim_fail(err, TIM_E_IO, "%s: cannot open for appending: %s", path, strerror(errno));
    print_line(stream, report);
    const bool written = !ferror(stream);
    if (fclose(stream) == 0 && written) return TIM_OK;
    return tim_fail(err, TIM_E_IO, "%s: cannot write: %s", path, strerror(errno));
}

/* ---- going on ---- */

/* Of the line from `text` to `end`; -1 where it tells none. */
static int64_t step_of(const char *text, const char *end) {
    static const char key[] = "{\"step\": ";
    enum { MOST_DIGITS = 18 };
    int64_t step = 0;
    if ((size_t)(end - text) <= strlen(key) || memcmp(text, key, strlen(key)) != 0) return -1;
    text += strlen(key);
    const char *digits = text;
    for (; text < end && *text >= '0' && *text <= '9' && text - digits < MOST_DIGITS; text++) step = 10 * step + (*text - '0');
    return text > digits ? step : -1;
}

/* Behind the line at `text`. */
static const char *next_line(const char *text, const char *end) {
    const char *newline = memchr(text, '\n', (size_t)(end - text));
    return newline ? newline + 1 : end;
}

static bool goes_beyond(const TimFile *file, int64_t step) {
    const char *end = (const char *)file->data + file->size;
    for (const char *line = (const char *)file->data; line < end; line = next_line(line, end))
        if (step_of(line, end) > step) return true;
    return false;
}

/* A last line that was cut off by a kill is none. */
static void write_up_to(FILE *stream, const TimFile *file, int64_t step) {
    const char *end = (const char *)file->data + file->size;
    for (const char *line = (const char *)file->data, *next; line < end; line = next) {
        next = next_line(line, end);
        if (next[-1] == '\n' && step_of(line, end) <= step) fwrite(line, 1, (size_t)(next - line), stream);
    }
}

static TimStatus rewrite(char kept[TIM_MAX_PATH], const TimFile *file, const char *path, int64_t step, TimError *err) {
    TimFileWriter writer;
    TIM_TRY(tim_file_writer_open(&writer, path, err));
    write_up_to(writer.stream, file, step);
    TimStatus status = tim_file_writer_sync(&writer, err);
    if (status == TIM_OK) status = tim_path_keep(kept, path, "before", err);
    if (status == TIM_OK) status = tim_file_writer_commit(&writer, err);
    tim_file_writer_abandon(&writer);
    return status;
}

TimStatus tim_log_cut(char kept[TIM_MAX_PATH], const char *path, int64_t step, TimError *err) {
    TimFile file;
    *kept = '\0';
    if (!tim_is_file(path)) return TIM_OK;
    TIM_TRY(tim_file_open(&file, path, err));
    const TimStatus status = goes_beyond(&file, step) ? rewrite(kept, &file, path, step, err) : TIM_OK;
    tim_file_close(&file);
    return status;
}
