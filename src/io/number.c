#include "io/number.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

locale_t tim_locale_enter_plain(locale_t *before) {
    const locale_t plain = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    *before = uselocale(plain); /* a failed newlocale gives 0, which changes nothing */
    return plain;
}

void tim_locale_leave_plain(locale_t plain, locale_t before) {
    uselocale(before);
    if (plain != (locale_t)0) freelocale(plain);
}

bool tim_number_parse(const char *text, double *out) {
    if (*text == '\0' || text[strspn(text, "0123456789+-.eE")] != '\0') return false; /* no hexadecimal, no nan */
    locale_t before;
    const locale_t plain = tim_locale_enter_plain(&before);
    char *end;
    *out = strtod(text, &end);
    tim_locale_leave_plain(plain, before);
    return *end == '\0' && isfinite(*out);
}

bool tim_number_parse_integer(const char *text, long long low, long long high, long long *out) {
    if (*text == '\0' || text[strspn(text, "0123456789+-")] != '\0') return false;
    char *end;
    errno = 0;
    *out = strtoll(text, &end, 10);
    return *end == '\0' && errno == 0 && *out >= low && *out <= high;
}

/* As few digits as read back to the same bits, and never an exponent for 100. */
static void print_shortest(double value, char *out, size_t size) {
    locale_t before;
    const locale_t plain = tim_locale_enter_plain(&before);
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(out, size, "%.*g", digits, value);
        if (strtod(out, NULL) == value) break;
    }
    tim_locale_leave_plain(plain, before);
}

void tim_number_print(double value, char *out, size_t size) {
    char digits[40];
    print_shortest(value, digits, sizeof digits);
    const size_t mantissa = strcspn(digits, "e");
    const bool has_point = memchr(digits, '.', mantissa) != NULL;
    snprintf(out, size, "%.*s%s%s", (int)mantissa, digits, has_point ? "" : ".0", digits + mantissa);
}
