/* Which noise goes with which picture. Paired as they are drawn, the paths from noise to pictures cross, and where they cross the
 * velocity is a mean of several: a long jump has to bend. Here the noises of a pool of batches change places among pictures of one
 * class such that the squared distances are least. The pictures of a class and its noise keep their distributions, and the paths
 * come out straighter (minibatch optimal transport, arXiv 2302.00482 and 2304.14772, within a class because the network sees it).
 * Invariant: the pairs are a function of (pictures, seed, step, position), so a resumed run has the same ones. */
#ifndef TIM_TRAIN_COUPLING_H
#define TIM_TRAIN_COUPLING_H

#include "train/data.h"

typedef struct TimCoupling TimCoupling;

typedef struct TimCouplingShape {
    size_t batches; /* of a pool; a pool begins where the step is a multiple of it. 0: pairs stay as drawn */
    size_t batch;   /* pictures */
    size_t picture; /* elements */
    size_t classes; /* labels of `data` are below it */
    int threads;
} TimCouplingShape;

TimStatus tim_coupling_new(TimCoupling **out, const TimCouplingShape *shape, TimError *err);

/* NULL is fine. */
void tim_coupling_free(TimCoupling *coupling);

/* z (batch, picture) = the noise for step `step`, whose first sample has the number `position` in the sequence of data.h. */
void tim_coupling_noise(TimCoupling *coupling, TimData *data, uint64_t seed, int64_t step, uint64_t position, float *z);

#endif
