#include "text/sentencepiece_check.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "text/charsmap.h"

/* The library matches the user's pieces against a text with room for as many that begin each other, and does not look at it. */
enum { MAX_NESTED = 64 };

/* It builds its map of pieces with a call within a call for each byte of a piece, and its time grows with the longest. */
enum { MAX_PIECE = 1024 };

/* Fields of sentencepiece_model.proto. */
enum { PIECES = 1, NORMALIZER_SPEC = 3, SELF_TEST_DATA = 4, DENORMALIZER_SPEC = 5 };
enum { PIECE = 1 };

/* ---- protocol buffers ---- */

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

enum { VARINT = 0, BYTES = 2 };

/* A field: its number, how it is stored, and its content, a text or message, or a value. */
typedef struct Field {
    uint64_t number, value;
    int wire;
    Message content;
} Field;

/* Takes a field. Groups, which these models do not have, are unsound. */
static bool take_field(Message *m, Field *field) {
    uint64_t key, length = 0;
    if (!take_varint(m, &key) || key > UINT32_MAX) return false; /* the library would drop the higher bits */
    *field = (Field){.number = key >> 3, .wire = (int)(key & 7), .content = {m->at, m->at}};
    switch (field->wire) {
    case VARINT:
        return take_varint(m, &field->value);
    case 1:
        length = 8;
        break;
    case BYTES:
        if (!take_varint(m, &length)) return false;
        break;
    case 5:
        length = 4;
        break;
    default:
        return false;
    }
    if (length > (uint64_t)(m->end - m->at)) return false;
    field->content = (Message){m->at, m->at + (field->wire == BYTES ? length : 0)};
    m->at += length;
    return true;
}

static const char broken[] = "it is not a whole SentencePiece model";

/* ---- maps of characters ---- */

static size_t size_of(Message m) {
    return (size_t)(m.end - m.at);
}

static const char *check_spec(Message spec) {
    enum { PRECOMPILED_CHARSMAP = 2 };
    while (spec.at < spec.end) {
        Field field;
        TimCharsmap map;
        if (!take_field(&spec, &field)) return broken;
        const char *wrong =
            field.number == PRECOMPILED_CHARSMAP ? tim_charsmap_open(&map, field.content.at, size_of(field.content)) : NULL;
        if (wrong) return wrong;
    }
    return NULL;
}

/* ---- pieces ---- */

static const char *check_piece(Message piece) {
    while (piece.at < piece.end) {
        Field field;
        if (!take_field(&piece, &field)) return broken;
        if (field.number == PIECE && size_of(field.content) > MAX_PIECE) return "one of its pieces is longer than 1024 bytes";
    }
    return NULL;
}

/* ---- pieces that are the user's ---- */

/* Whether the piece may be the user's: the library keeps the low half of a value, and an earlier type where a later one is none it
 * knows. Its text, up to the first zero byte, where the library's map of pieces sees it end. */
static bool is_users(Message piece, Message *text) {
    enum { TYPE = 3, USER_DEFINED = 4 };
    bool users = false;
    Field field;
    *text = (Message){piece.at, piece.at};
    while (piece.at < piece.end && take_field(&piece, &field)) {
        if (field.number == PIECE && field.wire == BYTES) *text = field.content;
        if (field.number == TYPE && field.wire == VARINT) users |= (uint32_t)field.value == USER_DEFINED;
    }
    text->end = text->at + strnlen((const char *)text->at, (size_t)(text->end - text->at));
    return users;
}

static int by_bytes(const void *left, const void *right) {
    const Message *a = left, *b = right;
    const size_t shorter = size_of(*a) < size_of(*b) ? size_of(*a) : size_of(*b);
    const int order = memcmp(a->at, b->at, shorter);
    return order ? order : (size_of(*a) > size_of(*b)) - (size_of(*a) < size_of(*b));
}

static bool begins(Message text, Message with) {
    return size_of(with) <= size_of(text) && memcmp(text.at, with.at, size_of(with)) == 0;
}

/* Sorted, what begins a text comes before it, and between both only what it begins too. */
static bool nest_too_deep(Message *texts, size_t count) {
    Message open[MAX_NESTED];
    size_t depth = 0;
    qsort(texts, count, sizeof *texts, by_bytes);
    for (size_t i = 0; i < count; i++) {
        while (depth && !begins(texts[i], open[depth - 1])) depth--;
        if (depth == MAX_NESTED) return true;
        open[depth++] = texts[i];
    }
    return false;
}

/* The user's pieces of a sound model into `texts`, unless that is NULL; returns how many there are. */
static size_t users_pieces(Message model, Message *texts) {
    size_t count = 0;
    Field field;
    while (model.at < model.end && take_field(&model, &field)) {
        Message text;
        if (field.number != PIECES || !is_users(field.content, &text)) continue;
        if (texts) texts[count] = text;
        count++;
    }
    return count;
}

static const char *check_nesting(Message model) {
    Message *texts;
    const size_t count = users_pieces(model, NULL);
    if (tim_new(&texts, count + 1, sizeof *texts, "pieces", NULL) != TIM_OK) return "its pieces do not fit into memory";
    users_pieces(model, texts);
    const bool deep = nest_too_deep(texts, count);
    tim_free(texts);
    return deep ? "too many of its pieces begin each other" : NULL;
}

/* ---- the model ---- */

const char *tim_sentencepiece_check(const uint8_t *bytes, size_t size) {
    const Message whole = {bytes, bytes + size};
    Message model = whole;
    if (size == 0) return broken;
    while (model.at < model.end) {
        Field field;
        if (!take_field(&model, &field)) return broken;
        const char *wrong = field.number == PIECES                                                 ? check_piece(field.content)
                            : field.number == NORMALIZER_SPEC || field.number == DENORMALIZER_SPEC ? check_spec(field.content)
                                                                                                   : NULL;
        if (wrong) return wrong;
    }
    return check_nesting(whole);
}

size_t tim_sentencepiece_untested(uint8_t *out, const uint8_t *bytes, size_t size) {
    Message model = {bytes, bytes + size};
    size_t count = 0;
    while (model.at < model.end) {
        const uint8_t *begin = model.at;
        Field field;
        if (!take_field(&model, &field)) break;
        if (field.number == SELF_TEST_DATA) continue;
        memcpy(out + count, begin, (size_t)(model.at - begin));
        count += (size_t)(model.at - begin);
    }
    return count;
}
