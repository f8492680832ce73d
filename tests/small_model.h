/* A class model small enough for tests: gray pictures of 8 x 8 pixels, 4 classes, 2 blocks, weights made from their names. */
#ifndef TIM_TESTS_SMALL_MODEL_H
#define TIM_TESTS_SMALL_MODEL_H

#include "model/model.h"
#include "nn/hash_weights.h"

enum { SIDE = 8, PIXELS = SIDE * SIDE, CLASSES = 4 };

/* It owns no texts. */
static inline TimConfig small_config(TimTransportKind transport) {
    TimConfig config;
    tim_config_init(&config);
    TimNetworkConfig *n = &config.network;
    n->input_size = SIDE, n->patch_size = 2, n->in_channels = 1;
    n->depth = 2, n->hidden_size = 24, n->num_heads = 3, n->encoder_depth = 1;
    n->z_dim = 8, n->projector_dim = 8, n->lora_hidden_size = 8;
    n->num_classes = CLASSES, n->use_new_embed = true, n->distance_aware = true;
    tim_transport_config_init(&config.transport, transport);
    return config;
}

/* tim_hash_weights for every parameter. */
static inline TimStatus fill_hash_weights(TimModel *model, TimError *error) {
    for (size_t i = 0; i < model->params.count; i++) {
        const TimParam *p = &model->params.items[i];
        size_t dims[TIM_PARAM_MAX_RANK];
        tim_param_dims(p, dims);
        TIM_TRY(tim_hash_weights(p->name, dims, p->rank, TIM_HASH_PLAIN, model->f32 + p->offset, error));
    }
    tim_model_weights_changed(model);
    return TIM_OK;
}

#endif
