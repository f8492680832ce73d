/* Which configurations are sound: each value in its range (the table of config_fields.c), and the values fit each other. */
#include <string.h>

#include "io/config_fields.h"

static TimStatus check_range(const TimField *field, double value, TimError *err) {
    if (value >= field->low && value <= field->high) return TIM_OK; /* false for NaN */
    return tim_fail(err, TIM_E_ARGUMENT, "%s is %.10g; it must be from %.10g to %.10g", field->path, value, field->low,
                    field->high);
}

static TimStatus check_name(const TimField *field, int index, TimError *err) {
    int count = 0;
    while (field->names[count]) count++;
    if (index >= 0 && index < count) return TIM_OK;
    return tim_fail(err, TIM_E_ARGUMENT, "%s has the number %d, which is no value of its enum", field->path, index);
}

static TimStatus check_field(const TimField *field, const TimConfig *config, TimError *err) {
    const void *place = (const char *)config + field->offset;
    switch (field->type) {
    case TIM_FIELD_INT:
    case TIM_FIELD_INT_OR_NULL:
        return check_range(field, *(const int *)place, err);
    case TIM_FIELD_INT64:
        return check_range(field, (double)*(const int64_t *)place, err);
    case TIM_FIELD_DOUBLE:
        return check_range(field, *(const double *)place, err);
    case TIM_FIELD_NAME:
        return check_name(field, *(const int *)place, err);
    case TIM_FIELD_BOOL:
    case TIM_FIELD_TEXT:
    case TIM_FIELD_ONLY:
    case TIM_FIELD_FIXED:
    case TIM_FIELD_SKIP:
        break;
    }
    return TIM_OK;
}

/* The fields whose path begins with `section`. */
static TimStatus check_fields(const TimConfig *config, const char *section, TimError *err) {
    size_t count;
    const TimField *fields = tim_fields_get(&count);
    for (size_t i = 0; i < count; i++) {
        const bool inside = strncmp(fields[i].path, section, strlen(section)) == 0;
        if (inside && tim_field_applies(&fields[i], config)) TIM_TRY(check_field(&fields[i], config, err));
    }
    return TIM_OK;
}

static TimStatus check_heads(const TimNetworkConfig *n, TimError *err) {
    if (n->hidden_size % n->num_heads != 0 || n->hidden_size / n->num_heads % 4 != 0)
        return tim_fail(
            err, TIM_E_ARGUMENT,
            "model.network.params.hidden_size %d and num_heads %d: the head width, their quotient, must be a multiple of 4",
            n->hidden_size, n->num_heads);
    return TIM_OK;
}

TimStatus tim_network_config_check(const TimConfig *config, TimError *err) {
    const TimNetworkConfig *n = &config->network;
    TIM_TRY(check_fields(config, "model.network", err));
    TIM_TRY(check_heads(n, err));
    if (n->encoder_depth > n->depth)
        return tim_fail(err, TIM_E_ARGUMENT, "model.network.params.encoder_depth is %d; it must be at most the depth, %d",
                        n->encoder_depth, n->depth);
    if (n->input_size % n->patch_size != 0)
        return tim_fail(err, TIM_E_ARGUMENT, "model.network.params.input_size is %d; it must be a multiple of patch_size, %d",
                        n->input_size, n->patch_size);
    if ((int)(n->hidden_size * n->mlp_ratio) * 2 / 3 < 1)
        return tim_fail(err, TIM_E_ARGUMENT, "model.network.params.mlp_ratio is %g; it leaves no hidden unit at hidden_size %d",
                        n->mlp_ratio, n->hidden_size);
    return TIM_OK;
}

/* The largest time at which the path is defined. */
static double last_time(TimTransportKind kind) {
    switch (kind) {
    case TIM_TRANSPORT_OT_FM:
    case TIM_TRANSPORT_VP_SDE:
        return 1.0;
    case TIM_TRANSPORT_TRIGFLOW:
        return 1.5707963267948966;
    case TIM_TRANSPORT_EDM:
    case TIM_TRANSPORT_VE_SDE:
        return 1e4;
    }
    return 0.0;
}

/* OT-FM and TrigFlow alone are defined at time 0: EDM and VE take its logarithm, VP divides by the noise level there. */
static bool starts_at_zero(TimTransportKind kind) {
    return kind == TIM_TRANSPORT_OT_FM || kind == TIM_TRANSPORT_TRIGFLOW;
}

static TimStatus check_last_jump(const TimTransportConfig *t, const char *key, double length, TimError *err) {
    if (length >= t->t_max - t->t_min)
        return tim_fail(err, TIM_E_ARGUMENT, "%s is %g; it must be shorter than the way from T_max to T_min, %g", key, length,
                        t->t_max - t->t_min);
    return TIM_OK;
}

static TimStatus check_times(const TimTransportConfig *t, TimError *err) {
    if (!(t->t_min < t->t_max && t->t_max <= last_time(t->kind)))
        return tim_fail(err, TIM_E_ARGUMENT, "model.transport: times from %g to %g; they must rise, to at most %.17g", t->t_min,
                        t->t_max, last_time(t->kind));
    if (!(t->t_min >= 0.0) || (t->t_min == 0.0 && !starts_at_zero(t->kind)))
        return tim_fail(err, TIM_E_ARGUMENT,
                        "model.transport: the smallest time, T_min, is %g; it must be positive for this transport", t->t_min);
    return check_last_jump(t, "model.transport.params.last_jump", t->last_jump, err);
}

static TimStatus check_transport(const TimConfig *config, TimError *err) {
    const TimTransportConfig *t = &config->transport;
    TIM_TRY(check_fields(config, "model.transport", err));
    TIM_TRY(check_times(t, err));
    if (config->network.input_skip && t->kind != TIM_TRANSPORT_OT_FM)
        return tim_fail(err, TIM_E_ARGUMENT,
                        "model.network.params.input_skip is true, which goes with the transport OT_FM alone: leave it out");
    if (t->kind == TIM_TRANSPORT_VE_SDE && (t->t_min != t->sigma_min || t->t_max != t->sigma_max))
        return tim_fail(err, TIM_E_ARGUMENT,
                        "model.transport: times %g to %g; those of VE_SDE are sigma_min and sigma_max, %g to %g", t->t_min,
                        t->t_max, t->sigma_min, t->sigma_max);
    if (t->kind == TIM_TRANSPORT_VP_SDE && t->t_max != 1.0)
        return tim_fail(err, TIM_E_ARGUMENT, "model.transport: the last time is %g; that of VP_SDE is 1", t->t_max);
    if (t->w_start > t->w_end)
        return tim_fail(err, TIM_E_ARGUMENT, "model.transport.params.w_start is %g; it must be at most w_end, %g", t->w_start,
                        t->w_end);
    return TIM_OK;
}

static TimStatus check_transition(const TimConfig *config, TimError *err) {
    const TimTransitionConfig *t = &config->transition;
    TIM_TRY(check_fields(config, "model.transition_loss", err));
    if (t->diffusion_ratio + t->consistency_ratio > 1.0 + 1e-9) /* 0.9 + 0.1 and the like must pass */
        return tim_fail(err, TIM_E_ARGUMENT, "model.transition_loss: diffusion_ratio %g and consistency_ratio %g exceed 1 together",
                        t->diffusion_ratio, t->consistency_ratio);
    return check_last_jump(&config->transport, "model.transition_loss.composed_last_jump", t->composed_last_jump, err);
}

static TimStatus check_training(const TimConfig *config, TimError *err) {
    const TimTrainingConfig *t = &config->training;
    if (t->min_learning_rate > t->learning_rate)
        return tim_fail(err, TIM_E_ARGUMENT, "training.min_learning_rate is %g; it must be at most learning_rate, %g",
                        t->min_learning_rate, t->learning_rate);
    return TIM_OK;
}

TimStatus tim_config_check(const TimConfig *config, TimError *err) {
    TIM_TRY(tim_network_config_check(config, err));
    TIM_TRY(check_transport(config, err));
    TIM_TRY(check_transition(config, err));
    TIM_TRY(check_fields(config, "", err));
    return check_training(config, err);
}
