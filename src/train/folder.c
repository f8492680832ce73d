#define _GNU_SOURCE /* nftw, renameat2 */

#include "train/folder.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

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

TimStatus tim_folder_erase(const char *path, TimError *err) {
    enum { OPEN_FOLDERS = 16 };
    if (nftw(path, remove_entry, OPEN_FOLDERS, FTW_DEPTH | FTW_PHYS) == 0 || errno == ENOENT) return TIM_OK;
    return tim_fail(err, TIM_E_IO, "%s: cannot remove the folder: %s", path, strerror(errno));
}

/* Out of the way under a name that says it is going. */
static TimStatus set_aside(char aside[TIM_MAX_PATH], const char *path, TimError *err) {
    TIM_TRY(tim_path(aside, err, "%s" TIM_FOLDER_REMOVED, path));
    TIM_TRY(tim_folder_erase(aside, err));
    if (rename(path, aside) == 0 || errno == ENOENT) return TIM_OK;
    return tim_fail(err, TIM_E_IO, "%s: cannot rename it to %s: %s", path, aside, strerror(errno));
}

TimStatus tim_folder_remove(const char *path, TimError *err) {
    char aside[TIM_MAX_PATH];
    TIM_TRY(set_aside(aside, path, err));
    return tim_folder_erase(aside, err);
}

/* ---- renaming ---- */

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
    return tim_folder_erase(aside, err);
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
