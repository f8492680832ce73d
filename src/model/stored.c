/* What readers of models ask of a stored tensor (store.h). */
#include <stdio.h>
#include <string.h>

#include "model/store.h"

const char *tim_shape_text(char out[TIM_SHAPE_TEXT], int rank, const size_t *dims) {
    int at = snprintf(out, TIM_SHAPE_TEXT, "(");
    for (int i = 0; i < rank; i++) at += snprintf(out + at, TIM_SHAPE_TEXT - (size_t)at, "%s%zu", i ? ", " : "", dims[i]);
    snprintf(out + at, TIM_SHAPE_TEXT - (size_t)at, ")");
    return out;
}

static bool is_float(TimDtype dtype) {
    return dtype == TIM_F64 || dtype == TIM_F32 || dtype == TIM_F16 || dtype == TIM_BF16;
}

TimStatus tim_stored_check(const TimStoredTensor *tensor, const TimWantedTensor *wanted, size_t among, TimError *err) {
    char expected[TIM_SHAPE_TEXT], found[TIM_SHAPE_TEXT];
    tim_shape_text(expected, wanted->rank, wanted->dims);
    if (!tensor)
        return tim_fail(err, TIM_E_FORMAT, "the tensor '%s' %s is missing among the file's %zu; %s", wanted->name, expected, among,
                        wanted->if_missing);
    if (tensor->rank != wanted->rank || memcmp(tensor->dims, wanted->dims, (size_t)wanted->rank * sizeof *wanted->dims) != 0)
        return tim_fail(err, TIM_E_FORMAT, "the tensor '%s' has the shape %s, and %s wants %s; %s", wanted->name,
                        tim_shape_text(found, tensor->rank, tensor->dims), wanted->by, expected, wanted->if_other);
    if (is_float(tensor->dtype)) return TIM_OK;
    return tim_fail(err, TIM_E_FORMAT, "the tensor '%s' is of type %s; weights are F64, F32, F16 or BF16", wanted->name,
                    tim_dtype_name(tensor->dtype));
}
