/* The assignment problem: every row gets a column of its own such that the sum of the chosen entries is greatest.
 * Shortest augmenting paths with prices (Kuhn's Hungarian method as in Jonker and Volgenant, Computing 38, 1987): exact, O(n^3). */
#ifndef TIM_TRAIN_ASSIGNMENT_H
#define TIM_TRAIN_ASSIGNMENT_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/* Room for problems of up to `size` rows, as tim_assignment_init was told. */
typedef struct TimAssignment {
    double *row_price, *col_price, *distance; /* (size + 1) */
    size_t *row_of, *before;                  /* (size + 1) */
    uint8_t *reached;                         /* (size + 1) */
} TimAssignment;

/* Makes the room; tim_assignment_done also after a failure. */
TimStatus tim_assignment_init(TimAssignment *work, size_t size, TimError *err);

void tim_assignment_done(TimAssignment *work);

/* column[i] = the column of row i of gain (n, n), whose rows lie `stride` apart, entries finite; n at most what
 * `work` was made for. Of equal sums the same one each time. */
void tim_assign(TimAssignment *work, const float *gain, size_t n, size_t stride, uint32_t *column);

#endif
