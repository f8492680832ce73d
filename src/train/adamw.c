#include "train/adamw.h"

#include <math.h>

/* The step's numbers in fp32, as the loop wants them. */
typedef struct Factors {
    float decay, beta1, beta2, rest1, rest2, step_size, inverse_sqrt_correction2, eps, gradient_scale;
} Factors;

static Factors factors_of(const TimAdamWStep *s) {
    const double correction1 = 1.0 - pow(s->beta1, (double)s->step), correction2 = 1.0 - pow(s->beta2, (double)s->step);
    return (Factors){(float)(1.0 - s->lr * s->weight_decay),
                     (float)s->beta1,
                     (float)s->beta2,
                     (float)(1.0 - s->beta1),
                     (float)(1.0 - s->beta2),
                     (float)(s->lr / correction1),
                     (float)(1.0 / sqrt(correction2)),
                     (float)s->eps,
                     (float)s->gradient_scale};
}

static void update_range(const TimAdamWVectors *v, Factors f, size_t begin, size_t end) {
    float *restrict w = v->weights, *restrict first = v->first, *restrict second = v->second;
    const float *restrict g = v->gradients;
#pragma omp simd
    for (size_t i = begin; i < end; i++) {
        const float gradient = g[i] * f.gradient_scale;
        first[i] = f.beta1 * first[i] + f.rest1 * gradient;
        second[i] = f.beta2 * second[i] + f.rest2 * gradient * gradient;
        w[i] = w[i] * f.decay - f.step_size * first[i] / (sqrtf(second[i]) * f.inverse_sqrt_correction2 + f.eps);
    }
}

void tim_adamw_follow(const TimAdamWVectors *v, double ema_decay, size_t begin, size_t end) {
    const float *restrict w = v->weights;
    const float rest = (float)(1.0 - ema_decay);
    float *restrict ema = v->ema;
    TimBf16 *restrict bf16 = v->bf16;
    /* Not d ema + (1 - d) w, whose two factors do not add up to 1 in fp32: it would draw all averages off their weights. */
    if (ema)
        for (size_t i = begin; i < end; i++) ema[i] += rest * (w[i] - ema[i]);
    if (bf16)
        for (size_t i = begin; i < end; i++) bf16[i] = tim_bf16_from_f32(w[i]);
}

void tim_adamw_update(const TimAdamWVectors *v, const TimAdamWStep *step) {
    const Factors f = factors_of(step);
    enum { CHUNK = 8192 }; /* elements: the followers find the new weights in the cache */
    const size_t chunks = (v->count + CHUNK - 1) / CHUNK;
#pragma omp parallel for num_threads(step->threads) schedule(static)
    for (size_t c = 0; c < chunks; c++) {
        const size_t begin = c * CHUNK, end = begin + CHUNK < v->count ? begin + CHUNK : v->count;
        update_range(v, f, begin, end);
        tim_adamw_follow(v, step->ema_decay, begin, end);
    }
}

/* Sums over fixed parts, added in order: the bits depend on nothing but the values. */
double tim_l2_norm(const float *values, size_t count, int threads) {
    enum { PARTS = 64 };
    double sums[PARTS];
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int part = 0; part < PARTS; part++) {
        double sum = 0;
        const size_t end = count * (size_t)(part + 1) / PARTS;
        for (size_t i = count * (size_t)part / PARTS; i < end; i++) sum += (double)values[i] * (double)values[i];
        sums[part] = sum;
    }
    double total = 0;
    for (int part = 0; part < PARTS; part++) total += sums[part];
    return sqrt(total);
}

double tim_clip_factor(double norm, double max_norm) {
    if (!(max_norm > 0)) return 1.0;
    const double factor = max_norm / (norm + 1e-6);
    return factor < 1.0 ? factor : 1.0;
}
