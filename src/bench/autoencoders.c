#include "bench/autoencoders.h"

#include <omp.h>

#include "base/memory.h"
#include "base/rng.h"
#include "base/threads.h"
#include "model/autoencoder.h"

/* Latents of side x side. The arithmetic is counted as for the other cases: products and attention, 2 per multiply-add. */
typedef struct Case {
    const char *name, *class_name, *config;
    int side;
    double gflop;
} Case;

#define KL                                                                                                                         \
    "AutoencoderKL", "{\"block_out_channels\": [128, 256, 512, 512], \"layers_per_block\": 2, \"down_block_types\": "              \
                     "[\"DownEncoderBlock2D\", \"DownEncoderBlock2D\", \"DownEncoderBlock2D\", \"DownEncoderBlock2D\"], "          \
                     "\"up_block_types\": [\"UpDecoderBlock2D\", \"UpDecoderBlock2D\", \"UpDecoderBlock2D\", "                     \
                     "\"UpDecoderBlock2D\"]}"
#define DC_TYPES "[\"ResBlock\", \"ResBlock\", \"ResBlock\", \"EfficientViTBlock\", \"EfficientViTBlock\", \"EfficientViTBlock\"]"
#define DC                                                                                                                         \
    "AutoencoderDC", "{\"encoder_block_types\": " DC_TYPES ", \"decoder_block_types\": " DC_TYPES                                  \
                     ", \"upsample_block_type\": \"interpolate\", \"downsample_block_type\": \"Conv\"}"

static const Case cases[] = {{"sdvae256", KL, 32, 622}, {"dcae512", DC, 16, 2092}, {"dcae1024", DC, 32, 8369}};
enum { CASES = sizeof cases / sizeof *cases };

const char *tim_bench_autoencoder_case(int index) {
    return index >= 0 && index < CASES ? cases[index].name : NULL;
}

/* A TimAutoencoderRead: normal numbers. */
static TimStatus read_random(void *from, const char *name, int rank, const size_t *dims, float *out, TimError *err) {
    uint64_t *stream = from;
    size_t count = 1;
    (void)name, (void)err;
    for (int i = 0; i < rank; i++) count *= dims[i]; /* the network's own shape, of which a vector is there */
    tim_rng_normal(out, count, 1, ++*stream, 0);
    for (size_t i = 0; i < count; i++) out[i] *= 0.02F;
    return TIM_OK;
}

static TimStatus measure(TimBenchResult *result, const Case *c, TimAutoencoder *a, const float *z, float *x, double *seconds,
                         TimTapeTimes *sums, TimError *err) {
    for (int i = -1; i < result->runs; i++) {
        const double start = omp_get_wtime();
        TIM_TRY(tim_autoencoder_decode(a, 1, c->side, c->side, z, x, err));
        if (i >= 0) seconds[i] = omp_get_wtime() - start;
        tim_autoencoder_measure(a, sums);
    }
    for (int i = 1; i < result->runs; i++) /* insertion sort: a handful */
        for (int j = i; j > 0 && seconds[j] < seconds[j - 1]; j--) {
            const double swap = seconds[j];
            seconds[j] = seconds[j - 1], seconds[j - 1] = swap;
        }
    result->min_s = seconds[0], result->median_s = seconds[result->runs / 2];
    result->gflop = c->gflop;
    result->memory_mib = (double)tim_autoencoder_bytes(a) / 1048576.0;
    return TIM_OK;
}

static TimStatus run(TimBenchResult *result, const Case *c, TimAutoencoder *a, TimTapeTimes *sums, TimError *err) {
    const TimAutoencoderConfig *config = tim_autoencoder_config(a);
    const size_t side = (size_t)c->side, factor = (size_t)tim_autoencoder_factor(config);
    const size_t latent = (size_t)tim_autoencoder_latent_channels(config) * side * side;
    const size_t picture = (size_t)tim_autoencoder_picture_channels(config, true) * side * side * factor * factor;
    uint64_t stream = 0;
    float *z;
    double *seconds;
    TIM_TRY(tim_autoencoder_set_weights(a, read_random, &stream, err));
    TIM_TRY(tim_new(&z, latent + picture, sizeof *z, "the bench's pictures", err));
    TimStatus status = tim_new(&seconds, (size_t)result->runs, sizeof *seconds, "the timings", err);
    tim_rng_normal(z, latent, 1, 0, 0);
    if (status == TIM_OK) status = measure(result, c, a, z, z + latent, seconds, sums, err);
    tim_free(seconds);
    tim_free(z);
    return status;
}

TimStatus tim_bench_autoencoder(TimBenchResult *result, int index, const TimBenchOptions *options, TimTapeTimes *sums,
                                TimError *err) {
    const Case *c = &cases[index];
    TimAutoencoderConfig config;
    TimAutoencoderOptions o = {.bf16 = options->precision == TIM_PRECISION_BF16, .decoder = true};
    TimAutoencoder *a;
    TIM_TRY(tim_isa_choose(options->isa, &o.isa, err));
    TIM_TRY(tim_threads_choose(options->threads, &o.threads, err));
    TIM_TRY(tim_autoencoder_config_parse(&config, c->config, c->class_name, err));
    TIM_TRY(tim_autoencoder_new(&a, &config, &o, err));
    const TimStatus status = run(result, c, a, sums, err);
    tim_autoencoder_close(a);
    return status;
}
