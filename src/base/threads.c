#include "base/threads.h"

enum { MAX_THREADS = 4096 };

TimStatus tim_threads_choose(int wanted, int *threads, TimError *err) {
    if (wanted < 0 || wanted > MAX_THREADS)
        return tim_fail(err, TIM_E_ARGUMENT, "threads is %d; give 1 to %d, or 0 for as many as OpenMP would use", wanted,
                        MAX_THREADS);
    const int usual = omp_get_max_threads();
    *threads = wanted ? wanted : usual < MAX_THREADS ? usual : MAX_THREADS;
    return TIM_OK;
}
