/* The corpus of a fuzzer, replayed and damaged by the unit tests. Runs from the root of the sources. */
#ifndef TIM_TESTS_FUZZ_REPLAY_H
#define TIM_TESTS_FUZZ_REPLAY_H

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "fuzz/targets.h"

typedef int (*FuzzTarget)(const uint8_t *data, size_t size);

enum { REPLAY_FLIPS = 2000 }; /* damaged copies of each file */

/* The bytes of a file from malloc, a block of just their number; NULL when it cannot be read. */
static inline uint8_t *read_whole(const char *path, size_t *size) {
    FILE *stream = fopen(path, "rb");
    if (!stream) return NULL;
    fseek(stream, 0, SEEK_END);
    *size = (size_t)ftell(stream);
    rewind(stream);
    uint8_t *data = malloc(*size ? *size : 1);
    if (data && fread(data, 1, *size, stream) != *size) {
        free(data);
        data = NULL;
    }
    fclose(stream);
    return data;
}

/* One to four bytes changed, by number `turn`. */
static inline void flip_bytes(uint8_t *data, size_t size, uint64_t turn) {
    const uint64_t count = 1 + tim_rng_word(1, turn, 0) % 4;
    for (uint64_t i = 0; i < count && size > 0; i++) {
        const uint64_t word = tim_rng_word(1, turn, i + 1);
        data[(word >> 8) % size] ^= (uint8_t)(word | 1);
    }
}

/* Calls the target with the file, with each start of it of every `step`-th length, and with damaged copies. Returns what the whole
 * file gave. The copies are of their exact size, so that a sanitizer sees a read beyond them. */
static inline int replay_file(FuzzTarget target, const uint8_t *data, size_t size, size_t step, uint64_t flips) {
    for (size_t cut = 0; cut < size; cut += step) {
        uint8_t *copy = malloc(cut ? cut : 1);
        if (!copy) abort();
        memcpy(copy, data, cut);
        target(copy, cut);
        free(copy);
    }
    uint8_t *copy = malloc(size ? size : 1);
    if (!copy) abort();
    for (uint64_t turn = 0; turn < flips; turn++) {
        memcpy(copy, data, size);
        flip_bytes(copy, size, turn);
        target(copy, size);
    }
    free(copy);
    return target(data, size);
}

/* Replays all files of tests/fuzz/corpus/`name`; returns how many there were, and in *taken how many the target took whole. */
static inline int replay_corpus(FuzzTarget target, const char *name, size_t step, int *taken) {
    char corpus[256], path[600];
    int count = 0;
    *taken = 0;
    snprintf(corpus, sizeof corpus, "tests/fuzz/corpus/%s", name);
    DIR *dir = opendir(corpus);
    for (const struct dirent *entry; dir && (entry = readdir(dir));) {
        size_t size = 0;
        if (entry->d_name[0] == '.') continue;
        snprintf(path, sizeof path, "%s/%s", corpus, entry->d_name);
        uint8_t *data = read_whole(path, &size);
        if (!data) continue;
        *taken += replay_file(target, data, size, step, REPLAY_FLIPS);
        count++;
        free(data);
    }
    if (dir) closedir(dir);
    return count;
}

#endif
