/* tim verify: what the parts of a model are, and whether they would run together. */
#include <stdio.h>
#include <string.h>

#include "commands.h"
#include "options.h"
#include "support.h"
#include "tim/pipeline.h"

/* The path comes from a configuration or the names in a folder, which may be hostile. */
static void print_part(TimPartReport *p) {
    disarm(p->path);
    printf("%-13s %s", p->part, *p->path ? p->path : "missing");
    if (*p->wrapper) printf(", its '%s'", p->wrapper);
    putchar('\n');
    if (p->tensors)
        printf("%-13s %zu tensors, %.2f GB; %s%s%s\n", "", p->tensors, 1e-9 * (double)p->bytes,
               p->published ? "names and shapes of " : "", p->published ? p->published : "none of the published checkpoints",
               p->hash_weights ? "; hash weights, made by tim synth" : "");
    if (p->status != TIM_OK) printf("%-13s would not run: %s\n", "", p->err.text);
    if (p->init_status != TIM_OK) printf("%-13s runs, but not for --init: %s\n", "", p->err.text);
}

static bool has_part(const TimPartReport *reports, int count, const char *part) {
    for (int i = 0; i < count; i++)
        if (strcmp(reports[i].part, part) == 0) return true;
    return false;
}

/* What a model of classes has no use for. An autoencoder is of use to any: one that is named makes the pictures. */
static void remark_text_parts(const TimPipelineParts *parts) {
    static const char message[] = "tim verify: the model draws classes: %s has no effect\n";
    if (parts->text_encoder) fprintf(stderr, message, "--text-encoder");
    if (parts->tokenizer) fprintf(stderr, message, "--tokenizer");
}

static ExitCode verify(const TimPipelineParts *parts) {
    TimError err;
    TimPartReport reports[TIM_PIPELINE_PARTS];
    int count, failed = 0;
    if (tim_pipeline_verify(parts, reports, &count, &err) != TIM_OK) {
        fprintf(stderr, "tim verify: %s\n", err.text);
        return EXIT_FAILED;
    }
    if (!has_part(reports, count, "text encoder")) remark_text_parts(parts);
    for (int i = 0; i < count; i++) {
        print_part(&reports[i]);
        failed += reports[i].status != TIM_OK;
    }
    if (failed)
        printf("%d of %d parts would not run\n", failed, count);
    else
        puts("all parts are there and fit each other");
    return failed ? EXIT_FAILED : EXIT_FINE;
}

int cmd_verify(int count, char **words) {
    TimPipelineParts parts = {0};
    const Option options[] = {
        option_required(option_text("model", &parts.model, "DIR|FILE", "folder with weights, the file, or a published YAML")),
        option_text("config", &parts.config, "YAML",
                    "configuration (default: config.yaml beside the weights, or the official one)"),
        option_text("text-encoder", &parts.text_encoder, "DIR|FILE", "Gemma 3 or T5 (default: found beside the model)"),
        option_text("tokenizer", &parts.tokenizer, "DIR|FILE", "its tokenizer (default: found beside the model)"),
        option_text("autoencoder", &parts.autoencoder, "DIR|FILE", "AutoencoderKL or DC (default: found beside the model)"),
    };
    const CommandLine line = {
        .command = "verify",
        .summary = "Says what the parts of a model are, whether their tensors are named and shaped as published, and whether they "
                   "would run.",
        .options = options,
        .option_count = sizeof options / sizeof *options,
        .notes = "The exit code is 1 when a part is missing, damaged or does not fit.",
    };
    Operands none;
    ExitCode code;
    return command_line_parse(&line, count, words, &none, &code) ? verify(&parts) : code;
}
