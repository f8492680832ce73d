/* The pictures and labels of an npz, in the layout that ADM's evaluation reads (adm.c): arr_0 is unpacked a picture at a time. */
#include <string.h>

#include "base/memory.h"
#include "io/npz_read.h"
#include "io/picture_set.h"

typedef struct Npz {
    TimFile file;
    char *path;
    TimNpzMember pictures;
    TimNpyStream stream; /* ended, and so empty, when it failed */
    int64_t at;          /* the picture that the stream gives next */
    int64_t count;
    int height, width, channels;
    int64_t *labels; /* (count), or NULL */
} Npz;

static TimStatus fail_array(const TimNpyStream *stream, const char *wanted, TimError *err) {
    return tim_fail(err, TIM_E_FORMAT, "%s: %s has the type %s and %d axes; a set of pictures needs %s", stream->member->path,
                    stream->member->name, stream->descr, stream->rank, wanted);
}

static bool is_side(uint64_t side) {
    return side >= 1 && side <= TIM_IMAGE_MAX_SIDE;
}

/* The product of the sides cannot overflow; n times that is what is left of the member, or the header lies. */
static TimStatus take_shape(Npz *npz, TimError *err) {
    const TimNpyStream *stream = &npz->stream;
    const uint64_t *shape = stream->shape;
    if (strcmp(stream->descr, "|u1") != 0 || stream->rank != 4)
        return fail_array(stream, "|u1 (uint8), 4 axes: n, height, width, channels", err);
    uint64_t bytes = 0;
    const bool sides = is_side(shape[1]) && is_side(shape[2]) && (shape[3] == 1 || shape[3] == 3);
    if (!sides || shape[0] < 1 || __builtin_mul_overflow(shape[1] * shape[2] * shape[3], shape[0], &bytes))
        return tim_fail(
            err, TIM_E_FORMAT,
            "%s: arr_0.npy has the shape (%llu, %llu, %llu, %llu); it must hold n >= 1 pictures with sides of 1 ... %d and "
            "1 or 3 channels, the channels last",
            npz->path, (unsigned long long)shape[0], (unsigned long long)shape[1], (unsigned long long)shape[2],
            (unsigned long long)shape[3], TIM_IMAGE_MAX_SIDE);
    if (bytes != stream->left)
        return tim_fail(err, TIM_E_FORMAT, "%s: arr_0.npy holds %llu bytes, its shape asks for %llu; save it again", npz->path,
                        (unsigned long long)stream->left, (unsigned long long)bytes);
    npz->count = (int64_t)shape[0];
    npz->height = (int)shape[1];
    npz->width = (int)shape[2];
    npz->channels = (int)shape[3];
    return TIM_OK;
}

static TimStatus start_pictures(Npz *npz, TimError *err) {
    tim_npy_end(&npz->stream);
    TIM_TRY(tim_npy_start(&npz->stream, &npz->pictures, err));
    npz->at = 0;
    return TIM_OK;
}

/* ---- labels ---- */

/* The bytes of one label; 0: they are no whole numbers, little-endian, that fit into 64 bits with a sign. */
static size_t label_size(const char *descr) {
    static const char *const kinds[] = {"|u1", "|i1", "<u2", "<i2", "<u4", "<i4", "<i8"};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (strcmp(descr, kinds[i]) == 0) return (size_t)(descr[2] - '0');
    return 0;
}

/* Little-endian; with a sign: its highest bit stands for minus. */
static int64_t label_of(const uint8_t *bytes, size_t size, bool has_sign) {
    uint64_t value = has_sign && bytes[size - 1] & 0x80 ? UINT64_MAX : 0;
    for (size_t i = size; i-- > 0;) value = value << 8 | bytes[i];
    return (int64_t)value;
}

static TimStatus read_labels(Npz *npz, TimNpyStream *stream, size_t size, TimError *err) {
    const bool has_sign = stream->descr[1] == 'i';
    uint8_t bytes[8];
    TIM_TRY(tim_new(&npz->labels, (size_t)npz->count, sizeof *npz->labels, "the labels", err));
    for (int64_t i = 0; i < npz->count; i++) {
        TIM_TRY(tim_npy_read(stream, bytes, size, err));
        npz->labels[i] = label_of(bytes, size, has_sign);
    }
    return TIM_OK;
}

/* Memory stays in proportion to the file: the labels are as many as their member has bytes for. */
static TimStatus check_labels(const Npz *npz, const TimNpyStream *stream, size_t *size, TimError *err) {
    *size = label_size(stream->descr);
    if (*size == 0 || stream->rank != 1)
        return fail_array(stream, "labels in whole numbers such as <i8 (int64), 1 axis, or no arr_1", err);
    const uint64_t count = (uint64_t)npz->count;
    if (stream->shape[0] == count && stream->left / *size == count && stream->left % *size == 0) return TIM_OK;
    return tim_fail(err, TIM_E_FORMAT, "%s: arr_1.npy holds %llu labels in %llu bytes for %lld pictures; save it again", npz->path,
                    (unsigned long long)stream->shape[0], (unsigned long long)stream->left, (long long)npz->count);
}

static TimStatus load_labels(Npz *npz, TimError *err) {
    TimNpzMember member;
    TimNpyStream stream;
    size_t size;
    TIM_TRY(tim_npz_find(&member, &npz->file, npz->path, "arr_1", err));
    if (!member.packed) return TIM_OK;
    TIM_TRY(tim_npy_start(&stream, &member, err));
    TimStatus status = check_labels(npz, &stream, &size, err);
    if (status == TIM_OK) status = read_labels(npz, &stream, size, err);
    tim_npy_end(&stream);
    return status;
}

/* ---- the source ---- */

static TimStatus load(Npz *npz, const char *source, TimError *err) {
    TIM_TRY(tim_copy_text(&npz->path, source, err));
    TIM_TRY(tim_file_open(&npz->file, source, err));
    TIM_TRY(tim_npz_find(&npz->pictures, &npz->file, npz->path, "arr_0", err));
    if (!npz->pictures.packed)
        return tim_fail(err, TIM_E_FORMAT, "%s: has no member arr_0.npy; save the pictures as the first array of numpy's savez",
                        source);
    TIM_TRY(start_pictures(npz, err));
    TIM_TRY(take_shape(npz, err));
    return load_labels(npz, err);
}

static void close_npz(void *state) {
    Npz *npz = state;
    tim_npy_end(&npz->stream);
    tim_file_close(&npz->file);
    tim_free(npz->path);
    tim_free(npz->labels);
    tim_free(npz);
}

static TimStatus open_npz(void **state, int64_t *count, const char *source, TimError *err) {
    Npz *npz;
    TIM_TRY(tim_new(&npz, 1, sizeof *npz, "a set of pictures", err));
    const TimStatus status = load(npz, source, err);
    *state = npz;
    *count = npz->count;
    if (status != TIM_OK) close_npz(npz);
    return status;
}

static TimStatus read_picture(Npz *npz, TimImage *image, TimError *err) {
    const size_t bytes = (size_t)npz->height * (size_t)npz->width * (size_t)npz->channels;
    TIM_TRY(tim_image_new(image, npz->height, npz->width, npz->channels, err));
    return tim_npy_read(&npz->stream, image->pixels, bytes, err);
}

static TimStatus read_npz(void *state, int64_t index, TimImage *image, int64_t *label, TimError *err) {
    Npz *npz = state;
    if (index == 0 && npz->at != 0) TIM_TRY(start_pictures(npz, err));
    if (index != npz->at) return tim_fail(err, TIM_E_ARGUMENT, "%s: reading it failed before; rewind the set", npz->path);
    const TimStatus status = read_picture(npz, image, err);
    npz->at = status == TIM_OK ? index + 1 : -1;
    if (status != TIM_OK) tim_image_done(image);
    if (status == TIM_OK && npz->labels) *label = npz->labels[index];
    return status;
}

const TimPictureSource tim_picture_npz = {open_npz, read_npz, close_npz};
