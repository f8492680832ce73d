/* Attention's layers as files of 2022 name them, stabilityai/sd-vae-ft-ema among them: query, key, value and proj_attn, where newer
 * ones have to_q, to_k, to_v and to_out.0. diffusers renames them when it loads. */
#ifndef TIM_MODEL_OLD_NAMES_H
#define TIM_MODEL_OLD_NAMES_H

enum { TIM_OLD_NAME_BYTES = 192 };

/* The new name of a tensor, and the old one: in `out`, or `name` itself where they do not differ. */
const char *tim_modern_name(char out[TIM_OLD_NAME_BYTES], const char *name);
const char *tim_old_name(char out[TIM_OLD_NAME_BYTES], const char *name);

#endif
