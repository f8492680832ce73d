/* Files for readers that take a path: a folder of this process, in memory where the system has such a place, removed when it
 * ends. */
#ifndef TIM_TESTS_FUZZ_FOLDER_H
#define TIM_TESTS_FUZZ_FOLDER_H

#include <stddef.h>

#include "base/error.h"

enum { FUZZ_PATH = 64 };

/* path = that of `name` in the folder. */
const char *fuzz_path(char path[FUZZ_PATH], const char *name);

/* The same, after the file was written. Ends the program when that fails. */
const char *fuzz_file(char path[FUZZ_PATH], const char *name, const void *data, size_t size);

/* 1: taken. 0: refused, and the error says so; it ends the program when it does not. */
int fuzz_taken(TimStatus status, const TimError *err);

#endif
