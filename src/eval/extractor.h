/* The network in whose features pictures are compared: this project's classifier, which also says what it sees, or the Inception v3
 * of the Frechet inception distance. The file tells which. */
#ifndef TIM_EVAL_EXTRACTOR_H
#define TIM_EVAL_EXTRACTOR_H

#include "model/classifier.h"
#include "model/inception_v3.h"
#include "tim/pictures.h"

typedef struct TimExtractor {
    bool is_inception;
    TimClassifier classifier; /* unless it is Inception */
    TimInception inception;   /* if it is */
    size_t width;             /* features of a picture */
    int classes;              /* it knows; 0: none */
    double test_accuracy;     /* NaN when the file says nothing */
} TimExtractor;

/* Opens a file of tim_classifier_train, or one with the official tensors of the FID network. `extractor` starts as {0}. */
TimStatus tim_extractor_open(TimExtractor *extractor, const char *path, TimIsa isa, int threads, TimError *err);

/* Frees what it owns; {0} is fine. */
void tim_extractor_done(TimExtractor *extractor);

/* TIM_E_ARGUMENT unless it can look at pictures like these; `source` says in the text where they come from, `path` is the
 * network's. */
TimStatus tim_extractor_check(const TimExtractor *extractor, const TimPictures *pictures, const char *source, const char *path,
                              TimError *err);

/* features (count, width) and logits (count, classes), either may be NULL, of pictures that passed the check. */
TimStatus tim_extractor_run(TimExtractor *extractor, const TimPictures *pictures, float *features, float *logits, TimError *err);

#endif
