/* objective/time_weights: the weight of the pairs (t, r) under every setting, in tensors called <sigma_d>/<kind>/<tau>. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "parity/checks.h"
#include "train/time_weight.h"

static const double tolerance = 1e-6;

typedef struct Setting {
    double sigma_d;
    TimTransitionConfig config;
} Setting;

static TimStatus find_kind(const char *name, TimTimeWeight *kind, TimError *err) {
    static const struct {
        const char *name;
        TimTimeWeight kind;
    } kinds[] = {{"constant", TIM_WEIGHT_CONSTANT},
                 {"reciprocal", TIM_WEIGHT_RECIPROCAL},
                 {"sqrt", TIM_WEIGHT_SQRT},
                 {"square", TIM_WEIGHT_SQUARE},
                 {"Soft-Min-SNR", TIM_WEIGHT_SOFT_MIN_SNR}};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (strcmp(name, kinds[i].name) != 0) continue;
        *kind = kinds[i].kind;
        return TIM_OK;
    }
    return tim_fail(err, TIM_E_FORMAT, "no time weight is called \"%s\"", name);
}

/* "identity", "tan" or "sigmoid", with "_t_only" behind it where D = tau(t). */
static TimStatus read_tau(const char *name, TimTransitionConfig *config, TimError *err) {
    const size_t length = strcspn(name, "_");
    const bool t_only = strcmp(name + length, "_t_only") == 0;
    config->weight_t_and_r = !t_only;
    config->weight_time_tangent = length == 3 && strncmp(name, "tan", length) == 0;
    config->weight_time_sigmoid = length == 7 && strncmp(name, "sigmoid", length) == 0;
    const bool identity = length == 8 && strncmp(name, "identity", length) == 0;
    const bool known = config->weight_time_tangent || config->weight_time_sigmoid || identity;
    if (known && (t_only || name[length] == '\0')) return TIM_OK;
    return tim_fail(err, TIM_E_FORMAT, "no function tau is called \"%s\"", name);
}

static TimStatus read_setting(const char *name, Setting *setting, TimError *err) {
    char kind[32], tau[32];
    *setting = (Setting){0};
    if (sscanf(name, "%lf/%31[^/]/%31[^/]", &setting->sigma_d, kind, tau) != 3)
        return tim_fail(err, TIM_E_FORMAT, "tensor \"%s\" is not called <sigma_d>/<kind>/<tau>", name);
    TIM_TRY(find_kind(kind, &setting->config.weight_time_type, err));
    return read_tau(tau, &setting->config, err);
}

static TimStatus check_setting(ParityFile *file, const char *name, const double *t, const double *r, size_t count,
                               size_t n_diffusion, TimError *err) {
    Setting setting;
    double *weight;
    TIM_TRY(read_setting(name, &setting, err));
    TIM_TRY(parity_new(file, &weight, count, sizeof *weight, err));
    for (size_t i = 0; i < count; i++) weight[i] = tim_time_weight(&setting.config, setting.sigma_d, t[i], r[i], i < n_diffusion);
    parity_compare(file, name, weight, count, tolerance);
    return TIM_OK;
}

TimStatus check_time_weights(ParityFile *file, TimError *err) {
    const TimStoredTensor *times, *targets;
    double *t, *r, n_diffusion;
    TIM_TRY(parity_number(file, "diffusion_samples", &n_diffusion, err));
    TIM_TRY(parity_input_f64(file, "t", &t, &times, err));
    TIM_TRY(parity_input_f64(file, "r", &r, &targets, err));
    if (times->count != targets->count || !(n_diffusion >= 0.0 && n_diffusion <= (double)times->count))
        return tim_fail(err, TIM_E_FORMAT, "%zu times t, %zu times r, %g diffusion samples", times->count, targets->count,
                        n_diffusion);
    for (size_t i = 0; i < file->tensors.count; i++) {
        const TimStoredTensor *tensor = &file->tensors.tensors[i];
        if (tensor == times || tensor == targets) continue;
        TIM_TRY(check_setting(file, tensor->name, t, r, times->count, (size_t)n_diffusion, err));
    }
    return TIM_OK;
}
