/* Writing safetensors files: the header is collected as JSON, the data stays with the caller until it is written. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "io/safetensors.h"

typedef struct TimSafetensorsPiece {
    const void *data;
    size_t bytes;
} TimSafetensorsPiece;

static TimStatus fail_json(const char *what, TimError *err) {
    return tim_fail(err, TIM_E_MEMORY, "no memory for %s of a safetensors file", what);
}

TimStatus tim_safetensors_writer_init(TimSafetensorsWriter *writer, TimError *err) {
    *writer = (TimSafetensorsWriter){.header = json_object(), .texts = json_object()};
    return writer->header && writer->texts ? TIM_OK : fail_json("the header", err);
}

void tim_safetensors_writer_done(TimSafetensorsWriter *writer) {
    json_decref(writer->header);
    json_decref(writer->texts);
    tim_free(writer->pieces);
    memset(writer, 0, sizeof *writer);
}

/* Bytes of a tensor; also where they end in the data, which JSON must be able to state. */
static TimStatus measure(size_t *bytes, size_t *end, size_t start, TimDtype dtype, int rank, const size_t *dims, TimError *err) {
    if (rank < 0 || rank > TIM_SAFETENSORS_MAX_RANK)
        return tim_fail(err, TIM_E_ARGUMENT, "a rank of %d; 0 to %d can be written", rank, TIM_SAFETENSORS_MAX_RANK);
    *bytes = tim_dtype_size(dtype);
    bool fits = true;
    for (int i = 0; i < rank; i++) fits = fits && dims[i] <= INT64_MAX && tim_mul_size(*bytes, dims[i], bytes);
    if (fits && tim_add_size(start, *bytes, end) && *end <= INT64_MAX) return TIM_OK;
    return tim_fail(err, TIM_E_ARGUMENT, "its size overflows");
}

static json_t *describe(TimDtype dtype, int rank, const size_t *dims, size_t begin, size_t end) {
    json_t *shape = json_array();
    for (int i = 0; i < rank; i++)
        if (json_array_append_new(shape, json_integer((json_int_t)dims[i])) != 0) {
            json_decref(shape);
            return NULL;
        }
    return json_pack("{s:s, s:o, s:[I, I]}", "dtype", tim_dtype_name(dtype), "shape", shape, "data_offsets", (json_int_t)begin,
                     (json_int_t)end);
}

/* Names must be UTF-8, and new. */
static TimStatus check_name(const json_t *object, const char *name, TimError *err) {
    json_t *text = json_string(name);
    const bool valid = text != NULL;
    json_decref(text);
    if (!valid) return tim_fail(err, TIM_E_ARGUMENT, "the name is not UTF-8, or there is no memory for it");
    if (json_object_get(object, name)) return tim_fail(err, TIM_E_ARGUMENT, "the name is there already");
    if (strcmp(name, TIM_SAFETENSORS_METADATA) == 0) return tim_fail(err, TIM_E_ARGUMENT, "the name is reserved");
    return TIM_OK;
}

static TimStatus add(TimSafetensorsWriter *writer, const char *name, TimDtype dtype, int rank, const size_t *dims, const void *data,
                     TimError *err) {
    size_t bytes = 0, end = 0;
    TIM_TRY(check_name(writer->header, name, err));
    TIM_TRY(measure(&bytes, &end, writer->bytes, dtype, rank, dims, err));
    TIM_TRY(tim_grow(&writer->pieces, &writer->capacity, writer->count, sizeof *writer->pieces, "the list of tensors", err));
    if (json_object_set_new(writer->header, name, describe(dtype, rank, dims, writer->bytes, end)) != 0)
        return fail_json("an entry", err);
    writer->pieces[writer->count++] = (TimSafetensorsPiece){data, bytes};
    writer->bytes = end;
    return TIM_OK;
}

TimStatus tim_safetensors_writer_add(TimSafetensorsWriter *writer, const char *name, TimDtype dtype, int rank, const size_t *dims,
                                     const void *data, TimError *err) {
    const TimStatus status = add(writer, name, dtype, rank, dims, data, err);
    return status == TIM_OK ? TIM_OK : tim_fail_within(err, status, "tensor '%s' to be written", name);
}

TimStatus tim_safetensors_writer_add_text(TimSafetensorsWriter *writer, const char *key, const char *value, TimError *err) {
    const TimStatus status = check_name(writer->texts, key, err);
    if (status != TIM_OK) return tim_fail_within(err, status, "metadata '%s' to be written", key);
    if (json_object_set_new(writer->texts, key, json_string(value)) == 0) return TIM_OK;
    return tim_fail(err, TIM_E_ARGUMENT, "metadata '%s' to be written: its value is not UTF-8, or there is no memory for it", key);
}

/* The header's text, the metadata first; NULL without memory. Free with free(). */
static char *dump_header(const TimSafetensorsWriter *writer) {
    json_t *whole = json_object();
    char *text = NULL;
    const bool texts = json_object_size(writer->texts) > 0;
    if (whole && (!texts || json_object_set(whole, TIM_SAFETENSORS_METADATA, writer->texts) == 0) &&
        json_object_update(whole, writer->header) == 0)
        text = json_dumps(whole, JSON_COMPACT);
    json_decref(whole);
    return text;
}

/* Length, header, and spaces up to a multiple of 8, so that the data begins aligned. */
static TimStatus write_header(TimFileWriter *out, const char *text, TimError *err) {
    const size_t length = strlen(text), padding = (8 - length % 8) % 8;
    if (length > TIM_SAFETENSORS_MAX_HEADER - padding)
        return tim_fail(err, TIM_E_ARGUMENT, "a header of %zu bytes; the format allows %d: write fewer tensors or less metadata",
                        length, TIM_SAFETENSORS_MAX_HEADER);
    const uint64_t bytes = length + padding;
    TIM_TRY(tim_file_writer_write(out, &bytes, sizeof bytes, err));
    TIM_TRY(tim_file_writer_write(out, text, length, err));
    return tim_file_writer_write(out, "       ", padding, err);
}

static TimStatus write_all(TimFileWriter *out, const TimSafetensorsWriter *writer, const char *header, TimError *err) {
    TIM_TRY(write_header(out, header, err));
    for (size_t i = 0; i < writer->count; i++)
        TIM_TRY(tim_file_writer_write(out, writer->pieces[i].data, writer->pieces[i].bytes, err));
    return TIM_OK;
}

TimStatus tim_safetensors_writer_write(const TimSafetensorsWriter *writer, TimFileWriter *out, TimError *err) {
    char *header = dump_header(writer);
    if (!header) return fail_json("the header", err);
    const TimStatus status = write_all(out, writer, header, err);
    free(header);
    return status;
}

TimStatus tim_safetensors_writer_save(const TimSafetensorsWriter *writer, const char *path, TimError *err) {
    TimFileWriter out;
    TIM_TRY(tim_file_writer_open(&out, path, err));
    TimStatus status = tim_safetensors_writer_write(writer, &out, err);
    if (status == TIM_OK) status = tim_file_writer_commit(&out, err);
    tim_file_writer_abandon(&out);
    return status;
}
