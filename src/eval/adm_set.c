/* One set of pictures in the eyes of ADM's suite, and the comparison of two. */
#include <cblas.h>
#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "eval/adm_suite.h"
#include "eval/neighbours.h"
#include "io/npz_read.h"

enum { NEIGHBOURS = 3, SPLIT = 5000, FIRST_ROOM = 1024 /* pictures, of 8 KB */ };

TimStatus tim_adm_set_init(TimAdmSet *set, int64_t capacity, TimError *err) {
    *set = (TimAdmSet){.capacity = (size_t)capacity};
    TIM_TRY(tim_moments_init(&set->pool, TIM_INCEPTION_FEATURES, err));
    return tim_moments_init(&set->spatial, TIM_ADM_SPATIAL, err);
}

void tim_adm_set_done(TimAdmSet *set) {
    tim_free(set->features);
    tim_moments_done(&set->pool);
    tim_moments_done(&set->spatial);
    *set = (TimAdmSet){0};
}

/* ---- moments that a file has ---- */

/* An open npz. */
typedef struct Source {
    const TimFile *file;
    const char *path;
} Source;

static TimStatus read_moments(TimMoments *m, Source s, const char *mean, const char *covariance, TimError *err) {
    const uint64_t dims[] = {m->width, m->width};
    TIM_TRY(tim_npz_read_f64(s.file, s.path, mean, 1, dims, m->mean, err));
    TIM_TRY(tim_npz_read_f64(s.file, s.path, covariance, 2, dims, m->covariance, err));
    const TimStatus status = tim_moments_accept(m, err);
    return status == TIM_OK ? TIM_OK : tim_fail_within(err, status, "%s: %s, %s", s.path, mean, covariance);
}

static TimStatus read_all(TimAdmSet *set, Source s, TimError *err) {
    TimNpzMember mean;
    TIM_TRY(tim_npz_find(&mean, s.file, s.path, "mu", err));
    if (!mean.packed) return TIM_OK;
    TIM_TRY(read_moments(&set->pool, s, "mu", "sigma", err));
    TIM_TRY(read_moments(&set->spatial, s, "mu_s", "sigma_s", err));
    set->given = true;
    return TIM_OK;
}

TimStatus tim_adm_set_read_moments(TimAdmSet *set, const char *path, TimError *err) {
    TimFile file;
    TIM_TRY(tim_file_open(&file, path, err));
    const TimStatus status = read_all(set, (Source){&file, path}, err);
    tim_file_close(&file);
    return status;
}

/* ---- pictures ---- */

void tim_adm_take_spatial(float *out, const TimInceptionNetwork *n, int64_t i) {
    const TimMatrix map = tim_tape_value(n->tape, n->mixed_6d);
    for (int64_t p = 0; p < TIM_INCEPTION_MIXED_PIXELS; p++)
        memcpy(out + p * TIM_ADM_CHANNELS, tim_matrix_f32(&map, i * TIM_INCEPTION_MIXED_PIXELS + p),
               TIM_ADM_CHANNELS * sizeof *out);
}

static TimStatus add_moments(TimAdmSet *set, const TimInceptionNetwork *n, int64_t i, const float *features, TimError *err) {
    float spatial[TIM_ADM_SPATIAL];
    if (set->given) return TIM_OK;
    tim_adm_take_spatial(spatial, n, i);
    TIM_TRY(tim_moments_add(&set->pool, features, 1, err));
    return tim_moments_add(&set->spatial, spatial, 1, err);
}

/* Room for `count` pictures in all, of at most the capacity. */
static TimStatus make_room(TimAdmSet *set, size_t count, TimError *err) {
    if (count <= set->room) return TIM_OK;
    size_t room = set->room ? 2 * set->room : FIRST_ROOM;
    if (room < count) room = count;
    if (room > set->capacity) room = set->capacity;
    float *features;
    TIM_TRY(tim_new(&features, room, TIM_INCEPTION_FEATURES * sizeof *features, "features", err));
    if (set->count > 0) memcpy(features, set->features, set->count * TIM_INCEPTION_FEATURES * sizeof *features);
    tim_free(set->features);
    set->features = features;
    set->room = room;
    return TIM_OK;
}

TimStatus tim_adm_set_add(TimAdmSet *set, TimInception *network, int64_t count, TimError *err) {
    const TimInceptionNetwork *n = &network->network;
    if (count < 0 || (size_t)count > set->capacity - set->count)
        return tim_fail(err, TIM_E_ARGUMENT, "%lld more pictures for a set of %zu that holds %zu", (long long)count, set->capacity,
                        set->count);
    TIM_TRY(make_room(set, set->count + (size_t)count, err));
    tim_tape_forward(n->tape, false);
    const TimMatrix pool = tim_tape_value(n->tape, n->outputs[TIM_INCEPTION_POOL]);
    for (int64_t i = 0; i < count; i++) {
        float *features = set->features + set->count++ * TIM_INCEPTION_FEATURES;
        memcpy(features, tim_matrix_f32(&pool, i), TIM_INCEPTION_FEATURES * sizeof *features);
        TIM_TRY(add_moments(set, n, i, features, err));
    }
    return TIM_OK;
}

/* ---- inception score ---- */

static void add_score(TimInceptionScore *score, const float *features, const float *classes) {
    float logits[TIM_INCEPTION_CLASSES];
    cblas_sgemv(CblasRowMajor, CblasNoTrans, TIM_INCEPTION_CLASSES, TIM_INCEPTION_FEATURES, 1.0F, classes, TIM_INCEPTION_FEATURES,
                features, 1, 0.0F, logits, 1);
    tim_inception_score_add(score, logits);
}

TimStatus tim_adm_set_score(double *out, const TimAdmSet *set, const float *classes, TimError *err) {
    const size_t splits = (set->count + SPLIT - 1) / SPLIT, stride = set->by_class ? splits : 1,
                 split = set->by_class && splits ? (set->count + splits - 1) / splits : SPLIT;
    TimInceptionScore score;
    const TimStatus status = tim_inception_score_init(&score, TIM_INCEPTION_CLASSES, split, err);
    for (size_t first = 0; status == TIM_OK && first < stride; first++)
        for (size_t i = first; i < set->count; i += stride) add_score(&score, set->features + i * TIM_INCEPTION_FEATURES, classes);
    if (status == TIM_OK) *out = tim_inception_score(&score);
    tim_inception_score_done(&score);
    return status;
}

/* ---- two sets ---- */

static TimStatus finish(TimAdmSet *set, TimError *err) {
    if (set->given) return TIM_OK;
    TIM_TRY(tim_moments_finish(&set->pool, err));
    return tim_moments_finish(&set->spatial, err);
}

static TimFeatures features_of(const TimAdmSet *set) {
    return (TimFeatures){.values = set->features, .count = set->count, .width = TIM_INCEPTION_FEATURES};
}

TimStatus tim_adm_compare(TimAdmScores *scores, TimAdmSet *pictures, TimAdmSet *reference, TimError *err) {
    TimPrecisionRecall manifold;
    TIM_TRY(tim_precision_recall(&manifold, features_of(pictures), features_of(reference), NEIGHBOURS, err));
    TIM_TRY(finish(pictures, err));
    TIM_TRY(finish(reference, err));
    *scores = (TimAdmScores){.inception_score = NAN,
                             .precision = manifold.precision,
                             .recall = manifold.recall,
                             .pictures = (int64_t)pictures->count,
                             .reference = (int64_t)reference->count,
                             .reference_moments = reference->given};
    TIM_TRY(tim_frechet_distance(&scores->fid, &pictures->pool, &reference->pool, err));
    return tim_frechet_distance(&scores->sfid, &pictures->spatial, &reference->spatial, err);
}
