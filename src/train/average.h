/* What the averaged network says of a micro-batch. The objective asks its EMA weights, which have no gradient, about three things:
 *
 *   guidance    F_cond and F_null at (x_t, t, t) of the guided samples, for the targets of diffusion and transition samples
 *   direction   F at (x_t, t, t) as the velocity of the path there, along which the exact derivative is taken on request
 *   jumps       where `composed_jumps` jumps lead from x_t at t to r, as a sampler would take them: the targets of composed samples
 *
 * What is asked about x_t reads rows.x_t of the lane; `ema` may be NULL where nothing is asked, else that is TIM_E_ARGUMENT. The
 * tapes are the lane's, for TIM_FOR_EVALUATION. */
#ifndef TIM_TRAIN_AVERAGE_H
#define TIM_TRAIN_AVERAGE_H

#include "train/objective_part.h"

/* True if guidance goes into the target of sample `k` of the part: its t lies in the window, and the batch does not forbid it. */
bool tim_average_guides(const TimObjective *o, TimPart part, int64_t k);

/* rows.f_cond and rows.f_null = F under the teacher's and the null condition, of the guided samples alone; F_cond = 0 where w_cond
 * is. */
TimStatus tim_average_guide(const TimObjective *o, TimPart part, const TimWeights *ema, TimError *err);

/* The tangents of x_t on the tape of `trained` = F under the condition that the derivative has, for all samples. */
TimStatus tim_average_direct(const TimObjective *o, const TimNetwork *trained, TimPart part, const TimWeights *ema, TimError *err);

/* rows.target = the F of the one jump from t to r that ends where the average's jumps do, for all samples; composed_spread as far
 * from the mean of the sample's class. */
TimStatus tim_average_compose(const TimObjective *o, TimPart part, const TimWeights *ema, TimError *err);

#endif
