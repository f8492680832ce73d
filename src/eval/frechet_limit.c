#include "eval/frechet_limit.h"

#include <math.h>
#include <stdbool.h>

#include "base/rng.h"

/* The pictures of each class go to the halves in turn, the first to the half that has fewer, since drawn sets hold as many of each,
 * and halves by chance would not. Without classes chance decides which of two neighbours it is: they may come in turn. */
static TimStatus deal_halves(TimMoments halves[2], TimFeatures features, const int64_t *classes, TimError *err) {
    enum { CLASSES = 4096 };          /* beyond as many, classes share a turn */
    signed char turns[CLASSES] = {0}; /* 1 and -1: the first and the second half had the last one; 0: neither yet */
    TimStatus status = TIM_OK;
    for (size_t i = 0; status == TIM_OK && i < features.count; i++) {
        signed char *turn = &turns[classes ? (uint64_t)classes[i] % CLASSES : 0];
        if (!classes && i % 2 == 0) *turn = tim_rng_word(0, 0, i) & 1 ? 1 : -1;
        const bool second = *turn ? *turn > 0 : halves[1].count < halves[0].count;
        status = tim_moments_add(&halves[second], features.values + i * features.width, 1, err);
        *turn = second ? -1 : 1;
    }
    return status;
}

static bool are_enough(const TimMoments halves[2], size_t width) {
    return halves[0].count >= width && halves[1].count >= width;
}

static TimStatus add_distances(double *sum, TimMoments halves[2], const TimMoments *real, TimError *err) {
    for (int h = 0; h < 2; h++) {
        double distance;
        TIM_TRY(tim_moments_finish(&halves[h], err));
        TIM_TRY(tim_frechet_distance(&distance, &halves[h], real, err));
        *sum += distance;
    }
    return TIM_OK;
}

TimStatus tim_frechet_limit(double *limit, double frechet, TimFeatures features, const int64_t *classes, const TimMoments *real,
                            TimError *err) {
    TimMoments halves[2] = {0};
    double sum = 0;
    *limit = NAN;
    if (features.count / 2 < features.width) return TIM_OK;
    TimStatus status = tim_moments_init(&halves[0], features.width, err);
    if (status == TIM_OK) status = tim_moments_init(&halves[1], features.width, err);
    if (status == TIM_OK) status = deal_halves(halves, features, classes, err);
    if (status == TIM_OK && are_enough(halves, features.width)) {
        status = add_distances(&sum, halves, real, err);
        if (status == TIM_OK) *limit = 2 * frechet - sum / 2;
    }
    for (int h = 0; h < 2; h++) tim_moments_done(&halves[h]);
    return status;
}
