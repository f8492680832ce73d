#include "model/old_names.h"

#include <stdio.h>
#include <string.h>

static const char *const parts[][2] = {
    {".query.", ".to_q."}, {".key.", ".to_k."}, {".value.", ".to_v."}, {".proj_attn.", ".to_out.0."}};

/* With the first part found replaced, from parts[.][!to] to [to]. */
static const char *renamed(char out[TIM_OLD_NAME_BYTES], const char *name, int to) {
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        const char *at = strstr(name, parts[i][!to]);
        if (!at || !strstr(name, ".attentions.")) continue;
        snprintf(out, TIM_OLD_NAME_BYTES, "%.*s%s%s", (int)(at - name), name, parts[i][to], at + strlen(parts[i][!to]));
        return out;
    }
    return name;
}

const char *tim_modern_name(char out[TIM_OLD_NAME_BYTES], const char *name) {
    return renamed(out, name, 1);
}

const char *tim_old_name(char out[TIM_OLD_NAME_BYTES], const char *name) {
    return renamed(out, name, 0);
}
