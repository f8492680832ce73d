/* What a run will draw, and whether all of it can be drawn. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sample.h"
#include "sample_layout.h"
#include "support.h"

enum { DEFAULT_COUNT = 16, WEBP_MAX_SIDE = 16383 };

/* ---- conditions ---- */

/* The classes asked for in turn, or all of the model's. */
static TimStatus make_labels(Sampling *d, TimError *err) {
    const SampleRequest *r = d->request;
    const int64_t classes = tim_pipeline_config(d->pipeline)->network.num_classes;
    d->count = r->count ? r->count : r->classes.count ? r->classes.count : DEFAULT_COUNT;
    d->labels = calloc((size_t)d->count, sizeof *d->labels);
    if (!d->labels) return fail_with(err, TIM_E_MEMORY, "no memory for the labels; give a smaller --count");
    for (int64_t i = 0; i < d->count; i++) {
        const int64_t number = d->first + i;
        d->labels[i] = r->classes.count ? r->classes.items[number % r->classes.count] : number % classes;
    }
    return TIM_OK;
}

/* Of a file, picture N shows prompt N / each; a single prompt goes on for ever. */
static TimStatus count_pictures(Sampling *d, TimError *err) {
    const SampleRequest *r = d->request;
    const int64_t all = d->list.count * d->each;
    d->skipped = r->prompt || sample_reads_input(r) ? 0 : d->first;
    d->count = all - d->skipped;
    if (d->count > 0) return TIM_OK;
    return fail_with(err, TIM_E_ARGUMENT, "--first: %" PRId64 " is beyond the last picture of %.800s, which is %" PRId64, d->first,
                     r->prompts_file, all - 1);
}

static const Prompt *prompt_of(const Sampling *d, int64_t index) {
    return &d->list.items[(d->skipped + index) / d->each];
}

TimStatus sample_repeat_prompts(Sampling *d, TimError *err) {
    const SampleRequest *r = d->request;
    d->each = r->layout ? layout_pictures((PromptLayout)r->layout) : r->count ? r->count : 1;
    const TimStatus status = count_pictures(d, err);
    if (status != TIM_OK) return status;
    free(d->prompts);
    free(d->seeds);
    d->prompts = calloc((size_t)d->count, sizeof *d->prompts);
    d->seeds = calloc((size_t)d->count, sizeof *d->seeds);
    if (!d->prompts || !d->seeds) return fail_with(err, TIM_E_MEMORY, "no memory for the prompts; give a smaller --count");
    for (int64_t i = 0; i < d->count; i++) {
        const Prompt *p = prompt_of(d, i);
        d->prompts[i] = p->text;
        d->seeds[i] = p->settings.seed >= 0 ? (uint64_t)p->settings.seed : r->sample.seed;
    }
    if (!d->list.own_settings || r->form == SAMPLE_FOLDER) return TIM_OK;
    return fail_with(err, TIM_E_ARGUMENT, "%.800s: prompts with settings of their own go into a folder: end --out with /",
                     r->prompts_file);
}

static TimStatus make_prompts(Sampling *d, TimError *err) {
    const SampleRequest *r = d->request;
    TimStatus status = TIM_OK;
    if (r->prompt)
        status = prompt_list_add(&d->list, r->prompt, err);
    else if (r->prompts_file)
        status = prompt_list_read(&d->list, r->prompts_file, (PromptLayout)r->layout, err);
    else
        status =
            fail_with(err, TIM_E_ARGUMENT,
                      "%.1000s: the model draws texts: give --prompt TEXT, --prompts FILE, or on a terminal a folder for --out",
                      r->parts.model);
    return status == TIM_OK ? sample_repeat_prompts(d, err) : status;
}

TimStatus sample_make_conditions(Sampling *d, TimError *err) {
    const SampleRequest *r = d->request;
    const bool texts = tim_pipeline_config(d->pipeline)->network.kind == TIM_NETWORK_T2I;
    if (texts && r->classes_text)
        return fail_with(err, TIM_E_ARGUMENT, "%.1000s: the model draws texts, not classes: give --prompt in place of --classes",
                         r->parts.model);
    if (texts) return make_prompts(d, err);
    if (!r->prompt && !r->prompts_file && !r->sample.negative_prompt) return make_labels(d, err);
    return fail_with(err, TIM_E_ARGUMENT, "%.1000s: the model draws classes, not texts: give --classes in place of a prompt",
                     r->parts.model);
}

/* ---- options ---- */

/* The size of the picture to start from, rounded down to what the model can draw. */
static void init_size(const Sampling *d, TimSampleOptions *o) {
    const int step = tim_pipeline_size_multiple(d->pipeline);
    o->height = d->init.height < step ? step : d->init.height / step * step;
    o->width = d->init.width < step ? step : d->init.width / step * step;
}

static int side_of(const Sampling *d, int given) {
    const TimNetworkConfig *n = &tim_pipeline_config(d->pipeline)->network;
    return given ? given : n->input_size * (tim_pipeline_size_multiple(d->pipeline) / n->patch_size);
}

/* What the program itself holds while the library draws: code and libraries, the picture to start from as it was read, and what pictures
 * become that is no picture. */
static size_t held(const Sampling *d, const TimSampleOptions *o) {
    const SampleRequest *r = d->request;
    const TimNetworkConfig *n = &tim_pipeline_config(d->pipeline)->network;
    const int height = side_of(d, o->height), width = side_of(d, o->width),
              channels = tim_pipeline_size_multiple(d->pipeline) == n->patch_size ? n->in_channels : 3;
    const int64_t stages = r->strip ? o->steps : 1, cells = r->form == SAMPLE_SHEET ? d->count * r->steps.count * stages : stages;
    const size_t picture = (size_t)height * (size_t)width * (size_t)channels;
    enum { PROGRAM = 24 << 20 };
    size_t bytes = PROGRAM + (size_t)d->init.height * (size_t)d->init.width * (size_t)d->init.channels;
    if (r->form == SAMPLE_SHEET || r->strip) bytes += sample_sheet_bytes(cells, height, width, channels);
    if (r->form == SAMPLE_SHEET) bytes += (size_t)cells * picture;
    if (r->form == SAMPLE_LAYOUT) bytes += 4 * picture; /* the grid */
    if (ends_with(r->out, ".webp")) bytes += 3 * picture;
    return bytes;
}

TimSampleOptions sample_options(const Sampling *d, int64_t row, int64_t first, int64_t count) {
    TimSampleOptions o = d->request->sample;
    o.steps = (int)d->request->steps.items[row];
    if (d->prompts) prompt_settings_apply(&prompt_of(d, first)->settings, &o);
    o.count = count;
    o.first = d->first + first;
    o.stages = d->request->strip;
    if (d->labels) o.labels = d->labels + first;
    if (d->prompts) o.prompts = d->prompts + first, o.seeds = d->seeds + first;
    if (d->init.pixels) o.init = &d->init;
    if (d->init.pixels && !o.height && !o.width) init_size(d, &o);
    o.held = held(d, &o);
    return o;
}

/* How many of the `most` pictures from `first` on have all settings in common, but for the seed. */
static int64_t alike_from(const Sampling *d, int64_t first, int64_t most) {
    int64_t count = 1;
    while (count < most && prompt_settings_alike(&prompt_of(d, first)->settings, &prompt_of(d, first + count)->settings)) count++;
    return count;
}

int64_t sample_batch(const Sampling *d, int64_t first) {
    int64_t batch = d->request->sample.batch, left = d->count - first;
    if (d->request->form == SAMPLE_LAYOUT) batch = batch < d->each ? d->each : batch / d->each * d->each;
    if (batch > left) batch = left;
    return d->list.own_settings ? alike_from(d, first, batch) : batch;
}

/* ---- before drawing ---- */

/* What is said once of all pictures. */
typedef struct Remarks {
    int64_t cut_prompts, padded_prompts;
    bool guidance, window, noise, negative, tiled, cut_negative, times;
} Remarks;

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

/* Can what the pictures go into be as large as that? */
static TimStatus check_image(const Sampling *d, TimError *err) {
    const SampleRequest *r = d->request;
    const int side = d->size.width > d->size.height ? d->size.width : d->size.height;
    if (r->form == SAMPLE_SHEET) return sample_sheet_check(d, sample_sheet_rows(d), err);
    if (r->strip) return sample_sheet_check(d, 1, err);
    if (r->form != SAMPLE_PICTURE || !ends_with(r->out, ".webp") || side <= WEBP_MAX_SIDE) return TIM_OK;
    return fail_with(err, TIM_E_ARGUMENT, "%.800s: WebP has at most %d pixels a side, not %d; let --out end in .png", r->out,
                     WEBP_MAX_SIDE, side);
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

/* Settings without an effect, each kind once. */
static void say_remarks(const Sampling *d, const TimSampleOptions *o, const TimSampleInfo *info, Remarks *said) {
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

static TimStatus check_pictures(Sampling *d, int64_t row, int64_t first, int64_t count, Remarks *remarks, TimError *err) {
    TimSampleInfo info;
    const TimSampleOptions o = sample_options(d, row, first, count);
    TimStatus status = tim_pipeline_plan(d->pipeline, &o, &info, err);
    if (status != TIM_OK) return status;
    d->steps = o.steps;
    d->size.height = side_of(d, o.height), d->size.width = side_of(d, o.width);
    status = check_image(d, err);
    if (row == 0) remarks->cut_prompts += info.cut_prompts, remarks->padded_prompts += info.padded_prompts;
    if (status == TIM_OK) say_remarks(d, &o, &info, remarks);
    return status;
}

/* The line of the list that the failure of pictures first ... first + count comes from: of a group, the first that fails alone. */
static int64_t line_of(const Sampling *d, int64_t row, int64_t first, int64_t count) {
    TimSampleInfo info;
    TimError err;
    for (int64_t i = first; i < first + count; i++) {
        const TimSampleOptions o = sample_options(d, row, i, 1);
        if (tim_pipeline_plan(d->pipeline, &o, &info, &err) != TIM_OK) return prompt_of(d, i)->line;
    }
    return prompt_of(d, first)->line;
}

/* In one go what is alike for all; batch by batch, as they are drawn, settings of prompts and a bound on memory. */
static TimStatus check_row(Sampling *d, int64_t row, Remarks *remarks, TimError *err) {
    const bool whole = !d->list.own_settings && !d->request->sample.memory;
    for (int64_t first = 0, count; first < d->count; first += count) {
        count = whole ? d->count : sample_batch(d, first);
        const TimStatus status = check_pictures(d, row, first, count, remarks, err);
        if (status == TIM_OK) continue;
        const TimError cause = *err;
        return d->list.own_settings ? fail_with(err, status, "%.400s: line %" PRId64 ": %.500s",
                                                sample_reads_input(d->request) ? "standard input" : d->request->prompts_file,
                                                line_of(d, row, first, count), cause.text)
                                    : status;
    }
    return TIM_OK;
}

TimStatus sample_check(Sampling *d, TimError *err) {
    Remarks remarks = {0};
    TimStatus status = sample_place_check(d, err);
    if (d->init.pixels && d->request->sample.strength == 1)
        fputs("tim sample: --init has no effect but on the size: --strength 1 leaves nothing of the picture\n", stderr);
    d->total = d->count * d->request->steps.count;
    for (int64_t row = 0; row < d->request->steps.count && status == TIM_OK; row++) status = check_row(d, row, &remarks, err);
    if (status == TIM_OK && remarks.cut_prompts) remark_cut(d, remarks.cut_prompts);
    if (status == TIM_OK && d->request->sample.caption_tokens && !remarks.padded_prompts) remark_padding(d);
    return status;
}
