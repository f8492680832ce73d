/* Libraries, and loops without a number of their own, use as many threads as OpenMP would give the caller: what calls them does so between
 * these two. */
#ifndef TIM_BASE_THREADS_H
#define TIM_BASE_THREADS_H

#include <omp.h>

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
