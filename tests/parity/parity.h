/* What a checker of golden values works with: one open file, its tensors and metadata, and the lines of the report.
 *
 * A checker rebuilds what the file describes, reads its inputs with parity_input_*, and hands its results to parity_compare_*.
 * Invariant: every tensor of a file ends as input or as compared; one that is neither is a failure, so nothing is skipped silently.
 * A comparison prints its line and counts, it does not stop the checker; a status that is not TIM_OK stops it and becomes a
 * failure line with the error's text. Everything allocated through the file is freed with it: checkers return early freely.
 *
 * To add a checker: write check_*.c, declare it in checks.h, add its pattern to the table in parity.c. */
#ifndef TIM_TESTS_PARITY_H
#define TIM_TESTS_PARITY_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "io/safetensors.h"

typedef struct ParityOptions {
    bool reference;        /* --ref: the scalar fp32 oracle */
    bool bf16;             /* --bf16: matrix products in bf16; network files then have their own tolerance */
    const char *isa;       /* --isa NAME: highest instruction set to use; NULL: whatever the machine has */
    const char *only;      /* --only a,b: relative paths to look at; NULL: all */
    const char *directory; /* DIR */
} ParityOptions;

typedef struct Parity {
    ParityOptions options;
    size_t passed, failed; /* lines, one for each compared tensor and for each other failure */
} Parity;

typedef struct ParityFile {
    Parity *run;
    const char *path;       /* what to open */
    const char *name;       /* relative to the directory; what the report shows */
    TimSafetensors tensors; /* empty when the file is not safetensors */
    bool *used;             /* (tensors.count): read as input or compared */
    json_t *documents;      /* array that owns every parsed JSON text */
    void **blocks;          /* (block_count): what parity_new gave */
    size_t block_count, block_capacity;
} ParityFile;

/* --- the file -------------------------------------------------------------------------------------------------------------- */

/* Opens DIR/name; safetensors are parsed, other files only have a path. parity_file_close is due also after a failure. */
TimStatus parity_file_open(ParityFile *file, Parity *run, const char *path, const char *name, TimError *err);

/* Reports the tensors that nobody used. Called by the runner after a checker. */
void parity_file_finish(ParityFile *file);

void parity_file_close(ParityFile *file);

/* A zeroed block that lives as long as the file. `out` points to a pointer. */
TimStatus parity_new(ParityFile *file, void *out, size_t count, size_t size, TimError *err);

/* --- metadata -------------------------------------------------------------------------------------------------------------- */

TimStatus parity_text(ParityFile *file, const char *key, const char **text, TimError *err);
TimStatus parity_number(ParityFile *file, const char *key, double *number, TimError *err);

/* parity_number for a key that may be missing: *number then keeps its value. */
TimStatus parity_optional_number(ParityFile *file, const char *key, double *number, TimError *err);

/* A metadata text parsed as JSON; borrowed from the file. */
TimStatus parity_json(ParityFile *file, const char *key, json_t **value, TimError *err);

/* The whole file parsed as JSON; borrowed from the file. */
TimStatus parity_json_file(ParityFile *file, json_t **value, TimError *err);

/* --- inputs ---------------------------------------------------------------------------------------------------------------- */

/* The stored tensor; marks nothing. */
TimStatus parity_find(ParityFile *file, const char *name, const TimStoredTensor **tensor, TimError *err);

/* The values of an input, which lives as long as the file; `tensor` (may be NULL) receives its shape. Marks it as used. */
TimStatus parity_input_f64(ParityFile *file, const char *name, double **values, const TimStoredTensor **tensor, TimError *err);
TimStatus parity_input_f32(ParityFile *file, const char *name, float **values, const TimStoredTensor **tensor, TimError *err);
TimStatus parity_input_i64(ParityFile *file, const char *name, int64_t **values, const TimStoredTensor **tensor, TimError *err);

/* --- results --------------------------------------------------------------------------------------------------------------- */

/* Compares `count` results with the stored tensor: error = max |a - b| / max |b|, absolute where max |b| is 0.
 * NaN on either side, infinity, a missing tensor and another count are failures. */
void parity_compare(ParityFile *file, const char *name, const double *actual, size_t count, double tolerance);
void parity_compare_f32(ParityFile *file, const char *name, const float *actual, size_t count, double tolerance);

/* The same with error = |a - b| / max(|b|, floor) in the L2 norm; floor 0 for the plain relative error. */
void parity_compare_l2(ParityFile *file, const char *name, const float *actual, size_t count, double floor, double tolerance);

/* One line for an error that the checker measured itself; marks the tensor `name` if there is one. Passes iff error <=
 * tolerance. */
void parity_report(ParityFile *file, const char *name, double error, double tolerance);

/* A failure line with a text; `what` is a tensor's name or "-". Marks nothing. */
void parity_fail(ParityFile *file, const char *what, const char *format, ...) __attribute__((format(printf, 3, 4)));

#endif
