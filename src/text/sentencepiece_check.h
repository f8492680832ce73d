/* What the SentencePiece library does not look at before it uses it: a model's maps of characters, which it walks unchecked, how
 * many pieces begin each other, which it counts into arrays of its own size, and how long they are, for which it takes stack.
 * Facts: sentencepiece_model.proto, normalizer.cc (0.1.97). */
#ifndef TIM_TEXT_SENTENCEPIECE_CHECK_H
#define TIM_TEXT_SENTENCEPIECE_CHECK_H

#include <stddef.h>
#include <stdint.h>

/* NULL, or what is wrong with the model's bytes. */
const char *tim_sentencepiece_check(const uint8_t *bytes, size_t size);

/* out (size) = a sound model's bytes without the texts that the library would encode, however long, when it takes the model, and
 * print where the ids are not the expected ones; returns how many bytes are left. */
size_t tim_sentencepiece_untested(uint8_t *out, const uint8_t *bytes, size_t size);

#endif
