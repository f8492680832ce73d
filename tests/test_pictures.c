/* What sets of pictures promise, whatever they are read from, and however hostile that is. */
#include <math.h>
#include <zlib.h>

#include "io/idx.h"
#include "io/npz_read.h"
#include "io/picture_array.h"
#include "picture_files.h"
#include "tim/pictures.h"

static TimPictureSet *opened(const char *source, int64_t count) {
    TimPictureSet *set;
    TimError err = {.text = ""};
    if (tim_picture_set_open(&set, source, &err) != TIM_OK) fail_msg("%s", err.text);
    assert_int_equal(tim_picture_set_count(set), count);
    return set;
}

static void open_fails(const char *source, TimStatus expected, const char *text) {
    TimPictureSet *set;
    TimError err;
    assert_int_equal(tim_picture_set_open(&set, source, &err), expected);
    if (!strstr(err.text, text)) fail_msg("\"%s\" does not hold \"%s\"", err.text, text);
    assert_null(set);
}

/* The next picture is these bytes. */
static void next_is(TimPictureSet *set, const uint8_t *pixels, int height, int width, int channels, int64_t label) {
    TimImage image;
    TimError err = {.text = ""};
    int64_t got = -7;
    if (tim_picture_set_next(set, &image, &got, &err) != TIM_OK) fail_msg("%s", err.text);
    assert_true(image.height == height && image.width == width && image.channels == channels);
    assert_memory_equal(image.pixels, pixels, (size_t)(height * width * channels));
    assert_int_equal(got, label);
    tim_image_done(&image);
}

static void next_fails(TimPictureSet *set, TimStatus expected, const char *text) {
    TimImage image;
    TimError err;
    int64_t label;
    assert_int_equal(tim_picture_set_next(set, &image, &label, &err), expected);
    if (!strstr(err.text, text)) fail_msg("\"%s\" does not hold \"%s\"", err.text, text);
    assert_null(image.pixels);
}

/* ---- npz ---- */

/* One member of a zip: what is stored there, and what is said about it. */
typedef struct Member {
    const char *name, *header; /* the npy header's dictionary; NULL: none */
    const void *data;
    size_t size;
    bool deflated;
    unsigned flags, method; /* method: 0: as `deflated` says */
    int64_t size_change;    /* added to the size that the directory claims */
    bool wide;              /* sizes and offset in a zip64 field */
} Member;

static void put(Bytes *out, uint64_t value, int bytes) {
    for (int i = 0; i < bytes; i++) out->data[out->count++] = (uint8_t)(value >> (8 * i));
}

static void put_bytes(Bytes *out, const void *bytes, size_t count) {
    memcpy(out->data + out->count, bytes, count);
    out->count += count;
}

/* An npy array: header and data, or the data alone. */
static Bytes npy(const Member *member) {
    const size_t length = member->header ? strlen(member->header) : 0;
    Bytes out = {.data = tim_alloc(length + member->size + 16, 1)};
    assert_non_null(out.data);
    if (member->header) {
        put_bytes(&out, "\x93NUMPY\x01\x00", 8);
        put(&out, length, 2);
        put_bytes(&out, member->header, length);
    }
    put_bytes(&out, member->data, member->size);
    return out;
}

static Bytes deflated(Bytes plain) {
    Bytes out = {.data = tim_alloc(plain.count + 1000, 1)};
    z_stream zlib = {
        .next_in = plain.data, .avail_in = (uInt)plain.count, .next_out = out.data, .avail_out = (uInt)plain.count + 1000};
    assert_int_equal(deflateInit2(&zlib, 9, Z_DEFLATED, -MAX_WBITS, 8, Z_DEFAULT_STRATEGY), Z_OK);
    assert_int_equal(deflate(&zlib, Z_FINISH), Z_STREAM_END);
    out.count = zlib.total_out;
    deflateEnd(&zlib);
    return out;
}

/* Appends a member to the file and its entry to the directory. */
static void add_member(Bytes *file, Bytes *directory, const Member *member) {
    const Bytes plain = npy(member), packed = member->deflated ? deflated(plain) : plain;
    const uint64_t offset = file->count, size = plain.count + (uint64_t)member->size_change;
    const size_t name = strlen(member->name);
    const uint32_t crc = (uint32_t)crc32_z(0, plain.data, plain.count);
    put(file, 0x04034B50, 4);
    put(file, 0, 8), put(file, 0, 8), put(file, 0, 6); /* what only the directory is asked for */
    put(file, name, 2);
    put(file, 3, 2); /* an extra field that the directory has not */
    put_bytes(file, member->name, name);
    put(file, 0, 3);
    put_bytes(file, packed.data, packed.count);
    put(directory, 0x02014B50, 4);
    put(directory, 20, 2);
    put(directory, 20, 2);
    put(directory, member->flags, 2);
    put(directory, member->method ? member->method : member->deflated ? 8 : 0, 2);
    put(directory, 0, 4);
    put(directory, crc, 4);
    put(directory, member->wide ? UINT32_MAX : packed.count, 4);
    put(directory, member->wide ? UINT32_MAX : size, 4);
    put(directory, name, 2);
    put(directory, member->wide ? 28 + 4 : 0, 2);
    put(directory, 0, 8), put(directory, 0, 2);
    put(directory, member->wide ? UINT32_MAX : offset, 4);
    put_bytes(directory, member->name, name);
    if (member->wide) {
        put(directory, 0x9999, 2); /* somebody else's field */
        put(directory, 0, 2);
        put(directory, 1, 2);
        put(directory, 24, 2);
        put(directory, size, 8);
        put(directory, packed.count, 8);
        put(directory, offset, 8);
    }
    tim_free(plain.data);
    if (member->deflated) tim_free(packed.data);
}

/* A zip of these members, as numpy writes small ones: without zip64 records at its end. */
static Bytes zip(const Member *members, size_t count) {
    Bytes file = {.data = tim_alloc(1 << 16, 1)}, directory = {.data = tim_alloc(1 << 12, 1)};
    assert_true(file.data && directory.data);
    for (size_t i = 0; i < count; i++) add_member(&file, &directory, &members[i]);
    const size_t start = file.count;
    put_bytes(&file, directory.data, directory.count);
    put(&file, 0x06054B50, 4);
    put(&file, 0, 4);
    put(&file, count, 2);
    put(&file, count, 2);
    put(&file, directory.count, 4);
    put(&file, start, 4);
    put(&file, 0, 2);
    tim_free(directory.data);
    return file;
}

static void write_zip(const Member *members, size_t count) {
    const Bytes file = zip(members, count);
    write_whole("a.npz", file.data, file.count);
    tim_free(file.data);
}

static const char header[] = "{'descr': '|u1', 'fortran_order': False, 'shape': (5, 4, 3, 3), }\n";

static void test_set_npz_of_adm_gives_pictures_and_labels(void **state) {
    (void)state;
    static const int64_t labels[5] = {0, -1, 999, INT64_MAX, INT64_MIN};
    for (int labelled = 0; labelled < 2; labelled++) {
        TimImage images = pattern(5 * 4, 3, 3);
        const int64_t *given = labelled ? labels : NULL;
        assert_int_equal(tim_npz_write_adm(path_of("a.npz"), images.pixels, 5, 4, 3, 3, given, NULL), TIM_OK);
        TimPictureSet *set = opened(path_of("a.npz"), 5);
        for (int i = 0; i < 5; i++) next_is(set, images.pixels + 36 * i, 4, 3, 3, labelled ? labels[i] : -1);
        next_fails(set, TIM_E_ARGUMENT, "all 5 pictures");
        next_fails(set, TIM_E_ARGUMENT, "rewind");
        tim_picture_set_close(set);
        tim_image_done(&images);
    }
    remove(path_of("a.npz"));
}

static void test_set_npz_deflated_among_others_rewinds(void **state) {
    (void)state;
    static const double mu[3] = {1, 2, 3};
    static const uint8_t labels[5 * 4] = {1, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0, 1, 0, 0, 0, 0, 0, 0x80, 7, 0, 0, 0};
    static const int64_t expected[5] = {1, -1, 256, INT32_MIN, 7};
    TimImage images = pattern(5 * 4, 3, 3);
    for (int wide = 0; wide < 2; wide++) {
        const Member members[] = {
            {"mu.npy", "{'descr': '<f8', 'fortran_order': False, 'shape': (3,), }\n", mu, sizeof mu, .wide = wide},
            {"arr_1.npy", "{'shape': (5,), 'fortran_order': False, 'descr': \"<i4\"}", labels, sizeof labels, .deflated = wide},
            {"arr_0.npy", header, images.pixels, 180, .deflated = true, .wide = wide},
            {"arr_00.npy", NULL, "x", 1, .method = 99}};
        write_zip(members, 4);
        TimPictureSet *set = opened(path_of("a.npz"), 5);
        for (int reads = 0; reads <= 5; reads++) { /* rewound after each number of pictures */
            for (int i = 0; i < reads; i++) next_is(set, images.pixels + 36 * i, 4, 3, 3, expected[i]);
            tim_picture_set_rewind(set);
        }
        next_is(set, images.pixels, 4, 3, 3, 1);
        tim_picture_set_close(set);
    }
    tim_image_done(&images);
    remove(path_of("a.npz"));
}

static void test_set_npz_of_something_else_fails(void **state) {
    (void)state;
    static const struct {
        const char *header;
        TimStatus status;
        const char *text;
    } cases[] = {
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (5, 3, 3), }", TIM_E_FORMAT, "<f4"},
        {"{'descr': '|i1', 'fortran_order': False, 'shape': (5, 4, 3, 3), }", TIM_E_FORMAT, "|i1"},
        {"{'descr': '|u1', 'fortran_order': True, 'shape': (5, 4, 3, 3), }", TIM_E_UNSUPPORTED, "fortran_order"},
        {"{'descr': '|u1', 'fortran_order': False, 'shape': (180,), }", TIM_E_FORMAT, "1 axes"},
        {"{'descr': '|u1', 'fortran_order': False, 'shape': (), }", TIM_E_FORMAT, "0 axes"},
        {"{'descr': '|u1', 'fortran_order': False, 'shape': (5, 3, 4, 4), }", TIM_E_FORMAT, "(5, 3, 4, 4)"},
        {"{'descr': '|u1', 'fortran_order': False, 'shape': (0, 3, 4, 3), }", TIM_E_FORMAT, "n >= 1"},
        {"{'descr': '|u1', 'fortran_order': False, 'shape': (5, 16385, 3, 3), }", TIM_E_FORMAT, "16384"},
        {"{'descr': '|u1', 'fortran_order': False, 'shape': (6, 4, 3, 3), }", TIM_E_FORMAT, "holds 180 bytes"},
        {"{'descr': '|u1', 'fortran_order': False, 'shape': (18446744073709551615, 4, 3, 3), }", TIM_E_FORMAT, "shape"},
        {"{'descr': '|u1', 'fortran_order': False, 'shape': (184467440737095516150, 4, 3, 3), }", TIM_E_FORMAT, "header"},
        {"{'descr': '|u1', 'fortran_order': False, 'shape': (1, 1, 1, 1, 1, 1, 1, 1, 1), }", TIM_E_FORMAT, "header"},
        {"{'descr': '|u1', 'fortran_order': False, 'shape': (-5, 4, 3, 3), }", TIM_E_FORMAT, "header"},
        {"{'descr': [('a', '|u1')], 'fortran_order': False, 'shape': (180,), }", TIM_E_FORMAT, "header"},
        {"{'descr': '|u1', 'fortran_order': False, }", TIM_E_FORMAT, "header"},
        {"{'descr': '|u1', 'fortran_order': False, 'shape': (5, 4, 3, 3), 'more': 1}", TIM_E_FORMAT, "header"},
        {"{'descr': '|u1', 'fortran_order': False, 'shape': (5, 4, 3, 3), } x", TIM_E_FORMAT, "header"},
        {"{'descr': '|u1", TIM_E_FORMAT, "header"},
        {"{", TIM_E_FORMAT, "header"},
        {"", TIM_E_FORMAT, "header"},
    };
    TimImage images = pattern(5 * 4, 3, 3);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        write_zip(&(Member){"arr_0.npy", cases[i].header, images.pixels, 180, .deflated = false}, 1);
        open_fails(path_of("a.npz"), cases[i].status, cases[i].text);
        open_fails(path_of("a.npz"), cases[i].status, path_of("a.npz"));
    }
    tim_image_done(&images);
    remove(path_of("a.npz"));
}

/* numpy reads the last of two members of one name, others the first; and what the directory calls a member it has to be. */
static void test_set_npz_of_two_minds_fails(void **state) {
    (void)state;
    TimImage images = pattern(5 * 4, 3, 3);
    const Member members[] = {{"arr_0.npy", header, images.pixels, 180, .deflated = false},
                              {"arr_0.npy", header, images.pixels, 180, .deflated = true}};
    write_zip(members, 2);
    open_fails(path_of("a.npz"), TIM_E_FORMAT, "two members arr_0.npy");
    write_zip(members, 1);
    const Bytes bytes = read_whole("a.npz");
    bytes.data[30] = 'A'; /* of its name in the local header */
    write_whole("a.npz", bytes.data, bytes.count);
    open_fails(path_of("a.npz"), TIM_E_FORMAT, "arr_0.npy: it has two names");
    tim_free(bytes.data);
    tim_image_done(&images);
    remove(path_of("a.npz"));
}

static void test_set_npz_labels_of_any_whole_numbers(void **state) {
    (void)state;
    static const struct {
        const char *descr;
        size_t size;
        int64_t expected[5];
    } cases[] = {{"|u1", 1, {1, 255, 3, 128, 7}},
                 {"|i1", 1, {1, -1, 3, -128, 7}},
                 {"<u2", 2, {0xFF01, 0x8003, 7, 0, 0}},
                 {"<i2", 2, {-255, -32765, 7, 0, 0}},
                 {"<u4", 4, {0x8003FF01, 7, 0, 0, 0}}};
    static const uint8_t labels[20] = {1, 255, 3, 128, 7};
    TimImage images = pattern(5 * 4, 3, 3);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[100];
        snprintf(text, sizeof text, "{'descr': '%s', 'fortran_order': False, 'shape': (5,), }", cases[i].descr);
        const Member members[] = {{"arr_0.npy", header, images.pixels, 180, .deflated = false},
                                  {"arr_1.npy", text, labels, 5 * cases[i].size, .deflated = false}};
        write_zip(members, 2);
        TimPictureSet *set = opened(path_of("a.npz"), 5);
        for (int k = 0; k < 5; k++) next_is(set, images.pixels + 36 * k, 4, 3, 3, cases[i].expected[k]);
        tim_picture_set_close(set);
    }
    tim_image_done(&images);
    remove(path_of("a.npz"));
}

static void test_set_npz_bad_labels_fail(void **state) {
    (void)state;
    static const char *const headers[] = {
        "{'descr': '<f8', 'fortran_order': False, 'shape': (5,), }", "{'descr': '<i8', 'fortran_order': False, 'shape': (4,), }",
        "{'descr': '<i8', 'fortran_order': False, 'shape': (5, 1), }", "{'descr': '<i4', 'fortran_order': False, 'shape': (5,), }",
        "{'descr': '<i4', 'fortran_order': False, 'shape': (10,), }"};
    TimImage images = pattern(5 * 4, 3, 3);
    for (size_t i = 0; i < sizeof headers / sizeof *headers; i++) {
        const Member members[] = {{"arr_0.npy", header, images.pixels, 180, .deflated = false},
                                  {"arr_1.npy", headers[i], images.pixels, 40, .deflated = false}};
        write_zip(members, 2);
        open_fails(path_of("a.npz"), TIM_E_FORMAT, "arr_1.npy");
    }
    tim_image_done(&images);
    remove(path_of("a.npz"));
}

static void test_set_npz_hostile_members_fail(void **state) {
    (void)state;
    TimImage images = pattern(5 * 4, 3, 3);
    const struct {
        Member member;
        TimStatus status;
        const char *text;
    } cases[] = {
        {{"arr_1.npy", header, images.pixels, 180, .deflated = false}, TIM_E_FORMAT, "no member arr_0.npy"},
        {{"arr_0.npy", header, images.pixels, 180, .flags = 1}, TIM_E_UNSUPPORTED, "encrypted"},
        {{"arr_0.npy", header, images.pixels, 180, .method = 12}, TIM_E_UNSUPPORTED, "method 12"},
        {{"arr_0.npy", header, images.pixels, 180, .size_change = 1}, TIM_E_FORMAT, "more bytes"},
        {{"arr_0.npy", header, images.pixels, 180, .size_change = -1}, TIM_E_FORMAT, "more bytes"},
        {{"arr_0.npy", header, images.pixels, 180, .deflated = true, .size_change = 1}, TIM_E_FORMAT, "holds 181 bytes"},
        {{"arr_0.npy", header, images.pixels, 180, .deflated = true, .size_change = 1 << 30}, TIM_E_FORMAT, "more bytes"},
        {{"arr_0.npy", header, images.pixels, 180, .wide = true, .size_change = INT64_MAX}, TIM_E_FORMAT, "more bytes"},
        {{"arr_0.npy", NULL, images.pixels, 180, .deflated = false}, TIM_E_FORMAT, "npy array"},
        {{"arr_0.npy", NULL, images.pixels, 0, .deflated = false}, TIM_E_FORMAT, "too early"},
        {{"arr_0.npy", NULL, "\x93NUMPY\x02\x00\xFF\xFF\xFF\xFF", 12, .deflated = false}, TIM_E_FORMAT, "10000"},
        {{"arr_0.npy", NULL, "\x93NUMPY\x01\x00\xFF\x00", 10, .deflated = false}, TIM_E_FORMAT, "too early"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        write_zip(&cases[i].member, 1);
        open_fails(path_of("a.npz"), cases[i].status, cases[i].text);
    }
    tim_image_done(&images);
    remove(path_of("a.npz"));
}

/* The first picture still comes; the set that failed says so until it is rewound. */
static void test_set_npz_damaged_pictures_fail_when_read(void **state) {
    (void)state;
    TimImage images = pattern(5 * 4, 3, 3);
    write_zip(&(Member){"arr_0.npy", header, images.pixels, 180, .deflated = false}, 1);
    Bytes bytes = read_whole("a.npz");
    bytes.data[30 + 9 + 3 + 10 + strlen(header) + 40] ^= 1; /* in the second picture */
    write_whole("a.npz", bytes.data, bytes.count);
    TimPictureSet *set = opened(path_of("a.npz"), 5);
    for (int turn = 0; turn < 2; turn++) {
        TimImage image;
        int64_t label;
        next_is(set, images.pixels, 4, 3, 3, -1);
        for (int i = 1; i < 4; i++) {
            assert_int_equal(tim_picture_set_next(set, &image, &label, NULL), TIM_OK);
            tim_image_done(&image);
        }
        next_fails(set, TIM_E_FORMAT, "checksum");
        next_fails(set, TIM_E_ARGUMENT, "rewind");
        tim_picture_set_rewind(set);
    }
    tim_picture_set_close(set);
    tim_free(bytes.data);
    tim_image_done(&images);
    remove(path_of("a.npz"));
}

/* Reads the whole set; true when nothing failed. */
static bool reads(const char *source) {
    TimPictureSet *set;
    if (tim_picture_set_open(&set, source, NULL) != TIM_OK) return false;
    TimStatus status = TIM_OK;
    for (int64_t i = 0; status == TIM_OK && i < tim_picture_set_count(set); i++) {
        TimImage image;
        int64_t label;
        status = tim_picture_set_next(set, &image, &label, NULL);
        tim_image_done(&image);
    }
    tim_picture_set_close(set);
    return status == TIM_OK;
}

/* A file cut short never reads; one with a changed byte reads only where that byte means nothing (dates and such). */
static void test_set_npz_cut_or_changed_anywhere_is_survived(void **state) {
    (void)state;
    TimImage images = pattern(5 * 4, 3, 3);
    for (int packed = 0; packed < 2; packed++) {
        const Member members[] = {{"mu.npy", header, images.pixels, 18, .wide = packed},
                                  {"arr_0.npy", header, images.pixels, 180, .deflated = packed, .wide = packed}};
        Bytes file = zip(members, 2);
        const size_t data = file.count - 22 - 2 * 46 - 15 - (packed ? 64 : 0) - 180;
        for (size_t count = 0; count < file.count; count++) {
            write_whole("a.npz", file.data, count);
            assert_false(reads(path_of("a.npz")));
        }
        for (size_t at = 0; at < 2 * file.count; at++) {
            const uint8_t change = at % 2 ? 0xFF : 0x04;
            file.data[at / 2] ^= change;
            write_whole("a.npz", file.data, file.count);
            const bool whole = reads(path_of("a.npz"));
            assert_false(whole && !packed && at / 2 >= data && at / 2 < data + 180);
            file.data[at / 2] ^= change;
        }
        tim_free(file.data);
    }
    tim_image_done(&images);
    remove(path_of("a.npz"));
}

/* ---- arrays of numbers ---- */

static TimStatus read_numbers(double values[6], TimError *err) {
    static const uint64_t dims[] = {2, 3};
    TimFile file;
    TIM_TRY(tim_file_open(&file, path_of("a.npz"), err));
    const TimStatus status = tim_npz_read_f64(&file, path_of("a.npz"), "sigma", 2, dims, values, err);
    tim_file_close(&file);
    return status;
}

static void test_npz_numbers_of_both_sizes_are_read(void **state) {
    (void)state;
    static const double wide[6] = {0, -1.5, 3e300, INFINITY, 1e-310, 7};
    static const float narrow[6] = {0, -1.5F, 3e30F, -INFINITY, 1e-40F, 7};
    double values[6];
    for (int packed = 0; packed < 2; packed++) {
        write_zip(&(Member){"sigma.npy", "{'descr': '<f8', 'fortran_order': False, 'shape': (2, 3), }", wide, sizeof wide,
                            .deflated = packed},
                  1);
        assert_int_equal(read_numbers(values, NULL), TIM_OK);
        assert_memory_equal(values, wide, sizeof wide);
        write_zip(&(Member){"sigma.npy", "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }", narrow, sizeof narrow,
                            .deflated = packed},
                  1);
        assert_int_equal(read_numbers(values, NULL), TIM_OK);
        for (int i = 0; i < 6; i++) assert_true(values[i] == (double)narrow[i]);
    }
    remove(path_of("a.npz"));
}

static void test_npz_numbers_of_something_else_fail(void **state) {
    (void)state;
    static const char good[] = "{'descr': '<f8', 'fortran_order': False, 'shape': (2, 3), }";
    static const uint8_t bytes[48] = {0};
    static const struct {
        const char *name, *header;
        size_t size;
        TimStatus status;
        const char *text;
    } cases[] = {
        {"mu.npy", good, 48, TIM_E_FORMAT, "no member sigma.npy"},
        {"sigma.npy", "{'descr': '<f8', 'fortran_order': False, 'shape': (3, 2), }", 48, TIM_E_FORMAT, "the shape (3, 2); wanted"},
        {"sigma.npy", "{'descr': '<f8', 'fortran_order': False, 'shape': (6,), }", 48, TIM_E_FORMAT, "float32) and (2, 3)"},
        {"sigma.npy", "{'descr': '<f8', 'fortran_order': False, 'shape': (2, 3, 1), }", 48, TIM_E_FORMAT, "(2, 3, 1)"},
        {"sigma.npy", "{'descr': '<f8', 'fortran_order': False, 'shape': (), }", 48, TIM_E_FORMAT, "the shape ()"},
        {"sigma.npy", "{'descr': '>f8', 'fortran_order': False, 'shape': (2, 3), }", 48, TIM_E_FORMAT, "the type >f8"},
        {"sigma.npy", "{'descr': '<i8', 'fortran_order': False, 'shape': (2, 3), }", 48, TIM_E_FORMAT, "the type <i8"},
        {"sigma.npy", "{'descr': '<f8', 'fortran_order': True, 'shape': (2, 3), }", 48, TIM_E_UNSUPPORTED, "fortran_order"},
        {"sigma.npy", good, 40, TIM_E_FORMAT, "holds 40 bytes for 6 numbers"},
        {"sigma.npy", "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }", 48, TIM_E_FORMAT, "holds 48 bytes"},
        {"sigma.npy", NULL, 48, TIM_E_FORMAT, "npy array"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        double values[6];
        TimError err;
        write_zip(&(Member){cases[i].name, cases[i].header, bytes, cases[i].size, .deflated = false}, 1);
        assert_int_equal(read_numbers(values, &err), cases[i].status);
        if (!strstr(err.text, cases[i].text)) fail_msg("\"%s\" does not say \"%s\"", err.text, cases[i].text);
    }
    remove(path_of("a.npz"));
}

static void test_npz_numbers_cut_anywhere_are_survived(void **state) {
    (void)state;
    static const double wide[6] = {1, 2, 3, 4, 5, 6};
    for (int packed = 0; packed < 2; packed++) {
        const Member member = {"sigma.npy", "{'descr': '<f8', 'fortran_order': False, 'shape': (2, 3), }", wide, sizeof wide,
                               .deflated = packed};
        const Bytes file = zip(&member, 1);
        double values[6];
        for (size_t count = 0; count < file.count; count++) {
            write_whole("a.npz", file.data, count);
            assert_int_not_equal(read_numbers(values, NULL), TIM_OK);
        }
        for (size_t at = 0; at < file.count; at++) {
            file.data[at] ^= 0xFF;
            write_whole("a.npz", file.data, file.count);
            if (read_numbers(values, NULL) == TIM_OK) assert_memory_equal(values, wide, sizeof wide);
            file.data[at] ^= 0xFF;
        }
        tim_free(file.data);
    }
    remove(path_of("a.npz"));
}

/* ---- folders ---- */

/* A gray picture of one row, whose width tells it from others. */
static void put_picture(const char *name, int width) {
    TimImage image = pattern(1, width, 1);
    assert_int_equal(tim_image_write_png(&image, path_of(name), NULL, 0, NULL), TIM_OK);
    tim_image_done(&image);
}

static void next_has(TimPictureSet *set, int width, int64_t label) {
    TimImage image = pattern(1, width, 1);
    next_is(set, image.pixels, 1, width, 1, label);
    tim_image_done(&image);
}

static void put_folder(const char *name) {
    assert_int_equal(mkdir(path_of(name), 0700), 0);
}

static void test_set_folder_is_sorted_by_bytes_and_ignores_others(void **state) {
    (void)state;
    static const char *const names[] = {"s/b.png", "s/B.PNG", "s/a10.webp", "s/a2.jpg", "s/\xC3\xA9.jpeg"}; /* all PNG inside */
    static const int order[] = {1, 2, 3, 0, 4};
    put_folder("s");
    put_folder("s/z");
    put_folder("s/folder.png");
    for (int i = 0; i < 5; i++) put_picture(names[i], 10 + i);
    put_picture("s/.hidden.png", 1);
    put_picture("s/png", 1);
    put_picture("s/a.txt", 1);
    put_picture("s/z/c.png", 1);
    TimPictureSet *set = opened(path_of("s"), 5);
    for (int turn = 0; turn < 2; turn++) {
        for (int i = 0; i < 5; i++) next_has(set, 10 + order[i], -1);
        next_fails(set, TIM_E_ARGUMENT, "all 5");
        tim_picture_set_rewind(set);
    }
    tim_picture_set_close(set);
    for (int i = 0; i < 5; i++) remove(path_of(names[i]));
    remove(path_of("s/.hidden.png")), remove(path_of("s/png")), remove(path_of("s/a.txt")), remove(path_of("s/z/c.png"));
    remove(path_of("s/z")), remove(path_of("s/folder.png")), remove(path_of("s"));
}

/* Folders, those above before those in them, and in these pictures 10, 11, ... wide. */
static void put_tree(const char *const *folders, int folder_count, const char *const *names, int count) {
    for (int i = 0; i < folder_count; i++) put_folder(folders[i]);
    for (int i = 0; i < count; i++) put_picture(names[i], 10 + i);
}

static void remove_tree(const char *const *folders, int folder_count, const char *const *names, int count) {
    for (int i = 0; i < count; i++) remove(path_of(names[i]));
    for (int i = folder_count - 1; i >= 0; i--) remove(path_of(folders[i]));
}

static void test_set_folder_of_folders_is_labelled(void **state) {
    (void)state;
    static const char *const folders[] = {"s", "s/b", "s/a", "s/B", "s/c", "s/c/d"}; /* classes B 0, a 1, b 2, c 3 */
    static const char *const names[] = {"s/b/2.png", "s/b/1.png", "s/a/9.png", "s/c/0.png", "s/c/d/0.png", "s/note.txt"};
    put_tree(folders, 6, names, 6);
    TimPictureSet *set = opened(path_of("s"), 4);
    next_has(set, 12, 1);
    next_has(set, 11, 2);
    next_has(set, 10, 2);
    next_has(set, 13, 3);
    tim_picture_set_close(set);
    remove_tree(folders, 6, names, 6);
}

/* The classes 3 and 10 of a model are not 0 and 1, and 10 does not come before 3. */
static void test_set_folders_of_numbers_are_those_classes(void **state) {
    (void)state;
    static const char *const folders[] = {"s", "s/10", "s/3", "s/07"};
    static const char *const names[] = {"s/10/a.png", "s/3/a.png", "s/3/b.png", "s/07/c.png"};
    put_tree(folders, 4, names, 4);
    TimPictureSet *set = opened(path_of("s"), 4);
    next_has(set, 11, 3);
    next_has(set, 12, 3);
    next_has(set, 13, 7);
    next_has(set, 10, 10);
    tim_picture_set_close(set);
    put_folder("s/x"); /* not all are numbers */
    set = opened(path_of("s"), 4);
    next_has(set, 13, 0);
    next_has(set, 10, 1);
    tim_picture_set_close(set);
    remove(path_of("s/x"));
    remove_tree(folders, 4, names, 4);
}

static void test_set_folder_without_pictures_fails(void **state) {
    (void)state;
    put_folder("s");
    open_fails(path_of("s"), TIM_E_ARGUMENT, path_of("s"));
    put_folder("s/a");
    open_fails(path_of("s"), TIM_E_ARGUMENT, ".png, .jpg");
    assert_int_equal(symlink("nowhere", path_of("s/a/x.png")), 0);
    open_fails(path_of("s"), TIM_E_IO, "x.png");
    remove(path_of("s/a/x.png")), remove(path_of("s/a")), remove(path_of("s"));
}

static void test_set_folder_stays_at_a_damaged_picture(void **state) {
    (void)state;
    put_folder("s");
    put_picture("s/1.png", 10);
    put_picture("s/3.png", 12);
    write_whole("s/2.png", (const uint8_t *)"GIF89a", 6);
    TimPictureSet *set = opened(path_of("s"), 3);
    next_has(set, 10, -1);
    next_fails(set, TIM_E_FORMAT, "2.png");
    next_fails(set, TIM_E_FORMAT, "GIF");
    put_picture("s/2.png", 11);
    next_has(set, 11, -1);
    next_has(set, 12, -1);
    tim_picture_set_close(set);
    remove(path_of("s/1.png")), remove(path_of("s/2.png")), remove(path_of("s/3.png")), remove(path_of("s"));
}

/* ---- IDX ---- */

static void test_set_idx_folder_gives_both_splits(void **state) {
    (void)state;
    static const uint8_t images[] = {0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 3, 1, 2, 3, 4, 5, 6};
    static const uint8_t labels[] = {0, 0, 8, 1, 0, 0, 0, 2, 7, 255};
    char source[256];
    static const char *const splits[][2] = {{"train", "train"}, {"t10k", "test"}};
    put_folder("s");
    for (int i = 0; i < 2; i++) {
        char name[64];
        snprintf(source, sizeof source, "%s:%s", path_of("s"), splits[i][1]);
        open_fails(source, TIM_E_IO, splits[i][0]);
        snprintf(name, sizeof name, "s/%s-images-idx3-ubyte", splits[i][0]);
        write_whole(name, images, sizeof images);
        snprintf(name, sizeof name, "s/%s-labels-idx1-ubyte", splits[i][0]);
        write_whole(name, labels, sizeof labels);
        TimPictureSet *set = opened(source, 2);
        next_is(set, images + 16, 1, 3, 1, 7);
        next_is(set, images + 19, 1, 3, 1, 255);
        next_fails(set, TIM_E_ARGUMENT, "all 2");
        tim_picture_set_rewind(set);
        next_is(set, images + 16, 1, 3, 1, 7);
        tim_picture_set_close(set);
        write_whole(name, labels, sizeof labels - 1);
        open_fails(source, TIM_E_FORMAT, "labels");
        remove(path_of(name));
        snprintf(name, sizeof name, "s/%s-images-idx3-ubyte", splits[i][0]);
        remove(path_of(name));
    }
    remove(path_of("s"));
}

static void test_set_fashion_mnist_is_debians(void **state) {
    (void)state;
    if (access(TIM_IDX_FASHION_MNIST, R_OK) != 0) skip();
    TimIdxData data;
    assert_int_equal(tim_idx_read(&data, TIM_IDX_FASHION_MNIST, "t10k", NULL), TIM_OK);
    TimPictureSet *set = opened("fashion-mnist:test", 10000);
    for (size_t i = 0; i < 10000; i++) next_is(set, data.images + 784 * i, 28, 28, 1, data.labels[i]);
    tim_picture_set_close(set);
    tim_idx_done(&data);
}

/* As Pillow's convert("RGB") makes them, which evaluations elsewhere go through. */
static void test_array_of_gray_and_colour_is_in_colour(void **state) {
    (void)state;
    static uint8_t gray[] = {10, 20}, colour[] = {1, 2, 3, 4, 5, 6};
    static const uint8_t all[] = {10, 10, 10, 20, 20, 20, 1, 2, 3, 4, 5, 6, 10, 10, 10, 20, 20, 20};
    const TimImage images[] = {{gray, 1, 2, 1}, {colour, 1, 2, 3}, {gray, 1, 2, 1}};
    const char *const names[] = {"mixed/a.png", "mixed/b.png", "mixed/c.png"};
    TimPictureArray array;
    TimError err = {.text = ""};
    assert_int_equal(mkdir(path_of("mixed"), 0777), 0);
    for (int i = 0; i < 3; i++) assert_int_equal(tim_image_write_png(&images[i], path_of(names[i]), NULL, 0, &err), TIM_OK);
    assert_int_equal(tim_picture_array_read(&array, path_of("mixed"), 0, &err), TIM_OK);
    assert_int_equal(array.channels, 3);
    assert_memory_equal(array.pixels, all, sizeof all);
    tim_picture_array_done(&array);
    for (int i = 0; i < 3; i++) unlink(path_of(names[i]));
    rmdir(path_of("mixed"));
}

static void test_set_missing_source_names_it(void **state) {
    (void)state;
    open_fails(path_of("none"), TIM_E_IO, path_of("none"));
    open_fails("", TIM_E_IO, "folder");
    open_fails(":train", TIM_E_IO, ":train");
    write_whole("a.png", (const uint8_t *)"hello", 5);
    open_fails(path_of("a.png"), TIM_E_FORMAT, "npz");
    remove(path_of("a.png"));
    tim_picture_set_close(NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_set_npz_of_adm_gives_pictures_and_labels),
        cmocka_unit_test(test_set_npz_deflated_among_others_rewinds),
        cmocka_unit_test(test_set_npz_of_something_else_fails),
        cmocka_unit_test(test_set_npz_of_two_minds_fails),
        cmocka_unit_test(test_set_npz_labels_of_any_whole_numbers),
        cmocka_unit_test(test_set_npz_bad_labels_fail),
        cmocka_unit_test(test_set_npz_hostile_members_fail),
        cmocka_unit_test(test_set_npz_damaged_pictures_fail_when_read),
        cmocka_unit_test(test_set_npz_cut_or_changed_anywhere_is_survived),
        cmocka_unit_test(test_npz_numbers_of_both_sizes_are_read),
        cmocka_unit_test(test_npz_numbers_of_something_else_fail),
        cmocka_unit_test(test_npz_numbers_cut_anywhere_are_survived),
        cmocka_unit_test(test_set_folder_is_sorted_by_bytes_and_ignores_others),
        cmocka_unit_test(test_set_folder_of_folders_is_labelled),
        cmocka_unit_test(test_set_folders_of_numbers_are_those_classes),
        cmocka_unit_test(test_set_folder_without_pictures_fails),
        cmocka_unit_test(test_set_folder_stays_at_a_damaged_picture),
        cmocka_unit_test(test_set_idx_folder_gives_both_splits),
        cmocka_unit_test(test_set_fashion_mnist_is_debians),
        cmocka_unit_test(test_array_of_gray_and_colour_is_in_colour),
        cmocka_unit_test(test_set_missing_source_names_it),
    };
    return cmocka_run_group_tests_name("pictures", tests, make_folder, remove_folder);
}
