/* What JPEG and WebP files promise; tests/golden/image holds what Pillow reads from some. */
#include <stdio.h>

#include <jpeglib.h>

#include "full_disk.h"
#include "io/file.h"
#include "picture_files.h"

/* A picture that JPEG keeps well: each channel rises along one of the sides. */
static TimImage slope(int height, int width, int channels) {
    TimImage image;
    assert_int_equal(tim_image_new(&image, height, width, channels, NULL), TIM_OK);
    for (int i = 0; i < height * width * channels; i++) {
        const int c = i % channels, x = i / channels % width, y = i / channels / width;
        image.pixels[i] = (uint8_t)(c == 1 ? 255 * y / height : 255 * x / width);
    }
    return image;
}

static int largest_difference(const TimImage *a, const TimImage *b) {
    int largest = 0;
    for (int i = 0; i < a->height * a->width * a->channels; i++) {
        const int difference = abs(a->pixels[i] - b->pixels[i]);
        if (difference > largest) largest = difference;
    }
    return largest;
}

typedef TimStatus (*Write)(const TimImage *image, const char *path, int quality, TimError *err);

static const Write writers[] = {tim_image_write_jpeg, tim_image_write_webp};

static void test_jpeg_round_trip_keeps_channels_and_is_close(void **state) {
    (void)state;
    static const int sizes[][2] = {{1, 1}, {1, 7}, {5, 1}, {40, 57}};
    for (int i = 0; i < 8; i++) {
        TimImage image = slope(sizes[i / 2][0], sizes[i / 2][1], i % 2 ? 3 : 1), back;
        assert_int_equal(tim_image_write_jpeg(&image, path_of("a.jpg"), 95, NULL), TIM_OK);
        assert_false(exists("a.jpg.tmp"));
        assert_int_equal(tim_image_read(&back, path_of("a.jpg"), NULL), TIM_OK);
        assert_true(image.height == back.height && image.width == back.width && image.channels == back.channels);
        assert_in_range(largest_difference(&image, &back), 0, 16);
        tim_image_done(&image);
        tim_image_done(&back);
    }
    remove(path_of("a.jpg"));
}

static size_t written_size(Write write, const TimImage *image, int quality) {
    assert_int_equal(write(image, path_of("a"), quality, NULL), TIM_OK);
    const Bytes bytes = read_whole("a");
    tim_free(bytes.data);
    return bytes.count;
}

static void test_write_quality_changes_the_size(void **state) {
    (void)state;
    TimImage image = pattern(64, 64, 3);
    for (int i = 0; i < 2; i++) {
        assert_true(written_size(writers[i], &image, 10) < written_size(writers[i], &image, 90));
        assert_true(written_size(writers[i], &image, 1) < written_size(writers[i], &image, 99));
    }
    tim_image_done(&image);
    remove(path_of("a"));
}

/* Gray comes back as three equal channels: WebP has no gray. */
static void test_webp_round_trip_of_quality_100_keeps_bytes(void **state) {
    (void)state;
    for (int channels = 1; channels <= 3; channels += 2) {
        TimImage image = pattern(13, 17, channels), back;
        assert_int_equal(tim_image_write_webp(&image, path_of("a.webp"), 100, NULL), TIM_OK);
        assert_false(exists("a.webp.tmp"));
        assert_int_equal(tim_image_read(&back, path_of("a.webp"), NULL), TIM_OK);
        assert_true(back.height == 13 && back.width == 17 && back.channels == 3);
        for (int i = 0; i < 13 * 17 * 3; i++) assert_int_equal(back.pixels[i], image.pixels[channels == 3 ? i : i / 3]);
        tim_image_done(&image);
        tim_image_done(&back);
    }
    remove(path_of("a.webp"));
}

static void test_webp_lossy_is_close(void **state) {
    (void)state;
    TimImage image = slope(40, 57, 3), back;
    assert_int_equal(tim_image_write_webp(&image, path_of("a.webp"), 95, NULL), TIM_OK);
    assert_int_equal(tim_image_read(&back, path_of("a.webp"), NULL), TIM_OK);
    assert_in_range(largest_difference(&image, &back), 1, 16);
    tim_image_done(&image);
    tim_image_done(&back);
    remove(path_of("a.webp"));
}

static void test_read_goes_by_content_not_name(void **state) {
    (void)state;
    TimImage image = pattern(3, 4, 1), back;
    assert_int_equal(tim_image_write_png(&image, path_of("a.webp"), NULL, 0, NULL), TIM_OK);
    assert_int_equal(tim_image_read(&back, path_of("a.webp"), NULL), TIM_OK);
    same_image(&image, &back);
    tim_image_done(&back);
    assert_int_equal(tim_image_write_jpeg(&image, path_of("a.webp"), 90, NULL), TIM_OK);
    assert_int_equal(tim_image_read(&back, path_of("a.webp"), NULL), TIM_OK);
    tim_image_done(&back);
    assert_int_equal(tim_image_read_png(&back, path_of("a.webp"), NULL), TIM_E_FORMAT);
    assert_null(back.pixels);
    tim_image_done(&image);
    remove(path_of("a.webp"));
}

static void test_read_unknown_format_says_what_it_found(void **state) {
    (void)state;
    static const struct {
        const char *bytes, *found;
    } cases[] = {{"GIF89a", "47 49 46 38 39 61 (GIF)"}, {"hello", "68 65 6c 6c 6f"}, {"", "empty"}, {"\xFF\xD8", "ff d8"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        TimImage image;
        TimError err;
        write_whole("a", (const uint8_t *)cases[i].bytes, strlen(cases[i].bytes));
        assert_int_equal(tim_image_read(&image, path_of("a"), &err), TIM_E_FORMAT);
        assert_null(image.pixels);
        assert_non_null(strstr(err.text, cases[i].found));
        assert_non_null(strstr(err.text, path_of("a")));
        assert_non_null(strstr(err.text, "PNG, JPEG or WebP") ? err.text : strstr(err.text, "PNG, JPEG and WebP"));
    }
    remove(path_of("a"));
}

static void test_read_missing_file_names_the_path(void **state) {
    (void)state;
    TimImage image;
    TimError err;
    assert_int_equal(tim_image_read(&image, path_of("none"), &err), TIM_E_IO);
    assert_non_null(strstr(err.text, path_of("none")));
    assert_null(image.pixels);
}

static void test_write_bad_arguments_fail_and_leave_no_file(void **state) {
    (void)state;
    TimImage image = pattern(2, 2, 3);
    const TimImage empty = {0};
    for (int i = 0; i < 2; i++) {
        TimError err;
        assert_int_equal(writers[i](&image, path_of("a"), 0, &err), TIM_E_ARGUMENT);
        assert_int_equal(writers[i](&image, path_of("a"), 101, &err), TIM_E_ARGUMENT);
        assert_non_null(strstr(err.text, "101"));
        assert_int_equal(writers[i](&empty, path_of("a"), 90, &err), TIM_E_ARGUMENT);
        assert_int_equal(writers[i](&image, path_of("no/a"), 90, &err), TIM_E_IO);
        assert_false(exists("a") || exists("a.tmp"));
    }
    tim_image_done(&image);
}

static void test_webp_write_too_wide_fails(void **state) {
    (void)state;
    TimImage image;
    TimError err;
    assert_int_equal(tim_image_new(&image, 1, TIM_IMAGE_MAX_SIDE, 1, NULL), TIM_OK);
    assert_int_equal(tim_image_write_webp(&image, path_of("a"), 90, &err), TIM_E_ARGUMENT);
    assert_non_null(strstr(err.text, "16383"));
    assert_false(exists("a") || exists("a.tmp"));
    tim_image_done(&image);
}

static void test_write_full_disk_fails_and_leaves_no_file(void **state) {
    (void)state;
    TimImage image = pattern(128, 128, 3);
    for (int i = 0; i < 2; i++) {
        TimError err;
        set_disk_full(1);
        const TimStatus status = writers[i](&image, path_of("a"), 99, &err);
        set_disk_full(0);
        assert_int_equal(status, TIM_E_IO);
        assert_non_null(strstr(err.text, path_of("a")));
        assert_false(exists("a") || exists("a.tmp"));
    }
    tim_image_done(&image);
}

/* ---- hostile files ---- */

static void test_read_truncated_anywhere_fails(void **state) {
    (void)state;
    static const int qualities[] = {90, 90, 100};
    TimImage image = pattern(19, 21, 3), back;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(writers[i > 0](&image, path_of("a"), qualities[i], NULL), TIM_OK);
        const Bytes bytes = read_whole("a");
        for (size_t count = 0; count < bytes.count; count++) {
            TimError err;
            write_whole("b", bytes.data, count);
            assert_int_equal(tim_image_read(&back, path_of("b"), &err), TIM_E_FORMAT);
            assert_non_null(strstr(err.text, path_of("b")));
            assert_null(back.pixels);
        }
        tim_free(bytes.data);
    }
    tim_image_done(&image);
    remove(path_of("a"));
    remove(path_of("b"));
}

/* These formats have no checksum: a changed byte gives another picture or an error, and no more. */
static void test_read_changed_byte_is_survived(void **state) {
    (void)state;
    static const int qualities[] = {90, 90, 100};
    TimImage image = pattern(9, 11, 3), back;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(writers[i > 0](&image, path_of("a"), qualities[i], NULL), TIM_OK);
        const Bytes bytes = read_whole("a");
        for (size_t at = 0; at < 3 * bytes.count; at++) {
            const uint8_t change = (const uint8_t[]){0x01, 0x80, 0xFF}[at % 3];
            bytes.data[at / 3] ^= change;
            write_whole("b", bytes.data, bytes.count);
            const TimStatus status = tim_image_read(&back, path_of("b"), NULL);
            assert_true(status == TIM_OK || status == TIM_E_FORMAT || status == TIM_E_UNSUPPORTED);
            assert_true((status == TIM_OK) == (back.pixels != NULL));
            tim_image_done(&back);
            bytes.data[at / 3] ^= change;
        }
        tim_free(bytes.data);
    }
    tim_image_done(&image);
    remove(path_of("a"));
    remove(path_of("b"));
}

/* The place of `mark` in the bytes, after `from`. */
static size_t find(Bytes bytes, const char *mark, size_t length, size_t from) {
    for (size_t i = from; i + length <= bytes.count; i++)
        if (memcmp(bytes.data + i, mark, length) == 0) return i;
    fail();
    return 0;
}

static void read_fails(const char *name, TimStatus expected, const char *text) {
    TimImage image;
    TimError err;
    assert_int_equal(tim_image_read(&image, path_of(name), &err), expected);
    assert_non_null(strstr(err.text, text));
    assert_null(image.pixels);
}

static void test_jpeg_read_claimed_size_is_bounded(void **state) {
    (void)state;
    static const uint16_t sizes[][2] = {{16384, 16384}, {16385, 1}, {1, 16385}, {0, 1}, {1, 0}, {65535, 65535}, {600, 800}};
    TimImage image = pattern(2, 2, 3);
    assert_int_equal(tim_image_write_jpeg(&image, path_of("a"), 90, NULL), TIM_OK);
    const Bytes bytes = read_whole("a");
    uint8_t *frame = bytes.data + find(bytes, "\xFF\xC0", 2, 0) + 5;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        for (int k = 0; k < 4; k++) frame[k] = (uint8_t)(sizes[i][k / 2] >> (k % 2 ? 0 : 8));
        write_whole("a", bytes.data, bytes.count);
        read_fails("a", TIM_E_FORMAT, path_of("a"));
    }
    tim_free(bytes.data);
    tim_image_done(&image);
    remove(path_of("a"));
}

/* A size of 14 bits in a lossless WebP lies right after its signature byte, width first. */
static void test_webp_read_claimed_size_is_bounded(void **state) {
    (void)state;
    static const uint32_t largest = 16382 | 16382U << 14;
    TimImage image = pattern(2, 2, 3);
    assert_int_equal(tim_image_write_webp(&image, path_of("a"), 100, NULL), TIM_OK);
    const Bytes bytes = read_whole("a");
    uint8_t *header = bytes.data + find(bytes, "VP8L", 4, 0) + 9;
    for (int k = 0; k < 4; k++) header[k] = (uint8_t)(largest >> 8 * k | (k == 3 ? header[3] & 0xF0 : 0));
    write_whole("a", bytes.data, bytes.count);
    read_fails("a", TIM_E_FORMAT, "too few for a WebP of height 16383, width 16383");
    tim_free(bytes.data);
    tim_image_done(&image);
    remove(path_of("a"));
}

static void test_webp_read_animation_is_refused(void **state) {
    (void)state;
    static const uint8_t file[] = "RIFF\x1E\0\0\0WEBPVP8X\x0A\0\0\0\x02\0\0\0\x13\0\0\x13\0\0"
                                  "ANIM\0\0\0";
    write_whole("a", file, 38);
    read_fails("a", TIM_E_UNSUPPORTED, "animated");
    remove(path_of("a"));
}

/* A JPEG of any kind, by libjpeg itself. */
typedef struct Kind {
    J_COLOR_SPACE color;
    int components;
    bool progressive;
} Kind;

static void write_kind(const Kind *kind) {
    FILE *file = fopen(path_of("a"), "wb");
    struct jpeg_error_mgr errors;
    struct jpeg_compress_struct jpeg = {.err = jpeg_std_error(&errors)};
    uint8_t row[8 * 4];
    JSAMPROW rows[1] = {row};
    assert_non_null(file);
    jpeg_create_compress(&jpeg);
    jpeg_stdio_dest(&jpeg, file);
    jpeg.image_width = jpeg.image_height = 8;
    jpeg.input_components = kind->components;
    jpeg.in_color_space = kind->color;
    jpeg_set_defaults(&jpeg);
    jpeg_set_quality(&jpeg, 100, TRUE);
    if (kind->progressive) jpeg_simple_progression(&jpeg);
    jpeg_start_compress(&jpeg, TRUE);
    for (int y = 0; y < 8; y++) {
        for (int i = 0; i < 8 * kind->components; i++) row[i] = (uint8_t)(60 * (i % kind->components) + 30);
        jpeg_write_scanlines(&jpeg, rows, 1);
    }
    jpeg_finish_compress(&jpeg);
    jpeg_destroy_compress(&jpeg);
    assert_int_equal(fclose(file), 0);
}

/* Stored inks 30, 90, 150 over key 210 of 255 give, by ink key / 255: 25, 74, 124. */
static void test_jpeg_read_four_colours_are_mixed(void **state) {
    (void)state;
    static const int expected[] = {25, 74, 124};
    TimImage image;
    write_kind(&(Kind){.color = JCS_CMYK, .components = 4});
    assert_int_equal(tim_image_read(&image, path_of("a"), NULL), TIM_OK);
    assert_int_equal(image.channels, 3);
    for (int i = 0; i < 8 * 8 * 3; i++) assert_in_range(image.pixels[i], expected[i % 3] - 1, expected[i % 3] + 1);
    tim_image_done(&image);
    remove(path_of("a"));
}

static void test_jpeg_read_unknown_colours_are_refused(void **state) {
    (void)state;
    write_kind(&(Kind){.color = JCS_UNKNOWN, .components = 2});
    read_fails("a", TIM_E_UNSUPPORTED, "colours");
    remove(path_of("a"));
}

/* The last scan of a progressive file over and over: few bytes, much work. */
static void test_jpeg_read_endless_scans_are_refused(void **state) {
    (void)state;
    write_kind(&(Kind){.color = JCS_GRAYSCALE, .components = 1, .progressive = true});
    const Bytes bytes = read_whole("a");
    size_t last = 0;
    for (size_t i = 0; i + 2 < bytes.count; i++)
        if (bytes.data[i] == 0xFF && bytes.data[i + 1] == 0xDA) last = i;
    for (int count = 100; count <= 600; count += 500) {
        FILE *file = fopen(path_of("a"), "wb");
        assert_non_null(file);
        fwrite(bytes.data, 1, last, file);
        for (int i = 0; i < count; i++) fwrite(bytes.data + last, 1, bytes.count - 2 - last, file);
        fwrite("\xFF\xD9", 1, 2, file);
        assert_int_equal(fclose(file), 0);
        TimImage image;
        if (count == 600) read_fails("a", TIM_E_FORMAT, "too many scans");
        if (count == 100) assert_int_equal(tim_image_read(&image, path_of("a"), NULL), TIM_OK), tim_image_done(&image);
    }
    tim_free(bytes.data);
    remove(path_of("a"));
}

/* Of a large picture 22 are too many for a file of 4 KiB, whose scans cost a pass over 2^20 pixels each. */
static void test_jpeg_read_scans_of_a_large_picture_are_limited(void **state) {
    (void)state;
    static const uint8_t side[] = {4, 0, 4, 0}, padding[4096] = {0};
    write_kind(&(Kind){.color = JCS_GRAYSCALE, .components = 1, .progressive = true});
    const Bytes bytes = read_whole("a");
    size_t last = 0;
    for (size_t i = 0; i + 2 < bytes.count; i++)
        if (bytes.data[i] == 0xFF && bytes.data[i + 1] == 0xDA) last = i;
    memcpy(bytes.data + find(bytes, "\xFF\xC2", 2, 0) + 5, side, sizeof side);
    FILE *file = fopen(path_of("a"), "wb");
    assert_non_null(file);
    fwrite(bytes.data, 1, last, file);
    for (int i = 0; i < 100; i++) fwrite(bytes.data + last, 1, bytes.count - 2 - last, file);
    fwrite("\xFF\xD9", 1, 2, file);
    fwrite(padding, 1, sizeof padding, file);
    assert_int_equal(fclose(file), 0);
    read_fails("a", TIM_E_FORMAT, "too many scans");
    tim_free(bytes.data);
    remove(path_of("a"));
}

/* An end in the middle of the data: libjpeg would make up the rest. */
static void test_jpeg_read_made_up_pixels_are_refused(void **state) {
    (void)state;
    TimImage image = pattern(40, 40, 3);
    assert_int_equal(tim_image_write_jpeg(&image, path_of("a"), 90, NULL), TIM_OK);
    const Bytes bytes = read_whole("a");
    const size_t scan = find(bytes, "\xFF\xDA", 2, 0);
    memcpy(bytes.data + (scan + bytes.count) / 2, "\xFF\xD9", 2);
    write_whole("a", bytes.data, bytes.count);
    read_fails("a", TIM_E_FORMAT, "damaged or cut short");
    tim_free(bytes.data);
    tim_image_done(&image);
    remove(path_of("a"));
}

/* A segment of a JPEG that says: turned by a quarter, the orientation 6, in its byte 29. */
static const uint8_t turned[36] = "\xFF\xE1\0\x22"
                                  "Exif\0\0"
                                  "MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0";

/* A gray JPEG of 32 x 16, whose quarters are 10, 90 / 170, 250, with `exif` before the rest of its segments. */
static void write_quarters(const uint8_t *exif, size_t size) {
    TimError err;
    TimImage image;
    assert_int_equal(tim_image_new(&image, 16, 32, 1, &err), TIM_OK);
    for (int i = 0; i < 16 * 32; i++) image.pixels[i] = (uint8_t)(10 + 80 * (i % 32 / 16) + 160 * (i / 32 / 8));
    assert_int_equal(tim_image_write_jpeg(&image, path_of("plain.jpg"), 100, &err), TIM_OK);
    TimFile file;
    assert_int_equal(tim_file_open(&file, path_of("plain.jpg"), &err), TIM_OK);
    FILE *stream = fopen(path_of("noted.jpg"), "wb");
    assert_non_null(stream);
    fwrite(file.data, 1, 2, stream);
    fwrite(exif, 1, size, stream);
    fwrite(file.data + 2, 1, file.size - 2, stream);
    assert_int_equal(fclose(stream), 0);
    tim_file_close(&file);
    tim_image_done(&image);
    remove(path_of("plain.jpg"));
}

/* The quarters of a picture, as letters in rows. */
static void name_quarters(const TimImage *image, char letters[5]) {
    for (int i = 0; i < 4; i++) {
        const int y = image->height * (1 + 2 * (i / 2)) / 4, x = image->width * (1 + 2 * (i % 2)) / 4;
        letters[i] = (char)('A' + (image->pixels[y * image->width + x] + 30) / 80);
    }
    letters[4] = '\0';
}

/* Expected values: Pillow 13.0's exif_transpose of such a file. */
static void test_jpeg_upright_as_its_camera_was_held(void **state) {
    (void)state;
    TimError err;
    static const char *const expected[9] = {"ABCD", "ABCD", "BADC", "DCBA", "CDAB", "ACBD", "CADB", "DBCA", "BDAC"};
    for (int order = 0; order < 2; order++)
        for (int orientation = 0; orientation <= 8; orientation++) {
            uint8_t exif[sizeof turned];
            static const uint8_t little[] = "II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0o\0\0\0\0\0\0";
            memcpy(exif, turned, sizeof turned);
            if (order) memcpy(exif + 10, little, sizeof little);
            exif[order ? 28 : 29] = (uint8_t)orientation;
            write_quarters(exif, sizeof exif);
            TimImage image;
            char letters[5];
            assert_int_equal(tim_image_read_upright(&image, path_of("noted.jpg"), &err), TIM_OK);
            assert_int_equal(image.width, orientation < 5 ? 32 : 16);
            name_quarters(&image, letters);
            assert_string_equal(letters, expected[orientation]);
            tim_image_done(&image);
        }
    remove(path_of("noted.jpg"));
}

/* Every cut and every changed byte of the note gives the picture, or one that is turned. */
static void test_jpeg_upright_hostile_notes_do_no_harm(void **state) {
    (void)state;
    TimError err;
    for (size_t i = 4; i < sizeof turned; i++)
        for (int value = 0; value < 256; value += 51) {
            uint8_t changed[sizeof turned];
            TimImage image;
            memcpy(changed, turned, sizeof turned);
            changed[i] = (uint8_t)value;
            write_quarters(changed, sizeof changed);
            assert_int_equal(tim_image_read_upright(&image, path_of("noted.jpg"), &err), TIM_OK);
            assert_int_equal(image.width * image.height, 32 * 16);
            tim_image_done(&image);
        }
    remove(path_of("noted.jpg"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_jpeg_round_trip_keeps_channels_and_is_close),
        cmocka_unit_test(test_write_quality_changes_the_size),
        cmocka_unit_test(test_webp_round_trip_of_quality_100_keeps_bytes),
        cmocka_unit_test(test_webp_lossy_is_close),
        cmocka_unit_test(test_read_goes_by_content_not_name),
        cmocka_unit_test(test_read_unknown_format_says_what_it_found),
        cmocka_unit_test(test_read_missing_file_names_the_path),
        cmocka_unit_test(test_write_bad_arguments_fail_and_leave_no_file),
        cmocka_unit_test(test_webp_write_too_wide_fails),
        cmocka_unit_test(test_write_full_disk_fails_and_leaves_no_file),
        cmocka_unit_test(test_read_truncated_anywhere_fails),
        cmocka_unit_test(test_read_changed_byte_is_survived),
        cmocka_unit_test(test_jpeg_read_claimed_size_is_bounded),
        cmocka_unit_test(test_webp_read_claimed_size_is_bounded),
        cmocka_unit_test(test_webp_read_animation_is_refused),
        cmocka_unit_test(test_jpeg_read_four_colours_are_mixed),
        cmocka_unit_test(test_jpeg_read_unknown_colours_are_refused),
        cmocka_unit_test(test_jpeg_read_endless_scans_are_refused),
        cmocka_unit_test(test_jpeg_read_scans_of_a_large_picture_are_limited),
        cmocka_unit_test(test_jpeg_read_made_up_pixels_are_refused),
        cmocka_unit_test(test_jpeg_upright_as_its_camera_was_held),
        cmocka_unit_test(test_jpeg_upright_hostile_notes_do_no_harm),
    };
    return cmocka_run_group_tests_name("codecs", tests, make_folder, remove_folder);
}
