#include "text/pieces.h"

#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/memory.h"
#include "base/text.h"

TimStatus tim_pieces_add(TimPieces *pieces, const char *text, size_t size, int32_t id, TimError *err) {
    TIM_TRY(tim_grow(&pieces->items, &pieces->capacity, pieces->count, sizeof *pieces->items, "the pieces of a tokenizer", err));
    pieces->items[pieces->count++] = (TimPiece){text, size, id};
    return TIM_OK;
}

static int compare(const void *left, const void *right) {
    const TimPiece *a = left, *b = right;
    return tim_compare_texts(a->text, a->size, b->text, b->size);
}

bool tim_pieces_sort(TimPieces *pieces) {
    if (pieces->count > 0) qsort(pieces->items, pieces->count, sizeof *pieces->items, compare);
    for (size_t i = 1; i < pieces->count; i++)
        if (compare(&pieces->items[i - 1], &pieces->items[i]) == 0) return false;
    return true;
}

/* ---- whole texts ---- */

enum { PROBES = 16 }; /* slots that a text may lie in, from its own on */

/* FNV-1a, its bits mixed once more: the low ones choose the slot. */
static size_t hash_of(const char *text, size_t size) {
    uint64_t hash = TIM_FNV1A_EMPTY;
    for (size_t i = 0; i < size; i++) hash = tim_fnv1a_step(hash, (uint8_t)text[i]);
    return (size_t)(hash ^ hash >> 29);
}

TimStatus tim_pieces_index(TimPieces *pieces, TimError *err) {
    size_t count = 2 * PROBES;
    if (pieces->count >= UINT32_MAX / 4) return TIM_OK;
    while (count < 2 * pieces->count) count *= 2;
    TIM_TRY(tim_new(&pieces->slots, count, sizeof *pieces->slots, "the pieces of a tokenizer", err));
    pieces->slot_count = count;
    for (size_t i = 0; i < pieces->count; i++) {
        const size_t own = hash_of(pieces->items[i].text, pieces->items[i].size);
        size_t k = 0;
        while (k < PROBES && pieces->slots[(own + k) & (count - 1)]) k++;
        if (k < PROBES) pieces->slots[(own + k) & (count - 1)] = (uint32_t)i + 1;
    }
    return TIM_OK;
}

static int32_t find_sorted(const TimPieces *pieces, const char *text, size_t size) {
    const TimPiece key = {text, size, 0};
    const TimPiece *found = bsearch(&key, pieces->items, pieces->count, sizeof *pieces->items, compare);
    return found ? found->id : -1;
}

/* A text without a place found all of its slots taken, and so does its search. */
int32_t tim_pieces_find(const TimPieces *pieces, const char *text, size_t size) {
    if (pieces->count == 0) return -1;
    if (!pieces->slots) return find_sorted(pieces, text, size);
    const size_t own = hash_of(text, size);
    for (size_t k = 0; k < PROBES; k++) {
        const uint32_t slot = pieces->slots[(own + k) & (pieces->slot_count - 1)];
        if (slot == 0) return -1;
        const TimPiece *piece = &pieces->items[slot - 1];
        if (piece->size == size && (size == 0 || memcmp(piece->text, text, size) == 0)) return piece->id;
    }
    return find_sorted(pieces, text, size);
}

void tim_pieces_done(TimPieces *pieces) {
    tim_free(pieces->items);
    tim_free(pieces->slots);
    *pieces = (TimPieces){0};
}

/* ---- by the first bytes ---- */

TimPieceRange tim_pieces_all(const TimPieces *pieces) {
    return (TimPieceRange){0, pieces->count, 0};
}

/* The first item of the range whose byte at `depth` is at least `wanted`; a text that ends before comes first. */
static size_t first_from(const TimPieces *pieces, const TimPieceRange *range, int wanted) {
    size_t low = range->low, high = range->high;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        const TimPiece *piece = &pieces->items[middle];
        const int byte = piece->size > range->depth ? (unsigned char)piece->text[range->depth] : -1;
        if (byte < wanted)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

bool tim_pieces_narrow(const TimPieces *pieces, TimPieceRange *range, char next) {
    const int byte = (unsigned char)next;
    const size_t low = first_from(pieces, range, byte), high = first_from(pieces, range, byte + 1);
    *range = (TimPieceRange){low, high, range->depth + 1};
    return low < high;
}

const TimPiece *tim_pieces_here(const TimPieces *pieces, const TimPieceRange *range) {
    return range->low < range->high && pieces->items[range->low].size == range->depth ? &pieces->items[range->low] : NULL;
}
