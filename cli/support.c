#include "support.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
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

/* Bytes of the UTF-8 character at `text`; 0 for what is none (RFC 3629, table 3-7 of Unicode). */
static size_t character_bytes(const char *text) {
    const unsigned char *at = (const unsigned char *)text;
    const unsigned char least = at[0] == 0xE0   ? 0xA0
                                : at[0] == 0xF0 ? 0x90
                                                : 0x80,
                        most = at[0] == 0xED   ? 0x9F
                               : at[0] == 0xF4 ? 0x8F
                                               : 0xBF;
    const size_t bytes = at[0] < 0x80 ? 1 : at[0] < 0xC2 ? 0 : at[0] < 0xE0 ? 2 : at[0] < 0xF0 ? 3 : at[0] < 0xF5 ? 4 : 0;
    if (bytes > 1 && (at[1] < least || at[1] > most)) return 0;
    for (size_t i = 2; i < bytes; i++)
        if ((at[i] & 0xC0) != 0x80) return 0;
    return bytes;
}

void disarm(char *text) {
    for (size_t bytes; *text; text += bytes ? bytes : 1) {
        bytes = character_bytes(text);
        const unsigned control = control_of(text);
        if (!bytes || control) *text = '?';
        if (control >= 0x80) text[1] = '?';
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

/* "..." from `at` on, or from where the character there begins. */
static void mark_cut(char *text, size_t at) {
    for (int i = 0; i < 3 && ((unsigned char)text[at] & 0xC0) == 0x80; i++) at--;
    memcpy(text + at, "...", 4);
}

TimStatus fail_with(TimError *err, TimStatus status, const char *format, ...) {
    va_list args;
    va_start(args, format);
    const int wanted = vsnprintf(err->text, sizeof err->text, format, args);
    va_end(args);
    if (wanted >= (int)sizeof err->text) mark_cut(err->text, sizeof err->text - 4);
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

bool lies_below(const char *path, const char *folder) {
    char *inner = realpath(path, NULL), *outer = realpath(folder, NULL);
    const size_t length = outer ? strlen(outer) : 0;
    const bool below = inner && outer && strncmp(inner, outer, length) == 0 && (inner[length] == '/' || (length == 1 && inner[1]));
    free(inner);
    free(outer);
    return below;
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
    while (*text) {
        const size_t bytes = character_bytes(text);
        const unsigned control = control_of(text);
        if (!bytes)
            fputs("\\ufffd", stdout);
        else if (*text == '"' || *text == '\\')
            printf("\\%c", *text);
        else if (control)
            printf("\\u%04x", control);
        else
            fwrite(text, 1, bytes, stdout);
        text += bytes ? bytes : 1;
    }
    putchar('"');
}
