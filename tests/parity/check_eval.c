/* eval: what judges pictures. frechet*: two sets of features in fp64 and the distance between them. */
#include "eval/frechet.h"
#include "parity/checks.h"

/* 1e-8 would do for regular covariances. Set b of the golden file has a column that is twice another, and there the golden value
 * itself is off by 1.14e-8 (docs/traps.md). */
static const double frechet_tolerance = 2e-8;

/* Finished moments of the rows that the tensor `name` holds; done is due in any case. */
static TimStatus read_moments(ParityFile *file, const char *name, TimMoments *moments, TimError *err) {
    double *rows;
    const TimStoredTensor *tensor;
    TIM_TRY(parity_input_f64(file, name, &rows, &tensor, err));
    if (tensor->rank != 2) return tim_fail(err, TIM_E_FORMAT, "\"%s\" has %d axes; features have 2", name, tensor->rank);
    TIM_TRY(tim_moments_init(moments, tensor->dims[1], err));
    TIM_TRY(tim_moments_add_f64(moments, rows, tensor->dims[0], err));
    return tim_moments_finish(moments, err);
}

TimStatus check_eval_frechet(ParityFile *file, TimError *err) {
    TimMoments a = {0}, b = {0};
    double distance;
    TimStatus status = read_moments(file, "a", &a, err);
    if (status == TIM_OK) status = read_moments(file, "b", &b, err);
    if (status == TIM_OK) status = tim_frechet_distance(&distance, &a, &b, err);
    if (status == TIM_OK) parity_compare(file, "distance", &distance, 1, frechet_tolerance);
    tim_moments_done(&a);
    tim_moments_done(&b);
    return status;
}
