/* A planned convolution of pictures whose pixels are rows, by oneDNN where it is built in, else by plain C. All f32.
 * x (B H W, C), W (O, C, kh, kw), y (B H' W', O); rows of x and y have a stride of their own, W and its gradient are dense.
 * Each plan does one of three passes:
 *   TIM_CONVOLVE_Y    y = sum over window and channels of x W (+ bias)
 *   TIM_CONVOLVE_G_X  g_x = the transpose applied to g_y
 *   TIM_CONVOLVE_G_W  g_W += sum over pictures and pixels of g_y x */
#ifndef TIM_OP_CONVOLVE_H
#define TIM_OP_CONVOLVE_H

#include "op/window.h"

typedef enum TimConvolvePass { TIM_CONVOLVE_Y, TIM_CONVOLVE_G_X, TIM_CONVOLVE_G_W } TimConvolvePass;

typedef struct TimConvolveShape {
    TimWindow window;
    int64_t pictures, in_channels, out_channels;
    int64_t x_stride, y_stride; /* elements between rows */
    bool has_bias;              /* TIM_CONVOLVE_Y only */
    bool plain;                 /* no library: scalar C */
    int threads;
} TimConvolveShape;

typedef struct TimConvolve TimConvolve;

/* Plans one pass. Free with tim_convolve_free. A plan runs in one thread at a time and uses OpenMP inside. */
TimStatus tim_convolve_new(TimConvolve **out, TimConvolvePass pass, const TimConvolveShape *shape, TimError *err);

void tim_convolve_free(TimConvolve *plan);

/* Bytes of 64-byte aligned workspace that tim_convolve_run needs. */
size_t tim_convolve_work(const TimConvolve *plan);

/* x, w and y, or the cotangents in their place; the pass says which of them is written. `bias` may be NULL without one. */
void tim_convolve_run(const TimConvolve *plan, float *x, float *w, const float *bias, float *y, void *work);

#endif
