#include "eval/extractor.h"

#include <math.h>

#include "base/error.h"
#include "base/memory.h"
#include "io/tensor_folder.h"
#include "io/tensor_set.h"

enum { INCEPTION_BATCH = 16 };

/* Whether the file has the first kernel of Inception v3, which no other network names so. */
static TimStatus recognise(bool *is_inception, const char *path, TimError *err) {
    TimTensorSet file;
    TIM_TRY(tim_tensor_set_open_weights(&file, path, err));
    *is_inception = tim_tensor_set_find(&file, "Conv2d_1a_3x3.conv.weight") != NULL;
    tim_tensor_set_close(&file);
    return TIM_OK;
}

static TimStatus open_file(TimExtractor *e, const char *path, TimIsa isa, int threads, TimError *err) {
    TIM_TRY(recognise(&e->is_inception, path, err));
    e->test_accuracy = NAN;
    if (e->is_inception) {
        e->width = TIM_INCEPTION_FEATURES;
        return tim_inception_open(&e->inception, path, INCEPTION_BATCH, isa, threads, err);
    }
    TIM_TRY(tim_classifier_open(&e->classifier, path, isa, threads, err));
    e->width = TIM_CLASSIFIER_FEATURES;
    e->classes = e->classifier.shape.classes;
    e->test_accuracy = e->classifier.test_accuracy;
    return TIM_OK;
}

TimStatus tim_extractor_open(TimExtractor *e, const char *path, TimIsa isa, int threads, TimError *err) {
    char *file;
    TIM_TRY(tim_tensor_folder_find(&file, path, err));
    const TimStatus status = open_file(e, file, isa, threads, err);
    tim_free(file);
    return status;
}

void tim_extractor_done(TimExtractor *e) {
    tim_classifier_done(&e->classifier);
    tim_inception_done(&e->inception);
    *e = (TimExtractor){0};
}

TimStatus tim_extractor_check(const TimExtractor *e, const TimPictures *p, const char *source, const char *path, TimError *err) {
    const TimClassifierShape *s = &e->classifier.shape;
    if (e->is_inception || (p->height == s->height && p->width == s->width && p->channels == s->channels)) return TIM_OK;
    return tim_fail(err, TIM_E_ARGUMENT,
                    "%s: pictures of %d x %d with %d channels; the classifier %s was trained on %d x %d with %d", source, p->width,
                    p->height, p->channels, path, s->width, s->height, s->channels);
}

TimStatus tim_extractor_run(TimExtractor *e, const TimPictures *p, float *features, float *logits, TimError *err) {
    if (!e->is_inception)
        tim_classifier_run(&e->classifier, p->pixels, p->count, features, logits);
    else if (features)
        return tim_inception_run(&e->inception, p->pixels, p->count, p->height, p->width, p->channels, features, err);
    return TIM_OK;
}
