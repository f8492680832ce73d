/* Token ids of prompts as the text encoders take them: ids (B, tokens), lengths (B). */
#ifndef TIM_MODEL_PROMPTS_H
#define TIM_MODEL_PROMPTS_H

#include <stdint.h>

#include "base/error.h"

/* Which hidden state of an encoder is the caption. */
typedef enum TimHiddenState {
    TIM_HIDDEN_LAST,       /* after the last layer and the final norm */
    TIM_HIDDEN_BEFORE_LAST /* before the last layer, not normed: hidden_states[-2] of transformers */
} TimHiddenState;

/* TIM_E_ARGUMENT unless each prompt has `fewest` to `tokens` real ones, each from 0 to vocabulary - 1. */
TimStatus tim_prompts_check(const int64_t *ids, const int64_t *lengths, int64_t prompts, int64_t tokens, int64_t fewest,
                            int64_t vocabulary, TimError *err);

#endif
