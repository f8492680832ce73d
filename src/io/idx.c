#include "io/idx.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "base/memory.h"

/* Header: two zero bytes, element type 8 (unsigned byte), number of axes, then each axis as a big-endian 32-bit number. */
enum { UNSIGNED_BYTE = 8, MAX_AXES = 3, MAX_SIDE = 4096 };

/* Deflate cannot shrink by more than about 1032 times, so a small file that claims more lies about its size. */
enum { MAX_INFLATION = 1040 };

typedef struct Source {
    char path[1024];
    gzFile stream;    /* reads plain files too */
    size_t file_size; /* on the disk */
} Source;

static TimStatus open_path(Source *source, TimError *err) {
    struct stat info;
    if (stat(source->path, &info) != 0) return tim_fail(err, TIM_E_IO, "%s: cannot open: %s", source->path, strerror(errno));
    if (!S_ISREG(info.st_mode)) return tim_fail(err, TIM_E_IO, "%s: not a regular file", source->path);
    source->file_size = (size_t)info.st_size;
    source->stream = gzopen(source->path, "rb");
    return source->stream ? TIM_OK : tim_fail(err, TIM_E_IO, "%s: cannot open: %s", source->path, strerror(errno));
}

/* Opens <dir>/<split>-<kind> or, where there is none, the same with .gz. Whoever makes new files leaves the old archives there. */
static TimStatus open_source(Source *source, const char *dir, const char *split, const char *kind, TimError *err) {
    const int length = snprintf(source->path, sizeof source->path, "%s/%s-%s.gz", dir, split, kind);
    if (length < 0 || (size_t)length >= sizeof source->path)
        return tim_fail(err, TIM_E_ARGUMENT, "the path of the %s data is longer than %zu bytes", split, sizeof source->path - 1);
    char *ending = source->path + length - strlen(".gz");
    *ending = '\0';
    if (access(source->path, F_OK) != 0) *ending = '.';
    if (access(source->path, F_OK) == 0) return open_path(source, err);
    *ending = '\0';
    return tim_fail(
        err, TIM_E_IO,
        "%s: cannot open it, nor the same with .gz: %s; for Fashion-MNIST install the package dataset-fashion-mnist and "
        "use the directory " TIM_IDX_FASHION_MNIST,
        source->path, strerror(errno));
}

static TimStatus read_bytes(Source *source, uint8_t *out, size_t count, TimError *err) {
    while (count > 0) {
        const unsigned part = count < INT_MAX ? (unsigned)count : INT_MAX;
        const int got = gzread(source->stream, out, part);
        int code;
        if (got < 0) return tim_fail(err, TIM_E_FORMAT, "%s: cannot read: %s", source->path, gzerror(source->stream, &code));
        if (got == 0) return tim_fail(err, TIM_E_FORMAT, "%s: it ends %zu bytes early; is it complete?", source->path, count);
        out += got;
        count -= (size_t)got;
    }
    return TIM_OK;
}

/* Reading on at the end also makes zlib compare its checksum. */
static TimStatus expect_end(Source *source, TimError *err) {
    uint8_t extra;
    int code;
    const int got = gzread(source->stream, &extra, 1);
    if (got > 0) return tim_fail(err, TIM_E_FORMAT, "%s: there is more data than its header says", source->path);
    const char *text = gzerror(source->stream, &code);
    if (got < 0 || code != Z_OK) return tim_fail(err, TIM_E_FORMAT, "%s: damaged at its end: %s", source->path, text);
    return TIM_OK;
}

static TimStatus read_axes(Source *source, size_t *dims, int axes, TimError *err) {
    uint8_t head[4 + 4 * MAX_AXES];
    TIM_TRY(read_bytes(source, head, 4 + 4 * (size_t)axes, err));
    if (head[0] != 0 || head[1] != 0 || head[2] != UNSIGNED_BYTE || head[3] != axes)
        return tim_fail(err, TIM_E_FORMAT,
                        "%s: its first bytes are %02x%02x%02x%02x; an IDX file of bytes with %d axes has 000008%02x", source->path,
                        head[0], head[1], head[2], head[3], axes, axes);
    for (int i = 0; i < axes; i++) {
        const uint8_t *at = head + 4 + 4 * i;
        dims[i] = (size_t)at[0] << 24 | (size_t)at[1] << 16 | (size_t)at[2] << 8 | at[3];
        const size_t most = i > 0 ? MAX_SIDE : UINT32_MAX;
        if (dims[i] == 0 || dims[i] > most)
            return tim_fail(err, TIM_E_FORMAT, "%s: axis %d has the size %zu; it must be 1 to %zu", source->path, i, dims[i], most);
    }
    return TIM_OK;
}

/* The whole content: its axes into dims, its bytes into a new block. */
static TimStatus read_source(Source *source, uint8_t **out, size_t *dims, int axes, TimError *err) {
    TIM_TRY(read_axes(source, dims, axes, err));
    size_t bytes = 1, most;
    for (int i = 0; i < axes; i++)
        if (!tim_mul_size(bytes, dims[i], &bytes)) return tim_fail(err, TIM_E_FORMAT, "%s: its size overflows", source->path);
    const size_t inflation = gzdirect(source->stream) ? 1 : MAX_INFLATION;
    if (!tim_mul_size(source->file_size, inflation, &most) || bytes > most)
        return tim_fail(err, TIM_E_FORMAT, "%s: its header promises %zu bytes, more than a file of %zu can hold; is it complete?",
                        source->path, bytes, source->file_size);
    TIM_TRY(tim_new(out, bytes, 1, "the pictures", err));
    TIM_TRY(read_bytes(source, *out, bytes, err));
    return expect_end(source, err);
}

static TimStatus read_file(uint8_t **out, size_t *dims, int axes, const char *dir, const char *split, const char *kind,
                           TimError *err) {
    Source source;
    TIM_TRY(open_source(&source, dir, split, kind, err));
    const TimStatus status = read_source(&source, out, dims, axes, err);
    gzclose(source.stream);
    return status;
}

static TimStatus read_pair(TimIdxData *out, const char *dir, const char *split, TimError *err) {
    size_t dims[MAX_AXES], labels;
    TIM_TRY(read_file(&out->images, dims, 3, dir, split, "images-idx3-ubyte", err));
    TIM_TRY(read_file(&out->labels, &labels, 1, dir, split, "labels-idx1-ubyte", err));
    if (labels != dims[0])
        return tim_fail(err, TIM_E_FORMAT, "%s: the %s data has %zu pictures and %zu labels; they belong to different sets", dir,
                        split, dims[0], labels);
    out->count = labels;
    out->height = (int)dims[1];
    out->width = (int)dims[2];
    return TIM_OK;
}

TimStatus tim_idx_read(TimIdxData *out, const char *dir, const char *split, TimError *err) {
    *out = (TimIdxData){0};
    if (strcmp(split, "train") != 0 && strcmp(split, "t10k") != 0)
        return tim_fail(err, TIM_E_ARGUMENT, "the split '%s' is neither 'train' nor 't10k'", split);
    const TimStatus status = read_pair(out, dir, split, err);
    if (status != TIM_OK) tim_idx_done(out);
    return status;
}

void tim_idx_done(TimIdxData *data) {
    tim_free(data->images);
    tim_free(data->labels);
    *data = (TimIdxData){0};
}
