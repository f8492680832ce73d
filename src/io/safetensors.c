#include "io/safetensors.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/bf16.h"
#include "base/f16.h"
#include "base/memory.h"
#include "io/json_text.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "safetensors data is little-endian and used in place");

enum { PREFIX_BYTES = 8 }; /* the header's length */

/* ---- reading the header ---- */

static TimStatus read_header(json_t **header, size_t *data_start, const TimFile *file, TimError *err) {
    if (file->size < PREFIX_BYTES)
        return tim_fail(err, TIM_E_FORMAT, "%zu bytes are too few for a safetensors file; is the download complete?", file->size);
    uint64_t bytes;
    memcpy(&bytes, file->data, sizeof bytes);
    if (bytes > TIM_SAFETENSORS_MAX_HEADER || bytes > file->size - PREFIX_BYTES)
        return tim_fail(
            err, TIM_E_FORMAT,
            "a header of %ju bytes in a file of %zu (at most %d): not a safetensors file, or cut short; is the download complete?",
            (uintmax_t)bytes, file->size, TIM_SAFETENSORS_MAX_HEADER);
    const char *text = (const char *)file->data + PREFIX_BYTES;
    if (bytes == 0 || text[0] != '{')
        return tim_fail(err, TIM_E_FORMAT, "the header does not begin with '{': not a safetensors file");
    if (!tim_json_is_small(text, (size_t)bytes, TIM_JSON_MAX_VALUES))
        return tim_fail(err, TIM_E_FORMAT, "a header of more than %d values: no tensors need so many; is the file damaged?",
                        TIM_JSON_MAX_VALUES);
    json_error_t cause;
    *header = json_loadb(text, (size_t)bytes, JSON_REJECT_DUPLICATES, &cause);
    if (!*header)
        return tim_fail(err, json_error_code(&cause) == json_error_out_of_memory ? TIM_E_MEMORY : TIM_E_FORMAT,
                        "the header is not valid at byte %d: %s; is the download complete?", cause.position, cause.text);
    *data_start = PREFIX_BYTES + (size_t)bytes;
    return TIM_OK;
}

/* A JSON integer that is a size; false for anything else. */
static bool read_size(const json_t *value, size_t *out) {
    const json_int_t number = json_integer_value(value);
    if (!json_is_integer(value) || number < 0 || (uintmax_t)number > SIZE_MAX) return false;
    *out = (size_t)number;
    return true;
}

static TimStatus read_dims(TimStoredTensor *tensor, const json_t *shape, TimError *err) {
    const size_t rank = json_array_size(shape);
    if (!json_is_array(shape) || rank > TIM_SAFETENSORS_MAX_RANK)
        return tim_fail(err, TIM_E_FORMAT, "'shape' must be an array of at most %d sizes, and it has %zu", TIM_SAFETENSORS_MAX_RANK,
                        rank);
    tensor->rank = (int)rank;
    tensor->count = 1;
    for (size_t i = 0; i < rank; i++) {
        if (!read_size(json_array_get(shape, i), &tensor->dims[i]))
            return tim_fail(err, TIM_E_FORMAT, "'shape' element %zu is not a size; is the file damaged?", i);
        if (!tim_mul_size(tensor->count, tensor->dims[i], &tensor->count))
            return tim_fail(err, TIM_E_FORMAT, "the product of 'shape' overflows at element %zu; is the file damaged?", i);
    }
    if (!tim_mul_size(tensor->count, tim_dtype_size(tensor->dtype), &tensor->bytes))
        return tim_fail(err, TIM_E_FORMAT, "%zu elements overflow the address space; is the file damaged?", tensor->count);
    return TIM_OK;
}

static TimStatus read_dtype(TimStoredTensor *tensor, const json_t *dtype, TimError *err) {
    const char *name = json_string_value(dtype);
    if (!name) return tim_fail(err, TIM_E_FORMAT, "'dtype' is missing or not a text; is the file damaged?");
    if (tim_dtype_from_name(name, &tensor->dtype)) return TIM_OK;
    return tim_fail(err, TIM_E_UNSUPPORTED, "dtype '%s' cannot be read; convert the tensor to F32 or BF16", name);
}

static TimStatus read_place(TimStoredTensor *tensor, const json_t *offsets, const uint8_t *data, size_t size, TimError *err) {
    size_t begin, end;
    if (json_array_size(offsets) != 2 || !read_size(json_array_get(offsets, 0), &begin) ||
        !read_size(json_array_get(offsets, 1), &end))
        return tim_fail(err, TIM_E_FORMAT, "'data_offsets' must be two sizes; is the file damaged?");
    if (begin > end || end > size)
        return tim_fail(err, TIM_E_FORMAT, "its bytes %zu to %zu do not lie in the file's %zu bytes of data; is the file complete?",
                        begin, end, size);
    if (end - begin != tensor->bytes)
        return tim_fail(err, TIM_E_FORMAT, "%zu bytes for %zu elements of %s, which take %zu; is the file damaged?", end - begin,
                        tensor->count, tim_dtype_name(tensor->dtype), tensor->bytes);
    tensor->data = data + begin;
    return TIM_OK;
}

static TimStatus read_tensor(TimStoredTensor *tensor, const json_t *entry, const uint8_t *data, size_t size, TimError *err) {
    if (!json_is_object(entry)) return tim_fail(err, TIM_E_FORMAT, "its entry is not an object; is the file damaged?");
    TIM_TRY(read_dtype(tensor, json_object_get(entry, "dtype"), err));
    TIM_TRY(read_dims(tensor, json_object_get(entry, "shape"), err));
    return read_place(tensor, json_object_get(entry, "data_offsets"), data, size, err);
}

static TimStatus read_tensors(TimSafetensors *file, size_t data_start, TimError *err) {
    TIM_TRY(tim_new(&file->tensors, json_object_size(file->header), sizeof *file->tensors, "the tensors' entries", err));
    const char *name;
    json_t *entry;
    json_object_foreach(file->header, name, entry) {
        if (strcmp(name, TIM_SAFETENSORS_METADATA) == 0) continue;
        TimStoredTensor *tensor = &file->tensors[file->count];
        tensor->name = name;
        const TimStatus status = read_tensor(tensor, entry, file->file.data + data_start, file->file.size - data_start, err);
        if (status != TIM_OK) return tim_fail_within(err, status, "tensor '%.80s'", name);
        file->count++;
    }
    return TIM_OK;
}

static TimStatus read_texts(TimSafetensors *file, TimError *err) {
    json_t *metadata = json_object_get(file->header, TIM_SAFETENSORS_METADATA), *value;
    if (!metadata) return TIM_OK;
    if (!json_is_object(metadata))
        return tim_fail(err, TIM_E_FORMAT, "'%s' is not an object; is the file damaged?", TIM_SAFETENSORS_METADATA);
    TIM_TRY(tim_new(&file->texts, json_object_size(metadata), sizeof *file->texts, "the metadata", err));
    const char *key;
    json_object_foreach(metadata, key, value) {
        if (!json_is_string(value))
            return tim_fail(err, TIM_E_FORMAT, "metadata '%.80s' is not a text; remove it, or write it as one", key);
        file->texts[file->text_count++] = (TimStoredText){key, json_string_value(value)};
    }
    return TIM_OK;
}

/* ---- order and lookup ---- */

/* By place; an empty tensor comes before the one that starts where it does. */
static int compare_place(const void *left, const void *right) {
    const TimStoredTensor *a = left, *b = right;
    const uintptr_t place_a = (uintptr_t)a->data, place_b = (uintptr_t)b->data;
    if (place_a != place_b) return place_a < place_b ? -1 : 1;
    if (a->bytes != b->bytes) return a->bytes < b->bytes ? -1 : 1;
    return strcmp(a->name, b->name);
}

static int compare_name(const void *left, const void *right) {
    const TimStoredTensor *const *a = left, *const *b = right;
    return strcmp((*a)->name, (*b)->name);
}

static TimStatus check_tiling(const TimSafetensors *file, size_t data_start, TimError *err) {
    const uint8_t *at = file->file.data + data_start, *end = file->file.data + file->file.size;
    for (size_t i = 0; i < file->count; i++) {
        const TimStoredTensor *tensor = &file->tensors[i];
        const uint8_t *begin = tensor->data;
        if (begin != at)
            return tim_fail(err, TIM_E_FORMAT, "tensor '%.80s' %s by %td bytes; is the file damaged?", tensor->name,
                            begin < at ? "overlaps the one before it" : "leaves a hole before it",
                            begin < at ? at - begin : begin - at);
        at += tensor->bytes;
    }
    if (at != end) return tim_fail(err, TIM_E_FORMAT, "the last %td bytes belong to no tensor; is the file damaged?", end - at);
    return TIM_OK;
}

TimStatus tim_stored_index(const TimStoredTensor ***by_name, const TimStoredTensor *tensors, size_t count, TimError *err) {
    TIM_TRY(tim_new(by_name, count, sizeof **by_name, "the index of names", err));
    for (size_t i = 0; i < count; i++) (*by_name)[i] = &tensors[i];
    qsort(*by_name, count, sizeof **by_name, compare_name);
    return TIM_OK;
}

const TimStoredTensor *tim_stored_find(const TimStoredTensor *const *by_name, size_t count, const char *name) {
    const TimStoredTensor wanted = {.name = name}, *key = &wanted;
    if (count == 0) return NULL;
    const TimStoredTensor *const *found = bsearch(&key, by_name, count, sizeof *by_name, compare_name);
    return found ? *found : NULL;
}

static TimStatus read_file(TimSafetensors *file, TimError *err) {
    size_t data_start;
    TIM_TRY(read_header(&file->header, &data_start, &file->file, err));
    TIM_TRY(read_texts(file, err));
    TIM_TRY(read_tensors(file, data_start, err));
    qsort(file->tensors, file->count, sizeof *file->tensors, compare_place);
    TIM_TRY(check_tiling(file, data_start, err));
    return tim_stored_index(&file->by_name, file->tensors, file->count, err);
}

TimStatus tim_safetensors_open(TimSafetensors *file, const char *path, TimError *err) {
    memset(file, 0, sizeof *file);
    TIM_TRY(tim_file_open(&file->file, path, err));
    const TimStatus status = read_file(file, err);
    if (status == TIM_OK) return TIM_OK;
    tim_safetensors_close(file);
    return tim_fail_within(err, status, "%s", path);
}

void tim_safetensors_close(TimSafetensors *file) {
    tim_free(file->by_name);
    tim_free(file->tensors);
    tim_free(file->texts);
    json_decref(file->header);
    tim_file_close(&file->file);
    memset(file, 0, sizeof *file);
}

const TimStoredTensor *tim_safetensors_find(const TimSafetensors *file, const char *name) {
    return tim_stored_find(file->by_name, file->count, name);
}

TimStatus tim_safetensors_get(const TimStoredTensor **out, const TimSafetensors *file, const char *name, TimError *err) {
    *out = tim_safetensors_find(file, name);
    if (*out) return TIM_OK;
    return tim_fail(err, TIM_E_FORMAT, "no tensor '%s' among the file's %zu; is it a file of another model?", name, file->count);
}

const char *tim_safetensors_text(const TimSafetensors *file, const char *key) {
    for (size_t i = 0; i < file->text_count; i++)
        if (strcmp(file->texts[i].key, key) == 0) return file->texts[i].value;
    return NULL;
}

/* ---- elements ---- */

typedef union Element {
    double f64;
    float f32;
    uint16_t u16;
    int64_t i64;
    int32_t i32;
    int16_t i16;
    int8_t i8;
    uint64_t u64;
    uint32_t u32;
    uint8_t u8;
} Element;

static Element load(const TimStoredTensor *tensor, size_t index) {
    const size_t size = tim_dtype_size(tensor->dtype);
    Element element = {0};
    memcpy(&element, (const uint8_t *)tensor->data + index * size, size);
    return element;
}

static double to_double(TimDtype dtype, Element e) {
    switch (dtype) {
    case TIM_F64:
        return e.f64;
    case TIM_F32:
        return (double)e.f32;
    case TIM_F16:
        return (double)tim_f16_to_f32(e.u16);
    case TIM_BF16:
        return (double)tim_bf16_to_f32(e.u16);
    case TIM_I64:
        return (double)e.i64;
    case TIM_I32:
        return e.i32;
    case TIM_I16:
        return e.i16;
    case TIM_I8:
        return e.i8;
    case TIM_U64:
        return (double)e.u64;
    case TIM_U32:
        return e.u32;
    case TIM_U16:
        return e.u16;
    case TIM_U8:
        return e.u8;
    case TIM_BOOL:
        return e.u8 != 0;
    }
    return NAN;
}

/* False for what is no integer or does not fit. 64-bit integers must not pass through a double, which holds 53 bits. */
static bool to_integer(TimDtype dtype, Element e, int64_t *out) {
    if (dtype == TIM_I64) {
        *out = e.i64;
        return true;
    }
    if (dtype == TIM_U64) {
        *out = (int64_t)e.u64;
        return e.u64 <= INT64_MAX;
    }
    const double value = to_double(dtype, e);
    if (!(value >= -0x1p63 && value < 0x1p63) || value != floor(value)) return false;
    *out = (int64_t)value;
    return true;
}

static TimStatus check_count(const TimStoredTensor *tensor, size_t count, TimError *err) {
    if (tensor->count == count) return TIM_OK;
    return tim_fail(err, TIM_E_FORMAT, "tensor '%s' has %zu elements where %zu are wanted; is it a file of another model?",
                    tensor->name, tensor->count, count);
}

/* The types that weights come in, each in a plain loop; false for the others. */
static bool read_weights(const TimStoredTensor *tensor, float *out) {
    const uint8_t *data = tensor->data;
    uint16_t half;
    switch (tensor->dtype) {
    case TIM_F32:
        if (tensor->bytes) memcpy(out, data, tensor->bytes);
        return true;
    case TIM_F16:
        for (size_t i = 0; i < tensor->count; i++) {
            memcpy(&half, data + 2 * i, sizeof half);
            out[i] = tim_f16_to_f32(half);
        }
        return true;
    case TIM_BF16:
        for (size_t i = 0; i < tensor->count; i++) {
            memcpy(&half, data + 2 * i, sizeof half);
            out[i] = tim_bf16_to_f32(half);
        }
        return true;
    default:
        return false;
    }
}

TimStatus tim_safetensors_read_f32(const TimStoredTensor *tensor, float *out, size_t count, TimError *err) {
    TIM_TRY(check_count(tensor, count, err));
    if (read_weights(tensor, out)) return TIM_OK;
    for (size_t i = 0; i < count; i++) {
        const Element e = load(tensor, i);
        /* A 64-bit integer goes straight to float: by way of a double it would be rounded twice. */
        if (tensor->dtype == TIM_I64)
            out[i] = (float)e.i64;
        else if (tensor->dtype == TIM_U64)
            out[i] = (float)e.u64;
        else
            out[i] = (float)to_double(tensor->dtype, e);
    }
    return TIM_OK;
}

TimStatus tim_safetensors_read_f64(const TimStoredTensor *tensor, double *out, size_t count, TimError *err) {
    TIM_TRY(check_count(tensor, count, err));
    for (size_t i = 0; i < count; i++) out[i] = to_double(tensor->dtype, load(tensor, i));
    return TIM_OK;
}

TimStatus tim_safetensors_read_i64(const TimStoredTensor *tensor, int64_t *out, size_t count, TimError *err) {
    TIM_TRY(check_count(tensor, count, err));
    for (size_t i = 0; i < count; i++) {
        const Element e = load(tensor, i);
        if (!to_integer(tensor->dtype, e, &out[i]))
            return tim_fail(err, TIM_E_FORMAT, "tensor '%s' element %zu is %g, which is no 64-bit integer", tensor->name, i,
                            to_double(tensor->dtype, e));
    }
    return TIM_OK;
}
