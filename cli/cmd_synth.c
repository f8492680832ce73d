/* tim synth: a checkpoint of a published size with hash weights, for trying out loading, speed and memory without a download. */
#include <stdio.h>

#include "commands.h"
#include "options.h"
#include "support.h"
#include "tim/synth.h"

static const TimPrecision precisions[] = {TIM_PRECISION_BF16, TIM_PRECISION_F32};

/* Of every kind of checkpoint. */
static const char *const files[] = {"model.safetensors", "diffusion_pytorch_model.safetensors", "config.yaml", "config.json", NULL};

/* A manifest may be called as what is written. */
static TimStatus check_manifest(const char *manifest, const char *folder, TimError *err) {
    for (const char *const *name = files; *name; name++) {
        char path[MAX_PATH_BYTES];
        const TimStatus status = join_path(path, folder, *name, "", err);
        if (status != TIM_OK) return status;
        if (same_file(manifest, path))
            return fail_with(err, TIM_E_ARGUMENT, "'%.800s' is the manifest, and would be replaced; give another folder", path);
    }
    return TIM_OK;
}

static ExitCode synth(const char *manifest, const char *folder, int precision, bool overwrite) {
    TimError err;
    TimSynthInfo info;
    TimStatus status = check_manifest(manifest, folder, &err);
    if (status == TIM_OK && !overwrite) status = check_absent(folder, files, &err);
    if (status == TIM_OK) status = tim_synth(manifest, folder, precisions[precision], &info, &err);
    if (status != TIM_OK) {
        fprintf(stderr, "tim synth: %s\n", err.text);
        return EXIT_FAILED;
    }
    printf("%s: %s, %zu tensors, %.2f M parameters in %s, hash weights\n", folder, info.kind, info.tensors,
           1e-6 * (double)info.parameters, precision_words[precision]);
    return EXIT_FINE;
}

int cmd_synth(int count, char **words) {
    int precision = 0;
    bool overwrite = false;
    const Option options[] = {
        option_choice("precision", &precision, precision_words, "of the weights written (default bf16)"),
        option_flag("overwrite", &overwrite, "replace the checkpoint that is in FOLDER"),
    };
    const CommandLine line = {
        .command = "synth",
        .summary = "Writes a checkpoint with weights made from the tensors' names, of the size that a manifest describes.",
        .operands = "MANIFEST FOLDER",
        .options = options,
        .option_count = sizeof options / sizeof *options,
        .min_operands = 2,
        .max_operands = 2,
        .notes = "MANIFEST is JSON: {\"config\": {...}, \"tensors\": {NAME: [AXIS, ...]}}, of a TiM also \"model\": \"c2i\" or "
                 "\"t2i\". Those of the "
                 "published sizes are in tests/golden/manifests of the source.\n"
                 "FOLDER gets weights and configuration as published, marked as hash weights in their metadata.",
    };
    Operands operands;
    ExitCode code;
    if (!command_line_parse(&line, count, words, &operands, &code)) return code;
    return synth(operands.items[0], operands.items[1], precision, overwrite);
}
