/* A disk without a byte left, by the limit on how far this process's files may grow. */
#ifndef TIM_TESTS_FULL_DISK_H
#define TIM_TESTS_FULL_DISK_H

#include <signal.h>
#include <sys/resource.h>

/* From now on a file that is written fails as on a full disk; with `full` false it has room again. */
static inline void set_disk_full(int full) {
    struct rlimit limit;
    getrlimit(RLIMIT_FSIZE, &limit);
    limit.rlim_cur = full ? 0 : limit.rlim_max;
    signal(SIGXFSZ, full ? SIG_IGN : SIG_DFL);
    setrlimit(RLIMIT_FSIZE, &limit);
}

#endif
