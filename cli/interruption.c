#include "interruption.h"

#include <signal.h>
#include <stddef.h>

static volatile sig_atomic_t caught; /* the signal, or 0; signal handlers see nothing else */

static const int asking[] = {SIGINT, SIGTERM, SIGHUP};
enum { ASKING = sizeof asking / sizeof *asking };

static void interrupt(int number);

/* Unless whoever started the program wants the signal ignored: nohup, and shells of what runs in the background. */
static void set_action(int number, void (*from)(int), void (*to)(int)) {
    struct sigaction before, action = {.sa_handler = to, .sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    if (sigaction(number, NULL, &before) == 0 && before.sa_handler == from) sigaction(number, &action, NULL);
}

/* The next of any of them kills. */
static void interrupt(int number) {
    caught = number;
    for (int i = 0; i < ASKING; i++) set_action(asking[i], interrupt, SIG_DFL);
}

void catch_interruptions(void) {
    for (int i = 0; i < ASKING; i++) set_action(asking[i], SIG_DFL, interrupt);
    set_action(SIGPIPE, SIG_DFL, SIG_IGN);
}

bool interrupted(void) {
    return caught;
}

int interruption_code(void) {
    return caught ? 128 + (int)caught : 0;
}
