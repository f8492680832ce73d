/* Layers on pictures: each adds its ops to the tape and keeps the sides of the picture beside the value. See layers.h for names. */
#ifndef TIM_NN_MAPS_H
#define TIM_NN_MAPS_H

#include "tape/tape.h"

/* Pictures on the tape, a pixel a row. */
typedef struct TimMap {
    TimRef x; /* (B H W, C), f32 */
    int height, width;
} TimMap;

/* A window without its picture; stride 0 stands for 1. */
typedef struct TimWindowSpec {
    int kernel_h, kernel_w, stride, pad_y, pad_x;
} TimWindowSpec;

typedef struct TimConvolutionSpec {
    TimWindowSpec window;
    int64_t out_channels;
    bool bias;
} TimConvolutionSpec;

/* pictures (B, C H W), channel by channel as they are stored -> a map of C channels. */
TimMap tim_map_of_pictures(TimTape *tape, TimRef pictures, int channels, int height, int width);

/* name.weight (O, C, kh, kw), Xavier at the start, and name.bias (O), zero. */
TimMap tim_convolution(TimTape *tape, TimMap map, const TimConvolutionSpec *spec, const char *name);

/* The largest pixel under the window, channel by channel. */
TimMap tim_max_pool(TimTape *tape, TimMap map, TimWindowSpec window);

/* The mean of the pixels under the window; padding is not counted. */
TimMap tim_average_pool(TimTape *tape, TimMap map, TimWindowSpec window);

/* The mean of each picture: (B, C). */
TimRef tim_global_average(TimTape *tape, TimMap map);

/* The channels of `count` maps of the same sides, side by side. */
TimMap tim_concat(TimTape *tape, const TimMap *maps, int count);

TimMap tim_relu(TimTape *tape, TimMap map);

#endif
