/* tim sample, inside: what is asked for, a run in progress, and where its pictures go. */
#ifndef TIM_CLI_SAMPLE_H
#define TIM_CLI_SAMPLE_H

#include "options.h"
#include "sample_prompts.h"
#include "tim/pipeline.h"

typedef enum SampleForm {
    SAMPLE_NPZ,
    SAMPLE_SHEET,
    SAMPLE_PICTURE, /* one picture without labels */
    SAMPLE_FOLDER,
    SAMPLE_LAYOUT /* a folder as an evaluation reads it */
} SampleForm;

/* What the command line asks for. */
typedef struct SampleRequest {
    TimPipelineParts parts;
    const char *out, *prompt, *prompts_file, *classes_text, *imitate, *size, *like, *init, *memory;
    SampleForm form; /* of out */
    NumberList steps;
    NumberList classes;  /* of classes_text, once the model is known */
    int64_t count;       /* pictures: of each prompt, or in all; 0: what is usual */
    bool single;         /* one picture, also of a class */
    bool strip;          /* every picture as a row of what it was expected to become after each step */
    bool rounded_rotary; /* of imitate */
    int mode, precision, rounding, isa, threads, layout;
    TimSampleOptions sample;
} SampleRequest;

/* A run in progress, and what its pictures go into. */
typedef struct Sampling {
    const SampleRequest *request;
    TimPipeline *pipeline;
    int64_t first, count; /* number of the first picture; pictures of each number of steps */
    int64_t *labels;      /* (count) classes; NULL with prompts */
    PromptList list;      /* prompts; empty with classes */
    int64_t each;         /* pictures of each prompt, one after the other */
    const char **prompts; /* (count), texts of the list; NULL with classes */
    int64_t row;          /* index in request->steps */
    TimImage init;        /* to start from; empty without */
    TimAdmWriter *npz;
    uint8_t *sheet;       /* (sheet rows, sheet columns, H, W, C) */
    TimPictures size;     /* of the pictures; without pixels */
    bool terminal;        /* stderr is one: progress is shown there */
    int64_t drawn, total; /* pictures */
    int64_t steps;        /* of the pictures that are being drawn */
    TimSampleInfo spent;  /* seconds of all runs */
} Sampling;

/* "transition", "diffusion"; "fp32", "bf16". */
extern const char *const sample_mode_words[], *const sample_precision_words[];

enum { SAMPLE_TEXT_BYTES = 65536 };

/* Sets what the PNG at `path`, drawn by this program, says of itself, prompt and model included: those point into `text`, the caller's. */
TimStatus sample_like(SampleRequest *request, const char *path, char text[SAMPLE_TEXT_BYTES], TimError *err);

/* "1024x768", width first, as most programs write it; false when it does not fit. */
bool sample_parse_size(const char *text, TimSampleOptions *options);

/* The options of pictures first ... first + count of the current row. */
TimSampleOptions sample_options(const Sampling *s, int64_t first, int64_t count);

/* Takes the pictures first ... first + pictures->count of the current row. */
TimStatus sample_take(Sampling *s, const TimPictures *pictures, int64_t first, TimError *err);

/* Writes what is written at the end, when all pictures are there. */
TimStatus sample_finish(Sampling *s, TimError *err);

/* Writes the image in the format that the path asks for; a PNG says how picture `index` of the run, or (-1) all, was drawn. */
TimStatus sample_write_image(const Sampling *s, const TimImage *image, int64_t index, const char *path, TimError *err);

enum { SAMPLE_TITLE_BYTES = 256 };

/* "4 steps, guidance 2, seed 0". */
void sample_title(const Sampling *s, char text[SAMPLE_TITLE_BYTES]);

/* How often each pixel of a sheet is repeated, so that small pictures can be seen. */
int sample_scale(int height, int width);

/* TIM_E_ARGUMENT when the strips of `rows` pictures below each other would be larger than an image may be. */
TimStatus sample_strip_check(const Sampling *s, const TimSampleOptions *options, int64_t rows, TimError *err);

/* Writes a sheet with a row for each of `rows` pictures from `first` on, and a column for each step: pixels (rows, steps, H, W, C). */
TimStatus sample_strip_write(const Sampling *s, const uint8_t *pixels, int64_t first, int64_t rows, const char *path,
                             TimError *err);

#endif
