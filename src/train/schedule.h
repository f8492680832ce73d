/* The learning rate of a step, and how much twins pull. Source of the rate: diffusers' get_scheduler (constant,
 * constant_with_warmup, linear, cosine with half a wave). */
#ifndef TIM_TRAIN_SCHEDULE_H
#define TIM_TRAIN_SCHEDULE_H

#include <stdint.h>

#include "tim/config.h"

/* learning_rate times the schedule's factor of step `step`, 0 for the first, so that under warm-up the first changes nothing; after
 * warm-up at least min_learning_rate; with scale_lr times batch_size / learning_rate_base_batch_size. Pure. */
double tim_learning_rate(const TimTrainingConfig *config, int64_t step);

/* The part of twin_weight with which twins pull at `step`: 0 before twin_pull_start_step, then growing evenly to 1. */
double tim_twin_pull(const TimTrainingConfig *config, int64_t step);

#endif
