#include "model/diffusers_config.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { VALUE_TEXT = 80, WANTED_TEXT = 192 };

void tim_diffusers_skip(TimDiffusersConfig *config, const char *key) {
    if (config->asked_count < TIM_DIFFUSERS_MAX_KEYS) config->asked[config->asked_count++] = key;
}

json_t *tim_diffusers_get(TimDiffusersConfig *config, const char *key) {
    tim_diffusers_skip(config, key);
    json_t *value = json_object_get(config->object, key);
    return json_is_null(value) ? NULL : value;
}

TimStatus tim_diffusers_refuse(const char *key, const json_t *value, const char *wanted, TimError *err) {
    char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
    const TimStatus status = tim_fail(err, TIM_E_UNSUPPORTED, "'%s' is %.*s%s; this library runs networks where it is %s", key,
                                      VALUE_TEXT, text ? text : "?", text && strlen(text) > VALUE_TEXT ? "..." : "", wanted);
    free(text);
    return status;
}

static TimStatus read_int(const json_t *value, const char *key, int low, int high, int *out, TimError *err) {
    char wanted[WANTED_TEXT];
    if (json_is_integer(value) && json_integer_value(value) >= low && json_integer_value(value) <= high) {
        *out = (int)json_integer_value(value);
        return TIM_OK;
    }
    snprintf(wanted, sizeof wanted, "a whole number from %d to %d", low, high);
    return tim_diffusers_refuse(key, value, wanted, err);
}

TimStatus tim_diffusers_int(TimDiffusersConfig *config, const char *key, int low, int high, int *out, TimError *err) {
    const json_t *value = tim_diffusers_get(config, key);
    return value ? read_int(value, key, low, high, out, err) : TIM_OK;
}

TimStatus tim_diffusers_flag(TimDiffusersConfig *config, const char *key, bool *out, TimError *err) {
    const json_t *value = tim_diffusers_get(config, key);
    if (value && !json_is_boolean(value)) return tim_diffusers_refuse(key, value, "true or false", err);
    if (value) *out = json_is_true(value);
    return TIM_OK;
}

TimStatus tim_diffusers_number(TimDiffusersConfig *config, const char *key, double *out, TimError *err) {
    const json_t *value = tim_diffusers_get(config, key);
    if (value && !(json_is_number(value) && isfinite(json_number_value(value))))
        return tim_diffusers_refuse(key, value, "a finite number", err);
    if (value) *out = json_number_value(value);
    return TIM_OK;
}

static TimStatus read_name(const json_t *value, const char *key, const char *const *names, int *out, TimError *err) {
    const char *text = json_string_value(value);
    for (int i = 0; text && names[i]; i++) {
        if (strcmp(text, names[i]) != 0) continue;
        *out = i;
        return TIM_OK;
    }
    char wanted[WANTED_TEXT];
    size_t at = 0;
    for (int i = 0; names[i] && at < sizeof wanted; i++)
        at += (size_t)snprintf(wanted + at, sizeof wanted - at, "%s\"%s\"", i ? " or " : "", names[i]);
    return tim_diffusers_refuse(key, value, wanted, err);
}

TimStatus tim_diffusers_name(TimDiffusersConfig *config, const char *key, const char *const *names, int *out, TimError *err) {
    const json_t *value = tim_diffusers_get(config, key);
    return value ? read_name(value, key, names, out, err) : TIM_OK;
}

TimStatus tim_diffusers_names(TimDiffusersConfig *config, const char *key, const char *const *names, int count, int *out,
                              TimError *err) {
    const json_t *value = tim_diffusers_get(config, key);
    if (!value) return TIM_OK;
    if (json_is_array(value) && json_array_size(value) != (size_t)count)
        return tim_diffusers_refuse(key, value, "one name, or a list with one for each stage", err);
    for (int i = 0; i < count; i++)
        TIM_TRY(read_name(json_is_array(value) ? json_array_get(value, (size_t)i) : value, key, names, &out[i], err));
    return TIM_OK;
}

TimStatus tim_diffusers_list(const json_t *list, const char *key, int low, int high, int most, int *out, int *count,
                             TimError *err) {
    char wanted[WANTED_TEXT];
    snprintf(wanted, sizeof wanted, "a list of at most %d numbers", most);
    if (!json_is_array(list) || json_array_size(list) > (size_t)most) return tim_diffusers_refuse(key, list, wanted, err);
    *count = (int)json_array_size(list);
    for (int i = 0; i < *count; i++) TIM_TRY(read_int(json_array_get(list, (size_t)i), key, low, high, &out[i], err));
    return TIM_OK;
}

TimStatus tim_diffusers_ints(TimDiffusersConfig *config, const char *key, int low, int high, int most, int *out, int *count,
                             TimError *err) {
    const json_t *value = tim_diffusers_get(config, key);
    return value ? tim_diffusers_list(value, key, low, high, most, out, count, err) : TIM_OK;
}

TimStatus tim_diffusers_finish(const TimDiffusersConfig *config, TimError *err) {
    const char *key;
    json_t *value;
    json_object_foreach(config->object, key, value) {
        bool known = key[0] == '_'; /* _class_name, _diffusers_version, _name_or_path: who wrote the file */
        for (int i = 0; i < config->asked_count; i++) known = known || strcmp(key, config->asked[i]) == 0;
        if (!known) return tim_diffusers_refuse(key, value, "absent: it is no setting that this library knows", err);
    }
    return TIM_OK;
}
