/* What is in a safetensors file: names, types and shapes of its tensors, and its metadata texts. */
#ifndef TIM_FILE_H
#define TIM_FILE_H

#include <stddef.h>
#include <stdint.h>

#include "tim/status.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { TIM_FILE_MAX_RANK = 8 };

/* An open file. Opaque; any number of threads may read one. Everything it hands out is borrowed until it is closed. */
typedef struct TimTensorFile TimTensorFile;

typedef struct TimFileTensor {
    const char *name;
    const char *dtype; /* as the file has it: "F32", "BF16", "I64", ... */
    int rank;          /* 0: a scalar */
    uint64_t dims[TIM_FILE_MAX_RANK];
    uint64_t count; /* elements */
    uint64_t bytes;
} TimFileTensor;

/* Opens and checks the safetensors file at `path`; only its header is read. Close with tim_tensor_file_close.
 * Errors: TIM_E_IO when it cannot be opened; TIM_E_FORMAT, naming file and tensor, when its header is not sound;
 * TIM_E_UNSUPPORTED for an element type this library does not know; TIM_E_MEMORY. *file is NULL then. The file may be hostile. */
TIM_API TimStatus tim_tensor_file_open(TimTensorFile **file, const char *path, TimError *err);

/* Closes the file; NULL is fine. */
TIM_API void tim_tensor_file_close(TimTensorFile *file);

/* Number of tensors. */
TIM_API size_t tim_tensor_file_count(const TimTensorFile *file);

/* Tensor `index`, in the order of the data. TIM_E_ARGUMENT beyond the last. */
TIM_API TimStatus tim_tensor_file_tensor(const TimTensorFile *file, size_t index, TimFileTensor *tensor, TimError *err);

/* Number of metadata texts. */
TIM_API size_t tim_tensor_file_text_count(const TimTensorFile *file);

/* Metadata text `index`, in the order of the header: both UTF-8. TIM_E_ARGUMENT beyond the last. */
TIM_API TimStatus tim_tensor_file_text(const TimTensorFile *file, size_t index, const char **key, const char **value,
                                       TimError *err);

#ifdef __cplusplus
}
#endif
#endif
