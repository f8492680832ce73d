/* numpy's npz files, read: a member is found through the zip's directory and unpacked front to back, as much as is asked for.
 * Invariant: a found member lies inside the file, and its size is one that its packed bytes can give. */
#ifndef TIM_IO_NPZ_READ_H
#define TIM_IO_NPZ_READ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <zlib.h>

#include "io/file.h"
#include "io/npz.h"

typedef struct TimNpzMember {
    const char *path; /* of the zip; borrowed, for errors */
    char name[TIM_NPZ_MAX_NAME];
    const uint8_t *packed; /* NULL: the zip has no such member */
    size_t packed_size;
    uint64_t size; /* unpacked, npy header and all */
    uint32_t crc;  /* of what is unpacked */
    bool deflated; /* or stored */
} TimNpzMember;

/* Finds the array `name` (without ".npy") in the file, which is borrowed. */
TimStatus tim_npz_find(TimNpzMember *member, const TimFile *file, const char *path, const char *name, TimError *err);

/* An array being unpacked. It must not be moved: zlib knows its address. */
typedef struct TimNpyStream {
    const TimNpzMember *member; /* borrowed */
    z_stream zlib;
    size_t fed;    /* packed bytes that zlib was given, or stored ones that were read */
    uint64_t left; /* unpacked bytes to come */
    uint32_t crc;  /* of those that came */
    char descr[8]; /* numpy's, "|u1"; cut when longer */
    uint64_t shape[TIM_NPZ_MAX_RANK];
    int rank;
} TimNpyStream;

/* Reads the npy header. C order only. End with tim_npy_end, unless it fails. */
TimStatus tim_npy_start(TimNpyStream *stream, const TimNpzMember *member, TimError *err);

/* The next `count` bytes of the array; with the last ones the checksum is compared. */
TimStatus tim_npy_read(TimNpyStream *stream, void *out, size_t count, TimError *err);

void tim_npy_end(TimNpyStream *stream);

/* values = the whole array `name` of the file, which must have the shape dims[0 ... rank - 1] and hold <f8 or <f4.
 * TIM_E_FORMAT, naming file and member, when it is not there or is something else. */
TimStatus tim_npz_read_f64(const TimFile *file, const char *path, const char *name, int rank, const uint64_t *dims, double *values,
                           TimError *err);

#endif
