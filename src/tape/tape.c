#include "tape/tape.h"

#include <stdarg.h>
#include <string.h>

#include "base/clock.h"
#include "base/memory.h"
#include "tape/layout.h"

typedef enum Kind { INPUT, PARAM, OUTPUT, SAVE, COLUMNS } Kind;

typedef struct Value {
    Kind kind;
    TimMatrix m, g, t;    /* shapes while recording; g and t have rows only where they exist; data after planning */
    int param;            /* PARAM: its index */
    TimRef base;          /* COLUMNS: whose */
    int64_t first_column; /* COLUMNS */
    int node;             /* OUTPUT, SAVE: which op makes it */
    bool wants_cotangent; /* depends on a parameter */
    bool has_tangent;
    bool kept, seeded;
    bool reached;                   /* backward arrives here */
    bool written;                   /* planning: some vjp has written the cotangent already */
    int64_t covered;                /* planning: columns that reached views cover */
    int last_use, last_tangent_use; /* times */
    int first_cotangent;            /* time of the first write */
    int block, g_block, t_block;    /* index into blocks, or -1 */
} Value;

typedef struct Step {
    TimNode node;
    TimOpKind kind;
    TimRef in[TIM_OP_MAX_IN], out[TIM_OP_MAX_OUT], save[TIM_OP_MAX_SAVE];
    bool backward; /* its vjp runs */
} Step;

struct TimTape {
    TimTapeOptions options;
    TimParams *params;
    Value *values;
    size_t value_count, value_capacity;
    Step *steps;
    size_t step_count, step_capacity;
    TimBlock *blocks;
    size_t block_count, block_capacity;
    void *memory, *work;
    size_t bytes, work_bytes;
    TimStatus status;
    TimError error;
    TimTapeTimes *times;
};

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

static TimRef add_value(TimTape *tape, Value value) {
    if (tape->status != TIM_OK) return TIM_NONE;
    tape->status =
        tim_grow(&tape->values, &tape->value_capacity, tape->value_count, sizeof value, "the tape's values", &tape->error);
    if (tape->status != TIM_OK) return TIM_NONE;
    value.block = value.g_block = value.t_block = -1;
    tape->values[tape->value_count] = value;
    return (TimRef)tape->value_count++;
}

static Value *get(const TimTape *tape, TimRef ref) {
    return ref < 0 ? NULL : &tape->values[ref];
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
    Value value = {.kind = INPUT, .m = shaped(dtype, rows, cols), .has_tangent = has_tangent, .kept = true};
    if (has_tangent) value.t = shaped(dtype, tangent_rows(tape, rows), cols);
    return add_value(tape, value);
}

TimRef tim_tape_param(TimTape *tape, TimDtype dtype, TimInit init, int rank, const int64_t *dims, const char *name) {
    int index;
    if (tape->status == TIM_OK) tape->status = tim_params_add(tape->params, name, rank, dims, init, &index, &tape->error);
    if (tape->status != TIM_OK) return TIM_NONE;
    const TimParam *param = &tape->params->items[index];
    return add_value(tape, (Value){.kind = PARAM,
                                   .m = shaped(dtype, param->rows, param->cols),
                                   .param = index,
                                   .wants_cotangent = tape->options.gradients});
}

TimRef tim_tape_columns(TimTape *tape, TimRef ref, int64_t first, int64_t count) {
    const Value *base = get(tape, ref);
    if (tape->status != TIM_OK || !base) return TIM_NONE;
    if (first < 0 || count <= 0 || first + count > base->m.cols || base->kind == COLUMNS || base->kind == PARAM) {
        tim_tape_fail(tape, TIM_E_INTERNAL, "columns %lld to %lld of a value with %lld", (long long)first,
                      (long long)(first + count), (long long)base->m.cols);
        return TIM_NONE;
    }
    Value view = {.kind = COLUMNS,
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
    Value *value = get(tape, ref);
    if (!value) return;
    value->kept = true;
    value->seeded = seeded && value->wants_cotangent;
}

TimMatrix tim_tape_shape(const TimTape *tape, TimRef ref) {
    const Value *value = get(tape, ref);
    return value ? value->m : (TimMatrix){0};
}

static TimStatus infer(TimTape *tape, Step *step, TimError *err) {
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

/* Makes the values that the op's infer has stated. */
static void add_results(TimTape *tape, Step *step) {
    const TimNode *node = &step->node;
    bool wants = false, tangent = false;
    for (int i = 0; i < node->n_in; i++) {
        wants |= tape->values[step->in[i]].wants_cotangent;
        tangent |= tape->values[step->in[i]].has_tangent;
    }
    refuse_missing_passes(tape, node, wants, tangent);
    for (int i = 0; i < node->n_out; i++) {
        Value value = {
            .kind = OUTPUT, .m = node->out[i], .node = (int)tape->step_count, .wants_cotangent = wants, .has_tangent = tangent};
        if (tangent) value.t = shaped(value.m.dtype, tangent_rows(tape, value.m.rows), value.m.cols);
        step->out[i] = add_value(tape, value);
    }
    for (int i = 0; i < node->n_save; i++)
        step->save[i] = add_value(tape, (Value){.kind = SAVE, .m = node->save[i], .node = (int)tape->step_count});
}

TimRef tim_tape_add(TimTape *tape, TimOpKind kind, TimOpParams params, int n_in, const TimRef *in) {
    Step step = {.kind = kind, .node = {.params = params, .n_in = n_in}};
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

/* ---- planning: who needs what ---- */

/* Times: forward of op i at i; the caller's losses at n; backward of op i at 2n - i; everything is over at 2n + 1. */
static int forward_time(int step) {
    return step;
}

static int loss_time(const TimTape *tape) {
    return (int)tape->step_count;
}

static int backward_time(const TimTape *tape, int step) {
    return 2 * (int)tape->step_count - step;
}

static int end_time(const TimTape *tape) {
    return 2 * (int)tape->step_count + 1;
}

/* The value that owns the memory of `ref`. */
static Value *owner(const TimTape *tape, TimRef ref) {
    Value *value = get(tape, ref);
    return value->kind == COLUMNS ? get(tape, value->base) : value;
}

static void mark_reached(TimTape *tape, TimRef ref, int time) {
    Value *value = get(tape, ref), *base = owner(tape, ref);
    if (value->kind == COLUMNS && !value->reached) base->covered += value->m.cols;
    value->reached = true;
    base->reached = true;
    if (!base->first_cotangent) base->first_cotangent = time;
}

/* Backward order: which vjps run, and whether each overwrites or adds. */
static void trace_backward(TimTape *tape) {
    for (size_t i = 0; i < tape->value_count; i++)
        if (tape->values[i].seeded) {
            mark_reached(tape, (TimRef)i, loss_time(tape));
            tape->values[i].written = true;
        }
    for (int s = (int)tape->step_count - 1; s >= 0; s--) {
        Step *step = &tape->steps[s];
        for (int i = 0; i < step->node.n_out; i++) step->backward |= get(tape, step->out[i])->reached;
        for (int i = 0; step->backward && i < step->node.n_in; i++) {
            Value *value = get(tape, step->in[i]);
            if (!value->wants_cotangent) continue;
            step->node.add_in[i] = value->written || value->kind == PARAM;
            mark_reached(tape, step->in[i], backward_time(tape, s));
            value->written = true;
        }
    }
}

static TimStatus check_views(const TimTape *tape, TimError *err) {
    for (size_t i = 0; i < tape->value_count; i++) {
        const Value *value = &tape->values[i];
        if (!value->covered) continue;
        if (value->written)
            return tim_fail(err, TIM_E_INTERNAL, "a value is used whole and by columns: backward cannot tell who writes first");
        if (value->covered != value->m.cols)
            return tim_fail(err, TIM_E_INTERNAL, "%lld of %lld columns get a cotangent", (long long)value->covered,
                            (long long)value->m.cols);
    }
    return TIM_OK;
}

static void use(Value *value, int time) {
    if (time > value->last_use) value->last_use = time;
}

static void trace_uses(TimTape *tape) {
    for (int s = 0; s < (int)tape->step_count; s++) {
        const Step *step = &tape->steps[s];
        for (int i = 0; i < step->node.n_in; i++) {
            Value *value = owner(tape, step->in[i]);
            use(value, forward_time(s));
            value->last_tangent_use = forward_time(s);
            if (step->backward && step->node.vjp_reads_in & 1U << i) use(value, backward_time(tape, s));
        }
        for (int i = 0; i < step->node.n_out; i++) {
            Value *value = owner(tape, step->out[i]);
            use(value, forward_time(s));
            if (value->last_tangent_use < forward_time(s)) value->last_tangent_use = forward_time(s);
            if (step->backward && step->node.vjp_reads_out & 1U << i) use(value, backward_time(tape, s));
        }
        for (int i = 0; i < step->node.n_save; i++)
            use(get(tape, step->save[i]), step->backward ? backward_time(tape, s) : forward_time(s));
    }
    for (size_t i = 0; i < tape->value_count; i++) {
        Value *value = owner(tape, (TimRef)i);
        if (!tape->values[i].kept) continue;
        use(value, loss_time(tape));
        if (value->last_tangent_use < loss_time(tape)) value->last_tangent_use = loss_time(tape);
    }
}

/* ---- planning: memory ---- */

static TimStatus add_block(TimTape *tape, const TimMatrix *m, int born, int dies, int *index, TimError *err) {
    size_t bytes;
    if (!tim_mul_size((size_t)m->rows, (size_t)m->cols, &bytes) || !tim_mul_size(bytes, tim_dtype_size(m->dtype), &bytes))
        return tim_fail(err, TIM_E_MEMORY, "a value of (%lld, %lld) does not fit into memory", (long long)m->rows,
                        (long long)m->cols);
    TIM_TRY(tim_grow(&tape->blocks, &tape->block_capacity, tape->block_count, sizeof *tape->blocks, "the tape's blocks", err));
    *index = (int)tape->block_count;
    tape->blocks[tape->block_count++] = (TimBlock){.bytes = bytes, .born = born, .dies = dies};
    return TIM_OK;
}

static TimStatus add_blocks(TimTape *tape, TimError *err) {
    for (size_t i = 0; i < tape->value_count; i++) {
        Value *value = &tape->values[i];
        if (value->kind == PARAM || value->kind == COLUMNS) continue;
        const bool input = value->kind == INPUT;
        const int born = input ? 0 : forward_time(value->node), end = end_time(tape);
        TIM_TRY(add_block(tape, &value->m, born, input ? end : value->last_use, &value->block, err));
        if (value->has_tangent)
            TIM_TRY(add_block(tape, &value->t, born, input ? end : value->last_tangent_use, &value->t_block, err));
        if (value->reached && !input)
            TIM_TRY(add_block(tape, &value->m, value->first_cotangent, backward_time(tape, value->node), &value->g_block, err));
    }
    return TIM_OK;
}

static void *block_data(const TimTape *tape, int block) {
    return block < 0 ? NULL : (char *)tape->memory + tape->blocks[block].offset;
}

static void place_values(TimTape *tape) {
    for (size_t i = 0; i < tape->value_count; i++) {
        Value *value = &tape->values[i];
        if (value->kind == PARAM) continue;
        const Value *base = owner(tape, (TimRef)i);
        TimMatrix g = base->m;
        value->m.data = block_data(tape, base->block);
        value->t.data = block_data(tape, base->t_block);
        g.data = block_data(tape, base->g_block);
        value->g = g.data ? g : (TimMatrix){0};
        if (value->kind != COLUMNS) continue;
        value->m = tim_matrix_columns(value->m, value->first_column, value->m.cols);
        value->t = tim_matrix_columns(value->t, value->first_column, value->t.cols);
        value->g = value->reached ? tim_matrix_columns(value->g, value->first_column, value->m.cols) : (TimMatrix){0};
    }
}

/* ---- planning: ops ---- */

/* Shapes of the cotangents and tangents, without data, so that prepare knows which passes run. */
static void shape_values(TimTape *tape) {
    for (size_t i = 0; i < tape->value_count; i++) {
        Value *value = &tape->values[i];
        if (!value->reached) continue;
        value->g = value->m;
        if (value->kind == PARAM) value->g.dtype = TIM_F32;
    }
}

static void resolve(TimTape *tape, Step *step) {
    TimNode *node = &step->node;
    for (int i = 0; i < node->n_in; i++) {
        const Value *value = get(tape, step->in[i]);
        node->in[i] = value->m, node->t_in[i] = value->t;
        node->g_in[i] = step->backward ? value->g : (TimMatrix){0};
    }
    for (int i = 0; i < node->n_out; i++) {
        const Value *value = get(tape, step->out[i]);
        node->out[i] = value->m, node->t_out[i] = value->t, node->g_out[i] = value->g;
    }
    for (int i = 0; i < node->n_save; i++) node->save[i] = get(tape, step->save[i])->m;
    node->work = tape->work;
}

static TimStatus prepare_ops(TimTape *tape, TimError *err) {
    for (size_t s = 0; s < tape->step_count; s++) {
        Step *step = &tape->steps[s];
        resolve(tape, step);
        if (step->node.op->prepare) TIM_TRY(step->node.op->prepare(&step->node, err));
        if (step->node.work_bytes > tape->work_bytes) tape->work_bytes = step->node.work_bytes;
    }
    return TIM_OK;
}

TimStatus tim_tape_plan(TimTape *tape, TimError *err) {
    if (tape->status != TIM_OK) {
        if (err) *err = tape->error;
        return tape->status;
    }
    trace_backward(tape);
    TIM_TRY(check_views(tape, err));
    trace_uses(tape);
    shape_values(tape);
    TIM_TRY(prepare_ops(tape, err));
    TIM_TRY(add_blocks(tape, err));
    TIM_TRY(tim_layout(tape->blocks, tape->block_count, &tape->bytes, err));
    if (tape->options.dry) return TIM_OK;
    TIM_TRY(tim_new(&tape->memory, tape->bytes, 1, "the tape", err));
    TIM_TRY(tim_new(&tape->work, tape->work_bytes, 1, "the tape's workspace", err));
    place_values(tape);
    return TIM_OK;
}

size_t tim_tape_bytes(const TimTape *tape) {
    return tape->bytes + tape->work_bytes;
}

size_t tim_tape_bytes_unshared(const TimTape *tape) {
    size_t sum = tape->work_bytes;
    for (size_t i = 0; i < tape->block_count; i++) sum += tape->blocks[i].bytes;
    return sum;
}

/* ---- running ---- */

TimStatus tim_tape_bind(TimTape *tape, const TimWeights *weights, float *gradients, TimError *err) {
    for (size_t i = 0; i < tape->value_count; i++) {
        Value *value = &tape->values[i];
        if (value->kind != PARAM) continue;
        const TimParam *param = &tape->params->items[value->param];
        const void *data =
            value->m.dtype == TIM_F32 ? (const void *)weights->f32[value->param] : (const void *)weights->bf16[value->param];
        if (!data)
            return tim_fail(err, TIM_E_ARGUMENT, "parameter %s has no %s values", param->name, tim_dtype_name(value->m.dtype));
        memcpy(&value->m.data, &data, sizeof data); /* read only: no op writes to a parameter */
        value->g.data = value->reached && gradients ? gradients + param->offset : NULL;
    }
    for (size_t s = 0; s < tape->step_count; s++) resolve(tape, &tape->steps[s]);
    return TIM_OK;
}

static void run(const TimTape *tape, const Step *step, void (*pass)(const TimNode *), double *sums) {
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
        const Step *step = &tape->steps[s];
        run(tape, step, step->node.op->forward, tape->times ? tape->times->forward : NULL);
        if (tangents && step->node.t_out[0].data) run(tape, step, step->node.op->jvp, tape->times ? tape->times->jvp : NULL);
    }
}

void tim_tape_forward_to(TimTape *tape, TimRef value) {
    const Value *wanted = get(tape, value);
    for (int s = 0; wanted && wanted->kind == OUTPUT && s <= wanted->node; s++)
        run(tape, &tape->steps[s], tape->steps[s].node.op->forward, tape->times ? tape->times->forward : NULL);
}

void tim_tape_backward(TimTape *tape) {
    for (size_t s = tape->step_count; s-- > 0;) {
        const Step *step = &tape->steps[s];
        if (step->backward) run(tape, step, step->node.op->vjp, tape->times ? tape->times->vjp : NULL);
    }
}

TimMatrix tim_tape_value(const TimTape *tape, TimRef ref) {
    return tim_tape_shape(tape, ref);
}

TimMatrix tim_tape_cotangent(const TimTape *tape, TimRef ref) {
    const Value *value = get(tape, ref);
    return value ? value->g : (TimMatrix){0};
}

TimMatrix tim_tape_tangent(const TimTape *tape, TimRef ref) {
    const Value *value = get(tape, ref);
    return value ? value->t : (TimMatrix){0};
}
