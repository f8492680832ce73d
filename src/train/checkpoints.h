/* The checkpoints of a run: the folders checkpoint-N beside each other in one, N the steps done. What is in one says
 * checkpoint.h. */
#ifndef TIM_TRAIN_CHECKPOINTS_H
#define TIM_TRAIN_CHECKPOINTS_H

#include <stdint.h>

#include "train/folder.h"

/* The checkpoint-N in `folder` with the largest N, or -1 when there is none; no folder counts as none. */
TimStatus tim_checkpoint_latest(int64_t *latest, const char *folder, TimError *err);

enum { TIM_CHECKPOINT_NAME = 256 }; /* bytes of a name in a folder */

/* The name of a checkpoint in `folder` that tim_checkpoint_abandon has kept, or empty. */
TimStatus tim_checkpoint_abandoned(char name[TIM_CHECKPOINT_NAME], const char *folder, TimError *err);

/* Keeps the checkpoint-N with the largest N as checkpoint-N.abandoned, a name that none of these functions takes for a checkpoint,
 * if N is above `step`; else `kept` is empty. */
TimStatus tim_checkpoint_abandon(char kept[TIM_MAX_PATH], const char *folder, int64_t step, TimError *err);

/* Removes the checkpoints with the smallest N, but not `keep`, until at most `limit` are left (0: no limit), and what killed runs
 * left of any: checkpoint-N with one of the suffixes of folder.h, or both. All other names stay. */
TimStatus tim_checkpoint_rotate(const char *folder, int limit, int64_t keep, TimError *err);

#endif
