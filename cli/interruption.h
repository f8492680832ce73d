/* Ctrl-C for commands that can end early and keep what they have. */
#ifndef TIM_CLI_INTERRUPTION_H
#define TIM_CLI_INTERRUPTION_H

#include <stdbool.h>

/* From now on the first SIGINT, SIGTERM or SIGHUP asks to finish, and the next of them kills; those that are ignored stay so. What
 * is printed to a reader that is gone, as Ctrl-C does to `| tee`, is lost without ending the program. */
void catch_interruptions(void);

/* Whether one came. */
bool interrupted(void);

/* What a program returns that one has ended before its work was done, as the shell says it: 128 + the signal's number. 0 if none
 * came. */
int interruption_code(void);

#endif
