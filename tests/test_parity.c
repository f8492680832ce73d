/* The parity program's own promise: a golden value moved by 20 tolerances, a missing output, an unknown file, each make it fail. */
#define _GNU_SOURCE /* memmem */
#include <limits.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "io/safetensors.h"

static char parity[PATH_MAX], folder[] = "/tmp/tim-parity-XXXXXX";

/* The parity program lies beside this one. */
static int find_program(void **state) {
    (void)state;
    const ssize_t length = readlink("/proc/self/exe", parity, sizeof parity - 16);
    if (length <= 0) return -1;
    parity[length] = '\0';
    strcpy(strrchr(parity, '/'), "/parity");
    return access(parity, X_OK) || !mkdtemp(folder);
}

static int clean(void **state) {
    (void)state;
    char command[PATH_MAX + 16];
    snprintf(command, sizeof command, "rm -r %s", folder);
    return system(command);
}

static int run_parity(void) {
    char command[2 * PATH_MAX];
    snprintf(command, sizeof command, "'%s' '%s' > /dev/null 2>&1", parity, folder);
    const int status = system(command);
    return WEXITSTATUS(status);
}

static void path_of(char path[PATH_MAX], const char *name) {
    snprintf(path, PATH_MAX, "%s/%s", folder, name);
}

static void write_file(const char *name, const void *data, size_t size) {
    char path[PATH_MAX];
    path_of(path, name);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

/* Copies a golden file and moves element `index` of `tensor` by `factor` of the tensor's largest magnitude. */
static void copy_moved(const char *golden, const char *name, const char *tensor, size_t index, double factor) {
    TimSafetensors file;
    TimError err;
    assert_int_equal(tim_safetensors_open(&file, golden, &err), TIM_OK);
    uint8_t *bytes = malloc(file.file.size);
    assert_non_null(bytes);
    memcpy(bytes, file.file.data, file.file.size);
    const TimStoredTensor *t = tim_safetensors_find(&file, tensor);
    assert_non_null(t);
    uint8_t *values = bytes + ((const uint8_t *)t->data - file.file.data);
    float max = 0, value;
    for (size_t i = 0; i < t->count; i++) {
        memcpy(&value, values + 4 * i, sizeof value);
        max = fmaxf(max, fabsf(value));
    }
    memcpy(&value, values + 4 * index, sizeof value);
    value += (float)factor * max;
    memcpy(values + 4 * index, &value, sizeof value);
    write_file(name, bytes, file.file.size);
    free(bytes);
    tim_safetensors_close(&file);
}

static void make_folder(const char *name) {
    char path[PATH_MAX];
    path_of(path, name);
    mkdir(path, 0777);
}

static const char golden[] = "tests/golden/network/c2i_wide.safetensors", copy[] = "network/c2i_wide.safetensors";

static void test_parity_untouched_golden_passes(void **state) {
    (void)state;
    make_folder("network");
    copy_moved(golden, copy, "F", 0, 0);
    assert_int_equal(run_parity(), 0);
}

static void test_parity_moved_golden_fails(void **state) {
    (void)state;
    static const struct {
        const char *tensor;
        double tolerance;
    } outputs[] = {{"F", 2e-5}, {"h_proj", 2e-5}, {"dF", 1e-4}};
    make_folder("network");
    for (size_t i = 0; i < sizeof outputs / sizeof *outputs; i++) {
        copy_moved(golden, copy, outputs[i].tensor, 7, 20 * outputs[i].tolerance);
        assert_int_equal(run_parity(), 1);
    }
    copy_moved(golden, copy, "F", 0, 0);
}

static void test_parity_nan_golden_fails(void **state) {
    (void)state;
    make_folder("network");
    copy_moved(golden, copy, "dF", 3, NAN);
    assert_int_equal(run_parity(), 1);
    copy_moved(golden, copy, "F", 0, 0);
}

static void test_parity_unknown_file_fails(void **state) {
    (void)state;
    char path[PATH_MAX];
    copy_moved(golden, "surprise.safetensors", "F", 0, 0);
    assert_int_equal(run_parity(), 1);
    path_of(path, "surprise.safetensors");
    assert_int_equal(unlink(path), 0);
    assert_int_equal(run_parity(), 0);
}

/* Copies the golden pictures with one byte changed: byte `at` of the first place where `text` stands, counted from its start. */
static void copy_pictures(const char *text, size_t at) {
    TimSafetensors file;
    TimError err;
    assert_int_equal(tim_safetensors_open(&file, "tests/golden/image/resize.safetensors", &err), TIM_OK);
    uint8_t *bytes = malloc(file.file.size), *found;
    assert_non_null(bytes);
    memcpy(bytes, file.file.data, file.file.size);
    found = memmem(bytes, file.file.size, text, strlen(text));
    assert_non_null(found);
    if (at) found[at] ^= 1;
    write_file("image/resize.safetensors", bytes, file.file.size);
    free(bytes);
    tim_safetensors_close(&file);
}

static void test_parity_changed_pictures_fail(void **state) {
    (void)state;
    static const char header[] = "{\"__metadata__\"", name[] = "box/48x20", size[] = "\"bicubic/32x32";
    make_folder("image");
    copy_pictures(header, 0);
    assert_int_equal(run_parity(), 0);
    copy_pictures(header, 100000); /* a pixel */
    assert_int_equal(run_parity(), 1);
    copy_pictures(name, 1); /* an unknown filter */
    assert_int_equal(run_parity(), 1);
    copy_pictures(size, sizeof size - 2); /* another size */
    assert_int_equal(run_parity(), 1);
    copy_pictures(header, 0);
}

static void test_parity_moved_features_fail(void **state) {
    (void)state;
    static const char features[] = "tests/golden/eval/inception_v3.safetensors", name[] = "eval/inception_v3.safetensors";
    char path[PATH_MAX];
    make_folder("eval");
    copy_moved(features, name, "pool", 7, 0);
    assert_int_equal(run_parity(), 0);
    copy_moved(features, name, "pool", 7, 20 * 1e-4);
    assert_int_equal(run_parity(), 1);
    path_of(path, name);
    assert_int_equal(unlink(path), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parity_untouched_golden_passes), cmocka_unit_test(test_parity_moved_golden_fails),
        cmocka_unit_test(test_parity_nan_golden_fails),        cmocka_unit_test(test_parity_unknown_file_fails),
        cmocka_unit_test(test_parity_changed_pictures_fail),   cmocka_unit_test(test_parity_moved_features_fail),
    };
    return cmocka_run_group_tests(tests, find_program, clean);
}
