/* A lane of the objective: what works on one micro-batch after the other, beside the other lanes, with tapes, rows and gradients of
 * its own. */
#ifndef TIM_TRAIN_LANE_H
#define TIM_TRAIN_LANE_H

#include "train/objective.h"

/* Tapes by purpose and size: a batch is cut into at most two sizes of each kind of micro-batches; those of diffusion have their
 * guidance (of a quarter, half, three quarters or all of the samples), those of transitions also their finite difference or
 * direction, composed ones their jumps. */
enum { TIM_LANE_TAPES = 32 };

/* Evaluation is without gradients, with whatever weights are bound. */
typedef enum TimPurpose { TIM_FOR_TRAINING, TIM_FOR_DIFFERENCE, TIM_FOR_EVALUATION } TimPurpose;

typedef struct TimLaneTape {
    TimPurpose purpose;
    TimNetwork network;
} TimLaneTape;

/* What one sample adds to the losses. */
typedef struct TimSampleLoss {
    double weighted, denoising, proj;
} TimSampleLoss;

/* Rows of one micro-batch, kept between the passes; all (micro, C H W). */
typedef struct TimRows {
    float *x_t, *v_t, *derivative, *f_cond, *f_null, *target;
} TimRows;

typedef struct TimLane {
    TimLaneTape
        *tapes[TIM_LANE_TAPES]; /* the one asked for last is the last; they stay where they are, for two are in use at once */
    int tape_count;
    TimRows rows;
    TimSampleLoss *sample_losses; /* (micro) */
    int64_t *guided;              /* (micro) which of them are guided */
    float *gradients;             /* (params.elements); the first lane uses the caller's */
    TimLosses losses;
    TimTapeTimes *times; /* NULL: not measured */
    TimStatus status;
    TimError err;
} TimLane;

/* Makes room for micro-batches of `micro` pictures of `picture` elements; tim_lane_done also after a failure. */
TimStatus tim_lane_init(TimLane *lane, int64_t micro, size_t picture, TimError *err);

/* Frees all but the gradients. */
void tim_lane_done(TimLane *lane);

/* The lane's tape for `purpose` and `shape`, made on first use; a full table gives up the one that was not asked for longest. It is
 * good until so many others were asked for. */
TimStatus tim_lane_network(TimLane *lane, TimPurpose purpose, const TimNetworkConfig *config, const TimNetworkShape *shape,
                           const TimNetworkOptions *options, TimParams *params, TimNetwork **out, TimError *err);

/* Bytes of its tapes. */
size_t tim_lane_bytes(const TimLane *lane);

/* Measures its tapes, those made later too; NULL: no longer. */
void tim_lane_measure(TimLane *lane, TimTapeTimes *times);

#endif
