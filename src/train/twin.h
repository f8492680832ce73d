/* Twins: what the network draws with one jump, held against data as the network itself knows both (arXiv 2512.05150, which tells the two
 * apart by the sign of t; the pull is that of distribution matching, arXiv 2311.18828, with one network in place of three).
 *
 *   x_0      = z - (jump from T_max to T_min)      what the weights being trained draw from z
 *   x_t      = alpha x_0 + sigma e                 with noise e of its own
 *   F_drawn  = F(x_t, t, t + T_max - T_min)        the velocity of drawn pictures. The network is told a jump that leads away from data,
 *                                                  which no other sample is, and learns it as a diffusion sample of x_0 and e
 *   F_data   = F(x_t, t, t)                        the velocity of data, which the diffusion samples teach
 *
 * Where drawn pictures are more frequent than data, moving x_0 by F_drawn - F_data leads away from them. F of the jump gets the cotangent
 *
 *   2 twin_weight (F_drawn - F_data) / (loss of F_drawn + 1e-5)^p
 *
 * that descends there, each by the mean over the picture. It is 0 where both velocities agree everywhere, that is, where drawn pictures are
 * distributed as the data; no picture is asked to be like another. Where the targets of diffusion samples are guided, "data" is what the
 * network then takes for it: drawn pictures get the guidance too. The network has to predict velocities (OT_FM, TrigFlow).
 */
#ifndef TIM_TRAIN_TWIN_H
#define TIM_TRAIN_TWIN_H

#include "train/objective_part.h"

/* Adds the gradients and losses of a micro-batch of twins to those of its lane. */
TimStatus tim_twin_run(const TimObjective *o, TimPart part, const TimWeights *weights, TimError *err);

#endif
