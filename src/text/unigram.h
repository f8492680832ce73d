/* The unigram model (Kudo, ACL 2018): the pieces whose logarithms of probabilities have the largest sum, by Viterbi's way.
 * Behaviour: Hugging Face tokenizers 0.22, models/unigram, and SentencePiece. */
#ifndef TIM_TEXT_UNIGRAM_H
#define TIM_TEXT_UNIGRAM_H

#include "text/pieces.h"
#include "text/tokenizer.h"

typedef struct TimUnigram {
    const TimPieces *vocab; /* borrowed */
    const double *scores;   /* by id; borrowed */
    double unk_score;       /* of a character that no piece is */
    int32_t unk;            /* -1: a text with an unknown character is refused */
    int32_t bytes[256];     /* pieces of bytes; -1 where there is none. With one missing nothing falls back on them */
    bool byte_fallback;
} TimUnigram;

/* Appends the ids of one part of a text, UTF-8. Unknown characters side by side are one id, unless they fall back on bytes. */
TimStatus tim_unigram_encode(const TimUnigram *unigram, const char *text, size_t size, TimTokenIds *ids, TimError *err);

#endif
