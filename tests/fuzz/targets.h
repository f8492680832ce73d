/* What the fuzzers call with bytes of their own; the unit tests call it with the corpus. Each opens the bytes as what its name says and
 * uses what it got; nothing is expected but that memory is kept in order. Returns 1 when the bytes were taken. */
#ifndef TIM_TESTS_FUZZ_TARGETS_H
#define TIM_TESTS_FUZZ_TARGETS_H

#include <stddef.h>
#include <stdint.h>

int fuzz_torch_zip(const uint8_t *data, size_t size);
int fuzz_pickle(const uint8_t *data, size_t size); /* the data.pkl of a sound zip */
int fuzz_tensor_index(const uint8_t *data, size_t size);
int fuzz_tokenizer_json(const uint8_t *data, size_t size);

#endif
