/* The folders that the published evaluations read. */
#ifndef TIM_CLI_SAMPLE_LAYOUT_H
#define TIM_CLI_SAMPLE_LAYOUT_H

#include "sample.h"

/* Pictures of one prompt. */
int layout_pictures(PromptLayout layout);

/* Where the last picture of prompt number `index` goes, which is written after all else of it: it tells that the prompt is done. */
TimStatus layout_last_path(char out[MAX_PATH_BYTES], PromptLayout layout, const char *folder, const Prompt *prompt, int64_t index,
                           TimError *err);

/* Writes the pictures of a prompt, layout_pictures of them from number `first` of `pictures` on, which is picture `index` of the
 * run. A PNG that shows one of them says how it was drawn. */
TimStatus layout_write(const Sampling *sampling, int64_t index, const TimPictures *pictures, int64_t first, TimError *err);

#endif
