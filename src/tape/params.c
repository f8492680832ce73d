#include "tape/params.h"

#include <string.h>

#include "base/memory.h"

int tim_params_find(const TimParams *params, const char *name) {
    for (size_t i = 0; i < params->count; i++)
        if (strcmp(params->items[i].name, name) == 0) return (int)i;
    return -1;
}

static TimStatus check_same(const TimParam *param, int rank, const int64_t *dims, TimError *err) {
    bool same = param->rank == rank;
    for (int i = 0; same && i < rank; i++) same = param->dims[i] == dims[i];
    if (same) return TIM_OK;
    return tim_fail(err, TIM_E_INTERNAL, "parameter %s is used with two shapes", param->name);
}

static TimStatus measure(TimParam *param, TimError *err) {
    size_t count = 1;
    for (int i = 0; i < param->rank; i++) {
        if (param->dims[i] > 0 && tim_mul_size(count, (size_t)param->dims[i], &count)) continue;
        return tim_fail(err, TIM_E_ARGUMENT, "parameter %s: axis %d has length %lld", param->name, i, (long long)param->dims[i]);
    }
    param->count = count;
    param->rows = param->rank == 1 ? 1 : param->dims[0];
    param->cols = (int64_t)count / param->rows;
    return TIM_OK;
}

TimStatus tim_params_add(TimParams *params, const char *name, int rank, const int64_t *dims, TimInit init, int *index,
                         TimError *err) {
    *index = tim_params_find(params, name);
    if (*index >= 0) return check_same(&params->items[*index], rank, dims, err);
    if (rank < 1 || rank > TIM_PARAM_MAX_RANK)
        return tim_fail(err, TIM_E_INTERNAL, "parameter %s has %d axes, not 1 to %d", name, rank, TIM_PARAM_MAX_RANK);
    TIM_TRY(tim_grow(&params->items, &params->capacity, params->count, sizeof *params->items, "the parameter list", err));
    TimParam param = {.rank = rank, .init = init, .offset = params->elements};
    memcpy(param.dims, dims, (size_t)rank * sizeof *dims);
    TIM_TRY(tim_copy_text(&param.name, name, err));
    const TimStatus status = measure(&param, err);
    const size_t per_line = TIM_ALIGNMENT / sizeof(float);
    size_t padded;
    if (status != TIM_OK || !tim_add_size(param.count, per_line - 1, &padded) ||
        !tim_add_size(params->elements, padded - padded % per_line, &params->elements)) {
        tim_free(param.name);
        return status != TIM_OK ? status : tim_fail(err, TIM_E_MEMORY, "parameter %s makes the network too large", name);
    }
    *index = (int)params->count;
    params->items[params->count++] = param;
    return TIM_OK;
}

void tim_params_done(TimParams *params) {
    for (size_t i = 0; i < params->count; i++) tim_free(params->items[i].name);
    tim_free(params->items);
    *params = (TimParams){0};
}

size_t tim_params_total(const TimParams *params) {
    size_t total = 0;
    for (size_t i = 0; i < params->count; i++) total += params->items[i].count;
    return total;
}

TimStatus tim_weights_new(TimWeights *weights, size_t count, TimError *err) {
    *weights = (TimWeights){0};
    TIM_TRY(tim_new(&weights->f32, count, sizeof *weights->f32, "the weight list", err));
    const TimStatus status = tim_new(&weights->bf16, count, sizeof *weights->bf16, "the weight list", err);
    if (status != TIM_OK) tim_weights_done(weights);
    return status;
}

void tim_weights_point(TimWeights *weights, const TimParams *params, const float *f32, const TimBf16 *bf16) {
    for (size_t i = 0; i < params->count; i++) {
        weights->f32[i] = f32 ? f32 + params->items[i].offset : NULL;
        weights->bf16[i] = bf16 ? bf16 + params->items[i].offset : NULL;
    }
}

void tim_weights_done(TimWeights *weights) {
    tim_free(weights->f32);
    tim_free(weights->bf16);
    *weights = (TimWeights){0};
}
