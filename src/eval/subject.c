/* What the numbers of an evaluation depend on. */
#include "eval/subject.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "io/config_fields.h"

TimStatus tim_hash_file(char out[TIM_HASH_TEXT], const char *path, TimError *err) {
    if (SHA256File(path, out)) return TIM_OK;
    return tim_fail(err, TIM_E_IO, "%s: cannot be read: %s", path, strerror(errno));
}

/* With its end, so that no two lists of texts are one. */
static void add_text(SHA2_CTX *hash, const char *text) {
    SHA256Update(hash, (const uint8_t *)text, strlen(text) + 1);
}

static void add_number(SHA2_CTX *hash, int64_t number) {
    SHA256Update(hash, (const uint8_t *)&number, sizeof number);
}

static void add_tensor(SHA2_CTX *hash, const TimStoredTensor *t) {
    add_text(hash, t->name);
    add_number(hash, t->dtype);
    add_number(hash, t->rank);
    for (int i = 0; i < t->rank; i++) add_number(hash, (int64_t)t->dims[i]);
    SHA256Update(hash, t->data, t->bytes);
}

/* By name, so that the same weights in other files are the same. */
TimStatus tim_hash_set(char out[TIM_HASH_TEXT], const TimTensorSet *set, TimError *err) {
    SHA2_CTX hash;
    if (!set->index) return tim_hash_file(out, set->path, err);
    SHA256Init(&hash);
    for (size_t i = 0; i < set->count; i++) add_tensor(&hash, set->by_name[i]);
    SHA256End(&hash, out);
    return TIM_OK;
}

TimStatus tim_weights_hash(char out[TIM_HASH_TEXT], const char *path, TimError *err) {
    TimTensorSet set;
    TIM_TRY(tim_tensor_set_open_weights(&set, path, err));
    const TimStatus status = tim_hash_set(out, &set, err);
    tim_tensor_set_close(&set);
    return status;
}

static void hash_config(char out[TIM_HASH_TEXT], const TimConfig *config) {
    SHA2_CTX hash;
    size_t count;
    const TimField *fields = tim_fields_get(&count);
    SHA256Init(&hash);
    for (size_t i = 0; i < count; i++) {
        const TimField *field = &fields[i];
        char value[128];
        if (field->type == TIM_FIELD_TEXT || field->type == TIM_FIELD_SKIP || !tim_field_applies(field, config)) continue;
        tim_field_format(field, config, value, sizeof value);
        add_text(&hash, field->path);
        add_text(&hash, value);
    }
    SHA256End(&hash, out);
}

static void hash_pictures(char out[TIM_HASH_TEXT], const TimPictureArray *a) {
    const int64_t sizes[] = {a->count, a->height, a->width, a->channels};
    SHA2_CTX hash;
    SHA256Init(&hash);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) add_number(&hash, sizes[i]);
    if (a->count > 0) {
        SHA256Update(&hash, a->pixels, (size_t)(a->count * a->height * a->width * a->channels));
        SHA256Update(&hash, (const uint8_t *)a->labels, (size_t)a->count * sizeof *a->labels);
    }
    SHA256End(&hash, out);
}

/* Raised whenever the same weights and settings come to draw other pictures, or the judge to judge them otherwise. */
enum { REVISION = 2 };

int tim_eval_batch(const TimEvalOptions *options) {
    enum { DEFAULT_BATCH = 100 };
    return options->batch ? options->batch : DEFAULT_BATCH;
}

void tim_eval_subject(char out[TIM_SUBJECT_BYTES], const char *weights, const char *features, const TimEvalOptions *options,
                      const TimModel *model, const TimJudge *judge) {
    char config[TIM_HASH_TEXT], reference[TIM_HASH_TEXT], training[TIM_HASH_TEXT];
    hash_config(config, &model->config);
    hash_pictures(reference, &judge->reference);
    hash_pictures(training, &judge->training);
    snprintf(out, TIM_SUBJECT_BYTES,
             "version=%s.%d samples=%lld seed=%llu batch=%d precision=%s threads=%d isa=%s model=%s configuration=%s classifier=%s "
             "reference=%s training=%s",
             TIM_VERSION, REVISION, (long long)options->samples, (unsigned long long)options->seed, tim_eval_batch(options),
             options->precision == TIM_PRECISION_BF16 ? "bf16" : "fp32", model->options.threads, tim_isa_name(model->options.isa),
             weights, config, features, reference, training);
}
