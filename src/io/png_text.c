/* Texts of a PNG file, read chunk by chunk: tEXt, and iTXt that is not compressed. Format: PNG, W3C Recommendation, section
 * 11.3.3. */
#include <stdbool.h>
#include <string.h>
#include <zlib.h>

#include "base/utf8.h"
#include "io/codec.h"
#include "tim/image.h"

typedef struct Chunk {
    const uint8_t *type, *data;
    size_t size;
} Chunk;

static size_t big_endian(const uint8_t *p) {
    return (size_t)p[0] << 24 | (size_t)p[1] << 16 | (size_t)p[2] << 8 | p[3];
}

/* The chunk at *at, which moves behind it; false where the file ends before one does. */
static bool next_chunk(const TimFile *file, size_t *at, Chunk *chunk) {
    enum { FRAME = 12 }; /* length, type and checksum */
    if (file->size - *at < FRAME) return false;
    const uint8_t *p = file->data + *at;
    *chunk = (Chunk){.type = p + 4, .data = p + 8, .size = big_endian(p)};
    if (chunk->size > file->size - *at - FRAME) return false;
    *at += FRAME + chunk->size;
    return true;
}

/* The checksum behind the data is of type and data. */
static bool is_sound(const Chunk *chunk) {
    return (uint32_t)crc32_z(crc32_z(0, NULL, 0), chunk->type, 4 + chunk->size) == big_endian(chunk->data + chunk->size);
}

/* Skips a text that ends with a zero byte. */
static bool skip_text(Chunk *chunk) {
    const uint8_t *end = memchr(chunk->data, 0, chunk->size);
    if (!end) return false;
    chunk->size -= (size_t)(end + 1 - chunk->data);
    chunk->data = end + 1;
    return true;
}

/* True if the chunk holds the text `key`; its data is the value then. */
static bool find_value(Chunk *chunk, const char *key) {
    const bool plain = memcmp(chunk->type, "tEXt", 4) == 0, utf8 = memcmp(chunk->type, "iTXt", 4) == 0;
    const size_t length = strlen(key) + 1;
    if ((!plain && !utf8) || chunk->size < length || memcmp(chunk->data, key, length) != 0) return false;
    chunk->data += length, chunk->size -= length;
    if (plain) return true;
    if (chunk->size < 2 || chunk->data[0] != 0) return false; /* compressed */
    chunk->data += 2, chunk->size -= 2;
    return skip_text(chunk) && skip_text(chunk); /* language, translated key */
}

/* tEXt is Latin-1, though many programs write UTF-8 there: what is valid UTF-8 beyond ASCII is hardly ever meant as Latin-1. iTXt
 * is UTF-8. */
static bool is_latin_1(const Chunk *whole, const Chunk *value) {
    const char *text = (const char *)value->data;
    return memcmp(whole->type, "tEXt", 4) == 0 && tim_utf8_valid(text, value->size) < value->size;
}

/* Bytes of the value in UTF-8: of Latin-1, two for each from 0x80 on. */
static size_t size_in_utf8(const Chunk *value, bool latin_1) {
    size_t size = value->size;
    for (size_t i = 0; latin_1 && i < value->size; i++) size += value->data[i] >= 0x80;
    return size;
}

/* Writes size_in_utf8 bytes and a zero. */
static void copy_in_utf8(char *out, const Chunk *value, bool latin_1) {
    for (size_t i = 0; i < value->size; i++) {
        const uint8_t c = value->data[i];
        const bool wide = latin_1 && c >= 0x80;
        if (wide) *out++ = (char)(0xC0 | c >> 6);
        *out++ = (char)(wide ? 0x80 | (c & 0x3F) : c);
    }
    *out = '\0';
}

static TimStatus read_text(char *value, size_t size, const char *key, const TimFile *file, const char *path, TimError *err) {
    static const uint8_t signature[] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1A, '\n'};
    size_t at = sizeof signature;
    Chunk chunk;
    if (file->size < at || memcmp(file->data, signature, at) != 0)
        return tim_fail(err, TIM_E_FORMAT, "%s: no PNG file; only those hold texts", path);
    while (next_chunk(file, &at, &chunk)) {
        const Chunk whole = chunk;
        if (!find_value(&chunk, key)) continue;
        if (!is_sound(&whole))
            return tim_fail(err, TIM_E_FORMAT, "%s: the text '%s' differs from its checksum; take another copy of the file", path,
                            key);
        const bool latin_1 = is_latin_1(&whole, &chunk);
        const size_t bytes = size_in_utf8(&chunk, latin_1);
        if (bytes >= size || memchr(chunk.data, 0, chunk.size))
            return tim_fail(err, TIM_E_FORMAT, "%s: the text '%s' has %zu bytes or a zero among them; at most %zu are read", path,
                            key, bytes, size - 1);
        copy_in_utf8(value, &chunk, latin_1);
        return TIM_OK;
    }
    return tim_fail(err, TIM_E_FORMAT, "%s: it holds no text '%s'; was it written by another program, or saved again?", path, key);
}

TimStatus tim_image_read_text(char *value, size_t size, const char *key, const char *path, TimError *err) {
    TimFile file;
    *value = '\0';
    TIM_TRY(tim_file_open(&file, path, err));
    const TimStatus status = read_text(value, size, key, &file, path, err);
    tim_file_close(&file);
    return status;
}
