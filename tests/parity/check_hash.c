/* hash.json: the first numbers u of some tensor names, which must agree to the last bit. */
#include <math.h>

#include "nn/hash_weights.h"
#include "parity/checks.h"

static TimStatus check_name(ParityFile *file, const char *name, const json_t *numbers, TimError *err) {
    const size_t count = json_array_size(numbers);
    float *u;
    if (count == 0) return tim_fail(err, TIM_E_FORMAT, "\"%s\" is not a list of numbers", name);
    TIM_TRY(parity_new(file, &u, count, sizeof *u, err));
    tim_hash_uniform(name, count, u);
    double error = 0.0;
    for (size_t i = 0; i < count; i++) {
        const json_t *number = json_array_get(numbers, i);
        if (!json_is_number(number)) return tim_fail(err, TIM_E_FORMAT, "\"%s\": element %zu is not a number", name, i);
        const double difference = fabs((double)u[i] - json_number_value(number));
        if (!(difference <= error)) error = isnan(difference) ? HUGE_VAL : difference;
    }
    parity_report(file, name, error, 0.0);
    return TIM_OK;
}

TimStatus check_hash(ParityFile *file, TimError *err) {
    json_t *names, *numbers;
    const char *name;
    TIM_TRY(parity_json_file(file, &names, err));
    if (!json_is_object(names)) return tim_fail(err, TIM_E_FORMAT, "not a JSON object of names");
    json_object_foreach(names, name, numbers) TIM_TRY(check_name(file, name, numbers, err));
    return TIM_OK;
}
