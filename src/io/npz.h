/* numpy's npz files, written front to back: a zip of uncompressed npy arrays whose shapes are known before their bytes.
 * The bytes of an array may come in any number of pieces; little-endian data is the caller's affair, as `descr` says. */
#ifndef TIM_IO_NPZ_H
#define TIM_IO_NPZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "io/file.h"

enum { TIM_NPZ_MAX_ARRAYS = 16, TIM_NPZ_MAX_NAME = 32, TIM_NPZ_MAX_RANK = 8 };

/* One array of the file. `size` counts the npy header too. */
typedef struct TimNpzEntry {
    char name[TIM_NPZ_MAX_NAME]; /* "arr_0.npy" */
    uint64_t offset;             /* of its local header in the file */
    uint64_t size;
    uint32_t crc; /* of what has been written of it */
} TimNpzEntry;

typedef struct TimNpz {
    TimFileWriter writer;
    TimNpzEntry entries[TIM_NPZ_MAX_ARRAYS];
    int count;       /* of entries; the last is the one being written */
    uint64_t offset; /* bytes written to the file */
} TimNpz;

/* Opens a file that will appear at `path` when it is closed; on failure there is nothing to discard. */
TimStatus tim_npz_open(TimNpz *npz, const char *path, TimError *err);

/* Starts the array `name` (without ".npy"), C order. `descr` is numpy's ("<f4"), `item` its bytes, `shape` (rank). */
TimStatus tim_npz_begin(TimNpz *npz, const char *name, const char *descr, size_t item, const uint64_t *shape, int rank,
                        TimError *err);

/* The next bytes of the array. */
TimStatus tim_npz_write(TimNpz *npz, const void *bytes, size_t count, TimError *err);

/* Ends the array: fails unless exactly its bytes came. */
TimStatus tim_npz_end(TimNpz *npz, TimError *err);

/* Writes the directory and puts the file in its place. In every case nothing is left to close; a failure leaves no file. */
TimStatus tim_npz_close(TimNpz *npz, TimError *err);

/* Gives up and leaves no file. */
void tim_npz_discard(TimNpz *npz);

#endif
