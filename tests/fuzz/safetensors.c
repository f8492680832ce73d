/* One safetensors file: opened, every tensor found by its name and read in every type, every text touched. */
#include <stdlib.h>
#include <string.h>

#include "fuzz/folder.h"
#include "fuzz/targets.h"
#include "io/safetensors.h"

static void read_tensor(const TimStoredTensor *tensor) {
    TimError err;
    void *out = calloc(tensor->count + 1, 8);
    if (!out) abort();
    (void)tim_safetensors_read_f32(tensor, out, tensor->count, &err);
    (void)tim_safetensors_read_f64(tensor, out, tensor->count, &err);
    (void)tim_safetensors_read_i64(tensor, out, tensor->count, &err);
    free(out);
}

int fuzz_safetensors(const uint8_t *data, size_t size) {
    TimSafetensors file;
    TimError err;
    char path[FUZZ_PATH];
    if (!fuzz_taken(tim_safetensors_open(&file, fuzz_file(path, "model.safetensors", data, size), &err), &err)) return 0;
    for (size_t i = 0; i < file.count; i++) {
        if (tim_safetensors_find(&file, file.tensors[i].name) != &file.tensors[i]) abort();
        read_tensor(&file.tensors[i]);
    }
    for (size_t i = 0; i < file.text_count; i++)
        if (strcmp(tim_safetensors_text(&file, file.texts[i].key), file.texts[i].value) != 0) abort();
    tim_safetensors_close(&file);
    return 1;
}
