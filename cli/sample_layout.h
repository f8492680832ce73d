/* The folders that the published evaluations read. */
#ifndef TIM_CLI_SAMPLE_LAYOUT_H
#define TIM_CLI_SAMPLE_LAYOUT_H

#include "sample_prompts.h"
#include "tim/pictures.h"

/* Pictures of one prompt. */
int layout_pictures(PromptLayout layout);

/* Writes the pictures of prompt number `index`, layout_pictures of them from `first` on, below `folder`, which is there. */
TimStatus layout_write(PromptLayout layout, const char *folder, const Prompt *prompt, int64_t index, const TimPictures *pictures,
                       int64_t first, TimError *err);

#endif
