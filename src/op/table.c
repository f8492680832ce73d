/* The ops of this instruction set, by kind. */
#include "op/kernel.h"

#define DECLARE(name) extern const TimOp TIM_ISA_SYMBOL(tim_op_##name)
DECLARE(add);
DECLARE(attention);
DECLARE(attention_masked);
DECLARE(cast);
DECLARE(channel_norm);
DECLARE(concat);
DECLARE(convolution);
DECLARE(embedding);
DECLARE(geglu);
DECLARE(group_norm);
DECLARE(head_norm);
DECLARE(head_rms_norm);
DECLARE(layer_norm);
DECLARE(linear);
DECLARE(linear_attention);
DECLARE(linear_rows);
DECLARE(modulate);
DECLARE(patchify);
DECLARE(pixel_shuffle);
DECLARE(pixel_unshuffle);
DECLARE(pool);
DECLARE(relu);
DECLARE(rms_norm);
DECLARE(silu);
DECLARE(sinusoid);
DECLARE(skip);
DECLARE(swiglu);
DECLARE(unpatchify);
DECLARE(upsample);

extern const TimOp *const TIM_ISA_SYMBOL(tim_op_table)[TIM_OP_COUNT];
const TimOp *const TIM_ISA_SYMBOL(tim_op_table)[TIM_OP_COUNT] = {
    [TIM_OP_ADD] = &TIM_ISA_SYMBOL(tim_op_add),
    [TIM_OP_ATTENTION] = &TIM_ISA_SYMBOL(tim_op_attention),
    [TIM_OP_ATTENTION_MASKED] = &TIM_ISA_SYMBOL(tim_op_attention_masked),
    [TIM_OP_CAST] = &TIM_ISA_SYMBOL(tim_op_cast),
    [TIM_OP_CHANNEL_NORM] = &TIM_ISA_SYMBOL(tim_op_channel_norm),
    [TIM_OP_CONCAT] = &TIM_ISA_SYMBOL(tim_op_concat),
    [TIM_OP_CONVOLUTION] = &TIM_ISA_SYMBOL(tim_op_convolution),
    [TIM_OP_EMBEDDING] = &TIM_ISA_SYMBOL(tim_op_embedding),
    [TIM_OP_GEGLU] = &TIM_ISA_SYMBOL(tim_op_geglu),
    [TIM_OP_GROUP_NORM] = &TIM_ISA_SYMBOL(tim_op_group_norm),
    [TIM_OP_HEAD_NORM] = &TIM_ISA_SYMBOL(tim_op_head_norm),
    [TIM_OP_HEAD_RMS_NORM] = &TIM_ISA_SYMBOL(tim_op_head_rms_norm),
    [TIM_OP_LAYER_NORM] = &TIM_ISA_SYMBOL(tim_op_layer_norm),
    [TIM_OP_LINEAR] = &TIM_ISA_SYMBOL(tim_op_linear),
    [TIM_OP_LINEAR_ATTENTION] = &TIM_ISA_SYMBOL(tim_op_linear_attention),
    [TIM_OP_LINEAR_ROWS] = &TIM_ISA_SYMBOL(tim_op_linear_rows),
    [TIM_OP_MODULATE] = &TIM_ISA_SYMBOL(tim_op_modulate),
    [TIM_OP_PATCHIFY] = &TIM_ISA_SYMBOL(tim_op_patchify),
    [TIM_OP_PIXEL_SHUFFLE] = &TIM_ISA_SYMBOL(tim_op_pixel_shuffle),
    [TIM_OP_PIXEL_UNSHUFFLE] = &TIM_ISA_SYMBOL(tim_op_pixel_unshuffle),
    [TIM_OP_POOL] = &TIM_ISA_SYMBOL(tim_op_pool),
    [TIM_OP_RELU] = &TIM_ISA_SYMBOL(tim_op_relu),
    [TIM_OP_RMS_NORM] = &TIM_ISA_SYMBOL(tim_op_rms_norm),
    [TIM_OP_SILU] = &TIM_ISA_SYMBOL(tim_op_silu),
    [TIM_OP_SINUSOID] = &TIM_ISA_SYMBOL(tim_op_sinusoid),
    [TIM_OP_SKIP] = &TIM_ISA_SYMBOL(tim_op_skip),
    [TIM_OP_SWIGLU] = &TIM_ISA_SYMBOL(tim_op_swiglu),
    [TIM_OP_UNPATCHIFY] = &TIM_ISA_SYMBOL(tim_op_unpatchify),
    [TIM_OP_UPSAMPLE] = &TIM_ISA_SYMBOL(tim_op_upsample),
};
