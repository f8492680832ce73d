/* Writing a model: its weights under the official names, its configuration beside them (store.h). */
#include <string.h>

#include "base/memory.h"
#include "io/file.h"
#include "model/store.h"

/* `data` is the whole vector in `dtype`, each parameter at its offset. */
static TimStatus add_tensors(TimSafetensorsWriter *writer, const void *data, const TimParams *params, TimDtype dtype,
                             TimError *err) {
    for (size_t i = 0; i < params->count; i++) {
        const TimParam *p = &params->items[i];
        size_t dims[TIM_PARAM_MAX_RANK];
        tim_param_dims(p, dims);
        const char *place = (const char *)data + p->offset * tim_dtype_size(dtype);
        TIM_TRY(tim_safetensors_writer_add(writer, p->name, dtype, p->rank, dims, place, err));
    }
    return TIM_OK;
}

static TimStatus write_data(TimFileWriter *out, const void *data, const TimParams *params, TimDtype dtype,
                            const TimStoredText *texts, size_t text_count, TimError *err) {
    TimSafetensorsWriter writer;
    TimStatus status = tim_safetensors_writer_init(&writer, err);
    for (size_t i = 0; status == TIM_OK && i < text_count; i++)
        status = tim_safetensors_writer_add_text(&writer, texts[i].key, texts[i].value, err);
    if (status == TIM_OK) status = add_tensors(&writer, data, params, dtype, err);
    if (status == TIM_OK) status = tim_safetensors_writer_write(&writer, out, err);
    tim_safetensors_writer_done(&writer);
    return status;
}

static TimStatus write_weights(TimFileWriter *out, const float *vector, const TimParams *params, TimDtype dtype,
                               const TimStoredText *texts, size_t text_count, TimError *err) {
    if (dtype == TIM_F32) return write_data(out, vector, params, dtype, texts, text_count, err);
    if (dtype != TIM_BF16)
        return tim_fail(err, TIM_E_ARGUMENT, "weights as %s; they are written as F32 or BF16", tim_dtype_name(dtype));
    TimBf16 *rounded;
    TIM_TRY(tim_new(&rounded, params->elements, sizeof *rounded, "the bf16 weights", err));
    tim_bf16_round_all(rounded, vector, params->elements);
    const TimStatus status = write_data(out, rounded, params, dtype, texts, text_count, err);
    tim_free(rounded);
    return status;
}

TimStatus tim_weights_write(const float *vector, const TimParams *params, TimDtype dtype, const TimStoredText *texts,
                            size_t text_count, const char *path, TimError *err) {
    TimFileWriter out;
    TIM_TRY(tim_file_writer_open(&out, path, err));
    TimStatus status = write_weights(&out, vector, params, dtype, texts, text_count, err);
    if (status == TIM_OK) status = tim_file_writer_commit(&out, err);
    tim_file_writer_abandon(&out);
    return status;
}

/* Both are on disk before either takes its place, the configuration first: what was there is lost only once both are whole, and
 * weights never lie there without one. */
static TimStatus write_pair(const TimConfig *config, const float *vector, const TimParams *params, TimDtype dtype,
                            const TimStoredText *texts, size_t text_count, const char *const paths[2], TimError *err) {
    TimFileWriter out;
    TIM_TRY(tim_config_check(config, err)); /* before anything is written */
    TIM_TRY(tim_file_writer_open(&out, paths[1], err));
    TimStatus status = write_weights(&out, vector, params, dtype, texts, text_count, err);
    if (status == TIM_OK) status = tim_file_writer_sync(&out, err);
    if (status == TIM_OK) status = tim_config_write(config, paths[0], err);
    if (status == TIM_OK) status = tim_file_writer_commit(&out, err);
    tim_file_writer_abandon(&out);
    return status;
}

TimStatus tim_model_save(const TimConfig *config, const float *vector, const TimParams *params, TimDtype dtype,
                         const TimStoredText *texts, size_t text_count, const char *folder, TimError *err) {
    char *config_path = NULL, *weights_path = NULL;
    TIM_TRY(tim_folder_make(folder, err));
    TimStatus status = tim_join_path(&config_path, folder, TIM_CONFIG_FILE, err);
    if (status == TIM_OK) status = tim_join_path(&weights_path, folder, TIM_MODEL_FILE, err);
    const char *const paths[] = {config_path, weights_path};
    if (status == TIM_OK) status = write_pair(config, vector, params, dtype, texts, text_count, paths, err);
    tim_free(config_path);
    tim_free(weights_path);
    return status;
}

/* The weights as a model binds them, in one vector; what is absent stays zero. */
static void gather(float *vector, const TimModel *model) {
    for (size_t i = 0; i < model->params.count; i++) {
        const TimParam *p = &model->params.items[i];
        const float *f32 = model->weights.f32[i];
        const TimBf16 *bf16 = model->weights.bf16[i];
        for (size_t k = 0; f32 && k < p->count; k++) vector[p->offset + k] = f32[k];
        for (size_t k = 0; !f32 && bf16 && k < p->count; k++) vector[p->offset + k] = tim_bf16_to_f32(bf16[k]);
    }
}

enum { KEPT = 3 };

/* What the metadata of the model's file tell of the weights, not of the file; *count <= KEPT of it in `out`. */
static void keep_texts(TimStoredText out[KEPT], size_t *count, const TimTensorSet *set) {
    static const char *const kept[KEPT] = {"format", "weights", TIM_TRAINING_STEPS};
    *count = 0;
    for (int k = 0; k < KEPT; k++)
        for (size_t i = 0; i < set->text_count; i++)
            if (strcmp(set->texts[i].key, kept[k]) == 0 && (*count == 0 || out[*count - 1].key != kept[k]))
                out[(*count)++] = (TimStoredText){kept[k], set->texts[i].value};
}

TimStatus tim_model_write(const TimModel *model, const char *folder, TimPrecision precision, TimError *err) {
    const TimDtype dtype = precision == TIM_PRECISION_BF16 ? TIM_BF16 : TIM_F32;
    TIM_TRY(tim_precision_check(precision, err));
    TimStoredText texts[KEPT];
    size_t text_count;
    float *vector;
    TIM_TRY(tim_new(&vector, model->params.elements, sizeof *vector, "the weights", err));
    gather(vector, model);
    keep_texts(texts, &text_count, &model->frozen.set);
    const TimStatus status = tim_model_save(&model->config, vector, &model->params, dtype, texts, text_count, folder, err);
    tim_free(vector);
    return status;
}
