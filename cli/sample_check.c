/* Whether all that a run should draw can be drawn. */
#include <inttypes.h>
#include <stdio.h>

#include "sample.h"
#include "sample_layout.h"
#include "support.h"

enum { WEBP_MAX_SIDE = 16383 };

/* Can what the pictures go into be as large as that? */
static TimStatus check_image(const Sampling *d, TimError *err) {
    const SampleRequest *r = d->request;
    const int side = d->size.width > d->size.height ? d->size.width : d->size.height;
    if (r->form == SAMPLE_SHEET) return sample_sheet_check(d, sample_sheet_rows(d), err);
    if (r->strip) return sample_sheet_check(d, 1, err);
    if (r->form == SAMPLE_LAYOUT && layout_pictures((PromptLayout)r->layout) == 4 && side > TIM_IMAGE_MAX_SIDE / 2)
        return fail_with(
            err, TIM_E_ARGUMENT,
            "--size: %d pixels a side; the layout's grids are two pictures wide and at most %d pixels: give at most %d", side,
            TIM_IMAGE_MAX_SIDE, TIM_IMAGE_MAX_SIDE / 2);
    if (r->form != SAMPLE_PICTURE || !ends_with(r->out, ".webp") || side <= WEBP_MAX_SIDE) return TIM_OK;
    return fail_with(err, TIM_E_ARGUMENT, "%.800s: WebP has at most %d pixels a side, not %d; let --out end in .png", r->out,
                     WEBP_MAX_SIDE, side);
}

static TimStatus check_pictures(Sampling *d, int64_t row, int64_t first, int64_t count, SampleRemarks *remarks, TimError *err) {
    TimSampleInfo info;
    const TimSampleOptions o = sample_options(d, row, first, count);
    TimStatus status = tim_pipeline_plan(d->pipeline, &o, &info, err);
    if (status != TIM_OK) return status;
    d->steps = o.steps;
    d->size.height = sample_side(d, o.height), d->size.width = sample_side(d, o.width);
    status = check_image(d, err);
    if (row == 0) remarks->cut_prompts += info.cut_prompts, remarks->padded_prompts += info.padded_prompts;
    if (status == TIM_OK) sample_remark(d, &o, &info, remarks);
    return status;
}

/* Whether pictures first ... first + count fail by themselves. */
static bool fails(const Sampling *d, int64_t row, int64_t first, int64_t count) {
    TimSampleInfo info;
    TimError err;
    const TimSampleOptions o = sample_options(d, row, first, count);
    return tim_pipeline_plan(d->pipeline, &o, &info, &err) != TIM_OK;
}

/* Whether the picture fails with the empty prompt in place of its own, too. */
static bool fails_empty(const Sampling *d, int64_t row, int64_t index) {
    static const char *const empty = "";
    TimSampleInfo info;
    TimError err;
    TimSampleOptions o = sample_options(d, row, index, 1);
    o.prompts = &empty;
    return tim_pipeline_plan(d->pipeline, &o, &info, &err) != TIM_OK;
}

/* The first of pictures first ... first + count, which fail together, that fails alone, by halves, for a plan of a large picture
 * takes a while; -1: none does. */
static int64_t failing_picture(const Sampling *d, int64_t row, int64_t first, int64_t count) {
    while (count > 1) {
        const int64_t half = count / 2;
        if (fails(d, row, first, half))
            count = half;
        else
            first += half, count -= half;
    }
    return fails(d, row, first, 1) ? first : -1;
}

/* The prompt that the failure of pictures first ... first + count comes from, with settings of its own or by its text; NULL where
 * it comes from what the command line says for all. */
static const Prompt *failing_prompt(const Sampling *d, int64_t row, int64_t first, int64_t count) {
    const int64_t index = failing_picture(d, row, first, count);
    const Prompt *prompt = sample_prompt_of(d, index < 0 ? first : index);
    const bool by_text = index >= 0 && !fails_empty(d, row, index);
    return by_text || prompt_settings_any(&prompt->settings) ? prompt : NULL;
}

/* Puts before the failure where in a list it comes from. */
static TimStatus name_prompt(const Sampling *d, int64_t row, int64_t first, int64_t count, TimError *err) {
    const SampleRequest *r = d->request;
    const TimError cause = *err;
    const Prompt *prompt = r->prompts_file ? failing_prompt(d, row, first, count) : NULL;
    const char *list = sample_reads_input(r) ? "standard input" : r->prompts_file;
    if (!prompt) return cause.status;
    if (prompt->name) return fail_with(err, cause.status, "%.400s: the prompt '%.100s': %.500s", list, prompt->name, cause.text);
    return fail_with(err, cause.status, "%.400s: line %" PRId64 ": %.500s", list, prompt->line, cause.text);
}

/* In one go what is alike for all; batch by batch, as they are drawn, settings of prompts and a bound on memory. */
static TimStatus check_row(Sampling *d, int64_t row, SampleRemarks *remarks, TimError *err) {
    const bool whole = !d->list.own_settings && !d->request->sample.memory;
    for (int64_t first = 0, count; first < d->count; first += count) {
        count = whole ? d->count : sample_batch(d, first);
        const TimStatus status = check_pictures(d, row, first, count, remarks, err);
        if (status != TIM_OK) return name_prompt(d, row, first, count, err);
    }
    return TIM_OK;
}

TimStatus sample_check(Sampling *d, TimError *err) {
    SampleRemarks remarks = {0};
    TimStatus status = sample_place_check(d, err);
    if (d->init.pixels && d->request->sample.strength == 1)
        fputs("tim sample: --init has no effect but on the size: --strength 1 leaves nothing of the picture\n", stderr);
    d->total = d->count * d->request->steps.count;
    for (int64_t row = 0; row < d->request->steps.count && status == TIM_OK; row++) status = check_row(d, row, &remarks, err);
    if (status == TIM_OK) sample_remark_prompts(d, &remarks);
    return status;
}
