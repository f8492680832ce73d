/* The zip and npy formats, as little of them as numpy needs: stored entries, npy 1.0.
 * Every entry carries zip64 sizes, however small: one path that small tests cover also writes sets beyond 4 GiB, and numpy's own
 * savez does the same. Invariant: an entry's header is complete but for its crc, which tim_npz_end goes back and fills in.
 * Formats: PKWARE APPNOTE 6.3.9 (sections named below); numpy.lib.format. */
#include "io/npz.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <zlib.h>

#include "base/memory.h"

enum {
    VERSION_ZIP64 = 45, /* the zip version a reader must know, as major * 10 + minor */
    DATE_1980 = 0x21,   /* 1 January 1980, the earliest date: the same arrays give the same file */
    CRC_FIELD = 14,     /* bytes from a local header's start to its crc */
    NPY_ALIGNMENT = 64,
    NPY_PREFIX = 10 /* magic, version and length before the dictionary */
};

/* A record being put together, little-endian. The largest, a directory entry, takes 46 + name + 28 bytes. */
typedef struct Record {
    uint8_t bytes[128];
    size_t count;
} Record;

static void put(Record *record, uint64_t value, int bytes) {
    for (int i = 0; i < bytes; i++) record->bytes[record->count++] = (uint8_t)(value >> (8 * i));
}

static void put_name(Record *record, const char *name) {
    for (; *name; name++) put(record, (uint8_t)*name, 1);
}

static TimStatus emit(TimNpz *npz, const void *bytes, size_t count, TimError *err) {
    TIM_TRY(tim_file_writer_write(&npz->writer, bytes, count, err));
    npz->offset += count;
    return TIM_OK;
}

/* The fields that a local header and a directory entry share: version needed ... length of the name (4.3.7, 4.3.12). */
static void put_description(Record *record, const TimNpzEntry *entry) {
    put(record, VERSION_ZIP64, 2);
    put(record, 0, 2);         /* flags */
    put(record, 0, 2);         /* stored */
    put(record, 0, 2);         /* midnight */
    put(record, DATE_1980, 2); /* day */
    put(record, entry->crc, 4);
    put(record, UINT32_MAX, 4); /* packed size: see the zip64 field */
    put(record, UINT32_MAX, 4); /* size: see the zip64 field */
    put(record, strlen(entry->name), 2);
}

/* 4.3.7; the zip64 field is 4.5.3. */
static Record local_header(const TimNpzEntry *entry) {
    Record record = {.count = 0};
    put(&record, 0x04034B50, 4);
    put_description(&record, entry);
    put(&record, 20, 2); /* bytes of extra fields */
    put_name(&record, entry->name);
    put(&record, 1, 2); /* zip64 */
    put(&record, 16, 2);
    put(&record, entry->size, 8);
    put(&record, entry->size, 8); /* packed */
    return record;
}

/* 4.3.12 */
static Record directory_entry(const TimNpzEntry *entry) {
    Record record = {.count = 0};
    put(&record, 0x02014B50, 4);
    put(&record, VERSION_ZIP64, 2); /* made by: MS-DOS attributes, none set */
    put_description(&record, entry);
    put(&record, 28, 2);         /* bytes of extra fields */
    put(&record, 0, 2);          /* comment */
    put(&record, 0, 2);          /* disk */
    put(&record, 0, 2);          /* internal attributes */
    put(&record, 0, 4);          /* external attributes */
    put(&record, UINT32_MAX, 4); /* offset: see the zip64 field */
    put_name(&record, entry->name);
    put(&record, 1, 2); /* zip64 */
    put(&record, 24, 2);
    put(&record, entry->size, 8);
    put(&record, entry->size, 8); /* packed */
    put(&record, entry->offset, 8);
    return record;
}

/* The three records that end the file: zip64 end of directory (4.3.14), its locator (4.3.15), end of directory (4.3.16). */
static Record directory_end(uint64_t count, uint64_t start, uint64_t end) {
    Record record = {.count = 0};
    put(&record, 0x06064B50, 4);
    put(&record, 44, 8); /* bytes of this record that follow */
    put(&record, VERSION_ZIP64, 2);
    put(&record, VERSION_ZIP64, 2);
    put(&record, 0, 4); /* this disk */
    put(&record, 0, 4); /* the directory's disk */
    put(&record, count, 8);
    put(&record, count, 8);
    put(&record, end - start, 8);
    put(&record, start, 8);
    put(&record, 0x07064B50, 4);
    put(&record, 0, 4); /* the zip64 record's disk */
    put(&record, end, 8);
    put(&record, 1, 4); /* disks */
    put(&record, 0x06054B50, 4);
    put(&record, 0, 4); /* both disks */
    put(&record, UINT16_MAX, 2);
    put(&record, UINT16_MAX, 2);
    put(&record, UINT32_MAX, 4);
    put(&record, UINT32_MAX, 4);
    put(&record, 0, 2); /* comment */
    return record;
}

/* A whole npy header: the dictionary, padded with blanks so that the data starts at a multiple of 64, and a line's end. */
typedef struct NpyHeader {
    char bytes[4 * NPY_ALIGNMENT];
    size_t count;
} NpyHeader;

static size_t append_shape(char *text, size_t size, size_t used, const uint64_t *shape, int rank) {
    for (int i = 0; i < rank; i++)
        used += (size_t)snprintf(text + used, size - used, "%llu%s", (unsigned long long)shape[i], i < rank - 1 ? ", " : "");
    return used + (size_t)snprintf(text + used, size - used, "%s), }", rank == 1 ? "," : "");
}

/* Cannot overflow: 58 characters around at most TIM_NPZ_MAX_RANK numbers of 20 digits. */
static NpyHeader npy_header(const char *descr, const uint64_t *shape, int rank) {
    NpyHeader header;
    char text[sizeof header.bytes - NPY_PREFIX];
    size_t used = (size_t)snprintf(text, sizeof text, "{'descr': '%.3s', 'fortran_order': False, 'shape': (", descr);
    used = append_shape(text, sizeof text, used, shape, rank);
    const size_t whole = NPY_PREFIX + used + 1;
    header.count = whole + (NPY_ALIGNMENT - whole % NPY_ALIGNMENT) % NPY_ALIGNMENT;
    const size_t length = header.count - NPY_PREFIX;
    memset(header.bytes, ' ', header.count);
    memcpy(header.bytes, "\x93NUMPY\x01\x00", 8);
    header.bytes[8] = (char)(length & 0xFF);
    header.bytes[9] = (char)(length >> 8);
    memcpy(header.bytes + NPY_PREFIX, text, used);
    header.bytes[header.count - 1] = '\n';
    return header;
}

static TimStatus check_array(const TimNpz *npz, const char *name, const char *descr, int rank, TimError *err) {
    if (npz->count == TIM_NPZ_MAX_ARRAYS)
        return tim_fail(err, TIM_E_UNSUPPORTED, "%s: array %s is one too many; at most %d", npz->writer.path, name,
                        TIM_NPZ_MAX_ARRAYS);
    if (strlen(name) + sizeof ".npy" > TIM_NPZ_MAX_NAME)
        return tim_fail(err, TIM_E_ARGUMENT, "%s: array name %s is too long; at most %zu characters", npz->writer.path, name,
                        TIM_NPZ_MAX_NAME - sizeof ".npy");
    if (strlen(descr) == 3 && rank >= 0 && rank <= TIM_NPZ_MAX_RANK) return TIM_OK;
    return tim_fail(err, TIM_E_ARGUMENT, "%s: array %s: descr \"%s\", rank %d; give 3 characters and 0 ... %d", npz->writer.path,
                    name, descr, rank, TIM_NPZ_MAX_RANK);
}

static TimStatus array_bytes(size_t *bytes, size_t item, const uint64_t *shape, int rank, const char *name, TimError *err) {
    bool fits = true;
    *bytes = item;
    for (int i = 0; i < rank; i++) fits = fits && shape[i] <= SIZE_MAX && tim_mul_size(*bytes, (size_t)shape[i], bytes);
    if (fits && *bytes <= INT64_MAX / 2) return TIM_OK; /* so that no sum of a few headers and sizes overflows */
    return tim_fail(err, TIM_E_MEMORY, "npz: array %s has more bytes than a file can; write fewer", name);
}

TimStatus tim_npz_open(TimNpz *npz, const char *path, TimError *err) {
    *npz = (TimNpz){0};
    return tim_file_writer_open(&npz->writer, path, err);
}

TimStatus tim_npz_begin(TimNpz *npz, const char *name, const char *descr, size_t item, const uint64_t *shape, int rank,
                        TimError *err) {
    size_t bytes;
    TIM_TRY(check_array(npz, name, descr, rank, err));
    TIM_TRY(array_bytes(&bytes, item, shape, rank, name, err));
    const NpyHeader npy = npy_header(descr, shape, rank);
    TimNpzEntry *entry = &npz->entries[npz->count++];
    *entry = (TimNpzEntry){.offset = npz->offset, .size = npy.count + bytes};
    snprintf(entry->name, sizeof entry->name, "%s.npy", name);
    const Record header = local_header(entry);
    TIM_TRY(emit(npz, header.bytes, header.count, err));
    return tim_npz_write(npz, npy.bytes, npy.count, err);
}

TimStatus tim_npz_write(TimNpz *npz, const void *bytes, size_t count, TimError *err) {
    if (count == 0) return TIM_OK;
    TimNpzEntry *entry = &npz->entries[npz->count - 1];
    entry->crc = (uint32_t)crc32_z(entry->crc, bytes, count);
    return emit(npz, bytes, count, err);
}

static TimStatus check_ended(const TimNpz *npz, const TimNpzEntry *entry, const Record *header, TimError *err) {
    const uint64_t written = npz->offset - entry->offset - header->count;
    if (written == entry->size) return TIM_OK;
    return tim_fail(err, TIM_E_ARGUMENT, "%s: %s got %llu bytes, its shape asks for %llu; write the whole array", npz->writer.path,
                    entry->name, (unsigned long long)written, (unsigned long long)entry->size);
}

TimStatus tim_npz_end(TimNpz *npz, TimError *err) {
    const TimNpzEntry *entry = &npz->entries[npz->count - 1];
    const Record header = local_header(entry);
    TIM_TRY(check_ended(npz, entry, &header, err));
    FILE *file = npz->writer.stream;
    const bool patched = fseeko(file, (off_t)(entry->offset + CRC_FIELD), SEEK_SET) == 0 &&
                         fwrite(header.bytes + CRC_FIELD, 1, 4, file) == 4 && fseeko(file, 0, SEEK_END) == 0;
    if (patched) return TIM_OK;
    return tim_fail(err, TIM_E_IO, "%s: cannot go back in it: %s; write to a regular file", npz->writer.temporary, strerror(errno));
}

static TimStatus write_directory(TimNpz *npz, TimError *err) {
    const uint64_t start = npz->offset;
    for (int i = 0; i < npz->count; i++) {
        const Record record = directory_entry(&npz->entries[i]);
        TIM_TRY(emit(npz, record.bytes, record.count, err));
    }
    const Record end = directory_end((uint64_t)npz->count, start, npz->offset);
    return emit(npz, end.bytes, end.count, err);
}

TimStatus tim_npz_close(TimNpz *npz, TimError *err) {
    const TimStatus status = write_directory(npz, err);
    if (status == TIM_OK) return tim_file_writer_commit(&npz->writer, err);
    tim_npz_discard(npz);
    return status;
}

void tim_npz_discard(TimNpz *npz) {
    tim_file_writer_abandon(&npz->writer);
}
