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
};

#endif
