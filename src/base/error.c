#include "base/error.h"

#include <stdio.h>
#include <string.h>

#include "base/utf8.h"

const char *tim_status_name(TimStatus status) {
    static const char *const names[] = {"ok", "argument", "memory", "io", "format", "unsupported", "cancelled", "internal"};
    const unsigned index = (unsigned)status;
    return index < sizeof names / sizeof *names ? names[index] : "unknown";
}

const char *tim_version(void) {
    return TIM_VERSION;
}

/* Where a character begins. */
static void mark_cut(char *text, size_t size, int wanted) {
    if (wanted < 0 || (size_t)wanted < size) return;
    size_t at = size - 4;
    for (int i = 0; i < 3 && ((unsigned char)text[at] & 0xC0U) == 0x80U; i++) at--;
    memcpy(text + at, "...", 4);
}

/* Names in files may hold what a terminal would obey: control characters, those of U+0080 ... U+009F, and what is not UTF-8 become
 * question marks. */
static void disarm(char *text) {
    size_t left = strlen(text);
    while (left > 0) {
        uint32_t code = 0;
        const size_t bytes = tim_utf8_next(text, left, &code), step = bytes ? bytes : 1;
        if (!bytes || code < 0x20 || (code >= 0x7F && code < 0xA0)) memset(text, '?', step);
        text += step, left -= step;
    }
}

TimStatus tim_fail_with(TimError *err, TimStatus status, const char *format, va_list args) {
    if (!err) return status;
    err->status = status;
    mark_cut(err->text, sizeof err->text, vsnprintf(err->text, sizeof err->text, format, args));
    disarm(err->text);
    return status;
}

TimStatus tim_fail(TimError *err, TimStatus status, const char *format, ...) {
    va_list args;
    va_start(args, format);
    tim_fail_with(err, status, format, args);
    va_end(args);
    return status;
}

/* Bytes for what stands before a cause of `length`: what both have less the cause, but a third at least. */
static size_t room_before(size_t length, size_t size) {
    const size_t colon = 2, least = size / 3;
    return length + colon + least > size ? least : size - length - colon;
}

TimStatus tim_fail_within(TimError *err, TimStatus status, const char *format, ...) {
    if (!err) return status;
    char context[sizeof err->text], inner[sizeof err->text];
    va_list args;
    va_start(args, format);
    const int wanted = vsnprintf(context, sizeof context, format, args);
    va_end(args);
    memcpy(inner, err->text, sizeof inner);
    mark_cut(context, room_before(strlen(inner), sizeof context), wanted);
    disarm(context);
    err->status = status;
    mark_cut(err->text, sizeof err->text, snprintf(err->text, sizeof err->text, "%s: %s", context, inner));
    return status;
}

TimStatus tim_fail_further(TimError *err, TimStatus status, const char *format, ...) {
    if (!err) return status;
    const size_t at = strlen(err->text), room = sizeof err->text - at;
    va_list args;
    va_start(args, format);
    const int wanted = vsnprintf(err->text + at, room, format, args);
    va_end(args);
    err->status = status;
    mark_cut(err->text, sizeof err->text, wanted < 0 ? wanted : (int)at + wanted);
    disarm(err->text + at);
    return status;
}
