/* The any-step sampler: carries a batch of states from T_max to T_min in N jumps of the transport, each with one evaluation of the
 * network, or with two, as one batch, where classifier-free guidance applies.
 * Invariants: state, times and jumps are fp64, only the network's inputs are f32; picture i of a batch depends on its own initial
 * state, its condition, its key and the options, never on its neighbours; the loop over steps allocates nothing but the
 * model's tapes, which the model keeps.
 * Source: Transition Models (arXiv 2509.04394) and its published sampler. */
#ifndef TIM_SAMPLE_SAMPLER_H
#define TIM_SAMPLE_SAMPLER_H

#include "model/model.h"
#include "tim/sample.h"

/* How to sample. Times and transport are the model's configuration. */
typedef struct TimSamplerOptions {
    int steps; /* 1 ... TIM_SAMPLE_MAX_STEPS */
    TimSampleMode mode;
    double guidance, guidance_low, guidance_high;
    double stochasticity;
    bool rounded_times;  /* TimSampleOptions */
    double start;        /* where the run starts, as a share of the way from T_min to T_max; 0 stands for 1: T_max */
    const float *noises; /* (noise_count, B, C, H, W) for the stochastic jumps, in order of use; NULL: those of the batch's keys */
    int64_t noise_count;
    float *trajectory; /* (steps + 1, B, C, H, W) receives the initial state and the state after each step; NULL: nobody asks */
    float *estimates;  /* (steps, B, C, H, W) receives where each step would end if its jump went on to T_min; NULL: nobody asks */
    TimSampleCallback progress; /* (steps done, steps); NULL: nobody asks */
    void *user;
} TimSamplerOptions;

/* Whose random numbers: those of picture `picture` of the runs with `seed`. */
typedef struct TimNoiseKey {
    uint64_t seed;
    int64_t picture; /* 0 ... TIM_SAMPLER_MAX_PICTURES - 1 */
} TimNoiseKey;

/* What to sample: B states at once. `condition` and `null` have the lengths of tim_model_evaluate; captions of both have the same
 * number of tokens. `null` is read only where guidance applies. */
typedef struct TimSamplerBatch {
    int64_t batch; /* B */
    int height, width;
    double *
        state; /* (B, C, H, W) in: x at the first time, T_max or where `start` says; noise at T_max, times sigma(T_max) for VE-SDE; out: x at T_min */
    const TimNoiseKey *keys; /* (B) for the stochastic jumps; NULL: there are none, or the options give the noises */
    TimCondition condition, null;
} TimSamplerBatch;

/* No guidance with the window (0, 1), one step, transition mode, no stochasticity. */
TimSamplerOptions tim_sampler_options_default(void);

/* Checks the options against the transport and says what a run with them will do. Pure. */
TimStatus tim_sampler_plan(const TimTransportConfig *transport, const TimSamplerOptions *options, TimSampleInfo *info,
                           TimError *err);

/* Runs; `state` is undefined after a failure. `info` may be NULL. */
TimStatus tim_sampler_run(TimModel *model, const TimSamplerBatch *batch, const TimSamplerOptions *options, TimSampleInfo *info,
                          TimError *err);

/* The time that the share `start` stands for. */
double tim_sampler_start(const TimTransportConfig *transport, double start);

/* Time number i of steps + 1 from there to T_min, as tim_transport_time has it. */
double tim_sampler_time(const TimTransportConfig *transport, double start, int steps, int i);

/* out (count) = the normal numbers of the key's picture for step `step`; step 0 is its initial noise. */
void tim_sampler_noise(float *out, size_t count, TimNoiseKey key, int step);

enum { TIM_SAMPLER_STEP_BITS = 16 }; /* a picture's streams of random numbers are its index above these bits */
#define TIM_SAMPLER_MAX_PICTURES ((int64_t)1 << (64 - TIM_SAMPLER_STEP_BITS))

#endif
