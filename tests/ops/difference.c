/* The fp64 oracle's derivatives. A central difference with step e errs by e^2 / 6 third derivatives, and 1e-16 / e by rounding. */
#include <string.h>

#include "ops/ops.h"

static const double step = 1e-6;

void ops_forward_f64(const OpSuite *suite, const OpCase *c, const OpTensor *in, OpTensor out[TIM_OP_MAX_OUT]) {
    const TimNode node = ops_node(c, TIM_ISA_REF);
    double *values[TIM_OP_MAX_IN] = {0}, *results[TIM_OP_MAX_OUT] = {0};
    memset(out, 0, TIM_OP_MAX_OUT * sizeof *out);
    for (int i = 0; i < c->n_in; i++) values[i] = in[i].v;
    for (int i = 0; i < node.n_out; i++) {
        out[i] = ops_tensor_new(node.out[i].rows, node.out[i].cols, TIM_F64);
        results[i] = out[i].v;
    }
    suite->forward(c, values, results);
}

/* The fp64 forward at in + e along. */
static void forward_at(const OpSuite *suite, const OpCase *c, const OpTensor *in, const OpTensor *along, double e,
                       OpTensor out[TIM_OP_MAX_OUT]) {
    OpTensor moved[TIM_OP_MAX_IN] = {0};
    for (int i = 0; i < c->n_in; i++) {
        moved[i] = ops_tensor_new(in[i].rows, in[i].cols, TIM_F64);
        for (int64_t at = 0; at < in[i].rows * in[i].cols; at++)
            moved[i].v[at] = in[i].v[at] + (along[i].v ? e * along[i].v[at] : 0);
    }
    ops_forward_f64(suite, c, moved, out);
    for (int i = 0; i < c->n_in; i++) ops_tensor_free(&moved[i]);
}

void ops_difference(const OpSuite *suite, const OpCase *c, const OpTensor *in, const OpTensor *along,
                    OpTensor d_out[TIM_OP_MAX_OUT]) {
    OpTensor below[TIM_OP_MAX_OUT];
    forward_at(suite, c, in, along, step, d_out);
    forward_at(suite, c, in, along, -step, below);
    for (int i = 0; i < TIM_OP_MAX_OUT; i++) {
        for (int64_t at = 0; at < d_out[i].rows * d_out[i].cols; at++)
            d_out[i].v[at] = (d_out[i].v[at] - below[i].v[at]) / (2 * step);
        ops_tensor_free(&below[i]);
    }
}
