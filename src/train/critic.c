#include "train/critic.h"

#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "train/adamw.h"

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
    memcpy(c->model->f32, weights, c->model->params.elements * sizeof(float));
    tim_model_weights_changed(c->model);
}

void tim_critic_update(TimCritic *c, double learning_rate, TimMuon *muon) {
    const TimTrainingConfig *config = &c->model->config.training;
    const size_t count = c->model->params.elements;
    const int threads = c->model->options.threads;
    const double norm = tim_l2_norm(c->gradients, count, threads);
    const TimAdamWVectors vectors = {.weights = c->model->f32,
                                     .first = c->moments,
                                     .second = c->moments + count,
                                     .gradients = c->gradients,
                                     .bf16 = c->model->bf16,
                                     .count = count};
    if (!isfinite(norm)) return;
    const TimAdamWStep step = {.lr = learning_rate,
                               .beta1 = config->beta1,
                               .beta2 = config->beta2,
                               .eps = config->eps,
                               .weight_decay = config->weight_decay,
                               .step = ++c->updates,
                               .gradient_scale = tim_clip_factor(norm, config->max_grad_norm),
                               .threads = threads};
    if (muon)
        tim_muon_update(muon, &vectors, &step, config->momentum);
    else
        tim_adamw_update(&vectors, &step);
}
