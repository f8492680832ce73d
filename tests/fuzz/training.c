/* The state.json of a checkpoint whose weights and moments are sound: a trainer goes on from it, or says why not. */
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/memory.h"
#include "fuzz/folder.h"
#include "fuzz/targets.h"
#include "model/store.h"
#include "train/checkpoint.h"

/* ---- a trainer of the smallest network, on two pictures ---- */

static void write_pictures(void) {
    static const uint8_t labels[] = {0, 0, 8, 1, 0, 0, 0, 2, 0, 1};
    static const uint8_t pictures[16 + 2 * 8 * 8] = {0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 8, 0, 0, 0, 8};
    char path[FUZZ_PATH];
    fuzz_file(path, "train-labels-idx1-ubyte", labels, sizeof labels);
    fuzz_file(path, "train-images-idx3-ubyte", pictures, sizeof pictures);
}

static TimTrainer *new_trainer(void) {
    static const TimTrainerOptions options = {.threads = 1};
    TimConfig config;
    TimTrainer *trainer;
    TimError err;
    char path[FUZZ_PATH];
    write_pictures();
    tim_config_init(&config);
    TimNetworkConfig *n = &config.network;
    n->input_size = 8, n->patch_size = 4, n->in_channels = 1, n->num_classes = 2, n->depth = n->encoder_depth = 1;
    n->hidden_size = 16, n->num_heads = n->z_dim = n->projector_dim = 1, n->lora_hidden_size = 4;
    config.transition.expected_loss = true, config.training.batch_size = 2;
    if (tim_copy_text(&config.data_type, "idx", &err) != TIM_OK) abort();
    if (tim_copy_text(&config.data_dir, fuzz_path(path, ""), &err) != TIM_OK) abort();
    if (tim_trainer_new(&trainer, &config, &options, &err) != TIM_OK) abort();
    tim_config_done(&config);
    return trainer;
}

static void write_vector(const float *vector, const TimParams *params, const char *name) {
    TimError err;
    char path[FUZZ_PATH];
    if (tim_weights_write(vector, params, TIM_F32, NULL, 0, fuzz_path(path, name), &err) != TIM_OK) abort();
}

static TimTrainer *trainer;

static void free_trainer(void) {
    tim_trainer_free(trainer);
}

static void make_trainer(void) {
    trainer = new_trainer();
    if (atexit(free_trainer) != 0) abort();
    write_vector(trainer->ema->f32, &trainer->model->params, TIM_MODEL_FILE);
    write_vector(trainer->model->f32, &trainer->model->params, TIM_RAW_WEIGHTS_FILE);
    write_vector(trainer->moments, &trainer->moment_params, TIM_OPTIMIZER_FILE);
}

/* ---- its state ---- */

int fuzz_train_state(const uint8_t *data, size_t size) {
    TimError err;
    char path[FUZZ_PATH];
    if (!trainer) make_trainer();
    fuzz_file(path, TIM_STATE_FILE, data, size);
    if (!fuzz_taken(tim_trainer_resume(trainer, fuzz_path(path, ""), &err), &err)) return 0;
    if (tim_trainer_steps(trainer) < 0 || trainer->state.skipped > trainer->state.step) abort();
    TimTrainReport report;
    (void)fuzz_taken(tim_trainer_step(trainer, &report, &err), &err);
    return 1;
}
