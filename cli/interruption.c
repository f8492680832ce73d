#include "interruption.h"

#include <signal.h>
#include <stddef.h>

static volatile sig_atomic_t caught; /* signal handlers see nothing else */

static void interrupt(int signal) {
    (void)signal;
    caught = 1;
}

void catch_interruptions(void) {
    struct sigaction action = {.sa_handler = interrupt, .sa_flags = (int)(SA_RESETHAND | (unsigned)SA_RESTART)};
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

bool interrupted(void) {
    return caught;
}
