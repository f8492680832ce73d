/* log.jsonl of a run: a line of JSON with the means of the steps since the last one. Others may add lines of their own that begin
 * with the step too. */
#ifndef TIM_TRAIN_LOG_H
#define TIM_TRAIN_LOG_H

#include <stdint.h>

#include "tim/train.h"
#include "train/folder.h"

/* Appends a line. Errors: TIM_E_IO, naming the file. */
TimStatus tim_log_append(const char *path, const TimTrainReport *report, TimError *err);

/* Leaves the lines up to `step`, from which a run goes on: what an ended or abandoned run logged beyond would stand there twice. The
 * whole file is then kept under the name `kept`; it is empty where nothing was beyond, or no log is there. Errors: TIM_E_IO,
 * TIM_E_ARGUMENT for a path too long. */
TimStatus tim_log_cut(char kept[TIM_MAX_PATH], const char *path, int64_t step, TimError *err);

#endif
