/* Weights of a network that is only run. Invariant: a matrix is in the dtype of the products, a vector in f32, as the tape binds
 * them; what the files store so is used where it lies in their maps, the rest is a converted copy. Official names, read
 * strictly. */
#ifndef TIM_MODEL_FROZEN_H
#define TIM_MODEL_FROZEN_H

#include "io/tensor_set.h"
#include "model/network.h"
#include "tape/params.h"
#include "tensor/dtype.h"
#include "tim/model.h"

typedef struct TimFrozen {
    TimParams params;      /* declared by a recording */
    TimDtype dtype;        /* of matrices */
    int threads;           /* that convert */
    size_t max_copy_bytes; /* that copies may take; 0: no bound */
    TimWeights bound;      /* what a tape binds */
    void **copies;         /* (params.count); NULL: in the map */
    size_t copied;         /* bytes of all copies */
    size_t mapped;         /* bytes of what is used in the map */
    TimTensorSet set;      /* the files; empty without any */
} TimFrozen;

/* How a file may depart from the names of the parameters. */
typedef struct TimFrozenNames {
    const char *name, *alias;   /* the parameter `name` may be stored as `alias`; NULL: none */
    const char *prefix;         /* with which names of parameters begin, and those of a file need not; NULL: none */
    const char *const *ignored; /* beginnings of names that belong to other parts of the model, up to NULL */
    const char *optional;       /* parameters that begin so may be absent, all values NULL then; NULL: none */
    const char *config;         /* what says which tensors there are, for the texts of errors; NULL: config.json */
} TimFrozenNames;

/* Makes the lists for the parameters that `frozen` has by now. */
TimStatus tim_frozen_init(TimFrozen *frozen, const TimNetworkOptions *options, TimError *err);

/* Unmaps and frees; {0} is fine. */
void tim_frozen_done(TimFrozen *frozen);

/* Takes the weights from the file or folder at `path`, of any kind that io/tensor_set.h reads. TIM_E_FORMAT names file and tensor:
 * one that is missing, has another shape, is no float, or belongs to nothing; TIM_E_MEMORY when the copies would take more than
 * options->max_copy_bytes: then none has been made. */
TimStatus tim_frozen_open(TimFrozen *frozen, const char *path, const TimFrozenNames *names, TimError *err);

/* Gives the values of a parameter in `out` (count). */
typedef TimStatus (*TimFrozenMake)(void *from, const TimParam *param, float *out, TimError *err);

/* Takes made weights; needs room for the largest of them twice. */
TimStatus tim_frozen_make(TimFrozen *frozen, TimFrozenMake make, void *from, TimError *err);

#endif
