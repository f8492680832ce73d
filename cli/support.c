#include "support.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <time.h>

TimStatus fail_with(TimError *err, TimStatus status, const char *format, ...) {
    va_list args;
    va_start(args, format);
    vsnprintf(err->text, sizeof err->text, format, args);
    va_end(args);
    return err->status = status;
}

const char *const isa_words[] = {"best", "ref", "generic", "avx2", "avx512", "avx512_bf16", "amx_bf16", NULL};

bool ends_with(const char *text, const char *end) {
    const size_t length = strlen(text), tail = strlen(end);
    return length >= tail && strcasecmp(text + length - tail, end) == 0;
}

TimStatus join_path(char out[MAX_PATH_BYTES], const char *folder, const char *name, const char *end, TimError *err) {
    const int length = snprintf(out, MAX_PATH_BYTES, "%s%s%s%s", folder, ends_with(folder, "/") ? "" : "/", name, end);
    if (length >= 0 && length < MAX_PATH_BYTES) return TIM_OK;
    return fail_with(err, TIM_E_IO, "%.800s: the path is too long", folder);
}

TimStatus make_folder(const char *path, TimError *err) {
    if (mkdir(path, 0777) == 0 || errno == EEXIST) return TIM_OK;
    return fail_with(err, TIM_E_IO, "%.1000s: %.200s", path, strerror(errno));
}

double clock_seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}
