/* The parts of a pipeline; NULL where the model does without. */
#ifndef TIM_SAMPLE_PIPELINE_H
#define TIM_SAMPLE_PIPELINE_H

#include "model/autoencoder.h"
#include "model/model.h"
#include "sample/captioner.h"
#include "tim/pipeline.h"

struct TimPipeline {
    TimModel *model;
    TimCaptioner *captioner;
    TimAutoencoder *autoencoder; /* its decoder */
    TimAutoencoder *encoder;     /* opened when it is first needed */
    char *autoencoder_folder;
    bool autoencoder_bf16; /* its products */
};

/* Where the parts of a model lie; each from tim_alloc. A part the model needs and that is not there stays NULL, with its status and
 * error. */
typedef struct TimPlaces {
    char *base;          /* the model's folder */
    const char *weights; /* where the model's weights are looked for: `base`, or the model's path, borrowed */
    char *encoder, *tokenizer, *autoencoder;
    bool wants_text, wants_latents;
    TimStatus text_status, latents_status;
    TimError text_err, latents_err;
} TimPlaces;

TimStatus tim_places_find(TimPlaces *places, const TimPipelineParts *parts, const TimConfig *config, TimError *err);
void tim_places_done(TimPlaces *places);

/* TIM_E_FORMAT unless the autoencoder, opened from `folder`, has the latents of the model. */
TimStatus tim_places_check_latents(const TimAutoencoder *autoencoder, const TimConfig *config, const char *folder, TimError *err);

/* Puts behind the error of a part the name under which the configuration says it is published, unless the text has it. Returns
 * `status`. */
TimStatus tim_places_name(TimStatus status, const char *name, TimError *err);

/* The model alone. */
TimStatus tim_pipeline_open_model(TimModel **model, const TimPipelineParts *parts, const TimModelOptions *options, TimError *err);

/* The autoencoder's encoder. */
TimStatus tim_pipeline_encoder(TimPipeline *pipeline, TimAutoencoder **encoder, TimError *err);

/* x (C, H, W) of the network's input = the picture `init`, resized to height x width pixels, through the encoder whole or in
 * tiles. */
TimStatus tim_pipeline_encode(TimPipeline *pipeline, const TimImage *init, int height, int width, bool tiled, float *x,
                              TimError *err);

#endif
