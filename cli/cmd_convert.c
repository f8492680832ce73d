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
    bool overwrite;
} Request;

static const TimPrecision precisions[] = {TIM_PRECISION_BF16, TIM_PRECISION_F32};

/* Whether `path` is the folder, or leads to a file in it. */
static bool lies_in(const char *path, const char *folder) {
    char *place = path ? realpath(path, NULL) : NULL;
    struct stat info;
    if (place && stat(place, &info) == 0 && !S_ISDIR(info.st_mode)) strrchr(place, '/')[1] = '\0';
    const bool lies = place && same_file(place, folder);
    free(place);
    return lies;
}

/* What is read stays as it is, and another model too unless it was said. */
static TimStatus check_out(const Request *r, TimError *err) {
    const char *source = lies_in(r->model, r->out) ? r->model : lies_in(r->config, r->out) ? r->config : NULL;
    if (!source)
        return r->overwrite ? TIM_OK : check_absent(r->out, (const char *const[]){"model.safetensors", "config.yaml", NULL}, err);
    return fail_with(err, TIM_E_ARGUMENT, "--out: '%.800s' is the folder of %.800s, which would be replaced; give another folder",
                     r->out, source);
}

static ExitCode convert(const Request *r) {
    TimError err;
    TimModel *model = NULL;
    TimStatus status = check_out(r, &err);
    if (status == TIM_OK) status = tim_model_open(&model, r->model, r->config, NULL, &err);
    if (status == TIM_OK && *tim_model_config(model)->untrainable)
        fprintf(stderr, "tim convert: %s; the configuration that is written says what training knows\n",
                tim_model_config(model)->untrainable);
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
        option_flag("overwrite", &r.overwrite, "replace the model that is in --out"),
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
