#include "io/picture_set.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "base/memory.h"

void tim_pictures_done(TimPictures *pictures) {
    if (!pictures) return;
    tim_free(pictures->pixels);
    *pictures = (TimPictures){0};
}

struct TimPictureSet {
    const TimPictureSource *source;
    void *state;
    int64_t count, at; /* at: the picture that comes next */
};

static TimStatus find_source(const TimPictureSource **source, const char *name, TimError *err) {
    struct stat info;
    *source = &tim_picture_idx;
    if (tim_picture_idx_folder(name) > 0) return TIM_OK;
    if (stat(name, &info) != 0)
        return tim_fail(err, TIM_E_IO, "%s: cannot open: %s; give a folder of pictures, an npz, or fashion-mnist:test", name,
                        strerror(errno));
    *source = S_ISDIR(info.st_mode) ? &tim_picture_folder : &tim_picture_npz;
    return TIM_OK;
}

TimStatus tim_picture_set_open(TimPictureSet **out, const char *source, TimError *err) {
    TimPictureSet *set;
    *out = NULL;
    TIM_TRY(tim_new(&set, 1, sizeof *set, "a set of pictures", err));
    TimStatus status = find_source(&set->source, source, err);
    if (status == TIM_OK) status = set->source->open(&set->state, &set->count, source, err);
    if (status == TIM_OK)
        *out = set;
    else
        tim_free(set);
    return status;
}

int64_t tim_picture_set_count(const TimPictureSet *set) {
    return set->count;
}

TimStatus tim_picture_set_next(TimPictureSet *set, TimImage *image, int64_t *label, TimError *err) {
    *image = (TimImage){0};
    *label = -1;
    if (set->at == set->count)
        return tim_fail(err, TIM_E_ARGUMENT, "all %lld pictures of the set were read; rewind it", (long long)set->count);
    TIM_TRY(set->source->read(set->state, set->at, image, label, err));
    set->at++;
    return TIM_OK;
}

void tim_picture_set_rewind(TimPictureSet *set) {
    set->at = 0;
}

void tim_picture_set_close(TimPictureSet *set) {
    if (!set) return;
    set->source->close(set->state);
    tim_free(set);
}
