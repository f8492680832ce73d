/* Nearest neighbours under the Euclidean distance of features, and what is measured with them. Exact: the answers are those of a
 * comparison of all pairs in fp64, of rows at equal distance the first counts. No (n, m) matrix is ever held: beside
 * the answers there are blocks of at most 32 MiB, one for all and one for each thread. No randomness; OpenMP and BLAS threads inside. */
#ifndef TIM_EVAL_NEIGHBOURS_H
#define TIM_EVAL_NEIGHBOURS_H

#include "eval/features.h"

/* Shares from 0 to 1. */
typedef struct TimPrecisionRecall {
    double precision; /* of generated rows that lie inside the ball of some real row: do the pictures look real? */
    double recall;    /* of real rows that lie inside the ball of some generated row: is all variety there? */
} TimPrecisionRecall;

/* index[i], distance[i] (queries.count each, distance may be NULL) = the nearest row of `references` to row i of `queries`. With
 * the training set as references this shows copies. Needs 1 row each and one width. */
TimStatus tim_neighbours_nearest(size_t *index, double *distance, TimFeatures queries, TimFeatures references, TimError *err);

/* radius[i] (features.count) = distance of row i to its k-th nearest row, itself excluded but not its duplicates; 1 <= k <
 * count. */
TimStatus tim_neighbours_radii(double *radius, TimFeatures features, size_t k, TimError *err);

/* Improved precision and recall (Kynkaanniemi et al., arXiv 1904.06991, equations 1 and 2): the ball of a row reaches to its k-th
 * nearest row of its own set and includes its surface. k = 3 as published; both sets need more than k rows. Use sets of one size:
 * balls shrink as sets grow. */
TimStatus tim_precision_recall(TimPrecisionRecall *out, TimFeatures generated, TimFeatures real, size_t k, TimError *err);

#endif
