/* Strips: a row for each picture, a column for each step. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "class_names.h"
#include "sample.h"
#include "support.h"

enum { LABEL_BYTES = 32, GAP = 4, FRAME = 64 /* pixels, at least, for margins, title and labels */ };

/* ---- before drawing ---- */

static int side_of(const Sampling *d, int given) {
    const TimNetworkConfig *n = &tim_pipeline_config(d->pipeline)->network;
    return given ? given : n->input_size * (tim_pipeline_step(d->pipeline) / n->patch_size);
}

static TimStatus check_side(int64_t count, int side, const char *where, const char *fewer, TimError *err) {
    if (count <= (TIM_IMAGE_MAX_SIDE - FRAME) / (side + GAP)) return TIM_OK;
    return fail_with(err, TIM_E_ARGUMENT,
                     "--strip: %" PRId64 " pictures of %d pixels %s make more than the %d that an image may have; give fewer %s or "
                     "a smaller --size",
                     count, side, where, TIM_IMAGE_MAX_SIDE, fewer);
}

TimStatus sample_strip_check(const Sampling *d, const TimSampleOptions *o, int64_t rows, TimError *err) {
    const int height = side_of(d, o->height), width = side_of(d, o->width), scale = sample_scale(height, width);
    const TimStatus status = check_side(o->steps, width * scale, "beside each other", "--steps", err);
    return status == TIM_OK ? check_side(rows, height * scale, "below each other", "pictures", err) : status;
}

/* ---- labels ---- */

/* Texts and the pointers to them: of the columns, then of the rows. */
typedef struct Labels {
    char (*text)[LABEL_BYTES]; /* (columns + rows) */
    const char **all;          /* (columns + rows) */
} Labels;

static bool make_labels(const Sampling *d, Labels *labels, int64_t first, int64_t columns, int64_t rows) {
    labels->text = calloc((size_t)(columns + rows), sizeof *labels->text);
    labels->all = calloc((size_t)(columns + rows), sizeof *labels->all);
    if (!labels->text || !labels->all) return false;
    for (int64_t i = 0; i < columns + rows; i++) labels->all[i] = labels->text[i];
    for (int64_t i = 0; i < columns; i++) snprintf(labels->text[i], LABEL_BYTES, "step %" PRId64, i + 1);
    for (int64_t i = 0; d->labels && i < rows; i++)
        class_label(labels->text[columns + i], LABEL_BYTES, tim_pipeline_config(d->pipeline), d->labels[first + i]);
    return true;
}

static void free_labels(Labels *labels) {
    free(labels->text);
    free(labels->all);
}

/* ---- the sheet ---- */

TimStatus sample_strip_write(const Sampling *d, const uint8_t *pixels, int64_t first, int64_t rows, const char *path,
                             TimError *err) {
    char title[SAMPLE_TITLE_BYTES];
    Labels labels;
    TimImage image = {0};
    const bool labelled = make_labels(d, &labels, first, d->steps, rows);
    sample_title(d, title);
    const TimSheet sheet = {.rows = (int)rows,
                            .columns = (int)d->steps,
                            .height = d->size.height,
                            .width = d->size.width,
                            .channels = d->size.channels,
                            .pictures = pixels,
                            .title = title,
                            .column_labels = labels.all,
                            .row_labels = labelled ? labels.all + d->steps : NULL,
                            .scale = sample_scale(d->size.height, d->size.width),
                            .text_scale = 1};
    TimStatus status =
        labelled ? tim_sheet_draw(&image, &sheet, err) : fail_with(err, TIM_E_MEMORY, "%.200s: no memory for the labels", path);
    if (status == TIM_OK) status = sample_write_image(d, &image, rows == 1 ? first : -1, path, err);
    tim_image_done(&image);
    free_labels(&labels);
    return status;
}
