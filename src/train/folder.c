#define _GNU_SOURCE /* nftw, renameat2 */

#include "train/folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io/number.h"

TimStatus tim_path(char out[TIM_MAX_PATH], TimError *err, const char *format, ...) {
    va_list args;
    va_start(args, format);
    const int length = vsnprintf(out, TIM_MAX_PATH, format, args);
    va_end(args);
    if (length >= 0 && length < TIM_MAX_PATH) return TIM_OK;
    return tim_fail(err, TIM_E_ARGUMENT, "a path is longer than %d bytes: %.80s...", TIM_MAX_PATH - 1, out);
}

/* ---- removing ---- */

static int remove_entry(const char *path, const struct stat *info, int type, struct FTW *at) {
    (void)info, (void)type, (void)at;
    return remove(path);
}

static TimStatus remove_tree(const char *path, TimError *err) {
    enum { OPEN_FOLDERS = 16 };
    if (nftw(path, remove_entry, OPEN_FOLDERS, FTW_DEPTH | FTW_PHYS) == 0 || errno == ENOENT) return TIM_OK;
    return tim_fail(err, TIM_E_IO, "%s: cannot remove the folder: %s", path, strerror(errno));
}

/* Out of the way under a name that says it is going. */
static TimStatus set_aside(char aside[TIM_MAX_PATH], const char *path, TimError *err) {
    TIM_TRY(tim_path(aside, err, "%s" TIM_FOLDER_REMOVED, path));
    TIM_TRY(remove_tree(aside, err));
    if (rename(path, aside) == 0 || errno == ENOENT) return TIM_OK;
    return tim_fail(err, TIM_E_IO, "%s: cannot rename it to %s: %s", path, aside, strerror(errno));
}

TimStatus tim_folder_remove(const char *path, TimError *err) {
    char aside[TIM_MAX_PATH];
    TIM_TRY(set_aside(aside, path, err));
    return remove_tree(aside, err);
}

/* Puts a renaming on the disk. Some file systems cannot, and nothing is half either way: failures do not count. */
static void sync_parent(const char *path) {
    char parent[TIM_MAX_PATH];
    snprintf(parent, sizeof parent, "%s/..", path);
    const int fd = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return;
    (void)fsync(fd);
    close(fd);
}

/* Two renamings, for file systems that cannot exchange names. A kill between them leaves the new content as
 * NAME.being-written and the old one as NAME.being-removed, and nothing has the name. */
static TimStatus replace(const char *temporary, const char *path, TimError *err) {
    char aside[TIM_MAX_PATH];
    TIM_TRY(set_aside(aside, path, err));
    if (rename(temporary, path) != 0) {
        const int cause = errno;
        (void)rename(aside, path);
        return tim_fail(err, TIM_E_IO, "%s: cannot rename it to %s: %s", temporary, path, strerror(cause));
    }
    sync_parent(path);
    return remove_tree(aside, err);
}

/* An exchange is one step: whenever a kill comes, either content has the name. */
TimStatus tim_folder_publish(const char *temporary, const char *path, TimError *err) {
    if (renameat2(AT_FDCWD, temporary, AT_FDCWD, path, RENAME_EXCHANGE) != 0) return replace(temporary, path, err);
    sync_parent(path);
    return tim_folder_remove(temporary, err);
}

TimStatus tim_path_keep(char kept[TIM_MAX_PATH], const char *path, const char *suffix, TimError *err) {
    struct stat info;
    TIM_TRY(tim_path(kept, err, "%s.%s", path, suffix));
    for (int i = 2; lstat(kept, &info) == 0; i++) TIM_TRY(tim_path(kept, err, "%s.%s-%d", path, suffix, i));
    if (rename(path, kept) != 0) return tim_fail(err, TIM_E_IO, "%s: cannot rename it to %s: %s", path, kept, strerror(errno));
    sync_parent(kept);
    return TIM_OK;
}

bool tim_folder_same(const char *a, const char *b) {
    struct stat of_a, of_b;
    return stat(a, &of_a) == 0 && stat(b, &of_b) == 0 && of_a.st_dev == of_b.st_dev && of_a.st_ino == of_b.st_ino;
}

/* ---- checkpoints ---- */

static const char prefix[] = "checkpoint-";

/* What follows the digits of checkpoint-N; NULL where the name does not begin so. */
static const char *behind_number(const char *name) {
    if (strncmp(name, prefix, sizeof prefix - 1) != 0) return NULL;
    const char *digits = name + sizeof prefix - 1;
    const size_t count = strspn(digits, "0123456789");
    return count ? digits + count : NULL;
}

/* True for checkpoint-N, with its N. */
static bool parse(const char *name, int64_t *number) {
    long long parsed;
    const char *end = behind_number(name);
    if (!end || *end || !tim_number_parse_integer(name + sizeof prefix - 1, 0, INT64_MAX, &parsed)) return false;
    *number = parsed;
    return true;
}

/* True for what a kill leaves of a checkpoint; both suffixes where the one that was exchanged for the new was being removed. */
static bool is_leftover(const char *name) {
    static const char *const suffixes[] = {TIM_FOLDER_WRITTEN, TIM_FOLDER_REMOVED, TIM_FOLDER_WRITTEN TIM_FOLDER_REMOVED};
    const char *end = behind_number(name);
    for (size_t i = 0; end && i < sizeof suffixes / sizeof *suffixes; i++)
        if (strcmp(end, suffixes[i]) == 0) return true;
    return false;
}

/* What a folder holds. */
typedef struct Census {
    int64_t count;
    int64_t smallest, largest; /* -1 without any; the smallest leaves `keep` out */
    char leftover[256];        /* one of them, or empty */
} Census;

static void count_entry(Census *census, const char *name, int64_t keep) {
    int64_t number;
    if (is_leftover(name)) snprintf(census->leftover, sizeof census->leftover, "%s", name);
    if (!parse(name, &number)) return;
    census->count++;
    if (number > census->largest) census->largest = number;
    if (number != keep && (census->smallest < 0 || number < census->smallest)) census->smallest = number;
}

static TimStatus take_census(Census *census, const char *folder, int64_t keep, TimError *err) {
    *census = (Census){.smallest = -1, .largest = -1};
    DIR *stream = opendir(folder);
    if (!stream && errno == ENOENT) return TIM_OK;
    if (!stream) return tim_fail(err, TIM_E_IO, "%s: cannot read the folder: %s", folder, strerror(errno));
    for (const struct dirent *entry = readdir(stream); entry; entry = readdir(stream)) count_entry(census, entry->d_name, keep);
    closedir(stream);
    return TIM_OK;
}

TimStatus tim_checkpoint_latest(int64_t *latest, const char *folder, TimError *err) {
    Census census;
    TIM_TRY(take_census(&census, folder, -1, err));
    *latest = census.largest;
    return TIM_OK;
}

TimStatus tim_checkpoint_abandon(char kept[TIM_MAX_PATH], const char *folder, int64_t step, TimError *err) {
    int64_t latest;
    char path[TIM_MAX_PATH];
    *kept = '\0';
    TIM_TRY(tim_checkpoint_latest(&latest, folder, err));
    if (latest <= step) return TIM_OK;
    TIM_TRY(tim_path(path, err, "%s/%s%lld", folder, prefix, (long long)latest));
    return tim_path_keep(kept, path, "abandoned", err);
}

/* One at a time: each removal changes what there is. */
TimStatus tim_checkpoint_rotate(const char *folder, int limit, int64_t keep, TimError *err) {
    for (;;) {
        Census census;
        char path[TIM_MAX_PATH];
        TIM_TRY(take_census(&census, folder, keep, err));
        const bool surplus = limit > 0 && census.count > limit && census.smallest >= 0;
        if (*census.leftover) {
            TIM_TRY(tim_path(path, err, "%s/%s", folder, census.leftover));
            TIM_TRY(remove_tree(path, err));
        } else if (surplus) {
            TIM_TRY(tim_path(path, err, "%s/%s%lld", folder, prefix, (long long)census.smallest));
            TIM_TRY(tim_folder_remove(path, err));
        } else {
            return TIM_OK;
        }
    }
}
