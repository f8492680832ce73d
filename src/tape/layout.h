/* First-fit layout of blocks with lifetimes into one piece of memory. */
#ifndef TIM_TAPE_LAYOUT_H
#define TIM_TAPE_LAYOUT_H

#include <stddef.h>

#include "base/error.h"

typedef struct TimBlock {
    size_t bytes;
    int born, dies; /* the block is in use at times born ... dies, both included */
    size_t offset;  /* result */
} TimBlock;

/* Gives every block an offset so that blocks alive at a common time do not overlap; *total is the end of the last one.
 * Offsets are multiples of TIM_ALIGNMENT. Blocks are placed in order of birth, larger ones first among equals. */
TimStatus tim_layout(TimBlock *blocks, size_t count, size_t *total, TimError *err);

#endif
