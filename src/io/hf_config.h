/* config.json of a Hugging Face folder. A table says of each key what becomes of it, and every key of the file must be in the table
 * or among those that all models share: a setting that nobody reads could change results without a word.
 * Source: the configuration classes of the transformers package. */
#ifndef TIM_IO_HF_CONFIG_H
#define TIM_IO_HF_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

struct json_t;

typedef enum TimHfFieldType {
    TIM_HF_INT,    /* int64_t */
    TIM_HF_DOUBLE, /* double */
    TIM_HF_ONLY,   /* not stored: `only` lists the values that this library implements */
    TIM_HF_SKIP    /* changes no result, or the caller reads it */
} TimHfFieldType;

typedef struct TimHfField {
    const char *key;
    TimHfFieldType type;
    size_t offset;    /* of the number in the caller's struct */
    double low, high; /* inclusive range of a number */
    bool required;    /* else an absent key leaves what the struct holds */
    const char *only; /* JSON values separated by '|' */
} TimHfField;

enum { TIM_HF_CONFIG_MAX = 16 << 20 }; /* bytes of such a text; jansson takes up to 80 times as many */

/* The parsed object of the file at `path`, of diffusers folders too; free with json_decref.
 * TIM_E_FORMAT, naming the file, for what is no JSON object or longer than TIM_HF_CONFIG_MAX. */
TimStatus tim_hf_config_open(struct json_t **object, const char *path, TimError *err);

/* The same of a text. */
TimStatus tim_hf_config_parse(struct json_t **object, const char *text, size_t size, TimError *err);

/* Stores the numbers of `object` in the struct `out`. TIM_E_FORMAT for a missing or unknown key, a wrong type, a number out of
 * range; TIM_E_UNSUPPORTED for a value that is not implemented. The text names key, value and remedy; the caller adds the file. */
TimStatus tim_hf_config_read(void *out, const TimHfField *fields, size_t count, struct json_t *object, TimError *err);

#endif
