/* Files of prompts, in each layout that `tim sample` reads. */
#include <string.h>

#include "fuzz/folder.h"
#include "fuzz/targets.h"
#include "prompt_list.h"

static volatile size_t touched; /* keeps the reads */

static size_t length(const char *text) {
    return text ? strlen(text) : 0;
}

static int parse(const uint8_t *data, size_t size, PromptLayout layout) {
    PromptList list = {0};
    TimError err;
    const int taken = fuzz_taken(prompt_list_parse(&list, (const char *)data, size, layout, &err), &err);
    for (int64_t i = 0; taken && i < list.count; i++) {
        const Prompt *p = &list.items[i];
        touched = strlen(p->text) + length(p->name) + length(p->category) + length(p->record);
    }
    prompt_list_done(&list);
    return taken;
}

int fuzz_prompts(const uint8_t *data, size_t size) {
    int taken = 0;
    for (int layout = LAYOUT_NONE; layout <= LAYOUT_MJHQ; layout++) taken |= parse(data, size, (PromptLayout)layout);
    return taken;
}
