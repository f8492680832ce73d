/* The npy format in zips, as numpy's savez and savez_compressed write them, and as hostile files pretend to.
 * Format: numpy.lib.format 1.0, 2.0 and 3.0. */
#include "io/npz_read.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/zip.h"

enum {
    MAX_INFLATION = 1032, /* deflate packs at most so many bytes into one */
    MAX_HEADER = 10000    /* bytes of an npy header; numpy's own limit */
};

static uint64_t get(const uint8_t *bytes, int count) {
    uint64_t value = 0;
    for (int i = count - 1; i >= 0; i--) value = value << 8 | bytes[i];
    return value;
}

/* ---- a member ---- */

static TimStatus damaged(const char *path, const char *what, TimError *err) {
    return tim_fail(err, TIM_E_FORMAT, "%s: not a whole npz file: %s; save it again", path, what);
}

static TimStatus damaged_member(const TimNpzMember *member, const char *what, TimError *err) {
    return tim_fail(err, TIM_E_FORMAT, "%s: not a whole npz file: %s: %s; save it again", member->path, member->name, what);
}

static TimStatus take_entry(TimNpzMember *member, const TimFile *file, const TimZipEntry *entry, TimError *err) {
    if ((entry->flags & 1) || (entry->method != TIM_ZIP_STORED && entry->method != TIM_ZIP_DEFLATED))
        return tim_fail(err, TIM_E_UNSUPPORTED, "%s: %s is packed by method %u%s; save it with numpy's savez or savez_compressed",
                        member->path, member->name, entry->method, entry->flags & 1 ? ", encrypted" : "");
    const char *wrong = tim_zip_bytes(&member->packed, file, entry);
    if (wrong) return damaged_member(member, wrong, err);
    member->packed_size = (size_t)entry->packed_size;
    member->size = entry->size;
    member->crc = entry->crc;
    member->deflated = entry->method == TIM_ZIP_DEFLATED;
    const bool fits = member->deflated ? entry->size / MAX_INFLATION <= entry->packed_size : entry->size == entry->packed_size;
    return fits ? TIM_OK : damaged_member(member, "it claims more bytes than it can have", err);
}

TimStatus tim_npz_find(TimNpzMember *member, const TimFile *file, const char *path, const char *name, TimError *err) {
    TimZip zip;
    TimZipEntry entry;
    *member = (TimNpzMember){.path = path};
    snprintf(member->name, sizeof member->name, "%s.npy", name);
    const char *wrong = tim_zip_start(&zip, file);
    if (wrong) return damaged(path, wrong, err);
    while (zip.left > 0) {
        if (!tim_zip_next(&zip, &entry)) return damaged(path, "its directory is not sound", err);
        if (entry.name_size != strlen(member->name) || memcmp(entry.name, member->name, entry.name_size) != 0) continue;
        if (member->packed)
            return tim_fail(err, TIM_E_FORMAT, "%s: it has two members %s, and numpy reads the last; save it again", path,
                            member->name);
        TIM_TRY(take_entry(member, file, &entry, err));
    }
    return TIM_OK;
}

/* ---- unpacking ---- */

static TimStatus fail_member(const TimNpyStream *stream, const char *what, TimError *err) {
    return tim_fail(err, TIM_E_FORMAT, "%s: %s: %s; save it again", stream->member->path, stream->member->name, what);
}

/* zlib counts in 32 bits, so it gets its bytes in parts. */
static void feed(TimNpyStream *stream) {
    const size_t most = (size_t)1 << 30, rest = stream->member->packed_size - stream->fed, part = rest < most ? rest : most;
    if (stream->zlib.avail_in > 0) return;
    stream->zlib.next_in = (Bytef *)(uintptr_t)(stream->member->packed + stream->fed); /* not written to */
    stream->zlib.avail_in = (uInt)part;
    stream->fed += part;
}

/* Up to `count` bytes; *got counts them. Z_OK, or why there are no more. */
static int inflate_part(TimNpyStream *stream, uint8_t *out, size_t count, size_t *got) {
    const size_t most = (size_t)1 << 30, part = count < most ? count : most;
    feed(stream);
    stream->zlib.next_out = out;
    stream->zlib.avail_out = (uInt)part;
    const int code = inflate(&stream->zlib, Z_NO_FLUSH);
    *got = part - stream->zlib.avail_out;
    return code;
}

static TimStatus unpack(TimNpyStream *stream, uint8_t *out, size_t count, TimError *err) {
    if (!stream->member->deflated) {
        memcpy(out, stream->member->packed + stream->fed, count);
        stream->fed += count;
        return TIM_OK;
    }
    while (count > 0) {
        size_t got;
        const int code = inflate_part(stream, out, count, &got);
        out += got;
        count -= got;
        if (code == Z_MEM_ERROR) return tim_fail(err, TIM_E_MEMORY, "%s: no memory for zlib; free some", stream->member->path);
        if (code != Z_OK && count > 0) return fail_member(stream, "its packed bytes are damaged or end too early", err);
    }
    return TIM_OK;
}

/* zlib must say, too, that there is no more. */
static TimStatus check_end(TimNpyStream *stream, TimError *err) {
    uint8_t extra;
    size_t got = 0;
    if (stream->crc != stream->member->crc) return fail_member(stream, "its checksum is wrong", err);
    if (stream->member->deflated && (inflate_part(stream, &extra, 1, &got) != Z_STREAM_END || got > 0))
        return fail_member(stream, "it has more bytes than it claims", err);
    return TIM_OK;
}

TimStatus tim_npy_read(TimNpyStream *stream, void *out, size_t count, TimError *err) {
    if (count == 0) return TIM_OK;
    if (count > stream->left) return fail_member(stream, "it ends too early", err);
    TIM_TRY(unpack(stream, out, count, err));
    stream->crc = (uint32_t)crc32_z(stream->crc, out, count);
    stream->left -= count;
    return stream->left == 0 ? check_end(stream, err) : TIM_OK;
}

/* ---- the npy header, a Python dictionary ---- */

static void skip_blanks(const char **at) {
    while (isspace((unsigned char)**at)) ++*at;
}

static bool take(const char **at, const char *word) {
    skip_blanks(at);
    const size_t length = strlen(word);
    if (strncmp(*at, word, length) != 0) return false;
    *at += length;
    return true;
}

/* A quoted text without escapes, cut to `size`. */
static bool take_text(const char **at, char *out, size_t size) {
    skip_blanks(at);
    const char quote = **at;
    if (quote != '\'' && quote != '"') return false;
    const char *end = strchr(*at + 1, quote);
    if (!end) return false;
    snprintf(out, size, "%.*s", (int)(end - *at - 1), *at + 1);
    *at = end + 1;
    return true;
}

static bool take_number(const char **at, uint64_t *number) {
    skip_blanks(at);
    if (!isdigit((unsigned char)**at)) return false;
    char *end;
    errno = 0;
    *number = strtoull(*at, &end, 10);
    *at = end;
    return errno == 0;
}

static bool take_shape(const char **at, TimNpyStream *stream) {
    stream->rank = 0;
    if (!take(at, "(")) return false;
    while (!take(at, ")")) {
        if (stream->rank == TIM_NPZ_MAX_RANK || !take_number(at, &stream->shape[stream->rank])) return false;
        stream->rank++;
        if (!take(at, ",")) return take(at, ")");
    }
    return true;
}

/* What the dictionary told. */
typedef struct Told {
    bool descr, order, shape, fortran;
} Told;

static bool take_value(const char **at, const char *key, TimNpyStream *stream, Told *told) {
    if (strcmp(key, "descr") == 0) return told->descr = take_text(at, stream->descr, sizeof stream->descr);
    if (strcmp(key, "shape") == 0) return told->shape = take_shape(at, stream);
    if (strcmp(key, "fortran_order") != 0) return false;
    told->fortran = take(at, "True");
    return told->order = told->fortran || take(at, "False");
}

static bool take_dictionary(const char *at, TimNpyStream *stream, Told *told) {
    char key[16];
    if (!take(&at, "{")) return false;
    while (!take(&at, "}")) {
        if (!take_text(&at, key, sizeof key) || !take(&at, ":") || !take_value(&at, key, stream, told)) return false;
        if (take(&at, ",")) continue;
        if (!take(&at, "}")) return false;
        break;
    }
    skip_blanks(&at);
    return *at == '\0' && told->descr && told->order && told->shape;
}

static TimStatus read_dictionary(TimNpyStream *stream, size_t size, TimError *err) {
    char text[MAX_HEADER + 1];
    Told told = {0};
    if (size > MAX_HEADER) return fail_member(stream, "its npy header is longer than 10000 bytes", err);
    TIM_TRY(tim_npy_read(stream, text, size, err));
    text[size] = '\0';
    if (!take_dictionary(text, stream, &told)) return fail_member(stream, "its npy header is not one of a plain array", err);
    if (told.fortran)
        return tim_fail(err, TIM_E_UNSUPPORTED, "%s: %s is in fortran_order; save numpy.ascontiguousarray of it",
                        stream->member->path, stream->member->name);
    return TIM_OK;
}

/* Magic, version, then the dictionary's length: 2 bytes in version 1, else 4. */
static TimStatus read_header(TimNpyStream *stream, TimError *err) {
    uint8_t head[8], length[4];
    TIM_TRY(tim_npy_read(stream, head, sizeof head, err));
    if (memcmp(head, "\x93NUMPY", 6) != 0 || head[6] < 1 || head[6] > 3)
        return fail_member(stream, "it does not begin as an npy array of version 1, 2 or 3", err);
    const int bytes = head[6] == 1 ? 2 : 4;
    TIM_TRY(tim_npy_read(stream, length, (size_t)bytes, err));
    return read_dictionary(stream, (size_t)get(length, bytes), err);
}

TimStatus tim_npy_start(TimNpyStream *stream, const TimNpzMember *member, TimError *err) {
    *stream = (TimNpyStream){.member = member, .left = member->size};
    if (member->deflated && inflateInit2(&stream->zlib, -MAX_WBITS) != Z_OK) /* negative: no zlib header */
        return tim_fail(err, TIM_E_MEMORY, "%s: no memory for zlib; free some", member->path);
    const TimStatus status = read_header(stream, err);
    if (status != TIM_OK) tim_npy_end(stream);
    return status;
}

void tim_npy_end(TimNpyStream *stream) {
    if (stream->member && stream->member->deflated) inflateEnd(&stream->zlib);
    *stream = (TimNpyStream){0};
}

/* ---- arrays of numbers ---- */

/* A shape as numpy writes it. */
static void write_shape(char *out, size_t size, int rank, const uint64_t *dims) {
    size_t at = (size_t)snprintf(out, size, "(");
    for (int i = 0; i < rank && at < size; i++)
        at += (size_t)snprintf(out + at, size - at, "%s%llu", i ? ", " : "", (unsigned long long)dims[i]);
    if (at < size) snprintf(out + at, size - at, ")");
}

static TimStatus check_numbers(const TimNpyStream *stream, int rank, const uint64_t *dims, TimError *err) {
    char found[192], wanted[192];
    const bool numbers = strcmp(stream->descr, "<f8") == 0 || strcmp(stream->descr, "<f4") == 0;
    if (numbers && stream->rank == rank && memcmp(stream->shape, dims, (size_t)rank * sizeof *dims) == 0) return TIM_OK;
    write_shape(found, sizeof found, stream->rank, stream->shape);
    write_shape(wanted, sizeof wanted, rank, dims);
    return tim_fail(err, TIM_E_FORMAT, "%s: %s has the type %s and the shape %s; wanted is <f8 or <f4 (float64, float32) and %s",
                    stream->member->path, stream->member->name, stream->descr, found, wanted);
}

static double number_of(const uint8_t *bytes, int size) {
    const uint64_t bits = get(bytes, size);
    const uint32_t half = (uint32_t)bits;
    double number;
    float single;
    memcpy(&number, &bits, sizeof number);
    memcpy(&single, &half, sizeof single);
    return size == 8 ? number : (double)single;
}

static TimStatus read_numbers(TimNpyStream *stream, size_t count, double *values, TimError *err) {
    const int size = stream->descr[2] - '0';
    uint8_t bytes[8];
    if (stream->left != (uint64_t)count * (uint64_t)size)
        return tim_fail(err, TIM_E_FORMAT, "%s: %s holds %llu bytes for %zu numbers of %d; save it again", stream->member->path,
                        stream->member->name, (unsigned long long)stream->left, count, size);
    for (size_t i = 0; i < count; i++) {
        TIM_TRY(tim_npy_read(stream, bytes, (size_t)size, err));
        values[i] = number_of(bytes, size);
    }
    return TIM_OK;
}

TimStatus tim_npz_read_f64(const TimFile *file, const char *path, const char *name, int rank, const uint64_t *dims, double *values,
                           TimError *err) {
    TimNpzMember member;
    TimNpyStream stream;
    size_t count = 1; /* of the caller's array, which is there */
    for (int i = 0; i < rank; i++) count *= (size_t)dims[i];
    TIM_TRY(tim_npz_find(&member, file, path, name, err));
    if (!member.packed) return tim_fail(err, TIM_E_FORMAT, "%s: has no member %s", path, member.name);
    TIM_TRY(tim_npy_start(&stream, &member, err));
    TimStatus status = check_numbers(&stream, rank, dims, err);
    if (status == TIM_OK) status = read_numbers(&stream, count, values, err);
    tim_npy_end(&stream);
    return status;
}
