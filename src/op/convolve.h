/* A planned convolution of pictures whose pixels are rows, by oneDNN where it is built in, else by plain C.
 * x (B H W, C), W (O, C / groups, kh, kw), y (B H' W', O); rows of x and y have a stride of their own, W and its gradient are
 * dense. Output channels O / groups g ... see the input channels C / groups g ... only.
 * Each plan does one of three passes; all but the first are f32:
 *   TIM_CONVOLVE_Y    y = sum over window and channels of x W (+ bias), then SiLU if asked for
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
    int64_t groups;
    TimDtype in, out;    /* of x and W; of y: f32 or bf16 */
    bool has_bias, silu; /* TIM_CONVOLVE_Y only */
    bool plain;          /* no library: scalar C */
    size_t copy_bytes;   /* that fp32 copies of bf16 take at a time, about, where there are some; 0: 64 MiB */
    int threads;
} TimConvolveShape;

typedef struct TimConvolve TimConvolve;

/* Plans one pass. Free with tim_convolve_free. A plan runs in one thread at a time and uses OpenMP inside. */
TimStatus tim_convolve_new(TimConvolve **out, TimConvolvePass pass, const TimConvolveShape *shape, TimError *err);

void tim_convolve_free(TimConvolve *plan);

/* Bytes of 64-byte aligned workspace that tim_convolve_run needs. */
size_t tim_convolve_work(const TimConvolve *plan);

/* x, w and y, or the cotangents in their place; the pass says which of them is written. `bias` may be NULL without one. */
void tim_convolve_run(const TimConvolve *plan, void *x, void *w, const float *bias, void *y, void *work);

#endif
