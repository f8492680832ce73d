#include "text/json_scan.h"

#include <jansson.h>
#include <string.h>

#include "base/utf8.h"
#include "io/json_text.h"
#include "io/number.h"

TimJsonScan tim_scan_of(const char *begin, const char *end) {
    return (TimJsonScan){.at = begin, .end = end, .good = true};
}

void tim_scan_done(TimJsonScan *scan) {
    tim_buffer_done(&scan->text);
}

static bool fail(TimJsonScan *s) {
    s->end = s->at;
    return s->good = false;
}

char tim_scan_next(TimJsonScan *s) {
    while (s->at < s->end && (*s->at == ' ' || *s->at == '\n' || *s->at == '\r' || *s->at == '\t')) s->at++;
    return (char)(s->at < s->end ? *s->at : 0);
}

static bool take(TimJsonScan *s, char wanted) {
    if (tim_scan_next(s) != wanted || s->at == s->end) return fail(s);
    s->at++;
    return true;
}

bool tim_scan_open(TimJsonScan *s, char open) {
    return take(s, open);
}

bool tim_scan_entry(TimJsonScan *s, char close, bool first) {
    if (tim_scan_next(s) == close && s->at < s->end) {
        s->at++;
        return false;
    }
    return s->good && (first || take(s, ','));
}

/* ---- texts ---- */

/* With escapes: the library knows them all. */
static bool add_escaped(TimBuffer *text, const char *begin, const char *end) {
    json_t *value = json_loadb(begin, (size_t)(end - begin), JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    const bool good = json_is_string(value);
    if (good) tim_buffer_add(text, json_string_value(value), json_string_length(value));
    json_decref(value);
    return good;
}

static bool add_plain(TimBuffer *text, const char *begin, size_t size) {
    tim_buffer_add(text, begin, size);
    return tim_utf8_valid(begin, size) == size;
}

bool tim_scan_text(TimJsonScan *s) {
    bool plain;
    if (tim_scan_next(s) != '"') return fail(s);
    const char *begin = s->at, *end = tim_json_text_end(begin, s->end, &plain);
    s->text.count = 0;
    if (!end || !(plain ? add_plain(&s->text, begin + 1, (size_t)(end - begin) - 2) : add_escaped(&s->text, begin, end)))
        return fail(s);
    s->at = end;
    return !s->text.failed || fail(s);
}

bool tim_scan_is(const TimJsonScan *s, const char *text) {
    return s->text.count == strlen(text) && (s->text.count == 0 || memcmp(s->text.bytes, text, s->text.count) == 0);
}

bool tim_scan_key(TimJsonScan *s) {
    return tim_scan_text(s) && take(s, ':');
}

/* ---- other values ---- */

static bool is_of_number(char c) {
    return (c >= '0' && c <= '9') || c == '+' || c == '-' || c == '.' || c == 'e' || c == 'E';
}

bool tim_scan_number(TimJsonScan *s, double *value) {
    char digits[64];
    size_t size = 0;
    (void)tim_scan_next(s);
    for (; s->at < s->end && size < sizeof digits - 1 && is_of_number(*s->at); s->at++) digits[size++] = *s->at;
    digits[size] = 0;
    return tim_number_parse(digits, value) || fail(s);
}

static bool skip_text(TimJsonScan *s) {
    bool plain;
    const char *end = tim_json_text_end(s->at, s->end, &plain);
    if (!end) return fail(s);
    s->at = end;
    return true;
}

/* A number, true, false or null. */
static bool skip_word(TimJsonScan *s) {
    const char *begin = s->at;
    while (s->at < s->end && (is_of_number(*s->at) || (*s->at >= 'a' && *s->at <= 'z'))) s->at++;
    return s->at > begin || fail(s);
}

/* Brackets are counted, not told apart: who wants the value's content reads it. */
bool tim_scan_skip(TimJsonScan *s) {
    size_t depth = 0;
    do {
        const char next = tim_scan_next(s);
        if (next == '"') {
            if (!skip_text(s)) return false;
        } else if (next == '[' || next == '{') {
            depth++, s->at++;
        } else if (depth > 0 && (next == ']' || next == '}')) {
            depth--, s->at++;
        } else if (depth > 0 && (next == ',' || next == ':')) {
            s->at++;
        } else if (!skip_word(s)) {
            return false;
        }
    } while (depth > 0);
    return true;
}
