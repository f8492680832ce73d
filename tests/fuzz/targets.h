/* What the fuzzers call with bytes of their own; the unit tests call it with the corpus. Each opens the bytes as what its name says
 * and uses what it got; nothing is expected but that memory is kept in order, that an error says something, and that what was taken
 * is as promised. Returns 1 when the bytes were taken. */
#ifndef TIM_TESTS_FUZZ_TARGETS_H
#define TIM_TESTS_FUZZ_TARGETS_H

#include <stddef.h>
#include <stdint.h>

int fuzz_autoencoder_config(const uint8_t *data, size_t size);
int fuzz_finished(const uint8_t *data, size_t size); /* the lines of an evaluation's file behind the first */
int fuzz_gemma3_config(const uint8_t *data, size_t size);
int fuzz_idx(const uint8_t *data, size_t size);
int fuzz_moments(const uint8_t *data, size_t size); /* an array of numbers in a sound npz */
int fuzz_network_json(const uint8_t *data, size_t size);
int fuzz_npy(const uint8_t *data, size_t size); /* an array of a sound npz */
int fuzz_npz(const uint8_t *data, size_t size);
int fuzz_pickle(const uint8_t *data, size_t size); /* the data.pkl of a sound zip */
int fuzz_picture(const uint8_t *data, size_t size);
int fuzz_png_text(const uint8_t *data, size_t size);
int fuzz_prompts(const uint8_t *data, size_t size);
int fuzz_report(const uint8_t *data, size_t size);
int fuzz_safetensors(const uint8_t *data, size_t size);
int fuzz_sentencepiece(const uint8_t *data, size_t size);
int fuzz_t5_config(const uint8_t *data, size_t size);
int fuzz_tensor_index(const uint8_t *data, size_t size);
int fuzz_tokenizer_config(const uint8_t *data, size_t size);
int fuzz_tokenizer_json(const uint8_t *data, size_t size);
int fuzz_torch_zip(const uint8_t *data, size_t size);
int fuzz_train_state(const uint8_t *data, size_t size);
int fuzz_yaml_config(const uint8_t *data, size_t size);

#endif
