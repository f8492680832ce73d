/* Which file of a folder holds its tensors. */
#ifndef TIM_IO_TENSOR_FOLDER_H
#define TIM_IO_TENSOR_FOLDER_H

#include "base/error.h"

/* *file = `path` itself unless it is a folder, else the file in it with one of the names that diffusers and transformers give:
 * model.safetensors, diffusion_pytorch_model.safetensors, diffusion_pytorch_model.bin, pytorch_model.bin, each but the third before
 * its .index.json. Without any of them, the only file that ends as files of tensors do: in .index.json if there is one, else in
 * .safetensors, .bin, .pt or .pth. From tim_alloc. TIM_E_IO when `path` is not there or a folder has none, TIM_E_ARGUMENT, with
 * their names, when it has several. */
TimStatus tim_tensor_folder_find(char **file, const char *path, TimError *err);

#endif
