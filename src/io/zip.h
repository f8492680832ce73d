/* The directory of a zip file, read: entry after entry, and where an entry's bytes lie. Nothing is unpacked here.
 * Format: PKWARE APPNOTE 6.3.9 (sections named in zip.c). Invariant: whatever the bytes are, no read leaves the file. */
#ifndef TIM_IO_ZIP_H
#define TIM_IO_ZIP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "io/file.h"

enum { TIM_ZIP_STORED = 0, TIM_ZIP_DEFLATED = 8 };

/* A directory being read. */
typedef struct TimZip {
    const TimFile *file; /* borrowed */
    const uint8_t *at, *end;
    uint64_t left; /* entries to come */
} TimZip;

/* One entry of the directory (4.3.12), with the zip64 field's values (4.5.3) where it has one. */
typedef struct TimZipEntry {
    const char *name; /* in the file: not terminated */
    size_t name_size;
    unsigned flags, method; /* bit 0 of flags: encrypted */
    uint32_t crc;           /* of what is unpacked */
    uint64_t size, packed_size, offset;
} TimZipEntry;

/* Finds the directory. NULL, or what is wrong, to stand behind "not a whole zip: ". */
const char *tim_zip_start(TimZip *zip, const TimFile *file);

/* Takes the next entry off the directory; false when it is not sound. For `left` > 0. */
bool tim_zip_next(TimZip *zip, TimZipEntry *entry);

/* *bytes = the entry's packed_size bytes in the file. NULL, or what is wrong. */
const char *tim_zip_bytes(const uint8_t **bytes, const TimFile *file, const TimZipEntry *entry);

#endif
