/* full/tim_*: F of networks of the published sizes, for each picture size "HxW" that the file holds. */
#include <stdio.h>
#include <string.h>

#include "parity/checks.h"
#include "parity/model.h"

static const double tolerance = 2e-4, tolerance_bf16 = 2e-2;

enum { MAX_PREFIX = 64, MAX_NAME = MAX_PREFIX + 2 }; /* the parts are one letter */

typedef struct Inputs {
    float *x, *t, *r;
    TimCondition condition;
    const TimStoredTensor *shape; /* of x: (B, C, H, W) */
} Inputs;

/* "<prefix>/<part>"; the buffer is the caller's. */
static const char *join(char name[MAX_NAME], const char *prefix, char part) {
    snprintf(name, MAX_NAME, "%s/%c", prefix, part);
    return name;
}

static TimStatus check_shapes(const Inputs *in, const TimStoredTensor *t, const TimStoredTensor *r, const TimNetworkConfig *config,
                              TimError *err) {
    if (in->shape->rank != 4)
        return tim_fail(err, TIM_E_FORMAT, "%s has %d axes, not (B, C, H, W)", in->shape->name, in->shape->rank);
    if (in->shape->dims[1] != (size_t)config->in_channels)
        return tim_fail(err, TIM_E_FORMAT, "%s has %zu channels, the network %d", in->shape->name, in->shape->dims[1],
                        config->in_channels);
    if (t->count != in->shape->dims[0] || r->count != in->shape->dims[0])
        return tim_fail(err, TIM_E_FORMAT, "%s has a batch of %zu, and there are %zu t and %zu r", in->shape->name,
                        in->shape->dims[0], t->count, r->count);
    return TIM_OK;
}

static TimStatus read_inputs(ParityFile *file, const TimNetworkConfig *config, const char *prefix, Inputs *in, TimError *err) {
    char name[MAX_NAME];
    const TimStoredTensor *t, *r;
    TIM_TRY(parity_input_f32(file, join(name, prefix, 'x'), &in->x, &in->shape, err));
    TIM_TRY(parity_input_f32(file, join(name, prefix, 't'), &in->t, &t, err));
    TIM_TRY(parity_input_f32(file, join(name, prefix, 'r'), &in->r, &r, err));
    TIM_TRY(check_shapes(in, t, r, config, err));
    return parity_condition(file, config, join(name, prefix, 'y'), &in->condition, err);
}

static TimStatus check_size(ParityFile *file, TimModel *model, const char *prefix, TimError *err) {
    char name[MAX_NAME];
    Inputs in;
    float *f;
    TIM_TRY(read_inputs(file, &model->config.network, prefix, &in, err));
    TIM_TRY(parity_new(file, &f, in.shape->count, sizeof *f, err));
    TIM_TRY(tim_model_evaluate(model, (int64_t)in.shape->dims[0], (int)in.shape->dims[2], (int)in.shape->dims[3], in.x, in.t, in.r,
                               &in.condition, f, err));
    if (file->run->options.bf16)
        parity_compare_l2(file, join(name, prefix, 'F'), f, in.shape->count, 0, tolerance_bf16);
    else
        parity_compare_f32(file, join(name, prefix, 'F'), f, in.shape->count, tolerance);
    return TIM_OK;
}

/* True and the prefix for a name "<prefix>/F". */
static bool is_output(const char *name, char prefix[MAX_PREFIX]) {
    const size_t length = strlen(name);
    if (length < 3 || length - 2 >= MAX_PREFIX || strcmp(name + length - 2, "/F") != 0) return false;
    snprintf(prefix, MAX_PREFIX, "%.*s", (int)(length - 2), name);
    return true;
}

static TimStatus check_sizes(ParityFile *file, TimModel *model, TimError *err) {
    char prefix[MAX_PREFIX];
    for (size_t i = 0; i < file->tensors.count; i++)
        if (is_output(file->tensors.tensors[i].name, prefix)) TIM_TRY(check_size(file, model, prefix, err));
    return TIM_OK;
}

TimStatus check_full(ParityFile *file, TimError *err) {
    TimModel *model;
    TIM_TRY(parity_model(file, &model, err));
    const TimStatus status = check_sizes(file, model, err);
    tim_model_close(model);
    return status;
}
