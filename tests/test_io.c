/* What files, safetensors, configurations and IDX data promise, on good and on hostile input.
 * Runs from the root of the sources; writes into a temporary directory only. */
#include <dirent.h>
#include <locale.h>
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
#include <zlib.h>

#include <cmocka.h>
#include <jansson.h>

#include "base/bf16.h"
#include "base/f16.h"
#include "base/rng.h"
#include "fixture.h"
#include "full_disk.h"
#include "io/config_diff.h"
#include "io/config_json.h"
#include "io/file.h"
#include "io/hf_config.h"
#include "io/idx.h"
#include "io/json_text.h"
#include "io/number.h"
#include "io/safetensors.h"

/* ---- fixtures ---- */

static int make_folder(void **state) {
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state) {
    (void)state;
    DIR *dir = opendir(folder);
    if (!dir) return -1;
    for (const struct dirent *entry = readdir(dir); entry; entry = readdir(dir)) unlinkat(dirfd(dir), entry->d_name, 0);
    closedir(dir);
    return rmdir(folder);
}

static bool exists(const char *path) {
    return access(path, F_OK) == 0;
}

/* ---- file ---- */

static void test_file_open_whole_content_mapped(void **state) {
    (void)state;
    const char *path = in_folder("plain");
    write_file(path, "abc", 3);
    TimFile file;
    assert_ok(tim_file_open(&file, path, &err));
    assert_int_equal(file.size, 3);
    assert_memory_equal(file.data, "abc", 3);
    tim_file_close(&file);
    assert_int_equal(file.size, 0);
}

static void test_file_open_empty_has_no_bytes(void **state) {
    (void)state;
    const char *path = in_folder("empty");
    write_file(path, "", 0);
    TimFile file;
    assert_ok(tim_file_open(&file, path, &err));
    assert_int_equal(file.size, 0);
    assert_non_null(file.data);
    tim_file_close(&file);
}

static void test_file_open_missing_or_folder_named_in_error(void **state) {
    (void)state;
    TimFile file;
    assert_int_equal(tim_file_open(&file, in_folder("missing"), &err), TIM_E_IO);
    assert_says("missing: cannot open");
    tim_file_close(&file);
    assert_int_equal(tim_file_open(&file, folder, &err), TIM_E_IO);
    assert_says(folder);
    assert_int_equal(mkfifo(in_folder("pipe"), 0600), 0);
    assert_int_equal(tim_file_open(&file, in_folder("pipe"), &err), TIM_E_IO);
    assert_says("not a regular file");
}

static void assert_content(const char *path, const char *expected) {
    TimFile file;
    assert_ok(tim_file_open(&file, path, &err));
    assert_int_equal(file.size, strlen(expected));
    assert_memory_equal(file.data, expected, file.size);
    tim_file_close(&file);
}

static void test_file_writer_commit_replaces_whole_file(void **state) {
    (void)state;
    const char *path = in_folder("written");
    write_file(path, "old", 3);
    TimFileWriter writer;
    assert_ok(tim_file_writer_open(&writer, path, &err));
    assert_ok(tim_file_writer_write(&writer, "new ", 4, &err));
    assert_content(path, "old");
    assert_ok(tim_file_writer_write(&writer, "text", 4, &err));
    assert_ok(tim_file_writer_commit(&writer, &err));
    tim_file_writer_abandon(&writer); /* ended already: must do nothing */
    assert_content(path, "new text");
    assert_false(exists(in_folder("written.tmp")));
}

/* Two runs of one command would take each other's half for their own. */
static void test_file_writer_one_at_a_time(void **state) {
    (void)state;
    const char *path = in_folder("shared");
    TimFileWriter first, second;
    assert_ok(tim_file_writer_open(&first, path, &err));
    assert_ok(tim_file_writer_write(&first, "first", 5, &err));
    assert_int_equal(tim_file_writer_open(&second, path, &err), TIM_E_IO);
    assert_says("shared.tmp: another run is writing it");
    assert_ok(tim_file_writer_commit(&first, &err));
    assert_content(path, "first");
    write_file(in_folder("shared.tmp"), "left", 4); /* by one that was cut off */
    assert_ok(tim_file_writer_open(&second, path, &err));
    assert_ok(tim_file_writer_commit(&second, &err));
    assert_content(path, "");
}

static void test_file_writer_abandon_keeps_old_file(void **state) {
    (void)state;
    const char *path = in_folder("kept");
    write_file(path, "old", 3);
    TimFileWriter writer;
    assert_ok(tim_file_writer_open(&writer, path, &err));
    assert_ok(tim_file_writer_write(&writer, "half", 4, &err));
    tim_file_writer_abandon(&writer);
    assert_content(path, "old");
    assert_false(exists(in_folder("kept.tmp")));
}

/* To take the name of a device or pipe would be the end of it. */
static void test_file_writer_pipe_and_folder_refused(void **state) {
    (void)state;
    TimFileWriter writer;
    struct stat info;
    assert_int_equal(mkfifo(in_folder("fifo"), 0600), 0);
    assert_int_equal(tim_file_writer_open(&writer, in_folder("fifo"), &err), TIM_E_IO);
    assert_says("a device or pipe");
    assert_int_equal(stat(in_folder("fifo"), &info), 0);
    assert_true(S_ISFIFO(info.st_mode));
    assert_false(exists(in_folder("fifo.tmp")));
    assert_int_equal(tim_file_writer_open(&writer, in_folder(""), &err), TIM_E_IO);
    assert_says("a folder");
}

static void test_file_writer_full_disk_keeps_old_file(void **state) {
    (void)state;
    const char *path = in_folder("full");
    write_file(path, "old", 3);
    TimFileWriter writer;
    assert_ok(tim_file_writer_open(&writer, path, &err));
    assert_ok(tim_file_writer_write(&writer, "x", 1, &err)); /* stays in the buffer */
    set_disk_full(1);
    const TimStatus status = tim_file_writer_commit(&writer, &err);
    set_disk_full(0);
    assert_int_equal(status, TIM_E_IO);
    assert_says("cannot finish writing");
    assert_content(path, "old");
    assert_false(exists(in_folder("full.tmp")));
}

/* What lies there under the name that is written first may be a link to a file of value, from whoever made the folder. */
static void test_file_writer_does_not_follow_links(void **state) {
    (void)state;
    const char *path = in_folder("linked");
    write_file(in_folder("value"), "value", 5);
    assert_int_equal(symlink(in_folder("value"), in_folder("linked.tmp")), 0);
    assert_ok(tim_file_write(path, "new", 3, &err));
    assert_content(path, "new");
    assert_content(in_folder("value"), "value");
    struct stat info;
    assert_int_equal(lstat(path, &info), 0);
    assert_true(S_ISREG(info.st_mode));
    write_file(in_folder("linked.tmp"), "left by a run that was cut off", 30);
    assert_ok(tim_file_write(path, "newer", 5, &err));
    assert_content(path, "newer");
}

static void test_file_writer_missing_folder_fails(void **state) {
    (void)state;
    TimFileWriter writer;
    assert_int_equal(tim_file_writer_open(&writer, in_folder("no/such"), &err), TIM_E_IO);
    assert_says("no/such.tmp");
    tim_file_writer_abandon(&writer);
}

/* ---- dtypes ---- */

static void test_dtype_every_name_reads_back(void **state) {
    (void)state;
    for (unsigned i = 0; i < TIM_DTYPE_COUNT; i++) {
        TimDtype dtype;
        assert_true(tim_dtype_from_name(tim_dtype_name((TimDtype)i), &dtype));
        assert_int_equal(dtype, i);
    }
    TimDtype dtype;
    assert_false(tim_dtype_from_name("F8_E4M3", &dtype));
    assert_int_equal(tim_dtype_size(TIM_BF16), 2);
    assert_int_equal(tim_dtype_size(TIM_BOOL), 1);
    assert_string_equal(tim_dtype_name(TIM_BOOL), "BOOL");
}

static double ieee_half(unsigned bits) {
    const int exponent = (int)(bits >> 10 & 31), mantissa = (int)(bits & 1023);
    const double size = exponent ? ldexp(1024 + mantissa, exponent - 25) : ldexp(mantissa, -24);
    return bits & 0x8000 ? -size : size;
}

static void test_f16_every_finite_value_exact(void **state) {
    (void)state;
    for (unsigned bits = 0; bits < 0x10000; bits++) {
        const float value = tim_f16_to_f32((TimF16)bits);
        if ((bits >> 10 & 31) != 31)
            assert_true((double)value == ieee_half(bits) && (signbit(value) != 0) == (bits >> 15));
        else if (bits & 1023)
            assert_true(isnan(value));
        else
            assert_true(isinf(value) && (value < 0) == (bits >> 15));
    }
}

static void test_bf16_every_value_survives_both_ways(void **state) {
    (void)state;
    for (unsigned bits = 0; bits < 0x10000; bits++) {
        const float value = tim_bf16_to_f32((TimBf16)bits);
        if (isnan(value))
            assert_true(isnan(tim_bf16_to_f32(tim_bf16_from_f32(value))));
        else
            assert_int_equal(tim_bf16_from_f32(value), bits);
    }
    assert_true(tim_bf16_to_f32(0x0001) == 0x1p-133F);
}

/* ---- safetensors: reading ---- */

/* Writes length, header and `size` bytes of data 0, 1, 2, ... */
static const char *make_tensors(const char *header, size_t size) {
    uint8_t bytes[4096];
    const uint64_t length = strlen(header);
    assert_true(8 + length + size <= sizeof bytes);
    memcpy(bytes, &length, 8);
    memcpy(bytes + 8, header, length);
    for (size_t i = 0; i < size; i++) bytes[8 + length + i] = (uint8_t)i;
    const char *path = in_folder("made.safetensors");
    write_file(path, bytes, 8 + length + size);
    return path;
}

static void assert_refused(const char *header, size_t size, TimStatus status, const char *part) {
    TimSafetensors file;
    assert_int_equal(tim_safetensors_open(&file, make_tensors(header, size), &err), status);
    assert_says("made.safetensors");
    assert_says(part);
    tim_safetensors_close(&file);
}

static void test_safetensors_open_lists_in_data_order(void **state) {
    (void)state;
    TimSafetensors file;
    assert_ok(tim_safetensors_open(&file,
                                   make_tensors("{\"b\":{\"dtype\":\"U8\",\"shape\":[2,1],\"data_offsets\":[4,6]},"
                                                "\"__metadata__\":{\"k\":\"v\",\"format\":\"pt\"},"
                                                "\"a\":{\"dtype\":\"I16\",\"shape\":[],\"data_offsets\":[0,2]},"
                                                "\"none\":{\"dtype\":\"F32\",\"shape\":[0,7],\"data_offsets\":[2,2]},"
                                                "\"c\":{\"dtype\":\"BF16\",\"shape\":[1],\"data_offsets\":[2,4]}}   ",
                                                6),
                                   &err));
    static const char *const order[] = {"a", "none", "c", "b"};
    assert_int_equal(file.count, 4);
    for (size_t i = 0; i < file.count; i++) {
        assert_string_equal(file.tensors[i].name, order[i]);
        assert_ptr_equal(tim_safetensors_find(&file, order[i]), &file.tensors[i]);
    }
    const TimStoredTensor *b;
    assert_ok(tim_safetensors_get(&b, &file, "b", &err));
    assert_int_equal(b->rank, 2);
    assert_int_equal(b->dims[0], 2);
    assert_int_equal(b->dtype, TIM_U8);
    assert_int_equal(*(const uint8_t *)b->data, 4);
    assert_int_equal(tim_safetensors_find(&file, "a")->count, 1);
    assert_string_equal(tim_safetensors_text(&file, "k"), "v");
    assert_int_equal(file.text_count, 2);
    assert_null(tim_safetensors_text(&file, "none"));
    assert_null(tim_safetensors_find(&file, "d"));
    assert_int_equal(tim_safetensors_get(&b, &file, "d", &err), TIM_E_FORMAT);
    assert_says("'d'");
    tim_safetensors_close(&file);
}

static void test_safetensors_open_no_tensors_is_fine(void **state) {
    (void)state;
    TimSafetensors file;
    assert_ok(tim_safetensors_open(&file, make_tensors("{}", 0), &err));
    assert_int_equal(file.count, 0);
    assert_null(tim_safetensors_find(&file, "a"));
    tim_safetensors_close(&file);
}

static void test_safetensors_open_truncated_or_huge_header_refused(void **state) {
    (void)state;
    const char *path = in_folder("made.safetensors");
    TimSafetensors file;
    write_file(path, "\x02\0\0\0", 4);
    assert_int_equal(tim_safetensors_open(&file, path, &err), TIM_E_FORMAT);
    assert_says("too few");
    write_file(path, "\x64\0\0\0\0\0\0\0{}", 10);
    assert_int_equal(tim_safetensors_open(&file, path, &err), TIM_E_FORMAT);
    assert_says("a header of 100 bytes");
    write_file(path, "\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF{}", 10);
    assert_int_equal(tim_safetensors_open(&file, path, &err), TIM_E_FORMAT);
    assert_says("18446744073709551615");
    write_file(path, "\0\0\0\0\0\0\0\0{}", 10);
    assert_int_equal(tim_safetensors_open(&file, path, &err), TIM_E_FORMAT);
    assert_int_equal(tim_safetensors_open(&file, in_folder("missing"), &err), TIM_E_IO);
    tim_safetensors_close(&file);
}

/* Nothing but lists, a value in every second byte, would take 80 times the file's size. */
static void test_safetensors_open_header_of_many_values_refused(void **state) {
    (void)state;
    enum { VALUES = (1 << 21) + 2, HEAD = 8 + 6, SIZE = HEAD + 3 * VALUES };
    static char bytes[SIZE];
    const uint64_t length = SIZE - 8;
    TimSafetensors file;
    memcpy(bytes, &length, 8);
    memcpy(bytes + 8, "{\"a\":[", 6);
    for (size_t i = HEAD; i + 2 < SIZE; i += 3) memcpy(bytes + i, "[],", 3);
    memcpy(bytes + SIZE - 2, "]}", 2);
    write_file(in_folder("made.safetensors"), bytes, SIZE);
    assert_int_equal(tim_safetensors_open(&file, in_folder("made.safetensors"), &err), TIM_E_FORMAT);
    assert_says("a header of more than 2097152 values");
    assert_refused("{\"a,b\\\",{[\":", 0, TIM_E_FORMAT, "not valid");
}

static void test_json_is_small_counts_outside_of_texts(void **state) {
    (void)state;
    static const char text[] = "{\"a,[{\\\",\": [1, 2, {}], \"b\\\\\": 3}"; /* opened: 3, separated: 3 */
    assert_true(tim_json_is_small(text, sizeof text - 1, 6));
    assert_false(tim_json_is_small(text, sizeof text - 1, 5));
    assert_true(tim_json_is_small("\"\\", 2, 0));     /* ends within a text */
    assert_true(tim_json_is_small("\"\n\",,", 5, 0)); /* whoever reads it refuses it at the text */
}

static void test_safetensors_open_bad_json_refused(void **state) {
    (void)state;
    assert_refused("{\"a\":", 0, TIM_E_FORMAT, "not valid");
    assert_refused(" {}", 0, TIM_E_FORMAT, "begin with '{'");
    assert_refused("[]", 0, TIM_E_FORMAT, "begin with '{'");
    assert_refused("{\"\xC3\x28\":1}", 0, TIM_E_FORMAT, "unable to decode");
    assert_refused("{\"a\\u0000b\":1}", 0, TIM_E_FORMAT, "not valid");
    assert_refused("{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},"
                   "\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[1,2]}}",
                   2, TIM_E_FORMAT, "duplicate");
    char deep[3000];
    memset(deep, '[', sizeof deep);
    memcpy(deep, "{\"a\":", 5);
    deep[sizeof deep - 1] = '\0';
    assert_refused(deep, 0, TIM_E_FORMAT, "depth");
}

static void test_safetensors_open_bad_entry_refused(void **state) {
    (void)state;
    assert_refused("{\"a\":3}", 0, TIM_E_FORMAT, "tensor 'a'");
    assert_refused("{\"a\":{}}", 0, TIM_E_FORMAT, "'dtype'");
    assert_refused("{\"a\":{\"dtype\":\"F8_E4M3\"}}", 0, TIM_E_UNSUPPORTED, "F8_E4M3");
    assert_refused("{\"a\":{\"dtype\":\"U8\",\"shape\":4}}", 0, TIM_E_FORMAT, "'shape'");
    assert_refused("{\"a\":{\"dtype\":\"U8\",\"shape\":[1,-1]}}", 0, TIM_E_FORMAT, "element 1");
    assert_refused("{\"a\":{\"dtype\":\"U8\",\"shape\":[1.0]}}", 0, TIM_E_FORMAT, "element 0");
    assert_refused("{\"a\":{\"dtype\":\"U8\",\"shape\":[1,1,1,1,1,1,1,1,1]}}", 0, TIM_E_FORMAT, "at most 8");
    assert_refused("{\"a\":{\"dtype\":\"U8\",\"shape\":[4294967296,4294967296,0]}}", 0, TIM_E_FORMAT, "overflow");
    assert_refused("{\"a\":{\"dtype\":\"F64\",\"shape\":[4611686018427387904],\"data_offsets\":[0,0]}}", 0, TIM_E_FORMAT,
                   "overflow");
    assert_refused("{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0]}}", 1, TIM_E_FORMAT, "'data_offsets'");
    assert_refused("{\"a\":{\"dtype\":\"U8\",\"shape\":[99999999999999999999]}}", 1, TIM_E_FORMAT, "not valid");
    assert_refused("{\"__metadata__\":{\"a\":1}}", 0, TIM_E_FORMAT, "metadata 'a'");
    assert_refused("{\"__metadata__\":[]}", 0, TIM_E_FORMAT, "not an object");
}

static void test_safetensors_open_bad_place_refused(void **state) {
    (void)state;
    assert_refused("{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[1,0]}}", 1, TIM_E_FORMAT, "do not lie");
    assert_refused("{\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]}}", 1, TIM_E_FORMAT, "do not lie");
    assert_refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,4]}}", 4, TIM_E_FORMAT, "which take 8");
    assert_refused("{\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]},"
                   "\"b\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[1,3]}}",
                   3, TIM_E_FORMAT, "'b' overlaps");
    assert_refused("{\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]},"
                   "\"b\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[3,5]}}",
                   5, TIM_E_FORMAT, "'b' leaves a hole");
    assert_refused("{\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]}}", 5, TIM_E_FORMAT, "last 3 bytes");
}

/* Every changed or cut file is read or refused; the sanitizers watch. */
static void test_safetensors_open_mutated_never_reads_outside(void **state) {
    (void)state;
    static const char header[] = "{\"__metadata__\":{\"k\":\"v\"},\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},"
                                 "\"b\":{\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[8,11]}}";
    uint8_t whole[256], bytes[sizeof whole];
    const size_t size = 8 + sizeof header - 1 + 11;
    memset(whole, 0, sizeof whole);
    whole[0] = sizeof header - 1;
    memcpy(whole + 8, header, sizeof header - 1);
    for (uint64_t i = 0; i < 2000; i++) {
        memcpy(bytes, whole, size);
        for (uint64_t k = 0; k < 1 + i % 3; k++) {
            const uint64_t word = tim_rng_word(1, k, i);
            bytes[word % size] = (uint8_t)(word >> 32);
        }
        const char *path = in_folder("made.safetensors");
        write_file(path, bytes, i % 5 ? size : tim_rng_word(2, 0, i) % size);
        TimSafetensors file;
        double values[3];
        if (tim_safetensors_open(&file, path, &err) == TIM_OK)
            for (size_t t = 0; t < file.count; t++)
                if (file.tensors[t].count <= 3)
                    assert_ok(tim_safetensors_read_f64(&file.tensors[t], values, file.tensors[t].count, &err));
        tim_safetensors_close(&file);
    }
}

/* ---- safetensors: elements and writing ---- */

static TimStoredTensor tensor_of(TimDtype dtype, const void *data, size_t count) {
    return (TimStoredTensor){.name = "t",
                             .dtype = dtype,
                             .rank = 1,
                             .dims = {count},
                             .count = count,
                             .bytes = count * tim_dtype_size(dtype),
                             .data = data};
}

static void test_safetensors_read_every_dtype_converts(void **state) {
    (void)state;
    static const double f64[] = {1.5, -2};
    static const float f32[] = {1.5F, -2};
    static const uint16_t f16[] = {0x3E00, 0xC000}, bf16[] = {0x3FC0, 0xC000};
    static const int64_t i64[] = {-5, 7};
    static const int32_t i32[] = {-5, 7};
    static const int16_t i16[] = {-5, 7};
    static const int8_t i8[] = {-5, 7};
    static const uint64_t u64[] = {5, 7};
    static const uint32_t u32[] = {5, 7};
    static const uint16_t u16[] = {5, 7};
    static const uint8_t u8[] = {5, 7}, bits[] = {0, 1};
    static const struct {
        TimDtype dtype;
        const void *data;
        double first, second;
    } cases[] = {{TIM_F64, f64, 1.5, -2}, {TIM_F32, f32, 1.5, -2}, {TIM_F16, f16, 1.5, -2}, {TIM_BF16, bf16, 1.5, -2},
                 {TIM_I64, i64, -5, 7},   {TIM_I32, i32, -5, 7},   {TIM_I16, i16, -5, 7},   {TIM_I8, i8, -5, 7},
                 {TIM_U64, u64, 5, 7},    {TIM_U32, u32, 5, 7},    {TIM_U16, u16, 5, 7},    {TIM_U8, u8, 5, 7},
                 {TIM_BOOL, bits, 0, 1}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const TimStoredTensor tensor = tensor_of(cases[i].dtype, cases[i].data, 2);
        float singles[2];
        double doubles[2];
        int64_t integers[2];
        assert_ok(tim_safetensors_read_f32(&tensor, singles, 2, &err));
        assert_ok(tim_safetensors_read_f64(&tensor, doubles, 2, &err));
        assert_true((double)singles[0] == cases[i].first && (double)singles[1] == cases[i].second);
        assert_true(doubles[0] == cases[i].first && doubles[1] == cases[i].second);
        if (cases[i].first != floor(cases[i].first)) continue;
        assert_ok(tim_safetensors_read_i64(&tensor, integers, 2, &err));
        assert_true(integers[0] == (int64_t)cases[i].first && integers[1] == (int64_t)cases[i].second);
    }
}

static void test_safetensors_read_halves_keep_special_values(void **state) {
    (void)state;
    static const uint16_t f16[] = {0x0001, 0x83FF, 0x7C00, 0xFC00, 0x7E00, 0x7BFF},
                          bf16[] = {0x0001, 0x807F, 0x7F80, 0xFF80, 0x7FC0, 0x7F7F};
    static const float f16_values[] = {0x1p-24F, -0x3FFp-24F, INFINITY, -INFINITY, 0, 65504};
    static const float bf16_values[] = {0x1p-133F, -0x7Fp-133F, INFINITY, -INFINITY, 0, 0xFFp+120F};
    const TimStoredTensor tensors[] = {tensor_of(TIM_F16, f16, 6), tensor_of(TIM_BF16, bf16, 6)};
    const float *expected[] = {f16_values, bf16_values};
    for (int t = 0; t < 2; t++) {
        float singles[6];
        double doubles[6];
        assert_ok(tim_safetensors_read_f32(&tensors[t], singles, 6, &err));
        assert_ok(tim_safetensors_read_f64(&tensors[t], doubles, 6, &err));
        for (int i = 0; i < 6; i++) {
            if (i == 4)
                assert_true(isnan(singles[i]) && isnan(doubles[i]));
            else
                assert_true(singles[i] == expected[t][i] && doubles[i] == (double)expected[t][i]);
        }
    }
}

static void test_safetensors_read_i64_inexact_refused(void **state) {
    (void)state;
    static const double values[] = {0.5, NAN, INFINITY, 0x1p63, -0x1.8p63};
    int64_t out;
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        const TimStoredTensor tensor = tensor_of(TIM_F64, &values[i], 1);
        assert_int_equal(tim_safetensors_read_i64(&tensor, &out, 1, &err), TIM_E_FORMAT);
        assert_says("tensor 't' element 0");
    }
    static const double lowest = -0x1p63;
    const TimStoredTensor low = tensor_of(TIM_F64, &lowest, 1);
    assert_ok(tim_safetensors_read_i64(&low, &out, 1, &err));
    assert_true(out == INT64_MIN);
    static const uint64_t large = UINT64_MAX;
    const TimStoredTensor high = tensor_of(TIM_U64, &large, 1);
    assert_int_equal(tim_safetensors_read_i64(&high, &out, 1, &err), TIM_E_FORMAT);
    static const int64_t odd = INT64_MAX - 2;
    const TimStoredTensor exact = tensor_of(TIM_I64, &odd, 1);
    assert_ok(tim_safetensors_read_i64(&exact, &out, 1, &err));
    assert_true(out == odd);
}

static void test_safetensors_read_wrong_count_refused(void **state) {
    (void)state;
    static const float values[2] = {1, 2};
    const TimStoredTensor tensor = tensor_of(TIM_F32, values, 2);
    float out[3];
    assert_int_equal(tim_safetensors_read_f32(&tensor, out, 3, &err), TIM_E_FORMAT);
    assert_says("tensor 't' has 2 elements where 3");
}

static void test_safetensors_writer_file_reads_back(void **state) {
    (void)state;
    static const float weights[6] = {1, 2, 3, 4, 5, 6};
    static const uint8_t bytes[3] = {7, 8, 9};
    static const int64_t step = 12;
    TimSafetensorsWriter writer;
    assert_ok(tim_safetensors_writer_init(&writer, &err));
    assert_ok(tim_safetensors_writer_add(&writer, "w/\xC3\xA9\"", TIM_F32, 2, (const size_t[]){2, 3}, weights, &err));
    assert_ok(tim_safetensors_writer_add(&writer, "bytes", TIM_U8, 1, (const size_t[]){3}, bytes, &err));
    assert_ok(tim_safetensors_writer_add(&writer, "none", TIM_F64, 1, (const size_t[]){0}, NULL, &err));
    assert_ok(tim_safetensors_writer_add(&writer, "step", TIM_I64, 0, NULL, &step, &err));
    assert_ok(tim_safetensors_writer_add_text(&writer, "config", "{\"a\": 1}\n", &err));
    const char *path = in_folder("out.safetensors");
    assert_ok(tim_safetensors_writer_save(&writer, path, &err));
    assert_ok(tim_safetensors_writer_save(&writer, path, &err));
    tim_safetensors_writer_done(&writer);

    TimSafetensors file;
    assert_ok(tim_safetensors_open(&file, path, &err));
    assert_int_equal(file.count, 4);
    const TimStoredTensor *tensor = &file.tensors[0];
    assert_string_equal(tensor->name, "w/\xC3\xA9\"");
    assert_int_equal(((const uint8_t *)tensor->data - file.file.data) % 8, 0);
    assert_int_equal(tensor->dims[1], 3);
    float singles[6];
    int64_t number;
    assert_ok(tim_safetensors_read_f32(tensor, singles, 6, &err));
    assert_memory_equal(singles, weights, sizeof weights);
    assert_ok(tim_safetensors_read_i64(tim_safetensors_find(&file, "step"), &number, 1, &err));
    assert_int_equal(number, 12);
    assert_int_equal(tim_safetensors_find(&file, "none")->count, 0);
    assert_string_equal(tim_safetensors_text(&file, "config"), "{\"a\": 1}\n");
    tim_safetensors_close(&file);
}

static void test_safetensors_writer_bad_tensor_refused(void **state) {
    (void)state;
    static const size_t dims[9] = {SIZE_MAX, 2, 1, 1, 1, 1, 1, 1, 1};
    static const float value = 1;
    TimSafetensorsWriter writer;
    assert_ok(tim_safetensors_writer_init(&writer, &err));
    assert_ok(tim_safetensors_writer_add(&writer, "a", TIM_F32, 0, NULL, &value, &err));
    assert_int_equal(tim_safetensors_writer_add(&writer, "a", TIM_F32, 0, NULL, &value, &err), TIM_E_ARGUMENT);
    assert_says("'a'");
    assert_int_equal(tim_safetensors_writer_add(&writer, "\xFF", TIM_F32, 0, NULL, &value, &err), TIM_E_ARGUMENT);
    assert_int_equal(tim_safetensors_writer_add(&writer, "__metadata__", TIM_F32, 0, NULL, &value, &err), TIM_E_ARGUMENT);
    assert_int_equal(tim_safetensors_writer_add(&writer, "b", TIM_F32, 2, dims, &value, &err), TIM_E_ARGUMENT);
    assert_int_equal(tim_safetensors_writer_add(&writer, "b", TIM_F32, 9, dims + 1, &value, &err), TIM_E_ARGUMENT);
    assert_int_equal(tim_safetensors_writer_add_text(&writer, "k", "\xFF", &err), TIM_E_ARGUMENT);
    assert_int_equal(writer.count, 1);
    assert_int_equal(tim_safetensors_writer_save(&writer, in_folder("no/such"), &err), TIM_E_IO);
    tim_safetensors_writer_done(&writer);
}

/* ---- numbers ---- */

static void test_number_print_any_double_reads_back(void **state) {
    (void)state;
    char text[32];
    double back;
    for (uint64_t i = 0; i < 20000; i++) {
        const uint64_t bits = tim_rng_word(3, 0, i);
        double value;
        memcpy(&value, &bits, sizeof value);
        if (!isfinite(value)) continue;
        tim_number_print(value, text, sizeof text);
        assert_true(strlen(text) < sizeof text - 1 && tim_number_parse(text, &back) && back == value);
    }
    tim_number_print(100, text, sizeof text);
    assert_string_equal(text, "100.0");
    tim_number_print(1e-6, text, sizeof text);
    assert_string_equal(text, "1.0e-06");
    tim_number_print(0.9999, text, sizeof text);
    assert_string_equal(text, "0.9999");
}

static void test_number_parse_other_words_refused(void **state) {
    (void)state;
    static const char *const words[] = {"", "nan", "inf", "0x10", "1 ", " 1", "1e999", "1,5", "1.5.2", "-", "e", "++1"};
    double value;
    long long whole;
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        assert_false(tim_number_parse(words[i], &value));
        assert_false(tim_number_parse_integer(words[i], -100, 100, &whole));
    }
    assert_false(tim_number_parse_integer("101", -100, 100, &whole));
    assert_false(tim_number_parse_integer("99999999999999999999", -100, 100, &whole));
    assert_true(tim_number_parse_integer("-100", -100, 100, &whole) && whole == -100);
}

/* ---- configurations ---- */

static const char *const published[] = {"tim_b_p4", "tim_xl_p2_256", "tim_xl_p1_512", "tim_xl_p1_t2i"};
enum { PUBLISHED = sizeof published / sizeof *published };

static void read_published(TimConfig *config, const char *name) {
    char path[PATH_BYTES];
    snprintf(path, sizeof path, "configs/%s.yaml", name);
    assert_ok(tim_config_read(config, path, &err));
    assert_ok(tim_config_check(config, &err));
}

static TimStatus read_yaml(TimConfig *config, const char *text) {
    const char *path = in_folder("made.yaml");
    write_file(path, text, strlen(text));
    return tim_config_read(config, path, &err);
}

static void assert_yaml_refused(const char *text, const char *part) {
    TimConfig config;
    assert_int_not_equal(read_yaml(&config, text), TIM_OK);
    assert_says("made.yaml");
    assert_says(part);
    tim_config_done(&config);
}

static void assert_same_text(const char *a, const char *b) {
    assert_int_equal(a == NULL, b == NULL);
    if (a) assert_string_equal(a, b);
}

static void assert_same_config(const TimConfig *a, const TimConfig *b) {
    const TimNetworkConfig *n = &a->network, *m = &b->network;
    assert_true(n->kind == m->kind && n->input_size == m->input_size && n->patch_size == m->patch_size &&
                n->in_channels == m->in_channels && n->depth == m->depth && n->hidden_size == m->hidden_size &&
                n->num_heads == m->num_heads && n->encoder_depth == m->encoder_depth && n->mlp_ratio == m->mlp_ratio &&
                n->z_dim == m->z_dim && n->projector_dim == m->projector_dim && n->lora_hidden_size == m->lora_hidden_size &&
                n->num_classes == m->num_classes && n->class_dropout_prob == m->class_dropout_prob &&
                n->cap_feat_dim == m->cap_feat_dim && n->new_condition == m->new_condition &&
                n->use_new_embed == m->use_new_embed && n->qk_norm == m->qk_norm && n->distance_aware == m->distance_aware &&
                n->input_skip == m->input_skip);
    const TimTransportConfig *t = &a->transport, *u = &b->transport;
    assert_true(t->kind == u->kind && t->p_mean == u->p_mean && t->p_std == u->p_std && t->sigma_d == u->sigma_d &&
                t->t_max == u->t_max && t->t_min == u->t_min && t->last_jump == u->last_jump && t->beta_min == u->beta_min &&
                t->beta_d == u->beta_d && t->sigma_min == u->sigma_min && t->sigma_max == u->sigma_max &&
                t->enhance_target == u->enhance_target && t->w_gt == u->w_gt && t->w_cond == u->w_cond &&
                t->w_start == u->w_start && t->w_end == u->w_end);
    const TimTransitionConfig *l = &a->transition, *k = &b->transition;
    assert_true(l->diffusion_ratio == k->diffusion_ratio && l->consistency_ratio == k->consistency_ratio &&
                l->derivative_type == k->derivative_type && l->differential_epsilon == k->differential_epsilon &&
                l->weight_time_type == k->weight_time_type && l->weight_time_tangent == k->weight_time_tangent &&
                l->weight_time_sigmoid == k->weight_time_sigmoid && l->weight_t_and_r == k->weight_t_and_r &&
                l->use_dir_loss == k->use_dir_loss && l->loss_weight_power == k->loss_weight_power &&
                l->composed_weight == k->composed_weight && l->composed_last_jump == k->composed_last_jump &&
                l->composed_edges == k->composed_edges && l->composed_spread == k->composed_spread);
    const TimTrainingConfig *r = &a->training, *s = &b->training;
    assert_true(r->max_train_steps == s->max_train_steps && r->checkpointing_steps == s->checkpointing_steps &&
                r->checkpoints_total_limit == s->checkpoints_total_limit && r->learning_rate == s->learning_rate &&
                r->learning_rate_base_batch_size == s->learning_rate_base_batch_size && r->scale_lr == s->scale_lr &&
                r->lr_scheduler == s->lr_scheduler && r->lr_warmup_steps == s->lr_warmup_steps && r->beta1 == s->beta1 &&
                r->beta2 == s->beta2 && r->optimizer == s->optimizer && r->momentum == s->momentum &&
                r->weight_decay == s->weight_decay && r->eps == s->eps && r->max_grad_norm == s->max_grad_norm &&
                r->mixed_precision == s->mixed_precision && r->ema_decay == s->ema_decay && r->proj_coeff == s->proj_coeff &&
                r->batch_size == s->batch_size && r->min_learning_rate == s->min_learning_rate);
    assert_same_text(a->data_type, b->data_type);
    assert_same_text(a->data_dir, b->data_dir);
    assert_true(a->data_spread == b->data_spread && r->data_spread_start_step == s->data_spread_start_step);
    assert_same_text(a->vae_dir, b->vae_dir);
    assert_same_text(a->text_encoder_dir, b->text_encoder_dir);
    assert_true(a->use_last_hidden_state == b->use_last_hidden_state && a->max_seq_length == b->max_seq_length);
}

static void assert_round_trip(const TimConfig *config) {
    const char *path = in_folder("again.yaml");
    TimConfig again;
    assert_ok(tim_config_write(config, path, &err));
    assert_ok(tim_config_read(&again, path, &err));
    assert_same_config(config, &again);
    tim_config_done(&again);
}

static void test_config_read_published_values(void **state) {
    (void)state;
    TimConfig config;
    read_published(&config, "tim_b_p4");
    assert_int_equal(config.network.kind, TIM_NETWORK_C2I);
    assert_int_equal(config.network.patch_size, 4);
    assert_int_equal(config.network.lora_hidden_size, 256);
    assert_true(config.network.use_new_embed && config.network.distance_aware && config.network.qk_norm);
    assert_true(config.transport.p_mean == -0.4 && config.transport.w_end == 1.0);
    assert_true(config.training.max_train_steps == 100000 && config.training.eps == 1e-6 && config.training.beta2 == 0.95);
    assert_int_equal(config.training.batch_size, 256);
    assert_string_equal(config.vae_dir, "stabilityai/sd-vae-ft-ema");
    assert_string_equal(config.data_type, "latent");
    assert_null(config.data_dir);
    tim_config_done(&config);
    assert_null(config.vae_dir);

    read_published(&config, "tim_xl_p1_t2i");
    assert_int_equal(config.network.kind, TIM_NETWORK_T2I);
    assert_int_equal(config.network.cap_feat_dim, 1152);
    assert_true(config.transport.p_std == 1.6);
    assert_int_equal(config.training.learning_rate_base_batch_size, 512);
    assert_string_equal(config.text_encoder_dir, "google/gemma-3-1b-it");
    tim_config_done(&config);
}

/* The keys that are ours, each where it belongs: readers and writers share a table, and would agree on two that were exchanged. */
static void test_config_read_own_keys_arrive(void **state) {
    (void)state;
    static const char text[] =
        "model:\n  network: {params: {input_skip: true}}\n  transport: {target: tim.schedulers.transports.OT_FM, params: "
        "{last_jump: 0.125}}\n"
        "  transition_loss: {average_direction: true, composed_ratio: 0.25, composed_jumps: 5, composed_weight: 0.5, "
        "composed_last_jump: 0.25, composed_edges: 2, composed_spread: 1.5, expected_loss: "
        "true, loss_weight_power: 0.75}\n  ema_warmup: true\n"
        "data: {dataset: {mirror: true, spread: 1.0625}}\n"
        "training: {guidance_start_step: 1, composed_start_step: 2, expected_loss_start_step: 3, coupling_batches: 6, "
        "min_learning_rate: 1.52587890625e-05, data_spread_start_step: 8}\n";
    TimConfig c;
    write_file(in_folder("own.yaml"), text, strlen(text));
    assert_ok(tim_config_read(&c, in_folder("own.yaml"), &err));
    assert_true(c.network.input_skip && c.transport.last_jump == 0.125);
    const TimTransitionConfig *l = &c.transition;
    assert_true(l->average_direction && l->composed_ratio == 0.25 && l->composed_jumps == 5 && l->composed_weight == 0.5);
    assert_true(l->composed_last_jump == 0.25 && l->composed_edges == 2 && l->composed_spread == 1.5 && l->expected_loss);
    assert_true(l->loss_weight_power == 0.75);
    const TimTrainingConfig *t = &c.training;
    assert_true(t->guidance_start_step == 1 && t->composed_start_step == 2 && t->expected_loss_start_step == 3);
    assert_true(t->coupling_batches == 6 && t->ema_warmup);
    assert_true(t->min_learning_rate == 0x1p-16 && c.data_mirror);
    assert_true(c.data_spread == 1.0625 && t->data_spread_start_step == 8);
    tim_config_done(&c);
}

static void test_config_write_published_reads_back(void **state) {
    (void)state;
    for (int i = 0; i < PUBLISHED; i++) {
        TimConfig config;
        read_published(&config, published[i]);
        assert_round_trip(&config);
        tim_config_done(&config);
    }
}

static void test_config_write_every_transport_reads_back(void **state) {
    (void)state;
    for (int kind = TIM_TRANSPORT_OT_FM; kind <= TIM_TRANSPORT_VE_SDE; kind++) {
        TimConfig config;
        tim_config_init(&config);
        tim_transport_config_init(&config.transport, (TimTransportKind)kind);
        config.transport.sigma_d = 1.0 / 3.0;
        config.transition.weight_time_type = TIM_WEIGHT_SOFT_MIN_SNR;
        config.transition.weight_t_and_r = false;
        config.transition.composed_weight = 0.3, config.transition.composed_edges = 1, config.transition.composed_last_jump = 0.2;
        config.transition.composed_spread = 1.0 / 7.0;
        config.training.min_learning_rate = 1e-5 / 3;
        config.network.new_condition = TIM_CONDITION_T_R_T_MINUS_R;
        config.training.mixed_precision = TIM_PRECISION_F32;
        config.training.lr_scheduler = TIM_SCHEDULE_CONSTANT_WITH_WARMUP;
        config.training.optimizer = TIM_OPTIMIZER_MUON;
        config.training.momentum = 0.9;
        config.data_spread = 1.0 / 7.0, config.training.data_spread_start_step = 9;
        config.data_dir = (char[]){"a: \"b\" #\t\xC3\xA9\xF0\x9F\x98\x80"};
        assert_round_trip(&config);
        config.data_dir = (char[]){"null"};
        assert_round_trip(&config);
        config.data_dir = NULL;
        tim_config_done(&config);
    }
}

static void test_config_write_comma_locale_still_reads_back(void **state) {
    (void)state;
    static const char *const locales[] = {"de_DE.UTF-8", "fr_FR.UTF-8", "de_DE.utf8"};
    const char *set = NULL;
    for (size_t i = 0; i < 3 && !set; i++) set = setlocale(LC_NUMERIC, locales[i]);
    if (!set) skip();
    TimConfig config;
    read_published(&config, "tim_b_p4");
    assert_round_trip(&config);
    tim_config_done(&config);
    setlocale(LC_NUMERIC, "C");
}

static void test_config_write_unsound_or_bad_text_refused(void **state) {
    (void)state;
    TimConfig config;
    tim_config_init(&config);
    config.training.batch_size = 0;
    assert_int_equal(tim_config_write(&config, in_folder("unsound.yaml"), &err), TIM_E_ARGUMENT);
    assert_false(exists(in_folder("unsound.yaml")));
    config.training.batch_size = 1;
    config.data_dir = (char[]){"\xFF"};
    assert_int_equal(tim_config_write(&config, in_folder("unsound.yaml"), &err), TIM_E_ARGUMENT);
    assert_says("data.dataset.data_dir");
    assert_false(exists(in_folder("unsound.yaml.tmp")));
    config.data_dir = NULL;
    tim_config_done(&config);
}

static void test_config_read_defaults_follow_target(void **state) {
    (void)state;
    TimConfig config;
    assert_ok(read_yaml(&config, "model:\n  transport:\n    params: {P_std: 2}\n    target: tim.schedulers.transports.EDM\n"));
    assert_true(config.transport.p_std == 2.0 && config.transport.p_mean == -1.2 && config.transport.t_max == 80.0);
    tim_config_done(&config);
    assert_ok(read_yaml(&config, "model: {transport: {target: tim.schedulers.transports.VE_SDE, params: {sigma_max: 50}}}\n"));
    assert_true(config.transport.t_max == 50.0 && config.transport.t_min == 0.02);
    tim_config_done(&config);
    assert_ok(read_yaml(&config,
                        "model: {transport: {target: tim.schedulers.transports.VP_SDE, params: {epsilon_t: 0.001, T: 1000}}}\n"));
    assert_true(config.transport.t_max == 1.0 && config.transport.t_min == 0.001);
    tim_config_done(&config);
}

static void test_config_read_words_of_yaml_understood(void **state) {
    (void)state;
    TimConfig config;
    assert_ok(read_yaml(
        &config,
        "model:\n  vae_dir: null\n  transport: ~\n  network: {params: {lora_hidden_size: null, qk_norm: False, "
        "use_checkpoint: True}}\ndata: {dataset: {data_dir: 'null'}}\nother: [1, {a: b}]\n\"model.network.params.depth\": 3\n"
        "training: {mixed_precision: no, learning_rate: 1e-4, scale_lr: true, tracker: null}\n"));
    assert_null(config.vae_dir);
    assert_string_equal(config.data_dir, "null");
    assert_int_equal(config.network.lora_hidden_size, 0);
    assert_int_equal(config.network.depth, 28);
    assert_false(config.network.qk_norm);
    assert_int_equal(config.training.mixed_precision, TIM_PRECISION_F32);
    assert_true(config.training.learning_rate == 1e-4);
    tim_config_done(&config);
}

static void test_config_read_unknown_key_named_with_line(void **state) {
    (void)state;
    assert_yaml_refused("model:\n  network:\n    params:\n      dept: 3\n", "line 4: unknown key 'dept' in model.network.params");
    assert_says("depth");
    assert_yaml_refused("model:\n  network:\n    params:\n      extra:\n        - 1\n", "line 4: unknown key 'extra'");
    assert_yaml_refused("model:\n  network:\n    extra: 1\n", "allowed: params, target");
    assert_yaml_refused("model:\n  transition_loss:\n    ratio: 1\n", "diffusion_ratio");
    assert_yaml_refused("training:\n  max_trian_steps: 3\n",
                        "line 2: unknown key 'max_trian_steps' in training; allowed: max_train_steps, ");
    assert_yaml_refused("training: {learning_rat: 1}\n", "allowed: learning_rate, ");
    assert_yaml_refused("training: {optimizer: {params: {amsgrad: true}}}\n", "'amsgrad' in training.optimizer.params; allowed: ");
    assert_yaml_refused("training: {optimizer: {lr: 1}}\n", "'lr' in training.optimizer; allowed: ");
    assert_yaml_refused("transport: {params: {last_jump: 0.1}}\n", "section 'transport' stands at the top level");
    assert_yaml_refused("model: {ema_dekay: 0.9}\n", "'ema_dekay' in model; allowed: ema_decay, ");
    assert_yaml_refused("model: {transport_: {target: x}}\n", "'transport_' in model; allowed: transport, ");
    assert_yaml_refused("data: {type: idx}\n", "'type' in data; allowed: data_type, ");
    assert_yaml_refused("data: {dataset: {dir: x}}\n", "'dir' in data.dataset; allowed: mirror, data_dir, spread");
    assert_yaml_refused("data: {dataloader: {batch: 3}}\n", "'batch' in data.dataloader; allowed: batch_size");
    assert_yaml_refused("model:\n  transport:\n    params: {beta_min: 1}\n", "'beta_min'");
    assert_yaml_refused("model:\n  network:\n    target: tim.models.t2i.tim_model.TiM\n    params: {num_classes: 1}\n",
                        "cap_feat_dim");
}

static void test_config_read_keys_without_effect_noted(void **state) {
    (void)state;
    TimConfig config;
    read_published(&config, "tim_xl_p1_t2i");
    assert_string_equal(config.without_effect,
                        "model.proportion_empty_prompts, model.enc_dir, data.dataset.root_dir, data.dataset.packed_json, "
                        "data.dataset.jsonl_dir, data.dataloader.num_workers, training.allow_tf32, training.checkpoint_list, "
                        "training.validation_steps, training.proportion_empty_prompts");
    assert_string_equal(config.untrainable, "");
    tim_config_done(&config);
    assert_string_equal(config.without_effect, "");
    assert_ok(read_yaml(&config, "training: {tracker: null, tracker_kwargs: {wandb: {name: a}}}\nlogging: {level: 3}\n"));
    assert_string_equal(config.without_effect, "training.tracker_kwargs, logging");
    tim_config_done(&config);
    char many[4000] = "";
    for (size_t i = 0; i < 200; i++) snprintf(many + strlen(many), sizeof many - strlen(many), "key-%zu: 1\n", i);
    assert_ok(read_yaml(&config, many));
    assert_string_equal(config.without_effect + sizeof config.without_effect - 4, "...");
    tim_config_done(&config);
}

static void test_config_read_untrainable_told_and_readable(void **state) {
    (void)state;
    static const char *const cases[][2] = {
        {"training: {optimizer: {target: torch.optim.SGD}}\n",
         "target is 'torch.optim.SGD'; training knows only torch.optim.AdamW"},
        {"training: {gradient_accumulation_steps: 4}\n", "gradient_accumulation_steps is '4'; training knows only 1"},
        {"training: {mixed_precision: fp16}\n", "mixed_precision is 'fp16'; training knows only no, bf16"},
        {"training: {lr_scheduler: polynomial}\n", "lr_scheduler is 'polynomial'"},
        {"model: {use_ema: False}\n", "model.use_ema is 'False'; training knows only true: "},
        {"model: {ckpt: weights.pt}\n", "model.ckpt is 'weights.pt'; training knows only null: "},
        {"training: {resume_from_checkpoint: runs/checkpoint-3}\n", "training knows only latest: "},
        {"model: {use_ema: True, ckpt: ~}\ntraining: {resume_from_checkpoint: latest}\n", ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        TimConfig config;
        assert_ok(read_yaml(&config, cases[i][0]));
        assert_non_null(strstr(config.untrainable, cases[i][1]));
        assert_int_equal(*config.untrainable != '\0', *cases[i][1] != '\0');
        assert_string_equal(config.without_effect, "");
        tim_config_done(&config);
    }
    assert_yaml_refused("model: {use_ema: [true]}\n", "single value");
}

/* The arguments of the published class that have a default, tim/schedulers/transition.py. */
static void test_config_read_transition_defaults_are_the_class_own(void **state) {
    (void)state;
    TimConfig config;
    assert_ok(read_yaml(&config, "model: {transition_loss: {weight_time_sigmoid: true}}\n"));
    const TimTransitionConfig *t = &config.transition;
    assert_true(t->diffusion_ratio == 0 && t->consistency_ratio == 0 && t->differential_epsilon == 0.005);
    assert_int_equal(t->derivative_type, TIM_DERIVATIVE_DDE);
    assert_int_equal(t->weight_time_type, TIM_WEIGHT_CONSTANT);
    assert_true(!t->weight_time_tangent && t->weight_time_sigmoid && t->weight_t_and_r);
    tim_config_done(&config);
}

static void list_difference(void *context, const char *path, const char *was, const char *is) {
    const size_t used = strlen(context);
    snprintf((char *)context + used, 1000 - used, "%s %s %s\n", path, was, is);
}

static void test_config_compare_names_what_differs(void **state) {
    (void)state;
    TimConfig was, is;
    char list[1000] = "";
    tim_config_init(&was);
    tim_config_init(&is);
    assert_int_equal(tim_config_compare(&was, &is, list_difference, list), 0);
    tim_transport_config_init(&is.transport, TIM_TRANSPORT_VP_SDE);
    is.transport.sigma_d = was.transport.sigma_d;
    is.training.batch_size = 3;
    is.data_dir = (char[]){"pictures"};
    assert_int_equal(tim_config_compare(&was, &is, NULL, NULL), 10);
    assert_int_equal(tim_config_compare(&was, &is, list_difference, list), 10);
    assert_non_null(strstr(list, "model.transport.params.P_mean 0.0 none\n"));
    assert_non_null(strstr(list, "data.dataset.data_dir null pictures\ndata.dataloader.batch_size 64 3\n"));
}

static void test_config_read_wrong_type_refused(void **state) {
    (void)state;
    assert_yaml_refused("model: {network: {params: {depth: 1.5}}}\n", "an integer of 32 bits");
    assert_yaml_refused("model: {network: {params: {depth: 4294967297}}}\n", "an integer of 32 bits");
    assert_yaml_refused("model: {network: {params: {depth: '3'}}}\n", "the text '3'");
    assert_yaml_refused("model: {network: {params: {depth: [3]}}}\n", "single value");
    assert_yaml_refused("model: {network: {params: {depth: null}}}\n", "depth");
    assert_yaml_refused("model: {network: {params: {qk_norm: yes}}}\n", "true or false");
    assert_yaml_refused("model: {network: {params: {new_condition: t-s}}}\n", "t,r,t-r");
    assert_yaml_refused("model: {network: 3}\n", "must hold keys");
    assert_yaml_refused("model: {transport: {params: {P_mean: .nan}}}\n", "a number");
    assert_yaml_refused("model: {transport: {target: os.system}}\n", "OT_FM");
    assert_int_equal(err.status, TIM_E_UNSUPPORTED);
    assert_yaml_refused("model: {network: {params: {depth: 3, depth: 4}}}\n", "twice");
    assert_yaml_refused("training: {optimizer: {params: {betas: [0.9, 0.95, 0.99]}}}\n", "unknown key '2'");
    assert_yaml_refused("training: {max_train_steps: 010}\n", "without the leading zero"); /* 8 to PyYAML */
    assert_yaml_refused("training: {learning_rate: -01.5}\n", "without the leading zero");
}

static void test_config_read_hostile_yaml_refused(void **state) {
    (void)state;
    assert_yaml_refused("", "empty");
    assert_yaml_refused("- 1\n", "line 1");
    assert_yaml_refused("model: [\n", "line 2");
    assert_yaml_refused("model: \"\xFF\"\n", "byte");
    assert_yaml_refused("a: &x [1]\nmodel: *x\n", "line 2: aliases");
    assert_yaml_refused("? [a]\n: b\n", "plain text");
    assert_yaml_refused("a: 1\n---\nb: 2\n", "second document");
    assert_yaml_refused("data: {data_type: \"a\\0b\"}\n", "zero byte");
    char deep[60001];
    memset(deep, '[', sizeof deep - 1);
    memcpy(deep, "a: ", 3);
    deep[sizeof deep - 1] = '\0';
    assert_yaml_refused(deep, "nesting");
    memset(deep, 'k', sizeof deep - 1);
    memcpy(deep + sizeof deep - 3, ": ", 2);
    assert_yaml_refused(deep, "line 1");
    TimConfig config;
    assert_int_equal(tim_config_read(&config, in_folder("missing"), &err), TIM_E_IO);
    assert_says("configs/");
    tim_config_done(&config);
}

static void test_config_read_too_large_refused(void **state) {
    (void)state;
    static char text[(1 << 16) + 2];
    memset(text, '#', sizeof text - 1);
    assert_yaml_refused(text, "at most");
}

static void test_config_read_mutated_never_crashes(void **state) {
    (void)state;
    TimFile file;
    assert_ok(tim_file_open(&file, "configs/tim_xl_p2_256.yaml", &err));
    char *text = malloc(file.size + 1);
    assert_non_null(text);
    static const char letters[] = "{}[]:,-#&*!|>'\"%@`\n\t 0a\\?~\x80";
    for (uint64_t i = 0; i < 1500; i++) {
        memcpy(text, file.data, file.size);
        text[i % 7 ? file.size : tim_rng_word(5, 0, i) % file.size] = '\0';
        for (uint64_t k = 0; k < 1 + i % 4; k++) {
            const uint64_t word = tim_rng_word(4, k, i);
            text[word % file.size] = letters[(word >> 32) % (sizeof letters - 1)];
        }
        TimConfig config;
        if (read_yaml(&config, text) == TIM_OK && tim_config_check(&config, &err) == TIM_OK) assert_round_trip(&config);
        tim_config_done(&config);
    }
    free(text);
    tim_file_close(&file);
}

static void assert_unsound(const TimConfig *config, const char *part) {
    assert_int_equal(tim_config_check(config, &err), TIM_E_ARGUMENT);
    assert_says(part);
}

static void test_config_check_defaults_are_sound(void **state) {
    (void)state;
    TimConfig config;
    tim_config_init(&config);
    assert_ok(tim_config_check(&config, &err));
    for (int kind = TIM_TRANSPORT_OT_FM; kind <= TIM_TRANSPORT_VE_SDE; kind++) {
        tim_transport_config_init(&config.transport, (TimTransportKind)kind);
        assert_ok(tim_config_check(&config, &err));
    }
    config.network.kind = TIM_NETWORK_T2I;
    assert_ok(tim_config_check(&config, &err));
}

static void test_config_check_unsound_value_named(void **state) {
    (void)state;
    TimConfig sound, config;
    tim_config_init(&sound);
    config = sound, config.network.depth = 0;
    assert_unsound(&config, "model.network.params.depth is 0; it must be from 1 to");
    config = sound, config.network.num_heads = 7;
    assert_unsound(&config, "num_heads 7");
    config = sound, config.network.hidden_size = 32; /* 16 heads of 2 */
    assert_unsound(&config, "multiple of 4");
    config = sound, config.network.encoder_depth = 29;
    assert_unsound(&config, "encoder_depth is 29");
    config = sound, config.network.input_size = 31;
    assert_unsound(&config, "input_size is 31");
    config = sound, config.network.kind = (TimNetworkKind)9;
    assert_unsound(&config, "model.network.target");
    config = sound, config.transport.kind = (TimTransportKind)9;
    assert_unsound(&config, "model.transport.target");
    config = sound, config.transport.p_std = NAN;
    assert_unsound(&config, "P_std");
    config = sound, config.transport.t_max = 1.5;
    assert_unsound(&config, "times from 0 to 1.5");
    config = sound, config.transport.last_jump = 1.5;
    assert_unsound(&config, "last_jump is 1.5");
    config.transport.last_jump = 1; /* a single jump would be the last of several */
    assert_unsound(&config, "last_jump is 1; it must be shorter than the way from T_max to T_min, 1");
    config = sound, config.transition.composed_last_jump = 1;
    assert_unsound(&config, "model.transition_loss.composed_last_jump is 1; it must be shorter");
    config = sound, config.network.input_skip = true, config.transport.kind = TIM_TRANSPORT_TRIGFLOW;
    assert_unsound(&config, "input_skip is true, which goes with the transport OT_FM alone");
    config = sound, config.transport.w_start = 2;
    assert_unsound(&config, "w_start is 2");
    config = sound, config.transition.diffusion_ratio = 0.95, config.transition.consistency_ratio = 0.1;
    assert_unsound(&config, "exceed 1");
    config = sound, config.training.beta1 = 1;
    assert_unsound(&config, "betas.0 is 1");
    config = sound, config.training.min_learning_rate = 2 * config.training.learning_rate;
    assert_unsound(&config, "training.min_learning_rate is 0.0002; it must be at most learning_rate, 0.0001");
    config = sound, config.training.lr_scheduler = (TimSchedule)-1;
    assert_unsound(&config, "lr_scheduler");
    config = sound, tim_transport_config_init(&config.transport, TIM_TRANSPORT_EDM), config.transport.t_min = 0;
    assert_unsound(&config, "must be positive");
    config = sound, tim_transport_config_init(&config.transport, TIM_TRANSPORT_VE_SDE), config.transport.t_max = 3;
    assert_unsound(&config, "sigma_max");
}

static void test_config_json_golden_text_read(void **state) {
    (void)state;
    TimNetworkConfig config;
    assert_ok(tim_network_config_from_json(
        &config,
        "{\"input_size\": 8, \"patch_size\": 2, \"in_channels\": 4, \"depth\": 3, \"hidden_size\": 48, "
        "\"num_heads\": 3, \"encoder_depth\": 2, \"mlp_ratio\": 4.0, \"z_dim\": 24, "
        "\"projector_dim\": 40, \"new_condition\": \"t,t-r\", \"use_new_embed\": true, "
        "\"qk_norm\": false, \"distance_aware\": true, \"lora_hidden_size\": null, "
        "\"num_classes\": 10, \"class_dropout_prob\": 0.1}",
        "c2i", &err));
    assert_int_equal(config.kind, TIM_NETWORK_C2I);
    assert_int_equal(config.hidden_size, 48);
    assert_int_equal(config.new_condition, TIM_CONDITION_T_T_MINUS_R);
    assert_true(config.mlp_ratio == 4.0 && config.class_dropout_prob == 0.1 && config.use_new_embed && !config.qk_norm);
    assert_int_equal(config.lora_hidden_size, 0);
    assert_ok(tim_network_config_from_json(&config, "{\"cap_feat_dim\": 32}", "t2i", &err));
    assert_int_equal(config.kind, TIM_NETWORK_T2I);
    assert_int_equal(config.cap_feat_dim, 32);
    assert_int_equal(config.projector_dim, 2048);
}

/* jansson would make 1 GB of what lies beyond. */
static void test_hf_config_beyond_its_cap_refused(void **state) {
    (void)state;
    const size_t size = TIM_HF_CONFIG_MAX + 1;
    char *text = malloc(size);
    json_t *object;
    assert_non_null(text);
    memset(text, ' ', size);
    memcpy(text, "{}", 2);
    assert_ok(tim_hf_config_parse(&object, text, size - 1, &err));
    json_decref(object);
    const char *path = in_folder("config.json");
    write_file(path, text, size);
    assert_int_equal(tim_hf_config_open(&object, path, &err), TIM_E_FORMAT);
    assert_null(object);
    assert_says("config.json: 16777217 bytes of JSON, and at most 16777216 are read");
    free(text);
}

static void test_config_json_bad_text_refused(void **state) {
    (void)state;
    static const struct {
        const char *text, *kind, *part;
    } cases[] = {{"{\"depth\": 3", "c2i", "not valid JSON"},
                 {"[]", "c2i", "not a JSON object"},
                 {"{\"depth\": 3, \"depth\": 4}", "c2i", "duplicate"},
                 {"{\"dept\": 3}", "c2i", "unknown key 'dept'"},
                 {"{\"depth\": \"3\"}", "c2i", "the text '3'"},
                 {"{\"depth\": {}}", "c2i", "single value"},
                 {"{\"depth\": 1000000000}", "c2i", "depth is 1000000000"},
                 {"{\"num_classes\": 10}", "t2i", "num_classes"},
                 {"{\"qk_norm\": \"true\"}", "c2i", "true or false"},
                 {"{}", "sdxl", "'sdxl'"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        TimNetworkConfig config;
        assert_int_not_equal(tim_network_config_from_json(&config, cases[i].text, cases[i].kind, &err), TIM_OK);
        assert_says(cases[i].part);
    }
}

/* ---- IDX ---- */

static const uint8_t idx_images[] = {0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 3, 1, 2, 3, 4, 5, 6};
static const uint8_t idx_labels[] = {0, 0, 8, 1, 0, 0, 0, 2, 9, 0};

static void write_compressed(const char *path, const void *data, size_t size) {
    gzFile stream = gzopen(path, "wb");
    assert_non_null(stream);
    assert_int_equal(gzwrite(stream, data, (unsigned)size), size);
    assert_int_equal(gzclose(stream), Z_OK);
}

static void write_idx(size_t image_bytes, size_t label_bytes) {
    write_file(in_folder("train-images-idx3-ubyte"), idx_images, image_bytes);
    write_file(in_folder("train-labels-idx1-ubyte"), idx_labels, label_bytes);
}

static void assert_idx_refused(const char *part) {
    TimIdxData data;
    assert_int_not_equal(tim_idx_read(&data, folder, "train", &err), TIM_OK);
    assert_says(part);
    assert_null(data.images);
}

static void test_idx_read_plain_pictures_and_labels(void **state) {
    (void)state;
    write_idx(sizeof idx_images, sizeof idx_labels);
    TimIdxData data;
    assert_ok(tim_idx_read(&data, folder, "train", &err));
    assert_int_equal(data.count, 2);
    assert_int_equal(data.height, 1);
    assert_int_equal(data.width, 3);
    assert_memory_equal(data.images, idx_images + 16, 6);
    assert_memory_equal(data.labels, idx_labels + 8, 2);
    tim_idx_done(&data);
    assert_null(data.labels);
}

/* Old archives beside new files are not what is read. */
static void test_idx_read_plain_before_compressed(void **state) {
    (void)state;
    uint8_t old[sizeof idx_images];
    TimIdxData data;
    memcpy(old, idx_images, sizeof old);
    old[16] = 99;
    write_idx(sizeof idx_images, sizeof idx_labels);
    write_compressed(in_folder("train-images-idx3-ubyte.gz"), old, sizeof old);
    assert_ok(tim_idx_read(&data, folder, "train", &err));
    assert_int_equal(data.images[0], 1);
    tim_idx_done(&data);
    assert_int_equal(remove(in_folder("train-images-idx3-ubyte.gz")), 0);
}

static void test_idx_read_compressed_damage_refused(void **state) {
    (void)state;
    const char *images = in_folder("t10k-images-idx3-ubyte.gz");
    write_compressed(images, idx_images, sizeof idx_images);
    write_compressed(in_folder("t10k-labels-idx1-ubyte.gz"), idx_labels, sizeof idx_labels);
    TimIdxData data;
    assert_ok(tim_idx_read(&data, folder, "t10k", &err));
    assert_memory_equal(data.images, idx_images + 16, 6);
    tim_idx_done(&data);

    struct stat info;
    assert_int_equal(stat(images, &info), 0);
    assert_int_equal(truncate(images, info.st_size - 6), 0);
    assert_int_equal(tim_idx_read(&data, folder, "t10k", &err), TIM_E_FORMAT);
    assert_says("t10k-images-idx3-ubyte.gz");
}

static void test_idx_read_bad_header_refused(void **state) {
    (void)state;
    uint8_t bytes[sizeof idx_images];
    write_idx(sizeof idx_images, sizeof idx_labels);
    for (size_t i = 0; i < 4; i++) {
        memcpy(bytes, idx_images, sizeof bytes);
        bytes[i] ^= 1;
        write_file(in_folder("train-images-idx3-ubyte"), bytes, sizeof bytes);
        assert_idx_refused("00000803");
    }
    memcpy(bytes, idx_images, sizeof bytes);
    memset(bytes + 4, 0xFF, 4);
    write_file(in_folder("train-images-idx3-ubyte"), bytes, sizeof bytes);
    assert_idx_refused("promises");
    memset(bytes + 4, 0, 4), bytes[7] = 40; /* what a compressed file of this size could hold */
    write_file(in_folder("train-images-idx3-ubyte"), bytes, sizeof bytes);
    assert_idx_refused("promises");
    memset(bytes + 8, 0xFF, 8);
    write_file(in_folder("train-images-idx3-ubyte"), bytes, sizeof bytes);
    assert_idx_refused("axis 1");
}

static void test_idx_read_wrong_length_refused(void **state) {
    (void)state;
    write_idx(7, sizeof idx_labels);
    assert_idx_refused("early");
    write_idx(sizeof idx_images - 1, sizeof idx_labels);
    assert_idx_refused("ends 1 bytes early");
    write_idx(sizeof idx_images, sizeof idx_labels - 1);
    assert_idx_refused("train-labels");
    uint8_t more[sizeof idx_images + 1] = {0};
    memcpy(more, idx_images, sizeof idx_images);
    write_file(in_folder("train-images-idx3-ubyte"), more, sizeof more);
    assert_idx_refused("more data");
}

static void test_idx_read_counts_differ_refused(void **state) {
    (void)state;
    write_idx(sizeof idx_images, sizeof idx_labels);
    static const uint8_t one[] = {0, 0, 8, 1, 0, 0, 0, 1, 9};
    write_file(in_folder("train-labels-idx1-ubyte"), one, sizeof one);
    assert_idx_refused("2 pictures and 1 labels");
}

static void test_idx_read_missing_names_package(void **state) {
    (void)state;
    TimIdxData data;
    assert_int_equal(tim_idx_read(&data, "/nonexistent", "train", &err), TIM_E_IO);
    assert_says("dataset-fashion-mnist");
    assert_int_equal(tim_idx_read(&data, folder, "test", &err), TIM_E_ARGUMENT);
    assert_says("'test'");
}

static void test_idx_read_installed_set_complete(void **state) {
    (void)state;
    static const char installed[] = "/usr/share/datasets/fashion-mnist";
    if (!exists(installed)) skip();
    TimIdxData data;
    assert_ok(tim_idx_read(&data, installed, "t10k", &err));
    assert_int_equal(data.count, 10000);
    assert_int_equal(data.height, 28);
    assert_int_equal(data.width, 28);
    size_t counts[10] = {0};
    for (size_t i = 0; i < data.count; i++) counts[data.labels[i]]++;
    for (int c = 0; c < 10; c++) assert_int_equal(counts[c], 1000);
    tim_idx_done(&data);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_file_open_whole_content_mapped),
        cmocka_unit_test(test_file_open_empty_has_no_bytes),
        cmocka_unit_test(test_file_open_missing_or_folder_named_in_error),
        cmocka_unit_test(test_file_writer_commit_replaces_whole_file),
        cmocka_unit_test(test_file_writer_one_at_a_time),
        cmocka_unit_test(test_file_writer_abandon_keeps_old_file),
        cmocka_unit_test(test_file_writer_pipe_and_folder_refused),
        cmocka_unit_test(test_file_writer_full_disk_keeps_old_file),
        cmocka_unit_test(test_file_writer_does_not_follow_links),
        cmocka_unit_test(test_file_writer_missing_folder_fails),
        cmocka_unit_test(test_dtype_every_name_reads_back),
        cmocka_unit_test(test_f16_every_finite_value_exact),
        cmocka_unit_test(test_bf16_every_value_survives_both_ways),
        cmocka_unit_test(test_safetensors_open_lists_in_data_order),
        cmocka_unit_test(test_safetensors_open_no_tensors_is_fine),
        cmocka_unit_test(test_safetensors_open_truncated_or_huge_header_refused),
        cmocka_unit_test(test_safetensors_open_header_of_many_values_refused),
        cmocka_unit_test(test_json_is_small_counts_outside_of_texts),
        cmocka_unit_test(test_safetensors_open_bad_json_refused),
        cmocka_unit_test(test_safetensors_open_bad_entry_refused),
        cmocka_unit_test(test_safetensors_open_bad_place_refused),
        cmocka_unit_test(test_safetensors_open_mutated_never_reads_outside),
        cmocka_unit_test(test_safetensors_read_every_dtype_converts),
        cmocka_unit_test(test_safetensors_read_halves_keep_special_values),
        cmocka_unit_test(test_safetensors_read_i64_inexact_refused),
        cmocka_unit_test(test_safetensors_read_wrong_count_refused),
        cmocka_unit_test(test_safetensors_writer_file_reads_back),
        cmocka_unit_test(test_safetensors_writer_bad_tensor_refused),
        cmocka_unit_test(test_number_print_any_double_reads_back),
        cmocka_unit_test(test_number_parse_other_words_refused),
        cmocka_unit_test(test_config_read_published_values),
        cmocka_unit_test(test_config_read_own_keys_arrive),
        cmocka_unit_test(test_config_write_published_reads_back),
        cmocka_unit_test(test_config_write_every_transport_reads_back),
        cmocka_unit_test(test_config_write_comma_locale_still_reads_back),
        cmocka_unit_test(test_config_write_unsound_or_bad_text_refused),
        cmocka_unit_test(test_config_read_defaults_follow_target),
        cmocka_unit_test(test_config_read_words_of_yaml_understood),
        cmocka_unit_test(test_config_read_unknown_key_named_with_line),
        cmocka_unit_test(test_config_read_keys_without_effect_noted),
        cmocka_unit_test(test_config_read_untrainable_told_and_readable),
        cmocka_unit_test(test_config_read_transition_defaults_are_the_class_own),
        cmocka_unit_test(test_config_compare_names_what_differs),
        cmocka_unit_test(test_config_read_wrong_type_refused),
        cmocka_unit_test(test_config_read_hostile_yaml_refused),
        cmocka_unit_test(test_config_read_too_large_refused),
        cmocka_unit_test(test_config_read_mutated_never_crashes),
        cmocka_unit_test(test_config_check_defaults_are_sound),
        cmocka_unit_test(test_config_check_unsound_value_named),
        cmocka_unit_test(test_config_json_golden_text_read),
        cmocka_unit_test(test_config_json_bad_text_refused),
        cmocka_unit_test(test_hf_config_beyond_its_cap_refused),
        cmocka_unit_test(test_idx_read_plain_pictures_and_labels),
        cmocka_unit_test(test_idx_read_plain_before_compressed),
        cmocka_unit_test(test_idx_read_compressed_damage_refused),
        cmocka_unit_test(test_idx_read_bad_header_refused),
        cmocka_unit_test(test_idx_read_wrong_length_refused),
        cmocka_unit_test(test_idx_read_counts_differ_refused),
        cmocka_unit_test(test_idx_read_missing_names_package),
        cmocka_unit_test(test_idx_read_installed_set_complete),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
