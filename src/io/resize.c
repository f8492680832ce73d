/* Changing the size of a picture: the same bytes as Pillow's Image.resize, on which published preprocessing and metrics rest.
 * An output pixel is the weighted sum of the input pixels under a filter centred on it; when the picture shrinks, the filter is
 * stretched by the same factor, so that nothing is skipped. One axis is changed and rounded to bytes, then the other: which comes
 * first shows in the last bit, and height_first says it as Pillow 13.0 does.
 * Invariant: weights are made in double, scaled to sum 1, then rounded to fixed point; everything after that is exact. */
#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "io/codec.h"
#include "tim/image.h"

enum { FRACTION_BITS = 22 }; /* 32 less 8 for a byte and 2 for weights that sum to more than 1 in magnitude */

/* The weight of an input pixel at distance x from the centre; 0 from `support` on. */
typedef struct Filter {
    double (*weight)(double x);
    double support;
} Filter;

/* The reference rounds every product. `volatile` keeps a compiler for a CPU with fused multiply-add from skipping that. */
static double product(double a, double b) {
    volatile double rounded = a * b;
    return rounded;
}

static double box(double x) {
    return x > -0.5 && x <= 0.5 ? 1.0 : 0.0;
}

static double bilinear(double x) {
    x = fabs(x);
    return x < 1.0 ? 1.0 - x : 0.0;
}

/* Keys' cubic convolution with a = -1/2. */
static double bicubic(double x) {
    const double a = -0.5;
    x = fabs(x);
    if (x < 1.0) return product(product(product(a + 2.0, x) - (a + 3.0), x), x) + 1.0;
    if (x < 2.0) return product(product(product(x - 5.0, x) + 8.0, x) - 4.0, a);
    return 0.0;
}

static double sinc(double x) {
    if (x == 0.0) return 1.0;
    x *= M_PI;
    return sin(x) / x;
}

static double lanczos(double x) {
    return x >= -3.0 && x < 3.0 ? sinc(x) * sinc(x / 3.0) : 0.0;
}

static const Filter filters[] = {
    [TIM_IMAGE_BOX] = {box, 0.5},
    [TIM_IMAGE_BILINEAR] = {bilinear, 1.0},
    [TIM_IMAGE_BICUBIC] = {bicubic, 2.0},
    [TIM_IMAGE_LANCZOS] = {lanczos, 3.0},
};

/* ---- weights along one axis ---- */

typedef struct Window {
    int first, count; /* the input pixels that reach an output pixel; count >= 1 */
} Window;

typedef struct Axis {
    Window *windows;  /* (size) */
    int32_t *weights; /* (size, most), fixed point; those beyond a window's count are 0 */
    size_t most;
    int size; /* output pixels */
} Axis;

static void axis_done(Axis *axis) {
    tim_free(axis->windows);
    tim_free(axis->weights);
    *axis = (Axis){0};
}

/* Rounds to nearest, halves away from 0. */
static int32_t fixed_point(double weight) {
    const double scaled = weight * (1 << FRACTION_BITS); /* a power of two: exact */
    return (int32_t)(scaled < 0.0 ? scaled - 0.5 : scaled + 0.5);
}

static Window window_at(double centre, double support, int in_size) {
    const int first = (int)(centre - support + 0.5), end = (int)(centre + support + 0.5);
    Window window = {.first = first < 0 ? 0 : first};
    window.count = (end > in_size ? in_size : end) - window.first;
    return window;
}

/* Fills one output pixel's window and weights; `row` (most) is scratch. */
static void weigh(const Axis *axis, int index, const Filter *filter, double scale, int in_size, double *row) {
    const double stretch = scale < 1.0 ? 1.0 : scale, inverse = 1.0 / stretch, centre = product(index + 0.5, scale);
    const Window window = window_at(centre, product(filter->support, stretch), in_size);
    double sum = 0.0;
    for (int i = 0; i < window.count; i++) {
        row[i] = filter->weight(product(i + window.first - centre + 0.5, inverse));
        sum += row[i];
    }
    int32_t *weights = axis->weights + (size_t)index * axis->most;
    for (int i = 0; i < window.count; i++) weights[i] = fixed_point(sum != 0.0 ? row[i] / sum : row[i]);
    axis->windows[index] = window;
}

static TimStatus axis_fill(Axis *axis, const Filter *filter, int in_size, TimError *err) {
    double *row;
    const double scale = (double)in_size / axis->size;
    TIM_TRY(tim_new(&row, axis->most, sizeof *row, "the weights of a filter", err));
    for (int i = 0; i < axis->size; i++) weigh(axis, i, filter, scale, in_size, row);
    tim_free(row);
    return TIM_OK;
}

/* Sides are at most TIM_IMAGE_MAX_SIDE, so size times most is a few times that: nothing here can overflow. */
static TimStatus axis_init(Axis *axis, const Filter *filter, int in_size, int out_size, TimError *err) {
    const double scale = (double)in_size / out_size, reach = ceil(filter->support * (scale < 1.0 ? 1.0 : scale));
    *axis = (Axis){.size = out_size, .most = 2 * (size_t)reach + 1};
    TIM_TRY(tim_new(&axis->windows, (size_t)out_size, sizeof *axis->windows, "the windows of a filter", err));
    TimStatus status =
        tim_new(&axis->weights, (size_t)out_size * axis->most, sizeof *axis->weights, "the weights of a filter", err);
    if (status == TIM_OK) status = axis_fill(axis, filter, in_size, err);
    if (status != TIM_OK) axis_done(axis);
    return status;
}

/* ---- the two passes ---- */

enum { ROUNDING = 1 << (FRACTION_BITS - 1) };

/* A sum fits into 32 bits: the weights' magnitudes sum to less than 2 for every filter here, also at an edge. */
static uint8_t to_byte(int32_t sum) {
    const int32_t value = sum >> FRACTION_BITS;
    if (value < 0) return 0;
    return value > 255 ? 255 : (uint8_t)value;
}

static void resize_row(uint8_t *out, const uint8_t *in, const Axis *axis, int channels) {
    for (int x = 0; x < axis->size; x++) {
        const Window window = axis->windows[x];
        const int32_t *weights = axis->weights + (size_t)x * axis->most;
        for (int c = 0; c < channels; c++) {
            int32_t sum = ROUNDING;
            for (int i = 0; i < window.count; i++) sum += in[(window.first + i) * channels + c] * weights[i];
            out[x * channels + c] = to_byte(sum);
        }
    }
}

static void resize_rows(TimImage *out, const TimImage *in, const Axis *axis) {
    const size_t in_row = (size_t)in->width * (size_t)in->channels, out_row = (size_t)out->width * (size_t)out->channels;
    for (int y = 0; y < out->height; y++)
        resize_row(out->pixels + (size_t)y * out_row, in->pixels + (size_t)y * in_row, axis, in->channels);
}

/* Row `y` of the result, `row` bytes long, from the rows of `in` under its window. */
static void resize_column(uint8_t *out, int32_t *sums, const uint8_t *in, size_t row, const Axis *axis, int y) {
    const Window window = axis->windows[y];
    const int32_t *weights = axis->weights + (size_t)y * axis->most;
    for (size_t x = 0; x < row; x++) sums[x] = ROUNDING;
    for (int i = 0; i < window.count; i++) {
        const uint8_t *from = in + ((size_t)window.first + (size_t)i) * row;
        for (size_t x = 0; x < row; x++) sums[x] += from[x] * weights[i];
    }
    for (size_t x = 0; x < row; x++) out[x] = to_byte(sums[x]);
}

static TimStatus resize_columns(TimImage *out, const TimImage *in, const Axis *axis, TimError *err) {
    const size_t row = (size_t)out->width * (size_t)out->channels;
    int32_t *sums;
    TIM_TRY(tim_new(&sums, row, sizeof *sums, "a row's sums", err));
    for (int y = 0; y < out->height; y++) resize_column(out->pixels + (size_t)y * row, sums, in->pixels, row, axis, y);
    tim_free(sums);
    return TIM_OK;
}

/* Makes `out`; the caller empties it after a failure. */
static TimStatus change_width(TimImage *out, const TimImage *in, int width, const Filter *filter, TimError *err) {
    Axis axis;
    TIM_TRY(tim_image_new(out, in->height, width, in->channels, err));
    TIM_TRY(axis_init(&axis, filter, in->width, width, err));
    resize_rows(out, in, &axis);
    axis_done(&axis);
    return TIM_OK;
}

static TimStatus change_height(TimImage *out, const TimImage *in, int height, const Filter *filter, TimError *err) {
    Axis axis;
    TIM_TRY(tim_image_new(out, height, in->width, in->channels, err));
    TIM_TRY(axis_init(&axis, filter, in->height, height, err));
    const TimStatus status = resize_columns(out, in, &axis, err);
    axis_done(&axis);
    return status;
}

static TimStatus copy(TimImage *out, const TimImage *in, TimError *err) {
    TIM_TRY(tim_image_new(out, in->height, in->width, in->channels, err));
    memcpy(out->pixels, in->pixels, (size_t)in->height * (size_t)in->width * (size_t)in->channels);
    return TIM_OK;
}

/* The height shrinks, and by more than twice what the width loses; a width that grows loses less than nothing. Then the rows that
 * the second pass need not make are worth more than the order in memory. Pillow up to 12.3 always begins with the width. */
static bool height_first(const TimImage *in, int height, int width) {
    const int lost_rows = in->height - height, lost_columns = in->width - width;
    return lost_rows > 0 && lost_rows > 2 * lost_columns;
}

static TimStatus change_both(TimImage *out, const TimImage *in, int height, int width, const Filter *filter, TimError *err) {
    TimImage between;
    if (height_first(in, height, width)) {
        TimStatus status = change_height(&between, in, height, filter, err);
        if (status == TIM_OK) status = change_width(out, &between, width, filter, err);
        tim_image_done(&between);
        return status;
    }
    TimStatus status = change_width(&between, in, width, filter, err);
    if (status == TIM_OK) status = change_height(out, &between, height, filter, err);
    tim_image_done(&between);
    return status;
}

/* A side that stays is not filtered. */
static TimStatus resize(TimImage *out, const TimImage *in, int height, int width, const Filter *filter, TimError *err) {
    if (height == in->height && width == in->width) return copy(out, in, err);
    if (height == in->height) return change_width(out, in, width, filter, err);
    if (width == in->width) return change_height(out, in, height, filter, err);
    return change_both(out, in, height, width, filter, err);
}

TimStatus tim_image_resize(TimImage *out, const TimImage *in, int height, int width, TimImageFilter filter, TimError *err) {
    *out = (TimImage){0};
    const size_t known = sizeof filters / sizeof *filters;
    if ((size_t)filter >= known)
        return tim_fail(err, TIM_E_ARGUMENT, "image: unknown filter %d; give one of TimImageFilter", (int)filter);
    TIM_TRY(tim_image_check(in, "image", err));
    if (height < 1 || width < 1 || height > TIM_IMAGE_MAX_SIDE || width > TIM_IMAGE_MAX_SIDE)
        return tim_fail(err, TIM_E_ARGUMENT, "image: cannot resize to height %d, width %d; each must be 1 ... %d", height, width,
                        TIM_IMAGE_MAX_SIDE);
    const TimStatus status = resize(out, in, height, width, &filters[filter], err);
    if (status != TIM_OK) tim_image_done(out);
    return status;
}
