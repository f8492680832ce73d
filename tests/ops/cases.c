#include "ops/ops.h"

#include <assert.h>
#include <stdlib.h>

#include "base/bf16.h"
#include "base/memory.h"
#include "base/rng.h"

const int64_t ops_rows[OPS_ROWS] = {1, 2, 3, 7, 9, 15, 17, 49, 65, 130};
const int64_t ops_cols[OPS_COLS] = {1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 63, 64, 65, 72, 100};

void ops_add(OpCases *cases, OpCase c) {
    if (tim_grow(&cases->items, &cases->capacity, cases->count, sizeof c, "the cases", NULL) != TIM_OK) abort();
    for (int i = 0; i < c.n_in; i++)
        if (c.in[i].spread == 0) c.in[i].spread = 1;
    if (c.slack == 0) c.slack = 1;
    if (c.seeded == 0) c.seeded = (1U << TIM_OP_MAX_OUT) - 1;
    c.seed = (uint64_t)c.kind << 32 | cases->count;
    cases->items[cases->count++] = c;
}

void ops_cases_free(OpCases *cases) {
    tim_free(cases->items);
    *cases = (OpCases){0};
}

OpCase ops_case(TimOpKind kind, int64_t rows, size_t index) {
    int64_t samples = 1 + (int64_t)(index % 3);
    while (rows % samples) samples--;
    return (OpCase){.kind = kind, .samples = samples, .tangent_samples = 1 + (int64_t)(index / 3) % samples};
}

unsigned ops_subset(unsigned all, size_t index) {
    const unsigned subsets = (1U << __builtin_popcount(all)) - 1;
    unsigned chosen = 1 + (unsigned)(index % subsets), out = 0;
    for (unsigned bit = 1; bit <= all; bit <<= 1) {
        if (!(all & bit)) continue;
        if (chosen & 1) out |= bit;
        chosen >>= 1;
    }
    return out;
}

unsigned ops_mostly(unsigned all, size_t index) {
    return index % 3 ? all : ops_subset(all, index / 3);
}

/* ---- values ---- */

OpTensor ops_tensor_new(int64_t rows, int64_t cols, TimDtype dtype) {
    OpTensor tensor = {.rows = rows, .cols = cols, .dtype = dtype, .v = tim_alloc((size_t)(rows * cols), sizeof(double))};
    if (!tensor.v) abort();
    return tensor;
}

void ops_tensor_free(OpTensor *tensor) {
    tim_free(tensor->v);
    *tensor = (OpTensor){0};
}

double ops_dot(const OpTensor *a, const OpTensor *b) {
    assert(a->rows == b->rows && a->cols == b->cols);
    double sum = 0;
    for (int64_t i = 0; i < a->rows * a->cols; i++) sum += a->v[i] * b->v[i];
    return sum;
}

static OpTensor shape_of(const OpCase *c, OpRole role, int i) {
    if (role == OPS_COTANGENT) {
        const TimMatrix out = ops_node(c, TIM_ISA_REF).out[i];
        return (OpTensor){.rows = out.rows, .cols = out.cols, .dtype = out.dtype};
    }
    OpTensor shape = {.rows = c->in[i].rows, .cols = c->in[i].cols, .dtype = c->in[i].dtype};
    if (role == OPS_TANGENT) shape.rows = shape.rows / c->samples * c->tangent_samples;
    if (role == OPS_BASE && c->in[i].param) shape.dtype = TIM_F32;
    return shape;
}

/* Normal numbers to draw from: every run of a case makes its values anew, and Box-Muller would take longer than most ops.
 * The length is prime, so that no two rows of a matrix are alike. */
enum { POOL = 65521 };

static const float *pool(void) {
    static float numbers[POOL];
    static bool filled;
    if (!filled) tim_rng_normal(numbers, POOL, 1, 0, 0);
    filled = true;
    return numbers;
}

/* A number as the dtype holds it. */
static double rounded(float value, TimDtype dtype) {
    return dtype == TIM_BF16 ? tim_bf16_to_f32(tim_bf16_from_f32(value)) : value;
}

OpTensor ops_values(const OpCase *c, OpRole role, int i) {
    const OpTensor shape = shape_of(c, role, i), out = ops_tensor_new(shape.rows, shape.cols, shape.dtype);
    const uint64_t stream = (uint64_t)role * TIM_OP_MAX_IN + (uint64_t)i;
    const double center = role == OPS_INPUT ? c->in[i].center : 0;
    const double spread = role == OPS_COTANGENT || role == OPS_BASE ? 1 : c->in[i].spread;
    const uint64_t first = tim_rng_word(c->seed, stream, 0) % POOL;
    for (int64_t at = 0; at < out.rows * out.cols; at++) {
        const double normal = pool()[(first + (uint64_t)at) % POOL];
        out.v[at] = rounded((float)(center + spread * normal), out.dtype);
        if (out.dtype == TIM_I64) out.v[at] = (double)(tim_rng_word(c->seed, stream, (uint64_t)at) % (uint64_t)spread);
    }
    return out;
}
