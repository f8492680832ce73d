/* Folders of a run: made, replaced and removed so that under its name a folder is whole or absent, also after a kill.
 * Two suffixes mark what is not: NAME.tmp is being written, NAME.old is being removed. */
#ifndef TIM_TRAIN_FOLDER_H
#define TIM_TRAIN_FOLDER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

enum { TIM_MAX_PATH = 4096 };

/* A path as printf would write it; TIM_E_ARGUMENT when it is too long. */
TimStatus tim_path(char out[TIM_MAX_PATH], TimError *err, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* Makes the folder and its parents; one that is there already is fine. */
TimStatus tim_folder_make(const char *path, TimError *err);

/* Removes the folder and all it holds; none there is fine. A kill may leave it as NAME.old, never half of it under its name. */
TimStatus tim_folder_remove(const char *path, TimError *err);

/* Renames the whole folder `temporary` to `path`, in the place of one that is there. */
TimStatus tim_folder_publish(const char *temporary, const char *path, TimError *err);

/* The checkpoint-N in `folder` with the largest N, or -1 when there is none; no folder counts as none. */
TimStatus tim_checkpoint_latest(int64_t *latest, const char *folder, TimError *err);

/* Removes the checkpoints with the smallest N, but not `keep`, until at most `limit` are left (0: no limit), and what killed runs left
 * of others. */
TimStatus tim_checkpoint_rotate(const char *folder, int limit, int64_t keep, TimError *err);

#endif
