/* config.json of an autoencoder of either kind, and what follows from it alone. */
#include <math.h>
#include <string.h>

#include "io/hf_config.h"
#include "model/autoencoder.h"

static TimStatus check_scaling(const TimAutoencoderConfig *config, TimError *err) {
    for (int channel = 0; channel < tim_autoencoder_latent_channels(config); channel++) {
        const double scaling = tim_autoencoder_scaling(config, channel);
        if (!(scaling > 0 && isfinite(scaling)))
            return tim_fail(err, TIM_E_FORMAT,
                            "'scaling_factor'%s is %g for channel %d, and latents are divided by it; take config.json as it was "
                            "published",
                            config->kl.normalized ? " over 'latents_std'" : "", scaling, channel);
    }
    return TIM_OK;
}

static TimStatus read_config(TimAutoencoderConfig *config, json_t *object, const char *class_name, TimError *err) {
    TimDiffusersConfig json = {.object = object};
    static const char *const classes[] = {"AutoencoderKL", "AutoencoderDC", NULL};
    int kind = -1;
    if (class_name)
        for (int i = 0; classes[i]; i++) kind = strcmp(class_name, classes[i]) == 0 ? i : kind;
    else
        TIM_TRY(tim_diffusers_name(&json, "_class_name", classes, &kind, err));
    if (kind < 0)
        return tim_fail(err, TIM_E_UNSUPPORTED, "'_class_name' is %s; give an AutoencoderKL or an AutoencoderDC",
                        class_name ? class_name : "missing");
    *config = (TimAutoencoderConfig){.kind = (TimAutoencoderKind)kind};
    TIM_TRY(kind == TIM_AUTOENCODER_KL ? tim_kl_config_read(&config->kl, &json, err) : tim_dc_config_read(&config->dc, &json, err));
    return check_scaling(config, err);
}

TimStatus tim_autoencoder_config_read(TimAutoencoderConfig *config, const char *path, TimError *err) {
    json_t *object;
    TIM_TRY(tim_hf_config_open(&object, path, err));
    const TimStatus status = read_config(config, object, NULL, err);
    json_decref(object);
    return status == TIM_OK ? TIM_OK : tim_fail_within(err, status, "%s", path);
}

TimStatus tim_autoencoder_config_parse(TimAutoencoderConfig *config, const char *json_text, const char *class_name, TimError *err) {
    json_t *object;
    TIM_TRY(tim_hf_config_parse(&object, json_text, strlen(json_text), err));
    const TimStatus status = read_config(config, object, class_name, err);
    json_decref(object);
    return status;
}

int tim_autoencoder_factor(const TimAutoencoderConfig *config) {
    return 1 << ((config->kind == TIM_AUTOENCODER_KL ? config->kl.stages : config->dc.stages) - 1);
}

int tim_autoencoder_picture_channels(const TimAutoencoderConfig *config, bool decoder) {
    if (config->kind == TIM_AUTOENCODER_DC) return config->dc.in_channels;
    return decoder ? config->kl.out_channels : config->kl.in_channels;
}

int tim_autoencoder_latent_channels(const TimAutoencoderConfig *config) {
    return config->kind == TIM_AUTOENCODER_KL ? config->kl.latent_channels : config->dc.latent_channels;
}

double tim_autoencoder_shift(const TimAutoencoderConfig *config, int channel) {
    if (config->kind == TIM_AUTOENCODER_DC) return 0;
    return config->kl.normalized ? config->kl.latents_mean[channel] : config->kl.shift_factor;
}

double tim_autoencoder_scaling(const TimAutoencoderConfig *config, int channel) {
    if (config->kind == TIM_AUTOENCODER_DC) return config->dc.scaling_factor;
    return config->kl.normalized ? config->kl.scaling_factor / config->kl.latents_std[channel] : config->kl.scaling_factor;
}

TimTiling tim_autoencoder_tiling(const TimAutoencoderConfig *config) {
    const int factor = tim_autoencoder_factor(config);
    int tile = config->kl.sample_size / factor, stride = tile * 3 / 4;
    if (config->kind == TIM_AUTOENCODER_DC) tile = 512 / factor, stride = 448 / factor;
    if (tile < 1) tile = 1;
    if (stride < 1) stride = 1;
    return (TimTiling){tile * factor, tile * factor, stride * factor, stride * factor};
}
