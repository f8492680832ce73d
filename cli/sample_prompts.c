#include "sample_prompts.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support.h"

/* ---- a file ---- */

/* The bytes of a file, from malloc. */
typedef struct Content {
    char *bytes;
    size_t size, room;
} Content;

static bool make_room(Content *content) {
    const size_t room = content->room ? 2 * content->room : 65536;
    char *bytes = realloc(content->bytes, room);
    if (bytes) content->bytes = bytes, content->room = room;
    return bytes != NULL;
}

/* Until it ends: its size is not asked for, because it may be a pipe. */
static TimStatus read_stream(Content *content, FILE *file, TimError *err) {
    enum { MOST = 64 << 20 };
    while (!feof(file) && !ferror(file)) {
        if (content->size >= MOST)
            return fail_with(err, TIM_E_FORMAT, "more than the %d bytes of prompts that are read; is it a file of prompts?", MOST);
        if (content->size == content->room && !make_room(content))
            return fail_with(err, TIM_E_MEMORY, "no memory for its content; give fewer prompts");
        content->size += fread(content->bytes + content->size, 1, content->room - content->size, file);
    }
    return ferror(file) ? fail_with(err, TIM_E_IO, "%.200s", strerror(errno)) : TIM_OK;
}

static TimStatus read_content(Content *content, const char *path, TimError *err) {
    FILE *file = fopen(path, "r");
    if (!file) return fail_with(err, TIM_E_IO, "%.200s", strerror(errno));
    const TimStatus status = read_stream(content, file, err);
    fclose(file);
    return status;
}

static TimStatus read_file(PromptList *list, const char *path, PromptLayout layout, TimError *err) {
    TimError cause;
    Content content = {0};
    TimStatus status = read_content(&content, path, &cause);
    if (status == TIM_OK) status = prompt_list_parse(list, content.bytes, content.size, layout, &cause);
    free(content.bytes);
    return status == TIM_OK ? TIM_OK : fail_with(err, status, "%.800s: %.400s", path, cause.text);
}

/* ---- DPG: a folder ---- */

static int is_visible(const struct dirent *entry) {
    return entry->d_name[0] != '.';
}

/* The picture is called as the file, without its ending. */
static TimStatus name_last(PromptList *list, const char *name, TimError *err) {
    char *copy = strdup(name);
    if (!copy) return fail_with(err, TIM_E_MEMORY, "no memory for the prompts; give fewer");
    char *dot = strrchr(copy, '.');
    if (dot && dot != copy) *dot = '\0';
    list->items[list->count - 1].name = copy;
    return TIM_OK;
}

static TimStatus take_file(PromptList *list, const char *folder, const char *name, TimError *err) {
    char path[4096];
    const int length = snprintf(path, sizeof path, "%s/%s", folder, name);
    if (length < 0 || (size_t)length >= sizeof path) return fail_with(err, TIM_E_IO, "%.800s: the path is too long", folder);
    const TimStatus status = read_file(list, path, LAYOUT_DPG, err);
    return status == TIM_OK ? name_last(list, name, err) : status;
}

/* By name, equal ones as they come in the list. */
static int compare_names(const void *left, const void *right) {
    const Prompt *a = *(const Prompt *const *)left, *b = *(const Prompt *const *)right;
    const int order = strcmp(a->name, b->name);
    return order ? order : (a > b) - (a < b);
}

/* Sorted, equal names are neighbours. Prompt i is that of entries[i]. */
static TimStatus check_names(const PromptList *list, struct dirent *const *entries, TimError *err) {
    const size_t count = (size_t)list->count;
    const Prompt **sorted = calloc(count + 1, sizeof *sorted);
    TimStatus status = sorted ? TIM_OK : fail_with(err, TIM_E_MEMORY, "no memory for the prompts; give fewer");
    for (size_t i = 0; sorted && i < count; i++) sorted[i] = &list->items[i];
    if (sorted) qsort(sorted, count, sizeof *sorted, compare_names);
    for (size_t i = 1; i < count && status == TIM_OK; i++)
        if (strcmp(sorted[i - 1]->name, sorted[i]->name) == 0)
            status =
                fail_with(err, TIM_E_ARGUMENT, "%.100s: another prompt's picture is called %.100s.png too; leave one of them out",
                          entries[sorted[i] - list->items]->d_name, sorted[i]->name);
    free(sorted);
    return status;
}

static TimStatus read_folder(PromptList *list, const char *path, TimError *err) {
    struct dirent **entries;
    const int count = scandir(path, &entries, is_visible, alphasort);
    if (count < 0) return fail_with(err, TIM_E_IO, "%.800s: %.200s; give the folder of prompts", path, strerror(errno));
    TimStatus status = TIM_OK;
    for (int i = 0; i < count && status == TIM_OK; i++) status = take_file(list, path, entries[i]->d_name, err);
    if (status == TIM_OK) status = check_names(list, entries, err);
    for (int i = 0; i < count; i++) free(entries[i]);
    free(entries);
    return status;
}

/* ---- interface ---- */

TimStatus prompt_list_read(PromptList *list, const char *path, PromptLayout layout, TimError *err) {
    TimStatus status = layout == LAYOUT_DPG ? read_folder(list, path, err) : read_file(list, path, layout, err);
    if (status == TIM_OK && list->count == 0) status = fail_with(err, TIM_E_FORMAT, "%.800s: no prompt in it", path);
    if (status != TIM_OK) prompt_list_done(list);
    return status;
}
