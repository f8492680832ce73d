/* What the transports, time weights, time pairs, rotary tables and hash weights promise beyond the golden values. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "nn/hash_weights.h"
#include "nn/rope_table.h"
#include "train/time_pairs.h"
#include "train/time_weight.h"
#include "transport/transport.h"

static const TimTransportKind kinds[] = {TIM_TRANSPORT_OT_FM, TIM_TRANSPORT_TRIGFLOW, TIM_TRANSPORT_EDM, TIM_TRANSPORT_VP_SDE,
                                         TIM_TRANSPORT_VE_SDE};
enum { KINDS = sizeof kinds / sizeof *kinds };

static TimTransportConfig config_of(TimTransportKind kind) {
    TimTransportConfig config;
    tim_transport_config_init(&config, kind);
    return config;
}

static void close_to(double actual, double expected, double tolerance) {
    if (!(fabs(actual - expected) <= tolerance * fmax(1.0, fabs(expected)))) {
        print_error("%.17g is not within %g of %.17g\n", actual, tolerance, expected);
        fail();
    }
}

/* Five times strictly inside a transport's range. */
static double inner_time(const TimTransportConfig *config, int i) {
    return config->t_min + (config->t_max - config->t_min) * (i + 1) / 6.5;
}

static void test_transport_get_known_kinds_names(void **state) {
    (void)state;
    static const char *const names[] = {"OT_FM", "TrigFlow", "EDM", "VP_SDE", "VE_SDE"};
    for (int k = 0; k < KINDS; k++) assert_string_equal(tim_transport_get(kinds[k])->name, names[k]);
    assert_null(tim_transport_get((TimTransportKind)99));
}

static void test_path_derivative_equals_central_difference(void **state) {
    (void)state;
    for (int k = 0; k < KINDS; k++) {
        const TimTransportConfig config = config_of(kinds[k]);
        const TimTransport *transport = tim_transport_get(kinds[k]);
        for (int i = 0; i < 5; i++) {
            const double t = inner_time(&config, i), e = 1e-6 * t;
            const TimPath at = transport->path(&config, t), up = transport->path(&config, t + e),
                          down = transport->path(&config, t - e);
            close_to(at.d_alpha, (up.alpha - down.alpha) / (2 * e), 1e-7);
            close_to(at.d_sigma, (up.sigma - down.sigma) / (2 * e), 1e-7);
            const double difference = transport->c_noise(&config, t + e) - transport->c_noise(&config, t - e);
            close_to(transport->d_c_noise(&config, t), difference / (2 * e), 1e-7);
        }
    }
}

/* What F is when the network has learnt the diffusion target exactly and E = 0: the part that guidance replaces. */
static double ideal_output(const TimTarget *target, double x, double z) {
    return target->guided_x * x + target->guided_z * z;
}

static void test_jump_ideal_output_lands_on_path(void **state) {
    (void)state;
    const double x = 0.7, z = -1.3;
    for (int k = 0; k < KINDS; k++) {
        TimTransportConfig config = config_of(kinds[k]);
        if (kinds[k] == TIM_TRANSPORT_EDM) config.sigma_d = 1.0; /* the published EDM jump is exact there only */
        const TimTransport *transport = tim_transport_get(kinds[k]);
        for (int i = 0; i < 5; i++) {
            const double t = inner_time(&config, i), r = config.t_min + 0.4 * (t - config.t_min);
            const TimPath from = transport->path(&config, t), to = transport->path(&config, r);
            const TimTarget target = transport->target(&config, t, t);
            const TimJump jump = transport->jump(&config, t, r);
            const double landed = jump.x_t * (from.alpha * x + from.sigma * z) + jump.f * ideal_output(&target, x, z);
            close_to(landed, to.alpha * x + to.sigma * z, 1e-12);
        }
    }
}

static void test_jump_equal_times_is_identity(void **state) {
    (void)state;
    for (int k = 0; k < KINDS; k++) {
        const TimTransportConfig config = config_of(kinds[k]);
        const double t = inner_time(&config, 2);
        const TimJump jump = tim_transport_get(kinds[k])->jump(&config, t, t);
        close_to(jump.x_t, 1.0, 1e-15);
        assert_true(jump.f == 0.0 && jump.noise == 0.0);
    }
}

static void test_target_equal_times_is_the_guided_part(void **state) {
    (void)state;
    for (int k = 0; k < KINDS; k++) {
        const TimTransportConfig config = config_of(kinds[k]);
        const double t = inner_time(&config, 1);
        const TimTarget target = tim_transport_get(kinds[k])->target(&config, t, t);
        close_to(target.x, target.guided_x, 1e-15);
        close_to(target.z, target.guided_z, 1e-15);
        assert_true(target.x_t == 0.0 && target.e == 0.0 && target.f_cond == 0.0 && target.f_null == 0.0);
    }
}

static void test_guides_window_ends_compare_in_fp32(void **state) {
    (void)state;
    TimTransportConfig config = config_of(TIM_TRANSPORT_OT_FM);
    config.w_start = 0.3, config.w_end = 0.8;
    assert_false(tim_transport_guides(&config, 0.5)); /* enhance_target is off */
    config.enhance_target = true;
    assert_true((double)0.8F > 0.8 && tim_transport_guides(&config, 0.8F));
    assert_true(tim_transport_guides(&config, 0.3F));
    assert_false(tim_transport_guides(&config, 0.3F - 0x1p-25F));
    assert_false(tim_transport_guides(&config, nextafterf(0.8F, 1.0F)));
}

static void test_guide_replaces_the_guided_part_only(void **state) {
    (void)state;
    for (int k = 0; k < KINDS; k++) {
        TimTransportConfig config = config_of(kinds[k]);
        config.w_gt = 0.9, config.w_cond = 0.75; /* become fp32 */
        const double t = inner_time(&config, 3), r = inner_time(&config, 1);
        const TimTarget plain = tim_transport_get(kinds[k])->target(&config, t, r), guided = tim_transport_guide(&config, plain);
        close_to(guided.x, plain.x - plain.guided_x + 0.9F * plain.guided_x, 1e-14);
        close_to(guided.z, plain.z - plain.guided_z + 0.9F * plain.guided_z, 1e-14);
        close_to(guided.f_cond, 0.75, 0.0);
        close_to(guided.f_null, 1.0F - 0.9F - 0.75F, 0.0);
        assert_true(guided.x_t == plain.x_t && guided.e == plain.e);
    }
}

static void test_stochastic_jump_ot_fm_follows_formula(void **state) {
    (void)state;
    const TimTransportConfig config = config_of(TIM_TRANSPORT_OT_FM);
    const double t = 0.7, r = 0.25, s = 0.3, dt = t - r, x_t = 0.4, f = -0.9, e = 1.7;
    TimJump jump;
    assert_int_equal(tim_transport_stochastic_jump(&config, t, r, s, &jump, NULL), TIM_OK);
    const double expected = (x_t - dt * f) - s * (x_t + (1.0 - t) * f) * dt + sqrt(2.0 * s * t * dt) * e;
    close_to(jump.x_t * x_t + jump.f * f + jump.noise * e, expected, 1e-15);
}

static void test_stochastic_jump_ratio_zero_is_the_plain_jump(void **state) {
    (void)state;
    for (int k = 0; k < KINDS; k++) {
        const TimTransportConfig config = config_of(kinds[k]);
        const double t = inner_time(&config, 4), r = inner_time(&config, 0);
        const TimJump plain = tim_transport_get(kinds[k])->jump(&config, t, r);
        TimJump jump;
        assert_int_equal(tim_transport_stochastic_jump(&config, t, r, 0.0, &jump, NULL), TIM_OK);
        assert_true(jump.x_t == plain.x_t && jump.f == plain.f && jump.noise == 0.0);
    }
}

static void test_stochastic_jump_other_transport_or_ratio_refused(void **state) {
    (void)state;
    TimJump jump;
    TimError err;
    for (int k = 1; k < KINDS; k++) {
        const TimTransportConfig config = config_of(kinds[k]);
        assert_int_equal(tim_transport_stochastic_jump(&config, 0.5, 0.2, 0.3, &jump, &err), TIM_E_UNSUPPORTED);
        assert_non_null(strstr(err.text, tim_transport_get(kinds[k])->name));
    }
    const TimTransportConfig config = config_of(TIM_TRANSPORT_OT_FM);
    assert_int_equal(tim_transport_stochastic_jump(&config, 0.5, 0.2, -0.1, &jump, &err), TIM_E_ARGUMENT);
    assert_int_equal(tim_transport_stochastic_jump(&config, 0.5, 0.2, NAN, &jump, &err), TIM_E_ARGUMENT);
}

static void test_sample_time_any_number_stays_in_range(void **state) {
    (void)state;
    static const double low[] = {0.0, 0.0, 0.0, 1e-5, 0.02}, high[] = {1.0, 1.5707963267948967, INFINITY, 1.0, 100.0};
    for (int k = 0; k < KINDS; k++) {
        const TimTransportConfig config = config_of(kinds[k]);
        const TimTransport *transport = tim_transport_get(kinds[k]);
        for (int i = 0; i <= 100; i++) {
            const double t = transport->sample_time(&config, (i - 50) / 7.0, i / 100.0 * (1.0 - 0x1p-24));
            assert_true(t >= low[k] && t <= high[k] * (1.0 + 1e-12));
        }
    }
}

static void test_sample_time_middle_number_gives_median(void **state) {
    (void)state;
    const double medians[] = {0.5, atan(exp(-1.0)), exp(-1.2), 1.0 + 0.5 * (1e-5 - 1.0), sqrt(0.02 * 100.0)};
    for (int k = 0; k < KINDS; k++) {
        const TimTransportConfig config = config_of(kinds[k]);
        close_to(tim_transport_get(kinds[k])->sample_time(&config, 0.0, 0.5), medians[k], 1e-14);
    }
}

static TimTransitionConfig transition(double diffusion_ratio, double consistency_ratio) {
    return (TimTransitionConfig){.diffusion_ratio = diffusion_ratio, .consistency_ratio = consistency_ratio};
}

static void test_time_weights_diffusion_samples_weigh_one(void **state) {
    (void)state;
    TimTransitionConfig config = transition(0.5, 0.1);
    config.weight_time_type = TIM_WEIGHT_SQRT, config.weight_time_tangent = true, config.weight_t_and_r = true;
    const double t[] = {0.9, 0.4, 0.8, 0.6}, r[] = {0.9, 0.4, 0.1, 0.0};
    double weight[4];
    for (int i = 0; i < 4; i++) weight[i] = tim_time_weight(&config, 0.5, t[i], r[i], i < 2);
    assert_true(weight[0] == 1.0 && weight[1] == 1.0);
    close_to(weight[2], 1.0 / sqrt(tan(0.8) - tan(0.1) + 0.5), 1e-15);
    close_to(weight[3], 1.0 / sqrt(tan(0.6) + 0.5), 1e-15);
}

static void test_time_weight_tangent_wins_over_sigmoid(void **state) {
    (void)state;
    TimTransitionConfig config = transition(0.0, 0.0);
    config.weight_time_type = TIM_WEIGHT_RECIPROCAL, config.weight_time_tangent = config.weight_time_sigmoid = true;
    close_to(tim_time_weight(&config, 1.0, 0.8, 0.3, false), 1.0 / (tan(0.8) + 1.0), 1e-15);
}

enum { BATCH = 25 };

static size_t pairs(double *t, double *r, size_t batch, const TimTransitionConfig *config, uint64_t seed, uint64_t step) {
    const TimTransportConfig transport = config_of(TIM_TRANSPORT_OT_FM);
    return tim_time_pairs(t, r, batch, &transport, config, seed, 7, step);
}

static void test_time_pairs_shares_round_half_to_even(void **state) {
    (void)state;
    static const struct {
        size_t batch, n_diffusion, n_consistency;
    } cases[] = {{1, 0, 0}, {3, 2, 0}, {5, 2, 0}, {7, 4, 1}, {15, 8, 2}, {25, 12, 2}}; /* 0.5 B, 0.1 B: 2.5 -> 2, 1.5 -> 2 */
    const TimTransitionConfig config = transition(0.5, 0.1);
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        double t[BATCH], r[BATCH];
        const size_t batch = cases[c].batch;
        assert_int_equal(pairs(t, r, batch, &config, 1, 0), cases[c].n_diffusion);
        for (size_t i = 0; i < batch; i++) {
            assert_true((r[i] == t[i]) == (i < cases[c].n_diffusion));
            assert_true((r[i] == 0.0) == (i >= batch - cases[c].n_consistency));
            assert_true(r[i] <= t[i] && t[i] > 0.0 && t[i] < 1.0);
        }
    }
}

/* A sample of r = t has no derivative, and one that ends at T_min needs it: none may be both, also where halves are rounded up. */
static void test_time_pairs_shares_never_overlap(void **state) {
    (void)state;
    const TimTransitionConfig all = transition(1.0, 1.0), halves = transition(0.5, 0.5);
    double t[BATCH], r[BATCH];
    assert_int_equal(pairs(t, r, BATCH, &all, 1, 0), BATCH);
    for (int i = 0; i < BATCH; i++) assert_true(r[i] == t[i]);
    assert_int_equal(pairs(t, r, 3, &halves, 1, 0), 2);
    assert_true(r[0] == t[0] && r[1] == t[1] && r[2] == 0.0);
    assert_int_equal(pairs(t, r, 0, &all, 1, 0), 0);
}

/* The nearest fp32 to pi / 2 is beyond it, where the tangent is negative. */
static void test_time_pairs_extreme_draws_stay_below_the_end(void **state) {
    (void)state;
    const TimTransitionConfig config = transition(0.0, 0.0);
    static const TimTransportKind both[] = {TIM_TRANSPORT_OT_FM, TIM_TRANSPORT_TRIGFLOW};
    for (int k = 0; k < 2; k++) {
        TimTransportConfig wide;
        double t[BATCH], r[BATCH];
        tim_transport_config_init(&wide, both[k]);
        wide.p_mean = 40;
        const double end = tim_transport_get(both[k])->end(&wide);
        assert_int_equal(tim_time_pairs(t, r, BATCH, &wide, &config, 1, 7, 0), 0);
        for (int i = 0; i < BATCH; i++) assert_true(t[i] < end && t[i] > 0.999 * end);
    }
}

static void test_time_pairs_batch_size_leaves_samples_unchanged(void **state) {
    (void)state;
    const TimTransitionConfig config = transition(0.0, 0.0);
    double t[BATCH], r[BATCH], t_small[BATCH], r_small[BATCH];
    pairs(t, r, BATCH, &config, 42, 9);
    pairs(t_small, r_small, 6, &config, 42, 9);
    assert_memory_equal(t, t_small, 6 * sizeof *t);
    assert_memory_equal(r, r_small, 6 * sizeof *r);
}

static void test_time_pairs_other_step_or_seed_gives_other_times(void **state) {
    (void)state;
    const TimTransitionConfig config = transition(0.0, 0.0);
    double t[BATCH], r[BATCH], t_other[BATCH], r_other[BATCH];
    pairs(t, r, BATCH, &config, 42, 9);
    for (int change = 0; change < 2; change++) {
        pairs(t_other, r_other, BATCH, &config, change ? 42 : 43, change ? 10 : 9);
        for (int i = 0; i < BATCH; i++) assert_true(t[i] != t_other[i] && r[i] != r_other[i]);
    }
}

/* The two times of a pair are on average symmetric about 1/2 and 0.235 apart: 2/sqrt(pi) standard deviations of sigmoid(N(0,
 * 1)). */
static void test_time_pairs_many_draws_have_the_right_means(void **state) {
    (void)state;
    const TimTransitionConfig config = transition(0.0, 0.0);
    double t_sum = 0, r_sum = 0;
    enum { STEPS = 4000 };
    for (uint64_t step = 0; step < STEPS; step++) {
        double t[BATCH], r[BATCH];
        pairs(t, r, BATCH, &config, 3, step);
        for (int i = 0; i < BATCH; i++) t_sum += t[i], r_sum += r[i];
    }
    close_to((t_sum + r_sum) / (2.0 * STEPS * BATCH), 0.5, 3e-3);
    close_to((t_sum - r_sum) / (STEPS * BATCH), 0.235, 5e-3);
}

static void test_rope_table_token_order_is_mod_then_div(void **state) {
    (void)state;
    enum { H = 2, W = 3, DH = 8 };
    float cosines[H * W * DH], sines[H * W * DH];
    const TimRopeConfig config = tim_rope_config_default();
    assert_int_equal(tim_rope_table(cosines, sines, H, W, DH, &config, NULL), TIM_OK);
    for (int n = 0; n < H * W; n++)
        for (int c = 0; c < DH; c++) {
            const int position = c < DH / 2 ? n % H : n / H;
            const double angle = position * (c % 4 < 2 ? 1.0 : 0.01);
            close_to(cosines[n * DH + c], cos(angle), 1e-7);
            close_to(sines[n * DH + c], sin(angle), 1e-7);
        }
}

/* The published class (WZDTHU/TiM, on PyTorch 2.13) cast to bf16, head width 72 as in TiM-XL: cosines and sines at positions 31 and
 * 79. */
static void test_rope_table_rounded_is_the_published_models(void **state) {
    (void)state;
    enum { H = 80, DH = 72, WAVES = DH / 4 };
    static const double golden[2][2][WAVES] = {
        {{0.9140625, 0.9765625, 0.12890625, 0.91796875, -0.65234375, -0.7421875, 0.1328125, 0.6484375, 0.87109375, 0.953125,
          0.984375, 0.9921875, 0.99609375, 1, 1, 1, 1, 1},
         {-0.404296875, -0.22265625, -0.9921875, 0.392578125, -0.7578125, 0.671875, 0.9921875, 0.76171875, 0.4921875, 0.3046875,
          0.184570312, 0.111328125, 0.0668945312, 0.0400390625, 0.0240478516, 0.0144042969, 0.00860595703, 0.0051574707}},
        {{-0.89453125, -0.9921875, -0.99609375, -0.275390625, -0.72265625, 0.98828125, -0.86328125, -0.58984375, 0.248046875,
          0.703125, 0.890625, 0.9609375, 0.984375, 0.99609375, 1, 1, 1, 1},
         {-0.443359375, -0.125976562, -0.100585938, -0.9609375, -0.69140625, -0.157226562, -0.50390625, 0.80859375, 0.96875,
          0.7109375, 0.455078125, 0.279296875, 0.168945312, 0.102050781, 0.0612792969, 0.0366210938, 0.0219726562, 0.0131835938}}};
    static const int positions[2] = {31, 79};
    static float cosines[H * DH], sines[H * DH];
    TimRopeConfig config = tim_rope_config_default();
    config.rounded = true;
    assert_int_equal(tim_rope_table(cosines, sines, H, 1, DH, &config, NULL), TIM_OK);
    for (int k = 0; k < 2; k++)
        for (int i = 0; i < WAVES; i++) {
            const float *row_cos = cosines + positions[k] * DH, *row_sin = sines + positions[k] * DH;
            close_to(row_cos[2 * i], golden[k][0][i], 1e-9), close_to(row_cos[2 * i + 1], golden[k][0][i], 1e-9);
            close_to(row_sin[2 * i], golden[k][1][i], 1e-9), close_to(row_sin[2 * i + 1], golden[k][1][i], 1e-9);
            close_to(row_cos[DH / 2 + 2 * i], 1, 0); /* the other axis is at 0 */
        }
}

static void test_rope_table_small_grid_leaves_frequencies_unchanged(void **state) {
    (void)state;
    enum { COUNT = 3 * 3 * 8 };
    float plain[2][COUNT], scaled[2][COUNT];
    TimRopeConfig config = tim_rope_config_default();
    assert_int_equal(tim_rope_table(plain[0], plain[1], 3, 3, 8, &config, NULL), TIM_OK);
    config.max_pe_len_h = config.max_pe_len_w = 5, config.ori_max_pe_len = 16;
    for (int scheme = TIM_ROPE_SCALE1; scheme <= TIM_ROPE_NTK_BY_PARTS; scheme++) {
        config.scheme = (TimRopeScheme)scheme;
        assert_int_equal(tim_rope_table(scaled[0], scaled[1], 3, 3, 8, &config, NULL), TIM_OK);
        for (int i = 0; i < COUNT; i++) close_to(scaled[0][i], plain[0][i], 1e-7), close_to(scaled[1][i], plain[1][i], 1e-7);
    }
}

static void test_rope_table_scale_schemes_multiply_the_tables(void **state) {
    (void)state;
    float plain[2][4], scaled[2][4];
    TimRopeConfig config = tim_rope_config_default();
    assert_int_equal(tim_rope_table(plain[0], plain[1], 1, 1, 4, &config, NULL), TIM_OK);
    config.max_pe_len_h = 40, config.max_pe_len_w = 24, config.ori_max_pe_len = 16;
    config.scheme = TIM_ROPE_SCALE1;
    assert_int_equal(tim_rope_table(scaled[0], scaled[1], 1, 1, 4, &config, NULL), TIM_OK);
    close_to(scaled[0][0], plain[0][0] * sqrt(log(80.0) / log(16.0)), 1e-7);
    config.scheme = TIM_ROPE_SCALE2;
    assert_int_equal(tim_rope_table(scaled[0], scaled[1], 1, 1, 4, &config, NULL), TIM_OK);
    close_to(scaled[0][0], plain[0][0] * sqrt(log(1920.0) / log(256.0)), 1e-7);
}

static void test_rope_table_bad_arguments_refused(void **state) {
    (void)state;
    float cosines[24], sines[24];
    TimRopeConfig config = tim_rope_config_default();
    TimError err;
    TimRopeScheme scheme;
    assert_int_equal(tim_rope_table(cosines, sines, 1, 1, 6, &config, &err), TIM_E_ARGUMENT);
    assert_int_equal(tim_rope_table(cosines, sines, 0, 1, 8, &config, &err), TIM_E_ARGUMENT);
    config.scheme = TIM_ROPE_YARN;
    assert_int_equal(tim_rope_table(cosines, sines, 1, 1, 8, &config, &err), TIM_E_ARGUMENT);
    assert_non_null(strstr(err.text, "yarn"));
    assert_int_equal(tim_rope_scheme_find("ntk-by-parts", &scheme, &err), TIM_OK);
    assert_int_equal(scheme, TIM_ROPE_NTK_BY_PARTS);
    assert_int_equal(tim_rope_scheme_find("spiral", &scheme, &err), TIM_E_ARGUMENT);
}

static void test_hash_uniform_golden_names_exact(void **state) {
    (void)state;
    static const struct {
        const char *name;
        float u[3];
    } cases[] = {
        {"x_embedder.proj.weight", {-0.671699047088623F, 0.44179415702819824F, 0.5062820911407471F}},
        {"blocks.0.attn.qkv.weight", {0.46731603145599365F, -0.1981898546218872F, 0.650843620300293F}},
        {"input/x", {-0.1043480634689331F, -0.0484161376953125F, -0.7955621480941772F}},
    };
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        float u[3];
        tim_hash_uniform(cases[c].name, 3, u);
        assert_memory_equal(u, cases[c].u, sizeof u);
    }
}

/* The first weight of `name` is offset + factor u. */
static void expect_weight(const char *name, int rank, TimHashRule rule, double offset, double factor) {
    const size_t dims[] = {4, 3, 2, 2};
    float out[48], u;
    assert_int_equal(tim_hash_weights(name, dims, rank, rule, out, NULL), TIM_OK);
    tim_hash_uniform(name, 1, &u);
    close_to(out[0], offset + factor * u, 1e-7);
}

static void test_hash_weights_each_rule_scales_as_defined(void **state) {
    (void)state;
    expect_weight("a.weight", 4, TIM_HASH_PLAIN, 0.0, 0.5);
    expect_weight("a.weight", 4, TIM_HASH_INCEPTION, 0.0, sqrt(0.5));
    expect_weight("q_norm.weight", 2, TIM_HASH_PLAIN, 0.0, 1.0);
    expect_weight("q_norm.weight", 1, TIM_HASH_PLAIN, 1.0, 0.1);
    expect_weight("q_norm.weight", 1, TIM_HASH_GEMMA, 0.0, 0.1);
    expect_weight("q_norm.bias", 1, TIM_HASH_PLAIN, 0.0, 0.1);
    expect_weight("bn.running_var", 1, TIM_HASH_INCEPTION, 1.0, 0.5);
    expect_weight("bn.weight", 1, TIM_HASH_INCEPTION, 1.0, 0.1);
    expect_weight("bn.weight", 1, TIM_HASH_PLAIN, 0.0, 0.1);
}

static void test_hash_weights_impossible_shape_refused(void **state) {
    (void)state;
    const size_t huge[] = {SIZE_MAX, SIZE_MAX};
    float out[1];
    TimError err;
    assert_int_equal(tim_hash_weights("a", huge, -1, TIM_HASH_PLAIN, out, &err), TIM_E_ARGUMENT);
    assert_int_equal(tim_hash_weights("a", huge, 2, TIM_HASH_PLAIN, out, &err), TIM_E_MEMORY);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_transport_get_known_kinds_names),
        cmocka_unit_test(test_path_derivative_equals_central_difference),
        cmocka_unit_test(test_jump_ideal_output_lands_on_path),
        cmocka_unit_test(test_jump_equal_times_is_identity),
        cmocka_unit_test(test_target_equal_times_is_the_guided_part),
        cmocka_unit_test(test_guides_window_ends_compare_in_fp32),
        cmocka_unit_test(test_guide_replaces_the_guided_part_only),
        cmocka_unit_test(test_stochastic_jump_ot_fm_follows_formula),
        cmocka_unit_test(test_stochastic_jump_ratio_zero_is_the_plain_jump),
        cmocka_unit_test(test_stochastic_jump_other_transport_or_ratio_refused),
        cmocka_unit_test(test_sample_time_any_number_stays_in_range),
        cmocka_unit_test(test_sample_time_middle_number_gives_median),
        cmocka_unit_test(test_time_weights_diffusion_samples_weigh_one),
        cmocka_unit_test(test_time_weight_tangent_wins_over_sigmoid),
        cmocka_unit_test(test_time_pairs_shares_round_half_to_even),
        cmocka_unit_test(test_time_pairs_shares_never_overlap),
        cmocka_unit_test(test_time_pairs_extreme_draws_stay_below_the_end),
        cmocka_unit_test(test_time_pairs_batch_size_leaves_samples_unchanged),
        cmocka_unit_test(test_time_pairs_other_step_or_seed_gives_other_times),
        cmocka_unit_test(test_time_pairs_many_draws_have_the_right_means),
        cmocka_unit_test(test_rope_table_token_order_is_mod_then_div),
        cmocka_unit_test(test_rope_table_rounded_is_the_published_models),
        cmocka_unit_test(test_rope_table_small_grid_leaves_frequencies_unchanged),
        cmocka_unit_test(test_rope_table_scale_schemes_multiply_the_tables),
        cmocka_unit_test(test_rope_table_bad_arguments_refused),
        cmocka_unit_test(test_hash_uniform_golden_names_exact),
        cmocka_unit_test(test_hash_weights_each_rule_scales_as_defined),
        cmocka_unit_test(test_hash_weights_impossible_shape_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
