/* Whether the pictures can go where they should, and what is there already. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sample.h"
#include "sample_layout.h"
#include "support.h"

typedef char Path[MAX_PATH_BYTES];

static const char picture_end[] = ".png", strip_end[] = "-strip.png";

static bool goes_into_folder(const SampleRequest *r) {
    return r->form == SAMPLE_FOLDER || r->form == SAMPLE_LAYOUT;
}

/* ---- can it be written ---- */

static bool is_folder(const char *path) {
    struct stat info;
    return lstat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

/* A file appears under this name before it is renamed, so what is there under its own is not touched. */
static TimStatus probe(const char *path, TimError *err) {
    Path temporary;
    const int length = snprintf(temporary, sizeof temporary, "%s.tmp", path);
    if (length < 0 || (size_t)length >= sizeof temporary) return fail_with(err, TIM_E_IO, "%.800s: the path is too long", path);
    const int file = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (file < 0 && errno == EEXIST && !is_folder(temporary)) return TIM_OK; /* left by a run that was cut off */
    if (file < 0)
        return fail_with(err, TIM_E_IO, "%.800s: cannot be written: %.200s; does its folder exist, and is it writable?", path,
                         strerror(errno));
    close(file);
    unlink(temporary);
    return TIM_OK;
}

TimStatus sample_numbered_path(const Sampling *d, int64_t index, const char *end, Path path, TimError *err) {
    char name[32];
    snprintf(name, sizeof name, "%06" PRId64, d->first + index);
    return join_path(path, d->request->out, name, end, err);
}

TimStatus sample_place_open(const SampleRequest *r, TimError *err) {
    Path path;
    if (!goes_into_folder(r)) return probe(r->out, err);
    TimStatus status = make_folder(r->out, err);
    if (status == TIM_OK) status = join_path(path, r->out, "000000", picture_end, err);
    return status == TIM_OK ? probe(path, err) : status;
}

/* ---- what is there ---- */

/* The lowest and the highest number found; empty: low > high. */
typedef struct Numbers {
    int64_t low, high;
} Numbers;

static void take_number(Numbers *found, int64_t number) {
    if (number < found->low) found->low = number;
    if (number > found->high) found->high = number;
}

/* "000007.png", also of more digits, the end being ".png": 7; -1 for any other name. */
static int64_t number_of(const char *name, const char *name_end) {
    char again[64], *end;
    const int64_t number = *name >= '0' && *name <= '9' ? strtoll(name, &end, 10) : -1;
    snprintf(again, sizeof again, "%06" PRId64 "%s", number, name_end);
    return strcmp(name, again) == 0 ? number : -1;
}

/* The numbers from ... to - 1 of pictures in the folder, and with `strips` those of strips, whose picture may have been taken away.
 * A folder that cannot be read is empty: writing will say why. */
static Numbers find_numbers(const char *folder, int64_t from, int64_t to, bool strips) {
    Numbers found = {INT64_MAX, -1};
    DIR *dir = opendir(folder);
    if (!dir) return found;
    for (const struct dirent *entry = readdir(dir); entry; entry = readdir(dir)) {
        int64_t number = number_of(entry->d_name, picture_end);
        if (strips && number < 0) number = number_of(entry->d_name, strip_end);
        if (number >= from && number < to) take_number(&found, number);
    }
    closedir(dir);
    return found;
}

/* The same of whole groups, of whose files only the layout knows the last. */
static TimStatus find_groups(const Sampling *d, Numbers *found, TimError *err) {
    const SampleRequest *r = d->request;
    *found = (Numbers){INT64_MAX, -1};
    for (int64_t number = d->first; number < d->first + d->count; number += d->each) {
        Path path;
        const int64_t index = number / d->each;
        const TimStatus status = layout_last_path(path, (PromptLayout)r->layout, r->out, &d->list.items[index], index, err);
        if (status != TIM_OK) return status;
        if (access(path, F_OK) == 0) take_number(found, number);
    }
    return TIM_OK;
}

/* What is there of the number: the picture, or only its strip. */
static TimStatus name_numbered(const Sampling *d, int64_t number, Path path, TimError *err) {
    const TimStatus status = sample_numbered_path(d, number - d->first, picture_end, path, err);
    if (status != TIM_OK || access(path, F_OK) == 0) return status;
    return sample_numbered_path(d, number - d->first, strip_end, path, err);
}

static TimStatus name_picture(const Sampling *d, int64_t number, Path path, TimError *err) {
    const SampleRequest *r = d->request;
    if (r->form == SAMPLE_FOLDER) return name_numbered(d, number, path, err);
    const int64_t index = number / d->each;
    return layout_last_path(path, (PromptLayout)r->layout, r->out, &d->list.items[index], index, err);
}

/* Single pictures and their strips are numbers; a layout has names of its own. */
bool sample_place_replaces(const SampleRequest *r, const char *path) {
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    const bool numbered = strspn(name, "0123456789") >= 6 && ends_with(name, ".png");
    return r->overwrite && lies_below(path, r->out) && (numbered || r->form == SAMPLE_LAYOUT);
}

int64_t sample_place_next(const SampleRequest *r) {
    return find_numbers(r->out, 0, INT64_MAX, true).high + 1;
}

/* Both ways out; going on after the last only where pictures are left. */
static TimStatus fail_there(const Sampling *d, const Numbers *found, TimError *err) {
    Path path;
    char rest[64] = "another folder";
    const SampleRequest *r = d->request;
    const int64_t next = r->form == SAMPLE_LAYOUT ? found->high + d->each : sample_place_next(r);
    const bool ends = r->prompts_file && !sample_reads_input(r) && next >= d->first + d->count;
    const TimStatus status = name_picture(d, found->low, path, err);
    if (status != TIM_OK) return status;
    if (!ends) snprintf(rest, sizeof rest, "--first %" PRId64 " to go on after the last", next);
    return fail_with(err, TIM_E_ARGUMENT, "%.800s is there already; give --overwrite to replace it, or %s", path, rest);
}

TimStatus sample_place_check(const Sampling *d, TimError *err) {
    const SampleRequest *r = d->request;
    if (r->overwrite || !goes_into_folder(r)) return TIM_OK;
    Numbers found;
    TimStatus status = TIM_OK;
    if (r->form == SAMPLE_LAYOUT)
        status = find_groups(d, &found, err);
    else
        found = find_numbers(r->out, d->first, sample_reads_input(r) ? INT64_MAX : d->first + d->count, r->strip);
    if (status != TIM_OK || found.high < 0) return status;
    return fail_there(d, &found, err);
}
