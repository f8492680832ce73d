/* Mean and covariance of features, and the Frechet distance of two sets taken as normal distributions:
 *   |mu_a - mu_b|^2 + tr(C_a + C_b - 2 (C_a C_b)^(1/2)),   C with N - 1 in the denominator.
 * Sources: Dowson and Landau, J. Multivariate Analysis 12 (1982), equation 16; as FID: Heusel et al. (arXiv 1706.08500), equation
 * 6. Moments: Chan, Golub and LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances" (1979).
 * All in fp64, no randomness. The functions use OpenMP and BLAS threads inside; one TimMoments belongs to one thread at a time. */
#ifndef TIM_EVAL_FRECHET_H
#define TIM_EVAL_FRECHET_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

enum { TIM_MOMENTS_MAX_WIDTH = 16384 }; /* a covariance of 2 GiB; the ints of LAPACK hold its workspace */

/* Invariant: rows wait until a fixed number of them is there and are merged together, so how a caller cuts its rows into batches
 * changes no bit. */
typedef struct TimMoments {
    size_t width, count; /* d; rows added */
    bool finished;
    double *origin; /* (d): the first row, taken off every row, so that a large mean costs no digits */
    double *mean;   /* (d): of the merged rows less the origin; once finished, of all rows as they are */
    double
        *covariance; /* (d, d): the lower triangle, by columns, of the merged rows' sum of squares; once finished the covariance */
    double *rows;    /* those that wait, and room for one row more; NULL once finished */
    size_t waiting;
} TimMoments;

/* Moments of no rows, 1 <= width <= TIM_MOMENTS_MAX_WIDTH. tim_moments_done is due after success and after failure. */
TimStatus tim_moments_init(TimMoments *moments, size_t width, TimError *err);

/* Adds `count` rows (count, width). A value that is not finite is TIM_E_ARGUMENT, its row counted over all calls; then
 * nothing is added. */
TimStatus tim_moments_add(TimMoments *moments, const float *rows, size_t count, TimError *err);
TimStatus tim_moments_add_f64(TimMoments *moments, const double *rows, size_t count, TimError *err);

/* Turns sums into the mean and the covariance; needs 2 rows. Nothing can be added afterwards. */
TimStatus tim_moments_finish(TimMoments *moments, TimError *err);

/* The same for moments that are known already: the caller has written them into `mean` and `covariance` after init and added no
 * row. TIM_E_FORMAT unless they are finite and can be a covariance: symmetric, no element beyond the root of its two variances. */
TimStatus tim_moments_accept(TimMoments *moments, TimError *err);

void tim_moments_done(TimMoments *moments);

/* *out = the distance of two finished moments of one width, at least 0. Covariances may lack rank (fewer rows than columns, columns
 * that never change). Needs memory for four (d, d) matrices; about 5 d^3 multiply-adds. */
TimStatus tim_frechet_distance(double *out, const TimMoments *a, const TimMoments *b, TimError *err);

#endif
