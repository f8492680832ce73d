/* config.json of an AutoencoderKL. Absent keys have the values of the diffusers class. */
#include "model/autoencoder_kl.h"

enum { MAX_CHANNELS = 16384 };

static TimStatus read_block_types(TimDiffusersConfig *config, const char *key, const char *type, int count, TimError *err) {
    const char *const names[] = {type, NULL};
    const json_t *value = tim_diffusers_get(config, key);
    int which[TIM_KL_MAX_STAGES];
    if (value && (!json_is_array(value) || json_array_size(value) != (size_t)count))
        return tim_diffusers_refuse(key, value, "a list with one block type for each of block_out_channels", err);
    return tim_diffusers_names(config, key, names, count, which, err);
}

static TimStatus read_stages(TimKlConfig *kl, TimDiffusersConfig *config, TimError *err) {
    TIM_TRY(tim_diffusers_ints(config, "block_out_channels", 1, MAX_CHANNELS, TIM_KL_MAX_STAGES, kl->channels, &kl->stages, err));
    if (kl->stages < 1) return tim_fail(err, TIM_E_FORMAT, "'block_out_channels' is empty; an autoencoder has a stage at least");
    TIM_TRY(read_block_types(config, "down_block_types", "DownEncoderBlock2D", kl->stages, err));
    TIM_TRY(read_block_types(config, "up_block_types", "UpDecoderBlock2D", kl->stages, err));
    TIM_TRY(tim_diffusers_int(config, "layers_per_block", 1, TIM_KL_MAX_LAYERS, &kl->layers, err));
    TIM_TRY(tim_diffusers_int(config, "norm_num_groups", 1, MAX_CHANNELS, &kl->groups, err));
    for (int i = 0; i < kl->stages; i++)
        if (kl->channels[i] % kl->groups)
            return tim_fail(err, TIM_E_FORMAT, "'norm_num_groups' is %d, which does not divide %d of 'block_out_channels'",
                            kl->groups, kl->channels[i]);
    return TIM_OK;
}

/* A list of a number for each channel of the latents; *found: whether there is one. */
static TimStatus read_per_channel(double *out, bool *found, TimDiffusersConfig *config, const char *key, int channels,
                                  TimError *err) {
    const json_t *value = tim_diffusers_get(config, key);
    *found = value != NULL;
    if (!value) return TIM_OK;
    if (!json_is_array(value) || json_array_size(value) != (size_t)channels || channels > TIM_KL_MAX_NORMALIZED)
        return tim_diffusers_refuse(key, value, "a list with a number for each of at most 64 'latent_channels'", err);
    for (int i = 0; i < channels; i++) {
        const json_t *item = json_array_get(value, (size_t)i);
        if (!json_is_number(item)) return tim_diffusers_refuse(key, value, "a list of numbers", err);
        out[i] = json_number_value(item);
    }
    return TIM_OK;
}

static TimStatus read_normalization(TimKlConfig *kl, TimDiffusersConfig *config, TimError *err) {
    bool mean, deviation;
    TIM_TRY(read_per_channel(kl->latents_mean, &mean, config, "latents_mean", kl->latent_channels, err));
    TIM_TRY(read_per_channel(kl->latents_std, &deviation, config, "latents_std", kl->latent_channels, err));
    kl->normalized = mean && deviation; /* one alone is not looked at by the published pipelines */
    for (int i = 0; kl->normalized && i < kl->latent_channels; i++)
        if (!(kl->latents_std[i] > 0))
            return tim_fail(err, TIM_E_FORMAT, "'latents_std' is %g for channel %d; it must be above 0", kl->latents_std[i], i);
    return TIM_OK;
}

TimStatus tim_kl_config_read(TimKlConfig *kl, TimDiffusersConfig *config, TimError *err) {
    static const char *const acts[] = {"silu", "swish", NULL};
    int act = 0;
    *kl = (TimKlConfig){.in_channels = 3,
                        .out_channels = 3,
                        .latent_channels = 4,
                        .stages = 1,
                        .channels = {64},
                        .layers = 1,
                        .groups = 32,
                        .quant_conv = true,
                        .post_quant_conv = true,
                        .mid_attention = true,
                        .sample_size = 32,
                        .scaling_factor = 0.18215};
    TIM_TRY(read_stages(kl, config, err));
    TIM_TRY(tim_diffusers_int(config, "in_channels", 1, 64, &kl->in_channels, err));
    TIM_TRY(tim_diffusers_int(config, "out_channels", 1, 64, &kl->out_channels, err));
    TIM_TRY(tim_diffusers_int(config, "latent_channels", 1, 4096, &kl->latent_channels, err));
    TIM_TRY(tim_diffusers_int(config, "sample_size", 1, 65536, &kl->sample_size, err));
    TIM_TRY(tim_diffusers_name(config, "act_fn", acts, &act, err));
    TIM_TRY(tim_diffusers_flag(config, "use_quant_conv", &kl->quant_conv, err));
    TIM_TRY(tim_diffusers_flag(config, "use_post_quant_conv", &kl->post_quant_conv, err));
    TIM_TRY(tim_diffusers_flag(config, "mid_block_add_attention", &kl->mid_attention, err));
    TIM_TRY(tim_diffusers_number(config, "scaling_factor", &kl->scaling_factor, err));
    TIM_TRY(tim_diffusers_number(config, "shift_factor", &kl->shift_factor, err));
    TIM_TRY(read_normalization(kl, config, err));
    tim_diffusers_skip(config, "force_upcast"); /* norms and sums are fp32 here in any case */
    return tim_diffusers_finish(config, err);
}
