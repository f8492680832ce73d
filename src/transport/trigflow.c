/* TrigFlow: x_t = cos(t) x + sin(t) z on a quarter circle; a jump is a rotation by t - r.
 * Source: sCM (arXiv 2410.11081) for the path; TiM (arXiv 2509.04394) for target and jump. */
#include <math.h>

#include "transport/kinds.h"

static TimPath path(const TimTransportConfig *config, double t) {
    (void)config;
    return (TimPath){.alpha = cos(t), .sigma = sin(t), .d_alpha = -sin(t), .d_sigma = cos(t)};
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
    return 1.5707963267948966; /* pi / 2 */
}

/* t = atan(exp(N(p_mean, p_std))), on [0, pi/2] */
static double sample_time(const TimTransportConfig *config, double normal, double uniform) {
    (void)uniform;
    return atan(exp(normal * config->p_std + config->p_mean));
}

/* v - tan(t - r) (x_t + E) */
static TimTarget target(const TimTransportConfig *config, double t, double r) {
    (void)config;
    const double slope = tan(t - r);
    return (TimTarget){.x = -sin(t), .z = cos(t), .x_t = -slope, .e = -slope, .guided_x = -sin(t), .guided_z = cos(t)};
}

/* cos(t - r) x_t - sin(t - r) F */
static TimJump jump(const TimTransportConfig *config, double t, double r) {
    (void)config;
    return (TimJump){.x_t = cos(t - r), .f = -sin(t - r)};
}

const TimTransport tim_transport_trigflow = {
    .name = "TrigFlow",
    .path = path,
    .c_noise = c_noise,
    .d_c_noise = d_c_noise,
    .end = end,
    .predicts_velocity = true,
    .sample_time = sample_time,
    .target = target,
    .jump = jump,
};
