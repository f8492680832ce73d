/* VE-SDE, variance exploding: x_t = x + t z; F predicts -z, hence the signs of target and jump.
 * Source: score SDE (arXiv 2011.13456) for the path; TiM (arXiv 2509.04394) for target and jump. */
#include <math.h>

#include "transport/kinds.h"

static TimPath path(const TimTransportConfig *config, double t) {
    (void)config;
    return (TimPath){.alpha = 1.0, .sigma = t, .d_alpha = 0.0, .d_sigma = 1.0};
}

static double c_noise(const TimTransportConfig *config, double t) {
    (void)config;
    return log(0.5 * t);
}

static double d_c_noise(const TimTransportConfig *config, double t) {
    (void)config;
    return 1.0 / t;
}

static double end(const TimTransportConfig *config) {
    return config->sigma_max;
}

/* Log-uniform on [sigma_min, sigma_max) */
static double sample_time(const TimTransportConfig *config, double normal, double uniform) {
    (void)normal;
    return config->sigma_min * pow(config->sigma_max / config->sigma_min, uniform);
}

/* (r - t) E - z. Guidance published for z, with -F_cond and -F_null, is guidance of the part -z with F_cond and F_null. */
static TimTarget target(const TimTransportConfig *config, double t, double r) {
    (void)config;
    return (TimTarget){.z = -1.0, .e = r - t, .guided_z = -1.0};
}

/* x_t + (t - r) F */
static TimJump jump(const TimTransportConfig *config, double t, double r) {
    (void)config;
    return (TimJump){.x_t = 1.0, .f = t - r};
}

const TimTransport tim_transport_ve_sde = {
    .name = "VE_SDE",
    .path = path,
    .c_noise = c_noise,
    .d_c_noise = d_c_noise,
    .end = end,
    .starts_at_sigma = true,
    .sample_time = sample_time,
    .target = target,
    .jump = jump,
};
