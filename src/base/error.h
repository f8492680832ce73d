/* How failures travel: tim_fail writes the text once, at the place that knows; callers pass the status on with TIM_TRY. */
#ifndef TIM_BASE_ERROR_H
#define TIM_BASE_ERROR_H

#include <stdarg.h>

#include "tim/status.h"

/* Fills `err` (may be NULL) and returns `status`, so that a check reads `return tim_fail(err, TIM_E_..., ...)`. */
TimStatus tim_fail(TimError *err, TimStatus status, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* The same with the arguments in a list. */
TimStatus tim_fail_with(TimError *err, TimStatus status, const char *format, va_list args) __attribute__((format(printf, 3, 0)));

/* Puts "context: " before the text of an error that is already set, for callers that know the file or tensor. Returns `status`. */
TimStatus tim_fail_within(TimError *err, TimStatus status, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* Puts more behind the text of an error that is already set, for callers that know the remedy. Returns `status`. */
TimStatus tim_fail_further(TimError *err, TimStatus status, const char *format, ...) __attribute__((format(printf, 3, 4)));

#define TIM_TRY(call)                                                                                                              \
    do {                                                                                                                           \
        const TimStatus tim_try_status_ = (call);                                                                                  \
        if (tim_try_status_ != TIM_OK) return tim_try_status_;                                                                     \
    } while (0)

#endif
