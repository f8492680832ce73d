#include "io/torch_zip.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "base/memory.h"
#include "io/number.h"
#include "io/pickle.h"
#include "io/zip.h"

enum {
    MAX_DEPTH = 32,       /* containers inside each other */
    MAX_WRAPPERS = 3,     /* dicts around the weights */
    MAX_NAME = 1024,      /* bytes of a tensor's name */
    NAMES_PER_BYTE = 16,  /* all names together take at most so many bytes for each one of the pickle, which spells them */
    COPIES_PER_BYTE = 4,  /* and all copies for each byte of the file: a storage may be seen by several tensors */
    MAX_MEMBERS = 1 << 20 /* of the zip */
};

/* ---- kinds of files ---- */

bool tim_torch_zip_begins(const TimFile *file) {
    return file->size >= 4 && memcmp(file->data, "PK\x03\x04", 4) == 0;
}

bool tim_torch_old_begins(const TimFile *file) {
    const bool pickle = file->size >= 2 && file->data[0] == 0x80 && file->data[1] <= 5;
    return pickle || (file->size >= 262 && memcmp(file->data + 257, "ustar", 5) == 0);
}

TimStatus tim_torch_old_fail(TimError *err) {
    return tim_fail(err, TIM_E_UNSUPPORTED,
                    "a pickle or tar as torch wrote them before version 1.6; save it again with a current one: "
                    "torch.save(torch.load(path, map_location='cpu'), path)");
}

/* ---- members ---- */

typedef struct Member {
    const char *name; /* behind the archive's name; not terminated */
    size_t name_size;
    TimZipEntry entry;
} Member;

/* What is being read. */
typedef struct Reader {
    TimTorchZip *zip;
    const TimFile *file;
    Member *members; /* (member_count), sorted by name */
    size_t member_count, member_capacity;
    TimPickle pickle;
    size_t steps_left, names_left, copies_left;
    TimError *err;
} Reader;

static TimStatus damaged(const char *what, TimError *err) {
    return tim_fail(err, TIM_E_FORMAT, "not a whole file of torch.save: %s; is the download complete?", what);
}

static int compare_text(const char *a, size_t a_size, const char *b, size_t b_size) {
    const int order = memcmp(a, b, a_size < b_size ? a_size : b_size);
    return order ? order : (a_size > b_size) - (a_size < b_size);
}

static int compare_member(const void *left, const void *right) {
    const Member *a = left, *b = right;
    return compare_text(a->name, a->name_size, b->name, b->name_size);
}

/* The archive's name is a folder that all members lie in; torch takes it from the first one, and so does this. */
static TimStatus list_members(Reader *r) {
    TimZip zip;
    const char *wrong = tim_zip_start(&zip, r->file);
    size_t prefix = 0;
    if (wrong) return damaged(wrong, r->err);
    while (zip.left > 0) {
        TimZipEntry entry;
        if (r->member_count == MAX_MEMBERS) return damaged("its zip has more than a million members", r->err);
        if (!tim_zip_next(&zip, &entry)) return damaged("its directory is not sound", r->err);
        const char *slash = memchr(entry.name, '/', entry.name_size);
        if (r->member_count == 0 && slash) prefix = (size_t)(slash - entry.name) + 1;
        if (entry.name_size < prefix || (r->member_count > 0 && memcmp(entry.name, r->members[0].entry.name, prefix) != 0))
            continue;
        TIM_TRY(tim_grow(&r->members, &r->member_capacity, r->member_count, sizeof *r->members, "the members of a zip", r->err));
        r->members[r->member_count++] = (Member){entry.name + prefix, entry.name_size - prefix, entry};
    }
    if (r->member_count > 0) qsort(r->members, r->member_count, sizeof *r->members, compare_member);
    for (size_t i = 1; i < r->member_count; i++)
        if (compare_member(&r->members[i - 1], &r->members[i]) == 0) return damaged("a member is there twice", r->err);
    return TIM_OK;
}

static const Member *find_member(const Reader *r, const char *name, size_t size) {
    const Member key = {.name = name, .name_size = size};
    if (r->member_count == 0) return NULL;
    return bsearch(&key, r->members, r->member_count, sizeof *r->members, compare_member);
}

static TimStatus member_bytes(const Reader *r, const Member *member, const uint8_t **bytes, size_t *size) {
    const TimZipEntry *entry = &member->entry;
    if ((entry->flags & 1) || entry->method != TIM_ZIP_STORED)
        return tim_fail(
            r->err, TIM_E_UNSUPPORTED,
            "a member of the zip is packed by method %u%s, and torch.save stores them as they are; save it again with it",
            entry->method, entry->flags & 1 ? ", encrypted" : "");
    if (entry->size != entry->packed_size) return damaged("a stored member has two sizes", r->err);
    const char *wrong = tim_zip_bytes(bytes, r->file, entry);
    if (wrong) return damaged(wrong, r->err);
    *size = (size_t)entry->size;
    return TIM_OK;
}

static uint32_t checksum(const uint8_t *bytes, size_t size) {
    return (uint32_t)crc32_z(crc32_z(0, NULL, 0), bytes, size);
}

/* The bytes of a small member, held against their checksum; that of the tensors would cost reading them. */
static TimStatus read_member(const Reader *r, const char *name, const uint8_t **bytes, size_t *size) {
    const Member *member = find_member(r, name, strlen(name));
    if (!member) return *bytes = NULL, *size = 0, TIM_OK;
    TIM_TRY(member_bytes(r, member, bytes, size));
    if (checksum(*bytes, *size) != member->entry.crc) return damaged("a member differs from its checksum", r->err);
    return TIM_OK;
}

static TimStatus check_byte_order(const Reader *r) {
    const uint8_t *order;
    size_t size;
    TIM_TRY(read_member(r, "byteorder", &order, &size));
    if (!order || (size == 6 && memcmp(order, "little", 6) == 0)) return TIM_OK; /* older versions wrote none, on such machines */
    return tim_fail(r->err, TIM_E_UNSUPPORTED, "its 'byteorder' is not 'little'; save it again on a little-endian machine");
}

/* ---- globals ---- */

/* The order is that of the list below; storages, which come last, stand in the order of TimDtype. */
enum { REBUILD_TENSOR, REBUILD_PARAMETER, ORDERED_DICT, NAMESPACE, STORAGES };

static const TimPickleGlobal globals[] = {
    [REBUILD_TENSOR] = {"torch._utils", "_rebuild_tensor_v2"},
    [REBUILD_PARAMETER] = {"torch._utils", "_rebuild_parameter"},
    [ORDERED_DICT] = {"collections", "OrderedDict"},
    [NAMESPACE] = {"argparse", "Namespace"},
    [STORAGES] = {"torch", "DoubleStorage"},
    {"torch", "FloatStorage"},
    {"torch", "HalfStorage"},
    {"torch", "BFloat16Storage"},
    {"torch", "LongStorage"},
    {"torch", "IntStorage"},
    {"torch", "ShortStorage"},
    {"torch", "CharStorage"},
    {"torch", "ByteStorage"},
    {"torch", "BoolStorage"},
};

static TimDtype storage_dtype(int global) {
    static const TimDtype dtypes[] = {TIM_F64, TIM_F32, TIM_F16, TIM_BF16, TIM_I64, TIM_I32, TIM_I16, TIM_I8, TIM_U8, TIM_BOOL};
    _Static_assert(STORAGES + sizeof dtypes / sizeof *dtypes == sizeof globals / sizeof *globals, "one type for each storage");
    return dtypes[global - STORAGES];
}

static bool is_call(const TimPickleValue *value, int global) {
    return value->kind == TIM_PICKLE_CALL && value->global == global;
}

static bool is_text(const TimPickleValue *value, const char *text) {
    return value->kind == TIM_PICKLE_TEXT && value->count == strlen(text) && memcmp(value->text, text, value->count) == 0;
}

/* ---- tensors ---- */

/* A tensor's view of its storage. */
typedef struct View {
    TimStoredTensor *tensor;
    const uint8_t *storage;
    size_t elements; /* of the storage */
    size_t offset;
    size_t strides[TIM_SAFETENSORS_MAX_RANK];
} View;

static bool read_size(const TimPickleValue *value, size_t *out) {
    if (value->kind != TIM_PICKLE_INTEGER || value->integer < 0 || (uintmax_t)value->integer > SIZE_MAX) return false;
    *out = (size_t)value->integer;
    return true;
}

static TimStatus malformed(const Reader *r, const char *what) {
    return tim_fail(r->err, TIM_E_FORMAT, "%s; save it again with torch.save", what);
}

/* The storage named by ('storage', type, key, device, elements). */
static TimStatus read_storage(const Reader *r, View *view, const TimPickleValue *value) {
    const TimPickleValue *name = value->kind == TIM_PICKLE_OUTSIDE ? value->argument : NULL;
    char path[64];
    size_t size, expected;
    if (!name || name->kind != TIM_PICKLE_TUPLE || name->count < 5 || !is_text(name->items[0], "storage") ||
        name->items[1]->kind != TIM_PICKLE_GLOBAL || name->items[1]->global < STORAGES || name->items[2]->kind != TIM_PICKLE_TEXT ||
        !read_size(name->items[4], &view->elements))
        return malformed(r, "its storage is not described as torch does");
    const TimPickleValue *key = name->items[2];
    if (key->count > sizeof path - sizeof "data/") return malformed(r, "the key of its storage is too long");
    const int length = snprintf(path, sizeof path, "data/%.*s", (int)key->count, key->text);
    const Member *member = find_member(r, path, (size_t)length);
    if (!member) return tim_fail(r->err, TIM_E_FORMAT, "its storage is not in the file; is the download complete?");
    TIM_TRY(member_bytes(r, member, &view->storage, &size));
    view->tensor->dtype = storage_dtype(name->items[1]->global);
    if (!tim_mul_size(view->elements, tim_dtype_size(view->tensor->dtype), &expected) || expected != size)
        return tim_fail(r->err, TIM_E_FORMAT, "its storage of %zu elements of %s has %zu bytes; is the download complete?",
                        view->elements, tim_dtype_name(view->tensor->dtype), size);
    return TIM_OK;
}

static TimStatus read_shape(const Reader *r, View *view, const TimPickleValue *sizes, const TimPickleValue *strides) {
    TimStoredTensor *tensor = view->tensor;
    if (sizes->kind != TIM_PICKLE_TUPLE || strides->kind != TIM_PICKLE_TUPLE || sizes->count != strides->count)
        return malformed(r, "its sizes and strides do not go together");
    if (sizes->count > TIM_SAFETENSORS_MAX_RANK)
        return tim_fail(r->err, TIM_E_UNSUPPORTED, "it has %zu dimensions, and at most %d are read; reshape it", sizes->count,
                        TIM_SAFETENSORS_MAX_RANK);
    tensor->rank = (int)sizes->count;
    tensor->count = 1;
    for (size_t i = 0; i < sizes->count; i++) {
        if (!read_size(sizes->items[i], &tensor->dims[i]) || !read_size(strides->items[i], &view->strides[i]))
            return tim_fail(r->err, TIM_E_FORMAT, "its size or stride %zu is not from 0 on; is the file damaged?", i);
        if (!tim_mul_size(tensor->count, tensor->dims[i], &tensor->count))
            return tim_fail(r->err, TIM_E_FORMAT, "the product of its sizes overflows at dimension %zu; is the file damaged?", i);
    }
    if (!tim_mul_size(tensor->count, tim_dtype_size(tensor->dtype), &tensor->bytes))
        return tim_fail(r->err, TIM_E_FORMAT, "its %zu elements overflow the address space; is the file damaged?", tensor->count);
    return TIM_OK;
}

/* Every element lies in the storage, and no element is counted so often that the tensor outgrows it. */
static TimStatus check_view(const Reader *r, const View *view) {
    const TimStoredTensor *tensor = view->tensor;
    size_t last = view->offset, reach;
    if (tensor->count == 0) return TIM_OK;
    bool fits = true;
    for (int i = 0; i < tensor->rank && fits; i++)
        fits = tim_mul_size(tensor->dims[i] - 1, view->strides[i], &reach) && tim_add_size(last, reach, &last);
    if (!fits || last >= view->elements)
        return tim_fail(r->err, TIM_E_FORMAT,
                        "its offset %zu and strides reach beyond its storage of %zu elements; is the file damaged?", view->offset,
                        view->elements);
    if (tensor->count > view->elements)
        return tim_fail(r->err, TIM_E_UNSUPPORTED,
                        "its %zu elements repeat those of a storage of %zu (it was expanded); save its .contiguous()",
                        tensor->count, view->elements);
    return TIM_OK;
}

static bool is_row_major(const View *view) {
    size_t expected = 1;
    for (int i = view->tensor->rank - 1; i >= 0; i--) {
        if (view->tensor->dims[i] != 1 && view->strides[i] != expected) return false;
        expected *= view->tensor->dims[i]; /* at most count */
    }
    return true;
}

static TimStatus keep_block(Reader *r, void *out, size_t size, const char *what) {
    TimTorchZip *zip = r->zip;
    void *block;
    TIM_TRY(tim_grow(&zip->blocks, &zip->block_capacity, zip->block_count, sizeof *zip->blocks, "what a torch file owns", r->err));
    TIM_TRY(tim_new(&block, size, 1, what, r->err));
    zip->blocks[zip->block_count++] = block;
    memcpy(out, &block, sizeof block);
    return TIM_OK;
}

/* out = the elements in row-major order: the last dimension is the inner loop, the others count as an odometer does. */
static void copy_elements(uint8_t *out, const View *view) {
    const TimStoredTensor *tensor = view->tensor;
    const size_t size = tim_dtype_size(tensor->dtype), inner = tensor->dims[tensor->rank - 1];
    const size_t step = view->strides[tensor->rank - 1] * size;
    size_t index[TIM_SAFETENSORS_MAX_RANK] = {0};
    for (size_t row = 0; row < tensor->count / inner; row++) {
        size_t at = view->offset;
        for (int i = 0; i < tensor->rank - 1; i++) at += index[i] * view->strides[i];
        const uint8_t *in = view->storage + at * size;
        for (size_t i = 0; i < inner; i++, out += size) memcpy(out, in + i * step, size);
        for (int i = tensor->rank - 2; i >= 0 && ++index[i] == tensor->dims[i]; i--) index[i] = 0;
    }
}

static TimStatus place_data(Reader *r, View *view) {
    TimStoredTensor *tensor = view->tensor;
    if (tensor->count == 0 || is_row_major(view)) {
        tensor->data = view->storage + (tensor->count ? view->offset * tim_dtype_size(tensor->dtype) : 0);
        return TIM_OK;
    }
    uint8_t *copy;
    if (tensor->bytes > r->copies_left)
        return tim_fail(r->err, TIM_E_UNSUPPORTED,
                        "the tensors whose strides are not row-major take more than %d times the file; save their .contiguous()",
                        COPIES_PER_BYTE);
    r->copies_left -= tensor->bytes;
    TIM_TRY(keep_block(r, &copy, tensor->bytes, "a tensor whose strides are not row-major"));
    copy_elements(copy, view);
    tensor->data = copy;
    return TIM_OK;
}

/* The call _rebuild_tensor_v2(storage, offset, sizes, strides, requires_grad, hooks, ...). */
static TimStatus read_tensor(Reader *r, TimStoredTensor *tensor, const TimPickleValue *call) {
    const TimPickleValue *argument = call->argument;
    View view = {.tensor = tensor};
    if (argument->count < 4) return malformed(r, "it is not described as torch does");
    TIM_TRY(read_storage(r, &view, argument->items[0]));
    if (!read_size(argument->items[1], &view.offset)) return malformed(r, "its offset is not from 0 on");
    TIM_TRY(read_shape(r, &view, argument->items[2], argument->items[3]));
    TIM_TRY(check_view(r, &view));
    return place_data(r, &view);
}

/* ---- the dicts ---- */

/* The path to a value, as it is being walked. */
typedef struct Path {
    char text[MAX_NAME + 1];
    size_t length;
    int depth;
} Path;

static TimStatus keep_text(Reader *r, const char **out, const char *text, size_t size, const char *what) {
    char *copy;
    if (size >= r->names_left) return malformed(r, "the names in it take more bytes than a file of tensors needs");
    r->names_left -= size + 1;
    TIM_TRY(keep_block(r, &copy, size + 1, what));
    memcpy(copy, text, size);
    *out = copy;
    return TIM_OK;
}

static TimStatus add_tensor(Reader *r, const Path *path, const TimPickleValue *call) {
    TimTorchZip *zip = r->zip;
    if (path->length == 0)
        return tim_fail(r->err, TIM_E_UNSUPPORTED, "it holds one tensor that has no name; save torch.save({'name': tensor}, ...)");
    TIM_TRY(tim_grow(&zip->tensors, &zip->tensor_capacity, zip->count, sizeof *zip->tensors, "the tensors' entries", r->err));
    TimStoredTensor *tensor = &zip->tensors[zip->count];
    *tensor = (TimStoredTensor){0};
    TIM_TRY(keep_text(r, &tensor->name, path->text, path->length, "the name of a tensor"));
    const TimStatus status = read_tensor(r, tensor, call);
    if (status != TIM_OK) return tim_fail_within(r->err, status, "tensor '%s'", tensor->name);
    zip->count++;
    return TIM_OK;
}

/* A text with a zero byte would end early where it is shown. */
static bool has_end(const char *text, size_t size) {
    return size > 0 && memchr(text, '\0', size) != NULL;
}

static TimStatus add_text(Reader *r, const Path *path, const TimPickleValue *value) {
    TimTorchZip *zip = r->zip;
    char number[32];
    const char *text = number;
    if (value->kind == TIM_PICKLE_TEXT)
        text = value->text;
    else if (value->kind == TIM_PICKLE_REAL && !isfinite(value->real))
        text = isnan(value->real) ? "nan" : value->real < 0 ? "-inf" : "inf";
    else if (value->kind == TIM_PICKLE_REAL)
        tim_number_print(value->real, number, sizeof number);
    else if (value->kind == TIM_PICKLE_BOOL)
        text = value->integer ? "true" : "false";
    else
        snprintf(number, sizeof number, "%" PRId64, value->integer);
    const size_t size = value->kind == TIM_PICKLE_TEXT ? value->count : strlen(text);
    if (path->length == 0 || has_end(text, size)) return TIM_OK;
    TIM_TRY(tim_grow(&zip->texts, &zip->text_capacity, zip->text_count, sizeof *zip->texts, "the texts of a torch file", r->err));
    TimStoredText *entry = &zip->texts[zip->text_count];
    TIM_TRY(keep_text(r, &entry->key, path->text, path->length, "the name of a text"));
    TIM_TRY(keep_text(r, &entry->value, text, size, "a text"));
    zip->text_count++;
    return TIM_OK;
}

/* Appends ".name". */
static TimStatus path_enter(Reader *r, Path *path, const char *name, size_t size) {
    const size_t dot = path->length > 0;
    if (++path->depth > MAX_DEPTH)
        return tim_fail(r->err, TIM_E_UNSUPPORTED,
                        "more than %d containers inside each other; save the tensors alone: "
                        "torch.save(model.state_dict(), ...)",
                        MAX_DEPTH);
    if (path->length + dot > MAX_NAME || size > MAX_NAME - path->length - dot)
        return tim_fail(r->err, TIM_E_UNSUPPORTED, "a name of more than %d bytes; save the tensors under shorter ones", MAX_NAME);
    if (has_end(name, size)) return malformed(r, "a name has a zero byte");
    if (dot) path->text[path->length++] = '.';
    if (size > 0) memcpy(path->text + path->length, name, size);
    path->length += size;
    path->text[path->length] = '\0';
    return TIM_OK;
}

/* Shared containers are walked each time they are met, and a container may hold itself: hence a limit to the items looked at. An
 * honest file spends at least a byte of its pickle on each. */
static TimStatus spend_step(Reader *r) {
    if (r->steps_left == 0) return malformed(r, "its containers share each other too often");
    r->steps_left--;
    return TIM_OK;
}

static TimStatus walk(Reader *r, Path *path, const TimPickleValue *value);

static TimStatus walk_item(Reader *r, Path *path, const char *name, size_t size, const TimPickleValue *value) {
    const size_t length = path->length;
    TIM_TRY(path_enter(r, path, name, size));
    TIM_TRY(walk(r, path, value));
    path->depth--;
    path->length = length;
    path->text[length] = '\0';
    return TIM_OK;
}

/* Keys are texts, or integers as in an optimiser's state; the values of others are no tensors that anybody could name. */
static TimStatus walk_dict(Reader *r, Path *path, const TimPickleValue *dict) {
    for (size_t i = 0; i + 1 < dict->count; i += 2) {
        const TimPickleValue *key = dict->items[i], *value = dict->items[i + 1];
        char number[32];
        const int length = snprintf(number, sizeof number, "%" PRId64, key->integer);
        TIM_TRY(spend_step(r));
        if (key->kind == TIM_PICKLE_TEXT)
            TIM_TRY(walk_item(r, path, key->text, key->count, value));
        else if (key->kind == TIM_PICKLE_INTEGER)
            TIM_TRY(walk_item(r, path, number, (size_t)length, value));
    }
    return TIM_OK;
}

/* Numbers and texts in lists are of no use to anybody here; tensors are named by their place. */
static TimStatus walk_list(Reader *r, Path *path, const TimPickleValue *list) {
    for (size_t i = 0; i < list->count; i++) {
        const TimPickleKind kind = list->items[i]->kind;
        char number[32];
        const int length = snprintf(number, sizeof number, "%zu", i);
        TIM_TRY(spend_step(r));
        if (kind == TIM_PICKLE_CALL || kind == TIM_PICKLE_DICT || kind == TIM_PICKLE_LIST || kind == TIM_PICKLE_TUPLE)
            TIM_TRY(walk_item(r, path, number, (size_t)length, list->items[i]));
    }
    return TIM_OK;
}

/* _rebuild_parameter(tensor, requires_grad, hooks). */
static TimStatus walk_parameter(Reader *r, Path *path, const TimPickleValue *call) {
    if (call->argument->count == 0 || !is_call(call->argument->items[0], REBUILD_TENSOR))
        return malformed(r, "a parameter is not described as torch does");
    return add_tensor(r, path, call->argument->items[0]);
}

/* An OrderedDict's state holds only the versions of modules; a Namespace is its state. */
static TimStatus walk_call(Reader *r, Path *path, const TimPickleValue *call) {
    switch (call->global) {
    case REBUILD_TENSOR:
        return add_tensor(r, path, call);
    case REBUILD_PARAMETER:
        return walk_parameter(r, path, call);
    case ORDERED_DICT:
        return call->argument->count > 0 ? malformed(r, "an OrderedDict is made of something") : walk_dict(r, path, call);
    case NAMESPACE:
        return call->state && call->state->kind == TIM_PICKLE_DICT ? walk_dict(r, path, call->state) : TIM_OK;
    default:
        return malformed(r, "a storage is made of something");
    }
}

static TimStatus walk(Reader *r, Path *path, const TimPickleValue *value) {
    switch (value->kind) {
    case TIM_PICKLE_DICT:
        return walk_dict(r, path, value);
    case TIM_PICKLE_LIST:
    case TIM_PICKLE_TUPLE:
        return walk_list(r, path, value);
    case TIM_PICKLE_CALL:
        return walk_call(r, path, value);
    case TIM_PICKLE_BOOL:
    case TIM_PICKLE_INTEGER:
    case TIM_PICKLE_REAL:
    case TIM_PICKLE_TEXT:
        return add_text(r, path, value);
    default:
        return TIM_OK;
    }
}

/* ---- wrapped weights ---- */

static bool is_dict(const TimPickleValue *value) {
    return value->kind == TIM_PICKLE_DICT || is_call(value, ORDERED_DICT);
}

static bool has_tensors(const TimPickleValue *dict) {
    for (size_t i = 1; i < dict->count; i += 2)
        if (is_call(dict->items[i], REBUILD_TENSOR) || is_call(dict->items[i], REBUILD_PARAMETER)) return true;
    return false;
}

/* The dict under that key; NULL when there is none. */
static const TimPickleValue *dict_under(const TimPickleValue *dict, const char *key) {
    for (size_t i = 0; i + 1 < dict->count; i += 2)
        if (is_text(dict->items[i], key) && is_dict(dict->items[i + 1])) return dict->items[i + 1];
    return NULL;
}

/* The dict that holds the weights: one under a wrapper's key, or `dict` itself if it has tensors; NULL for neither. `way` has `length`
 * bytes of keys that led here, and gets those that lead on. */
static const TimPickleValue *find_weights(const TimPickleValue *dict, char way[TIM_TORCH_WRAPPER], size_t length, int depth) {
    static const char *const wrappers[] = {"ema", "model", "state_dict"};
    for (size_t i = 0; depth < MAX_WRAPPERS && i < sizeof wrappers / sizeof *wrappers; i++) {
        const TimPickleValue *inner = dict_under(dict, wrappers[i]);
        if (!inner) continue;
        const int more = snprintf(way + length, TIM_TORCH_WRAPPER - length, "%s%s", length ? "." : "", wrappers[i]);
        const TimPickleValue *found = find_weights(inner, way, length + (size_t)more, depth + 1);
        if (found) return found;
    }
    way[length] = '\0';
    return has_tensors(dict) ? dict : NULL;
}

static const TimPickleValue *unwrapped(const Reader *r, const TimPickleValue *root) {
    const TimPickleValue *weights = is_dict(root) ? find_weights(root, r->zip->wrapper, 0, 0) : NULL;
    return weights ? weights : root;
}

/* ---- the file ---- */

static TimStatus read_pickle(Reader *r) {
    const uint8_t *bytes;
    size_t size;
    TIM_TRY(read_member(r, "data.pkl", &bytes, &size));
    if (!bytes)
        return tim_fail(r->err, TIM_E_FORMAT, "a zip without data.pkl, so none of torch.save's; give a file with a state dict");
    r->steps_left = size;
    const size_t pickle = size < TIM_PICKLE_MAX_BYTES ? size : TIM_PICKLE_MAX_BYTES;
    r->names_left = pickle * NAMES_PER_BYTE;
    if (!tim_mul_size(r->file->size, COPIES_PER_BYTE, &r->copies_left)) r->copies_left = SIZE_MAX;
    return tim_pickle_read(&r->pickle, bytes, size, globals, sizeof globals / sizeof *globals, r->err);
}

static TimStatus read_all(Reader *r, bool unwrap) {
    Path path = {0};
    TIM_TRY(list_members(r));
    TIM_TRY(check_byte_order(r));
    TIM_TRY(read_pickle(r));
    return walk(r, &path, unwrap ? unwrapped(r, r->pickle.root) : r->pickle.root);
}

TimStatus tim_torch_zip_read(TimTorchZip *zip, const TimFile *file, bool unwrap, TimError *err) {
    *zip = (TimTorchZip){0};
    Reader r = {.zip = zip, .file = file, .err = err};
    const TimStatus status = read_all(&r, unwrap);
    tim_pickle_done(&r.pickle);
    tim_free(r.members);
    if (status != TIM_OK) tim_torch_zip_done(zip);
    return status;
}

void tim_torch_zip_done(TimTorchZip *zip) {
    for (size_t i = 0; i < zip->block_count; i++) tim_free(zip->blocks[i]);
    tim_free(zip->blocks);
    tim_free(zip->tensors);
    tim_free(zip->texts);
    *zip = (TimTorchZip){0};
}
