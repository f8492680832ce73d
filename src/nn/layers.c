#include "nn/layers.h"

#include <stdarg.h>
#include <stdio.h>

const char *tim_name(TimTape *tape, char name[TIM_NAME_BYTES], const char *format, ...) {
    va_list args;
    va_start(args, format);
    const int length = vsnprintf(name, TIM_NAME_BYTES, format, args);
    va_end(args);
    if (length < 0 || length >= TIM_NAME_BYTES) tim_tape_fail(tape, TIM_E_INTERNAL, "the parameter name %s... is too long", name);
    return name;
}

TimRef tim_prefixed_param(TimTape *tape, TimDtype dtype, TimInit init, int rank, const int64_t *dims, const char *prefix,
                          const char *suffix) {
    char name[TIM_NAME_BYTES];
    tim_name(tape, name, "%s.%s", prefix, suffix);
    return tim_tape_param(tape, dtype, init, rank, dims, name);
}

static TimRef vector(TimTape *tape, TimInit init, int64_t length, const char *prefix, const char *suffix) {
    return tim_prefixed_param(tape, TIM_F32, init, 1, &length, prefix, suffix);
}

TimRef tim_linear(TimTape *tape, TimRef x, const TimLinearSpec *spec, const char *name) {
    const int64_t matrix[2] = {spec->out_features, tim_tape_shape(tape, x).cols};
    TimRef in[3] = {x};
    in[1] = tim_prefixed_param(tape, spec->dtype, spec->init, spec->rank ? spec->rank : 2, spec->rank ? spec->dims : matrix, name,
                               "weight");
    if (spec->bias) in[2] = vector(tape, TIM_INIT_ZERO, spec->out_features, name, "bias");
    const int n = spec->bias ? 3 : 2;
    if (spec->few && spec->dtype != TIM_F32) return tim_tape_add(tape, TIM_OP_LINEAR_ROWS, (TimOpParams){0}, n, in);
    const TimOpParams params = {.linear = {.out = spec->out, .has_bias = spec->bias}};
    return tim_tape_add(tape, TIM_OP_LINEAR, params, n, in);
}

static TimRef linear_part(TimTape *tape, TimRef x, const TimLinearSpec *spec, const char *prefix, const char *part) {
    char name[TIM_NAME_BYTES];
    tim_name(tape, name, "%s.%s", prefix, part);
    return tim_linear(tape, x, spec, name);
}

TimRef tim_swiglu_mlp(TimTape *tape, TimRef x, int64_t hidden, TimInit hidden_init, const TimLinearSpec *spec, const char *name) {
    const TimDtype out = spec->few ? TIM_F32 : spec->dtype;
    const TimLinearSpec inner = {
        .out_features = hidden, .bias = true, .init = hidden_init, .dtype = spec->dtype, .out = out, .few = spec->few};
    TimRef in[2];
    in[0] = linear_part(tape, x, &inner, name, "fc1_g");
    in[1] = linear_part(tape, x, &inner, name, "fc1_x");
    return linear_part(tape, tim_tape_add(tape, TIM_OP_SWIGLU, (TimOpParams){0}, 2, in), spec, name, "fc2");
}

TimRef tim_timestep_embedding(TimTape *tape, TimRef t, const TimLinearSpec *spec, const char *name) {
    const TimOpParams sinusoid = {.sinusoid = {.width = 256, .max_period = 10000.0F}};
    const TimRef features = tim_tape_add(tape, TIM_OP_SINUSOID, sinusoid, 1, &t);
    const TimRef hidden = linear_part(tape, features, spec, name, "mlp.0");
    return linear_part(tape, tim_tape_add(tape, TIM_OP_SILU, (TimOpParams){0}, 1, &hidden), spec, name, "mlp.2");
}

TimRef tim_layer_norm(TimTape *tape, TimRef x, float eps, const char *name) {
    const int64_t width = tim_tape_shape(tape, x).cols;
    TimRef in[3] = {x};
    in[1] = vector(tape, TIM_INIT_ONE, width, name, "weight");
    in[2] = vector(tape, TIM_INIT_ZERO, width, name, "bias");
    return tim_tape_add(tape, TIM_OP_LAYER_NORM, (TimOpParams){.layer_norm = {eps}}, 3, in);
}

TimRef tim_rms_norm(TimTape *tape, TimRef x, float eps, float offset, TimDtype out, const char *name) {
    TimRef in[2] = {x};
    in[1] = vector(tape, TIM_INIT_ONE, tim_tape_shape(tape, x).cols, name, "weight");
    return tim_tape_add(tape, TIM_OP_RMS_NORM, (TimOpParams){.rms_norm = {.eps = eps, .offset = offset, .out = out}}, 2, in);
}

TimRef tim_cast(TimTape *tape, TimRef x, TimDtype dtype) {
    if (tim_tape_shape(tape, x).dtype == dtype) return x;
    return tim_tape_add(tape, TIM_OP_CAST, (TimOpParams){.cast = {dtype}}, 1, &x);
}

TimRef tim_add(TimTape *tape, TimRef a, TimRef b, float scale) {
    return tim_tape_add(tape, TIM_OP_ADD, (TimOpParams){.add = {scale}}, 2, (const TimRef[]){a, b});
}

TimRef tim_stream_norm(TimTape *tape, TimStream *stream, TimRef shift, TimRef scale, float eps) {
    const bool residual = stream->h != TIM_NONE, modulate = shift != TIM_NONE;
    TimRef in[5] = {stream->x};
    int n = 1;
    if (residual) in[n++] = stream->h, in[n++] = stream->gate;
    if (modulate) in[n++] = shift, in[n++] = scale;
    const TimOpParams params = {
        .modulate = {.residual = residual, .modulate = modulate, .eps = eps, .out = tim_tape_options(tape)->product}};
    const TimRef y = tim_tape_add(tape, TIM_OP_MODULATE, params, n, in);
    if (residual && y != TIM_NONE) *stream = (TimStream){y + 1, TIM_NONE, TIM_NONE};
    return y;
}

/* Appends the weight and bias of a head norm to the inputs; returns their index, or -1 without qk_norm. */
static int add_norm(TimTape *tape, const TimHeads *heads, int64_t width, const char *prefix, const char *part, TimRef *in, int *n) {
    if (!heads->qk_norm) return -1;
    char name[TIM_NAME_BYTES];
    tim_name(tape, name, "%s.%s", prefix, part);
    in[(*n)++] = vector(tape, TIM_INIT_ONE, width, name, "weight");
    in[(*n)++] = vector(tape, TIM_INIT_ZERO, width, name, "bias");
    return *n - 2;
}

static TimRef attention(TimTape *tape, TimRef q, TimRef k, TimRef v, int heads) {
    return tim_tape_add(tape, TIM_OP_ATTENTION, (TimOpParams){.attention = {heads}}, 3, (const TimRef[]){q, k, v});
}

static TimHeadNormParams head_params(const TimHeads *heads, int slots) {
    return (TimHeadNormParams){.heads = heads->heads,
                               .slots = slots,
                               .norm = {-1, -1, -1},
                               .has_shift = heads->shift != TIM_NONE,
                               .eps = 1e-5F,
                               .cos = heads->cos,
                               .sin = heads->sin};
}

TimRef tim_self_attention(TimTape *tape, TimRef qkv, const TimHeads *heads, const char *name) {
    const int64_t d = tim_tape_shape(tape, qkv).cols / 3;
    TimHeadNormParams p = head_params(heads, 3);
    TimRef in[TIM_OP_MAX_IN] = {qkv};
    int n = 1;
    if (p.has_shift) in[n++] = heads->shift;
    p.norm[0] = add_norm(tape, heads, d / heads->heads, name, "q_norm", in, &n);
    p.norm[1] = add_norm(tape, heads, d / heads->heads, name, "k_norm", in, &n);
    p.rope[0] = p.rope[1] = heads->cos != NULL;
    const TimRef packed = tim_tape_add(tape, TIM_OP_HEAD_NORM, (TimOpParams){.head_norm = p}, n, in);
    return attention(tape, tim_tape_columns(tape, packed, 0, d), tim_tape_columns(tape, packed, d, d),
                     tim_tape_columns(tape, packed, 2 * d, d), heads->heads);
}

TimRef tim_cross_keys(TimTape *tape, TimRef kv, const TimHeads *heads, const char *name) {
    TimHeadNormParams p = head_params(heads, 2);
    TimRef in[TIM_OP_MAX_IN] = {kv};
    int n = 1;
    p.norm[0] = add_norm(tape, heads, tim_tape_shape(tape, kv).cols / 2 / heads->heads, name, "k_norm", in, &n);
    return tim_tape_add(tape, TIM_OP_HEAD_NORM, (TimOpParams){.head_norm = p}, n, in);
}

TimRef tim_cross_attention(TimTape *tape, TimRef q, TimRef keys, const TimHeads *heads, const char *name) {
    const int64_t d = tim_tape_shape(tape, q).cols;
    TimHeadNormParams p = head_params(heads, 1);
    TimRef in[TIM_OP_MAX_IN] = {q};
    int n = 1;
    p.norm[0] = add_norm(tape, heads, d / heads->heads, name, "q_norm", in, &n);
    p.rope[0] = heads->cos != NULL;
    const TimRef queries = tim_tape_add(tape, TIM_OP_HEAD_NORM, (TimOpParams){.head_norm = p}, n, in);
    return attention(tape, queries, tim_tape_columns(tape, keys, 0, d), tim_tape_columns(tape, keys, d, d), heads->heads);
}
