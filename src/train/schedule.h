/* The learning rate of a step. Source: diffusers' get_scheduler (constant, constant_with_warmup, linear, cosine with half a
 * wave). */
#ifndef TIM_TRAIN_SCHEDULE_H
#define TIM_TRAIN_SCHEDULE_H

#include <stdint.h>

#include "tim/config.h"

/* learning_rate times the schedule's factor of step `step`, 0 for the first, so that under warm-up the first changes nothing; after
 * warm-up at least min_learning_rate; with scale_lr times batch_size / learning_rate_base_batch_size. Pure. */
double tim_learning_rate(const TimTrainingConfig *config, int64_t step);

#endif
