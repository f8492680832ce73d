#include "train/assignment.h"

#include <math.h>
#include <string.h>

#include "base/memory.h"

TimStatus tim_assignment_init(TimAssignment *work, size_t size, TimError *err) {
    const char *what = "an assignment";
    TIM_TRY(tim_new(&work->row_price, size + 1, sizeof(double), what, err));
    TIM_TRY(tim_new(&work->col_price, size + 1, sizeof(double), what, err));
    TIM_TRY(tim_new(&work->distance, size + 1, sizeof(double), what, err));
    TIM_TRY(tim_new(&work->row_of, size + 1, sizeof(size_t), what, err));
    TIM_TRY(tim_new(&work->before, size + 1, sizeof(size_t), what, err));
    return tim_new(&work->reached, size + 1, 1, what, err);
}

void tim_assignment_done(TimAssignment *work) {
    tim_free(work->row_price);
    tim_free(work->col_price);
    tim_free(work->distance);
    tim_free(work->row_of);
    tim_free(work->before);
    tim_free(work->reached);
}

/* Shortens the distances over the edges of `row`, which column `from` has, and returns the nearest column that is not reached
 * yet. */
static size_t relax(TimAssignment *w, const float *gain, size_t n, size_t row, size_t from) {
    double nearest = HUGE_VAL;
    size_t next = n;
    for (size_t j = 0; j < n; j++) {
        if (w->reached[j]) continue;
        const double length = -(double)gain[j] - w->row_price[row] - w->col_price[j];
        if (length < w->distance[j]) w->distance[j] = length, w->before[j] = from;
        if (w->distance[j] < nearest) nearest = w->distance[j], next = j;
    }
    return next;
}

/* The prices of what is reached move by the step to the next column, so that its edge has the length 0. */
static void move_prices(TimAssignment *w, size_t n, double step) {
    for (size_t j = 0; j <= n; j++) {
        if (w->reached[j])
            w->row_price[w->row_of[j]] += step, w->col_price[j] -= step;
        else
            w->distance[j] -= step;
    }
}

/* One more row gets a column: a shortest path from it to a free column, along which the others change theirs. Column n is the
 * start's. */
static void augment(TimAssignment *w, const float *gain, size_t n, size_t stride, size_t row) {
    for (size_t j = 0; j <= n; j++) w->distance[j] = HUGE_VAL;
    memset(w->reached, 0, n + 1);
    w->row_of[n] = row;
    size_t column = n;
    do {
        w->reached[column] = 1;
        const size_t at = w->row_of[column], next = relax(w, gain + at * stride, n, at, column);
        move_prices(w, n, w->distance[next]);
        column = next;
    } while (w->row_of[column] != SIZE_MAX);
    for (; column != n; column = w->before[column]) w->row_of[column] = w->row_of[w->before[column]];
}

void tim_assign(TimAssignment *work, const float *gain, size_t n, size_t stride, uint32_t *column) {
    for (size_t i = 0; i <= n; i++) {
        work->row_price[i] = work->col_price[i] = 0;
        work->row_of[i] = SIZE_MAX;
    }
    for (size_t i = 0; i < n; i++) augment(work, gain, n, stride, i);
    for (size_t j = 0; j < n; j++) column[work->row_of[j]] = (uint32_t)j;
}
