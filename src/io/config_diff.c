#include "io/config_diff.h"

#include <string.h>

#include "io/config_fields.h"

enum { VALUE_BYTES = 128 };

static bool is_stored(const TimField *field) {
    return field->type != TIM_FIELD_ONLY && field->type != TIM_FIELD_FIXED && field->type != TIM_FIELD_SKIP;
}

static const char *value_of(const TimField *field, const TimConfig *config, char buffer[VALUE_BYTES]) {
    if (!tim_field_applies(field, config)) return "none";
    const char *text = field->type == TIM_FIELD_TEXT ? tim_field_text(field, config) : NULL;
    if (text) return text;
    tim_field_format(field, config, buffer, VALUE_BYTES);
    return buffer;
}

size_t tim_config_compare(const TimConfig *was, const TimConfig *is, TimConfigDiffers differs, void *context) {
    size_t count, different = 0;
    const TimField *fields = tim_fields_get(&count);
    for (size_t i = 0; i < count; i++) {
        if (!is_stored(&fields[i])) continue;
        char before[VALUE_BYTES], after[VALUE_BYTES];
        const char *a = value_of(&fields[i], was, before), *b = value_of(&fields[i], is, after);
        if (strcmp(a, b) == 0) continue;
        different++;
        if (differs) differs(context, fields[i].path, a, b);
    }
    return different;
}
