/* Folders of a run: replaced and removed so that under its name a folder is whole or absent, also after a kill.
 * Two suffixes mark what is not. They are removed without asking, so they are none that a user would give a copy. */
#ifndef TIM_TRAIN_FOLDER_H
#define TIM_TRAIN_FOLDER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

enum { TIM_MAX_PATH = 4096 };

#define TIM_FOLDER_WRITTEN ".being-written"
#define TIM_FOLDER_REMOVED ".being-removed"

/* A path as printf would write it; TIM_E_ARGUMENT when it is too long. */
TimStatus tim_path(char out[TIM_MAX_PATH], TimError *err, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* Removes the folder and all it holds; none there is fine. A kill may leave it as NAME.being-removed, never half of it under its name. */
TimStatus tim_folder_remove(const char *path, TimError *err);

/* Renames the whole folder `temporary` to `path`, in the place of one that is there: at no time is nothing there, where the file system can
 * exchange names. */
TimStatus tim_folder_publish(const char *temporary, const char *path, TimError *err);

/* Renames what is at `path` to the first of PATH.SUFFIX, PATH.SUFFIX-2, PATH.SUFFIX-3, ... that nothing has, and says which. */
TimStatus tim_path_keep(char kept[TIM_MAX_PATH], const char *path, const char *suffix, TimError *err);

/* The checkpoint-N in `folder` with the largest N, or -1 when there is none; no folder counts as none. */
TimStatus tim_checkpoint_latest(int64_t *latest, const char *folder, TimError *err);

/* Keeps the checkpoint-N with the largest N as checkpoint-N.abandoned, a name that none of these functions takes for a checkpoint, if N is
 * above `step`; else `kept` is empty. */
TimStatus tim_checkpoint_abandon(char kept[TIM_MAX_PATH], const char *folder, int64_t step, TimError *err);

/* True if both paths lead to one folder, links followed. */
bool tim_folder_same(const char *a, const char *b);

/* Removes the checkpoints with the smallest N, but not `keep`, until at most `limit` are left (0: no limit), and what killed runs left
 * of any: checkpoint-N with one of the suffixes above, or both. All other names stay. */
TimStatus tim_checkpoint_rotate(const char *folder, int limit, int64_t keep, TimError *err);

#endif
