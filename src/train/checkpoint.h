/* The files of a checkpoint's folder. Layout as the published trainer's, which keeps the EMA as model.safetensors. */
#ifndef TIM_TRAIN_CHECKPOINT_H
#define TIM_TRAIN_CHECKPOINT_H

#include "train/trainer.h"

#define TIM_RAW_WEIGHTS_FILE "model_1.safetensors"
#define TIM_OPTIMIZER_FILE "optimizer.safetensors"
#define TIM_STATE_FILE "state.json"

/* The parameters of the vector `moments`: each of `params` as exp_avg.NAME, then each as exp_avg_sq.NAME. */
TimStatus tim_moment_params(TimParams *out, const TimParams *params, TimError *err);

#endif
