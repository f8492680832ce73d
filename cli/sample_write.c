/* Where the pictures of tim sample go: an npz file for evaluation, a labelled sheet, single files, the folder of an evaluation. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "interruption.h"
#include "sample.h"
#include "sample_layout.h"
#include "support.h"

enum { QUALITY = 95 };

static size_t picture_bytes(const TimPictures *pictures) {
    return (size_t)pictures->height * (size_t)pictures->width * (size_t)pictures->channels;
}

/* Pictures that come of each: one, or with --strip one of every step. */
static int64_t stage_count(const Sampling *d) {
    return d->request->strip ? d->steps : 1;
}

/* The picture `pixels` of the size of all others. */
static TimImage image_of(const Sampling *d, uint8_t *pixels) {
    return (TimImage){.pixels = pixels, .height = d->size.height, .width = d->size.width, .channels = d->size.channels};
}

/* ---- files ---- */

static TimStatus write_png(const Sampling *d, const TimImage *image, int64_t index, const char *path, TimError *err) {
    char *text = malloc(SAMPLE_TEXT_BYTES);
    if (!text) return fail_with(err, TIM_E_MEMORY, "%.200s: no memory for the text of a PNG", path);
    const TimImageText texts[] = {{"Software", "tim " TIM_VERSION}, {"parameters", text}};
    sample_describe(d, index, text);
    const TimStatus status = tim_image_write_png(image, path, texts, sizeof texts / sizeof *texts, err);
    free(text);
    return status;
}

TimStatus sample_write_image(const Sampling *d, const TimImage *image, int64_t index, const char *path, TimError *err) {
    if (ends_with(path, ".jpg") || ends_with(path, ".jpeg")) return tim_image_write_jpeg(image, path, QUALITY, err);
    if (ends_with(path, ".webp")) return tim_image_write_webp(image, path, QUALITY, err);
    return write_png(d, image, index, path, err);
}

static TimStatus write_one(const Sampling *d, uint8_t *pixels, int64_t index, TimError *err) {
    const TimImage image = image_of(d, pixels);
    if (d->request->strip) return sample_sheet_write(d, pixels, index, 1, d->request->out, err);
    return sample_write_image(d, &image, index, d->request->out, err);
}

/* A picture beside its strip is the one of a run without, and says so. */
static TimStatus write_alone(const Sampling *d, const TimImage *image, int64_t index, const char *path, TimError *err) {
    SampleRequest request = *d->request;
    Sampling alone = *d;
    request.strip = false, alone.request = &request;
    return sample_write_image(&alone, image, index, path, err);
}

static TimStatus write_strip(const Sampling *d, int64_t index, const uint8_t *stages, TimError *err) {
    char path[MAX_PATH_BYTES];
    const TimStatus status = sample_numbered_path(d, index, "-strip.png", path, err);
    return status == TIM_OK ? sample_sheet_write(d, stages, index, 1, path, err) : status;
}

/* Another run may have put it there since this one began. */
static TimStatus check_still_absent(const Sampling *d, const char *path, TimError *err) {
    if (d->request->overwrite || access(path, F_OK) != 0) return TIM_OK;
    return fail_with(err, TIM_E_ARGUMENT,
                     "%.800s is there by now; another run writes to this folder: wait for its end, give --overwrite, or another "
                     "folder",
                     path);
}

/* The picture, which is the last of its stages, and beside it the strip of them: first, since the picture tells that this number is
 * done. */
static TimStatus write_numbered(const Sampling *d, int64_t index, uint8_t *stages, TimError *err) {
    char path[MAX_PATH_BYTES];
    const TimImage image = image_of(d, stages + (size_t)(stage_count(d) - 1) * picture_bytes(&d->size));
    TimStatus status = sample_numbered_path(d, index, ".png", path, err);
    if (status == TIM_OK) status = check_still_absent(d, path, err);
    if (status == TIM_OK && d->request->strip) status = write_strip(d, index, stages, err);
    return status == TIM_OK ? write_alone(d, &image, index, path, err) : status;
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
    for (int64_t i = 0; i < pictures->count && status == TIM_OK; i += d->each)
        status = layout_write(d, first + i, pictures, i, err);
    return status;
}

/* ---- many in one ---- */

static TimStatus append_npz(Sampling *d, const TimPictures *pictures, TimError *err) {
    if (!d->npz) {
        const TimStatus status =
            tim_adm_writer_begin(&d->npz, d->request->out, d->count, pictures->height, pictures->width, pictures->channels, err);
        if (status != TIM_OK) return status;
        catch_interruptions(); /* what is on the disk is of no use before its end */
    }
    return tim_adm_writer_append(d->npz, pictures->pixels, pictures->count, err);
}

/* The cells after the last picture stay white. */
static TimStatus begin_sheet(Sampling *d, size_t bytes, TimError *err) {
    const size_t cells = (size_t)(sample_sheet_rows(d) * sample_sheet_columns(d));
    d->sheet = calloc(cells, bytes);
    if (!d->sheet) return fail_with(err, TIM_E_MEMORY, "%.200s: no memory for the sheet; draw fewer pictures", d->request->out);
    memset(d->sheet, 255, cells * bytes);
    return TIM_OK;
}

static TimStatus append_sheet(Sampling *d, int64_t row, const TimPictures *pictures, int64_t first, TimError *err) {
    const size_t bytes = picture_bytes(pictures), place = (size_t)((row * d->count + first) * stage_count(d));
    const TimStatus status = d->sheet ? TIM_OK : begin_sheet(d, bytes, err);
    if (status == TIM_OK) memcpy(d->sheet + place * bytes, pictures->pixels, (size_t)pictures->count * bytes);
    return status;
}

/* ---- where pictures go ---- */

TimStatus sample_take(Sampling *d, int64_t row, const TimPictures *pictures, int64_t first, TimError *err) {
    if (d->drawn > 0 && (pictures->width != d->size.width || pictures->height != d->size.height)) d->sizes_differ = true;
    d->size = *pictures;
    d->size.pixels = NULL;
    switch (d->request->form) {
    case SAMPLE_NPZ:
        return append_npz(d, pictures, err);
    case SAMPLE_SHEET:
        return append_sheet(d, row, pictures, first, err);
    case SAMPLE_PICTURE:
        return write_one(d, pictures->pixels, first, err);
    case SAMPLE_FOLDER:
        return write_pngs(d, pictures, first, err);
    case SAMPLE_LAYOUT:
        return write_groups(d, pictures, first, err);
    }
    return TIM_OK;
}

TimStatus sample_finish(Sampling *d, TimError *err) {
    if (d->request->form == SAMPLE_SHEET) return sample_sheet_write(d, d->sheet, 0, sample_sheet_rows(d), d->request->out, err);
    if (d->request->form != SAMPLE_NPZ) return TIM_OK;
    TimAdmWriter *npz = d->npz;
    d->npz = NULL; /* freed in every case */
    return tim_adm_writer_finish(npz, d->labels, err);
}
