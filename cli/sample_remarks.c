/* Settings that have no effect, and prompts whose end is not seen: said, not swallowed. */
#include <inttypes.h>
#include <stdio.h>

#include "sample.h"

/* A guidance of at most 1 is none. */
static void remark_no_guidance(const TimSampleOptions *o, const TimSampleOptions *usual) {
    if (o->guidance != usual->guidance)
        fprintf(stderr, "tim sample: guidance %g has no effect: 1 is none, and what guides is above it\n", o->guidance);
    else
        fputs("tim sample: the window of guidance has no effect without --guidance\n", stderr);
}

static void remark_negative(void) {
    fputs("tim sample: the negative prompt has no effect: it is what guided steps lead away from, and no step is guided\n", stderr);
}

static void remark_noise(const TimSampleOptions *o) {
    fprintf(stderr,
            "tim sample: stochasticity %g has no effect with --steps %d: noise comes back between steps, neither in the first nor "
            "in the last\n",
            o->stochasticity, o->steps);
}

static void remark_guidance(const TimSampleOptions *o) {
    fprintf(
        stderr,
        "tim sample: guidance %g has no effect with --steps %d: no step lies inside the window from %g to %g of T_max, both ends "
        "excluded; with --guidance-high above 1 the first step is guided\n",
        o->guidance, o->steps, o->guidance_low, o->guidance_high);
}

static void remark_cut(const Sampling *d, int64_t cut) {
    fprintf(stderr, "tim sample: of the prompt%s of %" PRId64 " picture%s only the first %d tokens are seen\n", cut == 1 ? "" : "s",
            cut, cut == 1 ? "" : "s", tim_pipeline_config(d->pipeline)->max_seq_length);
}

static void remark_padding(const Sampling *d) {
    fprintf(stderr, "tim sample: --caption-tokens %d has no effect: every caption has as many tokens or more\n",
            d->request->sample.caption_tokens);
}

/* Multiples of such a share of 1 are what they are in bf16 too; noise and the ends of a window are not. */
static bool has_exact_times(const Sampling *d, const TimSampleOptions *o) {
    const TimTransportConfig *t = &tim_pipeline_config(d->pipeline)->transport;
    TimSampleOptions usual;
    tim_sample_options_init(&usual);
    return o->steps <= 256 && (o->steps & (o->steps - 1)) == 0 && !o->init && o->stochasticity <= 0 && t->t_max == 1 &&
           t->t_min == 0 && (t->last_jump <= 0 || o->steps == 1) && o->guidance_low == usual.guidance_low &&
           o->guidance_high == usual.guidance_high;
}

static void remark_times(const TimSampleOptions *o) {
    fprintf(stderr, "tim sample: --imitate times has no effect with --steps %d: its times are the same in bf16\n", o->steps);
}

/* Whether pixels are drawn at another size than the one that is all the network has seen. */
static bool is_unseen_size(const Sampling *d) {
    const TimNetworkConfig *n = &tim_pipeline_config(d->pipeline)->network;
    const bool other = d->size.height != n->input_size || d->size.width != n->input_size;
    return n->kind == TIM_NETWORK_C2I && !sample_makes_latents(d) && other;
}

static void remark_size(const Sampling *d) {
    const int side = tim_pipeline_config(d->pipeline)->network.input_size;
    fprintf(
        stderr,
        "tim sample: the network has learned pictures of %d x %d alone, and %d x %d (width x height) will hardly look like one: "
        "give --size %dx%d\n",
        side, side, d->size.width, d->size.height, side, side);
}

void sample_remark(const Sampling *d, const TimSampleOptions *o, const TimSampleInfo *info, SampleRemarks *said) {
    TimSampleOptions usual;
    tim_sample_options_init(&usual);
    const bool window = o->guidance_low != usual.guidance_low || o->guidance_high != usual.guidance_high;
    const bool none = o->guidance <= 1 && (window || o->guidance != usual.guidance),
               quiet = o->stochasticity > 0 && !info->noised_steps,
               negative = o->negative_prompt && *o->negative_prompt && !info->guided_steps;
    if (info->guidance_without_effect && !said->guidance) remark_guidance(o);
    if (none && !said->window) remark_no_guidance(o, &usual);
    if (quiet && !said->noise) remark_noise(o);
    if (negative && !said->negative) remark_negative();
    const bool unseen = is_unseen_size(d);
    if (unseen && !said->size) remark_size(d);
    said->size |= unseen;
    const bool exact = o->rounded_times && has_exact_times(d, o);
    if (exact && !said->times) remark_times(o);
    said->times |= exact;
    if (info->tiled_without_effect && !said->tiled)
        fputs("tim sample: --tiled has no effect: a picture is no larger than one tile, or made of pixels without an autoencoder\n",
              stderr);
    if (info->cut_negative && !said->cut_negative)
        fputs("tim sample: the end of the negative prompt is not seen: it is too long\n", stderr);
    said->negative |= negative, said->tiled |= info->tiled_without_effect, said->cut_negative |= info->cut_negative;
    said->guidance |= info->guidance_without_effect, said->window |= none, said->noise |= quiet;
}

void sample_remark_prompts(const Sampling *d, const SampleRemarks *said) {
    if (said->cut_prompts) remark_cut(d, said->cut_prompts);
    if (d->request->sample.caption_tokens && !said->padded_prompts) remark_padding(d);
}
