/* Files of torch.save (.bin, .pt, .pth): a pickle that describes the tensors, and their bytes, in a zip (torch_zip.h) or, before
 * torch 1.6, one after another (torch_legacy.h).
 * Invariant of an open file: every tensor is row-major and lies inside its storage, or is a copy that the file owns. Nothing in a
 * file is executed (pickle.h). */
#ifndef TIM_IO_TORCH_FILE_H
#define TIM_IO_TORCH_FILE_H

#include "io/file.h"
#include "io/safetensors.h"

enum { TIM_TORCH_WRAPPER = 64 }; /* bytes: three keys of wrappers fit */

/* A file that was read. Everything in it is borrowed until tim_torch_file_done. Any number of threads may read it. */
typedef struct TimTorchFile {
    TimStoredTensor *tensors; /* (count), in the order of the pickle; names of nested dicts are joined by '.' */
    size_t count, tensor_capacity;
    TimStoredText *texts; /* (text_count): what else the dicts hold, as far as it is a number, a truth value or a text */
    size_t text_count, text_capacity;
    void **blocks; /* (block_count): names, texts and copies */
    size_t block_count, block_capacity;
    char wrapper[TIM_TORCH_WRAPPER]; /* the keys that led to the weights, "ema.state_dict"; empty when nothing was unwrapped */
} TimTorchFile;

/* True when the file begins as one of torch.save. */
bool tim_torch_file_begins(const TimFile *file);

/* True when it may be what torch wrote before that: a bare pickle, or a tar. */
bool tim_torch_other_begins(const TimFile *file);

/* The error for such a file: says what to do. */
TimStatus tim_torch_other_fail(TimError *err);

/* Reads the file, which is borrowed until tim_torch_file_done, as the tensors are. Only the pickle is read; where strides are not
 * row-major, the tensor is. With `unwrap` only the dict of weights is looked at where others wrap it (tim_tensor_set_open_weights).
 * TIM_E_FORMAT, TIM_E_UNSUPPORTED name tensor or byte; then `out` is empty. */
TimStatus tim_torch_file_read(TimTorchFile *out, const TimFile *file, bool unwrap, TimError *err);

void tim_torch_file_done(TimTorchFile *file);

#endif
