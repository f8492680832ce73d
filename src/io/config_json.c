#include "io/config_json.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/config_fields.h"

/* A JSON value as the YAML reader would see it: numbers, true, false and null are the same words in both. */
static TimStatus assign(TimConfig *config, TimFieldSet *seen, const char *key, const json_t *json, TimError *err) {
    char path[TIM_MAX_FIELD_PATH];
    snprintf(path, sizeof path, "model.network.params.%s", key); /* a path that is cut is no field's path either */
    TimFieldValue value = {.path = path, .text = json_string_value(json), .quoted = json_is_string(json)};
    if (json_is_string(json) || json_is_object(json) || json_is_array(json)) return tim_field_assign(config, seen, &value, err);
    char *text = json_dumps(json, JSON_ENCODE_ANY);
    if (!text) return tim_fail(err, TIM_E_MEMORY, "no memory for the value of '%s'", key);
    value.text = text;
    const TimStatus status = tim_field_assign(config, seen, &value, err);
    free(text);
    return status;
}

static TimStatus read_object(TimConfig *config, json_t *object, TimError *err) {
    TimFieldSet seen = {0};
    const char *key;
    json_t *value;
    json_object_foreach(object, key, value) TIM_TRY(assign(config, &seen, key, value, err));
    return tim_network_config_check(config, err);
}

static TimStatus parse(TimConfig *config, const char *text, TimError *err) {
    json_error_t cause;
    json_t *object = json_loads(text, JSON_REJECT_DUPLICATES, &cause);
    if (!object) return tim_fail(err, TIM_E_FORMAT, "not valid JSON at line %d: %s", cause.line, cause.text);
    const TimStatus status =
        json_is_object(object) ? read_object(config, object, err) : tim_fail(err, TIM_E_FORMAT, "not a JSON object");
    json_decref(object);
    return status;
}

static TimStatus set_kind(TimNetworkConfig *network, const char *kind, TimError *err) {
    const bool text = strcmp(kind, "t2i") == 0;
    network->kind = text ? TIM_NETWORK_T2I : TIM_NETWORK_C2I;
    if (text || strcmp(kind, "c2i") == 0) return TIM_OK;
    return tim_fail(err, TIM_E_FORMAT, "the kind '%s' is neither 'c2i' nor 't2i'", kind);
}

TimStatus tim_network_config_from_json(TimNetworkConfig *config, const char *json_text, const char *kind, TimError *err) {
    TimConfig whole;
    tim_config_init(&whole);
    *config = whole.network;
    TimStatus status = set_kind(&whole.network, kind, err);
    if (status == TIM_OK) status = parse(&whole, json_text, err);
    if (status == TIM_OK) *config = whole.network;
    tim_config_done(&whole);
    return status == TIM_OK ? TIM_OK : tim_fail_within(err, status, "the network's configuration");
}
