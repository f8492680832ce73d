#include "model/classifier.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/pixel.h"
#include "io/number.h"
#include "model/store.h"
#include "nn/layers.h"
#include "nn/maps.h"

enum { STAGES = 3, LAYERS = 2, BATCH = 250 };
static const int64_t widths[STAGES] = {32, 64, TIM_CLASSIFIER_FEATURES};
static const float eps = 1e-5F;

/* ---- the network ---- */

static TimMap layer(TimTape *tape, TimMap map, int64_t width, int stage, int index) {
    const TimConvolutionSpec spec = {.window = {.kernel_h = 3, .kernel_w = 3, .pad_y = 1, .pad_x = 1}, .out_channels = width};
    char name[64];
    snprintf(name, sizeof name, "stages.%d.%d.conv", stage, index);
    map = tim_convolution(tape, map, &spec, name);
    snprintf(name, sizeof name, "stages.%d.%d.norm", stage, index);
    map.x = tim_layer_norm(tape, map.x, eps, name);
    map.x = tim_tape_add(tape, TIM_OP_SILU, (TimOpParams){0}, 1, &map.x);
    return map;
}

static void record(TimClassifierNetwork *n, const TimClassifierShape *shape, const TimTapeOptions *options) {
    TimTape *tape = n->tape;
    const TimLinearSpec head = {
        .out_features = shape->classes, .bias = true, .init = TIM_INIT_XAVIER, .dtype = TIM_F32, .out = TIM_F32};
    n->x = tim_tape_input(tape, TIM_F32, options->samples, (int64_t)shape->channels * shape->height * shape->width, false);
    TimMap map = tim_map_of_pictures(tape, n->x, shape->channels, shape->height, shape->width);
    for (int stage = 0; stage < STAGES; stage++) {
        if (stage) map = tim_max_pool(tape, map, (TimWindowSpec){.kernel_h = 2, .kernel_w = 2, .stride = 2});
        for (int i = 0; i < LAYERS; i++) map = layer(tape, map, widths[stage], stage, i);
    }
    n->features = tim_global_average(tape, map);
    n->logits = tim_linear(tape, n->features, &head, "head");
    tim_tape_keep(tape, n->features, false);
    tim_tape_keep(tape, n->logits, options->gradients);
}

TimStatus tim_classifier_network_new(TimClassifierNetwork *network, const TimClassifierShape *shape, const TimTapeOptions *options,
                                     TimParams *params, TimError *err) {
    *network = (TimClassifierNetwork){0};
    TIM_TRY(tim_tape_new(&network->tape, options, params, err));
    record(network, shape, options);
    const TimStatus status = tim_tape_plan(network->tape, err);
    if (status != TIM_OK) tim_classifier_network_done(network);
    return status;
}

void tim_classifier_network_done(TimClassifierNetwork *network) {
    tim_tape_free(network->tape);
    *network = (TimClassifierNetwork){0};
}

/* ---- a trained one ---- */

static TimStatus fill(TimClassifier *c, TimIsa isa, int threads, TimError *err) {
    const TimTapeOptions options = {.isa = isa, .threads = threads, .samples = c->batch, .product = TIM_F32};
    TIM_TRY(tim_classifier_network_new(&c->network, &c->shape, &options, &c->params, err));
    TIM_TRY(tim_new(&c->weights, c->params.elements, sizeof *c->weights, "the classifier's weights", err));
    TIM_TRY(tim_weights_new(&c->bound, c->params.count, err));
    tim_weights_point(&c->bound, &c->params, c->weights, NULL);
    return tim_tape_bind(c->network.tape, &c->bound, NULL, err);
}

TimStatus tim_classifier_init(TimClassifier *classifier, const TimClassifierShape *shape, int64_t batch, TimIsa isa, int threads,
                              TimError *err) {
    *classifier = (TimClassifier){.shape = *shape, .batch = batch, .test_accuracy = NAN};
    const TimStatus status = fill(classifier, isa, threads, err);
    if (status != TIM_OK) tim_classifier_done(classifier);
    return status;
}

void tim_classifier_done(TimClassifier *classifier) {
    tim_classifier_network_done(&classifier->network);
    tim_weights_done(&classifier->bound);
    tim_params_done(&classifier->params);
    tim_free(classifier->weights);
    *classifier = (TimClassifier){0};
}

static void read_pixels(float *x, const uint8_t *picture, const TimClassifierShape *s) {
    const int pixels = s->height * s->width;
    for (int c = 0; c < s->channels; c++)
        for (int p = 0; p < pixels; p++) x[c * pixels + p] = tim_pixel_from_byte(picture[p * s->channels + c]);
}

/* The first `count` rows of a kept value. */
static void copy_rows(float *out, const TimTape *tape, TimRef ref, int64_t count) {
    const TimMatrix m = tim_tape_value(tape, ref);
    memcpy(out, m.data, (size_t)(count * m.cols) * sizeof *out);
}

void tim_classifier_run(TimClassifier *c, const uint8_t *pictures, int64_t count, float *features, float *logits) {
    const size_t size = (size_t)c->shape.channels * (size_t)c->shape.height * (size_t)c->shape.width;
    const TimMatrix x = tim_tape_value(c->network.tape, c->network.x);
    for (int64_t first = 0; first < count; first += c->batch) {
        const int64_t n = count - first < c->batch ? count - first : c->batch;
        for (int64_t i = 0; i < n; i++) read_pixels(tim_matrix_f32(&x, i), pictures + (size_t)(first + i) * size, &c->shape);
        tim_tape_forward(c->network.tape, false);
        if (features) copy_rows(features + first * TIM_CLASSIFIER_FEATURES, c->network.tape, c->network.features, n);
        if (logits) copy_rows(logits + first * c->shape.classes, c->network.tape, c->network.logits, n);
    }
}

int tim_classifier_class(const float *logits, int classes) {
    int best = 0;
    for (int k = 1; k < classes; k++)
        if (logits[k] > logits[best]) best = k;
    return best;
}

/* ---- files ---- */

TimStatus tim_classifier_save(const TimClassifierShape *shape, const float *weights, const TimParams *params, double test_accuracy,
                              const char *path, TimError *err) {
    char channels[16], height[16], width[16], classes[16], accuracy[32];
    snprintf(channels, sizeof channels, "%d", shape->channels);
    snprintf(height, sizeof height, "%d", shape->height);
    snprintf(width, sizeof width, "%d", shape->width);
    snprintf(classes, sizeof classes, "%d", shape->classes);
    tim_number_print(round(1e4 * test_accuracy) / 1e4, accuracy, sizeof accuracy);
    const TimStoredText texts[] = {{"network", "classifier"}, {"channels", channels}, {"height", height},
                                   {"width", width},          {"classes", classes},   {"test_accuracy", accuracy}};
    return tim_weights_write(weights, params, TIM_F32, texts, sizeof texts / sizeof *texts, path, err);
}

static TimStatus read_number(int *out, const TimSafetensors *file, const char *key, int most, const char *path, TimError *err) {
    const char *text = tim_safetensors_text(file, key);
    char *end = NULL;
    const long value = text ? strtol(text, &end, 10) : 0;
    if (!text || end == text || *end || value < 1 || value > most)
        return tim_fail(err, TIM_E_FORMAT,
                        "%s: its metadata have %s = %s, expected a number from 1 to %d; is it a classifier's file?", path, key,
                        text ? text : "nothing", most);
    *out = (int)value;
    return TIM_OK;
}

/* Numbers of the network's weights. */
static size_t weight_count(const TimClassifierShape *shape) {
    size_t count = (size_t)shape->classes * (TIM_CLASSIFIER_FEATURES + 1), in = (size_t)shape->channels;
    for (int i = 0; i < STAGES * LAYERS; i++) {
        const size_t out = (size_t)widths[i / LAYERS];
        count += (9 * in + 2) * out; /* of the convolution, and a scale and a shift */
        in = out;
    }
    return count;
}

/* Before room is made for pictures of the sides that the metadata claim: the file has most of the weights. One that is missing is
 * named later. */
static TimStatus check_count(const TimSafetensors *file, const TimClassifierShape *shape, const char *path, TimError *err) {
    const size_t wanted = weight_count(shape);
    size_t stored = 0;
    for (size_t i = 0; i < file->count; i++) stored += file->tensors[i].count;
    if (stored >= wanted / 2) return TIM_OK;
    return tim_fail(err, TIM_E_FORMAT, "%s: %zu numbers, where a classifier of its metadata has %zu; is it a classifier's file?",
                    path, stored, wanted);
}

static TimStatus read_metadata(TimClassifierShape *shape, double *accuracy, const char *path, TimError *err) {
    TimSafetensors file;
    TIM_TRY(tim_safetensors_open(&file, path, err));
    TimStatus status = read_number(&shape->channels, &file, "channels", 4, path, err);
    if (status == TIM_OK) status = read_number(&shape->height, &file, "height", TIM_CLASSIFIER_MAX_SIDE, path, err);
    if (status == TIM_OK) status = read_number(&shape->width, &file, "width", TIM_CLASSIFIER_MAX_SIDE, path, err);
    if (status == TIM_OK) status = read_number(&shape->classes, &file, "classes", TIM_CLASSIFIER_MAX_CLASSES, path, err);
    const char *text = tim_safetensors_text(&file, "test_accuracy");
    if (!text || !tim_number_parse(text, accuracy)) *accuracy = NAN;
    if (status == TIM_OK) status = check_count(&file, shape, path, err);
    tim_safetensors_close(&file);
    return status;
}

/* As many pictures at a time as small ones take memory for. */
static int64_t batch_for(const TimClassifierShape *s) {
    const int64_t small = (int64_t)BATCH * 32 * 32, own = (int64_t)s->channels * s->height * s->width;
    return own * BATCH <= small ? BATCH : own < small ? small / own : 1;
}

TimStatus tim_classifier_open(TimClassifier *classifier, const char *path, TimIsa isa, int threads, TimError *err) {
    TimClassifierShape shape;
    double accuracy;
    *classifier = (TimClassifier){0};
    TIM_TRY(read_metadata(&shape, &accuracy, path, err));
    TimStatus status = tim_classifier_init(classifier, &shape, batch_for(&shape), isa, threads, err);
    if (status != TIM_OK) return tim_fail_within(err, status, "%s", path);
    classifier->test_accuracy = accuracy;
    status = tim_weights_read(classifier->weights, &classifier->params, path, err);
    if (status != TIM_OK) tim_classifier_done(classifier);
    return status;
}
