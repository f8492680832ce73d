#include "io/json_text.h"

const char *tim_json_text_end(const char *at, const char *end, bool *plain) {
    *plain = true;
    for (at++; at < end && *at != '"'; at++) {
        if ((unsigned char)*at < ' ') return NULL;
        if (*at != '\\') continue;
        *plain = false;
        if (++at == end) return NULL;
    }
    return at < end ? at + 1 : NULL;
}

bool tim_json_is_small(const char *text, size_t size, size_t most) {
    const char *at = text, *end = text + size;
    size_t values = 0;
    while (at && at < end) {
        bool plain;
        if ((*at == ',' || *at == '{' || *at == '[') && ++values > most) return false;
        at = *at == '"' ? tim_json_text_end(at, end, &plain) : at + 1;
    }
    return true;
}
