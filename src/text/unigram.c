#include "text/unigram.h"

#include "base/memory.h"
#include "base/utf8.h"

/* The best way to the end of a byte: the piece that ends there and where it begins. */
typedef struct Node {
    double score; /* of the whole way */
    size_t begin;
    int32_t id; /* -1: an unknown character */
    bool reached;
} Node;

static void offer(Node *node, double score, size_t begin, int32_t id) {
    if (node->reached && score <= node->score) return;
    *node = (Node){score, begin, id, true};
}

/* Extends the best way to `at` by every piece that begins there, and by the character itself where it is no piece. */
static void extend(const TimUnigram *u, Node *nodes, const char *text, size_t size, size_t at, size_t character) {
    TimPieceRange range = tim_pieces_all(u->vocab);
    bool has_character = false;
    for (size_t end = at; end < size && tim_pieces_narrow(u->vocab, &range, text[end]); end++) {
        const TimPiece *piece = tim_pieces_here(u->vocab, &range);
        if (!piece) continue;
        offer(&nodes[end + 1], nodes[at].score + u->scores[piece->id], at, piece->id);
        has_character = has_character || piece->size == character;
    }
    if (!has_character) offer(&nodes[at + character], nodes[at].score + u->unk_score, at, -1);
}

/* nodes[1 ... size]; only ends of characters are reached by ways that end there, and every one of them is. */
static TimStatus find_ways(const TimUnigram *u, Node *nodes, const char *text, size_t size, TimError *err) {
    nodes[0].reached = true;
    for (size_t at = 0; at < size;) {
        uint32_t code;
        const size_t character = tim_utf8_next(text + at, size - at, &code);
        if (character == 0) return tim_fail(err, TIM_E_ARGUMENT, "the text is not UTF-8 at byte %zu of a part", at);
        extend(u, nodes, text, size, at, character);
        at += character;
    }
    return TIM_OK;
}

static TimStatus add_unknown(const TimUnigram *u, const char *text, size_t size, TimTokenIds *ids, TimError *err) {
    bool bytes = u->byte_fallback;
    for (size_t i = 0; i < size && bytes; i++) bytes = u->bytes[(unsigned char)text[i]] >= 0;
    for (size_t i = 0; i < size && bytes; i++) TIM_TRY(tim_token_ids_add(ids, u->bytes[(unsigned char)text[i]], err));
    if (bytes) return TIM_OK;
    if (u->unk >= 0) return tim_token_ids_add(ids, u->unk, err);
    return tim_fail(err, TIM_E_ARGUMENT, "a character of the text has no piece, and the tokenizer has none for what is unknown");
}

/* The best way is known from its end; following it turns it around: `begin` becomes the end of the piece that starts there. */
static size_t turn_around(Node *nodes, size_t size) {
    size_t end = size, next = SIZE_MAX;
    int32_t next_id = 0;
    while (true) {
        const size_t begin = nodes[end].begin;
        const int32_t id = nodes[end].id;
        nodes[end].begin = next;
        nodes[end].id = next_id;
        if (end == 0) return 0;
        next = end;
        next_id = id;
        end = begin;
    }
}

static TimStatus follow(const TimUnigram *u, Node *nodes, const char *text, size_t size, TimTokenIds *ids, TimError *err) {
    size_t unknown = SIZE_MAX; /* where unknown characters began that are not added yet */
    for (size_t at = turn_around(nodes, size); at < size; at = nodes[at].begin) {
        const bool known = nodes[at].id >= 0;
        if (known && unknown != SIZE_MAX) TIM_TRY(add_unknown(u, text + unknown, at - unknown, ids, err));
        if (known) TIM_TRY(tim_token_ids_add(ids, nodes[at].id, err));
        if (known)
            unknown = SIZE_MAX;
        else if (unknown == SIZE_MAX)
            unknown = at;
    }
    return unknown == SIZE_MAX ? TIM_OK : add_unknown(u, text + unknown, size - unknown, ids, err);
}

TimStatus tim_unigram_encode(const TimUnigram *unigram, const char *text, size_t size, TimTokenIds *ids, TimError *err) {
    Node *nodes;
    if (size == 0) return TIM_OK;
    TIM_TRY(tim_new(&nodes, size + 1, sizeof *nodes, "the ways through a text", err));
    TimStatus status = find_ways(unigram, nodes, text, size, err);
    if (status == TIM_OK) status = follow(unigram, nodes, text, size, ids, err);
    tim_free(nodes);
    return status;
}
