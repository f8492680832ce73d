/* Planning a tape: which vjps run and whether each overwrites or adds, how long each value lives, where it lies, and what each op
 * prepares. */
#include "base/memory.h"
#include "tape/tape_inside.h"

/* ---- who needs what ---- */

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
static TimTapeValue *owner(const TimTape *tape, TimRef ref) {
    TimTapeValue *value = tim_tape_get(tape, ref);
    return value->kind == TIM_VALUE_COLUMNS ? tim_tape_get(tape, value->base) : value;
}

static void mark_reached(TimTape *tape, TimRef ref, int time) {
    TimTapeValue *value = tim_tape_get(tape, ref), *base = owner(tape, ref);
    if (value->kind == TIM_VALUE_COLUMNS && !value->reached) base->covered += value->m.cols;
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
        TimTapeStep *step = &tape->steps[s];
        for (int i = 0; i < step->node.n_out; i++) step->backward |= tim_tape_get(tape, step->out[i])->reached;
        for (int i = 0; step->backward && i < step->node.n_in; i++) {
            TimTapeValue *value = tim_tape_get(tape, step->in[i]);
            if (!value->wants_cotangent) continue;
            step->node.add_in[i] = value->written || value->kind == TIM_VALUE_PARAM;
            mark_reached(tape, step->in[i], backward_time(tape, s));
            value->written = true;
        }
    }
}

/* A view that gets a cotangent; on a tape without gradients none does. */
static bool is_reached_view(const TimTapeValue *value) {
    return value->kind == TIM_VALUE_COLUMNS && value->reached;
}

static bool overlap(const TimTapeValue *a, const TimTapeValue *b) {
    return is_reached_view(b) && a->base == b->base && a->first_column < b->first_column + b->m.cols &&
           b->first_column < a->first_column + a->m.cols;
}

static TimStatus check_overlaps(const TimTape *tape, TimError *err) {
    for (size_t i = 0; i < tape->value_count; i++) {
        if (!is_reached_view(&tape->values[i])) continue;
        for (size_t j = i + 1; j < tape->value_count; j++)
            if (overlap(&tape->values[i], &tape->values[j]))
                return tim_fail(err, TIM_E_INTERNAL, "two views of a value share columns: backward cannot tell who writes first");
    }
    return TIM_OK;
}

static TimStatus check_views(const TimTape *tape, TimError *err) {
    TIM_TRY(check_overlaps(tape, err));
    for (size_t i = 0; i < tape->value_count; i++) {
        const TimTapeValue *value = &tape->values[i];
        if (!value->covered) continue;
        if (value->written)
            return tim_fail(err, TIM_E_INTERNAL, "a value is used whole and by columns: backward cannot tell who writes first");
        if (value->covered != value->m.cols)
            return tim_fail(err, TIM_E_INTERNAL, "%lld of %lld columns get a cotangent", (long long)value->covered,
                            (long long)value->m.cols);
    }
    return TIM_OK;
}

static void use(TimTapeValue *value, int time) {
    if (time > value->last_use) value->last_use = time;
}

static void trace_uses(TimTape *tape) {
    for (int s = 0; s < (int)tape->step_count; s++) {
        const TimTapeStep *step = &tape->steps[s];
        for (int i = 0; i < step->node.n_in; i++) {
            TimTapeValue *value = owner(tape, step->in[i]);
            use(value, forward_time(s));
            value->last_tangent_use = forward_time(s);
            if (step->backward && step->node.vjp_reads_in & 1U << i) use(value, backward_time(tape, s));
        }
        for (int i = 0; i < step->node.n_out; i++) {
            TimTapeValue *value = owner(tape, step->out[i]);
            use(value, forward_time(s));
            if (value->last_tangent_use < forward_time(s)) value->last_tangent_use = forward_time(s);
            if (step->backward && step->node.vjp_reads_out & 1U << i) use(value, backward_time(tape, s));
        }
        for (int i = 0; i < step->node.n_save; i++)
            use(tim_tape_get(tape, step->save[i]), step->backward ? backward_time(tape, s) : forward_time(s));
    }
    for (size_t i = 0; i < tape->value_count; i++) {
        TimTapeValue *value = owner(tape, (TimRef)i);
        if (!tape->values[i].kept) continue;
        use(value, loss_time(tape));
        if (value->last_tangent_use < loss_time(tape)) value->last_tangent_use = loss_time(tape);
    }
}

/* ---- memory ---- */

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
        TimTapeValue *value = &tape->values[i];
        if (value->kind == TIM_VALUE_PARAM || value->kind == TIM_VALUE_COLUMNS) continue;
        const bool input = value->kind == TIM_VALUE_INPUT;
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
        TimTapeValue *value = &tape->values[i];
        if (value->kind == TIM_VALUE_PARAM) continue;
        const TimTapeValue *base = owner(tape, (TimRef)i);
        TimMatrix g = base->m;
        value->m.data = block_data(tape, base->block);
        value->t.data = block_data(tape, base->t_block);
        g.data = block_data(tape, base->g_block);
        value->g = g.data ? g : (TimMatrix){0};
        if (value->kind != TIM_VALUE_COLUMNS) continue;
        value->m = tim_matrix_columns(value->m, value->first_column, value->m.cols);
        value->t = tim_matrix_columns(value->t, value->first_column, value->t.cols);
        value->g = value->reached ? tim_matrix_columns(value->g, value->first_column, value->m.cols) : (TimMatrix){0};
    }
}

/* ---- ops ---- */

/* Shapes of the cotangents and tangents, without data, so that prepare knows which passes run. */
static void shape_values(TimTape *tape) {
    for (size_t i = 0; i < tape->value_count; i++) {
        TimTapeValue *value = &tape->values[i];
        if (!value->reached) continue;
        value->g = value->m;
        if (value->kind == TIM_VALUE_PARAM) value->g.dtype = TIM_F32;
    }
}

void tim_tape_resolve(TimTape *tape, TimTapeStep *step) {
    TimNode *node = &step->node;
    for (int i = 0; i < node->n_in; i++) {
        const TimTapeValue *value = tim_tape_get(tape, step->in[i]);
        node->in[i] = value->m, node->t_in[i] = value->t;
        node->g_in[i] = step->backward ? value->g : (TimMatrix){0};
    }
    for (int i = 0; i < node->n_out; i++) {
        const TimTapeValue *value = tim_tape_get(tape, step->out[i]);
        node->out[i] = value->m, node->t_out[i] = value->t, node->g_out[i] = value->g;
    }
    for (int i = 0; i < node->n_save; i++) node->save[i] = tim_tape_get(tape, step->save[i])->m;
    node->work = tape->work;
}

static TimStatus prepare_ops(TimTape *tape, TimError *err) {
    for (size_t s = 0; s < tape->step_count; s++) {
        TimTapeStep *step = &tape->steps[s];
        tim_tape_resolve(tape, step);
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
