/* Named tensors, whatever holds them: a safetensors file, a file of torch.save, a set of such files with its index
 * (model.safetensors.index.json), or a folder with one of these (tensor_folder.h). The kind of a file is told by its content, not
 * by its name. Invariant of an open set: no two tensors have one name, and an index and its files tell of the same tensors, but for
 * those that a file's metadata say it keeps as another. The files may be hostile. Format of the index: huggingface_hub's sharded
 * checkpoints. */
#ifndef TIM_IO_TENSOR_SET_H
#define TIM_IO_TENSOR_SET_H

#include "io/safetensors.h"

/* An open set. Everything in it is borrowed until tim_tensor_set_close. Any number of threads may read it. */
typedef struct TimTensorSet {
    char *path;                  /* the file; of a folder, the one in it that was opened */
    struct TimTensorPart *parts; /* (part_count): one, or the files of an index, by name */
    size_t part_count;
    bool unwraps;                    /* only the weights of a torch checkpoint */
    struct json_t *index;            /* NULL without one: the index, then the texts that were made of its numbers */
    TimStoredTensor *tensors;        /* (count), file after file, each as its format orders them */
    const TimStoredTensor **by_name; /* (count), sorted by name */
    size_t count;
    TimStoredText *texts; /* (text_count), the metadata: of the index where there is one */
    size_t text_count;
} TimTensorSet;

/* Opens `path`, a file or a folder. After a failure `set` is empty and closing it is fine.
 * TIM_E_IO: the file cannot be opened, or a folder has none; TIM_E_FORMAT, TIM_E_UNSUPPORTED name file and tensor. */
TimStatus tim_tensor_set_open(TimTensorSet *set, const char *path, TimError *err);

/* The same for a model's weights: of a torch file that wraps them, such as {'model': {...}, 'ema': {...}, 'epoch': 3}, only the
 * dict that holds them, under the names it gives them. Dicts are looked for under 'ema', then 'model', then 'state_dict', one
 * inside another too; a dict without tensors under names of their own, as some averages are stored, is passed over. */
TimStatus tim_tensor_set_open_weights(TimTensorSet *set, const char *path, TimError *err);

/* Where in a torch file the weights were found, "ema" or "ema.state_dict"; empty when nothing was unwrapped. */
const char *tim_tensor_set_wrapper(const TimTensorSet *set);

/* Puts the file, and what of it was taken, before the text of an error. Returns `status`. */
TimStatus tim_tensor_set_fail(const TimTensorSet *set, TimStatus status, TimError *err);

void tim_tensor_set_close(TimTensorSet *set);

/* Lets the pages of its files that were read go; touching them brings them back. */
void tim_tensor_set_rest(const TimTensorSet *set);

/* The tensor of that name; NULL when there is none. */
const TimStoredTensor *tim_tensor_set_find(const TimTensorSet *set, const char *name);

#endif
