/* Files of torch.save: whole ones, and sound zips around the pickle alone, which a fuzzer would rarely get past the checksum. */
#include <stdlib.h>
#include <string.h>

#include "fuzz/targets.h"
#include "io/torch_file.h"
#include "torch_build.h"

/* Touches every byte that the file promises. */
static unsigned touch(const TimTorchFile *zip) {
    unsigned sum = 0;
    for (size_t i = 0; i < zip->count; i++) {
        const uint8_t *data = zip->tensors[i].data;
        for (size_t j = 0; j < zip->tensors[i].bytes; j++) sum += data[j];
        sum += (unsigned)strlen(zip->tensors[i].name);
    }
    for (size_t i = 0; i < zip->text_count; i++) sum += (unsigned)(strlen(zip->texts[i].key) + strlen(zip->texts[i].value));
    return sum;
}

static volatile unsigned touched; /* keeps the reads */

static int read_file(const TimFile *file, bool unwrap) {
    TimTorchFile zip;
    TimError err;
    if (tim_torch_file_read(&zip, file, unwrap, &err) != TIM_OK) return 0;
    touched = touch(&zip);
    tim_torch_file_done(&zip);
    return 1;
}

int fuzz_torch_zip(const uint8_t *data, size_t size) {
    const TimFile file = {data, size};
    const int unwrapped = read_file(&file, true);
    return read_file(&file, false) & unwrapped;
}

int fuzz_pickle(const uint8_t *data, size_t size) {
    Bytes file = torch_file(data, size);
    const int taken = fuzz_torch_zip(file.data, file.size);
    free(file.data);
    return taken;
}
