/* torch: the files of torch.save beside expected.safetensors hold its tensors, bit for bit and no others, each under its own name
 * or all behind one prefix (nested.pth: "state_dict."). A moved copy of expected.safetensors fails with each of them. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "io/tensor_set.h"
#include "parity/checks.h"

enum { MAX_NAME_BYTES = 1100 };

static bool ends_with(const char *name, const char *end) {
    const size_t length = strlen(name), tail = strlen(end);
    return length > tail && strcmp(name + length - tail, end) == 0;
}

static int is_torch(const struct dirent *entry) {
    return ends_with(entry->d_name, ".bin") || ends_with(entry->d_name, ".pt") || ends_with(entry->d_name, ".pth");
}

/* What stands before the expected names: the prefix that the first of them has in the set, where it is not there itself. */
static size_t find_prefix(const char **prefix, const TimTensorSet *set, const TimSafetensors *expected) {
    *prefix = "";
    if (expected->count == 0 || tim_tensor_set_find(set, expected->tensors[0].name)) return 0;
    for (size_t i = 0; i < set->count; i++) {
        const char *name = set->tensors[i].name, *wanted = expected->tensors[0].name;
        if (!ends_with(name, wanted) || name[strlen(name) - strlen(wanted) - 1] != '.') continue;
        *prefix = name;
        return strlen(name) - strlen(wanted);
    }
    return 0;
}

static bool equal(const TimStoredTensor *a, const TimStoredTensor *b) {
    return a->dtype == b->dtype && a->rank == b->rank && memcmp(a->dims, b->dims, (size_t)a->rank * sizeof *a->dims) == 0 &&
           (a->bytes == 0 || memcmp(a->data, b->data, a->bytes) == 0);
}

/* One line for each expected tensor in each file. */
static void compare(ParityFile *file, const char *member, const TimTensorSet *set) {
    const char *prefix;
    const int length = (int)find_prefix(&prefix, set, &file->tensors);
    char name[MAX_NAME_BYTES], line[MAX_NAME_BYTES + 256];
    for (size_t i = 0; i < file->tensors.count; i++) {
        const TimStoredTensor *expected = &file->tensors.tensors[i];
        snprintf(name, sizeof name, "%.*s%s", length, prefix, expected->name);
        snprintf(line, sizeof line, "%s:%s", member, name);
        const TimStoredTensor *found = tim_tensor_set_find(set, name);
        file->used[i] = true;
        if (found)
            parity_report(file, line, equal(found, expected) ? 0.0 : 1.0, 0.0);
        else
            parity_fail(file, line, "is not in the file of torch.save");
    }
    if (set->count != file->tensors.count)
        parity_fail(file, member, "holds %zu tensors, expected were %zu", set->count, file->tensors.count);
}

static TimStatus check_member(ParityFile *file, const char *member, TimError *err) {
    char *path;
    TimTensorSet set;
    TIM_TRY(tim_path_beside(&path, file->path, member, err));
    const TimStatus status = tim_tensor_set_open(&set, path, err);
    if (status == TIM_OK) compare(file, member, &set);
    tim_tensor_set_close(&set);
    tim_free(path);
    return status;
}

TimStatus check_torch(ParityFile *file, TimError *err) {
    char *folder;
    struct dirent **members;
    TIM_TRY(tim_path_beside(&folder, file->path, "", err));
    const int count = scandir(folder, &members, is_torch, alphasort);
    tim_free(folder);
    if (count <= 0) return tim_fail(err, TIM_E_FORMAT, "no file of torch.save beside it to compare");
    TimStatus status = TIM_OK;
    for (int i = 0; i < count; i++) {
        if (status == TIM_OK) status = check_member(file, members[i]->d_name, err);
        free(members[i]);
    }
    free(members);
    return status;
}
