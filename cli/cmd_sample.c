/* tim sample: pictures of a model, as an npz file for evaluation, as one labelled sheet, or as single PNG files. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "class_names.h"
#include "commands.h"
#include "options.h"
#include "support.h"
#include "tim/sample.h"

static const char *const mode_words[] = {"transition", "diffusion", NULL};
static const char *const precision_words[] = {"fp32", "bf16", NULL};
static const char *const rounding_words[] = {"t2i", "c2i", NULL};
static const char *const isa_words[] = {"best", "ref", "generic", "avx2", "avx512", "avx512_bf16", NULL};

typedef enum Form { FORM_NPZ, FORM_SHEET, FORM_FOLDER } Form;

/* What the command line asks for. */
typedef struct Request {
    const char *model, *config, *out;
    Form form; /* of out */
    NumberList steps, classes;
    int64_t count; /* 0: as many as classes, or DEFAULT_COUNT */
    int mode, precision, rounding, isa, threads;
    TimSampleOptions sample;
} Request;

enum { DEFAULT_COUNT = 16, MAX_COUNT = 100000000, MAX_TEXT = 2048 };

/* ---- writing ---- */

/* A run in progress, and what its pictures go into. */
typedef struct Drawing {
    const Request *request;
    TimModel *model;
    int64_t *labels; /* (count) */
    int64_t row;     /* index in request->steps */
    TimAdmWriter *npz;
    uint8_t *sheet;       /* (sheet rows, sheet columns, H, W, C) */
    TimPictures size;     /* of the pictures; without pixels */
    bool terminal;        /* stderr is one: progress is shown there */
    int64_t drawn, total; /* pictures */
} Drawing;

static TimStatus fail(TimError *err, TimStatus status, const char *what, const char *cause) {
    err->status = status;
    snprintf(err->text, sizeof err->text, "%.200s: %.200s", what, cause);
    return status;
}

static size_t picture_bytes(const TimPictures *pictures) {
    return (size_t)pictures->height * (size_t)pictures->width * (size_t)pictures->channels;
}

/* What a PNG file says about the run it comes from; returns the text's length. */
static int describe_run(const Drawing *d, char text[MAX_TEXT]) {
    const Request *r = d->request;
    const TimSampleOptions *o = &r->sample;
    int at = snprintf(text, MAX_TEXT,
                      "model %.1024s, mode %s, guidance %g in (%g, %g), stochasticity %g, seed %" PRIu64 ", precision %s, steps",
                      r->model, mode_words[r->mode], o->guidance, o->guidance_low, o->guidance_high, o->stochasticity, o->seed,
                      precision_words[r->precision]);
    for (int64_t i = 0; i < r->steps.count && at < MAX_TEXT - 64; i++)
        at += snprintf(text + at, (size_t)(MAX_TEXT - at), "%s%" PRId64, i ? "," : " ", r->steps.items[i]);
    return at;
}

static TimStatus write_png(const Drawing *d, const TimPictures *pictures, int64_t index, uint8_t *pixels, TimError *err) {
    char path[4096], text[MAX_TEXT];
    const TimImage image = {.pixels = pixels, .height = pictures->height, .width = pictures->width, .channels = pictures->channels};
    const TimImageText texts[] = {{"Software", "tim " TIM_VERSION}, {"parameters", text}};
    const char *folder = d->request->out;
    const char *separator = folder[strlen(folder) - 1] == '/' ? "" : "/";
    const int at = describe_run(d, text);
    snprintf(text + at, (size_t)(MAX_TEXT - at), ", class %" PRId64 ", picture %" PRId64, d->labels[index],
             d->request->sample.first + index);
    const int length = snprintf(path, sizeof path, "%s%s%06" PRId64 ".png", folder, separator, d->request->sample.first + index);
    if (length < 0 || (size_t)length >= sizeof path) return fail(err, TIM_E_IO, folder, "the path is too long");
    return tim_image_write_png(&image, path, texts, sizeof texts / sizeof *texts, err);
}

static TimStatus write_pngs(const Drawing *d, const TimPictures *pictures, int64_t first, TimError *err) {
    const size_t bytes = picture_bytes(pictures);
    for (int64_t i = 0; i < pictures->count; i++) {
        const TimStatus status = write_png(d, pictures, first + i, pictures->pixels + (size_t)i * bytes, err);
        if (status != TIM_OK) return status;
    }
    return TIM_OK;
}

static TimStatus append_npz(Drawing *d, const TimPictures *pictures, TimError *err) {
    if (!d->npz) {
        const TimStatus status =
            tim_adm_begin(&d->npz, d->request->out, d->request->count, pictures->height, pictures->width, pictures->channels, err);
        if (status != TIM_OK) return status;
    }
    return tim_adm_append(d->npz, pictures->pixels, pictures->count, err);
}

/* ---- the sheet ---- */

enum { SHEET_PICTURE = 96, SHEET_COLUMNS = 16, LABEL_BYTES = 32 };

/* With several numbers of steps a row holds one of them and a column one picture. Otherwise the pictures fill rows, so that a
 * column holds one class where the classes come in turn. */
static int64_t sheet_columns(const Drawing *d) {
    const Request *r = d->request;
    const int64_t classes = r->classes.count ? r->classes.count : tim_model_config(d->model)->network.num_classes;
    const int64_t most = classes <= SHEET_COLUMNS ? classes : SHEET_COLUMNS;
    return r->steps.count > 1 || r->count < most ? r->count : most;
}

static int64_t sheet_rows(const Drawing *d) {
    return (d->total - 1) / sheet_columns(d) + 1;
}

/* The cells after the last picture stay white. */
static TimStatus begin_sheet(Drawing *d, size_t picture_bytes, TimError *err) {
    const int64_t rows = sheet_rows(d), columns = sheet_columns(d);
    if (rows > TIM_IMAGE_MAX_SIDE || columns > TIM_IMAGE_MAX_SIDE)
        return fail(err, TIM_E_ARGUMENT, d->request->out, "too many pictures for one sheet; draw fewer, or into a folder");
    d->sheet = calloc((size_t)(rows * columns), picture_bytes);
    if (!d->sheet) return fail(err, TIM_E_MEMORY, d->request->out, "no memory for the sheet; draw fewer pictures");
    memset(d->sheet, 255, (size_t)(rows * columns) * picture_bytes);
    return TIM_OK;
}

static TimStatus append_sheet(Drawing *d, const TimPictures *pictures, int64_t first, TimError *err) {
    const size_t bytes = picture_bytes(pictures), place = (size_t)(d->row * d->request->count + first);
    const TimStatus status = d->sheet ? TIM_OK : begin_sheet(d, bytes, err);
    if (status == TIM_OK) memcpy(d->sheet + place * bytes, pictures->pixels, (size_t)pictures->count * bytes);
    return status;
}

/* A column is labelled where all of its pictures are of one class. */
static const char *column_label(const Drawing *d, int64_t column, int64_t columns, char text[LABEL_BYTES]) {
    for (int64_t i = column; i < d->request->count; i += columns)
        if (d->labels[i] != d->labels[column]) return NULL;
    class_label(text, LABEL_BYTES, tim_model_config(d->model), d->labels[column]);
    return text;
}

static const char *row_label(const Drawing *d, int64_t row, char text[LABEL_BYTES]) {
    const NumberList *steps = &d->request->steps;
    if (steps->count == 1) return NULL;
    snprintf(text, LABEL_BYTES, "%" PRId64 " step%s", steps->items[row], steps->items[row] == 1 ? "" : "s");
    return text;
}

/* The labels' texts and the pointers to them. */
typedef struct Labels {
    char (*text)[LABEL_BYTES]; /* (columns + rows) */
    const char **columns, **rows;
} Labels;

static bool make_sheet_labels(const Drawing *d, Labels *labels) {
    const int64_t columns = sheet_columns(d), rows = sheet_rows(d);
    labels->text = calloc((size_t)(columns + rows), sizeof *labels->text);
    labels->columns = calloc((size_t)columns, sizeof *labels->columns);
    labels->rows = calloc((size_t)rows, sizeof *labels->rows);
    if (!labels->text || !labels->columns || !labels->rows) return false;
    for (int64_t i = 0; i < columns; i++) labels->columns[i] = column_label(d, i, columns, labels->text[i]);
    for (int64_t i = 0; i < rows; i++) labels->rows[i] = row_label(d, i, labels->text[columns + i]);
    return true;
}

static void free_sheet_labels(Labels *labels) {
    free(labels->text);
    free(labels->columns);
    free(labels->rows);
}

static void sheet_title(const Drawing *d, char *text, size_t size) {
    const Request *r = d->request;
    const TimSampleOptions *o = &r->sample;
    int at = 0;
    if (r->steps.count == 1)
        at += snprintf(text, size, "%" PRId64 " step%s, ", r->steps.items[0], r->steps.items[0] == 1 ? "" : "s");
    if (r->mode == TIM_SAMPLE_DIFFUSION) at += snprintf(text + at, size - (size_t)at, "diffusion mode, ");
    if (o->guidance > 1.0) at += snprintf(text + at, size - (size_t)at, "guidance %g, ", o->guidance);
    if (o->stochasticity > 0.0) at += snprintf(text + at, size - (size_t)at, "stochasticity %g, ", o->stochasticity);
    snprintf(text + at, size - (size_t)at, "seed %" PRIu64, o->seed);
}

static TimStatus write_sheet(const Drawing *d, const Labels *labels, TimError *err) {
    enum { TITLE = 256 };
    char title[TITLE], text[MAX_TEXT];
    const int side = d->size.height > d->size.width ? d->size.height : d->size.width;
    const TimImageText texts[] = {{"Software", "tim " TIM_VERSION}, {"parameters", text}};
    const TimSheet sheet = {.rows = (int)sheet_rows(d),
                            .columns = (int)sheet_columns(d),
                            .height = d->size.height,
                            .width = d->size.width,
                            .channels = d->size.channels,
                            .pictures = d->sheet,
                            .title = title,
                            .column_labels = labels->columns,
                            .row_labels = labels->rows,
                            .scale = side < SHEET_PICTURE ? SHEET_PICTURE / side : 1,
                            .text_scale = 1};
    TimImage image;
    sheet_title(d, title, sizeof title);
    describe_run(d, text);
    TimStatus status = tim_sheet_draw(&image, &sheet, err);
    if (status == TIM_OK) status = tim_image_write_png(&image, d->request->out, texts, sizeof texts / sizeof *texts, err);
    tim_image_done(&image);
    return status;
}

static TimStatus finish_sheet(const Drawing *d, TimError *err) {
    Labels labels = {NULL};
    const TimStatus status = make_sheet_labels(d, &labels)
                                 ? write_sheet(d, &labels, err)
                                 : fail(err, TIM_E_MEMORY, d->request->out, "no memory for the sheet's labels");
    free_sheet_labels(&labels);
    return status;
}

/* ---- drawing ---- */

static TimStatus take_pictures(Drawing *d, const TimPictures *pictures, int64_t first, TimError *err) {
    d->size = *pictures;
    d->size.pixels = NULL;
    switch (d->request->form) {
    case FORM_NPZ:
        return append_npz(d, pictures, err);
    case FORM_SHEET:
        return append_sheet(d, pictures, first, err);
    case FORM_FOLDER:
        return write_pngs(d, pictures, first, err);
    }
    return TIM_OK;
}

static bool show_progress(int64_t done, int64_t total, void *user) {
    const Drawing *d = user;
    fprintf(stderr, "\r%" PRId64 " of %" PRId64 " pictures, step %" PRId64 " of %" PRId64 "   ", d->drawn, d->total, done, total);
    return true;
}

/* All pictures with request->steps.items[d->row] steps, a batch at a time, so that memory does not grow with their number. */
static TimStatus draw_row(Drawing *d, TimError *err) {
    const Request *r = d->request;
    TimSampleOptions o = r->sample;
    o.steps = (int)r->steps.items[d->row];
    if (d->terminal) o.progress = show_progress, o.user = d;
    for (int64_t first = 0; first < r->count; first += o.batch) {
        TimPictures pictures;
        o.count = r->count - first < o.batch ? r->count - first : o.batch;
        o.first = r->sample.first + first;
        o.labels = d->labels + first;
        TimStatus status = tim_sample(d->model, &o, &pictures, NULL, err);
        if (status == TIM_OK) status = take_pictures(d, &pictures, first, err);
        d->drawn += o.count;
        tim_pictures_done(&pictures);
        if (status != TIM_OK) return status;
    }
    return TIM_OK;
}

static TimStatus finish(Drawing *d, TimError *err) {
    if (d->request->form == FORM_SHEET) return finish_sheet(d, err);
    if (d->request->form == FORM_FOLDER) return TIM_OK;
    TimAdmWriter *npz = d->npz;
    d->npz = NULL; /* freed in every case */
    return tim_adm_finish(npz, d->labels, err);
}

static TimStatus draw(Drawing *d, TimError *err) {
    TimStatus status = TIM_OK;
    d->total = d->request->count * d->request->steps.count;
    for (d->row = 0; d->row < d->request->steps.count && status == TIM_OK; d->row++) status = draw_row(d, err);
    if (d->terminal) fputs("\r\033[K", stderr);
    d->row = 0;
    if (status == TIM_OK) status = finish(d, err);
    tim_adm_discard(d->npz);
    free(d->sheet);
    return status;
}

/* ---- before drawing ---- */

/* The classes asked for in turn, or all of the model's. */
static TimStatus make_labels_of(Drawing *d, TimError *err) {
    const Request *r = d->request;
    const int64_t classes = tim_model_config(d->model)->network.num_classes;
    d->labels = calloc((size_t)r->count, sizeof *d->labels);
    if (!d->labels) return fail(err, TIM_E_MEMORY, "the labels", "no memory; give a smaller --count");
    for (int64_t i = 0; i < r->count; i++)
        d->labels[i] = r->classes.count ? r->classes.items[i % r->classes.count] : (r->sample.first + i) % classes;
    return TIM_OK;
}

/* Fails before the first picture where a later one would; says once where guidance has no effect. */
static TimStatus check_plan(const Drawing *d, TimError *err) {
    const Request *r = d->request;
    TimSampleOptions o = r->sample;
    bool said = false;
    o.count = r->count;
    o.labels = d->labels;
    for (int64_t i = 0; i < r->steps.count; i++) {
        TimSampleInfo info;
        o.steps = (int)r->steps.items[i];
        const TimStatus status = tim_sample_plan(d->model, &o, &info, err);
        if (status != TIM_OK) return status;
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

static TimStatus make_folder(const char *path, TimError *err) {
    if (mkdir(path, 0777) == 0 || errno == EEXIST) return TIM_OK;
    return fail(err, TIM_E_IO, path, strerror(errno));
}

static TimStatus run(Drawing *d, TimError *err) {
    const Request *r = d->request;
    const TimModelOptions options = {.precision = r->precision ? TIM_PRECISION_BF16 : TIM_PRECISION_F32,
                                     .threads = r->threads,
                                     .isa = r->isa ? isa_words[r->isa] : NULL};
    TimStatus status = tim_model_open(&d->model, r->model, r->config, &options, err);
    if (status == TIM_OK) status = make_labels_of(d, err);
    if (status == TIM_OK) status = check_plan(d, err);
    if (status == TIM_OK && d->request->form == FORM_FOLDER) status = make_folder(r->out, err);
    if (status == TIM_OK) status = draw(d, err);
    tim_model_free(d->model);
    free(d->labels);
    return status;
}

static ExitCode sample(const Request *request) {
    TimError err;
    Drawing drawing = {.request = request, .terminal = isatty(STDERR_FILENO) == 1};
    const double start = clock_seconds();
    if (run(&drawing, &err) != TIM_OK) {
        fprintf(stderr, "tim sample: %s\n", err.text);
        return EXIT_FAILED;
    }
    printf("%s: %" PRId64 " picture%s of %d x %d in %.1f s\n", request->out, drawing.total, drawing.total == 1 ? "" : "s",
           drawing.size.width, drawing.size.height, clock_seconds() - start);
    return EXIT_FINE;
}

/* ---- the command line ---- */

static bool ends_with(const char *text, const char *end) {
    const size_t length = strlen(text), tail = strlen(end);
    return length >= tail && strcmp(text + length - tail, end) == 0;
}

static bool find_form(const char *path, Form *form) {
    struct stat info;
    if (ends_with(path, "/") || (stat(path, &info) == 0 && S_ISDIR(info.st_mode)))
        *form = FORM_FOLDER;
    else if (ends_with(path, ".npz"))
        *form = FORM_NPZ;
    else if (ends_with(path, ".png"))
        *form = FORM_SHEET;
    else
        return false;
    return true;
}

/* What the table cannot say. */
static ExitCode check_request(Request *r) {
    if (!find_form(r->out, &r->form))
        return command_line_misused("sample", "--out: '%s' must end in .npz, .png or /, or be a folder", r->out);
    if (r->steps.count > 1 && r->form != FORM_SHEET)
        return command_line_misused("sample", "--steps takes several numbers only for a sheet, --out something.png");
    if (r->count == 0) r->count = r->classes.count ? r->classes.count : DEFAULT_COUNT;
    r->sample.mode = r->mode ? TIM_SAMPLE_DIFFUSION : TIM_SAMPLE_TRANSITION;
    r->sample.rounding = r->rounding ? TIM_IMAGE_ROUNDING_C2I : TIM_IMAGE_ROUNDING_T2I;
    return EXIT_FINE;
}

static bool parse(Request *r, int count, char **words, ExitCode *code) {
    const Option options[] = {
        option_required(option_text("model", &r->model, "DIR|FILE", "folder with model.safetensors, or the file; required")),
        option_text("config", &r->config, "YAML", "configuration (default: config.yaml beside the weights)"),
        option_required(option_text("out", &r->out, "PATH", "x.npz, x.png or folder/; required")),
        option_list("steps", &r->steps, 1, TIM_SAMPLE_MAX_STEPS, "jumps from noise to picture (default 1); several for a sheet"),
        option_choice("mode", &r->mode, mode_words, "what the network is asked for (default transition)"),
        option_list("classes", &r->classes, 0, INT32_MAX, "classes to draw, in turn (default: all of the model's)"),
        option_int64("count", &r->count, 1, MAX_COUNT, "pictures (default: one of each of --classes, else 16)"),
        option_int64("first", &r->sample.first, 0, 1e12, "number of the first picture, to go on where a run ended (default 0)"),
        option_uint64("seed", &r->sample.seed, "start of the random numbers (default 0)"),
        option_real("guidance", &r->sample.guidance, 0, 1000, "classifier-free guidance; 1 is none (default 1)"),
        option_real("guidance-low", &r->sample.guidance_low, -1, 2, "guide only where t > X T_max (default 0)"),
        option_real("guidance-high", &r->sample.guidance_high, -1, 2, "guide only where t < X T_max (default 1)"),
        option_real("stochasticity", &r->sample.stochasticity, 0, 1000, "share of fresh noise in each jump (default 0)"),
        option_int("height", &r->sample.height, 1, TIM_IMAGE_MAX_SIDE, "pixels (default: the model's)"),
        option_int("width", &r->sample.width, 1, TIM_IMAGE_MAX_SIDE, "pixels (default: the model's)"),
        option_choice("rounding", &r->rounding, rounding_words, "how a number becomes a byte (default c2i)"),
        option_int("batch", &r->sample.batch, 1, 65536, "pictures evaluated at a time (default 16)"),
        option_choice("precision", &r->precision, precision_words, "of the matrix products (default fp32)"),
        option_int("threads", &r->threads, 1, 4096, "threads to use (default: as many as there are cores)"),
        option_choice("isa", &r->isa, isa_words, "instruction set (default: the best there is)"),
    };
    const CommandLine line = {
        .command = "sample",
        .summary = "Draws pictures from a class model that works on pixels.",
        .options = options,
        .option_count = sizeof options / sizeof *options,
        .notes =
            "--out x.npz    arr_0, uint8 (count, height, width, channels), and arr_1, the classes: the layout of ADM's evaluation\n"
            "--out x.png    one labelled sheet; with --steps 1,2,4 a row for each number of steps, from the same noise\n"
            "--out x/       000000.png, 000001.png, ...\n"
            "A picture depends on the seed, its number, its class and the options, and but for rounding not on --batch.",
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

int cmd_sample(int count, char **words) {
    Request request = {.rounding = TIM_IMAGE_ROUNDING_C2I};
    ExitCode code = EXIT_FAILED;
    tim_sample_options_init(&request.sample);
    bool go_on = default_steps(&request.steps) && parse(&request, count, words, &code);
    if (go_on) code = check_request(&request);
    if (go_on && code == EXIT_FINE) code = sample(&request);
    number_list_done(&request.steps);
    number_list_done(&request.classes);
    return code;
}
