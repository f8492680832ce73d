/* The settings in a model's files by name: each file is read by the reader that opens it for use, so that what is shown is what
 * would run. */
#include "tim/facts.h"

#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/text.h"
#include "base/utf8.h"
#include "io/hf_config.h"
#include "io/number.h"
#include "model/autoencoder.h"
#include "model/gemma3.h"
#include "model/t5_encoder.h"
#include "sample/captioner.h"
#include "text/tokenizer.h"

/* ---- a list ---- */

static void add(TimFacts *facts, const char *key, bool text, const char *format, ...) __attribute__((format(printf, 4, 5)));

static void add(TimFacts *facts, const char *key, bool text, const char *format, ...) {
    va_list args;
    if (facts->count == TIM_FACT_MAX) return; /* as many as there is room for */
    TimFact *fact = &facts->items[facts->count++];
    *fact = (TimFact){.key = key, .text = text};
    va_start(args, format);
    vsnprintf(fact->value, sizeof fact->value, format, args);
    va_end(args);
    fact->value[tim_utf8_valid(fact->value, strlen(fact->value))] = '\0';
}

static void add_text(TimFacts *facts, const char *key, const char *value) {
    if (value) add(facts, key, true, "%s", value);
}

static void add_whole(TimFacts *facts, const char *key, int64_t value) {
    add(facts, key, false, "%lld", (long long)value);
}

/* A number of JSON, whatever the program's locale. */
static void add_real(TimFacts *facts, const char *key, double value) {
    char digits[32];
    tim_number_print(value, digits, sizeof digits);
    add(facts, key, false, "%s", digits);
}

static void add_bool(TimFacts *facts, const char *key, bool value) {
    add(facts, key, false, "%s", value ? "true" : "false");
}

/* ---- TiM ---- */

static void add_network(TimFacts *facts, const TimNetworkConfig *n) {
    static const char *const conditions[] = {"t-r", "r", "t,r", "t,t-r", "r,t-r", "t,r,t-r"};
    add_text(facts, "network", n->kind == TIM_NETWORK_C2I ? "class-to-image" : "text-to-image");
    add_whole(facts, "input_size", n->input_size);
    add_whole(facts, "patch_size", n->patch_size);
    add_whole(facts, "in_channels", n->in_channels);
    add_whole(facts, "depth", n->depth);
    add_whole(facts, "hidden_size", n->hidden_size);
    add_whole(facts, "num_heads", n->num_heads);
    add_real(facts, "mlp_ratio", n->mlp_ratio);
    add_whole(facts, "lora_hidden_size", n->lora_hidden_size);
    add_whole(facts, "encoder_depth", n->encoder_depth);
    add_whole(facts, "z_dim", n->z_dim);
    add_whole(facts, "projector_dim", n->projector_dim);
    if (n->kind == TIM_NETWORK_C2I) {
        add_whole(facts, "num_classes", n->num_classes);
        add_real(facts, "class_dropout_prob", n->class_dropout_prob);
    } else {
        add_whole(facts, "cap_feat_dim", n->cap_feat_dim);
    }
    add_text(facts, "new_condition", conditions[n->new_condition]);
    add_bool(facts, "use_new_embed", n->use_new_embed);
    add_bool(facts, "qk_norm", n->qk_norm);
    add_bool(facts, "distance_aware", n->distance_aware);
    add_bool(facts, "input_skip", n->input_skip);
}

static void add_transport(TimFacts *facts, const TimTransportConfig *t) {
    static const char *const names[] = {"OT_FM", "TrigFlow", "EDM", "VP_SDE", "VE_SDE"};
    add_text(facts, "transport", names[t->kind]);
    add_real(facts, "sigma_d", t->sigma_d);
    add_real(facts, "T_max", t->t_max);
    add_real(facts, "T_min", t->t_min);
    if (t->last_jump > 0) add_real(facts, "last_jump", t->last_jump);
}

void tim_facts_of_config(TimFacts *facts, const TimConfig *config) {
    *facts = (TimFacts){.kind = "configuration of TiM"};
    add_network(facts, &config->network);
    add_transport(facts, &config->transport);
    add_text(facts, "data_type", config->data_type);
    add_text(facts, "vae_dir", config->vae_dir);
    add_text(facts, "text_encoder_dir", config->text_encoder_dir);
    if (config->text_encoder_dir) add_whole(facts, "max_seq_length", config->max_seq_length);
}

static TimStatus read_yaml(TimFacts *facts, const char *path, TimError *err) {
    TimConfig config;
    const TimStatus status = tim_config_read(&config, path, err);
    if (status == TIM_OK) tim_facts_of_config(facts, &config);
    tim_config_done(&config);
    return status;
}

/* ---- text encoders ---- */

static TimStatus read_gemma3(TimFacts *facts, const char *path, TimError *err) {
    TimGemma3Config c;
    int sliding = 0;
    TIM_TRY(tim_gemma3_config_read(&c, path, err));
    for (int i = 0; i < c.num_hidden_layers; i++) sliding += c.sliding[i];
    facts->kind = "text encoder, Gemma 3";
    add_whole(facts, "vocab_size", c.vocab_size);
    add_whole(facts, "hidden_size", c.hidden_size);
    add_whole(facts, "intermediate_size", c.intermediate_size);
    add_whole(facts, "num_hidden_layers", c.num_hidden_layers);
    add_whole(facts, "sliding_layers", sliding);
    add_whole(facts, "sliding_window", c.sliding_window);
    add_whole(facts, "num_attention_heads", c.num_attention_heads);
    add_whole(facts, "num_key_value_heads", c.num_key_value_heads);
    add_whole(facts, "head_dim", c.head_dim);
    add_real(facts, "query_pre_attn_scalar", c.query_pre_attn_scalar);
    add_real(facts, "rope_theta", c.rope_theta);
    add_real(facts, "rope_local_base_freq", c.rope_local_base_freq);
    if (c.rope_factor > 1) add_real(facts, "rope_scaling_factor", c.rope_factor);
    add_real(facts, "rms_norm_eps", c.rms_norm_eps);
    add_whole(facts, "max_position_embeddings", c.max_position_embeddings);
    return TIM_OK;
}

static TimStatus read_t5(TimFacts *facts, const char *path, TimError *err) {
    TimT5Config c;
    TIM_TRY(tim_t5_config_read(&c, path, err));
    facts->kind = "text encoder, T5";
    add_whole(facts, "vocab_size", c.vocab_size);
    add_whole(facts, "d_model", c.d_model);
    add_whole(facts, "d_kv", c.d_kv);
    add_whole(facts, "d_ff", c.d_ff);
    add_whole(facts, "num_layers", c.num_layers);
    add_whole(facts, "num_heads", c.num_heads);
    add_whole(facts, "relative_attention_num_buckets", c.relative_attention_num_buckets);
    add_whole(facts, "relative_attention_max_distance", c.relative_attention_max_distance);
    add_text(facts, "feed_forward_proj", c.gated ? "gated-gelu" : "relu");
    add_real(facts, "layer_norm_epsilon", c.layer_norm_epsilon);
    return TIM_OK;
}

/* ---- autoencoders ---- */

static void add_kl(TimFacts *facts, const TimKlConfig *kl) {
    char widths[128] = "";
    for (int i = 0; i < kl->stages; i++)
        snprintf(widths + strlen(widths), sizeof widths - strlen(widths), "%s%d", i ? ", " : "", kl->channels[i]);
    facts->kind = "autoencoder, AutoencoderKL";
    add_whole(facts, "in_channels", kl->in_channels);
    add_whole(facts, "out_channels", kl->out_channels);
    add_whole(facts, "latent_channels", kl->latent_channels);
    add_text(facts, "block_out_channels", widths);
    add_whole(facts, "layers_per_block", kl->layers);
    add_whole(facts, "norm_num_groups", kl->groups);
    add_bool(facts, "use_quant_conv", kl->quant_conv);
    add_bool(facts, "use_post_quant_conv", kl->post_quant_conv);
    add_bool(facts, "mid_block_add_attention", kl->mid_attention);
    add_whole(facts, "sample_size", kl->sample_size);
}

static void add_numbers(TimFacts *facts, const char *key, const double *numbers, int count) {
    char text[192] = "";
    locale_t before;
    const locale_t plain = tim_locale_enter_plain(&before);
    for (int i = 0; i < count; i++) snprintf(text + strlen(text), sizeof text - strlen(text), "%s%.6g", i ? ", " : "", numbers[i]);
    tim_locale_leave_plain(plain, before);
    add_text(facts, key, text);
}

static void add_moments(TimFacts *facts, const TimKlConfig *kl) {
    add_numbers(facts, "latents_mean", kl->latents_mean, kl->latent_channels);
    add_numbers(facts, "latents_std", kl->latents_std, kl->latent_channels);
}

/* "128 x 2, 256 x 2, ..., 1024 x 3 ViT": channels and blocks of each stage. */
static void add_stages(TimFacts *facts, const char *key, const TimDcStage *stages, int count) {
    char text[192] = "";
    for (int i = 0; i < count; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text), "%s%d x %d%s", i ? ", " : "", stages[i].channels,
                 stages[i].layers, stages[i].vit ? " ViT" : "");
    add_text(facts, key, text);
}

static void add_dc(TimFacts *facts, const TimDcConfig *dc) {
    facts->kind = "autoencoder, AutoencoderDC";
    add_whole(facts, "in_channels", dc->in_channels);
    add_whole(facts, "latent_channels", dc->latent_channels);
    add_stages(facts, "encoder_blocks", dc->encoder, dc->stages);
    add_stages(facts, "decoder_blocks", dc->decoder, dc->stages);
    add_whole(facts, "attention_head_dim", dc->head_width);
    add_bool(facts, "encoder_out_shortcut", dc->out_shortcut);
    add_bool(facts, "decoder_in_shortcut", dc->in_shortcut);
    add_text(facts, "decoder_conv_act_fn", dc->silu_out ? "silu" : "relu");
}

static TimStatus read_autoencoder(TimFacts *facts, const char *path, TimError *err) {
    TimAutoencoderConfig c;
    TIM_TRY(tim_autoencoder_config_read(&c, path, err));
    if (c.kind == TIM_AUTOENCODER_KL)
        add_kl(facts, &c.kl);
    else
        add_dc(facts, &c.dc);
    add_whole(facts, "pixels_per_latent", tim_autoencoder_factor(&c));
    add_real(facts, "scaling_factor", c.kind == TIM_AUTOENCODER_KL ? c.kl.scaling_factor : c.dc.scaling_factor);
    if (c.kind == TIM_AUTOENCODER_KL && !c.kl.normalized) add_real(facts, "shift_factor", c.kl.shift_factor);
    if (c.kind == TIM_AUTOENCODER_KL && c.kl.normalized) add_moments(facts, &c.kl);
    return TIM_OK;
}

/* ---- tokenizers ---- */

static void add_token(TimFacts *facts, const char *id_key, const char *piece_key, const TimTokenizer *tokenizer, int32_t id) {
    if (id < 0) return;
    add_whole(facts, id_key, id);
    add_text(facts, piece_key, tim_tokenizer_piece(tokenizer, id));
}

static TimStatus read_tokenizer(TimFacts *facts, const char *path, TimError *err) {
    TimTokenizer *t;
    TIM_TRY(tim_tokenizer_open(&t, path, err));
    facts->kind = tim_tokenizer_is_json(t) ? "tokenizer.json" : "tokenizer, SentencePiece";
    facts->tokenizer = true;
    add_whole(facts, "pieces", (int64_t)tim_tokenizer_count(t));
    add_token(facts, "bos_id", "bos_piece", t, tim_tokenizer_bos(t));
    add_token(facts, "eos_id", "eos_piece", t, tim_tokenizer_eos(t));
    add_token(facts, "pad_id", "pad_piece", t, tim_tokenizer_pad(t));
    add_token(facts, "unk_id", "unk_piece", t, tim_tokenizer_unk(t));
    tim_tokenizer_close(t);
    return TIM_OK;
}

/* ---- which ---- */

typedef TimStatus (*Reader)(TimFacts *facts, const char *path, TimError *err);

/* By what text encoders and autoencoders say of themselves; NULL for other models. */
static Reader reader_of(const json_t *object) {
    static const Reader readers[] = {
        [TIM_TEXT_ENCODER_NONE] = NULL, [TIM_TEXT_ENCODER_GEMMA3] = read_gemma3, [TIM_TEXT_ENCODER_T5] = read_t5};
    return json_object_get(object, "_class_name") ? read_autoencoder : readers[tim_text_encoder_of(object)];
}

static TimStatus read_config_json(TimFacts *facts, const char *path, TimError *err) {
    json_t *object;
    TIM_TRY(tim_hf_config_open(&object, path, err));
    const Reader reader = reader_of(object);
    json_decref(object);
    if (reader) return reader(facts, path, err);
    return tim_fail(
        err, TIM_E_UNSUPPORTED,
        "%s: neither a text encoder that is known here (model_type gemma3_text, t5 or mt5) nor an autoencoder (_class_name)", path);
}

static bool is_config_json(const char *path) {
    const char *slash = strrchr(path, '/');
    return strcmp(slash ? slash + 1 : path, "config.json") == 0;
}

bool tim_facts_known(const char *path) {
    return tim_is_yaml(path) || tim_ends_with(path, ".model") ||
           (tim_ends_with(path, ".json") && !tim_ends_with(path, ".index.json"));
}

TimStatus tim_facts_read(TimFacts *facts, const char *path, TimError *err) {
    *facts = (TimFacts){.kind = ""};
    if (!tim_facts_known(path))
        return tim_fail(err, TIM_E_ARGUMENT, "%s: by its name no configuration (.yaml, .json) and no tokenizer (.json, .model)",
                        path);
    if (tim_is_yaml(path)) return read_yaml(facts, path, err);
    return is_config_json(path) ? read_config_json(facts, path, err) : read_tokenizer(facts, path, err);
}
