#include "train/checkpoints.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "io/number.h"

static const char prefix[] = "checkpoint-", abandoned[] = "abandoned";

/* What follows the digits of checkpoint-N; NULL where the name does not begin so. */
static const char *behind_number(const char *name) {
    if (strncmp(name, prefix, sizeof prefix - 1) != 0) return NULL;
    const char *digits = name + sizeof prefix - 1;
    const size_t count = strspn(digits, "0123456789");
    return count ? digits + count : NULL;
}

/* True for checkpoint-N, with its N. A number with zeros before it is a name that a user gave. */
static bool parse(const char *name, int64_t *number) {
    long long parsed;
    const char *end = behind_number(name), *digits = name + sizeof prefix - 1;
    if (!end || *end || (*digits == '0' && end > digits + 1) || !tim_number_parse_integer(digits, 0, INT64_MAX, &parsed))
        return false;
    *number = parsed;
    return true;
}

/* True for what a kill leaves of a checkpoint; both suffixes where the one that was exchanged for the new was being removed. */
static bool is_leftover(const char *name) {
    static const char *const suffixes[] = {TIM_FOLDER_WRITTEN, TIM_FOLDER_REMOVED, TIM_FOLDER_WRITTEN TIM_FOLDER_REMOVED};
    const char *end = behind_number(name);
    for (size_t i = 0; end && i < sizeof suffixes / sizeof *suffixes; i++)
        if (strcmp(end, suffixes[i]) == 0) return true;
    return false;
}

/* True for checkpoint-N.abandoned, also with a number behind. */
static bool is_abandoned(const char *name) {
    const char *end = behind_number(name);
    return end && *end == '.' && strncmp(end + 1, abandoned, sizeof abandoned - 1) == 0;
}

/* What a folder holds. */
typedef struct Census {
    int64_t count;
    int64_t smallest, largest;           /* -1 without any; the smallest leaves `keep` out */
    char leftover[TIM_CHECKPOINT_NAME];  /* one of them, or empty */
    char abandoned[TIM_CHECKPOINT_NAME]; /* one that is out of the way, or empty */
} Census;

static void count_entry(Census *census, const char *name, int64_t keep) {
    int64_t number;
    if (is_leftover(name)) snprintf(census->leftover, sizeof census->leftover, "%s", name);
    if (is_abandoned(name)) snprintf(census->abandoned, sizeof census->abandoned, "%s", name);
    if (!parse(name, &number)) return;
    census->count++;
    if (number > census->largest) census->largest = number;
    if (number != keep && (census->smallest < 0 || number < census->smallest)) census->smallest = number;
}

static TimStatus take_census(Census *census, const char *folder, int64_t keep, TimError *err) {
    *census = (Census){.smallest = -1, .largest = -1};
    DIR *stream = opendir(folder);
    if (!stream && errno == ENOENT) return TIM_OK;
    if (!stream) return tim_fail(err, TIM_E_IO, "%s: cannot read the folder: %s", folder, strerror(errno));
    for (const struct dirent *entry = readdir(stream); entry; entry = readdir(stream)) count_entry(census, entry->d_name, keep);
    closedir(stream);
    return TIM_OK;
}

TimStatus tim_checkpoint_latest(int64_t *latest, const char *folder, TimError *err) {
    Census census;
    TIM_TRY(take_census(&census, folder, -1, err));
    *latest = census.largest;
    return TIM_OK;
}

TimStatus tim_checkpoint_abandoned(char name[TIM_CHECKPOINT_NAME], const char *folder, TimError *err) {
    Census census;
    TIM_TRY(take_census(&census, folder, -1, err));
    snprintf(name, TIM_CHECKPOINT_NAME, "%s", census.abandoned);
    return TIM_OK;
}

TimStatus tim_checkpoint_abandon(char kept[TIM_MAX_PATH], const char *folder, int64_t step, TimError *err) {
    int64_t latest;
    char path[TIM_MAX_PATH];
    *kept = '\0';
    TIM_TRY(tim_checkpoint_latest(&latest, folder, err));
    if (latest <= step) return TIM_OK;
    TIM_TRY(tim_path(path, err, "%s/%s%lld", folder, prefix, (long long)latest));
    return tim_path_keep(kept, path, abandoned, err);
}

/* One at a time: each removal changes what there is. */
TimStatus tim_checkpoint_rotate(const char *folder, int limit, int64_t keep, TimError *err) {
    for (;;) {
        Census census;
        char path[TIM_MAX_PATH];
        TIM_TRY(take_census(&census, folder, keep, err));
        const bool surplus = limit > 0 && census.count > limit && census.smallest >= 0;
        if (*census.leftover) {
            TIM_TRY(tim_path(path, err, "%s/%s", folder, census.leftover));
            TIM_TRY(tim_folder_erase(path, err));
        } else if (surplus) {
            TIM_TRY(tim_path(path, err, "%s/%s%lld", folder, prefix, (long long)census.smallest));
            TIM_TRY(tim_folder_remove(path, err));
        } else {
            return TIM_OK;
        }
    }
}
