/* From a prompt or a class to a picture with the parts of a published model: TiM itself, for text its encoder and tokenizer, for
 * latents the autoencoder. A model on pixels is a pipeline without an autoencoder.
 * Sources: the published sampling scripts (WZDTHU/TiM); folders as diffusers and transformers lay them out. */
#ifndef TIM_PIPELINE_H
#define TIM_PIPELINE_H

#include "tim/sample.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Opaque. One call at a time on one pipeline; different pipelines are independent. */
typedef struct TimPipeline TimPipeline;

/* Where the parts are; all texts are borrowed for the call, and all but `model` may be NULL: found.
 *
 * Found beside the model, in the folder F that holds it: text encoder F/text_encoder, autoencoder F/vae, tokenizer F/tokenizer or
 * that of the text encoder's folder; else the folders that the configuration names (text_encoder_dir, vae_dir), looked for as
 * F/NAME, F/LAST-PART-OF-NAME and NAME. */
typedef struct TimPipelineParts {
    const char *model;        /* a folder with weights and config.yaml (which official weights do without), a file of weights, or a
                               * published YAML beside the weights */
    const char *config;       /* YAML; NULL where the model is one */
    const char *text_encoder; /* Hugging Face folder of Gemma 3 (text) or T5, or its weights with config.json beside them */
    const char *tokenizer;    /* tokenizer.json, tokenizer.model, spiece.model, or a folder with one of them */
    const char *autoencoder;  /* diffusers folder of AutoencoderKL or AutoencoderDC, or its weights with config.json beside them */
} TimPipelineParts;

/* Reads the configuration of the model alone, where tim_pipeline_open would. `config` needs tim_config_done also after a
 * failure. Errors: TIM_E_ARGUMENT for two configurations, TIM_E_IO, TIM_E_FORMAT, TIM_E_UNSUPPORTED, TIM_E_MEMORY. Any thread. */
TIM_API TimStatus tim_pipeline_read_config(TimConfig *config, const TimPipelineParts *parts, TimError *err);

/* Opens all parts that the model needs; `options` as tim_model_open takes them. Errors: those of tim_model_open; TIM_E_IO for a
 * part that is not found, with the places looked at and the name under which it is published; TIM_E_FORMAT, TIM_E_UNSUPPORTED for a
 * part that cannot be used or does not fit the others, naming the file; TIM_E_ARGUMENT for a precision that there is not, or a
 * configuration beside a model that is one; *pipeline is NULL after each. Close with tim_pipeline_close. Any thread. */
TIM_API TimStatus tim_pipeline_open(TimPipeline **pipeline, const TimPipelineParts *parts, const TimModelOptions *options,
                                    TimError *err);

enum { TIM_PIPELINE_PARTS = 4 };

/* What is known of one part. */
typedef struct TimPartReport {
    const char *part;      /* "model", "text encoder", "tokenizer", "autoencoder"; static storage */
    char path[512];        /* where it lies, cut to fit; empty when it was not found */
    char wrapper[64];      /* the keys that led to the weights in a torch checkpoint, "ema"; empty for a file of weights alone */
    const char *published; /* the published checkpoint with the same tensors; NULL: none, or a tokenizer. Static storage */
    size_t tensors, bytes; /* of weights; 0 of a tokenizer */
    bool hash_weights;     /* made by tim_synth */
    TimStatus status;      /* TIM_OK: it opens and fits the configuration */
    TimStatus init_status; /* of an autoencoder whose status is TIM_OK: whether pictures to start from can be encoded */
    TimError err;          /* of another status */
} TimPartReport;

/* Looks for the parts that tim_pipeline_open would open, opens one after the other, and says of each what it is and whether it
 * would run; *count of them, a part that is missing included. Fails only without a model's configuration, or with two, as
 * tim_pipeline_read_config does: then no part can be told. Any thread. */
TIM_API TimStatus tim_pipeline_verify(const TimPipelineParts *parts, TimPartReport reports[TIM_PIPELINE_PARTS], int *count,
                                      TimError *err);

/* Closes a pipeline; NULL is fine. */
TIM_API void tim_pipeline_close(TimPipeline *pipeline);

/* The model's configuration, borrowed from the pipeline. */
TIM_API const TimConfig *tim_pipeline_config(const TimPipeline *pipeline);

/* Sides of pictures are multiples of this many pixels. */
TIM_API int tim_pipeline_size_multiple(const TimPipeline *pipeline);

/* As tim_sample_plan, for a pipeline. Plans tapes without making them, and opens the encoder as tim_pipeline_draw does: one
 * call at a time on one pipeline. */
TIM_API TimStatus tim_pipeline_plan(TimPipeline *pipeline, const TimSampleOptions *options, TimSampleInfo *info, TimError *err);

/* As tim_sample, for a pipeline: pictures of prompts (options->prompts) where the model is conditioned on text, else of classes.
 * A picture of a prompt is the same whatever stands beside it in a batch: only captions of one length share evaluations.
 * With options->init of a model on latents the autoencoder's encoder is opened at the first call, which has the errors of
 * tim_pipeline_open then; the latent is the posterior's mean. */
TIM_API TimStatus tim_pipeline_draw(TimPipeline *pipeline, const TimSampleOptions *options, TimPictures *pictures,
                                    TimSampleInfo *info, TimError *err);

#ifdef __cplusplus
}
#endif
#endif
