/* The critic of a training with twins (twin.h): a second network of the same shape, with an optimiser of its own, that knows
 * pictures from data and what one jump draws. It starts from the averaged weights, is trained on both, and is no part of the
 * model. */
#ifndef TIM_TRAIN_CRITIC_H
#define TIM_TRAIN_CRITIC_H

#include "model/model.h"
#include "train/muon.h"

typedef struct TimCritic {
    TimModel *model;
    float *gradients; /* (params.elements) of the step */
    float *moments;   /* (2 params.elements) as a trainer's */
    int64_t updates;  /* 0: it has not started */
} TimCritic;

/* Before its start; tim_critic_free also after a failure of what follows. */
TimStatus tim_critic_new(TimCritic **out, const TimConfig *config, const TimNetworkOptions *options, TimError *err);

/* NULL is fine. */
void tim_critic_free(TimCritic *critic);

/* Whether it has had an update; NULL has none. */
bool tim_critic_started(const TimCritic *critic);

/* Takes over `weights` (params.elements), and forgets its moments. */
void tim_critic_start(TimCritic *critic, const float *weights);

/* One update from its gradients, clipped as the model's; none where they are not finite. `muon` is NULL with AdamW. */
void tim_critic_update(TimCritic *critic, double learning_rate, TimMuon *muon);

#endif
