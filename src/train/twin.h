/* Twins: what the network draws with one jump, held against data. Distribution matching (arXiv 2311.18828) with a critic (critic.h)
 * that knows both in one network and is told which, as the one network of arXiv 2512.05150 is.
 *
 *   x_0      = z - (jump from T_max to T_min)     what the weights being trained draw from z
 *   x_t      = alpha x_0 + sigma e                with noise e of its own
 *   C_drawn  = C(x_t, t, t + tenth)               the critic's velocity of drawn pictures, told a jump away from data that is a
 * tenth of
 *                                                 T_max - T_min long: so near to none that a started critic knows it at once
 *   C_data   = C(x_t, t, t)                       its velocity of data
 *
 * The critic learns both as a diffusion sample is learned, but without the direction loss, the first from x_t and the second from a
 * picture of the batch with the same e and t. What it gets wrong it gets wrong alike in both, so that the difference is right long
 * before either is.
 *
 * Where drawn pictures are more frequent than data, moving x_0 by C_drawn - C_data leads away from them. F of the jump gets the
 * cotangent
 *
 *   2 pull twin_weight (C_drawn - C_data) / (loss of C_drawn + 1e-5)^p
 *
 * that descends there, with the step's part of the pull, each by the mean over the picture. It is 0 where both velocities agree
 * everywhere, that is, where drawn pictures are distributed as the data, without guidance, are; no picture is asked to be like
 * another. The network has to predict velocities (OT_FM, TrigFlow). */
#ifndef TIM_TRAIN_TWIN_H
#define TIM_TRAIN_TWIN_H

#include "train/objective_part.h"

/* Adds what a micro-batch of twins pulls to the gradients of its lane, and what it teaches the critic to the lane's of the
 * critic. */
TimStatus tim_twin_run(const TimObjective *o, TimPart part, const TimWeights *weights, TimError *err);

#endif
