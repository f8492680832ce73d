/* Byte-pair encoding (Sennrich et al., ACL 2016) with byte fallback: characters are joined pair by pair, always the pair of the
 * lowest rank, of these the leftmost. Behaviour: Hugging Face tokenizers 0.22, models/bpe. */
#ifndef TIM_TEXT_BPE_H
#define TIM_TEXT_BPE_H

#include "text/pieces.h"
#include "text/tokenizer.h"

/* Two pieces side by side that may become one. */
typedef struct TimMerge {
    int32_t left, right, id;
    uint32_t rank;
} TimMerge;

typedef struct TimBpe {
    const TimPieces *vocab; /* borrowed */
    TimMerge *merges;       /* (merge_count), sorted by left and right; owned by whoever fills it */
    size_t merge_count;
    int32_t bytes[256]; /* pieces of bytes; -1 where there is none. With one missing nothing falls back on them */
    bool byte_fallback;
    bool fuse_unk;     /* unknown characters side by side are one */
    bool whole_pieces; /* a part that is a piece stays whole, whatever the merges say */
    int32_t unk;       /* -1: what is unknown is left out */
} TimBpe;

/* Sorts the merges; false when a pair is there twice. */
bool tim_bpe_sort(TimBpe *bpe);

/* Appends the ids of one part of a text, UTF-8. */
TimStatus tim_bpe_encode(const TimBpe *bpe, const char *text, size_t size, TimTokenIds *ids, TimError *err);

#endif
