/* What a run holds at once, phase by phase, and in which strips pictures are decoded. */
#include "base/text.h"
#include "sample/plan.h"

/* What a run holds. */
typedef struct Need {
    size_t always;                              /* copies of weights, pictures, states, what the caller holds */
    size_t encoder, captions, network, decoder; /* tapes and mapped weights of each phase */
} Need;

/* Without a bound a picture is decoded whole as long as the decoder takes no more than this, with which a run stays within 8 GB;
 * what is hardly larger than 1024 x 1024 never does, and is not even counted. */
static const size_t usual_decoder = (size_t)5 << 29, small_picture = 1200 * 1200;

/* The encoder, which has no strips, may take so much without a bound. */
static const size_t usual_encoder = (size_t)6 << 30;

static size_t larger(size_t a, size_t b) {
    return a > b ? a : b;
}

/* Captions of a batch, null ones included, and the sampler's copies. */
static size_t captions_needed(const TimPlan *plan, const TimPipeline *p, const TimSampleOptions *o, int64_t batch) {
    const size_t passes = plan->info.guided_steps > 0 ? 2 : 1;
    if (!p->captioner) return 0;
    return sizeof(float) * (size_t)tim_plan_longest_caption(plan, o->count) * (size_t)tim_captioner_width(p->captioner) *
           (2 * ((size_t)batch + 1) + passes * (size_t)batch);
}

/* What is held throughout, with `batch` pictures at once. */
static size_t always_needed(const TimPlan *plan, const TimPipeline *p, const TimSampleOptions *o, int64_t batch) {
    const size_t pixels = tim_plan_picture_bytes(plan);
    const size_t input =
        (size_t)(plan->height / plan->factor) * (size_t)(plan->width / plan->factor) * (size_t)p->model->config.network.in_channels;
    const TimModel *m = p->model;
    const size_t own = m->options.frozen ? 0 : m->params.elements * (sizeof(float) + (m->bf16 ? sizeof *m->bf16 : 0));
    const size_t weights = own + m->frozen.copied + (p->autoencoder ? tim_autoencoder_bytes(p->autoencoder) : 0) +
                           (p->captioner ? tim_captioner_copied(p->captioner) : 0);
    const size_t states = (size_t)batch * input * sizeof(double), passes = plan->info.guided_steps > 0 ? 2 : 1;
    return o->held + weights + captions_needed(plan, p, o, batch) + pixels * (plan->stages * (size_t)o->count + sizeof(float)) +
           (o->stages ? plan->stages * (size_t)batch * input * sizeof(float) : 0) +
           states * (1 + passes) /* and what goes into the network and comes out of it */ + 2 * input * sizeof(float);
}

/* The picture to start from, as bytes and as the encoder takes it. */
static size_t beside_encoder(const TimPlan *plan) {
    return tim_plan_picture_bytes(plan) * (1 + sizeof(float));
}

/* The picture to start from goes through the encoder at once, before anything else. */
static TimStatus count_encoder(const TimPlan *plan, TimPipeline *p, Need *need, TimError *err) {
    TimAutoencoder *encoder;
    TIM_TRY(tim_pipeline_encoder(p, &encoder, err));
    tim_autoencoder_rest(encoder);
    need->always += tim_autoencoder_bytes(encoder);
    const TimTiling tiling = tim_autoencoder_tiling(tim_autoencoder_config(encoder));
    TIM_TRY(plan->tiled ? tim_autoencoder_tiled_bytes(encoder, false, &tiling, plan->height, plan->width, &need->encoder, err)
                        : tim_autoencoder_encode_bytes(encoder, plan->height, plan->width, &need->encoder, err));
    need->encoder += beside_encoder(plan);
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
    const int tokens = tim_plan_longest_caption(plan, o->count);
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

/* Whether what is too much for the bound is an autoencoder that tiles would fit into it. */
static bool tiles_would_do(const TimPlan *plan, TimPipeline *p, const TimSampleOptions *o, const Need *need) {
    size_t decoder, encoder = 0;
    if (!p->autoencoder || plan->tiled) return false;
    const TimTiling tiling = tim_autoencoder_tiling(tim_autoencoder_config(p->autoencoder));
    if (tim_autoencoder_tiled_bytes(p->autoencoder, true, &tiling, plan->height / plan->factor, plan->width / plan->factor,
                                    &decoder, NULL) != TIM_OK)
        return false;
    if (need->encoder > 0 &&
        tim_autoencoder_tiled_bytes(p->encoder, false, &tiling, plan->height, plan->width, &encoder, NULL) != TIM_OK)
        return false;
    if (encoder > 0) encoder += beside_encoder(plan);
    return need->always + larger(larger(encoder, decoder), larger(need->captions, need->network)) <= o->memory;
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

/* Without a bound 8 GB are promised, and a large picture to start from takes several times as much in the encoder. */
static TimStatus refuse_encoder(const TimPlan *plan, const TimSampleOptions *o, const Need *need, TimError *err) {
    char encoder[TIM_BYTES_TEXT], all[TIM_BYTES_TEXT];
    /* pictures need not be drawn in one call */
    const size_t later = o->count > o->batch ? (size_t)(o->count - o->batch) * plan->stages * tim_plan_picture_bytes(plan) : 0;
    tim_bytes_text(encoder, need->encoder);
    tim_bytes_text(all, plan->info.memory - later);
    return tim_fail(
        err, TIM_E_MEMORY,
        "the picture to start from takes %s in the encoder at %d x %d; allow the run a memory of %s, or let it be encoded in "
        "tiles, or draw a smaller one",
        encoder, plan->width, plan->height, all);
}

TimStatus tim_plan_memory(TimPlan *plan, TimPipeline *p, const TimSampleOptions *o, TimError *err) {
    Need need;
    const bool large = p->autoencoder && (size_t)plan->height * (size_t)plan->width > small_picture;
    if (!o->memory && !large) return TIM_OK;
    TIM_TRY(count_need(plan, p, o, &need, err));
    plan->rests = o->memory || plan->strips.rows || plan->tiled;
    const size_t phases = plan->rests ? larger(larger(need.encoder, need.captions), larger(need.network, need.decoder))
                                      : need.encoder + need.captions + need.network + need.decoder;
    plan->info.memory = need.always + phases;
    if (!o->memory) return need.encoder > usual_encoder ? refuse_encoder(plan, o, &need, err) : TIM_OK;
    if (plan->info.memory <= o->memory) return TIM_OK;
    return refuse(plan, p, o, &need, err);
}
