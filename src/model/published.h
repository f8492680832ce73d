/* The published checkpoints, recognised by the names and shapes of their tensors. */
#ifndef TIM_MODEL_PUBLISHED_H
#define TIM_MODEL_PUBLISHED_H

#include "io/tensor_set.h"
#include "tape/params.h"

/* The name of the published checkpoint that has these tensors, the projector's aside; NULL for none. Static storage. */
const char *tim_published_name(const TimTensorSet *set);

/* The configuration, YAML, that was published with the TiM weights that have these tensors: what of it drawing depends on. NULL for
 * other weights. Static storage. */
const char *tim_published_config(const TimTensorSet *set);

/* The name of the published checkpoint that a network with these parameters opens; NULL for none, and when memory is out. */
const char *tim_published_of(const TimParams *params);

/* Says behind the text of an error which published file the parameters want and whose tensors `set` (NULL: nobody knows) has, as
 * far as either is known. Returns `status`. */
TimStatus tim_published_fail(const TimParams *params, const TimTensorSet *set, TimStatus status, TimError *err);

/* True when its metadata says that its weights are made up (tim/synth.h). */
bool tim_published_is_hash(const TimTensorSet *set);

#endif
