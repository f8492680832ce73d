/* The settings of a finished.txt that an earlier run left, behind a sound first line. */
#include <stdlib.h>
#include <string.h>

#include "eval/finished.h"
#include "fuzz/folder.h"
#include "fuzz/targets.h"

static const char head[] = "tim-eval-finished 5 subject\n";

static size_t read_settings(const char *path, bool add) {
    TimFinished finished;
    TimError err;
    if (!fuzz_taken(tim_finished_open(&finished, path, "subject", false, &err), &err)) abort(); /* lines are passed over */
    for (size_t i = 0; i < finished.count; i++) {
        const TimFinishedSetting *s = &finished.settings[i];
        if (s->steps < 1 || s->evaluations < 1 || s->pair_count < 0 || s->pair_count > TIM_FINISHED_PAIRS) abort();
        if (!tim_finished_find(&finished, s->mode, s->steps, s->seed_index)) abort();
    }
    if (add && finished.count) {
        const TimFinishedSetting first = finished.settings[0];
        if (tim_finished_add(&finished, &first, &err) != TIM_OK) abort();
    }
    const size_t count = finished.count;
    tim_finished_close(&finished);
    return count;
}

int fuzz_finished(const uint8_t *data, size_t size) {
    const size_t bytes = sizeof head - 1 + size;
    char path[FUZZ_PATH], *text = malloc(bytes);
    if (!text) abort();
    memcpy(text, head, sizeof head - 1);
    if (size) memcpy(text + sizeof head - 1, data, size);
    fuzz_file(path, "finished.txt", text, bytes);
    free(text);
    const size_t count = read_settings(path, true);
    if (read_settings(path, false) != count) abort(); /* what was taken and added is there again */
    return count > 0;
}
