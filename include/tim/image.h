/* Pictures of 8-bit samples: conversion from the decoder's floats, resizing, PNG, JPEG and WebP files, contact sheets, the npz
 * files of ADM's evaluation.
 * Every call is safe from any thread, as long as no two threads share an image or a writer that one of them changes. */
#ifndef TIM_IMAGE_H
#define TIM_IMAGE_H

#include <stddef.h>
#include <stdint.h>

#include "tim/status.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { TIM_IMAGE_MAX_SIDE = 16384 }; /* pixels: the largest height and width of an image, whether made, read or written */

/* A picture. The owner calls tim_image_done; {0} is a valid empty image for that call only. */
typedef struct TimImage {
    uint8_t *pixels; /* (height, width, channels), row-major; owned */
    int height;      /* 1 ... TIM_IMAGE_MAX_SIDE */
    int width;       /* 1 ... TIM_IMAGE_MAX_SIDE */
    int channels;    /* 1: gray, 3: red, green, blue */
} TimImage;

/* How a float in [-1, 1] becomes a byte: the two published formulas. Both clamp, then truncate; NaN becomes 0. */
typedef enum TimImageRounding {
    TIM_IMAGE_ROUNDING_T2I, /* clamp(127.5 x + 128, 0, 255): text-to-image, GenEval, DPG */
    TIM_IMAGE_ROUNDING_C2I  /* clamp(255 ((x + 1) / 2), 0, 255): class-to-image, MJHQ */
} TimImageRounding;

/* Makes a black image. `image` is written over, not freed, and left empty on failure.
 * Errors: TIM_E_ARGUMENT for a side outside 1 ... TIM_IMAGE_MAX_SIDE or channels other than 1 and 3; TIM_E_MEMORY. */
TIM_API TimStatus tim_image_new(TimImage *image, int height, int width, int channels, TimError *err);

/* Frees the pixels and leaves the image empty. NULL and an empty image are fine. */
TIM_API void tim_image_done(TimImage *image);

/* Makes an image from a planar float picture `chw`, shape (channels, height, width), nominally in [-1, 1]; others saturate.
 * `image` is written over, not freed, and left empty on failure; `chw` stays the caller's. Errors: as tim_image_new. */
TIM_API TimStatus tim_image_from_chw(TimImage *image, const float *chw, int channels, int height, int width,
                                     TimImageRounding rounding, TimError *err);

/* The filters of tim_image_resize, by the number of input pixels they weigh when the picture grows. */
typedef enum TimImageFilter {
    TIM_IMAGE_BOX,      /* 1: the mean, when the picture shrinks by a whole factor */
    TIM_IMAGE_BILINEAR, /* 2 */
    TIM_IMAGE_BICUBIC,  /* 4 */
    TIM_IMAGE_LANCZOS   /* 6 */
} TimImageFilter;

/* Makes `out` from `in` with another size, byte for byte as Pillow's Image.resize: filters are stretched when the picture shrinks,
 * and the height is changed before the width where it loses more than twice as many pixels, as version 13.0 does. Versions up to
 * 12.3 always begin with the width, which changes some of those bytes by rounding. `out` is written over, not freed, and left empty
 * on failure; it must be another image than `in`.
 * Errors: TIM_E_ARGUMENT for an empty image, a side outside 1 ... TIM_IMAGE_MAX_SIDE or an unknown filter; TIM_E_MEMORY. */
TIM_API TimStatus tim_image_resize(TimImage *out, const TimImage *in, int height, int width, TimImageFilter filter, TimError *err);

/* A line of text stored in a PNG file, such as {"prompt", "a red cube"}. */
typedef struct TimImageText {
    const char *key;   /* 1 ... 79 printable ASCII characters; no space at either end, no two in a row */
    const char *value; /* UTF-8; pure ASCII becomes a tEXt chunk, anything else an iTXt chunk */
} TimImageText;

/* Writes the image to `path` as an 8-bit gray or RGB PNG, with `text_count` text chunks (`texts` may be NULL when it is 0).
 * The file is written as "<path>.tmp" and renamed, so that `path` is never partial and a failure leaves nothing behind.
 * Borrows everything. Errors: TIM_E_ARGUMENT for an image or text out of range; TIM_E_IO, naming the path; TIM_E_MEMORY. */
TIM_API TimStatus tim_image_write_png(const TimImage *image, const char *path, const TimImageText *texts, size_t text_count,
                                      TimError *err);

/* Makes an image from the PNG file at `path`: gray files give 1 channel, colour and palette files 3.
 * Of 16-bit samples the upper 8 bits are taken, of gray without alpha the nearest of 8; fewer than 8 are widened. Alpha and
 * transparent colours are dropped, not blended, as Pillow's convert("RGB") does; gamma and profiles are ignored. `image` is
 * written over, not freed, and left empty on failure.
 * Errors: TIM_E_IO when the file cannot be opened; TIM_E_FORMAT for anything but a whole, valid PNG of at most TIM_IMAGE_MAX_SIDE
 * pixels a side, or for more pixels than so few bytes should hold; TIM_E_MEMORY. The file may be hostile: memory stays in
 * proportion to its size, at most 1032 bytes of pixels for each of its own, beyond the 16777216 pixels that any PNG may have. A
 * page of A4 with 1 bit at 600 dpi so takes 34 KB or more, with a palette 101 KB. */
TIM_API TimStatus tim_image_read_png(TimImage *image, const char *path, TimError *err);

/* value = the text `key` of the PNG file at `path`, which must fit into `size` bytes with its end; compressed texts are not read.
 * The value of a tEXt chunk that is no UTF-8 is taken as Latin-1, which the standard wants there, and becomes UTF-8; that of an
 * iTXt chunk is as it is in the file.
 * Errors: TIM_E_IO when the file cannot be opened; TIM_E_FORMAT when it is no PNG, has no such text, or the text does not fit;
 * `value` is empty then. The file may be hostile. */
TIM_API TimStatus tim_image_read_text(char *value, size_t size, const char *key, const char *path, TimError *err);

/* Writes the image to `path` as a JPEG, gray or YCbCr with chroma at half the resolution (libjpeg's defaults); quality 1 ... 100.
 * The file appears as that of tim_image_write_png. Errors: TIM_E_ARGUMENT; TIM_E_IO, naming the path; TIM_E_MEMORY. */
TIM_API TimStatus tim_image_write_jpeg(const TimImage *image, const char *path, int quality, TimError *err);

/* Writes the image to `path` as a WebP, always RGB; quality 1 ... 99, or 100: lossless. Sides are at most 16383 pixels.
 * The file appears as that of tim_image_write_png. Errors: TIM_E_ARGUMENT; TIM_E_IO, naming the path; TIM_E_MEMORY. */
TIM_API TimStatus tim_image_write_webp(const TimImage *image, const char *path, int quality, TimError *err);

/* Makes an image from a PNG, JPEG or WebP file, told apart by their first bytes, not by their names. The pixels are those of
 * Pillow:
 * - PNG: as tim_image_read_png.
 * - JPEG: gray gives 1 channel, everything else 3; CMYK is mixed as convert("RGB") does, without profiles. Orientation tags are
 *   ignored, as Image.open does; tim_image_read_upright follows them. Unlike there, damage that libjpeg fills with made-up pixels
 *   is an error; so are more than 500 scans, or more than 20 in a file too short for so many.
 * - WebP: 3 channels; alpha is dropped, not blended. Animations are refused.
 * `image` is written over, not freed, and left empty on failure.
 * Errors: TIM_E_IO when the file cannot be opened; TIM_E_FORMAT for another format, damage, a side beyond TIM_IMAGE_MAX_SIDE, or
 * far more pixels than so few bytes should hold; TIM_E_UNSUPPORTED for an animation or unknown colours; TIM_E_MEMORY.
 * The file may be hostile: memory stays in proportion to its size, beyond the 16777216 pixels that any PNG or WebP may have. */
TIM_API TimStatus tim_image_read(TimImage *image, const char *path, TimError *err);

/* The same, turned or mirrored as a JPEG's EXIF note of how the camera was held says: Pillow's ImageOps.exif_transpose. A note that
 * cannot be read is none. Errors: as tim_image_read; TIM_E_MEMORY also where there is no room for the picture twice. */
TIM_API TimStatus tim_image_read_upright(TimImage *image, const char *path, TimError *err);

/* A labelled grid of equally large pictures. Everything is borrowed for the time of the call. */
typedef struct TimSheet {
    int rows, columns;                /* of the grid, 1 ... TIM_IMAGE_MAX_SIDE */
    int height, width, channels;      /* of one picture */
    const uint8_t *pictures;          /* (rows, columns, height, width, channels) */
    const char *title;                /* above all; may be NULL */
    const char *const *column_labels; /* (columns), centred above the first row; the array or any entry may be NULL */
    const char *const *row_labels;    /* (rows), at the left, flush right; the array or any entry may be NULL */
    int scale;                        /* 1 ... 64: each pixel becomes scale x scale pixels */
    int text_scale;                   /* 1 or 2: height of a line of text in units of 12 pixels */
} TimSheet;

/* Says how large tim_sheet_draw will make the image, before there are pictures: `pictures` and `channels` are not looked at.
 * Errors: TIM_E_ARGUMENT as tim_sheet_draw; *height and *width are left alone then. */
TIM_API TimStatus tim_sheet_size(int *height, int *width, const TimSheet *sheet, TimError *err);

/* Makes one image of the whole sheet on white, with the pictures' number of channels.
 * A column is as wide as its pictures or its label; labels and titles that are still too long are cut and end in "..".
 * Text is ASCII; each other UTF-8 character shows as "?". `image` is written over, not freed, and left empty on failure.
 * Errors: TIM_E_ARGUMENT for a field out of range or a sheet larger than TIM_IMAGE_MAX_SIDE a side; TIM_E_MEMORY. */
TIM_API TimStatus tim_sheet_draw(TimImage *image, const TimSheet *sheet, TimError *err);

/* Writes a set of images for ADM's evaluation: an uncompressed npz of arr_0, uint8 (n, height, width, channels), and, unless
 * `labels` is NULL, arr_1, int64 (n). n >= 1; sides 1 ... TIM_IMAGE_MAX_SIDE; channels 1 or 3. Borrows everything.
 * `path` is replaced only when the file is whole. Errors: TIM_E_ARGUMENT; TIM_E_IO, naming the path; TIM_E_MEMORY. */
TIM_API TimStatus tim_npz_write_adm(const char *path, const uint8_t *images, int64_t n, int height, int width, int channels,
                                    const int64_t *labels, TimError *err);

/* The same file written a few images at a time, for sets that do not fit into memory. One thread at a time. */
typedef struct TimAdmWriter TimAdmWriter;

/* Starts a file of n images. *writer is the caller's until tim_adm_writer_finish or tim_adm_writer_discard; NULL on failure.
 * Ranges and errors: as tim_npz_write_adm. */
TIM_API TimStatus tim_adm_writer_begin(TimAdmWriter **writer, const char *path, int64_t n, int height, int width, int channels,
                                       TimError *err);

/* Adds the next `count` images, uint8 (count, height, width, channels), borrowed. After TIM_E_IO only tim_adm_writer_discard is
 * useful. Errors: TIM_E_ARGUMENT when count is negative or more than n images come; TIM_E_IO. */
TIM_API TimStatus tim_adm_writer_append(TimAdmWriter *writer, const uint8_t *images, int64_t count, TimError *err);

/* Adds the labels, int64 (n), unless NULL, and puts the file at its path. Frees the writer in every case; a failure leaves no file.
 * Errors: TIM_E_ARGUMENT when fewer than n images came; TIM_E_IO. */
TIM_API TimStatus tim_adm_writer_finish(TimAdmWriter *writer, const int64_t *labels, TimError *err);

/* Gives up: frees the writer and leaves no file. NULL is fine. */
TIM_API void tim_adm_writer_discard(TimAdmWriter *writer);

#ifdef __cplusplus
}
#endif
#endif
