/* A small convolutional classifier: the eyes of `tim eval`. Its pooled features are where generated and real pictures are compared,
 * its classes tell whether a picture shows what was asked for.
 *
 * Three stages of two 3 x 3 convolutions, each followed by a layer norm over the channels and SiLU; the sides are halved between
 * stages; the mean over the last map is the feature vector, a linear layer on it gives the logits. */
#ifndef TIM_MODEL_CLASSIFIER_H
#define TIM_MODEL_CLASSIFIER_H

#include "tape/tape.h"

enum {
    TIM_CLASSIFIER_FEATURES = 128,
    TIM_CLASSIFIER_MIN_SIDE = 4,
    TIM_CLASSIFIER_MAX_SIDE = 1024,
    TIM_CLASSIFIER_MAX_CLASSES = 100000
};

typedef struct TimClassifierShape {
    int channels, height, width; /* of a picture */
    int classes;
} TimClassifierShape;

/* The classifier recorded for `batch` pictures: x (B, C H W) in [-1, 1], features (B, 128), logits (B, classes). */
typedef struct TimClassifierNetwork {
    TimTape *tape;
    TimRef x, features, logits;
} TimClassifierNetwork;

/* Records and plans; with gradients, the logits are seeded. `params` gains the parameters on the first trace. */
TimStatus tim_classifier_network_new(TimClassifierNetwork *network, const TimClassifierShape *shape, const TimTapeOptions *options,
                                     TimParams *params, TimError *err);

void tim_classifier_network_done(TimClassifierNetwork *network);

/* A trained classifier for evaluation. */
typedef struct TimClassifier {
    TimClassifierShape shape;
    TimParams params;
    float *weights; /* (params.elements) */
    TimWeights bound;
    TimClassifierNetwork network; /* of `batch` pictures */
    int64_t batch;
    double test_accuracy; /* what its file says; NaN when it says nothing */
} TimClassifier;

/* Makes a classifier with the given weights' vector all zero, ready to evaluate `batch` pictures at a time. Free with _done. */
TimStatus tim_classifier_init(TimClassifier *classifier, const TimClassifierShape *shape, int64_t batch, TimIsa isa, int threads,
                              TimError *err);

/* Reads the file that training wrote; its metadata say what the network looks like. */
TimStatus tim_classifier_open(TimClassifier *classifier, const char *path, TimIsa isa, int threads, TimError *err);

TimStatus tim_classifier_save(const TimClassifierShape *shape, const float *weights, const TimParams *params, double test_accuracy,
                              const char *path, TimError *err);

/* Frees what the classifier owns; {0} is fine. */
void tim_classifier_done(TimClassifier *classifier);

/* The class with the largest of `classes` logits. */
int tim_classifier_class(const float *logits, int classes);

/* features (count, 128) and logits (count, classes), either may be NULL, of pictures (count, H, W, C) in bytes, v / 127.5 - 1. */
void tim_classifier_run(TimClassifier *classifier, const uint8_t *pictures, int64_t count, float *features, float *logits);

#endif
