/* Lists of prompts, and the texts they are written in: lines, and those of the published evaluations with what their folders
 * need. */
#ifndef TIM_CLI_PROMPT_LIST_H
#define TIM_CLI_PROMPT_LIST_H

#include <stdbool.h>
#include <stdint.h>

#include "prompt_settings.h"

/* How a file of prompts is read, and how its pictures are laid out. */
typedef enum PromptLayout {
    LAYOUT_NONE,    /* prompts one a line, or JSON objects with a "prompt" one a line; numbered pictures */
    LAYOUT_GENEVAL, /* evaluation_metadata.jsonl: 00000/metadata.jsonl, samples/00000.png ..., grid.png */
    LAYOUT_DPG,     /* a folder of texts, each a prompt: STEM.png, two by two */
    LAYOUT_MJHQ     /* {ID: {"prompt", "category"}}: CATEGORY/ID.jpg */
} PromptLayout;

/* One prompt. Texts are from malloc; those that its file does not give are NULL. */
typedef struct Prompt {
    char *text;
    char *name;              /* of its picture: DPG, MJHQ */
    char *category;          /* MJHQ */
    char *record;            /* its line: GenEval */
    int64_t line;            /* of its file, from 1; 0: it has none */
    PromptSettings settings; /* of its own */
} Prompt;

/* The owner calls prompt_list_done. {0} is empty. */
typedef struct PromptList {
    Prompt *items; /* (count) */
    int64_t count, capacity;
    bool own_settings; /* some prompt has its own */
} PromptList;

/* Appends the prompts of a file's content; of LAYOUT_DPG it is one, without a name. Blank lines are left out. Fails, naming line or
 * entry, when it is not as the layout says; the list may hold a part then. The content may be hostile. */
TimStatus prompt_list_parse(PromptList *list, const char *text, size_t size, PromptLayout layout, TimError *err);

/* Appends a prompt: the text as it is. */
TimStatus prompt_list_add(PromptList *list, const char *text, TimError *err);

/* Appends the prompt of one line as a file of LAYOUT_NONE has it, plain or a JSON object; a blank line adds none. Fails naming
 * `number`. */
TimStatus prompt_list_add_line(PromptList *list, const char *line, size_t size, int64_t number, TimError *err);

void prompt_list_done(PromptList *list);

#endif
