/* What an evaluation has done so far: a file that grows by a line with every setting and seed, so that a run that was ended goes on
 * where it was. The first line says what was evaluated; a file of something else is begun anew. */
#ifndef TIM_EVAL_FINISHED_H
#define TIM_EVAL_FINISHED_H

#include <stdio.h>

#include "tim/eval.h"

enum { TIM_FINISHED_PAIRS = 12 };

/* A drawn picture and the training picture nearest to it, by their numbers. */
typedef struct TimNearPair {
    double distance;
    int64_t picture, training;
} TimNearPair;

/* One setting with one seed. */
typedef struct TimFinishedSetting {
    TimSampleMode mode;
    int steps, seed_index;
    int64_t evaluations; /* for a picture */
    double pictures_per_second;
    TimJudgement judgement;
    TimNearPair pairs[TIM_FINISHED_PAIRS]; /* the closest first */
    int pair_count;
} TimFinishedSetting;

/* An open file; {0} is closed. */
typedef struct TimFinished {
    char *path;
    FILE *stream; /* at the end of the whole lines */
    TimFinishedSetting *settings;
    size_t count, capacity;
} TimFinished;

/* Opens or makes the file at `path`. `subject`, one line, says what is evaluated: only the settings of a file with the same are taken
 * over, and of those only whole lines. Close after a failure too. Errors: TIM_E_IO, TIM_E_MEMORY. */
TimStatus tim_finished_open(TimFinished *finished, const char *path, const char *subject, TimError *err);

/* The setting as it was last added, or NULL; borrowed until the next is added. */
const TimFinishedSetting *tim_finished_find(const TimFinished *finished, TimSampleMode mode, int steps, int seed_index);

/* Adds a setting and sees to it that it is on the disk. */
TimStatus tim_finished_add(TimFinished *finished, const TimFinishedSetting *setting, TimError *err);

/* Closes the file; with `remove_file` it is taken away, because the report says it all. */
void tim_finished_close(TimFinished *finished, bool remove_file);

#endif
