#include "nearest.h"

#include <stdint.h>
#include <string.h>

enum { LONGEST_WORD = 32 };

static size_t smallest(size_t a, size_t b, size_t c) {
    const size_t ab = a < b ? a : b;
    return ab < c ? ab : c;
}

size_t word_edits(const char *a, const char *b) {
    size_t row[LONGEST_WORD + 1];
    const size_t width = strlen(b);
    if (width > LONGEST_WORD || strlen(a) > LONGEST_WORD) return SIZE_MAX;
    for (size_t j = 0; j <= width; j++) row[j] = j;
    for (size_t i = 0; a[i]; i++) {
        size_t diagonal = row[0];
        row[0] = i + 1;
        for (size_t j = 0; j < width; j++) {
            const size_t above = row[j + 1];
            row[j + 1] = smallest(row[j] + 1, above + 1, diagonal + (a[i] != b[j]));
            diagonal = above;
        }
    }
    return row[width];
}

size_t word_slips(const char *word) {
    return strlen(word) / 3 + 1;
}

const char *nearest_word(const char *word, const char *const *words) {
    size_t best = word_slips(word);
    const char *nearest = NULL;
    for (; *words; words++) {
        const size_t distance = word_edits(word, *words);
        if (distance > best || (distance == best && nearest)) continue;
        best = distance;
        nearest = *words;
    }
    return nearest;
}
