/* Muon (Jordan et al. 2024, kellerjordan.github.io/posts/muon) for the matrices of the blocks, AdamW for all other parameters.
 *
 *   m <- mu m + (1 - mu) g,  u = (1 - mu) g + mu m,  O = NewtonSchulz5(u / |u|),
 *   w <- (1 - lr decay) w - lr 0.2 sqrt(max(rows, cols)) O
 *
 * O is near the orthogonal factor of u: its singular values lie in about 0.7 ... 1.2. The factor 0.2 sqrt(max(rows, cols)) gives an
 * update the size of AdamW's, so that both share learning rate and weight decay (arXiv 2502.16982, section 2.2). As
 * torch.optim.Muon with adjust_lr_fn "match_rms_adamw". */
#ifndef TIM_TRAIN_MUON_H
#define TIM_TRAIN_MUON_H

#include <stdbool.h>

#include "tape/params.h"
#include "tensor/dtype.h"
#include "train/adamw.h"

typedef struct TimMuon TimMuon;

/* Plans the update of `params`, which is borrowed; `product` is the dtype of the inputs of the Newton-Schulz products. */
TimStatus tim_muon_new(TimMuon **out, const TimParams *params, TimDtype product, int threads, TimError *err);

/* Whether moments are those that Muon leaves after an update: of the matrices it takes the second are zero, and not all first. */
bool tim_muon_left(const TimParams *params, const float *first, const float *second);

/* Zeroes the second moments that Muon does not keep, so that tim_muon_left finds what AdamW would have left of them long ago. */
void tim_muon_forget(const TimParams *params, float *second);

void tim_muon_free(TimMuon *muon);

/* One update of all parameters. A matrix of a block keeps m in `first` and leaves `second` alone. `momentum` is mu. */
void tim_muon_update(TimMuon *muon, const TimAdamWVectors *vectors, const TimAdamWStep *step, double momentum);

#endif
