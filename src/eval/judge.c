#include "eval/judge.h"

#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/threads.h"
#include "eval/frechet_limit.h"
#include "eval/kernel_distance.h"
#include "eval/neighbours.h"

enum { NEIGHBOURS = 3, LEAST = NEIGHBOURS + 1, FEW = 2000 /* of frechet_2000 */ };

/* ---- features ---- */

static TimFeatures features_of(const TimJudge *j, const float *values, int64_t count) {
    return (TimFeatures){values, (size_t)count, j->extractor.width};
}

/* A whole set; borrowed. */
static TimPictures all_of(const TimPictureArray *a) {
    return (TimPictures){.pixels = a->pixels, .count = a->count, .height = a->height, .width = a->width, .channels = a->channels};
}

/* Bytes of a picture of the reference. */
static size_t picture_size(const TimJudge *j) {
    return (size_t)j->reference.height * (size_t)j->reference.width * (size_t)j->reference.channels;
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

static TimStatus moments_of(TimMoments *moments, TimFeatures features, TimError *err) {
    TIM_TRY(tim_moments_init(moments, features.width, err));
    TIM_TRY(tim_moments_add(moments, features.values, features.count, err));
    return tim_moments_finish(moments, err);
}

/* Nearest training picture of each of `count` pictures: index and distance (count each). */
static TimStatus nearest(const TimJudge *judge, const uint8_t *pictures, int64_t count, size_t *index, double *distance,
                         TimError *err) {
    TimPixels pixels = {0};
    TIM_TRY(pixels_of(&pixels, pictures, count, picture_size(judge), err));
    const TimPixels *t = &judge->training_pixels;
    const TimStatus status = tim_neighbours_nearest(index, distance, (TimFeatures){pixels.values, pixels.count, pixels.width},
                                                    (TimFeatures){t->values, t->count, t->width}, err);
    tim_free(pixels.values);
    return status;
}

/* ---- opening ---- */

/* What the network makes of a set; the owner calls view_done, also after a failure. */
static TimStatus look(TimView *v, TimJudge *j, const TimPictures *p, TimError *err) {
    const int classes = j->extractor.classes;
    const size_t count = (size_t)p->count;
    float *logits;
    *v = (TimView){0};
    TIM_TRY(tim_new(&v->features, count, j->extractor.width * sizeof *v->features, "features", err));
    TIM_TRY(tim_new(&v->seen, count, sizeof *v->seen, "the classes seen", err));
    TIM_TRY(tim_new(&logits, count, (size_t)classes * sizeof *logits, "the logits", err));
    const TimStatus status = tim_extractor_run(&j->extractor, p, v->features, logits, err);
    for (int64_t i = 0; status == TIM_OK && classes && i < p->count; i++)
        v->seen[i] = tim_classifier_class(logits + i * classes, classes);
    tim_free(logits);
    return status;
}

static void view_done(TimView *v) {
    tim_free(v->features);
    tim_free(v->seen);
}

/* Classes of pictures must be among those that the network knows, or agreement says nothing. */
static TimStatus check_labels(const TimJudge *j, const int64_t *labels, int64_t count, TimError *err) {
    for (int64_t i = 0; labels && j->extractor.classes && i < count; i++)
        if (labels[i] < 0 || labels[i] >= j->extractor.classes)
            return tim_fail(err, TIM_E_ARGUMENT,
                            "picture %lld has the class %lld; the classifier knows 0 to %d: take one that learned these classes",
                            (long long)i, (long long)labels[i], j->extractor.classes - 1);
    return TIM_OK;
}

static TimStatus read_reference(TimJudge *j, const TimJudgeOptions *o, TimError *err) {
    TIM_TRY(tim_picture_array_read(&j->reference, o->reference, o->limit, err));
    const TimPictures all = all_of(&j->reference);
    TIM_TRY(tim_extractor_check(&j->extractor, &all, o->reference, o->classifier, err));
    if (j->reference.count < LEAST)
        return tim_fail(err, TIM_E_ARGUMENT, "%s has %lld pictures; at least %d are needed", o->reference,
                        (long long)j->reference.count, LEAST);
    const TimStatus status = check_labels(j, j->reference.classes ? j->reference.labels : NULL, all.count, err);
    return status == TIM_OK ? TIM_OK : tim_fail_within(err, status, "%s", o->reference);
}

static int ascending(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static TimStatus read_training(TimJudge *j, const TimJudgeOptions *o, TimError *err) {
    if (!o->training) return TIM_OK;
    TIM_TRY(tim_picture_array_read(&j->training, o->training, 0, err));
    const TimPictureArray *r = &j->reference, *t = &j->training;
    if (t->height != r->height || t->width != r->width || t->channels != r->channels)
        return tim_fail(err, TIM_E_ARGUMENT,
                        "%s has pictures of %d x %d with %d channels, %s of %d x %d with %d; give sets of one size", o->training,
                        t->width, t->height, t->channels, o->reference, r->width, r->height, r->channels);
    if (t->count < LEAST)
        return tim_fail(err, TIM_E_ARGUMENT, "%s has %lld pictures; at least %d are needed", o->training, (long long)t->count,
                        LEAST);
    if (picture_size(j) > TIM_FEATURES_MAX_WIDTH)
        return tim_fail(err, TIM_E_ARGUMENT,
                        "%s has pictures of %zu values, too many to look for copies: at most %d; leave the training pictures out",
                        o->training, picture_size(j), TIM_FEATURES_MAX_WIDTH);
    return TIM_OK;
}

static TimStatus look_at_reference(TimJudge *j, TimError *err) {
    const TimPictures all = all_of(&j->reference);
    TIM_TRY(look(&j->reference_view, j, &all, err));
    return moments_of(&j->reference_moments, features_of(j, j->reference_view.features, all.count), err);
}

/* How near real pictures that the training has not seen come to those that it has. */
static TimStatus look_at_training(TimJudge *j, TimError *err) {
    j->near_distance = NAN;
    if (!j->training.count) return TIM_OK;
    TIM_TRY(pixels_of(&j->training_pixels, j->training.pixels, j->training.count, picture_size(j), err));
    const size_t count = (size_t)j->reference.count;
    size_t *index;
    TIM_TRY(tim_new(&j->reference_distances, count, sizeof(double), "distances", err));
    TIM_TRY(tim_new(&index, count, sizeof *index, "neighbours", err));
    const TimStatus status = nearest(j, j->reference.pixels, j->reference.count, index, j->reference_distances, err);
    tim_free(index);
    TIM_TRY(status);
    qsort(j->reference_distances, count, sizeof(double), ascending);
    /* Of another real picture a hundredth is expected to be nearer. Nothing is nearer than what the training set holds itself. */
    const double place = 0.01 * (double)(count + 1);
    const size_t below = (size_t)place;
    if (!below || !(j->reference_distances[below - 1] > 0)) return TIM_OK;
    const double least = j->reference_distances[below - 1], next = j->reference_distances[below < count ? below : below - 1];
    j->near_distance = least + (place - (double)below) * (next - least);
    return TIM_OK;
}

static TimStatus with_split(char **out, const char *set, const char *split, TimError *err) {
    const size_t bytes = strlen(set) + strlen(split) + 1;
    TIM_TRY(tim_new(out, bytes, 1, "the name of a set", err));
    snprintf(*out, bytes, "%s%s", set, split);
    return TIM_OK;
}

/* "fashion-mnist" stands for fashion-mnist:test and fashion-mnist:train; others are named as tim_picture_set_open takes them. */
static TimStatus name_sets(char **reference, char **training, const TimJudgeOptions *o, TimError *err) {
    const bool both = strcmp(o->reference, "fashion-mnist") == 0;
    TIM_TRY(with_split(reference, o->reference, both ? ":test" : "", err));
    if (o->training) return with_split(training, o->training, "", err);
    return both ? with_split(training, o->reference, ":train", err) : TIM_OK;
}

static TimStatus read_sets(TimJudge *j, const TimJudgeOptions *o, TimError *err) {
    char *reference = NULL, *training = NULL;
    TimStatus status = name_sets(&reference, &training, o, err);
    TimJudgeOptions named = *o;
    named.reference = reference, named.training = training;
    if (status == TIM_OK) status = tim_copy_text(&j->reference_name, reference, err);
    if (status == TIM_OK) status = read_reference(j, &named, err);
    if (status == TIM_OK) status = read_training(j, &named, err); /* before a long look at the reference */
    if (status == TIM_OK) status = look_at_reference(j, err);
    if (status == TIM_OK) status = look_at_training(j, err);
    tim_free(reference);
    tim_free(training);
    return status;
}

static TimStatus fill(TimJudge *j, const TimJudgeOptions *o, TimError *err) {
    TimIsa isa;
    if (!o || !o->classifier || !o->reference)
        return tim_fail(err, TIM_E_ARGUMENT, "a judge needs a classifier and a reference, such as fashion-mnist:test");
    TIM_TRY(tim_isa_choose(o->isa, &isa, err));
    TIM_TRY(tim_threads_choose(o->threads, &j->threads, err));
    TIM_TRY(tim_extractor_open(&j->extractor, o->classifier, isa, j->threads, err));
    const int before = tim_threads_enter(j->threads);
    const TimStatus status = read_sets(j, o, err);
    tim_threads_leave(j->threads, before);
    return status;
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
    tim_extractor_done(&j->extractor);
    tim_picture_array_done(&j->reference);
    tim_picture_array_done(&j->training);
    tim_moments_done(&j->reference_moments);
    view_done(&j->reference_view);
    tim_free(j->training_pixels.values);
    tim_free(j->reference_distances);
    tim_free(j->reference_name);
    tim_free(j);
}

/* ---- judging ---- */

static double agreement(const int64_t *seen, const int64_t *labels, int64_t count) {
    int64_t hits = 0;
    for (int64_t i = 0; i < count; i++) hits += seen[i] == labels[i];
    return (double)hits / (double)count;
}

static TimStatus judge_features(TimJudge *j, const float *features, int64_t count, TimJudgement *out, TimError *err) {
    const TimFeatures of = features_of(j, features, count), real = features_of(j, j->reference_view.features, j->reference.count);
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
    out->near = isnan(j->near_distance) ? NAN : (double)near / (double)count;
}

/* The nearest training picture of each of a set; the owner calls neighbours_done. */
typedef struct Neighbours {
    size_t *index;    /* (count) */
    double *distance; /* (count) */
} Neighbours;

static void neighbours_done(Neighbours *n) {
    tim_free(n->index);
    tim_free(n->distance);
}

static TimStatus find_neighbours(Neighbours *n, const TimJudge *j, const TimPictures *p, TimError *err) {
    *n = (Neighbours){0};
    TIM_TRY(tim_new(&n->index, (size_t)p->count, sizeof *n->index, "neighbours", err));
    TIM_TRY(tim_new(&n->distance, (size_t)p->count, sizeof *n->distance, "distances", err));
    return nearest(j, p->pixels, p->count, n->index, n->distance, err);
}

static TimStatus judge_copies(TimJudge *j, const TimPictures *p, TimJudgement *out, TimError *err) {
    Neighbours n;
    const TimStatus status = find_neighbours(&n, j, p, err);
    if (status == TIM_OK) judge_distances(j, n.distance, p->count, out);
    neighbours_done(&n);
    return status;
}

/* Puts a pair at its place among the `count` closest so far. */
static void insert_pair(TimNearPair pairs[TIM_FINISHED_PAIRS], int *count, TimNearPair pair) {
    int at = *count < TIM_FINISHED_PAIRS ? (*count)++ : TIM_FINISHED_PAIRS - 1;
    for (; at > 0 && pairs[at - 1].distance > pair.distance; at--) pairs[at] = pairs[at - 1];
    pairs[at] = pair;
}

TimStatus tim_judge_closest(const TimJudge *judge, const TimPictures *pictures, TimNearPair pairs[TIM_FINISHED_PAIRS], int *count,
                            TimError *err) {
    Neighbours n;
    const int before = tim_threads_enter(judge->threads);
    const TimStatus status = find_neighbours(&n, judge, pictures, err);
    tim_threads_leave(judge->threads, before);
    *count = 0;
    for (int64_t i = 0; status == TIM_OK && i < pictures->count; i++)
        if (*count < TIM_FINISHED_PAIRS || n.distance[i] < pairs[*count - 1].distance)
            insert_pair(pairs, count, (TimNearPair){n.distance[i], i, (int64_t)n.index[i]});
    neighbours_done(&n);
    return status;
}

static TimStatus judge_moments(TimJudge *j, const float *features, int64_t count, double *distance, TimError *err) {
    TimMoments moments = {0};
    TimStatus status = moments_of(&moments, features_of(j, features, count), err);
    if (status == TIM_OK) status = tim_frechet_distance(distance, &moments, &j->reference_moments, err);
    tim_moments_done(&moments);
    return status;
}

/* Whether the first pictures are those of a few classes. */
static bool comes_by_class(const int64_t *labels, int64_t count) {
    bool rising = labels && labels[0] < labels[count - 1];
    for (int64_t i = 1; rising && i < count; i++) rising = labels[i - 1] <= labels[i];
    return rising;
}

/* The distance of FEW: the first, which a shorter run has too, or of what comes class by class such as are evenly spaced. */
static TimStatus judge_few(TimJudge *j, const float *features, int64_t count, const int64_t *labels, double *distance,
                           TimError *err) {
    const size_t width = features_of(j, features, count).width;
    float *few;
    if (!comes_by_class(labels, count)) return judge_moments(j, features, FEW, distance, err);
    TIM_TRY(tim_new(&few, FEW, width * sizeof *few, "the features of some pictures", err));
    for (int64_t i = 0; i < FEW; i++)
        memcpy(few + (size_t)i * width, features + (size_t)(i * count / FEW) * width, width * sizeof *few);
    const TimStatus status = judge_moments(j, few, FEW, distance, err);
    tim_free(few);
    return status;
}

TimStatus tim_judge_check(const TimJudge *j, int height, int width, int channels, int classes, TimError *err) {
    const TimPictureArray *r = &j->reference;
    if (height != r->height || width != r->width || channels != r->channels)
        return tim_fail(err, TIM_E_ARGUMENT,
                        "pictures of %d x %d with %d channels; those of the reference, %s, are %d x %d with %d: give pictures of "
                        "that size, or a reference of this",
                        width, height, channels, j->reference_name, r->width, r->height, r->channels);
    if (!j->extractor.classes || classes <= j->extractor.classes) return TIM_OK;
    return tim_fail(err, TIM_E_ARGUMENT, "pictures of %d classes; the classifier knows %d: take one that learned these classes",
                    classes, j->extractor.classes);
}

static TimStatus check_pictures(const TimJudge *j, const TimPictures *p, TimError *err) {
    if (p->count < LEAST)
        return tim_fail(err, TIM_E_ARGUMENT, "%lld pictures to judge; at least %d are needed", (long long)p->count, LEAST);
    return tim_judge_check(j, p->height, p->width, p->channels, 0, err);
}

/* How much is said: each includes those before it. */
typedef enum Extent { QUICKLY, WITHOUT_COPIES, ALL } Extent;

static const TimJudgement unsaid = {NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN, NAN};

static TimStatus judge(TimJudge *j, const TimPictures *p, const int64_t *labels, Extent extent, TimJudgement *out, TimError *err) {
    TimView v;
    *out = unsaid;
    TIM_TRY(check_pictures(j, p, err));
    TIM_TRY(check_labels(j, labels, p->count, err));
    const int before = tim_threads_enter(j->threads);
    TimStatus status = look(&v, j, p, err);
    const int64_t *classes = labels ? labels : j->extractor.classes ? v.seen : NULL;
    if (status == TIM_OK && labels && j->extractor.classes) out->agreement = agreement(v.seen, labels, p->count);
    if (status == TIM_OK) status = judge_moments(j, v.features, p->count, &out->frechet, err);
    if (status == TIM_OK && extent >= WITHOUT_COPIES && p->count >= FEW)
        status = judge_few(j, v.features, p->count, labels, &out->frechet_2000, err);
    if (status == TIM_OK && extent >= WITHOUT_COPIES)
        status = tim_frechet_limit(&out->frechet_limit, out->frechet, features_of(j, v.features, p->count), classes,
                                   &j->reference_moments, err);
    if (status == TIM_OK && extent >= WITHOUT_COPIES) status = judge_features(j, v.features, p->count, out, err);
    if (status == TIM_OK && extent == ALL && j->training.count) status = judge_copies(j, p, out, err);
    tim_threads_leave(j->threads, before);
    view_done(&v);
    return status;
}

TimStatus tim_judge_pictures(TimJudge *j, const TimPictures *pictures, const int64_t *labels, TimJudgement *judgement,
                             TimError *err) {
    return judge(j, pictures, labels, ALL, judgement, err);
}

TimStatus tim_judge_set(TimJudge *j, const char *source, int64_t *count, TimJudgement *judgement, TimError *err) {
    TimPictureArray set;
    TIM_TRY(tim_picture_array_read(&set, source, 0, err));
    const TimPictures pictures = all_of(&set);
    const TimStatus status = tim_judge_pictures(j, &pictures, set.classes ? set.labels : NULL, judgement, err);
    if (count) *count = set.count;
    tim_picture_array_done(&set);
    return status == TIM_OK ? TIM_OK : tim_fail_within(err, status, "%s", source);
}

TimStatus tim_judge_quickly(TimJudge *j, const TimPictures *pictures, const int64_t *labels, TimJudgement *judgement,
                            TimError *err) {
    return judge(j, pictures, labels, QUICKLY, judgement, err);
}

/* order (count) = numbers of the pictures by class, in their order within a class; as they come where there are none. */
static TimStatus sort_by_class(int64_t *order, const TimPictureArray *a, TimError *err) {
    const int64_t classes = a->classes ? a->classes : 1;
    int64_t *place; /* (classes + 1): of the next picture of a class */
    TIM_TRY(tim_new(&place, (size_t)classes + 1, sizeof *place, "the classes", err));
    for (int64_t i = 0; i < a->count; i++) place[a->classes ? a->labels[i] + 1 : 1]++;
    for (int64_t k = 1; k <= classes; k++) place[k] += place[k - 1];
    for (int64_t i = 0; i < a->count; i++) order[place[a->classes ? a->labels[i] : 0]++] = i;
    tim_free(place);
    return TIM_OK;
}

/* `count` training pictures, evenly spaced within each class: of each as many as its share, as drawn sets have; free the pixels. */
static TimStatus spread(TimPictures *out, const TimJudge *j, int64_t count, TimError *err) {
    const TimPictureArray *training = &j->training;
    const size_t size = picture_size(j);
    int64_t *order;
    *out = all_of(training);
    out->count = count;
    TIM_TRY(tim_new(&order, (size_t)training->count, sizeof *order, "the order of the pictures", err));
    TimStatus status = sort_by_class(order, training, err);
    if (status == TIM_OK) status = tim_new(&out->pixels, (size_t)count, size, "real pictures", err);
    for (int64_t i = 0; status == TIM_OK && i < count; i++)
        memcpy(out->pixels + (size_t)i * size, tim_picture_array_at(training, order[i * training->count / count]), size);
    tim_free(order);
    return status;
}

static TimStatus judge_spread(TimJudge *j, int64_t count, Extent extent, TimJudgement *out, TimError *err) {
    TimPictures some;
    TIM_TRY(spread(&some, j, count, err));
    const TimStatus status = judge(j, &some, NULL, extent, out, err);
    tim_free(some.pixels);
    return status;
}

/* Of a training set with fewer pictures only what does not depend on their number. */
static TimStatus judge_all_training(TimJudge *j, TimJudgement *out, TimError *err) {
    const TimPictures all = all_of(&j->training);
    TIM_TRY(judge(j, &all, NULL, WITHOUT_COPIES, out, err));
    out->frechet = out->precision = out->recall = NAN;
    return TIM_OK;
}

TimStatus tim_judge_floor(TimJudge *j, int64_t count, TimJudgement *floor, TimError *err) {
    const TimPictureArray *reference = &j->reference, *training = &j->training;
    *floor = unsaid;
    if (!training->count) return TIM_OK;
    if (training->count < count)
        TIM_TRY(judge_all_training(j, floor, err));
    else
        TIM_TRY(judge_spread(j, count, WITHOUT_COPIES, floor, err));
    if (count != FEW) { /* the first of these are not evenly spaced */
        TimJudgement few = unsaid;
        if (count > FEW && training->count >= FEW) TIM_TRY(judge_spread(j, FEW, QUICKLY, &few, err));
        floor->frechet_2000 = few.frechet;
    }
    floor->distance = j->reference_distances[reference->count / 2];
    floor->near = isnan(j->near_distance) ? NAN : 0.01;
    if (reference->classes && j->extractor.classes)
        floor->agreement = agreement(j->reference_view.seen, reference->labels, reference->count);
    return TIM_OK;
}
