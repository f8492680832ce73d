#include "io/yaml_walk.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <yaml.h>

enum { MAX_DEPTH = 32, MAX_BYTES = 1 << 16 }; /* libyaml takes the square of it for tags */

typedef struct Walk {
    yaml_parser_t parser;
    TimYamlVisit visit;
    void *context;
    char path[TIM_MAX_FIELD_PATH];
    size_t length; /* of the path */
    size_t line;   /* of the last key or list element, from 1 */
    int depth;
    TimError *err;
} Walk;

static TimStatus fail_parse(const Walk *walk) {
    const yaml_parser_t *parser = &walk->parser;
    const char *problem = parser->problem ? parser->problem : "not YAML";
    if (parser->error == YAML_MEMORY_ERROR) return tim_fail(walk->err, TIM_E_MEMORY, "no memory for reading YAML");
    if (parser->error == YAML_READER_ERROR)
        return tim_fail(walk->err, TIM_E_FORMAT, "byte %zu: %s", parser->problem_offset, problem);
    return tim_fail(walk->err, TIM_E_FORMAT, "line %zu: %s", parser->problem_mark.line + 1, problem);
}

/* The next event; the caller deletes it. */
static TimStatus next(Walk *walk, yaml_event_t *event) {
    return yaml_parser_parse(&walk->parser, event) ? TIM_OK : fail_parse(walk);
}

static TimStatus fail_line(const Walk *walk, const char *text) {
    return tim_fail(walk->err, TIM_E_FORMAT, "line %zu: %s", walk->line, text);
}

/* Appends a key to the path. A dot inside a key becomes a slash, which no field has: it must not pose as a level. */
static TimStatus push(Walk *walk, const char *key, size_t length) {
    const size_t dot = walk->length > 0;
    if (length == 0 || length >= sizeof walk->path - walk->length - dot)
        return tim_fail(walk->err, TIM_E_FORMAT, "line %zu: the key '%.40s' is empty, or too long with those above it (%d bytes)",
                        walk->line, key, TIM_MAX_FIELD_PATH - 1);
    if (strlen(key) != length) return fail_line(walk, "a key contains a zero byte");
    char *at = walk->path + walk->length;
    if (dot) *at++ = '.';
    for (size_t i = 0; i < length; i++) *at++ = (char)(key[i] == '.' ? '/' : key[i]);
    *at = '\0';
    walk->length += dot + length;
    return TIM_OK;
}

static void pop(Walk *walk, size_t length) {
    walk->length = length;
    walk->path[length] = '\0';
}

static TimStatus visit(Walk *walk, const char *text, bool quoted) {
    const TimFieldValue value = {.path = walk->path, .text = text, .quoted = quoted};
    const TimStatus status = walk->visit(walk->context, &value, walk->err);
    return status == TIM_OK ? TIM_OK : tim_fail_within(walk->err, status, "line %zu", walk->line);
}

static TimStatus walk_scalar(Walk *walk, const yaml_event_t *event) {
    const char *text = (const char *)event->data.scalar.value;
    if (strlen(text) != event->data.scalar.length) return fail_line(walk, "a value contains a zero byte");
    return visit(walk, text, event->data.scalar.style != YAML_PLAIN_SCALAR_STYLE);
}

static TimStatus walk_value(Walk *walk, const yaml_event_t *event);

static TimStatus walk_key(Walk *walk, const yaml_event_t *event) {
    walk->line = event->start_mark.line + 1;
    if (event->type != YAML_SCALAR_EVENT) return fail_line(walk, "a key must be a plain text");
    return push(walk, (const char *)event->data.scalar.value, event->data.scalar.length);
}

static TimStatus walk_next_value(Walk *walk) {
    yaml_event_t event;
    TIM_TRY(next(walk, &event));
    const TimStatus status = walk_value(walk, &event);
    yaml_event_delete(&event);
    return status;
}

static TimStatus walk_mapping(Walk *walk) {
    for (;;) {
        yaml_event_t key;
        TIM_TRY(next(walk, &key));
        const bool end = key.type == YAML_MAPPING_END_EVENT;
        const size_t length = walk->length;
        const TimStatus status = end ? TIM_OK : walk_key(walk, &key);
        yaml_event_delete(&key);
        if (end || status != TIM_OK) return status;
        TIM_TRY(walk_next_value(walk));
        pop(walk, length);
    }
}

static TimStatus walk_element(Walk *walk, const yaml_event_t *event, size_t index) {
    char key[24];
    const int digits = snprintf(key, sizeof key, "%zu", index);
    const size_t length = walk->length;
    walk->line = event->start_mark.line + 1;
    TIM_TRY(push(walk, key, (size_t)digits));
    TIM_TRY(walk_value(walk, event));
    pop(walk, length);
    return TIM_OK;
}

static TimStatus walk_list(Walk *walk) {
    for (size_t index = 0;; index++) {
        yaml_event_t event;
        TIM_TRY(next(walk, &event));
        const bool end = event.type == YAML_SEQUENCE_END_EVENT;
        const TimStatus status = end ? TIM_OK : walk_element(walk, &event, index);
        yaml_event_delete(&event);
        if (end || status != TIM_OK) return status;
    }
}

static TimStatus walk_content(Walk *walk, bool list) {
    if (walk->depth == MAX_DEPTH) return fail_line(walk, "more than 32 levels of nesting");
    if (walk->length > 0) TIM_TRY(visit(walk, NULL, false));
    walk->depth++;
    TIM_TRY(list ? walk_list(walk) : walk_mapping(walk));
    walk->depth--;
    return TIM_OK;
}

static TimStatus walk_value(Walk *walk, const yaml_event_t *event) {
    switch (event->type) {
    case YAML_SCALAR_EVENT:
        return walk_scalar(walk, event);
    case YAML_MAPPING_START_EVENT:
        return walk_content(walk, false);
    case YAML_SEQUENCE_START_EVENT:
        return walk_content(walk, true);
    case YAML_ALIAS_EVENT:
        return fail_line(walk, "aliases are not read; write the value out");
    default:
        return fail_line(walk, "a value is missing");
    }
}

static TimStatus walk_root(Walk *walk, const yaml_event_t *event) {
    walk->line = event->start_mark.line + 1;
    if (event->type != YAML_MAPPING_START_EVENT) return fail_line(walk, "the file must hold keys at its top");
    return walk_content(walk, false);
}

/* Stream start, document start, the root mapping, document end, stream end. */
static TimStatus walk_stream(Walk *walk) {
    int documents = 0;
    for (bool end = false; !end;) {
        yaml_event_t event;
        TIM_TRY(next(walk, &event));
        TimStatus status = TIM_OK;
        if (event.type == YAML_DOCUMENT_START_EVENT)
            documents++;
        else if (event.type == YAML_STREAM_END_EVENT)
            end = true;
        else if (event.type != YAML_STREAM_START_EVENT && event.type != YAML_DOCUMENT_END_EVENT)
            status = walk_root(walk, &event);
        if (documents > 1) status = fail_line(walk, "a second document begins after this line; the file must hold one");
        yaml_event_delete(&event);
        TIM_TRY(status);
    }
    return documents ? TIM_OK : tim_fail(walk->err, TIM_E_FORMAT, "the file is empty");
}

TimStatus tim_yaml_walk(const uint8_t *text, size_t size, TimYamlVisit visitor, void *context, TimError *err) {
    if (size > MAX_BYTES)
        return tim_fail(err, TIM_E_FORMAT, "%zu bytes; a configuration has at most %d: is it one?", size, MAX_BYTES);
    Walk walk = {.visit = visitor, .context = context, .line = 1, .err = err};
    if (!yaml_parser_initialize(&walk.parser)) return tim_fail(err, TIM_E_MEMORY, "no memory for reading YAML");
    yaml_parser_set_input_string(&walk.parser, text, size);
    const TimStatus status = walk_stream(&walk);
    yaml_parser_delete(&walk.parser);
    return status;
}
