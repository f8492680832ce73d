/* A network with its weights and the tapes it has been recorded on: what sampler and evaluation run.
 * Weights of a model that is trained: one f32 vector, and in bf16 precision a bf16 copy of it; of one that was opened: as its file
 * stores them, in the file's map where it can be (frozen.h). Tapes are kept by shape, the longest unused one goes first. A small
 * class network, whose ops are too short to share among threads, evaluates a batch in lanes. */
#ifndef TIM_MODEL_MODEL_H
#define TIM_MODEL_MODEL_H

#include "model/frozen.h"
#include "model/network.h"
#include "tim/model.h"

enum { TIM_MODEL_TAPES = 4 }; /* of each lane */

/* The network recorded for one shape of a lane's share of a batch. */
typedef struct TimModelTape {
    int lane, lanes; /* of how many: with several, one thread each */
    TimNetwork network;
    TimCaptionNetwork captions; /* beside it in a text network */
    uint64_t seen;              /* caption_version of the keys that lie in the tape */
    uint64_t used;              /* by the model's clock; 0: empty */
} TimModelTape;

struct TimModel {
    TimConfig config;
    TimNetworkOptions options;
    TimParams params;
    float *f32;         /* (params.elements); NULL when frozen */
    TimBf16 *bf16;      /* the same rounded; NULL in fp32 and when frozen */
    TimWeights weights; /* what a tape binds */
    TimFrozen frozen;   /* of a model that was opened: it owns `params` and `weights` then, which are views */
    int lanes; /* shares of a batch that are evaluated side by side, one thread each; 1: by all threads, one op after the other */
    TimModelTape *tapes;    /* (TIM_MODEL_TAPES lanes) */
    TimModelTape **of_lane; /* (lanes) those of the evaluation under way */
    uint64_t clock;
};

/* TIM_E_ARGUMENT for what is none of TimPrecision. */
TimStatus tim_precision_check(TimPrecision precision, TimError *err);

/* A model with all weights zero; takes a copy of `config`, texts included. */
TimStatus tim_model_new(TimModel **out, const TimConfig *config, const TimNetworkOptions *options, TimError *err);

/* A model without weights yet, which TimFrozen is to bring: `frozen` has the parameters' list. Takes a copy of `config`. */
TimStatus tim_model_new_frozen(TimModel **out, const TimConfig *config, const TimNetworkOptions *options, TimError *err);

/* Call after changing `f32`: renews what is derived from it. */
void tim_model_weights_changed(TimModel *model);

/* The conditions of one evaluation: labels (B) of the class network, or caption (B M, cap_feat_dim) of the text network. */
typedef struct TimCondition {
    const int64_t *labels;
    const float *caption;
    int caption_tokens;
    uint64_t
        caption_version; /* equal ones of tim_model_caption_version mean equal captions, seen once; 0: seen at every evaluation */
} TimCondition;

/* *bytes = of the tapes that an evaluation of this shape needs; captions of `tokens`, 0 of a class network. */
TimStatus tim_model_tape_bytes(TimModel *model, int64_t batch, int height, int width, int tokens, size_t *bytes, TimError *err);

/* Lets go what an evaluation makes anew: the tapes, and the pages of the weights' file. */
void tim_model_rest(TimModel *model);

/* A number that no caption has had. */
uint64_t tim_model_caption_version(TimModel *model);

/* f (B, C H W) = F(x, t, r, condition); x (B, C H W), t and r (B) after c_noise. No gradients. One call at a time a model. */
TimStatus tim_model_evaluate(TimModel *model, int64_t batch, int height, int width, const float *x, const float *t, const float *r,
                             const TimCondition *condition, float *f, TimError *err);

/* Checks that every label is a row of the class table; the null class is num_classes. */
TimStatus tim_model_check_labels(const TimNetworkConfig *config, const int64_t *labels, int64_t batch, TimError *err);

#endif
