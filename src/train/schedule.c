#include "train/schedule.h"

#include <math.h>

/* How far a step is on the way from the end of the warm-up (0) to max_train_steps (1). */
static double progress(const TimTrainingConfig *config, int64_t step) {
    const int64_t length = config->max_train_steps - config->lr_warmup_steps;
    return fmin(1.0, (double)(step - config->lr_warmup_steps) / (double)(length > 1 ? length : 1));
}

static bool warms_up(const TimTrainingConfig *config, int64_t step) {
    return config->lr_scheduler != TIM_SCHEDULE_CONSTANT && step < config->lr_warmup_steps;
}

/* s / warmup while s < warmup (the plain constant has no warm-up), then 1, or falling to 0 at max_train_steps and 0 from there
 * on. */
static double factor(const TimTrainingConfig *config, int64_t step) {
    if (warms_up(config, step)) return (double)step / (double)config->lr_warmup_steps;
    switch (config->lr_scheduler) {
    case TIM_SCHEDULE_CONSTANT:
    case TIM_SCHEDULE_CONSTANT_WITH_WARMUP:
        return 1.0;
    case TIM_SCHEDULE_LINEAR:
        return 1.0 - progress(config, step);
    case TIM_SCHEDULE_COSINE:
        return 0.5 * (1.0 + cos(3.14159265358979323846 * progress(config, step)));
    }
    return 1.0;
}

double tim_learning_rate(const TimTrainingConfig *config, int64_t step) {
    const double scale = config->scale_lr ? (double)config->batch_size / config->learning_rate_base_batch_size : 1.0;
    const double rate = config->learning_rate * factor(config, step);
    return scale * (warms_up(config, step) ? rate : fmax(rate, config->min_learning_rate));
}
