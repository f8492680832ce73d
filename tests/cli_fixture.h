/* What tests of the command line begin with: the program tim, and a small model in the folder. */
#ifndef TIM_TESTS_CLI_FIXTURE_H
#define TIM_TESTS_CLI_FIXTURE_H

#include "program.h"
#include "saved_model.h"

/* For cmocka: finds the program, makes the folder, and in it the model "model". */
static inline int set_up(void **state) {
    (void)state;
    const TimConfig config = small_config(TIM_TRANSPORT_OT_FM);
    if (!find_program("../cli/tim") || !mkdtemp(folder)) return -1;
    save_model("model", &config);
    return 0;
}

#endif
