#include "prompt_settings.h"

#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "nearest.h"
#include "support.h"

typedef struct Setting {
    const char *key;
    size_t offset;
    bool whole; /* int64_t, else double */
    double low, high;
} Setting;

static const Setting settings_known[] = {
    {"seed", offsetof(PromptSettings, seed), true, 0, (double)INT64_MAX},
    {"steps", offsetof(PromptSettings, steps), true, 1, TIM_SAMPLE_MAX_STEPS},
    {"width", offsetof(PromptSettings, width), true, 0, TIM_IMAGE_MAX_SIDE},
    {"height", offsetof(PromptSettings, height), true, 0, TIM_IMAGE_MAX_SIDE},
    {"guidance", offsetof(PromptSettings, guidance), false, 0, 1000},
    {"guidance_low", offsetof(PromptSettings, guidance_low), false, -1, 2},
    {"guidance_high", offsetof(PromptSettings, guidance_high), false, -1, 2},
    {"stochasticity", offsetof(PromptSettings, stochasticity), false, 0, 1000},
};

enum { KNOWN = sizeof settings_known / sizeof *settings_known, KEYS = KNOWN + 2 /* texts */ };

/* All keys of a line, then NULL. */
static void list_keys(const char *keys[KEYS + 1]) {
    keys[0] = "prompt";
    for (int i = 0; i < KNOWN; i++) keys[1 + i] = settings_known[i].key;
    keys[KEYS - 1] = "negative_prompt";
    keys[KEYS] = NULL;
}

PromptSettings prompt_settings_none(void) {
    return (PromptSettings){-1, -1, -1, -1, NAN, NAN, NAN, NAN, NULL};
}

void prompt_settings_done(PromptSettings *s) {
    free(s->negative_prompt);
    s->negative_prompt = NULL;
}

/* ---- reading ---- */

static int64_t *whole_of(PromptSettings *s, const Setting *setting) {
    return (int64_t *)(void *)((char *)s + setting->offset);
}

static double *real_of(PromptSettings *s, const Setting *setting) {
    return (double *)(void *)((char *)s + setting->offset);
}

/* "'steps' is 2.7; give ..." */
static TimStatus fail_value(const Setting *setting, const json_t *value, TimError *err) {
    char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT | JSON_REAL_PRECISION(15));
    fail_with(err, TIM_E_FORMAT, "'%s' is %.60s; give a %s from %.16g to %.16g", setting->key, text ? text : "no such value",
              setting->whole ? "whole number" : "number", setting->low, setting->high);
    free(text);
    return TIM_E_FORMAT;
}

static TimStatus take(PromptSettings *s, const Setting *setting, const json_t *object, TimError *err) {
    const json_t *value = json_object_get(object, setting->key);
    const double number = json_number_value(value);
    if (!value) return TIM_OK;
    if (!(setting->whole ? json_is_integer(value) : json_is_number(value)) || number < setting->low || number > setting->high)
        return fail_value(setting, value, err);
    if (setting->whole)
        *whole_of(s, setting) = json_integer_value(value);
    else
        *real_of(s, setting) = number;
    return TIM_OK;
}

static TimStatus take_negative(PromptSettings *s, const json_t *object, TimError *err) {
    const json_t *value = json_object_get(object, "negative_prompt");
    if (!value) return TIM_OK;
    if (!json_is_string(value)) return fail_with(err, TIM_E_FORMAT, "'negative_prompt' is no text");
    s->negative_prompt = strdup(json_string_value(value));
    return s->negative_prompt ? TIM_OK : fail_with(err, TIM_E_MEMORY, "no memory for the prompts; give fewer");
}

/* "'step' is none of prompt, seed, ...; did you mean 'steps'?" */
static TimStatus fail_key(const char *key, const char *const *keys, TimError *err) {
    char all[256] = "";
    const char *near = nearest_word(key, keys);
    for (int i = 0; keys[i]; i++) snprintf(all + strlen(all), sizeof all - strlen(all), "%s%s", i ? ", " : "", keys[i]);
    return fail_with(err, TIM_E_FORMAT, "'%.60s' is none of %s%s%s%s", key, all, near ? "; did you mean '" : "", near ? near : "",
                     near ? "'?" : "");
}

static TimStatus check_keys(json_t *object, TimError *err) {
    const char *key, *keys[KEYS + 1];
    json_t *value;
    list_keys(keys);
    json_object_foreach(object, key, value) {
        int i = 0;
        while (keys[i] && strcmp(keys[i], key) != 0) i++;
        if (!keys[i]) return fail_key(key, keys, err);
    }
    return TIM_OK;
}

TimStatus prompt_settings_read(PromptSettings *s, json_t *object, TimError *err) {
    TimStatus status = check_keys(object, err);
    for (int i = 0; i < KNOWN && status == TIM_OK; i++) status = take(s, &settings_known[i], object, err);
    return status == TIM_OK ? take_negative(s, object, err) : status;
}

/* ---- using ---- */

static bool same_real(double a, double b) {
    return a == b || (isnan(a) && isnan(b));
}

static bool same_text(const char *a, const char *b) {
    return a && b ? strcmp(a, b) == 0 : a == b;
}

bool prompt_settings_alike(const PromptSettings *a, const PromptSettings *b) {
    return a->steps == b->steps && a->width == b->width && a->height == b->height && same_real(a->guidance, b->guidance) &&
           same_real(a->guidance_low, b->guidance_low) && same_real(a->guidance_high, b->guidance_high) &&
           same_real(a->stochasticity, b->stochasticity) && same_text(a->negative_prompt, b->negative_prompt);
}

bool prompt_settings_any(const PromptSettings *s) {
    const PromptSettings none = prompt_settings_none();
    return s->seed >= 0 || !prompt_settings_alike(s, &none);
}

void prompt_settings_apply(const PromptSettings *s, TimSampleOptions *o) {
    if (s->seed >= 0) o->seed = (uint64_t)s->seed;
    if (s->steps >= 0) o->steps = (int)s->steps;
    if (s->width >= 0) o->width = (int)s->width;
    if (s->height >= 0) o->height = (int)s->height;
    if (!isnan(s->guidance)) o->guidance = s->guidance;
    if (!isnan(s->guidance_low)) o->guidance_low = s->guidance_low;
    if (!isnan(s->guidance_high)) o->guidance_high = s->guidance_high;
    if (!isnan(s->stochasticity)) o->stochasticity = s->stochasticity;
    if (s->negative_prompt) o->negative_prompt = s->negative_prompt;
}
