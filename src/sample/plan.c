/* What a run will do and what it holds at once. */
#include "sample/plan.h"

#include "base/memory.h"
#include "base/text.h"

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
        return tim_fail(err, TIM_E_UNSUPPORTED, "the model's pictures have %d channels; only 1 (gray) and 3 (RGB) can be shown",
                        channels_of(p));
    if (guided && n->kind == TIM_NETWORK_C2I && !(n->class_dropout_prob > 0.0))
        return tim_fail(err, TIM_E_UNSUPPORTED,
                        "guidance needs the null class, and the model was trained without one (class_dropout_prob 0); "
                        "set the guidance to 1");
    return TIM_OK;
}

/* The multiple of `step` next to `size`, within the limits. */
static int nearest(int size, int step) {
    const int most = TIM_IMAGE_MAX_SIDE / step * step, next = (size / step + (size % step * 2 >= step)) * step;
    return next < step ? step : next > most ? most : next;
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
    return check_size("width", plan->width, tim_pipeline_size_multiple(p), err);
}

static TimStatus check_labels(const TimConfig *config, const TimSampleOptions *o, TimError *err) {
    const int classes = config->network.num_classes;
    for (int64_t i = 0; o->labels && i < o->count; i++)
        if (o->labels[i] < 0 || o->labels[i] >= classes)
            return tim_fail(err, TIM_E_ARGUMENT, "class %lld of picture %lld; the model has the classes 0 to %d",
                            (long long)o->labels[i], (long long)(o->first + i), classes - 1);
    return TIM_OK;
}

static int longest_caption(const TimPlan *plan, int64_t count) {
    int longest = 0;
    for (int64_t i = 0; plan->tokens && i < count; i++)
        if (plan->tokens[i] > longest) longest = plan->tokens[i];
    return longest;
}

/* One evaluation serves captions of one length alone, so equal lengths come together: the longest first, each in the order given. Sorted by
 * counting: place[k] is where the next caption goes that lacks k tokens of the longest. */
static TimStatus order_pictures(TimPlan *plan, int64_t count, TimError *err) {
    const int longest = longest_caption(plan, count);
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
    if (o->prompts || o->negative_prompt || o->caption_tokens)
        return tim_fail(err, TIM_E_ARGUMENT, "the model is conditioned on classes, not on text: give classes");
    return check_labels(&p->model->config, o, err);
}

/* ---- memory ---- */

/* What a run holds. */
typedef struct Need {
    size_t always;                              /* copies of weights, pictures, states, what the caller holds */
    size_t encoder, captions, network, decoder; /* tapes and mapped weights of each phase */
} Need;

/* Without a bound a picture is decoded whole as long as that takes no more; small ones never do, and are not even counted. */
static const size_t usual_decoder = (size_t)5 << 29, small_picture = 1200 * 1200;

static size_t larger(size_t a, size_t b) {
    return a > b ? a : b;
}

/* Captions of a batch, null ones included, and the sampler's copies. */
static size_t captions_needed(const TimPlan *plan, const TimPipeline *p, const TimSampleOptions *o, int64_t batch) {
    const size_t passes = plan->info.guided_steps > 0 ? 2 : 1;
    if (!p->captioner) return 0;
    return sizeof(float) * (size_t)longest_caption(plan, o->count) * (size_t)tim_captioner_width(p->captioner) *
           (2 * ((size_t)batch + 1) + passes * (size_t)batch);
}

/* What is held throughout, with `batch` pictures at once. */
static size_t always_needed(const TimPlan *plan, const TimPipeline *p, const TimSampleOptions *o, int64_t batch) {
    const size_t pixels = (size_t)plan->height * (size_t)plan->width * (size_t)plan->channels;
    const size_t input =
        (size_t)(plan->height / plan->factor) * (size_t)(plan->width / plan->factor) * (size_t)p->model->config.network.in_channels;
    const size_t weights = p->model->frozen.copied + (p->autoencoder ? tim_autoencoder_bytes(p->autoencoder) : 0) +
                           (p->captioner ? tim_captioner_copied(p->captioner) : 0);
    const size_t states = (size_t)batch * input * sizeof(double), passes = plan->info.guided_steps > 0 ? 2 : 1;
    return o->held + weights + captions_needed(plan, p, o, batch) + pixels * (plan->stages * (size_t)o->count + sizeof(float)) +
           (o->stages ? plan->stages * (size_t)batch * input * sizeof(float) : 0) +
           states * (1 + passes) /* and what goes into the network and comes out of it */ + 2 * input * sizeof(float);
}

/* The picture to start from goes through the encoder at once, before anything else. */
static TimStatus count_encoder(const TimPlan *plan, TimPipeline *p, Need *need, TimError *err) {
    const size_t pixels = (size_t)plan->height * (size_t)plan->width * (size_t)plan->channels;
    TimAutoencoder *encoder;
    TIM_TRY(tim_pipeline_encoder(p, &encoder, err));
    tim_autoencoder_rest(encoder);
    need->always += tim_autoencoder_bytes(encoder);
    const TimTiling tiling = tim_autoencoder_tiling(tim_autoencoder_config(encoder));
    TIM_TRY(plan->tiled ? tim_autoencoder_tiled_bytes(encoder, false, &tiling, plan->height, plan->width, &need->encoder, err)
                        : tim_autoencoder_encode_bytes(encoder, plan->height, plan->width, &need->encoder, err));
    need->encoder += pixels * (1 + sizeof(float));
    return TIM_OK;
}

/* What earlier runs left. */
static void rest_all(TimPipeline *p) {
    tim_model_rest(p->model);
    if (p->captioner) tim_captioner_rest(p->captioner);
    tim_autoencoder_rest(p->autoencoder);
    tim_autoencoder_rest(p->encoder);
}

/* Of the steps that are guided, and of those that are not, which have a tape of their own. */
static TimStatus count_network(const TimPlan *plan, TimPipeline *p, int64_t batch, int tokens, Need *need, TimError *err) {
    const int height = plan->height / plan->factor, width = plan->width / plan->factor;
    const int64_t guided = plan->info.guided_steps;
    size_t plain = 0, twice = 0;
    if (guided < plan->sampler.steps) TIM_TRY(tim_model_tape_bytes(p->model, batch, height, width, tokens, &plain, err));
    if (guided) TIM_TRY(tim_model_tape_bytes(p->model, 2 * batch, height, width, tokens, &twice, err));
    need->network = plain + twice + p->model->frozen.mapped;
    return TIM_OK;
}

/* Also decides in which strips it works. */
static TimStatus count_decoder(TimPlan *plan, TimPipeline *p, const TimSampleOptions *o, Need *need, TimError *err) {
    const int height = plan->height / plan->factor, width = plan->width / plan->factor;
    const TimTiling tiling = tim_autoencoder_tiling(tim_autoencoder_config(p->autoencoder));
    const size_t left = o->memory > need->always ? o->memory - need->always : 0;
    if (plan->tiled) return tim_autoencoder_tiled_bytes(p->autoencoder, true, &tiling, height, width, &need->decoder, err);
    TIM_TRY(tim_autoencoder_find_strips(p->autoencoder, height, width, o->memory ? left : usual_decoder, &plan->strips,
                                        &need->decoder, err));
    if (o->memory || need->decoder <= usual_decoder) return TIM_OK;
    /* nobody asked for the least: nearly as little in far wider strips */
    return tim_autoencoder_find_strips(p->autoencoder, height, width, need->decoder + need->decoder / 8, &plan->strips,
                                       &need->decoder, err);
}

static TimStatus count_need(TimPlan *plan, TimPipeline *p, const TimSampleOptions *o, Need *need, TimError *err) {
    const int64_t batch = o->count < o->batch ? o->count : o->batch;
    const bool guided = plan->info.guided_steps > 0;
    const int tokens = longest_caption(plan, o->count);
    if (o->memory) rest_all(p);
    tim_autoencoder_rest(p->autoencoder);
    *need = (Need){.always = always_needed(plan, p, o, batch)};
    if (o->init && p->autoencoder)
        TIM_TRY(count_encoder(plan, p, need, err));
    else if (p->encoder) /* of an earlier run */
        need->always += tim_autoencoder_bytes(p->encoder);
    if (p->captioner) TIM_TRY(tim_captioner_bytes(p->captioner, batch + guided, tokens, &need->captions, err));
    TIM_TRY(count_network(plan, p, batch, tokens, need, err));
    return p->autoencoder ? count_decoder(plan, p, o, need, err) : TIM_OK;
}

/* Whether what is too much for the bound is a decoder that tiles would fit into it. */
static bool tiles_would_do(const TimPlan *plan, TimPipeline *p, const TimSampleOptions *o, const Need *need) {
    size_t bytes;
    if (!p->autoencoder || plan->tiled || need->always + larger(larger(need->encoder, need->captions), need->network) > o->memory)
        return false;
    const TimTiling tiling = tim_autoencoder_tiling(tim_autoencoder_config(p->autoencoder));
    return tim_autoencoder_tiled_bytes(p->autoencoder, true, &tiling, plan->height / plan->factor, plan->width / plan->factor,
                                       &bytes, NULL) == TIM_OK &&
           need->always + bytes <= o->memory;
}

static TimStatus refuse(const TimPlan *plan, TimPipeline *p, const TimSampleOptions *o, const Need *need, TimError *err) {
    const size_t bytes[] = {plan->info.memory, o->memory,     need->always, need->encoder,
                            need->captions,    need->network, need->decoder};
    char t[sizeof bytes / sizeof *bytes][TIM_BYTES_TEXT];
    for (size_t i = 0; i < sizeof bytes / sizeof *bytes; i++) tim_bytes_text(t[i], bytes[i]);
    return tim_fail(
        err, TIM_E_MEMORY,
        "the run needs about %s and may have %s: %s throughout, %s for the picture to start from, %s for captions, %s for "
        "the network, %s for the decoder%s; allow more, or draw smaller or fewer pictures at once%s",
        t[0], t[1], t[2], t[3], t[4], t[5], t[6],
        plan->tiled         ? " in tiles"
        : plan->strips.rows ? " in its smallest strips"
                            : "",
        tiles_would_do(plan, p, o, need) ? ", or decode in tiles" : "");
}

static TimStatus plan_memory(TimPlan *plan, TimPipeline *p, const TimSampleOptions *o, TimError *err) {
    Need need;
    TIM_TRY(count_need(plan, p, o, &need, err));
    plan->rests = o->memory || plan->strips.rows || plan->tiled;
    const size_t phases = plan->rests ? larger(larger(need.encoder, need.captions), larger(need.network, need.decoder))
                                      : need.encoder + need.captions + need.network + need.decoder;
    plan->info.memory = need.always + phases;
    if (!o->memory || plan->info.memory <= o->memory) return TIM_OK;
    return refuse(plan, p, o, &need, err);
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
    const bool large = p->autoencoder && (size_t)plan->height * (size_t)plan->width > small_picture;
    return options->memory || large ? plan_memory(plan, p, options, err) : TIM_OK;
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
