/* Configurations as YAML: defaults, reading, writing. What the keys are is in config_fields.c, what is sound in config_check.c. */
#include "tim/config.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "base/utf8.h"
#include "io/config_fields.h"
#include "io/file.h"
#include "io/yaml_walk.h"

/* ---- defaults ---- */

static const TimTransportConfig transport_defaults[] = {
    [TIM_TRANSPORT_OT_FM] = {.p_mean = 0.0, .p_std = 1.0, .sigma_d = 1.0, .t_max = 1.0, .t_min = 0.0},
    [TIM_TRANSPORT_TRIGFLOW] = {.p_mean = -1.0, .p_std = 1.6, .sigma_d = 0.5, .t_max = 1.57, .t_min = 0.0},
    [TIM_TRANSPORT_EDM] = {.p_mean = -1.2, .p_std = 1.2, .sigma_d = 0.5, .t_max = 80.0, .t_min = 0.01},
    [TIM_TRANSPORT_VP_SDE] = {.beta_min = 0.1, .beta_d = 19.9, .sigma_d = 1.0, .t_max = 1.0, .t_min = 1e-5},
    [TIM_TRANSPORT_VE_SDE] = {.sigma_min = 0.02, .sigma_max = 100.0, .sigma_d = 1.0, .t_max = 100.0, .t_min = 0.02},
};

void tim_transport_config_init(TimTransportConfig *config, TimTransportKind kind) {
    const bool known = (unsigned)kind < sizeof transport_defaults / sizeof *transport_defaults;
    *config = known ? transport_defaults[kind] : (TimTransportConfig){0};
    config->kind = kind;
    config->enhance_target = false;
    config->w_gt = 1.0;
    config->w_cond = 0.0;
    config->w_start = 0.0;
    config->w_end = 1.0;
}

/* What the published class assumes for a key that is left out: a checkpoint's file means the same network here as there. */
static const TimNetworkConfig network_defaults = {
    .kind = TIM_NETWORK_C2I,
    .input_size = 32,
    .patch_size = 2,
    .in_channels = 4,
    .depth = 28,
    .hidden_size = 1152,
    .num_heads = 16,
    .encoder_depth = 8,
    .mlp_ratio = 4.0,
    .z_dim = 768,
    .projector_dim = 2048,
    .lora_hidden_size = 0,
    .num_classes = 1000,
    .class_dropout_prob = 0.1,
    .cap_feat_dim = 2048,
    .new_condition = TIM_CONDITION_T_MINUS_R,
    .use_new_embed = false,
    .qk_norm = true,
    .distance_aware = false,
};

/* Likewise, although every published file has others: 0.5, 0.1, sqrt and true. The last two are always so there. */
static const TimTransitionConfig transition_defaults = {
    .diffusion_ratio = 0.0,
    .consistency_ratio = 0.0,
    .composed_jumps = 8,
    .composed_weight = 1.0,
    .composed_spread = 1.0,
    .derivative_type = TIM_DERIVATIVE_DDE,
    .differential_epsilon = 0.005,
    .weight_time_type = TIM_WEIGHT_CONSTANT,
    .weight_time_tangent = false,
    .weight_time_sigmoid = false,
    .weight_t_and_r = true,
    .use_dir_loss = true,
    .loss_weight_power = 1.0,
};

/* Where the published files differ, those of TiM-XL/2 at 256 pixels; but no alignment loss, which has no targets here. */
static const TimTrainingConfig training_defaults = {
    .max_train_steps = 750000,
    .checkpointing_steps = 2000,
    .checkpoints_total_limit = 2,
    .learning_rate = 1e-4,
    .learning_rate_base_batch_size = 256,
    .scale_lr = true,
    .lr_scheduler = TIM_SCHEDULE_CONSTANT,
    .lr_warmup_steps = 0,
    .optimizer = TIM_OPTIMIZER_ADAMW,
    .beta1 = 0.9,
    .beta2 = 0.95,
    .weight_decay = 1e-2,
    .eps = 1e-6,
    .momentum = 0.95,
    .max_grad_norm = 1.0,
    .mixed_precision = TIM_PRECISION_BF16,
    .ema_decay = 0.9999,
    .proj_coeff = 0.0,
    .batch_size = 64,
};

void tim_config_init(TimConfig *config) {
    *config = (TimConfig){.network = network_defaults,
                          .transition = transition_defaults,
                          .training = training_defaults,
                          .data_spread = 1.0,
                          .use_last_hidden_state = true,
                          .max_seq_length = 256};
    tim_transport_config_init(&config->transport, TIM_TRANSPORT_OT_FM);
}

void tim_config_done(TimConfig *config) {
    tim_free(config->data_type);
    tim_free(config->data_dir);
    tim_free(config->vae_dir);
    tim_free(config->text_encoder_dir);
    tim_config_init(config);
}

/* ---- reading ---- */

typedef struct Reading {
    TimConfig *config;
    TimFieldSet seen;
} Reading;

/* First pass: the targets alone. They decide which params there are and their defaults, wherever they stand in the file. */
static TimStatus visit_target(void *context, const TimFieldValue *value, TimError *err) {
    Reading *reading = context;
    const bool target = strcmp(value->path, "model.network.target") == 0 || strcmp(value->path, "model.transport.target") == 0;
    return target ? tim_field_assign(reading->config, &reading->seen, value, err) : TIM_OK;
}

static TimStatus visit_value(void *context, const TimFieldValue *value, TimError *err) {
    Reading *reading = context;
    return tim_field_assign(reading->config, &reading->seen, value, err);
}

static TimStatus read_config(TimConfig *config, const TimFile *file, TimError *err) {
    Reading targets = {.config = config}, all = {.config = config};
    TIM_TRY(tim_yaml_walk(file->data, file->size, visit_target, &targets, err));
    tim_transport_config_init(&config->transport, config->transport.kind);
    TIM_TRY(tim_yaml_walk(file->data, file->size, visit_value, &all, err));
    if (config->transport.kind == TIM_TRANSPORT_VE_SDE) { /* whose times are its noise levels */
        config->transport.t_min = config->transport.sigma_min;
        config->transport.t_max = config->transport.sigma_max;
    }
    return TIM_OK;
}

TimStatus tim_config_parse(TimConfig *config, const char *text, TimError *err) {
    tim_config_init(config);
    return read_config(config, &(TimFile){.data = (const uint8_t *)text, .size = strlen(text)}, err);
}

TimStatus tim_config_read(TimConfig *config, const char *path, TimError *err) {
    tim_config_init(config);
    TimFile file;
    TimStatus status = tim_file_open(&file, path, err);
    if (status != TIM_OK)
        return tim_fail_further(err, status, "; name another with --config, such as a published model's in the source's configs/");
    status = read_config(config, &file, err);
    tim_file_close(&file);
    return status == TIM_OK ? TIM_OK : tim_fail_within(err, status, "%s", path);
}

/* ---- writing ---- */

static TimStatus put(TimFileWriter *out, TimError *err, const char *format, ...) __attribute__((format(printf, 3, 4)));

static TimStatus put(TimFileWriter *out, TimError *err, const char *format, ...) {
    char line[512];
    va_list args;
    va_start(args, format);
    const int length = vsnprintf(line, sizeof line, format, args);
    va_end(args);
    if (length < 0 || (size_t)length >= sizeof line) return tim_fail(err, TIM_E_INTERNAL, "a configuration line is too long");
    return tim_file_writer_write(out, line, (size_t)length, err);
}

/* Length of the leading keys that both paths share, with their dot. */
static size_t shared_keys(const char *a, const char *b) {
    size_t shared = 0;
    for (size_t i = 0; a[i] && a[i] == b[i]; i++)
        if (a[i] == '.') shared = i + 1;
    return shared;
}

static int depth_of(const char *path, size_t length) {
    int depth = 0;
    for (size_t i = 0; i < length; i++) depth += path[i] == '.';
    return depth;
}

/* The line breaks and keys that lead from the field before to this one; a number is a place in a list. */
static TimStatus put_keys(TimFileWriter *out, const char *path, const char *before, TimError *err) {
    size_t start = shared_keys(path, before);
    for (;;) {
        const size_t length = strcspn(path + start, ".");
        const int indent = 2 * depth_of(path, start);
        if (path[start] >= '0' && path[start] <= '9') return put(out, err, "%*s-", indent, "");
        TIM_TRY(put(out, err, "%*s%.*s:", indent, "", (int)length, path + start));
        if (path[start + length] == '\0') return TIM_OK;
        TIM_TRY(put(out, err, "\n"));
        start += length + 1;
    }
}

/* What stands in a quoted text as it is: all that YAML calls printable, but for the two that end or escape, and what looks like the
 * end of a line or of nothing. Source: YAML 1.2, c-printable. */
static bool stands(uint32_t code) {
    if (code < 0xA0) return code >= ' ' && code <= '~' && code != '"' && code != '\\';
    return code != 0x2028 && code != 0x2029 && code != 0xFEFF && code != 0xFFFE && code != 0xFFFF;
}

static TimStatus put_text(TimFileWriter *out, const TimField *field, const char *text, TimError *err) {
    const size_t size = strlen(text);
    TIM_TRY(put(out, err, "\""));
    for (size_t at = 0, bytes; at < size; at += bytes) {
        uint32_t code;
        bytes = tim_utf8_next(text + at, size - at, &code);
        if (bytes == 0) return tim_fail(err, TIM_E_ARGUMENT, "%s is not UTF-8, which YAML must be", field->path);
        TIM_TRY(stands(code) ? tim_file_writer_write(out, text + at, bytes, err)
                             : put(out, err, code < 0x100 ? "\\x%02X" : "\\u%04X", (unsigned)code));
    }
    return put(out, err, "\"");
}

static TimStatus put_field(TimFileWriter *out, const TimField *field, const TimConfig *config, const char *before, TimError *err) {
    TIM_TRY(put_keys(out, field->path, before, err));
    TIM_TRY(put(out, err, " "));
    if (field->type == TIM_FIELD_TEXT) {
        TIM_TRY(put_text(out, field, tim_field_text(field, config), err));
    } else {
        char value[128];
        tim_field_format(field, config, value, sizeof value);
        TIM_TRY(put(out, err, "%s", value));
    }
    return put(out, err, "\n");
}

static TimStatus put_fields(TimFileWriter *out, const TimConfig *config, TimError *err) {
    size_t count;
    const TimField *fields = tim_fields_get(&count);
    const char *before = "";
    for (size_t i = 0; i < count; i++) {
        const bool absent = fields[i].type == TIM_FIELD_TEXT && !tim_field_text(&fields[i], config);
        if (absent || fields[i].type == TIM_FIELD_SKIP || !tim_field_applies(&fields[i], config)) continue;
        TIM_TRY(put_field(out, &fields[i], config, before, err));
        before = fields[i].path;
    }
    return TIM_OK;
}

TimStatus tim_config_write(const TimConfig *config, const char *path, TimError *err) {
    TIM_TRY(tim_config_check(config, err));
    TimFileWriter out;
    TIM_TRY(tim_file_writer_open(&out, path, err));
    TimStatus status = put_fields(&out, config, err);
    if (status == TIM_OK) status = tim_file_writer_commit(&out, err);
    tim_file_writer_abandon(&out);
    return status;
}
