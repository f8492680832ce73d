/* What pictures, PNG files, contact sheets and ADM's npz files promise. */
#include <math.h>
#include <png.h>
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

#include "base/memory.h"
#include "full_disk.h"
#include "io/font.h"
#include "io/npz.h"
#include "io/png.h"
#include "picture_files.h"

static bool contains(Bytes bytes, const char *needle, size_t count) {
    for (size_t i = 0; i + count <= bytes.count; i++)
        if (memcmp(bytes.data + i, needle, count) == 0) return true;
    return false;
}

/* ---- images ---- */

static void test_image_new_bad_sizes_fail_and_leave_it_empty(void **state) {
    (void)state;
    static const int bad[][3] = {{0, 1, 1}, {1, 0, 1}, {-1, 1, 3}, {TIM_IMAGE_MAX_SIDE + 1, 1, 1}, {1, TIM_IMAGE_MAX_SIDE + 1, 1},
                                 {1, 1, 0}, {1, 1, 2}, {1, 1, 4}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        TimError err;
        TimImage image;
        assert_int_equal(tim_image_new(&image, bad[i][0], bad[i][1], bad[i][2], &err), TIM_E_ARGUMENT);
        assert_null(image.pixels);
        tim_image_done(&image);
    }
}

static uint8_t rounded(float x, TimImageRounding rounding) {
    TimImage image;
    assert_int_equal(tim_image_from_chw(&image, &x, 1, 1, 1, rounding, NULL), TIM_OK);
    const uint8_t byte = image.pixels[0];
    tim_image_done(&image);
    return byte;
}

/* Expected values: the two formulas in numpy's float32. */
static void test_image_from_chw_edge_values_round_as_published(void **state) {
    (void)state;
    static const struct {
        float x;
        uint8_t t2i, c2i;
    } cases[] = {
        {-1.0F, 0, 0},
        {1.0F, 255, 255},
        {0.0F, 128, 127},
        {-1.5F, 0, 0},
        {1.5F, 255, 255},
        {-1e30F, 0, 0},
        {1e30F, 255, 255},
        {-0x1.fdfdfep-1F, 1, 0}, /* t2i reaches 1 */
        {-0x1.fdfe00p-1F, 0, 0}, /* and just does not */
        {-0x1.fbfbfap-1F, 1, 1}, /* c2i reaches 1 */
        {-0x1.fbfbfcp-1F, 1, 0},
        {0x1.212120p-1F, 200, 199}, /* t2i reaches 200 */
        {0x1.21211ep-1F, 199, 199},
        {0x1.232324p-1F, 200, 200}, /* c2i reaches 200 */
        {0x1.232322p-1F, 200, 199},
        {0x1.fdfdfcp-1F, 255, 254}, /* t2i reaches 255 */
        {0x1.fdfdfap-1F, 254, 254},
        {-0x1.f9f9fap-1F, 2, 1}, /* a fused multiply-add would give 1 */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(rounded(cases[i].x, TIM_IMAGE_ROUNDING_T2I), cases[i].t2i);
        assert_int_equal(rounded(cases[i].x, TIM_IMAGE_ROUNDING_C2I), cases[i].c2i);
    }
}

static void test_image_from_chw_not_finite_becomes_end_or_zero(void **state) {
    (void)state;
    for (int rounding = TIM_IMAGE_ROUNDING_T2I; rounding <= TIM_IMAGE_ROUNDING_C2I; rounding++) {
        assert_int_equal(rounded(NAN, (TimImageRounding)rounding), 0);
        assert_int_equal(rounded(-NAN, (TimImageRounding)rounding), 0);
        assert_int_equal(rounded(INFINITY, (TimImageRounding)rounding), 255);
        assert_int_equal(rounded(-INFINITY, (TimImageRounding)rounding), 0);
    }
}

static void test_image_from_chw_planes_become_interleaved(void **state) {
    (void)state;
    static const float chw[3 * 2 * 2] = {-1, -1, -1, 1, -1, -1, 1, -1, -1, 1, -1, -1};
    static const uint8_t expected[2 * 2 * 3] = {0, 0, 0, 0, 0, 255, 0, 255, 0, 255, 0, 0};
    TimImage image;
    assert_int_equal(tim_image_from_chw(&image, chw, 3, 2, 2, TIM_IMAGE_ROUNDING_C2I, NULL), TIM_OK);
    assert_memory_equal(image.pixels, expected, sizeof expected);
    tim_image_done(&image);
}

static void test_image_from_chw_unknown_rounding_fails(void **state) {
    (void)state;
    const float x = 0;
    TimImage image;
    TimError err;
    assert_int_equal(tim_image_from_chw(&image, &x, 1, 1, 1, (TimImageRounding)7, &err), TIM_E_ARGUMENT);
    assert_null(image.pixels);
}

/* ---- resizing; tests/golden/image holds what Pillow makes of a picture ---- */

static TimImage resized(const TimImage *image, int height, int width, TimImageFilter filter) {
    TimImage out;
    assert_int_equal(tim_image_resize(&out, image, height, width, filter, NULL), TIM_OK);
    assert_true(out.height == height && out.width == width && out.channels == image->channels);
    return out;
}

/* Expected values: Pillow's. */
static void test_image_resize_small_rows_are_pillows(void **state) {
    (void)state;
    static const uint8_t in[5] = {0, 255, 10, 200, 90};
    static const struct {
        TimImageFilter filter;
        uint8_t larger[7], smaller[2];
    } cases[] = {
        {TIM_IMAGE_BOX, {0, 255, 255, 10, 200, 200, 90}, {88, 145}},
        {TIM_IMAGE_BILINEAR, {0, 146, 185, 10, 146, 153, 90}, {116, 124}},
        {TIM_IMAGE_BICUBIC, {0, 159, 209, 10, 155, 164, 84}, {111, 124}},
        {TIM_IMAGE_LANCZOS, {0, 167, 214, 10, 147, 175, 76}, {110, 127}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (int tall = 0; tall < 2; tall++) {
            TimImage image;
            assert_int_equal(tim_image_new(&image, tall ? 5 : 1, tall ? 1 : 5, 1, NULL), TIM_OK);
            memcpy(image.pixels, in, sizeof in);
            TimImage larger = resized(&image, tall ? 7 : 1, tall ? 1 : 7, cases[i].filter);
            TimImage smaller = resized(&image, tall ? 2 : 1, tall ? 1 : 2, cases[i].filter);
            assert_memory_equal(larger.pixels, cases[i].larger, 7);
            assert_memory_equal(smaller.pixels, cases[i].smaller, 2);
            tim_image_done(&image);
            tim_image_done(&larger);
            tim_image_done(&smaller);
        }
}

/* Four rows less and one column: the height comes first. Expected values: Pillow 13.0's; the other order gives 168, 141 and 177. */
static void test_image_resize_many_rows_less_height_comes_first(void **state) {
    (void)state;
    static const uint8_t in[7 * 3] = {254, 130, 238, 113, 145, 35,  197, 137, 223, 16, 140,
                                      132, 135, 153, 224, 87,  239, 51,  54,  242, 204};
    static const uint8_t expected[3 * 2] = {167, 142, 113, 162, 135, 176};
    TimImage image;
    assert_int_equal(tim_image_new(&image, 7, 3, 1, NULL), TIM_OK);
    memcpy(image.pixels, in, sizeof in);
    TimImage out = resized(&image, 3, 2, TIM_IMAGE_BICUBIC);
    assert_memory_equal(out.pixels, expected, sizeof expected);
    tim_image_done(&image);
    tim_image_done(&out);
}

static void test_image_resize_same_size_copies(void **state) {
    (void)state;
    TimImage image = pattern(5, 7, 3);
    for (int filter = TIM_IMAGE_BOX; filter <= TIM_IMAGE_LANCZOS; filter++) {
        TimImage out = resized(&image, 5, 7, (TimImageFilter)filter);
        same_image(&image, &out);
        assert_ptr_not_equal(image.pixels, out.pixels);
        tim_image_done(&out);
    }
    tim_image_done(&image);
}

/* Weights sum to 1: what is constant stays so, also where a side is 1 and a window reaches over both edges. */
static void test_image_resize_constant_stays_constant(void **state) {
    (void)state;
    static const int sizes[][4] = {{1, 1, 9, 5}, {9, 5, 1, 1}, {1, 16384, 2, 3}, {3, 1, 1, 16384}, {4, 6, 31, 2}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (int filter = TIM_IMAGE_BOX; filter <= TIM_IMAGE_LANCZOS; filter++) {
            TimImage image;
            assert_int_equal(tim_image_new(&image, sizes[i][0], sizes[i][1], 3, NULL), TIM_OK);
            memset(image.pixels, 255, (size_t)(sizes[i][0] * sizes[i][1] * 3));
            TimImage out = resized(&image, sizes[i][2], sizes[i][3], (TimImageFilter)filter);
            for (int k = 0; k < sizes[i][2] * sizes[i][3] * 3; k++) assert_int_equal(out.pixels[k], 255);
            tim_image_done(&image);
            tim_image_done(&out);
        }
}

static void test_image_resize_channels_do_not_mix(void **state) {
    (void)state;
    TimImage color = pattern(11, 13, 3), gray;
    for (int filter = TIM_IMAGE_BOX; filter <= TIM_IMAGE_LANCZOS; filter++)
        for (int c = 0; c < 3; c++) {
            assert_int_equal(tim_image_new(&gray, 11, 13, 1, NULL), TIM_OK);
            for (int i = 0; i < 11 * 13; i++) gray.pixels[i] = color.pixels[3 * i + c];
            TimImage one = resized(&gray, 6, 29, (TimImageFilter)filter), all = resized(&color, 6, 29, (TimImageFilter)filter);
            for (int i = 0; i < 6 * 29; i++) assert_int_equal(one.pixels[i], all.pixels[3 * i + c]);
            tim_image_done(&gray);
            tim_image_done(&one);
            tim_image_done(&all);
        }
    tim_image_done(&color);
}

static void test_image_resize_bad_arguments_fail(void **state) {
    (void)state;
    static const int bad[][3] = {{0, 1, 0}, {1, 0, 0}, {-1, 1, 0}, {TIM_IMAGE_MAX_SIDE + 1, 1, 0}, {1, TIM_IMAGE_MAX_SIDE + 1, 0},
                                 {1, 1, 4}, {1, 1, -1}};
    TimImage image = pattern(2, 2, 1), out;
    const TimImage empty = {0};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        TimError err;
        const TimStatus status = tim_image_resize(&out, &image, bad[i][0], bad[i][1], (TimImageFilter)bad[i][2], &err);
        assert_int_equal(status, TIM_E_ARGUMENT);
        assert_null(out.pixels);
    }
    assert_int_equal(tim_image_resize(&out, &empty, 1, 1, TIM_IMAGE_BOX, NULL), TIM_E_ARGUMENT);
    assert_null(out.pixels);
    tim_image_done(&image);
}

/* ---- PNG ---- */

static void test_png_round_trip_gray_and_rgb_keeps_bytes(void **state) {
    (void)state;
    static const int sizes[][2] = {{1, 1}, {1, 7}, {5, 1}, {13, 17}};
    for (int i = 0; i < 8; i++) {
        TimImage image = pattern(sizes[i / 2][0], sizes[i / 2][1], i % 2 ? 3 : 1), back;
        assert_int_equal(tim_image_write_png(&image, path_of("a.png"), NULL, 0, NULL), TIM_OK);
        assert_false(exists("a.png.tmp"));
        assert_int_equal(tim_image_read_png(&back, path_of("a.png"), NULL), TIM_OK);
        same_image(&image, &back);
        tim_image_done(&image);
        tim_image_done(&back);
    }
    remove(path_of("a.png"));
}

static void test_png_write_texts_become_chunks(void **state) {
    (void)state;
    static const char ascii[] = "tEXtprompt\0a red cube", utf8[] = "iTXttitle\0\0\0\0\0caf\xC3\xA9";
    const TimImageText texts[] = {{"prompt", "a red cube"}, {"title", "caf\xC3\xA9"}, {"empty", ""}};
    TimImage image = pattern(2, 2, 3), back;
    assert_int_equal(tim_image_write_png(&image, path_of("a.png"), texts, 3, NULL), TIM_OK);
    const Bytes bytes = read_whole("a.png");
    assert_true(contains(bytes, ascii, sizeof ascii - 1));
    assert_true(contains(bytes, utf8, sizeof utf8 - 1));
    assert_int_equal(tim_image_read_png(&back, path_of("a.png"), NULL), TIM_OK);
    same_image(&image, &back);
    tim_free(bytes.data);
    tim_image_done(&image);
    tim_image_done(&back);
    remove(path_of("a.png"));
}

/* A changed seed would draw another picture in silence. */
static void test_png_read_text_of_a_damaged_file_fails(void **state) {
    (void)state;
    const TimImageText text = {"parameters", "seed 7"};
    char value[16];
    TimError err;
    TimImage image = pattern(2, 2, 3);
    assert_int_equal(tim_image_write_png(&image, path_of("a.png"), &text, 1, NULL), TIM_OK);
    assert_int_equal(tim_image_read_text(value, sizeof value, "parameters", path_of("a.png"), NULL), TIM_OK);
    assert_string_equal(value, "seed 7");
    const Bytes bytes = read_whole("a.png");
    for (size_t i = 0; i + 6 <= bytes.count; i++)
        if (memcmp(bytes.data + i, "seed 7", 6) == 0) bytes.data[i + 5] ^= 1;
    write_whole("a.png", bytes.data, bytes.count);
    assert_int_equal(tim_image_read_text(value, sizeof value, "parameters", path_of("a.png"), &err), TIM_E_FORMAT);
    assert_non_null(strstr(err.text, "'parameters' differs from its checksum"));
    tim_free(bytes.data);
    tim_image_done(&image);
    remove(path_of("a.png"));
}

static void assert_text(const char *chunk, size_t size, const char *text) {
    char bytes[64] = "\x89PNG\r\n\x1A\n", value[9]; /* room for the longest */
    memcpy(bytes + 8, chunk, size);
    write_whole("a.png", (const uint8_t *)bytes, 8 + size);
    assert_int_equal(tim_image_read_text(value, sizeof value, "parameters", path_of("a.png"), NULL), TIM_OK);
    assert_string_equal(value, text);
    remove(path_of("a.png"));
}

/* The standard's tEXt is Latin-1; programs that write UTF-8 there are understood. */
static void test_png_read_text_in_latin_1_becomes_utf_8(void **state) {
    (void)state;
    static const char latin[] = "\0\0\0\x11tEXtparameters\0caf\xE9 \x80\x2A\x1D\x60\x34",
                      utf8[] = "\0\0\0\x10tEXtparameters\0caf\xC3\xA9\x86\x2E\x27\xF1",
                      international[] = "\0\0\0\x13iTXtparameters\0\0\0\0\0caf\xE9\xD0\x46\x78\xB8";
    assert_text(latin, sizeof latin - 1, "caf\xC3\xA9 \xC2\x80");
    assert_text(utf8, sizeof utf8 - 1, "caf\xC3\xA9");
    assert_text(international, sizeof international - 1, "caf\xE9");
}

/* What fits as it is need not fit when it is wider. */
static void test_png_read_text_too_long_in_utf_8_fails(void **state) {
    (void)state;
    static const char bytes[] = "\x89PNG\r\n\x1A\n\0\0\0\x11tEXtparameters\0caf\xE9 \x80\x2A\x1D\x60\x34";
    char value[8];
    TimError err;
    write_whole("a.png", (const uint8_t *)bytes, sizeof bytes - 1);
    assert_int_equal(tim_image_read_text(value, sizeof value, "parameters", path_of("a.png"), &err), TIM_E_FORMAT);
    assert_non_null(strstr(err.text, "'parameters' has 8 bytes or a zero among them; at most 7 are read"));
    assert_string_equal(value, "");
    remove(path_of("a.png"));
}

static void test_png_write_bad_text_fails_and_leaves_no_file(void **state) {
    (void)state;
    char long_key[81];
    memset(long_key, 'k', 80);
    long_key[80] = 0;
    const TimImageText bad[] = {{"", "x"},         {" a", "x"},     {"a ", "x"}, {"a  b", "x"}, {"a\nb", "x"},
                                {"\xC3\xA9", "x"}, {long_key, "x"}, {NULL, "x"}, {"a", NULL}};
    TimImage image = pattern(2, 2, 1);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        TimError err;
        assert_int_equal(tim_image_write_png(&image, path_of("a.png"), &bad[i], 1, &err), TIM_E_ARGUMENT);
        assert_false(exists("a.png") || exists("a.png.tmp"));
    }
    tim_image_done(&image);
}

static void test_png_write_empty_image_fails(void **state) {
    (void)state;
    TimError err;
    const TimImage image = {0};
    assert_int_equal(tim_image_write_png(&image, path_of("a.png"), NULL, 0, &err), TIM_E_ARGUMENT);
    assert_false(exists("a.png") || exists("a.png.tmp"));
}

static void test_png_write_missing_folder_names_the_path(void **state) {
    (void)state;
    TimError err;
    TimImage image = pattern(2, 2, 1);
    assert_int_equal(tim_image_write_png(&image, path_of("no/a.png"), NULL, 0, &err), TIM_E_IO);
    assert_non_null(strstr(err.text, path_of("no/a.png")));
    tim_image_done(&image);
}

/* Renaming over a folder fails after everything was written. */
static void test_png_write_over_a_folder_fails_and_leaves_no_file(void **state) {
    (void)state;
    TimError err;
    TimImage image = pattern(2, 2, 1);
    assert_int_equal(mkdir(path_of("a.png"), 0700), 0);
    assert_int_equal(tim_image_write_png(&image, path_of("a.png"), NULL, 0, &err), TIM_E_IO);
    assert_non_null(strstr(err.text, path_of("a.png")));
    assert_false(exists("a.png.tmp"));
    assert_int_equal(rmdir(path_of("a.png")), 0);
    tim_image_done(&image);
}

static void test_png_write_full_disk_fails_and_leaves_no_file(void **state) {
    (void)state;
    TimError err;
    TimImage image = pattern(64, 64, 3);
    set_disk_full(1);
    const TimStatus status = tim_image_write_png(&image, path_of("a.png"), NULL, 0, &err);
    set_disk_full(0);
    assert_int_equal(status, TIM_E_IO);
    assert_non_null(strstr(err.text, path_of("a.png")));
    assert_false(exists("a.png") || exists("a.png.tmp"));
    tim_image_done(&image);
}

static void test_png_encoded_in_memory_equals_the_file(void **state) {
    (void)state;
    for (int channels = 1; channels <= 3; channels += 2) {
        TimBuffer buffer = {0};
        TimImage image = pattern(28, 31, channels);
        tim_buffer_text(&buffer, "before");
        assert_int_equal(tim_image_encode_png(&buffer, &image, NULL), TIM_OK);
        assert_int_equal(tim_image_write_png(&image, path_of("a.png"), NULL, 0, NULL), TIM_OK);
        const Bytes file = read_whole("a.png");
        assert_int_equal(buffer.count, file.count + 6);
        assert_memory_equal(buffer.bytes + 6, file.data, file.count);
        tim_free(file.data);
        tim_image_done(&image);
        tim_buffer_done(&buffer);
        remove(path_of("a.png"));
    }
}

static void test_png_encode_empty_image_fails(void **state) {
    (void)state;
    TimError err;
    TimBuffer buffer = {0};
    assert_int_equal(tim_image_encode_png(&buffer, &(TimImage){0}, &err), TIM_E_ARGUMENT);
    assert_int_equal(buffer.count, 0);
}

static void test_png_read_missing_file_names_the_path(void **state) {
    (void)state;
    TimError err;
    TimImage image;
    assert_int_equal(tim_image_read_png(&image, path_of("none.png"), &err), TIM_E_IO);
    assert_non_null(strstr(err.text, path_of("none.png")));
    assert_null(image.pixels);
}

static void test_png_read_truncated_anywhere_fails(void **state) {
    (void)state;
    TimImage image = pattern(9, 11, 3), back;
    assert_int_equal(tim_image_write_png(&image, path_of("a.png"), NULL, 0, NULL), TIM_OK);
    const Bytes bytes = read_whole("a.png");
    for (size_t count = 0; count < bytes.count; count++) {
        TimError err;
        write_whole("b.png", bytes.data, count);
        assert_int_equal(tim_image_read_png(&back, path_of("b.png"), &err), TIM_E_FORMAT);
        assert_non_null(strstr(err.text, path_of("b.png")));
        assert_null(back.pixels);
    }
    tim_free(bytes.data);
    tim_image_done(&image);
    remove(path_of("a.png"));
    remove(path_of("b.png"));
}

/* Every chunk but the signature is under a checksum, so each changed byte must be noticed. */
static void test_png_read_changed_byte_fails(void **state) {
    (void)state;
    TimImage image = pattern(9, 11, 3), back;
    assert_int_equal(tim_image_write_png(&image, path_of("a.png"), NULL, 0, NULL), TIM_OK);
    const Bytes bytes = read_whole("a.png");
    for (size_t at = 0; at < bytes.count; at++) {
        TimError err;
        bytes.data[at] ^= 0x10;
        write_whole("b.png", bytes.data, bytes.count);
        assert_int_equal(tim_image_read_png(&back, path_of("b.png"), &err), TIM_E_FORMAT);
        assert_null(back.pixels);
        bytes.data[at] ^= 0x10;
    }
    tim_free(bytes.data);
    tim_image_done(&image);
    remove(path_of("a.png"));
    remove(path_of("b.png"));
}

/* Sets the height and width of a PNG in memory and mends the checksum. */
static void claim_size(Bytes bytes, uint32_t height, uint32_t width) {
    uint8_t *header = bytes.data + 16;
    for (int i = 0; i < 4; i++) {
        header[i] = (uint8_t)(width >> (24 - 8 * i));
        header[4 + i] = (uint8_t)(height >> (24 - 8 * i));
    }
    const uint32_t crc = (uint32_t)crc32_z(0, bytes.data + 12, 17);
    for (int i = 0; i < 4; i++) bytes.data[29 + i] = (uint8_t)(crc >> (24 - 8 * i));
}

static void test_png_read_claimed_size_is_bounded(void **state) {
    (void)state;
    static const uint32_t sizes[][2] = {{16384, 16384}, {16385, 1}, {1, 16385}, {0, 1}, {1, 0}, {0xFFFFFFFF, 0xFFFFFFFF}};
    TimImage image = pattern(2, 2, 3), back;
    assert_int_equal(tim_image_write_png(&image, path_of("a.png"), NULL, 0, NULL), TIM_OK);
    const Bytes bytes = read_whole("a.png");
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        TimError err;
        claim_size(bytes, sizes[i][0], sizes[i][1]);
        write_whole("a.png", bytes.data, bytes.count);
        assert_int_equal(tim_image_read_png(&back, path_of("a.png"), &err), TIM_E_FORMAT);
        assert_null(back.pixels);
    }
    tim_free(bytes.data);
    tim_image_done(&image);
    remove(path_of("a.png"));
}

/* A PNG of 2 rows and 2 columns in any of the format's kinds. */
typedef struct Kind {
    int color, depth, interlace;
    png_const_colorp palette;       /* (2) or NULL */
    png_const_bytep palette_alphas; /* (2) or NULL */
    const uint8_t *rows[2];
} Kind;

static void write_kind(const Kind *kind) {
    FILE *file = fopen(path_of("a.png"), "wb");
    assert_non_null(file);
    png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, NULL, NULL, NULL);
    png_infop info = png_create_info_struct(png);
    png_init_io(png, file);
    png_set_IHDR(png, info, 2, 2, kind->depth, kind->color, kind->interlace, PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    if (kind->palette) png_set_PLTE(png, info, kind->palette, 2);
    if (kind->palette_alphas) png_set_tRNS(png, info, kind->palette_alphas, 2, NULL);
    png_set_rows(png, info, (png_bytepp)(uintptr_t)kind->rows);
    png_write_png(png, info, PNG_TRANSFORM_IDENTITY, NULL);
    png_destroy_write_struct(&png, &info);
    fclose(file);
}

static void reads_as(const Kind *kind, int channels, const uint8_t *expected) {
    TimImage image;
    TimError err = {.text = ""};
    write_kind(kind);
    assert_int_equal(tim_image_read_png(&image, path_of("a.png"), &err), TIM_OK);
    assert_int_equal(image.channels, channels);
    assert_memory_equal(image.pixels, expected, (size_t)(4 * channels));
    tim_image_done(&image);
    remove(path_of("a.png"));
}

/* One bit, all zero: rows that deflate packs as well as any. */
static void write_blank(int side, int color) {
    static const png_color black;
    static const uint8_t row[TIM_IMAGE_MAX_SIDE / 8];
    FILE *file = fopen(path_of("a.png"), "wb");
    assert_non_null(file);
    png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, NULL, NULL, NULL);
    png_infop info = png_create_info_struct(png);
    png_init_io(png, file);
    png_set_IHDR(png, info, (png_uint_32)side, (png_uint_32)side, 1, color, PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT,
                 PNG_FILTER_TYPE_DEFAULT);
    if (color == PNG_COLOR_TYPE_PALETTE) png_set_PLTE(png, info, &black, 1);
    png_write_info(png, info);
    for (int y = 0; y < side; y++) png_write_row(png, row);
    png_write_end(png, info);
    png_destroy_write_struct(&png, &info);
    fclose(file);
}

/* 32 KB whose pixels would be 805 MB, each of the format's own; and a page that is as large as a blank one may be. */
static void test_png_read_widened_size_is_bounded(void **state) {
    (void)state;
    static const int colors[] = {PNG_COLOR_TYPE_GRAY, PNG_COLOR_TYPE_PALETTE};
    for (int i = 0; i < 2; i++) {
        TimImage image;
        TimError err;
        write_blank(TIM_IMAGE_MAX_SIDE, colors[i]);
        assert_int_equal(tim_image_read_png(&image, path_of("a.png"), &err), TIM_E_FORMAT);
        assert_non_null(strstr(err.text, "too short for its height and width"));
        assert_null(image.pixels);
        write_blank(4096, colors[i]);
        assert_int_equal(tim_image_read_png(&image, path_of("a.png"), NULL), TIM_OK);
        assert_int_equal(image.channels, i ? 3 : 1);
        tim_image_done(&image);
    }
    remove(path_of("a.png"));
}

static void test_png_read_few_bits_are_widened(void **state) {
    (void)state;
    static const uint8_t row[] = {0x6C}; /* 01 10 ... */
    const Kind two_bits = {.color = PNG_COLOR_TYPE_GRAY, .depth = 2, .rows = {row, row}};
    const Kind one_bit = {.color = PNG_COLOR_TYPE_GRAY, .depth = 1, .rows = {row, row}};
    reads_as(&two_bits, 1, (const uint8_t[]){85, 170, 85, 170});
    reads_as(&one_bit, 1, (const uint8_t[]){0, 255, 0, 255});
}

static void test_png_read_sixteen_bits_are_scaled(void **state) {
    (void)state;
    static const uint8_t row[] = {0x00, 0xFF, 0xFF, 0x00}; /* 255 -> 0.99, 65280 -> 254.01 */
    const Kind kind = {.color = PNG_COLOR_TYPE_GRAY, .depth = 16, .rows = {row, row}};
    reads_as(&kind, 1, (const uint8_t[]){1, 254, 1, 254});
}

/* Expected values: Pillow 13.0's. */
static void test_png_read_sixteen_bits_of_colours_are_cut(void **state) {
    (void)state;
    static const uint8_t colors[] = {0x12, 0xFF, 0x00, 0xFF, 0xFF, 0x00, 0x12, 0xFF, 0x00, 0xFF, 0xFF, 0x00};
    static const uint8_t alphas[] = {0x12, 0xFF, 0x00, 0xFF, 0x12, 0xFF, 0x00, 0xFF};
    const Kind color = {.color = PNG_COLOR_TYPE_RGB, .depth = 16, .rows = {colors, colors}};
    const Kind gray = {.color = PNG_COLOR_TYPE_GRAY_ALPHA, .depth = 16, .rows = {alphas, alphas}};
    reads_as(&color, 3, (const uint8_t[]){18, 0, 255, 18, 0, 255, 18, 0, 255, 18, 0, 255});
    reads_as(&gray, 1, (const uint8_t[]){18, 18, 18, 18});
}

static void test_png_read_palette_gives_rgb_without_alpha(void **state) {
    (void)state;
    static const png_color palette[2] = {{1, 2, 3}, {4, 5, 6}};
    static const uint8_t alphas[2] = {0, 128}, row[] = {0x40};
    const Kind opaque = {.color = PNG_COLOR_TYPE_PALETTE, .depth = 1, .palette = palette, .rows = {row, row}};
    Kind transparent = opaque;
    transparent.palette_alphas = alphas;
    reads_as(&opaque, 3, (const uint8_t[]){1, 2, 3, 4, 5, 6, 1, 2, 3, 4, 5, 6});
    reads_as(&transparent, 3, (const uint8_t[]){1, 2, 3, 4, 5, 6, 1, 2, 3, 4, 5, 6});
}

static void test_png_read_alpha_is_dropped(void **state) {
    (void)state;
    static const uint8_t rgba[] = {1, 2, 3, 0, 4, 5, 6, 255}, gray_alpha[] = {7, 0, 8, 99};
    const Kind color = {.color = PNG_COLOR_TYPE_RGB_ALPHA, .depth = 8, .rows = {rgba, rgba}};
    const Kind gray = {.color = PNG_COLOR_TYPE_GRAY_ALPHA, .depth = 8, .rows = {gray_alpha, gray_alpha}};
    reads_as(&color, 3, (const uint8_t[]){1, 2, 3, 4, 5, 6, 1, 2, 3, 4, 5, 6});
    reads_as(&gray, 1, (const uint8_t[]){7, 8, 7, 8});
}

static void test_png_read_interlaced_gives_every_pixel(void **state) {
    (void)state;
    static const uint8_t upper[] = {1, 2}, lower[] = {3, 4};
    const Kind kind = {.color = PNG_COLOR_TYPE_GRAY, .depth = 8, .interlace = PNG_INTERLACE_ADAM7, .rows = {upper, lower}};
    reads_as(&kind, 1, (const uint8_t[]){1, 2, 3, 4});
}

/* ---- text and sheets ---- */

static int count_ink(const TimImage *image, int left, int top, int width, int height) {
    int count = 0;
    for (int y = top; y < top + height; y++)
        for (int x = left; x < left + width; x++) count += image->pixels[y * image->width + x] < 200;
    return count;
}

static TimImage paper(int height, int width) {
    TimImage image;
    assert_int_equal(tim_image_new(&image, height, width, 1, NULL), TIM_OK);
    memset(image.pixels, 255, (size_t)(height * width));
    return image;
}

static void test_font_every_character_has_ink_of_its_own(void **state) {
    (void)state;
    const TimTextStyle style = {.scale = 1};
    uint8_t drawn[95][TIM_FONT_HEIGHT * 16];
    for (int i = 0; i < 95; i++) {
        const char text[2] = {(char)(' ' + i), 0};
        TimImage image = paper(TIM_FONT_HEIGHT, 16);
        tim_text_draw(&image, 0, 0, text, 16, style);
        assert_true(i == 0 || count_ink(&image, 0, 0, 16, TIM_FONT_HEIGHT) > 0);
        memcpy(drawn[i], image.pixels, sizeof drawn[i]);
        for (int j = 0; j < i; j++) assert_memory_not_equal(drawn[i], drawn[j], sizeof drawn[i]);
        tim_image_done(&image);
    }
}

static void test_font_digits_are_equally_wide(void **state) {
    (void)state;
    const TimTextStyle style = {.scale = 1};
    for (char digit = '0'; digit <= '9'; digit++)
        assert_int_equal(tim_text_width((const char[]){digit, 0}, style, 99), tim_text_width("0", style, 99));
}

static void test_font_other_characters_show_as_one_question_mark(void **state) {
    (void)state;
    const TimTextStyle style = {.scale = 2};
    const int one = tim_text_width("?", style, 999);
    assert_int_equal(tim_text_width("\xC3\xA9", style, 999), one);
    assert_int_equal(tim_text_width("\xF0\x9F\x98\x80", style, 999), one);
    assert_int_equal(tim_text_width("\n", style, 999), one);
    assert_int_equal(tim_text_width("\xC3", style, 999), one);
    assert_int_equal(tim_text_width("", style, 999), 0);
}

static void test_font_text_stays_inside_its_limit_and_the_image(void **state) {
    (void)state;
    const TimTextStyle style = {.scale = 2, .bold = true};
    for (int limit = -3; limit < 60; limit++) {
        TimImage image = paper(30, 100);
        tim_text_draw(&image, 20, 3, "WWW@@@", limit, style);
        assert_int_equal(count_ink(&image, 0, 0, 100, 30), limit > 0 ? count_ink(&image, 20, 3, limit, 24) : 0);
        tim_text_draw(&image, -5, -5, "WWW", limit, style);
        tim_text_draw(&image, 95, 25, "WWW", limit, style);
        tim_image_done(&image);
    }
}

static void test_sheet_plain_has_the_geometry_of_its_grid(void **state) {
    (void)state;
    enum { MARGIN = 14, GAP = 4, SCALE = 3, ROWS = 2, COLUMNS = 3, SIDE = 5 };
    TimImage pictures = pattern(ROWS * COLUMNS * SIDE, SIDE, 3), image;
    const TimSheet sheet = {.rows = ROWS,
                            .columns = COLUMNS,
                            .height = SIDE,
                            .width = SIDE,
                            .channels = 3,
                            .pictures = pictures.pixels,
                            .scale = SCALE,
                            .text_scale = 1};
    assert_int_equal(tim_sheet_draw(&image, &sheet, NULL), TIM_OK);
    assert_int_equal(image.channels, 3);
    assert_int_equal(image.width, 2 * MARGIN + COLUMNS * (SIDE * SCALE + GAP) - GAP);
    assert_int_equal(image.height, 2 * MARGIN + ROWS * (SIDE * SCALE + GAP) - GAP);
    for (int cell = 0; cell < ROWS * COLUMNS; cell++)
        for (int y = 0; y < SIDE * SCALE; y++)
            for (int x = 0; x < SIDE * SCALE; x++) {
                const int top = MARGIN + cell / COLUMNS * (SIDE * SCALE + GAP),
                          left = MARGIN + cell % COLUMNS * (SIDE * SCALE + GAP);
                assert_memory_equal(image.pixels + ((top + y) * image.width + left + x) * 3,
                                    pictures.pixels + ((cell * SIDE + y / SCALE) * SIDE + x / SCALE) * 3, 3);
            }
    tim_image_done(&pictures);
    tim_image_done(&image);
}

/* White pictures, so that all ink is text. */
static void test_sheet_labels_lie_outside_the_pictures(void **state) {
    (void)state;
    enum { SIDE = 40 };
    static const char *const columns[] = {"1", NULL, "a label much too long for any column of such a sheet"};
    static const char *const rows[] = {"left", "lower"};
    TimImage pictures = paper(6 * SIDE, SIDE), image;
    const TimSheet sheet = {.rows = 2,
                            .columns = 3,
                            .height = SIDE,
                            .width = SIDE,
                            .channels = 1,
                            .pictures = pictures.pixels,
                            .title = "Title",
                            .column_labels = columns,
                            .row_labels = rows,
                            .scale = 1,
                            .text_scale = 2};
    assert_int_equal(tim_sheet_draw(&image, &sheet, NULL), TIM_OK);
    TimError err;
    TimSheet empty = sheet;
    int height, width;
    empty.pictures = NULL;
    assert_int_equal(tim_sheet_size(&height, &width, &empty, NULL), TIM_OK);
    assert_int_equal(height, image.height), assert_int_equal(width, image.width);
    empty.rows = TIM_IMAGE_MAX_SIDE, empty.row_labels = NULL;
    assert_int_equal(tim_sheet_size(&height, &width, &empty, &err), TIM_E_ARGUMENT);
    const int cells_height = 2 * SIDE + 4, head = image.height - 14 - cells_height;
    const int gutter = 14 + tim_text_width("lower", (TimTextStyle){.scale = 2}, 999) + 8;
    assert_int_equal(head, 14 + 24 + 12 + 24 + 8);
    assert_true(count_ink(&image, 14, 14, image.width - 28, 24) > 0);           /* title */
    assert_true(count_ink(&image, gutter, head - 32, SIDE, 24) > 0);            /* first column label */
    assert_int_equal(count_ink(&image, gutter + SIDE, head - 32, SIDE, 24), 0); /* second: none */
    assert_true(count_ink(&image, 14, head, gutter - 14, SIDE) > 0);            /* first row label */
    assert_int_equal(count_ink(&image, gutter, head, image.width - gutter, cells_height), 0);
    assert_int_equal(count_ink(&image, image.width - 14, 0, 14, image.height), 0); /* the long label is cut */
    tim_image_done(&pictures);
    tim_image_done(&image);
}

static void test_sheet_bad_fields_fail(void **state) {
    (void)state;
    const uint8_t pixel = 0;
    const TimSheet good = {
        .rows = 1, .columns = 1, .height = 1, .width = 1, .channels = 1, .pictures = &pixel, .scale = 1, .text_scale = 1};
    TimSheet bad[12];
    for (int i = 0; i < 12; i++) bad[i] = good;
    bad[0].rows = 0, bad[1].columns = 0, bad[2].height = 0, bad[3].width = -1, bad[4].channels = 2, bad[5].pictures = NULL;
    bad[6].scale = 0, bad[7].scale = 65, bad[8].text_scale = 0, bad[9].text_scale = 3;
    bad[10].columns = 16384, bad[11].rows = 16384, bad[11].height = 16384; /* too large as a whole */
    for (int i = 0; i < 12; i++) {
        TimError err;
        TimImage image;
        assert_int_equal(tim_sheet_draw(&image, &bad[i], &err), TIM_E_ARGUMENT);
        assert_null(image.pixels);
    }
}

/* ---- npz ---- */

static uint64_t get(const uint8_t *bytes, int count) {
    uint64_t value = 0;
    for (int i = count - 1; i >= 0; i--) value = value << 8 | bytes[i];
    return value;
}

typedef struct Entry {
    const uint8_t *data;
    size_t size;
} Entry;

/* Walks to the data of entry `index` through the directory, as a reader does, and checks every field on the way. */
static Entry find_entry(Bytes zip, int index, int count, const char *name) {
    const uint8_t *end = zip.data + zip.count - 22, *locator = end - 20;
    assert_int_equal(get(end, 4), 0x06054B50);
    assert_int_equal(get(locator, 4), 0x07064B50);
    const uint8_t *end64 = zip.data + get(locator + 8, 8);
    assert_ptr_equal(end64, locator - 56);
    assert_int_equal(get(end64, 4), 0x06064B50);
    assert_int_equal(get(end64 + 32, 8), count);
    const uint8_t *at = zip.data + get(end64 + 48, 8);
    assert_ptr_equal(at + get(end64 + 40, 8), end64);
    for (int i = 0; i < index; i++) at += 46 + get(at + 28, 2) + get(at + 30, 2);
    assert_int_equal(get(at, 4), 0x02014B50);
    assert_int_equal(get(at + 28, 2), strlen(name));
    assert_memory_equal(at + 46, name, strlen(name));
    const uint8_t *sizes = at + 46 + strlen(name) + 4, *local = zip.data + get(sizes + 16, 8);
    assert_int_equal(get(local, 4), 0x04034B50);
    assert_memory_equal(local + 30, name, strlen(name));
    assert_int_equal(get(local + 8, 2), 0);                        /* stored */
    assert_int_equal(get(local + 14, 4), get(at + 16, 4));         /* crc */
    assert_memory_equal(local + 30 + strlen(name) + 4, sizes, 16); /* both sizes */
    const Entry entry = {local + 30 + get(local + 26, 2) + get(local + 28, 2), get(sizes, 8)};
    assert_int_equal(crc32_z(0, entry.data, entry.size), get(at + 16, 4));
    return entry;
}

/* Checks an npy header against its dictionary and returns the data. */
static const uint8_t *npy_data(Entry entry, const char *dictionary, size_t data_size) {
    assert_memory_equal(entry.data, "\x93NUMPY\x01\x00", 8);
    const size_t header = 10 + get(entry.data + 8, 2);
    assert_int_equal(header % 64, 0);
    assert_memory_equal(entry.data + 10, dictionary, strlen(dictionary));
    for (size_t i = 10 + strlen(dictionary); i < header - 1; i++) assert_int_equal(entry.data[i], ' ');
    assert_int_equal(entry.data[header - 1], '\n');
    assert_int_equal(entry.size, header + data_size);
    return entry.data + header;
}

static void check_set(const uint8_t *images, const int64_t *labels) {
    const Bytes zip = read_whole("a.npz");
    const Entry first = find_entry(zip, 0, labels ? 2 : 1, "arr_0.npy");
    const uint8_t *data = npy_data(first, "{'descr': '|u1', 'fortran_order': False, 'shape': (5, 4, 3, 3), }", 180);
    assert_memory_equal(data, images, 180);
    if (labels) {
        const Entry second = find_entry(zip, 1, 2, "arr_1.npy");
        data = npy_data(second, "{'descr': '<i8', 'fortran_order': False, 'shape': (5,), }", 40);
        for (int i = 0; i < 5; i++) assert_int_equal((int64_t)get(data + 8 * i, 8), labels[i]);
    }
    tim_free(zip.data);
    assert_false(exists("a.npz.tmp"));
    remove(path_of("a.npz"));
}

static const int64_t some_labels[5] = {0, -1, 999, INT64_MAX, INT64_MIN};

static void test_npz_write_adm_with_labels_is_a_valid_zip_of_npy(void **state) {
    (void)state;
    TimImage images = pattern(5 * 4, 3, 3);
    assert_int_equal(tim_npz_write_adm(path_of("a.npz"), images.pixels, 5, 4, 3, 3, some_labels, NULL), TIM_OK);
    check_set(images.pixels, some_labels);
    tim_image_done(&images);
}

static void test_npz_write_adm_without_labels_has_one_array(void **state) {
    (void)state;
    TimImage images = pattern(5 * 4, 3, 3);
    assert_int_equal(tim_npz_write_adm(path_of("a.npz"), images.pixels, 5, 4, 3, 3, NULL, NULL), TIM_OK);
    check_set(images.pixels, NULL);
    tim_image_done(&images);
}

static void test_adm_writer_in_pieces_gives_the_same_file(void **state) {
    (void)state;
    TimAdmWriter *writer;
    TimImage images = pattern(5 * 4, 3, 3);
    assert_int_equal(tim_adm_writer_begin(&writer, path_of("a.npz"), 5, 4, 3, 3, NULL), TIM_OK);
    assert_int_equal(tim_adm_writer_append(writer, images.pixels, 1, NULL), TIM_OK);
    assert_int_equal(tim_adm_writer_append(writer, NULL, 0, NULL), TIM_OK);
    assert_int_equal(tim_adm_writer_append(writer, images.pixels + 36, 4, NULL), TIM_OK);
    assert_false(exists("a.npz"));
    assert_int_equal(tim_adm_writer_finish(writer, some_labels, NULL), TIM_OK);
    check_set(images.pixels, some_labels);
    tim_image_done(&images);
}

static void test_adm_writer_wrong_number_of_images_fails_and_leaves_no_file(void **state) {
    (void)state;
    TimAdmWriter *writer;
    TimError err;
    const uint8_t images[3] = {0};
    assert_int_equal(tim_adm_writer_begin(&writer, path_of("a.npz"), 2, 1, 1, 1, NULL), TIM_OK);
    assert_int_equal(tim_adm_writer_append(writer, images, 3, &err), TIM_E_ARGUMENT);
    assert_int_equal(tim_adm_writer_append(writer, images, -1, &err), TIM_E_ARGUMENT);
    assert_int_equal(tim_adm_writer_append(writer, images, 1, NULL), TIM_OK);
    assert_int_equal(tim_adm_writer_finish(writer, NULL, &err), TIM_E_ARGUMENT);
    assert_non_null(strstr(err.text, path_of("a.npz")));
    assert_false(exists("a.npz") || exists("a.npz.tmp"));
}

static void test_adm_writer_discarded_leaves_no_file(void **state) {
    (void)state;
    TimAdmWriter *writer;
    assert_int_equal(tim_adm_writer_begin(&writer, path_of("a.npz"), 2, 1, 1, 1, NULL), TIM_OK);
    tim_adm_writer_discard(writer);
    tim_adm_writer_discard(NULL);
    assert_false(exists("a.npz") || exists("a.npz.tmp"));
}

static void test_npz_write_adm_bad_arguments_fail(void **state) {
    (void)state;
    const uint8_t pixel[4] = {0};
    static const int64_t bad[][4] = {{0, 1, 1, 1}, {-1, 1, 1, 1}, {1, 0, 1, 1}, {1, 1, -1, 1}, {1, 1, 1, 2}, {1, 16385, 1, 1}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        TimError err;
        assert_int_equal(
            tim_npz_write_adm(path_of("a.npz"), pixel, bad[i][0], (int)bad[i][1], (int)bad[i][2], (int)bad[i][3], NULL, &err),
            TIM_E_ARGUMENT);
        assert_false(exists("a.npz") || exists("a.npz.tmp"));
    }
}

static void test_adm_writer_overflowing_size_fails(void **state) {
    (void)state;
    TimAdmWriter *writer;
    TimError err;
    assert_int_equal(tim_adm_writer_begin(&writer, path_of("a.npz"), INT64_MAX, 16384, 16384, 3, &err), TIM_E_MEMORY);
    assert_null(writer);
    assert_false(exists("a.npz") || exists("a.npz.tmp"));
}

static void test_npz_write_adm_missing_folder_names_the_path(void **state) {
    (void)state;
    TimError err;
    const uint8_t pixel = 0;
    assert_int_equal(tim_npz_write_adm(path_of("no/a.npz"), &pixel, 1, 1, 1, 1, NULL, &err), TIM_E_IO);
    assert_non_null(strstr(err.text, path_of("no/a.npz")));
}

static void test_npz_header_longest_shape_stays_aligned(void **state) {
    (void)state;
    TimNpz npz;
    const uint64_t shape[TIM_NPZ_MAX_RANK] = {0, UINT32_MAX, 1, UINT32_MAX, 1, 1, 1, 1}, none[1] = {0};
    assert_int_equal(tim_npz_open(&npz, path_of("a.npz"), NULL), TIM_OK);
    assert_int_equal(tim_npz_begin(&npz, "long", "<f8", 8, shape, TIM_NPZ_MAX_RANK, NULL), TIM_OK);
    assert_int_equal(tim_npz_end(&npz, NULL), TIM_OK);
    assert_int_equal(tim_npz_begin(&npz, "scalar", "|u1", 1, none, 0, NULL), TIM_OK);
    assert_int_equal(tim_npz_write(&npz, "x", 1, NULL), TIM_OK);
    assert_int_equal(tim_npz_end(&npz, NULL), TIM_OK);
    assert_int_equal(tim_npz_close(&npz, NULL), TIM_OK);
    const Bytes zip = read_whole("a.npz");
    npy_data(find_entry(zip, 0, 2, "long.npy"),
             "{'descr': '<f8', 'fortran_order': False, 'shape': (0, 4294967295, 1, 4294967295, 1, 1, 1, 1), }", 0);
    npy_data(find_entry(zip, 1, 2, "scalar.npy"), "{'descr': '|u1', 'fortran_order': False, 'shape': (), }", 1);
    tim_free(zip.data);
    remove(path_of("a.npz"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_image_new_bad_sizes_fail_and_leave_it_empty),
        cmocka_unit_test(test_image_from_chw_edge_values_round_as_published),
        cmocka_unit_test(test_image_from_chw_not_finite_becomes_end_or_zero),
        cmocka_unit_test(test_image_from_chw_planes_become_interleaved),
        cmocka_unit_test(test_image_from_chw_unknown_rounding_fails),
        cmocka_unit_test(test_image_resize_small_rows_are_pillows),
        cmocka_unit_test(test_image_resize_many_rows_less_height_comes_first),
        cmocka_unit_test(test_image_resize_same_size_copies),
        cmocka_unit_test(test_image_resize_constant_stays_constant),
        cmocka_unit_test(test_image_resize_channels_do_not_mix),
        cmocka_unit_test(test_image_resize_bad_arguments_fail),
        cmocka_unit_test(test_png_round_trip_gray_and_rgb_keeps_bytes),
        cmocka_unit_test(test_png_write_texts_become_chunks),
        cmocka_unit_test(test_png_read_text_of_a_damaged_file_fails),
        cmocka_unit_test(test_png_read_text_in_latin_1_becomes_utf_8),
        cmocka_unit_test(test_png_read_text_too_long_in_utf_8_fails),
        cmocka_unit_test(test_png_write_bad_text_fails_and_leaves_no_file),
        cmocka_unit_test(test_png_write_empty_image_fails),
        cmocka_unit_test(test_png_write_missing_folder_names_the_path),
        cmocka_unit_test(test_png_write_over_a_folder_fails_and_leaves_no_file),
        cmocka_unit_test(test_png_write_full_disk_fails_and_leaves_no_file),
        cmocka_unit_test(test_png_encoded_in_memory_equals_the_file),
        cmocka_unit_test(test_png_encode_empty_image_fails),
        cmocka_unit_test(test_png_read_missing_file_names_the_path),
        cmocka_unit_test(test_png_read_truncated_anywhere_fails),
        cmocka_unit_test(test_png_read_changed_byte_fails),
        cmocka_unit_test(test_png_read_claimed_size_is_bounded),
        cmocka_unit_test(test_png_read_widened_size_is_bounded),
        cmocka_unit_test(test_png_read_few_bits_are_widened),
        cmocka_unit_test(test_png_read_sixteen_bits_are_scaled),
        cmocka_unit_test(test_png_read_sixteen_bits_of_colours_are_cut),
        cmocka_unit_test(test_png_read_palette_gives_rgb_without_alpha),
        cmocka_unit_test(test_png_read_alpha_is_dropped),
        cmocka_unit_test(test_png_read_interlaced_gives_every_pixel),
        cmocka_unit_test(test_font_every_character_has_ink_of_its_own),
        cmocka_unit_test(test_font_digits_are_equally_wide),
        cmocka_unit_test(test_font_other_characters_show_as_one_question_mark),
        cmocka_unit_test(test_font_text_stays_inside_its_limit_and_the_image),
        cmocka_unit_test(test_sheet_plain_has_the_geometry_of_its_grid),
        cmocka_unit_test(test_sheet_labels_lie_outside_the_pictures),
        cmocka_unit_test(test_sheet_bad_fields_fail),
        cmocka_unit_test(test_npz_write_adm_with_labels_is_a_valid_zip_of_npy),
        cmocka_unit_test(test_npz_write_adm_without_labels_has_one_array),
        cmocka_unit_test(test_adm_writer_in_pieces_gives_the_same_file),
        cmocka_unit_test(test_adm_writer_wrong_number_of_images_fails_and_leaves_no_file),
        cmocka_unit_test(test_adm_writer_discarded_leaves_no_file),
        cmocka_unit_test(test_npz_write_adm_bad_arguments_fail),
        cmocka_unit_test(test_adm_writer_overflowing_size_fails),
        cmocka_unit_test(test_npz_write_adm_missing_folder_names_the_path),
        cmocka_unit_test(test_npz_header_longest_shape_stays_aligned),
    };
    return cmocka_run_group_tests_name("image", tests, make_folder, remove_folder);
}
