/* parity [--ref] [--bf16] [--isa NAME] [--only a,b] [DIR]: compares every golden value under DIR with what this library computes.
 *
 * Walks DIR (default tests/golden) in sorted order; the table below says by relative path who checks a file. Each compared tensor
 * gives one line, the last line is `N passed, N failed`. Exit code 0: something was compared and nothing failed; 1: a failure, or
 * nothing compared; 2: wrong arguments. An unknown file or an unused tensor is a failure: nothing is skipped silently. */
#include <dirent.h>
#include <errno.h>
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/memory.h"
#include "parity/checks.h"

typedef struct Check {
    const char *pattern;                               /* of the relative path; * does not match '/' */
    TimStatus (*run)(ParityFile *file, TimError *err); /* NULL: the file belongs to another's check, or needs none */
} Check;

/* The first match counts. */
static const Check checks[] = {
    {"README.md", NULL},
    {"*/README.md", NULL},
    {"eval/adm*.safetensors", check_eval_adm},
    {"eval/frechet*.safetensors", check_eval_frechet},
    {"eval/inception*.safetensors", check_eval_inception},
    {"full/gemma*.safetensors", check_full_gemma},
    {"full/dc_ae*.safetensors", check_autoencoder},
    {"full/sd_vae*.safetensors", check_autoencoder},
    {"full/tim_*.safetensors", check_full},
    {"hash.json", check_hash},
    {"image/*.safetensors", check_image},
    {"manifests/inception*.json", NULL}, /* eval/inception opens a network of these names */
    {"manifests/*.json", check_manifest},
    {"network/*.safetensors", check_network},
    {"objective/time_weights*.safetensors", check_time_weights},
    {"objective/*.safetensors", check_objective},
    {"rope*.safetensors", check_rope},
    {"sampler/*.safetensors", check_sampler},
    {"text/gemma*.safetensors", check_text_gemma},
    {"text/t5*.safetensors", check_text_t5},
    {"text/gemma*/model.safetensors", check_text_folder},
    {"text/gemma*/*config.json", NULL},
    {"tokenizer/*_tokenizer.json", NULL}, /* the cases of each are held against it */
    {"tokenizer/*.model", NULL},
    {"tokenizer/*.json", check_tokenizer},
    {"torch/expected*.safetensors", check_torch},
    {"torch/*.bin", NULL}, /* expected.safetensors is held against them */
    {"torch/*.pt", NULL},
    {"torch/*.pth", NULL},
    {"transport/*.safetensors", check_transport},
    {"vae/*_tiny/config.json", NULL},
    {"vae/*_tiny/*.safetensors", check_autoencoder_folder},
    {"vae/*.safetensors", check_autoencoder},
};

static const char usage[] = "usage: parity [--ref] [--bf16] [--isa NAME] [--only a,b] [DIR]\n";

/* Relative paths of all files, sorted by byte. */
typedef struct Paths {
    char **items;
    size_t count, capacity;
} Paths;

static TimStatus join(char **out, const char *directory, const char *name, TimError *err) {
    if (*directory == '\0') return tim_copy_text(out, name, err);
    const size_t size = strlen(directory) + strlen(name) + 2;
    TIM_TRY(tim_new(out, size, 1, "a path", err));
    snprintf(*out, size, "%s/%s", directory, name);
    return TIM_OK;
}

static TimStatus collect(Paths *paths, const char *root, const char *relative, TimError *err);

/* Files `relative` itself or, when it is a folder, what is in it. */
static TimStatus collect_entry(Paths *paths, const char *root, char *relative, TimError *err) {
    char *path;
    struct stat info;
    TIM_TRY(join(&path, root, relative, err));
    const bool found = stat(path, &info) == 0;
    tim_free(path);
    if (found && S_ISDIR(info.st_mode)) return collect(paths, root, relative, err);
    TIM_TRY(tim_grow(&paths->items, &paths->capacity, paths->count, sizeof *paths->items, "list of files", err));
    return tim_copy_text(&paths->items[paths->count++], relative, err);
}

static TimStatus collect_open(Paths *paths, const char *root, const char *relative, DIR *directory, TimError *err) {
    for (struct dirent *entry; (entry = readdir(directory));) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
        char *name;
        TIM_TRY(join(&name, relative, entry->d_name, err));
        const TimStatus status = collect_entry(paths, root, name, err);
        tim_free(name);
        TIM_TRY(status);
    }
    return TIM_OK;
}

static TimStatus collect(Paths *paths, const char *root, const char *relative, TimError *err) {
    char *path;
    TIM_TRY(join(&path, root, relative, err));
    DIR *directory = opendir(*relative ? path : root);
    tim_free(path);
    if (!directory) return tim_fail(err, TIM_E_IO, "%s/%s: %s; name a folder of golden values", root, relative, strerror(errno));
    const TimStatus status = collect_open(paths, root, relative, directory, err);
    closedir(directory);
    return status;
}

static int by_bytes(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void free_paths(Paths *paths) {
    for (size_t i = 0; i < paths->count; i++) tim_free(paths->items[i]);
    tim_free(paths->items);
}

/* True when `name` is one of `only`, lies in one of those folders, or is one of those without its extension. */
static bool wanted(const char *only, const char *name) {
    if (!only) return true;
    for (const char *item = only; *item; item += strspn(item, ",")) {
        const size_t length = strcspn(item, ",");
        if (length > 0 && strncmp(name, item, length) == 0 && strchr("/.", name[length])) return true;
        item += length;
    }
    return false;
}

static const Check *find_check(const char *name) {
    for (size_t i = 0; i < sizeof checks / sizeof *checks; i++)
        if (fnmatch(checks[i].pattern, name, FNM_PATHNAME) == 0) return &checks[i];
    return NULL;
}

static TimStatus run_check(Parity *run, const Check *check, ParityFile *file, const char *name, TimError *err) {
    char *path;
    TIM_TRY(join(&path, run->options.directory, name, err));
    TimStatus status = parity_file_open(file, run, path, name, err);
    if (status == TIM_OK) status = check->run(file, err);
    tim_free(path);
    return status;
}

static void check_file(Parity *run, const char *name) {
    ParityFile file = {.run = run, .name = name};
    TimError err;
    const Check *check = find_check(name);
    if (check && !check->run) return;
    if (!check)
        parity_fail(&file, "-", "nobody knows how to check this file; add it to the table in tests/parity.c");
    else if (run_check(run, check, &file, name, &err) != TIM_OK)
        parity_fail(&file, "-", "%s", err.text);
    parity_file_finish(&file);
    parity_file_close(&file);
}

static TimStatus check_all(Parity *run, TimError *err) {
    Paths paths = {0};
    const TimStatus status = collect(&paths, run->options.directory, "", err);
    if (status == TIM_OK && paths.count > 0) qsort(paths.items, paths.count, sizeof *paths.items, by_bytes);
    for (size_t i = 0; status == TIM_OK && i < paths.count; i++)
        if (wanted(run->options.only, paths.items[i])) check_file(run, paths.items[i]);
    free_paths(&paths);
    return status;
}

static bool parse(ParityOptions *options, int count, char **words) {
    *options = (ParityOptions){.directory = "tests/golden"};
    int folders = 0;
    for (int i = 1; i < count; i++) {
        const char *word = words[i], *value = i + 1 < count ? words[i + 1] : NULL;
        if (strcmp(word, "--ref") == 0)
            options->reference = true;
        else if (strcmp(word, "--bf16") == 0)
            options->bf16 = true;
        else if (strcmp(word, "--isa") == 0 && value)
            options->isa = value, i++;
        else if (strcmp(word, "--only") == 0 && value)
            options->only = value, i++;
        else if (word[0] != '-' && folders++ == 0)
            options->directory = word;
        else
            return false;
    }
    return true;
}

int main(int count, char **words) {
    Parity run = {0};
    TimError err;
    if (!parse(&run.options, count, words)) {
        fputs(usage, stderr);
        return 2;
    }
    const TimStatus status = check_all(&run, &err);
    if (status != TIM_OK) {
        run.failed++;
        printf("- - %s FAIL\n", err.text);
    }
    printf("%zu passed, %zu failed\n", run.passed, run.failed);
    return run.passed > 0 && run.failed == 0 ? 0 : 1;
}
