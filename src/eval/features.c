#include "eval/features.h"

#include <math.h>

TimStatus tim_features_check(TimFeatures features, size_t least, const char *name, TimError *err) {
    const size_t width = features.width;
    if (width < 1 || width > TIM_FEATURES_MAX_WIDTH)
        return tim_fail(err, TIM_E_ARGUMENT, "%s: a row has %zu values; give 1 to %d", name, width, TIM_FEATURES_MAX_WIDTH);
    if (features.count < least)
        return tim_fail(err, TIM_E_ARGUMENT, "%s: %zu rows; give at least %zu", name, features.count, least);
    for (size_t i = 0; i < features.count; i++)
        for (size_t c = 0; c < width; c++)
            if (!isfinite(features.values[i * width + c]))
                return tim_fail(err, TIM_E_ARGUMENT, "%s: row %zu, column %zu is %g; leave that picture out or mend its features",
                                name, i, c, (double)features.values[i * width + c]);
    return TIM_OK;
}

TimStatus tim_features_check_widths(size_t a, size_t b, TimError *err) {
    if (a == b) return TIM_OK;
    return tim_fail(err, TIM_E_ARGUMENT, "rows of %zu and of %zu values; compare features of one network", a, b);
}
