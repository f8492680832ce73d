#include "ops/ops.h"

const OpSuite *const ops_suites[OPS_SUITES] = {
    &ops_suite_add,         &ops_suite_attention,     &ops_suite_cast,
    &ops_suite_embedding,   &ops_suite_head_norm,     &ops_suite_layer_norm,
    &ops_suite_linear,      &ops_suite_modulate,      &ops_suite_patchify,
    &ops_suite_silu,        &ops_suite_sinusoid,      &ops_suite_swiglu,
    &ops_suite_unpatchify,  &ops_suite_relu,          &ops_suite_concat,
    &ops_suite_convolution, &ops_suite_pool,          &ops_suite_attention_masked,
    &ops_suite_geglu,       &ops_suite_head_rms_norm, &ops_suite_rms_norm,
};
