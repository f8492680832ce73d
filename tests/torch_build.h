/* Files of torch.save made by hand for tests and fuzzers: bytes that grow, a zip of stored members, the words of a pickle.
 * Memory that runs out ends the program. */
#ifndef TIM_TESTS_TORCH_BUILD_H
#define TIM_TESTS_TORCH_BUILD_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

typedef struct Bytes {
    uint8_t *data; /* from malloc */
    size_t size, capacity;
} Bytes;

static inline void bytes_add(Bytes *b, const void *data, size_t size) {
    if (size > b->capacity - b->size) {
        b->capacity = 2 * b->capacity + size;
        b->data = realloc(b->data, b->capacity);
        if (!b->data) abort();
    }
    if (size > 0) memcpy(b->data + b->size, data, size);
    b->size += size;
}

static inline void bytes_number(Bytes *b, uint64_t number, int count) {
    bytes_add(b, &number, (size_t)count); /* little-endian */
}

/* ---- zip ---- */

typedef struct Zip {
    Bytes file, directory;
    unsigned count;
} Zip;

static inline void zip_add(Zip *zip, const char *name, const void *data, size_t size) {
    const size_t offset = zip->file.size, length = strlen(name);
    const uint32_t crc = (uint32_t)crc32(crc32(0, NULL, 0), data, (uInt)size);
    Bytes common = {0};
    bytes_number(&common, 20, 2);    /* version */
    bytes_number(&common, 0, 2 + 2); /* flags, stored */
    bytes_number(&common, 0, 4);     /* time */
    bytes_number(&common, crc, 4);
    bytes_number(&common, size, 4);
    bytes_number(&common, size, 4);
    bytes_number(&common, length, 2);
    bytes_number(&common, 0, 2); /* extra */
    bytes_number(&zip->file, 0x04034B50, 4);
    bytes_add(&zip->file, common.data, common.size);
    bytes_add(&zip->file, name, length);
    bytes_add(&zip->file, data, size);
    bytes_number(&zip->directory, 0x02014B50, 4);
    bytes_number(&zip->directory, 20, 2);
    bytes_add(&zip->directory, common.data, common.size);
    bytes_number(&zip->directory, 0, 2 + 2 + 2); /* comment, disk, kind of text */
    bytes_number(&zip->directory, 0, 4);
    bytes_number(&zip->directory, offset, 4);
    bytes_add(&zip->directory, name, length);
    zip->count++;
    free(common.data);
}

/* The whole file; `zip` keeps nothing. */
static inline Bytes zip_end(Zip *zip) {
    Bytes file = zip->file;
    const size_t offset = file.size;
    bytes_add(&file, zip->directory.data, zip->directory.size);
    bytes_number(&file, 0x06054B50, 4);
    bytes_number(&file, 0, 4);
    bytes_number(&file, zip->count, 2);
    bytes_number(&file, zip->count, 2);
    bytes_number(&file, zip->directory.size, 4);
    bytes_number(&file, offset, 4);
    bytes_number(&file, 0, 2);
    free(zip->directory.data);
    *zip = (Zip){0};
    return file;
}

/* A file of torch.save: this pickle, and storages 0 and 1 of 24 floats 0, 1, 2, ... and of 4 bytes. */
static inline Bytes torch_file(const void *pickle, size_t size) {
    float values[24];
    Zip zip = {0};
    for (int i = 0; i < 24; i++) values[i] = (float)i;
    zip_add(&zip, "archive/data.pkl", pickle, size);
    zip_add(&zip, "archive/byteorder", "little", 6);
    zip_add(&zip, "archive/data/0", values, sizeof values);
    zip_add(&zip, "archive/data/1", "\0\1\2\3", 4);
    return zip_end(&zip);
}

/* ---- pickle ---- */

/* Opcodes as they are; zero bytes are not among them. */
static inline void pickle_op(Bytes *b, const char *opcodes) {
    bytes_add(b, opcodes, strlen(opcodes));
}

static inline void pickle_text(Bytes *b, const char *text) {
    pickle_op(b, "X");
    bytes_number(b, strlen(text), 4);
    bytes_add(b, text, strlen(text));
}

static inline void pickle_integer(Bytes *b, int64_t value) {
    bytes_add(b, "\x8A\x08", 2);
    bytes_number(b, (uint64_t)value, 8);
}

static inline void pickle_tuple(Bytes *b, const int64_t *values, int count) {
    pickle_op(b, "(");
    for (int i = 0; i < count; i++) pickle_integer(b, values[i]);
    pickle_op(b, "t");
}

/* torch._utils._rebuild_tensor_v2 of ('storage', torch.<type>Storage, key, 'cpu', elements). */
static inline void pickle_tensor(Bytes *b, const char *storage, const char *key, int64_t elements, int64_t offset, int rank,
                                 const int64_t *sizes, const int64_t *strides) {
    pickle_op(b, "ctorch._utils\n_rebuild_tensor_v2\n((");
    pickle_text(b, "storage");
    pickle_op(b, "ctorch\n");
    pickle_op(b, storage);
    pickle_op(b, "Storage\n");
    pickle_text(b, key);
    pickle_text(b, "cpu");
    pickle_integer(b, elements);
    pickle_op(b, "tQ");
    pickle_integer(b, offset);
    pickle_tuple(b, sizes, rank);
    pickle_tuple(b, strides, rank);
    pickle_op(b, "\x89"
                 "ccollections\nOrderedDict\n)RtR");
}

#endif
