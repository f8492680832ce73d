/* A set of texts that are looked up whole or by their first bytes: a sorted list, in which the texts with a common start lie side
 * by side, and a table of hashes for whole ones. Texts chosen to share a hash find no place in it and are searched in the list:
 * nothing hostile makes it slow. */
#ifndef TIM_TEXT_PIECES_H
#define TIM_TEXT_PIECES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

typedef struct TimPiece {
    const char *text; /* borrowed */
    size_t size;
    int32_t id;
} TimPiece;

typedef struct TimPieces {
    TimPiece *items; /* (count), sorted by bytes once tim_pieces_sort was called */
    size_t count, capacity;
    uint32_t *slots;   /* (slot_count): 1 + the item whose hash leads there, or 0; NULL before tim_pieces_index */
    size_t slot_count; /* a power of 2 */
} TimPieces;

TimStatus tim_pieces_add(TimPieces *pieces, const char *text, size_t size, int32_t id, TimError *err);

/* Sorts; false when a text is there twice. */
bool tim_pieces_sort(TimPieces *pieces);

/* Makes the table, once sorted: lookups of whole texts are several times faster. */
TimStatus tim_pieces_index(TimPieces *pieces, TimError *err);

void tim_pieces_done(TimPieces *pieces);

/* The id of a text, or -1. */
int32_t tim_pieces_find(const TimPieces *pieces, const char *text, size_t size);

/* The pieces that begin with the bytes seen so far: items low to high - 1. */
typedef struct TimPieceRange {
    size_t low, high, depth;
} TimPieceRange;

TimPieceRange tim_pieces_all(const TimPieces *pieces);

/* Takes one more byte; false when no piece begins so. */
bool tim_pieces_narrow(const TimPieces *pieces, TimPieceRange *range, char next);

/* The piece that consists of the bytes seen so far; NULL when there is none. */
const TimPiece *tim_pieces_here(const TimPieces *pieces, const TimPieceRange *range);

#endif
