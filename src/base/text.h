/* Small questions about texts. */
#ifndef TIM_BASE_TEXT_H
#define TIM_BASE_TEXT_H

#include <stdbool.h>
#include <string.h>

static inline bool tim_ends_with(const char *text, const char *end) {
    const size_t length = strlen(text), tail = strlen(end);
    return length >= tail && strcmp(text + length - tail, end) == 0;
}

/* Whether a file of this name is one of YAML. */
static inline bool tim_is_yaml(const char *path) {
    return tim_ends_with(path, ".yaml") || tim_ends_with(path, ".yml");
}

/* The order of two texts that need not end in a zero, as strcmp has it. */
static inline int tim_compare_texts(const char *a, size_t a_size, const char *b, size_t b_size) {
    const int order = memcmp(a, b, a_size < b_size ? a_size : b_size);
    return order ? order : (a_size > b_size) - (a_size < b_size);
}

#endif
