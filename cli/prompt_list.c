#include "prompt_list.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support.h"

static const char blanks[] = " \t\r\n\v\f";

/* ---- the list ---- */

static void free_prompt(Prompt *p) {
    free(p->text);
    free(p->name);
    free(p->category);
    free(p->record);
    prompt_settings_done(&p->settings);
}

void prompt_list_done(PromptList *list) {
    for (int64_t i = 0; i < list->count; i++) free_prompt(&list->items[i]);
    free(list->items);
    *list = (PromptList){0};
}

static TimStatus no_memory(TimError *err) {
    return fail_with(err, TIM_E_MEMORY, "no memory for the prompts; give fewer");
}

/* An empty prompt at the end; NULL, with the error written, without memory. */
static Prompt *append(PromptList *list, TimError *err) {
    if (list->count == list->capacity) {
        const int64_t capacity = list->capacity ? 2 * list->capacity : 16;
        Prompt *items = realloc(list->items, (size_t)capacity * sizeof *items);
        if (!items) {
            no_memory(err);
            return NULL;
        }
        list->items = items, list->capacity = capacity;
    }
    Prompt *prompt = &list->items[list->count++];
    *prompt = (Prompt){.settings = prompt_settings_none()};
    return prompt;
}

static TimStatus copy_text(char **out, const char *text, TimError *err) {
    *out = strdup(text);
    return *out ? TIM_OK : no_memory(err);
}

TimStatus prompt_list_add(PromptList *list, const char *text, TimError *err) {
    Prompt *prompt = append(list, err);
    return prompt ? copy_text(&prompt->text, text, err) : err->status;
}

/* ---- Python's unicode-escape, through which the published GenEval prompts go ---- */

/* The character at *at, which moves behind it; a byte that is no UTF-8 stands for itself. */
static uint32_t next_character(const unsigned char **at) {
    const unsigned char *p = *at;
    const int more = p[0] >= 0xF0 ? 3 : p[0] >= 0xE0 ? 2 : p[0] >= 0xC0 ? 1 : 0;
    uint32_t value = more ? p[0] & (0x3FU >> more) : p[0];
    int i = 1;
    for (; i <= more && (p[i] & 0xC0) == 0x80; i++) value = value << 6 | (p[i] & 0x3FU);
    *at = p + (i > more ? more + 1 : 1);
    return i > more ? value : p[0];
}

static char *unicode_escape(const char *text) {
    char *out = malloc(10 * strlen(text) + 1), *to = out;
    for (const unsigned char *at = (const unsigned char *)text; out && *at;) {
        const uint32_t c = next_character(&at);
        if (c == '\\' || c == '\n' || c == '\r' || c == '\t')
            to += sprintf(to, "\\%c", c == '\\' ? '\\' : c == '\n' ? 'n' : c == '\r' ? 'r' : 't');
        else if (c >= 0x20 && c < 0x7F)
            *to++ = (char)c;
        else
            to += sprintf(to, c < 0x100 ? "\\x%02x" : c < 0x10000 ? "\\u%04x" : "\\U%08x", c);
    }
    if (out) *to = '\0';
    return out;
}

/* ---- JSON ---- */

static TimStatus take_text(char **out, const json_t *object, const char *key, TimError *err) {
    const char *text = json_string_value(json_object_get(object, key));
    return text ? copy_text(out, text, err) : fail_with(err, TIM_E_FORMAT, "there is no text '%s'", key);
}

static TimStatus take_record(Prompt *p, const json_t *object, const char *line, TimError *err) {
    TimStatus status = take_text(&p->text, object, "prompt", err);
    if (status != TIM_OK) return status;
    char *escaped = unicode_escape(p->text);
    free(p->text);
    p->text = escaped;
    return escaped ? copy_text(&p->record, line, err) : no_memory(err);
}

/* Keys first: a misspelt "prompt" is not merely missing. */
static TimStatus take_object(PromptList *list, json_t *object, const char *line, PromptLayout layout, TimError *err) {
    Prompt *p = append(list, err);
    if (!p) return err->status;
    if (layout != LAYOUT_NONE) return take_record(p, object, line, err);
    const TimStatus status = prompt_settings_read(&p->settings, object, err);
    list->own_settings = list->own_settings || prompt_settings_any(&p->settings);
    return status == TIM_OK ? take_text(&p->text, object, "prompt", err) : status;
}

static TimStatus take_json_line(PromptList *list, const char *line, PromptLayout layout, TimError *err) {
    json_error_t cause;
    json_t *object = json_loads(line, JSON_REJECT_DUPLICATES, &cause);
    const TimStatus status = json_is_object(object) ? take_object(list, object, line, layout, err)
                                                    : fail_with(err, TIM_E_FORMAT, "it is no JSON object: %.100s",
                                                                object ? "another value" : cause.text);
    json_decref(object);
    return status;
}

/* A copy that ends with a zero, or NULL; `bytes` need not end with one. */
static char *text_of(const char *bytes, size_t size) {
    char *text = malloc(size + 1);
    if (!text) return NULL;
    memcpy(text, bytes, size);
    text[size] = '\0';
    return text;
}

/* ---- lines ---- */

/* Behind the bracket comes an object, or nothing more on this line; a text may begin with a bracket too. */
static bool begins_array(const char *start) {
    if (*start != '[') return false;
    const char *object = start + 1 + strspn(start + 1, blanks);
    const char *key = *object == '{' ? object + 1 + strspn(object + 1, blanks) : object;
    return *object == '\0' || (key > object && (*key == '"' || *key == '}'));
}

static TimStatus take_line(PromptList *list, const char *line, PromptLayout layout, TimError *err) {
    const char *start = line + strspn(line, blanks);
    if (begins_array(start))
        return fail_with(err, TIM_E_FORMAT,
                         "it begins a JSON array; give its objects one a line, without brackets and commas around them");
    if (layout == LAYOUT_GENEVAL || *start == '{') return take_json_line(list, line, layout, err);
    return prompt_list_add(list, line, err);
}

/* One line, without what ends it; a blank one is left out. */
static TimStatus take_bytes(PromptList *list, const char *bytes, size_t size, PromptLayout layout, TimError *err) {
    if (memchr(bytes, 0, size)) return fail_with(err, TIM_E_FORMAT, "it has a zero byte");
    while (size > 0 && strchr("\r\n", bytes[size - 1])) size--;
    char *line = text_of(bytes, size);
    if (!line) return no_memory(err);
    const TimStatus status = line[strspn(line, blanks)] ? take_line(list, line, layout, err) : TIM_OK;
    free(line);
    return status;
}

/* The mark that some editors write before a text in UTF-8 is no part of it. */
static size_t mark_size(const char *text, size_t size) {
    return size >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0 ? 3 : 0;
}

static TimStatus take_numbered(PromptList *list, const char *line, size_t size, int64_t number, PromptLayout layout,
                               TimError *err) {
    TimError cause;
    const int64_t before = list->count;
    const TimStatus status = take_bytes(list, line, size, layout, &cause);
    if (status != TIM_OK) return fail_with(err, status, "line %lld: %.300s", (long long)number, cause.text);
    if (list->count > before) list->items[before].line = number;
    return TIM_OK;
}

TimStatus prompt_list_add_line(PromptList *list, const char *line, size_t size, int64_t number, TimError *err) {
    const size_t mark = number == 1 ? mark_size(line, size) : 0;
    return take_numbered(list, line + mark, size - mark, number, LAYOUT_NONE, err);
}

static TimStatus parse_lines(PromptList *list, const char *text, size_t size, PromptLayout layout, TimError *err) {
    int64_t number = 1;
    TimStatus status = TIM_OK;
    for (size_t at = 0; at < size && status == TIM_OK; number++) {
        const char *end = memchr(text + at, '\n', size - at);
        const size_t length = end ? (size_t)(end - text) - at : size - at;
        status = take_numbered(list, text + at, length, number, layout, err);
        at += length + (end != NULL);
    }
    return status;
}

/* ---- MJHQ: one object ---- */

/* A name that stays in the folder it is meant for. */
static bool is_plain_name(const char *name) {
    return *name && *name != '.' && !strchr(name, '/');
}

static TimStatus take_entry(PromptList *list, const char *id, const json_t *entry, TimError *err) {
    Prompt *p = append(list, err);
    if (!p) return err->status;
    TimStatus status = copy_text(&p->name, id, err);
    if (status == TIM_OK) status = take_text(&p->text, entry, "prompt", err);
    if (status == TIM_OK) status = take_text(&p->category, entry, "category", err);
    if (status != TIM_OK || (is_plain_name(id) && is_plain_name(p->category))) return status;
    return fail_with(err, TIM_E_FORMAT, "its name or its category '%.60s' is no plain name of a file", p->category);
}

static TimStatus take_entries(PromptList *list, json_t *object, TimError *err) {
    const char *id;
    json_t *entry;
    json_object_foreach(object, id, entry) {
        TimError cause;
        const TimStatus status = take_entry(list, id, entry, &cause);
        if (status != TIM_OK) return fail_with(err, status, "the entry '%.60s': %.200s", id, cause.text);
    }
    return TIM_OK;
}

static TimStatus parse_mjhq(PromptList *list, const char *text, size_t size, TimError *err) {
    json_error_t cause;
    json_t *object = json_loadb(text, size, JSON_REJECT_DUPLICATES, &cause);
    const TimStatus status = json_is_object(object) ? take_entries(list, object, err)
                                                    : fail_with(err, TIM_E_FORMAT, "no JSON object of prompts: %.200s",
                                                                object ? "another value" : cause.text);
    json_decref(object);
    return status;
}

/* ---- DPG: the whole text ---- */

/* Without white space at its end. */
static TimStatus parse_whole(PromptList *list, const char *text, size_t size, TimError *err) {
    if (size == 0) return fail_with(err, TIM_E_FORMAT, "the file is empty");
    if (memchr(text, 0, size)) return fail_with(err, TIM_E_FORMAT, "it has a zero byte");
    while (size > 0 && strchr(" \t\r\n", text[size - 1])) size--;
    Prompt *p = append(list, err);
    if (!p) return err->status;
    p->text = text_of(text, size);
    return p->text ? TIM_OK : no_memory(err);
}

/* ---- interface ---- */

TimStatus prompt_list_parse(PromptList *list, const char *text, size_t size, PromptLayout layout, TimError *err) {
    const size_t mark = mark_size(text, size);
    text += mark, size -= mark;
    switch (layout) {
    case LAYOUT_MJHQ:
        return parse_mjhq(list, text, size, err);
    case LAYOUT_DPG:
        return parse_whole(list, text, size, err);
    case LAYOUT_NONE:
    case LAYOUT_GENEVAL:
        break;
    }
    return parse_lines(list, text, size, layout, err);
}
