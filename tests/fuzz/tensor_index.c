/* The index of a sharded set, beside two sound files of tensors: one.safetensors with a and b, two.bin with c. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fuzz/targets.h"
#include "io/tensor_set.h"
#include "torch_build.h"

static char folder[] = "/tmp/tim-index-XXXXXX";
static bool made;

static void write_file(const char *name, const void *data, size_t size) {
    char path[64];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *stream = fopen(path, "wb");
    if (!stream || fwrite(data, 1, size, stream) != size || fclose(stream) != 0) abort();
}

static void remove_folder(void) {
    static const char *const names[] = {"one.safetensors", "two.bin", "model.safetensors.index.json"};
    char path[64];
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        unlink(path);
    }
    rmdir(folder);
}

static void make_folder(void) {
    static const char header[] = "{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},"
                                 "\"b\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[1,2]}}";
    Bytes one = {0}, pickle = {0};
    made = true;
    if (!mkdtemp(folder) || atexit(remove_folder) != 0) abort();
    bytes_number(&one, sizeof header - 1, 8);
    bytes_add(&one, header, sizeof header - 1);
    bytes_add(&one, "ab", 2);
    write_file("one.safetensors", one.data, one.size);
    pickle_op(&pickle, "\x80\x02}");
    pickle_text(&pickle, "c");
    pickle_tensor(&pickle, "Byte", "1", 4, 0, 1, (const int64_t[]){4}, (const int64_t[]){1});
    pickle_op(&pickle, "s.");
    Bytes two = torch_file(pickle.data, pickle.size);
    write_file("two.bin", two.data, two.size);
    free(one.data);
    free(pickle.data);
    free(two.data);
}

int fuzz_tensor_index(const uint8_t *data, size_t size) {
    TimTensorSet set;
    TimError err;
    char path[64];
    if (!made) make_folder();
    write_file("model.safetensors.index.json", data, size);
    snprintf(path, sizeof path, "%s/model.safetensors.index.json", folder);
    if (tim_tensor_set_open(&set, path, &err) != TIM_OK) return 0;
    for (size_t i = 0; i < set.count; i++)
        if (tim_tensor_set_find(&set, set.tensors[i].name) != &set.tensors[i]) abort();
    tim_tensor_set_close(&set);
    return 1;
}
