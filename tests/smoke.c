/* smoke: a small class network with hash weights, forward with tangents and backward, on every instruction set this processor has,
 * in fp32 and bf16. Each must agree with the scalar build in fp32, and that one with sums taken on x86-64, where the golden values
 * of the published code hold.
 * Needs no file and no library: it is what a cross build can run. Prints a line a check, then `N passed, N failed`. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/bf16.h"
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

/* What one run gives: the output, its tangent and all gradients. */
enum { OUTPUT, TANGENT, GRADIENT, RESULTS };
static const char *const names[RESULTS] = {"output", "tangent", "gradient"};

typedef struct Result {
    float *values[RESULTS];
    size_t counts[RESULTS];
} Result;

/* Mean squares of the scalar build's. */
static const double expected[RESULTS] = {1.06776887, 1.04103466, 0.346919943};

static int passed, failed;

static void check(const char *run, const char *what, double value, double wanted, double tolerance) {
    const bool ok = fabs(value - wanted) <= tolerance;
    printf("%s %s %.9g expected %.9g %s\n", run, what, value, wanted, ok ? "ok" : "FAIL");
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

/* |a - b| / |b| */
static double distance(const float *a, const float *b, size_t count) {
    double difference = 0, size = 0;
    for (size_t i = 0; i < count; i++) {
        difference += ((double)a[i] - (double)b[i]) * ((double)a[i] - (double)b[i]);
        size += (double)b[i] * (double)b[i];
    }
    return sqrt(difference / size);
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

static TimStatus keep(Result *result, int which, const float *values, size_t count, TimError *err) {
    TIM_TRY(tim_new(&result->values[which], count, sizeof *values, "a result", err));
    memcpy(result->values[which], values, count * sizeof *values);
    result->counts[which] = count;
    return TIM_OK;
}

static void release(Result *result) {
    for (int which = 0; which < RESULTS; which++) tim_free(result->values[which]);
    *result = (Result){0};
}

static TimStatus bind(TimNetwork *n, const TimParams *params, const float *weights, const TimBf16 *rounded, float *gradients,
                      TimError *err) {
    TimWeights w;
    TIM_TRY(tim_weights_new(&w, params->count, err));
    tim_weights_point(&w, params, weights, rounded);
    const TimStatus status = tim_tape_bind(n->tape, &w, gradients, err);
    tim_weights_done(&w);
    return status;
}

static TimStatus run(TimNetwork *n, const TimParams *params, const float *gradients, Result *result, TimError *err) {
    const size_t count = (size_t)BATCH * PICTURE;
    fill_inputs(n);
    tim_tape_forward(n->tape, true);
    tim_hash_uniform("seed", count, tim_tape_cotangent(n->tape, n->f).data);
    TIM_TRY(keep(result, OUTPUT, tim_tape_value(n->tape, n->f).data, count, err));
    TIM_TRY(keep(result, TANGENT, tim_tape_tangent(n->tape, n->f).data, count, err));
    tim_tape_backward(n->tape);
    return keep(result, GRADIENT, gradients, params->elements, err);
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

static TimStatus run_with(TimIsa isa, TimPrecision precision, Result *result, TimError *err) {
    const TimNetworkShape shape = {.batch = BATCH, .height = SIDE, .width = SIDE, .tangent_samples = BATCH, .gradients = true};
    const TimNetworkOptions options = {.isa = isa, .threads = 2, .precision = precision};
    TimParams params = {0};
    TimNetwork n = {0};
    float *weights = NULL, *gradients = NULL;
    TimBf16 *rounded = NULL;
    TimStatus status = tim_network_new(&n, &config, &shape, &options, &params, err);
    if (status == TIM_OK) status = tim_new(&weights, params.elements, sizeof *weights, "weights", err);
    if (status == TIM_OK) status = tim_new(&rounded, params.elements, sizeof *rounded, "rounded weights", err);
    if (status == TIM_OK) status = tim_new(&gradients, params.elements, sizeof *gradients, "gradients", err);
    if (status == TIM_OK) status = fill_weights(&params, weights, err);
    if (status == TIM_OK) tim_bf16_round_all(rounded, weights, params.elements);
    if (status == TIM_OK) status = bind(&n, &params, weights, rounded, gradients, err);
    if (status == TIM_OK) status = run(&n, &params, gradients, result, err);
    tim_network_done(&n);
    tim_params_done(&params);
    tim_free(weights);
    tim_free(rounded);
    tim_free(gradients);
    return status;
}

/* Against the scalar build in fp32, number by number; that one, which comes first, against its sums. */
static void check_run(TimIsa isa, TimPrecision precision, Result *scalar) {
    const bool first = isa == TIM_ISA_REF && precision == TIM_PRECISION_F32;
    const double tolerance = precision == TIM_PRECISION_F32 ? 1e-5 : 1.5e-2;
    char name[64];
    TimError err = {0};
    Result result = {0};
    snprintf(name, sizeof name, "%s %s", tim_isa_name(isa), precision == TIM_PRECISION_F32 ? "fp32" : "bf16");
    if (run_with(isa, precision, &result, &err) != TIM_OK) {
        printf("%s: %s FAIL\n", name, err.text);
        failed++;
    } else if (first) {
        *scalar = result;
        for (int k = 0; k < RESULTS; k++)
            check(name, names[k], mean_square(result.values[k], result.counts[k]), expected[k], 1e-5 * expected[k]);
        return;
    } else {
        for (int k = 0; k < RESULTS; k++)
            check(name, names[k], distance(result.values[k], scalar->values[k], scalar->counts[k]), 0, tolerance);
    }
    release(&result);
}

int main(void) {
    Result scalar = {0};
    for (int i = 0; i < TIM_ISA_COUNT; i++) {
        if (!tim_isa_available((TimIsa)i)) continue;
        check_run((TimIsa)i, TIM_PRECISION_F32, &scalar);
        if (!scalar.values[GRADIENT]) break; /* nothing to compare with */
        check_run((TimIsa)i, TIM_PRECISION_BF16, &scalar);
    }
    release(&scalar);
    printf("%d passed, %d failed\n", passed, failed);
    return failed != 0;
}
