/* tim classifier: trains the network in whose features tim eval compares pictures. */
#include <stdio.h>

#include "commands.h"
#include "interruption.h"
#include "options.h"
#include "support.h"
#include "tim/eval.h"

static bool show(const TimClassifierReport *r, void *user) {
    (void)user;
    printf("epoch %2d of %d  loss %.4f  training pictures %5.2f %%  test pictures %5.2f %%  %.0f s\n", r->epoch, r->epochs, r->loss,
           100 * r->train_accuracy, 100 * r->test_accuracy, r->seconds);
    fflush(stdout);
    return !interrupted();
}

static int train(TimClassifierOptions *options) {
    TimError err;
    TimClassifierReport last;
    options->progress = show;
    catch_interruptions();
    if (tim_classifier_train(options, &last, &err) != TIM_OK) {
        fprintf(stderr, "tim classifier: %s\n", err.text);
        return EXIT_FAILED;
    }
    const bool early = last.epoch < last.epochs;
    printf("%s: %.2f %% of the test pictures%s\n", options->out, 100 * last.test_accuracy, early ? "; interrupted" : "");
    return early ? interruption_code() : EXIT_FINE;
}

int cmd_classifier(int count, char **words) {
    TimClassifierOptions o;
    int isa = 0;
    tim_classifier_options_init(&o);
    const Option options[] = {
        option_required(option_text("out", &o.out, "FILE", "safetensors file to write")),
        option_text("train", &o.train, "DATA", "labelled pictures to learn from (default fashion-mnist:train)"),
        option_text("test", &o.test, "DATA", "labelled pictures to measure with (default fashion-mnist:test)"),
        option_int("epochs", &o.epochs, 1, 10000, "passes over the pictures (default 16)"),
        option_int("batch", &o.batch, 1, 65536, "pictures a step (default 125)"),
        option_real("lr", &o.learning_rate, 1e-9, 10, "learning rate at its highest (default 0.003)"),
        option_flag("no-mirror", &o.no_mirror, "leave pictures as they lie: of digits or letters (default: half are mirrored)"),
        option_uint64("seed", &o.seed, "start of the random numbers (default 0)"),
        option_threads(&o.threads),
        option_isa(&isa),
    };
    const CommandLine line = {
        .command = "classifier",
        .summary = "Trains the small convolutional network in whose features tim eval compares pictures.",
        .options = options,
        .option_count = sizeof options / sizeof *options,
        .notes = "DATA is a folder of PNG, JPEG or WebP files with a sub-folder a class, called by its number or else in the order "
                 "of names, an .npz with arr_0 and arr_1, FOLDER:train or FOLDER:test with IDX files, or fashion-mnist:train, "
                 "fashion-mnist:test.\n"
                 "Ctrl-C finishes the epoch, writes what is learned so far and ends with 130.",
    };
    Operands none;
    ExitCode code;
    if (!command_line_parse(&line, count, words, &none, &code)) return code;
    o.isa = chosen_isa(isa);
    return train(&o);
}
