/* What the classes of a model are called, by the data set its configuration names. */
#ifndef TIM_CLI_CLASS_NAMES_H
#define TIM_CLI_CLASS_NAMES_H

#include <stddef.h>
#include <stdint.h>

#include "tim/config.h"

/* Writes "sneaker" where the name is known and "class 7" elsewhere; a text longer than `size` - 1 bytes is cut. */
void class_label(char *text, size_t size, const TimConfig *config, int64_t class_index);

#endif
