/* The model a golden file describes: configuration from its metadata, weights from the tensors' names. */
#ifndef TIM_TESTS_PARITY_MODEL_H
#define TIM_TESTS_PARITY_MODEL_H

#include "model/model.h"
#include "parity/parity.h"

/* The network's configuration from the metadata "config" and "model". */
TimStatus parity_network_config(ParityFile *file, TimNetworkConfig *config, TimError *err);

/* How the command line wants networks to run. */
TimStatus parity_network_options(const ParityFile *file, TimNetworkOptions *options, TimError *err);

/* A model with hash weights; free with tim_model_close. */
TimStatus parity_model(ParityFile *file, TimModel **model, TimError *err);

/* Every parameter of `params` made from its name, into the vector `weights`. */
TimStatus parity_fill_weights(const TimParams *params, float *weights, TimError *err);

/* Labels (B) or caption (B, M, cap) of the tensor `name`, whichever the network takes. */
TimStatus parity_condition(ParityFile *file, const TimNetworkConfig *config, const char *name, TimCondition *condition,
                           TimError *err);

#endif
