/* smoke: a small class network with hash weights, forward with tangents and backward, on every instruction set this processor has.
 * Each must agree with the scalar build, and that one with sums taken on x86-64, where the golden values of the published code hold.
 * Needs no file and no library: it is what a cross build can run. Prints a line a check, then `N passed, N failed`. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "model/network.h"
#include "nn/hash_weights.h"

enum { BATCH = 3, SIDE = 8, CHANNELS = 4, PICTURE = CHANNELS * SIDE * SIDE };

static const TimNetworkConfig config = {.kind = TIM_NETWORK_C2I,
                                        .input_size = SIDE,
                                        .patch_size = 2,
                                        .in_channels = CHANNELS,
                                        .depth = 3,
                                        .hidden_size = 48,
                                        .num_heads = 3,
                                        .encoder_depth = 2,
                                        .mlp_ratio = 4,
                                        .z_dim = 24,
                                        .projector_dim = 40,
                                        .lora_hidden_size = 20,
                                        .num_classes = 10,
                                        .class_dropout_prob = 0.1,
                                        .use_new_embed = true,
                                        .qk_norm = true,
                                        .distance_aware = true};

/* What one run gives: mean squares of the output, its tangent and all gradients. */
typedef struct Sums {
    double f, t_f, gradient;
} Sums;

static const Sums expected = {0.0025177365, 0.0021536546, 0.346919943};

static int passed, failed;

static void check(const char *isa, const char *what, double value, double wanted, double tolerance) {
    const bool ok = fabs(value - wanted) <= tolerance * fabs(wanted);
    printf("%s %s %.9g expected %.9g %s\n", isa, what, value, wanted, ok ? "ok" : "FAIL");
    if (ok)
        passed++;
    else
        failed++;
}

static double mean_square(const float *values, size_t count) {
    double sum = 0;
    for (size_t i = 0; i < count; i++) sum += (double)values[i] * (double)values[i];
    return sum / (double)count;
}

static void fill_inputs(TimNetwork *n) {
    static const float times[BATCH] = {0.9F, 0.5F, 0.3F}, ends[BATCH] = {0.2F, 0.5F, 0.0F};
    static const int64_t labels[BATCH] = {1, 10, 7};
    memcpy(tim_tape_value(n->tape, n->t).data, times, sizeof times);
    memcpy(tim_tape_value(n->tape, n->r).data, ends, sizeof ends);
    memcpy(tim_tape_value(n->tape, n->labels).data, labels, sizeof labels);
    tim_hash_uniform("input/x", (size_t)BATCH * PICTURE, tim_tape_value(n->tape, n->x).data);
    tim_hash_uniform("input/v", (size_t)BATCH * PICTURE, tim_tape_tangent(n->tape, n->x).data);
    float *t_t = tim_tape_tangent(n->tape, n->t).data;
    for (int i = 0; i < BATCH; i++) t_t[i] = 1;
}

static TimStatus run(TimNetwork *n, const TimParams *params, float *weights, float *gradients, Sums *sums, TimError *err) {
    TimWeights w;
    TIM_TRY(tim_weights_new(&w, params->count, err));
    tim_weights_point(&w, params, weights, NULL);
    const TimStatus status = tim_tape_bind(n->tape, &w, gradients, err);
    tim_weights_done(&w);
    TIM_TRY(status);
    fill_inputs(n);
    tim_tape_forward(n->tape, true);
    tim_hash_uniform("seed", (size_t)BATCH * PICTURE, tim_tape_cotangent(n->tape, n->f).data);
    tim_tape_backward(n->tape);
    *sums = (Sums){mean_square(tim_tape_value(n->tape, n->f).data, (size_t)BATCH * PICTURE),
                   mean_square(tim_tape_tangent(n->tape, n->f).data, (size_t)BATCH * PICTURE),
                   mean_square(gradients, params->elements)};
    return TIM_OK;
}

static TimStatus fill_weights(const TimParams *params, float *weights, TimError *err) {
    for (size_t i = 0; i < params->count; i++) {
        const TimParam *p = &params->items[i];
        size_t dims[TIM_PARAM_MAX_RANK];
        tim_param_dims(p, dims);
        TIM_TRY(tim_hash_weights(p->name, dims, p->rank, TIM_HASH_PLAIN, weights + p->offset, err));
    }
    return TIM_OK;
}

static TimStatus run_isa(TimIsa isa, Sums *sums, TimError *err) {
    const TimNetworkShape shape = {.batch = BATCH, .height = SIDE, .width = SIDE, .tangent_samples = BATCH, .gradients = true};
    const TimNetworkOptions options = {.isa = isa, .threads = 2};
    TimParams params = {0};
    TimNetwork n = {0};
    float *weights = NULL, *gradients = NULL;
    TimStatus status = tim_network_new(&n, &config, &shape, &options, &params, err);
    if (status == TIM_OK) status = tim_new(&weights, params.elements, sizeof *weights, "weights", err);
    if (status == TIM_OK) status = tim_new(&gradients, params.elements, sizeof *gradients, "gradients", err);
    if (status == TIM_OK) status = fill_weights(&params, weights, err);
    if (status == TIM_OK) status = run(&n, &params, weights, gradients, sums, err);
    tim_network_done(&n);
    tim_params_done(&params);
    tim_free(weights);
    tim_free(gradients);
    return status;
}

int main(void) {
    for (int i = 0; i < TIM_ISA_COUNT; i++) {
        const TimIsa isa = (TimIsa)i;
        TimError err = {0};
        Sums sums = {0};
        if (!tim_isa_available(isa)) continue;
        if (run_isa(isa, &sums, &err) != TIM_OK) {
            printf("%s: %s FAIL\n", tim_isa_name(isa), err.text);
            failed++;
            continue;
        }
        check(tim_isa_name(isa), "output", sums.f, expected.f, 1e-5);
        check(tim_isa_name(isa), "tangent", sums.t_f, expected.t_f, 1e-5);
        check(tim_isa_name(isa), "gradient", sums.gradient, expected.gradient, 1e-5);
    }
    printf("%d passed, %d failed\n", passed, failed);
    return failed != 0;
}
