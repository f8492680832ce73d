#include "text/charsmap.h"

#include <stdbool.h>
#include <string.h>

#include "base/memory.h"

/* ---- units of the trie ---- */

static uint32_t unit_at(const TimCharsmap *map, size_t index) {
    uint32_t unit;
    memcpy(&unit, map->units + index * sizeof unit, sizeof unit); /* little-endian, as this machine is */
    return unit;
}

static bool is_value(uint32_t unit) {
    return unit >> 31;
}

static bool has_value(uint32_t unit) {
    return unit >> 8 & 1;
}

/* The letter that leads to the unit, 0 as well as any other; that of a value equals none. */
static uint32_t label_of(uint32_t unit) {
    return unit & 0x800000FFU;
}

/* Children of unit i lie at i ^ offset ^ letter, its value at i ^ offset. */
static size_t offset_of(uint32_t unit) {
    return (size_t)(unit >> 10) << ((unit & 0x200U) >> 6);
}

/* ---- opening ---- */

/* NULL, or what is wrong with a unit. */
static const char *wrong_with(const TimCharsmap *map, size_t index, size_t text_size) {
    static const char outside[] = "its map of characters points outside of itself";
    const uint32_t unit = unit_at(map, index);
    if (index > 0 && is_value(unit)) return NULL;
    const size_t base = index ^ offset_of(unit);
    if ((base | 0xFF) >= map->unit_count) return outside;
    if (!has_value(unit)) return NULL;
    const size_t text = unit_at(map, base) & 0x7FFFFFFFU;
    if (text >= text_size) return outside;
    if (strnlen(map->texts + text, TIM_CHARSMAP_MAX_TEXT + 1) <= TIM_CHARSMAP_MAX_TEXT) return NULL;
    return "its map of characters makes more of some than any character is worth";
}

/* ---- how many sequences begin a text at once ---- */

/* A walk over all sequences of the map. What lies below a unit is counted once, however many ways lead there. */
typedef struct Walk {
    const TimCharsmap *map;
    uint8_t *most; /* (unit_count): sequences on the way from a unit on, at most, plus SEEN; below that a mark */
} Walk;

enum { UNSEEN, ON_THE_WAY, SEEN };

/* Sequences on the way from unit `index` on, its own included; -1: beyond what is sound. A way that comes back to itself never
 * ends. */
static int most_from(Walk *w, size_t index, int letters) {
    uint8_t *mark = &w->most[index];
    if (*mark >= SEEN) return *mark - SEEN;
    if (*mark == ON_THE_WAY || letters > TIM_CHARSMAP_MAX_LETTERS) return -1;
    *mark = ON_THE_WAY;
    const uint32_t unit = unit_at(w->map, index);
    const size_t base = index ^ offset_of(unit);
    int most = 0;
    for (uint32_t letter = 0; letter < 256; letter++) { /* with 0: the library walks the zero bytes of a text too */
        if (label_of(unit_at(w->map, base ^ letter)) != letter) continue;
        const int below = most_from(w, base ^ letter, letters + 1);
        if (below < 0) return -1;
        if (below > most) most = below;
    }
    most += has_value(unit);
    if (most > TIM_CHARSMAP_MAX_NESTED) return -1;
    *mark = (uint8_t)(SEEN + most);
    return most;
}

static const char *check_nesting(const TimCharsmap *map) {
    Walk walk = {.map = map};
    if (tim_new(&walk.most, map->unit_count, sizeof *walk.most, "a map of characters", NULL) != TIM_OK)
        return "its map of characters does not fit into memory";
    const int most = most_from(&walk, 0, 0);
    tim_free(walk.most);
    return most < 0 ? "its map of characters has sequences without end, or too many that begin alike" : NULL;
}

const char *tim_charsmap_open(TimCharsmap *map, const uint8_t *bytes, size_t size) {
    uint32_t trie;
    *map = (TimCharsmap){0};
    if (size == 0) return NULL;
    if (size < sizeof trie) return "its map of characters is cut short";
    memcpy(&trie, bytes, sizeof trie);
    const size_t rest = size - sizeof trie;
    if (trie == 0 || trie % sizeof trie != 0 || trie >= rest) return "its map of characters has a trie of a wrong size";
    if (bytes[size - 1] != '\0') return "its map of characters ends in a text that does not end";
    *map = (TimCharsmap){bytes + sizeof trie, trie / sizeof trie, (const char *)bytes + sizeof trie + trie};
    const char *wrong = NULL;
    for (size_t i = 0; i < map->unit_count && !wrong; i++) wrong = wrong_with(map, i, rest - trie);
    return wrong ? wrong : check_nesting(map);
}

size_t tim_charsmap_find(const TimCharsmap *map, const char *text, size_t size, const char **out) {
    size_t found = 0;
    if (map->unit_count == 0) return 0;
    size_t place = offset_of(unit_at(map, 0));
    for (size_t i = 0; i < size; i++) {
        const uint8_t letter = (uint8_t)text[i];
        place ^= letter;
        const uint32_t unit = unit_at(map, place);
        if (label_of(unit) != letter) break;
        place ^= offset_of(unit);
        if (!has_value(unit)) continue;
        found = i + 1;
        *out = map->texts + (unit_at(map, place) & 0x7FFFFFFFU);
    }
    return found;
}
