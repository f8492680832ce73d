/* Where the pictures of tim sample go: an npz file for evaluation, a labelled sheet, single PNG files. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "class_names.h"
#include "sample.h"
#include "sample_layout.h"
#include "support.h"

enum { MAX_TEXT = SAMPLE_TEXT_BYTES, QUALITY = 95, LABEL_BYTES = 32, PATH_BYTES = 4096 };

/* ---- writing ---- */

static size_t picture_bytes(const TimPictures *pictures) {
    return (size_t)pictures->height * (size_t)pictures->width * (size_t)pictures->channels;
}

/* Pictures that come of each: one, or with --strip one of every step. */
static int64_t stage_count(const Sampling *d) {
    return d->request->strip ? d->steps : 1;
}

/* What a PNG file says about how it was drawn, in the form that other tools write and read: the prompt, then a line of settings that
 * begins with the steps. Picture `index`, or (-1) all. */
static void describe(const Sampling *d, int64_t index, char text[MAX_TEXT]) {
    const SampleRequest *r = d->request;
    const TimSampleOptions options = sample_options(d, index < 0 ? 0 : index, 1), *o = &options;
    const NumberList *steps = &r->steps;
    int at = 0;
    if (d->prompts) at += snprintf(text, MAX_TEXT / 2, "%s\n", d->prompts[index < 0 ? 0 : index]);
    if (at >= MAX_TEXT / 2) at = MAX_TEXT / 2 - 1;
    at += snprintf(text + at, (size_t)(MAX_TEXT - at), "Steps:");
    if (steps->count == 1) at += snprintf(text + at, (size_t)(MAX_TEXT - at), " %d", o->steps);
    for (int64_t i = 0; steps->count > 1 && i < steps->count && at < MAX_TEXT / 4 * 3; i++)
        at += snprintf(text + at, (size_t)(MAX_TEXT - at), "%s%" PRId64, i ? "/" : " ", steps->items[i]);
    at += snprintf(text + at, (size_t)(MAX_TEXT - at),
                   ", Sampler: %s, CFG scale: %.17g, Seed: %" PRIu64 ", Size: %dx%d, Model: %.1024s, Guidance window: %.17g-%.17g, "
                   "Stochasticity: %.17g, Precision: %s, Version: tim " TIM_VERSION,
                   sample_mode_words[r->mode], o->guidance, o->seed, d->size.width, d->size.height, r->parts.model, o->guidance_low,
                   o->guidance_high, o->stochasticity, sample_precision_words[r->precision]);
    if (r->imitate) at += snprintf(text + at, (size_t)(MAX_TEXT - at), ", Imitate: %.64s", r->imitate);
    if (r->init)
        at += snprintf(text + at, (size_t)(MAX_TEXT - at), ", Denoising strength: %.17g, Init: %.1024s", o->strength, r->init);
    if (index < 0) return;
    at += snprintf(text + at, (size_t)(MAX_TEXT - at), ", Picture: %" PRId64, o->first);
    if (!d->labels) return;
    char name[LABEL_BYTES];
    at += snprintf(text + at, (size_t)(MAX_TEXT - at), ", Class: %" PRId64, d->labels[index]);
    if (class_name(name, sizeof name, tim_pipeline_config(d->pipeline), d->labels[index]))
        snprintf(text + at, (size_t)(MAX_TEXT - at), ", Class name: %s", name);
}

static TimStatus write_png(const Sampling *d, const TimImage *image, int64_t index, const char *path, TimError *err) {
    char *text = malloc(MAX_TEXT);
    if (!text) return fail_with(err, TIM_E_MEMORY, "%.200s: no memory for the text of a PNG", path);
    const TimImageText texts[] = {{"Software", "tim " TIM_VERSION}, {"parameters", text}};
    describe(d, index, text);
    const TimStatus status = tim_image_write_png(image, path, texts, sizeof texts / sizeof *texts, err);
    free(text);
    return status;
}

TimStatus sample_write_image(const Sampling *d, const TimImage *image, int64_t index, const char *path, TimError *err) {
    if (ends_with(path, ".jpg") || ends_with(path, ".jpeg")) return tim_image_write_jpeg(image, path, QUALITY, err);
    if (ends_with(path, ".webp")) return tim_image_write_webp(image, path, QUALITY, err);
    return write_png(d, image, index, path, err);
}

/* The picture `pixels` of the size of all others. */
static TimImage image_of(const Sampling *d, uint8_t *pixels) {
    return (TimImage){.pixels = pixels, .height = d->size.height, .width = d->size.width, .channels = d->size.channels};
}

/* "out/000007.png", or with the end "-strip" "out/000007-strip.png". */
static TimStatus numbered_path(const Sampling *d, int64_t index, const char *end, char path[PATH_BYTES], TimError *err) {
    const char *folder = d->request->out;
    const char *separator = folder[strlen(folder) - 1] == '/' ? "" : "/";
    const int length = snprintf(path, PATH_BYTES, "%s%s%06" PRId64 "%s.png", folder, separator, d->first + index, end);
    if (length >= 0 && length < PATH_BYTES) return TIM_OK;
    return fail_with(err, TIM_E_IO, "%.200s: the path is too long", folder);
}

/* The picture, which is the last of its stages, and beside it the strip of them. */
static TimStatus write_numbered(const Sampling *d, int64_t index, uint8_t *stages, TimError *err) {
    char path[PATH_BYTES];
    const TimImage image = image_of(d, stages + (size_t)(stage_count(d) - 1) * picture_bytes(&d->size));
    TimStatus status = numbered_path(d, index, "", path, err);
    if (status == TIM_OK) status = sample_write_image(d, &image, index, path, err);
    if (status != TIM_OK || !d->request->strip) return status;
    status = numbered_path(d, index, "-strip", path, err);
    return status == TIM_OK ? sample_strip_write(d, stages, index, 1, path, err) : status;
}

static TimStatus write_pngs(const Sampling *d, const TimPictures *pictures, int64_t first, TimError *err) {
    const size_t bytes = picture_bytes(pictures) * (size_t)stage_count(d);
    for (int64_t i = 0; i < pictures->count / stage_count(d); i++) {
        const TimStatus status = write_numbered(d, first + i, pictures->pixels + (size_t)i * bytes, err);
        if (status != TIM_OK) return status;
    }
    return TIM_OK;
}

/* Whole groups: all pictures of each prompt. */
static TimStatus write_groups(const Sampling *d, const TimPictures *pictures, int64_t first, TimError *err) {
    TimStatus status = TIM_OK;
    for (int64_t i = 0; i < pictures->count && status == TIM_OK; i += d->each) {
        const int64_t index = (first + i) / d->each;
        status = layout_write((PromptLayout)d->request->layout, d->request->out, &d->list.items[index], index, pictures, i, err);
    }
    return status;
}

static TimStatus append_npz(Sampling *d, const TimPictures *pictures, TimError *err) {
    if (!d->npz) {
        const TimStatus status =
            tim_adm_begin(&d->npz, d->request->out, d->count, pictures->height, pictures->width, pictures->channels, err);
        if (status != TIM_OK) return status;
    }
    return tim_adm_append(d->npz, pictures->pixels, pictures->count, err);
}

/* ---- the sheet ---- */

enum { SHEET_PICTURE = 96, SHEET_COLUMNS = 16 };

/* A strip is a row. With several numbers of steps a row holds one of them and a column one picture. Otherwise the pictures fill rows, so that a
 * column holds one class where the classes come in turn. */
static int64_t sheet_columns(const Sampling *d) {
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

static int64_t sheet_rows(const Sampling *d) {
    if (d->request->strip) return d->count;
    return (d->total - 1) / sheet_columns(d) + 1;
}

/* The cells after the last picture stay white. */
static TimStatus begin_sheet(Sampling *d, size_t picture_bytes, TimError *err) {
    const int64_t rows = sheet_rows(d), columns = sheet_columns(d);
    if (rows > TIM_IMAGE_MAX_SIDE || columns > TIM_IMAGE_MAX_SIDE)
        return fail_with(err, TIM_E_ARGUMENT, "%.200s: too many pictures for one sheet; draw fewer, or into a folder",
                         d->request->out);
    d->sheet = calloc((size_t)(rows * columns), picture_bytes);
    if (!d->sheet) return fail_with(err, TIM_E_MEMORY, "%.200s: no memory for the sheet; draw fewer pictures", d->request->out);
    memset(d->sheet, 255, (size_t)(rows * columns) * picture_bytes);
    return TIM_OK;
}

static TimStatus append_sheet(Sampling *d, const TimPictures *pictures, int64_t first, TimError *err) {
    const size_t bytes = picture_bytes(pictures), place = (size_t)((d->row * d->count + first) * stage_count(d));
    const TimStatus status = d->sheet ? TIM_OK : begin_sheet(d, bytes, err);
    if (status == TIM_OK) memcpy(d->sheet + place * bytes, pictures->pixels, (size_t)pictures->count * bytes);
    return status;
}

/* A column is labelled where all of its pictures are of one class. */
static const char *column_label(const Sampling *d, int64_t column, int64_t columns, char text[LABEL_BYTES]) {
    for (int64_t i = column; d->labels && i < d->count; i += columns)
        if (d->labels[i] != d->labels[column]) return NULL;
    if (!d->labels) return NULL;
    class_label(text, LABEL_BYTES, tim_pipeline_config(d->pipeline), d->labels[column]);
    return text;
}

static const char *row_label(const Sampling *d, int64_t row, char text[LABEL_BYTES]) {
    const NumberList *steps = &d->request->steps;
    if (steps->count == 1) return NULL;
    snprintf(text, LABEL_BYTES, "%" PRId64 " step%s", steps->items[row], steps->items[row] == 1 ? "" : "s");
    return text;
}

/* The labels' texts and the pointers to them. */
typedef struct Labels {
    char (*text)[LABEL_BYTES]; /* (columns + rows) */
    const char **columns, **rows;
} Labels;

static bool make_sheet_labels(const Sampling *d, Labels *labels) {
    const int64_t columns = sheet_columns(d), rows = sheet_rows(d);
    labels->text = calloc((size_t)(columns + rows), sizeof *labels->text);
    labels->columns = calloc((size_t)columns, sizeof *labels->columns);
    labels->rows = calloc((size_t)rows, sizeof *labels->rows);
    if (!labels->text || !labels->columns || !labels->rows) return false;
    for (int64_t i = 0; i < columns; i++) labels->columns[i] = column_label(d, i, columns, labels->text[i]);
    for (int64_t i = 0; i < rows; i++) labels->rows[i] = row_label(d, i, labels->text[columns + i]);
    return true;
}

static void free_sheet_labels(Labels *labels) {
    free(labels->text);
    free(labels->columns);
    free(labels->rows);
}

void sample_title(const Sampling *d, char text[SAMPLE_TITLE_BYTES]) {
    const size_t size = SAMPLE_TITLE_BYTES;
    const SampleRequest *r = d->request;
    const TimSampleOptions *o = &r->sample;
    int at = 0;
    if (r->steps.count == 1)
        at += snprintf(text, size, "%" PRId64 " step%s, ", r->steps.items[0], r->steps.items[0] == 1 ? "" : "s");
    if (r->mode == TIM_SAMPLE_DIFFUSION) at += snprintf(text + at, size - (size_t)at, "diffusion mode, ");
    if (o->guidance > 1.0) at += snprintf(text + at, size - (size_t)at, "guidance %g, ", o->guidance);
    if (o->stochasticity > 0.0) at += snprintf(text + at, size - (size_t)at, "stochasticity %g, ", o->stochasticity);
    snprintf(text + at, size - (size_t)at, "seed %" PRIu64, o->seed);
}

int sample_scale(int height, int width) {
    const int side = height > width ? height : width;
    return side < SHEET_PICTURE ? SHEET_PICTURE / side : 1;
}

static TimStatus write_sheet(const Sampling *d, const Labels *labels, TimError *err) {
    char title[SAMPLE_TITLE_BYTES];
    const TimSheet sheet = {.rows = (int)sheet_rows(d),
                            .columns = (int)sheet_columns(d),
                            .height = d->size.height,
                            .width = d->size.width,
                            .channels = d->size.channels,
                            .pictures = d->sheet,
                            .title = title,
                            .column_labels = labels->columns,
                            .row_labels = labels->rows,
                            .scale = sample_scale(d->size.height, d->size.width),
                            .text_scale = 1};
    TimImage image;
    sample_title(d, title);
    TimStatus status = tim_sheet_draw(&image, &sheet, err);
    if (status == TIM_OK) status = sample_write_image(d, &image, -1, d->request->out, err);
    tim_image_done(&image);
    return status;
}

static TimStatus finish_sheet(const Sampling *d, TimError *err) {
    if (d->request->strip) return sample_strip_write(d, d->sheet, 0, d->count, d->request->out, err);
    Labels labels = {NULL};
    const TimStatus status = make_sheet_labels(d, &labels)
                                 ? write_sheet(d, &labels, err)
                                 : fail_with(err, TIM_E_MEMORY, "%.200s: no memory for the sheet's labels", d->request->out);
    free_sheet_labels(&labels);
    return status;
}

/* ---- where pictures go ---- */

TimStatus sample_take(Sampling *d, const TimPictures *pictures, int64_t first, TimError *err) {
    d->size = *pictures;
    d->size.pixels = NULL;
    switch (d->request->form) {
    case SAMPLE_NPZ:
        return append_npz(d, pictures, err);
    case SAMPLE_SHEET:
        return append_sheet(d, pictures, first, err);
    case SAMPLE_PICTURE: {
        if (d->request->strip) return sample_strip_write(d, pictures->pixels, first, 1, d->request->out, err);
        const TimImage image = image_of(d, pictures->pixels);
        return sample_write_image(d, &image, first, d->request->out, err);
    }
    case SAMPLE_FOLDER:
        return write_pngs(d, pictures, first, err);
    case SAMPLE_LAYOUT:
        return write_groups(d, pictures, first, err);
    }
    return TIM_OK;
}

TimStatus sample_finish(Sampling *d, TimError *err) {
    if (d->request->form == SAMPLE_SHEET) return finish_sheet(d, err);
    if (d->request->form != SAMPLE_NPZ) return TIM_OK;
    TimAdmWriter *npz = d->npz;
    d->npz = NULL; /* freed in every case */
    return tim_adm_finish(npz, d->labels, err);
}
