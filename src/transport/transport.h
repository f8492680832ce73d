/* A transport: the path from data to noise, its velocity, the network's time input, the training target and the jump.
 * Everything that varies per sample is a handful of scalars, so a transport answers with coefficients in fp64 and the caller
 * combines tensors: one struct of functions per file, no tensor code.
 * Symbols: x clean data, z standard normal noise, x_t the point of the path at time t, r <= t the time to jump to, F the network's
 * output at (x_t, t, r), E its total derivative dF/dt along the path with r held fixed, d = sigma_d.
 * All functions are pure: any thread, no state. Times are taken as they come; tim_config_check has checked the configuration.
 * Formulas: Transition Models (arXiv 2509.04394) and its published code. */
#ifndef TIM_TRANSPORT_TRANSPORT_H
#define TIM_TRANSPORT_TRANSPORT_H

#include <stdbool.h>

#include "base/error.h"
#include "tim/config.h"

/* x_t = alpha x + sigma z, and its velocity v_t = d_alpha x + d_sigma z. */
typedef struct TimPath {
    double alpha, sigma, d_alpha, d_sigma;
} TimPath;

/* target = x x + z z + x_t x_t + e E + f_cond F_cond + f_null F_null, each coefficient named after what it multiplies.
 * guided_x x + guided_z z is the part of x x + z z that model guidance replaces; the last two coefficients are 0 without it. */
typedef struct TimTarget {
    double x, z, x_t, e;
    double f_cond, f_null;
    double guided_x, guided_z;
} TimTarget;

/* x_r = x_t x_t + f F + noise e, where e is fresh standard normal noise. */
typedef struct TimJump {
    double x_t, f, noise;
} TimJump;

typedef struct TimTransport {
    const char *name; /* as in the published YAML: "OT_FM", "TrigFlow", "EDM", "VP_SDE", "VE_SDE" */
    TimPath (*path)(const TimTransportConfig *config, double t);
    double (*c_noise)(const TimTransportConfig *config, double t);   /* the network's time input */
    double (*d_c_noise)(const TimTransportConfig *config, double t); /* its derivative: the tangent of the time input for dt = 1 */
    double (*end)(const TimTransportConfig *config);                 /* times lie below it; HUGE_VAL: all */
    bool predicts_velocity;                                          /* F at r = t is v_t */
    bool starts_at_sigma; /* drawing begins with sigma(T_max) z; the others, whose sigma(T_max) is next to 1, begin with z */
    /* A random time from a standard normal and a uniform number on [0, 1); each transport uses one of them. */
    double (*sample_time)(const TimTransportConfig *config, double normal, double uniform);
    TimTarget (*target)(const TimTransportConfig *config, double t, double r); /* without guidance */
    TimJump (*jump)(const TimTransportConfig *config, double t, double r);     /* noise = 0 */
    /* The jump with the share `ratio` of noise put back; NULL where none is published: call tim_transport_stochastic_jump. */
    TimJump (*stochastic_jump)(const TimTransportConfig *config, double t, double r, double ratio);
} TimTransport;

/* The functions of `kind`; static storage; NULL only when `kind` is none of the enumeration. */
const TimTransport *tim_transport_get(TimTransportKind kind);

/* True where model guidance applies: it is on (enhance_target) and w_start <= t <= w_end, compared in fp32 as published,
 * so that t = 0.8f lies inside w_end = 0.8. */
bool tim_transport_guides(const TimTransportConfig *config, double t);

/* `target` with its guided part g replaced by w_gt g + w_cond F_cond + (1 - w_gt - w_cond) F_null, the weights rounded to fp32 as
 * published. Both F are evaluated at (x_t, t, t); E stays unguided. The caller asks tim_transport_guides first. */
TimTarget tim_transport_guide(const TimTransportConfig *config, TimTarget target);

/* Time number i of steps + 1 from t to r, evenly spaced; of several jumps the last is last_jump long where that is set, of two
 * twice and of three 4/3 as long but no longer than half the way from T_max to T_min, and the others are evenly spaced. Both ends
 * are exact. */
double tim_transport_time(const TimTransportConfig *config, double t, double r, int steps, int i);

/* What the network is told as the time that a jump from t to `next`, of `steps`, leads to: `next`, but t where the jump leads to
 * T_min from no further than the last one starts. Its F is the velocity then, and the jump leads to the mean of the pictures that
 * x_t may have come from, not to one of them with its noise. */
double tim_transport_told(const TimTransportConfig *config, int steps, double t, double next);

/* The coefficients of the stochastic jump for 0 <= ratio; ratio = 0 is the plain jump of any transport.
 * TIM_E_ARGUMENT for another ratio, TIM_E_UNSUPPORTED where the transport has no stochastic jump. */
TimStatus tim_transport_stochastic_jump(const TimTransportConfig *config, double t, double r, double ratio, TimJump *jump,
                                        TimError *err);

#endif
