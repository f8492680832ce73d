/* Vectors of TIM_VECTOR floats, for what loops over rows do not become by themselves: compilers add the lanes of a sum one after
 * another, at four cycles each, and make branches of a clamp. Included by op files only.
 * "Some" functions take the first n lanes only, 0 < n <= TIM_VECTOR: the others are loaded as zeros and not stored. */
#ifndef TIM_OP_VEC_H
#define TIM_OP_VEC_H

#include "op/kernel.h"

#if TIM_VECTOR >= 8
#include <immintrin.h>
#endif

#if TIM_VECTOR == 1
typedef float Vec;
typedef uint32_t VecBits;
#else
typedef float Vec __attribute__((vector_size(4 * TIM_VECTOR)));
typedef uint32_t VecBits __attribute__((vector_size(4 * TIM_VECTOR)));
#endif

/* ---- memory ---- */

static inline Vec vec_load(const float *p) {
    Vec v;
    memcpy(&v, p, sizeof v);
    return v;
}

static inline void vec_store(float *p, Vec v) {
    memcpy(p, &v, sizeof v);
}

static inline __attribute__((always_inline)) Vec vec_load_some(const float *p, int64_t n) {
    if (n == TIM_VECTOR) return vec_load(p);
#if TIM_VECTOR == 16
    return (Vec)_mm512_maskz_loadu_ps((__mmask16)((1U << n) - 1), p);
#else
    float lanes[TIM_VECTOR] = {0};
    memcpy(lanes, p, (size_t)n * sizeof *p);
    return vec_load(lanes);
#endif
}

static inline __attribute__((always_inline)) void vec_store_some(float *p, Vec v, int64_t n) {
    if (n == TIM_VECTOR) {
        vec_store(p, v);
        return;
    }
#if TIM_VECTOR == 16
    _mm512_mask_storeu_ps(p, (__mmask16)((1U << n) - 1), (__m512)v);
#else
    memcpy(p, &v, (size_t)n * sizeof *p);
#endif
}

/* v with zeros from lane n on */
static inline __attribute__((always_inline)) Vec vec_mask(Vec v, int64_t n) {
    if (n == TIM_VECTOR) return v;
#if TIM_VECTOR == 16
    return (Vec)_mm512_maskz_mov_ps((__mmask16)((1U << n) - 1), (__m512)v);
#else
    float lanes[TIM_VECTOR];
    vec_store(lanes, v);
    return vec_load_some(lanes, n);
#endif
}

/* How many of n elements the vector at i takes. */
static inline int64_t vec_count(int64_t i, int64_t n) {
    return n - i < TIM_VECTOR ? n - i : TIM_VECTOR;
}

/* ---- lanes ---- */

/* The sum of all lanes, by halves. */
static inline float vec_sum(Vec v) {
#if TIM_VECTOR == 1
    return v;
#else
#if TIM_VECTOR == 16
    typedef float Half __attribute__((vector_size(32)));
    const Half eight =
        __builtin_shufflevector(v, v, 0, 1, 2, 3, 4, 5, 6, 7) + __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15);
#elif TIM_VECTOR == 8
    const Vec eight = v;
#endif
    typedef float Four __attribute__((vector_size(16)));
#if TIM_VECTOR > 4
    const Four four = __builtin_shufflevector(eight, eight, 0, 1, 2, 3) + __builtin_shufflevector(eight, eight, 4, 5, 6, 7);
#else
    const Four four = v;
#endif
    const Four two = four + __builtin_shufflevector(four, four, 2, 3, 0, 1);
    return two[0] + two[1];
#endif
}

/* By lanes a > b ? a : b, and a < b ? a : b: b where either is not a number. */
static inline Vec vec_max(Vec a, Vec b) {
#if TIM_VECTOR == 16
    return (Vec)_mm512_max_ps((__m512)a, (__m512)b);
#elif TIM_VECTOR == 8
    return (Vec)_mm256_max_ps((__m256)a, (__m256)b);
#else
    float x[TIM_VECTOR], y[TIM_VECTOR];
    vec_store(x, a), vec_store(y, b);
    for (int i = 0; i < TIM_VECTOR; i++) y[i] = x[i] > y[i] ? x[i] : y[i];
    return vec_load(y);
#endif
}

static inline Vec vec_min(Vec a, Vec b) {
#if TIM_VECTOR == 16
    return (Vec)_mm512_min_ps((__m512)a, (__m512)b);
#elif TIM_VECTOR == 8
    return (Vec)_mm256_min_ps((__m256)a, (__m256)b);
#else
    float x[TIM_VECTOR], y[TIM_VECTOR];
    vec_store(x, a), vec_store(y, b);
    for (int i = 0; i < TIM_VECTOR; i++) y[i] = x[i] < y[i] ? x[i] : y[i];
    return vec_load(y);
#endif
}

/* The largest lane. */
static inline float vec_largest(Vec v) {
    float lanes[TIM_VECTOR];
    vec_store(lanes, v);
    for (int half = TIM_VECTOR / 2; half; half /= 2)
        for (int i = 0; i < half; i++) lanes[i] = lanes[i] > lanes[i + half] ? lanes[i] : lanes[i + half];
    return lanes[0];
}

#if TIM_VECTOR > 1
/* (a, b) becomes (-b, a) in every pair of neighbours. */
static inline Vec vec_rotate_pairs(Vec v) {
    typedef int32_t Index __attribute__((vector_size(4 * TIM_VECTOR)));
    Index other;
    Vec sign;
    for (int i = 0; i < TIM_VECTOR; i++) other[i] = i ^ 1, sign[i] = i % 2 ? 1.0F : -1.0F;
    return __builtin_shuffle(v, other) * sign;
}
#endif

/* ---- functions ---- */

static inline Vec vec_broadcast(float x) {
    return (Vec){0} + x;
}

/* exp(x) within 2 ulp by lanes, x clamped to [low, high] within [-87, 88]; not a number stays so. */
static inline __attribute__((always_inline)) Vec vec_exp_between(Vec x, float low, float high) {
    x = vec_min(vec_broadcast(high), vec_max(vec_broadcast(low), x));
#if TIM_VECTOR == 1
    return expf(x);
#else
    const Vec shifted = x * 1.44269504088896341F + 12582912.0F; /* the integer part sits in the low mantissa bits */
    const Vec n = shifted - 12582912.0F;
    const Vec r = (x - n * 0.693359375F) + n * 2.12194440e-4F;
    Vec p = r * 1.9875691500e-4F + 1.3981999507e-3F; /* minimax polynomial of exp on [-ln2/2, ln2/2] (Cephes expf, Moshier) */
    p = p * r + 8.3334519073e-3F;
    p = p * r + 4.1665795894e-2F;
    p = p * r + 1.6666665459e-1F;
    p = p * r + 5.0000001201e-1F;
    p = p * (r * r) + r + 1.0F;
    return p * (Vec)(((VecBits)shifted << 23) + 0x3F800000U);
#endif
}

static inline Vec vec_exp(Vec x) {
    return vec_exp_between(x, -87.0F, 88.0F);
}

/* The same of a single number. */
static inline float exp_f32(float x) {
    float lanes[TIM_VECTOR];
    vec_store(lanes, vec_exp(vec_broadcast(x)));
    return lanes[0];
}

/* 1 / x within 1 ulp for x of a size whose inverse is a normal number. */
static inline Vec vec_inverse(Vec x) {
#if TIM_VECTOR == 16
    const Vec y = (Vec)_mm512_rcp14_ps((__m512)x);
    return y + y * (1.0F - x * y); /* one of Newton's steps doubles the 14 bits */
#else
    return 1.0F / x;
#endif
}

/* 1 / (1 + exp(-x)), which stays at 8.8e-27 below -60: a product with a smaller one would soon be too small for a normal number,
 * which costs a hundred cycles on some processors. */
static inline Vec vec_sigmoid(Vec x) {
    return vec_inverse(1.0F + vec_exp_between(-x, -60.0F, 60.0F));
}

/* ---- rows ---- */

/* sum(x) */
static inline __attribute__((always_inline)) float row_sum(const float *x, int64_t n) {
    Vec sum = {0};
    for (int64_t i = 0; i < n; i += TIM_VECTOR) sum += vec_load_some(x + i, vec_count(i, n));
    return vec_sum(sum);
}

/* sum(x y) */
static inline __attribute__((always_inline)) float row_dot(const float *x, const float *y, int64_t n) {
    Vec sum = {0};
    for (int64_t i = 0; i < n; i += TIM_VECTOR)
        sum += vec_load_some(x + i, vec_count(i, n)) * vec_load_some(y + i, vec_count(i, n));
    return vec_sum(sum);
}

/* sum((x - mean)^2) */
static inline __attribute__((always_inline)) float row_squared_deviation(const float *x, float mean, int64_t n) {
    Vec sum = {0};
    for (int64_t i = 0; i < n; i += TIM_VECTOR) {
        const Vec d = vec_mask(vec_load_some(x + i, vec_count(i, n)) - mean, vec_count(i, n));
        sum += d * d;
    }
    return vec_sum(sum);
}

#endif
