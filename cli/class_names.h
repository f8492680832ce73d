/* What the classes of a model are called, by the data set its configuration names: Fashion-MNIST, and ImageNet for every other
 * network of 1000 classes. */
#ifndef TIM_CLI_CLASS_NAMES_H
#define TIM_CLI_CLASS_NAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "options.h"
#include "tim/config.h"

enum { IMAGENET_CLASSES = 1000 };

/* The names of each class with commas between them, "golden retriever" alone or "tench, Tinca tinca". */
extern const char *const imagenet_names[IMAGENET_CLASSES];

/* Writes the usual name, "sneaker"; a text longer than `size` - 1 bytes is cut. False, and "", where the class has none. */
bool class_name(char *text, size_t size, const TimConfig *config, int64_t class_index);

/* As class_name, and "class 7" where there is no name. */
void class_label(char *text, size_t size, const TimConfig *config, int64_t class_index);

/* *classes = what `text` lists with commas between: numbers, and names where classes have some, of which case does not matter and
 * '_' is a blank. Numbers are not held against the model's. TIM_E_ARGUMENT for a name that several classes share, or none has. */
TimStatus class_list_read(NumberList *classes, const char *text, const TimConfig *config, TimError *err);

#endif
