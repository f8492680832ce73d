/* Folders of a run: replaced and removed so that under its name a folder is whole or absent, also after a kill.
 * Two suffixes mark what is not. They are removed without asking, so they are none that a user would give a copy. */
#ifndef TIM_TRAIN_FOLDER_H
#define TIM_TRAIN_FOLDER_H

#include <stdbool.h>

#include "base/error.h"

enum { TIM_MAX_PATH = 4096 };

#define TIM_FOLDER_WRITTEN ".being-written"
#define TIM_FOLDER_REMOVED ".being-removed"

/* A path as printf would write it; TIM_E_ARGUMENT when it is too long. */
TimStatus tim_path(char out[TIM_MAX_PATH], TimError *err, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* Removes the folder and all it holds; none there is fine. A kill may leave it as NAME.being-removed, never half of it under its
 * name. */
TimStatus tim_folder_remove(const char *path, TimError *err);

/* The same without the name between, for what has a name already that says it is going: a kill leaves half of it under `path`. */
TimStatus tim_folder_erase(const char *path, TimError *err);

/* Renames the whole folder `temporary` to `path`, in the place of one that is there: at no time is nothing there, where the file
 * system can exchange names. */
TimStatus tim_folder_publish(const char *temporary, const char *path, TimError *err);

/* Renames what is at `path` to the first of PATH.SUFFIX, PATH.SUFFIX-2, PATH.SUFFIX-3, ... that nothing has, and says which. */
TimStatus tim_path_keep(char kept[TIM_MAX_PATH], const char *path, const char *suffix, TimError *err);

/* True if both paths lead to one folder, links followed. */
bool tim_folder_same(const char *a, const char *b);

#endif
