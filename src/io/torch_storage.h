/* What the pickles of torch.save ask for, and how they name the storages that lie beside them. */
#ifndef TIM_IO_TORCH_STORAGE_H
#define TIM_IO_TORCH_STORAGE_H

#include "io/pickle.h"
#include "tensor/dtype.h"

/* Places in tim_torch_globals; storages come last, one for each element type. */
enum {
    TIM_TORCH_REBUILD_TENSOR,
    TIM_TORCH_REBUILD_TENSOR_OLD, /* before torch 0.4, with the first four arguments of the other */
    TIM_TORCH_REBUILD_PARAMETER,
    TIM_TORCH_ORDERED_DICT,
    TIM_TORCH_NAMESPACE,
    TIM_TORCH_STORAGES
};

enum { TIM_TORCH_GLOBAL_COUNT = TIM_TORCH_STORAGES + 10 };

extern const TimPickleGlobal tim_torch_globals[TIM_TORCH_GLOBAL_COUNT];

enum { TIM_TORCH_MAX_KEY = 56 /* bytes of a storage's key; torch writes numbers */ };

typedef struct TimTorchStorage {
    TimDtype dtype;
    const char *key; /* in the pickle, not terminated */
    size_t key_size;
    size_t elements;
} TimTorchStorage;

/* Reads ('storage', type, key, device, elements, ...), an OUTSIDE value; false when it is something else, or a view of another
 * storage. */
bool tim_torch_storage_of(TimTorchStorage *storage, const TimPickleValue *value);

/* A size or a number of elements; false when it is none. */
bool tim_torch_size_of(size_t *out, const TimPickleValue *value);

#endif
