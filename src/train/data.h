/* The pictures of a training run: an endless sequence of samples, one permutation of the set after the other.
 * Invariant: sample number p of the sequence (picture, mirror, dropped label) is a function of (set, seed, p) alone, so a run that
 * knows p resumes exactly, and a batch that crosses the end of an epoch loses nothing. */
#ifndef TIM_TRAIN_DATA_H
#define TIM_TRAIN_DATA_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "tim/config.h"

typedef struct TimData TimData;

/* Opens the set that data.data_type names and loads it: "fashion-mnist" (Debian's package unless data_dir says where) or "idx"
 * (training pictures of any IDX set in data_dir). Checks that pictures and labels fit the network. `config` is read by this call
 * only. Free with tim_data_close. */
TimStatus tim_data_open(TimData **out, const TimConfig *config, TimError *err);

/* NULL is fine. */
void tim_data_close(TimData *data);

/* Number of pictures: the length of an epoch. */
size_t tim_data_count(const TimData *data);

/* means[c] = the mean picture of class c as samples show it, means[num_classes] that of all; of a class without pictures too.
 * *means: (num_classes + 1, C H W), free with tim_free; NULL after an error. */
TimStatus tim_data_means(float **means, const TimData *data, TimError *err);

/* x = mean + by (x - mean) with the mean picture of class `label`. x: (C H W), `pixels` in all; means as of tim_data_means. Pure. */
void tim_data_spread(float *x, const float *means, int64_t label, size_t pixels, double by);

/* A batch's arrays, the caller's. */
typedef struct TimSamples {
    float *x;         /* (B, C H W), v / 127.5 - 1, so in [-1, 1] */
    int64_t *labels;  /* (B) */
    int64_t *dropped; /* (B): the label, or num_classes with the probability class_dropout_prob */
} TimSamples;

/* Samples first ... first + count - 1 of the seed's sequence. One call at a time on one set: it keeps the epoch's order. */
void tim_data_read(TimData *data, uint64_t seed, uint64_t first, size_t count, const TimSamples *out, int threads);

/* order[k] = the picture shown at place k of epoch `epoch`: a permutation of 0 ... count - 1, a function of (seed, epoch) alone. */
void tim_data_order(uint32_t *order, size_t count, uint64_t seed, uint64_t epoch);

#endif
