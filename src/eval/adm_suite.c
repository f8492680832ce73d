/* tim_adm_suite: both sets go through the network a picture at a time; of each only its features stay. */
#include "eval/adm_suite.h"

#include "base/memory.h"
#include "base/threads.h"
#include "io/file.h"
#include "tim/pictures.h"

enum { BATCH = 16, LEAST = 4 };

typedef struct Suite {
    const TimAdmOptions *options;
    TimInception network;
    float *classes; /* (1008, 2048) */
    TimPictureSet *source[2];
    TimAdmSet set[2]; /* the pictures, the reference */
    int64_t label[2]; /* the last of each: 0 ..., or -1 for what has none */
    int64_t done, total;
} Suite;

enum { PICTURES, REFERENCE };

/* ---- opening ---- */

static const char *name_of(const Suite *s, int which) {
    return which == PICTURES ? s->options->pictures : s->options->reference;
}

static TimStatus open_set(Suite *s, int which, TimError *err) {
    const char *name = name_of(s, which);
    TIM_TRY(tim_picture_set_open(&s->source[which], name, err));
    const int64_t count = tim_picture_set_count(s->source[which]);
    if (count < LEAST)
        return tim_fail(err, TIM_E_ARGUMENT,
                        "%s has %lld pictures; at least %d are needed, and 50000 for figures that can be compared", name,
                        (long long)count, LEAST);
    s->total += count;
    TIM_TRY(tim_adm_set_init(&s->set[which], count, err));
    s->set[which].by_class = !tim_is_file(name); /* until a label falls; files are taken as evaluator.py does */
    return tim_is_file(name) ? tim_adm_set_read_moments(&s->set[which], name, err) : TIM_OK;
}

static TimStatus open_network(Suite *s, TimError *err) {
    const TimAdmOptions *o = s->options;
    TimIsa isa;
    int threads;
    TIM_TRY(tim_isa_choose(o->isa, &isa, err));
    TIM_TRY(tim_threads_choose(o->threads, &threads, err));
    TIM_TRY(tim_inception_read_classes(&s->classes, o->classifier, err));
    return tim_inception_open(&s->network, o->classifier, BATCH, isa, threads, err);
}

/* ---- looking ---- */

static TimStatus put_next(Suite *s, int which, int64_t at, TimError *err) {
    TimImage image;
    int64_t label;
    TIM_TRY(tim_picture_set_next(s->source[which], &image, &label, err));
    s->set[which].by_class &= label >= s->label[which];
    s->label[which] = label;
    const TimStatus status =
        tim_inception_put(&s->network, at, TIM_INCEPTION_AS_GRAPH, image.pixels, image.height, image.width, image.channels, err);
    tim_image_done(&image);
    return status;
}

static TimStatus tell(Suite *s, int64_t count, TimError *err) {
    s->done += count;
    if (!s->options->progress || s->options->progress(s->done, s->total, s->options->user)) return TIM_OK;
    return tim_fail(err, TIM_E_CANCELLED, "the evaluation was stopped after %lld of %lld pictures", (long long)s->done,
                    (long long)s->total);
}

static TimStatus look_at(Suite *s, int which, TimError *err) {
    TimAdmSet *set = &s->set[which];
    while (set->count < set->capacity) {
        const size_t left = set->capacity - set->count;
        const int64_t count = left < BATCH ? (int64_t)left : BATCH;
        for (int64_t i = 0; i < count; i++) TIM_TRY(put_next(s, which, i, err));
        TIM_TRY(tim_adm_set_add(set, &s->network, count, err));
        TIM_TRY(tell(s, count, err));
    }
    return TIM_OK;
}

/* ---- the whole ---- */

static TimStatus run(Suite *s, TimAdmScores *scores, TimError *err) {
    const TimAdmOptions *o = s->options;
    if (!o->classifier || !o->pictures || !o->reference)
        return tim_fail(err, TIM_E_ARGUMENT, "ADM's suite needs pictures, a reference and the FID network's weights");
    TIM_TRY(open_set(s, PICTURES, err));
    TIM_TRY(open_set(s, REFERENCE, err));
    TIM_TRY(open_network(s, err));
    TIM_TRY(look_at(s, PICTURES, err));
    TIM_TRY(look_at(s, REFERENCE, err));
    TIM_TRY(tim_adm_compare(scores, &s->set[PICTURES], &s->set[REFERENCE], err));
    return tim_adm_set_score(&scores->inception_score, &s->set[PICTURES], s->classes, err);
}

TimStatus tim_adm_suite(const TimAdmOptions *options, TimAdmScores *scores, TimError *err) {
    Suite s = {.options = options};
    int threads;
    TIM_TRY(tim_threads_choose(options->threads, &threads, err));
    const int before = tim_threads_enter(threads);
    const TimStatus status = run(&s, scores, err);
    tim_threads_leave(threads, before);
    for (int which = PICTURES; which <= REFERENCE; which++) {
        tim_adm_set_done(&s.set[which]);
        tim_picture_set_close(s.source[which]);
    }
    tim_inception_done(&s.network);
    tim_free(s.classes);
    return status;
}
