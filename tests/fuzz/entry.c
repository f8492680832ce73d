/* The face of a libFuzzer program; FUZZ_TARGET is what it calls. */
#include "fuzz/targets.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    (void)FUZZ_TARGET(data, size);
    return 0;
}
