#include "io/key_list.h"

#include <stdio.h>
#include <string.h>

enum { LONGEST_KEY = 63 };

static size_t smaller(size_t a, size_t b) {
    return a < b ? a : b;
}

/* Levenshtein's distance; for longer keys that of their beginnings. */
static size_t count_edits(const char *a, size_t a_length, const char *b, size_t b_length) {
    size_t row[LONGEST_KEY + 1]; /* of the letters of a so far to the first j of b */
    const size_t height = smaller(a_length, LONGEST_KEY), width = smaller(b_length, LONGEST_KEY);
    for (size_t j = 0; j <= width; j++) row[j] = j;
    for (size_t i = 0; i < height; i++) {
        size_t diagonal = row[0];
        row[0] = i + 1;
        for (size_t j = 0; j < width; j++) {
            const size_t above = row[j + 1], changed = diagonal + (a[i] != b[j]);
            row[j + 1] = smaller(changed, 1 + smaller(row[j], above));
            diagonal = above;
        }
    }
    return row[width];
}

/* A section comes once for each of its keys. */
static bool is_again(const TimKeyList *list, const char *text, size_t length) {
    for (size_t i = 0; i < list->count; i++)
        if (list->keys[i].length == length && memcmp(list->keys[i].text, text, length) == 0) return true;
    return false;
}

void tim_key_list_add(TimKeyList *list, const char *text, size_t length) {
    const TimKey key = {text, length, count_edits(list->meant, strlen(list->meant), text, length)};
    if (list->count == TIM_MAX_FIELDS || is_again(list, text, length)) return;
    size_t at = list->count++;
    for (; at > 0 && list->keys[at - 1].edits > key.edits; at--) list->keys[at] = list->keys[at - 1];
    list->keys[at] = key;
}

void tim_key_list_print(const TimKeyList *list, char *out, size_t size) {
    size_t used = 0;
    *out = '\0';
    for (size_t i = 0; i < list->count && used < size; i++)
        used +=
            (size_t)snprintf(out + used, size - used, "%s%.*s", used ? ", " : "", (int)list->keys[i].length, list->keys[i].text);
    if (used >= size) memcpy(out + size - 4, "...", 4);
}
