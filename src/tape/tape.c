#include "tape/tape.h"

#include <stdarg.h>
#include <string.h>

#include "base/clock.h"
#include "base/memory.h"
#include "op/matmul.h"
#include "tape/tape_inside.h"

/* ---- recording ---- */

TimStatus tim_tape_new(TimTape **out, const TimTapeOptions *options, TimParams *params, TimError *err) {
    *out = NULL;
    if (options->samples <= 0 || options->tangent_samples < 0 || options->tangent_samples > options->samples ||
        options->threads <= 0)
        return tim_fail(err, TIM_E_ARGUMENT,
                        "a tape wants samples > 0, 0 <= tangent samples <= samples and threads > 0, not %lld, %lld, %d",
                        (long long)options->samples, (long long)options->tangent_samples, options->threads);
    if (!tim_isa_available(options->isa))
        return tim_fail(err, TIM_E_UNSUPPORTED, "this processor lacks the instruction set %s", tim_isa_name(options->isa));
    TIM_TRY(tim_new(out, 1, sizeof **out, "a tape", err));
    (*out)->options = *options;
    (*out)->params = params;
    return TIM_OK;
}

void tim_tape_free(TimTape *tape) {
    if (!tape) return;
    for (size_t i = 0; i < tape->step_count; i++)
        if (tape->steps[i].node.op->release) tape->steps[i].node.op->release(&tape->steps[i].node);
    tim_free(tape->values);
    tim_free(tape->steps);
    tim_free(tape->blocks);
    tim_free(tape->memory);
    tim_free(tape->work);
    if (tape->options.dry) tim_matmul_forget(); /* many are made to count their bytes alone */
    tim_free(tape);
}

const TimTapeOptions *tim_tape_options(const TimTape *tape) {
    return &tape->options;
}

void tim_tape_fail(TimTape *tape, TimStatus status, const char *format, ...) {
    if (tape->status != TIM_OK) return;
    va_list args;
    va_start(args, format);
    tape->status = tim_fail_with(&tape->error, status, format, args);
    va_end(args);
}

static TimRef add_value(TimTape *tape, TimTapeValue value) {
    if (tape->status != TIM_OK) return TIM_NONE;
    tape->status =
        tim_grow(&tape->values, &tape->value_capacity, tape->value_count, sizeof value, "the tape's values", &tape->error);
    if (tape->status != TIM_OK) return TIM_NONE;
    value.block = value.g_block = value.t_block = -1;
    tape->values[tape->value_count] = value;
    return (TimRef)tape->value_count++;
}

/* Rows of the tangent of a value with `rows` rows. */
static int64_t tangent_rows(const TimTape *tape, int64_t rows) {
    return rows / tape->options.samples * tape->options.tangent_samples;
}

static TimMatrix shaped(TimDtype dtype, int64_t rows, int64_t cols) {
    return (TimMatrix){.rows = rows, .cols = cols, .stride = cols, .dtype = dtype};
}

TimRef tim_tape_input(TimTape *tape, TimDtype dtype, int64_t rows, int64_t cols, bool tangent) {
    const bool has_tangent = tangent && tape->options.tangent_samples > 0;
    TimTapeValue value = {.kind = TIM_VALUE_INPUT, .m = shaped(dtype, rows, cols), .has_tangent = has_tangent, .kept = true};
    if (has_tangent) value.t = shaped(dtype, tangent_rows(tape, rows), cols);
    return add_value(tape, value);
}

TimRef tim_tape_param(TimTape *tape, TimDtype dtype, TimInit init, int rank, const int64_t *dims, const char *name) {
    int index;
    if (tape->status == TIM_OK) tape->status = tim_params_add(tape->params, name, rank, dims, init, &index, &tape->error);
    if (tape->status != TIM_OK) return TIM_NONE;
    const TimParam *param = &tape->params->items[index];
    return add_value(tape, (TimTapeValue){.kind = TIM_VALUE_PARAM,
                                          .m = shaped(dtype, param->rows, param->cols),
                                          .param = index,
                                          .wants_cotangent = tape->options.gradients});
}

TimRef tim_tape_columns(TimTape *tape, TimRef ref, int64_t first, int64_t count) {
    const TimTapeValue *base = tim_tape_get(tape, ref);
    if (tape->status != TIM_OK || !base) return TIM_NONE;
    if (first < 0 || count <= 0 || first + count > base->m.cols || base->kind == TIM_VALUE_COLUMNS ||
        base->kind == TIM_VALUE_PARAM) {
        tim_tape_fail(tape, TIM_E_INTERNAL, "columns %lld to %lld of a value with %lld", (long long)first,
                      (long long)(first + count), (long long)base->m.cols);
        return TIM_NONE;
    }
    TimTapeValue view = {.kind = TIM_VALUE_COLUMNS,
                         .m = base->m,
                         .t = base->t,
                         .base = ref,
                         .first_column = first,
                         .wants_cotangent = base->wants_cotangent,
                         .has_tangent = base->has_tangent};
    view.m.cols = count;
    view.t.cols = base->has_tangent ? count : 0;
    return add_value(tape, view);
}

void tim_tape_keep(TimTape *tape, TimRef ref, bool seeded) {
    TimTapeValue *value = tim_tape_get(tape, ref);
    if (!value) return;
    value->kept = true;
    value->seeded = seeded && value->wants_cotangent;
}

TimMatrix tim_tape_shape(const TimTape *tape, TimRef ref) {
    const TimTapeValue *value = tim_tape_get(tape, ref);
    return value ? value->m : (TimMatrix){0};
}

static TimStatus infer(TimTape *tape, TimTapeStep *step, TimError *err) {
    TimNode *node = &step->node;
    node->op = tim_op_get(step->kind, tape->options.isa);
    node->isa = tape->options.isa;
    node->threads = tape->options.threads;
    node->samples = tape->options.samples;
    node->tangent_samples = tape->options.tangent_samples;
    for (int i = 0; i < node->n_in; i++) node->in[i] = tape->values[step->in[i]].m;
    return node->op->infer(node, err);
}

/* Ops of frozen networks come without derivatives. */
static void refuse_missing_passes(TimTape *tape, const TimNode *node, bool wants_cotangent, bool has_tangent) {
    if (has_tangent && !node->op->jvp)
        tim_tape_fail(tape, TIM_E_INTERNAL, "op %s has no jvp; record it on inputs without tangents", node->op->name);
    if (wants_cotangent && !node->op->vjp)
        tim_tape_fail(tape, TIM_E_INTERNAL, "op %s has no vjp; record its network on a tape without gradients", node->op->name);
}

/* What only a parameter's cotangent allows, and what only different inputs do. */
static void refuse_inputs(TimTape *tape, const TimTapeStep *step) {
    const TimNode *node = &step->node;
    for (int i = 0; i < node->n_in; i++) {
        const TimTapeValue *value = &tape->values[step->in[i]];
        if (!value->wants_cotangent) continue;
        if (node->params_in >> i & 1U && value->kind != TIM_VALUE_PARAM)
            tim_tape_fail(tape, TIM_E_INTERNAL, "input %d of op %s has to be a parameter to get a cotangent", i, node->op->name);
        for (int j = 0; node->distinct_in && j < i; j++)
            if (step->in[j] == step->in[i])
                tim_tape_fail(tape, TIM_E_INTERNAL,
                              "inputs %d and %d of op %s are one value: backward cannot tell who writes first", j, i,
                              node->op->name);
    }
}

/* Makes the values that the op's infer has stated. */
static void add_results(TimTape *tape, TimTapeStep *step) {
    const TimNode *node = &step->node;
    bool wants = false, tangent = false;
    for (int i = 0; i < node->n_in; i++) {
        wants |= tape->values[step->in[i]].wants_cotangent;
        tangent |= tape->values[step->in[i]].has_tangent;
    }
    refuse_missing_passes(tape, node, wants, tangent);
    refuse_inputs(tape, step);
    for (int i = 0; i < node->n_out; i++) {
        TimTapeValue value = {.kind = TIM_VALUE_OUTPUT,
                              .m = node->out[i],
                              .node = (int)tape->step_count,
                              .wants_cotangent = wants,
                              .has_tangent = tangent};
        if (tangent) value.t = shaped(value.m.dtype, tangent_rows(tape, value.m.rows), value.m.cols);
        step->out[i] = add_value(tape, value);
    }
    for (int i = 0; i < node->n_save; i++)
        step->save[i] = add_value(tape, (TimTapeValue){.kind = TIM_VALUE_SAVE, .m = node->save[i], .node = (int)tape->step_count});
}

TimRef tim_tape_add(TimTape *tape, TimOpKind kind, TimOpParams params, int n_in, const TimRef *in) {
    TimTapeStep step = {.kind = kind, .node = {.params = params, .n_in = n_in}};
    if (n_in < 0 || n_in > TIM_OP_MAX_IN) {
        tim_tape_fail(tape, TIM_E_INTERNAL, "op %d of %d values; an op has at most %d", (int)kind, n_in, TIM_OP_MAX_IN);
        return TIM_NONE;
    }
    for (int i = 0; i < n_in; i++) {
        step.in[i] = in[i];
        if (in[i] == TIM_NONE) tim_tape_fail(tape, TIM_E_INTERNAL, "an op of kind %d lacks its input %d", (int)kind, i);
    }
    if (tape->status == TIM_OK) tape->status = infer(tape, &step, &tape->error);
    if (tape->status == TIM_OK) add_results(tape, &step);
    if (tape->status == TIM_OK)
        tape->status = tim_grow(&tape->steps, &tape->step_capacity, tape->step_count, sizeof step, "the tape's ops", &tape->error);
    if (tape->status != TIM_OK) return TIM_NONE;
    tape->steps[tape->step_count++] = step;
    return step.out[0];
}

/* ---- running ---- */

TimStatus tim_tape_bind(TimTape *tape, const TimWeights *weights, float *gradients, TimError *err) {
    for (size_t i = 0; i < tape->value_count; i++) {
        TimTapeValue *value = &tape->values[i];
        if (value->kind != TIM_VALUE_PARAM) continue;
        const TimParam *param = &tape->params->items[value->param];
        const void *data =
            value->m.dtype == TIM_F32 ? (const void *)weights->f32[value->param] : (const void *)weights->bf16[value->param];
        if (!data)
            return tim_fail(err, TIM_E_ARGUMENT, "parameter %s has no %s values", param->name, tim_dtype_name(value->m.dtype));
        memcpy(&value->m.data, &data, sizeof data); /* read only: no op writes to a parameter */
        value->g.data = value->reached && gradients ? gradients + param->offset : NULL;
    }
    for (size_t s = 0; s < tape->step_count; s++) tim_tape_resolve(tape, &tape->steps[s]);
    return TIM_OK;
}

static void run(const TimTape *tape, const TimTapeStep *step, void (*pass)(const TimNode *), double *sums) {
    if (!tape->times) {
        pass(&step->node);
        return;
    }
    const double start = tim_clock();
    pass(&step->node);
    sums[step->kind] += tim_clock() - start;
}

void tim_tape_measure(TimTape *tape, TimTapeTimes *times) {
    tape->times = times;
}

void tim_tape_forward(TimTape *tape, bool tangents) {
    for (size_t s = 0; s < tape->step_count; s++) {
        const TimTapeStep *step = &tape->steps[s];
        run(tape, step, step->node.op->forward, tape->times ? tape->times->forward : NULL);
        if (tangents && step->node.t_out[0].data) run(tape, step, step->node.op->jvp, tape->times ? tape->times->jvp : NULL);
    }
}

void tim_tape_forward_to(TimTape *tape, TimRef value) {
    const TimTapeValue *wanted = tim_tape_get(tape, value);
    for (int s = 0; wanted && wanted->kind == TIM_VALUE_OUTPUT && s <= wanted->node; s++)
        run(tape, &tape->steps[s], tape->steps[s].node.op->forward, tape->times ? tape->times->forward : NULL);
}

void tim_tape_backward(TimTape *tape) {
    for (size_t s = tape->step_count; s-- > 0;) {
        const TimTapeStep *step = &tape->steps[s];
        if (step->backward) run(tape, step, step->node.op->vjp, tape->times ? tape->times->vjp : NULL);
    }
}

TimMatrix tim_tape_value(const TimTape *tape, TimRef ref) {
    return tim_tape_shape(tape, ref);
}

TimMatrix tim_tape_cotangent(const TimTape *tape, TimRef ref) {
    const TimTapeValue *value = tim_tape_get(tape, ref);
    return value ? value->g : (TimMatrix){0};
}

TimMatrix tim_tape_tangent(const TimTape *tape, TimRef ref) {
    const TimTapeValue *value = tim_tape_get(tape, ref);
    return value ? value->t : (TimMatrix){0};
}
