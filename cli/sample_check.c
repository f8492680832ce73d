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

/* The line of the list that the failure of pictures first ... first + count comes from: of a group, the first that fails alone. */
static int64_t line_of(const Sampling *d, int64_t row, int64_t first, int64_t count) {
    TimSampleInfo info;
    TimError err;
    for (int64_t i = first; i < first + count; i++) {
        const TimSampleOptions o = sample_options(d, row, i, 1);
        if (tim_pipeline_plan(d->pipeline, &o, &info, &err) != TIM_OK) return sample_prompt_of(d, i)->line;
    }
    return sample_prompt_of(d, first)->line;
}

/* In one go what is alike for all; batch by batch, as they are drawn, settings of prompts and a bound on memory. */
static TimStatus check_row(Sampling *d, int64_t row, SampleRemarks *remarks, TimError *err) {
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
    SampleRemarks remarks = {0};
    TimStatus status = sample_place_check(d, err);
    if (d->init.pixels && d->request->sample.strength == 1)
        fputs("tim sample: --init has no effect but on the size: --strength 1 leaves nothing of the picture\n", stderr);
    d->total = d->count * d->request->steps.count;
    for (int64_t row = 0; row < d->request->steps.count && status == TIM_OK; row++) status = check_row(d, row, &remarks, err);
    if (status == TIM_OK) sample_remark_prompts(d, &remarks);
    return status;
}
