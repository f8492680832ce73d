/* Small questions about texts. */
#ifndef TIM_BASE_TEXT_H
#define TIM_BASE_TEXT_H

#include <stdbool.h>
#include <string.h>

static inline bool tim_ends_with(const char *text, const char *end) {
    const size_t length = strlen(text), tail = strlen(end);
    return length >= tail && strcmp(text + length - tail, end) == 0;
}

#endif
