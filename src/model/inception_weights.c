/* The weights of Inception v3: batch norms folded into convolutions, and the file they come from. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/finite.h"
#include "base/memory.h"
#include "base/text.h"
#include "io/tensor_set.h"
#include "model/inception_v3.h"
#include "model/store.h"

enum { NAME_MAX_BYTES = 128 };
static const double bn_eps = 1e-3;

/* ---- from the official tensors ---- */

/* The official tensors of one unit. */
typedef struct Official {
    double *kernel;                   /* (O, C kh kw) */
    double *gain, *bias, *mean, *var; /* (O) */
    double *block;                    /* owns them all */
} Official;

static TimStatus official_new(Official *o, const TimParam *kernel, TimError *err) {
    const size_t channels = (size_t)kernel->rows;
    size_t count;
    if (!tim_mul_size(4, channels, &count) || !tim_add_size(count, kernel->count, &count))
        return tim_fail(err, TIM_E_MEMORY, "%s: the shape does not fit into memory", kernel->name);
    TIM_TRY(tim_new(&o->block, count, sizeof *o->block, "the weights of a convolution", err));
    o->gain = o->block, o->bias = o->gain + channels, o->mean = o->bias + channels, o->var = o->mean + channels;
    o->kernel = o->var + channels;
    return TIM_OK;
}

typedef struct Source {
    TimInceptionRead read;
    void *from;
} Source;

/* The vector `part` of the unit whose name has `length` letters at the start of the kernel's. */
static TimStatus read_vector(Source s, double *out, const TimParam *kernel, int length, const char *part, TimError *err) {
    char name[NAME_MAX_BYTES];
    const size_t channels = (size_t)kernel->rows;
    snprintf(name, sizeof name, "%.*s.bn.%s", length, kernel->name, part);
    return s.read(s.from, name, 1, &channels, out, err);
}

static TimStatus read_official(Source s, Official *o, const TimParam *kernel, int length, TimError *err) {
    size_t dims[TIM_PARAM_MAX_RANK];
    tim_param_dims(kernel, dims);
    TIM_TRY(s.read(s.from, kernel->name, kernel->rank, dims, o->kernel, err));
    TIM_TRY(read_vector(s, o->gain, kernel, length, "weight", err));
    TIM_TRY(read_vector(s, o->bias, kernel, length, "bias", err));
    TIM_TRY(read_vector(s, o->mean, kernel, length, "running_mean", err));
    TIM_TRY(read_vector(s, o->var, kernel, length, "running_var", err));
    for (int64_t i = 0; i < kernel->rows; i++)
        if (!(o->var[i] >= 0))
            return tim_fail(
                err, TIM_E_FORMAT,
                "'%.*s.bn.running_var' has %g for channel %lld; a variance is a number from 0 on, so the file is damaged", length,
                kernel->name, o->var[i], (long long)i);
    return TIM_OK;
}

/* gain (W x - mean) / sqrt(var + eps) + bias as one convolution. */
static void fold(float *kernel, float *bias, const Official *o, int64_t channels, int64_t each) {
    for (int64_t i = 0; i < channels; i++) {
        const double scale = o->gain[i] / sqrt(o->var[i] + bn_eps);
        for (int64_t j = 0; j < each; j++) kernel[i * each + j] = (float)(o->kernel[i * each + j] * scale);
        bias[i] = (float)(o->bias[i] - o->mean[i] * scale);
    }
}

static TimStatus check_unit(const TimInception *n, const TimParam *kernel, const TimParam *bias, int length, TimError *err) {
    if (tim_first_not_finite(n->weights + kernel->offset, kernel->count) == kernel->count &&
        tim_first_not_finite(n->weights + bias->offset, bias->count) == bias->count)
        return TIM_OK;
    return tim_fail(err, TIM_E_FORMAT, "the unit '%.*s' has weights that are not finite; the file is damaged", length,
                    kernel->name);
}

/* `kernel` is <unit>.conv.weight, `bias` the parameter after it. */
static TimStatus set_unit(TimInception *n, Source s, const TimParam *kernel, const TimParam *bias, TimError *err) {
    const int length = (int)(strlen(kernel->name) - strlen(".conv.weight"));
    Official official;
    TIM_TRY(official_new(&official, kernel, err));
    const TimStatus status = read_official(s, &official, kernel, length, err);
    if (status == TIM_OK) fold(n->weights + kernel->offset, n->weights + bias->offset, &official, kernel->rows, kernel->cols);
    tim_free(official.block);
    return status == TIM_OK ? check_unit(n, kernel, bias, length, err) : status;
}

TimStatus tim_inception_set_weights(TimInception *inception, TimInceptionRead read, void *from, TimError *err) {
    const TimParam *params = inception->params.items;
    for (size_t i = 0; i + 1 < inception->params.count; i += 2)
        TIM_TRY(set_unit(inception, (Source){read, from}, &params[i], &params[i + 1], err));
    return TIM_OK;
}

/* ---- files ---- */

/* A TimInceptionRead from an open TimTensorSet. */
static TimStatus read_stored(void *from, const char *name, int rank, const size_t *dims, double *out, TimError *err) {
    const TimTensorSet *file = from;
    const TimStoredTensor *tensor = tim_tensor_set_find(file, name);
    const TimWantedTensor wanted = {name,
                                    rank,
                                    dims,
                                    "Inception v3",
                                    "give the weights of pytorch-fid's Inception v3 under their own names",
                                    "is the file pytorch-fid's network?"};
    TIM_TRY(tim_stored_check(tensor, &wanted, file->count, err));
    return tim_safetensors_read_f64(tensor, out, tensor->count, err);
}

/* True for <unit>.conv.weight and the four tensors <unit>.bn.* of a unit that the network has. */
static bool is_of_unit(const TimParams *params, const char *name) {
    static const char *const parts[] = {".conv.weight", ".bn.weight", ".bn.bias", ".bn.running_mean", ".bn.running_var"};
    char kernel[NAME_MAX_BYTES];
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        if (!tim_ends_with(name, parts[i]) || strlen(name) >= NAME_MAX_BYTES) continue;
        snprintf(kernel, sizeof kernel, "%.*s.conv.weight", (int)(strlen(name) - strlen(parts[i])), name);
        return tim_params_find(params, kernel) >= 0;
    }
    return false;
}

static TimStatus check_known(const TimTensorSet *file, const TimParams *params, TimError *err) {
    char shape[TIM_SHAPE_TEXT];
    for (size_t i = 0; i < file->count; i++) {
        const TimStoredTensor *t = &file->tensors[i];
        if (strncmp(t->name, "fc.", 3) == 0 || tim_ends_with(t->name, ".num_batches_tracked") || is_of_unit(params, t->name))
            continue;
        return tim_fail(
            err, TIM_E_FORMAT,
            "the tensor '%s' %s belongs to no layer of the FID network; give the weights of pytorch-fid's Inception v3: "
            "with those of another training distances compare with nothing published",
            t->name, tim_shape_text(shape, t->rank, t->dims));
    }
    return TIM_OK;
}

static TimStatus read_file(TimInception *n, const char *path, TimError *err) {
    TimTensorSet file;
    TIM_TRY(tim_tensor_set_open_weights(&file, path, err));
    TimStatus status = check_known(&file, &n->params, err);
    if (status == TIM_OK) status = tim_inception_set_weights(n, read_stored, &file, err);
    if (status != TIM_OK) tim_tensor_set_fail(&file, status, err);
    tim_tensor_set_close(&file);
    return status;
}

TimStatus tim_inception_open(TimInception *inception, const char *path, int64_t batch, TimIsa isa, int threads, TimError *err) {
    TIM_TRY(tim_inception_init(inception, batch, isa, threads, err));
    const TimStatus status = read_file(inception, path, err);
    if (status != TIM_OK) tim_inception_done(inception);
    return status;
}

static TimStatus read_classes(float **classes, const TimTensorSet *file, TimError *err) {
    static const size_t dims[] = {TIM_INCEPTION_CLASSES, TIM_INCEPTION_FEATURES};
    const TimStoredTensor *tensor = tim_tensor_set_find(file, "fc.weight");
    const TimWantedTensor wanted = {"fc.weight",
                                    2,
                                    dims,
                                    "the FID network",
                                    "the inception score needs it: give the whole file of the FID network's weights",
                                    "torchvision's weights have 1000 classes; give those of pytorch-fid's Inception v3"};
    TIM_TRY(tim_stored_check(tensor, &wanted, file->count, err));
    TIM_TRY(tim_new(classes, tensor->count, sizeof **classes, "the classes of Inception v3", err));
    TIM_TRY(tim_safetensors_read_f32(tensor, *classes, tensor->count, err));
    if (tim_first_not_finite(*classes, tensor->count) == tensor->count) return TIM_OK;
    return tim_fail(err, TIM_E_FORMAT, "the tensor 'fc.weight' has values that are not finite; the file is damaged");
}

TimStatus tim_inception_read_classes(float **classes, const char *path, TimError *err) {
    TimTensorSet file;
    *classes = NULL;
    TIM_TRY(tim_tensor_set_open_weights(&file, path, err));
    const TimStatus status = read_classes(classes, &file, err);
    if (status != TIM_OK) {
        tim_tensor_set_fail(&file, status, err);
        tim_free(*classes);
        *classes = NULL;
    }
    tim_tensor_set_close(&file);
    return status;
}
