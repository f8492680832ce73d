#include "io/torch_legacy.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/text.h"

/* The pickle of 0x1950a86a20f9469cfc6c, an integer of ten bytes, and that of the version, 1001. */
static const uint8_t magic[] = {0x80, 2, 0x8A, 10, 0x6C, 0xFC, 0x9C, 0x46, 0xF9, 0x20, 0x6A, 0xA8, 0x50, 0x19, '.'},
                     version[] = {0x80, 2, 'M', 0xE9, 3, '.'};

bool tim_torch_legacy_begins(const TimFile *file) {
    return file->size >= sizeof magic && memcmp(file->data, magic, sizeof magic) == 0;
}

/* What is being read. */
typedef struct Reader {
    TimTorchLegacy *legacy;
    const TimFile *file;
    size_t at;
    TimError *err;
} Reader;

static TimStatus damaged(const Reader *r, const char *what) {
    return tim_fail(r->err, TIM_E_FORMAT, "not a whole file of torch.save: %s, at byte %zu of %zu; is the download complete?", what,
                    r->at, r->file->size);
}

/* ---- pickles ---- */

static TimStatus read_pickle(Reader *r, TimPickle *pickle) {
    const size_t left = r->file->size - r->at;
    const TimStatus status =
        tim_pickle_read(pickle, r->file->data + r->at, left < TIM_PICKLE_MAX_BYTES ? left : TIM_PICKLE_MAX_BYTES, tim_torch_globals,
                        TIM_TORCH_GLOBAL_COUNT, r->err);
    if (status == TIM_OK) r->at += pickle->size;
    return status == TIM_E_FORMAT && left > TIM_PICKLE_MAX_BYTES
               ? tim_fail_within(r->err, status, "of the pickle at byte %zu at most %d bytes are read", r->at, TIM_PICKLE_MAX_BYTES)
               : status;
}

static TimStatus read_version(Reader *r) {
    r->at = sizeof magic;
    if (r->file->size - r->at < sizeof version || memcmp(r->file->data + r->at, version, sizeof version) != 0)
        return tim_fail(r->err, TIM_E_UNSUPPORTED,
                        "a file of torch.save of another version than 1001; save it again with a current torch");
    r->at += sizeof version;
    return TIM_OK;
}

static bool is_little_endian(const TimPickleValue *machine) {
    for (size_t i = 0; machine->kind == TIM_PICKLE_DICT && i + 1 < machine->count; i += 2) {
        const TimPickleValue *value = machine->items[i + 1];
        if (tim_pickle_is_text(machine->items[i], "little_endian")) return value->kind == TIM_PICKLE_BOOL && value->integer;
    }
    return false;
}

static TimStatus check_machine(Reader *r) {
    TimPickle machine;
    TIM_TRY(read_pickle(r, &machine));
    const bool little = is_little_endian(machine.root);
    tim_pickle_done(&machine);
    if (little) return TIM_OK;
    return tim_fail(r->err, TIM_E_UNSUPPORTED,
                    "its bytes are not in little-endian order; save it again on a little-endian machine");
}

/* ---- storages ---- */

static int compare(const void *left, const void *right) {
    const TimTorchStorage *a = &((const TimTorchLegacyStorage *)left)->storage,
                          *b = &((const TimTorchLegacyStorage *)right)->storage;
    return tim_compare_texts(a->key, a->key_size, b->key, b->key_size);
}

static bool same(const TimTorchStorage *a, const TimTorchStorage *b) {
    return a->dtype == b->dtype && a->elements == b->elements;
}

/* The storages that the object names, each once however many tensors see it. */
static TimStatus list_storages(Reader *r) {
    TimTorchLegacy *l = r->legacy;
    size_t count = 0;
    TIM_TRY(tim_new(&l->storages, l->object.outside_count, sizeof *l->storages, "the storages of a torch file", r->err));
    for (size_t i = 0; i < l->object.outside_count; i++)
        if (!tim_torch_storage_of(&l->storages[count++].storage, l->object.outside[i]))
            return damaged(r, "a storage is not described as torch does");
    if (count > 0) qsort(l->storages, count, sizeof *l->storages, compare);
    for (size_t i = 0; i < count; i++) {
        if (l->count == 0 || compare(&l->storages[l->count - 1], &l->storages[i]) != 0)
            l->storages[l->count++] = l->storages[i];
        else if (!same(&l->storages[l->count - 1].storage, &l->storages[i].storage))
            return damaged(r, "a storage is described in two ways");
    }
    return TIM_OK;
}

TimTorchLegacyStorage *tim_torch_legacy_find(const TimTorchLegacy *legacy, const char *key, size_t key_size) {
    const TimTorchLegacyStorage wanted = {.storage = {.key = key, .key_size = key_size}};
    return legacy->count ? bsearch(&wanted, legacy->storages, legacy->count, sizeof wanted, compare) : NULL;
}

/* The number of elements once more, and the bytes. */
static TimStatus place(Reader *r, TimTorchLegacyStorage *s) {
    uint64_t elements;
    if (s->data) return damaged(r, "a storage is there twice");
    if (r->file->size - r->at < sizeof elements) return damaged(r, "it ends before its storages do");
    memcpy(&elements, r->file->data + r->at, sizeof elements);
    if (elements != s->storage.elements) return damaged(r, "a storage has another size than the tensors say");
    r->at += sizeof elements;
    if (!tim_mul_size(s->storage.elements, tim_dtype_size(s->storage.dtype), &s->bytes) || s->bytes > r->file->size - r->at)
        return damaged(r, "it ends before its storages do");
    s->data = r->file->data + r->at;
    r->at += s->bytes;
    return TIM_OK;
}

static TimStatus place_storages(Reader *r, const TimPickleValue *keys) {
    if (keys->kind != TIM_PICKLE_LIST) return damaged(r, "there is no list of its storages");
    for (size_t i = 0; i < keys->count; i++) {
        const TimPickleValue *key = keys->items[i];
        TimTorchLegacyStorage *s = key->kind == TIM_PICKLE_TEXT ? tim_torch_legacy_find(r->legacy, key->text, key->count) : NULL;
        if (!s) return damaged(r, "a storage belongs to no tensor");
        TIM_TRY(place(r, s));
    }
    return TIM_OK;
}

/* ---- the file ---- */

static TimStatus read_storages(Reader *r) {
    TimPickle keys;
    TIM_TRY(list_storages(r));
    TIM_TRY(read_pickle(r, &keys));
    const TimStatus status = place_storages(r, keys.root);
    tim_pickle_done(&keys);
    return status;
}

TimStatus tim_torch_legacy_read(TimTorchLegacy *legacy, const TimFile *file, TimError *err) {
    Reader r = {.legacy = legacy, .file = file, .err = err};
    *legacy = (TimTorchLegacy){0};
    TIM_TRY(read_version(&r));
    TIM_TRY(check_machine(&r));
    TIM_TRY(read_pickle(&r, &legacy->object));
    return read_storages(&r);
}

void tim_torch_legacy_done(TimTorchLegacy *legacy) {
    tim_pickle_done(&legacy->object);
    tim_free(legacy->storages);
    *legacy = (TimTorchLegacy){0};
}
