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

/* The letter that leads to the unit; that of a value equals none. */
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
    uint8_t *most; /* (unit_count): sequences on the way from a unit on, at most, plus UNSEEN's successor; or one of the marks */
} Walk;

enum { UNSEEN, ON_THE_WAY, SEEN };

/* Sequences on the way from unit `index` on, its own included; -1: beyond what is sound. A way that comes back to itself never ends. */
static int most_from(Walk *w, size_t index, int letters) {
    uint8_t *mark = &w->most[index];
    if (*mark >= SEEN) return *mark - SEEN;
    if (*mark == ON_THE_WAY || letters > TIM_CHARSMAP_MAX_LETTERS) return -1;
    *mark = ON_THE_WAY;
    const uint32_t unit = unit_at(w->map, index);
    const size_t base = index ^ offset_of(unit);
    int most = 0;
    for (uint32_t letter = 1; letter < 256; letter++) {
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

/* ---- SentencePiece's model ---- */

/* Bytes of a protocol buffer to come. */
typedef struct Message {
    const uint8_t *at, *end;
} Message;

static bool take_varint(Message *m, uint64_t *out) {
    *out = 0;
    for (int shift = 0; shift < 64 && m->at < m->end; shift += 7) {
        const uint8_t byte = *m->at++;
        *out |= (uint64_t)(byte & 0x7F) << shift;
        if (byte < 0x80) return true;
    }
    return false;
}

/* Takes a field; `content` is that of a text or message, else empty. Groups, which these models do not have, are unsound. */
static bool take_field(Message *m, uint64_t *number, Message *content) {
    uint64_t key, length = 0;
    if (!take_varint(m, &key) || key > UINT32_MAX) return false; /* the library would drop the higher bits */
    *number = key >> 3;
    *content = (Message){m->at, m->at};
    switch (key & 7) {
    case 0:
        return take_varint(m, &length);
    case 1:
        length = 8;
        break;
    case 2:
        if (!take_varint(m, &length)) return false;
        break;
    case 5:
        length = 4;
        break;
    default:
        return false;
    }
    if (length > (uint64_t)(m->end - m->at)) return false;
    *content = (Message){m->at, m->at + ((key & 7) == 2 ? length : 0)};
    m->at += length;
    return true;
}

static const char broken[] = "it is not a whole SentencePiece model";

static const char *check_spec(Message spec) {
    enum { PRECOMPILED_CHARSMAP = 2 };
    while (spec.at < spec.end) {
        uint64_t number;
        Message content;
        TimCharsmap map;
        if (!take_field(&spec, &number, &content)) return broken;
        const char *wrong =
            number == PRECOMPILED_CHARSMAP ? tim_charsmap_open(&map, content.at, (size_t)(content.end - content.at)) : NULL;
        if (wrong) return wrong;
    }
    return NULL;
}

const char *tim_charsmap_check_model(const uint8_t *bytes, size_t size) {
    enum { NORMALIZER_SPEC = 3, DENORMALIZER_SPEC = 5 };
    Message model = {bytes, bytes + size};
    if (size == 0) return broken;
    while (model.at < model.end) {
        uint64_t number;
        Message content;
        if (!take_field(&model, &number, &content)) return broken;
        const char *wrong = number == NORMALIZER_SPEC || number == DENORMALIZER_SPEC ? check_spec(content) : NULL;
        if (wrong) return wrong;
    }
    return NULL;
}
