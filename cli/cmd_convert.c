/* tim convert: the same model with its weights in another precision, as files that tim sample takes. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "commands.h"
#include "options.h"
#include "support.h"
#include "tim/model.h"

typedef struct Request {
    const char *model, *config, *out;
    int precision;
} Request;

static const TimPrecision precisions[] = {TIM_PRECISION_BF16, TIM_PRECISION_F32};

/* The folder that `path` is, or the file lies in that it leads to. */
static bool find_folder(const char *path, struct stat *folder) {
    char *file = realpath(path, NULL);
    bool found = file && stat(file, folder) == 0;
    if (found && !S_ISDIR(folder->st_mode)) {
        strrchr(file, '/')[1] = '\0';
        found = stat(file, folder) == 0;
    }
    free(file);
    return found;
}

static bool lies_in(const char *path, const struct stat *folder) {
    struct stat own;
    return path && find_folder(path, &own) && own.st_dev == folder->st_dev && own.st_ino == folder->st_ino;
}

/* What is read stays as it is. */
static TimStatus check_out(const Request *r, TimError *err) {
    struct stat out;
    if (stat(r->out, &out) != 0) return TIM_OK; /* a new folder */
    const char *source = lies_in(r->model, &out) ? r->model : lies_in(r->config, &out) ? r->config : NULL;
    if (!source) return TIM_OK;
    return fail_with(err, TIM_E_ARGUMENT, "--out: '%.800s' is the folder of %.800s, which would be replaced; give another folder",
                     r->out, source);
}

static ExitCode convert(const Request *r) {
    TimError err;
    TimModel *model = NULL;
    TimStatus status = check_out(r, &err);
    if (status == TIM_OK) status = tim_model_open(&model, r->model, r->config, NULL, &err);
    if (status == TIM_OK) status = tim_model_write(model, r->out, precisions[r->precision], &err);
    if (status == TIM_OK)
        printf("%s: %.2f M parameters in %s\n", r->out, 1e-6 * (double)tim_model_parameter_count(model),
               precision_words[r->precision]);
    else
        fprintf(stderr, "tim convert: %s\n", err.text);
    tim_model_close(model);
    return status == TIM_OK ? EXIT_FINE : EXIT_FAILED;
}

int cmd_convert(int count, char **words) {
    Request r = {0};
    const Option options[] = {
        option_required(option_text("model", &r.model, "DIR|FILE", "model to read")),
        option_text("config", &r.config, "YAML",
                    "its configuration (default: config.yaml beside the weights, or the official one)"),
        option_required(option_text("out", &r.out, "DIR", "folder to write model.safetensors and config.yaml to")),
        option_choice("precision", &r.precision, precision_words, "of the weights written (default bf16)"),
    };
    const CommandLine line = {
        .command = "convert",
        .summary = "Writes a model's weights in another precision.",
        .options = options,
        .option_count = sizeof options / sizeof *options,
    };
    Operands none;
    ExitCode code;
    return command_line_parse(&line, count, words, &none, &code) ? convert(&r) : code;
}
