/* Files of prompts on the disk. */
#ifndef TIM_CLI_SAMPLE_PROMPTS_H
#define TIM_CLI_SAMPLE_PROMPTS_H

#include "prompt_list.h"

/* Reads `path`, a file or for LAYOUT_DPG a folder, as the layout says. Fails, naming file and line, when it cannot be read, is not
 * as it should be, or holds no prompt; the list is empty then. */
TimStatus prompt_list_read(PromptList *list, const char *path, PromptLayout layout, TimError *err);

#endif
