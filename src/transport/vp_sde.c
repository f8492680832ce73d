/* VP-SDE, variance preserving: x_t = (x + b z) / sqrt(b^2 + 1) with b(t) = sqrt(exp(beta_d t^2 / 2 + beta_min t) - 1); F predicts
 * z. Source: score SDE (arXiv 2011.13456) for the path; TiM (arXiv 2509.04394) for target and jump. */
#include <math.h>

#include "transport/kinds.h"

/* The network sees times in units of 1/999: the published class has 1000 steps and no configuration changes it. */
static const double time_scale = 999.0;

/* b(t). The difference stays exp() - 1 and not expm1(), as published: at t = 1e-5 that costs 1e-10 of b, which fp32 never sees,
 * and keeps the coefficients comparable to fp64 golden values to the last digits. */
static double beta(const TimTransportConfig *config, double t) {
    return sqrt(exp(0.5 * config->beta_d * (t * t) + config->beta_min * t) - 1.0);
}

/* g = d/dt (beta_d t^2 / 2 + beta_min t), so that b' = g (b^2 + 1) / (2 b) */
static double rate(const TimTransportConfig *config, double t) {
    return config->beta_d * t + config->beta_min;
}

static TimPath path(const TimTransportConfig *config, double t) {
    const double b = beta(config, t), root = sqrt(b * b + 1.0), g = rate(config, t);
    return (TimPath){.alpha = 1.0 / root, .sigma = b / root, .d_alpha = -0.5 * g / root, .d_sigma = 0.5 * g / (b * root)};
}

static double c_noise(const TimTransportConfig *config, double t) {
    (void)config;
    return time_scale * t;
}

static double d_c_noise(const TimTransportConfig *config, double t) {
    (void)config, (void)t;
    return time_scale;
}

static double end(const TimTransportConfig *config) {
    (void)config;
    return 1.0;
}

/* Uniform on (t_min, 1] */
static double sample_time(const TimTransportConfig *config, double normal, double uniform) {
    (void)normal;
    return 1.0 + uniform * (config->t_min - 1.0);
}

/* z - E (b(t) - b(r)) / b'(t) */
static TimTarget target(const TimTransportConfig *config, double t, double r) {
    const double b = beta(config, t), d_b = rate(config, t) * (b * b + 1.0) / (2.0 * b);
    return (TimTarget){.z = 1.0, .e = -(b - beta(config, r)) / d_b, .guided_z = 1.0};
}

/* sqrt(b_t^2 + 1) / sqrt(b_r^2 + 1) x_t + (b_r - b_t) / sqrt(b_r^2 + 1) F */
static TimJump jump(const TimTransportConfig *config, double t, double r) {
    const double b_t = beta(config, t), b_r = beta(config, r), root_r = sqrt(b_r * b_r + 1.0);
    return (TimJump){.x_t = sqrt(b_t * b_t + 1.0) / root_r, .f = (b_r - b_t) / root_r};
}

const TimTransport tim_transport_vp_sde = {
    .name = "VP_SDE",
    .path = path,
    .c_noise = c_noise,
    .d_c_noise = d_c_noise,
    .end = end,
    .sample_time = sample_time,
    .target = target,
    .jump = jump,
};
