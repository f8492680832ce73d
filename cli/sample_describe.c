/* What a PNG file says of how it was drawn, which sample_like.c reads. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "class_names.h"
#include "sample.h"

enum { LABEL_BYTES = 32, MOST_PROMPT = SAMPLE_TEXT_BYTES / 2 };

/* A text that grows until it is full. */
typedef struct Line {
    char *text; /* (SAMPLE_TEXT_BYTES) */
    size_t at;
} Line;

static void add(Line *line, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void add(Line *line, const char *format, ...) {
    const size_t room = SAMPLE_TEXT_BYTES - line->at;
    va_list args;
    va_start(args, format);
    const int length = vsnprintf(line->text + line->at, room, format, args);
    va_end(args);
    if (length > 0) line->at += (size_t)length < room ? (size_t)length : room - 1;
}

/* What follows the backslash in quotes; 0: the character needs none. */
static char escape_of(char c) {
    switch (c) {
    case '\n':
        return 'n';
    case '\r':
        return 'r';
    case '\t':
        return 't';
    case '"':
    case '\\':
        return c;
    default:
        return 0;
    }
}

/* With quotes around it, as other tools do, where it would not end at the next comma otherwise. */
static void add_text(Line *line, const char *key, const char *value) {
    if (!value) return;
    add(line, ", %s: ", key);
    if (!strpbrk(value, ",:\"\r\n\t") && *value != ' ') {
        add(line, "%s", value);
        return;
    }
    add(line, "\"");
    for (; *value; value++) {
        const char escape = escape_of(*value);
        add(line, "%s%c", escape ? "\\" : "", escape ? escape : *value);
    }
    add(line, "\"");
}

/* ---- parts of the text ---- */

/* Bytes of the text, at most `most`, that end with a whole character. */
static int whole_characters(const char *text, int most) {
    const size_t length = strnlen(text, (size_t)most + 1);
    if (length <= (size_t)most) return (int)length;
    while (most > 0 && ((unsigned char)text[most] & 0xC0U) == 0x80U) most--;
    return most;
}

/* A negative prompt that can stand in a line of its own: none of its lines looks like that one. */
static bool has_plain_negative(const TimSampleOptions *o) {
    return o->negative_prompt && !sample_find_line(o->negative_prompt, SAMPLE_NEGATIVE_LINE);
}

static void add_prompt(Line *line, const Sampling *d, int64_t index) {
    if (!d->prompts || (index < 0 && d->list.count > 1)) return;
    const char *prompt = d->prompts[index < 0 ? 0 : index];
    add(line, "%.*s\n", whole_characters(prompt, MOST_PROMPT), prompt);
}

/* The last line that begins so is what is read: empty behind a prompt that has one itself. */
static void add_negative(Line *line, const TimSampleOptions *o) {
    if (has_plain_negative(o))
        add(line, SAMPLE_NEGATIVE_LINE "%.*s\n", whole_characters(o->negative_prompt, MOST_PROMPT / 2), o->negative_prompt);
    else if (sample_find_line(line->text, SAMPLE_NEGATIVE_LINE))
        add(line, SAMPLE_NEGATIVE_LINE "\n");
}

/* "Steps: 4", of a sheet of several "Steps: 1/2/4". */
static void add_steps(Line *line, const NumberList *steps, int own) {
    add(line, SAMPLE_SETTINGS_LINE);
    if (steps->count == 1) add(line, "%d", own);
    for (int64_t i = 0; steps->count > 1 && i < steps->count; i++) add(line, "%s%" PRId64, i ? "/" : "", steps->items[i]);
}

static void add_settings(Line *line, const Sampling *d, const TimSampleOptions *o) {
    const SampleRequest *r = d->request;
    add(line, ", Sampler: %s, CFG scale: %.17g, Seed: %" PRIu64 ", Size: %dx%d", sample_mode_words[r->mode], o->guidance, o->seed,
        d->size.width, d->size.height);
    add_text(line, "Model", r->parts.model);
    add_text(line, "Config", r->parts.config);
    add_text(line, "Text encoder", r->parts.text_encoder);
    add_text(line, "Tokenizer", r->parts.tokenizer);
    add_text(line, "Autoencoder", r->parts.autoencoder);
    add(line, ", Guidance window: %.17g-%.17g, Stochasticity: %.17g, Precision: %s, Rounding: %s, Version: tim " TIM_VERSION,
        o->guidance_low, o->guidance_high, o->stochasticity, sample_precision_words[r->precision],
        sample_rounding_words[r->rounding]);
    if (!has_plain_negative(o)) add_text(line, "Negative", o->negative_prompt);
    add_text(line, "Imitate", r->imitate);
    if (o->tiled) add(line, ", Decoder: tiled");
    if (r->strip) add(line, ", Strip: yes");
    if (o->caption_tokens) add(line, ", Caption tokens: %d", o->caption_tokens);
    if (r->decoder_precision != SAMPLE_AUTOMATIC)
        add(line, ", Decoder precision: %s", sample_precision_words[r->decoder_precision]);
    if (r->init) add(line, ", Denoising strength: %.17g", o->strength);
    add_text(line, "Init", r->init);
}

static void add_picture(Line *line, const Sampling *d, int64_t index) {
    char name[LABEL_BYTES];
    add(line, ", Picture: %" PRId64, d->first + index);
    if (!d->labels) return;
    add(line, ", Class: %" PRId64, d->labels[index]);
    if (class_name(name, sizeof name, tim_pipeline_config(d->pipeline), d->labels[index])) add_text(line, "Class name", name);
}

/* What the command line would say. */
static void add_sheet(Line *line, const Sampling *d) {
    add(line, ", Count: %" PRId64 ", First: %" PRId64, d->list.count > 1 ? d->each : d->count, d->first);
    add_text(line, "Classes", d->request->classes_text);
    if (d->list.count > 1) add_text(line, "Prompts", d->request->prompts_file);
}

void sample_describe(const Sampling *d, int64_t index, char text[SAMPLE_TEXT_BYTES]) {
    Line line = {text, 0};
    const TimSampleOptions o = sample_options(d, 0, index < 0 ? 0 : index, 1);
    *text = '\0';
    add_prompt(&line, d, index);
    add_negative(&line, &o);
    add_steps(&line, &d->request->steps, o.steps);
    add_settings(&line, d, &o);
    if (index < 0)
        add_sheet(&line, d);
    else
        add_picture(&line, d, index);
}
