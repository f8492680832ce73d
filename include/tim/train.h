/* Training a class-conditional TiM network: the transition objective with AdamW or Muon and an EMA of the weights
 * (Transition Models, arXiv 2509.04394, and its published trainer), on one machine's processor. */
#ifndef TIM_TRAIN_H
#define TIM_TRAIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tim/model.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- one step at a time ---- */

/* A network in training with everything a step needs. Opaque. One call at a time on one trainer; different trainers are
 * independent. */
typedef struct TimTrainer TimTrainer;

typedef struct TimTrainerOptions {
    uint64_t seed;   /* of initial weights, order of the pictures, label dropout, times and noise */
    int threads;     /* at most 4096; 0: as many as OpenMP would use. The same count gives the same bits */
    const char *isa; /* "ref", "generic", "avx2", "avx512", "avx512_bf16", "amx_bf16"; NULL: the best this processor has */
    int micro_batch; /* samples that run through the network at once; 0: a good default. For memory and speed */
    /* A model's folder or file of weights to begin with, of the configured network: a checkpoint's average, or what tim_model_write
     * made of it. NULL: random weights. The weights of a checkpoint that is resumed from take their place. */
    const char *init;
} TimTrainerOptions;

/* What a step did, or the means over several steps. A step whose gradient is not finite leaves weights, moments and EMA alone. */
typedef struct TimTrainReport {
    int64_t step;     /* steps done since training began, this one included */
    int64_t skipped;  /* how many of them had a gradient that was not finite */
    bool skipped_now; /* this one had; of several steps: any had */
    double loss;      /* the weighted transition loss, without alignment: what is minimised. It hovers near 1: see denoising */
    double denoising; /* mean over the batch of the losses per sample before weighting */
    double proj;      /* alignment loss, 0 without targets */
    double grad_norm; /* L2, before clipping */
    double learning_rate;
    double ema_decay;         /* after warm-up */
    double seconds;           /* of wall time for the whole step; its parts: */
    double seconds_data;      /* pictures, noise and times */
    double seconds_objective; /* forward, derivative and backward */
    double seconds_update;    /* clipping, optimiser and EMA */
    double pictures_per_second;
} TimTrainReport;

/* Makes a trainer before its first step: random weights from the seed or those of options.init, an equal EMA, zero moments. Takes
 * a copy of `config`, whose data.data_type names the pictures: "fashion-mnist" or "idx". `options` is read by this call only.
 * Free with tim_trainer_free; *trainer is NULL after a failure. What the configuration asks for and training cannot do
 * (TimConfig.untrainable, an alignment loss, weights in time where their function of time ends) is refused. Memory: 20 bytes a
 * parameter, 22 in bf16 (24 with guidance, average_direction or composed samples), 4 more for each further thread of a small
 * network, plus activations. Errors: TIM_E_ARGUMENT for values out of range or that do not fit each other or the pictures;
 * TIM_E_UNSUPPORTED for the text network, other data and instruction sets this processor lacks; TIM_E_IO and TIM_E_FORMAT for the
 * pictures and options.init; TIM_E_MEMORY. */
TIM_API TimStatus tim_trainer_new(TimTrainer **trainer, const TimConfig *config, const TimTrainerOptions *options, TimError *err);

/* Frees a trainer; NULL is fine. */
TIM_API void tim_trainer_free(TimTrainer *trainer);

/* Goes on where the checkpoint in `folder` stopped: the steps that follow have the same bits as if training had not stopped,
 * given the same configuration, micro_batch, thread count and instruction set. The seed is the checkpoint's. Errors name the
 * file: TIM_E_IO, TIM_E_FORMAT; after one the trainer can only be freed or resumed from another folder. */
TIM_API TimStatus tim_trainer_resume(TimTrainer *trainer, const char *folder, TimError *err);

/* Does one optimiser step on the next batch_size pictures and fills `report`. The learning rate follows the schedule of the
 * configuration, also beyond max_train_steps. Errors: TIM_E_MEMORY where a step makes a tape: in the first
 * steps, at the start steps of the configuration, and when more of a batch lies in the window of guidance than before;
 * TIM_E_ARGUMENT after 2^30 steps. A failed step changes nothing. */
TIM_API TimStatus tim_trainer_step(TimTrainer *trainer, TimTrainReport *report, TimError *err);

/* Steps done since training began, over all resumed runs. */
TIM_API int64_t tim_trainer_steps(const TimTrainer *trainer);

/* Writes a checkpoint to `folder`, replacing one of that name; its parent folders are made. It holds config.yaml,
 * model.safetensors (EMA), model_1.safetensors (weights), optimizer.safetensors (moments, exp_avg.* and exp_avg_sq.*) and
 * state.json. The folder appears under its name only when it is whole, so a run that is killed leaves no half checkpoint. Errors:
 * TIM_E_IO, naming the path; TIM_E_MEMORY. */
TIM_API TimStatus tim_trainer_save(const TimTrainer *trainer, const char *folder, TimError *err);

/* ---- a whole run ---- */

typedef enum TimTrainEvent {
    TIM_TRAIN_NOTED,   /* before the start, any number of times: `note` says in a line what the caller may not expect of the run */
    TIM_TRAIN_STARTED, /* everything is ready; `path` is the checkpoint resumed from, or NULL */
    TIM_TRAIN_STEP,    /* a step is done; `report` is its */
    TIM_TRAIN_LOGGED,  /* a line was added to log.jsonl; `report` holds the means since the line before */
    TIM_TRAIN_SAVED,   /* the checkpoint `path` is written */
    TIM_TRAIN_ENDED    /* nothing follows; `end` says why */
} TimTrainEvent;

typedef enum TimTrainEnd {
    TIM_TRAIN_RUNNING,
    TIM_TRAIN_FINISHED, /* max_train_steps are done */
    TIM_TRAIN_TIME_UP,
    TIM_TRAIN_CANCELLED /* the callback asked for it */
} TimTrainEnd;

/* Valid during the callback. */
typedef struct TimTrainProgress {
    TimTrainEvent event;
    TimTrainEnd end;
    int64_t step, max_steps;      /* done, and wanted */
    double seconds;               /* since the call */
    const TimTrainReport *report; /* NULL for events without one */
    const char *path;             /* NULL for events without one */
    const char *note;             /* NULL for events without one */
    size_t parameters, pictures;  /* of the network, of the data set */
    TimModel *average; /* the averaged weights, borrowed: may be drawn from during the callback, which changes nothing in the run */
} TimTrainProgress;

/* Told of every event; `user` is the caller's. Return false to end the run: it saves and returns TIM_OK. Runs in the calling
 * thread, between steps. */
typedef bool (*TimTrainCallback)(const TimTrainProgress *progress, void *user);

typedef struct TimTrainOptions {
    TimTrainerOptions trainer;
    const char *out; /* folder of the run, made when absent: configs/config.yaml, checkpoints/checkpoint-N, log.jsonl */
    /* "latest" (also NULL): the checkpoint with the largest N in `out`, a new run if there is none;
     * "none": a new run, refused when `out` holds checkpoints; anything else: a checkpoint's folder. What `out` then holds of later
     * steps, or of another run than the checkpoint's, is kept as checkpoint-N.abandoned, from which nothing goes on by itself. */
    const char *resume;
    int64_t log_every;         /* steps between lines of log.jsonl; 0: 50 */
    double minutes;            /* of wall time after which the run ends by itself; 0: no limit */
    TimTrainCallback progress; /* NULL: nobody asks */
    void *user;
} TimTrainOptions;

/* Trains until max_train_steps, the time limit or the callback ends it, with a checkpoint every checkpointing_steps and at the
 * end; the oldest beyond checkpoints_total_limit are deleted (0: none), never the one just written. Ending early is no failure. A
 * new run starts log.jsonl afresh, a resumed one appends to it; lines of steps that a killed run did after its last checkpoint
 * stay and are followed by their repetition. Any run notes start steps that it ends before, and bf16 where fp32 is faster. A
 * resumed run notes where its configuration or seed is not that of the checkpoint. A configs/config.yaml that is there stays
 * where it says the same, and is kept as config.yaml.until-N where it differs. What was learned before a step or a line of the
 * log that fails is saved. A hundred steps in a row without a finite gradient are TIM_E_ARGUMENT: nothing is saved of these, nor
 * is a checkpoint of before removed. Borrows everything. Errors: as tim_trainer_new, _resume, _step and _save; TIM_E_IO for the
 * folder, also where another run writes to it, and for the log. */
TIM_API TimStatus tim_train(const TimConfig *config, const TimTrainOptions *options, TimError *err);

#ifdef __cplusplus
}
#endif
#endif
