/* The configuration of a model and its training, with the field names of the published YAML files.
 * Plain values, owned by the caller except for the texts, which tim_config_done frees. Not thread-safe while being changed. */
#ifndef TIM_CONFIG_H
#define TIM_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "tim/status.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum TimNetworkKind {
    TIM_NETWORK_C2I, /* conditioned on a class; tim.models.c2i.tim_model.TiM */
    TIM_NETWORK_T2I  /* conditioned on caption features; tim.models.t2i.tim_model.TiM */
} TimNetworkKind;

/* Which times the interval embedding sees, besides t itself. The last term of each goes through delta_embedder. */
typedef enum TimNewCondition {
    TIM_CONDITION_T_MINUS_R,    /* "t-r", in every published configuration */
    TIM_CONDITION_R,            /* "r" */
    TIM_CONDITION_T_R,          /* "t,r" */
    TIM_CONDITION_T_T_MINUS_R,  /* "t,t-r" */
    TIM_CONDITION_R_T_MINUS_R,  /* "r,t-r" */
    TIM_CONDITION_T_R_T_MINUS_R /* "t,r,t-r" */
} TimNewCondition;

typedef struct TimNetworkConfig {
    TimNetworkKind kind;
    int input_size;            /* side of the training picture or latent; the network itself takes any grid */
    int patch_size;            /* p */
    int in_channels;           /* C */
    int depth;                 /* number of blocks */
    int hidden_size;           /* D */
    int num_heads;             /* H; the head width D / H must be a multiple of 4 */
    int encoder_depth;         /* the projector reads the hidden state after this many blocks */
    double mlp_ratio;          /* MLP hidden width = floor(2 * floor(D * mlp_ratio) / 3) */
    int z_dim;                 /* width of the projector's output */
    int projector_dim;         /* hidden width of the projector */
    int lora_hidden_size;      /* hidden width of a block's adaLN; 0 (null in the file) means 3 * floor(D / 4) */
    int num_classes;           /* class network: classes without the null class */
    double class_dropout_prob; /* class network: > 0 adds the null row to the class table */
    int cap_feat_dim;          /* text network: width of the caption features */
    TimNewCondition new_condition;
    bool use_new_embed; /* false: delta_embedder is t_embedder */
    bool qk_norm;
    bool distance_aware; /* adds qkv_d(interval embedding) to qkv */
    /* Ours, of OT-FM: F = t x_t + what the blocks say. At t = 1, where F is noise less picture, no noise then has to pass through
     * the blocks, whose errors are haze on a picture drawn in one jump; near t = 0 it is the network as published. */
    bool input_skip;
} TimNetworkConfig;

typedef enum TimTransportKind {
    TIM_TRANSPORT_OT_FM,
    TIM_TRANSPORT_TRIGFLOW,
    TIM_TRANSPORT_EDM,
    TIM_TRANSPORT_VP_SDE,
    TIM_TRANSPORT_VE_SDE
} TimTransportKind;

typedef struct TimTransportConfig {
    TimTransportKind kind;
    double p_mean, p_std; /* OT-FM, TrigFlow, EDM: of the normal number behind a time */
    double sigma_d;
    double t_max, t_min; /* where sampling starts and ends */
    /* Ours: of four jumps and more the last is so long, of two twice, of three 4/3 as long (but no longer than half the way), and
     * leads to the mean: the network is told r = t there. That takes noise away which the jump to a picture keeps. From a start no
     * further than that, jumps are equal and the last leads to the mean, also a single one. Shorter than T_max - T_min. 0, as
     * published: all jumps are equal, and none leads to the mean. */
    double last_jump;
    double beta_min, beta_d;     /* VP-SDE */
    double sigma_min, sigma_max; /* VE-SDE */
    bool enhance_target;         /* model guidance in the target */
    double w_gt, w_cond, w_start, w_end;
} TimTransportConfig;

typedef enum TimDerivative {
    TIM_DERIVATIVE_JVP, /* exact, "jvp" */
    TIM_DERIVATIVE_DDE  /* central finite difference, "dde" */
} TimDerivative;

typedef enum TimTimeWeight {
    TIM_WEIGHT_CONSTANT,
    TIM_WEIGHT_RECIPROCAL,
    TIM_WEIGHT_SQRT,
    TIM_WEIGHT_SQUARE,
    TIM_WEIGHT_SOFT_MIN_SNR
} TimTimeWeight;

typedef struct TimTransitionConfig {
    double diffusion_ratio;   /* share with r = t of the samples that are not composed */
    double consistency_ratio; /* share of them with r = T_min */
    TimDerivative derivative_type;
    double differential_epsilon;
    /* Ours: the exact derivative follows the averaged network's velocity at x_t, which is the mean of those that pass there and has
     * none of their noise; false, as published: that of the sample's own pair. */
    bool average_direction;
    /* Ours: share of the batch that is composed, from T_max to T_min: the target is the one jump that does what so many jumps of
     * the averaged network do. It has no noise, so differences count by their size, which leaves no haze on what is smooth. 0, as
     * published: none. */
    double composed_ratio;
    int composed_jumps;
    double composed_last_jump; /* what TimTransportConfig.last_jump is to the sampler's, of those jumps; 0 by default */
    double composed_weight;    /* what their weight is multiplied by; 1 by default */
    double composed_spread;    /* how much further than those jumps end a picture lies from the mean of its class; 1 by default */
    double composed_edges;     /* what a difference between neighbouring values counts in their loss beside a value; 0 by default */
    TimTimeWeight weight_time_type;
    bool weight_time_tangent; /* tau = tan; wins over sigmoid */
    bool weight_time_sigmoid; /* tau = t / (1 - t) */
    bool weight_t_and_r;      /* false: D = tau(t) instead of tau(t) - tau(r) */
    bool use_dir_loss;        /* adds 1 - cos(F, target) over the channel axis */
    double loss_weight_power; /* p of a sample's weight w_time / (loss + 1e-5)^p; published 1, 0 is the plain squared error */
    /* Ours: the loss in that weight of a diffusion sample is the one to expect at t, which leaves the mean of the targets the
     * optimum; false, as published: the sample's own. */
    bool expected_loss;
} TimTransitionConfig;

typedef enum TimSchedule {
    TIM_SCHEDULE_CONSTANT,
    TIM_SCHEDULE_CONSTANT_WITH_WARMUP,
    TIM_SCHEDULE_LINEAR,
    TIM_SCHEDULE_COSINE
} TimSchedule;

typedef enum TimPrecision {
    TIM_PRECISION_F32, /* "no" */
    TIM_PRECISION_BF16 /* "bf16": matrix-product inputs in bf16, everything else and the master weights in fp32 */
} TimPrecision;

typedef enum TimOptimizer {
    TIM_OPTIMIZER_ADAMW, /* "torch.optim.AdamW", as published */
    TIM_OPTIMIZER_MUON   /* "torch.optim.Muon" for the matrices of the blocks, AdamW for the rest */
} TimOptimizer;

typedef struct TimTrainingConfig {
    int64_t max_train_steps;
    int64_t checkpointing_steps;
    int checkpoints_total_limit;
    double learning_rate;
    int learning_rate_base_batch_size;
    bool scale_lr; /* learning_rate * batch / base batch */
    TimSchedule lr_scheduler;
    int64_t lr_warmup_steps;
    TimOptimizer optimizer;
    double beta1, beta2, weight_decay, eps; /* AdamW */
    double momentum;                        /* Muon */
    double max_grad_norm;
    TimPrecision mixed_precision;
    double ema_decay;
    double min_learning_rate; /* ours: where a rate that falls stops, scaled alike, at most learning_rate; 0, as published: at 0 */
    bool ema_warmup;          /* ours: the decay of update n, 0 for the first, is at most (1 + n) / (10 + n) */
    int64_t guidance_start_step;      /* ours: model.transport.params.enhance_target counts from this step on; 0 as published */
    int64_t composed_start_step;      /* ours: model.transition_loss.composed_ratio counts from this step on */
    int64_t expected_loss_start_step; /* ours: model.transition_loss.expected_loss counts from this step on */
    int64_t data_spread_start_step;   /* ours: data.dataset.spread counts from this step on */
    double proj_coeff;                /* weight of the alignment loss; the trainer has no targets for it and takes 0 only */
    int batch_size;
    /* Ours: the noises of so many batches change places among the pictures of a class, so that paths cross less (optimal
     * transport); 0, as published: pairs as drawn. */
    int coupling_batches;
} TimTrainingConfig;

enum { TIM_CONFIG_NOTE_BYTES = 512 };

typedef struct TimConfig {
    TimNetworkConfig network;
    TimTransportConfig transport;
    TimTransitionConfig transition;
    TimTrainingConfig training;
    char *data_type;        /* data.data_type, such as "fashion-mnist" or "latent"; NULL when absent */
    char *data_dir;         /* data.dataset.data_dir; NULL when absent */
    bool data_mirror;       /* ours: data.dataset.mirror, shows half of the pictures mirrored left to right */
    double data_spread;     /* ours: data.dataset.spread, moves pictures so much further from their class's mean; 1 by default */
    char *vae_dir;          /* NULL when absent: the network works on pixels */
    char *text_encoder_dir; /* NULL when absent */
    bool use_last_hidden_state; /* captions are the encoder's last hidden states, else those before its last layer */
    int max_seq_length;         /* tokens of a caption at most */
    /* What a file that was read says besides, for those who train by it; "" without a file, and not written. */
    char without_effect
        [TIM_CONFIG_NOTE_BYTES]; /* keys that are set and that nothing here reads, such as "model.enc_dir, training.tracker" */
    char untrainable[TIM_CONFIG_NOTE_BYTES]; /* the first value that asks for a training which is not done here, with the remedy */
} TimConfig;

/* What the published classes assume for a value that is left out: OT-FM with P 0, 1; no share of diffusion or consistency, constant
 * weights in time; where they assume nothing, what the published files have: AdamW .9/.95, and so on. No texts are set. */
TIM_API void tim_config_init(TimConfig *config);

/* Defaults of the transport `kind`: P, sigma_d, T_max, T_min, betas and sigmas as the published classes have them; no guidance. */
TIM_API void tim_transport_config_init(TimTransportConfig *config, TimTransportKind kind);

/* Frees the texts and resets the structure. */
TIM_API void tim_config_done(TimConfig *config);

/* Reads a YAML file over the defaults. `config` is initialised by the call and needs tim_config_done also after a failure.
 * Unknown keys inside model, data and training are errors that name line, key and the keys allowed there, the likeliest first. Keys
 * of the published files that mean nothing here, and those of other tools at the top, are listed in without_effect; a value that
 * only training could not heed leaves the file readable and is told in untrainable. Ranges are those of tim_config_check, which the
 * caller asks (tim_model_open and tim_trainer_new do). Errors: TIM_E_IO, TIM_E_FORMAT, TIM_E_UNSUPPORTED for a network or
 * transport that is none of these and for what only the published code can do, TIM_E_MEMORY. Any thread. */
TIM_API TimStatus tim_config_read(TimConfig *config, const char *path, TimError *err);

/* Writes the YAML file that tim_config_read reads back to the same values. Errors: TIM_E_ARGUMENT where tim_config_check gives it,
 * and for a text that is not UTF-8; TIM_E_IO, and nothing is left of a file that was begun. Any thread. */
TIM_API TimStatus tim_config_write(const TimConfig *config, const char *path, TimError *err);

/* Checks that every value is in its range and fits the others; the text names field, value and range.
 * Error: TIM_E_ARGUMENT. Any thread. */
TIM_API TimStatus tim_config_check(const TimConfig *config, TimError *err);

#ifdef __cplusplus
}
#endif
#endif
