/* The corpora of the fuzzers: every file whole, cut short at many places, and with bytes changed, through the target that its
 * folder is called after. `taken` counts the files that are sound: one that is refused, or not refused any longer, changes it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "fuzz/replay.h"

typedef struct Corpus {
    const char *name;
    FuzzTarget target;
    size_t step; /* between the lengths that files are cut to */
    int files, taken;
} Corpus;

static const Corpus corpora[] = {
    {"autoencoder_config", fuzz_autoencoder_config, 1, 4, 2},
    {"finished", fuzz_finished, 1, 3, 2},
    {"gemma3_config", fuzz_gemma3_config, 1, 3, 2},
    {"idx", fuzz_idx, 1, 5, 4},
    {"moments", fuzz_moments, 1, 3, 2},
    {"network_json", fuzz_network_json, 1, 3, 2},
    {"npy", fuzz_npy, 1, 4, 3},
    {"npz", fuzz_npz, 1, 4, 3},
    {"pickle", fuzz_pickle, 1, 3, 3},
    {"picture", fuzz_picture, 1, 9, 9},
    {"png_text", fuzz_png_text, 1, 5, 4},
    {"prompts", fuzz_prompts, 1, 6, 5},
    {"report", fuzz_report, 11, 3, 2},
    {"safetensors", fuzz_safetensors, 1, 4, 2},
    {"sentencepiece", fuzz_sentencepiece, 7, 3, 2},
    {"t5_config", fuzz_t5_config, 1, 2, 1},
    {"tensor_index", fuzz_tensor_index, 1, 3, 1},
    {"tokenizer_config", fuzz_tokenizer_config, 1, 4, 4},
    {"tokenizer_json", fuzz_tokenizer_json, 1, 2, 2},
    {"torch_zip", fuzz_torch_zip, 1, 3, 3},
    {"train_state", fuzz_train_state, 1, 4, 3},
    {"yaml_config", fuzz_yaml_config, 7, 6, 4},
};

static void test_corpus_and_damaged_copies_keep_promises(void **state) {
    const Corpus *corpus = *state;
    int taken;
    assert_int_equal(replay_corpus(corpus->target, corpus->name, corpus->step, &taken), corpus->files);
    assert_int_equal(taken, corpus->taken);
}

int main(void) {
    enum { COUNT = sizeof corpora / sizeof *corpora };
    struct CMUnitTest tests[COUNT];
    for (int i = 0; i < COUNT; i++)
        tests[i] = (struct CMUnitTest){.name = corpora[i].name,
                                       .test_func = test_corpus_and_damaged_copies_keep_promises,
                                       .initial_state = (void *)(uintptr_t)&corpora[i]};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
