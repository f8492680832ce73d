/* The options that the library gets for pictures of a run, and how many are drawn together. */
#include "sample.h"
#include "support.h"

/* `size` down to a multiple of the step, and at least one. */
static int round_down(double size, int step) {
    const int most = TIM_IMAGE_MAX_SIDE / step * step, whole = size < most ? (int)size / step * step : most;
    return whole < step ? step : whole;
}

/* The size of the picture to start from, rounded down to what the model can draw; with one side given, the other in proportion. */
static void init_size(const Sampling *d, TimSampleOptions *o) {
    const int step = tim_pipeline_size_multiple(d->pipeline), given_height = o->height, given_width = o->width;
    const double height = d->init.height, width = d->init.width;
    if (!given_height) o->height = round_down(given_width ? height * given_width / width : height, step);
    if (!given_width) o->width = round_down(given_height ? width * given_height / height : width, step);
}

bool sample_makes_latents(const Sampling *d) {
    return tim_pipeline_size_multiple(d->pipeline) != tim_pipeline_config(d->pipeline)->network.patch_size;
}

int sample_side(const Sampling *d, int given) {
    const TimNetworkConfig *n = &tim_pipeline_config(d->pipeline)->network;
    return given ? given : n->input_size * (tim_pipeline_size_multiple(d->pipeline) / n->patch_size);
}

/* What the program itself holds while the library draws: code and libraries, the picture to start from as it was read, and what
 * pictures become that is no picture. */
static size_t held(const Sampling *d, const TimSampleOptions *o) {
    const SampleRequest *r = d->request;
    const int height = sample_side(d, o->height), width = sample_side(d, o->width),
              channels = sample_makes_latents(d) ? 3 : tim_pipeline_config(d->pipeline)->network.in_channels;
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
    if (d->prompts) prompt_settings_apply(&sample_prompt_of(d, first)->settings, &o);
    o.count = count;
    if (d->request->batch) o.batch = d->request->batch;
    o.first = d->first + first;
    o.stages = d->request->strip;
    if (d->labels) o.labels = d->labels + first;
    if (d->prompts) o.prompts = d->prompts + first, o.seeds = d->seeds + first;
    if (d->init.pixels) o.init = &d->init;
    if (d->init.pixels) init_size(d, &o);
    o.held = held(d, &o);
    return o;
}

/* How many of the `most` pictures from `first` on have all settings in common, but for the seed. */
static int64_t alike_from(const Sampling *d, int64_t first, int64_t most) {
    int64_t count = 1;
    while (count < most &&
           prompt_settings_alike(&sample_prompt_of(d, first)->settings, &sample_prompt_of(d, first + count)->settings))
        count++;
    return count;
}

/* 16, and of files of their own only as many as have the pixels of 16 of 256 x 256: what is together is written when all is drawn,
 * and lost when the run ends before. */
static int64_t usual_batch(const Sampling *d, int64_t first) {
    enum { USUAL = 16, SIDE = 256 };
    if (d->request->form == SAMPLE_NPZ || d->request->form == SAMPLE_SHEET) return USUAL;
    const TimSampleOptions o = sample_options(d, 0, first, 1);
    const int64_t fit = (int64_t)USUAL * SIDE * SIDE / ((int64_t)sample_side(d, o.height) * sample_side(d, o.width));
    return fit < 1 ? 1 : fit < USUAL ? fit : USUAL;
}

int64_t sample_batch(const Sampling *d, int64_t first) {
    int64_t batch = d->request->batch ? d->request->batch : usual_batch(d, first), left = d->count - first;
    if (d->request->form == SAMPLE_LAYOUT) batch = batch < d->each ? d->each : batch / d->each * d->each;
    if (batch > left) batch = left;
    return d->list.own_settings ? alike_from(d, first, batch) : batch;
}
