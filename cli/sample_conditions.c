/* What the pictures of a run show: classes, or prompts as many times as asked for. */
#include <inttypes.h>
#include <stdlib.h>

#include "sample.h"
#include "sample_layout.h"
#include "support.h"

enum { DEFAULT_COUNT = 16 };

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

const Prompt *sample_prompt_of(const Sampling *d, int64_t index) {
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
        const Prompt *p = sample_prompt_of(d, i);
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
    if (r->sample.negative_prompt || r->sample.caption_tokens)
        return fail_with(err, TIM_E_ARGUMENT, "%.1000s: the model draws classes, which have no captions: leave out --%s",
                         r->parts.model, r->sample.negative_prompt ? "negative-prompt" : "caption-tokens");
    if (!r->prompt && !r->prompts_file) return make_labels(d, err);
    return fail_with(err, TIM_E_ARGUMENT, "%.1000s: the model draws classes, not texts: give --classes in place of a prompt",
                     r->parts.model);
}
