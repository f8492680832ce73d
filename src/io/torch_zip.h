/* The zip of a file of torch.save since torch 1.6: stored members, <archive>/data.pkl and <archive>/data/<key> for every storage.
 * Format: torch/serialization.py. The file may be hostile. */
#ifndef TIM_IO_TORCH_ZIP_H
#define TIM_IO_TORCH_ZIP_H

#include "io/file.h"

/* Its members, borrowed from the file until tim_torch_zip_done. */
typedef struct TimTorchZip {
    const TimFile *file;
    struct TimTorchMember *members; /* (count), sorted by name */
    size_t count, capacity;
} TimTorchZip;

/* True when the file begins as a zip does. */
bool tim_torch_zip_begins(const TimFile *file);

/* Lists the members. TIM_E_FORMAT, TIM_E_UNSUPPORTED say what is wrong; tim_torch_zip_done is due in any case. */
TimStatus tim_torch_zip_open(TimTorchZip *zip, const TimFile *file, TimError *err);

void tim_torch_zip_done(TimTorchZip *zip);

/* The pickle, held against its checksum. */
TimStatus tim_torch_zip_pickle(const TimTorchZip *zip, const uint8_t **bytes, size_t *size, TimError *err);

/* The bytes of a storage; *bytes is NULL when there is none of that key, which has at most TIM_TORCH_MAX_KEY bytes. */
TimStatus tim_torch_zip_storage(const TimTorchZip *zip, const char *key, size_t key_size, const uint8_t **bytes, size_t *size,
                                TimError *err);

#endif
