/* Small things that several commands do. */
#ifndef TIM_CLI_SUPPORT_H
#define TIM_CLI_SUPPORT_H

#include <stdbool.h>

#include "tim/status.h"

/* Writes the text into *err as printf would, sets its status and returns it. */
TimStatus fail_with(TimError *err, TimStatus status, const char *format, ...) __attribute__((format(printf, 3, 4)));

bool ends_with(const char *text, const char *end);

/* Makes the folder unless it is there; its parent must be. */
TimStatus make_folder(const char *path, TimError *err);

/* Instruction sets as --isa takes them, up to NULL; the first stands for the best there is. */
extern const char *const isa_words[];

/* Seconds on a clock that never jumps. */
double clock_seconds(void);

#endif
