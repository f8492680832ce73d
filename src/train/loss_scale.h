/* The loss to expect of a sample at times (t, r): the geometric mean of the samples seen there lately, in bins of the path's noise-to-signal
 * ratio at t and of how far r lies below t.
 * The published weight 1 / loss makes all times count alike, but it also makes those pictures count less that are hard for their noise, so
 * that the network learns a weighted mean in place of the velocity: too dark and too smooth (docs/experiments.md). Divided by the loss to
 * expect, which knows the times only, times count alike and the mean stays the mean.
 * Invariant: what is expected in a step depends on earlier steps only. */
#ifndef TIM_TRAIN_LOSS_SCALE_H
#define TIM_TRAIN_LOSS_SCALE_H

#include <stdbool.h>
#include <stddef.h>

#include "tim/config.h"

enum {
    TIM_LOSS_RATIOS = 12,   /* ln (sigma / alpha) from -6 to 6, what lies beyond in the outer ones */
    TIM_LOSS_DISTANCES = 7, /* r = t, five fifths of the way to T_min, r = T_min */
    TIM_LOSS_BINS = TIM_LOSS_RATIOS * TIM_LOSS_DISTANCES
};

/* Starts zeroed. */
typedef struct TimLossScale {
    float log_mean[TIM_LOSS_BINS];
    float count[TIM_LOSS_BINS]; /* samples seen, up to the length of the mean */
} TimLossScale;

/* The bin of times (t, r); `diffusion` samples have r = t. */
size_t tim_loss_bin(const TimTransportConfig *transport, double t, double r, bool diffusion);

/* The loss to expect in a bin; 0 where none was seen yet. */
float tim_loss_expected(const TimLossScale *scale, size_t bin);

/* Adds a loss to the mean of its bin; one that is not above 0 or not finite is left out. */
void tim_loss_learn(TimLossScale *scale, size_t bin, float loss);

#endif
