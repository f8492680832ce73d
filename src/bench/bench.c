/* The cases of `tim bench`: the published networks' forward passes and whole training steps, named and shaped as users time their
 * peers. */
#include "tim/bench.h"

#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/rng.h"
#include "base/threads.h"
#include "bench/autoencoders.h"
#include "op/matmul.h"
#include "train/adamw.h"
#include "train/objective.h"

typedef enum Derivative { NONE, JVP, DDE } Derivative;

typedef struct Case {
    const char *name;
    TimNetworkConfig network;
    int64_t batch;
    int caption_tokens;
    bool training;
    Derivative derivative;
} Case;

#define PUBLISHED                                                                                                                  \
    .mlp_ratio = 4, .qk_norm = true, .use_new_embed = true, .distance_aware = true, .z_dim = 768, .projector_dim = 2048
#define SMALL                                                                                                                      \
    .network = {.kind = TIM_NETWORK_C2I,                                                                                           \
                .input_size = 28,                                                                                                  \
                .patch_size = 4,                                                                                                   \
                .in_channels = 1,                                                                                                  \
                .depth = 8,                                                                                                        \
                .hidden_size = 192,                                                                                                \
                .num_heads = 3,                                                                                                    \
                .encoder_depth = 3,                                                                                                \
                .lora_hidden_size = 64,                                                                                            \
                .num_classes = 10,                                                                                                 \
                .class_dropout_prob = 0.1,                                                                                         \
                .mlp_ratio = 4,                                                                                                    \
                .qk_norm = true,                                                                                                   \
                .use_new_embed = true,                                                                                             \
                .distance_aware = true,                                                                                            \
                .z_dim = 16,                                                                                                       \
                .projector_dim = 16}
#define B4                                                                                                                         \
    .network = {.kind = TIM_NETWORK_C2I,                                                                                           \
                .input_size = 32,                                                                                                  \
                .patch_size = 4,                                                                                                   \
                .in_channels = 4,                                                                                                  \
                .depth = 12,                                                                                                       \
                .hidden_size = 768,                                                                                                \
                .num_heads = 12,                                                                                                   \
                .encoder_depth = 4,                                                                                                \
                .lora_hidden_size = 256,                                                                                           \
                .num_classes = 1000,                                                                                               \
                .class_dropout_prob = 0.1,                                                                                         \
                PUBLISHED}
#define XL(...)                                                                                                                    \
    .network = {                                                                                                                   \
        .depth = 28, .hidden_size = 1152, .num_heads = 16, .encoder_depth = 8, .lora_hidden_size = 384, PUBLISHED, __VA_ARGS__}

static const Case cases[] = {
    {.name = "train_small:jvp", SMALL, .batch = 128, .training = true, .derivative = JVP},
    {.name = "train_small:dde", SMALL, .batch = 128, .training = true, .derivative = DDE},
    {.name = "train_small:none", SMALL, .batch = 128, .training = true, .derivative = NONE},
    {.name = "train_b4:jvp", B4, .batch = 32, .training = true, .derivative = JVP},
    {.name = "train_b4:dde", B4, .batch = 32, .training = true, .derivative = DDE},
    {.name = "train_b4:none", B4, .batch = 32, .training = true, .derivative = NONE},
    {.name = "b4", B4, .batch = 32},
    {.name = "xl256",
     XL(.kind = TIM_NETWORK_C2I, .input_size = 32, .patch_size = 2, .in_channels = 4, .num_classes = 1000,
        .class_dropout_prob = 0.1),
     .batch = 1},
    {.name = "t2i512",
     XL(.kind = TIM_NETWORK_T2I, .input_size = 16, .patch_size = 1, .in_channels = 32, .cap_feat_dim = 1152),
     .batch = 1,
     .caption_tokens = 64},
    {.name = "t2i1024",
     XL(.kind = TIM_NETWORK_T2I, .input_size = 32, .patch_size = 1, .in_channels = 32, .cap_feat_dim = 1152),
     .batch = 1,
     .caption_tokens = 64},
};

enum { CASES = sizeof cases / sizeof *cases };

const char *tim_bench_case(int index) {
    return index >= 0 && index < CASES ? cases[index].name : tim_bench_autoencoder_case(index - CASES);
}

static int compare_doubles(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* ---- the machine's peak ---- */

static TimStatus time_product(double *gflops, int64_t m, int64_t n, int64_t k, TimDtype dtype, int threads, TimError *err) {
    const TimMatmulShape shape = {
        .m = m, .n = n, .k = k, .lda = k, .ldb = k, .ldc = n, .b_transposed = true, .in = dtype, .out = dtype, .threads = threads};
    TimMatmul *plan;
    char *memory;
    const size_t size = tim_dtype_size(dtype), a = (size_t)(m * k) * size, b = (size_t)(n * k) * size, c = (size_t)(m * n) * size;
    TIM_TRY(tim_matmul_new(&plan, &shape, err));
    TimStatus status = tim_new(&memory, a + b + c + tim_matmul_work(plan) + 4 * TIM_ALIGNMENT, 1, "the peak's matrices", err);
    if (status == TIM_OK) {
        double best = 1e30;
        for (int run = 0; run < 12; run++) {
            const double start = omp_get_wtime();
            tim_matmul_run(plan, memory, memory + a, NULL, memory + a + b, memory + a + b + c);
            const double seconds = omp_get_wtime() - start;
            if (run && seconds < best) best = seconds;
        }
        *gflops = 2e-9 * (double)m * (double)n * (double)k / best;
        tim_free(memory);
    }
    tim_matmul_free(plan);
    return status;
}

TimStatus tim_bench_peak(TimBenchPeak *peak, const TimBenchOptions *options, TimError *err) {
    static const int64_t shapes[][3] = {{1024, 1024, 1024}, {2048, 2048, 1024}, {4096, 1024, 1024}, {2048, 2048, 2048}};
    if (!options) return tim_fail(err, TIM_E_ARGUMENT, "no options for the peak; they say how many threads");
    int threads;
    TIM_TRY(tim_threads_choose(options->threads, &threads, err));
    *peak = (TimBenchPeak){0};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        double bf16, f32;
        TIM_TRY(time_product(&bf16, shapes[i][0], shapes[i][1], shapes[i][2], TIM_BF16, threads, err));
        TIM_TRY(time_product(&f32, shapes[i][0], shapes[i][1], shapes[i][2], TIM_F32, threads, err));
        if (bf16 > peak->bf16) peak->bf16 = bf16;
        if (f32 > peak->f32) peak->f32 = f32;
    }
    return TIM_OK;
}

/* ---- one case ---- */

/* Everything a case owns. */
typedef struct Bench {
    const Case *c;
    const TimBenchOptions *options;
    TimConfig config;
    TimModel *model;
    TimObjective *objective;
    TimAdamWVectors vectors;
    float *gradients, *x, *z, *times, *h_target, *caption;
    double *t, *r;
    int64_t *labels;
    TimTapeTimes sums;
    int64_t step;
} Bench;

static TimStatus random_floats(float **out, size_t count, uint64_t stream, float scale, TimError *err) {
    TIM_TRY(tim_new(out, count, sizeof **out, "the bench's data", err));
    tim_rng_normal(*out, count, 1, stream, 0);
    for (size_t i = 0; i < count; i++) (*out)[i] *= scale;
    return TIM_OK;
}

static TimStatus make_data(Bench *b, TimError *err) {
    const Case *c = b->c;
    const size_t batch = (size_t)c->batch, side = (size_t)c->network.input_size,
                 picture = (size_t)c->network.in_channels * side * side;
    const size_t tokens = (side / (size_t)c->network.patch_size) * (side / (size_t)c->network.patch_size);
    TIM_TRY(random_floats(&b->x, batch * picture, 1, 1, err));
    TIM_TRY(random_floats(&b->z, batch * picture, 2, 1, err));
    TIM_TRY(random_floats(&b->h_target, batch * tokens * (size_t)c->network.z_dim, 3, 1, err));
    TIM_TRY(random_floats(&b->caption, batch * (size_t)(c->caption_tokens * c->network.cap_feat_dim) + 1, 4, 1, err));
    TIM_TRY(tim_new(&b->labels, batch, sizeof *b->labels, "the bench's data", err));
    TIM_TRY(tim_new(&b->t, batch, sizeof *b->t, "the bench's data", err));
    TIM_TRY(tim_new(&b->r, batch, sizeof *b->r, "the bench's data", err));
    TIM_TRY(tim_new(&b->times, 2 * batch, sizeof *b->times, "the bench's data", err));
    for (size_t i = 0; i < batch; i++) {
        b->labels[i] = (int64_t)(i % 9);
        b->t[i] = ((double)i + 1) / ((double)batch + 1);
        b->r[i] = i < batch / 2 ? b->t[i] : b->t[i] / 3;
        b->times[i] = (float)b->t[i];
        b->times[batch + i] = (float)b->r[i];
    }
    return TIM_OK;
}

static TimStatus make_training(Bench *b, TimError *err) {
    const size_t count = b->model->params.elements;
    const TimObjectiveShape shape = {.height = b->c->network.input_size,
                                     .width = b->c->network.input_size,
                                     .micro_batch = b->options->micro_batch,
                                     .alignment = true,
                                     .no_derivative = b->c->derivative == NONE};
    b->config.transition.derivative_type = b->c->derivative == DDE ? TIM_DERIVATIVE_DDE : TIM_DERIVATIVE_JVP;
    b->config.transition.use_dir_loss = true;
    b->config.transition.weight_time_type = TIM_WEIGHT_SQRT;
    b->config.transition.weight_time_tangent = true;
    b->config.training.proj_coeff = 1.0;
    TIM_TRY(tim_objective_new(&b->objective, &b->config, &b->model->options, &shape, &b->model->params, err));
    TIM_TRY(tim_new(&b->gradients, count, sizeof(float), "the gradients", err));
    TIM_TRY(tim_new(&b->vectors.first, count, sizeof(float), "the moments", err));
    TIM_TRY(tim_new(&b->vectors.second, count, sizeof(float), "the moments", err));
    b->vectors.weights = b->model->f32, b->vectors.bf16 = b->model->bf16, b->vectors.gradients = b->gradients,
    b->vectors.count = count;
    return TIM_OK;
}

static TimStatus make(Bench *b, TimError *err) {
    TimNetworkOptions options = {.precision = b->options->precision};
    TIM_TRY(tim_isa_choose(b->options->isa, &options.isa, err));
    TIM_TRY(tim_threads_choose(b->options->threads, &options.threads, err));
    tim_config_init(&b->config);
    b->config.network = b->c->network;
    TIM_TRY(tim_model_new(&b->model, &b->config, &options, err));
    tim_rng_normal(b->model->f32, b->model->params.elements, 1, 0, 0);
    for (size_t i = 0; i < b->model->params.elements; i++) b->model->f32[i] *= 0.02F;
    tim_model_weights_changed(b->model);
    TIM_TRY(make_data(b, err));
    return b->c->training ? make_training(b, err) : TIM_OK;
}

static void done(Bench *b) {
    tim_objective_free(b->objective);
    tim_model_close(b->model);
    tim_config_done(&b->config);
    void *const blocks[] = {b->gradients, b->vectors.first, b->vectors.second, b->x, b->z, b->times, b->h_target, b->caption, b->t,
                            b->r,         b->labels};
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++) tim_free(blocks[i]);
}

static TimStatus run_training(Bench *b, TimError *err) {
    const TimCondition labels = {.labels = b->labels};
    const TimBatch batch = {.size = b->c->batch,
                            .diffusion = b->c->batch / 2,
                            .x = b->x,
                            .z = b->z,
                            .t = b->t,
                            .r = b->r,
                            .condition = labels,
                            .teacher = labels,
                            .h_target = b->h_target};
    TimLosses losses = {0};
    const size_t count = b->model->params.elements;
    memset(b->gradients, 0, count * sizeof *b->gradients);
    TIM_TRY(tim_objective_step(b->objective, &batch, &b->model->weights, NULL, b->gradients, &losses, err));
    const double norm = tim_l2_norm(b->gradients, count, b->model->options.threads);
    const TimAdamWStep adamw = {.lr = 1e-4,
                                .beta1 = .9,
                                .beta2 = .999,
                                .eps = 1e-8,
                                .weight_decay = 1e-2,
                                .step = ++b->step,
                                .gradient_scale = tim_clip_factor(norm, 1),
                                .threads = b->model->options.threads};
    tim_adamw_update(&b->vectors, &adamw);
    return TIM_OK;
}

static TimStatus run_forward(Bench *b, TimError *err) {
    const int side = b->c->network.input_size;
    const TimCondition condition = {.labels = b->labels, .caption = b->caption, .caption_tokens = b->c->caption_tokens};
    return tim_model_evaluate(b->model, b->c->batch, side, side, b->x, b->times, b->times + b->c->batch, &condition, b->z, err);
}

static TimStatus run_once(Bench *b, TimError *err) {
    return b->c->training ? run_training(b, err) : run_forward(b, err);
}

static void start_measuring(Bench *b) {
    if (b->objective) {
        tim_objective_measure(b->objective, &b->sums);
        return;
    }
    const TimModelTape *tape = &b->model->tapes[0];
    tim_tape_measure(tape->network.tape, &b->sums);
    if (b->c->caption_tokens) tim_tape_measure(tape->captions.tape, &b->sums);
}

static size_t tape_bytes(const Bench *b) {
    if (b->objective) return tim_objective_bytes(b->objective);
    const TimModelTape *tape = &b->model->tapes[0];
    return tim_tape_bytes(tape->network.tape) + (b->c->caption_tokens ? tim_tape_bytes(tape->captions.tape) : 0);
}

static double flops_of(const Bench *b, bool hidden) {
    const int side = b->c->network.input_size;
    return tim_network_flops(&b->c->network, side, side, b->c->caption_tokens, hidden);
}

/* The projector is in the training passes and their tangents; the finite difference's two evaluations have none. */
static double gflop_of(const Bench *b) {
    const double batch = (double)b->c->batch, transition = batch / 2;
    if (!b->c->training) return 1e-9 * batch * flops_of(b, false);
    double sum = 3 * batch * flops_of(b, true);
    if (b->c->derivative == JVP) sum += transition * flops_of(b, true);
    if (b->c->derivative == DDE) sum += 2 * transition * flops_of(b, false);
    return 1e-9 * sum;
}

static void report_ops(const TimTapeTimes *sums, TimBenchResult *result) {
    const double runs = (double)result->runs;
    for (int kind = 0; kind < TIM_OP_COUNT && result->op_count < TIM_BENCH_MAX_OPS; kind++) {
        if (sums->forward[kind] <= 0) continue;
        result->ops[result->op_count++] = (TimBenchOp){tim_op_get((TimOpKind)kind, TIM_ISA_REF)->name, sums->forward[kind] / runs,
                                                       sums->jvp[kind] / runs, sums->vjp[kind] / runs};
    }
}

static TimStatus measure(Bench *b, TimBenchResult *result, TimError *err) {
    double *seconds;
    TIM_TRY(run_once(b, err));
    start_measuring(b);
    TIM_TRY(tim_new(&seconds, (size_t)result->runs, sizeof *seconds, "the timings", err));
    TimStatus status = TIM_OK;
    for (int i = 0; i < result->runs && status == TIM_OK; i++) {
        const double start = omp_get_wtime();
        status = run_once(b, err);
        seconds[i] = omp_get_wtime() - start;
    }
    qsort(seconds, (size_t)result->runs, sizeof *seconds, compare_doubles);
    result->min_s = seconds[0];
    result->median_s = seconds[result->runs / 2];
    tim_free(seconds);
    const size_t vectors = b->c->training ? 4 : 1,
                 rounded = b->model->options.precision == TIM_PRECISION_BF16 ? sizeof(uint16_t) : 0;
    result->memory_mib =
        ((double)(b->model->params.elements * (vectors * sizeof(float) + rounded)) + (double)tape_bytes(b)) / 1048576.0;
    result->gflop = gflop_of(b);
    report_ops(&b->sums, result);
    return status;
}

TimStatus tim_bench_run(TimBenchResult *result, const char *name, const TimBenchOptions *options, TimError *err) {
    if (!name || !options || options->runs < 1)
        return tim_fail(err, TIM_E_ARGUMENT, "a bench needs the name of a case, and options with at least 1 run");
    TIM_TRY(tim_precision_check(options->precision, err));
    *result = (TimBenchResult){.runs = options->runs};
    for (int i = 0; i < CASES; i++) {
        if (strcmp(cases[i].name, name) != 0) continue;
        Bench bench = {.c = &cases[i], .options = options};
        TimStatus status = make(&bench, err);
        if (status == TIM_OK) status = measure(&bench, result, err);
        done(&bench);
        return status;
    }
    for (int i = 0; tim_bench_autoencoder_case(i); i++) {
        if (strcmp(tim_bench_autoencoder_case(i), name) != 0) continue;
        TimTapeTimes sums = {0};
        const TimStatus status = tim_bench_autoencoder(result, i, options, &sums, err);
        report_ops(&sums, result);
        return status;
    }
    return tim_fail(err, TIM_E_ARGUMENT, "no bench case is called \"%s\"; `tim bench --list` names them", name);
}
