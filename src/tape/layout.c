#include "tape/layout.h"

#include <stdlib.h>

#include "base/memory.h"

static int by_birth(const void *a, const void *b) {
    const TimBlock *x = *(TimBlock *const *)a, *y = *(TimBlock *const *)b;
    if (x->born != y->born) return x->born < y->born ? -1 : 1;
    if (x->bytes != y->bytes) return x->bytes > y->bytes ? -1 : 1;
    return x < y ? -1 : 1;
}

/* The lowest gap between the live blocks (sorted by offset) that holds `bytes`; *at is the place in the list. */
static size_t find_gap(TimBlock *const *live, size_t count, size_t bytes, size_t *at) {
    size_t start = 0;
    for (*at = 0; *at < count; (*at)++) {
        if (live[*at]->offset >= start && live[*at]->offset - start >= bytes) break;
        const size_t end = live[*at]->offset + live[*at]->bytes;
        if (end > start) start = end;
    }
    return start;
}

static size_t drop_dead(TimBlock **live, size_t count, int now) {
    size_t kept = 0;
    for (size_t i = 0; i < count; i++)
        if (live[i]->dies >= now) live[kept++] = live[i];
    return kept;
}

static TimStatus place_all(TimBlock **order, TimBlock **live, size_t count, size_t *total, TimError *err) {
    size_t alive = 0;
    for (size_t i = 0; i < count; i++) {
        TimBlock *block = order[i];
        size_t padded, at, end;
        if (!tim_add_size(block->bytes, TIM_ALIGNMENT - 1, &padded))
            return tim_fail(err, TIM_E_MEMORY, "a block of %zu bytes does not fit", block->bytes);
        block->bytes = padded - padded % TIM_ALIGNMENT;
        alive = drop_dead(live, alive, block->born);
        block->offset = find_gap(live, alive, block->bytes, &at);
        if (!tim_add_size(block->offset, block->bytes, &end))
            return tim_fail(err, TIM_E_MEMORY, "the tape does not fit into memory");
        if (end > *total) *total = end;
        for (size_t j = alive++; j > at; j--) live[j] = live[j - 1];
        live[at] = block;
    }
    return TIM_OK;
}

TimStatus tim_layout(TimBlock *blocks, size_t count, size_t *total, TimError *err) {
    TimBlock **order;
    *total = 0;
    TIM_TRY(tim_new(&order, 2 * count, sizeof *order, "the layout's lists", err));
    for (size_t i = 0; i < count; i++) order[i] = &blocks[i];
    qsort(order, count, sizeof *order, by_birth);
    const TimStatus status = place_all(order, order + count, count, total, err);
    tim_free(order);
    return status;
}
