/* Drawing pictures from a TiM model in any number of steps.
 * Source of the formulas: Transition Models (arXiv 2509.04394), its sampler and classifier-free guidance as published. */
#ifndef TIM_SAMPLE_H
#define TIM_SAMPLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tim/image.h"
#include "tim/model.h"
#include "tim/pictures.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { TIM_SAMPLE_MAX_STEPS = 65535 };

/* Which times the network sees in the step from t_i to t_i+1. The jump is the same in both. */
typedef enum TimSampleMode {
    TIM_SAMPLE_TRANSITION, /* (t_i, t_i+1): the transition itself; (t_i, t_i) in the last jump of a model with a last_jump */
    TIM_SAMPLE_DIFFUSION   /* (t_i, t_i): the velocity at t_i, as a diffusion model gives it */
} TimSampleMode;

/* Told after each step how many steps of all pictures are done; `user` is the caller's. Return false to stop: the call then ends
 * with TIM_E_CANCELLED. Runs in the calling thread and must not use the model. */
typedef bool (*TimSampleCallback)(int64_t done, int64_t total, void *user);

typedef struct TimSampleOptions {
    const int64_t *labels;      /* (count) the pictures' classes, borrowed; NULL: picture i gets class i mod num_classes */
    const char *const *prompts; /* (count) the pictures' prompts in UTF-8, borrowed; of a pipeline with a text encoder, else NULL */
    /* What guidance leads away from, UTF-8, borrowed, cut as prompts are; NULL: the empty prompt, as trained. Of a pipeline with a
     * text encoder, else NULL. Both captions of a guided picture are as long as the longer one. */
    const char *negative_prompt;
    int caption_tokens; /* captions shorter than that are padded to it, as the published runs pad to the longest of a batch, and training
                         * did: the network sees padded places. At most the model's max_seq_length; 0: each is as long as its
                         * prompt */
    int64_t count;      /* number of pictures, at least 1 */
    /* Index of the first picture, at least 0; picture i depends on (its seed, i), its class or prompt and the options below. */
    int64_t first;
    int steps; /* 1 ... TIM_SAMPLE_MAX_STEPS jumps from T_max to T_min, evenly spaced but for the model's transport.last_jump */
    TimSampleMode mode;
    double guidance;      /* s of F_null + s (F_class - F_null); at 1 or less there is no guidance */
    double guidance_low;  /* guidance applies to steps with low T_max < t < high T_max, both ends excluded. */
    double guidance_high; /* So with the published 1 the first step is not guided, and a single step never. */
    double stochasticity; /* share of fresh noise in each jump, at least 0; above 0 for the OT-FM transport only */
    bool
        rounded_times; /* times, and what is computed of them, rounded to bf16, as where the published samplers draw their noise in it:
                         * to draw what they draw. Of the OT-FM transport. Of a power of 2 up to 256 as equal steps from 1 to 0 the
                         * times are exact already */
    uint64_t seed;
    const uint64_t *seeds; /* (count) the pictures' own, borrowed, in place of `seed`; NULL: it is the seed of all */
    const TimImage *init;  /* a picture to start from, borrowed, resized to the pictures' size (bicubic); NULL: noise alone */
    double strength;       /* with init: how far it is carried towards noise, above 0 up to 1, which leaves nothing of it */
    int batch;             /* pictures evaluated at a time, at least 1; changes memory and speed, and results by rounding only */
    int height, width;     /* pixels, multiples of what a patch covers; 0: the model's own size */
    bool tiled;  /* the autoencoder works in the overlapping tiles of diffusers' tiled mode, blended: less memory, and not what it
                  * makes of the whole picture. Without one it changes nothing */
    bool stages; /* true: steps pictures of each, (count, steps): after every step the picture that its F leads to if the jump goes
                  * on to T_min. Such clean estimates cost no evaluation; a picture's last is the picture itself */
    size_t memory; /* bytes that the run may hold at once, weights included; 0: no bound, and large pictures in about 8 GB; an
                    * `init` that would take more is refused. With a bound parts let go of their tapes and pages while others work,
                    * and strips are cut to fit */
    size_t held;   /* bytes that the caller holds beside the run, which count against `memory` */
    TimImageRounding rounding;
    TimSampleCallback progress; /* NULL: nobody asks */
    void *user;
} TimSampleOptions;

/* Fills in: one picture, one step, transition mode, no guidance with the window (0, 1), no stochasticity, seed 0, from noise, a
 * batch of 16, the model's size, a strength of 0.7, the rounding of class-to-image. Any thread. */
TIM_API void tim_sample_options_init(TimSampleOptions *options);

/* What a run did. */
typedef struct TimSampleInfo {
    int64_t evaluations; /* of the network for each picture: a guided step counts 2 (NFE) */
    int64_t guided_steps;
    int64_t noised_steps;         /* with stochasticity: the jumps that put noise back */
    bool guidance_without_effect; /* guidance > 1 was asked for and its window holds no step */
    bool tiled_without_effect;    /* tiles were asked for, and a picture is one, or there is no autoencoder */
    size_t memory;                /* bytes that are held at once, about: weights, tapes and pictures; of a run
                          * with a bound or of large pictures, else 0 */
    int64_t cut_prompts;          /* prompts longer than the model's captions: the end was not seen */
    bool cut_negative;            /* so was the negative prompt, where steps are guided */
    int64_t padded_prompts;       /* with caption_tokens: prompts whose captions were shorter; 0: it had no effect */
    double seconds_captions, seconds_network, seconds_decoder; /* of the run; 0 in a plan */
} TimSampleInfo;

/* Says what a run with these options will do, without running it; the info is as tim_sample would give it, `info` may be NULL.
 * Errors: TIM_E_ARGUMENT for an option out of range, TIM_E_UNSUPPORTED as tim_sample; TIM_E_MEMORY when options->memory is less
 * than the run needs, which the text says. One call at a time on one model. */
TIM_API TimStatus tim_sample_plan(TimModel *model, const TimSampleOptions *options, TimSampleInfo *info, TimError *err);

/* Draws options->count pictures, times options->steps with options->stages, from a class model that works on pixels.
 * `pictures` is written over, not freed, and left empty on failure; `info` may be NULL. The state is kept in fp64; one call at a
 * time on one model. The first noise of picture i are the normal numbers of (its seed, i), those of its step k of (its seed, i, k):
 * they depend on neither batch, threads nor the other pictures.
 * Errors: TIM_E_ARGUMENT for an option out of range (named with its value and range) or a class the model does not have;
 * TIM_E_UNSUPPORTED for a model on latents or on text (tim/pipeline.h), other than 1 or 3 channels, guidance of a model without
 * null class, or stochasticity or rounded times of another transport than OT-FM; TIM_E_CANCELLED when `progress` said so;
 * TIM_E_FORMAT when weights that are not finite, or too large for the precision, make no picture; TIM_E_MEMORY. */
TIM_API TimStatus tim_sample(TimModel *model, const TimSampleOptions *options, TimPictures *pictures, TimSampleInfo *info,
                             TimError *err);

#ifdef __cplusplus
}
#endif
#endif
