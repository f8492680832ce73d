/* What test programs with files share: an error, a folder for what they write, and checks that say what went wrong. Each program
 * makes and removes the folder its own way. */
#ifndef TIM_TESTS_FIXTURE_H
#define TIM_TESTS_FIXTURE_H

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "tim/status.h"

enum { PATH_BYTES = 512 };

static char folder[] = "/tmp/tim-test-XXXXXX"; /* mkdtemp makes its name */
static TimError err;

/* A path in the temporary directory; eight may be in use at a time. */
static inline const char *in_folder(const char *name) {
    static char paths[8][PATH_BYTES];
    static int turn;
    char *path = paths[turn++ % 8];
    snprintf(path, PATH_BYTES, "%s/%s", folder, name);
    return path;
}

/* At most size - 1 bytes, and a zero behind them. */
static inline void read_start(const char *path, char *text, size_t size) {
    FILE *stream = fopen(path, "rb");
    assert_non_null(stream);
    text[fread(text, 1, size - 1, stream)] = '\0';
    fclose(stream);
}

static inline void write_file(const char *path, const void *data, size_t size) {
    FILE *stream = fopen(path, "wb");
    assert_non_null(stream);
    assert_int_equal(fwrite(data, 1, size, stream), size);
    assert_int_equal(fclose(stream), 0);
}

/* Files, and folders of files. */
static inline void remove_tree(const char *path) {
    DIR *dir = opendir(path);
    if (!dir) return;
    for (const struct dirent *entry = readdir(dir); entry; entry = readdir(dir)) {
        char inner[2 * PATH_BYTES];
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
        if (snprintf(inner, sizeof inner, "%s/%s", path, entry->d_name) >= (int)sizeof inner) continue;
        if (unlink(inner) != 0) remove_tree(inner);
    }
    closedir(dir);
    rmdir(path);
}

/* For cmocka: removes the folder and all that tests have left in it. */
static inline int remove_all(void **state) {
    (void)state;
    remove_tree(folder);
    return 0;
}

static inline void assert_says(const char *part) {
    if (strstr(err.text, part)) return;
    print_error("\"%s\" does not say \"%s\"\n", err.text, part);
    fail();
}

static inline void assert_ok(TimStatus status) {
    if (status == TIM_OK) return;
    print_error("%s: %s\n", tim_status_name(status), err.text);
    fail();
}

#endif
