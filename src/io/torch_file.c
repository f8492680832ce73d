#include "io/torch_file.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "io/number.h"
#include "io/torch_legacy.h"
#include "io/torch_zip.h"

enum {
    MAX_DEPTH = 32,      /* containers inside each other */
    MAX_WRAPPERS = 3,    /* dicts around the weights */
    MAX_NAME = 1024,     /* bytes of a tensor's name */
    NAMES_PER_BYTE = 16, /* all names together take at most so many bytes for each one of the pickle, which spells them */
    COPIES_PER_BYTE = 4, /* and all copies for each byte of the file: a storage may be seen by several tensors */
    TENSOR_STEPS = 24,   /* what a tensor and a text cost beyond the item that leads there (spend_steps) */
    TEXT_STEPS = 2,
    TEXT_BLOCK = 4096 /* bytes; names and texts share blocks */
};

/* ---- kinds of files ---- */

bool tim_torch_file_begins(const TimFile *file) {
    return tim_torch_zip_begins(file) || tim_torch_legacy_begins(file);
}

bool tim_torch_other_begins(const TimFile *file) {
    const bool pickle = file->size >= 2 && file->data[0] == 0x80 && file->data[1] <= 5;
    return pickle || (file->size >= 262 && memcmp(file->data + 257, "ustar", 5) == 0);
}

TimStatus tim_torch_other_fail(TimError *err) {
    return tim_fail(err, TIM_E_UNSUPPORTED,
                    "a pickle or tar, and no file of torch.save since 2017; save it again with a current torch: "
                    "torch.save(torch.load(path, map_location='cpu'), path)");
}

/* What is being read: the file is either of the two. */
typedef struct Reader {
    TimTorchFile *out;
    const TimFile *file;
    bool is_legacy;
    TimTorchZip zip;
    TimTorchLegacy legacy;
    TimPickle pickle; /* of the zip */
    const TimPickleValue *root;
    size_t steps_left, names_left, copies_left;
    char *text_room; /* the rest of the last block of texts */
    size_t text_room_left;
    TimError *err;
} Reader;

static bool is_call(const TimPickleValue *value, int global) {
    return value->kind == TIM_PICKLE_CALL && value->global == global;
}

static bool is_tensor(const TimPickleValue *value) {
    return is_call(value, TIM_TORCH_REBUILD_TENSOR) || is_call(value, TIM_TORCH_REBUILD_TENSOR_OLD);
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

static TimStatus malformed(const Reader *r, const char *what) {
    return tim_fail(r->err, TIM_E_FORMAT, "%s; save it again with torch.save", what);
}

/* *bytes = those of the storage; NULL when the file does not have it. */
static TimStatus find_storage(const Reader *r, const TimTorchStorage *storage, const uint8_t **bytes, size_t *size) {
    if (!r->is_legacy) return tim_torch_zip_storage(&r->zip, storage->key, storage->key_size, bytes, size, r->err);
    const TimTorchLegacyStorage *found = tim_torch_legacy_find(&r->legacy, storage->key, storage->key_size);
    *bytes = found ? found->data : NULL;
    *size = found ? found->bytes : 0;
    return TIM_OK;
}

static TimStatus read_storage(const Reader *r, View *view, const TimPickleValue *value) {
    TimTorchStorage storage;
    size_t size, expected;
    if (!tim_torch_storage_of(&storage, value)) return malformed(r, "its storage is not described as torch does");
    TIM_TRY(find_storage(r, &storage, &view->storage, &size));
    if (!view->storage) return tim_fail(r->err, TIM_E_FORMAT, "its storage is not in the file; is the download complete?");
    view->tensor->dtype = storage.dtype;
    view->elements = storage.elements;
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
        if (!tim_torch_size_of(&tensor->dims[i], sizes->items[i]) || !tim_torch_size_of(&view->strides[i], strides->items[i]))
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
    TimTorchFile *file = r->out;
    void *block;
    TIM_TRY(
        tim_grow(&file->blocks, &file->block_capacity, file->block_count, sizeof *file->blocks, "what a torch file owns", r->err));
    TIM_TRY(tim_new(&block, size, 1, what, r->err));
    file->blocks[file->block_count++] = block;
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

/* What is stored may be minus the tensor, or its conjugate: its metadata, a dict, say so. */
static TimStatus check_plain(Reader *r, const TimPickleValue *argument) {
    static const char *const keys[] = {"neg", "conj"};
    const TimPickleValue *metadata = argument->count > 6 ? argument->items[6] : NULL;
    for (size_t i = 0; metadata && metadata->kind == TIM_PICKLE_DICT && i + 1 < metadata->count; i += 2)
        for (int k = 0; k < 2; k++)
            if (tim_pickle_is_text(metadata->items[i], keys[k]) && metadata->items[i + 1]->integer)
                return tim_fail(r->err, TIM_E_UNSUPPORTED, "it is stored with '%s' still to be done; save its .resolve_%s()",
                                keys[k], keys[k]);
    return TIM_OK;
}

/* The call _rebuild_tensor_v2(storage, offset, sizes, strides, requires_grad, hooks, metadata). */
static TimStatus read_tensor(Reader *r, TimStoredTensor *tensor, const TimPickleValue *call) {
    const TimPickleValue *argument = call->argument;
    View view = {.tensor = tensor};
    if (argument->count < 4) return malformed(r, "it is not described as torch does");
    TIM_TRY(check_plain(r, argument));
    TIM_TRY(read_storage(r, &view, argument->items[0]));
    if (!tim_torch_size_of(&view.offset, argument->items[1])) return malformed(r, "its offset is not from 0 on");
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

/* Containers and tensors that are shared are met once for each way to them, and a container may hold itself: hence a limit to the
 * steps. An honest file spends a byte of its pickle on each item, three on one that is a text and 32 or more on a tensor, which
 * take up to 64 and 400 bytes of memory here. */
static TimStatus spend_steps(Reader *r, size_t count) {
    if (r->steps_left < count) return malformed(r, "its containers or tensors share each other too often");
    r->steps_left -= count;
    return TIM_OK;
}

/* Zeroed, so that a text shorter than `size` ends. */
static TimStatus take_text_room(Reader *r, char **out, size_t size, const char *what) {
    if (size > r->text_room_left) {
        const size_t room = size > TEXT_BLOCK ? size : TEXT_BLOCK;
        TIM_TRY(keep_block(r, &r->text_room, room, what));
        r->text_room_left = room;
    }
    *out = r->text_room;
    r->text_room += size;
    r->text_room_left -= size;
    return TIM_OK;
}

static TimStatus keep_text(Reader *r, const char **out, const char *text, size_t size, const char *what) {
    char *copy = NULL;
    if (size >= r->names_left) return malformed(r, "the names in it take more bytes than a file of tensors needs");
    r->names_left -= size + 1;
    TIM_TRY(take_text_room(r, &copy, size + 1, what));
    memcpy(copy, text, size);
    *out = copy;
    return TIM_OK;
}

static TimStatus add_tensor(Reader *r, const Path *path, const TimPickleValue *call) {
    TimTorchFile *file = r->out;
    if (path->length == 0)
        return tim_fail(r->err, TIM_E_UNSUPPORTED, "it holds one tensor that has no name; save torch.save({'name': tensor}, ...)");
    TIM_TRY(spend_steps(r, TENSOR_STEPS));
    TIM_TRY(tim_grow(&file->tensors, &file->tensor_capacity, file->count, sizeof *file->tensors, "the tensors' entries", r->err));
    TimStoredTensor *tensor = &file->tensors[file->count];
    *tensor = (TimStoredTensor){0};
    TIM_TRY(keep_text(r, &tensor->name, path->text, path->length, "the name of a tensor"));
    const TimStatus status = read_tensor(r, tensor, call);
    if (status != TIM_OK) return tim_fail_within(r->err, status, "tensor '%s'", tensor->name);
    file->count++;
    return TIM_OK;
}

/* A text with a zero byte would end early where it is shown. */
static bool has_end(const char *text, size_t size) {
    return size > 0 && memchr(text, '\0', size) != NULL;
}

static TimStatus add_text(Reader *r, const Path *path, const TimPickleValue *value) {
    TimTorchFile *file = r->out;
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
    TIM_TRY(spend_steps(r, TEXT_STEPS));
    TIM_TRY(
        tim_grow(&file->texts, &file->text_capacity, file->text_count, sizeof *file->texts, "the texts of a torch file", r->err));
    TimStoredText *entry = &file->texts[file->text_count];
    TIM_TRY(keep_text(r, &entry->key, path->text, path->length, "the name of a text"));
    TIM_TRY(keep_text(r, &entry->value, text, size, "a text"));
    file->text_count++;
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
        TIM_TRY(spend_steps(r, 1));
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
        TIM_TRY(spend_steps(r, 1));
        if (kind == TIM_PICKLE_CALL || kind == TIM_PICKLE_DICT || kind == TIM_PICKLE_LIST || kind == TIM_PICKLE_TUPLE)
            TIM_TRY(walk_item(r, path, number, (size_t)length, list->items[i]));
    }
    return TIM_OK;
}

/* _rebuild_parameter(tensor, requires_grad, hooks). */
static TimStatus walk_parameter(Reader *r, Path *path, const TimPickleValue *call) {
    if (call->argument->count == 0 || !is_tensor(call->argument->items[0]))
        return malformed(r, "a parameter is not described as torch does");
    return add_tensor(r, path, call->argument->items[0]);
}

/* An OrderedDict's state holds only the versions of modules; a Namespace is its state. */
static TimStatus walk_call(Reader *r, Path *path, const TimPickleValue *call) {
    switch (call->global) {
    case TIM_TORCH_REBUILD_TENSOR:
    case TIM_TORCH_REBUILD_TENSOR_OLD:
        return add_tensor(r, path, call);
    case TIM_TORCH_REBUILD_PARAMETER:
        return walk_parameter(r, path, call);
    case TIM_TORCH_ORDERED_DICT:
        return call->argument->count > 0 ? malformed(r, "an OrderedDict is made of something") : walk_dict(r, path, call);
    case TIM_TORCH_NAMESPACE:
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
    return value->kind == TIM_PICKLE_DICT || is_call(value, TIM_TORCH_ORDERED_DICT);
}

static bool has_tensors(const TimPickleValue *dict) {
    for (size_t i = 1; i < dict->count; i += 2)
        if (is_tensor(dict->items[i]) || is_call(dict->items[i], TIM_TORCH_REBUILD_PARAMETER)) return true;
    return false;
}

/* The dict under that key; NULL when there is none. Of a key that is set twice the last counts, as in Python. */
static const TimPickleValue *dict_under(const TimPickleValue *dict, const char *key) {
    for (size_t i = dict->count / 2; i-- > 0;)
        if (tim_pickle_is_text(dict->items[2 * i], key)) return is_dict(dict->items[2 * i + 1]) ? dict->items[2 * i + 1] : NULL;
    return NULL;
}

/* The dict that holds the weights: one under a wrapper's key, or `dict` itself if it has tensors; NULL for neither. `way` has
 * `length` bytes of keys that led here, and gets those that lead on. */
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
    const TimPickleValue *weights = is_dict(root) ? find_weights(root, r->out->wrapper, 0, 0) : NULL;
    return weights ? weights : root;
}

/* ---- the file ---- */

static TimStatus read_zip(Reader *r, size_t *size) {
    const uint8_t *bytes;
    TIM_TRY(tim_torch_zip_open(&r->zip, r->file, r->err));
    TIM_TRY(tim_torch_zip_pickle(&r->zip, &bytes, size, r->err));
    TIM_TRY(tim_pickle_read(&r->pickle, bytes, *size, tim_torch_globals, TIM_TORCH_GLOBAL_COUNT, r->err));
    r->root = r->pickle.root;
    return TIM_OK;
}

static TimStatus read_legacy(Reader *r, size_t *size) {
    TIM_TRY(tim_torch_legacy_read(&r->legacy, r->file, r->err));
    *size = r->legacy.object.size;
    r->root = r->legacy.object.root;
    return TIM_OK;
}

static TimStatus read_all(Reader *r, bool unwrap) {
    Path path = {0};
    size_t size; /* of the pickle */
    TIM_TRY(r->is_legacy ? read_legacy(r, &size) : read_zip(r, &size));
    r->steps_left = size;
    r->names_left = size * NAMES_PER_BYTE;
    if (!tim_mul_size(r->file->size, COPIES_PER_BYTE, &r->copies_left)) r->copies_left = SIZE_MAX;
    return walk(r, &path, unwrap ? unwrapped(r, r->root) : r->root);
}

TimStatus tim_torch_file_read(TimTorchFile *out, const TimFile *file, bool unwrap, TimError *err) {
    *out = (TimTorchFile){0};
    Reader r = {.out = out, .file = file, .is_legacy = tim_torch_legacy_begins(file), .err = err};
    const TimStatus status = read_all(&r, unwrap);
    tim_pickle_done(&r.pickle);
    tim_torch_zip_done(&r.zip);
    tim_torch_legacy_done(&r.legacy);
    if (status != TIM_OK) tim_torch_file_done(out);
    return status;
}

void tim_torch_file_done(TimTorchFile *file) {
    for (size_t i = 0; i < file->block_count; i++) tim_free(file->blocks[i]);
    tim_free(file->blocks);
    tim_free(file->tensors);
    tim_free(file->texts);
    *file = (TimTorchFile){0};
}
