/* An array of numbers in an npz, such as the mean or covariance of a reference: the array alone, in a sound zip. */
#include <stdlib.h>
#include <string.h>

#include "fuzz/folder.h"
#include "fuzz/targets.h"
#include "io/npz_read.h"
#include "torch_build.h"

enum { WIDTH = 3 };

static volatile double touched; /* keeps the reads */

/* A vector of three numbers, or three by three. */
static int read_array(const TimFile *file, const char *path, int rank) {
    static const uint64_t dims[] = {WIDTH, WIDTH};
    double values[WIDTH * WIDTH];
    TimError err;
    if (!fuzz_taken(tim_npz_read_f64(file, path, "mu", rank, dims, values, &err), &err)) return 0;
    double sum = 0;
    for (int i = 0; i < (rank == 1 ? WIDTH : WIDTH * WIDTH); i++) sum += values[i];
    touched = sum;
    return 1;
}

int fuzz_moments(const uint8_t *data, size_t size) {
    Zip zip = {0};
    TimFile file;
    TimError err;
    char path[FUZZ_PATH];
    zip_add(&zip, "mu.npy", data, size);
    Bytes bytes = zip_end(&zip);
    fuzz_file(path, "moments.npz", bytes.data, bytes.size);
    free(bytes.data);
    if (!fuzz_taken(tim_file_open(&file, path, &err), &err)) return 0;
    const int taken = read_array(&file, path, 1) | read_array(&file, path, 2);
    tim_file_close(&file);
    return taken;
}
