/* What the sampler, the pictures made with it, and models on disk promise. Writes into a temporary directory only. */
#include <dirent.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/memory.h"
#include "base/rng.h"
#include "fixture.h"
#include "full_disk.h"
#include "model/store.h"
#include "sample/sampler.h"
#include "saved_model.h"
#include "small_model.h"
#include "tim/file.h"
#include "transport/transport.h"

/* ---- fixtures ---- */

static int make_folder(void **state) {
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

static void assert_near(double actual, double expected, double tolerance) {
    if (fabs(actual - expected) <= tolerance) return;
    print_error("%.17g is not %.17g within %g\n", actual, expected, tolerance);
    fail();
}

static TimModel *new_model(const TimConfig *config, int threads) {
    TimModel *model;
    const TimNetworkOptions options = {.isa = tim_isa_best(), .threads = threads, .precision = TIM_PRECISION_F32};
    assert_ok(tim_model_new(&model, config, &options, &err));
    return model;
}

static TimModel *hash_model(int threads) {
    const TimConfig config = small_config(TIM_TRANSPORT_OT_FM);
    TimModel *model = new_model(&config, threads);
    assert_ok(fill_hash_weights(model, &err));
    return model;
}

/* All weights zero but the last bias: F is `value` everywhere, whatever the input. */
static TimModel *constant_model(TimTransportKind transport, float value) {
    const TimConfig config = small_config(transport);
    TimModel *model = new_model(&config, 1);
    const int index = tim_params_find(&model->params, "final_layer.linear.bias");
    assert_true(index >= 0);
    const TimParam *bias = &model->params.items[index];
    for (size_t i = 0; i < bias->count; i++) model->f32[bias->offset + i] = value;
    tim_model_weights_changed(model);
    return model;
}

static TimSampleOptions options_for(int64_t count, int steps) {
    TimSampleOptions options;
    tim_sample_options_init(&options);
    options.count = count;
    options.steps = steps;
    return options;
}

static TimPictures draw(TimModel *model, const TimSampleOptions *options) {
    TimPictures pictures;
    assert_ok(tim_sample(model, options, &pictures, NULL, &err));
    assert_int_equal(pictures.count, options->count);
    return pictures;
}

/* Equal but for the last place of a byte. */
static void assert_same_pictures(const uint8_t *a, const uint8_t *b, size_t count) {
    for (size_t i = 0; i < count; i++) assert_true(abs(a[i] - b[i]) <= 1);
}

/* ---- the schedule ---- */

static void test_time_ends_exact_and_falling(void **state) {
    (void)state;
    for (int kind = TIM_TRANSPORT_OT_FM; kind <= TIM_TRANSPORT_VE_SDE; kind++) {
        TimTransportConfig config;
        tim_transport_config_init(&config, (TimTransportKind)kind);
        for (int steps = 1; steps <= 300; steps += 13) {
            assert_true(tim_sampler_time(&config, 1, steps, 0) == config.t_max);
            assert_true(tim_sampler_time(&config, 1, steps, steps) == config.t_min);
            for (int i = 0; i < steps; i++)
                assert_true(tim_sampler_time(&config, 1, steps, i) > tim_sampler_time(&config, 1, steps, i + 1));
        }
    }
}

/* One jump is the whole way; from a start nearer than it there is no room for it. */
static void test_time_last_of_several_jumps_is_as_long_as_asked_for(void **state) {
    (void)state;
    TimTransportConfig equal, config;
    tim_transport_config_init(&equal, TIM_TRANSPORT_OT_FM);
    config = equal;
    config.last_jump = 0.125;
    static const double times[][5] = {
        {1, 0}, {1, 0.25, 0}, {1, 0.5 + 0.25 / 3, 0.5 / 3, 0}, {1, 1 - 0.875 / 3, 1 - 1.75 / 3, 0.125, 0}};
    for (int steps = 1; steps <= 4; steps++)
        for (int i = 0; i <= steps; i++) assert_true(fabs(tim_sampler_time(&config, 1, steps, i) - times[steps - 1][i]) < 1e-15);
    static const double nine[] = {1, 0.890625, 0.78125, 0.671875, 0.5625, 0.453125, 0.34375, 0.234375, 0.125, 0};
    for (int i = 0; i <= 9; i++) assert_true(fabs(tim_sampler_time(&config, 1, 9, i) - nine[i]) < 1e-15);
    static const double half[] = {0.5, 0.375, 0.25, 0.125, 0}; /* four of them are as long */
    for (int i = 0; i <= 4; i++) assert_true(fabs(tim_sampler_time(&config, 0.5, 4, i) - half[i]) < 1e-15);
    assert_true(fabs(tim_sampler_time(&config, 0.5, 7, 6) - 0.125) < 1e-15);
    for (int i = 0; i <= 4; i++) assert_true(tim_sampler_time(&config, 0.1, 4, i) == tim_sampler_time(&equal, 0.1, 4, i));
    config.last_jump = 0.3; /* twice as long were more than half the way; */
    assert_true(tim_sampler_time(&config, 1, 2, 1) == 0.5 && fabs(tim_sampler_time(&config, 1, 3, 2) - 0.4) < 1e-15);
    config.last_jump = 0.7; /* but it is no shorter than asked for */
    assert_true(tim_sampler_time(&config, 1, 2, 1) == 0.7);
}

/* In the last jump only, and where it is short; never as published. */
static void test_told_last_short_jump_leads_to_the_mean(void **state) {
    (void)state;
    TimTransportConfig config;
    tim_transport_config_init(&config, TIM_TRANSPORT_OT_FM);
    assert_true(tim_transport_told(&config, 8, 0.001, 0) == 0);
    config.last_jump = 0.1;
    assert_true(tim_transport_told(&config, 8, 0.1, 0) == 0.1);
    assert_true(tim_transport_told(&config, 8, 0.05, 0) == 0.05);
    assert_true(tim_transport_told(&config, 8, 0.05, 0.01) == 0.01);
    assert_true(tim_transport_told(&config, 8, 0.11, 0) == 0);
    assert_true(tim_transport_told(&config, 8, 1, 0) == 0);
    assert_true(tim_transport_told(&config, 2, 0.2, 0) == 0.2 && tim_transport_told(&config, 2, 0.21, 0) == 0);
    assert_true(tim_transport_told(&config, 1, 0.1, 0) == 0.1 && tim_transport_told(&config, 1, 0.11, 0) == 0);
    for (int steps = 2; steps <= 128; steps++) {
        const double t = tim_sampler_time(&config, 1, steps, steps - 1);
        assert_true(tim_transport_told(&config, steps, t, tim_sampler_time(&config, 1, steps, steps)) == t);
    }
}

/* Two jumps, the first of a millionth: what is left is the last one, whose F is the velocity in either mode. */
static void test_sample_last_short_jump_goes_by_the_velocity(void **state) {
    (void)state;
    TimModel *model = hash_model(1);
    TimSampleOptions options = options_for(2, 2), diffusion = options;
    const size_t bytes = 2 * (size_t)model->config.network.input_size * (size_t)model->config.network.input_size;
    diffusion.mode = TIM_SAMPLE_DIFFUSION;
    for (int k = 0; k < 2; k++) {
        model->config.transport.last_jump = k ? 0.999999 : 0;
        TimPictures a = draw(model, &options), b = draw(model, &diffusion);
        if (k)
            assert_same_pictures(a.pixels, b.pixels, bytes);
        else
            assert_memory_not_equal(a.pixels, b.pixels, bytes);
        tim_pictures_done(&a), tim_pictures_done(&b);
    }
    tim_model_close(model);
}

static TimSampleInfo plan(const TimSamplerOptions *options) {
    TimSampleInfo info;
    TimTransportConfig config;
    tim_transport_config_init(&config, TIM_TRANSPORT_OT_FM);
    assert_ok(tim_sampler_plan(&config, options, &info, &err));
    return info;
}

static void test_plan_default_window_never_guides_first_step(void **state) {
    (void)state;
    TimSamplerOptions options = tim_sampler_options_default();
    options.guidance = 2.5;
    for (options.steps = 2; options.steps <= 250; options.steps++) {
        const TimSampleInfo info = plan(&options);
        assert_int_equal(info.evaluations, 2 * options.steps - 1);
        assert_int_equal(info.guided_steps, options.steps - 1);
        assert_false(info.guidance_without_effect);
    }
}

static void test_plan_single_step_guidance_without_effect(void **state) {
    (void)state;
    TimSamplerOptions options = tim_sampler_options_default();
    options.guidance = 2.5;
    TimSampleInfo info = plan(&options);
    assert_int_equal(info.evaluations, 1);
    assert_true(info.guidance_without_effect);
    options.guidance_high = 1.5;
    info = plan(&options);
    assert_int_equal(info.evaluations, 2);
    assert_false(info.guidance_without_effect);
    options.guidance = 1.0;
    options.guidance_high = 1.0;
    assert_false(plan(&options).guidance_without_effect); /* nobody asked for any */
}

static void test_plan_window_ends_excluded(void **state) {
    (void)state;
    TimSamplerOptions options = tim_sampler_options_default();
    options.guidance = 2.0;
    options.steps = 10; /* times 1, 0.9, ..., 0.1 */
    options.guidance_low = 0.3, options.guidance_high = 0.7;
    assert_int_equal(plan(&options).guided_steps, 3);
    options.guidance_low = 0.0, options.guidance_high = 0.1;
    assert_true(plan(&options).guidance_without_effect);
}

static void test_plan_noise_ends(void **state) {
    (void)state;
    TimSamplerOptions options = tim_sampler_options_default();
    options.stochasticity = 0.3;
    assert_int_equal(plan(&options).noised_steps, 0);
    options.steps = 5;
    assert_int_equal(plan(&options).noised_steps, 3); /* neither the first nor the last */
    TimSampleInfo info;
    TimTransportConfig config;
    tim_transport_config_init(&config, TIM_TRANSPORT_OT_FM);
    config.last_jump = 0.1; /* told r = t, but it leads to T_min all the same */
    assert_ok(tim_sampler_plan(&config, &options, &info, &err));
    assert_int_equal(info.noised_steps, 3);
    options.mode = TIM_SAMPLE_DIFFUSION;
    assert_int_equal(plan(&options).noised_steps, 4); /* the network's r is t: the last one too */
    options.steps = 1;
    assert_int_equal(plan(&options).noised_steps, 0);
}

static void assert_refused(TimSamplerOptions options, TimTransportKind kind, TimStatus status, const char *says) {
    TimSampleInfo info;
    TimTransportConfig config;
    tim_transport_config_init(&config, kind);
    assert_int_equal(tim_sampler_plan(&config, &options, &info, &err), status);
    assert_int_equal(err.status, status);
    assert_says(says);
}

static void test_plan_bad_options_named(void **state) {
    (void)state;
    const TimSamplerOptions good = tim_sampler_options_default();
    TimSamplerOptions bad = good;
    bad.steps = 0;
    assert_refused(bad, TIM_TRANSPORT_OT_FM, TIM_E_ARGUMENT, "steps is 0; give 1 to 65535");
    bad.steps = TIM_SAMPLE_MAX_STEPS + 1;
    assert_refused(bad, TIM_TRANSPORT_OT_FM, TIM_E_ARGUMENT, "65536");
    bad = good, bad.guidance = (double)NAN;
    assert_refused(bad, TIM_TRANSPORT_OT_FM, TIM_E_ARGUMENT, "guidance");
    bad = good, bad.guidance_high = (double)INFINITY;
    assert_refused(bad, TIM_TRANSPORT_OT_FM, TIM_E_ARGUMENT, "window");
    bad = good, bad.mode = (TimSampleMode)7;
    assert_refused(bad, TIM_TRANSPORT_OT_FM, TIM_E_ARGUMENT, "mode is 7");
    bad = good, bad.stochasticity = -0.5;
    assert_refused(bad, TIM_TRANSPORT_OT_FM, TIM_E_ARGUMENT, "-0.5");
    bad.stochasticity = 0.3;
    assert_refused(bad, TIM_TRANSPORT_EDM, TIM_E_UNSUPPORTED, "EDM");
}

static void test_noise_depends_on_seed_picture_step(void **state) {
    (void)state;
    float a[PIXELS], b[PIXELS];
    tim_sampler_noise(a, PIXELS, (TimNoiseKey){5, 3}, 2);
    tim_rng_normal(b, PIXELS, 5, (uint64_t)3 << 16 | 2, 0);
    assert_memory_equal(a, b, sizeof a);
    tim_sampler_noise(b, PIXELS, (TimNoiseKey){5, 2}, 3);
    assert_memory_not_equal(a, b, sizeof a);
}

/* ---- the sampler ---- */

/* Runs one picture of class 1 from the key's noise. */
static void run_keyed(TimModel *model, const TimSamplerOptions *options, TimNoiseKey key, double out[PIXELS]) {
    const int64_t label = 1, null = CLASSES;
    float noise[PIXELS];
    tim_sampler_noise(noise, PIXELS, key, 0);
    for (int i = 0; i < PIXELS; i++) out[i] = noise[i];
    const TimSamplerBatch batch = {.batch = 1,
                                   .height = SIDE,
                                   .width = SIDE,
                                   .state = out,
                                   .keys = &key,
                                   .condition = {.labels = &label},
                                   .null = {.labels = &null}};
    assert_ok(tim_sampler_run(model, &batch, options, NULL, &err));
}

static void run_one(TimModel *model, const TimSamplerOptions *options, double out[PIXELS]) {
    run_keyed(model, options, (TimNoiseKey){0}, out);
}

static void test_run_constant_velocity_any_steps_same_end(void **state) {
    (void)state;
    const float velocity = 0.375F;
    TimModel *model = constant_model(TIM_TRANSPORT_OT_FM, velocity);
    float noise[PIXELS];
    tim_sampler_noise(noise, PIXELS, (TimNoiseKey){0}, 0);
    const int steps[] = {1, 2, 3, 7, 50, 1000};
    for (size_t k = 0; k < sizeof steps / sizeof *steps; k++) {
        for (int mode = TIM_SAMPLE_TRANSITION; mode <= TIM_SAMPLE_DIFFUSION; mode++) {
            double out[PIXELS];
            TimSamplerOptions options = tim_sampler_options_default();
            options.steps = steps[k];
            options.mode = (TimSampleMode)mode;
            run_one(model, &options, out);
            for (int i = 0; i < PIXELS; i++) assert_near(out[i], (double)noise[i] - (double)velocity, 1e-12);
        }
    }
    tim_model_close(model);
}

static void test_run_guidance_of_equal_outputs_changes_nothing(void **state) {
    (void)state;
    TimModel *model = constant_model(TIM_TRANSPORT_OT_FM, 0.5F);
    double plain[PIXELS], guided[PIXELS];
    TimSamplerOptions options = tim_sampler_options_default();
    options.steps = 3;
    run_one(model, &options, plain);
    options.guidance = 4.0;
    run_one(model, &options, guided);
    for (int i = 0; i < PIXELS; i++) assert_near(guided[i], plain[i], 1e-12);
    tim_model_close(model);
}

static void test_run_modes_and_guidance_differ(void **state) {
    (void)state;
    TimModel *model = hash_model(1);
    double plain[PIXELS], other[PIXELS];
    TimSamplerOptions options = tim_sampler_options_default();
    options.steps = 3;
    run_one(model, &options, plain);
    options.mode = TIM_SAMPLE_DIFFUSION;
    run_one(model, &options, other);
    assert_memory_not_equal(plain, other, sizeof plain);
    options.mode = TIM_SAMPLE_TRANSITION;
    options.guidance = 2.5;
    run_one(model, &options, other);
    assert_memory_not_equal(plain, other, sizeof plain);
    options.steps = 1; /* its guidance has no effect */
    run_one(model, &options, other);
    options.guidance = 1.0;
    run_one(model, &options, plain);
    assert_memory_equal(plain, other, sizeof plain);
    tim_model_close(model);
}

static void test_run_trajectory_from_noise_to_end(void **state) {
    (void)state;
    TimModel *model = hash_model(1);
    double out[PIXELS];
    float noise[PIXELS], trajectory[4 * PIXELS];
    TimSamplerOptions options = tim_sampler_options_default();
    options.steps = 3;
    options.trajectory = trajectory;
    run_one(model, &options, out);
    tim_sampler_noise(noise, PIXELS, (TimNoiseKey){0}, 0);
    assert_memory_equal(trajectory, noise, sizeof noise);
    for (int i = 0; i < PIXELS; i++) assert_true(trajectory[3 * PIXELS + i] == (float)out[i]);
    tim_model_close(model);
}

/* From states alone: F = (x_t - x_r) / (t - r) of the straight path, carried on to 0; the last is the end itself. */
static void test_run_estimates_carry_each_jump_to_the_end(void **state) {
    (void)state;
    enum { STEPS = 4 };
    TimModel *model = hash_model(1);
    double out[PIXELS];
    float states[(STEPS + 1) * PIXELS], estimates[STEPS * PIXELS];
    TimSamplerOptions options = tim_sampler_options_default();
    options.steps = STEPS, options.guidance = 2;
    options.trajectory = states, options.estimates = estimates;
    run_one(model, &options, out);
    for (int s = 0; s < STEPS; s++)
        for (int i = 0; i < PIXELS; i++) {
            const double x = states[s * PIXELS + i], next = states[(s + 1) * PIXELS + i];
            assert_near(estimates[s * PIXELS + i], x - (STEPS - s) * (x - next), 1e-5);
        }
    for (int i = 0; i < PIXELS; i++) assert_true(estimates[(STEPS - 1) * PIXELS + i] == (float)out[i]);
    tim_model_close(model);
}

/* TrigFlow's points lie on a circle of radius pi/2: the end is x_t cos t - F sin t. Noise of a stochastic jump is in no
 * estimate. */
static void test_run_estimates_of_other_paths_and_without_noise(void **state) {
    (void)state;
    TimModel *model = constant_model(TIM_TRANSPORT_TRIGFLOW, 0.5F);
    double out[PIXELS];
    float states[3 * PIXELS], estimates[2 * PIXELS];
    TimSamplerOptions options = tim_sampler_options_default();
    options.steps = 2, options.trajectory = states, options.estimates = estimates;
    run_one(model, &options, out);
    const double t = model->config.transport.t_max;
    for (int i = 0; i < PIXELS; i++) assert_near(estimates[i], cos(t) * states[i] - sin(t) * 0.5, 1e-5);
    tim_model_close(model);
    model = constant_model(TIM_TRANSPORT_OT_FM, 0.5F);
    options.steps = 2, options.stochasticity = 0.5, options.mode = TIM_SAMPLE_DIFFUSION;
    run_one(model, &options, out);
    for (int i = 0; i < PIXELS; i++) assert_near(estimates[PIXELS + i], states[PIXELS + i] - 0.5 * 0.5, 1e-6);
    tim_model_close(model);
}

/* States that the published sampler (WZDTHU/TiM, on PyTorch 2.13) goes through from z = 0.75 in bf16 where F is 0.5, with fresh
 * noise 1. */
static void test_run_rounded_times_states_of_the_published_sampler(void **state) {
    (void)state;
    static const struct {
        int steps;
        double stochasticity, states[6];
    } golden[] = {
        {3, 0, {0.75, 0.583984375, 0.4169921875, 0.25}},
        {5, 0, {0.75, 0.650390625, 0.55078125, 0.4501953125, 0.35009765625, 0.25}},
        {3, 0.2, {0.75, 0.583984375, 0.665722668170929, 0.49873048067092896}},
        {5, 0.2, {0.75, 0.650390625, 0.7728515863418579, 0.8528815507888794, 0.885303258895874, 0.785205602645874}},
    };
    TimModel *model = constant_model(TIM_TRANSPORT_OT_FM, 0.5F);
    const int64_t label = 1;
    float noises[6 * PIXELS], states[6 * PIXELS];
    for (int i = 0; i < 6 * PIXELS; i++) noises[i] = 1;
    for (size_t k = 0; k < sizeof golden / sizeof *golden; k++) {
        double x[PIXELS];
        TimSamplerOptions options = tim_sampler_options_default();
        options.steps = golden[k].steps, options.stochasticity = golden[k].stochasticity;
        options.rounded_times = true, options.trajectory = states, options.noises = noises, options.noise_count = 6;
        for (int i = 0; i < PIXELS; i++) x[i] = 0.75;
        const TimSamplerBatch batch = {.batch = 1, .height = SIDE, .width = SIDE, .state = x, .condition = {.labels = &label}};
        assert_ok(tim_sampler_run(model, &batch, &options, NULL, &err));
        for (int s = 0; s <= options.steps; s++) assert_near(states[s * PIXELS + 7], golden[k].states[s], 1e-7);
    }
    tim_model_close(model);
}

/* Of 5 steps the published sampler's second goes from t = 0.80078125 to r = 0.6015625, and the network is told so. With 16 nothing
 * is rounded. */
static void test_run_rounded_times_reach_the_network(void **state) {
    (void)state;
    TimModel *model = hash_model(1);
    const int64_t label = 1;
    const float t = 0.80078125F, r = 0.6015625F;
    double out[PIXELS], plain[PIXELS];
    float states[6 * PIXELS], f[PIXELS];
    TimSamplerOptions options = tim_sampler_options_default();
    options.steps = 5, options.trajectory = states, options.rounded_times = true;
    run_one(model, &options, out);
    assert_ok(tim_model_evaluate(model, 1, SIDE, SIDE, states + PIXELS, &t, &r, &(TimCondition){.labels = &label}, f, &err));
    for (int i = 0; i < PIXELS; i++) assert_near(states[2 * PIXELS + i], states[PIXELS + i] - (t - r) * f[i], 1e-6);
    options.rounded_times = false;
    run_one(model, &options, plain);
    assert_memory_not_equal(out, plain, sizeof plain);
    options.steps = 16, options.trajectory = NULL;
    run_one(model, &options, plain);
    options.rounded_times = true;
    run_one(model, &options, out);
    assert_memory_equal(out, plain, sizeof plain);
    tim_model_close(model);
    TimSampleInfo info;
    const TimConfig other = small_config(TIM_TRANSPORT_EDM);
    assert_int_equal(tim_sampler_plan(&other.transport, &options, &info, &err), TIM_E_UNSUPPORTED);
    assert_says("OT_FM");
}

static void test_run_given_noises_replace_drawn_ones(void **state) {
    (void)state;
    TimModel *model = hash_model(1);
    double drawn[PIXELS], given[PIXELS];
    float noises[2 * PIXELS];
    TimSamplerOptions options = tim_sampler_options_default();
    options.steps = 4; /* noised: the second and third */
    options.stochasticity = 0.4;
    const TimNoiseKey key = {.seed = 9};
    run_keyed(model, &options, key, drawn);
    tim_sampler_noise(noises, PIXELS, key, 2);
    tim_sampler_noise(noises + PIXELS, PIXELS, key, 3);
    options.noises = noises;
    options.noise_count = 2;
    run_keyed(model, &options, key, given);
    assert_memory_equal(drawn, given, sizeof drawn);

    const int64_t label = 0;
    const TimSamplerBatch batch = {.batch = 1, .height = SIDE, .width = SIDE, .state = given, .condition = {.labels = &label}};
    options.noise_count = 1;
    assert_int_equal(tim_sampler_run(model, &batch, &options, NULL, &err), TIM_E_ARGUMENT);
    assert_says("1 noises are given and 2 steps use one");
    options.noises = NULL;
    assert_int_equal(tim_sampler_run(model, &batch, &options, NULL, &err), TIM_E_ARGUMENT);
    assert_says("2 steps use fresh noise");
    tim_model_close(model);
}

/* The states of a batch are those of its pictures alone, to rounding. */
static void test_run_batch_equals_single_pictures(void **state) {
    (void)state;
    enum { BATCH = 8 };
    TimModel *model = hash_model(2);
    static double together[BATCH * PIXELS], alone[PIXELS];
    const int64_t labels[BATCH] = {0, 1, 2, 3, 0, 1, 2, 3}, nulls[BATCH] = {4, 4, 4, 4, 4, 4, 4, 4};
    float noise[PIXELS];
    TimSamplerOptions options = tim_sampler_options_default();
    options.steps = 4, options.guidance = 2.0, options.stochasticity = 0.3;
    TimNoiseKey keys[BATCH];
    for (int b = 0; b < BATCH; b++) {
        keys[b] = (TimNoiseKey){.seed = 11, .picture = b};
        tim_sampler_noise(noise, PIXELS, keys[b], 0);
        for (int i = 0; i < PIXELS; i++) together[b * PIXELS + i] = noise[i];
    }
    const TimSamplerBatch all = {.batch = BATCH,
                                 .height = SIDE,
                                 .width = SIDE,
                                 .state = together,
                                 .keys = keys,
                                 .condition = {.labels = labels},
                                 .null = {.labels = nulls}};
    assert_ok(tim_sampler_run(model, &all, &options, NULL, &err));
    for (int b = 0; b < BATCH; b++) {
        tim_sampler_noise(noise, PIXELS, keys[b], 0);
        for (int i = 0; i < PIXELS; i++) alone[i] = noise[i];
        const TimSamplerBatch one = {.batch = 1,
                                     .height = SIDE,
                                     .width = SIDE,
                                     .state = alone,
                                     .keys = &keys[b],
                                     .condition = {.labels = &labels[b]},
                                     .null = {.labels = nulls}};
        assert_ok(tim_sampler_run(model, &one, &options, NULL, &err));
        for (int i = 0; i < PIXELS; i++) assert_near(alone[i], together[b * PIXELS + i], 2e-5);
    }
    tim_model_close(model);
}

static void test_run_bad_batch_named(void **state) {
    (void)state;
    TimModel *model = constant_model(TIM_TRANSPORT_OT_FM, 0.0F);
    double out[PIXELS] = {0};
    const int64_t label = 0;
    const TimSamplerOptions options = tim_sampler_options_default();
    TimSamplerBatch batch = {.batch = 0, .height = SIDE, .width = SIDE, .state = out, .condition = {.labels = &label}};
    assert_int_equal(tim_sampler_run(model, &batch, &options, NULL, &err), TIM_E_ARGUMENT);
    assert_says("a batch of 0");
    batch.batch = 1, batch.height = 7;
    assert_int_equal(tim_sampler_run(model, &batch, &options, NULL, &err), TIM_E_ARGUMENT);
    assert_says("patches of 2");
    tim_model_close(model);
}

/* ---- pictures ---- */

static void test_sample_batch_and_threads_do_not_matter(void **state) {
    (void)state;
    enum { COUNT = 8 };
    TimSampleOptions options = options_for(COUNT, 4);
    options.guidance = 2.0, options.stochasticity = 0.3, options.seed = 42;
    TimModel *one = hash_model(1), *two = hash_model(2);
    options.batch = COUNT;
    TimPictures expected = draw(one, &options);
    const int batches[] = {1, 3, 8};
    for (int k = 0; k < 6; k++) {
        options.batch = batches[k % 3];
        TimPictures pictures = draw(k < 3 ? one : two, &options);
        assert_same_pictures(pictures.pixels, expected.pixels, (size_t)COUNT * PIXELS);
        tim_pictures_done(&pictures);
    }
    tim_pictures_done(&expected);
    tim_model_close(one);
    tim_model_close(two);
}

/* A model on pixels keeps to a bound as a pipeline does, and draws the same within it. */
static void test_sample_keeps_to_memory(void **state) {
    (void)state;
    TimSampleOptions options = options_for(5, 3);
    TimSampleInfo info, guided, mixed;
    TimPictures pictures;
    TimModel *model = hash_model(1);
    TimPictures plain = draw(model, &options);
    options.memory = (size_t)1 << 30;
    TimPictures bounded = draw(model, &options);
    assert_memory_equal(bounded.pixels, plain.pixels, 5 * PIXELS);
    assert_ok(tim_sample_plan(model, &options, &info, &err));
    assert_in_range(info.memory, 5 * PIXELS + sizeof(float) * tim_model_parameter_count(model), options.memory);
    options.guidance = 2, options.guidance_high = 2;
    assert_ok(tim_sample_plan(model, &options, &guided, &err));
    assert_int_equal(guided.guided_steps, 3);
    options.guidance_high = 0.5;
    assert_ok(tim_sample_plan(model, &options, &mixed, &err));
    assert_in_range(mixed.guided_steps, 1, 2);
    assert_true(guided.memory > info.memory && mixed.memory > guided.memory); /* a tape for each kind of step */
    options.guidance = 1, options.memory = 1000;
    assert_int_equal(tim_sample(model, &options, &pictures, NULL, &err), TIM_E_MEMORY);
    assert_says("the run needs");
    tim_pictures_done(&plain);
    tim_pictures_done(&bounded);
    tim_model_close(model);
}

/* Not black pictures. */
static void test_sample_network_that_is_not_finite_refused(void **state) {
    (void)state;
    TimModel *model = constant_model(TIM_TRANSPORT_OT_FM, NAN);
    const TimSampleOptions options = options_for(2, 3);
    TimPictures pictures;
    assert_int_equal(tim_sample(model, &options, &pictures, NULL, &err), TIM_E_FORMAT);
    assert_says("step 1 of 3 led to NaN in picture 0 of its batch");
    tim_model_close(model);
}

/* Their sum would overflow, and be within any bound. */
static void test_sample_pictures_beyond_addresses_refused(void **state) {
    (void)state;
    TimModel *model = hash_model(1);
    TimSampleOptions options = options_for((int64_t)1 << 47, 1);
    TimSampleInfo info;
    options.width = options.height = 4096, options.memory = (size_t)1 << 33;
    assert_int_equal(tim_sample_plan(model, &options, &info, &err), TIM_E_MEMORY);
    assert_says("140737488355328 pictures of 4096 x 4096 do not fit into memory");
    tim_model_close(model);
}

static void test_sample_repeated_same_bits(void **state) {
    (void)state;
    TimSampleOptions options = options_for(5, 3);
    options.seed = 7, options.batch = 2, options.guidance = 3.0;
    TimModel *first = hash_model(2), *second = hash_model(2);
    TimPictures a = draw(first, &options), b = draw(second, &options), c = draw(first, &options);
    assert_memory_equal(a.pixels, b.pixels, 5 * PIXELS);
    assert_memory_equal(a.pixels, c.pixels, 5 * PIXELS);
    options.seed = 8;
    TimPictures d = draw(first, &options);
    assert_memory_not_equal(a.pixels, d.pixels, 5 * PIXELS);
    TimPictures *const all[] = {&a, &b, &c, &d};
    for (int i = 0; i < 4; i++) tim_pictures_done(all[i]);
    tim_model_close(first);
    tim_model_close(second);
}

static void test_sample_first_goes_on_where_a_run_ended(void **state) {
    (void)state;
    TimModel *model = hash_model(1);
    TimSampleOptions options = options_for(7, 2);
    TimPictures whole = draw(model, &options);
    options.first = 5, options.count = 2; /* classes 1 and 2, as in the whole run */
    TimPictures part = draw(model, &options);
    assert_same_pictures(part.pixels, whole.pixels + 5 * PIXELS, 2 * PIXELS);
    const int64_t labels[] = {1, 2};
    options.labels = labels;
    TimPictures labelled = draw(model, &options);
    assert_memory_equal(part.pixels, labelled.pixels, 2 * PIXELS);
    tim_pictures_done(&whole);
    tim_pictures_done(&part);
    tim_pictures_done(&labelled);
    tim_model_close(model);
}

static void test_sample_info_counts_evaluations(void **state) {
    (void)state;
    TimModel *model = hash_model(1);
    TimPictures pictures;
    TimSampleInfo info, planned;
    TimSampleOptions options = options_for(3, 4);
    options.guidance = 2.0, options.batch = 2;
    assert_ok(tim_sample(model, &options, &pictures, &info, &err));
    tim_pictures_done(&pictures);
    assert_int_equal(info.evaluations, 7);
    assert_int_equal(info.guided_steps, 3);
    assert_false(info.guidance_without_effect);
    options.steps = 1;
    assert_ok(tim_sample_plan(model, &options, &planned, &err));
    assert_true(planned.guidance_without_effect);
    assert_ok(tim_sample(model, &options, &pictures, &info, &err));
    tim_pictures_done(&pictures);
    assert_true(info.guidance_without_effect);
    assert_int_equal(info.evaluations, 1);
    tim_model_close(model);
}

static void test_sample_other_size_than_models(void **state) {
    (void)state;
    TimModel *model = hash_model(1);
    TimSampleOptions options = options_for(2, 1);
    options.height = 4, options.width = 10;
    TimPictures pictures = draw(model, &options);
    assert_int_equal(pictures.height, 4);
    assert_int_equal(pictures.width, 10);
    assert_int_equal(pictures.channels, 1);
    tim_pictures_done(&pictures);
    tim_model_close(model);
}

/* With F = 0 the state stays what it is: VE starts from noise of sigma(T_max) = 100, beyond any gray. */
static void test_sample_ve_starts_from_scaled_noise(void **state) {
    (void)state;
    TimModel *ve = constant_model(TIM_TRANSPORT_VE_SDE, 0.0F), *ot = constant_model(TIM_TRANSPORT_OT_FM, 0.0F);
    const TimSampleOptions options = options_for(4, 3);
    TimPictures wide = draw(ve, &options), narrow = draw(ot, &options);
    int extreme_wide = 0, extreme_narrow = 0;
    for (int i = 0; i < 4 * PIXELS; i++) {
        extreme_wide += wide.pixels[i] == 0 || wide.pixels[i] == 255;
        extreme_narrow += narrow.pixels[i] == 0 || narrow.pixels[i] == 255;
    }
    assert_true(extreme_wide > 4 * PIXELS * 95 / 100);
    assert_true(extreme_narrow < 4 * PIXELS / 2); /* a third of all normal numbers lie beyond 1 */
    tim_pictures_done(&wide);
    tim_pictures_done(&narrow);
    tim_model_close(ve);
    tim_model_close(ot);
}

/* A velocity of x_T - x for a known x: the pixels are x, in the published rounding. */
static void test_sample_rounding_as_published(void **state) {
    (void)state;
    TimModel *model = constant_model(TIM_TRANSPORT_OT_FM, 0.0F);
    TimSampleOptions options = options_for(1, 1);
    float noise[PIXELS];
    TimImage expected;
    tim_sampler_noise(noise, PIXELS, (TimNoiseKey){0}, 0);
    for (int rounding = TIM_IMAGE_ROUNDING_T2I; rounding <= TIM_IMAGE_ROUNDING_C2I; rounding++) {
        options.rounding = (TimImageRounding)rounding;
        TimPictures pictures = draw(model, &options);
        assert_ok(tim_image_from_chw(&expected, noise, 1, SIDE, SIDE, options.rounding, &err));
        assert_memory_equal(pictures.pixels, expected.pixels, PIXELS);
        tim_image_done(&expected);
        tim_pictures_done(&pictures);
    }
    tim_model_close(model);
}

typedef struct Counter {
    int64_t calls, done, total, stop_at;
} Counter;

static bool count_calls(int64_t done, int64_t total, void *user) {
    Counter *counter = user;
    counter->calls++;
    assert_true(done > counter->done);
    counter->done = done, counter->total = total;
    return done != counter->stop_at;
}

static void test_sample_progress_counts_and_cancels(void **state) {
    (void)state;
    TimModel *model = hash_model(1);
    Counter counter = {0};
    TimPictures pictures;
    TimSampleOptions options = options_for(5, 3);
    options.batch = 2, options.progress = count_calls, options.user = &counter;
    pictures = draw(model, &options);
    tim_pictures_done(&pictures);
    assert_int_equal(counter.done, 15); /* three steps of each picture */
    assert_int_equal(counter.total, 15);
    counter = (Counter){.stop_at = 8}; /* two pictures are drawn, two are one step on */
    assert_int_equal(tim_sample(model, &options, &pictures, NULL, &err), TIM_E_CANCELLED);
    assert_int_equal(counter.calls, 4);
    assert_null(pictures.pixels);
    assert_says("after step 1 of 3");
    tim_model_close(model);
}

static void assert_sample_refused(TimModel *model, TimSampleOptions options, TimStatus status, const char *says) {
    TimPictures pictures;
    assert_int_equal(tim_sample(model, &options, &pictures, NULL, &err), status);
    assert_null(pictures.pixels);
    assert_says(says);
}

static void test_sample_bad_options_named(void **state) {
    (void)state;
    TimModel *model = hash_model(1);
    const TimSampleOptions good = options_for(2, 2);
    const int64_t labels[] = {0, CLASSES};
    TimSampleOptions bad = good;
    bad.count = 0;
    assert_sample_refused(model, bad, TIM_E_ARGUMENT, "count is 0");
    bad = good, bad.first = -3;
    assert_sample_refused(model, bad, TIM_E_ARGUMENT, "first is -3");
    bad = good, bad.first = INT64_MAX;
    assert_sample_refused(model, bad, TIM_E_ARGUMENT, "first is");
    bad = good, bad.batch = 0;
    assert_sample_refused(model, bad, TIM_E_ARGUMENT, "batch is 0");
    bad = good, bad.steps = 0;
    assert_sample_refused(model, bad, TIM_E_ARGUMENT, "steps is 0");
    bad = good, bad.height = 7;
    assert_sample_refused(model, bad, TIM_E_ARGUMENT, "height is 7; give a multiple of 2 up to 16384, such as 8");
    bad = good, bad.width = -2;
    assert_sample_refused(model, bad, TIM_E_ARGUMENT, "width is -2");
    bad = good, bad.labels = labels;
    assert_sample_refused(model, bad, TIM_E_ARGUMENT, "class 4 of picture 1; the model has the classes 0 to 3");
    bad = good, bad.rounding = (TimImageRounding)9;
    assert_sample_refused(model, bad, TIM_E_ARGUMENT, "rounding is 9");
    tim_model_close(model);
}

static void test_sample_unsupported_models_named(void **state) {
    (void)state;
    TimConfig config = small_config(TIM_TRANSPORT_OT_FM);
    char vae[] = "stabilityai/sd-vae-ft-ema";
    TimSampleOptions options = options_for(1, 2);
    config.vae_dir = vae;
    TimModel *model = new_model(&config, 1);
    assert_sample_refused(model, options, TIM_E_UNSUPPORTED, "autoencoder stabilityai/sd-vae-ft-ema, which is needed");
    tim_model_close(model);

    config = small_config(TIM_TRANSPORT_OT_FM);
    config.network.in_channels = 4;
    model = new_model(&config, 1);
    assert_sample_refused(model, options, TIM_E_UNSUPPORTED, "4 channels");
    tim_model_close(model);

    config = small_config(TIM_TRANSPORT_OT_FM);
    config.network.class_dropout_prob = 0.0;
    model = new_model(&config, 1);
    options.guidance = 2.0;
    assert_sample_refused(model, options, TIM_E_UNSUPPORTED, "null class");
    options.guidance = 1.0;
    TimPictures pictures = draw(model, &options);
    tim_pictures_done(&pictures);
    tim_model_close(model);

    config = small_config(TIM_TRANSPORT_OT_FM);
    config.network.kind = TIM_NETWORK_T2I;
    config.network.cap_feat_dim = 8;
    model = new_model(&config, 1);
    assert_sample_refused(model, options, TIM_E_UNSUPPORTED, "text");
    tim_model_close(model);
}

/* ---- models on disk ---- */

static void save(const TimModel *model, TimDtype dtype, const char *path) {
    const TimStoredText texts[] = {{"step", "1200"}, {"note", "EMA 0.9999"}};
    assert_ok(tim_model_save(&model->config, model->f32, &model->params, dtype, texts, 2, path, &err));
}

static TimModel *open_model(const char *path, const char *config) {
    TimModel *model;
    assert_ok(tim_model_open(&model, path, config, NULL, &err));
    return model;
}

static void assert_same_weights(const TimModel *a, const TimModel *b) {
    assert_int_equal(a->params.elements, b->params.elements);
    for (size_t i = 0; i < a->params.count; i++)
        assert_memory_equal(a->weights.f32[i], b->weights.f32[i], a->params.items[i].count * sizeof **a->weights.f32);
}

static void test_save_open_f32_same_bits(void **state) {
    (void)state;
    TimModel *model = hash_model(1);
    save(model, TIM_F32, in_folder("f32"));
    TimModel *opened = open_model(in_folder("f32"), NULL);
    assert_same_weights(model, opened);
    assert_int_equal(tim_model_config(opened)->network.depth, 2);
    assert_int_equal(tim_model_config(opened)->network.num_classes, CLASSES);
    assert_int_equal(tim_model_parameter_count(opened), tim_model_parameter_count(model));
    tim_model_close(opened);
    opened = open_model(in_folder("f32/model.safetensors"), NULL);
    assert_same_weights(model, opened);
    tim_model_close(opened);
    opened = open_model(in_folder("f32/"), in_folder("f32/config.yaml"));
    assert_same_weights(model, opened);
    tim_model_close(opened);
    save(model, TIM_F32, in_folder("f32")); /* again, over itself */
    tim_model_close(model);
}

static void test_save_open_bf16_rounded_once(void **state) {
    (void)state;
    TimModel *model = hash_model(1);
    save(model, TIM_BF16, in_folder("bf16"));
    TimModel *opened = open_model(in_folder("bf16"), NULL);
    for (size_t i = 0; i < model->params.count; i++)
        for (size_t k = 0; k < model->params.items[i].count; k++)
            assert_true(opened->weights.f32[i][k] == tim_bf16_to_f32(tim_bf16_from_f32(model->weights.f32[i][k])));
    assert_int_equal(tim_model_write(opened, in_folder("bf16_again"), (TimPrecision)7, &err), TIM_E_ARGUMENT);
    assert_ok(tim_model_write(opened, in_folder("bf16_again"), TIM_PRECISION_BF16, &err));
    TimModel *again = open_model(in_folder("bf16_again"), NULL);
    assert_same_weights(opened, again);
    tim_model_close(model);
    tim_model_close(opened);
    tim_model_close(again);
}

/* Weights that find no room leave the configuration of those that are there. */
static void test_save_full_disk_keeps_the_old_model(void **state) {
    (void)state;
    TimConfig other = small_config(TIM_TRANSPORT_EDM);
    save_model("kept", &other);
    TimModel *model = hash_model(1), *opened;
    set_file_room(4096); /* of the configuration, not of the weights */
    const TimStatus status = tim_model_write(model, in_folder("kept"), TIM_PRECISION_F32, &err);
    set_disk_full(0);
    assert_int_equal(status, TIM_E_IO);
    assert_int_equal(access(in_folder("kept/model.safetensors.tmp"), F_OK), -1);
    assert_ok(tim_model_open(&opened, in_folder("kept"), NULL, NULL, &err));
    assert_int_equal(opened->config.transport.kind, TIM_TRANSPORT_EDM);
    tim_model_close(opened);
    tim_model_close(model);
}

static void test_open_bf16_precision_runs(void **state) {
    (void)state;
    TimModel *model = hash_model(1), *opened;
    save(model, TIM_F32, in_folder("precision"));
    const TimModelOptions options = {.precision = TIM_PRECISION_BF16, .threads = 1, .isa = "ref"};
    assert_ok(tim_model_open(&opened, in_folder("precision"), NULL, &options, &err));
    const TimSampleOptions sample = options_for(2, 1);
    TimPictures pictures = draw(opened, &sample);
    tim_pictures_done(&pictures);
    tim_model_close(opened);
    tim_model_close(model);
}

static void test_open_bad_options_named(void **state) {
    (void)state;
    TimModel *model;
    TimModelOptions options = {.isa = "sse9"};
    assert_int_equal(tim_model_open(&model, folder, NULL, &options, &err), TIM_E_ARGUMENT);
    assert_says("'sse9'");
    options = (TimModelOptions){.threads = -1};
    assert_int_equal(tim_model_open(&model, folder, NULL, &options, &err), TIM_E_ARGUMENT);
    assert_says("threads is -1");
    options = (TimModelOptions){.precision = (TimPrecision)5};
    assert_int_equal(tim_model_open(&model, folder, NULL, &options, &err), TIM_E_ARGUMENT);
    assert_says("precision is 5");
    assert_null(model);
}

static void test_open_missing_files_named(void **state) {
    (void)state;
    TimModel *model = hash_model(1), *opened;
    assert_int_equal(tim_model_open(&opened, in_folder("nothing"), NULL, NULL, &err), TIM_E_IO);
    save(model, TIM_F32, in_folder("bare"));
    assert_int_equal(unlink(in_folder("bare/config.yaml")), 0);
    assert_int_equal(tim_model_open(&opened, in_folder("bare"), NULL, NULL, &err), TIM_E_IO);
    assert_says("bare/config.yaml");
    assert_says("beside the weights");
    assert_null(opened);
    save(model, TIM_F32, in_folder("bare"));
    assert_int_equal(unlink(in_folder("bare/model.safetensors")), 0);
    assert_int_equal(tim_model_open(&opened, in_folder("bare"), NULL, NULL, &err), TIM_E_IO);
    assert_says("bare: the folder has none of model.safetensors");
    tim_model_close(model);
}

/* What a file of weights has that it should not have. */
typedef struct Defect {
    const char *leave_out, *add, *misshape, *retype; /* tensors, or the beginnings of their names */
    TimDtype dtype;                                  /* of retype */
} Defect;

static bool is_named(const char *name, const char *beginning) {
    return beginning && strncmp(name, beginning, strlen(beginning)) == 0;
}

/* The weights with one defect, beside a good configuration in `name`. */
static const char *write_defect(const TimModel *model, const char *name, const Defect *defect) {
    static double data[8192]; /* zeros of any type, as many as the largest parameter has */
    TimSafetensorsWriter writer;
    char path[2 * PATH_BYTES];
    save(model, TIM_F32, in_folder(name));
    assert_ok(tim_safetensors_writer_init(&writer, &err));
    for (size_t i = 0; i < model->params.count; i++) {
        const TimParam *p = &model->params.items[i];
        size_t dims[TIM_PARAM_MAX_RANK];
        assert_true(p->count < sizeof data / sizeof *data);
        tim_param_dims(p, dims);
        if (is_named(p->name, defect->leave_out)) continue;
        if (is_named(p->name, defect->misshape)) dims[0]++;
        const TimDtype dtype = is_named(p->name, defect->retype) ? defect->dtype : TIM_F32;
        assert_ok(tim_safetensors_writer_add(&writer, p->name, dtype, p->rank, dims, data, &err));
    }
    const size_t scalar = 1;
    if (defect->add) assert_ok(tim_safetensors_writer_add(&writer, defect->add, TIM_F32, 1, &scalar, data, &err));
    snprintf(path, sizeof path, "%s/model.safetensors", in_folder(name));
    assert_ok(tim_safetensors_writer_save(&writer, path, &err));
    tim_safetensors_writer_done(&writer);
    return in_folder(name);
}

static void assert_defect(const char *name, Defect defect, const char *const *says) {
    TimModel *model = hash_model(1), *opened;
    assert_int_equal(tim_model_open(&opened, write_defect(model, name, &defect), NULL, NULL, &err), TIM_E_FORMAT);
    assert_null(opened);
    assert_says(name);
    assert_says("model.safetensors");
    for (; *says; says++) assert_says(*says);
    tim_model_close(model);
}

static void test_open_defects_named(void **state) {
    (void)state;
    assert_defect("lacking", (Defect){.leave_out = "blocks.1.attn.qkv.weight"},
                  (const char *const[]){"'blocks.1.attn.qkv.weight' (72, 24) is missing", NULL});
    assert_defect("surplus", (Defect){.add = "blocks.2.attn.qkv.bias"},
                  (const char *const[]){"'blocks.2.attn.qkv.bias' (1) belongs to no layer", NULL});
    assert_defect("misshapen", (Defect){.misshape = "x_embedder.proj.weight"},
                  (const char *const[]){"'x_embedder.proj.weight'", "the shape (25, 1, 2, 2)", "wants (24, 1, 2, 2)", NULL});
    assert_defect("projector", (Defect){.misshape = "projector.2.weight"}, (const char *const[]){"'projector.2.weight'", NULL});
    assert_defect("integers", (Defect){.retype = "blocks.0.mlp.fc2.bias", .dtype = TIM_I64},
                  (const char *const[]){"'blocks.0.mlp.fc2.bias' is of type I64", NULL});
}

static void test_open_without_projector_fine(void **state) {
    (void)state;
    TimModel *model = hash_model(1);
    const Defect defect = {.leave_out = "projector."};
    TimModel *opened = open_model(write_defect(model, "inference", &defect), NULL);
    float *vector;
    assert_ok(tim_new(&vector, model->params.elements, sizeof *vector, "weights", &err));
    assert_int_equal(tim_weights_read(vector, &model->params, in_folder("inference/model.safetensors"), &err), TIM_E_FORMAT);
    assert_says("'projector.0.weight' (8, 24) is missing");
    tim_free(vector);
    tim_model_close(opened);
    tim_model_close(model);
}

/* What the file stores as the products want it is not copied, matrices of the conditions included. */
static void test_open_bf16_file_runs_from_its_map(void **state) {
    (void)state;
    TimModel *model = hash_model(1), *opened;
    save(model, TIM_BF16, in_folder("mapped"));
    assert_ok(tim_model_open(&opened, in_folder("mapped"), NULL, &(TimModelOptions){.precision = TIM_PRECISION_BF16}, &err));
    for (size_t i = 0; i < opened->params.count; i++) {
        const TimParam *p = &opened->params.items[i];
        const TimStoredTensor *tensor = tim_tensor_set_find(&opened->frozen.set, p->name);
        assert_true(p->rank == 1 || opened->weights.bf16[i] == tensor->data);
        assert_true(p->rank == 1 ? opened->weights.f32[i] != NULL : !opened->weights.f32[i]);
    }
    tim_model_close(opened);
    tim_model_close(model);
}

static void test_open_any_float_type(void **state) {
    (void)state;
    TimModel *model = hash_model(1);
    const TimDtype types[] = {TIM_F64, TIM_F16, TIM_BF16};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        const Defect mixed = {.retype = "blocks.", .dtype = types[i]};
        TimModel *opened = open_model(write_defect(model, "mixed", &mixed), NULL);
        for (size_t p = 0; p < opened->params.count; p++)
            for (size_t k = 0; k < opened->params.items[p].count; k++) assert_true(opened->weights.f32[p][k] == 0.0F);
        tim_model_close(opened);
    }
    tim_model_close(model);
}

static void test_open_other_configuration_named(void **state) {
    (void)state;
    TimModel *model = hash_model(1), *opened;
    TimConfig config = small_config(TIM_TRANSPORT_OT_FM);
    save(model, TIM_F32, in_folder("pair"));
    config.network.depth = 3;
    assert_ok(tim_config_write(&config, in_folder("deeper.yaml"), &err));
    assert_int_equal(tim_model_open(&opened, in_folder("pair"), in_folder("deeper.yaml"), NULL, &err), TIM_E_FORMAT);
    assert_says("'blocks.2.");
    assert_says("is missing");
    tim_model_close(model);
}

static void test_save_bad_places_and_types_named(void **state) {
    (void)state;
    TimModel *model = hash_model(1);
    FILE *file = fopen(in_folder("a-file"), "wb");
    assert_non_null(file);
    fclose(file);
    assert_int_equal(tim_model_save(&model->config, model->f32, &model->params, TIM_F32, NULL, 0, in_folder("a-file/such"), &err),
                     TIM_E_IO);
    assert_says("a-file: cannot make the folder");
    assert_int_equal(tim_weights_write(model->f32, &model->params, TIM_F16, NULL, 0, in_folder("half"), &err), TIM_E_ARGUMENT);
    assert_says("F16");
    tim_model_close(model);
}

/* What tells of the weights follows them into another file; what told of the file stays behind. */
static void test_write_keeps_what_metadata_tell_of_weights(void **state) {
    (void)state;
    static const TimStoredText texts[] = {{"total_size", "5"}, {"training_steps", "1200"}, {"weights", "hash"}};
    TimModel *model = hash_model(1), *opened;
    TimTensorFile *file;
    const char *key, *value;
    assert_ok(tim_model_save(&model->config, model->f32, &model->params, TIM_F32, texts, 3, in_folder("listed"), &err));
    assert_ok(tim_model_open(&opened, in_folder("listed"), NULL, NULL, &err));
    assert_ok(tim_model_write(opened, in_folder("listed"), TIM_PRECISION_BF16, &err));
    assert_ok(tim_tensor_file_open(&file, in_folder("listed/model.safetensors"), &err));
    assert_int_equal(tim_tensor_file_text_count(file), 2);
    assert_ok(tim_tensor_file_text(file, 0, &key, &value, &err));
    assert_string_equal(key, "weights");
    assert_string_equal(value, "hash");
    assert_ok(tim_tensor_file_text(file, 1, &key, &value, &err));
    assert_string_equal(key, "training_steps");
    assert_string_equal(value, "1200");
    tim_tensor_file_close(file);
    tim_model_close(opened);
    tim_model_close(model);
}

static void test_tensor_file_lists_what_was_saved(void **state) {
    (void)state;
    TimModel *model = hash_model(1);
    TimTensorFile *file;
    TimFileTensor tensor;
    const char *key, *value;
    uint64_t elements = 0;
    save(model, TIM_BF16, in_folder("listed"));
    assert_ok(tim_tensor_file_open(&file, in_folder("listed/model.safetensors"), &err));
    assert_int_equal(tim_tensor_file_count(file), tim_model_tensor_count(model));
    for (size_t i = 0; i < tim_tensor_file_count(file); i++) {
        TimTensorInfo expected;
        assert_ok(tim_tensor_file_tensor(file, i, &tensor, &err));
        assert_ok(tim_model_tensor(model, i, &expected, &err));
        assert_string_equal(tensor.name, expected.name);
        assert_string_equal(tensor.dtype, "BF16");
        assert_int_equal(tensor.rank, expected.rank);
        for (int axis = 0; axis < tensor.rank; axis++) assert_int_equal(tensor.dims[axis], expected.dims[axis]);
        assert_int_equal(tensor.bytes, 2 * expected.count);
        elements += tensor.count;
    }
    assert_int_equal(elements, tim_model_parameter_count(model));
    assert_int_equal(tim_tensor_file_text_count(file), 2);
    assert_ok(tim_tensor_file_text(file, 0, &key, &value, &err));
    assert_string_equal(key, "step");
    assert_string_equal(value, "1200");
    assert_int_equal(tim_tensor_file_text(file, 2, &key, &value, &err), TIM_E_ARGUMENT);
    assert_int_equal(tim_tensor_file_tensor(file, 1000000, &tensor, &err), TIM_E_ARGUMENT);
    tim_tensor_file_close(file);
    assert_int_equal(tim_tensor_file_open(&file, in_folder("listed/config.yaml"), &err), TIM_E_FORMAT);
    assert_null(file);
    tim_tensor_file_close(NULL);
    tim_model_close(model);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_time_ends_exact_and_falling),
        cmocka_unit_test(test_time_last_of_several_jumps_is_as_long_as_asked_for),
        cmocka_unit_test(test_told_last_short_jump_leads_to_the_mean),
        cmocka_unit_test(test_sample_last_short_jump_goes_by_the_velocity),
        cmocka_unit_test(test_plan_default_window_never_guides_first_step),
        cmocka_unit_test(test_plan_single_step_guidance_without_effect),
        cmocka_unit_test(test_plan_window_ends_excluded),
        cmocka_unit_test(test_plan_noise_ends),
        cmocka_unit_test(test_plan_bad_options_named),
        cmocka_unit_test(test_noise_depends_on_seed_picture_step),
        cmocka_unit_test(test_run_constant_velocity_any_steps_same_end),
        cmocka_unit_test(test_run_guidance_of_equal_outputs_changes_nothing),
        cmocka_unit_test(test_run_modes_and_guidance_differ),
        cmocka_unit_test(test_run_trajectory_from_noise_to_end),
        cmocka_unit_test(test_run_estimates_carry_each_jump_to_the_end),
        cmocka_unit_test(test_run_estimates_of_other_paths_and_without_noise),
        cmocka_unit_test(test_run_rounded_times_states_of_the_published_sampler),
        cmocka_unit_test(test_run_rounded_times_reach_the_network),
        cmocka_unit_test(test_run_given_noises_replace_drawn_ones),
        cmocka_unit_test(test_run_batch_equals_single_pictures),
        cmocka_unit_test(test_run_bad_batch_named),
        cmocka_unit_test(test_sample_batch_and_threads_do_not_matter),
        cmocka_unit_test(test_sample_keeps_to_memory),
        cmocka_unit_test(test_sample_network_that_is_not_finite_refused),
        cmocka_unit_test(test_sample_pictures_beyond_addresses_refused),
        cmocka_unit_test(test_sample_repeated_same_bits),
        cmocka_unit_test(test_sample_first_goes_on_where_a_run_ended),
        cmocka_unit_test(test_sample_info_counts_evaluations),
        cmocka_unit_test(test_sample_other_size_than_models),
        cmocka_unit_test(test_sample_ve_starts_from_scaled_noise),
        cmocka_unit_test(test_sample_rounding_as_published),
        cmocka_unit_test(test_sample_progress_counts_and_cancels),
        cmocka_unit_test(test_sample_bad_options_named),
        cmocka_unit_test(test_sample_unsupported_models_named),
        cmocka_unit_test(test_save_open_f32_same_bits),
        cmocka_unit_test(test_save_open_bf16_rounded_once),
        cmocka_unit_test(test_save_full_disk_keeps_the_old_model),
        cmocka_unit_test(test_open_bf16_precision_runs),
        cmocka_unit_test(test_open_bad_options_named),
        cmocka_unit_test(test_open_missing_files_named),
        cmocka_unit_test(test_open_defects_named),
        cmocka_unit_test(test_open_without_projector_fine),
        cmocka_unit_test(test_open_bf16_file_runs_from_its_map),
        cmocka_unit_test(test_open_any_float_type),
        cmocka_unit_test(test_open_other_configuration_named),
        cmocka_unit_test(test_save_bad_places_and_types_named),
        cmocka_unit_test(test_write_keeps_what_metadata_tell_of_weights),
        cmocka_unit_test(test_tensor_file_lists_what_was_saved),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_all);
}
