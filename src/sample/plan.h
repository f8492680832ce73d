/* What a run will do and what it holds at once, found out before its first evaluation: errors of options, conditions and memory
 * come here, not after an hour. */
#ifndef TIM_SAMPLE_PLAN_H
#define TIM_SAMPLE_PLAN_H

#include "sample/pipeline.h"
#include "sample/sampler.h"

typedef struct TimPlan {
    TimSampleInfo info;
    TimSamplerOptions sampler;
    int factor;                  /* pixels a side for one element of the network's input */
    int height, width, channels; /* of the pictures */
    size_t stages;               /* pictures kept of each that is drawn */
    int *tokens;                 /* (count) of each prompt's caption; NULL: the model knows classes */
    int64_t *order;              /* (count) the pictures, those whose captions are equally long together; NULL: as they come */
    TimStrips strips;            /* in which pictures are decoded */
    bool tiled;                  /* the autoencoder works in tiles */
    bool rests;                  /* parts let go of what they can make anew while others work */
} TimPlan;

/* Plans a run of `options`. tim_plan_done also after a failure. Errors: as tim_pipeline_draw. */
TimStatus tim_plan_make(TimPlan *plan, TimPipeline *pipeline, const TimSampleOptions *options, TimError *err);

void tim_plan_done(TimPlan *plan);

/* Of one picture, a byte a value. */
static inline size_t tim_plan_picture_bytes(const TimPlan *plan) {
    return (size_t)plan->height * (size_t)plan->width * (size_t)plan->channels;
}

/* Tokens of the longest of `count` captions; 0 of classes. */
int tim_plan_longest_caption(const TimPlan *plan, int64_t count);

/* The last part of the plan: counts what a run with a bound or of large pictures holds, into info.memory, and finds the strips.
 * TIM_E_MEMORY, with the need by phase, when options->memory is less. */
TimStatus tim_plan_memory(TimPlan *plan, TimPipeline *pipeline, const TimSampleOptions *options, TimError *err);

#endif
