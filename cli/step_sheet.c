#include "step_sheet.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "class_names.h"
#include "support.h"

enum { SCALE = 3, LABEL_BYTES = 32 };

typedef struct Drawing {
    TimModel *model;
    const StepSheet *sheet;
    int columns;
    uint8_t *pictures; /* (rows, columns, H, W, C) */
    TimPictures size;  /* of a row; without pixels */
} Drawing;

static void row_label(char text[LABEL_BYTES], int steps) {
    snprintf(text, LABEL_BYTES, "%d evaluation%s", steps, steps == 1 ? "" : "s");
}

/* ---- drawing ---- */

static TimStatus draw(const Drawing *d, int steps, TimPictures *pictures, TimError *err) {
    TimSampleOptions options;
    tim_sample_options_init(&options);
    options.count = options.batch = d->columns;
    options.steps = steps;
    options.seed = d->sheet->seed;
    return tim_sample(d->model, &options, pictures, NULL, err);
}

static TimStatus keep_row(Drawing *d, int row, const TimPictures *pictures, TimError *err) {
    const size_t bytes = (size_t)pictures->count * (size_t)pictures->height * (size_t)pictures->width * (size_t)pictures->channels;
    if (!d->pictures) d->pictures = calloc((size_t)d->sheet->rows, bytes);
    if (!d->pictures) return fail_with(err, TIM_E_MEMORY, "no memory for a sheet of %d rows of %zu bytes", d->sheet->rows, bytes);
    memcpy(d->pictures + (size_t)row * bytes, pictures->pixels, bytes);
    d->size = *pictures;
    d->size.pixels = NULL;
    return TIM_OK;
}

static TimStatus draw_row(Drawing *d, int row, TimError *err) {
    char label[LABEL_BYTES];
    TimPictures pictures;
    const double start = clock_seconds();
    TimStatus status = draw(d, d->sheet->steps[row], &pictures, err);
    if (status != TIM_OK) return status;
    row_label(label, d->sheet->steps[row]);
    if (d->sheet->told) d->sheet->told(label, clock_seconds() - start);
    status = keep_row(d, row, &pictures, err);
    tim_pictures_done(&pictures);
    return status;
}

/* The first evaluation prepares memory and matrix products for all that follow: it is done once before a clock runs. */
static TimStatus prepare(const Drawing *d, TimError *err) {
    TimPictures pictures;
    const TimStatus status = d->sheet->told ? draw(d, 1, &pictures, err) : TIM_OK;
    if (d->sheet->told) tim_pictures_done(&pictures);
    return status;
}

/* ---- the sheet ---- */

static TimStatus write_image(const Drawing *d, const TimSheet *sheet, const char *path, TimError *err) {
    TimImage image;
    TimStatus status = tim_sheet_draw(&image, sheet, err);
    if (status == TIM_OK) status = tim_image_write_png(&image, path, d->sheet->texts, d->sheet->text_count, err);
    tim_image_done(&image);
    return status;
}

static TimStatus finish(const Drawing *d, const char *path, TimError *err) {
    char columns[STEP_SHEET_MAX_COLUMNS][LABEL_BYTES], rows[STEP_SHEET_MAX_ROWS][LABEL_BYTES];
    const char *column_labels[STEP_SHEET_MAX_COLUMNS], *row_labels[STEP_SHEET_MAX_ROWS];
    for (int i = 0; i < d->columns; i++) {
        class_label(columns[i], LABEL_BYTES, tim_model_config(d->model), i);
        column_labels[i] = columns[i];
    }
    for (int i = 0; i < d->sheet->rows; i++) {
        row_label(rows[i], d->sheet->steps[i]);
        row_labels[i] = rows[i];
    }
    const TimSheet sheet = {.rows = d->sheet->rows,
                            .columns = d->columns,
                            .height = d->size.height,
                            .width = d->size.width,
                            .channels = d->size.channels,
                            .pictures = d->pictures,
                            .title = d->sheet->title,
                            .column_labels = column_labels,
                            .row_labels = row_labels,
                            .scale = SCALE,
                            .text_scale = 1};
    return write_image(d, &sheet, path, err);
}

TimStatus step_sheet_write(TimModel *model, const StepSheet *sheet, const char *path, TimError *err) {
    const int classes = tim_model_config(model)->network.num_classes;
    Drawing d = {.model = model, .sheet = sheet, .columns = classes < STEP_SHEET_MAX_COLUMNS ? classes : STEP_SHEET_MAX_COLUMNS};
    TimStatus status = prepare(&d, err);
    for (int row = 0; row < sheet->rows && status == TIM_OK; row++) status = draw_row(&d, row, err);
    if (status == TIM_OK) status = finish(&d, path, err);
    free(d.pictures);
    return status;
}
