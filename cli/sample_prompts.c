#include "sample_prompts.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

#include "support.h"

void prompt_list_done(PromptList *list) {
    for (int64_t i = 0; i < list->count; i++) free(list->items[i]);
    free(list->items);
    *list = (PromptList){0};
}

static TimStatus add(PromptList *list, const char *text, TimError *err) {
    if ((list->count & (list->count - 1)) == 0) { /* room for 1, 2, 4, ... */
        char **more = realloc(list->items, (list->count ? 2 * (size_t)list->count : 1) * sizeof *more);
        if (!more) return fail_with(err, TIM_E_MEMORY, "no memory for the prompts; give fewer");
        list->items = more;
    }
    char *copy = strdup(text);
    if (!copy) return fail_with(err, TIM_E_MEMORY, "no memory for the prompts; give fewer");
    list->items[list->count++] = copy;
    return TIM_OK;
}

static TimStatus read_lines(PromptList *list, FILE *file, const char *path, char **line, TimError *err) {
    size_t room = 0;
    ssize_t length;
    for (int64_t number = 1; (length = getline(line, &room, file)) >= 0; number++) {
        while (length > 0 && strchr("\r\n", (*line)[length - 1])) (*line)[--length] = '\0';
        if (strlen(*line) != (size_t)length)
            return fail_with(err, TIM_E_FORMAT, "%.1000s: line %lld has a zero byte; is it a text?", path, (long long)number);
        const TimStatus status = length ? add(list, *line, err) : TIM_OK;
        if (status != TIM_OK) return status;
    }
    if (ferror(file)) return fail_with(err, TIM_E_IO, "%.1000s: %.200s", path, strerror(errno));
    if (list->count == 0) return fail_with(err, TIM_E_FORMAT, "%.1000s: no prompt in it; write one a line", path);
    return TIM_OK;
}

TimStatus prompt_list_read(PromptList *list, const char *path, TimError *err) {
    char *line = NULL;
    FILE *file = fopen(path, "r");
    if (!file) return fail_with(err, TIM_E_IO, "%.1000s: %.200s", path, strerror(errno));
    const TimStatus status = read_lines(list, file, path, &line, err);
    free(line);
    fclose(file);
    if (status != TIM_OK) prompt_list_done(list);
    return status;
}
