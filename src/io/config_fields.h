/* The fields of a configuration: one table of path, type, place, range and names, which reader, writer, checker and the JSON of
 * golden files share. Invariant: the table's order is the order of a written file, and the fields of a section lie together. */
#ifndef TIM_IO_CONFIG_FIELDS_H
#define TIM_IO_CONFIG_FIELDS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "tim/config.h"

typedef enum TimFieldType {
    TIM_FIELD_INT,
    TIM_FIELD_INT_OR_NULL, /* null is 0 */
    TIM_FIELD_INT64,
    TIM_FIELD_DOUBLE,
    TIM_FIELD_BOOL,
    TIM_FIELD_TEXT,  /* char *, NULL when absent or null */
    TIM_FIELD_NAME,  /* an enum whose value indexes `names`; below "training" another value is noted in TimConfig.untrainable */
    TIM_FIELD_ONLY,  /* not stored: names[0] is the only value that this library implements; below "training" as NAME */
    TIM_FIELD_FIXED, /* not stored: training knows only the value names[0]; another one is noted in TimConfig.untrainable, with the
                      * remedy names[1] */
    TIM_FIELD_SKIP   /* read and not stored, with all that lies below it: no effect here, noted in TimConfig.without_effect */
} TimFieldType;

typedef struct TimField {
    const char *path; /* keys from the root joined by dots, list positions as numbers */
    TimFieldType type;
    size_t offset;            /* in TimConfig */
    double low, high;         /* inclusive range of a number */
    const char *const *names; /* up to NULL */
    unsigned kinds;           /* bit k: the section has this key if its kind is k; 0: always */
} TimField;

enum { TIM_MAX_FIELDS = 128, TIM_MAX_FIELD_PATH = 256 };

/* Reads a configuration from a text, as tim_config_read from a file. `config` needs tim_config_done also after a failure. */
TimStatus tim_config_parse(TimConfig *config, const char *text, TimError *err);

/* One value of a file. */
typedef struct TimFieldValue {
    const char *path;
    const char *text; /* NULL: a mapping or a list, whose content follows */
    bool quoted;      /* a text even where it looks like a number */
} TimFieldValue;

/* Which fields a file has set already. Starts zeroed. */
typedef struct TimFieldSet {
    bool has[TIM_MAX_FIELDS];
} TimFieldSet;

/* The table; static storage. */
const TimField *tim_fields_get(size_t *count);

/* True if the kind of the field's section has this key. */
bool tim_field_applies(const TimField *field, const TimConfig *config);

/* Stores `value` in its field, or notes that it has no effect. Errors: a type that does not fit, a repeated key, an unknown key in
 * a section. The transport's and the network's kind must be set before their params. */
TimStatus tim_field_assign(TimConfig *config, TimFieldSet *seen, const TimFieldValue *value, TimError *err);

/* The value of a field that is no text, as YAML; doubles in the shortest form that reads back to the same bits. */
void tim_field_format(const TimField *field, const TimConfig *config, char *out, size_t size);

/* The text of a TIM_FIELD_TEXT. */
const char *tim_field_text(const TimField *field, const TimConfig *config);

/* Checks the network's fields: ranges, and how they fit each other. */
TimStatus tim_network_config_check(const TimConfig *config, TimError *err);

#endif
