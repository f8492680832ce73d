/* The Inception v3 network whose pooled features the Frechet inception distance compares, as the pytorch-fid package defines it:
 * torchvision's network, but average pools do not count padding, and the last block takes the maximum in its pool branch.
 *
 * Every convolution is followed by a batch norm at rest, an affine map per channel, which is folded into the convolution when
 * weights are set: the tape's parameters are <unit>.conv.weight and <unit>.conv.bias.
 * Source: Szegedy et al., arXiv 1512.00567; names and shapes: the published weights of the FID network. */
#ifndef TIM_MODEL_INCEPTION_V3_H
#define TIM_MODEL_INCEPTION_V3_H

#include "tape/tape.h"

enum {
    TIM_INCEPTION_SIDE = 299,
    TIM_INCEPTION_PIXELS = TIM_INCEPTION_SIDE * TIM_INCEPTION_SIDE,
    TIM_INCEPTION_FEATURES = 2048,
    TIM_INCEPTION_CLASSES = 1008,
    TIM_INCEPTION_MIXED_SIDE = 17, /* of the maps of the blocks Mixed_6 */
    TIM_INCEPTION_MIXED_PIXELS = TIM_INCEPTION_MIXED_SIDE * TIM_INCEPTION_MIXED_SIDE
};

/* Where features are read: the mean over the map behind the first maximum, the second, the last block before the auxiliary
 * classifier of training, and the last block. */
typedef enum TimInceptionOutput {
    TIM_INCEPTION_BLOCK0, /* (B, 64) */
    TIM_INCEPTION_BLOCK1, /* (B, 192) */
    TIM_INCEPTION_BLOCK2, /* (B, 768) */
    TIM_INCEPTION_POOL,   /* (B, 2048) */
    TIM_INCEPTION_OUTPUTS
} TimInceptionOutput;

/* The network recorded for B pictures: x (B, 3 299 299) in [-1, 1], channel by channel. */
typedef struct TimInceptionNetwork {
    TimTape *tape;
    TimRef x, outputs[TIM_INCEPTION_OUTPUTS];
    TimRef mixed_6d; /* (B 17 17, 768), a pixel a row; the first 192 channels are those of branch1x1 */
} TimInceptionNetwork;

/* A network with weights. */
typedef struct TimInception {
    TimParams params;
    float *weights; /* (params.elements) */
    TimWeights bound;
    TimInceptionNetwork network; /* of `batch` pictures */
    int64_t batch;
} TimInception;

/* Makes a network with all weights zero, ready to take `batch` pictures at a time. Free with _done. */
TimStatus tim_inception_init(TimInception *inception, int64_t batch, TimIsa isa, int threads, TimError *err);

/* Gives the official tensor `name` of the shape dims[0 ... rank - 1], row-major, in `out`. */
typedef TimStatus (*TimInceptionRead)(void *from, const char *name, int rank, const size_t *dims, double *out, TimError *err);

/* Makes the weights from the official tensors <unit>.conv.weight (O, C, kh, kw) and <unit>.bn.weight, .bias, .running_mean and
 * .running_var (O), in fp64. TIM_E_FORMAT for a variance that is not a number from 0 on. */
TimStatus tim_inception_set_weights(TimInception *inception, TimInceptionRead read, void *from, TimError *err);

/* Makes a network for `batch` pictures at a time with the weights of the safetensors file at `path`: the official tensors in any
 * float dtype. The classifier fc.* and the counters *.num_batches_tracked are not read; any other further tensor is an error,
 * because it says that the file belongs to another network. */
TimStatus tim_inception_open(TimInception *inception, const char *path, int64_t batch, TimIsa isa, int threads, TimError *err);

/* *classes (1008, 2048) = fc.weight of the file at `path`, from tim_alloc: what gives the classes from the pooled features.
 * TIM_E_FORMAT when the file has no such tensor or one of another shape. */
TimStatus tim_inception_read_classes(float **classes, const char *path, TimError *err);

/* Frees what the network owns; {0} is fine. */
void tim_inception_done(TimInception *inception);

/* x (3, 299, 299) in [-1, 1] of a picture (3, height, width) in [0, 1]: bilinear between the centres of pixels, the edge repeated,
 * without a wider filter where the picture shrinks, then 2 v - 1. Sides are positive. */
void tim_inception_prepare(float *x, const float *picture, int height, int width);

/* How a picture in bytes comes to 299 x 299 and [-1, 1]. */
typedef enum TimInceptionInput {
    TIM_INCEPTION_AS_TORCH, /* v / 255 through tim_inception_prepare, as pytorch-fid */
    TIM_INCEPTION_AS_GRAPH  /* as in the graph that the weights were published in: the output pixel y reads at y size / 299 in fp32,
                             * without the halves of pixel centres, then (v - 128) / 128 */
} TimInceptionInput;

/* Puts a picture (height, width, channels) in bytes at place `at` of the batch; one channel stands for three equal ones.
 * tim_tape_forward of the network then sees it. Errors: as tim_inception_run. */
TimStatus tim_inception_put(TimInception *inception, int64_t at, TimInceptionInput input, const uint8_t *picture, int height,
                            int width, int channels, TimError *err);

/* features (count, 2048) of `count` pictures (height, width, channels), put as TIM_INCEPTION_AS_TORCH.
 * TIM_E_ARGUMENT for sides or channels it cannot take, TIM_E_MEMORY. One call at a time for each network. */
TimStatus tim_inception_run(TimInception *inception, const uint8_t *pictures, int64_t count, int height, int width, int channels,
                            float *features, TimError *err);

#endif
