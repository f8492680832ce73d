/* Pictures: npz and IDX files as sets that are read to their end and again, single pictures, and the text of a PNG as `tim sample
 * --like` reads it. */
#include <stdlib.h>
#include <string.h>

#include "fuzz/folder.h"
#include "fuzz/targets.h"
#include "sample.h"
#include "tim/pictures.h"
#include "torch_build.h"

enum { MOST = 64 }; /* pictures of a set */

static volatile unsigned touched; /* keeps the reads */

static void touch(const TimImage *image) {
    const size_t size = (size_t)image->height * (size_t)image->width * (size_t)image->channels;
    unsigned sum = 0;
    for (size_t i = 0; i < size; i++) sum += image->pixels[i];
    touched = sum;
}

static void read_some(TimPictureSet *set) {
    TimImage image;
    TimError err;
    int64_t label;
    for (int i = 0; i < MOST && i < tim_picture_set_count(set); i++) {
        if (!fuzz_taken(tim_picture_set_next(set, &image, &label, &err), &err)) return;
        touch(&image);
        tim_image_done(&image);
    }
}

static int read_set(const char *source) {
    TimPictureSet *set;
    TimError err;
    if (!fuzz_taken(tim_picture_set_open(&set, source, &err), &err)) return 0;
    if (tim_picture_set_count(set) < 1) abort();
    read_some(set);
    tim_picture_set_rewind(set);
    read_some(set);
    tim_picture_set_close(set);
    return 1;
}

int fuzz_npz(const uint8_t *data, size_t size) {
    char path[FUZZ_PATH];
    return read_set(fuzz_file(path, "set.npz", data, size));
}

/* The array alone, in a sound zip: a fuzzer would rarely get past its checksum. With labels for two pictures. */
int fuzz_npy(const uint8_t *data, size_t size) {
    static const char labels[] = "\x93NUMPY\1\0\x3B\0{'descr': '<i4', 'fortran_order': False, 'shape': (2,)}    \n\1\0\0\0\2\0\0\0";
    Zip zip = {0};
    zip_add(&zip, "arr_0.npy", data, size);
    if (size % 2) zip_add(&zip, "arr_1.npy", labels, sizeof labels - 1);
    Bytes file = zip_end(&zip);
    const int taken = fuzz_npz(file.data, file.size);
    free(file.data);
    return taken;
}

/* As the pictures beside two labels, then as the labels of two pictures. */
int fuzz_idx(const uint8_t *data, size_t size) {
    static const uint8_t two_labels[] = {0, 0, 8, 1, 0, 0, 0, 2, 3, 4};
    static const uint8_t two_pictures[] = {0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 2, 10, 20, 30, 40};
    char images[FUZZ_PATH], labels[FUZZ_PATH], source[FUZZ_PATH];
    fuzz_path(source, ":test");
    fuzz_file(images, "t10k-images-idx3-ubyte", data, size);
    fuzz_file(labels, "t10k-labels-idx1-ubyte", two_labels, sizeof two_labels);
    const int taken = read_set(source);
    fuzz_file(images, "t10k-images-idx3-ubyte", two_pictures, sizeof two_pictures);
    fuzz_file(labels, "t10k-labels-idx1-ubyte", data, size);
    return taken | read_set(source);
}

int fuzz_picture(const uint8_t *data, size_t size) {
    TimImage image;
    TimError err;
    char path[FUZZ_PATH];
    if (!fuzz_taken(tim_image_read(&image, fuzz_file(path, "picture", data, size), &err), &err)) return 0;
    touch(&image);
    tim_image_done(&image);
    return 1;
}

int fuzz_png_text(const uint8_t *data, size_t size) {
    SampleRequest request = {0};
    TimError err;
    char path[FUZZ_PATH], *text = malloc(SAMPLE_TEXT_BYTES);
    if (!text) abort();
    const int taken = fuzz_taken(sample_like(&request, fuzz_file(path, "like.png", data, size), text, &err), &err);
    if (request.prompt) touched = (unsigned)strlen(request.prompt);
    if (request.parts.model) touched = (unsigned)strlen(request.parts.model);
    if (request.init) touched = (unsigned)strlen(request.init);
    number_list_done(&request.steps);
    number_list_done(&request.classes);
    free(text);
    return taken;
}
