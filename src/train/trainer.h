/* Inside a trainer: what step and checkpoint share.
 * Invariant: `state`, the seed, both models' f32 vectors, the moments and the losses to expect determine all later
 * steps; everything else is derived. */
#ifndef TIM_TRAIN_TRAINER_H
#define TIM_TRAIN_TRAINER_H

#include "model/model.h"
#include "tim/train.h"
#include "train/coupling.h"
#include "train/data.h"
#include "train/loss_scale.h"
#include "train/muon.h"
#include "train/objective.h"

typedef struct TimTrainState {
    uint64_t seed;
    int64_t step;      /* done, skipped ones included */
    int64_t skipped;   /* steps without an update, because the gradient was not finite */
    uint64_t position; /* samples drawn: the number of the next one in the sequence of data.h */
} TimTrainState;

/* The arrays of one batch. */
typedef struct TimTrainBatch {
    TimSamples samples;
    float *z;                             /* (B, C H W) */
    double *t, *r;                        /* (B) */
    int64_t *null_class;                  /* (B) */
    float *means;                         /* (num_classes + 1, C H W) of data.h; NULL unless composed samples are spread */
    size_t *bins;                         /* (B): of loss_scale.h */
    float *expected_loss, *sample_losses; /* (B) */
} TimTrainBatch;

struct TimTrainer {
    TimModel *model; /* the weights that are trained, and the configuration */
    TimModel *ema;   /* their average; in bf16 only where it is evaluated */
    TimObjective *objective;
    TimMuon *muon; /* NULL: AdamW updates everything */
    TimData *data;
    TimCoupling *coupling;   /* noise for the pictures */
    float *gradients;        /* (params.elements) */
    float *moments;          /* (2 params.elements): Adam's first moments, then the second */
    TimParams moment_params; /* what `moments` holds, for its file */
    TimTrainBatch batch;
    TimLossScale loss_scale; /* stays empty unless transition.expected_loss */
    TimTrainState state;
};

#endif
