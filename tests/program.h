/* A program of this build as its user meets it: run in the test's folder (fixture.h) with one thread, what it wrote to its standard
 * streams kept, and checks of its exit code, of its messages and of its files. */
#ifndef TIM_TESTS_PROGRAM_H
#define TIM_TESTS_PROGRAM_H

#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "fixture.h"
#include "io/file.h"

enum { TEXT_BYTES = 1 << 15 };

static char program[PATH_MAX];                     /* find_program's */
static char printed[TEXT_BYTES], said[TEXT_BYTES]; /* stdout and stderr of the last run */
static double resident;                            /* bytes that it had in memory at most */

/* The program that lies at `path` from the folder of this one. */
static inline bool find_program(const char *path) {
    char self[PATH_MAX];
    const ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
    if (length <= 0) return false;
    self[length] = '\0';
    *strrchr(self, '/') = '\0';
    const int size = snprintf(program, sizeof program, "%s/%s", self, path);
    return size < (int)sizeof program && access(program, X_OK) == 0;
}

static inline void read_text(const char *path, char text[TEXT_BYTES]) {
    read_start(path, text, TEXT_BYTES);
}

/* Into the folder. */
static inline void write_text(const char *name, const char *text) {
    write_file(in_folder(name), text, strlen(text));
}

/* Runs "PROGRAM WORDS", which a shell reads, with `typed` as its standard input; returns the exit code, -1 for a signal. */
static inline int run_typed(const char *words, const char *typed) {
    char line[TEXT_BYTES];
    struct rusage usage;
    int status;
    write_text("stdin", typed);
    assert_true(snprintf(line, sizeof line, "cd '%s' && OMP_NUM_THREADS=1 '%s' <stdin %s >stdout 2>stderr", folder, program,
                         words) < (int)sizeof line);
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        execl("/bin/sh", "sh", "-c", line, (char *)NULL);
        _exit(127);
    }
    assert_int_equal(wait4(child, &status, 0, &usage), child);
    resident = 1024.0 * (double)usage.ru_maxrss;
    read_text(in_folder("stdout"), printed);
    read_text(in_folder("stderr"), said);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static inline int run(const char *words) {
    return run_typed(words, "");
}

static inline void assert_contains(const char *text, const char *part) {
    if (strstr(text, part)) return;
    print_error("\"%s\" does not contain \"%s\"\n", text, part);
    fail();
}

static inline void assert_exits(const char *words, const char *typed, int code) {
    const int found = run_typed(words, typed);
    if (found == code) return;
    print_error("%s %s: exit code %d, not %d: %s\n", strrchr(program, '/') + 1, words, found, code, said);
    fail();
}

static inline void assert_runs(const char *words) {
    assert_exits(words, "", 0);
}

/* Fails with `code`, one message that contains `part`, and nothing on stdout. */
static inline void assert_fails(const char *words, int code, const char *part) {
    assert_exits(words, "", code);
    assert_contains(said, part);
    assert_string_equal(printed, "");
}

/* A line of the shell, in the test's folder, with the program as $tim. */
static inline void assert_shell(const char *words) {
    char line[TEXT_BYTES];
    assert_true(snprintf(line, sizeof line, "cd '%s' && tim='%s' && %s", folder, program, words) < (int)sizeof line);
    const int status = system(line);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static inline void assert_same_files(const char *a, const char *b, bool same) {
    TimFile first, second;
    assert_ok(tim_file_open(&first, a, &err));
    assert_ok(tim_file_open(&second, b, &err));
    assert_int_equal(first.size == second.size && memcmp(first.data, second.data, first.size) == 0, same);
    tim_file_close(&first);
    tim_file_close(&second);
}

#endif
