/* Inside a tape: what recording writes (tape.c), planning completes (tape_plan.c) and running reads (tape.c).
 * Invariant: once planned, no array grows and nothing moves; binding changes where the parameters point, and nothing else. */
#ifndef TIM_TAPE_TAPE_INSIDE_H
#define TIM_TAPE_TAPE_INSIDE_H

#include "tape/layout.h"
#include "tape/tape.h"

typedef enum TimValueKind { TIM_VALUE_INPUT, TIM_VALUE_PARAM, TIM_VALUE_OUTPUT, TIM_VALUE_SAVE, TIM_VALUE_COLUMNS } TimValueKind;

typedef struct TimTapeValue {
    TimValueKind kind;
    TimMatrix m, g, t;    /* shapes while recording; g and t have rows only where they exist; data after planning */
    int param;            /* TIM_VALUE_PARAM: its index */
    TimRef base;          /* TIM_VALUE_COLUMNS: whose */
    int64_t first_column; /* TIM_VALUE_COLUMNS */
    int node;             /* TIM_VALUE_OUTPUT, TIM_VALUE_SAVE: which op makes it */
    bool wants_cotangent; /* depends on a parameter */
    bool has_tangent;
    bool kept, seeded;
    bool reached;                   /* backward arrives here */
    bool written;                   /* planning: some vjp has written the cotangent already */
    int64_t covered;                /* planning: columns that reached views cover */
    int last_use, last_tangent_use; /* times */
    int first_cotangent;            /* time of the first write */
    int block, g_block, t_block;    /* index into blocks, or -1 */
} TimTapeValue;

typedef struct TimTapeStep {
    TimNode node;
    TimOpKind kind;
    TimRef in[TIM_OP_MAX_IN], out[TIM_OP_MAX_OUT], save[TIM_OP_MAX_SAVE];
    bool backward; /* its vjp runs */
} TimTapeStep;

struct TimTape {
    TimTapeOptions options;
    TimParams *params;
    TimTapeValue *values;
    size_t value_count, value_capacity;
    TimTapeStep *steps;
    size_t step_count, step_capacity;
    TimBlock *blocks;
    size_t block_count, block_capacity;
    void *memory, *work;
    size_t bytes, work_bytes;
    TimStatus status;
    TimError error;
    TimTapeTimes *times;
};

static inline TimTapeValue *tim_tape_get(const TimTape *tape, TimRef ref) {
    return ref < 0 ? NULL : &tape->values[ref];
}

/* The step's node = its values as they are now: shapes while planning, data once they have places. */
void tim_tape_resolve(TimTape *tape, TimTapeStep *step);

#endif
