/* Texts to numbers and back to the pieces they stand for, from the files that text encoders come with: tokenizer.json
 * (tokenizer_json.h) and SentencePiece models, tokenizer.model or spiece.model (sentencepiece.h). The kind of a file is told by its
 * content. Invariant: every id that comes out lies from 0 to count - 1. The files may be hostile. */
#ifndef TIM_TEXT_TOKENIZER_H
#define TIM_TEXT_TOKENIZER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

enum {
    TIM_TOKENIZER_MAX_TEXT = 16 << 20,    /* bytes of one text */
    TIM_SENTENCEPIECE_MAX_TEXT = 1 << 20, /* by SentencePiece, whose time grows with the square of a run of unknown characters */
};

/* An open tokenizer. Opaque; any number of threads may encode with one. */
typedef struct TimTokenizer TimTokenizer;

/* Ids of a text. {0} is empty; the owner calls tim_token_ids_done. */
typedef struct TimTokenIds {
    int32_t *ids; /* (count), from tim_alloc */
    size_t count, capacity;
} TimTokenIds;

void tim_token_ids_done(TimTokenIds *ids);

/* Appends one id. */
TimStatus tim_token_ids_add(TimTokenIds *ids, int32_t id, TimError *err);

/* Opens the file `path`, or in the folder `path` the first that is there of tokenizer.json, tokenizer.model, spiece.model.
 * TIM_E_IO when it cannot be read; TIM_E_FORMAT, TIM_E_UNSUPPORTED, naming the file, when it is damaged or asks for what is not
 * known here. *tokenizer is NULL then. */
TimStatus tim_tokenizer_open(TimTokenizer **tokenizer, const char *path, TimError *err);

/* Closes the tokenizer; NULL is fine. */
void tim_tokenizer_close(TimTokenizer *tokenizer);

/* Appends the ids of `size` bytes of UTF-8 to `ids`: those of the text alone, without tokens that begin or end it. A zero byte is a
 * character like others. TIM_E_ARGUMENT when the text is not UTF-8 or too long; TIM_E_FORMAT and TIM_E_MEMORY when the
 * tokenizer makes too much of it; after a failure `ids` may hold a part. */
TimStatus tim_tokenizer_encode(const TimTokenizer *tokenizer, const char *text, size_t size, TimTokenIds *ids, TimError *err);

/* Whether the file was a tokenizer.json; else a SentencePiece model. */
bool tim_tokenizer_is_json(const TimTokenizer *tokenizer);

/* One more than the largest id. */
size_t tim_tokenizer_count(const TimTokenizer *tokenizer);

/* Bytes that it holds, about. */
size_t tim_tokenizer_bytes(const TimTokenizer *tokenizer);

/* The ids of the tokens that begin a text, end it, fill up after it and stand for what is unknown; -1 where there is none.
 * A tokenizer.json does not say which are these: a tokenizer_config.json beside it does, else the usual names count. */
int32_t tim_tokenizer_bos(const TimTokenizer *tokenizer);
int32_t tim_tokenizer_eos(const TimTokenizer *tokenizer);
int32_t tim_tokenizer_pad(const TimTokenizer *tokenizer);
int32_t tim_tokenizer_unk(const TimTokenizer *tokenizer);

/* The piece that `id` stands for, as the file has it ("▁cat", "<0x0A>"), borrowed; NULL when no piece has this id. */
const char *tim_tokenizer_piece(const TimTokenizer *tokenizer, int32_t id);

#endif
