/* One training step of the published objective and three updates of AdamW on the same batch: target, weights, losses, every
 * gradient and its norm, and how far some parameters moved. The file's name says which derivative; the direction loss is on in all
 * of them. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "parity/checks.h"
#include "parity/model.h"
#include "train/adamw.h"
#include "train/objective.h"

static const double tolerance_loss = 1e-5, tolerance_weight = 1e-6, tolerance_updated = 2e-2;

/* What the derivative allows: a finite difference divides rounding by 2 epsilon. */
typedef struct Tolerances {
    double target, gradient;
} Tolerances;

typedef struct Updates {
    double lr, beta1, beta2, weight_decay, eps, clip;
    int steps;
} Updates;

typedef struct Step {
    ParityFile *file;
    TimConfig config;
    TimModel *model;
    TimObjective *objective;
    TimBatch batch;
    TimLosses losses;
    TimObjectiveShape shape;
    TimWeights guiding; /* the guiding network's weights */
    float *guiding_values, *gradients, *initial;
    double ema_factor;
    Updates updates;
    Tolerances tolerances;
    size_t pictures; /* elements of x */
} Step;

/* ---- metadata ---- */

static TimStatus find_word(const char *text, const char *const *words, int count, int *index, TimError *err) {
    for (*index = 0; *index < count; (*index)++)
        if (strcmp(text, words[*index]) == 0) return TIM_OK;
    return tim_fail(err, TIM_E_FORMAT, "metadata has the unknown word \"%s\"", text);
}

/* "sqrt of tan" */
static TimStatus read_time_weight(ParityFile *file, TimTransitionConfig *config, TimError *err) {
    static const char *const kinds[] = {"constant", "reciprocal", "sqrt", "square", "Soft-Min-SNR"}, *const taus[] = {"identity",
                                                                                                                      "tan",
                                                                                                                      "sigmoid"};
    const char *text;
    char kind[32], tau[32];
    int index;
    TIM_TRY(parity_text(file, "time_weight", &text, err));
    if (sscanf(text, "%31s of %31s", kind, tau) != 2) return tim_fail(err, TIM_E_FORMAT, "metadata time_weight is \"%s\"", text);
    TIM_TRY(find_word(kind, kinds, 5, &index, err));
    config->weight_time_type = (TimTimeWeight)index;
    TIM_TRY(find_word(tau, taus, 3, &index, err));
    config->weight_time_tangent = index == 1;
    config->weight_time_sigmoid = index == 2;
    return TIM_OK;
}

static TimStatus read_transport(ParityFile *file, TimTransportConfig *config, TimError *err) {
    static const char *const kinds[] = {"OT_FM", "TrigFlow", "EDM", "VP_SDE", "VE_SDE"};
    const char *text;
    int index;
    TIM_TRY(parity_text(file, "transport", &text, err));
    TIM_TRY(find_word(text, kinds, 5, &index, err));
    tim_transport_config_init(config, (TimTransportKind)index);
    return TIM_OK;
}

static TimStatus read_guidance(Step *s, TimError *err) {
    TimTransportConfig *c = &s->config.transport;
    json_t *guided;
    json_error_t cause;
    const char *ema;
    TIM_TRY(parity_json(s->file, "guided", &guided, err));
    if (json_object_size(guided) == 0) return TIM_OK;
    if (json_unpack_ex(guided, &cause, 0, "{s:F, s:F, s:F, s:F, s:s}", "w_gt", &c->w_gt, "w_cond", &c->w_cond, "w_start",
                       &c->w_start, "w_end", &c->w_end, "ema", &ema) != 0)
        return tim_fail(err, TIM_E_FORMAT, "metadata guided: %s", cause.text);
    if (sscanf(ema, "initial weights times %lf, kept", &s->ema_factor) != 1)
        return tim_fail(err, TIM_E_FORMAT, "metadata guided: ema is \"%s\"", ema);
    c->enhance_target = true;
    return TIM_OK;
}

static TimStatus read_updates(Step *s, TimError *err) {
    Updates *u = &s->updates;
    json_t *adamw;
    json_error_t cause;
    TIM_TRY(parity_json(s->file, "adamw", &adamw, err));
    if (json_unpack_ex(adamw, &cause, 0, "{s:F, s:[FF], s:F, s:F, s:F, s:i}", "lr", &u->lr, "betas", &u->beta1, &u->beta2,
                       "weight_decay", &u->weight_decay, "eps", &u->eps, "clip", &u->clip, "steps", &u->steps) != 0)
        return tim_fail(err, TIM_E_FORMAT, "metadata adamw: %s", cause.text);
    return TIM_OK;
}

static TimStatus read_config(Step *s, TimError *err) {
    double diffusion;
    tim_config_init(&s->config);
    s->config.transition.use_dir_loss = true;
    TIM_TRY(parity_network_config(s->file, &s->config.network, err));
    TIM_TRY(read_transport(s->file, &s->config.transport, err));
    TIM_TRY(read_time_weight(s->file, &s->config.transition, err));
    TIM_TRY(parity_number(s->file, "epsilon", &s->config.transition.differential_epsilon, err));
    TIM_TRY(parity_number(s->file, "diffusion_samples", &diffusion, err));
    s->batch.diffusion = (int64_t)diffusion;
    const bool exact = strstr(s->file->name, "jvp") != NULL;
    s->config.transition.derivative_type = exact ? TIM_DERIVATIVE_JVP : TIM_DERIVATIVE_DDE;
    s->tolerances = exact ? (Tolerances){1e-4, 5e-4} : (Tolerances){5e-3, 5e-3};
    s->config.training.proj_coeff = 1.0;
    TIM_TRY(read_guidance(s, err));
    return read_updates(s, err);
}

/* ---- inputs ---- */

static TimStatus read_times(Step *s, const char *name, const double **out, TimError *err) {
    double *values;
    TIM_TRY(parity_input_f64(s->file, name, &values, NULL, err));
    *out = values;
    return TIM_OK;
}

static TimStatus read_batch(Step *s, TimError *err) {
    float *x, *z, *h;
    const TimStoredTensor *shape;
    TimBatch *b = &s->batch;
    TIM_TRY(parity_input_f32(s->file, "x", &x, &shape, err));
    TIM_TRY(parity_input_f32(s->file, "z", &z, NULL, err));
    TIM_TRY(parity_input_f32(s->file, "h_target", &h, NULL, err));
    if (shape->rank != 4) return tim_fail(err, TIM_E_FORMAT, "x has %d axes, not (B, C, H, W)", shape->rank);
    b->size = (int64_t)shape->dims[0], b->x = x, b->z = z, b->h_target = h;
    s->pictures = shape->count;
    TIM_TRY(read_times(s, "t", &b->t, err));
    TIM_TRY(read_times(s, "r", &b->r, err));
    TIM_TRY(parity_condition(s->file, &s->config.network, "y", &b->condition, err));
    b->teacher = b->condition;
    if (s->config.transport.enhance_target) TIM_TRY(parity_condition(s->file, &s->config.network, "null", &b->null, err));
    /* Micro-batches of 3 cut both halves unevenly: the sums must not depend on it. */
    s->shape = (TimObjectiveShape){.height = (int)shape->dims[2],
                                   .width = (int)shape->dims[3],
                                   .caption_tokens = b->condition.caption_tokens,
                                   .micro_batch = 3,
                                   .alignment = true};
    return TIM_OK;
}

static TimStatus make_vectors(Step *s, TimError *err) {
    const size_t count = s->model->params.elements;
    TIM_TRY(parity_new(s->file, &s->gradients, count, sizeof(float), err));
    TIM_TRY(parity_new(s->file, &s->initial, count, sizeof(float), err));
    TIM_TRY(parity_new(s->file, &s->guiding_values, count, sizeof(float), err));
    TIM_TRY(parity_new(s->file, &s->losses.target, s->pictures, sizeof(float), err));
    TIM_TRY(parity_new(s->file, &s->losses.per_sample, (size_t)s->batch.size, sizeof(float), err));
    TIM_TRY(parity_new(s->file, &s->losses.time_weight, (size_t)s->batch.size, sizeof(float), err));
    TIM_TRY(parity_fill_weights(&s->model->params, s->model->f32, err));
    tim_model_weights_changed(s->model);
    memcpy(s->initial, s->model->f32, count * sizeof(float));
    for (size_t i = 0; i < count; i++) s->guiding_values[i] = (float)(s->ema_factor * (double)s->initial[i]);
    TIM_TRY(tim_weights_new(&s->guiding, s->model->params.count, err));
    tim_weights_point(&s->guiding, &s->model->params, s->guiding_values, NULL);
    return TIM_OK;
}

/* ---- results ---- */

static TimStatus step(Step *s, TimError *err) {
    memset(s->gradients, 0, s->model->params.elements * sizeof(float));
    return tim_objective_step(s->objective, &s->batch, &s->model->weights, &s->guiding, s->gradients, &s->losses, err);
}

static void compare_losses(Step *s) {
    const size_t batch = (size_t)s->batch.size;
    parity_compare_f32(s->file, "target", s->losses.target, s->pictures, s->tolerances.target);
    parity_compare_f32(s->file, "time_weight", s->losses.time_weight, batch, tolerance_weight);
    parity_compare_f32(s->file, "loss_per_sample", s->losses.per_sample, batch, tolerance_loss);
    parity_compare(s->file, "weighted_loss", &s->losses.weighted, 1, tolerance_loss);
    parity_compare(s->file, "denoising_loss", &s->losses.denoising, 1, tolerance_loss);
    parity_compare(s->file, "proj_loss", &s->losses.proj, 1, tolerance_loss);
}

/* Tensors called prefix + parameter: `values` holds all parameters. */
static void compare_parameters(Step *s, const char *prefix, const float *values, double floor, double tolerance) {
    for (size_t i = 0; i < s->file->tensors.count; i++) {
        const char *name = s->file->tensors.tensors[i].name;
        if (strncmp(name, prefix, strlen(prefix)) != 0) continue;
        const int index = tim_params_find(&s->model->params, name + strlen(prefix));
        if (index < 0) continue; /* stays unused, which fails */
        const TimParam *param = &s->model->params.items[index];
        parity_compare_l2(s->file, name, values + param->offset, param->count, floor, tolerance);
    }
}

/* The reference clips gradients in place before they are stored; a file made without that holds them whole. The stored ones' own
 * norm tells which of the two the file holds: the factor is the clip's or 1, nothing between. */
static TimStatus stored_scale(Step *s, double norm, double *scale, TimError *err) {
    double sum = 0;
    for (size_t i = 0; i < s->file->tensors.count; i++) {
        const TimStoredTensor *tensor = &s->file->tensors.tensors[i];
        if (strncmp(tensor->name, "grad/", 5) != 0) continue;
        double *values;
        TIM_TRY(parity_new(s->file, &values, tensor->count, sizeof *values, err));
        TIM_TRY(tim_safetensors_read_f64(tensor, values, tensor->count, err));
        for (size_t k = 0; k < tensor->count; k++) sum += values[k] * values[k];
    }
    const double clipped = tim_clip_factor(norm, s->updates.clip), stored = sqrt(sum);
    *scale = fabs(stored - clipped * norm) < fabs(stored - norm) ? clipped : 1.0;
    return TIM_OK;
}

static TimStatus compare_gradients(Step *s, TimError *err) {
    const size_t count = s->model->params.elements;
    const double norm = tim_l2_norm(s->gradients, count, 2);
    double scale;
    float *scaled;
    parity_compare(s->file, "grad_norm", &norm, 1, s->tolerances.gradient);
    TIM_TRY(stored_scale(s, norm, &scale, err));
    TIM_TRY(parity_new(s->file, &scaled, count, sizeof *scaled, err));
    for (size_t i = 0; i < count; i++) scaled[i] = (float)(scale * (double)s->gradients[i]);
    compare_parameters(s, "grad/", scaled, 1e-4 * scale * norm, s->tolerances.gradient);
    return TIM_OK;
}

static TimStatus update(Step *s, double *norms, TimError *err) {
    const Updates *u = &s->updates;
    const size_t count = s->model->params.elements;
    TimAdamWVectors vectors = {.weights = s->model->f32, .bf16 = s->model->bf16, .gradients = s->gradients, .count = count};
    TIM_TRY(parity_new(s->file, &vectors.first, count, sizeof(float), err));
    TIM_TRY(parity_new(s->file, &vectors.second, count, sizeof(float), err));
    for (int k = 0; k < u->steps; k++) {
        if (k) TIM_TRY(step(s, err));
        norms[k] = tim_l2_norm(s->gradients, count, 2);
        const TimAdamWStep adamw = {.lr = u->lr,
                                    .beta1 = u->beta1,
                                    .beta2 = u->beta2,
                                    .eps = u->eps,
                                    .weight_decay = u->weight_decay,
                                    .step = k + 1,
                                    .gradient_scale = tim_clip_factor(norms[k], u->clip),
                                    .threads = 2};
        tim_adamw_update(&vectors, &adamw);
    }
    return TIM_OK;
}

static TimStatus run(Step *s, TimError *err) {
    double *norms;
    TIM_TRY(tim_objective_new(&s->objective, &s->config, &s->model->options, &s->shape, &s->model->params, err));
    TIM_TRY(step(s, err));
    compare_losses(s);
    TIM_TRY(compare_gradients(s, err));
    TIM_TRY(parity_new(s->file, &norms, (size_t)s->updates.steps, sizeof *norms, err));
    TIM_TRY(update(s, norms, err));
    parity_compare(s->file, "grad_norms", norms, (size_t)s->updates.steps, s->tolerances.gradient);
    for (size_t i = 0; i < s->model->params.elements; i++) s->initial[i] = s->model->f32[i] - s->initial[i];
    compare_parameters(s, "updated/", s->initial, 0, tolerance_updated);
    return TIM_OK;
}

static TimStatus check(Step *s, TimError *err) {
    TIM_TRY(read_config(s, err));
    TIM_TRY(read_batch(s, err));
    TimNetworkOptions options;
    TIM_TRY(parity_network_options(s->file, &options, err));
    TIM_TRY(tim_model_new(&s->model, &s->config, &options, err));
    TIM_TRY(make_vectors(s, err));
    return run(s, err);
}

TimStatus check_objective(ParityFile *file, TimError *err) {
    Step s = {.file = file};
    const TimStatus status = check(&s, err);
    tim_objective_free(s.objective);
    tim_weights_done(&s.guiding);
    tim_model_close(s.model);
    return status;
}
