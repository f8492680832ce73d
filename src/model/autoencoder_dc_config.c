/* config.json of an AutoencoderDC. Absent keys have the values of the diffusers class. */
#include "model/autoencoder_dc.h"

enum { MAX_CHANNELS = 16384 };

/* The keys of one half, and what they are without them. */
typedef struct HalfKeys {
    const char *types, *channels, *layers, *scales;
} HalfKeys;

static TimStatus read_scales(TimDcStage *stages, int count, const json_t *value, const char *key, TimError *err) {
    if (!value) return TIM_OK;
    if (!json_is_array(value) || json_array_size(value) != (size_t)count)
        return tim_diffusers_refuse(key, value, "a list with a list for each stage", err);
    for (int i = 0; i < count; i++) {
        TimDcStage *s = &stages[i];
        TIM_TRY(
            tim_diffusers_list(json_array_get(value, (size_t)i), key, 1, 99, TIM_DC_MAX_SCALES, s->scales, &s->scale_count, err));
        for (int k = 0; k < s->scale_count; k++)
            if (s->scales[k] % 2 == 0) return tim_diffusers_refuse(key, value, "lists of odd numbers", err);
    }
    return TIM_OK;
}

static TimStatus read_half(TimDcStage stages[TIM_DC_MAX_STAGES], int *count, TimDiffusersConfig *config, const HalfKeys *keys,
                           TimError *err) {
    static const char *const types[] = {"ResBlock", "EfficientViTBlock", NULL};
    int channels[TIM_DC_MAX_STAGES] = {128, 256, 512, 512, 1024, 1024}, layers[TIM_DC_MAX_STAGES], layer_count = 6;
    int vit[TIM_DC_MAX_STAGES] = {0};
    *count = 6;
    for (int i = 0; i < 6; i++) layers[i] = stages[i].layers;
    TIM_TRY(tim_diffusers_ints(config, keys->channels, 1, MAX_CHANNELS, TIM_DC_MAX_STAGES, channels, count, err));
    TIM_TRY(tim_diffusers_ints(config, keys->layers, 0, 64, TIM_DC_MAX_STAGES, layers, &layer_count, err));
    if (*count < 2 || layer_count != *count)
        return tim_fail(err, TIM_E_FORMAT, "'%s' has %d numbers and '%s' %d; both have one for each of at least two stages",
                        keys->channels, *count, keys->layers, layer_count);
    TIM_TRY(tim_diffusers_names(config, keys->types, types, *count, vit, err));
    TIM_TRY(read_scales(stages, *count, tim_diffusers_get(config, keys->scales), keys->scales, err));
    for (int i = 0; i < *count; i++) stages[i].channels = channels[i], stages[i].layers = layers[i], stages[i].vit = vit[i];
    return TIM_OK;
}

static TimStatus read_decoder_styles(TimDcConfig *dc, TimDiffusersConfig *config, TimError *err) {
    static const char *const norms[] = {"rms_norm", "batch_norm", NULL}, *const acts[] = {"silu", "relu", NULL};
    int norm[TIM_DC_MAX_STAGES] = {0}, act[TIM_DC_MAX_STAGES] = {0};
    TIM_TRY(tim_diffusers_names(config, "decoder_norm_types", norms, dc->stages, norm, err));
    TIM_TRY(tim_diffusers_names(config, "decoder_act_fns", acts, dc->stages, act, err));
    for (int i = 0; i < dc->stages; i++) {
        TimDcStage *s = &dc->decoder[i];
        s->batch_norm = norm[i], s->relu = act[i];
        if (s->vit && s->batch_norm)
            return tim_fail(
                err, TIM_E_UNSUPPORTED,
                "'decoder_norm_types' is \"batch_norm\" for stage %d of EfficientViT blocks; this library runs them with "
                "\"rms_norm\"",
                i);
    }
    return TIM_OK;
}

/* The shortcuts copy or average whole channels. */
static TimStatus check_half(const TimDcConfig *dc, const TimDcStage *s, bool shortcut, const char *half, TimError *err) {
    for (int i = 0; i < dc->stages; i++) {
        const int fine = s[i].channels, coarse = i + 1 < dc->stages ? s[i + 1].channels : dc->latent_channels;
        const bool last = i + 1 == dc->stages;
        if (last ? shortcut && fine % coarse : (4 * fine) % coarse || coarse % 4 || fine % 4)
            return tim_fail(err, TIM_E_UNSUPPORTED,
                            "'%s_block_out_channels' go from %d to %d at stage %d; shortcuts need multiples of four where four "
                            "times the first is a multiple of the second, and the last a multiple of 'latent_channels'",
                            half, fine, coarse, i);
        if (s[i].vit && s[i].channels % dc->head_width)
            return tim_fail(err, TIM_E_UNSUPPORTED, "'attention_head_dim' is %d, which does not divide the %d channels of stage %d",
                            dc->head_width, s[i].channels, i);
    }
    for (int i = 1; i + 1 < dc->stages; i++)
        if (s[i].layers == 0)
            return tim_fail(err, TIM_E_UNSUPPORTED,
                            "'%s_layers_per_block' is 0 for stage %d, which would not halve the picture; only the first may be",
                            half, i);
    if (s[dc->stages - 1].layers == 0)
        return tim_fail(err, TIM_E_UNSUPPORTED, "'%s_layers_per_block' ends with 0; the coarsest stage has a layer at least", half);
    return TIM_OK;
}

TimStatus tim_dc_config_read(TimDcConfig *dc, TimDiffusersConfig *config, TimError *err) {
    static const HalfKeys encoder = {"encoder_block_types", "encoder_block_out_channels", "encoder_layers_per_block",
                                     "encoder_qkv_multiscales"},
                          decoder = {"decoder_block_types", "decoder_block_out_channels", "decoder_layers_per_block",
                                     "decoder_qkv_multiscales"};
    static const char *const downs[] = {"Conv", "pixel_unshuffle", "conv", NULL}, *const ups[] = {"interpolate", "pixel_shuffle",
                                                                                                  NULL};
    static const char *const acts[] = {"silu", "relu", NULL};
    enum { UNSHUFFLE = 1 }; /* as diffusers has it, every other word means convolutions */
    int down = UNSHUFFLE, up = 1, act = 1, stages;
    *dc = (TimDcConfig){
        .in_channels = 3, .latent_channels = 32, .head_width = 32, .scaling_factor = 1, .out_shortcut = true, .in_shortcut = true};
    for (int i = 0; i < 6; i++) {
        dc->encoder[i] = (TimDcStage){.layers = i < 3 ? 2 : 3, .scales = {5}, .scale_count = i >= 3};
        dc->decoder[i] = (TimDcStage){.layers = 3, .scales = {5}, .scale_count = i >= 3};
    }
    TIM_TRY(tim_diffusers_int(config, "in_channels", 1, 64, &dc->in_channels, err));
    TIM_TRY(tim_diffusers_int(config, "latent_channels", 1, 4096, &dc->latent_channels, err));
    TIM_TRY(tim_diffusers_int(config, "attention_head_dim", 1, 1024, &dc->head_width, err));
    TIM_TRY(tim_diffusers_number(config, "scaling_factor", &dc->scaling_factor, err));
    TIM_TRY(tim_diffusers_flag(config, "encoder_out_shortcut", &dc->out_shortcut, err));
    TIM_TRY(tim_diffusers_flag(config, "decoder_in_shortcut", &dc->in_shortcut, err));
    TIM_TRY(tim_diffusers_name(config, "decoder_conv_act_fn", acts, &act, err));
    dc->silu_out = act == 0;
    TIM_TRY(tim_diffusers_name(config, "downsample_block_type", downs, &down, err));
    TIM_TRY(tim_diffusers_name(config, "upsample_block_type", ups, &up, err));
    dc->unshuffle_down = down == UNSHUFFLE, dc->shuffle_up = up;
    TIM_TRY(read_half(dc->encoder, &dc->stages, config, &encoder, err));
    TIM_TRY(read_half(dc->decoder, &stages, config, &decoder, err));
    if (stages != dc->stages)
        return tim_fail(err, TIM_E_UNSUPPORTED, "the encoder has %d stages and the decoder %d; both need as many", dc->stages,
                        stages);
    TIM_TRY(read_decoder_styles(dc, config, err));
    TIM_TRY(check_half(dc, dc->encoder, dc->out_shortcut, "encoder", err));
    TIM_TRY(check_half(dc, dc->decoder, dc->in_shortcut, "decoder", err));
    return tim_diffusers_finish(config, err);
}
