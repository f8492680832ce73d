/* The inception score: e to the mean divergence of each picture's class probabilities from their mean,
 *   exp(mean_i sum_c p_ic (log p_ic - log m_c)),   m = mean_i p_i,
 * of each `split` rows in a row, the last perhaps fewer; then the plain mean over the splits.
 * Source: Salimans et al. (arXiv 1606.03498), section 4. Sums in fp64; no rows are kept. */
#ifndef TIM_EVAL_INCEPTION_SCORE_H
#define TIM_EVAL_INCEPTION_SCORE_H

#include <stddef.h>

#include "base/error.h"

typedef struct TimInceptionScore {
    size_t classes, split;
    size_t count;   /* rows of the split that is open */
    double *row;    /* (classes): probabilities of the row being added */
    double *sum;    /* (classes): of the open split's probabilities */
    double entropy; /* sum of p log p over the open split */
    double total;   /* of the closed splits' scores */
    size_t splits;  /* closed */
} TimInceptionScore;

/* A score of no rows; classes and split are at least 1. tim_inception_score_done is due after success and after failure. */
TimStatus tim_inception_score_init(TimInceptionScore *score, size_t classes, size_t split, TimError *err);

/* Adds a row of logits (classes), finite. */
void tim_inception_score_add(TimInceptionScore *score, const float *logits);

/* The score of all rows so far; NaN when there are none. */
double tim_inception_score(const TimInceptionScore *score);

void tim_inception_score_done(TimInceptionScore *score);

#endif
