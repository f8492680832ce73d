/* The map of characters that SentencePiece models and tokenizer.json files carry ("precompiled_charsmap"): character sequences and
 * what they become, such as NFKC. A double-array trie in the layout of darts-clone, then the texts its values point to.
 * Invariant of an open map: no walk through the trie leaves it, and every text ends inside the map and within TIM_CHARSMAP_MAX_TEXT
 * bytes: what a text becomes is no longer than it times a constant. NFKC makes at most 33 bytes of a character (U+FDFA). At most
 * TIM_CHARSMAP_MAX_NESTED sequences begin each other, and none is without end: TIM_CHARSMAP_MAX_LETTERS bounds the walk that
 * looks. */
#ifndef TIM_TEXT_CHARSMAP_H
#define TIM_TEXT_CHARSMAP_H

#include <stddef.h>
#include <stdint.h>

enum {
    TIM_CHARSMAP_MAX_TEXT = 256,
    TIM_CHARSMAP_MAX_NESTED = 32, /* sequences that begin each other: the library has room for as many */
    TIM_CHARSMAP_MAX_LETTERS = 128
};

typedef struct TimCharsmap {
    const uint8_t *units; /* (unit_count) words of 4 bytes, little-endian */
    size_t unit_count;    /* 0: nothing is mapped */
    const char *texts;
} TimCharsmap;

/* Opens a map in borrowed bytes. NULL, or what is wrong with it. */
const char *tim_charsmap_open(TimCharsmap *map, const uint8_t *bytes, size_t size);

/* The longest sequence at the start of `text` that the map has: its bytes, and what it becomes into *out; 0 when there is none. */
size_t tim_charsmap_find(const TimCharsmap *map, const char *text, size_t size, const char **out);

#endif
