/* The update that a configuration asks for: AdamW, or Muon with AdamW for what is no matrix of a block. */
#ifndef TIM_TRAIN_OPTIMIZER_H
#define TIM_TRAIN_OPTIMIZER_H

#include "tim/config.h"
#include "train/muon.h"

typedef struct TimUpdate {
    double learning_rate;
    double grad_norm; /* of the gradients, before they are clipped to max_grad_norm */
    double ema_decay; /* read where the vectors have an average */
    int64_t number;   /* 1 for the first */
    int threads;
} TimUpdate;

/* One update of all parameters. `muon` is NULL with AdamW. */
void tim_optimizer_update(const TimTrainingConfig *config, TimMuon *muon, const TimAdamWVectors *vectors, const TimUpdate *update);

#endif
