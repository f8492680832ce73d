#include "train/lane.h"

#include <string.h>

#include "base/memory.h"

TimStatus tim_lane_init(TimLane *lane, int64_t micro, size_t picture, TimError *err) {
    TimRows *r = &lane->rows;
    float **const all[] = {&r->x_t, &r->v_t, &r->derivative, &r->f_cond, &r->f_null, &r->target};
    size_t count;
    if (!tim_mul_size((size_t)micro, picture, &count))
        return tim_fail(err, TIM_E_MEMORY, "a micro-batch of %lld pictures does not fit; use a smaller one", (long long)micro);
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) TIM_TRY(tim_new(all[i], count, sizeof **all[i], "a micro-batch", err));
    TIM_TRY(tim_new(&lane->sample_losses, (size_t)micro, sizeof *lane->sample_losses, "a micro-batch", err));
    return tim_new(&lane->guided, (size_t)micro, sizeof *lane->guided, "a micro-batch", err);
}

static void free_tape(TimLaneTape *tape) {
    tim_network_done(&tape->network);
    tim_free(tape);
}

void tim_lane_done(TimLane *lane) {
    while (lane->tape_count) free_tape(lane->tapes[--lane->tape_count]);
    const TimRows *r = &lane->rows;
    float *const all[] = {r->x_t, r->v_t, r->derivative, r->f_cond, r->f_null, r->target};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) tim_free(all[i]);
    tim_free(lane->sample_losses);
    tim_free(lane->guided);
}

static bool fits(const TimLaneTape *tape, TimPurpose purpose, const TimNetworkShape *shape) {
    return tape->purpose == purpose && tape->network.shape.batch == shape->batch &&
           tape->network.shape.tangent_samples == shape->tangent_samples;
}

/* Takes tape `i` out of the list. */
static TimLaneTape *take(TimLane *lane, int i) {
    TimLaneTape *tape = lane->tapes[i];
    lane->tape_count--;
    memmove(lane->tapes + i, lane->tapes + i + 1, (size_t)(lane->tape_count - i) * sizeof(TimLaneTape *));
    return tape;
}

static TimStatus make(TimLaneTape **out, const TimLane *lane, TimPurpose purpose, const TimNetworkConfig *config,
                      const TimNetworkShape *shape, const TimNetworkOptions *options, TimParams *params, TimError *err) {
    TimLaneTape *tape;
    TIM_TRY(tim_new(&tape, 1, sizeof *tape, "a lane's tape", err));
    const TimStatus status = tim_network_new(&tape->network, config, shape, options, params, err);
    if (status != TIM_OK) {
        tim_free(tape);
        return status;
    }
    tape->purpose = purpose;
    tim_tape_measure(tape->network.tape, lane->times);
    *out = tape;
    return TIM_OK;
}

TimStatus tim_lane_network(TimLane *lane, TimPurpose purpose, const TimNetworkConfig *config, const TimNetworkShape *shape,
                           const TimNetworkOptions *options, TimParams *params, TimNetwork **out, TimError *err) {
    TimLaneTape *tape = NULL;
    for (int i = 0; i < lane->tape_count && !tape; i++)
        if (fits(lane->tapes[i], purpose, shape)) tape = take(lane, i);
    if (!tape) {
        if (lane->tape_count == TIM_LANE_TAPES) free_tape(take(lane, 0));
        TIM_TRY(make(&tape, lane, purpose, config, shape, options, params, err));
    }
    lane->tapes[lane->tape_count++] = tape;
    *out = &tape->network;
    return TIM_OK;
}

size_t tim_lane_bytes(const TimLane *lane) {
    size_t sum = 0;
    for (int i = 0; i < lane->tape_count; i++) sum += tim_tape_bytes(lane->tapes[i]->network.tape);
    return sum;
}

void tim_lane_measure(TimLane *lane, TimTapeTimes *times) {
    lane->times = times;
    for (int i = 0; i < lane->tape_count; i++) tim_tape_measure(lane->tapes[i]->network.tape, times);
}
