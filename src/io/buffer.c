#include "io/buffer.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "io/file.h"
#include "io/number.h"

enum { SMALLEST = 256 }; /* bytes of a buffer that holds any */

void tim_buffer_done(TimBuffer *buffer) {
    tim_free(buffer->bytes);
    *buffer = (TimBuffer){0};
}

/* At least twice the old capacity, so that n bytes are copied at most 2n times. */
static bool grow(TimBuffer *buffer, size_t needed) {
    size_t wanted;
    if (!tim_mul_size(buffer->capacity, 2, &wanted) || wanted < needed) wanted = needed;
    if (wanted < SMALLEST) wanted = SMALLEST;
    char *bytes = tim_alloc(wanted, 1);
    if (!bytes) return false;
    if (buffer->count) memcpy(bytes, buffer->bytes, buffer->count);
    tim_free(buffer->bytes);
    buffer->bytes = bytes;
    buffer->capacity = wanted;
    return true;
}

/* Room for `count` more bytes; NULL if the buffer has failed. */
static char *reserve(TimBuffer *buffer, size_t count) {
    size_t needed;
    if (buffer->failed) return NULL;
    if (!tim_add_size(buffer->count, count, &needed) || (needed > buffer->capacity && !grow(buffer, needed))) {
        buffer->failed = true;
        return NULL;
    }
    return buffer->bytes + buffer->count;
}

void tim_buffer_add(TimBuffer *buffer, const void *bytes, size_t count) {
    if (count == 0) return;
    char *end = reserve(buffer, count);
    if (!end) return;
    memcpy(end, bytes, count);
    buffer->count += count;
}

void tim_buffer_text(TimBuffer *buffer, const char *text) {
    tim_buffer_add(buffer, text, strlen(text));
}

/* Measures, then prints; printf wants one byte more than it leaves. */
static void format_plain(TimBuffer *buffer, const char *format, va_list args) {
    va_list again;
    va_copy(again, args);
    const int length = vsnprintf(NULL, 0, format, args);
    char *end = length >= 0 ? reserve(buffer, (size_t)length + 1) : NULL;
    if (end) {
        vsnprintf(end, (size_t)length + 1, format, again);
        buffer->count += (size_t)length;
    }
    if (length < 0) buffer->failed = true;
    va_end(again);
}

void tim_buffer_format(TimBuffer *buffer, const char *format, ...) {
    va_list args;
    locale_t before;
    const locale_t plain = tim_locale_enter_plain(&before);
    va_start(args, format);
    format_plain(buffer, format, args);
    va_end(args);
    tim_locale_leave_plain(plain, before);
}

/* Three bytes make four digits of 6 bits; digits that hold no bit of a missing byte are "=". */
static void put_group(char out[4], const uint8_t *bytes, size_t count) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const unsigned word = (unsigned)bytes[0] << 16 | (count > 1 ? (unsigned)bytes[1] << 8 : 0) | (count > 2 ? bytes[2] : 0);
    for (size_t i = 0; i < 4; i++) out[i] = i <= count ? digits[word >> (18 - 6 * i) & 63] : '=';
}

void tim_buffer_base64(TimBuffer *buffer, const void *bytes, size_t count) {
    const uint8_t *at = bytes;
    for (size_t i = 0; i < count; i += 3) {
        char *end = reserve(buffer, 4);
        if (!end) return;
        put_group(end, at + i, count - i);
        buffer->count += 4;
    }
}

TimStatus tim_buffer_check(const TimBuffer *buffer, const char *what, TimError *err) {
    if (!buffer->failed) return TIM_OK;
    return tim_fail(err, TIM_E_MEMORY, "%s: no memory for more than %zu bytes; free some", what, buffer->count);
}

TimStatus tim_buffer_write(const TimBuffer *buffer, const char *path, TimError *err) {
    TIM_TRY(tim_buffer_check(buffer, path, err));
    return tim_file_write(path, buffer->bytes, buffer->count, err);
}
