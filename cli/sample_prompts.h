/* Files of prompts. */
#ifndef TIM_CLI_SAMPLE_PROMPTS_H
#define TIM_CLI_SAMPLE_PROMPTS_H

#include <stdint.h>

#include "tim/status.h"

/* Prompts of a file; the owner calls prompt_list_done. {0} is empty. */
typedef struct PromptList {
    char **items; /* (count), each from malloc */
    int64_t count;
} PromptList;

/* One prompt a line; lines that are empty are left out. Fails, naming file and line, when the file cannot be read, a line has a zero byte,
 * or there is no prompt. */
TimStatus prompt_list_read(PromptList *list, const char *path, TimError *err);

void prompt_list_done(PromptList *list);

#endif
