/* In which fields two configurations differ. */
#ifndef TIM_IO_CONFIG_DIFF_H
#define TIM_IO_CONFIG_DIFF_H

#include <stddef.h>

#include "tim/config.h"

/* Told of a field with two values, as a file would show them; "none" where the field does not belong to that configuration. */
typedef void (*TimConfigDiffers)(void *context, const char *path, const char *was, const char *is);

/* Calls `differs` (NULL: nobody asks) for each field that differs, in the order of a file; returns how many do. */
size_t tim_config_compare(const TimConfig *was, const TimConfig *is, TimConfigDiffers differs, void *context);

#endif
