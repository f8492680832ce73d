/* A disk without a byte left, by the limit on how far this process's files may grow. */
#ifndef TIM_TESTS_FULL_DISK_H
#define TIM_TESTS_FULL_DISK_H

#include <signal.h>
#include <sys/resource.h>

/* From now on a file that grows beyond so many bytes fails as on a full disk. */
static inline void set_file_room(rlim_t bytes) {
    struct rlimit limit;
    getrlimit(RLIMIT_FSIZE, &limit);
    limit.rlim_cur = bytes < limit.rlim_max ? bytes : limit.rlim_max;
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &limit);
}

/* The same of any that is written; with `full` false all have room again. */
static inline void set_disk_full(int full) {
    set_file_room(full ? 0 : RLIM_INFINITY);
    if (!full) signal(SIGXFSZ, SIG_DFL);
}

#endif
