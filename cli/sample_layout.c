/* Source of the layouts: the published scripts (WZDTHU/TiM) and the evaluations they write for. */
#include "sample_layout.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "support.h"

enum { QUALITY = 75 /* Pillow's */ };

typedef char Path[MAX_PATH_BYTES];

/* ---- pieces ---- */

/* `folder`/`name`, made unless it is there. */
static TimStatus folder_in(Path out, const char *folder, const char *name, TimError *err) {
    const TimStatus status = join_path(out, folder, name, "", err);
    return status == TIM_OK ? make_folder(out, err) : status;
}

static TimImage picture(const TimPictures *p, int64_t index) {
    const size_t bytes = (size_t)p->height * (size_t)p->width * (size_t)p->channels;
    return (TimImage){p->pixels + (size_t)index * bytes, p->height, p->width, p->channels};
}

/* Four pictures, two by two, row by row. */
static TimStatus write_grid(const TimPictures *p, int64_t first, const char *path, TimError *err) {
    TimImage grid;
    TimStatus status = tim_image_new(&grid, 2 * p->height, 2 * p->width, p->channels, err);
    if (status != TIM_OK) return status;
    const size_t row = (size_t)p->width * (size_t)p->channels;
    for (int i = 0; i < 4; i++) {
        const TimImage one = picture(p, first + i);
        for (int y = 0; y < p->height; y++)
            memcpy(grid.pixels + ((size_t)(i / 2 * p->height + y) * 2 + (size_t)(i % 2)) * row, one.pixels + (size_t)y * row, row);
    }
    status = tim_image_write_png(&grid, path, NULL, 0, err);
    tim_image_done(&grid);
    return status;
}

static TimStatus write_line(const char *path, const char *line, TimError *err) {
    Path temporary;
    const int length = snprintf(temporary, sizeof temporary, "%s.tmp", path);
    if (length < 0 || (size_t)length >= sizeof temporary) return fail_with(err, TIM_E_IO, "%.800s: the path is too long", path);
    (void)unlink(temporary); /* what a link leads to stays as it is */
    FILE *file = fopen(temporary, "wx");
    if (!file) return fail_with(err, TIM_E_IO, "%.800s: %.200s", path, strerror(errno));
    const bool written = fprintf(file, "%s\n", line) > 0;
    if (fclose(file) == 0 && written && rename(temporary, path) == 0) return TIM_OK;
    const int cause = errno;
    (void)unlink(temporary);
    return fail_with(err, TIM_E_IO, "%.800s: %.200s", path, strerror(cause));
}

/* ---- layouts ---- */

/* FOLDER/00003, GenEval's */
static TimStatus own_folder(Path out, const char *folder, int64_t index, TimError *err) {
    char name[32];
    snprintf(name, sizeof name, "%05" PRId64, index);
    return join_path(out, folder, name, "", err);
}

static TimStatus write_samples(const Sampling *d, int64_t index, const char *folder, const TimPictures *pictures, int64_t first,
                               TimError *err) {
    Path samples, path;
    TimStatus status = folder_in(samples, folder, "samples", err);
    for (int i = 0; i < 4 && status == TIM_OK; i++) {
        char name[16];
        const TimImage one = picture(pictures, first + i);
        snprintf(name, sizeof name, "%05d.png", i);
        status = join_path(path, samples, name, "", err);
        if (status == TIM_OK) status = sample_write_image(d, &one, index + i, path, err);
    }
    return status;
}

static TimStatus write_geneval(const Sampling *d, const Prompt *prompt, int64_t number, int64_t index, const TimPictures *pictures,
                               int64_t first, TimError *err) {
    Path own, path;
    TimStatus status = own_folder(own, d->request->out, number, err);
    if (status == TIM_OK) status = make_folder(own, err);
    if (status == TIM_OK) status = join_path(path, own, "metadata.jsonl", "", err);
    if (status == TIM_OK) status = write_line(path, prompt->record, err);
    if (status == TIM_OK) status = join_path(path, own, "grid.png", "", err);
    if (status == TIM_OK) status = write_grid(pictures, first, path, err);
    return status == TIM_OK ? write_samples(d, index, own, pictures, first, err) : status;
}

static TimStatus write_dpg(const char *folder, const Prompt *prompt, const TimPictures *pictures, int64_t first, TimError *err) {
    Path path;
    const TimStatus status = join_path(path, folder, prompt->name, ".png", err);
    return status == TIM_OK ? write_grid(pictures, first, path, err) : status;
}

static TimStatus write_mjhq(const char *folder, const Prompt *prompt, const TimPictures *pictures, int64_t first, TimError *err) {
    Path own, path;
    const TimImage one = picture(pictures, first);
    TimStatus status = folder_in(own, folder, prompt->category, err);
    if (status == TIM_OK) status = join_path(path, own, prompt->name, ".jpg", err);
    return status == TIM_OK ? tim_image_write_jpeg(&one, path, QUALITY, err) : status;
}

TimStatus layout_last_path(char out[MAX_PATH_BYTES], PromptLayout layout, const char *folder, const Prompt *prompt, int64_t index,
                           TimError *err) {
    Path own;
    TimStatus status;
    switch (layout) {
    case LAYOUT_GENEVAL:
        status = own_folder(own, folder, index, err);
        return status == TIM_OK ? join_path(out, own, "samples/00003", ".png", err) : status;
    case LAYOUT_DPG:
        return join_path(out, folder, prompt->name, ".png", err);
    default:
        status = join_path(own, folder, prompt->category, "", err);
        return status == TIM_OK ? join_path(out, own, prompt->name, ".jpg", err) : status;
    }
}

int layout_pictures(PromptLayout layout) {
    return layout == LAYOUT_MJHQ ? 1 : 4;
}

TimStatus layout_write(const Sampling *d, int64_t index, const TimPictures *pictures, int64_t first, TimError *err) {
    const int64_t number = (d->first + index) / d->each; /* of the prompt */
    const Prompt *prompt = &d->list.items[number];
    switch (d->request->layout) {
    case LAYOUT_GENEVAL:
        return write_geneval(d, prompt, number, index, pictures, first, err);
    case LAYOUT_DPG:
        return write_dpg(d->request->out, prompt, pictures, first, err);
    default:
        return write_mjhq(d->request->out, prompt, pictures, first, err);
    }
}
