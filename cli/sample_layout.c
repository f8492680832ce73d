/* Source of the layouts: the published scripts (WZDTHU/TiM) and the evaluations they write for. */
#include "sample_layout.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "support.h"

enum { PATH_BYTES = 4096, QUALITY = 75 /* Pillow's */ };

typedef char Path[PATH_BYTES];

/* ---- pieces ---- */

static TimStatus join(Path out, TimError *err, const char *folder, const char *name) {
    const int length = snprintf(out, PATH_BYTES, "%s/%s", folder, name);
    if (length >= 0 && length < PATH_BYTES) return TIM_OK;
    return fail_with(err, TIM_E_IO, "%.800s: the path is too long", folder);
}

/* `folder`/`name`, made unless it is there. */
static TimStatus folder_in(Path out, const char *folder, const char *name, TimError *err) {
    const TimStatus status = join(out, err, folder, name);
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
    FILE *file = fopen(path, "w");
    if (!file) return fail_with(err, TIM_E_IO, "%.800s: %.200s", path, strerror(errno));
    const bool written = fprintf(file, "%s\n", line) > 0;
    if (fclose(file) == 0 && written) return TIM_OK;
    return fail_with(err, TIM_E_IO, "%.800s: %.200s", path, strerror(errno));
}

/* ---- layouts ---- */

static TimStatus write_samples(const char *folder, const TimPictures *pictures, int64_t first, TimError *err) {
    Path samples, path;
    TimStatus status = folder_in(samples, folder, "samples", err);
    for (int i = 0; i < 4 && status == TIM_OK; i++) {
        char name[16];
        const TimImage one = picture(pictures, first + i);
        snprintf(name, sizeof name, "%05d.png", i);
        status = join(path, err, samples, name);
        if (status == TIM_OK) status = tim_image_write_png(&one, path, NULL, 0, err);
    }
    return status;
}

static TimStatus write_geneval(const char *folder, const Prompt *prompt, int64_t index, const TimPictures *pictures, int64_t first,
                               TimError *err) {
    char name[32];
    Path own, path;
    snprintf(name, sizeof name, "%05" PRId64, index);
    TimStatus status = folder_in(own, folder, name, err);
    if (status == TIM_OK) status = join(path, err, own, "metadata.jsonl");
    if (status == TIM_OK) status = write_line(path, prompt->record, err);
    if (status == TIM_OK) status = write_samples(own, pictures, first, err);
    if (status == TIM_OK) status = join(path, err, own, "grid.png");
    return status == TIM_OK ? write_grid(pictures, first, path, err) : status;
}

static TimStatus write_dpg(const char *folder, const Prompt *prompt, const TimPictures *pictures, int64_t first, TimError *err) {
    Path stem, path;
    TimStatus status = join(stem, err, folder, prompt->name);
    if (status != TIM_OK) return status;
    const int length = snprintf(path, sizeof path, "%.4000s.png", stem);
    if (length < 0 || length >= 4004) return fail_with(err, TIM_E_IO, "%.800s: the path is too long", stem);
    return write_grid(pictures, first, path, err);
}

static TimStatus write_mjhq(const char *folder, const Prompt *prompt, const TimPictures *pictures, int64_t first, TimError *err) {
    char name[512];
    Path own, path;
    const TimImage one = picture(pictures, first);
    TimStatus status = folder_in(own, folder, prompt->category, err);
    snprintf(name, sizeof name, "%.500s.jpg", prompt->name);
    if (status == TIM_OK) status = join(path, err, own, name);
    return status == TIM_OK ? tim_image_write_jpeg(&one, path, QUALITY, err) : status;
}

int layout_pictures(PromptLayout layout) {
    return layout == LAYOUT_MJHQ ? 1 : 4;
}

TimStatus layout_write(PromptLayout layout, const char *folder, const Prompt *prompt, int64_t index, const TimPictures *pictures,
                       int64_t first, TimError *err) {
    switch (layout) {
    case LAYOUT_GENEVAL:
        return write_geneval(folder, prompt, index, pictures, first, err);
    case LAYOUT_DPG:
        return write_dpg(folder, prompt, pictures, first, err);
    default:
        return write_mjhq(folder, prompt, pictures, first, err);
    }
}
