/* Which random numbers of a run serve what: every use has its own range of streams under the run's seed, so that no two draws share
 * a number and adding a use changes no other. Saved runs resume with the same numbers, hence no value here may change. */
#ifndef TIM_TRAIN_STREAMS_H
#define TIM_TRAIN_STREAMS_H

#include <stdint.h>

typedef enum TimStreamUse {
    TIM_STREAM_INIT = 1, /* one stream a parameter, by the hash of its name */
    TIM_STREAM_ORDER,    /* one stream an epoch */
    TIM_STREAM_DROPOUT,  /* one stream; a number a drawn sample */
    TIM_STREAM_MIRROR,   /* one stream; a number a drawn sample */
    TIM_STREAM_TIMES,    /* one stream; see time_pairs.h */
    TIM_STREAM_NOISE     /* one stream a step */
} TimStreamUse;

/* Stream `number` of a use; only the lower 56 bits of `number` count. */
static inline uint64_t tim_stream(TimStreamUse use, uint64_t number) {
    return (uint64_t)use << 56 | (number & ((UINT64_C(1) << 56) - 1));
}

#endif
