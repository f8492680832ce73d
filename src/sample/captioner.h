/* Prompts to captions: the tokenizer and the text encoder of a published pipeline, Gemma 3 or T5, told apart by config.json.
 *
 * A caption of M tokens is (M, width): the prompt's tokens, cut to the configured length, then what the published runs see at
 * padded places. The empty prompt, padded to another caption's length, is its null caption.
 * Source: the published sampling scripts (WZDTHU/TiM). */
#ifndef TIM_SAMPLE_CAPTIONER_H
#define TIM_SAMPLE_CAPTIONER_H

#include <jansson.h>

#include "model/network.h"

typedef enum TimTextEncoder { TIM_TEXT_ENCODER_NONE, TIM_TEXT_ENCODER_GEMMA3, TIM_TEXT_ENCODER_T5 } TimTextEncoder;

/* Which one the object of a config.json is of, by its model_type. */
TimTextEncoder tim_text_encoder_of(const json_t *config);

typedef struct TimCaptioner TimCaptioner;

/* Opens the Hugging Face folder `encoder` and its tokenizer, a file or folder.
 * `config` says which hidden state and how many tokens. Errors name the file. Free with tim_captioner_close. */
TimStatus tim_captioner_open(TimCaptioner **out, const char *encoder, const char *tokenizer, const TimConfig *config,
                             const TimNetworkOptions *options, TimError *err);

void tim_captioner_close(TimCaptioner *captioner);

/* *bytes = of the tape that encodes `count` captions of `tokens` each, and of the weights in their files' maps. */
TimStatus tim_captioner_bytes(TimCaptioner *captioner, int64_t count, int tokens, size_t *bytes, TimError *err);

/* Lets go what an encoding makes anew: the tape, and the pages of the weights' file. */
void tim_captioner_rest(TimCaptioner *captioner);

/* Bytes of the weights that are copies, not in a map, and of the tokenizer. */
size_t tim_captioner_copied(const TimCaptioner *captioner);

/* Columns of a caption. */
int64_t tim_captioner_width(const TimCaptioner *captioner);

/* *tokens = M of the prompt's own caption, at least 1. `cut` (may be NULL) tells whether it was cut to the configured length. */
TimStatus tim_captioner_count(const TimCaptioner *captioner, const char *prompt, int *tokens, bool *cut, TimError *err);

/* captions (count, tokens, width) of prompts whose own captions have at most `tokens`. One call at a time. */
TimStatus tim_captioner_encode(TimCaptioner *captioner, const char *const *prompts, int64_t count, int tokens, float *captions,
                               TimError *err);

#endif
