/* Models on disk: tensors under the official names in any file that io/tensor_set.h reads, and the configuration beside them as
 * config.yaml; what is written is safetensors.
 * Invariant: reading is strict. Every tensor of the file is a parameter of the configuration and has its shape, and every
 * parameter is there; only the projector, which training alone uses, may be absent where a model is opened (tim_weights_read wants
 * it too).
 * Names and shapes: the published checkpoints (WZDTHU/TiM). */
#ifndef TIM_MODEL_STORE_H
#define TIM_MODEL_STORE_H

#include "io/safetensors.h"
#include "model/model.h"

#define TIM_MODEL_FILE "model.safetensors"
#define TIM_CONFIG_FILE "config.yaml"
#define TIM_TRAINING_STEPS "training_steps" /* in the metadata: steps that made the weights, those without an update included */

/* vector (params->elements) = the weights of the file or folder at `path`, from any float dtype, all of them finite.
 * TIM_E_FORMAT names file, tensor, what was expected and what was found; then `vector` is undefined. */
TimStatus tim_weights_read(float *vector, const TimParams *params, const char *path, TimError *err);

/* Reads the configuration of the weights in the file or folder `path`: `config_path`, or (NULL) config.yaml beside them, or the
 * published one where there is none and the tensors are those of a published model. `config` needs tim_config_done also after a
 * failure. */
TimStatus tim_model_config_read(TimConfig *config, const char *path, const char *config_path, TimError *err);

/* Writes the parameters of `vector` to a safetensors file, as TIM_F32 or TIM_BF16, with `text_count` metadata texts. */
TimStatus tim_weights_write(const float *vector, const TimParams *params, TimDtype dtype, const TimStoredText *texts,
                            size_t text_count, const char *path, TimError *err);

/* Saves a model that tim_model_open reads: config.yaml and model.safetensors in `folder`, which is made unless it is there.
 * The old files are replaced only when both new ones are whole. */
TimStatus tim_model_save(const TimConfig *config, const float *vector, const TimParams *params, TimDtype dtype,
                         const TimStoredText *texts, size_t text_count, const char *folder, TimError *err);

enum { TIM_SHAPE_TEXT = 192 }; /* TIM_SAFETENSORS_MAX_RANK sizes of 20 digits */

/* "(768, 4, 2, 2)", for the texts of errors; returns `out`. */
const char *tim_shape_text(char out[TIM_SHAPE_TEXT], int rank, const size_t *dims);

/* What a network asks of a file. */
typedef struct TimWantedTensor {
    const char *name;
    int rank;
    const size_t *dims;
    const char *by; /* who wants it, for the text: "the configuration" */
    const char *if_missing,
        *if_other; /* what to do, the end of the text: nothing has the name, or what has it is of another shape */
} TimWantedTensor;

/* TIM_E_FORMAT unless the tensor is there, has the shape and is of a float type. `tensor` is NULL when the file has none of that
 * name; `among` is how many it has. */
TimStatus tim_stored_check(const TimStoredTensor *tensor, const TimWantedTensor *wanted, size_t among, TimError *err);

#endif
