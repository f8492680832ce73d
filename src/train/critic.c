#include "train/critic.h"

#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "train/optimizer.h"

static TimStatus fill(TimCritic *c, const TimConfig *config, const TimNetworkOptions *options, TimError *err) {
    size_t moments;
    TIM_TRY(tim_model_new(&c->model, config, options, err));
    const size_t count = c->model->params.elements;
    if (!tim_mul_size(count, 2, &moments)) return tim_fail(err, TIM_E_MEMORY, "the moments of %zu weights do not fit", count);
    TIM_TRY(tim_new(&c->gradients, count, sizeof(float), "the critic's gradients", err));
    return tim_new(&c->moments, moments, sizeof(float), "the critic's moments", err);
}

TimStatus tim_critic_new(TimCritic **out, const TimConfig *config, const TimNetworkOptions *options, TimError *err) {
    TimCritic *c;
    *out = NULL;
    TIM_TRY(tim_new(&c, 1, sizeof *c, "the critic", err));
    const TimStatus status = fill(c, config, options, err);
    if (status != TIM_OK) {
        tim_critic_free(c);
        return status;
    }
    *out = c;
    return TIM_OK;
}

void tim_critic_free(TimCritic *c) {
    if (!c) return;
    tim_model_close(c->model);
    tim_free(c->gradients);
    tim_free(c->moments);
    tim_free(c);
}

void tim_critic_start(TimCritic *c, const float *weights) {
    const size_t bytes = c->model->params.elements * sizeof(float);
    memcpy(c->model->f32, weights, bytes);
    memset(c->moments, 0, 2 * bytes);
    tim_model_weights_changed(c->model);
}

bool tim_critic_started(const TimCritic *c) {
    return c && c->updates > 0;
}

void tim_critic_update(TimCritic *c, double learning_rate, TimMuon *muon) {
    const size_t count = c->model->params.elements;
    const int threads = c->model->options.threads;
    const double norm = tim_l2_norm(c->gradients, count, threads);
    if (!isfinite(norm)) return;
    const TimAdamWVectors vectors = {.weights = c->model->f32,
                                     .first = c->moments,
                                     .second = c->moments + count,
                                     .gradients = c->gradients,
                                     .bf16 = c->model->bf16,
                                     .count = count};
    const TimUpdate update = {.learning_rate = learning_rate, .grad_norm = norm, .number = ++c->updates, .threads = threads};
    tim_optimizer_update(&c->model->config.training, muon, &vectors, &update);
}
