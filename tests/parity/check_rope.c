/* rope: cos and sin of every scheme that the file holds, in tensors called <scheme>/cos and <scheme>/sin. */
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "nn/rope_table.h"
#include "parity/checks.h"

static const double tolerance = 1e-6;

typedef struct Grid {
    int h, w, head_width;
    size_t count; /* N dh */
    TimRopeConfig config;
} Grid;

static TimStatus read_size(ParityFile *file, const char *key, int *size, TimError *err) {
    double number;
    TIM_TRY(parity_number(file, key, &number, err));
    if (!(number >= 1.0 && number <= 65536.0)) return tim_fail(err, TIM_E_FORMAT, "metadata \"%s\" is %g", key, number);
    *size = (int)number;
    return TIM_OK;
}

static TimStatus read_grid(ParityFile *file, Grid *grid, TimError *err) {
    TIM_TRY(read_size(file, "h", &grid->h, err));
    TIM_TRY(read_size(file, "w", &grid->w, err));
    TIM_TRY(read_size(file, "head_dim", &grid->head_width, err));
    if (!tim_mul_size((size_t)grid->h * (size_t)grid->w, (size_t)grid->head_width, &grid->count))
        return tim_fail(err, TIM_E_FORMAT, "%d x %d tokens of %d do not fit", grid->h, grid->w, grid->head_width);
    grid->config = tim_rope_config_default();
    return parity_optional_number(file, "theta", &grid->config.theta, err);
}

static TimStatus read_scaled(ParityFile *file, TimRopeConfig *config, TimError *err) {
    json_t *scaled;
    json_error_t cause;
    int decouple;
    TIM_TRY(parity_json(file, "scaled", &scaled, err));
    if (json_unpack_ex(scaled, &cause, 0, "{s:i, s:i, s:i, s:b}", "max_pe_len_h", &config->max_pe_len_h, "max_pe_len_w",
                       &config->max_pe_len_w, "ori_max_pe_len", &config->ori_max_pe_len, "decouple", &decouple) != 0)
        return tim_fail(err, TIM_E_FORMAT, "metadata \"scaled\": %s", cause.text);
    config->decouple = decouple;
    return TIM_OK;
}

/* Both tensors of the scheme that `name` = "<scheme>/cos" belongs to. */
static TimStatus check_scheme(ParityFile *file, Grid *grid, const char *name, TimError *err) {
    char scheme[64], sine_name[80];
    snprintf(scheme, sizeof scheme, "%.*s", (int)strcspn(name, "/"), name);
    snprintf(sine_name, sizeof sine_name, "%s/sin", scheme);
    TIM_TRY(tim_rope_scheme_find(scheme, &grid->config.scheme, err));
    float *cosines, *sines;
    TIM_TRY(parity_new(file, &cosines, grid->count, sizeof *cosines, err));
    TIM_TRY(parity_new(file, &sines, grid->count, sizeof *sines, err));
    TIM_TRY(tim_rope_table(cosines, sines, grid->h, grid->w, grid->head_width, &grid->config, err));
    parity_compare_f32(file, name, cosines, grid->count, tolerance);
    parity_compare_f32(file, sine_name, sines, grid->count, tolerance);
    return TIM_OK;
}

TimStatus check_rope(ParityFile *file, TimError *err) {
    Grid grid;
    TIM_TRY(read_grid(file, &grid, err));
    TIM_TRY(read_scaled(file, &grid.config, err));
    for (size_t i = 0; i < file->tensors.count; i++) {
        const char *name = file->tensors.tensors[i].name, *slash = strchr(name, '/');
        if (slash && strcmp(slash, "/cos") == 0) TIM_TRY(check_scheme(file, &grid, name, err));
    }
    return TIM_OK;
}
