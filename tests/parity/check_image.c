/* image: the tensor "source", a picture (H, W, C), and what each filter makes of it, in tensors called <filter>/<width>x<height>;
 * or the bytes of files, file/<name>, and the pixels that are in them, pixels/<name>. Every byte must be the stored one. */
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "io/codec.h"
#include "parity/checks.h"
#include "tim/image.h"

static TimStatus find_filter(TimImageFilter *filter, const char *name, size_t length, TimError *err) {
    static const char *const names[] = {[TIM_IMAGE_BOX] = "box",
                                        [TIM_IMAGE_BILINEAR] = "bilinear",
                                        [TIM_IMAGE_BICUBIC] = "bicubic",
                                        [TIM_IMAGE_LANCZOS] = "lanczos"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strlen(names[i]) == length && strncmp(names[i], name, length) == 0) {
            *filter = (TimImageFilter)i;
            return TIM_OK;
        }
    return tim_fail(err, TIM_E_FORMAT, "%s: expected source, <filter>/<width>x<height>, file/<name> or pixels/<name>", name);
}

static TimStatus check_bytes(const TimStoredTensor *tensor, TimError *err) {
    if (tensor->dtype == TIM_U8 && tensor->rank == 3) return TIM_OK;
    return tim_fail(err, TIM_E_FORMAT, "%s: expected bytes of shape (height, width, channels)", tensor->name);
}

/* The picture as an image, and its mark as read. */
static TimStatus read_source(ParityFile *file, TimImage *image, TimError *err) {
    const TimStoredTensor *tensor;
    int64_t *values;
    TIM_TRY(parity_input_i64(file, "source", &values, &tensor, err));
    TIM_TRY(check_bytes(tensor, err));
    for (int i = 0; i < 3; i++)
        if (tensor->dims[i] > TIM_IMAGE_MAX_SIDE) return tim_fail(err, TIM_E_FORMAT, "source: a side of %zu", tensor->dims[i]);
    TIM_TRY(tim_image_new(image, (int)tensor->dims[0], (int)tensor->dims[1], (int)tensor->dims[2], err));
    memcpy(image->pixels, tensor->data, tensor->bytes);
    return TIM_OK;
}

static void compare(ParityFile *file, const TimStoredTensor *tensor, const TimImage *image) {
    const size_t dims[3] = {(size_t)image->height, (size_t)image->width, (size_t)image->channels};
    const uint8_t *expected = tensor->data;
    int largest = 0;
    if (memcmp(dims, tensor->dims, sizeof dims) != 0) {
        parity_fail(file, tensor->name, "its shape is (%zu, %zu, %zu), not (%zu, %zu, %zu)", tensor->dims[0], tensor->dims[1],
                    tensor->dims[2], dims[0], dims[1], dims[2]);
        return;
    }
    for (size_t i = 0; i < tensor->count; i++) {
        const int difference = image->pixels[i] > expected[i] ? image->pixels[i] - expected[i] : expected[i] - image->pixels[i];
        if (difference > largest) largest = difference;
    }
    parity_report(file, tensor->name, largest, 0.0);
}

static TimStatus check_size(ParityFile *file, const TimStoredTensor *tensor, const TimImage *source, TimError *err) {
    int width, height, used = 0;
    TimImageFilter filter = TIM_IMAGE_BOX;
    TimImage image;
    const size_t length = strcspn(tensor->name, "/");
    TIM_TRY(check_bytes(tensor, err));
    TIM_TRY(find_filter(&filter, tensor->name, length, err));
    if (sscanf(tensor->name + length, "/%5dx%5d%n", &width, &height, &used) != 2 || tensor->name[length + (size_t)used])
        return tim_fail(err, TIM_E_FORMAT, "%s: expected <filter>/<width>x<height>", tensor->name);
    TIM_TRY(tim_image_resize(&image, source, height, width, filter, err));
    compare(file, tensor, &image);
    tim_image_done(&image);
    return TIM_OK;
}

/* The tensor pixels/<name> of the tensor file/<name>. */
static TimStatus check_decoded(ParityFile *file, const TimStoredTensor *tensor, TimError *err) {
    char name[128];
    const TimStoredTensor *pixels;
    const TimFile content = {tensor->data, tensor->bytes};
    TimImage image;
    file->used[tensor - file->tensors.tensors] = true;
    snprintf(name, sizeof name, "pixels/%s", strchr(tensor->name, '/') + 1);
    TIM_TRY(parity_find(file, name, &pixels, err));
    TIM_TRY(check_bytes(pixels, err));
    TIM_TRY(tim_image_decode(&image, &content, tensor->name, err));
    compare(file, pixels, &image);
    tim_image_done(&image);
    return TIM_OK;
}

static bool begins(const char *name, const char *start) {
    return strncmp(name, start, strlen(start)) == 0;
}

static TimStatus check_tensor(ParityFile *file, const TimStoredTensor *tensor, const TimImage *source, TimError *err) {
    if (strcmp(tensor->name, "source") == 0 || begins(tensor->name, "pixels/")) return TIM_OK; /* used by the others */
    if (begins(tensor->name, "file/")) return check_decoded(file, tensor, err);
    return check_size(file, tensor, source, err);
}

static TimStatus check_tensors(ParityFile *file, const TimImage *source, TimError *err) {
    for (size_t i = 0; i < file->tensors.count; i++) TIM_TRY(check_tensor(file, &file->tensors.tensors[i], source, err));
    return TIM_OK;
}

TimStatus check_image(ParityFile *file, TimError *err) {
    TimImage source = {0};
    if (tim_safetensors_find(&file->tensors, "source")) TIM_TRY(read_source(file, &source, err));
    const TimStatus status = check_tensors(file, &source, err);
    tim_image_done(&source);
    return status;
}
