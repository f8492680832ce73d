/* A TiM model: its configuration and weights. */
#ifndef TIM_MODEL_H
#define TIM_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tim/config.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Opaque. One call at a time on one model; different models are independent. */
typedef struct TimModel TimModel;

/* The precision of a part that need not be the model's own. */
typedef enum TimPartPrecision { TIM_PART_AS_MODEL, TIM_PART_F32, TIM_PART_BF16 } TimPartPrecision;

typedef struct TimModelOptions {
    TimPrecision precision; /* of the matrix products' inputs */
    /* At most 4096; 0: as many as OpenMP would use. GNU's OpenMP ends the process where the system does not give it so many, and its
     * threads are gone in a child of fork: that must exec, or its parent must not have drawn with several. */
    int threads;
    bool rounded_rotary; /* angles of the rotary embedding, their cosines and sines rounded to bf16, as where the published samplers
                             * cast their model to it: to draw what they draw. Training knows no such rounding */
    /* Bytes that converted copies of weights may take, those of all parts together; 0: no bound. What would take more is
     * TIM_E_MEMORY before any is made. A run's own bound is TimSampleOptions.memory. */
    size_t max_copy_bytes;
    /* Of a pipeline (tim/pipeline.h); the published scripts run theirs in fp32 beside a model in bf16. */
    TimPartPrecision autoencoder;
    const char *isa; /* "ref", "generic", "avx2", "avx512", "avx512_bf16", "amx_bf16"; NULL: the best this processor has */
} TimModelOptions;

/* Opens a model for inference. `path` is a file of weights with the official tensor names, or a folder with one, whatever
 * tim/file.h opens. The configuration is read from `config_path`, or (NULL) from config.yaml beside the weights; official weights
 * without one are known by their tensors. `options` NULL: fp32, as many threads
 * as OpenMP would use, the best instruction set. A tensor that is missing (but of the projector, which drawing does not use),
 * unknown or of another shape is TIM_E_FORMAT, named with what was expected and found. Other errors: TIM_E_ARGUMENT for an option
 * or a value of the configuration out of range and for a folder with several files of weights, TIM_E_UNSUPPORTED for an
 * instruction set this processor lacks and what tim_config_read calls so, TIM_E_IO, TIM_E_MEMORY; *model is NULL then. Close with
 * tim_model_close. Any thread. */
TIM_API TimStatus tim_model_open(TimModel **model, const char *path, const char *config_path, const TimModelOptions *options,
                                 TimError *err);

/* Writes the model to `folder` (made unless it is there, with those above it) as tim_model_open reads it: model.safetensors with
 * the official tensor names in fp32 or rounded to bf16, and config.yaml. Of a model opened with TIM_PRECISION_BF16 the matrices
 * have been rounded already. What an opened file's metadata say of its weights is kept. Files that are there are replaced, only
 * when both new ones are whole. Errors: TIM_E_ARGUMENT for another precision, TIM_E_IO, TIM_E_MEMORY. */
TIM_API TimStatus tim_model_write(const TimModel *model, const char *folder, TimPrecision precision, TimError *err);

/* Closes a model; NULL is fine. */
TIM_API void tim_model_close(TimModel *model);

/* The configuration, borrowed from the model. */
TIM_API const TimConfig *tim_model_config(const TimModel *model);

/* Number of parameters, the projector's included. */
TIM_API size_t tim_model_parameter_count(const TimModel *model);

/* Number of parameter tensors, and one of them: its name (borrowed), rank, dims (at most 4) and elements. TIM_E_ARGUMENT beyond the
 * last. */
typedef struct TimTensorInfo {
    const char *name;
    int rank;
    int64_t dims[4];
    size_t count;
} TimTensorInfo;
TIM_API size_t tim_model_tensor_count(const TimModel *model);
TIM_API TimStatus tim_model_tensor(const TimModel *model, size_t index, TimTensorInfo *info, TimError *err);

/* The name of the best instruction set this processor has; static storage. */
TIM_API const char *tim_isa_best_name(void);

#ifdef __cplusplus
}
#endif
#endif
