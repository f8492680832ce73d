/* SentencePiece models (Kudo and Richardson 2018, arXiv 1808.06226) by the library of that name, behind a C face.
 * Invariant: no exception leaves it, and no damaged model reaches a part of the library that would read outside of it. */
#ifndef TIM_TEXT_SENTENCEPIECE_H
#define TIM_TEXT_SENTENCEPIECE_H

#include "text/tokenizer.h"

typedef struct TimSentencepiece TimSentencepiece;

/* Makes a tokenizer of a model file's bytes, which are not needed afterwards. */
TimStatus tim_sentencepiece_new(TimSentencepiece **model, const uint8_t *bytes, size_t size, TimError *err);

void tim_sentencepiece_free(TimSentencepiece *model);

/* Appends the ids of a text that is UTF-8. */
TimStatus tim_sentencepiece_encode(const TimSentencepiece *model, const char *text, size_t size, TimTokenIds *ids, TimError *err);

/* Number of pieces, and the ids of the special ones; -1: none. */
typedef struct TimSentencepieceInfo {
    int32_t count, bos, eos, pad, unk;
} TimSentencepieceInfo;

TimSentencepieceInfo tim_sentencepiece_info(const TimSentencepiece *model);

/* The piece of an id from 0 to count - 1, borrowed. */
const char *tim_sentencepiece_piece(const TimSentencepiece *model, int32_t id);

#endif
