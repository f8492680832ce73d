/* Labelled sheets of a run: pictures in rows, a row for each number of steps, or strips with a column for each step. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "class_names.h"
#include "sample.h"
#include "support.h"

enum { TITLE_BYTES = 256, LABEL_BYTES = 32, SHEET_PICTURE = 96, SHEET_COLUMNS = 16 };

/* ---- its shape ---- */

/* With several numbers of steps a row holds one of them and a column one picture. Otherwise the pictures fill rows, so that a
 * column holds one class where the classes come in turn. */
int64_t sample_sheet_columns(const Sampling *d) {
    const SampleRequest *r = d->request;
    if (r->strip) return d->steps;
    int64_t most = r->classes.count ? r->classes.count : tim_pipeline_config(d->pipeline)->network.num_classes;
    if (d->prompts && d->list.count > 1 && d->each > 1)
        most = d->each; /* a row for each prompt */
    else if (d->prompts)
        for (most = 1; most * most < d->count;) most++; /* as many columns as rows */
    if (most > SHEET_COLUMNS) most = SHEET_COLUMNS;
    return r->steps.count > 1 || d->count < most ? d->count : most;
}

int64_t sample_sheet_rows(const Sampling *d) {
    if (d->request->strip) return d->count;
    return (d->total - 1) / sample_sheet_columns(d) + 1;
}

/* How often each pixel is repeated, so that small pictures can be seen. */
static int scale_of(int height, int width) {
    const int side = height > width ? height : width;
    return side < SHEET_PICTURE ? SHEET_PICTURE / side : 1;
}

size_t sample_sheet_bytes(int64_t pictures, int height, int width, int channels) {
    const size_t scale = (size_t)scale_of(height, width);
    const size_t bytes = (size_t)pictures * scale * scale * (size_t)height * (size_t)width * (size_t)channels;
    return bytes + bytes / 8; /* with labels and what lies between */
}

/* ---- its words ---- */

/* Texts and the pointers to them. */
typedef struct Labels {
    char title[TITLE_BYTES];
    char (*text)[LABEL_BYTES]; /* (columns + rows) */
    const char **columns, **rows;
} Labels;

static const char *class_at(const Sampling *d, int64_t index, char text[LABEL_BYTES]) {
    if (!d->labels) return NULL;
    class_label(text, LABEL_BYTES, tim_pipeline_config(d->pipeline), d->labels[index]);
    return text;
}

static const char *count_steps(int64_t steps, char text[LABEL_BYTES]) {
    snprintf(text, LABEL_BYTES, "%" PRId64 " step%s", steps, steps == 1 ? "" : "s");
    return text;
}

/* Of a strip the step, else the class where all of the column's pictures are of one. */
static const char *column_label(const Sampling *d, int64_t column, int64_t columns, char text[LABEL_BYTES]) {
    if (d->request->strip) {
        snprintf(text, LABEL_BYTES, "step %" PRId64, column + 1);
        return text;
    }
    for (int64_t i = column; d->labels && i < d->count; i += columns)
        if (d->labels[i] != d->labels[column]) return NULL;
    return class_at(d, column, text);
}

static const char *row_label(const Sampling *d, int64_t first, int64_t row, char text[LABEL_BYTES]) {
    const NumberList *steps = &d->request->steps;
    if (d->request->strip) return class_at(d, first + row, text);
    return steps->count > 1 ? count_steps(steps->items[row], text) : NULL;
}

/* "4 steps, guidance 2, seed 0": of picture `first`, whose prompt may have settings of its own. */
static void write_title(const Sampling *d, int64_t first, char text[TITLE_BYTES]) {
    const size_t size = TITLE_BYTES;
    const SampleRequest *r = d->request;
    const TimSampleOptions o = sample_options(d, 0, first, 1);
    char steps[LABEL_BYTES];
    int at = 0;
    if (r->steps.count == 1) at += snprintf(text, size, "%s, ", count_steps(o.steps, steps));
    if (r->mode == TIM_SAMPLE_DIFFUSION) at += snprintf(text + at, size - (size_t)at, "diffusion mode, ");
    if (o.guidance > 1.0) at += snprintf(text + at, size - (size_t)at, "guidance %g, ", o.guidance);
    if (o.stochasticity > 0.0) at += snprintf(text + at, size - (size_t)at, "stochasticity %g, ", o.stochasticity);
    snprintf(text + at, size - (size_t)at, "seed %" PRIu64, o.seed);
}

static TimStatus make_labels(const Sampling *d, Labels *labels, int64_t first, int64_t rows, TimError *err) {
    const int64_t columns = sample_sheet_columns(d);
    labels->text = calloc((size_t)(columns + rows), sizeof *labels->text);
    labels->columns = calloc((size_t)columns, sizeof *labels->columns);
    labels->rows = calloc((size_t)rows, sizeof *labels->rows);
    if (!labels->text || !labels->columns || !labels->rows)
        return fail_with(err, TIM_E_MEMORY, "%.200s: no memory for the sheet's labels", d->request->out);
    write_title(d, first, labels->title);
    for (int64_t i = 0; i < columns; i++) labels->columns[i] = column_label(d, i, columns, labels->text[i]);
    for (int64_t i = 0; i < rows; i++) labels->rows[i] = row_label(d, first, i, labels->text[columns + i]);
    return TIM_OK;
}

static void free_labels(Labels *labels) {
    free(labels->text);
    free(labels->columns);
    free(labels->rows);
}

/* ---- the sheet ---- */

static TimSheet sheet_of(const Sampling *d, const Labels *labels, const uint8_t *pixels, int64_t rows) {
    return (TimSheet){.rows = (int)rows,
                      .columns = (int)sample_sheet_columns(d),
                      .height = d->size.height,
                      .width = d->size.width,
                      .channels = d->size.channels,
                      .pictures = pixels,
                      .title = labels->title,
                      .column_labels = labels->columns,
                      .row_labels = labels->rows,
                      .scale = scale_of(d->size.height, d->size.width),
                      .text_scale = 1};
}

static TimStatus check_size(const Sampling *d, const Labels *labels, int64_t rows, TimError *err) {
    int height, width;
    TimError cause;
    const TimSheet sheet = sheet_of(d, labels, NULL, rows);
    const int most = ends_with(d->request->out, ".webp") ? TIM_IMAGE_MAX_SIDE - 1 : TIM_IMAGE_MAX_SIDE;
    if (tim_sheet_size(&height, &width, &sheet, &cause) == TIM_OK && height <= most && width <= most) return TIM_OK;
    return fail_with(
        err, TIM_E_ARGUMENT,
        "%.400s: a sheet of %d rows and %d columns with pictures of %d x %d pixels would be larger than the %d that an image "
        "may have; draw fewer pictures or steps, or smaller ones, or single pictures: end --out with /",
        d->request->out, sheet.rows, sheet.columns, sheet.width * sheet.scale, sheet.height * sheet.scale, most);
}

/* More rows than an image has pixels are not even given labels. */
TimStatus sample_sheet_check(const Sampling *d, int64_t rows, TimError *err) {
    const int64_t columns = sample_sheet_columns(d);
    if (rows > TIM_IMAGE_MAX_SIDE || columns > TIM_IMAGE_MAX_SIDE)
        return fail_with(err, TIM_E_ARGUMENT,
                         "%.400s: %" PRId64 " rows and %" PRId64
                         " columns are too many for one sheet; draw fewer pictures or steps, or "
                         "single pictures: end --out with /",
                         d->request->out, rows, columns);
    Labels labels = {.text = NULL};
    TimStatus status = make_labels(d, &labels, 0, rows, err);
    if (status == TIM_OK) status = check_size(d, &labels, rows, err);
    free_labels(&labels);
    return status;
}

TimStatus sample_sheet_write(const Sampling *d, const uint8_t *pixels, int64_t first, int64_t rows, const char *path,
                             TimError *err) {
    Labels labels = {.text = NULL};
    TimImage image = {0};
    TimStatus status = make_labels(d, &labels, first, rows, err);
    const TimSheet sheet = sheet_of(d, &labels, pixels, rows);
    if (status == TIM_OK) status = tim_sheet_draw(&image, &sheet, err);
    if (status == TIM_OK) status = sample_write_image(d, &image, d->request->strip && rows == 1 ? first : -1, path, err);
    tim_image_done(&image);
    free_labels(&labels);
    return status;
}
