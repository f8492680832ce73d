/* Picture files whatever their format: told apart by their first bytes, read through a map, written beside their place. */
#include "io/codec.h"

#include <stdio.h>
#include <string.h>

/* ---- reading ---- */

typedef struct Format {
    const char *name;
    size_t offset; /* of the mark in the file */
    const char *mark;
    TimImageDecoder decode; /* NULL: named in the error, not read */
} Format;

/* PNG's mark is longer; its decoder looks at the rest, which tells of a file that was sent as text. A RIFF file may be a film. */
static const Format formats[] = {
    {"PNG", 0, "\x89PNG", tim_png_decode},
    {"JPEG", 0, "\xFF\xD8\xFF", tim_jpeg_decode},
    {"WebP", 8, "WEBP", tim_webp_decode},
    {"GIF", 0, "GIF8", NULL},
    {"BMP", 0, "BM", NULL},
    {"TIFF", 0, "II*", NULL},
    {"TIFF", 0, "MM", NULL},
    {"AVIF or HEIF", 4, "ftyp", NULL},
    {"JPEG XL", 0, "\xFF\x0A", NULL},
    {"zip", 0, "PK\x03\x04", NULL},
};

static const Format *find_format(const TimFile *file) {
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
        const size_t length = strlen(formats[i].mark);
        if (file->size >= formats[i].offset + length && memcmp(file->data + formats[i].offset, formats[i].mark, length) == 0)
            return &formats[i];
    }
    return NULL;
}

static TimStatus refuse(const TimFile *file, const Format *format, const char *path, TimError *err) {
    char found[3 * 8 + 1] = "";
    for (size_t i = 0; i < 8 && i < file->size; i++) snprintf(found + 3 * i, 4, " %02x", file->data[i]);
    if (file->size == 0) return tim_fail(err, TIM_E_FORMAT, "%s: the file is empty; give a PNG, JPEG or WebP picture", path);
    return tim_fail(err, TIM_E_FORMAT, "%s: it begins with%s (%s); known are PNG, JPEG and WebP: convert it", path, found,
                    format ? format->name : "no format known here");
}

TimStatus tim_image_decode(TimImage *image, const TimFile *file, const char *path, TimError *err) {
    const Format *format = find_format(file);
    *image = (TimImage){0};
    return format && format->decode ? format->decode(image, file, path, err) : refuse(file, format, path, err);
}

TimStatus tim_image_read_with(TimImageDecoder decode, TimImage *image, const char *path, TimError *err) {
    TimFile file;
    *image = (TimImage){0};
    TIM_TRY(tim_file_open(&file, path, err));
    const TimStatus status = decode(image, &file, path, err);
    tim_file_close(&file);
    return status;
}

TimStatus tim_image_read(TimImage *image, const char *path, TimError *err) {
    return tim_image_read_with(tim_image_decode, image, path, err);
}

/* ---- writing ---- */

TimStatus tim_image_write_with(TimImageEncoder encode, const void *settings, const TimImage *image, const char *path,
                               TimError *err) {
    TimFileWriter writer;
    TIM_TRY(tim_image_check(image, path, err));
    TIM_TRY(tim_file_writer_open(&writer, path, err));
    const TimStatus status = encode(image, path, settings, &writer, err);
    if (status == TIM_OK) return tim_file_writer_commit(&writer, err);
    tim_file_writer_abandon(&writer);
    return status;
}
