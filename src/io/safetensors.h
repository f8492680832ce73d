/* safetensors files (format of huggingface/safetensors): a JSON header, then the tensors' bytes.
 * Invariant of an open file: every tensor lies inside the map, its size is the product of its dims times the element size,
 * and the tensors tile the data without hole or overlap. */
#ifndef TIM_IO_SAFETENSORS_H
#define TIM_IO_SAFETENSORS_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "io/file.h"
#include "tensor/dtype.h"

enum { TIM_SAFETENSORS_MAX_RANK = 8, TIM_SAFETENSORS_MAX_HEADER = 100000000 }; /* bytes; the format's own cap */

/* The header's entry that holds texts; no tensor may have this name. */
#define TIM_SAFETENSORS_METADATA "__metadata__"

typedef struct TimStoredTensor {
    const char *name;
    TimDtype dtype;
    int rank; /* 0: a scalar */
    size_t dims[TIM_SAFETENSORS_MAX_RANK];
    size_t count;     /* elements */
    size_t bytes;     /* count times the element size */
    const void *data; /* little-endian, row-major; the format promises no alignment */
} TimStoredTensor;

typedef struct TimStoredText {
    const char *key, *value;
} TimStoredText;

/* *by_name = the tensors sorted by name, from tim_alloc. Names that are there twice stand side by side. */
TimStatus tim_stored_index(const TimStoredTensor ***by_name, const TimStoredTensor *tensors, size_t count, TimError *err);

/* The tensor of that name in such an index; NULL when there is none. */
const TimStoredTensor *tim_stored_find(const TimStoredTensor *const *by_name, size_t count, const char *name);

/* An open file. Everything in it is borrowed until tim_safetensors_close. Any number of threads may read it. */
typedef struct TimSafetensors {
    TimFile file;
    struct json_t *header;           /* owns names and texts */
    TimStoredTensor *tensors;        /* (count), in the order of their data */
    const TimStoredTensor **by_name; /* (count), sorted by name */
    size_t count;
    TimStoredText *texts; /* (text_count), the metadata in the order of the header */
    size_t text_count;
} TimSafetensors;

/* Opens and checks `path`. After a failure `file` is empty and closing it is fine. */
TimStatus tim_safetensors_open(TimSafetensors *file, const char *path, TimError *err);

void tim_safetensors_close(TimSafetensors *file);

/* The tensor of that name; NULL when there is none. */
const TimStoredTensor *tim_safetensors_find(const TimSafetensors *file, const char *name);

/* The tensor of that name, or an error that says so. */
TimStatus tim_safetensors_get(const TimStoredTensor **out, const TimSafetensors *file, const char *name, TimError *err);

/* The metadata text of that key; NULL when there is none. */
const char *tim_safetensors_text(const TimSafetensors *file, const char *key);

/* The elements as float, rounded to nearest; `count` must be the tensor's. */
TimStatus tim_safetensors_read_f32(const TimStoredTensor *tensor, float *out, size_t count, TimError *err);

/* The elements as double; only 64-bit integers beyond 2^53 are rounded. */
TimStatus tim_safetensors_read_f64(const TimStoredTensor *tensor, double *out, size_t count, TimError *err);

/* The elements as integers, exactly: a fraction, NaN or a number out of range is TIM_E_FORMAT. */
TimStatus tim_safetensors_read_i64(const TimStoredTensor *tensor, int64_t *out, size_t count, TimError *err);

/* Tensors and texts collected for a file. Names, dims and texts are copied, data is borrowed until the file is saved. */
typedef struct TimSafetensorsWriter {
    struct json_t *header, *texts;
    struct TimSafetensorsPiece *pieces; /* (count), the data in file order */
    size_t count, capacity;
    size_t bytes; /* of all data so far */
} TimSafetensorsWriter;

TimStatus tim_safetensors_writer_init(TimSafetensorsWriter *writer, TimError *err);

void tim_safetensors_writer_done(TimSafetensorsWriter *writer);

/* Appends a tensor. The format aligns nothing: whoever wants aligned data adds wide types before narrow ones. */
TimStatus tim_safetensors_writer_add(TimSafetensorsWriter *writer, const char *name, TimDtype dtype, int rank, const size_t *dims,
                                     const void *data, TimError *err);

/* Adds a metadata text; each key once. */
TimStatus tim_safetensors_writer_add_text(TimSafetensorsWriter *writer, const char *key, const char *value, TimError *err);

/* Writes everything to a file that the caller opened and commits. May be called again. */
TimStatus tim_safetensors_writer_write(const TimSafetensorsWriter *writer, TimFileWriter *out, TimError *err);

/* Writes everything to `path`: the old file or the new one is there, never half of one. May be called again. */
TimStatus tim_safetensors_writer_save(const TimSafetensorsWriter *writer, const char *path, TimError *err);

#endif
