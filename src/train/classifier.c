/* Training the judge's classifier: softmax cross-entropy with label smoothing, AdamW, one cycle of the learning rate.
 * Every random number is a function of (seed, use, place), as in the training of transitions, so the same call gives the same
 * bits. */
#include "model/classifier.h"

#include <math.h>
#include <string.h>

#include "base/clock.h"
#include "base/memory.h"
#include "base/pixel.h"
#include "base/rng.h"
#include "base/threads.h"
#include "io/file.h"
#include "io/picture_array.h"
#include "tim/eval.h"
#include "train/adamw.h"
#include "train/data.h"
#include "train/init.h"
#include "train/streams.h"

enum { MAX_EPOCHS = 10000, MAX_BATCH = 65536, MAX_SHIFT = 1 };
static const double smoothing = 0.05, weight_decay = 0.05, warmup_share = 0.05;

void tim_classifier_options_init(TimClassifierOptions *options) {
    *options = (TimClassifierOptions){
        .train = "fashion-mnist:train", .test = "fashion-mnist:test", .epochs = 16, .batch = 125, .learning_rate = 3e-3};
}

typedef struct Training {
    const TimClassifierOptions *options;
    TimIsa isa;
    int threads;
    TimPictureArray train, test;
    TimClassifierShape shape;
    TimClassifier judge;          /* owns the weights; evaluates */
    TimClassifierNetwork network; /* with gradients, on the same weights */
    TimParams params;             /* the network's, equal to the judge's */
    float *gradients, *moments;
    uint32_t *order;
    int64_t step, steps; /* done, and wanted */
} Training;

/* ---- making ---- */

static TimStatus check_options(const TimClassifierOptions *o, TimError *err) {
    if (o->epochs < 1 || o->epochs > MAX_EPOCHS)
        return tim_fail(err, TIM_E_ARGUMENT, "epochs is %d; give 1 to %d", o->epochs, MAX_EPOCHS);
    if (o->batch < 1 || o->batch > MAX_BATCH)
        return tim_fail(err, TIM_E_ARGUMENT, "batch is %d; give 1 to %d", o->batch, MAX_BATCH);
    if (!(o->learning_rate > 0) || !isfinite(o->learning_rate))
        return tim_fail(err, TIM_E_ARGUMENT, "the learning rate is %g; give a positive number such as 0.002", o->learning_rate);
    return TIM_OK;
}

static TimStatus read_sets(Training *t, TimError *err) {
    TIM_TRY(tim_picture_array_read(&t->train, t->options->train, 0, err));
    TIM_TRY(tim_picture_array_read(&t->test, t->options->test, 0, err));
    const TimPictureArray *a = &t->train, *b = &t->test;
    if (a->height != b->height || a->width != b->width || a->channels != b->channels)
        return tim_fail(err, TIM_E_ARGUMENT, "%s has pictures of %d x %d x %d and %s of %d x %d x %d: they must be alike",
                        t->options->train, a->height, a->width, a->channels, t->options->test, b->height, b->width, b->channels);
    const int least = a->height < a->width ? a->height : a->width, most = a->height < a->width ? a->width : a->height;
    if (least < TIM_CLASSIFIER_MIN_SIDE || most > TIM_CLASSIFIER_MAX_SIDE)
        return tim_fail(err, TIM_E_ARGUMENT,
                        "%s has pictures of %d x %d, and a classifier's are %d to %d pixels a side; resize them", t->options->train,
                        a->width, a->height, TIM_CLASSIFIER_MIN_SIDE, TIM_CLASSIFIER_MAX_SIDE);
    if (a->classes > TIM_CLASSIFIER_MAX_CLASSES)
        return tim_fail(err, TIM_E_ARGUMENT, "%s has labels up to %d; at most %d classes are learned: number them from 0",
                        t->options->train, a->classes - 1, TIM_CLASSIFIER_MAX_CLASSES);
    if (a->classes < 2 || b->classes < 1 || b->classes > a->classes)
        return tim_fail(err, TIM_E_ARGUMENT,
                        "%s has labels of %d classes and %s of %d; at least 2 are needed, and the same in both", t->options->train,
                        a->classes, t->options->test, b->classes);
    if (a->count < t->options->batch)
        return tim_fail(err, TIM_E_ARGUMENT, "%s has %lld pictures, fewer than the batch of %d", t->options->train,
                        (long long)a->count, t->options->batch);
    t->shape = (TimClassifierShape){a->channels, a->height, a->width, a->classes};
    return TIM_OK;
}

static TimStatus make(Training *t, TimError *err) {
    const int batch = t->options->batch;
    TIM_TRY(tim_classifier_init(&t->judge, &t->shape, batch, t->isa, t->threads, err));
    tim_init_weights(t->judge.weights, &t->judge.params, t->options->seed, t->threads);
    const TimTapeOptions tape = {.isa = t->isa, .threads = t->threads, .samples = batch, .gradients = true, .product = TIM_F32};
    TIM_TRY(tim_classifier_network_new(&t->network, &t->shape, &tape, &t->params, err));
    TIM_TRY(tim_new(&t->gradients, t->params.elements, sizeof(float), "the gradients", err));
    TIM_TRY(tim_new(&t->moments, 2 * t->params.elements, sizeof(float), "Adam's moments", err));
    TIM_TRY(tim_new(&t->order, (size_t)t->train.count, sizeof *t->order, "the order of an epoch", err));
    t->steps = t->options->epochs * (t->train.count / batch);
    return tim_tape_bind(t->network.tape, &t->judge.bound, t->gradients, err);
}

static void done(Training *t) {
    tim_classifier_network_done(&t->network);
    tim_classifier_done(&t->judge);
    tim_params_done(&t->params);
    tim_picture_array_done(&t->train);
    tim_picture_array_done(&t->test);
    tim_free(t->gradients);
    tim_free(t->moments);
    tim_free(t->order);
}

/* ---- a step ---- */

/* How a picture is shown: mirrored or not, and moved by at most MAX_SHIFT pixels each way. */
typedef struct View {
    bool mirror;
    int down, right;
} View;

static View draw_view(const TimClassifierOptions *o, uint64_t place) {
    const uint64_t word = tim_rng_word(o->seed, tim_stream(TIM_STREAM_MIRROR, 0), place);
    const unsigned side = 2 * MAX_SHIFT + 1;
    return (View){!o->no_mirror && (word & 1), (int)((word >> 8 & 0xFFFF) % side) - MAX_SHIFT,
                  (int)((word >> 24 & 0xFFFF) % side) - MAX_SHIFT};
}

/* One pixel of the picture as it is shown; what moves in from outside is the nearest pixel of the edge. */
static uint8_t shown(const uint8_t *picture, const TimClassifierShape *s, View v, int c, int y, int x) {
    int from_y = y - v.down, from_x = x - v.right;
    from_y = from_y < 0 ? 0 : from_y >= s->height ? s->height - 1 : from_y;
    from_x = from_x < 0 ? 0 : from_x >= s->width ? s->width - 1 : from_x;
    if (v.mirror) from_x = s->width - 1 - from_x;
    return picture[(from_y * s->width + from_x) * s->channels + c];
}

static void show(float *out, const uint8_t *picture, const TimClassifierShape *s, View v) {
    for (int c = 0; c < s->channels; c++)
        for (int y = 0; y < s->height; y++)
            for (int x = 0; x < s->width; x++) *out++ = tim_pixel_from_byte(shown(picture, s, v, c, y, x));
}

/* Smoothed cross-entropy of one row and, in `gradient`, softmax - target, divided by the batch. */
static double cross_entropy(float *gradient, const float *logits, int classes, int64_t label, double batch) {
    const double top = logits[tim_classifier_class(logits, classes)];
    double sum = 0, loss = 0;
    for (int k = 0; k < classes; k++) sum += exp(logits[k] - top);
    for (int k = 0; k < classes; k++) {
        const double log_p = logits[k] - top - log(sum), target = smoothing / classes + (k == label ? 1 - smoothing : 0);
        loss -= target * log_p;
        gradient[k] = (float)((exp(log_p) - target) / batch);
    }
    return loss;
}

static void fill_inputs(Training *t, int64_t first) {
    const TimMatrix x = tim_tape_value(t->network.tape, t->network.x);
    const uint64_t place = (uint64_t)t->step * (uint64_t)t->options->batch;
#pragma omp parallel for num_threads(t->threads) schedule(static)
    for (int64_t i = 0; i < t->options->batch; i++)
        show(tim_matrix_f32(&x, i), tim_picture_array_at(&t->train, t->order[first + i]), &t->shape,
             draw_view(t->options, place + (uint64_t)i));
}

/* Losses and hits of the batch; the gradient of the logits goes to the tape. */
static void judge_batch(Training *t, int64_t first, double *loss, int64_t *hits) {
    const TimMatrix logits = tim_tape_value(t->network.tape, t->network.logits),
                    g = tim_tape_cotangent(t->network.tape, t->network.logits);
    for (int64_t i = 0; i < t->options->batch; i++) {
        const int64_t label = t->train.labels[t->order[first + i]];
        const float *row = tim_matrix_f32(&logits, i);
        *loss += cross_entropy(tim_matrix_f32(&g, i), row, t->shape.classes, label, t->options->batch);
        *hits += tim_classifier_class(row, t->shape.classes) == label;
    }
}

static double learning_rate(const Training *t) {
    const double done = ((double)t->step + 1) / (double)t->steps;
    if (done < warmup_share) return t->options->learning_rate * done / warmup_share;
    return t->options->learning_rate * 0.5 * (1 + cos(acos(-1.0) * (done - warmup_share) / (1 - warmup_share)));
}

/* A step whose gradient is not finite is the last. */
static TimStatus update(Training *t, TimError *err) {
    const TimAdamWVectors vectors = {.weights = t->judge.weights,
                                     .first = t->moments,
                                     .second = t->moments + t->params.elements,
                                     .gradients = t->gradients,
                                     .count = t->params.elements};
    const double norm = tim_l2_norm(t->gradients, t->params.elements, t->threads);
    if (!isfinite(norm))
        return tim_fail(err, TIM_E_ARGUMENT, "the gradient of step %lld is not finite; give a learning rate below %g",
                        (long long)t->step + 1, t->options->learning_rate);
    const TimAdamWStep step = {.lr = learning_rate(t),
                               .beta1 = 0.9,
                               .beta2 = 0.99,
                               .eps = 1e-8,
                               .weight_decay = weight_decay,
                               .step = t->step + 1,
                               .gradient_scale = tim_clip_factor(norm, 1.0),
                               .threads = t->threads};
    tim_adamw_update(&vectors, &step);
    return TIM_OK;
}

static TimStatus train_epoch(Training *t, int epoch, TimClassifierReport *report, TimError *err) {
    const int64_t batch = t->options->batch, batches = t->train.count / batch;
    int64_t hits = 0;
    report->loss = 0;
    tim_data_order(t->order, (size_t)t->train.count, t->options->seed, (uint64_t)epoch);
    for (int64_t k = 0; k < batches; k++, t->step++) {
        fill_inputs(t, k * batch);
        tim_tape_forward(t->network.tape, false);
        judge_batch(t, k * batch, &report->loss, &hits);
        memset(t->gradients, 0, t->params.elements * sizeof *t->gradients);
        tim_tape_backward(t->network.tape);
        TIM_TRY(update(t, err));
    }
    report->loss /= (double)(batches * batch);
    report->train_accuracy = (double)hits / (double)(batches * batch);
    return TIM_OK;
}

static TimStatus test_accuracy(Training *t, double *accuracy, TimError *err) {
    float *logits;
    TIM_TRY(tim_new(&logits, (size_t)t->test.count * (size_t)t->shape.classes, sizeof *logits, "the logits", err));
    tim_classifier_run(&t->judge, t->test.pixels, t->test.count, NULL, logits);
    int64_t hits = 0;
    for (int64_t i = 0; i < t->test.count; i++)
        hits += tim_classifier_class(logits + i * t->shape.classes, t->shape.classes) == t->test.labels[i];
    *accuracy = (double)hits / (double)t->test.count;
    tim_free(logits);
    return TIM_OK;
}

/* ---- the whole ---- */

/* Whether the file can be written is known before hours of training, not after. */
static TimStatus check_out(const char *path, TimError *err) {
    TimFileWriter writer;
    char *folder;
    if (!path) return tim_fail(err, TIM_E_ARGUMENT, "the classifier's training needs a file to write");
    TIM_TRY(tim_path_beside(&folder, path, ".", err));
    const TimStatus status = tim_folder_make(folder, err);
    tim_free(folder);
    TIM_TRY(status);
    TIM_TRY(tim_file_writer_open(&writer, path, err));
    tim_file_writer_abandon(&writer);
    return TIM_OK;
}

static TimStatus run(Training *t, TimClassifierReport *report, TimError *err) {
    const double begin = tim_clock();
    TIM_TRY(check_options(t->options, err));
    TIM_TRY(check_out(t->options->out, err));
    TIM_TRY(tim_isa_choose(t->options->isa, &t->isa, err));
    TIM_TRY(tim_threads_choose(t->options->threads, &t->threads, err));
    TIM_TRY(read_sets(t, err));
    TIM_TRY(make(t, err));
    for (int epoch = 0; epoch < t->options->epochs; epoch++) {
        TIM_TRY(train_epoch(t, epoch, report, err));
        report->epoch = epoch + 1, report->epochs = t->options->epochs;
        TIM_TRY(test_accuracy(t, &report->test_accuracy, err));
        report->seconds = tim_clock() - begin;
        if (t->options->progress && !t->options->progress(report, t->options->user)) break;
    }
    return tim_classifier_save(&t->shape, t->judge.weights, &t->judge.params, report->test_accuracy, t->options->out, err);
}

TimStatus tim_classifier_train(const TimClassifierOptions *options, TimClassifierReport *report, TimError *err) {
    TimClassifierReport last = {0};
    Training *t;
    TIM_TRY(tim_new(&t, 1, sizeof *t, "a classifier's training", err));
    t->options = options;
    const TimStatus status = run(t, &last, err);
    if (report) *report = last;
    done(t);
    tim_free(t);
    return status;
}
