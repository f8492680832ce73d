/* eval: what judges pictures. frechet*: two sets of features in fp64 and the distance between them. inception*: pictures x (B, 3,
 * H, W) in [0, 1] and the means over four maps of Inception v3 with hash weights. adm*: two sets of pictures in bytes and what
 * ADM's own evaluator.py says of them, on a TensorFlow graph with the same hash weights; its metadata tell how. */
#include "base/memory.h"
#include "eval/adm_suite.h"
#include "eval/frechet.h"
#include "model/inception_v3.h"
#include "nn/hash_weights.h"
#include "parity/checks.h"
#include "parity/model.h"

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

static const double inception_tolerance = 1e-4;

/* A TimInceptionRead: the official tensor as its name makes it, in fp32. */
static TimStatus read_hash(void *from, const char *name, int rank, const size_t *dims, double *out, TimError *err) {
    (void)from;
    size_t count = 1;
    float *values;
    for (int i = 0; i < rank; i++) count *= dims[i]; /* the network's own shape, of which a vector is there */
    TIM_TRY(tim_new(&values, count, sizeof *values, "a tensor of Inception v3", err));
    const TimStatus status = tim_hash_weights(name, dims, rank, TIM_HASH_INCEPTION, values, err);
    for (size_t i = 0; i < count; i++) out[i] = values[i];
    tim_free(values);
    return status;
}

static TimStatus read_pictures(ParityFile *file, float **x, const TimStoredTensor **tensor, TimError *err) {
    TIM_TRY(parity_input_f32(file, "x", x, tensor, err));
    const size_t *dims = (*tensor)->dims;
    if ((*tensor)->rank != 4 || dims[0] < 1 || dims[1] != 3 || dims[2] < 1 || dims[3] < 1 || dims[2] > 65536 || dims[3] > 65536)
        return tim_fail(err, TIM_E_FORMAT, "x is no (B, 3, H, W) with sides from 1 to 65536");
    return TIM_OK;
}

static void compare_outputs(ParityFile *file, const TimInceptionNetwork *n) {
    static const char *const names[TIM_INCEPTION_OUTPUTS] = {"block0", "block1", "block2", "pool"};
    for (int i = 0; i < TIM_INCEPTION_OUTPUTS; i++) {
        const TimMatrix y = tim_tape_value(n->tape, n->outputs[i]);
        parity_compare_f32(file, names[i], y.data, (size_t)(y.rows * y.cols), inception_tolerance);
    }
}

static TimStatus run_inception(ParityFile *file, TimInception *inception, const float *pictures, const size_t *dims,
                               TimError *err) {
    TIM_TRY(tim_inception_set_weights(inception, read_hash, NULL, err));
    const TimMatrix x = tim_tape_value(inception->network.tape, inception->network.x);
    for (int64_t i = 0; i < x.rows; i++)
        tim_inception_prepare(tim_matrix_f32(&x, i), pictures + (size_t)i * 3 * dims[2] * dims[3], (int)dims[2], (int)dims[3]);
    tim_tape_forward(inception->network.tape, false);
    compare_outputs(file, &inception->network);
    return TIM_OK;
}

TimStatus check_eval_inception(ParityFile *file, TimError *err) {
    float *pictures;
    const TimStoredTensor *tensor;
    TimNetworkOptions options;
    TimInception inception;
    TIM_TRY(read_pictures(file, &pictures, &tensor, err));
    TIM_TRY(parity_network_options(file, &options, err));
    TIM_TRY(tim_inception_init(&inception, (int64_t)tensor->dims[0], options.isa, options.threads, err));
    const TimStatus status = run_inception(file, &inception, pictures, tensor->dims, err);
    tim_inception_done(&inception);
    return status;
}

/* ---- adm ---- */

static const double distance_tolerance = 1e-5, score_tolerance = 1e-5, exact = 0;

/* The pictures of the tensor `name`: uint8 (n, height, width, 3). */
static TimStatus find_bytes(ParityFile *file, const char *name, const TimStoredTensor **tensor, TimError *err) {
    int64_t *values;
    TIM_TRY(parity_input_i64(file, name, &values, tensor, err));
    const size_t *dims = (*tensor)->dims;
    if ((*tensor)->dtype == TIM_U8 && (*tensor)->rank == 4 && dims[0] <= 1000 && dims[1] <= 65536 && dims[2] <= 65536 &&
        dims[3] == 3)
        return TIM_OK;
    return tim_fail(err, TIM_E_FORMAT, "%s: expected bytes of shape (n, height, width, 3)", name);
}

/* Looks at all pictures of the set in batches of the network's size. */
static TimStatus look_at(TimAdmSet *set, TimInception *network, const TimStoredTensor *pictures, TimError *err) {
    const size_t *dims = pictures->dims;
    for (size_t i = 0; i < dims[0]; i++) {
        const int64_t at = (int64_t)i % network->batch;
        TIM_TRY(tim_inception_put(network, at, TIM_INCEPTION_AS_GRAPH,
                                  (const uint8_t *)pictures->data + i * dims[1] * dims[2] * dims[3], (int)dims[1], (int)dims[2],
                                  (int)dims[3], err));
        if (at + 1 == network->batch || i + 1 == dims[0]) TIM_TRY(tim_adm_set_add(set, network, at + 1, err));
    }
    return TIM_OK;
}

/* What the first two pictures of the first batch look like to the network. */
static TimStatus compare_first(ParityFile *file, TimInception *network, const TimAdmSet *set, const TimStoredTensor *pictures,
                               TimError *err) {
    enum { FIRST = 2 };
    float spatial[FIRST * TIM_ADM_SPATIAL];
    const size_t *dims = pictures->dims;
    if (dims[0] < FIRST) return tim_fail(err, TIM_E_FORMAT, "pictures: %zu of them; at least %d", dims[0], FIRST);
    for (int64_t i = 0; i < FIRST; i++)
        TIM_TRY(tim_inception_put(network, i, TIM_INCEPTION_AS_GRAPH,
                                  (const uint8_t *)pictures->data + (size_t)i * dims[1] * dims[2] * dims[3], (int)dims[1],
                                  (int)dims[2], (int)dims[3], err));
    tim_tape_forward(network->network.tape, false);
    for (int64_t i = 0; i < FIRST; i++) tim_adm_take_spatial(spatial + i * TIM_ADM_SPATIAL, &network->network, i);
    parity_compare_f32(file, "pool", set->features, FIRST * TIM_INCEPTION_FEATURES, inception_tolerance);
    parity_compare_f32(file, "spatial", spatial, sizeof spatial / sizeof *spatial, inception_tolerance);
    return TIM_OK;
}

static TimStatus compare_sets(ParityFile *file, TimAdmSet *pictures, TimAdmSet *reference, const float *classes, TimError *err) {
    TimAdmScores s;
    TIM_TRY(tim_adm_compare(&s, pictures, reference, err));
    TIM_TRY(tim_adm_set_score(&s.inception_score, pictures, classes, err));
    parity_compare(file, "fid", &s.fid, 1, distance_tolerance);
    parity_compare(file, "sfid", &s.sfid, 1, distance_tolerance);
    parity_compare(file, "inception_score", &s.inception_score, 1, score_tolerance);
    parity_compare(file, "precision", &s.precision, 1, exact);
    parity_compare(file, "recall", &s.recall, 1, exact);
    return TIM_OK;
}

static TimStatus run_adm(ParityFile *file, TimInception *network, TimAdmSet *drawn, TimAdmSet *real, TimError *err) {
    static const size_t dims[] = {TIM_INCEPTION_CLASSES, TIM_INCEPTION_FEATURES};
    const TimStoredTensor *pictures, *reference;
    float *classes;
    TIM_TRY(find_bytes(file, "pictures", &pictures, err));
    TIM_TRY(find_bytes(file, "reference", &reference, err));
    TIM_TRY(parity_new(file, &classes, dims[0] * dims[1], sizeof *classes, err));
    TIM_TRY(tim_hash_weights("fc.weight", dims, 2, TIM_HASH_INCEPTION, classes, err));
    TIM_TRY(tim_inception_set_weights(network, read_hash, NULL, err));
    TIM_TRY(tim_adm_set_init(drawn, (int64_t)pictures->dims[0], err));
    TIM_TRY(tim_adm_set_init(real, (int64_t)reference->dims[0], err));
    TIM_TRY(look_at(drawn, network, pictures, err));
    TIM_TRY(look_at(real, network, reference, err));
    TIM_TRY(compare_first(file, network, drawn, pictures, err));
    return compare_sets(file, drawn, real, classes, err);
}

TimStatus check_eval_adm(ParityFile *file, TimError *err) {
    enum { BATCH = 4 };
    TimNetworkOptions options;
    TimInception network;
    TimAdmSet drawn = {0}, real = {0};
    TIM_TRY(parity_network_options(file, &options, err));
    TIM_TRY(tim_inception_init(&network, BATCH, options.isa, options.threads, err));
    const TimStatus status = run_adm(file, &network, &drawn, &real, err);
    tim_adm_set_done(&drawn);
    tim_adm_set_done(&real);
    tim_inception_done(&network);
    return status;
}
