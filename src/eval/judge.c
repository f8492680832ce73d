#include "eval/judge.h"

#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "eval/kernel_distance.h"
#include "eval/neighbours.h"

enum { NEIGHBOURS = 3, LEAST = NEIGHBOURS + 1, MAX_THREADS = 4096 };

/* ---- features ---- */

static TimFeatures features_of(const float *values, int64_t count) {
    return (TimFeatures){values, (size_t)count, TIM_CLASSIFIER_FEATURES};
}

static size_t picture_size(const TimClassifierShape *s) {
    return (size_t)s->height * (size_t)s->width * (size_t)s->channels;
}

static TimStatus pixels_of(TimPixels *out, const uint8_t *pictures, int64_t count, size_t size, TimError *err) {
    size_t elements;
    if (!tim_mul_size((size_t)count, size, &elements))
        return tim_fail(err, TIM_E_MEMORY, "%lld pictures of %zu bytes do not fit into memory", (long long)count, size);
    TIM_TRY(tim_new(&out->values, elements, sizeof(float), "pictures as numbers", err));
    out->count = (size_t)count, out->width = size;
    const float scale = 1.0F / (255.0F * sqrtf((float)size));
    for (size_t i = 0; i < elements; i++) out->values[i] = scale * (float)pictures[i];
    return TIM_OK;
}

static TimStatus moments_of(TimMoments *moments, const float *features, int64_t count, TimError *err) {
    TIM_TRY(tim_moments_init(moments, TIM_CLASSIFIER_FEATURES, err));
    TIM_TRY(tim_moments_add(moments, features, (size_t)count, err));
    return tim_moments_finish(moments, err);
}

TimStatus tim_judge_nearest(const TimJudge *judge, const uint8_t *pictures, int64_t count, size_t *index, double *distance,
                            TimError *err) {
    TimPixels pixels = {0};
    TIM_TRY(pixels_of(&pixels, pictures, count, picture_size(&judge->classifier.shape), err));
    const TimPixels *t = &judge->training_pixels;
    const TimStatus status = tim_neighbours_nearest(index, distance, (TimFeatures){pixels.values, pixels.count, pixels.width},
                                                    (TimFeatures){t->values, t->count, t->width}, err);
    tim_free(pixels.values);
    return status;
}

/* ---- opening ---- */

static TimStatus check_size(const TimClassifierShape *s, const TimPictureArray *a, const char *source, const char *classifier,
                            TimError *err) {
    if (a->height == s->height && a->width == s->width && a->channels == s->channels) return TIM_OK;
    return tim_fail(err, TIM_E_ARGUMENT,
                    "%s has pictures of %d x %d with %d channels; the classifier %s was trained on %d x %d with %d", source,
                    a->width, a->height, a->channels, classifier, s->width, s->height, s->channels);
}

static TimStatus read_reference(TimJudge *j, const TimJudgeOptions *o, TimError *err) {
    TIM_TRY(tim_picture_array_read(&j->reference, o->reference, o->limit, err));
    TIM_TRY(check_size(&j->classifier.shape, &j->reference, o->reference, o->classifier, err));
    if (j->reference.count < LEAST)
        return tim_fail(err, TIM_E_ARGUMENT, "%s has %lld pictures; at least %d are needed", o->reference,
                        (long long)j->reference.count, LEAST);
    TIM_TRY(tim_new(&j->reference_features, (size_t)j->reference.count * TIM_CLASSIFIER_FEATURES, sizeof(float),
                    "the reference's features", err));
    tim_classifier_run(&j->classifier, j->reference.pixels, j->reference.count, j->reference_features, NULL);
    return moments_of(&j->reference_moments, j->reference_features, j->reference.count, err);
}

static int ascending(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* How near real pictures that the training has not seen come to those that it has. */
static TimStatus read_training(TimJudge *j, const TimJudgeOptions *o, TimError *err) {
    j->near_distance = NAN;
    if (!o->training) return TIM_OK;
    TIM_TRY(tim_picture_array_read(&j->training, o->training, 0, err));
    TIM_TRY(check_size(&j->classifier.shape, &j->training, o->training, o->classifier, err));
    TIM_TRY(pixels_of(&j->training_pixels, j->training.pixels, j->training.count, picture_size(&j->classifier.shape), err));
    const size_t count = (size_t)j->reference.count;
    size_t *index;
    TIM_TRY(tim_new(&j->reference_distances, count, sizeof(double), "distances", err));
    TIM_TRY(tim_new(&index, count, sizeof *index, "neighbours", err));
    const TimStatus status = tim_judge_nearest(j, j->reference.pixels, j->reference.count, index, j->reference_distances, err);
    tim_free(index);
    TIM_TRY(status);
    qsort(j->reference_distances, count, sizeof(double), ascending);
    j->near_distance = j->reference_distances[count / 100];
    return TIM_OK;
}

static TimStatus fill(TimJudge *j, const TimJudgeOptions *o, TimError *err) {
    TimIsa isa;
    TIM_TRY(tim_isa_choose(o->isa, &isa, err));
    if (o->threads < 0 || o->threads > MAX_THREADS)
        return tim_fail(err, TIM_E_ARGUMENT, "threads is %d; give 1 to %d, or 0 for as many as OpenMP would use", o->threads,
                        MAX_THREADS);
    TIM_TRY(tim_classifier_open(&j->classifier, o->classifier, isa, o->threads ? o->threads : omp_get_max_threads(), err));
    TIM_TRY(read_reference(j, o, err));
    return read_training(j, o, err);
}

TimStatus tim_judge_open(TimJudge **judge, const TimJudgeOptions *options, TimError *err) {
    TimJudge *j;
    *judge = NULL;
    TIM_TRY(tim_new(&j, 1, sizeof *j, "a judge", err));
    const TimStatus status = fill(j, options, err);
    if (status != TIM_OK) {
        tim_judge_close(j);
        return status;
    }
    *judge = j;
    return TIM_OK;
}

void tim_judge_close(TimJudge *j) {
    if (!j) return;
    tim_classifier_done(&j->classifier);
    tim_picture_array_done(&j->reference);
    tim_picture_array_done(&j->training);
    tim_moments_done(&j->reference_moments);
    tim_free(j->reference_features);
    tim_free(j->training_pixels.values);
    tim_free(j->reference_distances);
    tim_free(j);
}

/* ---- judging ---- */

static double agreement(const float *logits, const int64_t *labels, int64_t count, int classes) {
    int64_t hits = 0;
    for (int64_t i = 0; i < count; i++) hits += tim_classifier_class(logits + i * classes, classes) == labels[i];
    return (double)hits / (double)count;
}

static TimStatus judge_features(TimJudge *j, const float *features, int64_t count, TimJudgement *out, TimError *err) {
    const TimFeatures of = features_of(features, count), real = features_of(j->reference_features, j->reference.count);
    const TimKernelOptions options = tim_kernel_options_default();
    TimKernelDistance kernel;
    TimPrecisionRecall manifold;
    TIM_TRY(tim_kernel_distance(&kernel, of, real, &options, err));
    TIM_TRY(tim_precision_recall(&manifold, of, real, NEIGHBOURS, err));
    out->kernel = kernel.mean;
    out->precision = manifold.precision, out->recall = manifold.recall;
    return TIM_OK;
}

/* The median of the distances, and how many of them are nearer than real pictures come. */
static void judge_distances(const TimJudge *j, double *distance, int64_t count, TimJudgement *out) {
    int64_t near = 0;
    qsort(distance, (size_t)count, sizeof *distance, ascending);
    for (int64_t i = 0; i < count; i++) near += distance[i] < j->near_distance;
    out->distance = distance[count / 2];
    out->near = (double)near / (double)count;
}

static TimStatus judge_copies(TimJudge *j, const TimPictures *p, TimJudgement *out, TimError *err) {
    size_t *index;
    double *distance;
    TIM_TRY(tim_new(&index, (size_t)p->count, sizeof *index, "neighbours", err));
    TimStatus status = tim_new(&distance, (size_t)p->count, sizeof *distance, "distances", err);
    if (status == TIM_OK) {
        status = tim_judge_nearest(j, p->pixels, p->count, index, distance, err);
        if (status == TIM_OK) judge_distances(j, distance, p->count, out);
        tim_free(distance);
    }
    tim_free(index);
    return status;
}

static TimStatus judge_moments(TimJudge *j, const float *features, int64_t count, TimJudgement *out, TimError *err) {
    TimMoments moments = {0};
    TimStatus status = moments_of(&moments, features, count, err);
    if (status == TIM_OK) status = tim_frechet_distance(&out->frechet, &moments, &j->reference_moments, err);
    tim_moments_done(&moments);
    return status;
}

static TimStatus check_pictures(const TimJudge *j, const TimPictures *p, TimError *err) {
    const TimClassifierShape *s = &j->classifier.shape;
    if (p->count < LEAST)
        return tim_fail(err, TIM_E_ARGUMENT, "%lld pictures to judge; at least %d are needed", (long long)p->count, LEAST);
    if (p->height == s->height && p->width == s->width && p->channels == s->channels) return TIM_OK;
    return tim_fail(err, TIM_E_ARGUMENT, "pictures of %d x %d with %d channels; the classifier was trained on %d x %d with %d",
                    p->width, p->height, p->channels, s->width, s->height, s->channels);
}

/* Features (count, 128) unless NULL, and with labels the agreement. */
static TimStatus look(TimJudge *j, const TimPictures *p, const int64_t *labels, float *features, TimJudgement *out, TimError *err) {
    const int classes = j->classifier.shape.classes;
    float *logits;
    TIM_TRY(tim_new(&logits, (size_t)p->count * (size_t)classes, sizeof *logits, "the logits", err));
    tim_classifier_run(&j->classifier, p->pixels, p->count, features, logits);
    if (labels) out->agreement = agreement(logits, labels, p->count, classes);
    tim_free(logits);
    return TIM_OK;
}

/* How much is said: each includes those before it. */
typedef enum Extent { QUICKLY, WITHOUT_COPIES, ALL } Extent;

static const TimJudgement unsaid = {NAN, NAN, NAN, NAN, NAN, NAN, NAN};

static TimStatus judge(TimJudge *j, const TimPictures *p, const int64_t *labels, Extent extent, TimJudgement *out, TimError *err) {
    float *features;
    *out = unsaid;
    TIM_TRY(check_pictures(j, p, err));
    TIM_TRY(tim_new(&features, (size_t)p->count * TIM_CLASSIFIER_FEATURES, sizeof *features, "features", err));
    TimStatus status = look(j, p, labels, features, out, err);
    if (status == TIM_OK) status = judge_moments(j, features, p->count, out, err);
    if (status == TIM_OK && extent >= WITHOUT_COPIES) status = judge_features(j, features, p->count, out, err);
    if (status == TIM_OK && extent == ALL && j->training.count) status = judge_copies(j, p, out, err);
    tim_free(features);
    return status;
}

TimStatus tim_judge_pictures(TimJudge *j, const TimPictures *pictures, const int64_t *labels, TimJudgement *judgement,
                             TimError *err) {
    return judge(j, pictures, labels, ALL, judgement, err);
}

TimStatus tim_judge_quickly(TimJudge *j, const TimPictures *pictures, const int64_t *labels, TimJudgement *judgement,
                            TimError *err) {
    return judge(j, pictures, labels, QUICKLY, judgement, err);
}

/* The first `count` pictures of a set; borrowed. */
static TimPictures pictures_of(const TimPictureArray *a, int64_t count) {
    return (TimPictures){.pixels = a->pixels, .count = count, .height = a->height, .width = a->width, .channels = a->channels};
}

TimStatus tim_judge_floor(TimJudge *j, TimJudgement *floor, TimError *err) {
    const TimPictureArray *reference = &j->reference, *training = &j->training;
    *floor = unsaid;
    if (!training->count) return TIM_OK;
    const TimPictures whole = pictures_of(reference, reference->count),
                      first = pictures_of(training, training->count < reference->count ? training->count : reference->count);
    TIM_TRY(judge(j, &first, NULL, WITHOUT_COPIES, floor, err));
    floor->distance = j->reference_distances[reference->count / 2];
    floor->near = 0.01;
    return look(j, &whole, reference->classes ? reference->labels : NULL, NULL, floor, err);
}
