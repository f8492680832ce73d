/* Pictures as they were held: a camera stores what its sensor saw, and notes in EXIF how to turn it (JEITA CP-3451, tag 0x0112). */
#include <string.h>

#include "io/codec.h"

enum { ORIENTATION = 0x0112, SHORT = 3, ENTRY = 12 /* bytes */ };

/* A part of the file, read with its checks. */
typedef struct Bytes {
    const uint8_t *data;
    size_t size;
    bool little_endian;
} Bytes;

/* The whole number of `count` bytes at `at`; 0 beyond the end. */
static uint32_t number(const Bytes *b, size_t at, size_t count) {
    uint32_t value = 0;
    if (at > b->size || b->size - at < count) return 0;
    for (size_t i = 0; i < count; i++) value = value << 8 | b->data[at + (b->little_endian ? count - 1 - i : i)];
    return value;
}

/* Of a TIFF block: its first directory's tag; 1 where it says nothing of the kind. */
static int orientation_of_tiff(Bytes tiff) {
    if (tiff.size < 8) return 1;
    tiff.little_endian = tiff.data[0] == 'I';
    const size_t directory = number(&tiff, 4, 4), entries = number(&tiff, directory, 2);
    for (size_t i = 0; i < entries; i++) {
        const size_t at = directory + 2 + i * ENTRY;
        if (at > tiff.size) break;
        if (number(&tiff, at, 2) != ORIENTATION || number(&tiff, at + 2, 2) != SHORT) continue;
        const uint32_t value = number(&tiff, at + 8, 2);
        return value >= 1 && value <= 8 ? (int)value : 1;
    }
    return 1;
}

/* Of a JPEG: the segments before its data, each a marker and its size. */
static int orientation_of(const TimFile *file) {
    static const char exif[6] = "Exif\0";
    enum { APP1 = 0xFFE1, SCAN = 0xFFDA };
    const Bytes whole = {file->data, file->size, false};
    if (number(&whole, 0, 2) != 0xFFD8) return 1;
    for (size_t at = 2; number(&whole, at, 1) == 0xFF;) {
        const uint32_t marker = number(&whole, at, 2), size = number(&whole, at + 2, 2);
        const size_t begin = at + 4, end = at + 2 + size;
        if (marker == SCAN || size < 2 || end > file->size) break;
        if (marker == APP1 && end - begin > sizeof exif && memcmp(file->data + begin, exif, sizeof exif) == 0)
            return orientation_of_tiff((Bytes){file->data + begin + sizeof exif, end - begin - sizeof exif, false});
        at = end;
    }
    return 1;
}

/* Where pixel (y, x) of the upright picture lies in the stored one: axes change places from 5 on, then the stored rows, columns or
 * both are counted from their end. */
static size_t source_of(const TimImage *stored, int orientation, int y, int x) {
    const bool swaps = orientation >= 5;
    const bool from_below = orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
    const bool from_right = orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
    const int row = swaps ? x : y, column = swaps ? y : x;
    const int stored_row = from_below ? stored->height - 1 - row : row;
    const int stored_column = from_right ? stored->width - 1 - column : column;
    return ((size_t)stored_row * (size_t)stored->width + (size_t)stored_column) * (size_t)stored->channels;
}

static TimStatus turn(TimImage *image, int orientation, TimError *err) {
    TimImage upright;
    const bool swaps = orientation >= 5;
    const int height = swaps ? image->width : image->height, width = swaps ? image->height : image->width;
    const size_t channels = (size_t)image->channels;
    TIM_TRY(tim_image_new(&upright, height, width, image->channels, err));
    uint8_t *out = upright.pixels;
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++, out += channels) memcpy(out, image->pixels + source_of(image, orientation, y, x), channels);
    tim_image_done(image);
    *image = upright;
    return TIM_OK;
}

static TimStatus decode_upright(TimImage *image, const TimFile *file, const char *path, TimError *err) {
    TIM_TRY(tim_image_decode(image, file, path, err));
    const int orientation = orientation_of(file);
    const TimStatus status = orientation > 1 ? turn(image, orientation, err) : TIM_OK;
    if (status != TIM_OK) tim_image_done(image);
    return status;
}

TimStatus tim_image_read_upright(TimImage *image, const char *path, TimError *err) {
    return tim_image_read_with(decode_upright, image, path, err);
}
