/* The library's calls of tim_file_open and tim_file_close come here (ld's --wrap). A map ends with its page, so that reading a
 * little too far goes unnoticed; here a file is copied into a block of just its bytes, which a sanitizer watches. */
#include <stdlib.h>
#include <string.h>

#include "io/file.h"

TimStatus __real_tim_file_open(TimFile *file, const char *path, TimError *err);
void __real_tim_file_close(TimFile *file);
TimStatus __wrap_tim_file_open(TimFile *file, const char *path, TimError *err);
void __wrap_tim_file_close(TimFile *file);

TimStatus __wrap_tim_file_open(TimFile *file, const char *path, TimError *err) {
    const TimStatus status = __real_tim_file_open(file, path, err);
    if (status != TIM_OK || file->size == 0) return status;
    uint8_t *copy = malloc(file->size);
    if (!copy) abort();
    memcpy(copy, file->data, file->size);
    const size_t size = file->size;
    __real_tim_file_close(file);
    *file = (TimFile){copy, size};
    return TIM_OK;
}

void __wrap_tim_file_close(TimFile *file) {
    if (file->size > 0) free((void *)(uintptr_t)file->data);
    *file = (TimFile){0};
    __real_tim_file_close(file);
}
