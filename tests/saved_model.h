/* A small model (small_model.h) as a folder of files in the test's folder (fixture.h). */
#ifndef TIM_TESTS_SAVED_MODEL_H
#define TIM_TESTS_SAVED_MODEL_H

#include "fixture.h"
#include "model/store.h"
#include "small_model.h"

/* Weights made from their names for `config`, and a text about them, in the folder `name`. */
static inline void save_model(const char *name, const TimConfig *config) {
    const TimNetworkOptions options = {.isa = tim_isa_best(), .threads = 1};
    const TimStoredText text = {"made by", "hash\twith \"quotes\""};
    TimModel *model;
    assert_ok(tim_model_new(&model, config, &options, &err));
    assert_ok(fill_hash_weights(model, &err));
    assert_ok(tim_model_save(config, model->f32, &model->params, TIM_F32, &text, 1, in_folder(name), &err));
    tim_model_close(model);
}

#endif
