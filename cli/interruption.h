/* Ctrl-C for commands that can end early and keep what they have. */
#ifndef TIM_CLI_INTERRUPTION_H
#define TIM_CLI_INTERRUPTION_H

#include <stdbool.h>

/* From now on the first SIGINT or SIGTERM asks to finish; the second one, by then with its default action, kills. */
void catch_interruptions(void);

/* Whether one came. */
bool interrupted(void);

#endif
