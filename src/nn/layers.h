/* Layers as lines of a model file: each adds its ops to the tape under the checkpoint's parameter names.
 * `name` is a prefix; a layer appends ".weight" and so on. Parameters are declared one by one in the order of the checkpoint, never
 * inside one expression, whose order of evaluation C leaves open. */
#ifndef TIM_NN_LAYERS_H
#define TIM_NN_LAYERS_H

#include "tape/tape.h"

enum { TIM_NAME_BYTES = 160 };

/* A name put together in `name`, which it returns; one that does not fit makes the recording fail. */
const char *tim_name(TimTape *tape, char name[TIM_NAME_BYTES], const char *format, ...) __attribute__((format(printf, 3, 4)));

/* The parameter "prefix.suffix"; a name that does not fit makes the recording fail. */
TimRef tim_prefixed_param(TimTape *tape, TimDtype dtype, TimInit init, int rank, const int64_t *dims, const char *prefix,
                          const char *suffix);

typedef struct TimLinearSpec {
    int64_t out_features;
    bool bias;
    TimInit init;   /* of the weight; biases start at zero */
    TimDtype dtype; /* of the product's inputs */
    TimDtype out;   /* of y */
    bool few;       /* x is f32 with few rows and not rounded whatever the dtype; y is f32. For inference where dtype is not f32 */
    int rank;       /* of the stored weight when it is no matrix: a patch embedding is a convolution kernel, (D, C, p, p) */
    int64_t dims[TIM_PARAM_MAX_RANK];
} TimLinearSpec;

/* x (R, K) -> (R, out_features) */
TimRef tim_linear(TimTape *tape, TimRef x, const TimLinearSpec *spec, const char *name);

/* x (R, K) -> SiLU(fc1_g x) * fc1_x x -> fc2, biases on; dtypes and the init of fc2 as in `spec`, whose out_features fc2 has. */
TimRef tim_swiglu_mlp(TimTape *tape, TimRef x, int64_t hidden, TimInit hidden_init, const TimLinearSpec *spec, const char *name);

/* t (B, 1) -> 256 sinusoidal features -> Linear -> SiLU -> Linear: (B, width) f32. Both linears are as `spec` says. */
TimRef tim_timestep_embedding(TimTape *tape, TimRef t, const TimLinearSpec *spec, const char *name);

/* Affine layer norm over the columns. */
TimRef tim_layer_norm(TimTape *tape, TimRef x, float eps, const char *name);

/* RMS norm over the columns: y = x / sqrt(mean(x x) + eps) (offset + name.weight), in `out`. For inference. */
TimRef tim_rms_norm(TimTape *tape, TimRef x, float eps, float offset, TimDtype out, const char *name);

/* x unchanged, or converted. */
TimRef tim_cast(TimTape *tape, TimRef x, TimDtype dtype);

/* a + scale b */
TimRef tim_add(TimTape *tape, TimRef a, TimRef b, float scale);

/* The residual stream between blocks. A sub-layer's output waits in `h` with its gate until the next norm reads the stream, so that
 * adding it, normalising and modulating are one pass over memory. */
typedef struct TimStream {
    TimRef x;       /* (R, D) f32 */
    TimRef h, gate; /* pending: x + gate h; TIM_NONE when nothing waits */
} TimStream;

/* Adds what waits, then y = LN(x) (1 + scale) + shift; without shift and scale (both TIM_NONE) y = LN(x). */
TimRef tim_stream_norm(TimTape *tape, TimStream *stream, TimRef shift, TimRef scale, float eps);

/* Slots of a packed projection on their way to attention; see TIM_OP_HEAD_NORM. */
typedef struct TimHeads {
    int heads;
    const float *cos, *sin; /* (N, dh); NULL: no rotary */
    TimRef shift;           /* (B, slots D) or TIM_NONE */
    bool qk_norm;
} TimHeads;

/* Self-attention on qkv (R, 3D): norm and rotary on q and k, then attention: (R, D). Norms are name.q_norm and name.k_norm. */
TimRef tim_self_attention(TimTape *tape, TimRef qkv, const TimHeads *heads, const char *name);

/* Keys and values (B M, 2D) of cross-attention as it takes them: norm on k. They depend on the caption alone. */
TimRef tim_cross_keys(TimTape *tape, TimRef kv, const TimHeads *heads, const char *name);

/* Cross-attention of q (B N, D) over such keys and values: norm and rotary on q. */
TimRef tim_cross_attention(TimTape *tape, TimRef q, TimRef keys, const TimHeads *heads, const char *name);

#endif
