/* What is in a file of tensors: names, types and shapes of its tensors, and its metadata texts. Such a file is a safetensors file,
 * one of torch.save (.bin, .pt, .pth), or a set of them with an index (.safetensors.index.json); its content tells which. */
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

/* Opens and checks the file at `path`, or the one in the folder `path`: model.safetensors, diffusion_pytorch_model.safetensors,
 * their indices, diffusion_pytorch_model.bin, pytorch_model.bin or its index, or the only file of weights of another name. Only
 * descriptions are read, and tensors that torch stored in another order than row by row. Nothing in a file is executed. Close with
 * tim_tensor_file_close. Errors: TIM_E_IO when it cannot be opened, or a folder has none; TIM_E_ARGUMENT when it has several;
 * TIM_E_FORMAT, naming file and tensor, when it is not sound; TIM_E_UNSUPPORTED for what this library does not read: an element
 * type, an old format, Python objects that are no tensors; TIM_E_MEMORY. *file is NULL then. The file may be hostile. */
TIM_API TimStatus tim_tensor_file_open(TimTensorFile **file, const char *path, TimError *err);

/* Closes the file; NULL is fine. */
TIM_API void tim_tensor_file_close(TimTensorFile *file);

/* The path that was opened: of a folder, that of the file in it. */
TIM_API const char *tim_tensor_file_path(const TimTensorFile *file);

/* Number of tensors. */
TIM_API size_t tim_tensor_file_count(const TimTensorFile *file);

/* Tensor `index`, in the order of the file. TIM_E_ARGUMENT beyond the last. */
TIM_API TimStatus tim_tensor_file_tensor(const TimTensorFile *file, size_t index, TimFileTensor *tensor, TimError *err);

/* Number of metadata texts. */
TIM_API size_t tim_tensor_file_text_count(const TimTensorFile *file);

/* Metadata text `index`, in the order of the file: both UTF-8. Of torch's files these are the numbers and texts beside the tensors.
 * TIM_E_ARGUMENT beyond the last. */
TIM_API TimStatus tim_tensor_file_text(const TimTensorFile *file, size_t index, const char **key, const char **value,
                                       TimError *err);

#ifdef __cplusplus
}
#endif
#endif
