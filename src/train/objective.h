/* One training step's losses and gradients: the transition objective (arXiv 2509.04394, eq. 9-12; shares, weights and guidance as
 * published).
 *
 *   target = transport's combination of x, z, x_t and E = dF/dt along the path with r held fixed
 *   loss_i = mean (F - target)^2  [+ mean over positions of 1 - cos(F, target) over channels]
 *   total  = mean_i w_time(t_i, r_i) loss_i / (scale_i + 1e-5)^p  +  proj_coeff * alignment,
 *   scale_i = stop_grad(loss_i), or what the batch expects of sample i
 *
 * The derivative's direction is the pair's own velocity, or on request (average_direction) the averaged network's at (x_t, t, t),
 * as in arXiv 2512.02012: given x_t its mean is the same, and its noise is not multiplied by the Jacobian.
 * Composed samples need no derivative: their target is the one jump that does what the averaged network's `composed_jumps` jumps
 * from t to r do (as in arXiv 2410.12557, there with two). It has no noise: x_t alone decides it, so that absolute
 * differences may count in place of squares (loss.h). They weigh 1 by their times.
 * The exact derivative rides beside the primal pass of the samples with r != t; the finite difference runs its two evaluations as
 * one batch. The batch runs in micro-batches that stay in the cache; losses and gradients do not depend on the cut beyond rounding.
 * Of a small network every thread works on micro-batches of its own, side by side, with gradients of its own that are added at the
 * end. */
#ifndef TIM_TRAIN_OBJECTIVE_H
#define TIM_TRAIN_OBJECTIVE_H

#include "model/model.h"

typedef struct TimObjective TimObjective;

typedef struct TimObjectiveShape {
    int height, width;   /* of the picture or latent */
    int caption_tokens;  /* text network, else 0 */
    int64_t micro_batch; /* at most this many samples at once; 0: a good default */
    bool alignment;      /* batches carry h_target */
    bool no_derivative;  /* E = 0, for measuring only: what the derivative costs */
} TimObjectiveShape;

/* `config` and `params` are borrowed and must outlive the objective. */
TimStatus tim_objective_new(TimObjective **out, const TimConfig *config, const TimNetworkOptions *options,
                            const TimObjectiveShape *shape, TimParams *params, TimError *err);

void tim_objective_free(TimObjective *objective);

/* One batch. All arrays are the caller's. */
typedef struct TimBatch {
    int64_t size;           /* B */
    int64_t diffusion;      /* the first so many samples have r = t */
    int64_t composed;       /* the last so many are composed */
    const float *x, *z;     /* (B, C H W): data and noise */
    const double *t, *r;    /* (B), t >= r */
    TimCondition condition; /* after dropout: what the network and its derivative see */
    TimCondition
        teacher;       /* what the guiding network's conditional call sees (class: labels before dropout; text: as `condition`) */
    TimCondition null; /* the null condition of every sample; only read when the target is guided */
    bool unguided;     /* the target is not guided, whatever the transport says */
    /* (num_classes + 1, C H W): the mean picture of every class, at last that of all; read by composed samples when composed_spread
     * is not 1 */
    const float *means;
    const float *h_target;      /* (B N, z_dim) with alignment, else NULL */
    const float *expected_loss; /* (B): what weighs a sample in place of its own loss where above 0; NULL: nowhere */
} TimBatch;

typedef struct TimLosses {
    double weighted;  /* mean of the weighted losses: what is minimised, without alignment */
    double denoising; /* mean over the batch of the losses per sample */
    double proj;      /* alignment loss, before proj_coeff */
    /* Filled when not NULL; the caller's. */
    float *target;      /* (B, C H W) */
    float *per_sample;  /* (B) */
    float *time_weight; /* (B) */
} TimLosses;

/* Adds the gradient of weighted + proj_coeff * proj to the vector `gradients` (params.elements). `ema` holds the averaged
 * network's weights and may be NULL where nothing asks for them. Tapes are made for the shapes of the first steps, of those in
 * which shares of the batch change and, where the target is guided, of one in which another quarter of the samples is for the first
 * time; they are kept, and other steps allocate nothing. */
TimStatus tim_objective_step(TimObjective *objective, const TimBatch *batch, const TimWeights *weights, const TimWeights *ema,
                             float *gradients, TimLosses *losses, TimError *err);

/* Bytes of all tapes made so far. */
size_t tim_objective_bytes(const TimObjective *objective);

/* Starts (or stops, with NULL) measuring the time of each op kind; side by side, that of the first thread. */
void tim_objective_measure(TimObjective *objective, TimTapeTimes *times);

#endif
