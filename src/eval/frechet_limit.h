/* What the Frechet distance of a set would be with ever more pictures. A distance exceeds its limit by what is inverse to the
 * number of pictures, once they are more than the features; so twice the distance of all less the mean distance of two halves is
 * the limit. */
#ifndef TIM_EVAL_FRECHET_LIMIT_H
#define TIM_EVAL_FRECHET_LIMIT_H

#include <stdint.h>

#include "base/error.h"
#include "eval/features.h"
#include "eval/frechet.h"

/* *limit = the estimate for `features`, whose distance to the finished moments `real` is `frechet`; NaN where a half has fewer rows
 * than columns. `classes` (features.count) deals each class evenly to the halves; NULL: neighbours are dealt by a chance that is
 * the same in every run. */
TimStatus tim_frechet_limit(double *limit, double frechet, TimFeatures features, const int64_t *classes, const TimMoments *real,
                            TimError *err);

#endif
