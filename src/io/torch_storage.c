#include "io/torch_storage.h"

#include <string.h>

const TimPickleGlobal tim_torch_globals[TIM_TORCH_GLOBAL_COUNT] = {
    [TIM_TORCH_REBUILD_TENSOR] = {"torch._utils", "_rebuild_tensor_v2"},
    [TIM_TORCH_REBUILD_TENSOR_OLD] = {"torch._utils", "_rebuild_tensor"},
    [TIM_TORCH_REBUILD_PARAMETER] = {"torch._utils", "_rebuild_parameter"},
    [TIM_TORCH_ORDERED_DICT] = {"collections", "OrderedDict"},
    [TIM_TORCH_NAMESPACE] = {"argparse", "Namespace"},
    [TIM_TORCH_STORAGES] = {"torch", "DoubleStorage"},
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
    _Static_assert(TIM_TORCH_STORAGES + sizeof dtypes / sizeof *dtypes == TIM_TORCH_GLOBAL_COUNT, "one type for each storage");
    return dtypes[global - TIM_TORCH_STORAGES];
}

bool tim_torch_size_of(size_t *out, const TimPickleValue *value) {
    if (value->kind != TIM_PICKLE_INTEGER || value->integer < 0 || (uintmax_t)value->integer > SIZE_MAX) return false;
    *out = (size_t)value->integer;
    return true;
}

bool tim_torch_storage_of(TimTorchStorage *storage, const TimPickleValue *value) {
    const TimPickleValue *name = value->kind == TIM_PICKLE_OUTSIDE ? value->argument : NULL;
    if (!name || name->kind != TIM_PICKLE_TUPLE || name->count < 5 || !tim_pickle_is_text(name->items[0], "storage")) return false;
    const TimPickleValue *type = name->items[1], *key = name->items[2];
    if (type->kind != TIM_PICKLE_GLOBAL || type->global < TIM_TORCH_STORAGES || key->kind != TIM_PICKLE_TEXT) return false;
    if (key->count > TIM_TORCH_MAX_KEY || (key->count > 0 && memchr(key->text, 0, key->count))) return false;
    if (name->count > 5 && name->items[5]->kind != TIM_PICKLE_NONE) return false;
    *storage = (TimTorchStorage){.dtype = storage_dtype(type->global), .key = key->text, .key_size = key->count};
    return tim_torch_size_of(&storage->elements, name->items[4]);
}
