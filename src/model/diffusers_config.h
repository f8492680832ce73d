/* The config.json of a diffusers folder, value by value. Strict: a key nobody asked for, and a value that this library does not
 * run, are errors that name the key, the value and what to do. */
#ifndef TIM_MODEL_DIFFUSERS_CONFIG_H
#define TIM_MODEL_DIFFUSERS_CONFIG_H

#include <jansson.h>
#include <stdbool.h>

#include "base/error.h"

enum { TIM_DIFFUSERS_MAX_KEYS = 64 };

typedef struct TimDiffusersConfig {
    json_t *object;                            /* borrowed */
    const char *asked[TIM_DIFFUSERS_MAX_KEYS]; /* keys so far; static texts */
    int asked_count;
} TimDiffusersConfig;

/* The value of `key`, borrowed; NULL when it is absent or null, which stands for the default. */
json_t *tim_diffusers_get(TimDiffusersConfig *config, const char *key);

/* *out = a whole number from low to high; a key that is absent leaves it. */
TimStatus tim_diffusers_int(TimDiffusersConfig *config, const char *key, int low, int high, int *out, TimError *err);

TimStatus tim_diffusers_flag(TimDiffusersConfig *config, const char *key, bool *out, TimError *err);

/* *out = a finite number; a key that is absent leaves it. */
TimStatus tim_diffusers_number(TimDiffusersConfig *config, const char *key, double *out, TimError *err);

/* *out = the place of the text in `names`, which ends with NULL; a key that is absent leaves it. */
TimStatus tim_diffusers_name(TimDiffusersConfig *config, const char *key, const char *const *names, int *out, TimError *err);

/* The same for one text that stands for all, or a list with a text for each of `count`. */
TimStatus tim_diffusers_names(TimDiffusersConfig *config, const char *key, const char *const *names, int count, int *out,
                              TimError *err);

/* The numbers of a list of at most `most`, each from low to high, and how many; a key that is absent leaves both. */
TimStatus tim_diffusers_ints(TimDiffusersConfig *config, const char *key, int low, int high, int most, int *out, int *count,
                             TimError *err);

/* The same of a list that has been found already. */
TimStatus tim_diffusers_list(const json_t *list, const char *key, int low, int high, int most, int *out, int *count, TimError *err);

/* Counts `key` as asked for: it says nothing about how the network runs. */
void tim_diffusers_skip(TimDiffusersConfig *config, const char *key);

/* Fails when the file has a key that nobody asked for. */
TimStatus tim_diffusers_finish(const TimDiffusersConfig *config, TimError *err);

/* A failure about `value` of `key`; `wanted` says what would do. */
TimStatus tim_diffusers_refuse(const char *key, const json_t *value, const char *wanted, TimError *err);

#endif
