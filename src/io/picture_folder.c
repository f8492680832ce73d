/* The picture files of a folder, or of its sub-folders as classes. Names are collected and sorted when the set is opened. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "base/memory.h"
#include "io/picture_set.h"

typedef struct Paths {
    char **items;
    size_t count, capacity;
} Paths;

typedef struct Picture {
    char *path; /* one of the paths */
    int64_t label;
} Picture;

typedef struct Folder {
    Paths files, folders; /* own the texts */
    Picture *pictures;    /* (count) */
    size_t count, capacity;
} Folder;

static void paths_done(Paths *paths) {
    for (size_t i = 0; i < paths->count; i++) tim_free(paths->items[i]);
    tim_free(paths->items);
    *paths = (Paths){0};
}

static TimStatus add_path(Paths *paths, const char *path, TimError *err) {
    TIM_TRY(tim_grow(&paths->items, &paths->capacity, paths->count, sizeof *paths->items, "the names in a folder", err));
    TIM_TRY(tim_copy_text(&paths->items[paths->count], path, err));
    paths->count++;
    return TIM_OK;
}

static int by_bytes(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* From item `first` on. */
static void sort(Paths *paths, size_t first, int (*order)(const void *, const void *)) {
    if (paths->count > first) qsort(paths->items + first, paths->count - first, sizeof *paths->items, order);
}

static bool is_picture(const char *name) {
    static const char *const endings[] = {".png", ".jpg", ".jpeg", ".webp"};
    const char *dot = strrchr(name, '.');
    for (size_t i = 0; dot && i < sizeof endings / sizeof *endings; i++)
        if (strcasecmp(dot, endings[i]) == 0) return true;
    return false;
}

/* A broken link called as a picture is an error: to leave it out would change the set silently. */
static TimStatus add_entry(Folder *folder, const char *path, const char *name, TimError *err) {
    struct stat info;
    if (stat(path, &info) != 0)
        return is_picture(name) ? tim_fail(err, TIM_E_IO, "%s: cannot open: %s", path, strerror(errno)) : TIM_OK;
    if (S_ISDIR(info.st_mode)) return add_path(&folder->folders, path, err);
    return S_ISREG(info.st_mode) && is_picture(name) ? add_path(&folder->files, path, err) : TIM_OK;
}

static TimStatus join_and_add(Folder *folder, const char *directory, const char *name, TimError *err) {
    const size_t size = strlen(directory) + strlen(name) + 2;
    char *path;
    TIM_TRY(tim_new(&path, size, 1, "a path", err));
    snprintf(path, size, "%s/%s", directory, name);
    const TimStatus status = add_entry(folder, path, name, err);
    tim_free(path);
    return status;
}

static TimStatus list_open(Folder *folder, const char *directory, DIR *stream, TimError *err) {
    for (;;) {
        errno = 0;
        const struct dirent *entry = readdir(stream);
        if (!entry && errno != 0) return tim_fail(err, TIM_E_IO, "%s: cannot list: %s", directory, strerror(errno));
        if (!entry) return TIM_OK;
        if (entry->d_name[0] != '.') TIM_TRY(join_and_add(folder, directory, entry->d_name, err));
    }
}

/* Adds what is in the directory to the files and the folders, each sorted by itself. */
static TimStatus list(Folder *folder, const char *directory, TimError *err) {
    const size_t files = folder->files.count, folders = folder->folders.count;
    DIR *stream = opendir(directory);
    if (!stream) return tim_fail(err, TIM_E_IO, "%s: cannot list: %s", directory, strerror(errno));
    const TimStatus status = list_open(folder, directory, stream, err);
    closedir(stream);
    sort(&folder->files, files, by_bytes);
    sort(&folder->folders, folders, by_bytes);
    return status;
}

/* The files that have come since the last call are pictures of that class. */
static TimStatus label_files(Folder *folder, int64_t label, TimError *err) {
    while (folder->count < folder->files.count) {
        TIM_TRY(tim_grow(&folder->pictures, &folder->capacity, folder->count, sizeof *folder->pictures, "a set's pictures", err));
        folder->pictures[folder->count] = (Picture){folder->files.items[folder->count], label};
        folder->count++;
    }
    return TIM_OK;
}

/* The whole number that a folder is called by; -1 if it has another name. */
static int64_t number_of(const char *path) {
    enum { MOST_DIGITS = 9 };
    const char *name = strrchr(path, '/') + 1;
    const size_t digits = strspn(name, "0123456789");
    return digits > 0 && digits <= MOST_DIGITS && !name[digits] ? strtoll(name, NULL, 10) : -1;
}

static int by_number(const void *a, const void *b) {
    const int64_t x = number_of(*(char *const *)a), y = number_of(*(char *const *)b);
    return x == y ? by_bytes(a, b) : (x > y) - (x < y);
}

static bool are_numbers(const Paths *folders) {
    for (size_t i = 0; i < folders->count; i++)
        if (number_of(folders->items[i]) < 0) return false;
    return true;
}

/* What is listed below a class's folder is added behind the classes, and not looked at. */
static TimStatus list_classes(Folder *folder, TimError *err) {
    const size_t classes = folder->folders.count;
    const bool numbers = are_numbers(&folder->folders);
    if (numbers) sort(&folder->folders, 0, by_number);
    for (size_t k = 0; k < classes; k++) {
        const int64_t label = numbers ? number_of(folder->folders.items[k]) : (int64_t)k;
        TIM_TRY(list(folder, folder->folders.items[k], err));
        TIM_TRY(label_files(folder, label, err));
    }
    return TIM_OK;
}

static TimStatus fill(Folder *folder, const char *source, TimError *err) {
    TIM_TRY(list(folder, source, err));
    TIM_TRY(label_files(folder, -1, err));
    if (folder->count == 0) TIM_TRY(list_classes(folder, err));
    if (folder->count > 0) return TIM_OK;
    return tim_fail(err, TIM_E_ARGUMENT, "%s: neither it nor its sub-folders hold files called .png, .jpg, .jpeg or .webp", source);
}

static void close_folder(void *state) {
    Folder *folder = state;
    paths_done(&folder->files);
    paths_done(&folder->folders);
    tim_free(folder->pictures);
    tim_free(folder);
}

static TimStatus open_folder(void **state, int64_t *count, const char *source, TimError *err) {
    Folder *folder;
    TIM_TRY(tim_new(&folder, 1, sizeof *folder, "a set of pictures", err));
    const TimStatus status = fill(folder, source, err);
    *state = folder;
    *count = (int64_t)folder->count;
    if (status != TIM_OK) close_folder(folder);
    return status;
}

static TimStatus read_folder(void *state, int64_t index, TimImage *image, int64_t *label, TimError *err) {
    const Picture *picture = &((const Folder *)state)->pictures[index];
    *label = picture->label;
    return tim_image_read(image, picture->path, err);
}

const TimPictureSource tim_picture_folder = {open_folder, read_folder, close_folder};
