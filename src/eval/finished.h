/* What an evaluation has done: a file that grows by a line with every setting and seed, so that a run that was ended goes on where
 * it was, and a later one that asks for more draws only that. The first line says what was evaluated. */
#ifndef TIM_EVAL_FINISHED_H
#define TIM_EVAL_FINISHED_H

#include <stdint.h>
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
    uint64_t processor; /* a hash of the name of the one that drew so fast */
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

/* Opens or makes the file at `path`. `subject`, one line of words KEY=VALUE, says what is evaluated: the settings of a file with the
 * same are taken over, of which only whole lines; a file of something else is TIM_E_ARGUMENT, naming the first word that differs, or
 * with `replace` begun anew. Close after a failure too. Errors: TIM_E_IO, TIM_E_MEMORY. */
TimStatus tim_finished_open(TimFinished *finished, const char *path, const char *subject, bool replace, TimError *err);

/* The setting as it was last added, or NULL; borrowed until the next is added. */
const TimFinishedSetting *tim_finished_find(const TimFinished *finished, TimSampleMode mode, int steps, int seed_index);

/* Adds a setting and sees to it that it is on the disk. */
TimStatus tim_finished_add(TimFinished *finished, const TimFinishedSetting *setting, TimError *err);

void tim_finished_close(TimFinished *finished);

#endif
