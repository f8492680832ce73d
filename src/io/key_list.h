/* The keys that may stand where one is not known, the likeliest first. */
#ifndef TIM_IO_KEY_LIST_H
#define TIM_IO_KEY_LIST_H

#include <stddef.h>

#include "io/config_fields.h"

typedef struct TimKey {
    const char *text; /* borrowed; `length` bytes of it */
    size_t length;
    size_t edits; /* letters to insert, delete or change to make it of the unknown one */
} TimKey;

/* Starts with `meant` set and all else zero. */
typedef struct TimKeyList {
    const char *meant;           /* the unknown key; borrowed */
    TimKey keys[TIM_MAX_FIELDS]; /* few edits first, else as they came */
    size_t count;
} TimKeyList;

/* Adds a key, unless it is there. */
void tim_key_list_add(TimKeyList *list, const char *text, size_t length);

/* The keys with commas between them; ends with "..." where they do not fit. */
void tim_key_list_print(const TimKeyList *list, char *out, size_t size);

#endif
