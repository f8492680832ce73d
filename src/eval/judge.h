/* Inside a judge: the network that looks, the real pictures, and what is measured of them alone. */
#ifndef TIM_EVAL_JUDGE_H
#define TIM_EVAL_JUDGE_H

#include "eval/extractor.h"
#include "eval/features.h"
#include "eval/finished.h"
#include "eval/frechet.h"
#include "io/picture_array.h"
#include "tim/eval.h"

/* Pixels as features: v / 255 / sqrt(pixels), so that a distance is the root mean square over the pixels. */
typedef struct TimPixels {
    float *values; /* (count, width) */
    size_t count, width;
} TimPixels;

/* What the network makes of a set. */
typedef struct TimView {
    float *features; /* (count, extractor.width) */
    int64_t *seen;   /* (count): the most likely classes, or all 0 where it knows none */
} TimView;

struct TimJudge {
    TimExtractor extractor;
    char *reference_name;
    TimPictureArray reference, training; /* training.count 0: copying is not judged */
    TimView reference_view;
    TimMoments reference_moments;
    TimPixels training_pixels;
    double *reference_distances; /* (reference.count), ascending: of each to its nearest training picture */
    double near_distance;        /* what a hundredth of them is nearer than; NaN where that says nothing (tim/eval.h, near) */
    int threads;                 /* of searches and sums */
};

/* The pictures nearest to a training picture, at most TIM_FINISHED_PAIRS, the closest first. The judge has training pictures. */
TimStatus tim_judge_closest(const TimJudge *judge, const TimPictures *pictures, TimNearPair pairs[TIM_FINISHED_PAIRS], int *count,
                            TimError *err);

#endif
