/* tim sample: pictures of prompts or classes, as an npz file for evaluation, as one labelled sheet, or as single PNG files. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "class_names.h"
#include "commands.h"
#include "interruption.h"
#include "sample.h"
#include "support.h"

/* ---- drawing ---- */

static bool show_progress(int64_t done, int64_t total, void *user) {
    const Sampling *d = user;
    const int64_t steps = d->steps, pictures = total / steps; /* of this call */
    if (d->terminal)
        fprintf(stderr, "\r%" PRId64 " of %" PRId64 " pictures, step %" PRId64 " of %" PRId64 "   ", d->drawn, d->total,
                done / pictures, steps);
    return !interrupted(); /* asked for only where an npz is begun, which would be left half on the disk */
}

static void add_seconds(TimSampleInfo *sum, const TimSampleInfo *info) {
    sum->seconds_captions += info->seconds_captions;
    sum->seconds_network += info->seconds_network;
    sum->seconds_decoder += info->seconds_decoder;
}

static TimStatus draw_batch(Sampling *d, int64_t row, int64_t first, int64_t count, TimError *err) {
    TimPictures pictures;
    TimSampleInfo info = {0};
    TimSampleOptions o = sample_options(d, row, first, count);
    d->steps = o.steps;
    o.progress = show_progress, o.user = d;
    TimStatus status = tim_pipeline_draw(d->pipeline, &o, &pictures, &info, err);
    if (status == TIM_OK) status = sample_take(d, row, &pictures, first, err);
    d->drawn += count;
    add_seconds(&d->spent, &info);
    tim_pictures_done(&pictures);
    return status;
}

/* All pictures of a number of steps, a batch at a time, so that memory does not grow with their number. */
static TimStatus draw_row(Sampling *d, int64_t row, TimError *err) {
    TimStatus status = TIM_OK;
    for (int64_t first = 0, batch; first < d->count && status == TIM_OK; first += batch) {
        batch = sample_batch(d, first);
        status = draw_batch(d, row, first, batch, err);
    }
    return status;
}

static TimStatus draw(Sampling *d, TimError *err) {
    TimStatus status = TIM_OK;
    for (int64_t row = 0; row < d->request->steps.count && status == TIM_OK; row++) status = draw_row(d, row, err);
    if (d->terminal) fputs("\r\033[K", stderr);
    if (status == TIM_OK) status = sample_finish(d, err);
    tim_adm_writer_discard(d->npz);
    free(d->sheet);
    return status;
}

static TimStatus draw_all(Sampling *d, TimError *err) {
    TimStatus status = sample_make_conditions(d, err);
    if (status == TIM_OK) status = sample_check(d, err);
    return status == TIM_OK ? draw(d, err) : status;
}

/* "out.png: 1 picture of 512 x 512 in 9.1 s (loading 0.4, captions 0.6, network 1.0, decoder 5.1)"; of pictures that differ in size
 * none is said. */
static void say_done(const Sampling *d, double seconds) {
    const TimSampleInfo *s = &d->spent;
    printf("%s: %" PRId64 " picture%s", d->request->out, d->total, d->total == 1 ? "" : "s");
    if (!d->sizes_differ) printf(" of %d x %d", d->size.width, d->size.height);
    printf(" in %.1f s", seconds);
    if (d->prompts || sample_makes_latents(d)) {
        printf(" (loading %.1f", d->loading);
        if (d->prompts) printf(", captions %.1f", s->seconds_captions);
        printf(", network %.1f, decoder %.1f)", s->seconds_network, s->seconds_decoder);
    }
    putchar('\n');
}

/* ---- prompts as they come ---- */

static TimStatus draw_prompt(Sampling *d, TimError *err) {
    TimStatus status = sample_repeat_prompts(d, err);
    if (status == TIM_OK) status = sample_check(d, err);
    return status == TIM_OK ? draw(d, err) : status;
}

static TimStatus read_line(Sampling *d, const char *line, size_t size, int64_t number, TimError *err) {
    TimError cause;
    prompt_list_done(&d->list);
    const TimStatus status = prompt_list_add_line(&d->list, line, size, number, &cause);
    return status == TIM_OK ? TIM_OK : fail_with(err, status, "standard input: %.400s", cause.text);
}

/* The prompt of a line into the folder; a failure is said and costs only itself. Whether there was none. */
static bool draw_line(Sampling *d, const char *line, size_t size, int64_t number) {
    char path[MAX_PATH_BYTES];
    TimError err;
    const double start = clock_seconds();
    d->drawn = 0, d->spent = (TimSampleInfo){0};
    TimStatus status = read_line(d, line, size, number, &err);
    if (status == TIM_OK && d->list.count == 0) return true;
    if (status == TIM_OK) status = draw_prompt(d, &err);
    if (status == TIM_OK) status = sample_numbered_path(d, 0, ".png", path, &err);
    if (status != TIM_OK) {
        fprintf(stderr, "tim sample: %s\n", err.text);
        const int64_t next = d->drawn && !d->request->overwrite ? sample_place_next(d->request) : 0;
        if (next > d->first) d->first = next; /* behind what it left there */
        return false;
    }
    printf("%s: %.1f s\n", path, clock_seconds() - start);
    fflush(stdout);
    d->first += d->count;
    return true;
}

/* Draws a prompt a line from the standard input until it ends, with the model kept loaded. */
static TimStatus converse(Sampling *d, TimError *err) {
    const SampleRequest *r = d->request;
    char *line = NULL;
    size_t room = 0;
    int64_t failed = 0;
    int cause = 0; /* why the last line could not be read */
    const bool asks = isatty(STDIN_FILENO) == 1;
    if (tim_pipeline_config(d->pipeline)->network.kind != TIM_NETWORK_T2I)
        return fail_with(err, TIM_E_ARGUMENT, "%.1000s: the model draws classes, not texts", r->parts.model);
    for (int64_t number = 1;; number++) {
        if (asks) fputs("prompt> ", stderr);
        const ssize_t length = getline(&line, &room, stdin);
        cause = errno;
        if (length < 0) break;
        if (r->first < 0 && !r->overwrite) d->first = sample_place_next(r); /* behind what others have put there too */
        failed += !draw_line(d, line, (size_t)length, number);
    }
    free(line);
    if (asks) fputc('\n', stderr);
    if (ferror(stdin)) return fail_with(err, TIM_E_IO, "standard input: %s", strerror(cause));
    return asks || !failed ? TIM_OK : fail_with(err, TIM_E_ARGUMENT, "%" PRId64 " of the prompts not drawn", failed);
}

/* ---- a run ---- */

/* What is usual for the model, where the command line does not say: published models run in bf16, those of texts round in their own
 * way and, on a terminal, take prompts as they are typed. */
static TimStatus settle(SampleRequest *r, TimError *err) {
    TimConfig config;
    TimStatus status = tim_pipeline_read_config(&config, &r->parts, err);
    const bool text = config.network.kind == TIM_NETWORK_T2I;
    if (status == TIM_OK && !text && r->classes_text) status = class_list_read(&r->classes, r->classes_text, &config, err);
    if (r->precision == SAMPLE_AUTOMATIC) r->precision = text || config.vae_dir;
    if (r->rounding == SAMPLE_AUTOMATIC) r->rounding = !text || r->layout == LAYOUT_MJHQ; /* as that evaluation's script */
    r->sample.rounding = r->rounding ? TIM_IMAGE_ROUNDING_C2I : TIM_IMAGE_ROUNDING_T2I;
    if (status == TIM_OK && !text && (r->parts.text_encoder || r->parts.tokenizer))
        fputs("tim sample: the model draws classes: a text encoder and its tokenizer have no effect\n", stderr);
    if (status == TIM_OK && r->decoder_precision != SAMPLE_AUTOMATIC && !config.vae_dir && !r->parts.autoencoder)
        fputs("tim sample: the model draws pixels: --decoder-precision has no effect\n", stderr);
    const bool nothing = text && !r->prompt && !r->prompts_file && !r->classes_text;
    if (nothing && r->form == SAMPLE_FOLDER && isatty(STDIN_FILENO) == 1) r->prompts_file = "-";
    tim_config_done(&config);
    return status;
}

static TimPartPrecision decoder_precision(const SampleRequest *r) {
    if (r->decoder_precision == SAMPLE_AUTOMATIC) return TIM_PART_AS_MODEL;
    return r->decoder_precision ? TIM_PART_BF16 : TIM_PART_F32;
}

/* The picture to start from is not to be lost. */
static TimStatus check_init(const SampleRequest *r, TimError *err) {
    if (!r->init) return TIM_OK;
    if (sample_place_replaces(r, r->init))
        return fail_with(err, TIM_E_ARGUMENT,
                         "--init: '%.400s' lies in '%.400s', where --overwrite may replace it; give another folder", r->init,
                         r->out);
    if (!same_file(r->init, r->out)) return TIM_OK;
    return fail_with(err, TIM_E_ARGUMENT, "--out: '%.800s' is the picture of --init, which would be replaced; give another name",
                     r->out);
}

static TimStatus run(Sampling *d, TimError *err) {
    const SampleRequest *r = d->request;
    const TimModelOptions options = {.precision = r->precision ? TIM_PRECISION_BF16 : TIM_PRECISION_F32,
                                     .threads = r->threads,
                                     .rounded_rotary = r->rounded_rotary,
                                     .autoencoder = decoder_precision(r),
                                     .max_copy_bytes = r->sample.memory,
                                     .isa = chosen_isa(r->isa)};
    const double start = clock_seconds();
    TimStatus status = check_init(r, err);
    if (status == TIM_OK) status = sample_place_open(r, err);
    if (status == TIM_OK && r->init) status = tim_image_read_upright(&d->init, r->init, err);
    if (status == TIM_OK) status = tim_pipeline_open(&d->pipeline, &r->parts, &options, err);
    d->loading = clock_seconds() - start;
    if (status == TIM_OK) status = sample_reads_input(r) ? converse(d, err) : draw_all(d, err);
    return status;
}

static void release(Sampling *d) {
    tim_pipeline_close(d->pipeline);
    tim_image_done(&d->init);
    prompt_list_done(&d->list);
    free(d->labels);
    free(d->prompts);
    free(d->seeds);
}

static ExitCode sample(SampleRequest *request) {
    TimError err;
    Sampling d = {.request = request, .first = request->first < 0 ? 0 : request->first, .terminal = isatty(STDERR_FILENO) == 1};
    const double start = clock_seconds();
    TimStatus status = settle(request, &err);
    if (status == TIM_OK) status = run(&d, &err);
    if (status != TIM_OK)
        fprintf(stderr, "tim sample: %s\n", err.text);
    else if (!sample_reads_input(request))
        say_done(&d, clock_seconds() - start);
    release(&d);
    return status == TIM_OK ? EXIT_FINE : EXIT_FAILED;
}

/* ---- the command ---- */

static bool default_steps(NumberList *steps) {
    steps->items = calloc(1, sizeof *steps->items);
    if (!steps->items) return false;
    steps->items[steps->count++] = 1;
    return true;
}

int cmd_sample(int count, char **words) {
    SampleRequest request = {.first = SAMPLE_AUTOMATIC,
                             .rounding = SAMPLE_AUTOMATIC,
                             .precision = SAMPLE_AUTOMATIC,
                             .decoder_precision = SAMPLE_AUTOMATIC};
    ExitCode code = EXIT_FAILED;
    tim_sample_options_init(&request.sample);
    char *text = malloc(SAMPLE_TEXT_BYTES);
    if (text && default_steps(&request.steps) && sample_read_words(&request, text, count, words, &code)) code = sample(&request);
    number_list_done(&request.steps);
    number_list_done(&request.classes);
    free(text);
    return code;
}
