/* The npz layout that ADM's evaluation reads: arr_0, uint8 images (n, height, width, channels), and optionally arr_1, int64 labels.
 * Source: Dhariwal and Nichol, Diffusion Models Beat GANs on Image Synthesis (2021), evaluation suite. */
#include <stdio.h>

#include "base/memory.h"
#include "io/npz.h"
#include "tim/image.h"

struct TimAdmWriter {
    TimNpz npz;
    int64_t n, done;   /* images promised and written */
    size_t image_size; /* bytes of one */
};

static TimStatus check_set(const char *path, int64_t n, int height, int width, int channels, TimError *err) {
    const bool sides = height >= 1 && width >= 1 && height <= TIM_IMAGE_MAX_SIDE && width <= TIM_IMAGE_MAX_SIDE;
    if (n >= 1 && sides && (channels == 1 || channels == 3)) return TIM_OK;
    return tim_fail(err, TIM_E_ARGUMENT,
                    "%s: %lld images of height %d, width %d, %d channels; give n >= 1, sides 1 ... %d, 1 or 3 channels", path,
                    (long long)n, height, width, channels, TIM_IMAGE_MAX_SIDE);
}

static TimStatus begin_images(TimAdmWriter *writer, const char *path, int height, int width, int channels, TimError *err) {
    const uint64_t shape[4] = {(uint64_t)writer->n, (uint64_t)height, (uint64_t)width, (uint64_t)channels};
    TIM_TRY(tim_npz_open(&writer->npz, path, err));
    return tim_npz_begin(&writer->npz, "arr_0", "|u1", 1, shape, 4, err);
}

TimStatus tim_adm_writer_begin(TimAdmWriter **out, const char *path, int64_t n, int height, int width, int channels,
                               TimError *err) {
    *out = NULL;
    TimAdmWriter *writer;
    TIM_TRY(check_set(path, n, height, width, channels, err));
    TIM_TRY(tim_new(&writer, 1, sizeof *writer, "an ADM writer", err));
    writer->n = n;
    writer->image_size = (size_t)height * (size_t)width * (size_t)channels;
    const TimStatus status = begin_images(writer, path, height, width, channels, err);
    if (status == TIM_OK)
        *out = writer;
    else
        tim_adm_writer_discard(writer);
    return status;
}

TimStatus tim_adm_writer_append(TimAdmWriter *writer, const uint8_t *images, int64_t count, TimError *err) {
    if (count < 0 || count > writer->n - writer->done)
        return tim_fail(err, TIM_E_ARGUMENT, "%s: %lld more images after %lld; the file was begun for %lld",
                        writer->npz.writer.path, (long long)count, (long long)writer->done, (long long)writer->n);
    /* Cannot overflow: tim_npz_begin checked the product for all n. */
    TIM_TRY(tim_npz_write(&writer->npz, images, (size_t)count * writer->image_size, err));
    writer->done += count;
    return TIM_OK;
}

/* Byte by byte, so that the file is little-endian whatever the machine. */
static TimStatus write_label(TimNpz *npz, int64_t label, TimError *err) {
    uint8_t bytes[8];
    for (int i = 0; i < 8; i++) bytes[i] = (uint8_t)((uint64_t)label >> (8 * i));
    return tim_npz_write(npz, bytes, sizeof bytes, err);
}

static TimStatus write_labels(TimAdmWriter *writer, const int64_t *labels, TimError *err) {
    const uint64_t shape[1] = {(uint64_t)writer->n};
    TIM_TRY(tim_npz_begin(&writer->npz, "arr_1", "<i8", 8, shape, 1, err));
    for (int64_t i = 0; i < writer->n; i++) TIM_TRY(write_label(&writer->npz, labels[i], err));
    return tim_npz_end(&writer->npz, err);
}

static TimStatus complete(TimAdmWriter *writer, const int64_t *labels, TimError *err) {
    if (writer->done != writer->n)
        return tim_fail(err, TIM_E_ARGUMENT, "%s: finished after %lld images, begun for %lld; append the rest",
                        writer->npz.writer.path, (long long)writer->done, (long long)writer->n);
    TIM_TRY(tim_npz_end(&writer->npz, err));
    if (labels) TIM_TRY(write_labels(writer, labels, err));
    return tim_npz_close(&writer->npz, err);
}

TimStatus tim_adm_writer_finish(TimAdmWriter *writer, const int64_t *labels, TimError *err) {
    const TimStatus status = complete(writer, labels, err);
    tim_adm_writer_discard(writer);
    return status;
}

void tim_adm_writer_discard(TimAdmWriter *writer) {
    if (!writer) return;
    tim_npz_discard(&writer->npz);
    tim_free(writer);
}

static TimStatus append_and_finish(TimAdmWriter *writer, const uint8_t *images, int64_t n, const int64_t *labels, TimError *err) {
    const TimStatus status = tim_adm_writer_append(writer, images, n, err);
    if (status == TIM_OK) return tim_adm_writer_finish(writer, labels, err);
    tim_adm_writer_discard(writer);
    return status;
}

TimStatus tim_npz_write_adm(const char *path, const uint8_t *images, int64_t n, int height, int width, int channels,
                            const int64_t *labels, TimError *err) {
    TimAdmWriter *writer;
    TIM_TRY(tim_adm_writer_begin(&writer, path, n, height, width, channels, err));
    return append_and_finish(writer, images, n, labels, err);
}
