/* Texts of unknown origin as parts of a page or of JSON. Both writers see the same repaired text: bytes that are not UTF-8 and
 * control characters other than tab and newline become U+FFFD, one for each byte. */
#ifndef TIM_EVAL_MARKUP_H
#define TIM_EVAL_MARKUP_H

#include "io/buffer.h"

/* Appends `text` (NULL: nothing) so that it is only text, between tags and inside quoted attributes. */
void tim_markup_html(TimBuffer *out, const char *text);

/* Appends `text` as a JSON string with its quotes; NULL becomes null. */
void tim_markup_json(TimBuffer *out, const char *text);

#endif
