/* One optimiser step after the other: batch, noise and times from counters, objective, clipping, AdamW, EMA. */
#include "train/trainer.h"

#include <math.h>
#include <string.h>

#include "base/clock.h"
#include "base/memory.h"
#include "base/threads.h"
#include "model/store.h"
#include "train/checkpoint.h"
#include "train/init.h"
#include "train/optimizer.h"
#include "train/schedule.h"
#include "train/streams.h"
#include "train/time_pairs.h"
#include "transport/transport.h"

static const double half_pi = 1.5707963267948966;
static const int64_t max_steps = INT64_C(1) << 30; /* what time_pairs can count */

/* ---- making ---- */

/* Beyond pi/2 the tangent begins anew, beyond 1 t / (1 - t) is negative, and the root of what is negative is no weight. */
static TimStatus check_time_weight(const TimConfig *config, TimError *err) {
    const TimTransitionConfig *loss = &config->transition;
    const bool tangent = loss->weight_time_tangent, maps = tangent || loss->weight_time_sigmoid;
    const double end = tangent ? half_pi : 1.0;
    if (!maps || loss->weight_time_type == TIM_WEIGHT_CONSTANT ||
        tim_transport_get(config->transport.kind)->end(&config->transport) <= end)
        return TIM_OK;
    return tim_fail(
        err, TIM_E_ARGUMENT,
        "model.transition_loss.weight_time_%s is a function of times below %.4g, and %s has later ones: set it to false",
        tangent ? "tangent" : "sigmoid", end, tim_transport_get(config->transport.kind)->name);
}

static TimStatus check_direction(const TimConfig *config, TimError *err) {
    const TimTransport *transport = tim_transport_get(config->transport.kind);
    if (!config->transition.average_direction) return TIM_OK;
    if (config->transition.derivative_type != TIM_DERIVATIVE_JVP)
        return tim_fail(err, TIM_E_ARGUMENT,
                        "model.transition_loss.average_direction needs the exact derivative: set derivative_type to jvp");
    if (transport->predicts_velocity) return TIM_OK;
    return tim_fail(err, TIM_E_ARGUMENT,
                    "model.transition_loss.average_direction needs a network that predicts velocities, and %s's does not: set it "
                    "to false, or take OT_FM or TrigFlow",
                    transport->name);
}

/* What a configuration may say of a training that is not done here. */
static TimStatus check_trainable(const TimConfig *config, TimError *err) {
    if (*config->untrainable) return tim_fail(err, TIM_E_UNSUPPORTED, "%s", config->untrainable);
    if (config->vae_dir)
        return tim_fail(
            err, TIM_E_UNSUPPORTED,
            "model.vae_dir is '%.100s', but training on an autoencoder's latents is not implemented: remove it to train "
            "on pixels",
            config->vae_dir);
    if (config->training.proj_coeff > 0)
        return tim_fail(
            err, TIM_E_UNSUPPORTED,
            "model.proj_coeff is %g, but the alignment loss has no targets: its image encoder is not implemented; set it "
            "to 0",
            config->training.proj_coeff);
    TIM_TRY(check_direction(config, err));
    return check_time_weight(config, err);
}

static TimStatus check(const TimConfig *config, const TimTrainerOptions *options, TimError *err) {
    if (!config || !options) return tim_fail(err, TIM_E_ARGUMENT, "a trainer needs a configuration and options");
    TIM_TRY(tim_config_check(config, err));
    const bool guided = config->transport.enhance_target;
    if (config->network.kind == TIM_NETWORK_T2I)
        return tim_fail(err, TIM_E_UNSUPPORTED,
                        "training of the text network is not implemented: use the target tim.models.c2i.tim_model.TiM");
    TIM_TRY(check_trainable(config, err));
    if (guided && !(config->network.class_dropout_prob > 0))
        return tim_fail(err, TIM_E_ARGUMENT, "enhance_target needs the null class: set class_dropout_prob above 0, such as 0.1");
    if (options->micro_batch >= 0) return TIM_OK;
    return tim_fail(err, TIM_E_ARGUMENT, "micro_batch is %d; give at least 1, or 0 for a good default", options->micro_batch);
}

/* Whether steps evaluate the averaged network. */
static bool runs_average(const TimConfig *config) {
    return config->transport.enhance_target || config->transition.average_direction || config->transition.composed_ratio > 0;
}

static TimStatus make_models(TimTrainer *t, const TimConfig *config, const TimTrainerOptions *options, TimError *err) {
    TimNetworkOptions network = {.precision = config->training.mixed_precision};
    TIM_TRY(tim_threads_choose(options->threads, &network.threads, err));
    TIM_TRY(tim_isa_choose(options->isa, &network.isa, err));
    TIM_TRY(tim_model_new(&t->model, config, &network, err));
    if (!runs_average(config)) network.precision = TIM_PRECISION_F32; /* a copy would be idle */
    TIM_TRY(tim_model_new(&t->ema, config, &network, err));
    if (options->init)
        TIM_TRY(tim_weights_read(t->model->f32, &t->model->params, options->init, err));
    else
        tim_init_weights(t->model->f32, &t->model->params, options->seed, t->model->options.threads);
    memcpy(t->ema->f32, t->model->f32, t->model->params.elements * sizeof(float));
    tim_model_weights_changed(t->model);
    tim_model_weights_changed(t->ema);
    return TIM_OK;
}

static TimStatus make_vectors(TimTrainer *t, TimError *err) {
    TIM_TRY(tim_moment_params(&t->moment_params, &t->model->params, err));
    TIM_TRY(tim_new(&t->gradients, t->model->params.elements, sizeof(float), "the gradients", err));
    return tim_new(&t->moments, t->moment_params.elements, sizeof(float), "Adam's moments", err);
}

static TimStatus make_optimizer(TimTrainer *t, TimError *err) {
    const TimTrainingConfig *config = &t->model->config.training;
    if (config->optimizer != TIM_OPTIMIZER_MUON) return TIM_OK;
    const TimDtype product = config->mixed_precision == TIM_PRECISION_BF16 ? TIM_BF16 : TIM_F32;
    return tim_muon_new(&t->muon, &t->model->params, product, t->model->options.threads, err);
}

/* Elements of one picture, which the network's configuration keeps far below overflow of 64 bits. */
static size_t picture_size(const TimTrainer *t) {
    const TimNetworkConfig *network = &t->model->config.network;
    return (size_t)network->in_channels * (size_t)network->input_size * (size_t)network->input_size;
}

static TimStatus make_means(TimTrainer *t, TimError *err) {
    const TimConfig *config = &t->model->config;
    const bool composed = config->transition.composed_ratio > 0 && config->transition.composed_spread != 1;
    if (!composed && config->data_spread == 1) return TIM_OK;
    return tim_data_means(&t->batch.means, t->data, err);
}

static TimStatus make_batch(TimTrainer *t, TimError *err) {
    TimTrainBatch *b = &t->batch;
    const size_t size = (size_t)t->model->config.training.batch_size;
    size_t elements;
    if (!tim_mul_size(size, picture_size(t), &elements))
        return tim_fail(err, TIM_E_MEMORY, "a batch of %zu pictures does not fit into memory", size);
    TIM_TRY(tim_new(&b->samples.x, elements, sizeof(float), "a batch", err));
    TIM_TRY(tim_new(&b->z, elements, sizeof(float), "the noise of a batch", err));
    TIM_TRY(tim_new(&b->t, size, sizeof(double), "a batch", err));
    TIM_TRY(tim_new(&b->r, size, sizeof(double), "a batch", err));
    TIM_TRY(tim_new(&b->samples.labels, size, sizeof(int64_t), "a batch", err));
    TIM_TRY(tim_new(&b->samples.dropped, size, sizeof(int64_t), "a batch", err));
    TIM_TRY(tim_new(&b->null_class, size, sizeof(int64_t), "a batch", err));
    TIM_TRY(make_means(t, err));
    TIM_TRY(tim_new(&b->bins, size, sizeof(size_t), "a batch", err));
    TIM_TRY(tim_new(&b->expected_loss, size, sizeof(float), "a batch", err));
    TIM_TRY(tim_new(&b->sample_losses, size, sizeof(float), "a batch", err));
    for (size_t i = 0; i < size; i++) b->null_class[i] = t->model->config.network.num_classes;
    return TIM_OK;
}

static TimStatus make_coupling(TimTrainer *t, TimError *err) {
    const TimTrainingConfig *config = &t->model->config.training;
    const TimCouplingShape shape = {.batches = (size_t)config->coupling_batches,
                                    .batch = (size_t)config->batch_size,
                                    .picture = picture_size(t),
                                    .classes = (size_t)t->model->config.network.num_classes,
                                    .threads = t->model->options.threads};
    return tim_coupling_new(&t->coupling, &shape, err);
}

static TimStatus make_objective(TimTrainer *t, int micro_batch, TimError *err) {
    const int side = t->model->config.network.input_size;
    const int batch = t->model->config.training.batch_size;
    const TimObjectiveShape shape = {.height = side, .width = side, .micro_batch = micro_batch < batch ? micro_batch : batch};
    return tim_objective_new(&t->objective, &t->model->config, &t->model->options, &shape, &t->model->params, err);
}

static TimStatus fill(TimTrainer *t, const TimConfig *config, const TimTrainerOptions *options, TimError *err) {
    TIM_TRY(check(config, options, err));
    t->state.seed = options->seed;
    TIM_TRY(tim_data_open(&t->data, config, err));
    TIM_TRY(make_models(t, config, options, err));
    TIM_TRY(make_vectors(t, err));
    TIM_TRY(make_optimizer(t, err));
    TIM_TRY(make_batch(t, err));
    TIM_TRY(make_coupling(t, err));
    return make_objective(t, options->micro_batch, err);
}

TimStatus tim_trainer_new(TimTrainer **trainer, const TimConfig *config, const TimTrainerOptions *options, TimError *err) {
    TimTrainer *t;
    *trainer = NULL;
    TIM_TRY(tim_new(&t, 1, sizeof *t, "a trainer", err));
    const TimStatus status = fill(t, config, options, err);
    if (status != TIM_OK) {
        tim_trainer_free(t);
        return status;
    }
    *trainer = t;
    return TIM_OK;
}

void tim_trainer_free(TimTrainer *t) {
    if (!t) return;
    void *const blocks[] = {t->gradients,
                            t->moments,
                            t->batch.samples.x,
                            t->batch.samples.labels,
                            t->batch.samples.dropped,
                            t->batch.z,
                            t->batch.t,
                            t->batch.r,
                            t->batch.null_class,
                            t->batch.means,
                            t->batch.bins,
                            t->batch.expected_loss,
                            t->batch.sample_losses};
    tim_objective_free(t->objective);
    tim_muon_free(t->muon);
    tim_coupling_free(t->coupling);
    tim_data_close(t->data);
    tim_model_close(t->model);
    tim_model_close(t->ema);
    tim_params_done(&t->moment_params);
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++) tim_free(blocks[i]);
    tim_free(t);
}

int64_t tim_trainer_steps(const TimTrainer *t) {
    return t->state.step;
}

/* ---- a step ---- */

/* Of the diffusion samples, which come first; 0 for the others. NULL before its step, or where none is to be expected. */
static const float *expect_losses(TimTrainer *t, size_t diffusion) {
    const TimConfig *config = &t->model->config;
    TimTrainBatch *b = &t->batch;
    if (!config->transition.expected_loss || t->state.step < config->training.expected_loss_start_step) return NULL;
    memset(b->expected_loss, 0, (size_t)config->training.batch_size * sizeof *b->expected_loss);
    for (size_t i = 0; i < diffusion; i++) {
        b->bins[i] = tim_loss_bin(&config->transport, b->t[i]);
        b->expected_loss[i] = tim_loss_expected(&t->loss_scale, b->bins[i]);
    }
    return b->expected_loss;
}

static void learn_losses(TimTrainer *t, size_t diffusion) {
    for (size_t i = 0; i < diffusion; i++) tim_loss_learn(&t->loss_scale, t->batch.bins[i], t->batch.sample_losses[i]);
}

/* How many of the coming step's samples are composed. */
static size_t composed_of_step(const TimTrainer *t) {
    const TimTrainingConfig *config = &t->model->config.training;
    if (t->state.step < config->composed_start_step) return 0;
    return tim_time_share(t->model->config.transition.composed_ratio, (size_t)config->batch_size);
}

/* Times of the step, of which the last `composed` samples are composed. Returns how many samples, from the first on, are diffusion
 * samples. */
static size_t draw_times(TimTrainer *t, size_t composed) {
    const TimConfig *config = &t->model->config;
    const TimTrainState *s = &t->state;
    const size_t batch = (size_t)config->training.batch_size, others = batch - composed;
    double *times = t->batch.t, *ends = t->batch.r;
    for (size_t i = others; i < batch; i++) times[i] = config->transport.t_max, ends[i] = config->transport.t_min;
    return tim_time_pairs(times, ends, others, &config->transport, &config->transition, s->seed, tim_stream(TIM_STREAM_TIMES, 0),
                          (uint64_t)s->step);
}

/* Moves the batch's pictures away from the means of their classes, from the step of that on. */
static void spread_pictures(TimTrainer *t, size_t size) {
    const TimConfig *config = &t->model->config;
    const TimTrainBatch *b = &t->batch;
    const size_t picture = picture_size(t);
    if (config->data_spread == 1 || t->state.step < config->training.data_spread_start_step) return;
    for (size_t i = 0; i < size; i++)
        tim_data_spread(b->samples.x + i * picture, b->means, b->samples.labels[i], picture, config->data_spread);
}

static TimBatch draw_batch(TimTrainer *t) {
    const TimConfig *config = &t->model->config;
    const TimTrainState *s = &t->state;
    const size_t size = (size_t)config->training.batch_size;
    TimTrainBatch *b = &t->batch;
    tim_data_read(t->data, s->seed, s->position, size, &b->samples, t->model->options.threads);
    spread_pictures(t, size);
    tim_coupling_noise(t->coupling, t->data, s->seed, s->step, s->position, b->z);
    const size_t composed = composed_of_step(t), diffusion = draw_times(t, composed);
    return (TimBatch){.size = (int64_t)size,
                      .diffusion = (int64_t)diffusion,
                      .composed = (int64_t)composed,
                      .x = b->samples.x,
                      .z = b->z,
                      .t = b->t,
                      .r = b->r,
                      .condition.labels = b->samples.dropped,
                      .teacher.labels = b->samples.labels,
                      .null.labels = b->null_class,
                      .means = b->means,
                      .expected_loss = expect_losses(t, diffusion),
                      .unguided = s->step < config->training.guidance_start_step};
}

static double ema_decay(const TimTrainingConfig *config, int64_t updates) {
    const double warm = (1.0 + (double)updates) / (10.0 + (double)updates);
    return config->ema_warmup && warm < config->ema_decay ? warm : config->ema_decay;
}

/* Clips, updates weights and EMA, and renews what is derived from them. A step that was skipped counts for the learning rate, but
 * not for Adam's bias correction and the EMA's warm-up: those count updates. */
static void update(TimTrainer *t, const TimBatch *batch, TimTrainReport *report) {
    const TimTrainingConfig *config = &t->model->config.training;
    const int64_t updates = t->state.step - t->state.skipped;
    const TimAdamWVectors vectors = {.weights = t->model->f32,
                                     .first = t->moments,
                                     .second = t->moments + t->model->params.elements,
                                     .ema = t->ema->f32,
                                     .gradients = t->gradients,
                                     .bf16 = t->model->bf16,
                                     .count = t->model->params.elements};
    report->ema_decay = ema_decay(config, updates);
    const TimUpdate update = {.learning_rate = report->learning_rate,
                              .grad_norm = report->grad_norm,
                              .ema_decay = report->ema_decay,
                              .number = updates + 1,
                              .threads = t->model->options.threads};
    tim_optimizer_update(config, t->muon, &vectors, &update);
    tim_model_weights_changed(t->ema);
    if (batch->expected_loss) learn_losses(t, (size_t)batch->diffusion);
}

/* Gradients into t->gradients, losses into the report. */
static TimStatus differentiate(TimTrainer *t, const TimBatch *batch, TimTrainReport *report, TimError *err) {
    TimLosses losses = {.per_sample = t->batch.sample_losses};
    const size_t bytes = t->model->params.elements * sizeof *t->gradients;
    memset(t->gradients, 0, bytes);
    TIM_TRY(tim_objective_step(t->objective, batch, &t->model->weights, &t->ema->weights, t->gradients, &losses, err));
    report->loss = losses.weighted;
    report->denoising = losses.denoising;
    report->proj = losses.proj;
    return TIM_OK;
}

static void advance(TimTrainer *t, TimTrainReport *report) {
    t->state.step++;
    t->state.skipped += report->skipped_now;
    t->state.position += (uint64_t)t->model->config.training.batch_size;
    report->step = t->state.step;
    report->skipped = t->state.skipped;
}

TimStatus tim_trainer_step(TimTrainer *t, TimTrainReport *report, TimError *err) {
    if (t->state.step >= max_steps)
        return tim_fail(err, TIM_E_ARGUMENT, "%lld steps are done, as many as a run can have", (long long)t->state.step);
    const double begin = tim_clock();
    *report = (TimTrainReport){.learning_rate = tim_learning_rate(&t->model->config.training, t->state.step)};
    const TimBatch batch = draw_batch(t);
    const double drawn = tim_clock();
    TIM_TRY(differentiate(t, &batch, report, err));
    const double differentiated = tim_clock();
    report->grad_norm = tim_l2_norm(t->gradients, t->model->params.elements, t->model->options.threads);
    report->skipped_now = !isfinite(report->grad_norm);
    if (!report->skipped_now) update(t, &batch, report);
    advance(t, report);
    const double end = tim_clock();
    report->seconds = end - begin;
    report->seconds_data = drawn - begin;
    report->seconds_objective = differentiated - drawn;
    report->seconds_update = end - differentiated;
    report->pictures_per_second = (double)batch.size / report->seconds;
    return TIM_OK;
}
