/* The index of a sharded set, beside two sound files of tensors: one.safetensors with a and b, two.bin with c. */
#include <stdbool.h>
#include <stdlib.h>

#include "fuzz/folder.h"
#include "fuzz/targets.h"
#include "io/tensor_set.h"
#include "torch_build.h"

static bool made;

static void make_parts(void) {
    static const char header[] = "{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},"
                                 "\"b\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[1,2]}}";
    char path[FUZZ_PATH];
    Bytes one = {0}, pickle = {0};
    made = true;
    bytes_number(&one, sizeof header - 1, 8);
    bytes_add(&one, header, sizeof header - 1);
    bytes_add(&one, "ab", 2);
    fuzz_file(path, "one.safetensors", one.data, one.size);
    pickle_op(&pickle, "\x80\x02}");
    pickle_text(&pickle, "c");
    pickle_tensor(&pickle, "Byte", "1", 4, 0, 1, (const int64_t[]){4}, (const int64_t[]){1});
    pickle_op(&pickle, "s.");
    Bytes two = torch_file(pickle.data, pickle.size);
    fuzz_file(path, "two.bin", two.data, two.size);
    free(one.data);
    free(pickle.data);
    free(two.data);
}

int fuzz_tensor_index(const uint8_t *data, size_t size) {
    TimTensorSet set;
    TimError err;
    char path[FUZZ_PATH];
    if (!made) make_parts();
    fuzz_file(path, "model.safetensors.index.json", data, size);
    if (!fuzz_taken(tim_tensor_set_open(&set, path, &err), &err)) return 0;
    for (size_t i = 0; i < set.count; i++)
        if (tim_tensor_set_find(&set, set.tensors[i].name) != &set.tensors[i]) abort();
    tim_tensor_set_close(&set);
    return 1;
}
