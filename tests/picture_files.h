/* What the tests of picture files share: a new folder of their own, files in it, and pictures to put there. */
#ifndef TIM_TESTS_PICTURE_FILES_H
#define TIM_TESTS_PICTURE_FILES_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/memory.h"
#include "tim/image.h"

static char folder[] = "/tmp/tim-files-XXXXXX";

static inline int make_folder(void **state) {
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

static inline int remove_folder(void **state) {
    (void)state;
    return rmdir(folder); /* fails when a test has left a file */
}

/* "<folder>/<name>", valid until the next call but one. */
static inline const char *path_of(const char *name) {
    static char paths[2][128];
    static int turn;
    turn = !turn;
    snprintf(paths[turn], sizeof paths[turn], "%s/%s", folder, name);
    return paths[turn];
}

static inline bool exists(const char *name) {
    struct stat info;
    return stat(path_of(name), &info) == 0;
}

typedef struct Bytes {
    uint8_t *data;
    size_t count;
} Bytes;

static inline Bytes read_whole(const char *name) {
    FILE *file = fopen(path_of(name), "rb");
    assert_non_null(file);
    Bytes bytes = {.data = tim_alloc(1 << 16, 1)};
    assert_non_null(bytes.data);
    bytes.count = fread(bytes.data, 1, 1 << 16, file);
    fclose(file);
    return bytes;
}

static inline void write_whole(const char *name, const uint8_t *data, size_t count) {
    FILE *file = fopen(path_of(name), "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, count, file), count);
    assert_int_equal(fclose(file), 0);
}

/* An image whose every byte differs from its neighbours'. */
static inline TimImage pattern(int height, int width, int channels) {
    TimImage image;
    assert_int_equal(tim_image_new(&image, height, width, channels, NULL), TIM_OK);
    for (int i = 0; i < height * width * channels; i++) image.pixels[i] = (uint8_t)(i * 37 + i / 7);
    return image;
}

static inline void same_image(const TimImage *a, const TimImage *b) {
    assert_int_equal(a->height, b->height);
    assert_int_equal(a->width, b->width);
    assert_int_equal(a->channels, b->channels);
    assert_memory_equal(a->pixels, b->pixels, (size_t)(a->height * a->width * a->channels));
}

#endif
