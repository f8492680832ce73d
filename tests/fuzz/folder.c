#include "fuzz/folder.h"

#include <dirent.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char folder[32];

static void remove_folder(void) {
    char path[FUZZ_PATH + 256];
    DIR *dir = opendir(folder);
    for (const struct dirent *entry; dir && (entry = readdir(dir));) {
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        unlink(path);
    }
    if (dir) closedir(dir);
    rmdir(folder);
}

static void make_folder(void) {
    snprintf(folder, sizeof folder, "%s/tim-fuzz-XXXXXX", access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    if (!mkdtemp(folder) || atexit(remove_folder) != 0) abort();
}

const char *fuzz_path(char path[FUZZ_PATH], const char *name) {
    if (!*folder) make_folder();
    if (snprintf(path, FUZZ_PATH, "%s/%s", folder, name) >= FUZZ_PATH) abort();
    return path;
}

const char *fuzz_file(char path[FUZZ_PATH], const char *name, const void *data, size_t size) {
    FILE *stream = fopen(fuzz_path(path, name), "wb");
    if (!stream || fwrite(data, 1, size, stream) != size || fclose(stream) != 0) abort();
    return path;
}

int fuzz_taken(TimStatus status, const TimError *err) {
    if (status == TIM_OK) return 1;
    if (err->status != status || !*err->text || !memchr(err->text, 0, sizeof err->text)) abort();
    return 0;
}
