/* Checkpoints of any published size without a download: every tensor is made from its own name. They load, run and take the time
 * and memory of the real ones; their pictures mean nothing. */
#ifndef TIM_SYNTH_H
#define TIM_SYNTH_H

#include <stddef.h>

#include "tim/config.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What was written. */
typedef struct TimSynthInfo {
    size_t tensors, parameters;
    const char *kind; /* "TiM", "AutoencoderKL", "AutoencoderDC", "gemma3_text", "t5", "tensors"; static storage */
} TimSynthInfo;

/* Writes the checkpoint that a manifest describes: {"config": {...}, "tensors": {NAME: [AXIS, ...], ...}} and, of a TiM, "model":
 * "c2i" or "t2i". The folder, made unless it is there with those above it, gets the weights under their published file name, as
 * fp32 or bf16, with {"weights": "hash"} in their metadata, and the configuration: config.yaml of a TiM, else config.json, where
 * the manifest has one. Files that are there are replaced, only when both new ones are whole. `info` may be NULL. Errors:
 * TIM_E_ARGUMENT for another precision, TIM_E_IO, TIM_E_FORMAT naming file and key, TIM_E_MEMORY: the whole checkpoint is held
 * once. Any thread. */
TIM_API TimStatus tim_synth(const char *manifest, const char *folder, TimPrecision precision, TimSynthInfo *info, TimError *err);

#ifdef __cplusplus
}
#endif
#endif
