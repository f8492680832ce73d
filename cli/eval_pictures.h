/* The part of tim eval that judges pictures which are there. */
#ifndef TIM_CLI_EVAL_PICTURES_H
#define TIM_CLI_EVAL_PICTURES_H

#include "tim/eval.h"

typedef struct EvalPictures {
    TimJudgeOptions judge;
    const char *pictures; /* as for tim_picture_set_open */
    bool json;
} EvalPictures;

/* Judges them and prints what is found, of as many real pictures too, and whose features they are. */
TimStatus eval_pictures(const EvalPictures *what, TimError *err);

/* The same with the numbers of ADM's suite. */
TimStatus eval_pictures_adm(const EvalPictures *what, TimError *err);

#endif
