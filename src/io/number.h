/* Numbers as the text of files: always with a point, whatever the program's locale says. */
#ifndef TIM_IO_NUMBER_H
#define TIM_IO_NUMBER_H

#include <locale.h>
#include <stdbool.h>
#include <stddef.h>

/* The whole of `text` as a finite decimal number; false if it is none. */
bool tim_number_parse(const char *text, double *out);

/* The whole of `text` as an integer from `low` to `high`; false if it is none. */
bool tim_number_parse_integer(const char *text, long long low, long long high, long long *out);

/* Few digits that read back to the same bits. Always has a point: YAML 1.1 takes 1e-06 for a text. 32 bytes suffice. */
void tim_number_print(double value, char *out, size_t size);

/* Between the two calls printf and strtod of this thread write and read a point; else they follow the program's locale, which a
 * file does not. The second takes what the first gave. */
locale_t tim_locale_enter_plain(locale_t *before);
void tim_locale_leave_plain(locale_t plain, locale_t before);

#endif
