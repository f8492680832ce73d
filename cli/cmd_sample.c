/* tim sample: pictures of prompts or classes, as an npz file for evaluation, as one labelled sheet, or as single PNG files. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "class_names.h"
#include "commands.h"
#include "sample.h"
#include "sample_layout.h"
#include "support.h"

static const char *const layout_words[] = {"plain", "geneval", "dpg", "mjhq", NULL}; /* PromptLayout */
static const char *const rounding_words[] = {"t2i", "c2i", NULL};

enum { DEFAULT_COUNT = 16, MAX_COUNT = 100000000, AUTOMATIC = -1 };

/* ---- drawing ---- */

static bool show_progress(int64_t done, int64_t total, void *user) {
    const Sampling *d = user;
    const int64_t steps = d->steps, pictures = total / steps; /* of this call */
    fprintf(stderr, "\r%" PRId64 " of %" PRId64 " pictures, step %" PRId64 " of %" PRId64 "   ", d->drawn, d->total,
            done / pictures, steps);
    return true;
}

/* The size of the picture to start from, rounded down to what the model can draw. */
static void init_size(const Sampling *d, TimSampleOptions *o) {
    const int step = tim_pipeline_step(d->pipeline);
    o->height = d->init.height < step ? step : d->init.height / step * step;
    o->width = d->init.width < step ? step : d->init.width / step * step;
}

TimSampleOptions sample_options(const Sampling *d, int64_t first, int64_t count) {
    TimSampleOptions o = d->request->sample;
    o.steps = (int)d->request->steps.items[d->row];
    if (d->prompts) prompt_apply(&d->list.items[first / d->each], &o);
    o.count = count;
    o.first = d->first + first;
    o.stages = d->request->strip;
    if (d->labels) o.labels = d->labels + first;
    if (d->prompts) o.prompts = d->prompts + first;
    if (d->init.pixels) o.init = &d->init;
    if (d->init.pixels && !o.height && !o.width) init_size(d, &o);
    return o;
}

static void add_seconds(TimSampleInfo *sum, const TimSampleInfo *info) {
    sum->seconds_captions += info->seconds_captions;
    sum->seconds_network += info->seconds_network;
    sum->seconds_decoder += info->seconds_decoder;
}

/* How many pictures from `first` on are drawn together: what is alike in all settings, and whole groups where a layout wants them. */
static int64_t batch_at(const Sampling *d, int64_t first) {
    int64_t batch = d->request->sample.batch, left = d->count - first;
    if (d->request->form == SAMPLE_LAYOUT) batch = batch < d->each ? d->each : batch / d->each * d->each;
    if (d->list.own_settings) left = d->each - first % d->each;
    return batch < left ? batch : left;
}

/* All pictures of the current row, a batch at a time, so that memory does not grow with their number. */
static TimStatus draw_row(Sampling *d, TimError *err) {
    for (int64_t first = 0, batch; first < d->count; first += batch) {
        TimPictures pictures;
        TimSampleInfo info = {0};
        batch = batch_at(d, first);
        TimSampleOptions o = sample_options(d, first, batch);
        d->steps = o.steps;
        if (d->terminal) o.progress = show_progress, o.user = d;
        TimStatus status = tim_pipeline_draw(d->pipeline, &o, &pictures, &info, err);
        d->size = pictures;
        d->size.pixels = NULL;
        if (status == TIM_OK) status = sample_take(d, &pictures, first, err);
        d->drawn += batch;
        add_seconds(&d->spent, &info);
        tim_pictures_done(&pictures);
        if (status != TIM_OK) return status;
    }
    return TIM_OK;
}

static TimStatus draw(Sampling *d, TimError *err) {
    TimStatus status = TIM_OK;
    d->total = d->count * d->request->steps.count;
    for (d->row = 0; d->row < d->request->steps.count && status == TIM_OK; d->row++) status = draw_row(d, err);
    if (d->terminal) fputs("\r\033[K", stderr);
    d->row = 0;
    if (status == TIM_OK) status = sample_finish(d, err);
    tim_adm_discard(d->npz);
    free(d->sheet);
    return status;
}

/* ---- before drawing ---- */

static bool draws_texts(const Sampling *d) {
    return tim_pipeline_config(d->pipeline)->network.kind == TIM_NETWORK_T2I;
}

/* The classes asked for in turn, or all of the model's. */
static TimStatus make_labels_of(Sampling *d, TimError *err) {
    const SampleRequest *r = d->request;
    const int64_t classes = tim_pipeline_config(d->pipeline)->network.num_classes;
    d->count = r->count ? r->count : r->classes.count ? r->classes.count : DEFAULT_COUNT;
    d->labels = calloc((size_t)d->count, sizeof *d->labels);
    if (!d->labels) return fail_with(err, TIM_E_MEMORY, "no memory for the labels; give a smaller --count");
    for (int64_t i = 0; i < d->count; i++)
        d->labels[i] = r->classes.count ? r->classes.items[i % r->classes.count] : (r->sample.first + i) % classes;
    return TIM_OK;
}

/* Every prompt of the list so many times, one after the other. */
static TimStatus repeat_prompts(Sampling *d, TimError *err) {
    const SampleRequest *r = d->request;
    d->each = r->layout ? layout_pictures((PromptLayout)r->layout) : r->count ? r->count : 1;
    d->count = d->list.count * d->each;
    free(d->prompts);
    d->prompts = calloc((size_t)d->count, sizeof *d->prompts);
    if (!d->prompts) return fail_with(err, TIM_E_MEMORY, "no memory for the prompts; give a smaller --count");
    for (int64_t i = 0; i < d->count; i++) d->prompts[i] = d->list.items[i / d->each].text;
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
    return status == TIM_OK ? repeat_prompts(d, err) : status;
}

/* What the pictures show, as the model takes it. */
static TimStatus make_conditions(Sampling *d, TimError *err) {
    const SampleRequest *r = d->request;
    if (draws_texts(d) && r->classes_text)
        return fail_with(err, TIM_E_ARGUMENT, "%.1000s: the model draws texts, not classes: give --prompt in place of --classes",
                         r->parts.model);
    if (draws_texts(d)) return make_prompts(d, err);
    if (!r->prompt && !r->prompts_file) return make_labels_of(d, err);
    return fail_with(err, TIM_E_ARGUMENT, "%.1000s: the model draws classes, not texts: give --classes in place of a prompt",
                     r->parts.model);
}

/* Strips below each other in one file. */
static int64_t strip_rows(const Sampling *d) {
    return d->request->form == SAMPLE_SHEET ? d->count : 1;
}

/* Fails before the first picture where a later one would; says once where guidance has no effect. */
static TimStatus check_plan(Sampling *d, TimError *err) {
    bool said = false;
    for (d->row = 0; d->row < d->request->steps.count; d->row++) {
        TimSampleInfo info;
        const TimSampleOptions o = sample_options(d, 0, d->count);
        TimStatus status = tim_pipeline_plan(d->pipeline, &o, &info, err);
        if (status == TIM_OK && d->request->strip) status = sample_strip_check(d, &o, strip_rows(d), err);
        if (status != TIM_OK) return status;
        if (d->row == 0 && info.cut_prompts)
            fprintf(stderr, "tim sample: of %" PRId64 " prompt%s only the first %d tokens are seen\n", info.cut_prompts,
                    info.cut_prompts == 1 ? "" : "s", tim_pipeline_config(d->pipeline)->max_seq_length);
        if (!info.guidance_without_effect || said) continue;
        said = true;
        fprintf(stderr,
                "tim sample: guidance %g has no effect with --steps %d: no step lies inside the window from %g to %g of T_max, "
                "both ends "
                "excluded; with --guidance-high above 1 the first step is guided\n",
                o.guidance, o.steps, o.guidance_low, o.guidance_high);
    }
    return TIM_OK;
}

static TimStatus draw_all(Sampling *d, TimError *err) {
    TimStatus status = make_conditions(d, err);
    if (status == TIM_OK) status = check_plan(d, err);
    d->row = 0;
    return status == TIM_OK ? draw(d, err) : status;
}

/* "out.png: 1 picture of 512 x 512 in 9.1 s (captions 0.6, network 1.0, decoder 5.1)" */
static void say_done(const Sampling *d, double seconds) {
    const TimSampleInfo *s = &d->spent;
    printf("%s: %" PRId64 " picture%s of %d x %d in %.1f s", d->request->out, d->total, d->total == 1 ? "" : "s", d->size.width,
           d->size.height, seconds);
    if (d->prompts)
        printf(" (captions %.1f, network %.1f, decoder %.1f)", s->seconds_captions, s->seconds_network, s->seconds_decoder);
    putchar('\n');
}

/* ---- prompts as they come ---- */

static bool reads_input(const SampleRequest *r) {
    return r->prompts_file && strcmp(r->prompts_file, "-") == 0;
}

/* One prompt into the folder; a failure is said and costs only itself. */
static void draw_line(Sampling *d, const char *line) {
    TimError err;
    const double start = clock_seconds();
    prompt_list_done(&d->list);
    d->drawn = 0, d->spent = (TimSampleInfo){0};
    TimStatus status = prompt_list_add(&d->list, line, &err);
    if (status == TIM_OK) status = repeat_prompts(d, &err);
    if (status == TIM_OK) status = check_plan(d, &err);
    d->row = 0;
    if (status == TIM_OK) status = draw(d, &err);
    if (status != TIM_OK) {
        fprintf(stderr, "tim sample: %s\n", err.text);
        return;
    }
    printf("%s%06" PRId64 ".png: %.1f s\n", d->request->out, d->first, clock_seconds() - start);
    fflush(stdout);
    d->first += d->count;
}

/* Draws a prompt a line from the standard input until it ends, with the model kept loaded. */
static TimStatus converse(Sampling *d, TimError *err) {
    char *line = NULL;
    size_t room = 0;
    const bool asks = isatty(STDIN_FILENO) == 1;
    if (!draws_texts(d))
        return fail_with(err, TIM_E_ARGUMENT, "%.1000s: the model draws classes, not texts", d->request->parts.model);
    for (;;) {
        if (asks) fputs("prompt> ", stderr);
        const ssize_t length = getline(&line, &room, stdin);
        if (length < 0) break;
        line[strcspn(line, "\r\n")] = '\0';
        if (*line) draw_line(d, line);
    }
    free(line);
    if (asks) fputc('\n', stderr);
    return TIM_OK;
}

/* ---- a run ---- */

/* What is usual for the model, where the command line does not say: published models run in bf16, those of texts round in their own way
 * and, on a terminal, take prompts as they are typed. */
static TimStatus settle(SampleRequest *r, TimError *err) {
    TimConfig config;
    TimStatus status = tim_pipeline_read_config(&config, &r->parts, err);
    const bool text = config.network.kind == TIM_NETWORK_T2I;
    if (status == TIM_OK && !text && r->classes_text) status = class_list_read(&r->classes, r->classes_text, &config, err);
    if (r->precision == AUTOMATIC) r->precision = text || config.vae_dir;
    if (r->rounding == AUTOMATIC) r->rounding = !text;
    r->sample.rounding = r->rounding ? TIM_IMAGE_ROUNDING_C2I : TIM_IMAGE_ROUNDING_T2I;
    const bool nothing = text && !r->prompt && !r->prompts_file && !r->classes_text;
    if (nothing && r->form == SAMPLE_FOLDER && isatty(STDIN_FILENO) == 1) r->prompts_file = "-";
    tim_config_done(&config);
    return status;
}

static TimStatus run(Sampling *d, TimError *err) {
    const SampleRequest *r = d->request;
    const TimModelOptions options = {.precision = r->precision ? TIM_PRECISION_BF16 : TIM_PRECISION_F32,
                                     .threads = r->threads,
                                     .rounded_rotary = r->rounded_rotary,
                                     .isa = r->isa ? isa_words[r->isa] : NULL};
    const bool folder = r->form == SAMPLE_FOLDER || r->form == SAMPLE_LAYOUT;
    TimStatus status = tim_pipeline_open(&d->pipeline, &r->parts, &options, err);
    if (status == TIM_OK && r->init) status = tim_image_read(&d->init, r->init, err);
    if (status == TIM_OK && folder) status = make_folder(r->out, err);
    if (status == TIM_OK) status = reads_input(r) ? converse(d, err) : draw_all(d, err);
    return status;
}

static void release(Sampling *d) {
    tim_pipeline_free(d->pipeline);
    tim_image_done(&d->init);
    prompt_list_done(&d->list);
    free(d->labels);
    free(d->prompts);
}

static ExitCode sample(SampleRequest *request) {
    TimError err;
    Sampling d = {.request = request, .first = request->sample.first, .terminal = isatty(STDERR_FILENO) == 1};
    const double start = clock_seconds();
    TimStatus status = settle(request, &err);
    if (status == TIM_OK) status = run(&d, &err);
    if (status != TIM_OK)
        fprintf(stderr, "tim sample: %s\n", err.text);
    else if (!reads_input(request))
        say_done(&d, clock_seconds() - start);
    release(&d);
    return status == TIM_OK ? EXIT_FINE : EXIT_FAILED;
}

/* ---- the command line ---- */

static bool find_form(const char *path, SampleForm *form) {
    struct stat info;
    if (ends_with(path, "/") || (stat(path, &info) == 0 && S_ISDIR(info.st_mode)))
        *form = SAMPLE_FOLDER;
    else if (ends_with(path, ".npz"))
        *form = SAMPLE_NPZ;
    else if (ends_with(path, ".png") || ends_with(path, ".jpg") || ends_with(path, ".jpeg") || ends_with(path, ".webp"))
        *form = SAMPLE_SHEET; /* or one picture */
    else
        return false;
    return true;
}

/* "6G", "1.5G", "800M": powers of 1024. */
static bool parse_bytes(const char *text, size_t *out) {
    static const char units[] = "KMG";
    char *end;
    double value = strtod(text, &end);
    const char *unit = *end ? strchr(units, *end) : NULL;
    for (int i = 0; unit && i <= unit - units; i++) value *= 1024;
    if (end == text || (*end && (!unit || end[1])) || !(value >= 1 && value < 1e18)) return false;
    *out = (size_t)value;
    return true;
}

/* "times,rotary". */
static ExitCode read_imitate(SampleRequest *r) {
    for (const char *at = r->imitate; at;) {
        const size_t length = strcspn(at, ",");
        const bool times = length == 5 && strncmp(at, "times", length) == 0,
                   rotary = length == 6 && strncmp(at, "rotary", length) == 0;
        if (!times && !rotary)
            return command_line_misused(
                "sample", "--imitate: '%.*s' does not fit; give times, rotary, or both with a comma between", (int)length, at);
        r->sample.rounded_times |= times;
        r->rounded_rotary |= rotary;
        at = at[length] ? at + length + 1 : NULL;
    }
    return EXIT_FINE;
}

/* What the table cannot say. */
static ExitCode check_request(SampleRequest *r) {
    if (!r->parts.model) return command_line_misused("sample", "--model is required");
    if (!find_form(r->out, &r->form))
        return command_line_misused("sample", "--out: '%s' must end in .npz, .png, .jpg, .webp or /, or be a folder", r->out);
    if (r->steps.count > 1 && r->form != SAMPLE_SHEET)
        return command_line_misused("sample", "--steps takes several numbers only for a sheet, --out something.png");
    if (r->strip && (r->steps.count > 1 || r->layout || r->form == SAMPLE_NPZ))
        return command_line_misused("sample", "--strip wants one number of --steps, and a picture or a plain folder for --out");
    if (r->prompt && r->prompts_file) return command_line_misused("sample", "--prompt and --prompts: give one of them");
    if (r->layout && (!r->prompts_file || r->form != SAMPLE_FOLDER))
        return command_line_misused("sample", "--layout wants --prompts, and a folder for --out: end it with /");
    if (r->layout) r->form = SAMPLE_LAYOUT;
    if (reads_input(r) && r->form != SAMPLE_FOLDER)
        return command_line_misused("sample", "prompts from the terminal go into a folder: end --out with /");
    if (r->memory && !parse_bytes(r->memory, &r->sample.memory))
        return command_line_misused("sample", "--memory: '%s' does not fit; give bytes, or a number with K, M or G, such as 6G",
                                    r->memory);
    if (r->size && !sample_parse_size(r->size, &r->sample))
        return command_line_misused("sample", "--size: '%s' does not fit; give WIDTHxHEIGHT, such as 1024x768, sides from 1 to %d",
                                    r->size, TIM_IMAGE_MAX_SIDE);
    if (read_imitate(r) != EXIT_FINE) return EXIT_MISUSED;
    const bool one = r->single || (r->prompt && r->count <= 1);
    if (r->form == SAMPLE_SHEET && one && r->steps.count == 1) r->form = SAMPLE_PICTURE;
    r->sample.mode = r->mode ? TIM_SAMPLE_DIFFUSION : TIM_SAMPLE_TRANSITION;
    return EXIT_FINE;
}

static bool parse(SampleRequest *r, int count, char **words, ExitCode *code) {
    const Option options[] = {
        option_text("model", &r->parts.model, "DIR|FILE", "folder with weights, the file, or a published YAML; required"),
        option_text("config", &r->parts.config, "YAML", "configuration (default: config.yaml beside the weights)"),
        option_text("text-encoder", &r->parts.text_encoder, "DIR", "Gemma 3 or T5 (default: found beside the model)"),
        option_text("tokenizer", &r->parts.tokenizer, "DIR|FILE", "its tokenizer (default: found beside the model)"),
        option_text("autoencoder", &r->parts.autoencoder, "DIR", "AutoencoderKL or DC (default: found beside the model)"),
        option_required(option_text("out", &r->out, "PATH", "x.png, x.jpg, x.webp, x.npz or folder/; required")),
        option_text("prompt", &r->prompt, "TEXT", "what the pictures show, for a model of texts"),
        option_text("prompts", &r->prompts_file, "FILE",
                    "prompts, one a line or JSON objects (prompt, seed, steps, width, height, guidance); -: as they are typed"),
        option_choice("layout", &r->layout, layout_words,
                      "of the pictures in the folder (default plain): as these evaluations read it"),
        option_text("like", &r->like, "PNG", "settings of a picture drawn before, where no other option says otherwise"),
        option_list("steps", &r->steps, 1, TIM_SAMPLE_MAX_STEPS, "jumps from noise to picture (default 1); several for a sheet"),
        option_choice("mode", &r->mode, sample_mode_words, "what the network is asked for (default transition)"),
        option_text("classes", &r->classes_text, "CLASS[,CLASS...]",
                    "classes to draw, in turn: numbers, or ImageNet's names (default: all of the model's)"),
        option_int64("count", &r->count, 1, MAX_COUNT,
                     "pictures (default: one of each of --classes, else 16; with prompts: of each, 1)"),
        option_int64("first", &r->sample.first, 0, 1e12, "number of the first picture, to go on where a run ended (default 0)"),
        option_uint64("seed", &r->sample.seed, "start of the random numbers (default 0)"),
        option_real("guidance", &r->sample.guidance, 0, 1000, "classifier-free guidance; 1 is none (default 1)"),
        option_real("guidance-low", &r->sample.guidance_low, -1, 2, "guide only where t > X T_max (default 0)"),
        option_real("guidance-high", &r->sample.guidance_high, -1, 2, "guide only where t < X T_max (default 1)"),
        option_real("stochasticity", &r->sample.stochasticity, 0, 1000, "share of fresh noise in each jump (default 0)"),
        option_flag("strip", &r->strip, "write a row of what each picture was expected to become after every step"),
        option_text("init", &r->init, "PICTURE", "picture to start from: PNG, JPEG or WebP, resized"),
        option_real("strength", &r->sample.strength, 1e-3, 1, "how much of --init is drawn anew; 1 leaves nothing (default 0.7)"),
        option_text("size", &r->size, "WxH", "width x height in pixels (default: the model's)"),
        option_int("height", &r->sample.height, 1, TIM_IMAGE_MAX_SIDE, "pixels (default: the model's)"),
        option_int("width", &r->sample.width, 1, TIM_IMAGE_MAX_SIDE, "pixels (default: the model's)"),
        option_choice("rounding", &r->rounding, rounding_words,
                      "how a number becomes a byte (default c2i; of models of texts t2i)"),
        option_int("batch", &r->sample.batch, 1, 65536, "pictures evaluated at a time (default 16)"),
        option_text("memory", &r->memory, "N", "bytes to stay within, such as 6G: of a model on latents (default: no bound)"),
        option_choice("precision", &r->precision, sample_precision_words,
                      "of the matrix products (default fp32; of models on latents bf16)"),
        option_text("imitate", &r->imitate, "times|rotary[,...]", "roundings of the published samplers (default: none)"),
        option_int("threads", &r->threads, 1, 4096, "threads to use (default: as many as there are cores)"),
        option_choice("isa", &r->isa, isa_words, "instruction set (default: the best there is)"),
    };
    const CommandLine line = {
        .command = "sample",
        .summary = "Draws pictures of prompts or classes.",
        .options = options,
        .option_count = sizeof options / sizeof *options,
        .notes =
            "--out x.npz    arr_0, uint8 (count, height, width, channels), and arr_1, the classes: the layout of ADM's evaluation\n"
            "--out x.png    one prompt's picture, or one labelled sheet; with --steps 1,2,4 a row for each number of steps, from "
            "the same noise\n"
            "--out x/       000000.png, 000001.png, ...\n"
            "--strip        makes a row of each picture: for every step the picture its jump would end at if it went on to the end "
            "(a clean estimate,\n"
            "               no evaluation more), the last being the picture itself; in a folder beside it, 000000-strip.png\n"
            "--imitate      rounds to bf16 what the published samplers round: times (pictures of 1, 2, 4, ... 256 steps stay the "
            "same), "
            "and the\n"
            "               angles of the rotary embedding (all pictures differ). The published figures were made so; training "
            "knows "
            "neither\n"
            "--classes takes numbers and any of a class's names, such as \"golden retriever,207,tench\", where the names are "
            "known: "
            "ImageNet, Fashion-MNIST\n"
            "A picture depends on the seed, its number, its class or prompt and the options, and but for rounding not on --batch.",
    };
    Operands none;
    return command_line_parse(&line, count, words, &none, code);
}

static bool default_steps(NumberList *steps) {
    steps->items = calloc(1, sizeof *steps->items);
    if (!steps->items) return false;
    steps->items[steps->count++] = 1;
    return true;
}

/* With --like the words are read twice: what they say comes after what the picture says. */
static bool read_words(SampleRequest *r, char text[SAMPLE_TEXT_BYTES], int count, char **words, ExitCode *code) {
    TimError err;
    if (!parse(r, count, words, code)) return false;
    if (!r->like) return true;
    if (sample_like(r, r->like, text, &err) == TIM_OK) return parse(r, count, words, code);
    fprintf(stderr, "tim sample: %s\n", err.text);
    *code = EXIT_FAILED;
    return false;
}

int cmd_sample(int count, char **words) {
    static const SampleRequest defaults = {.rounding = AUTOMATIC, .precision = AUTOMATIC};
    SampleRequest request = defaults;
    ExitCode code = EXIT_FAILED;
    tim_sample_options_init(&request.sample);
    char *text = malloc(SAMPLE_TEXT_BYTES);
    bool go_on = text && default_steps(&request.steps) && read_words(&request, text, count, words, &code);
    if (go_on) code = check_request(&request);
    if (go_on && code == EXIT_FINE) code = sample(&request);
    number_list_done(&request.steps);
    number_list_done(&request.classes);
    free(text);
    return code;
}
