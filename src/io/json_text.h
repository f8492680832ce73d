/* What can be said about JSON as bytes, before or without reading it whole: where a text in it ends, and what it will take in memory
 * (jansson's tree has about 100 bytes a value, and a hostile file a value in every second byte). */
#ifndef TIM_IO_JSON_TEXT_H
#define TIM_IO_JSON_TEXT_H

#include <stdbool.h>
#include <stddef.h>

/* Ten times what the largest published headers and indexes have. */
enum { TIM_JSON_MAX_VALUES = 1 << 21 };

/* Where the text that begins with the quote at `at` ends, behind its other quote; `*plain` says that no byte of it is escaped. NULL
 * where it does not end before `end` or has a control character, which no JSON text may. Pure. */
const char *tim_json_text_end(const char *at, const char *end, bool *plain);

/* Whether JSON has at most `most` values: members, elements, objects and lists, as counted by what opens and separates them. Pure;
 * behind a text that does not end nothing is counted. */
bool tim_json_is_small(const char *text, size_t size, size_t most);

#endif
