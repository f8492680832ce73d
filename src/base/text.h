/* Small questions about texts. */
#ifndef TIM_BASE_TEXT_H
#define TIM_BASE_TEXT_H

#include <stdbool.h>
#include <stdio.h>
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

enum { TIM_BYTES_TEXT = 32 };

/* "7.19 GB", "12.3 MB", "0.4 MB", in powers of 1000; returns `text`. */
static inline const char *tim_bytes_text(char text[TIM_BYTES_TEXT], size_t bytes) {
    if (bytes >= 1000000000U)
        snprintf(text, TIM_BYTES_TEXT, "%.2f GB", 1e-9 * (double)bytes);
    else
        snprintf(text, TIM_BYTES_TEXT, "%.1f MB", 1e-6 * (double)bytes);
    return text;
}

#endif
