#include "io/json_count.h"

/* The place of the quote that ends a text, or `size`. */
static size_t end_of_text(const char *text, size_t size, size_t i) {
    while (i < size && text[i] != '"') i += text[i] == '\\' ? 2 : 1;
    return i < size ? i : size;
}

bool tim_json_is_small(const char *text, size_t size, size_t most) {
    size_t values = 0;
    for (size_t i = 0; i < size; i++) {
        const char c = text[i];
        if (c == '"')
            i = end_of_text(text, size, i + 1);
        else if ((c == ',' || c == '{' || c == '[') && ++values > most)
            return false;
    }
    return true;
}
