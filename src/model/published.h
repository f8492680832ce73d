/* The published checkpoints, recognised by the names and shapes of their tensors. */
#ifndef TIM_MODEL_PUBLISHED_H
#define TIM_MODEL_PUBLISHED_H

#include "io/tensor_set.h"

/* The name of the published checkpoint that has these tensors, the projector's aside; NULL for none. Static storage. */
const char *tim_published_name(const TimTensorSet *set);

/* True when its metadata says that its weights are made up (tim/synth.h). */
bool tim_published_is_hash(const TimTensorSet *set);

#endif
