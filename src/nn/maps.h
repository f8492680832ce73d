/* Layers on pictures: each adds its ops to the tape and keeps the sides of the picture beside the value. See layers.h for names. */
#ifndef TIM_NN_MAPS_H
#define TIM_NN_MAPS_H

#include "tape/tape.h"

/* Pictures on the tape, a pixel a row. */
typedef struct TimMap {
    TimRef x; /* (B H W, C) */
    int height, width;
} TimMap;

/* A window without its picture; stride 0 stands for 1. */
typedef struct TimWindowSpec {
    int kernel_h, kernel_w, stride, pad_y, pad_x;
    bool pad_end; /* below and right only */
} TimWindowSpec;

typedef struct TimConvolutionSpec {
    TimWindowSpec window;
    int64_t out_channels;
    bool bias;
    int groups;          /* 0 stands for 1 */
    bool silu;           /* of the result; inference only, as bf16 is */
    TimDtype dtype, out; /* of the product's inputs and of the result: TIM_BF16; all others stand for f32 */
} TimConvolutionSpec;

/* pictures (B, C H W), channel by channel as they are stored -> a map of C channels. */
TimMap tim_map_of_pictures(TimTape *tape, TimRef pictures, int channels, int height, int width);

/* The way back: (B, C H W), f32. */
TimRef tim_pictures_of_map(TimTape *tape, TimMap map);

/* name.weight (O, C / groups, kh, kw), Xavier at the start, and name.bias (O), zero. */
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

/* ---- for inference only ---- */

/* With name.weight and name.bias (C). `moments` are those of the whole picture, of which the map is a part; TIM_NONE: the map's
 * own. */
TimMap tim_group_norm(TimTape *tape, TimMap map, TimRef moments, const TimGroupNormParams *params, const char *name);

/* RMS norm over the channels with name.weight and name.bias (C); `residual` is added unless it is TIM_NONE, `relu` comes last. */
TimMap tim_channel_norm(TimTape *tape, TimMap map, TimRef residual, bool relu, TimDtype out, const char *name);

/* Each pixel becomes 2 x 2. */
TimMap tim_upsample(TimTape *tape, TimMap map, TimDtype out);

/* Sides times `factor`, channels times count / factor^2; see TIM_OP_PIXEL_SHUFFLE. `added` may be TIM_NONE. */
TimMap tim_pixel_shuffle(TimTape *tape, TimMap map, int factor, int count, TimRef added);

/* Sides by `factor`, channels times factor^2 / count; see TIM_OP_PIXEL_UNSHUFFLE. `added` may be TIM_NONE. */
TimMap tim_pixel_unshuffle(TimTape *tape, TimMap map, int factor, int count, TimRef added);

#endif
