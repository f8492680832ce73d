/* Command lines: a table of options says what a command takes; parsing, error texts and --help all come from it.
 * Written as --name value or --name=value; flags as --name alone; what begins without "--" is an operand; after "--" all is.
 * Invariant: an option's place holds its default before parsing and keeps it unless the option is given; the last one counts. */
#ifndef TIM_CLI_OPTIONS_H
#define TIM_CLI_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Exit codes of every command. */
typedef enum ExitCode {
    EXIT_FINE = 0,
    EXIT_FAILED = 1, /* the work failed */
    EXIT_MISUSED = 2 /* the command line is wrong; nothing was done */
} ExitCode;

/* What `place` points to. */
typedef enum OptionType {
    OPTION_FLAG,   /* bool, set to true */
    OPTION_TEXT,   /* const char *, borrowed from the command line; NULL: not given */
    OPTION_INT,    /* int */
    OPTION_INT64,  /* int64_t */
    OPTION_UINT64, /* uint64_t, its whole range */
    OPTION_REAL,   /* double, finite */
    OPTION_CHOICE, /* int: index of the word in `choices` */
    OPTION_LIST    /* NumberList: integers with commas between them */
} OptionType;

/* Integers of a list; the owner calls number_list_done. {0}: not given. */
typedef struct NumberList {
    int64_t *items; /* (count) */
    int64_t count;
} NumberList;

void number_list_done(NumberList *list);

typedef struct Option {
    const char *name; /* without the dashes */
    OptionType type;
    void *place;
    const char *argument;       /* how --help names the value: "N"; NULL for a flag, and a choice shows its words */
    const char *help;           /* one line, the default included */
    double low, high;           /* inclusive range of INT, INT64, REAL and LIST */
    const char *const *choices; /* words up to NULL */
    bool required;
} Option;

/* The rows of a table, with typed places. Numbers must lie in low ... high. */
Option option_flag(const char *name, bool *place, const char *help);
Option option_text(const char *name, const char **place, const char *argument, const char *help);
Option option_int(const char *name, int *place, int low, int high, const char *help);
Option option_int64(const char *name, int64_t *place, double low, double high, const char *help);
Option option_uint64(const char *name, uint64_t *place, const char *help);
Option option_real(const char *name, double *place, double low, double high, const char *help);
Option option_list(const char *name, NumberList *place, int64_t low, int64_t high, const char *help);
Option option_choice(const char *name, int *place, const char *const *words, const char *help);

/* The same option, which takes a value and must be given. */
Option option_required(Option option);

/* False where `text` is no whole number from 0 to 2^64 - 1. */
bool read_uint64(const char *text, uint64_t *out);

enum { MAX_OPERANDS = 16 };

/* What a command takes. */
typedef struct CommandLine {
    const char *command;  /* "sample" */
    const char *summary;  /* what it does: one sentence, the first of --help */
    const char *operands; /* how the usage line shows them: "FILE|DIR"; NULL: none */
    const Option *options;
    size_t option_count;
    int min_operands, max_operands; /* at most MAX_OPERANDS */
    const char *notes;              /* the last lines of --help; NULL: none */
    bool *given;                    /* (option_count), false: set where the option is given; NULL: nobody asks */
} CommandLine;

/* The operands found, borrowed from the command line. */
typedef struct Operands {
    const char *items[MAX_OPERANDS];
    int count;
} Operands;

/* Parses the words after the command's name into the options' places. True: go on. False: end with *code, because --help was
 * asked for (printed to stdout) or the line is wrong (one message on stderr that names option and value). */
bool command_line_parse(const CommandLine *line, int count, char **words, Operands *operands, ExitCode *code);

/* Whether the option with this place was given, after parsing. */
bool command_line_given(const CommandLine *line, const void *place);

/* Says on stderr what is wrong with the command line, as the parser does, and returns EXIT_MISUSED. */
ExitCode command_line_misused(const char *command, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
