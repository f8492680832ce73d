/* What tensor sets, files of torch.save and pickles promise, on good and on hostile files.
 * Runs from the root of the sources; writes into a temporary directory only. */
#include <dirent.h>
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

#include "fixture.h"
#include "fuzz/replay.h"
#include "io/pickle.h"
#include "io/tensor_set.h"
#include "io/torch_file.h"
#include "tim/file.h"
#include "torch_build.h"

/* ---- fixtures ---- */

static int make_folder(void **state) {
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

static void empty_folder(void) {
    DIR *dir = opendir(folder);
    assert_non_null(dir);
    for (const struct dirent *entry; (entry = readdir(dir));) unlinkat(dirfd(dir), entry->d_name, 0);
    closedir(dir);
}

static int remove_folder(void **state) {
    (void)state;
    empty_folder();
    return rmdir(folder);
}

static void assert_refused(const char *path, TimStatus status, const char *part) {
    TimTensorSet set;
    const TimStatus found = tim_tensor_set_open(&set, path, &err);
    if (found != status) print_error("%s instead of %s\n", tim_status_name(found), tim_status_name(status));
    assert_int_equal(found, status);
    assert_says(part);
    assert_int_equal(set.count, 0);
    tim_tensor_set_close(&set);
}

/* A safetensors file with one byte for each letter of `names`. */
static void write_letters(const char *name, const char *letters) {
    char header[512] = "{";
    Bytes file = {0};
    for (size_t i = 0; letters[i]; i++)
        snprintf(header + strlen(header), sizeof header - strlen(header),
                 "%s\"%c\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[%zu,%zu]}", i ? "," : "", letters[i], i, i + 1);
    strcat(header, "}");
    bytes_number(&file, strlen(header), 8);
    bytes_add(&file, header, strlen(header));
    bytes_add(&file, letters, strlen(letters));
    write_file(in_folder(name), file.data, file.size);
    free(file.data);
}

static void write_text(const char *name, const char *text) {
    write_file(in_folder(name), text, strlen(text));
}

/* Writes the file, whose bytes are freed; its path. */
static const char *write_made(Bytes file) {
    const char *path = in_folder("made.bin");
    write_file(path, file.data, file.size);
    free(file.data);
    return path;
}

/* The same for the file of torch.save with this pickle, which is freed too. */
static const char *write_torch(Bytes *pickle) {
    const char *path = write_made(torch_file(pickle->data, pickle->size));
    free(pickle->data);
    *pickle = (Bytes){0};
    return path;
}

/* {"x": ... , a pickle that begins so. */
static Bytes begin_dict(void) {
    Bytes b = {0};
    pickle_op(&b, "\x80\x02}");
    pickle_text(&b, "x");
    return b;
}

static void assert_pickle_refused(Bytes *pickle, TimStatus status, const char *part) {
    const char *path = write_torch(pickle);
    assert_refused(path, status, part);
    assert_says("made.bin");
}

/* ---- kinds and folders ---- */

static void test_set_kind_told_by_content(void **state) {
    (void)state;
    TimTensorSet set;
    write_letters("strange.bin", "ab");
    assert_ok(tim_tensor_set_open(&set, in_folder("strange.bin"), &err));
    assert_int_equal(set.count, 2);
    assert_int_equal(*(const char *)tim_tensor_set_find(&set, "b")->data, 'b');
    assert_null(tim_tensor_set_find(&set, "c"));
    tim_tensor_set_close(&set);
    Bytes pickle = begin_dict();
    pickle_tensor(&pickle, "Byte", "1", 4, 1, 1, (const int64_t[]){2}, (const int64_t[]){1});
    pickle_op(&pickle, "s.");
    Bytes file = torch_file(pickle.data, pickle.size);
    write_file(in_folder("strange.safetensors"), file.data, file.size);
    free(pickle.data);
    free(file.data);
    assert_ok(tim_tensor_set_open(&set, in_folder("strange.safetensors"), &err));
    assert_memory_equal(tim_tensor_set_find(&set, "x")->data, "\1\2", 2);
    tim_tensor_set_close(&set);
}

static void test_set_unknown_content_says_what_to_give(void **state) {
    (void)state;
    write_text("empty", "");
    assert_refused(in_folder("empty"), TIM_E_FORMAT, "the file is empty");
    write_text("odd", "hello");
    assert_refused(in_folder("odd"), TIM_E_FORMAT, "byte 0x68");
    write_text("pointer.safetensors", "version https://git-lfs.github.com/spec/v1\n");
    assert_refused(in_folder("pointer.safetensors"), TIM_E_FORMAT, "git lfs pull");
    write_text("cut.safetensors", "\x10\0\0");
    assert_refused(in_folder("cut.safetensors"), TIM_E_FORMAT, "too few");
    assert_refused(in_folder("nowhere"), TIM_E_IO, "nowhere");
    write_text("list.json", "{\"a\": 1}");
    assert_refused(in_folder("list.json"), TIM_E_FORMAT, "no 'weight_map'");
}

static void test_set_old_torch_formats_say_how_to_save_again(void **state) {
    (void)state;
    uint8_t tar[512] = {0};
    memcpy(tar + 257, "ustar", 5);
    write_file(in_folder("old.pth"), tar, sizeof tar);
    assert_refused(in_folder("old.pth"), TIM_E_UNSUPPORTED, "torch.save(torch.load(");
    write_file(in_folder("old.pt"), "\x80\x02}.", 4);
    assert_refused(in_folder("old.pt"), TIM_E_UNSUPPORTED, "old.pt: a pickle or tar");
}

/* ---- before torch 1.6 ---- */

#define MAGIC "\x80\x02\x8a\nl\xfc\x9c\x46\xf9 j\xa8P\x19."
#define VERSION "\x80\x02M\xe9\x03."
#define MACHINE "\x80\x02}X\x0d\0\0\0little_endian\x88s."

/* {'a': a tensor of `elements` floats}, whose storage is called 'k'. */
static void add_object(Bytes *b, int64_t elements) {
    pickle_op(b, "\x80\x02}");
    pickle_text(b, "a");
    pickle_op(b, "ctorch._utils\n_rebuild_tensor_v2\n((");
    pickle_text(b, "storage");
    pickle_op(b, "ctorch\nFloatStorage\n");
    pickle_text(b, elements < 0 ? "a key of more than fifty-six bytes, which torch would not write" : "k");
    pickle_text(b, "cpu");
    pickle_integer(b, elements);
    pickle_op(b, "NtQ");
    pickle_integer(b, 0);
    pickle_integer(b, elements);
    pickle_op(b, "\x85");
    pickle_integer(b, 1);
    pickle_op(b, "\x85\x89}tRs.");
}

static void add_keys(Bytes *b, int count, const char *key) {
    pickle_op(b, "\x80\x02](");
    for (int i = 0; i < count; i++) pickle_text(b, key);
    pickle_op(b, "e.");
}

/* A whole file, then what makes it one that is not. */
static Bytes legacy_file(int64_t elements, int keys, const char *key, uint64_t said, size_t bytes) {
    static const float values[] = {1, 2, 3, 4};
    Bytes b = {0};
    bytes_add(&b, MAGIC VERSION MACHINE, sizeof MAGIC - 1 + sizeof VERSION - 1 + sizeof MACHINE - 1);
    add_object(&b, elements);
    add_keys(&b, keys, key);
    bytes_number(&b, said, 8);
    bytes_add(&b, values, bytes);
    return b;
}

static void write_legacy(const char *name, Bytes b) {
    write_file(in_folder(name), b.data, b.size);
    free(b.data);
}

static void test_legacy_torch_file_read_and_its_damages_named(void **state) {
    (void)state;
    TimTensorSet set;
    write_legacy("l.pth", legacy_file(3, 1, "k", 3, 12));
    assert_ok(tim_tensor_set_open(&set, in_folder("l.pth"), &err));
    const TimStoredTensor *a = tim_tensor_set_find(&set, "a");
    float value;
    assert_int_equal(a->count, 3);
    memcpy(&value, (const char *)a->data + 8, sizeof value);
    assert_true(value == 3);
    tim_tensor_set_close(&set);
    write_legacy("l.pth", legacy_file(3, 1, "k", 2, 12));
    assert_refused(in_folder("l.pth"), TIM_E_FORMAT, "a storage has another size than the tensors say");
    write_legacy("l.pth", legacy_file(3, 1, "k", 3, 11));
    assert_refused(in_folder("l.pth"), TIM_E_FORMAT, "it ends before its storages do");
    write_legacy("l.pth", legacy_file(3, 1, "x", 3, 12));
    assert_refused(in_folder("l.pth"), TIM_E_FORMAT, "a storage belongs to no tensor");
    write_legacy("l.pth", legacy_file(3, 0, "k", 3, 12));
    assert_refused(in_folder("l.pth"), TIM_E_FORMAT, "its storage is not in the file");
    write_legacy("l.pth", legacy_file(-1, 1, "k", 3, 12));
    assert_refused(in_folder("l.pth"), TIM_E_FORMAT, "a storage is not described as torch does");
    write_legacy("l.pth", legacy_file(0, 2, "k", 0, 0));
    assert_refused(in_folder("l.pth"), TIM_E_FORMAT, "a storage is there twice");
    write_file(in_folder("l.pth"), MAGIC "\x80\x02M\xea\x03.", sizeof MAGIC - 1 + 6);
    assert_refused(in_folder("l.pth"), TIM_E_UNSUPPORTED, "of another version than 1001");
    write_file(in_folder("l.pth"), MAGIC VERSION "\x80\x02}.", sizeof MAGIC - 1 + sizeof VERSION - 1 + 4);
    assert_refused(in_folder("l.pth"), TIM_E_UNSUPPORTED, "not in little-endian order");
    write_file(in_folder("l.pth"), MAGIC, sizeof MAGIC - 1);
    assert_refused(in_folder("l.pth"), TIM_E_UNSUPPORTED, "of another version");
}

static void test_set_folder_order_of_names(void **state) {
    (void)state;
    static const char *const names[] = {"pytorch_model.bin", "diffusion_pytorch_model.safetensors", "model.safetensors"};
    TimTensorSet set;
    empty_folder();
    assert_refused(folder, TIM_E_IO, "none of model.safetensors");
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        write_letters(names[i], "abc");
        assert_ok(tim_tensor_set_open(&set, folder, &err));
        assert_string_equal(set.path, in_folder(names[i]));
        tim_tensor_set_close(&set);
    }
    TimTensorFile *file;
    assert_ok(tim_tensor_file_open(&file, folder, &err));
    assert_string_equal(tim_tensor_file_path(file), in_folder("model.safetensors"));
    tim_tensor_file_close(file);
    empty_folder();
}

/* The official text-to-image weights are a .bin under a name of their own. */
static void test_set_folder_only_file_taken_and_several_listed(void **state) {
    (void)state;
    TimTensorSet set;
    empty_folder();
    write_text("config.yaml", "model: {}");
    write_text(".hidden.bin", "nobody's");
    write_letters("tim_xl_p1_t2i.bin", "ab");
    assert_ok(tim_tensor_set_open(&set, folder, &err));
    assert_string_equal(set.path, in_folder("tim_xl_p1_t2i.bin"));
    tim_tensor_set_close(&set);
    write_letters("z.safetensors", "ab");
    write_letters("another.pth", "ab");
    assert_refused(folder, TIM_E_ARGUMENT, "3 files there may be the weights: another.pth, tim_xl_p1_t2i.bin, z.safetensors; give");
    write_text("z.safetensors.index.json", "{\"weight_map\": {\"a\": \"z.safetensors\", \"b\": \"z.safetensors\"}}");
    assert_ok(tim_tensor_set_open(&set, folder, &err)); /* an index names the others */
    assert_string_equal(set.path, in_folder("z.safetensors.index.json"));
    tim_tensor_set_close(&set);
    write_letters("model.safetensors", "abc");
    assert_ok(tim_tensor_set_open(&set, folder, &err));
    assert_int_equal(set.count, 3);
    tim_tensor_set_close(&set);
    empty_folder();
    write_text("notes.txt", "none");
    assert_refused(folder, TIM_E_IO, "nor another file in .safetensors, .bin, .pt or .pth");
    empty_folder();
}

/* ---- the index ---- */

static const char index_name[] = "model.safetensors.index.json";

static void test_index_joins_its_files(void **state) {
    (void)state;
    TimTensorSet set;
    write_letters("m-2.safetensors", "cd");
    write_letters("m-1.safetensors", "ab");
    write_text(index_name, "{\"metadata\":{\"total_size\":4,\"by\":\"me\",\"more\":[]},\"weight_map\":{\"d\":\"m-2.safetensors\","
                           "\"a\":\"m-1.safetensors\",\"b\":\"m-1.safetensors\",\"c\":\"m-2.safetensors\"}}");
    assert_ok(tim_tensor_set_open(&set, folder, &err));
    assert_int_equal(set.count, 4);
    for (int i = 0; i < 4; i++) {
        const char name[2] = {(char)('a' + i), '\0'};
        assert_string_equal(set.tensors[i].name, name);
        assert_int_equal(*(const char *)tim_tensor_set_find(&set, name)->data, 'a' + i);
    }
    assert_int_equal(set.text_count, 2);
    assert_string_equal(set.texts[0].value, "4");
    assert_string_equal(set.texts[1].value, "me");
    tim_tensor_set_close(&set);
}

static void assert_index_refused(const char *text, const char *part) {
    write_text(index_name, text);
    assert_refused(in_folder(index_name), TIM_E_FORMAT, part);
    assert_says(index_name);
}

static void test_index_and_files_must_agree(void **state) {
    (void)state;
    write_letters("m-1.safetensors", "ab");
    write_letters("m-2.safetensors", "cd");
    assert_index_refused("{\"weight_map\":{\"a\":\"m-1.safetensors\"}}", "'b' of m-1.safetensors is not in weight_map");
    assert_index_refused("{\"weight_map\":{\"a\":\"m-1.safetensors\",\"b\":\"m-1.safetensors\",\"e\":\"m-1.safetensors\"}}",
                         "'e' is not in m-1.safetensors");
    assert_index_refused("{\"weight_map\":{\"a\":\"m-1.safetensors\",\"b\":\"m-2.safetensors\",\"c\":\"m-2.safetensors\","
                         "\"d\":\"m-2.safetensors\"}}",
                         "'b' lies in m-1.safetensors, and weight_map says m-2.safetensors");
    write_letters("m-2.safetensors", "bc");
    assert_index_refused("{\"weight_map\":{\"a\":\"m-1.safetensors\",\"b\":\"m-1.safetensors\",\"c\":\"m-2.safetensors\"}}",
                         "'b' is there twice");
}

/* A converter to safetensors drops what shares memory, leaves the index as it was, and notes in the file which tensor it kept. */
static void test_index_may_name_what_its_file_says_it_kept_once(void **state) {
    (void)state;
    static const char both[] = "{\"weight_map\":{\"a\":\"m-1.safetensors\",\"b\":\"m-1.safetensors\"}}";
    static const char *const notes[] = {"\"b\":\"a\"", "\"b\":\"c\"", "\"a\":\"b\""};
    for (int i = 0; i < 3; i++) {
        char header[200];
        Bytes file = {0};
        TimTensorSet set;
        snprintf(header, sizeof header, "{\"__metadata__\":{%s},\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}",
                 notes[i]);
        bytes_number(&file, strlen(header), 8);
        bytes_add(&file, header, strlen(header));
        bytes_add(&file, "x", 1);
        write_file(in_folder("m-1.safetensors"), file.data, file.size);
        free(file.data);
        if (i > 0) {
            assert_index_refused(both, "'b' is not in m-1.safetensors");
            continue;
        }
        write_text(index_name, both);
        assert_ok(tim_tensor_set_open(&set, folder, &err));
        assert_int_equal(set.count, 1);
        tim_tensor_set_close(&set);
    }
}

static void test_index_beyond_its_cap_refused(void **state) {
    (void)state;
    const char *path = in_folder("large.safetensors.index.json");
    write_text("large.safetensors.index.json", "{\"weight_map\":{}}");
    assert_int_equal(truncate(path, (64 << 20) + 1), 0);
    assert_refused(path, TIM_E_FORMAT, "an index of 67108865 bytes; at most 67108864 are read");
}

static void test_index_names_stay_in_folder(void **state) {
    (void)state;
    static const char *const names[] = {"../m-1.safetensors", "/etc/passwd", "..", ".", "", "a/b"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char text[128];
        snprintf(text, sizeof text, "{\"weight_map\":{\"a\":\"%s\"}}", names[i]);
        assert_index_refused(text, "the tensor 'a'");
    }
    assert_index_refused("{\"weight_map\":{\"a\":3}}", "no text");
    assert_index_refused("{\"weight_map\":{\"a\":\"model.safetensors.index.json\"}}", "an index inside of an index");
    assert_index_refused("{\"weight_map\":{\"a\":\"m\",\"a\":\"m\"}}", "not a valid index");
    assert_index_refused("{\"weight_map\":{\"a\"", "not a valid index");
    write_text(index_name, "{\"weight_map\":{\"a\":\"missing.bin\"}}");
    assert_refused(in_folder(index_name), TIM_E_IO, "missing.bin");
}

/* ---- torch ---- */

static void test_torch_views_point_into_the_map(void **state) {
    (void)state;
    Bytes pickle = begin_dict();
    pickle_tensor(&pickle, "Float", "0", 24, 3, 2, (const int64_t[]){2, 3}, (const int64_t[]){3, 1});
    pickle_op(&pickle, "s");
    pickle_text(&pickle, "t");
    pickle_tensor(&pickle, "Float", "0", 24, 0, 3, (const int64_t[]){3, 1, 4}, (const int64_t[]){1, 7, 6});
    pickle_op(&pickle, "s.");
    Bytes bytes = torch_file(pickle.data, pickle.size);
    const TimFile file = {bytes.data, bytes.size};
    TimTorchFile zip;
    assert_ok(tim_torch_file_read(&zip, &file, false, &err));
    assert_int_equal(zip.count, 2);
    const uint8_t *data = zip.tensors[0].data;
    assert_true(data > bytes.data && data < bytes.data + bytes.size);
    const uint8_t *copied = zip.tensors[1].data;
    assert_true(copied < bytes.data || copied >= bytes.data + bytes.size);
    for (int i = 0; i < 6; i++) {
        float value;
        memcpy(&value, data + 4 * i, sizeof value);
        assert_true(value == (float)(3 + i));
    }
    for (int i = 0; i < 12; i++) {
        float value;
        memcpy(&value, copied + 4 * i, sizeof value);
        assert_true(value == (float)(i / 4 + i % 4 * 6));
    }
    tim_torch_file_done(&zip);
    free(pickle.data);
    free(bytes.data);
}

static void assert_tensor_refused(const char *storage, const char *key, int64_t elements, int64_t offset, int rank,
                                  const int64_t *sizes, const int64_t *strides, TimStatus status, const char *part) {
    Bytes pickle = begin_dict();
    pickle_tensor(&pickle, storage, key, elements, offset, rank, sizes, strides);
    pickle_op(&pickle, "s.");
    assert_pickle_refused(&pickle, status, part);
    assert_says("tensor 'x'");
}

/* A tensor of torch may be minus, or the conjugate of, what is stored, and says so in its seventh argument. */
static void test_torch_tensor_of_the_other_sign_refused(void **state) {
    (void)state;
    static const char *const keys[] = {"neg", "conj", "of"};
    for (int i = 0; i < 3; i++) {
        Bytes pickle = begin_dict();
        pickle_tensor(&pickle, "Byte", "1", 4, 0, 1, (const int64_t[]){4}, (const int64_t[]){1});
        pickle.size -= 2; /* its tuple's end and the call */
        pickle_op(&pickle, "}");
        pickle_text(&pickle, keys[i]);
        pickle_op(&pickle, "\x88s" /* True */ "tRs.");
        if (i < 2) {
            assert_pickle_refused(&pickle, TIM_E_UNSUPPORTED, keys[i]);
            assert_says(".resolve_");
        } else {
            Bytes bytes = torch_file(pickle.data, pickle.size);
            const TimFile file = {bytes.data, bytes.size};
            TimTorchFile zip;
            assert_ok(tim_torch_file_read(&zip, &file, false, &err));
            tim_torch_file_done(&zip);
            free(pickle.data);
            free(bytes.data);
        }
    }
}

static void test_torch_tensor_outside_its_storage_refused(void **state) {
    (void)state;
    static const int64_t one[] = {1}, four[] = {4}, five[] = {5}, minus[] = {-1}, large[] = {INT64_MAX},
                         nine[] = {1, 1, 1, 1, 1, 1, 1, 1, 1};
    static const int64_t square[] = {(int64_t)1 << 33, (int64_t)1 << 33}, zeros[] = {0, 0}, wide[] = {2, 2},
                         steep[] = {INT64_MAX, 1};
    assert_tensor_refused("Byte", "1", 4, 0, 1, five, one, TIM_E_FORMAT, "beyond its storage of 4");
    assert_tensor_refused("Byte", "1", 4, 1, 1, four, one, TIM_E_FORMAT, "beyond its storage");
    assert_tensor_refused("Byte", "1", 4, INT64_MAX, 1, one, one, TIM_E_FORMAT, "beyond its storage");
    assert_tensor_refused("Byte", "1", 4, -1, 1, one, one, TIM_E_FORMAT, "its offset");
    assert_tensor_refused("Byte", "1", 4, 0, 1, minus, one, TIM_E_FORMAT, "size or stride 0");
    assert_tensor_refused("Byte", "1", 4, 0, 1, four, minus, TIM_E_FORMAT, "size or stride 0");
    assert_tensor_refused("Byte", "1", 4, 0, 1, four, large, TIM_E_FORMAT, "beyond its storage");
    assert_tensor_refused("Byte", "1", 4, 0, 2, wide, steep, TIM_E_FORMAT, "beyond its storage");
    assert_tensor_refused("Byte", "1", 4, 0, 2, square, zeros, TIM_E_FORMAT, "overflows at dimension 1");
    assert_tensor_refused("Float", "0", 24, 0, 1, large, one, TIM_E_FORMAT, "overflow");
    assert_tensor_refused("Byte", "1", 4, 0, 1, five, zeros, TIM_E_UNSUPPORTED, ".contiguous()");
    assert_tensor_refused("Byte", "1", 4, 0, 9, nine, nine, TIM_E_UNSUPPORTED, "9 dimensions");
}

static void test_torch_lying_storage_refused(void **state) {
    (void)state;
    static const int64_t one[] = {1};
    assert_tensor_refused("Byte", "1", 5, 0, 1, one, one, TIM_E_FORMAT, "of 5 elements of U8 has 4 bytes");
    assert_tensor_refused("Byte", "1", 3, 0, 1, one, one, TIM_E_FORMAT, "3 elements");
    assert_tensor_refused("Double", "0", (int64_t)1 << 62, 0, 1, one, one, TIM_E_FORMAT, "elements of F64");
    assert_tensor_refused("Byte", "7", 4, 0, 1, one, one, TIM_E_FORMAT, "storage is not in the file");
    assert_tensor_refused("Byte", "../byteorder", 4, 0, 1, one, one, TIM_E_FORMAT, "storage is not in the file");
    char key[100];
    memset(key, '1', sizeof key);
    key[sizeof key - 1] = '\0';
    assert_tensor_refused("Byte", key, 4, 0, 1, one, one, TIM_E_FORMAT, "its storage is not described as torch does");
}

static void test_torch_empty_and_scalar_tensors(void **state) {
    (void)state;
    static const int64_t none[] = {3, 0}, any[] = {99, 1};
    Bytes pickle = begin_dict();
    pickle_tensor(&pickle, "Float", "0", 24, 5, 0, none, any);
    pickle_op(&pickle, "s");
    pickle_text(&pickle, "none");
    pickle_tensor(&pickle, "Float", "0", 24, 1000, 2, none, any);
    pickle_op(&pickle, "s.");
    TimTensorSet set;
    assert_ok(tim_tensor_set_open(&set, write_torch(&pickle), &err));
    assert_int_equal(tim_tensor_set_find(&set, "x")->rank, 0);
    float value;
    assert_ok(tim_safetensors_read_f32(tim_tensor_set_find(&set, "x"), &value, 1, &err));
    assert_true(value == 5.0F);
    assert_int_equal(tim_tensor_set_find(&set, "none")->bytes, 0);
    tim_tensor_set_close(&set);
}

static void test_torch_names_of_dicts_joined_and_texts_kept(void **state) {
    (void)state;
    TimTensorSet set;
    assert_ok(tim_tensor_set_open(&set, "tests/golden/torch/nested.pth", &err));
    assert_int_equal(set.count, 7);
    assert_non_null(tim_tensor_set_find(&set, "state_dict.nested.bf16"));
    assert_int_equal(set.text_count, 2);
    assert_string_equal(set.texts[0].key, "epoch");
    assert_string_equal(set.texts[0].value, "3");
    tim_tensor_set_close(&set);
    size_t size = 0;
    uint8_t *data = read_whole("tests/fuzz/corpus/pickle/protocol4", &size);
    assert_non_null(data);
    Bytes pickle = {data, size, size};
    assert_ok(tim_tensor_set_open(&set, write_torch(&pickle), &err));
    static const char *const names[] = {"state_dict.w", "state_dict.t", "state_dict.part", "state_dict.u",
                                        "state_dict.p", "list.0",       "list.1.0"};
    assert_int_equal(set.count, sizeof names / sizeof *names);
    for (size_t i = 0; i < set.count; i++) assert_string_equal(set.tensors[i].name, names[i]);
    assert_int_equal(set.text_count, 7);
    assert_string_equal(set.texts[4].key, "args.a");
    assert_string_equal(set.texts[6].key, "7.big");
    assert_string_equal(set.texts[6].value, "1099511627776");
    tim_tensor_set_close(&set);
}

/* {key: {name: bytes 0 ... 3 from `offset` on}}, set into the dict that the pickle is at. */
static void add_wrapped(Bytes *pickle, const char *key, const char *name, int64_t offset) {
    static const int64_t one[] = {1};
    pickle_text(pickle, key);
    pickle_op(pickle, "}");
    pickle_text(pickle, name);
    pickle_tensor(pickle, "Byte", "1", 4, offset, 1, one, one);
    pickle_op(pickle, "ss");
}

static void assert_weights(const char *path, const char *wrapper, const char *name, char value) {
    TimTensorSet set;
    assert_ok(tim_tensor_set_open_weights(&set, path, &err));
    assert_string_equal(tim_tensor_set_wrapper(&set), wrapper);
    assert_int_equal(set.count, 1);
    assert_string_equal(set.tensors[0].name, name);
    assert_int_equal(*(const char *)set.tensors[0].data, value);
    tim_tensor_set_close(&set);
}

static void test_weights_of_wrapped_checkpoints(void **state) {
    (void)state;
    TimTensorSet set;
    assert_ok(
        tim_tensor_set_open_weights(&set, "tests/golden/torch/nested.pth", &err)); /* by torch: {'state_dict': ..., 'epoch': 3} */
    assert_string_equal(tim_tensor_set_wrapper(&set), "state_dict");
    assert_non_null(tim_tensor_set_find(&set, "nested.bf16"));
    tim_tensor_set_close(&set);
    Bytes pickle = {0};
    pickle_op(&pickle, "\x80\x02}");
    add_wrapped(&pickle, "state_dict", "a", 1);
    add_wrapped(&pickle, "model", "b", 2);
    add_wrapped(&pickle, "optimizer", "c", 0);
    Bytes averaged = {0};
    bytes_add(&averaged, pickle.data, pickle.size);
    pickle_op(&pickle, ".");
    const char *path = write_torch(&pickle);
    assert_weights(path, "model", "b", 2);
    assert_ok(tim_tensor_set_open(&set, path, &err)); /* as it is */
    assert_int_equal(set.count, 3);
    assert_non_null(tim_tensor_set_find(&set, "model.b"));
    tim_tensor_set_close(&set);
    add_wrapped(&averaged, "ema", "d", 3);
    pickle_op(&averaged, ".");
    assert_weights(write_torch(&averaged), "ema", "d", 3);
}

/* {'ema': {'shadow': [tensor]}, 'model': {'state_dict': {...}}}: an average without names is passed over. And the model whose
 * tensors are called "model. ..." is none that is wrapped. */
static void test_weights_wrapped_twice_or_not_at_all(void **state) {
    (void)state;
    static const int64_t one[] = {1};
    Bytes pickle = {0};
    pickle_op(&pickle, "\x80\x02}");
    pickle_text(&pickle, "ema");
    pickle_op(&pickle, "}");
    pickle_text(&pickle, "shadow");
    pickle_op(&pickle, "](");
    pickle_tensor(&pickle, "Byte", "1", 4, 0, 1, one, one);
    pickle_op(&pickle, "ess");
    pickle_text(&pickle, "model");
    pickle_op(&pickle, "}");
    add_wrapped(&pickle, "state_dict", "a", 2);
    pickle_op(&pickle, "s.");
    assert_weights(write_torch(&pickle), "model.state_dict", "a", 2);
    pickle = (Bytes){0};
    pickle_op(&pickle, "\x80\x02}");
    pickle_text(&pickle, "model.a");
    pickle_tensor(&pickle, "Byte", "1", 4, 1, 1, one, one);
    pickle_op(&pickle, "s.");
    assert_weights(write_torch(&pickle), "", "model.a", 1);
}

/* {'model': {'a'}, 'model': {'b'}}: Python keeps the last. And a storage's name ends where it says, not at a zero. */
static void test_torch_reads_what_python_reads(void **state) {
    (void)state;
    static const int64_t one[] = {1};
    Bytes pickle = {0};
    pickle_op(&pickle, "\x80\x02}");
    add_wrapped(&pickle, "model", "a", 1);
    add_wrapped(&pickle, "model", "b", 2);
    pickle_op(&pickle, ".");
    assert_weights(write_torch(&pickle), "model", "b", 2);
    pickle = begin_dict();
    pickle_tensor(&pickle, "Byte", "1?x", 4, 0, 1, one, one);
    pickle_op(&pickle, "s.");
    for (size_t i = 0; i + 3 <= pickle.size; i++)
        if (memcmp(pickle.data + i, "1?x", 3) == 0) pickle.data[i + 1] = 0;
    assert_pickle_refused(&pickle, TIM_E_FORMAT, "not described as torch does");
}

static void test_torch_one_name_twice_refused(void **state) {
    (void)state;
    static const int64_t one[] = {1};
    Bytes pickle = begin_dict();
    pickle_tensor(&pickle, "Byte", "1", 4, 0, 1, one, one);
    pickle_op(&pickle, "s");
    pickle_text(&pickle, "x");
    pickle_tensor(&pickle, "Byte", "1", 4, 0, 1, one, one);
    pickle_op(&pickle, "s.");
    assert_pickle_refused(&pickle, TIM_E_FORMAT, "'x' is there twice");
}

/* {"0": a tensor, "1": the same, ... */
static Bytes shared_tensor(int count, const char *type, const char *key, int rows) {
    Bytes pickle = {0};
    pickle_op(&pickle, "\x80\x02}");
    for (int i = 0; i < count; i++) {
        char name[8];
        snprintf(name, sizeof name, "%d", i);
        pickle_text(&pickle, name);
        if (i == 0) pickle_tensor(&pickle, type, key, 4 * rows, 0, 2, (const int64_t[]){4, rows}, (const int64_t[]){1, 4});
        pickle_op(&pickle, i == 0 ? "q" : "h");
        bytes_number(&pickle, 0, 1);
        pickle_op(&pickle, "s");
    }
    pickle_op(&pickle, ".");
    return pickle;
}

/* 7 copies of a storage of 4000 bytes, from a file of little more than these. */
static void test_torch_copies_beyond_the_file_refused(void **state) {
    (void)state;
    static const char values[4000];
    Zip zip = {0};
    Bytes pickle = shared_tensor(7, "Byte", "0", 1000);
    zip_add(&zip, "archive/data.pkl", pickle.data, pickle.size);
    zip_add(&zip, "archive/data/0", values, sizeof values);
    free(pickle.data);
    assert_refused(write_made(zip_end(&zip)), TIM_E_UNSUPPORTED, "more than 4 times the file");
}

/* A tensor takes 400 bytes of memory for the eleven that name it once more: a few are fine, as of tied weights. */
static void test_torch_shared_tensor_is_refused_soon(void **state) {
    (void)state;
    TimTensorSet set;
    Bytes pickle = shared_tensor(4, "Byte", "1", 1);
    assert_ok(tim_tensor_set_open(&set, write_torch(&pickle), &err));
    assert_int_equal(set.count, 4);
    tim_tensor_set_close(&set);
    pickle = shared_tensor(200, "Byte", "1", 1);
    assert_pickle_refused(&pickle, TIM_E_FORMAT, "share each other too often");
}

/* Texts a byte longer than what is left of the room that they share, and one that has room of its own. */
static void test_torch_texts_of_many_sizes_kept(void **state) {
    (void)state;
    enum { COUNT = 300, LONGEST = 5000 };
    static char text[LONGEST + 1];
    TimTensorSet set;
    Bytes pickle = {0};
    pickle_op(&pickle, "\x80\x02}");
    for (int i = 0; i < COUNT; i++) {
        char name[8];
        snprintf(name, sizeof name, "%d", i);
        memset(text, 'a' + i % 26, LONGEST);
        text[i == 7 ? LONGEST : 13 * i % 997] = '\0';
        pickle_text(&pickle, name);
        pickle_text(&pickle, text);
        pickle_op(&pickle, "s");
    }
    pickle_op(&pickle, ".");
    assert_ok(tim_tensor_set_open(&set, write_torch(&pickle), &err));
    assert_int_equal(set.text_count, COUNT);
    for (int i = 0; i < COUNT; i++) {
        const size_t length = i == 7 ? LONGEST : (size_t)(13 * i % 997);
        assert_int_equal(atoi(set.texts[i].key), i);
        assert_int_equal(strlen(set.texts[i].value), length);
        for (size_t k = 0; k < length; k++) assert_int_equal(set.texts[i].value[k], 'a' + i % 26);
    }
    tim_tensor_set_close(&set);
}

/* ---- the zip ---- */

static void test_torch_zip_members_checked(void **state) {
    (void)state;
    Zip zip = {0};
    zip_add(&zip, "a/other", "x", 1);
    assert_refused(write_made(zip_end(&zip)), TIM_E_FORMAT, "without data.pkl");
    zip_add(&zip, "a/data.pkl", "\x80\x02}.", 4);
    zip_add(&zip, "a/byteorder", "big", 3);
    assert_refused(write_made(zip_end(&zip)), TIM_E_UNSUPPORTED, "little-endian");
    zip_add(&zip, "a/data.pkl", "\x80\x02}.", 4);
    zip_add(&zip, "a/data.pkl", "\x80\x02}.", 4);
    assert_refused(write_made(zip_end(&zip)), TIM_E_FORMAT, "there twice");
    zip_add(&zip, "a/data.pkl", "\x80\x02}.", 4);
    Bytes file = zip_end(&zip);
    file.data[30 + strlen("a/data.pkl")] ^= 1; /* the first byte of the pickle */
    const char *path = in_folder("made.bin");
    write_file(path, file.data, file.size);
    assert_refused(path, TIM_E_FORMAT, "checksum");
    file.data[30 + strlen("a/data.pkl")] ^= 1;
    for (size_t i = 0; i < file.size; i++) /* deflated, in the directory */
        if (memcmp(file.data + i, "PK\x01\x02", 4) == 0) {
            file.data[i + 10] = 8;
            break;
        }
    assert_refused(write_made(file), TIM_E_UNSUPPORTED, "packed by method 8");
}

/* ---- pickles ---- */

static void test_pickle_unknown_global_named_and_not_run(void **state) {
    (void)state;
    static const char *const globals[] = {"cposix\nsystem\n", "c__builtin__\neval\n", "cbuiltins\ngetattr\n",
                                          "ctorch\nComplexFloatStorage\n"};
    static const char *const names[] = {"'posix.system'", "'__builtin__.eval'", "'builtins.getattr'",
                                        "'torch.ComplexFloatStorage'"};
    for (size_t i = 0; i < sizeof globals / sizeof *globals; i++) {
        Bytes pickle = begin_dict();
        pickle_op(&pickle, globals[i]);
        pickle_text(&pickle, "touch run");
        pickle_op(&pickle, "\x85Rs.");
        assert_pickle_refused(&pickle, TIM_E_UNSUPPORTED, names[i]);
        assert_says("torch.save(model.state_dict()");
    }
    Bytes pickle = begin_dict();
    pickle_text(&pickle, "os\n\x1b[2J");
    pickle_text(&pickle, "system");
    pickle_op(&pickle, "\x93s.");
    assert_pickle_refused(&pickle, TIM_E_UNSUPPORTED, "'os??[2J.system'");
}

static void test_pickle_unknown_opcode_named(void **state) {
    (void)state;
    Bytes pickle = begin_dict();
    pickle_op(&pickle, "\x82\x01s.");
    assert_pickle_refused(&pickle, TIM_E_UNSUPPORTED, "opcode 0x82 at byte 9");
    pickle = (Bytes){0};
    pickle_op(&pickle, "\x80\x06}.");
    assert_pickle_refused(&pickle, TIM_E_UNSUPPORTED, "protocol 6");
}

/* What runs into the floor of the stack, or puts things where they do not belong. */
static void test_pickle_broken_stacks_refused(void **state) {
    (void)state;
    static const char *const pickles[] = {
        ".",  "(.",   "}}.",   "s.",    "}s.",        "}Ns.",  "u.",          "(u.",  "N(u.",   "}(Nu.", "]((a.",
        "a.", "Na.",  "NNa.",  "e.",    "}(e.",       "t",     "\x85.",       "R",    "NR",     "NNR.",  "N)R.",
        "b.", "}}b.", "Q.",    "h\1.",  "r\1\1\1\1.", "q\1.",  "Nq\1.",       "(d.",  "(Nd.",   "X\1",   "\x8A\x09",
        "G",  "J",    "cos\n", "c\n\n", "NN\x93.",    "\x93.", "(((N\x85tu.", "}(Q.", "N(h\1.", "\x94."};
    for (size_t i = 0; i < sizeof pickles / sizeof *pickles; i++) {
        TimPickle pickle;
        const TimStatus status = tim_pickle_read(&pickle, (const uint8_t *)pickles[i], strlen(pickles[i]), NULL, 0, &err);
        if (strcmp(pickles[i], "(d.") == 0) {
            assert_ok(status);
        } else if (status == TIM_OK) {
            print_error("'%s' is taken\n", pickles[i]);
            fail();
        }
        tim_pickle_done(&pickle);
    }
}

static void test_pickle_lying_sizes_refused(void **state) {
    (void)state;
    static const struct {
        const char *bytes;
        size_t size;
    } pickles[] = {{"X\xFF\xFF\xFF\xFF"
                    "abc",
                    8},
                   {"\x8D\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF"
                    "abc",
                    12},
                   {"\x8C\x09"
                    "abc",
                    5},
                   {"\x8A\xFF\x01", 3},
                   {"\x95\xFF\xFF", 3},
                   {"X\1\0\0\0\xFF.", 7}};
    for (size_t i = 0; i < sizeof pickles / sizeof *pickles; i++) {
        TimPickle pickle;
        assert_int_equal(tim_pickle_read(&pickle, (const uint8_t *)pickles[i].bytes, pickles[i].size, NULL, 0, &err), TIM_E_FORMAT);
        assert_says("of ");
    }
    TimPickle pickle;
    assert_int_equal(tim_pickle_read(&pickle, (const uint8_t *)"r\xFF\xFF\xFF\xFF", 5, NULL, 0, &err), TIM_E_FORMAT);
    assert_int_equal(tim_pickle_read(&pickle, (const uint8_t *)"Nr\xFF\xFF\xFF\xFF", 6, NULL, 0, &err), TIM_E_FORMAT);
    assert_says("out of order");
}

static void test_pickle_numbers(void **state) {
    (void)state;
    static const uint8_t bytes[] =
        "(J\xFE\xFF\xFF\xFFK\xFFM\xFF\xFF\x8A\0\x8A\2\0\xFF\x8A\x08\0\0\0\0\0\0\0\x80G\x3F\xF8\0\0\0\0\0\0\x88\x89Nt.";
    static const int64_t expected[] = {-2, 255, 65535, 0, -256, INT64_MIN};
    TimPickle pickle;
    assert_ok(tim_pickle_read(&pickle, bytes, sizeof bytes - 1, NULL, 0, &err));
    assert_int_equal(pickle.root->count, 10);
    for (int i = 0; i < 6; i++) assert_true(pickle.root->items[i]->integer == expected[i]);
    assert_true(pickle.root->items[6]->real == 1.5);
    assert_int_equal(pickle.root->items[7]->integer, 1);
    assert_int_equal(pickle.root->items[9]->kind, TIM_PICKLE_NONE);
    tim_pickle_done(&pickle);
}

/* A tuple of one is a byte of the pickle; lists that grow keep what they have. */
static void test_pickle_containers_have_the_slots_they_need(void **state) {
    (void)state;
    enum { MANY = 5000 };
    TimPickle pickle;
    Bytes bytes = {0};
    pickle_op(&bytes, "\x80\x02N\x85\x85\x85.");
    assert_ok(tim_pickle_read(&pickle, bytes.data, bytes.size, NULL, 0, &err));
    for (const TimPickleValue *value = pickle.root; value->kind == TIM_PICKLE_TUPLE; value = value->items[0])
        assert_int_equal(value->capacity, 1);
    tim_pickle_done(&pickle);
    bytes.size = 0;
    pickle_op(&bytes, "\x80\x02]");
    for (int i = 0; i < MANY; i++) pickle_op(&bytes, "M"), bytes_number(&bytes, (uint64_t)i, 2), pickle_op(&bytes, "a");
    pickle_op(&bytes, ".");
    assert_ok(tim_pickle_read(&pickle, bytes.data, bytes.size, NULL, 0, &err));
    assert_int_equal(pickle.root->count, MANY);
    assert_true(pickle.root->capacity < 2 * MANY);
    for (int i = 0; i < MANY; i++) assert_int_equal(pickle.root->items[i]->integer, i);
    tim_pickle_done(&pickle);
    free(bytes.data);
}

static void test_pickle_deep_nesting_refused(void **state) {
    (void)state;
    Bytes pickle = {0};
    for (int i = 0; i < 1001; i++) pickle_op(&pickle, "(");
    assert_pickle_refused(&pickle, TIM_E_FORMAT, "more than 1000 containers");
    pickle_op(&pickle, "\x80\x02");
    for (int i = 0; i < 100000; i++) pickle_op(&pickle, "]");
    for (int i = 0; i < 99999; i++) pickle_op(&pickle, "a");
    pickle_op(&pickle, ".");
    assert_pickle_refused(&pickle, TIM_E_UNSUPPORTED, "more than 32 containers");
}

static void test_pickle_container_in_itself_refused(void **state) {
    (void)state;
    Bytes pickle = {0};
    pickle_op(&pickle, "\x80\x02}q");
    bytes_number(&pickle, 0, 1);
    pickle_text(&pickle, "me");
    pickle_op(&pickle, "h");
    bytes_number(&pickle, 0, 1);
    pickle_op(&pickle, "s.");
    assert_pickle_refused(&pickle, TIM_E_FORMAT, "share each other too often");
}

/* Each list holds the one before it four times: 4^20 ways lead to the innermost. */
static void test_pickle_shared_lists_refused_soon(void **state) {
    (void)state;
    Bytes pickle = {0};
    pickle_op(&pickle, "\x80\x02]\x94");
    for (int i = 0; i < 20; i++) {
        pickle_op(&pickle, "(");
        for (int j = 0; j < 4; j++) pickle_op(&pickle, "h"), bytes_number(&pickle, (uint64_t)i, 1);
        pickle_op(&pickle, "t\x94");
    }
    pickle_op(&pickle, "\x86");
    for (int i = 0; i < 19; i++) pickle_op(&pickle, "\x86");
    pickle_op(&pickle, ".");
    assert_pickle_refused(&pickle, TIM_E_FORMAT, "share each other too often");
}

static void test_pickle_too_many_values_refused(void **state) {
    (void)state;
    enum { MANY = TIM_PICKLE_MAX_VALUES + 1 };
    uint8_t *bytes = malloc(MANY);
    TimPickle pickle;
    assert_non_null(bytes);
    memset(bytes, 'N', MANY);
    assert_int_equal(tim_pickle_read(&pickle, bytes, MANY, NULL, 0, &err), TIM_E_FORMAT);
    assert_says("values");
    free(bytes);
}

static void test_torch_nameless_tensor_says_how_to_save(void **state) {
    (void)state;
    static const int64_t one[] = {1};
    Bytes pickle = {0};
    pickle_op(&pickle, "\x80\x02");
    pickle_tensor(&pickle, "Byte", "1", 4, 0, 1, one, one);
    pickle_op(&pickle, ".");
    assert_pickle_refused(&pickle, TIM_E_UNSUPPORTED, "torch.save({'name': tensor}");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_set_kind_told_by_content),
        cmocka_unit_test(test_set_unknown_content_says_what_to_give),
        cmocka_unit_test(test_set_old_torch_formats_say_how_to_save_again),
        cmocka_unit_test(test_legacy_torch_file_read_and_its_damages_named),
        cmocka_unit_test(test_set_folder_order_of_names),
        cmocka_unit_test(test_set_folder_only_file_taken_and_several_listed),
        cmocka_unit_test(test_index_joins_its_files),
        cmocka_unit_test(test_index_and_files_must_agree),
        cmocka_unit_test(test_index_may_name_what_its_file_says_it_kept_once),
        cmocka_unit_test(test_index_beyond_its_cap_refused),
        cmocka_unit_test(test_index_names_stay_in_folder),
        cmocka_unit_test(test_torch_views_point_into_the_map),
        cmocka_unit_test(test_torch_tensor_of_the_other_sign_refused),
        cmocka_unit_test(test_torch_tensor_outside_its_storage_refused),
        cmocka_unit_test(test_torch_lying_storage_refused),
        cmocka_unit_test(test_torch_empty_and_scalar_tensors),
        cmocka_unit_test(test_torch_names_of_dicts_joined_and_texts_kept),
        cmocka_unit_test(test_weights_of_wrapped_checkpoints),
        cmocka_unit_test(test_weights_wrapped_twice_or_not_at_all),
        cmocka_unit_test(test_torch_reads_what_python_reads),
        cmocka_unit_test(test_torch_one_name_twice_refused),
        cmocka_unit_test(test_torch_copies_beyond_the_file_refused),
        cmocka_unit_test(test_torch_shared_tensor_is_refused_soon),
        cmocka_unit_test(test_torch_texts_of_many_sizes_kept),
        cmocka_unit_test(test_torch_zip_members_checked),
        cmocka_unit_test(test_pickle_unknown_global_named_and_not_run),
        cmocka_unit_test(test_pickle_unknown_opcode_named),
        cmocka_unit_test(test_pickle_broken_stacks_refused),
        cmocka_unit_test(test_pickle_lying_sizes_refused),
        cmocka_unit_test(test_pickle_numbers),
        cmocka_unit_test(test_pickle_containers_have_the_slots_they_need),
        cmocka_unit_test(test_pickle_deep_nesting_refused),
        cmocka_unit_test(test_pickle_container_in_itself_refused),
        cmocka_unit_test(test_pickle_shared_lists_refused_soon),
        cmocka_unit_test(test_pickle_too_many_values_refused),
        cmocka_unit_test(test_torch_nameless_tensor_says_how_to_save),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
