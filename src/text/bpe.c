#include "text/bpe.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/utf8.h"

static int compare_merge(const void *left, const void *right) {
    const TimMerge *a = left, *b = right;
    if (a->left != b->left) return a->left < b->left ? -1 : 1;
    return (a->right > b->right) - (a->right < b->right);
}

bool tim_bpe_sort(TimBpe *bpe) {
    if (bpe->merge_count > 0) qsort(bpe->merges, bpe->merge_count, sizeof *bpe->merges, compare_merge);
    for (size_t i = 1; i < bpe->merge_count; i++)
        if (compare_merge(&bpe->merges[i - 1], &bpe->merges[i]) == 0) return false;
    return true;
}

/* A piece of the text, in a list by places; `next` is where the piece after it stands, SIZE_MAX: nowhere. */
typedef struct Symbol {
    int32_t id;
    bool gone; /* joined to the one before it */
    size_t previous, next;
} Symbol;

/* A pair that was seen; by the time it is taken from the heap it may be gone. */
typedef struct Pair {
    uint32_t rank;
    int32_t id;
    size_t place; /* of its left symbol */
} Pair;

typedef struct Word {
    const TimBpe *bpe;
    Symbol *symbols;
    size_t count, capacity;
    Pair *heap; /* the least pair first */
    size_t heap_count, heap_capacity;
    TimError *err;
} Word;

/* ---- characters ---- */

static TimStatus add_symbol(Word *w, int32_t id) {
    TIM_TRY(tim_grow(&w->symbols, &w->capacity, w->count, sizeof *w->symbols, "the pieces of a text", w->err));
    w->symbols[w->count] = (Symbol){.id = id, .previous = w->count - 1, .next = w->count + 1}; /* the first wraps to SIZE_MAX */
    w->count++;
    return TIM_OK;
}

static bool has_bytes(const TimBpe *bpe, const char *text, size_t size) {
    bool all = bpe->byte_fallback;
    for (size_t i = 0; i < size && all; i++) all = bpe->bytes[(unsigned char)text[i]] >= 0;
    return all;
}

static TimStatus add_unknown(Word *w, bool *unknown_before) {
    const bool skip = w->bpe->unk < 0 || (*unknown_before && w->bpe->fuse_unk);
    *unknown_before = true;
    return skip ? TIM_OK : add_symbol(w, w->bpe->unk);
}

/* A character as its own piece, as those of its bytes, or unknown. */
static TimStatus add_character(Word *w, const char *text, size_t size, bool *unknown_before) {
    const int32_t id = tim_pieces_find(w->bpe->vocab, text, size);
    if (id < 0 && !has_bytes(w->bpe, text, size)) return add_unknown(w, unknown_before);
    *unknown_before = false;
    if (id >= 0) return add_symbol(w, id);
    for (size_t i = 0; i < size; i++) TIM_TRY(add_symbol(w, w->bpe->bytes[(unsigned char)text[i]]));
    return TIM_OK;
}

static TimStatus add_characters(Word *w, const char *text, size_t size) {
    bool unknown_before = false;
    for (size_t at = 0; at < size;) {
        uint32_t code;
        const size_t bytes = tim_utf8_next(text + at, size - at, &code);
        if (bytes == 0) return tim_fail(w->err, TIM_E_ARGUMENT, "the text is not UTF-8 at byte %zu of a part", at);
        TIM_TRY(add_character(w, text + at, bytes, &unknown_before));
        at += bytes;
    }
    if (w->count > 0) w->symbols[w->count - 1].next = SIZE_MAX;
    return TIM_OK;
}

/* ---- the heap ---- */

static bool before(const Pair *a, const Pair *b) {
    return a->rank != b->rank ? a->rank < b->rank : a->place < b->place;
}

static void swap(Pair *a, Pair *b) {
    const Pair kept = *a;
    *a = *b;
    *b = kept;
}

static TimStatus push(Word *w, Pair pair) {
    TIM_TRY(tim_grow(&w->heap, &w->heap_capacity, w->heap_count, sizeof *w->heap, "the pairs of a text", w->err));
    size_t at = w->heap_count++;
    w->heap[at] = pair;
    for (; at > 0 && before(&w->heap[at], &w->heap[(at - 1) / 2]); at = (at - 1) / 2) swap(&w->heap[at], &w->heap[(at - 1) / 2]);
    return TIM_OK;
}

static Pair pop(Word *w) {
    const Pair least = w->heap[0];
    w->heap[0] = w->heap[--w->heap_count];
    for (size_t at = 0, child; (child = 2 * at + 1) < w->heap_count; at = child) {
        if (child + 1 < w->heap_count && before(&w->heap[child + 1], &w->heap[child])) child++;
        if (!before(&w->heap[child], &w->heap[at])) break;
        swap(&w->heap[child], &w->heap[at]);
    }
    return least;
}

/* ---- merging ---- */

static const TimMerge *find_merge(const Word *w, size_t place) {
    const Symbol *left = &w->symbols[place];
    if (left->next == SIZE_MAX || w->bpe->merge_count == 0) return NULL;
    const TimMerge key = {.left = left->id, .right = w->symbols[left->next].id};
    return bsearch(&key, w->bpe->merges, w->bpe->merge_count, sizeof key, compare_merge);
}

static TimStatus see_pair(Word *w, size_t place) {
    const TimMerge *merge = place == SIZE_MAX ? NULL : find_merge(w, place);
    return merge ? push(w, (Pair){merge->rank, merge->id, place}) : TIM_OK;
}

/* Joins the pair unless one of its symbols has changed meanwhile. */
static TimStatus join(Word *w, Pair pair) {
    Symbol *left = &w->symbols[pair.place];
    const TimMerge *merge = left->gone ? NULL : find_merge(w, pair.place);
    if (!merge || merge->id != pair.id) return TIM_OK;
    Symbol *right = &w->symbols[left->next];
    right->gone = true;
    left->id = pair.id;
    left->next = right->next;
    if (left->next != SIZE_MAX) w->symbols[left->next].previous = pair.place;
    TIM_TRY(see_pair(w, left->previous));
    return see_pair(w, pair.place);
}

static TimStatus merge_all(Word *w) {
    for (size_t i = 0; i < w->count; i++) TIM_TRY(see_pair(w, i));
    while (w->heap_count > 0) TIM_TRY(join(w, pop(w)));
    return TIM_OK;
}

static TimStatus encode(Word *w, const char *text, size_t size, TimTokenIds *ids) {
    TIM_TRY(add_characters(w, text, size));
    TIM_TRY(merge_all(w));
    for (size_t i = 0; i < w->count; i = w->symbols[i].next) TIM_TRY(tim_token_ids_add(ids, w->symbols[i].id, w->err));
    return TIM_OK;
}

TimStatus tim_bpe_encode(const TimBpe *bpe, const char *text, size_t size, TimTokenIds *ids, TimError *err) {
    const int32_t whole = bpe->whole_pieces ? tim_pieces_find(bpe->vocab, text, size) : -1;
    if (whole >= 0) return tim_token_ids_add(ids, whole, err);
    Word w = {.bpe = bpe, .err = err};
    const TimStatus status = encode(&w, text, size, ids);
    tim_free(w.symbols);
    tim_free(w.heap);
    return status;
}
