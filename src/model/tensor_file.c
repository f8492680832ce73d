/* The public look into files of tensors: io/tensor_set.h behind an opaque handle. */
#include "base/memory.h"
#include "io/tensor_set.h"
#include "tim/file.h"

struct TimTensorFile {
    TimTensorSet content;
};

_Static_assert((int)TIM_FILE_MAX_RANK == (int)TIM_SAFETENSORS_MAX_RANK, "the public rank is the reader's");

TimStatus tim_tensor_file_open(TimTensorFile **file, const char *path, TimError *err) {
    *file = NULL;
    TimTensorFile *opened;
    TIM_TRY(tim_new(&opened, 1, sizeof *opened, "a file", err));
    const TimStatus status = tim_tensor_set_open(&opened->content, path, err);
    if (status != TIM_OK) {
        tim_free(opened);
        return status;
    }
    *file = opened;
    return TIM_OK;
}

void tim_tensor_file_close(TimTensorFile *file) {
    if (!file) return;
    tim_tensor_set_close(&file->content);
    tim_free(file);
}

const char *tim_tensor_file_path(const TimTensorFile *file) {
    return file->content.path;
}

size_t tim_tensor_file_count(const TimTensorFile *file) {
    return file->content.count;
}

TimStatus tim_tensor_file_tensor(const TimTensorFile *file, size_t index, TimFileTensor *tensor, TimError *err) {
    if (index >= file->content.count)
        return tim_fail(err, TIM_E_ARGUMENT, "tensor %zu of a file that has %zu", index, file->content.count);
    const TimStoredTensor *stored = &file->content.tensors[index];
    *tensor = (TimFileTensor){.name = stored->name,
                              .dtype = tim_dtype_name(stored->dtype),
                              .rank = stored->rank,
                              .count = stored->count,
                              .bytes = stored->bytes};
    for (int i = 0; i < stored->rank; i++) tensor->dims[i] = stored->dims[i];
    return TIM_OK;
}

size_t tim_tensor_file_text_count(const TimTensorFile *file) {
    return file->content.text_count;
}

TimStatus tim_tensor_file_text(const TimTensorFile *file, size_t index, const char **key, const char **value, TimError *err) {
    if (index >= file->content.text_count)
        return tim_fail(err, TIM_E_ARGUMENT, "metadata text %zu of a file that has %zu", index, file->content.text_count);
    *key = file->content.texts[index].key;
    *value = file->content.texts[index].value;
    return TIM_OK;
}
