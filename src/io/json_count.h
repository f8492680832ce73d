/* What a JSON text will take in memory, before it is read: jansson's tree has about 100 bytes a value, and a hostile text a value in
 * every second byte. */
#ifndef TIM_IO_JSON_COUNT_H
#define TIM_IO_JSON_COUNT_H

#include <stdbool.h>
#include <stddef.h>

/* Ten times what the largest published headers and indexes have. */
enum { TIM_JSON_MAX_VALUES = 1 << 21 };

/* Whether a text has at most `most` values: members, elements, objects and lists, as counted by what opens and separates them. Pure;
 * of a text that is no JSON the answer says nothing. */
bool tim_json_is_small(const char *text, size_t size, size_t most);

#endif
