/* UTF-8 (RFC 3629): shortest forms only, no surrogates, nothing beyond U+10FFFF. */
#ifndef TIM_BASE_UTF8_H
#define TIM_BASE_UTF8_H

#include <stddef.h>
#include <stdint.h>

/* Bytes of the character at `text`, which has `size` bytes left, and the character into *code; 0 when there is no whole one. */
static inline size_t tim_utf8_next(const char *text, size_t size, uint32_t *code) {
    static const uint32_t least[5] = {0, 0, 0x80, 0x800, 0x10000};
    const unsigned char *at = (const unsigned char *)text;
    if (size == 0) return 0;
    const size_t bytes = at[0] < 0x80 ? 1 : at[0] < 0xC2 ? 0 : at[0] < 0xE0 ? 2 : at[0] < 0xF0 ? 3 : at[0] < 0xF5 ? 4 : 0;
    if (bytes == 0 || bytes > size) return 0;
    uint32_t value = bytes == 1 ? at[0] : at[0] & (0x7FU >> bytes);
    for (size_t i = 1; i < bytes; i++) {
        if ((at[i] & 0xC0U) != 0x80U) return 0;
        value = value << 6 | (at[i] & 0x3FU);
    }
    if (value < least[bytes] || value > 0x10FFFF || (value >= 0xD800 && value < 0xE000)) return 0;
    *code = value;
    return bytes;
}

/* Bytes of the longest start of `text` that is UTF-8: `size` when all of it is. */
static inline size_t tim_utf8_valid(const char *text, size_t size) {
    uint32_t code;
    size_t at = 0;
    for (size_t bytes; (bytes = tim_utf8_next(text + at, size - at, &code)) > 0;) at += bytes;
    return at;
}

#endif
