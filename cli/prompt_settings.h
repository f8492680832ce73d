/* Settings that a prompt of a list has for itself. */
#ifndef TIM_CLI_PROMPT_SETTINGS_H
#define TIM_CLI_PROMPT_SETTINGS_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "tim/sample.h"

/* What is not set is negative, NAN or NULL. */
typedef struct PromptSettings {
    int64_t seed, steps, width, height;
    double guidance, guidance_low, guidance_high, stochasticity;
    char *negative_prompt; /* from malloc */
} PromptSettings;

/* None of its own. */
PromptSettings prompt_settings_none(void);
void prompt_settings_done(PromptSettings *settings);

/* Takes the settings of a line's object. TIM_E_FORMAT, naming the key, for a value out of range and for a key that is neither a
 * setting nor "prompt". */
TimStatus prompt_settings_read(PromptSettings *settings, json_t *object, TimError *err);

/* Whether there is any. */
bool prompt_settings_any(const PromptSettings *settings);

/* Whether pictures of both can be drawn together: all settings but the seed are the same. */
bool prompt_settings_alike(const PromptSettings *a, const PromptSettings *b);

/* The settings over those in `options`, which borrow the text. */
void prompt_settings_apply(const PromptSettings *settings, TimSampleOptions *options);

#endif
