/* The numbers of ADM's evaluation suite (openai/guided-diffusion, evaluations/evaluator.py), in its conventions: pictures as in the
 * graph of the FID network; FID of the pooled features; sFID of the first 7 channels of Mixed_6d.branch1x1, there mixed_6/conv; the
 * inception score of fc.weight without fc.bias, over splits of 5000; precision and recall of the pooled features with k = 3.
 * Sources: Dhariwal and Nichol (arXiv 2105.05233), Nash et al. (arXiv 2103.03841) for sFID. docs/report.md says what differs. */
#ifndef TIM_EVAL_ADM_SUITE_H
#define TIM_EVAL_ADM_SUITE_H

#include "eval/frechet.h"
#include "eval/inception_score.h"
#include "model/inception_v3.h"
#include "tim/eval.h"

enum { TIM_ADM_CHANNELS = 7, TIM_ADM_SPATIAL = TIM_ADM_CHANNELS * TIM_INCEPTION_MIXED_PIXELS };

/* What the suite wants of one set of pictures. */
typedef struct TimAdmSet {
    float *features; /* (room, 2048), of which `count` are there */
    size_t count, capacity, room;
    TimMoments pool, spatial; /* of 2048 and of 2023 values */
    bool given;               /* the moments are the file's own */
    bool by_class;            /* the pictures came class by class, and are not a file's */
} TimAdmSet;

/* A set for up to `capacity` pictures. Room for their features is made as they come: a file may claim more than it has.
 * tim_adm_set_done is due after success and after failure. */
TimStatus tim_adm_set_init(TimAdmSet *set, int64_t capacity, TimError *err);

/* Takes over the moments mu, sigma, mu_s and sigma_s from the npz at `path`, all four, if it has mu; a set without pictures.
 * TIM_E_FORMAT, naming file and member, for what cannot be them. Files may be hostile. */
TimStatus tim_adm_set_read_moments(TimAdmSet *set, const char *path, TimError *err);

/* Adds the `count` pictures that were put into the network's batch. */
TimStatus tim_adm_set_add(TimAdmSet *set, TimInception *network, int64_t count, TimError *err);

/* The inception score by `classes` (1008, 2048): of splits in the order of the pictures, or, where they came class by class, with
 * every n-th picture each, since splits of a few classes would have the score of so few. */
TimStatus tim_adm_set_score(double *score, const TimAdmSet *set, const float *classes, TimError *err);

/* out (2023) = the first channels of the map, pixel by pixel as the suite lays them out, of the picture at place `at` of the
 * batch. */
void tim_adm_take_spatial(float *out, const TimInceptionNetwork *network, int64_t at);

/* The scores of two sets, which need more than 3 pictures each, but for the inception score. Finishes their moments. */
TimStatus tim_adm_compare(TimAdmScores *scores, TimAdmSet *pictures, TimAdmSet *reference, TimError *err);

void tim_adm_set_done(TimAdmSet *set);

#endif
