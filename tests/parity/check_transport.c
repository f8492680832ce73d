/* transport/: path, velocity, time input, target with and without guidance, and jump of one transport for B pairs (t, r).
 * Everything is recomputed from x, z, F, E and the times; x_t and v_t are outputs like the others. */
#include <string.h>

#include "parity/checks.h"
#include "transport/transport.h"

static const double tolerance = 1e-12;

/* Inputs of a file: (B) and (B, ...) with `width` elements for each of the B samples. */
typedef struct Inputs {
    TimTransportConfig config;
    const TimTransport *transport;
    size_t batch, width;
    double *t, *r;
    double *x, *z, *f, *e, *f_cond, *f_null;
} Inputs;

static TimStatus find_transport(Inputs *in, const char *name, TimError *err) {
    for (int kind = TIM_TRANSPORT_OT_FM; kind <= TIM_TRANSPORT_VE_SDE; kind++) {
        in->transport = tim_transport_get((TimTransportKind)kind);
        if (strcmp(in->transport->name, name) != 0) continue;
        tim_transport_config_init(&in->config, (TimTransportKind)kind);
        return TIM_OK;
    }
    return tim_fail(err, TIM_E_FORMAT, "metadata \"class\": no transport is called \"%s\"", name);
}

/* The guidance is always stored; the other fields only where they differ from the defaults. */
static TimStatus read_config(ParityFile *file, Inputs *in, TimError *err) {
    const char *name;
    TIM_TRY(parity_text(file, "class", &name, err));
    TIM_TRY(find_transport(in, name, err));
    TimTransportConfig *config = &in->config;
    config->enhance_target = true;
    TIM_TRY(parity_number(file, "w_gt", &config->w_gt, err));
    TIM_TRY(parity_number(file, "w_cond", &config->w_cond, err));
    TIM_TRY(parity_number(file, "w_start", &config->w_start, err));
    TIM_TRY(parity_number(file, "w_end", &config->w_end, err));
    TIM_TRY(parity_optional_number(file, "sigma_d", &config->sigma_d, err));
    TIM_TRY(parity_optional_number(file, "beta_min", &config->beta_min, err));
    return parity_optional_number(file, "beta_d", &config->beta_d, err);
}

static TimStatus read_tensor(ParityFile *file, const char *name, size_t count, double **values, TimError *err) {
    const TimStoredTensor *tensor;
    TIM_TRY(parity_input_f64(file, name, values, &tensor, err));
    if (tensor->count == count) return TIM_OK;
    return tim_fail(err, TIM_E_FORMAT, "%s holds %zu elements, not %zu", name, tensor->count, count);
}

static TimStatus read_inputs(ParityFile *file, Inputs *in, TimError *err) {
    const TimStoredTensor *times, *x;
    TIM_TRY(parity_input_f64(file, "t", &in->t, &times, err));
    TIM_TRY(parity_input_f64(file, "x", &in->x, &x, err));
    if (times->count == 0 || x->count % times->count != 0)
        return tim_fail(err, TIM_E_FORMAT, "x holds %zu elements for %zu times", x->count, times->count);
    in->batch = times->count, in->width = x->count / times->count;
    TIM_TRY(read_tensor(file, "r", times->count, &in->r, err));
    TIM_TRY(read_tensor(file, "z", x->count, &in->z, err));
    TIM_TRY(read_tensor(file, "F", x->count, &in->f, err));
    TIM_TRY(read_tensor(file, "dF", x->count, &in->e, err));
    TIM_TRY(read_tensor(file, "F_cond", x->count, &in->f_cond, err));
    return read_tensor(file, "F_null", x->count, &in->f_null, err);
}

static TimStatus check_scalars(ParityFile *file, const Inputs *in, TimError *err) {
    static const char *const names[] = {"alpha", "sigma", "d_alpha", "d_sigma", "c_noise"};
    double *out;
    TIM_TRY(parity_new(file, &out, 5 * in->batch, sizeof *out, err));
    for (size_t b = 0; b < in->batch; b++) {
        const TimPath path = in->transport->path(&in->config, in->t[b]);
        const double values[] = {path.alpha, path.sigma, path.d_alpha, path.d_sigma, in->transport->c_noise(&in->config, in->t[b])};
        for (size_t k = 0; k < 5; k++) out[k * in->batch + b] = values[k];
    }
    for (size_t k = 0; k < 5; k++) parity_compare(file, names[k], out + k * in->batch, in->batch, tolerance);
    return TIM_OK;
}

/* Results for sample b, each (B, ...). */
typedef struct Outputs {
    double *x_t, *v_t, *target, *guided, *x_r;
} Outputs;

static double combine(const TimTarget *target, const Inputs *in, size_t i, double x_t) {
    return target->x * in->x[i] + target->z * in->z[i] + target->x_t * x_t + target->e * in->e[i] + target->f_cond * in->f_cond[i] +
           target->f_null * in->f_null[i];
}

static void compute_sample(const Outputs *out, const Inputs *in, size_t b) {
    const double t = in->t[b], r = in->r[b];
    const TimPath path = in->transport->path(&in->config, t);
    const TimTarget target = in->transport->target(&in->config, t, r);
    const TimTarget guided = tim_transport_guides(&in->config, t) ? tim_transport_guide(&in->config, target) : target;
    const TimJump jump = in->transport->jump(&in->config, t, r);
    for (size_t i = b * in->width; i < (b + 1) * in->width; i++) {
        const double x_t = path.alpha * in->x[i] + path.sigma * in->z[i];
        out->x_t[i] = x_t;
        out->v_t[i] = path.d_alpha * in->x[i] + path.d_sigma * in->z[i];
        out->target[i] = combine(&target, in, i, x_t);
        out->guided[i] = combine(&guided, in, i, x_t);
        out->x_r[i] = jump.x_t * x_t + jump.f * in->f[i];
    }
}

TimStatus check_transport(ParityFile *file, TimError *err) {
    Inputs in = {0};
    TIM_TRY(read_config(file, &in, err));
    TIM_TRY(read_inputs(file, &in, err));
    TIM_TRY(check_scalars(file, &in, err));
    const size_t count = in.batch * in.width;
    Outputs out;
    double **const blocks[] = {&out.x_t, &out.v_t, &out.target, &out.guided, &out.x_r};
    for (size_t k = 0; k < sizeof blocks / sizeof *blocks; k++) TIM_TRY(parity_new(file, blocks[k], count, sizeof(double), err));
    for (size_t b = 0; b < in.batch; b++) compute_sample(&out, &in, b);
    parity_compare(file, "x_t", out.x_t, count, tolerance);
    parity_compare(file, "v_t", out.v_t, count, tolerance);
    parity_compare(file, "target", out.target, count, tolerance);
    parity_compare(file, "target_guided", out.guided, count, tolerance);
    parity_compare(file, "x_r", out.x_r, count, tolerance);
    return TIM_OK;
}
