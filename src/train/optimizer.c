#include "train/optimizer.h"

void tim_optimizer_update(const TimTrainingConfig *config, TimMuon *muon, const TimAdamWVectors *vectors, const TimUpdate *update) {
    const TimAdamWStep step = {.lr = update->learning_rate,
                               .beta1 = config->beta1,
                               .beta2 = config->beta2,
                               .eps = config->eps,
                               .weight_decay = config->weight_decay,
                               .step = update->number,
                               .gradient_scale = tim_clip_factor(update->grad_norm, config->max_grad_norm),
                               .ema_decay = update->ema_decay,
                               .threads = update->threads};
    if (muon)
        tim_muon_update(muon, vectors, &step, config->momentum);
    else
        tim_adamw_update(vectors, &step);
}
