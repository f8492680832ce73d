/* OT-FM, the straight path of flow matching: x_t = (1 - t) x + t z. F is the velocity, so it is also the chord from t to r.
 * Source: SiT (arXiv 2401.08740) for the path; TiM (arXiv 2509.04394) for target and jumps. */
#include <math.h>

#include "transport/kinds.h"

static TimPath path(const TimTransportConfig *config, double t) {
    (void)config;
    return (TimPath){.alpha = 1.0 - t, .sigma = t, .d_alpha = -1.0, .d_sigma = 1.0};
}

static double c_noise(const TimTransportConfig *config, double t) {
    (void)config;
    return t;
}

static double d_c_noise(const TimTransportConfig *config, double t) {
    (void)config, (void)t;
    return 1.0;
}

static double end(const TimTransportConfig *config) {
    (void)config;
    return 1.0;
}

/* t = sigmoid(N(p_mean, p_std)), on [0, 1] */
static double sample_time(const TimTransportConfig *config, double normal, double uniform) {
    (void)uniform;
    return 1.0 / (1.0 + exp(-(normal * config->p_std + config->p_mean)));
}

/* v - (t - r) E */
static TimTarget target(const TimTransportConfig *config, double t, double r) {
    (void)config;
    return (TimTarget){.x = -1.0, .z = 1.0, .e = -(t - r), .guided_x = -1.0, .guided_z = 1.0};
}

/* x_t - (t - r) F */
static TimJump jump(const TimTransportConfig *config, double t, double r) {
    (void)config;
    return (TimJump){.x_t = 1.0, .f = -(t - r)};
}

/* x_r - s zhat dt + sqrt(2 s t dt) e with zhat = x_t + (1 - t) F, the noise that F predicts, and dt = t - r */
static TimJump stochastic_jump(const TimTransportConfig *config, double t, double r, double ratio) {
    const double dt = t - r;
    TimJump out = jump(config, t, r);
    out.x_t -= ratio * dt;
    out.f -= ratio * dt * (1.0 - t);
    out.noise = sqrt(2.0 * ratio * t * dt);
    return out;
}

const TimTransport tim_transport_ot_fm = {
    .name = "OT_FM",
    .path = path,
    .c_noise = c_noise,
    .d_c_noise = d_c_noise,
    .end = end,
    .predicts_velocity = true,
    .sample_time = sample_time,
    .target = target,
    .jump = jump,
    .stochastic_jump = stochastic_jump,
};
