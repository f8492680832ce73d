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
};

/* The autoencoder's encoder. */
TimStatus tim_pipeline_encoder(TimPipeline *pipeline, TimAutoencoder **encoder, TimError *err);

/* x (C, H, W) of the network's input = the picture `init`, resized to height x width pixels. */
TimStatus tim_pipeline_encode(TimPipeline *pipeline, const TimImage *init, int height, int width, float *x, TimError *err);

#endif
