#include "io/torch_zip.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "base/memory.h"
#include "base/text.h"
#include "io/torch_storage.h"
#include "io/zip.h"

enum { MAX_MEMBERS = 1 << 20, MAX_SHOWN = 80 /* bytes of a name in an error */ };

typedef struct TimTorchMember {
    const char *name; /* behind the archive's name; not terminated */
    size_t name_size;
    TimZipEntry entry;
} Member;

bool tim_torch_zip_begins(const TimFile *file) {
    return file->size >= 4 && memcmp(file->data, "PK\x03\x04", 4) == 0;
}

static TimStatus damaged(const char *what, TimError *err) {
    return tim_fail(err, TIM_E_FORMAT, "not a whole file of torch.save: %s; is the download complete?", what);
}

/* How much of a text of `size` bytes an error shows. */
static int shown(size_t size) {
    return size < MAX_SHOWN ? (int)size : MAX_SHOWN;
}

/* The same of one member. */
static TimStatus damaged_member(const Member *member, const char *what, TimError *err) {
    return tim_fail(err, TIM_E_FORMAT, "not a whole file of torch.save: '%.*s': %s; is the download complete?",
                    shown(member->name_size), member->name, what);
}

static int compare_member(const void *left, const void *right) {
    const Member *a = left, *b = right;
    return tim_compare_texts(a->name, a->name_size, b->name, b->name_size);
}

/* The archive's name is a folder that all members lie in; torch takes it from the first one, and so does this. */
static TimStatus list_members(TimTorchZip *z, TimError *err) {
    TimZip zip;
    const char *wrong = tim_zip_start(&zip, z->file);
    size_t prefix = 0;
    if (wrong) return damaged(wrong, err);
    while (zip.left > 0) {
        TimZipEntry entry;
        if (z->count == MAX_MEMBERS) return damaged("its zip has more than a million members", err);
        if (!tim_zip_next(&zip, &entry)) return damaged("its directory is not sound", err);
        const char *slash = memchr(entry.name, '/', entry.name_size);
        if (z->count == 0 && slash) prefix = (size_t)(slash - entry.name) + 1;
        if (entry.name_size < prefix || (z->count > 0 && memcmp(entry.name, z->members[0].entry.name, prefix) != 0)) continue;
        TIM_TRY(tim_grow(&z->members, &z->capacity, z->count, sizeof *z->members, "the members of a zip", err));
        z->members[z->count++] = (Member){entry.name + prefix, entry.name_size - prefix, entry};
    }
    if (z->count > 0) qsort(z->members, z->count, sizeof *z->members, compare_member);
    for (size_t i = 1; i < z->count; i++)
        if (compare_member(&z->members[i - 1], &z->members[i]) == 0)
            return damaged_member(&z->members[i], "it is there twice", err);
    return TIM_OK;
}

static const Member *find_member(const TimTorchZip *z, const char *name, size_t size) {
    const Member key = {.name = name, .name_size = size};
    if (z->count == 0) return NULL;
    return bsearch(&key, z->members, z->count, sizeof *z->members, compare_member);
}

static TimStatus member_bytes(const TimTorchZip *z, const Member *member, const uint8_t **bytes, size_t *size, TimError *err) {
    const TimZipEntry *entry = &member->entry;
    if ((entry->flags & 1) || entry->method != TIM_ZIP_STORED)
        return tim_fail(err, TIM_E_UNSUPPORTED,
                        "its member '%.*s' is packed by method %u%s, and torch.save stores them as they are; save it again with it",
                        shown(member->name_size), member->name, entry->method, entry->flags & 1 ? ", encrypted" : "");
    if (entry->size != entry->packed_size) return damaged_member(member, "it is stored and has two sizes", err);
    const char *wrong = tim_zip_bytes(bytes, z->file, entry);
    if (wrong) return damaged_member(member, wrong, err);
    *size = (size_t)entry->size;
    return TIM_OK;
}

static uint32_t checksum(const uint8_t *bytes, size_t size) {
    return (uint32_t)crc32_z(crc32_z(0, NULL, 0), bytes, size);
}

/* The bytes of a small member, held against their checksum; that of the tensors would cost reading them. */
static TimStatus read_member(const TimTorchZip *z, const char *name, const uint8_t **bytes, size_t *size, TimError *err) {
    const Member *member = find_member(z, name, strlen(name));
    if (!member) return *bytes = NULL, *size = 0, TIM_OK;
    TIM_TRY(member_bytes(z, member, bytes, size, err));
    if (checksum(*bytes, *size) != member->entry.crc) return damaged_member(member, "it differs from its checksum", err);
    return TIM_OK;
}

static TimStatus check_byte_order(const TimTorchZip *z, TimError *err) {
    const uint8_t *order;
    size_t size;
    TIM_TRY(read_member(z, "byteorder", &order, &size, err));
    if (!order || (size == 6 && memcmp(order, "little", 6) == 0)) return TIM_OK; /* older versions wrote none, on such machines */
    return tim_fail(err, TIM_E_UNSUPPORTED, "its 'byteorder' is '%.*s' and not 'little'; save it again on a little-endian machine",
                    shown(size), (const char *)order);
}

/* ---- interface ---- */

TimStatus tim_torch_zip_open(TimTorchZip *zip, const TimFile *file, TimError *err) {
    *zip = (TimTorchZip){.file = file};
    TIM_TRY(list_members(zip, err));
    return check_byte_order(zip, err);
}

void tim_torch_zip_done(TimTorchZip *zip) {
    tim_free(zip->members);
    *zip = (TimTorchZip){0};
}

TimStatus tim_torch_zip_pickle(const TimTorchZip *zip, const uint8_t **bytes, size_t *size, TimError *err) {
    TIM_TRY(read_member(zip, "data.pkl", bytes, size, err));
    if (*bytes) return TIM_OK;
    return tim_fail(err, TIM_E_FORMAT, "a zip without data.pkl, so none of torch.save's; give a file with a state dict");
}

TimStatus tim_torch_zip_storage(const TimTorchZip *zip, const char *key, size_t key_size, const uint8_t **bytes, size_t *size,
                                TimError *err) {
    char path[sizeof "data/" + TIM_TORCH_MAX_KEY];
    *bytes = NULL, *size = 0;
    const int length = snprintf(path, sizeof path, "data/%.*s", (int)key_size, key);
    const Member *member = find_member(zip, path, (size_t)length);
    return member ? member_bytes(zip, member, bytes, size, err) : TIM_OK;
}
