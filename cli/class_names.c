#include "class_names.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* In the order of the data set's labels, as short as a column of a sheet is narrow. */
static const char *const fashion_mnist[] = {"T-shirt", "trouser", "pullover", "dress", "coat",
                                            "sandal",  "shirt",   "sneaker",  "bag",   "ankle boot"};

enum { FASHION_MNIST_CLASSES = sizeof fashion_mnist / sizeof *fashion_mnist };

void class_label(char *text, size_t size, const TimConfig *config, int64_t class_index) {
    const bool fashion = config->data_type && strcmp(config->data_type, "fashion-mnist") == 0;
    if (fashion && class_index >= 0 && class_index < FASHION_MNIST_CLASSES)
        snprintf(text, size, "%s", fashion_mnist[class_index]);
    else
        snprintf(text, size, "class %" PRId64, class_index);
}
