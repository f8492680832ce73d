/* How many threads. Libraries, and loops without a number of their own, use as many as OpenMP would give the caller: what calls
 * them does so between tim_threads_enter and tim_threads_leave. */
#ifndef TIM_BASE_THREADS_H
#define TIM_BASE_THREADS_H

#include <omp.h>

#include "base/error.h"

/* *threads = what is wanted, 1 to 4096; 0 stands for as many as OpenMP would use. TIM_E_ARGUMENT for any other number. */
TimStatus tim_threads_choose(int wanted, int *threads, TimError *err);

/* Makes it `threads` for this thread; returns what it was. */
static inline int tim_threads_enter(int threads) {
    const int before = omp_get_max_threads();
    if (threads != before) omp_set_num_threads(threads);
    return before;
}

/* As it was `before`. */
static inline void tim_threads_leave(int threads, int before) {
    if (threads != before) omp_set_num_threads(before);
}

#endif
