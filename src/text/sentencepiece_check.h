/* What the SentencePiece library does not look at before it uses it: a model's maps of characters, which it walks unchecked, and how many
 * pieces begin each other, which it counts into arrays of its own size. Facts: sentencepiece_model.proto, normalizer.cc (0.1.97). */
#ifndef TIM_TEXT_SENTENCEPIECE_CHECK_H
#define TIM_TEXT_SENTENCEPIECE_CHECK_H

#include <stddef.h>
#include <stdint.h>

/* NULL, or what is wrong with the model's bytes. */
const char *tim_sentencepiece_check(const uint8_t *bytes, size_t size);

#endif
