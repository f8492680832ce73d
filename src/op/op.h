/* An op of the tape: shapes, forward, vjp and jvp of one operation on matrices. One file an op, compiled once per instruction set.
 *
 * Contract:
 * - infer runs once when the op is recorded: it checks inputs, states outputs, saved tensors, workspace, and what the vjp reads.
 * - prepare makes what depends on the machine (oneDNN primitives); release frees it. Both may be NULL.
 * - forward, vjp and jvp run on pointers that are already laid out. They cannot fail and allocate nothing.
 * - A vjp writes g_in in the order of its inputs, of which one may be there twice, unless it sets distinct_in.
 * - A value's cotangent has the value's dtype, a parameter's is always f32. `add_in[i]`: add to g_in[i], else overwrite it.
 * - Tangents exist for the last `tangent_samples` samples only: t_in[i] has the last rows of in[i]. Absent means zero.
 * - jvp runs after forward of the same op and may read in, out and save.
 * - vjp and jvp may be NULL, each by itself: the tape refuses to record such an op where it would need the missing one. */
#ifndef TIM_OP_OP_H
#define TIM_OP_OP_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "op/isa.h"
#include "tensor/matrix.h"

enum { TIM_OP_MAX_IN = 8, TIM_OP_MAX_OUT = 2, TIM_OP_MAX_SAVE = 2 };

/* New kinds go to the end: the tests draw the values of an op's cases by its number. */
typedef enum TimOpKind {
    TIM_OP_ADD,
    TIM_OP_ATTENTION,
    TIM_OP_CAST,
    TIM_OP_CONCAT,
    TIM_OP_CONVOLUTION,
    TIM_OP_EMBEDDING,
    TIM_OP_HEAD_NORM,
    TIM_OP_LAYER_NORM,
    TIM_OP_LINEAR,
    TIM_OP_MODULATE,
    TIM_OP_PATCHIFY,
    TIM_OP_POOL,
    TIM_OP_RELU,
    TIM_OP_SILU,
    TIM_OP_SINUSOID,
    TIM_OP_SWIGLU,
    TIM_OP_UNPATCHIFY,
    TIM_OP_ATTENTION_MASKED,
    TIM_OP_GEGLU,
    TIM_OP_HEAD_RMS_NORM,
    TIM_OP_RMS_NORM,
    /* for inference only; the values of test cases are drawn by number, so that new kinds come last */
    TIM_OP_CHANNEL_NORM,
    TIM_OP_GROUP_NORM,
    TIM_OP_LINEAR_ATTENTION,
    TIM_OP_PIXEL_SHUFFLE,
    TIM_OP_PIXEL_UNSHUFFLE,
    TIM_OP_UPSAMPLE,
    TIM_OP_LINEAR_ROWS,
    /* for training again; last for the same reason */
    TIM_OP_SKIP,
    TIM_OP_COUNT
} TimOpKind;

/* out = in0 + scale * in1 */
typedef struct TimAddParams {
    float scale;
} TimAddParams;

/* Softmax(q k' / sqrt(dh)) v per sample and head. */
typedef struct TimAttentionParams {
    int heads;
} TimAttentionParams;

/* See attention_masked.c. */
typedef struct TimMaskedAttentionParams {
    int heads, kv_heads;
    float scale;
    bool causal;
    int64_t window;   /* the last keys that a query sees, itself included; 0: all */
    int max_distance; /* of T5's bias, in[4] */
} TimMaskedAttentionParams;

typedef struct TimCastParams {
    TimDtype dtype;
} TimCastParams;

/* RMS norm over the channels, then what usually follows it in one pass. */
typedef struct TimChannelNormParams {
    bool residual; /* in[3] is added */
    bool relu;     /* at the end */
    float eps;
    TimDtype out;
} TimChannelNormParams;

/* A window that slides over pictures whose pixels are rows, (B H W, C): `pad_y` rows of padding above and below, `pad_x` left and
 * right. */
typedef struct TimWindow {
    int height, width; /* of the input picture */
    int kernel_h, kernel_w;
    int stride;
    int pad_y, pad_x;
    bool pad_end; /* the padding lies below and right only */
} TimWindow;

typedef struct TimConvolutionParams {
    TimWindow window;
    bool has_bias; /* in[2] */
    int groups;    /* of channels, each convolved by itself; as many as channels: depthwise. 0 stands for 1 */
    bool silu;     /* of the result; inference only */
    TimDtype out;  /* dtype of y */
} TimConvolutionParams;

typedef struct TimGroupNormParams {
    int groups;
    bool silu; /* of the result */
    float eps;
    TimDtype out;
} TimGroupNormParams;

typedef struct TimPoolParams {
    TimWindow window;
    bool average; /* of the pixels inside the picture; else the largest */
} TimPoolParams;

typedef struct TimEmbeddingParams {
    float scale; /* of what is read from the table; 0 stands for 1 */
} TimEmbeddingParams;

enum { TIM_HEAD_NORM_MAX_SLOTS = 3 };

/* One slot is D columns of a packed projection: q, k or v. */
typedef struct TimHeadNormParams {
    int heads, slots;
    int norm[TIM_HEAD_NORM_MAX_SLOTS];  /* index of the input holding the slot's norm weight (the bias follows), or -1 */
    bool rope[TIM_HEAD_NORM_MAX_SLOTS]; /* rotate after the norm */
    bool has_shift;                     /* in[1] is (B, slots * D), added to every token before the norm */
    float eps;
    const float *cos, *sin; /* (N, dh), owned by the caller for the tape's life */
} TimHeadNormParams;

typedef struct TimHeadRmsNormParams {
    float eps, offset;
    const float *cos, *sin; /* (P, dh / 2), owned by the caller for the tape's life */
} TimHeadRmsNormParams;

typedef struct TimLayerNormParams {
    float eps;
} TimLayerNormParams;

typedef struct TimLinearParams {
    TimDtype out;  /* dtype of y */
    bool has_bias; /* in[2] */
} TimLinearParams;

typedef struct TimLinearAttentionParams {
    int width; /* of a head */
    float eps;
} TimLinearAttentionParams;

typedef struct TimModulateParams {
    bool residual; /* in: x, h, gate, [shift, scale]; else in: x, [shift, scale] */
    bool modulate; /* shift and scale are there */
    float eps;
    TimDtype out; /* dtype of y */
} TimModulateParams;

typedef struct TimPatchParams {
    int channels, height, width, patch;
    TimDtype out;
} TimPatchParams;

typedef struct TimRmsNormParams {
    float eps;
    float offset; /* added to the weight */
    TimDtype out; /* dtype of y */
} TimRmsNormParams;
/* Pixels and channels change places. `height` and `width` are the input's. */
typedef struct TimShuffleParams {
    int height, width;
    int factor; /* of the sides */
    int count;  /* channels that are repeated (shuffle) or averaged (unshuffle); 1: neither */
    bool add;   /* in[1] is added */
} TimShuffleParams;

typedef struct TimSinusoidParams {
    int width;
    float max_period;
} TimSinusoidParams;

typedef struct TimUpsampleParams {
    int height, width; /* of the input */
    int factor;
    TimDtype out;
} TimUpsampleParams;

typedef union TimOpParams {
    TimAddParams add;
    TimAttentionParams attention;
    TimMaskedAttentionParams attention_masked;
    TimCastParams cast;
    TimChannelNormParams channel_norm;
    TimConvolutionParams convolution;
    TimEmbeddingParams embedding;
    TimGroupNormParams group_norm;
    TimHeadNormParams head_norm;
    TimHeadRmsNormParams head_rms_norm;
    TimLayerNormParams layer_norm;
    TimLinearParams linear;
    TimLinearAttentionParams linear_attention;
    TimModulateParams modulate;
    TimPatchParams patch;
    TimPoolParams pool;
    TimRmsNormParams rms_norm;
    TimShuffleParams shuffle;
    TimSinusoidParams sinusoid;
    TimUpsampleParams upsample;
} TimOpParams;

struct TimOp;

/* One recorded op with everything its kernels need. */
typedef struct TimNode {
    const struct TimOp *op;
    TimOpParams params;
    TimIsa isa;
    int threads;
    int64_t samples, tangent_samples; /* B, and how many of the last ones carry tangents */
    int n_in, n_out, n_save;

    TimMatrix in[TIM_OP_MAX_IN], out[TIM_OP_MAX_OUT], save[TIM_OP_MAX_SAVE];
    TimMatrix g_in[TIM_OP_MAX_IN], g_out[TIM_OP_MAX_OUT];
    TimMatrix t_in[TIM_OP_MAX_IN], t_out[TIM_OP_MAX_OUT];
    bool add_in[TIM_OP_MAX_IN];

    unsigned vjp_reads_in, vjp_reads_out; /* bit i: the vjp reads in[i], out[i] */
    unsigned params_in; /* bit i: the vjp adds to g_in[i] in fp32 whatever add_in says: in[i] has to be a parameter */
    bool distinct_in;   /* the vjp does not write in the order of its inputs: none may be there twice */
    size_t work_bytes;  /* the largest workspace of the three passes */
    void *work;         /* 64-byte aligned; content is lost between passes */
    void *plan;         /* made by prepare */
} TimNode;

typedef struct TimOp {
    const char *name;
    TimStatus (*infer)(TimNode *node, TimError *err);
    TimStatus (*prepare)(TimNode *node, TimError *err);
    void (*release)(TimNode *node);
    void (*forward)(const TimNode *node);
    void (*vjp)(const TimNode *node); /* NULL: inference only; so is jvp */
    void (*jvp)(const TimNode *node);
} TimOp;

/* The op of this kind for this instruction set; static storage. */
const TimOp *tim_op_get(TimOpKind kind, TimIsa isa);

#endif
