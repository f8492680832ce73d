/* JPEG files by libjpeg, which reports an error by calling a function that must not return.
 * Invariant: as in png.c, all state lives in a Job one frame above the function that calls setjmp, and that function changes none
 * of its own variables afterwards. libjpeg's own messages never reach a terminal, and it never ends the process.
 * Format: ITU-T T.81; how four colours become three, and that Adobe's files hold them inverted: Pillow's convert("RGB"). */
#include <setjmp.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include <jpeglib.h>

#include <jerror.h>

#include "io/codec.h"

enum { BUFFER_SIZE = 16384 };

typedef struct Job {
    struct jpeg_error_mgr errors; /* first: libjpeg hands back its address */
    jmp_buf back;
    const char *path;
    TimStatus status; /* of the failure that jumped */
    TimError *err;
    struct jpeg_decompress_struct reader;
    struct jpeg_source_mgr source;
    struct jpeg_progress_mgr progress;
    size_t file_size;
    bool damaged; /* what libjpeg only warns of: pixels that are not in the file */
    struct jpeg_compress_struct writer;
    struct jpeg_destination_mgr destination;
    TimFileWriter *file; /* borrowed */
    JOCTET buffer[BUFFER_SIZE];
} Job;

static Job *job_of(j_common_ptr jpeg) {
    return jpeg->client_data;
}

static void ignore_message(j_common_ptr jpeg) {
    (void)jpeg;
}

/* Level -1 are warnings, the rest are traces. Libjpeg steps over both, and makes up the pixels that were damaged. */
static void note_level(j_common_ptr jpeg, int level) {
    Job *job = job_of(jpeg);
    const int code = job->errors.msg_code;
    if (level < 0 &&
        (code == JWRN_HIT_MARKER || code == JWRN_HUFF_BAD_CODE || code == JWRN_MUST_RESYNC || code == JWRN_ARITH_BAD_CODE))
        job->damaged = true;
}

/* Of the reader and the writer alike. */
static void on_error(j_common_ptr jpeg) {
    Job *job = job_of(jpeg);
    char text[JMSG_LENGTH_MAX];
    job->errors.format_message(jpeg, text);
    if (job->errors.msg_code == JERR_OUT_OF_MEMORY)
        job->status = tim_fail(job->err, TIM_E_MEMORY, "%s: libjpeg: %s; free some memory", job->path, text);
    else if (jpeg->is_decompressor)
        job->status = tim_fail(job->err, TIM_E_FORMAT, "%s: not a valid JPEG of at most %d pixels a side: %s; export it again",
                               job->path, TIM_IMAGE_MAX_SIDE, text);
    else
        job->status = tim_fail(job->err, TIM_E_INTERNAL, "%s: libjpeg cannot write it: %s", job->path, text);
    longjmp(job->back, 1);
}

static void start_errors(Job *job) {
    jpeg_std_error(&job->errors);
    job->errors.error_exit = on_error;
    job->errors.output_message = ignore_message;
    job->errors.emit_message = note_level;
}

/* ---- writing ---- */

static void start_buffer(j_compress_ptr jpeg) {
    Job *job = jpeg->client_data;
    job->destination.next_output_byte = job->buffer;
    job->destination.free_in_buffer = BUFFER_SIZE;
}

static void write_buffer(Job *job, size_t count) {
    job->status = tim_file_writer_write(job->file, job->buffer, count, job->err);
    if (job->status != TIM_OK) longjmp(job->back, 1);
}

/* libjpeg asks for the whole buffer to be written, whatever the counters say. */
static boolean empty_buffer(j_compress_ptr jpeg) {
    write_buffer(jpeg->client_data, BUFFER_SIZE);
    start_buffer(jpeg);
    return TRUE;
}

static void end_buffer(j_compress_ptr jpeg) {
    Job *job = jpeg->client_data;
    write_buffer(job, BUFFER_SIZE - job->destination.free_in_buffer);
}

static void set_destination(Job *job) {
    job->destination.init_destination = start_buffer;
    job->destination.empty_output_buffer = empty_buffer;
    job->destination.term_destination = end_buffer;
    job->writer.dest = &job->destination;
}

static void set_picture(Job *job, const TimImage *image, int quality) {
    job->writer.image_width = (JDIMENSION)image->width;
    job->writer.image_height = (JDIMENSION)image->height;
    job->writer.input_components = image->channels;
    job->writer.in_color_space = image->channels == 3 ? JCS_RGB : JCS_GRAYSCALE;
    jpeg_set_defaults(&job->writer);
    jpeg_set_quality(&job->writer, quality, TRUE); /* baseline: tables of 8 bits */
}

/* libjpeg takes the rows as not const, but only reads them. */
static void write_rows(Job *job, const TimImage *image) {
    const size_t row = (size_t)image->width * (size_t)image->channels;
    for (int y = 0; y < image->height; y++) {
        JSAMPROW from = image->pixels + (size_t)y * row;
        jpeg_write_scanlines(&job->writer, &from, 1);
    }
}

static TimStatus encode(Job *job, const TimImage *image, int quality) {
    if (setjmp(job->back)) return job->status;
    jpeg_create_compress(&job->writer);
    set_destination(job);
    set_picture(job, image, quality);
    jpeg_start_compress(&job->writer, TRUE);
    write_rows(job, image);
    jpeg_finish_compress(&job->writer);
    return TIM_OK;
}

static TimStatus encode_jpeg(const TimImage *image, const char *path, const void *settings, TimFileWriter *writer, TimError *err) {
    Job job = {.path = path, .file = writer, .err = err};
    start_errors(&job);
    job.writer.err = &job.errors;
    job.writer.client_data = &job;
    const TimStatus status = encode(&job, image, *(const int *)settings);
    jpeg_destroy_compress(&job.writer);
    return status;
}

TimStatus tim_image_write_jpeg(const TimImage *image, const char *path, int quality, TimError *err) {
    if (quality < 1 || quality > 100) return tim_fail(err, TIM_E_ARGUMENT, "%s: JPEG quality %d; give 1 ... 100", path, quality);
    return tim_image_write_with(encode_jpeg, &quality, image, path, err);
}

/* ---- reading ---- */

static void refuse(Job *job, TimStatus status, const char *reason) {
    job->status = tim_fail(job->err, status, "%s: not a JPEG that can be read, of at most %d pixels a side: %s; export it again",
                           job->path, TIM_IMAGE_MAX_SIDE, reason);
    longjmp(job->back, 1);
}

static void nothing_to_do(j_decompress_ptr jpeg) {
    (void)jpeg;
}

/* The whole file was there from the start. */
static boolean fill_buffer(j_decompress_ptr jpeg) {
    refuse(jpeg->client_data, TIM_E_FORMAT, "the file ends too early");
    return FALSE;
}

static void skip_bytes(j_decompress_ptr jpeg, long count) {
    struct jpeg_source_mgr *source = jpeg->src;
    if (count <= 0) return;
    if ((size_t)count > source->bytes_in_buffer) fill_buffer(jpeg);
    source->next_input_byte += count;
    source->bytes_in_buffer -= (size_t)count;
}

static void set_source(Job *job, const TimFile *file) {
    job->source.next_input_byte = file->data;
    job->source.bytes_in_buffer = file->size;
    job->source.init_source = nothing_to_do;
    job->source.fill_input_buffer = fill_buffer;
    job->source.skip_input_data = skip_bytes;
    job->source.resync_to_restart = jpeg_resync_to_restart;
    job->source.term_source = nothing_to_do;
    job->reader.src = &job->source;
    job->file_size = file->size;
}

/* A scan of a few bytes can cost a pass over the whole picture, and a progressive file may have any number of them. A few are free,
 * as encoders write ten; the others have to bring at least one bit for each of the picture's blocks. */
static void limit_scans(j_common_ptr jpeg) {
    enum { FREE_SCANS = 20, MAX_SCANS = 500 };
    Job *job = job_of(jpeg);
    const uint64_t scans = (uint64_t)job->reader.input_scan_number, most = (uint64_t)job->file_size;
    const uint64_t bytes = (uint64_t)job->reader.image_height * (uint64_t)job->reader.image_width / 512;
    if (scans > MAX_SCANS || (scans > FREE_SCANS && bytes > most / (scans - FREE_SCANS)))
        refuse(job, TIM_E_FORMAT, "it has too many scans");
}

/* Four colours come as they are stored and are mixed in read_rows. */
static void set_colors(Job *job) {
    switch (job->reader.jpeg_color_space) {
    case JCS_GRAYSCALE:
        job->reader.out_color_space = JCS_GRAYSCALE;
        break;
    case JCS_RGB:
    case JCS_YCbCr:
        job->reader.out_color_space = JCS_RGB;
        break;
    case JCS_CMYK:
    case JCS_YCCK:
        job->reader.out_color_space = JCS_CMYK;
        break;
    default:
        refuse(job, TIM_E_UNSUPPORTED, "its colours are neither gray, RGB, YCbCr, CMYK nor YCCK");
    }
}

/* A block of 64 pixels takes at least one bit, so a short file that claims many pixels is refused before they take memory. */
static void check_size(Job *job) {
    const uint64_t height = job->reader.image_height, width = job->reader.image_width;
    if (height > TIM_IMAGE_MAX_SIDE || width > TIM_IMAGE_MAX_SIDE) refuse(job, TIM_E_FORMAT, "a side is longer");
    if (height * width / 512 > job->file_size) refuse(job, TIM_E_FORMAT, "the file is too short for its height and width");
}

static TimStatus make_image(Job *job, TimImage *image) {
    const int channels = job->reader.out_color_space == JCS_GRAYSCALE ? 1 : 3;
    return tim_image_new(image, (int)job->reader.image_height, (int)job->reader.image_width, channels, job->err);
}

/* a b / 255, rounded to nearest. */
static int share(int a, int b) {
    const int product = a * b + 128;
    return ((product >> 8) + product) >> 8;
}

/* Inks as stored, 255 for none, to red, green, blue. */
static void mix(uint8_t *out, const JSAMPLE *inks, int width) {
    for (int x = 0; x < width; x++)
        for (int c = 0; c < 3; c++) out[3 * x + c] = (uint8_t)(inks[4 * x + 3] - share(255 - inks[4 * x + c], inks[4 * x + 3]));
}

static void read_rows(Job *job, const TimImage *image) {
    const size_t row = (size_t)image->width * (size_t)image->channels;
    JSAMPARRAY inks = NULL; /* libjpeg frees it with the rest */
    if (job->reader.out_color_space == JCS_CMYK)
        inks = job->reader.mem->alloc_sarray((j_common_ptr)&job->reader, JPOOL_IMAGE, 4 * (JDIMENSION)image->width, 1);
    for (int y = 0; y < image->height; y++) {
        JSAMPROW out = image->pixels + (size_t)y * row;
        jpeg_read_scanlines(&job->reader, inks ? inks : &out, 1);
        if (inks) mix(out, inks[0], image->width);
    }
}

static TimStatus decode(Job *job, TimImage *image, const TimFile *file) {
    if (setjmp(job->back)) return job->status;
    jpeg_create_decompress(&job->reader);
    set_source(job, file);
    job->progress.progress_monitor = limit_scans;
    job->reader.progress = &job->progress;
    jpeg_read_header(&job->reader, TRUE);
    set_colors(job);
    check_size(job);
    TIM_TRY(make_image(job, image));
    jpeg_start_decompress(&job->reader);
    read_rows(job, image);
    jpeg_finish_decompress(&job->reader);
    if (job->damaged) refuse(job, TIM_E_FORMAT, "its data are damaged or cut short");
    return TIM_OK;
}

TimStatus tim_jpeg_decode(TimImage *image, const TimFile *file, const char *path, TimError *err) {
    Job job = {.path = path, .err = err};
    *image = (TimImage){0};
    start_errors(&job);
    job.reader.err = &job.errors;
    job.reader.client_data = &job;
    const TimStatus status = decode(&job, image, file);
    jpeg_destroy_decompress(&job.reader);
    if (status != TIM_OK) tim_image_done(image);
    return status;
}
