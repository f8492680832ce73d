/* tim: the command line of libtim. It sees the public headers only.
 * Exit codes: 0 done, 1 failed, 2 the command line is wrong. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "commands.h"
#include "nearest.h"
#include "options.h"
#include "support.h"

typedef struct Command {
    const char *name;
    int (*run)(int count, char **words);
    const char *summary;
} Command;

/* In the order of the help. */
static const Command commands[] = {
    {"demo", cmd_demo, "draw a sheet with the small model that comes with the program"},
    {"train", cmd_train, "train a network on pictures"},
    {"sample", cmd_sample, "draw pictures from a model"},
    {"classifier", cmd_classifier, "train the network that tim eval looks with"},
    {"convert", cmd_convert, "write a model's weights in another precision"},
    {"eval", cmd_eval, "judge a model: quality by number of steps, as a report"},
    {"inspect", cmd_inspect, "show what a model or one of its files holds"},
    {"verify", cmd_verify, "check the parts of a model, by names and shapes as published"},
    {"synth", cmd_synth, "write a checkpoint of a published size with made-up weights"},
    {"bench", cmd_bench, "measure the speed on this machine"},
};

enum { COMMAND_COUNT = sizeof commands / sizeof *commands };

static void print_usage(FILE *out) {
    fputs("usage: tim COMMAND [options]\n\n", out);
    for (int i = 0; i < COMMAND_COUNT; i++) fprintf(out, "  %-10s %s\n", commands[i].name, commands[i].summary);
    fputs("\n'tim COMMAND --help' explains a command.\n", out);
}

static ExitCode unknown_command(const char *name) {
    const char *names[COMMAND_COUNT + 1] = {NULL};
    for (int i = 0; i < COMMAND_COUNT; i++) names[i] = commands[i].name;
    const char *near = nearest_word(name, names);
    say_disarmed("tim", "no command is called '%s'%s%s%s", name, near ? "; did you mean '" : "", near ? near : "",
                 near ? "'?" : "");
    fputs("Try 'tim --help'.\n", stderr);
    return EXIT_MISUSED;
}

static int run(int count, char **words) {
    if (count < 2) {
        print_usage(stderr);
        return EXIT_MISUSED;
    }
    if (strcmp(words[1], "--help") == 0 || strcmp(words[1], "-h") == 0 || strcmp(words[1], "help") == 0) {
        print_usage(stdout);
        return EXIT_FINE;
    }
    if (strcmp(words[1], "--version") == 0) {
        puts("tim " TIM_VERSION);
        return EXIT_FINE;
    }
    for (int i = 0; i < COMMAND_COUNT; i++)
        if (strcmp(words[1], commands[i].name) == 0) return commands[i].run(count - 2, words + 2);
    return unknown_command(words[1]);
}

/* What was printed may not have arrived: a full disk shows only here. */
static bool printed(void) {
    errno = 0;
    const bool fine = fflush(stdout) == 0 && !ferror(stdout);
    if (!fine) fprintf(stderr, "tim: the standard output cannot be written: %s\n", errno ? strerror(errno) : "a write failed");
    return fine;
}

/* A standard stream that is closed stays one that cannot be used, but no file takes its place and gets what is printed. */
static void hold_streams(void) {
    for (int stream = STDIN_FILENO; stream <= STDERR_FILENO; stream++)
        if (fcntl(stream, F_GETFD) < 0) (void)!open("/dev/null", stream == STDIN_FILENO ? O_WRONLY : O_RDONLY);
}

int main(int count, char **words) {
    hold_streams();
    const int code = run(count, words);
    return printed() || code != EXIT_FINE ? code : EXIT_FAILED;
}
