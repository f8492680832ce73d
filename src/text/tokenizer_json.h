/* tokenizer.json, the format of Hugging Face's tokenizers: added tokens, rules (rules.h) and a model, BPE (bpe.h) or unigram
 * (unigram.h). Post-processor, truncation and padding are not looked at: the ids are those of the text alone.
 * Invariant of an open tokenizer: every id is from 0 to count - 1 and belongs to one piece. */
#ifndef TIM_TEXT_TOKENIZER_JSON_H
#define TIM_TEXT_TOKENIZER_JSON_H

#include "text/tokenizer.h"

typedef struct TimJsonTokenizer TimJsonTokenizer;

/* Makes a tokenizer of a file's bytes, which are not needed afterwards. */
TimStatus tim_json_tokenizer_new(TimJsonTokenizer **tokenizer, const uint8_t *bytes, size_t size, TimError *err);

/* Bytes that it holds, about. */
size_t tim_json_tokenizer_bytes(const TimJsonTokenizer *tokenizer);

void tim_json_tokenizer_free(TimJsonTokenizer *tokenizer);

/* Appends the ids of a text that is UTF-8. */
TimStatus tim_json_tokenizer_encode(const TimJsonTokenizer *tokenizer, const char *text, size_t size, TimTokenIds *ids,
                                    TimError *err);

size_t tim_json_tokenizer_count(const TimJsonTokenizer *tokenizer);

/* The model's id of what is unknown, or -1. */
int32_t tim_json_tokenizer_unk(const TimJsonTokenizer *tokenizer);

/* The id of a piece or an added token by its text, or -1. */
int32_t tim_json_tokenizer_find(const TimJsonTokenizer *tokenizer, const char *piece);

/* The piece of an id, borrowed; NULL when there is none. */
const char *tim_json_tokenizer_piece(const TimJsonTokenizer *tokenizer, int32_t id);

#endif
