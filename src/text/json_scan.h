/* JSON (RFC 8259) read front to back, value by value, without a document of it: for lists of hundreds of thousands of texts, of
 * which a document takes ten times the file's memory and most of a second. The caller asks for what should come next. */
#ifndef TIM_TEXT_JSON_SCAN_H
#define TIM_TEXT_JSON_SCAN_H

#include <stdbool.h>

#include "io/buffer.h"

typedef struct TimJsonScan {
    const char *at, *end; /* borrowed: what is left */
    bool good;            /* false, and nothing is taken any more: something else came, or memory ran out */
    TimBuffer text;       /* the last text that was taken, UTF-8, maybe with zero bytes; tim_scan_done frees it */
} TimJsonScan;

TimJsonScan tim_scan_of(const char *begin, const char *end);

void tim_scan_done(TimJsonScan *scan);

/* Takes `open`, '[' or '{'. */
bool tim_scan_open(TimJsonScan *scan, char open);

/* Whether one more entry of the list or object follows, which ends with `close`: takes the comma before it, or the end. `first`: it
 * would be the first. */
bool tim_scan_entry(TimJsonScan *scan, char close, bool first);

/* Takes a text into scan->text. */
bool tim_scan_text(TimJsonScan *scan);

/* Whether scan->text is that. */
bool tim_scan_is(const TimJsonScan *scan, const char *text);

/* Takes an object's key into scan->text, and the colon. */
bool tim_scan_key(TimJsonScan *scan);

/* Takes a number, in any decimal form that strtod takes. */
bool tim_scan_number(TimJsonScan *scan, double *value);

/* What comes next: '[', '{', '"', the first character of a number, ...; 0 at the end. */
char tim_scan_next(TimJsonScan *scan);

/* Takes a value of any kind, without a look at what is in it but where it ends. */
bool tim_scan_skip(TimJsonScan *scan);

#endif
