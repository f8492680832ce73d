#include "train/time_weight.h"

#include <math.h>

static double tau(const TimTransitionConfig *config, double t) {
    if (config->weight_time_tangent) return tan(t); /* wins over sigmoid, as published */
    if (config->weight_time_sigmoid) return t / (1.0 - t);
    return t;
}

double tim_time_weight(const TimTransitionConfig *config, double sigma_d, double t, double r, bool plain) {
    if (plain) return 1.0;
    const double interval = config->weight_t_and_r ? tau(config, t) - tau(config, r) : tau(config, t);
    const double sum = interval + sigma_d;
    switch (config->weight_time_type) {
    case TIM_WEIGHT_RECIPROCAL:
        return 1.0 / sum;
    case TIM_WEIGHT_SQRT:
        return 1.0 / sqrt(sum);
    case TIM_WEIGHT_SQUARE:
        return 1.0 / (sum * sum);
    case TIM_WEIGHT_SOFT_MIN_SNR:
        return 1.0 / (interval * interval + sigma_d * sigma_d);
    case TIM_WEIGHT_CONSTANT:
        break;
    }
    return 1.0;
}
