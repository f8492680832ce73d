#include "eval/markup.h"

#include <stdint.h>
#include <string.h>

static const char replacement[] = "\xEF\xBF\xBD"; /* U+FFFD */

/* Bytes that the first byte of a character announces, and the range of its second byte: Unicode 15, table 3-7. Overlong forms,
 * surrogates and what lies above U+10FFFF are outside. 0: no character starts like this. */
static size_t announced(uint8_t first, uint8_t *low, uint8_t *high) {
    *low = first == 0xE0 ? 0xA0 : first == 0xF0 ? 0x90 : 0x80;
    *high = first == 0xED ? 0x9F : first == 0xF4 ? 0x8F : 0xBF;
    if (first < 0x80) return 1;
    if (first >= 0xC2 && first <= 0xDF) return 2;
    if (first >= 0xE0 && first <= 0xEF) return 3;
    return first >= 0xF0 && first <= 0xF4 ? 4 : 0;
}

/* Bytes of the character at `text`, 0 if there is none that may be shown. Never looks past the text's end, which is no
 * continuation byte. */
static size_t character(const char *text) {
    const uint8_t *at = (const uint8_t *)text;
    uint8_t low, high;
    const size_t bytes = announced(at[0], &low, &high);
    if (bytes == 1) return (at[0] >= ' ' && at[0] != 0x7F) || at[0] == '\n' || at[0] == '\t';
    for (size_t i = 1; i < bytes; i++)
        if (at[i] < (i == 1 ? low : 0x80) || at[i] > (i == 1 ? high : 0xBF)) return 0;
    if (bytes == 2 && at[0] == 0xC2 && at[1] < 0xA0) return 0; /* the second set of control characters */
    return bytes;
}

/* NULL: the character stands for itself. */
static const char *html_entity(char c) {
    switch (c) {
    case '&':
        return "&amp;";
    case '<':
        return "&lt;";
    case '>':
        return "&gt;";
    case '"':
        return "&quot;";
    case '\'':
        return "&#39;";
    default:
        return NULL;
    }
}

static const char *json_escape(char c) {
    switch (c) {
    case '"':
        return "\\\"";
    case '\\':
        return "\\\\";
    case '\n':
        return "\\n";
    case '\t':
        return "\\t";
    default:
        return NULL;
    }
}

static void put_escaped(TimBuffer *out, const char *text, const char *(*escape)(char)) {
    while (*text) {
        const size_t bytes = character(text);
        const char *instead = bytes == 0 ? replacement : escape(*text);
        if (instead)
            tim_buffer_text(out, instead);
        else
            tim_buffer_add(out, text, bytes);
        text += bytes ? bytes : 1;
    }
}

void tim_markup_html(TimBuffer *out, const char *text) {
    if (text) put_escaped(out, text, html_entity);
}

void tim_markup_json(TimBuffer *out, const char *text) {
    if (!text) {
        tim_buffer_text(out, "null");
        return;
    }
    tim_buffer_text(out, "\"");
    put_escaped(out, text, json_escape);
    tim_buffer_text(out, "\"");
}
