#include "nn/rope_table.h"

#include <math.h>
#include <string.h>

#include "base/bf16.h"
#include "base/memory.h"

static const double two_pi = 6.283185307179586476925;

static const char *const scheme_names[] = {
    [TIM_ROPE_NORMAL] = "normal",
    [TIM_ROPE_SCALE1] = "scale1",
    [TIM_ROPE_SCALE2] = "scale2",
    [TIM_ROPE_LINEAR] = "linear",
    [TIM_ROPE_NTK_AWARE] = "ntk-aware",
    [TIM_ROPE_NTK_AWARE_PRO1] = "ntk-aware-pro1",
    [TIM_ROPE_NTK_AWARE_PRO2] = "ntk-aware-pro2",
    [TIM_ROPE_YARN] = "yarn",
    [TIM_ROPE_NTK_BY_PARTS] = "ntk-by-parts",
};

/* One axis: `width` d = dh / 2 columns, so d / 2 frequencies. */
typedef struct Axis {
    TimRopeScheme scheme;
    double theta;
    double scale;    /* k = max(L / L0, 1) */
    double original; /* L0 */
    int width;       /* d */
    bool rounded;
} Axis;

TimRopeConfig tim_rope_config_default(void) {
    return (TimRopeConfig){.scheme = TIM_ROPE_NORMAL, .theta = 10000.0};
}

TimStatus tim_rope_scheme_find(const char *name, TimRopeScheme *scheme, TimError *err) {
    for (size_t i = 0; i < sizeof scheme_names / sizeof *scheme_names; i++) {
        if (strcmp(name, scheme_names[i]) != 0) continue;
        *scheme = (TimRopeScheme)i;
        return TIM_OK;
    }
    return tim_fail(
        err, TIM_E_ARGUMENT,
        "rotary scheme \"%s\" is not known; use normal, scale1, scale2, linear, ntk-aware, ntk-aware-pro1, ntk-aware-pro2, "
        "yarn or ntk-by-parts",
        name);
}

/* theta^(-2i/d) */
static double power(double theta, int i, int width) {
    return pow(theta, -2.0 * i / width);
}

/* The index at which a wave turns `rotations` times over the original length. */
static double corrected_index(const Axis *axis, double rotations) {
    return axis->width * log(axis->original / (two_pi * rotations)) / (2.0 * log(axis->theta));
}

/* 1 below the index of `fast` rotations, 0 above that of `slow`, linear in between. The upper bound is clipped to d - 1 although
 * there are only d / 2 frequencies, as published. */
static double keep_share(const Axis *axis, double fast, double slow, int i) {
    const double low = fmax(floor(corrected_index(axis, fast)), 0.0);
    double high = fmin(ceil(corrected_index(axis, slow)), axis->width - 1.0);
    if (low == high) high += 0.001;
    return 1.0 - fmin(fmax((i - low) / (high - low), 0.0), 1.0);
}

static double mix(double a, double b, double share_of_b) {
    return a * (1.0 - share_of_b) + b * share_of_b;
}

static double ntk_frequency(const Axis *axis, int i) {
    if (i == 0) return 1.0; /* also where d = 2 leaves the exponent undefined */
    return power(axis->theta * pow(axis->scale, axis->width / (axis->width - 2.0)), i, axis->width);
}

/* linear -> ntk -> unchanged, from the slowest waves to the fastest */
static double by_parts_frequency(const Axis *axis, int i) {
    const double base = power(axis->theta, i, axis->width);
    const double slow = mix(base / axis->scale, ntk_frequency(axis, i), keep_share(axis, 1.25, 0.75, i));
    return mix(slow, base, keep_share(axis, 16.0, 2.0, i));
}

static double frequency(const Axis *axis, int i) {
    const double base = power(axis->theta, i, axis->width);
    switch (axis->scheme) {
    case TIM_ROPE_LINEAR:
        return base / axis->scale;
    case TIM_ROPE_NTK_AWARE:
    case TIM_ROPE_NTK_AWARE_PRO1:
    case TIM_ROPE_NTK_AWARE_PRO2:
        return ntk_frequency(axis, i);
    case TIM_ROPE_YARN:
        return mix(base / axis->scale, base, keep_share(axis, 32.0, 1.0, i));
    case TIM_ROPE_NTK_BY_PARTS:
        return by_parts_frequency(axis, i);
    case TIM_ROPE_NORMAL:
    case TIM_ROPE_SCALE1:
    case TIM_ROPE_SCALE2:
        break;
    }
    return base;
}

/* sqrt(ln 2x / ln y) once 2x > y; the 2 is in the published code. */
static double proportion(double x, double y) {
    return 2.0 * x <= y ? 1.0 : sqrt(log(2.0 * x) / log(y));
}

/* What cos and sin are multiplied by. It always looks at both sides, even with `decouple`. */
static double multiplier(const TimRopeConfig *config) {
    const double h = config->max_pe_len_h, w = config->max_pe_len_w, original = config->ori_max_pe_len;
    switch (config->scheme) {
    case TIM_ROPE_SCALE1:
    case TIM_ROPE_NTK_AWARE_PRO1:
        return proportion(fmax(h, w), original);
    case TIM_ROPE_SCALE2:
    case TIM_ROPE_NTK_AWARE_PRO2:
        return proportion(h * w, original * original);
    case TIM_ROPE_YARN:
        return 0.1 * log(fmax(fmax(h, w) / original, 1.0)) + 1.0;
    default:
        return 1.0;
    }
}

static Axis axis_of(const TimRopeConfig *config, int own_length, int width) {
    const double both = fmax(config->max_pe_len_h, config->max_pe_len_w);
    const double length = config->decouple ? own_length : both, original = config->ori_max_pe_len;
    const double scale = config->scheme == TIM_ROPE_NORMAL ? 1.0 : fmax(length / original, 1.0);
    return (Axis){.scheme = config->scheme,
                  .theta = config->theta,
                  .scale = scale,
                  .original = original,
                  .width = width,
                  .rounded = config->rounded};
}

static TimStatus check(int h, int w, int head_width, const TimRopeConfig *config, TimError *err) {
    size_t count;
    if (h < 1 || w < 1 || head_width < 4 || head_width % 4 != 0)
        return tim_fail(err, TIM_E_ARGUMENT,
                        "rotary table: grid %d x %d with head width %d; sides must be positive, the width a positive multiple of 4",
                        h, w, head_width);
    if (!tim_mul_size((size_t)h, (size_t)w, &count) || !tim_mul_size(count, (size_t)head_width, &count))
        return tim_fail(err, TIM_E_MEMORY, "rotary table: %d x %d x %d does not fit; use a smaller picture", h, w, head_width);
    if (!(config->theta > 1.0))
        return tim_fail(err, TIM_E_ARGUMENT, "rotary table: theta is %g; it must be above 1 (10000 as published)", config->theta);
    if (config->scheme == TIM_ROPE_NORMAL) return TIM_OK;
    if (config->max_pe_len_h < 1 || config->max_pe_len_w < 1 || config->ori_max_pe_len < 2)
        return tim_fail(
            err, TIM_E_ARGUMENT,
            "rotary table, scheme %s: max_pe_len_h %d, max_pe_len_w %d, ori_max_pe_len %d; give the first two at least 1, "
            "the last at least 2, or use the scheme normal",
            scheme_names[config->scheme], config->max_pe_len_h, config->max_pe_len_w, config->ori_max_pe_len);
    return TIM_OK;
}

/* To the nearest bf16 where the published model keeps its tables so. */
static double kept(double value, bool rounded) {
    return rounded ? tim_bf16_round((float)value) : value;
}

/* The d columns of one axis at `position`, for every token of which that is the coordinate. */
static void fill_axis(float *cos_row, float *sin_row, const Axis *axis, int position, double factor) {
    for (int i = 0; i < axis->width / 2; i++) {
        const double angle = kept(position * frequency(axis, i), axis->rounded);
        cos_row[2 * i] = cos_row[2 * i + 1] = (float)(factor * kept(cos(angle), axis->rounded));
        sin_row[2 * i] = sin_row[2 * i + 1] = (float)(factor * kept(sin(angle), axis->rounded));
    }
}

TimStatus tim_rope_table(float *cosines, float *sines, int h, int w, int head_width, const TimRopeConfig *config, TimError *err) {
    TIM_TRY(check(h, w, head_width, config, err));
    const int d = head_width / 2;
    const Axis first = axis_of(config, config->max_pe_len_h, d), second = axis_of(config, config->max_pe_len_w, d);
    const double factor = multiplier(config);
    const size_t tokens = (size_t)h * (size_t)w, row = (size_t)head_width;
    for (size_t n = 0; n < tokens; n++) {
        fill_axis(cosines + n * row, sines + n * row, &first, (int)(n % (size_t)h), factor);
        fill_axis(cosines + n * row + d, sines + n * row + d, &second, (int)(n / (size_t)h), factor);
    }
    return TIM_OK;
}
