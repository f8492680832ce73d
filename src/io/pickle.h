/* Pickles, read as plain values: the opcodes that torch writes (protocols 2 to 5), on a stack of numbers, texts and containers.
 * Invariant: nothing is executed. A global is known only when the caller lists it, applying one is recorded as a value, and an
 * object of the outer file is a value too. Every size is checked against the bytes that are there, every count against a limit.
 * Format: the comments of CPython's Lib/pickletools.py. */
#ifndef TIM_IO_PICKLE_H
#define TIM_IO_PICKLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

enum {
    TIM_PICKLE_MAX_BYTES = 64 << 20,
    TIM_PICKLE_MAX_VALUES = 4 << 20, /* made by one pickle; as many may stand on its stack and in its memo */
    TIM_PICKLE_MAX_MARKS = 1000      /* containers begun and not ended: a bound on the depth of literals */
};

typedef enum TimPickleKind {
    TIM_PICKLE_NONE,
    TIM_PICKLE_BOOL,
    TIM_PICKLE_INTEGER,
    TIM_PICKLE_REAL,
    TIM_PICKLE_TEXT,
    TIM_PICKLE_TUPLE,
    TIM_PICKLE_LIST,
    TIM_PICKLE_DICT,
    TIM_PICKLE_GLOBAL,
    TIM_PICKLE_CALL,   /* a global applied to a tuple, which nobody did */
    TIM_PICKLE_OUTSIDE /* an object of the file that holds the pickle */
} TimPickleKind;

/* A value. Values are shared, and through the memo a container may hold itself: whoever walks them bounds depth and steps. */
typedef struct TimPickleValue {
    TimPickleKind kind;
    int global;                    /* of a GLOBAL or CALL: its place in the caller's list */
    int64_t integer;               /* of an INTEGER or BOOL */
    double real;                   /* of a REAL */
    const char *text;              /* of a TEXT: in the pickle, not terminated, `count` bytes of UTF-8 */
    struct TimPickleValue **items; /* of a TUPLE or LIST; of a DICT and a CALL that was filled as one: keys and values in turn */
    size_t count, capacity;
    struct TimPickleValue *argument; /* of a CALL: its tuple; of an OUTSIDE: what names it */
    struct TimPickleValue *state;    /* of a CALL: what BUILD gave it; NULL: nothing */
} TimPickleValue;

/* A global that may appear. */
typedef struct TimPickleGlobal {
    const char *module, *name;
} TimPickleGlobal;

/* A pickle that was read. The bytes and the list of globals are borrowed until tim_pickle_done. */
typedef struct TimPickle {
    TimPickleValue *root;
    size_t size;              /* bytes that it took */
    TimPickleValue **outside; /* (outside_count): its OUTSIDE values in their order */
    size_t outside_count, outside_capacity;
    struct TimPickleBlock *blocks; /* own the values */
    struct TimPickleSlots *slots;  /* own their items */
    size_t value_count;
} TimPickle;

/* Reads the pickle at the start of `bytes`; `globals` are the `global_count` that may appear.
 * TIM_E_FORMAT names the byte; TIM_E_UNSUPPORTED names the global or the opcode. Then the pickle is empty. */
TimStatus tim_pickle_read(TimPickle *pickle, const uint8_t *bytes, size_t size, const TimPickleGlobal *globals, size_t global_count,
                          TimError *err);

/* Whether the value is this text. */
bool tim_pickle_is_text(const TimPickleValue *value, const char *text);

void tim_pickle_done(TimPickle *pickle);

#endif
