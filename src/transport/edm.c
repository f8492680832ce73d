/* EDM: data plus noise of size t, scaled by 1/s with s = sqrt(t^2 + d^2).
 * Jump and K are the published ones, which the checkpoints follow: d^3 + t r, d^3 + t^2 and d^2 (t - r) stand where a jump that
 * lands on the path for F = q has d^2 + t r, d^2 + t^2 and d (t - r). The two agree for d = 1.
 * Source: EDM (arXiv 2206.00364) for the path; TiM (arXiv 2509.04394) and its code for target and jump. */
#include <math.h>

#include "transport/kinds.h"

static TimPath path(const TimTransportConfig *config, double t) {
    const double d2 = config->sigma_d * config->sigma_d, s = sqrt(t * t + d2), s3 = s * s * s;
    return (TimPath){.alpha = 1.0 / s, .sigma = t / s, .d_alpha = -t / s3, .d_sigma = d2 / s3};
}

static double c_noise(const TimTransportConfig *config, double t) {
    (void)config;
    return log(t) / 4.0;
}

static double d_c_noise(const TimTransportConfig *config, double t) {
    (void)config;
    return 1.0 / (4.0 * t);
}

static double end(const TimTransportConfig *config) {
    (void)config;
    return HUGE_VAL;
}

/* t = exp(N(p_mean, p_std)), above 0 */
static double sample_time(const TimTransportConfig *config, double normal, double uniform) {
    (void)uniform;
    return exp(normal * config->p_std + config->p_mean);
}

/* K = B / (dB/dt), where B is the weight of F in the jump; 0 at r = t. */
static double jump_ratio(double d, double t, double r) {
    const double u = d * d + t * t, w = d * d * d + t * t;
    return (t - r) * u * w / (2.0 * t * (r - t) * u - t * (r - t) * w + u * w);
}

/* q + K (q' - E) with q = qa x + qs z the diffusion target, qa = t / (d s), qs = -d / s */
static TimTarget target(const TimTransportConfig *config, double t, double r) {
    const double d = config->sigma_d, s = sqrt(t * t + d * d), s3 = s * s * s, k = jump_ratio(d, t, r);
    const double qa = t / (d * s), qs = -d / s;
    const double d_qa = 1.0 / (d * s) - t * t / (d * s3), d_qs = d * t / s3;
    return (TimTarget){.x = qa + k * d_qa, .z = qs + k * d_qs, .e = -k, .guided_x = qa, .guided_z = qs};
}

/* (d^3 + t r) k x_t + d^2 (t - r) k F with k = sqrt(t^2 + d^2) / sqrt(r^2 + d^2) / (d^3 + t^2) */
static TimJump jump(const TimTransportConfig *config, double t, double r) {
    const double d = config->sigma_d, d2 = d * d, d3 = d2 * d;
    const double k = sqrt(t * t + d2) / sqrt(r * r + d2) / (d3 + t * t);
    return (TimJump){.x_t = (d3 + t * r) * k, .f = d2 * (t - r) * k};
}

const TimTransport tim_transport_edm = {
    .name = "EDM",
    .path = path,
    .c_noise = c_noise,
    .d_c_noise = d_c_noise,
    .end = end,
    .sample_time = sample_time,
    .target = target,
    .jump = jump,
};
