/* The parity program's own promise: a golden value moved by 20 tolerances, a missing output, an unknown file, each make it fail. */
#define _GNU_SOURCE /* memmem */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io/safetensors.h"
#include "program.h"

static int set_up(void **state) {
    (void)state;
    return !find_program("parity") || !mkdtemp(folder) || mkdir(in_folder("golden"), 0777) != 0;
}

/* Of a golden value; what the runs leave beside them would be one too many. */
static const char *in_golden(const char *name) {
    char path[PATH_BYTES / 2];
    snprintf(path, sizeof path, "golden/%s", name);
    return in_folder(path);
}

static int run_parity(void) {
    return run("golden");
}

static double read_value(const uint8_t *at, size_t size) {
    float single;
    double value;
    memcpy(size == sizeof value ? (void *)&value : (void *)&single, at, size);
    return size == sizeof value ? value : (double)single;
}

static void write_value(uint8_t *at, size_t size, double value) {
    const float single = (float)value;
    memcpy(at, size == sizeof value ? (const void *)&value : (const void *)&single, size);
}

/* A golden file in memory, and where the numbers of one of its tensors, fp32 or fp64, lie there; free the bytes. */
typedef struct Copy {
    uint8_t *bytes, *values;
    size_t size, count, width; /* of the file; of the tensor: elements, and bytes of one */
} Copy;

static Copy copy_of(const char *golden, const char *tensor) {
    TimSafetensors file;
    assert_ok(tim_safetensors_open(&file, golden, &err));
    Copy copy = {.bytes = malloc(file.file.size), .size = file.file.size};
    assert_non_null(copy.bytes);
    memcpy(copy.bytes, file.file.data, copy.size);
    const TimStoredTensor *t = tim_safetensors_find(&file, tensor);
    assert_non_null(t);
    copy.values = copy.bytes + ((const uint8_t *)t->data - file.file.data);
    copy.count = t->count, copy.width = t->bytes / t->count;
    assert_true(copy.width == sizeof(float) || copy.width == sizeof(double));
    tim_safetensors_close(&file);
    return copy;
}

/* Copies a golden file and moves element `index` of `tensor` by `factor` of the tensor's largest magnitude. */
static void copy_moved(const char *golden, const char *name, const char *tensor, size_t index, double factor) {
    const Copy copy = copy_of(golden, tensor);
    double max = 0;
    for (size_t i = 0; i < copy.count; i++) max = fmax(max, fabs(read_value(copy.values + copy.width * i, copy.width)));
    uint8_t *at = copy.values + copy.width * index;
    write_value(at, copy.width, read_value(at, copy.width) + factor * max);
    write_file(in_golden(name), copy.bytes, copy.size);
    free(copy.bytes);
}

/* Copies a golden file without `tensor`: it has another name there, of as many letters. */
static void copy_without(const char *golden, const char *name, const char *tensor) {
    char quoted[128];
    const Copy copy = copy_of(golden, tensor);
    snprintf(quoted, sizeof quoted, "\"%s\":", tensor);
    uint8_t *found = memmem(copy.bytes, copy.size, quoted, strlen(quoted));
    assert_non_null(found);
    found[1] = 'X';
    write_file(in_golden(name), copy.bytes, copy.size);
    free(copy.bytes);
}

static void make_folder(const char *name) {
    mkdir(in_golden(name), 0777);
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
    copy_moved(golden, "surprise.safetensors", "F", 0, 0);
    assert_int_equal(run_parity(), 1);
    assert_int_equal(unlink(in_golden("surprise.safetensors")), 0);
    assert_int_equal(run_parity(), 0);
}

/* Copies the golden pictures with one byte changed: byte `at` of the first place where `text` stands, counted from its start. */
static void copy_pictures(const char *text, size_t at) {
    TimSafetensors file;
    assert_ok(tim_safetensors_open(&file, "tests/golden/image/resize.safetensors", &err));
    uint8_t *bytes = malloc(file.file.size), *found;
    assert_non_null(bytes);
    memcpy(bytes, file.file.data, file.file.size);
    found = memmem(bytes, file.file.size, text, strlen(text));
    assert_non_null(found);
    if (at) found[at] ^= 1;
    write_file(in_golden("image/resize.safetensors"), bytes, file.file.size);
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
    make_folder("eval");
    copy_moved(features, name, "pool", 7, 0);
    assert_int_equal(run_parity(), 0);
    copy_moved(features, name, "pool", 7, 20 * 1e-4);
    assert_int_equal(run_parity(), 1);
    assert_int_equal(unlink(in_golden(name)), 0);
}

/* Of every kind of golden file that stands alone and is quick: as it is, moved by a hundredth, and without what it says. */
static void test_parity_every_kind_of_golden_counts(void **state) {
    (void)state;
    static const char *const kinds[][3] = {
        {"eval", "adm", "fid"},
        {"eval", "frechet", "distance"},
        {"network", "t2i_tall", "dF"},
        {"objective", "c2i_jvp", "denoising_loss"},
        {"objective", "c2i_dde_guided", "grad/blocks.0.adaLN_modulation.fc2.weight"},
        {"objective", "time_weights", "0.5/sqrt/tan"},
        {"", "rope", "yarn/cos"},
        {"sampler", "c2i", "cfg/2"},
        {"text", "t5", "last_hidden_state"},
        {"transport", "edm", "target_guided"},
        {"vae", "dc_ae_no_shortcut", "encoded"},
        {"vae", "sd_vae", "mean"},
    };
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        char name[64], from[96];
        make_folder(kinds[i][0]);
        snprintf(name, sizeof name, "%s%s%s.safetensors", kinds[i][0], *kinds[i][0] ? "/" : "", kinds[i][1]);
        snprintf(from, sizeof from, "tests/golden/%s", name);
        copy_moved(from, name, kinds[i][2], 0, 0);
        if (run_parity() != 0) fail_msg("%s fails as it is", name);
        copy_moved(from, name, kinds[i][2], 0, strncmp(kinds[i][2], "grad", 4) == 0 ? 5 : 0.01); /* a gradient counts as a whole */
        if (run_parity() != 1) fail_msg("%s passes with '%s' moved", name, kinds[i][2]);
        copy_without(from, name, kinds[i][2]);
        if (run_parity() != 1) fail_msg("%s passes without '%s'", name, kinds[i][2]);
        assert_int_equal(unlink(in_golden(name)), 0);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parity_untouched_golden_passes),
        cmocka_unit_test(test_parity_moved_golden_fails),
        cmocka_unit_test(test_parity_nan_golden_fails),
        cmocka_unit_test(test_parity_unknown_file_fails),
        cmocka_unit_test(test_parity_changed_pictures_fail),
        cmocka_unit_test(test_parity_moved_features_fail),
        cmocka_unit_test(test_parity_every_kind_of_golden_counts),
    };
    return cmocka_run_group_tests(tests, set_up, remove_all);
}
