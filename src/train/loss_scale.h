/* The loss to expect of a diffusion sample at t: the geometric mean of those seen there lately, in bins of the path's
 * noise-to-signal ratio. The published weight 1 / loss makes all times count alike, but it also makes those pictures count less
 * that are hard for their noise, so that the network learns a weighted mean in place of the velocity: too dark and too smooth
 * (docs/experiments.md). Divided by the loss to expect, which knows the time only, times count alike and the mean stays the mean.
 * Transitions keep the published weight: their losses have so heavy a tail that a few would rule the step.
 * Invariant: what is expected in a step depends on earlier steps only. */
#ifndef TIM_TRAIN_LOSS_SCALE_H
#define TIM_TRAIN_LOSS_SCALE_H

#include <stddef.h>

#include "tim/config.h"

enum { TIM_LOSS_BINS = 12 }; /* ln (sigma / alpha) from -6 to 6, what lies beyond in the outer ones */

/* Starts zeroed. */
typedef struct TimLossScale {
    float log_mean[TIM_LOSS_BINS];
    float count[TIM_LOSS_BINS]; /* samples seen, up to the length of the mean */
} TimLossScale;

/* The bin of time t. */
size_t tim_loss_bin(const TimTransportConfig *transport, double t);

/* The loss to expect in a bin; 0 where none was seen yet. */
float tim_loss_expected(const TimLossScale *scale, size_t bin);

/* Adds a loss to the mean of its bin; one that is not above 0 or not finite is left out. */
void tim_loss_learn(TimLossScale *scale, size_t bin, float loss);

#endif
