/* What the numbers of an evaluation depend on. */
#ifndef TIM_EVAL_SUBJECT_H
#define TIM_EVAL_SUBJECT_H

#include <assert.h>
#include <sha2.h>

#include "eval/judge.h"
#include "io/tensor_set.h"
#include "model/model.h"
#include "tim/eval.h"

static_assert(TIM_HASH_TEXT == SHA256_DIGEST_STRING_LENGTH, "a SHA-256 in hexadecimal");

/* The SHA-256 of a file, as sha256sum prints it. Errors: TIM_E_IO. */
TimStatus tim_hash_file(char out[TIM_HASH_TEXT], const char *path, TimError *err);

/* The same of weights: of the set's file; of an index, which tells nothing of its files' content, of all its tensors. Errors:
 * TIM_E_IO. */
TimStatus tim_hash_set(char out[TIM_HASH_TEXT], const TimTensorSet *set, TimError *err);

/* Pictures that are drawn at a time, the default where none is given. */
int tim_eval_batch(const TimEvalOptions *options);

enum { TIM_SUBJECT_BYTES = 1024 };

/* All that the numbers depend on, as words KEY=VALUE: `weights` and `features`, the hashes of the model's and the classifier's
 * weights, and configuration, pictures, and how they are drawn and computed; not modes, steps and seeds, which tell one number
 * from another. */
void tim_eval_subject(char out[TIM_SUBJECT_BYTES], const char *weights, const char *features, const TimEvalOptions *options,
                      const TimModel *model, const TimJudge *judge);

#endif
