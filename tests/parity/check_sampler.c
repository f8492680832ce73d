/* sampler/: whole trajectories. The metadata names the cases with their options ("cases"), each stored as "<case>/<steps>", and
 * the other transports ("others": "<transport>/<steps>": [T_max, T_min, "noise times S"]); an option that nobody here knows is a
 * failure. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "parity/checks.h"
#include "parity/model.h"
#include "sample/sampler.h"
#include "transport/transport.h"

static const double tolerance = 5e-5;
/* bf16 products: what one evaluation loses (check_network.c), times guidance and steps; measured below 4e-3. */
static const double tolerance_bf16 = 2e-2;

enum { MAX_NAME = 256 };

typedef struct Inputs {
    TimModel *model;
    const TimStoredTensor *shape; /* of z: (B, C, H, W) */
    float *z;
    TimCondition y, null;
    float *noises; /* (noise_count, B, C, H, W) */
    int64_t noise_count;
} Inputs;

/* One trajectory to compute. */
typedef struct Case {
    const char *tensor; /* "<name>/<steps>" */
    TimTransportConfig transport;
    TimSamplerOptions options;
    double scale; /* of the initial noise */
} Case;

/* ---- inputs ---- */

/* e0, e1, ... as one block; there may be none. */
static TimStatus read_noises(ParityFile *file, Inputs *in, TimError *err) {
    char name[MAX_NAME];
    const size_t size = in->shape->count;
    while (snprintf(name, sizeof name, "e%lld", (long long)in->noise_count), tim_safetensors_find(&file->tensors, name))
        in->noise_count++;
    TIM_TRY(parity_new(file, &in->noises, (size_t)in->noise_count * size, sizeof *in->noises, err));
    for (int64_t k = 0; k < in->noise_count; k++) {
        float *noise;
        const TimStoredTensor *tensor;
        snprintf(name, sizeof name, "e%lld", (long long)k);
        TIM_TRY(parity_input_f32(file, name, &noise, &tensor, err));
        if (tensor->count != size) return tim_fail(err, TIM_E_FORMAT, "%s has %zu elements, z %zu", name, tensor->count, size);
        memcpy(in->noises + (size_t)k * size, noise, size * sizeof *noise);
    }
    return TIM_OK;
}

/* The condition `name` of every picture. */
static TimStatus read_condition(ParityFile *file, const Inputs *in, const char *name, TimCondition *condition, TimError *err) {
    const TimStoredTensor *tensor;
    TIM_TRY(parity_find(file, name, &tensor, err));
    if (tensor->rank < 1 || tensor->dims[0] != in->shape->dims[0])
        return tim_fail(err, TIM_E_FORMAT, "%s does not have a batch of %zu, as z", name, in->shape->dims[0]);
    return parity_condition(file, &in->model->config.network, name, condition, err);
}

static TimStatus read_inputs(ParityFile *file, Inputs *in, TimError *err) {
    const TimNetworkConfig *config = &in->model->config.network;
    TIM_TRY(parity_input_f32(file, "z", &in->z, &in->shape, err));
    if (in->shape->rank != 4 || in->shape->dims[1] != (size_t)config->in_channels)
        return tim_fail(err, TIM_E_FORMAT, "z is not (B, %d, H, W)", config->in_channels);
    TIM_TRY(read_condition(file, in, "y", &in->y, err));
    TIM_TRY(read_condition(file, in, "null", &in->null, err));
    return read_noises(file, in, err);
}

/* ---- options ---- */

/* "OT_FM", "trigflow", ...: case does not count. */
static TimStatus find_transport(const char *name, size_t length, TimTransportConfig *config, TimError *err) {
    for (int kind = TIM_TRANSPORT_OT_FM; kind <= TIM_TRANSPORT_VE_SDE; kind++) {
        const char *known = tim_transport_get((TimTransportKind)kind)->name;
        if (strlen(known) != length || strncasecmp(known, name, length) != 0) continue;
        tim_transport_config_init(config, (TimTransportKind)kind);
        return TIM_OK;
    }
    return tim_fail(err, TIM_E_FORMAT, "no transport is called \"%.*s\"", (int)length, name);
}

/* Fields of the transport that a file states where they differ from the defaults. */
static TimStatus read_transport_fields(ParityFile *file, TimTransportConfig *config, TimError *err) {
    TIM_TRY(parity_optional_number(file, "sigma_d", &config->sigma_d, err));
    TIM_TRY(parity_optional_number(file, "beta_min", &config->beta_min, err));
    TIM_TRY(parity_optional_number(file, "beta_d", &config->beta_d, err));
    TIM_TRY(parity_optional_number(file, "T_max", &config->t_max, err));
    return parity_optional_number(file, "T_min", &config->t_min, err);
}

/* The steps after the last '/' of a tensor's name. */
static TimStatus read_steps(const char *tensor, int *steps, TimError *err) {
    const char *slash = strrchr(tensor, '/');
    char *end = NULL;
    const long value = slash ? strtol(slash + 1, &end, 10) : 0;
    if (value < 1 || value > TIM_SAMPLE_MAX_STEPS || *end)
        return tim_fail(err, TIM_E_FORMAT, "\"%s\" does not end in a number of steps", tensor);
    *steps = (int)value;
    return TIM_OK;
}

static TimStatus read_mode(const json_t *value, TimSampleMode *mode, TimError *err) {
    const char *name = json_string_value(value);
    *mode = name && strcmp(name, "ddiffusion") == 0 ? TIM_SAMPLE_DIFFUSION : TIM_SAMPLE_TRANSITION;
    if (*mode == TIM_SAMPLE_DIFFUSION || (name && strcmp(name, "transition") == 0)) return TIM_OK;
    return tim_fail(err, TIM_E_FORMAT, "sample_type is \"%s\"; known are transition and ddiffusion", name ? name : "no text");
}

/* One option of a case. */
static TimStatus read_option(Case *out, const char *key, const json_t *value, TimError *err) {
    const struct {
        const char *key;
        double *place;
    } numbers[] = {{"cfg_scale", &out->options.guidance},     {"cfg_low", &out->options.guidance_low},
                   {"cfg_high", &out->options.guidance_high}, {"stochasticity_ratio", &out->options.stochasticity},
                   {"T_max", &out->transport.t_max},          {"T_min", &out->transport.t_min}};
    if (strcmp(key, "sample_type") == 0) return read_mode(value, &out->options.mode, err);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        if (strcmp(key, numbers[i].key) != 0) continue;
        *numbers[i].place = json_number_value(value);
        return json_is_number(value) ? TIM_OK : tim_fail(err, TIM_E_FORMAT, "%s is no number", key);
    }
    return tim_fail(err, TIM_E_FORMAT, "nobody here knows the option %s", key);
}

/* [T_max, T_min, "noise times S"], the last one optional. */
static TimStatus read_other(Case *out, const json_t *value, TimError *err) {
    char end;
    const json_t *noise = json_array_get(value, 2);
    const size_t count = json_array_size(value);
    if (count < 2 || count > 3 || !json_is_number(json_array_get(value, 0)) || !json_is_number(json_array_get(value, 1)))
        return tim_fail(err, TIM_E_FORMAT, "it is not [T_max, T_min, \"noise times S\"]");
    out->transport.t_max = json_number_value(json_array_get(value, 0));
    out->transport.t_min = json_number_value(json_array_get(value, 1));
    if (noise && (!json_is_string(noise) || sscanf(json_string_value(noise), "noise times %lf%c", &out->scale, &end) != 1))
        return tim_fail(err, TIM_E_FORMAT, "its third element is not \"noise times S\"");
    return TIM_OK;
}

/* ---- comparing ---- */

static TimStatus run_case(ParityFile *file, const Inputs *in, Case *c, TimError *err) {
    const size_t size = in->shape->count, states = (size_t)c->options.steps + 1;
    double *state;
    TIM_TRY(parity_new(file, &state, size, sizeof *state, err));
    TIM_TRY(parity_new(file, &c->options.trajectory, states * size, sizeof(float), err));
    for (size_t i = 0; i < size; i++) state[i] = c->scale * in->z[i];
    c->options.noises = in->noises;
    c->options.noise_count = in->noise_count;
    in->model->config.transport = c->transport;
    const TimSamplerBatch batch = {.batch = (int64_t)in->shape->dims[0],
                                   .height = (int)in->shape->dims[2],
                                   .width = (int)in->shape->dims[3],
                                   .state = state,
                                   .condition = in->y,
                                   .null = in->null};
    TIM_TRY(tim_sampler_run(in->model, &batch, &c->options, NULL, err));
    if (file->run->options.bf16)
        parity_compare_l2(file, c->tensor, c->options.trajectory, states * size, 0, tolerance_bf16);
    else
        parity_compare_f32(file, c->tensor, c->options.trajectory, states * size, tolerance);
    return TIM_OK;
}

static TimStatus check_case(ParityFile *file, const Inputs *in, const char *tensor, json_t *options, TimError *err) {
    const char *key, *transport;
    json_t *value;
    Case c = {.tensor = tensor, .options = tim_sampler_options_default(), .scale = 1.0};
    TIM_TRY(parity_text(file, "transport", &transport, err));
    TIM_TRY(find_transport(transport, strlen(transport), &c.transport, err));
    TIM_TRY(read_transport_fields(file, &c.transport, err));
    TIM_TRY(read_steps(tensor, &c.options.steps, err));
    json_object_foreach(options, key, value) TIM_TRY(read_option(&c, key, value, err));
    return run_case(file, in, &c, err);
}

static TimStatus check_other(ParityFile *file, const Inputs *in, const char *tensor, const json_t *times, TimError *err) {
    Case c = {.tensor = tensor, .options = tim_sampler_options_default(), .scale = 1.0};
    TIM_TRY(find_transport(tensor, strcspn(tensor, "/"), &c.transport, err));
    TIM_TRY(read_steps(tensor, &c.options.steps, err));
    TIM_TRY(read_other(&c, times, err));
    return run_case(file, in, &c, err);
}

/* A failure of one trajectory is a line of the report; the others are still compared. */
static void check_tensor(ParityFile *file, const Inputs *in, const char *tensor, json_t *cases, json_t *others) {
    TimError err;
    char name[MAX_NAME];
    TimStatus status = TIM_OK;
    snprintf(name, sizeof name, "%.*s", (int)strcspn(tensor, "/"), tensor);
    if (json_object_get(others, tensor))
        status = check_other(file, in, tensor, json_object_get(others, tensor), &err);
    else if (json_object_get(cases, name))
        status = check_case(file, in, tensor, json_object_get(cases, name), &err);
    if (status != TIM_OK) parity_fail(file, tensor, "%s", err.text);
}

static TimStatus check_all(ParityFile *file, Inputs *in, TimError *err) {
    json_t *cases, *others = NULL;
    TIM_TRY(read_inputs(file, in, err));
    TIM_TRY(parity_json(file, "cases", &cases, err));
    if (tim_safetensors_text(&file->tensors, "others")) TIM_TRY(parity_json(file, "others", &others, err));
    for (size_t i = 0; i < file->tensors.count; i++) check_tensor(file, in, file->tensors.tensors[i].name, cases, others);
    return TIM_OK;
}

TimStatus check_sampler(ParityFile *file, TimError *err) {
    Inputs in = {0};
    TIM_TRY(parity_model(file, &in.model, err));
    const TimStatus status = check_all(file, &in, err);
    tim_model_close(in.model);
    return status;
}
