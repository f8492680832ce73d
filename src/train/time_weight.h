/* The weight of a sample by its two times: w_time of the transition objective (TiM, arXiv 2509.04394), in fp64. */
#ifndef TIM_TRAIN_TIME_WEIGHT_H
#define TIM_TRAIN_TIME_WEIGHT_H

#include <stdbool.h>

#include "tim/config.h"

/* w_time of a transition sample as a function of D = tau(t) - tau(r), or D = tau(t) when weight_t_and_r is off; tau is tan, t / (1
 * - t) or the identity. A `plain` sample weighs 1: with r = t, or composed. The published kinds expect D >= 0: tau = tan needs t <
 * pi/2 and t / (1 - t) needs t < 1, else the weight can be NaN. Pure. */
double tim_time_weight(const TimTransitionConfig *config, double sigma_d, double t, double r, bool plain);

#endif
