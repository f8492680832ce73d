/* tim sample, inside: what is asked for, a run in progress, and where its pictures go. */
#ifndef TIM_CLI_SAMPLE_H
#define TIM_CLI_SAMPLE_H

#include "options.h"
#include "sample_prompts.h"
#include "support.h"
#include "tim/pipeline.h"

typedef enum SampleForm {
    SAMPLE_NPZ,
    SAMPLE_SHEET,
    SAMPLE_PICTURE, /* one picture without labels */
    SAMPLE_FOLDER,
    SAMPLE_LAYOUT /* a folder as an evaluation reads it */
} SampleForm;

enum { SAMPLE_AUTOMATIC = -1, SAMPLE_MAX_COUNT = 100000000 };

#define SAMPLE_MAX_FIRST INT64_C(1000000000000)

/* What the command line asks for. */
typedef struct SampleRequest {
    TimPipelineParts parts;
    const char *out, *prompt, *prompts_file, *classes_text, *imitate, *size, *like, *init, *memory;
    SampleForm form; /* of out */
    NumberList steps;
    NumberList classes;  /* of classes_text, once the model is known */
    int batch;           /* pictures evaluated together; 0: what is usual */
    int64_t count;       /* pictures: of each prompt, or in all; 0: what is usual */
    int64_t first;       /* number of the first picture; SAMPLE_AUTOMATIC: not said */
    bool single;         /* one picture, also of a class */
    bool strip;          /* every picture as a row of what it was expected to become after each step */
    bool overwrite;      /* pictures that are in the folder already */
    bool rounded_rotary; /* of imitate */
    int mode, precision, decoder_precision, rounding, isa, threads, layout; /* precisions and rounding may be SAMPLE_AUTOMATIC */
    TimSampleOptions sample;
} SampleRequest;

/* A run in progress, and what its pictures go into.
 * Picture i of the run has the number first + i; the same number is the same picture, whatever the first. */
typedef struct Sampling {
    const SampleRequest *request;
    TimPipeline *pipeline;
    int64_t first, count; /* number of the first picture; pictures of each number of steps */
    int64_t *labels;      /* (count) classes; NULL with prompts */
    PromptList list;      /* prompts; empty with classes */
    int64_t each;         /* pictures of each prompt, one after the other */
    int64_t skipped;      /* pictures of the list that come before the first */
    const char **prompts; /* (count), texts of the list; NULL with classes */
    uint64_t *seeds;      /* (count), those of the list's prompts or the run's; NULL with classes */
    TimImage init;        /* to start from; empty without */
    TimAdmWriter *npz;
    uint8_t *sheet;       /* (sheet rows, sheet columns, H, W, C) */
    TimPictures size;     /* of the pictures; without pixels */
    bool sizes_differ;    /* of the pictures drawn: `size` is that of the last */
    int64_t steps;        /* of the pictures that are being drawn */
    bool terminal;        /* stderr is one: progress is shown there */
    int64_t drawn, total; /* pictures */
    double loading;       /* seconds until all parts were open */
    TimSampleInfo spent;  /* seconds of all runs */
} Sampling;

/* ---- words ---- */

/* "transition", "diffusion"; "fp32", "bf16"; "t2i", "c2i". */
extern const char *const sample_mode_words[], *const sample_precision_words[], *const sample_rounding_words[];

/* "1024x768", width first, as most programs write it; false when it does not fit. */
bool sample_parse_size(const char *text, TimSampleOptions *options);

/* "6G", "1.5gb", "800M": powers of 1024; false when it does not fit. */
bool sample_parse_bytes(const char *text, size_t *out);

enum { SAMPLE_TEXT_BYTES = 65536 };

/* How the lines of a PNG's text begin that follow the prompt. */
#define SAMPLE_NEGATIVE_LINE "Negative prompt: "
#define SAMPLE_SETTINGS_LINE "Steps: "

/* The last line of the text that begins so; NULL without one. */
const char *sample_find_line(const char *text, const char *start);

/* Writes what a PNG says of how picture `index` of the run, or (-1) all of a sheet, was drawn, in the form that other tools write
 * and read: the prompt, "Negative prompt: ..." where there is one, then a line "Steps: 4, Sampler: ..., Model: "a, b"". */
void sample_describe(const Sampling *s, int64_t index, char text[SAMPLE_TEXT_BYTES]);

/* Sets what the PNG at `path`, drawn by this program, says of itself, prompt and model included: those point into `text`, the
 * caller's. */
TimStatus sample_like(SampleRequest *request, const char *path, char text[SAMPLE_TEXT_BYTES], TimError *err);

/* Reads the command line; a caller that got false ends with *code. `text` is what --like points into. */
bool sample_read_words(SampleRequest *request, char text[SAMPLE_TEXT_BYTES], int count, char **words, ExitCode *code);

/* True when prompts are read from the standard input as they come. */
bool sample_reads_input(const SampleRequest *request);

/* ---- before drawing ---- */

/* Makes the folder where pictures go into one; fails where the first file could not be written. Harms nothing that is there. */
TimStatus sample_place_open(const SampleRequest *request, TimError *err);

/* The number after the highest picture or strip in the folder; 0 in an empty one. */
int64_t sample_place_next(const SampleRequest *request);

/* Whether --overwrite may replace the file `path` by a picture of the run into a folder. */
bool sample_place_replaces(const SampleRequest *request, const char *path);

/* Fails, unless --overwrite was given, when one of the run's pictures is in its folder already. */
TimStatus sample_place_check(const Sampling *s, TimError *err);

/* Says what the pictures show, in the model's terms. */
TimStatus sample_make_conditions(Sampling *s, TimError *err);

/* The same for the prompts in the list, as many times each as asked for. */
TimStatus sample_repeat_prompts(Sampling *s, TimError *err);

/* The prompt of picture `index`; of a run with prompts. */
const Prompt *sample_prompt_of(const Sampling *s, int64_t index);

/* What is said once of all pictures. {0}: nothing yet. */
typedef struct SampleRemarks {
    int64_t cut_prompts, padded_prompts;                                      /* how many were */
    bool guidance, window, noise, negative, tiled, cut_negative, times, size; /* what was said */
} SampleRemarks;

/* Says what of the options has no effect on pictures with this plan, unless it was said before. */
void sample_remark(const Sampling *s, const TimSampleOptions *options, const TimSampleInfo *plan, SampleRemarks *said);

/* Says at the end what became of the prompts. */
void sample_remark_prompts(const Sampling *s, const SampleRemarks *said);

/* Fails before the first picture where a later one would; says once what settings have no effect. */
TimStatus sample_check(Sampling *s, TimError *err);

/* How many pictures from `first` on are drawn together: what is alike in all settings, and whole groups where a layout wants
 * them. */
int64_t sample_batch(const Sampling *s, int64_t first);

/* Whether an autoencoder makes the pictures, of which the network makes latents. */
bool sample_makes_latents(const Sampling *s);

/* The side of pictures for which `given` pixels are asked, 0 being the model's own. */
int sample_side(const Sampling *s, int given);

/* The options of pictures first ... first + count with the number of steps of `row`. */
TimSampleOptions sample_options(const Sampling *s, int64_t row, int64_t first, int64_t count);

/* ---- pictures ---- */

/* "out/000007.png" of picture `index` of the run, its end being ".png", or with the end "-strip.png" "out/000007-strip.png". */
TimStatus sample_numbered_path(const Sampling *s, int64_t index, const char *end, char path[MAX_PATH_BYTES], TimError *err);

/* Takes the pictures first ... first + pictures->count of the row. */
TimStatus sample_take(Sampling *s, int64_t row, const TimPictures *pictures, int64_t first, TimError *err);

/* Writes what is written at the end, when all pictures are there. */
TimStatus sample_finish(Sampling *s, TimError *err);

/* Writes the image in the format that the path asks for; a PNG says how picture `index` of the run, or (-1) all, was drawn. */
TimStatus sample_write_image(const Sampling *s, const TimImage *image, int64_t index, const char *path, TimError *err);

/* ---- sheets ---- */

/* Rows and columns of the sheet of a run: of one picture's strip a column for each step, with --strip a row for each picture. */
int64_t sample_sheet_rows(const Sampling *s);
int64_t sample_sheet_columns(const Sampling *s);

/* Bytes of the image of so many pictures (height, width, channels). */
size_t sample_sheet_bytes(int64_t pictures, int height, int width, int channels);

/* TIM_E_ARGUMENT when a sheet of `rows` would be larger than an image may be. */
TimStatus sample_sheet_check(const Sampling *s, int64_t rows, TimError *err);

/* Writes a labelled sheet of `rows`, the first of which begins with picture `first`: pixels (rows, columns, H, W, C). */
TimStatus sample_sheet_write(const Sampling *s, const uint8_t *pixels, int64_t first, int64_t rows, const char *path,
                             TimError *err);

#endif
