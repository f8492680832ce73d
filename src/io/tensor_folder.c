#include "io/tensor_folder.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/memory.h"
#include "base/text.h"
#include "io/file.h"

/* What is looked for, in this order. */
static const char *const usual[] = {
    "model.safetensors",
    "model.safetensors.index.json",
    "diffusion_pytorch_model.safetensors",
    "diffusion_pytorch_model.safetensors.index.json",
    "diffusion_pytorch_model.bin",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
};

/* How other names may end: those of indices, then those of files. */
static const char *const index_ends[] = {".index.json", NULL}, *const file_ends[] = {".safetensors", ".bin", ".pt", ".pth", NULL};

/* *file = `folder`/`name` if that is a file; else NULL. */
static TimStatus try_file(char **file, const char *folder, const char *name, TimError *err) {
    TIM_TRY(tim_join_path(file, folder, name, err));
    if (tim_is_file(*file)) return TIM_OK;
    tim_free(*file);
    *file = NULL;
    return TIM_OK;
}

/* ---- other names ---- */

/* The files that end in the right way, sorted; each from tim_alloc. */
typedef struct Found {
    char **paths;
    size_t count, capacity;
} Found;

static void found_done(Found *found) {
    for (size_t i = 0; i < found->count; i++) tim_free(found->paths[i]);
    tim_free(found->paths);
    *found = (Found){0};
}

static bool ends_as(const char *name, const char *const *ends) {
    for (; *ends; ends++)
        if (tim_ends_with(name, *ends)) return true;
    return false;
}

static TimStatus collect_one(Found *found, const char *folder, const char *name, TimError *err) {
    char *path;
    TIM_TRY(try_file(&path, folder, name, err));
    if (!path) return TIM_OK;
    const TimStatus status = tim_grow(&found->paths, &found->capacity, found->count, sizeof *found->paths, "a folder's files", err);
    if (status == TIM_OK)
        found->paths[found->count++] = path;
    else
        tim_free(path);
    return status;
}

static int compare(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Hidden files are nobody's weights. */
static TimStatus collect(Found *found, const char *folder, const char *const *ends, TimError *err) {
    DIR *stream = opendir(folder);
    if (!stream) return tim_fail(err, TIM_E_IO, "%s: %s", folder, strerror(errno));
    TimStatus status = TIM_OK;
    for (const struct dirent *entry = readdir(stream); entry && status == TIM_OK; entry = readdir(stream))
        if (entry->d_name[0] != '.' && ends_as(entry->d_name, ends)) status = collect_one(found, folder, entry->d_name, err);
    closedir(stream);
    if (found->count > 1) qsort(found->paths, found->count, sizeof *found->paths, compare);
    return status;
}

static TimStatus fail_several(const Found *found, const char *folder, TimError *err) {
    char names[256] = "";
    for (size_t i = 0; i < found->count; i++) {
        const size_t at = strlen(names);
        snprintf(names + at, sizeof names - at, "%s%s", i ? ", " : "", strrchr(found->paths[i], '/') + 1);
    }
    return tim_fail(err, TIM_E_ARGUMENT, "%s: %zu files there may be the weights: %s; give one of them itself", folder,
                    found->count, names);
}

/* *file = the only one; NULL when there is none. */
static TimStatus only_file(char **file, const char *folder, const char *const *ends, TimError *err) {
    Found found = {0};
    *file = NULL;
    TimStatus status = collect(&found, folder, ends, err);
    if (status == TIM_OK && found.count > 1) status = fail_several(&found, folder, err);
    if (status == TIM_OK && found.count == 1) *file = found.paths[--found.count];
    found_done(&found);
    return status;
}

/* What a training writes to is named by whoever looks for what it has learned. */
static TimStatus check_no_run(const char *folder, TimError *err) {
    struct stat info;
    char *path;
    TIM_TRY(tim_join_path(&path, folder, "checkpoints", err));
    const bool is_run = stat(path, &info) == 0 && S_ISDIR(info.st_mode);
    tim_free(path);
    if (!is_run) return TIM_OK;
    return tim_fail(err, TIM_E_IO, "%s: is the folder of a training; give one of its checkpoints, %s/checkpoints/checkpoint-N",
                    folder, folder);
}

static TimStatus find_in(char **file, const char *folder, TimError *err) {
    for (size_t i = 0; i < sizeof usual / sizeof *usual; i++) {
        TIM_TRY(try_file(file, folder, usual[i], err));
        if (*file) return TIM_OK;
    }
    TIM_TRY(only_file(file, folder, index_ends, err));
    if (!*file) TIM_TRY(only_file(file, folder, file_ends, err));
    if (*file) return TIM_OK;
    TIM_TRY(check_no_run(folder, err));
    return tim_fail(err, TIM_E_IO,
                    "%s: the folder has none of model.safetensors, diffusion_pytorch_model.safetensors (or their .index.json), "
                    "diffusion_pytorch_model.bin and pytorch_model.bin, nor another file in .safetensors, .bin, .pt or .pth; give "
                    "the file itself",
                    folder);
}

TimStatus tim_tensor_folder_find(char **file, const char *path, TimError *err) {
    struct stat info;
    *file = NULL;
    if (stat(path, &info) != 0)
        return tim_fail(err, TIM_E_IO, "%s: %s; give a file of tensors, or a folder with one", path, strerror(errno));
    return S_ISDIR(info.st_mode) ? find_in(file, path, err) : tim_copy_text(file, path, err);
}
