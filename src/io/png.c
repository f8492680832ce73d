/* PNG files by libpng, which reports an error by a long jump out of whatever it was doing.
 * Invariant: all state lives in a Job one frame above the function that calls setjmp, and that function changes none of its own
 * variables afterwards, so nothing is lost or indeterminate after the jump. libpng's own messages never reach a terminal.
 * Format: PNG, W3C Recommendation, third edition. */
#include <png.h>
#include <setjmp.h>
#include <string.h>

#include "base/memory.h"
#include "io/codec.h"
#include "io/png.h"

typedef struct Job {
    png_structp png;
    png_infop info;
    const char *path;
    const TimFile *file;   /* when reading; borrowed */
    size_t at;             /* bytes of it that libpng has */
    TimFileWriter *writer; /* when writing a file; borrowed */
    TimBuffer *buffer;     /* when writing into memory; else NULL */
    TimStatus status;      /* of the failure that jumped */
    TimError *err;
} Job;

static void ignore_warning(png_structp png, png_const_charp message) {
    (void)png, (void)message;
}

/* ---- writing ---- */

static void on_write_error(png_structp png, png_const_charp message) {
    Job *job = png_get_error_ptr(png);
    job->status = tim_fail(job->err, TIM_E_INTERNAL, "%s: libpng cannot write it: %s", job->path, message);
    png_longjmp(png, 1);
}

static void write_bytes(png_structp png, png_bytep bytes, size_t count) {
    Job *job = png_get_io_ptr(png);
    if (job->buffer) {
        tim_buffer_add(job->buffer, bytes, count);
        job->status = tim_buffer_check(job->buffer, job->path, job->err);
    } else {
        job->status = tim_file_writer_write(job->writer, bytes, count, job->err);
    }
    if (job->status != TIM_OK) png_longjmp(png, 1);
}

static void flush_nothing(png_structp png) {
    (void)png;
}

static bool is_ascii(const char *text) {
    while (*text && (unsigned char)*text < 0x80) text++;
    return *text == 0;
}

/* What PNG asks of a keyword, less its Latin-1 half. */
static bool is_keyword(const char *key) {
    const size_t length = strlen(key);
    if (length < 1 || length > 79 || key[0] == ' ' || key[length - 1] == ' ') return false;
    for (const char *at = key; *at; at++)
        if (*at < ' ' || *at > '~' || (at[0] == ' ' && at[1] == ' ')) return false;
    return true;
}

static TimStatus check_texts(const char *path, const TimImageText *texts, size_t count, TimError *err) {
    for (size_t i = 0; i < count; i++) {
        if (!texts[i].key || !texts[i].value)
            return tim_fail(err, TIM_E_ARGUMENT, "%s: text %zu: key or value is NULL; give both", path, i);
        if (!is_keyword(texts[i].key))
            return tim_fail(err, TIM_E_ARGUMENT,
                            "%s: text %zu: key \"%s\"; give 1 ... 79 printable ASCII characters without outer or double spaces",
                            path, i, texts[i].key);
    }
    return TIM_OK;
}

/* libpng takes the texts as not const, but only copies them. */
static void add_text(Job *job, const TimImageText *text) {
    png_text chunk = {.compression = is_ascii(text->value) ? PNG_TEXT_COMPRESSION_NONE : PNG_ITXT_COMPRESSION_NONE,
                      .key = (char *)text->key,
                      .text = (char *)text->value};
    png_set_text(job->png, job->info, &chunk, 1);
}

static void write_header(Job *job, const TimImage *image) {
    const int color = image->channels == 3 ? PNG_COLOR_TYPE_RGB : PNG_COLOR_TYPE_GRAY;
    png_set_write_fn(job->png, job, write_bytes, flush_nothing);
    png_set_IHDR(job->png, job->info, (png_uint_32)image->width, (png_uint_32)image->height, 8, color, PNG_INTERLACE_NONE,
                 PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
}

static void write_rows(Job *job, const TimImage *image) {
    const size_t row = (size_t)image->width * (size_t)image->channels;
    for (int y = 0; y < image->height; y++) png_write_row(job->png, image->pixels + (size_t)y * row);
}

/* The settings of the format. */
typedef struct Texts {
    const TimImageText *items;
    size_t count;
} Texts;

static TimStatus encode(Job *job, const TimImage *image, const Texts *texts) {
    if (setjmp(png_jmpbuf(job->png))) return job->status;
    write_header(job, image);
    for (size_t i = 0; i < texts->count; i++) add_text(job, &texts->items[i]);
    png_write_info(job->png, job->info);
    write_rows(job, image);
    png_write_end(job->png, NULL);
    return TIM_OK;
}

static TimStatus encode_with(Job *job, const TimImage *image, const Texts *texts) {
    job->png = png_create_write_struct(PNG_LIBPNG_VER_STRING, job, on_write_error, ignore_warning);
    job->info = job->png ? png_create_info_struct(job->png) : NULL;
    const TimStatus status = job->info ? encode(job, image, texts)
                                       : tim_fail(job->err, TIM_E_MEMORY, "%s: no memory for libpng; free some", job->path);
    png_destroy_write_struct(&job->png, &job->info);
    return status;
}

static TimStatus encode_png(const TimImage *image, const char *path, const void *settings, TimFileWriter *writer, TimError *err) {
    Job job = {.path = path, .writer = writer, .err = err};
    return encode_with(&job, image, settings);
}

TimStatus tim_image_write_png(const TimImage *image, const char *path, const TimImageText *texts, size_t text_count,
                              TimError *err) {
    TIM_TRY(check_texts(path, texts, text_count, err));
    return tim_image_write_with(encode_png, &(Texts){texts, text_count}, image, path, err);
}

TimStatus tim_image_encode_png(TimBuffer *out, const TimImage *image, TimError *err) {
    Job job = {.path = "a PNG in memory", .buffer = out, .err = err};
    TIM_TRY(tim_image_check(image, job.path, err));
    return encode_with(&job, image, &(Texts){0});
}

/* ---- reading ---- */

static void on_read_error(png_structp png, png_const_charp message) {
    Job *job = png_get_error_ptr(png);
    if (strstr(message, "memory"))
        job->status = tim_fail(job->err, TIM_E_MEMORY, "%s: libpng: %s; free some memory", job->path, message);
    else
        job->status = tim_fail(job->err, TIM_E_FORMAT, "%s: not a valid PNG of at most %d pixels a side: %s; export it again",
                           job->path, TIM_IMAGE_MAX_SIDE, message);
    png_longjmp(png, 1);
}

static void read_bytes(png_structp png, png_bytep bytes, size_t count) {
    Job *job = png_get_io_ptr(png);
    if (count > job->file->size - job->at) png_error(png, "the file ends too early");
    memcpy(bytes, job->file->data + job->at, count);
    job->at += count;
}

/* Only the pixels are wanted: every ancillary chunk but tRNS is skipped unread, and with it what could be packed into one. */
static void start_reading(Job *job) {
    png_set_read_fn(job->png, job, read_bytes);
    png_set_user_limits(job->png, TIM_IMAGE_MAX_SIDE, TIM_IMAGE_MAX_SIDE);
    png_set_keep_unknown_chunks(job->png, PNG_HANDLE_CHUNK_NEVER, NULL, -1);
    png_read_info(job->png, job->info);
}

/* Bytes for each byte of a file, as deflate packs at most so many into one, and the pixels that a file may have all the same, as a WebP:
 * few bits and palettes are widened, and a sound page of one bit may be far shorter than its bytes here. */
enum { BYTES_A_BYTE = 1032, FREE_PIXELS = 1 << 24 };

/* Refuses a short file that claims many pixels before they take memory: by its rows as they are packed, where nothing is free, and then
 * by what they become. */
static void check_size(Job *job, uint64_t free_pixels) {
    const uint64_t height = png_get_image_height(job->png, job->info), width = png_get_image_width(job->png, job->info);
    const uint64_t bytes = png_get_rowbytes(job->png, job->info) * height;
    if (height * width > free_pixels && bytes / BYTES_A_BYTE > job->file->size)
        png_error(job->png, "the file is too short for its height and width");
}

/* Asks libpng for 8-bit gray or RGB whatever the file holds; returns how many passes its rows come in. Of 16 bits Pillow takes the
 * upper 8 but for plain gray, whose numbers it cuts at 255: here they are scaled. */
static int ask_for_bytes(Job *job) {
    png_set_expand(job->png);
    if (png_get_color_type(job->png, job->info) == PNG_COLOR_TYPE_GRAY)
        png_set_scale_16(job->png);
    else
        png_set_strip_16(job->png);
    png_set_strip_alpha(job->png);
    const int passes = png_set_interlace_handling(job->png);
    png_read_update_info(job->png, job->info);
    return passes;
}

static TimStatus make_image(Job *job, TimImage *image) {
    const png_uint_32 height = png_get_image_height(job->png, job->info), width = png_get_image_width(job->png, job->info);
    const size_t row = png_get_rowbytes(job->png, job->info);
    const int channels = png_get_channels(job->png, job->info);
    if (row != (size_t)width * (size_t)channels) png_error(job->png, "its samples cannot be made bytes");
    return tim_image_new(image, (int)height, (int)width, channels, job->err);
}

static void read_rows(Job *job, const TimImage *image, int passes) {
    const size_t row = (size_t)image->width * (size_t)image->channels;
    for (int pass = 0; pass < passes; pass++)
        for (int y = 0; y < image->height; y++) png_read_row(job->png, image->pixels + (size_t)y * row, NULL);
}

static TimStatus decode(Job *job, TimImage *image) {
    if (setjmp(png_jmpbuf(job->png))) return job->status;
    start_reading(job);
    check_size(job, 0);
    const int passes = ask_for_bytes(job);
    check_size(job, FREE_PIXELS);
    TIM_TRY(make_image(job, image));
    read_rows(job, image, passes);
    png_read_end(job->png, NULL);
    return TIM_OK;
}

TimStatus tim_png_decode(TimImage *image, const TimFile *file, const char *path, TimError *err) {
    Job job = {.path = path, .file = file, .err = err};
    *image = (TimImage){0};
    job.png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &job, on_read_error, ignore_warning);
    job.info = job.png ? png_create_info_struct(job.png) : NULL;
    const TimStatus status =
        job.info ? decode(&job, image) : tim_fail(err, TIM_E_MEMORY, "%s: no memory for libpng; free some", path);
    png_destroy_read_struct(&job.png, &job.info, NULL);
    if (status != TIM_OK) tim_image_done(image);
    return status;
}

TimStatus tim_image_read_png(TimImage *image, const char *path, TimError *err) {
    return tim_image_read_with(tim_png_decode, image, path, err);
}
