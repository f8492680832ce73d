#include "transport/transport.h"

#include <math.h>
#include <stddef.h>

#include "transport/kinds.h"

const TimTransport *tim_transport_get(TimTransportKind kind) {
    switch (kind) {
    case TIM_TRANSPORT_OT_FM:
        return &tim_transport_ot_fm;
    case TIM_TRANSPORT_TRIGFLOW:
        return &tim_transport_trigflow;
    case TIM_TRANSPORT_EDM:
        return &tim_transport_edm;
    case TIM_TRANSPORT_VP_SDE:
        return &tim_transport_vp_sde;
    case TIM_TRANSPORT_VE_SDE:
        return &tim_transport_ve_sde;
    }
    return NULL;
}

bool tim_transport_guides(const TimTransportConfig *config, double t) {
    return config->enhance_target && (float)t >= (float)config->w_start && (float)t <= (float)config->w_end;
}

/* The weights are fp32 numbers, as in the published code: in fp64 that differs from the configuration's 0.9 by 2e-8. */
TimTarget tim_transport_guide(const TimTransportConfig *config, TimTarget target) {
    const float w_gt = (float)config->w_gt, w_cond = (float)config->w_cond, w_null = 1.0F - w_gt - w_cond;
    target.x += (w_gt - 1.0) * target.guided_x;
    target.z += (w_gt - 1.0) * target.guided_z;
    target.guided_x *= w_gt;
    target.guided_z *= w_gt;
    target.f_cond = w_cond;
    target.f_null = w_null;
    return target;
}

/* Counted from the nearer end, as torch.linspace does. */
static double time_between(double start, double end, int steps, int i) {
    const double step = (end - start) / steps;
    return i < (steps + 1) / 2 ? start + step * i : end - step * (steps - i);
}

/* What a single long jump leaves, the look at the mean can take away from further off (docs/experiments.md). */
static double last_jump(const TimTransportConfig *config, int steps) {
    const double half = (config->t_max - config->t_min) / 2, longer = fmin(4 * config->last_jump / steps, half);
    return steps > 1 ? fmax(longer, config->last_jump) : config->last_jump;
}

double tim_transport_time(const TimTransportConfig *config, double t, double r, int steps, int i) {
    const double last = r + last_jump(config, steps);
    if (config->last_jump <= 0 || steps == 1 || t <= last) return time_between(t, r, steps, i);
    return i < steps ? time_between(t, last, steps - 1, i) : r;
}

double tim_transport_told(const TimTransportConfig *config, int steps, double t, double next) {
    const bool to_mean = next <= config->t_min && t <= config->t_min + last_jump(config, steps);
    return to_mean ? t : next;
}

TimStatus tim_transport_stochastic_jump(const TimTransportConfig *config, double t, double r, double ratio, TimJump *jump,
                                        TimError *err) {
    const TimTransport *transport = tim_transport_get(config->kind);
    if (!(ratio >= 0.0))
        return tim_fail(err, TIM_E_ARGUMENT, "jump from t = %g to r = %g: the stochasticity ratio is %g; give 0 or more", t, r,
                        ratio);
    if (ratio > 0.0 && !transport->stochastic_jump)
        return tim_fail(err, TIM_E_UNSUPPORTED,
                        "transport %s: it has no stochastic jump, and the stochasticity ratio is %g; set it to 0 or use OT_FM",
                        transport->name, ratio);
    *jump = ratio > 0.0 ? transport->stochastic_jump(config, t, r, ratio) : transport->jump(config, t, r);
    return TIM_OK;
}
