#include "base/threads.h"

enum { MAX_THREADS = 4096 };

TimStatus tim_threads_choose(int wanted, int *threads, TimError *err) {
    if (wanted < 0 || wanted > MAX_THREADS)
        return tim_fail(err, TIM_E_ARGUMENT, "threads is %d; give 1 to %d, or 0 for as many as OpenMP would use", wanted,
                        MAX_THREADS);
    *threads = wanted ? wanted : omp_get_max_threads();
    return TIM_OK;
}
