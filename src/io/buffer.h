/* Bytes that grow at their end: a text being written, a file in memory.
 * The first failure sticks: what is added after it is dropped, so that a writer is straight lines and asks once, at the end. */
#ifndef TIM_IO_BUFFER_H
#define TIM_IO_BUFFER_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

/* {0} is an empty buffer. The owner calls tim_buffer_done. */
typedef struct TimBuffer {
    char *bytes; /* owned; not terminated; NULL while empty */
    size_t count, capacity;
    bool failed; /* an allocation failed: the content is incomplete */
} TimBuffer;

/* Frees the bytes and leaves the buffer empty. */
void tim_buffer_done(TimBuffer *buffer);

/* Appends `count` bytes, which must not be the buffer's own. */
void tim_buffer_add(TimBuffer *buffer, const void *bytes, size_t count);

/* Appends a text without its end. */
void tim_buffer_text(TimBuffer *buffer, const char *text);

/* Appends as printf does in the C locale, whatever the program's. */
void tim_buffer_format(TimBuffer *buffer, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Appends the bytes in base64 (RFC 4648), padded, in one line. */
void tim_buffer_base64(TimBuffer *buffer, const void *bytes, size_t count);

/* TIM_E_MEMORY if anything failed since the buffer was empty; `what` names the content. */
TimStatus tim_buffer_check(const TimBuffer *buffer, const char *what, TimError *err);

/* Writes the content to `path`, which is replaced only when the file is whole. Errors: as tim_buffer_check; TIM_E_IO. */
TimStatus tim_buffer_write(const TimBuffer *buffer, const char *path, TimError *err);

#endif
