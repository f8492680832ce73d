/* What a run will do and what it holds at once. */
#include "sample/plan.h"

#include "base/memory.h"

void tim_sample_options_init(TimSampleOptions *options) {
    *options = (TimSampleOptions){.count = 1,
                                  .steps = 1,
                                  .mode = TIM_SAMPLE_TRANSITION,
                                  .guidance = 1.0,
                                  .guidance_low = 0.0,
                                  .guidance_high = 1.0,
                                  .strength = 0.7,
                                  .batch = 16,
                                  .rounding = TIM_IMAGE_ROUNDING_C2I};
}

/* ---- the model's own sizes ---- */

static int factor_of(const TimPipeline *p) {
    return p->autoencoder ? tim_autoencoder_factor(tim_autoencoder_config(p->autoencoder)) : 1;
}

static int channels_of(const TimPipeline *p) {
    return p->autoencoder ? tim_autoencoder_picture_channels(tim_autoencoder_config(p->autoencoder), true)
                          : p->model->config.network.in_channels;
}

int tim_pipeline_size_multiple(const TimPipeline *p) {
    return factor_of(p) * p->model->config.network.patch_size;
}

static TimPlan start(const TimPipeline *p, const TimSampleOptions *o) {
    const int factor = factor_of(p), own = p->model->config.network.input_size * factor;
    return (TimPlan){.sampler = {.steps = o->steps,
                                 .mode = o->mode,
                                 .guidance = o->guidance,
                                 .guidance_low = o->guidance_low,
                                 .guidance_high = o->guidance_high,
                                 .stochasticity = o->stochasticity,
                                 .rounded_times = o->rounded_times,
                                 .start = o->init ? o->strength : 1},
                     .factor = factor,
                     .height = o->height ? o->height : own,
                     .width = o->width ? o->width : own,
                     .channels = channels_of(p),
                     .stages = o->stages ? (size_t)o->steps : 1};
}

/* ---- checks ---- */

static bool is_one_tile(const TimPlan *plan, const TimPipeline *p) {
    if (!p->autoencoder) return true;
    const TimTiling tiling = tim_autoencoder_tiling(tim_autoencoder_config(p->autoencoder));
    return plan->height <= tiling.tile_h && plan->width <= tiling.tile_w;
}

/* Tiles where they change anything. */
static void plan_tiles(TimPlan *plan, const TimPipeline *p, const TimSampleOptions *o) {
    plan->info.tiled_without_effect = o->tiled && is_one_tile(plan, p);
    plan->tiled = o->tiled && !plan->info.tiled_without_effect;
}

static TimStatus check_parts(const TimPipeline *p, bool guided, TimError *err) {
    const TimConfig *config = &p->model->config;
    const TimNetworkConfig *n = &config->network;
    if (n->kind == TIM_NETWORK_T2I && !p->captioner)
        return tim_fail(err, TIM_E_UNSUPPORTED,
                        "the model is conditioned on text, which needs a text encoder: open it as a pipeline");
    if (config->vae_dir && !p->autoencoder)
        return tim_fail(err, TIM_E_UNSUPPORTED,
                        "the model makes latents of the autoencoder %s, which is needed to turn them into pictures: open it as a "
                        "pipeline",
                        config->vae_dir);
    if (channels_of(p) != 1 && channels_of(p) != 3)
        return tim_fail(err, TIM_E_UNSUPPORTED,
                        "the model's pictures have %d channels; only 1 (gray) and 3 (RGB) can be shown, and latents need their "
                        "autoencoder: open it as a pipeline",
                        channels_of(p));
    if (guided && n->kind == TIM_NETWORK_C2I && !(n->class_dropout_prob > 0.0))
        return tim_fail(err, TIM_E_UNSUPPORTED,
                        "guidance needs the null class, and the model was trained without one (class_dropout_prob 0); "
                        "set the guidance to 1");
    return TIM_OK;
}

/* The multiple of `step` next to `size`, within the limits. */
static int nearest(int size, int step) {
    const int most = TIM_IMAGE_MAX_SIDE / step * step;
    if (size >= most) return most;
    const int next = (size / step + (size % step * 2 >= step)) * step;
    return next < step ? step : next;
}

static TimStatus check_size(const char *name, int size, int step, TimError *err) {
    if (size >= 1 && size <= TIM_IMAGE_MAX_SIDE && size % step == 0) return TIM_OK;
    return tim_fail(err, TIM_E_ARGUMENT, "%s is %d; give a multiple of %d up to %d, such as %d, or 0 for the model's own", name,
                    size, step, TIM_IMAGE_MAX_SIDE, nearest(size, step));
}

static TimStatus check_strength(const TimSampleOptions *o, TimError *err) {
    if (!o->init || (o->strength > 0 && o->strength <= 1)) return TIM_OK;
    return tim_fail(err, TIM_E_ARGUMENT, "strength is %g; give a number above 0 up to 1", o->strength);
}

/* Sums of what a run holds stay far from overflowing. */
static TimStatus check_pictures(const TimPlan *plan, int64_t count, TimError *err) {
    size_t bytes;
    if (tim_mul_size((size_t)count * plan->stages, tim_plan_picture_bytes(plan), &bytes) && bytes <= SIZE_MAX / 16) return TIM_OK;
    return tim_fail(err, TIM_E_MEMORY, "%lld pictures of %d x %d do not fit into memory; draw fewer at once", (long long)count,
                    plan->width, plan->height);
}

static TimStatus check_options(const TimPlan *plan, const TimPipeline *p, const TimSampleOptions *o, TimError *err) {
    const int64_t most = TIM_SAMPLER_MAX_PICTURES / (int64_t)plan->stages;
    if (o->count < 1 || o->count > most)
        return tim_fail(err, TIM_E_ARGUMENT, "count is %lld; give 1 to %lld", (long long)o->count, (long long)most);
    if (o->first < 0 || o->first > TIM_SAMPLER_MAX_PICTURES - o->count)
        return tim_fail(err, TIM_E_ARGUMENT, "first is %lld; give a number from 0 to 2^%d - count", (long long)o->first,
                        64 - TIM_SAMPLER_STEP_BITS);
    if (o->batch < 1) return tim_fail(err, TIM_E_ARGUMENT, "batch is %d; give at least 1", o->batch);
    if (o->rounding != TIM_IMAGE_ROUNDING_T2I && o->rounding != TIM_IMAGE_ROUNDING_C2I)
        return tim_fail(err, TIM_E_ARGUMENT, "rounding is %d; give one of TimImageRounding", (int)o->rounding);
    TIM_TRY(check_size("height", plan->height, tim_pipeline_size_multiple(p), err));
    TIM_TRY(check_size("width", plan->width, tim_pipeline_size_multiple(p), err));
    return check_pictures(plan, o->count, err);
}

static TimStatus check_labels(const TimConfig *config, const TimSampleOptions *o, TimError *err) {
    const int classes = config->network.num_classes;
    for (int64_t i = 0; o->labels && i < o->count; i++)
        if (o->labels[i] < 0 || o->labels[i] >= classes)
            return tim_fail(err, TIM_E_ARGUMENT, "class %lld of picture %lld; the model has the classes 0 to %d",
                            (long long)o->labels[i], (long long)(o->first + i), classes - 1);
    return TIM_OK;
}

int tim_plan_longest_caption(const TimPlan *plan, int64_t count) {
    int longest = 0;
    for (int64_t i = 0; plan->tokens && i < count; i++)
        if (plan->tokens[i] > longest) longest = plan->tokens[i];
    return longest;
}

/* One evaluation serves captions of one length alone, so equal lengths come together: the longest first, each in the order given.
 * Sorted by counting: place[k] is where the next caption goes that lacks k tokens of the longest. */
static TimStatus order_pictures(TimPlan *plan, int64_t count, TimError *err) {
    const int longest = tim_plan_longest_caption(plan, count);
    int64_t *place, before = 0;
    TIM_TRY(tim_new(&plan->order, (size_t)count, sizeof *plan->order, "the order of the pictures", err));
    TIM_TRY(tim_new(&place, (size_t)longest + 1, sizeof *place, "the order of the pictures", err));
    for (int64_t i = 0; i < count; i++) place[longest - plan->tokens[i]]++;
    for (int k = 0; k <= longest; k++) {
        const int64_t of_length = place[k];
        place[k] = before, before += of_length;
    }
    for (int64_t i = 0; i < count; i++) plan->order[place[longest - plan->tokens[i]]++] = i;
    tim_free(place);
    return TIM_OK;
}

/* Padded places are seen, so this changes pictures; of captions that are long enough anyway it does not. */
static TimStatus pad_captions(TimPlan *plan, const TimPipeline *p, const TimSampleOptions *o, TimError *err) {
    const int most = p->model->config.max_seq_length;
    if (o->caption_tokens < 0 || o->caption_tokens > most)
        return tim_fail(err, TIM_E_ARGUMENT,
                        "captions are to have %d tokens; the model's have up to %d, and 0 is the prompt's own length",
                        o->caption_tokens, most);
    for (int64_t i = 0; i < o->count; i++) {
        if (plan->tokens[i] >= o->caption_tokens) continue;
        plan->tokens[i] = o->caption_tokens;
        plan->info.padded_prompts++;
    }
    return TIM_OK;
}

/* Both captions of a guided picture are as long as the longer of them. */
static TimStatus count_negative(TimPlan *plan, const TimPipeline *p, const TimSampleOptions *o, TimError *err) {
    int tokens = 0;
    bool cut;
    if (!o->negative_prompt || !plan->info.guided_steps) return TIM_OK;
    const TimStatus status = tim_captioner_count(p->captioner, o->negative_prompt, &tokens, &cut, err);
    if (status != TIM_OK) return tim_fail_within(err, status, "the negative prompt");
    for (int64_t i = 0; i < o->count; i++)
        if (plan->tokens[i] < tokens) plan->tokens[i] = tokens;
    plan->info.cut_negative = cut;
    return TIM_OK;
}

static TimStatus check_prompts(TimPlan *plan, const TimPipeline *p, const TimSampleOptions *o, TimError *err) {
    if (!o->prompts) return tim_fail(err, TIM_E_ARGUMENT, "the model is conditioned on text: give prompts");
    if (o->labels) return tim_fail(err, TIM_E_ARGUMENT, "the model is conditioned on text and has no classes: give prompts alone");
    TIM_TRY(tim_new(&plan->tokens, (size_t)o->count, sizeof *plan->tokens, "the captions' lengths", err));
    for (int64_t i = 0; i < o->count; i++) {
        bool cut;
        if (!o->prompts[i]) return tim_fail(err, TIM_E_ARGUMENT, "picture %lld has no prompt", (long long)(o->first + i));
        const TimStatus status = tim_captioner_count(p->captioner, o->prompts[i], &plan->tokens[i], &cut, err);
        if (status != TIM_OK) return tim_fail_within(err, status, "the prompt of picture %lld", (long long)(o->first + i));
        plan->info.cut_prompts += cut;
    }
    TIM_TRY(count_negative(plan, p, o, err));
    TIM_TRY(pad_captions(plan, p, o, err));
    return order_pictures(plan, o->count, err);
}

static TimStatus check_conditions(TimPlan *plan, const TimPipeline *p, const TimSampleOptions *o, TimError *err) {
    if (p->captioner) return check_prompts(plan, p, o, err);
    if (o->prompts) return tim_fail(err, TIM_E_ARGUMENT, "the model is conditioned on classes, not on text: give classes");
    if (o->negative_prompt || o->caption_tokens)
        return tim_fail(err, TIM_E_ARGUMENT, "the model is conditioned on classes: leave out what captions have, %s",
                        o->caption_tokens ? "a number of tokens" : "a negative prompt");
    return check_labels(&p->model->config, o, err);
}

/* ---- the whole ---- */

TimStatus tim_plan_make(TimPlan *plan, TimPipeline *p, const TimSampleOptions *options, TimError *err) {
    *plan = start(p, options);
    TIM_TRY(check_strength(options, err));
    TIM_TRY(tim_sampler_plan(&p->model->config.transport, &plan->sampler, &plan->info, err));
    TIM_TRY(check_parts(p, plan->info.guided_steps > 0, err));
    TIM_TRY(check_options(plan, p, options, err));
    TIM_TRY(check_conditions(plan, p, options, err));
    plan_tiles(plan, p, options);
    return tim_plan_memory(plan, p, options, err);
}

void tim_plan_done(TimPlan *plan) {
    tim_free(plan->tokens);
    tim_free(plan->order);
    plan->tokens = NULL, plan->order = NULL;
}

TimStatus tim_pipeline_plan(TimPipeline *p, const TimSampleOptions *options, TimSampleInfo *info, TimError *err) {
    TimPlan plan;
    const TimStatus status = tim_plan_make(&plan, p, options, err);
    if (info) *info = plan.info;
    tim_plan_done(&plan);
    return status;
}
