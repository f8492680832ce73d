/* Files of torch.save from before torch 1.6, such as the Inception weights of pytorch-fid: five pickles one after another (a magic
 * number, the version, the machine, the object, the keys of its storages), then for each storage in the order of the keys its
 * number of elements, 8 bytes, and its bytes. Format: torch/serialization.py, _legacy_save. The file may be hostile; nothing in it
 * is executed. */
#ifndef TIM_IO_TORCH_LEGACY_H
#define TIM_IO_TORCH_LEGACY_H

#include "io/file.h"
#include "io/torch_storage.h"

/* A storage and its bytes in the file. */
typedef struct TimTorchLegacyStorage {
    TimTorchStorage storage;
    const uint8_t *data; /* NULL: its key is not among the file's */
    size_t bytes;
} TimTorchLegacyStorage;

/* What was read, borrowed from the file until tim_torch_legacy_done. */
typedef struct TimTorchLegacy {
    TimPickle object;
    TimTorchLegacyStorage *storages; /* (count), sorted by key */
    size_t count;
} TimTorchLegacy;

/* True when the file begins with the magic number. */
bool tim_torch_legacy_begins(const TimFile *file);

/* Reads the file. TIM_E_FORMAT, TIM_E_UNSUPPORTED say what is wrong; tim_torch_legacy_done is due in any case. */
TimStatus tim_torch_legacy_read(TimTorchLegacy *legacy, const TimFile *file, TimError *err);

void tim_torch_legacy_done(TimTorchLegacy *legacy);

/* The storage of that key; NULL when there is none. */
TimTorchLegacyStorage *tim_torch_legacy_find(const TimTorchLegacy *legacy, const char *key, size_t key_size);

#endif
