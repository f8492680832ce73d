#include "class_names.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "nearest.h"
#include "support.h"

/* In the order of the data set's labels, as short as a column of a sheet is narrow. */
static const char *const fashion_mnist[] = {"T-shirt", "trouser", "pullover", "dress", "coat",
                                            "sandal",  "shirt",   "sneaker",  "bag",   "ankle boot"};

/* What the classes 0, 1, ... are called. */
typedef struct Names {
    const char *const *items;
    int64_t count;
} Names;

static Names names_of(const TimConfig *config) {
    const char *type = config->data_type ? config->data_type : "";
    const bool imagenet = config->network.kind == TIM_NETWORK_C2I && config->network.num_classes == IMAGENET_CLASSES;
    if (strcmp(type, "fashion-mnist") == 0) return (Names){fashion_mnist, sizeof fashion_mnist / sizeof *fashion_mnist};
    if (imagenet && strcmp(type, "idx") != 0) return (Names){imagenet_names, IMAGENET_CLASSES};
    return (Names){NULL, 0};
}

/* ---- labels ---- */

bool class_name(char *text, size_t size, const TimConfig *config, int64_t class_index) {
    const Names names = names_of(config);
    const bool known = class_index >= 0 && class_index < names.count;
    const char *all = known ? names.items[class_index] : "";
    snprintf(text, size, "%.*s", (int)strcspn(all, ","), all);
    return known;
}

void class_label(char *text, size_t size, const TimConfig *config, int64_t class_index) {
    if (!class_name(text, size, config, class_index)) snprintf(text, size, "class %" PRId64, class_index);
}

/* ---- words ---- */

typedef char Word[40]; /* longer than any name: what is cut is unknown */

/* The word up to the next comma, without blanks around it, in small letters; returns what follows the comma, NULL at the end. */
static const char *take_word(const char *text, Word word) {
    const char *comma = text + strcspn(text, ","), *end = comma;
    size_t length = 0;
    while (text < end && *text == ' ') text++;
    while (end > text && end[-1] == ' ') end--;
    for (; text < end && length < sizeof(Word) - 1; text++)
        word[length++] = *text == '_' ? ' ' : (char)tolower((unsigned char)*text);
    word[length] = '\0';
    return *comma ? comma + 1 : NULL;
}

static bool is_called(const char *names, const char *word) {
    Word own;
    while (names) {
        names = take_word(names, own);
        if (strcmp(own, word) == 0) return true;
    }
    return false;
}

/* ---- names that are not known ---- */

enum { MOST_NEAR = 4, SHORTEST_PART = 3, FAR = 100 };

/* The names most like a word, the nearest first. */
typedef struct Nearest {
    Word words[MOST_NEAR];
    size_t distances[MOST_NEAR];
    size_t count;
} Nearest;

/* A name that contains the word is nearer than any slip. */
static bool distance_to(const char *name, const char *word, size_t *distance) {
    if (strlen(word) >= SHORTEST_PART && strstr(name, word)) {
        *distance = strlen(name) - strlen(word);
        return true;
    }
    const size_t edits = word_edits(name, word);
    *distance = FAR + edits;
    return edits <= word_slips(word);
}

static void keep_near(Nearest *near, const Word name, size_t distance) {
    size_t at = near->count;
    for (size_t i = 0; i < near->count; i++)
        if (strcmp(near->words[i], name) == 0) return;
    while (at > 0 && near->distances[at - 1] > distance) at--;
    if (at == MOST_NEAR) return;
    if (near->count < MOST_NEAR) near->count++;
    memmove(near->words + at + 1, near->words + at, (near->count - 1 - at) * sizeof *near->words);
    memmove(near->distances + at + 1, near->distances + at, (near->count - 1 - at) * sizeof *near->distances);
    memcpy(near->words[at], name, sizeof(Word));
    near->distances[at] = distance;
}

static TimStatus fail_unknown(const Names *names, const char *word, TimError *err) {
    Nearest near = {.count = 0};
    char text[256] = "";
    for (int64_t i = 0; i < names->count; i++)
        for (const char *at = names->items[i]; at;) {
            Word own = "";
            size_t distance;
            at = take_word(at, own);
            if (distance_to(own, word, &distance)) keep_near(&near, own, distance);
        }
    for (size_t i = 0; i < near.count; i++) {
        const size_t at = strlen(text);
        snprintf(text + at, sizeof text - at, "%s%s", i ? ", " : "; near it: ", near.words[i]);
    }
    return fail_with(err, TIM_E_ARGUMENT, "--classes: no class is called '%s'%s", word, text);
}

/* ---- the list ---- */

static TimStatus fail_shared(const Names *names, const char *word, TimError *err) {
    char text[512] = "";
    for (int64_t i = 0; i < names->count; i++) {
        const size_t at = strlen(text);
        const char *all = names->items[i];
        if (is_called(all, word))
            snprintf(text + at, sizeof text - at, "%s%" PRId64 " (%.*s)", at ? ", " : "", i, (int)strcspn(all, ","), all);
    }
    return fail_with(err, TIM_E_ARGUMENT, "--classes: several classes are called '%s': %s; give one of the numbers", word, text);
}

static TimStatus find_class(int64_t *out, const Names *names, const char *word, TimError *err) {
    int64_t found = 0;
    for (int64_t i = 0; i < names->count; i++)
        if (is_called(names->items[i], word)) *out = i, found++;
    if (found == 1) return TIM_OK;
    return found ? fail_shared(names, word, err) : fail_unknown(names, word, err);
}

static TimStatus read_word(int64_t *out, const Names *names, const char *word, TimError *err) {
    char *end;
    *out = strtoll(word, &end, 10);
    if (end != word && *end == '\0') return TIM_OK;
    if (*word == '\0') return fail_with(err, TIM_E_ARGUMENT, "--classes: nothing between two commas, or before or after one");
    if (names->count) return find_class(out, names, word, err);
    return fail_with(err, TIM_E_ARGUMENT, "--classes: '%s' is no number, and the names of the model's classes are not known", word);
}

TimStatus class_list_read(NumberList *classes, const char *text, const TimConfig *config, TimError *err) {
    const Names names = names_of(config);
    TimStatus status = TIM_OK;
    number_list_done(classes);
    classes->items = calloc(strlen(text) / 2 + 1, sizeof *classes->items);
    if (!classes->items) return fail_with(err, TIM_E_MEMORY, "no memory for the classes; give fewer");
    while (text && status == TIM_OK) {
        Word word;
        text = take_word(text, word);
        status = read_word(&classes->items[classes->count++], &names, word, err);
    }
    return status;
}
