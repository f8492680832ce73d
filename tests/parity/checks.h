/* The checkers of the parity program, one for each kind of golden file. */
#ifndef TIM_TESTS_PARITY_CHECKS_H
#define TIM_TESTS_PARITY_CHECKS_H

#include "parity/parity.h"

TimStatus check_autoencoder(ParityFile *file, TimError *err);
TimStatus check_autoencoder_folder(ParityFile *file, TimError *err);
TimStatus check_eval_adm(ParityFile *file, TimError *err);
TimStatus check_eval_frechet(ParityFile *file, TimError *err);
TimStatus check_eval_inception(ParityFile *file, TimError *err);
TimStatus check_full(ParityFile *file, TimError *err);
TimStatus check_full_gemma(ParityFile *file, TimError *err);
TimStatus check_hash(ParityFile *file, TimError *err);
TimStatus check_manifest(ParityFile *file, TimError *err);
TimStatus check_image(ParityFile *file, TimError *err);
TimStatus check_network(ParityFile *file, TimError *err);
TimStatus check_objective(ParityFile *file, TimError *err);
TimStatus check_rope(ParityFile *file, TimError *err);
TimStatus check_sampler(ParityFile *file, TimError *err);
TimStatus check_text_folder(ParityFile *file, TimError *err);
TimStatus check_text_gemma(ParityFile *file, TimError *err);
TimStatus check_text_t5(ParityFile *file, TimError *err);
TimStatus check_time_weights(ParityFile *file, TimError *err);
TimStatus check_tokenizer(ParityFile *file, TimError *err);
TimStatus check_torch(ParityFile *file, TimError *err);
TimStatus check_transport(ParityFile *file, TimError *err);

#endif
