/* Sliding windows over pictures whose pixels are rows: the geometry that convolution and pooling share. */
#ifndef TIM_OP_WINDOW_H
#define TIM_OP_WINDOW_H

#include "op/op.h"

/* Padding above, left, and in both directions together. */
static inline int64_t window_top(const TimWindow *w) {
    return w->pad_end ? 0 : w->pad_y;
}

static inline int64_t window_left(const TimWindow *w) {
    return w->pad_end ? 0 : w->pad_x;
}

static inline int64_t window_padded_h(const TimWindow *w) {
    return w->height + window_top(w) + w->pad_y;
}

static inline int64_t window_padded_w(const TimWindow *w) {
    return w->width + window_left(w) + w->pad_x;
}

static inline int64_t window_out_h(const TimWindow *w) {
    return (window_padded_h(w) - w->kernel_h) / w->stride + 1;
}

static inline int64_t window_out_w(const TimWindow *w) {
    return (window_padded_w(w) - w->kernel_w) / w->stride + 1;
}

/* Sizes are positive, no window lies outside the picture altogether, and `rows` rows are whole pictures. */
static inline bool window_fits(const TimWindow *w, int64_t rows) {
    return w->height > 0 && w->width > 0 && w->kernel_h > 0 && w->kernel_w > 0 && w->stride > 0 && w->pad_y >= 0 && w->pad_x >= 0 &&
           w->pad_y < w->kernel_h && w->pad_x < w->kernel_w && window_padded_h(w) >= w->kernel_h &&
           window_padded_w(w) >= w->kernel_w && rows % ((int64_t)w->height * w->width) == 0;
}

/* The pixels of the picture under the window of output pixel (y, x): rows top ... bottom - 1, columns left ... right - 1. */
typedef struct WindowRange {
    int64_t top, bottom, left, right;
} WindowRange;

static inline WindowRange window_range(const TimWindow *w, int64_t y, int64_t x) {
    const int64_t top = y * w->stride - window_top(w), left = x * w->stride - window_left(w);
    const int64_t bottom = top + w->kernel_h, right = left + w->kernel_w;
    return (WindowRange){top < 0 ? 0 : top, bottom > w->height ? w->height : bottom, left < 0 ? 0 : left,
                         right > w->width ? w->width : right};
}

#endif
