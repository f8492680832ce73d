#include "model/frozen.h"

#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "base/text.h"
#include "model/published.h"
#include "model/store.h"

TimStatus tim_frozen_init(TimFrozen *frozen, const TimNetworkOptions *options, TimError *err) {
    frozen->dtype = options->precision == TIM_PRECISION_BF16 ? TIM_BF16 : TIM_F32;
    frozen->threads = options->threads;
    frozen->max_copy_bytes = options->max_copy_bytes;
    TIM_TRY(tim_new(&frozen->copies, frozen->params.count, sizeof *frozen->copies, "the list of weights", err));
    return tim_weights_new(&frozen->bound, frozen->params.count, err);
}

void tim_frozen_done(TimFrozen *frozen) {
    for (size_t i = 0; frozen->copies && i < frozen->params.count; i++) tim_free(frozen->copies[i]);
    tim_free(frozen->copies);
    tim_weights_done(&frozen->bound);
    tim_tensor_set_close(&frozen->set);
    tim_params_done(&frozen->params);
    *frozen = (TimFrozen){0};
}

static TimDtype dtype_of(const TimFrozen *frozen, size_t i) {
    return frozen->params.items[i].rank == 1 ? TIM_F32 : frozen->dtype;
}

static void point(TimFrozen *frozen, size_t i, const void *values) {
    if (dtype_of(frozen, i) == TIM_F32)
        frozen->bound.f32[i] = values;
    else
        frozen->bound.bf16[i] = values;
}

static TimStatus new_copy(TimFrozen *frozen, size_t i, TimError *err) {
    const TimParam *param = &frozen->params.items[i];
    TIM_TRY(tim_new(&frozen->copies[i], param->count, tim_dtype_size(dtype_of(frozen, i)), param->name, err));
    frozen->copied += param->count * tim_dtype_size(dtype_of(frozen, i));
    point(frozen, i, frozen->copies[i]);
    return TIM_OK;
}

/* ---- from a file ---- */

enum { CHUNK = 4096, LARGE = 1 << 20 /* bytes */ };

/* Elements first ... first + count of `tensor`. */
static TimStoredTensor part_of(const TimStoredTensor *tensor, size_t first, size_t count) {
    TimStoredTensor part = *tensor;
    const size_t size = tim_dtype_size(tensor->dtype);
    part.count = count, part.bytes = count * size;
    part.data = (const char *)tensor->data + first * size;
    return part;
}

/* A chunk at a time, because rounding goes by way of f32. Reading floats cannot fail. */
static void convert(const TimFrozen *frozen, size_t i, const TimStoredTensor *tensor) {
    const bool narrow = dtype_of(frozen, i) == TIM_BF16;
#pragma omp parallel for num_threads(frozen->threads) schedule(static)
    for (size_t first = 0; first < tensor->count; first += CHUNK) {
        float values[CHUNK];
        const size_t count = tensor->count - first < CHUNK ? tensor->count - first : CHUNK;
        const TimStoredTensor part = part_of(tensor, first, count);
        tim_safetensors_read_f32(&part, narrow ? values : (float *)frozen->copies[i] + first, count, NULL);
        if (narrow) tim_bf16_round_all((TimBf16 *)frozen->copies[i] + first, values, count);
    }
}

static bool is_aligned(const TimStoredTensor *tensor) {
    return (uintptr_t)tensor->data % tim_dtype_size(tensor->dtype) == 0;
}

static bool runs_from_map(const TimFrozen *frozen, size_t i, const TimStoredTensor *tensor) {
    return tensor->dtype == dtype_of(frozen, i) && is_aligned(tensor);
}

static TimStatus take(TimFrozen *frozen, size_t i, const TimStoredTensor *tensor, TimError *err) {
    if (runs_from_map(frozen, i, tensor)) {
        point(frozen, i, tensor->data);
        frozen->mapped += tensor->bytes;
        return TIM_OK;
    }
    TIM_TRY(new_copy(frozen, i, err));
    convert(frozen, i, tensor);
    if (tensor->bytes >= LARGE) tim_tensor_set_rest(&frozen->set); /* what was converted is not read again */
    return TIM_OK;
}

/* `name` without the prefix; NULL where it has none. */
static const char *short_name(const char *name, const TimFrozenNames *names) {
    const size_t length = names->prefix ? strlen(names->prefix) : 0;
    return length > 0 && strncmp(name, names->prefix, length) == 0 ? name + length : NULL;
}

/* The one place that looks into the file. */
static const TimStoredTensor *find(const TimTensorSet *file, const char *name, const TimFrozenNames *names) {
    const TimStoredTensor *tensor = tim_tensor_set_find(file, name);
    if (!tensor && short_name(name, names)) tensor = tim_tensor_set_find(file, short_name(name, names));
    if (!tensor && names->name && strcmp(name, names->name) == 0) tensor = tim_tensor_set_find(file, names->alias);
    return tensor;
}

static bool is_ignored(const char *name, const TimFrozenNames *names) {
    if (names->alias && strcmp(name, names->alias) == 0) return true;
    for (const char *const *start = names->ignored; start && *start; start++)
        if (strncmp(name, *start, strlen(*start)) == 0) return true;
    return false;
}

static bool is_optional(const char *name, const TimFrozenNames *names) {
    return names->optional && strncmp(name, names->optional, strlen(names->optional)) == 0;
}

/* Whether it is what a parameter of that name, or of that name after the prefix, is taken from. */
static bool is_taken(const TimFrozen *frozen, const TimStoredTensor *tensor, const TimFrozenNames *names) {
    char whole[256];
    if (tim_params_find(&frozen->params, tensor->name) >= 0) return true;
    if (!names->prefix || snprintf(whole, sizeof whole, "%s%s", names->prefix, tensor->name) >= (int)sizeof whole) return false;
    return tim_params_find(&frozen->params, whole) >= 0 && find(&frozen->set, whole, names) == tensor;
}

static TimStatus check_known(const TimFrozen *frozen, const TimFrozenNames *names, const char *remedy, TimError *err) {
    char shape[TIM_SHAPE_TEXT];
    for (size_t i = 0; i < frozen->set.count; i++) {
        const TimStoredTensor *t = &frozen->set.tensors[i];
        if (!is_taken(frozen, t, names) && !is_ignored(t->name, names))
            return tim_fail(err, TIM_E_FORMAT, "the tensor '%s' %s belongs to no layer of the configured network; %s", t->name,
                            tim_shape_text(shape, t->rank, t->dims), remedy);
    }
    return TIM_OK;
}

/* Parameter i is stored as it should be; *copies grows by what it takes beside the file, a vector or a matrix. */
static TimStatus check_one(const TimFrozen *frozen, size_t i, const TimFrozenNames *names, const char *remedy, size_t copies[2],
                           TimError *err) {
    const TimParam *param = &frozen->params.items[i];
    const TimStoredTensor *tensor = find(&frozen->set, param->name, names);
    size_t dims[TIM_PARAM_MAX_RANK];
    if (!tensor && is_optional(param->name, names)) return TIM_OK;
    tim_param_dims(param, dims);
    const TimWantedTensor wanted = {tensor ? tensor->name : param->name, param->rank, dims, "the configuration", remedy, remedy};
    TIM_TRY(tim_stored_check(tensor, &wanted, frozen->set.count, err));
    if (!runs_from_map(frozen, i, tensor)) copies[param->rank > 1] += param->count * tim_dtype_size(dtype_of(frozen, i));
    return TIM_OK;
}

static TimStatus check_copies(const TimFrozen *frozen, const size_t copies[2], TimError *err) {
    char all[TIM_BYTES_TEXT], most[TIM_BYTES_TEXT];
    if (!frozen->max_copy_bytes || copies[0] + copies[1] <= frozen->max_copy_bytes) return TIM_OK;
    return tim_fail(err, TIM_E_MEMORY, "its weights take %s beside the file, and the run may have %s; allow more%s%s",
                    tim_bytes_text(all, copies[0] + copies[1]), tim_bytes_text(most, frozen->max_copy_bytes),
                    copies[1] ? ", or give a file that runs from where it lies: in " : "",
                    !copies[1]                  ? ""
                    : frozen->dtype == TIM_BF16 ? "bf16"
                                                : "fp32");
}

/* Everything is looked at before anything is converted. */
static TimStatus check_all(const TimFrozen *frozen, const TimFrozenNames *names, TimError *err) {
    char remedy[128];
    size_t copies[2] = {0, 0};
    snprintf(remedy, sizeof remedy, "do %.60s and the weights belong together?", names->config ? names->config : "config.json");
    TIM_TRY(check_known(frozen, names, remedy, err));
    for (size_t i = 0; i < frozen->params.count; i++) TIM_TRY(check_one(frozen, i, names, remedy, copies, err));
    return check_copies(frozen, copies, err);
}

static TimStatus read_all(TimFrozen *frozen, const TimFrozenNames *names, TimError *err) {
    TIM_TRY(check_all(frozen, names, err));
    for (size_t i = 0; i < frozen->params.count; i++) {
        const TimStoredTensor *tensor = find(&frozen->set, frozen->params.items[i].name, names);
        if (tensor) TIM_TRY(take(frozen, i, tensor, err));
    }
    return TIM_OK;
}

TimStatus tim_frozen_open(TimFrozen *frozen, const char *path, const TimFrozenNames *names, TimError *err) {
    TimStatus status = tim_tensor_set_open_weights(&frozen->set, path, err);
    if (status != TIM_OK) return tim_published_fail(&frozen->params, NULL, status, err);
    status = read_all(frozen, names, err);
    if (status == TIM_OK) return TIM_OK;
    tim_tensor_set_fail(&frozen->set, status, err);
    return tim_published_fail(&frozen->params, &frozen->set, status, err);
}

/* ---- made ---- */

static TimStatus make_bf16(TimFrozen *frozen, size_t i, TimFrozenMake make, void *from, TimError *err) {
    const TimParam *param = &frozen->params.items[i];
    float *values;
    TIM_TRY(tim_new(&values, param->count, sizeof *values, param->name, err));
    const TimStatus status = make(from, param, values, err);
    if (status == TIM_OK) tim_bf16_round_all(frozen->copies[i], values, param->count);
    tim_free(values);
    return status;
}

TimStatus tim_frozen_make(TimFrozen *frozen, TimFrozenMake make, void *from, TimError *err) {
    for (size_t i = 0; i < frozen->params.count; i++) {
        TIM_TRY(new_copy(frozen, i, err));
        if (dtype_of(frozen, i) == TIM_BF16)
            TIM_TRY(make_bf16(frozen, i, make, from, err));
        else
            TIM_TRY(make(from, &frozen->params.items[i], frozen->copies[i], err));
    }
    return TIM_OK;
}
