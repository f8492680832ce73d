#include "support.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

unsigned control_of(const char *text) {
    const unsigned char c = (unsigned char)text[0], next = (unsigned char)text[1];
    if (c == 0xC2 && next >= 0x80 && next < 0xA0) return next;
    return c < 0x20 || c == 0x7F ? c : 0;
}

void disarm(char *text) {
    for (unsigned char *c = (unsigned char *)text; *c; c++) {
        if (*c < ' ' || *c == 0x7F) *c = '?';
        if (*c == 0xC2 && c[1] >= 0x80 && c[1] < 0xA0) c[0] = c[1] = '?';
    }
}

void say_disarmed_list(const char *start, const char *format, va_list args) {
    char text[16384];
    vsnprintf(text, sizeof text, format, args);
    disarm(text);
    fprintf(stderr, "%s: %s\n", start, text);
}

void say_disarmed(const char *start, const char *format, ...) {
    va_list args;
    va_start(args, format);
    say_disarmed_list(start, format, args);
    va_end(args);
}

TimStatus fail_with(TimError *err, TimStatus status, const char *format, ...) {
    va_list args;
    va_start(args, format);
    const int wanted = vsnprintf(err->text, sizeof err->text, format, args);
    va_end(args);
    if (wanted >= (int)sizeof err->text) memcpy(err->text + sizeof err->text - 4, "...", 4);
    disarm(err->text);
    return err->status = status;
}

static const char *const isa_words[] = {"best", "ref", "generic", "avx2", "avx512", "avx512_bf16", "amx_bf16", NULL};

Option option_threads(int *place) {
    return option_int("threads", place, 1, 4096, "threads to use (default: as many as there are cores)");
}

Option option_isa(int *place) {
    return option_choice("isa", place, isa_words, "instruction set of our kernels (default: the best there is)");
}

const char *chosen_isa(int choice) {
    return choice > 0 ? isa_words[choice] : NULL;
}

const char *const precision_words[] = {"bf16", "fp32", NULL};

bool ends_with(const char *text, const char *end) {
    const size_t length = strlen(text), tail = strlen(end);
    return length >= tail && strcasecmp(text + length - tail, end) == 0;
}

TimStatus join_path(char out[MAX_PATH_BYTES], const char *folder, const char *name, const char *end, TimError *err) {
    const int length = snprintf(out, MAX_PATH_BYTES, "%s%s%s%s", folder, ends_with(folder, "/") ? "" : "/", name, end);
    if (length >= 0 && length < MAX_PATH_BYTES) return TIM_OK;
    return fail_with(err, TIM_E_IO, "%.800s: the path is too long", folder);
}

static bool have_folder(const char *path) {
    struct stat info;
    if (mkdir(path, 0777) == 0) return true;
    const int cause = errno;
    if (stat(path, &info) == 0 && S_ISDIR(info.st_mode)) return true;
    errno = cause;
    return false;
}

static TimStatus make_one(const char *path, TimError *err) {
    if (have_folder(path)) return TIM_OK;
    return fail_with(err, TIM_E_IO, "%.800s: cannot make the folder: %.200s; name another with --out", path, strerror(errno));
}

TimStatus make_folder(const char *path, TimError *err) {
    char part[MAX_PATH_BYTES];
    if (snprintf(part, sizeof part, "%s", path) >= MAX_PATH_BYTES)
        return fail_with(err, TIM_E_IO, "%.800s...: the path is too long", path);
    for (char *slash = strchr(part + (*part == '/'), '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        const TimStatus status = make_one(part, err);
        if (status != TIM_OK) return status;
        *slash = '/';
    }
    return make_one(path, err);
}

bool same_file(const char *a, const char *b) {
    struct stat one, other;
    return stat(a, &one) == 0 && stat(b, &other) == 0 && one.st_dev == other.st_dev && one.st_ino == other.st_ino;
}

TimStatus check_absent(const char *folder, const char *const *names, TimError *err) {
    for (; *names; names++) {
        char path[MAX_PATH_BYTES];
        const TimStatus status = join_path(path, folder, *names, "", err);
        if (status != TIM_OK) return status;
        if (access(path, F_OK) == 0)
            return fail_with(err, TIM_E_ARGUMENT, "%.800s is there already; give --overwrite to replace it, or another folder",
                             path);
    }
    return TIM_OK;
}

double clock_seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

void print_quoted(const char *text) {
    putchar('"');
    for (; *text; text++) {
        const unsigned control = control_of(text);
        if (*text == '"' || *text == '\\')
            printf("\\%c", *text);
        else if (control)
            printf("\\u%04x", control);
        else
            putchar(*text);
        text += control >= 0x80;
    }
    putchar('"');
}
