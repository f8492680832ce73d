#include "io/zip.h"

#include <string.h>

enum { END_SIZE = 22, LOCATOR_SIZE = 20, END64_SIZE = 56, ENTRY_SIZE = 46, LOCAL_SIZE = 30 };

static uint64_t get(const uint8_t *bytes, int count) {
    uint64_t value = 0;
    for (int i = count - 1; i >= 0; i--) value = value << 8 | bytes[i];
    return value;
}

/* 4.3.16: the last record, behind which a comment of up to 65535 bytes may lie. */
static const uint8_t *find_end(const TimFile *file) {
    if (file->size < END_SIZE) return NULL;
    for (size_t comment = 0; comment <= UINT16_MAX && comment <= file->size - END_SIZE; comment++) {
        const uint8_t *end = file->data + (file->size - END_SIZE - comment);
        if (get(end, 4) == 0x06054B50 && get(end + 20, 2) == comment) return end;
    }
    return NULL;
}

/* 4.3.14 and 4.3.15: the same with wider fields, found through a locator right before the last record; NULL where there is none. */
static const uint8_t *find_end64(const TimFile *file, const uint8_t *end) {
    if ((size_t)(end - file->data) < LOCATOR_SIZE || get(end - LOCATOR_SIZE, 4) != 0x07064B50) return NULL;
    const uint64_t offset = get(end - LOCATOR_SIZE + 8, 8);
    if (file->size < END64_SIZE || offset > file->size - END64_SIZE) return NULL;
    return get(file->data + offset, 4) == 0x06064B50 ? file->data + offset : NULL;
}

const char *tim_zip_start(TimZip *zip, const TimFile *file) {
    const uint8_t *end = find_end(file);
    if (!end) return "it is no zip, or its end is missing";
    const uint8_t *end64 = find_end64(file, end);
    const uint64_t size = end64 ? get(end64 + 40, 8) : get(end + 12, 4), offset = end64 ? get(end64 + 48, 8) : get(end + 16, 4);
    if (offset > file->size || size > file->size - offset) return "its directory lies outside";
    *zip = (TimZip){.file = file,
                    .at = file->data + offset,
                    .end = file->data + offset + size,
                    .left = end64 ? get(end64 + 32, 8) : get(end + 10, 2)};
    return NULL;
}

/* A value of 32 ones stands for the next one of the zip64 field, whose values are `wide` to `end`. */
static bool widen(uint64_t *value, const uint8_t **wide, const uint8_t *end) {
    if (*value != UINT32_MAX) return true;
    if (!*wide || end - *wide < 8) return false;
    *value = get(*wide, 8);
    *wide += 8;
    return true;
}

static bool read_extra(TimZipEntry *entry, const uint8_t *extra, size_t size) {
    const uint8_t *end = extra + size, *wide = NULL, *wide_end = NULL;
    while (end - extra >= 4 && !wide) {
        const uint64_t id = get(extra, 2), length = get(extra + 2, 2);
        extra += 4;
        if (length > (uint64_t)(end - extra)) return false;
        if (id == 1) wide = extra, wide_end = extra + length;
        extra += length;
    }
    return widen(&entry->size, &wide, wide_end) && widen(&entry->packed_size, &wide, wide_end) &&
           widen(&entry->offset, &wide, wide_end);
}

bool tim_zip_next(TimZip *zip, TimZipEntry *entry) {
    const uint8_t *at = zip->at;
    if (zip->end - at < ENTRY_SIZE || get(at, 4) != 0x02014B50) return false;
    const size_t name = get(at + 28, 2), extra = get(at + 30, 2), comment = get(at + 32, 2);
    if ((size_t)(zip->end - at) - ENTRY_SIZE < name + extra + comment) return false;
    *entry = (TimZipEntry){.name = (const char *)at + ENTRY_SIZE,
                           .name_size = name,
                           .flags = (unsigned)get(at + 8, 2),
                           .method = (unsigned)get(at + 10, 2),
                           .crc = (uint32_t)get(at + 16, 4),
                           .packed_size = get(at + 20, 4),
                           .size = get(at + 24, 4),
                           .offset = get(at + 42, 4)};
    zip->left--;
    zip->at += ENTRY_SIZE + name + extra + comment;
    return read_extra(entry, at + ENTRY_SIZE + name, extra);
}

/* 4.3.7: the local header repeats the name, and only it says where the bytes begin. */
const char *tim_zip_bytes(const uint8_t **bytes, const TimFile *file, const TimZipEntry *entry) {
    if (file->size < LOCAL_SIZE || entry->offset > file->size - LOCAL_SIZE || get(file->data + entry->offset, 4) != 0x04034B50)
        return "it is not where the directory says";
    const uint8_t *local = file->data + entry->offset;
    const uint64_t name_size = get(local + 26, 2), start = entry->offset + LOCAL_SIZE + name_size + get(local + 28, 2);
    if (start > file->size || entry->packed_size > file->size - start) return "it reaches beyond the end";
    if (name_size != entry->name_size || memcmp(local + LOCAL_SIZE, entry->name, entry->name_size) != 0) return "it has two names";
    *bytes = file->data + start;
    return NULL;
}
