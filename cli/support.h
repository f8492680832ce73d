/* Small things that several commands do. */
#ifndef TIM_CLI_SUPPORT_H
#define TIM_CLI_SUPPORT_H

#include <stdarg.h>
#include <stdbool.h>

#include "options.h"
#include "tim/status.h"

/* The control character that the text begins with, U+0080 ... U+009F of two bytes included; 0: none. */
unsigned control_of(const char *text);

/* Prints a JSON string; bytes that are not UTF-8 become U+FFFD. */
void print_quoted(const char *text);

/* What files say may hold what a terminal would obey: control characters, and those of U+0080 ... U+009F, become question marks,
 * and so does what is not UTF-8. */
void disarm(char *text);

/* Prints the line "START: text" to stderr, the text as printf would but disarmed. */
void say_disarmed(const char *start, const char *format, ...) __attribute__((format(printf, 2, 3)));
void say_disarmed_list(const char *start, const char *format, va_list args) __attribute__((format(printf, 2, 0)));

/* Writes the text into *err as printf would, without control characters, sets its status and returns it. */
TimStatus fail_with(TimError *err, TimStatus status, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* Whatever the case of letters. */
bool ends_with(const char *text, const char *end);

enum { MAX_PATH_BYTES = 4096 };

/* "folder/name" and `end`, whether or not the folder ends with a slash. */
TimStatus join_path(char out[MAX_PATH_BYTES], const char *folder, const char *name, const char *end, TimError *err);

/* Makes the folder and those above it that are missing. */
TimStatus make_folder(const char *path, TimError *err);

/* --threads and --isa, as commands that compute take them. */
Option option_threads(int *place);
Option option_isa(int *place);

/* The instruction set that --isa chose, as libtim wants it: NULL for the best there is. */
const char *chosen_isa(int choice);

/* Precisions as most --precision take them, up to NULL; the first is the default. */
extern const char *const precision_words[];

/* Whether both paths lead to one file or folder; false where one leads nowhere. */
bool same_file(const char *a, const char *b);

/* Whether `path` leads into the folder, or into one within it. */
bool lies_below(const char *path, const char *folder);

/* TIM_E_ARGUMENT where one of the `names`, up to NULL, is in the folder: it would be replaced. */
TimStatus check_absent(const char *folder, const char *const *names, TimError *err);

/* Seconds on a clock that never jumps. */
double clock_seconds(void);

#endif
