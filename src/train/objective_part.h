/* Inside an objective: what it keeps, and one micro-batch of it with the tapes it runs on and how their inputs are filled.
 * objective.c learns from micro-batches, average.c asks the averaged network about them. */
#ifndef TIM_TRAIN_OBJECTIVE_PART_H
#define TIM_TRAIN_OBJECTIVE_PART_H

#include "tape/tape.h"
#include "train/lane.h"
#include "train/objective.h"
#include "transport/transport.h"

struct TimObjective {
    const TimConfig *config;
    const TimTransport *transport;
    TimNetworkOptions options; /* threads: those of one lane */
    TimObjectiveShape shape;
    TimParams *params;
    size_t picture; /* C H W */
    TimLane *lanes;
    int lane_count;
};

/* Where a sample's target comes from: its velocity, the identity with its derivative, or the average's jumps. */
typedef enum TimSampleKind { TIM_DIFFUSION, TIM_TRANSITION, TIM_COMPOSED } TimSampleKind;

/* One micro-batch: samples first ... first + size of the batch, all of one kind. Its sample k is sample first + k of the batch. */
typedef struct TimPart {
    const TimBatch *batch;
    TimLane *lane;
    int64_t first, size;
    TimSampleKind kind;
} TimPart;

/* Picture `k` of `pictures` (n, C H W). */
static inline float *tim_part_picture(const TimObjective *o, float *pictures, int64_t k) {
    return pictures + (size_t)k * o->picture;
}

/* Row `row` of a value of the network's tape. */
static inline float *tim_part_row(const TimNetwork *n, TimRef ref, int64_t row) {
    const TimMatrix m = tim_tape_value(n->tape, ref);
    return tim_matrix_f32(&m, row);
}

/* The lane's tape for `purpose` and `batch` samples, borrowed as by tim_lane_network; `tangent`: all of them have one. */
TimStatus tim_part_network(const TimObjective *o, TimPart part, TimPurpose purpose, int64_t batch, bool tangent, TimNetwork **out,
                           TimError *err);

/* Rows from `row` on = the conditions first ... first + size. */
void tim_part_fill_condition(const TimObjective *o, TimNetwork *n, int64_t row, const TimCondition *condition, int64_t first,
                             int64_t size);

/* Row `row` = c_noise of the times. */
void tim_part_fill_times(const TimObjective *o, TimNetwork *n, int64_t row, double t, double r);

/* Sample `k`, whose F is row k of the tape, against its row of rows.target: the loss, its weight, and the cotangent of F. */
TimSampleLoss tim_part_weigh(const TimObjective *o, TimNetwork *n, TimPart part, int64_t k);

/* Adds the lane's sample_losses to its losses, in order of the samples: the same bits in every run. */
void tim_part_add_losses(TimPart part);

#endif
