/* The settings of a picture drawn before, from the text that sample_describe.c puts into its PNG. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sample.h"
#include "support.h"

static bool read_real(const char *text, double *out) {
    char *end;
    *out = strtod(text, &end);
    return end != text && *end == '\0';
}

static bool read_integer(const char *text, int64_t *out) {
    char *end;
    *out = strtoll(text, &end, 10);
    return end != text && *end == '\0';
}

static bool read_between(const char *text, int64_t low, int64_t high, int64_t *out) {
    return read_integer(text, out) && *out >= low && *out <= high;
}

static bool read_tokens(const char *text, int *out) {
    int64_t value;
    if (!read_between(text, 1, 65536, &value)) return false;
    *out = (int)value;
    return true;
}

/* "2/8" */
static bool read_list(const char *text, NumberList *list) {
    char *end = NULL;
    number_list_done(list);
    list->items = calloc(strlen(text) + 1, sizeof *list->items);
    while (list->items && *text) {
        const int64_t number = strtoll(text, &end, 10);
        if (end == text || number < 0 || number > INT32_MAX || (*end && *end != '/')) return false;
        list->items[list->count++] = number;
        text = *end ? end + 1 : end;
    }
    return list->count > 0;
}

static bool read_word(const char *text, const char *const *words, int *out) {
    for (*out = 0; words[*out]; (*out)++)
        if (strcmp(words[*out], text) == 0) return true;
    return false;
}

static bool read_window(const char *text, TimSampleOptions *o) {
    int end = 0;
    return sscanf(text, "%lf-%lf%n", &o->guidance_low, &o->guidance_high, &end) == 2 && text[end] == '\0';
}

/* False when the value does not fit; keys of other tools are passed over. */
static bool take(SampleRequest *r, const char *key, const char *value) {
    TimSampleOptions *o = &r->sample;
    if (strcmp(key, "Steps") == 0) return read_list(value, &r->steps);
    if (strcmp(key, "Sampler") == 0) return read_word(value, sample_mode_words, &r->mode);
    if (strcmp(key, "CFG scale") == 0) return read_real(value, &o->guidance);
    if (strcmp(key, "Seed") == 0) return read_uint64(value, &o->seed);
    if (strcmp(key, "Size") == 0) return sample_parse_size(value, o);
    if (strcmp(key, "Guidance window") == 0) return read_window(value, o);
    if (strcmp(key, "Stochasticity") == 0) return read_real(value, &o->stochasticity);
    if (strcmp(key, "Precision") == 0) return read_word(value, sample_precision_words, &r->precision);
    if (strcmp(key, "Rounding") == 0) return read_word(value, sample_rounding_words, &r->rounding);
    if (strcmp(key, "Picture") == 0) r->single = true, r->count = 1;
    if (strcmp(key, "Picture") == 0 || strcmp(key, "First") == 0) return read_between(value, 0, SAMPLE_MAX_FIRST, &r->first);
    if (strcmp(key, "Count") == 0) return read_between(value, 1, SAMPLE_MAX_COUNT, &r->count);
    if (strcmp(key, "Class") == 0 || strcmp(key, "Classes") == 0) r->classes_text = value;
    if (strcmp(key, "Prompts") == 0) r->prompts_file = value;
    if (strcmp(key, "Denoising strength") == 0) return read_real(value, &o->strength);
    if (strcmp(key, "Negative") == 0) o->negative_prompt = value;
    if (strcmp(key, "Caption tokens") == 0) return read_tokens(value, &o->caption_tokens);
    if (strcmp(key, "Decoder precision") == 0) return read_word(value, sample_precision_words, &r->decoder_precision);
    if (strcmp(key, "Decoder") == 0) o->tiled = strcmp(value, "tiled") == 0;
    if (strcmp(key, "Strip") == 0) r->strip = strcmp(value, "yes") == 0;
    if (strcmp(key, "Imitate") == 0) r->imitate = value;
    if (strcmp(key, "Init") == 0) r->init = value;
    if (strcmp(key, "Model") == 0) r->parts.model = value;
    if (strcmp(key, "Config") == 0) r->parts.config = value;
    if (strcmp(key, "Text encoder") == 0) r->parts.text_encoder = value;
    if (strcmp(key, "Tokenizer") == 0) r->parts.tokenizer = value;
    if (strcmp(key, "Autoencoder") == 0) r->parts.autoencoder = value;
    return true;
}

static char unescaped(char c) {
    return c == 'n' ? '\n' : c == 'r' ? '\r' : c == 't' ? '\t' : c;
}

/* The quote that ends the value which begins with one; NULL without. */
static char *closing_quote(char *value) {
    char *at = value + 1;
    while (*at && *at != '"') at += *at == '\\' && at[1] ? 2 : 1;
    return *at ? at : NULL;
}

/* Takes the quotes off, in place. */
static void unquote(char *value, const char *closing) {
    char *to = value;
    for (const char *at = value + 1; at < closing; at++) {
        const bool escape = *at == '\\';
        *to++ = escape ? unescaped(*++at) : *at;
    }
    *to = '\0';
}

/* Ends the value, quoted or up to the next comma; returns what follows, NULL at the end. */
static char *cut_value(char *value) {
    char *closing = *value == '"' ? closing_quote(value) : NULL, *comma = strstr(closing ? closing : value, ", ");
    if (closing)
        unquote(value, closing);
    else if (comma)
        *comma = '\0';
    return comma ? comma + 2 : NULL;
}

static TimStatus take_all(SampleRequest *r, char *settings, const char *path, TimError *err) {
    for (char *at = settings; at;) {
        char *key = at, *comma = strstr(at, ", "), *colon = strstr(at, ": ");
        if (!colon) return TIM_OK;
        at = comma && comma < colon ? comma + 2 : cut_value(colon + 2);
        if (comma && comma < colon) continue; /* a word without a value */
        *colon = '\0';
        if (!take(r, key, colon + 2))
            return fail_with(err, TIM_E_FORMAT, "%.500s: '%.60s' is '%.60s' there, which tim sample does not write", path, key,
                             colon + 2);
    }
    return TIM_OK;
}

/* The line that begins so, in a text of the caller's. */
static char *find_own_line(char *text, const char *start) {
    const char *found = sample_find_line(text, start);
    return found ? text + (found - text) : NULL;
}

/* What stands before the settings. */
static void take_prompts(SampleRequest *r, char *text, char *settings) {
    settings[-1] = '\0';
    char *negative = find_own_line(text, SAMPLE_NEGATIVE_LINE);
    if (negative) r->sample.negative_prompt = negative + strlen(SAMPLE_NEGATIVE_LINE);
    if (negative == text) return;
    if (negative) negative[-1] = '\0';
    r->prompt = text;
}

TimStatus sample_like(SampleRequest *r, const char *path, char text[SAMPLE_TEXT_BYTES], TimError *err) {
    const TimStatus status = tim_image_read_text(text, SAMPLE_TEXT_BYTES, "parameters", path, err);
    if (status != TIM_OK) return status;
    char *settings = find_own_line(text, SAMPLE_SETTINGS_LINE);
    if (!settings) return fail_with(err, TIM_E_FORMAT, "%.1000s: its text 'parameters' has no line that begins with Steps", path);
    if (settings > text) take_prompts(r, text, settings);
    return take_all(r, settings, path, err);
}
