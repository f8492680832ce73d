/* What the plans on oneDNN share. Included only where oneDNN is built in. */
#ifndef TIM_OP_ONEDNN_H
#define TIM_OP_ONEDNN_H

#include <stdbool.h>
#include <string.h>

#include <dnnl.h>

#include "tensor/dtype.h"

/* A scratch pad of the caller's, and with `add` a result that is added to its place. The caller destroys *attributes unless
 * NULL. */
static inline dnnl_status_t onednn_attributes(dnnl_primitive_attr_t *attributes, bool add) {
    dnnl_status_t status = dnnl_primitive_attr_create(attributes);
    if (status == dnnl_success) status = dnnl_primitive_attr_set_scratchpad_mode(*attributes, dnnl_scratchpad_mode_user);
    if (status != dnnl_success || !add) return status;
    dnnl_post_ops_t post_ops;
    status = dnnl_post_ops_create(&post_ops);
    if (status != dnnl_success) return status;
    status = dnnl_post_ops_append_sum(post_ops, 1.0F);
    if (status == dnnl_success) status = dnnl_primitive_attr_set_post_ops(*attributes, post_ops);
    dnnl_post_ops_destroy(post_ops);
    return status;
}

static inline dnnl_data_type_t onednn_dtype(TimDtype dtype) {
    return dtype == TIM_F32 ? dnnl_f32 : dnnl_bf16;
}

/* Whether its products of bf16 are the processor's own. On AVX-512 without them it has some that take four times as long as those
 * of fp32, on less it has none. */
static inline bool onednn_has_bf16(void) {
#if defined(__x86_64__)
    const unsigned wanted = dnnl_cpu_isa_avx512_core_bf16;
    return ((unsigned)dnnl_get_effective_cpu_isa() & wanted) == wanted;
#else
    return true; /* where it has none it refuses */
#endif
}

/* oneDNN takes handles as void *, also those it only reads. */
static inline void *onednn_handle(const void *data) {
    void *out;
    memcpy(&out, &data, sizeof out);
    return out;
}

#endif
