#include "options.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "nearest.h"
#include "support.h"

void number_list_done(NumberList *list) {
    free(list->items);
    *list = (NumberList){0};
}

ExitCode command_line_misused(const char *command, const char *format, ...) {
    char start[64];
    snprintf(start, sizeof start, "tim %s", command);
    va_list args;
    va_start(args, format);
    say_disarmed_list(start, format, args);
    va_end(args);
    fprintf(stderr, "Try 'tim %s --help'.\n", command);
    return EXIT_MISUSED;
}

/* ---- rows of the table ---- */

Option option_flag(const char *name, bool *place, const char *help) {
    return (Option){.name = name, .type = OPTION_FLAG, .place = place, .help = help};
}

Option option_text(const char *name, const char **place, const char *argument, const char *help) {
    return (Option){.name = name, .type = OPTION_TEXT, .place = place, .argument = argument, .help = help};
}

static Option number(const char *name, OptionType type, void *place, double low, double high, const char *help) {
    return (Option){.name = name, .type = type, .place = place, .argument = "N", .help = help, .low = low, .high = high};
}

Option option_int(const char *name, int *place, int low, int high, const char *help) {
    return number(name, OPTION_INT, place, low, high, help);
}

Option option_int64(const char *name, int64_t *place, double low, double high, const char *help) {
    return number(name, OPTION_INT64, place, low, high, help);
}

Option option_uint64(const char *name, uint64_t *place, const char *help) {
    return number(name, OPTION_UINT64, place, 0.0, 0.0, help);
}

Option option_real(const char *name, double *place, double low, double high, const char *help) {
    Option option = number(name, OPTION_REAL, place, low, high, help);
    option.argument = "X";
    return option;
}

Option option_list(const char *name, NumberList *place, int64_t low, int64_t high, const char *help) {
    Option option = number(name, OPTION_LIST, place, (double)low, (double)high, help);
    option.argument = "N[,N...]";
    return option;
}

Option option_choice(const char *name, int *place, const char *const *words, const char *help) {
    return (Option){.name = name, .type = OPTION_CHOICE, .place = place, .help = help, .choices = words};
}

Option option_required(Option option) {
    option.required = true;
    return option;
}

/* ---- values ---- */

static bool in_range(const Option *option, double value) {
    return value >= option->low && value <= option->high;
}

/* The integer up to `end`; false when it is none, or beyond 64 bits. */
static bool read_integer(const char *text, const char *end, int64_t *out) {
    char *stop;
    if (text == end || strchr(" \t\n\v\f\r", *text)) return false;
    errno = 0;
    *out = strtoll(text, &stop, 10);
    return stop == end && errno == 0;
}

static bool store_integer(const Option *option, const char *text) {
    int64_t value;
    if (!read_integer(text, text + strlen(text), &value) || !in_range(option, (double)value)) return false;
    if (option->type == OPTION_INT64) {
        *(int64_t *)option->place = value;
        return true;
    }
    *(int *)option->place = (int)value;
    return (int)value == value;
}

bool read_uint64(const char *text, uint64_t *out) {
    char *stop;
    if (*text < '0' || *text > '9') return false; /* strtoull would take "-1" */
    errno = 0;
    *out = strtoull(text, &stop, 10);
    return *stop == '\0' && errno == 0;
}

static bool store_real(const Option *option, const char *text) {
    char *stop;
    if (*text == '\0' || strchr(" \t\n\v\f\r", *text)) return false;
    const double value = strtod(text, &stop);
    if (*stop != '\0' || !isfinite(value) || !in_range(option, value)) return false;
    *(double *)option->place = value;
    return true;
}

static bool store_choice(const Option *option, const char *text) {
    for (int i = 0; option->choices[i]; i++) {
        if (strcmp(option->choices[i], text) != 0) continue;
        *(int *)option->place = i;
        return true;
    }
    return false;
}

static bool read_list(const Option *option, const char *text, NumberList *list) {
    for (;;) {
        const char *end = text + strcspn(text, ",");
        int64_t value;
        if (!read_integer(text, end, &value) || !in_range(option, (double)value)) return false;
        list->items[list->count++] = value;
        if (*end == '\0') return true;
        text = end + 1;
    }
}

static bool store_list(const Option *option, const char *text) {
    NumberList list = {.items = calloc(strlen(text) / 2 + 1, sizeof *list.items)};
    if (!list.items || !read_list(option, text, &list)) {
        free(list.items);
        return false;
    }
    number_list_done(option->place);
    *(NumberList *)option->place = list;
    return true;
}

static bool store(const Option *option, const char *text) {
    switch (option->type) {
    case OPTION_FLAG:
        *(bool *)option->place = true;
        return true;
    case OPTION_TEXT:
        *(const char **)option->place = text;
        return true;
    case OPTION_INT:
    case OPTION_INT64:
        return store_integer(option, text);
    case OPTION_UINT64:
        return read_uint64(text, option->place);
    case OPTION_REAL:
        return store_real(option, text);
    case OPTION_CHOICE:
        return store_choice(option, text);
    case OPTION_LIST:
        return store_list(option, text);
    }
    return false;
}

/* ---- help ---- */

/* "N from 1 to 65535" and the like. */
static void print_wanted(FILE *out, const Option *option) {
    if (option->type == OPTION_CHOICE) {
        fputs("one of", out);
        for (int i = 0; option->choices[i]; i++) fprintf(out, "%s %s", i ? "," : "", option->choices[i]);
        return;
    }
    fputs(option->type == OPTION_REAL   ? "a number"
          : option->type == OPTION_LIST ? "whole numbers with commas between them, each"
                                        : "a whole number",
          out);
    if (option->type == OPTION_UINT64)
        fputs(" from 0 to 2^64 - 1", out);
    else
        fprintf(out, " from %.15g to %.15g", option->low, option->high);
}

static int print_option(const Option *option) {
    int width = printf("  --%s", option->name);
    if (option->type == OPTION_CHOICE)
        for (int i = 0; option->choices[i]; i++) width += printf("%s%s", i ? "|" : " ", option->choices[i]);
    else if (option->argument)
        width += printf(" %s", option->argument);
    return width;
}

/* Prints the words of `text` up to its line's end, with at most so many columns, each line but the first from `indent` on; the
 * first goes on from there. Returns what follows. */
static const char *print_words(const char *text, int indent) {
    enum { COLUMNS = 100 };
    int column = indent;
    while (*text && *text != '\n') {
        const int length = (int)strcspn(text, " \n"), blank = column > indent;
        const bool fits = !blank || column + blank + length <= COLUMNS;
        if (!fits) printf("\n%*s", indent, "");
        column = printf("%s%.*s", fits && blank ? " " : "", length, text) + (fits ? column : indent);
        text += length;
        text += strspn(text, " ");
    }
    putchar('\n');
    return *text ? text + 1 : text;
}

/* A paragraph a line, or a term, a tab and its text. */
static void print_notes(const char *notes) {
    enum { COLUMN = 17 };
    while (*notes) {
        const int term = (int)strcspn(notes, "\t\n");
        const bool has_term = notes[term] == '\t';
        if (has_term) printf("%-*.*s", COLUMN, term, notes);
        notes = print_words(has_term ? notes + term + 1 : notes, has_term ? COLUMN : 0);
    }
}

static void print_usage(const CommandLine *line) {
    printf("usage: tim %s", line->command);
    if (line->operands) printf(" %s", line->operands);
    for (size_t i = 0; i < line->option_count; i++)
        if (line->options[i].required) printf(" --%s %s", line->options[i].name, line->options[i].argument);
    puts(" [options]");
    print_notes(line->summary);
    putchar('\n');
}

static void print_help(const CommandLine *line) {
    enum { COLUMN = 34 };
    print_usage(line);
    for (size_t i = 0; i < line->option_count; i++) {
        const int width = print_option(&line->options[i]);
        if (width >= COLUMN) printf("\n%*s", COLUMN, "");
        printf("%*s", width >= COLUMN ? 0 : COLUMN - width, "");
        (void)print_words(line->options[i].help, COLUMN);
    }
    printf("  --help%*sshow this text\n", COLUMN - 8, "");
    if (!line->notes) return;
    putchar('\n');
    print_notes(line->notes);
}

/* ---- parsing ---- */

static const Option *find_option(const CommandLine *line, const char *name, size_t length) {
    for (size_t i = 0; i < line->option_count; i++)
        if (strlen(line->options[i].name) == length && strncmp(line->options[i].name, name, length) == 0) return &line->options[i];
    return NULL;
}

static ExitCode unknown_option(const CommandLine *line, const char *name, size_t length) {
    enum { MOST = 64, LONGEST_WORD = 32 };
    const char *names[MOST + 1] = {NULL};
    char word[LONGEST_WORD + 2];
    for (size_t i = 0; i < line->option_count && i < MOST; i++) names[i] = line->options[i].name;
    snprintf(word, sizeof word, "%.*s", (int)(length < sizeof word ? length : sizeof word - 1), name);
    const char *near = nearest_word(word, names);
    if (near) return command_line_misused(line->command, "unknown option --%.*s; did you mean --%s?", (int)length, name, near);
    return command_line_misused(line->command, "unknown option --%.*s", (int)length, name);
}

static ExitCode bad_value(const CommandLine *line, const Option *option, const char *value) {
    char shown[512];
    snprintf(shown, sizeof shown, "%s", value);
    disarm(shown);
    fprintf(stderr, "tim %s: --%s: '%s' does not fit; give ", line->command, option->name, shown);
    print_wanted(stderr, option);
    fprintf(stderr, "\nTry 'tim %s --help'.\n", line->command);
    return EXIT_MISUSED;
}

/* The option at words[*at], a word that begins with "--"; *at ends on the last word used. */
static ExitCode parse_option(const CommandLine *line, int count, char **words, int *at, bool *given) {
    const char *name = words[*at] + 2;
    const size_t length = strcspn(name, "=");
    const Option *option = find_option(line, name, length);
    if (!option) return unknown_option(line, name, length);
    const bool attached = name[length] == '=';
    if (option->type == OPTION_FLAG && attached) return command_line_misused(line->command, "--%s takes no value", option->name);
    const bool follows = *at + 1 < count && strncmp(words[*at + 1], "--", 2) != 0;
    if (option->type != OPTION_FLAG && !attached && !follows)
        return command_line_misused(line->command,
                                    *at + 1 < count ? "--%s needs a value; one that begins with -- is given as --%s=VALUE"
                                                    : "--%s needs a value",
                                    option->name, option->name);
    const char *value = attached ? name + length + 1 : option->type == OPTION_FLAG ? "" : words[++*at];
    given[option - line->options] = true;
    return store(option, value) ? EXIT_FINE : bad_value(line, option, value);
}

static ExitCode add_operand(const CommandLine *line, const char *word, Operands *operands) {
    if (operands->count >= line->max_operands) return command_line_misused(line->command, "'%s' is one word too many", word);
    operands->items[operands->count++] = word;
    return EXIT_FINE;
}

static ExitCode check_complete(const CommandLine *line, const Operands *operands, const bool *given) {
    if (operands->count < line->min_operands) return command_line_misused(line->command, "name %s", line->operands);
    for (size_t i = 0; i < line->option_count; i++)
        if (line->options[i].required && !given[i])
            return command_line_misused(line->command, "--%s is required", line->options[i].name);
    return EXIT_FINE;
}

static bool asks_for_help(int count, char **words) {
    for (int i = 0; i < count && strcmp(words[i], "--") != 0; i++)
        if (strcmp(words[i], "--help") == 0 || strcmp(words[i], "-h") == 0) return true;
    return false;
}

static ExitCode parse_words(const CommandLine *line, int count, char **words, Operands *operands, bool *given) {
    bool only_operands = false;
    ExitCode code = EXIT_FINE;
    for (int i = 0; i < count && code == EXIT_FINE; i++) {
        if (!only_operands && strcmp(words[i], "--") == 0)
            only_operands = true;
        else if (!only_operands && strncmp(words[i], "--", 2) == 0)
            code = parse_option(line, count, words, &i, given);
        else if (!only_operands && words[i][0] == '-' && words[i][1] != '\0')
            code = command_line_misused(line->command, "unknown option %s; options begin with --", words[i]);
        else
            code = add_operand(line, words[i], operands);
    }
    return code == EXIT_FINE ? check_complete(line, operands, given) : code;
}

bool command_line_given(const CommandLine *line, const void *place) {
    size_t i = 0;
    while (i < line->option_count && line->options[i].place != place) i++;
    return i < line->option_count && line->given[i];
}

bool command_line_parse(const CommandLine *line, int count, char **words, Operands *operands, ExitCode *code) {
    *operands = (Operands){.count = 0};
    *code = EXIT_FINE;
    if (asks_for_help(count, words)) {
        print_help(line);
        return false;
    }
    bool *given = calloc(line->option_count + 1, sizeof *given);
    if (!given) {
        fprintf(stderr, "tim %s: no memory\n", line->command);
        *code = EXIT_FAILED;
        return false;
    }
    *code = parse_words(line, count, words, operands, given);
    if (line->given) memcpy(line->given, given, line->option_count * sizeof *given);
    free(given);
    return *code == EXIT_FINE;
}
