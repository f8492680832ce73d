#include "io/config_fields.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/memory.h"
#include "base/text.h"
#include "io/key_list.h"
#include "io/number.h"

/* ---- the table ---- */

/* The order of each list is the order of its enum in tim/config.h. */
static const char *const network_targets[] = {"tim.models.c2i.tim_model.TiM", "tim.models.t2i.tim_model.TiM", NULL};
static const char *const transport_targets[] = {"tim.schedulers.transports.OT_FM",  "tim.schedulers.transports.TrigFlow",
                                                "tim.schedulers.transports.EDM",    "tim.schedulers.transports.VP_SDE",
                                                "tim.schedulers.transports.VE_SDE", NULL};
static const char *const conditions[] = {"t-r", "r", "t,r", "t,t-r", "r,t-r", "t,r,t-r", NULL};
static const char *const derivatives[] = {"jvp", "dde", NULL};
static const char *const time_weights[] = {"constant", "reciprocal", "sqrt", "square", "Soft-Min-SNR", NULL};
static const char *const schedules[] = {"constant", "constant_with_warmup", "linear", "cosine", NULL};
static const char *const precisions[] = {"no", "bf16", NULL};

static const char *const optimizers[] = {"torch.optim.AdamW", "torch.optim.Muon", NULL};

/* What the published training has as a choice and this library does in one way. */
static const char *const only_one[] = {"1", NULL};
static const char *const only_thousand[] = {"1000", NULL}; /* of the time input 999 t */
static const char *const averaged[] = {
    "true", "the weights are always averaged, and model_1.safetensors of a checkpoint has those that are not; remove the key",
    NULL};
static const char *const from_scratch[] = {
    "null",
    "training begins with random weights, or goes on from a checkpoint with its moments (tim train --resume); remove the key",
    NULL};
static const char *const from_latest[] = {
    "latest", "what a run goes on from is said with its call (tim train --resume WHAT); remove the key", NULL};

_Static_assert(sizeof(TimDerivative) == sizeof(int), "enums are read and written as int");

enum { CLASS = 1 << TIM_NETWORK_C2I, TEXT = 1 << TIM_NETWORK_T2I };
enum {
    VP = 1 << TIM_TRANSPORT_VP_SDE,
    VE = 1 << TIM_TRANSPORT_VE_SDE,
    LOG_NORMAL = 1 << TIM_TRANSPORT_OT_FM | 1 << TIM_TRANSPORT_TRIGFLOW | 1 << TIM_TRANSPORT_EDM
};

#define AT(member) offsetof(TimConfig, member)

/* clang-format off */
static const TimField fields[] = {
    {"model.transport.target", TIM_FIELD_NAME, AT(transport.kind), 0, 0, transport_targets, 0},
    {"model.transport.params.P_mean", TIM_FIELD_DOUBLE, AT(transport.p_mean), -100, 100, NULL, LOG_NORMAL},
    {"model.transport.params.P_std", TIM_FIELD_DOUBLE, AT(transport.p_std), 1e-6, 100, NULL, LOG_NORMAL},
    {"model.transport.params.beta_min", TIM_FIELD_DOUBLE, AT(transport.beta_min), 0, 1e3, NULL, VP},
    {"model.transport.params.beta_d", TIM_FIELD_DOUBLE, AT(transport.beta_d), 1e-6, 1e3, NULL, VP},
    {"model.transport.params.epsilon_t", TIM_FIELD_DOUBLE, AT(transport.t_min), 1e-12, 1, NULL, VP},
    {"model.transport.params.T", TIM_FIELD_ONLY, 0, 0, 0, only_thousand, VP},
    {"model.transport.params.sigma_min", TIM_FIELD_DOUBLE, AT(transport.sigma_min), 1e-9, 1e4, NULL, VE},
    {"model.transport.params.sigma_max", TIM_FIELD_DOUBLE, AT(transport.sigma_max), 1e-9, 1e4, NULL, VE},
    {"model.transport.params.sigma_d", TIM_FIELD_DOUBLE, AT(transport.sigma_d), 1e-6, 1e3, NULL, 0},
    {"model.transport.params.T_max", TIM_FIELD_DOUBLE, AT(transport.t_max), 0, 1e4, NULL, LOG_NORMAL},
    {"model.transport.params.T_min", TIM_FIELD_DOUBLE, AT(transport.t_min), 0, 1e4, NULL, LOG_NORMAL},
    {"model.transport.params.last_jump", TIM_FIELD_DOUBLE, AT(transport.last_jump), 0, 1e4, NULL, 0},
    {"model.transport.params.enhance_target", TIM_FIELD_BOOL, AT(transport.enhance_target), 0, 0, NULL, 0},
    {"model.transport.params.w_gt", TIM_FIELD_DOUBLE, AT(transport.w_gt), -100, 100, NULL, 0},
    {"model.transport.params.w_cond", TIM_FIELD_DOUBLE, AT(transport.w_cond), -100, 100, NULL, 0},
    {"model.transport.params.w_start", TIM_FIELD_DOUBLE, AT(transport.w_start), 0, 1e4, NULL, 0},
    {"model.transport.params.w_end", TIM_FIELD_DOUBLE, AT(transport.w_end), 0, 1e4, NULL, 0},

    {"model.transition_loss.diffusion_ratio", TIM_FIELD_DOUBLE, AT(transition.diffusion_ratio), 0, 1, NULL, 0},
    {"model.transition_loss.consistency_ratio", TIM_FIELD_DOUBLE, AT(transition.consistency_ratio), 0, 1, NULL, 0},
    {"model.transition_loss.derivative_type", TIM_FIELD_NAME, AT(transition.derivative_type), 0, 0, derivatives, 0},
    {"model.transition_loss.differential_epsilon", TIM_FIELD_DOUBLE, AT(transition.differential_epsilon), 1e-9, 1, NULL, 0},
    {"model.transition_loss.average_direction", TIM_FIELD_BOOL, AT(transition.average_direction), 0, 0, NULL, 0},
    {"model.transition_loss.composed_ratio", TIM_FIELD_DOUBLE, AT(transition.composed_ratio), 0, 1, NULL, 0},
    {"model.transition_loss.composed_jumps", TIM_FIELD_INT, AT(transition.composed_jumps), 1, 1024, NULL, 0},
    {"model.transition_loss.composed_last_jump", TIM_FIELD_DOUBLE, AT(transition.composed_last_jump), 0, 1e4, NULL, 0},
    {"model.transition_loss.composed_weight", TIM_FIELD_DOUBLE, AT(transition.composed_weight), 0, 1e3, NULL, 0},
    {"model.transition_loss.composed_spread", TIM_FIELD_DOUBLE, AT(transition.composed_spread), 0, 10, NULL, 0},
    {"model.transition_loss.composed_edges", TIM_FIELD_DOUBLE, AT(transition.composed_edges), 0, 1e3, NULL, 0},
    {"model.transition_loss.weight_time_type", TIM_FIELD_NAME, AT(transition.weight_time_type), 0, 0, time_weights, 0},
    {"model.transition_loss.weight_time_tangent", TIM_FIELD_BOOL, AT(transition.weight_time_tangent), 0, 0, NULL, 0},
    {"model.transition_loss.weight_time_sigmoid", TIM_FIELD_BOOL, AT(transition.weight_time_sigmoid), 0, 0, NULL, 0},
    {"model.transition_loss.weight_t_and_r", TIM_FIELD_BOOL, AT(transition.weight_t_and_r), 0, 0, NULL, 0},
    {"model.transition_loss.use_dir_loss", TIM_FIELD_BOOL, AT(transition.use_dir_loss), 0, 0, NULL, 0},
    {"model.transition_loss.loss_weight_power", TIM_FIELD_DOUBLE, AT(transition.loss_weight_power), 0, 2, NULL, 0},
    {"model.transition_loss.expected_loss", TIM_FIELD_BOOL, AT(transition.expected_loss), 0, 0, NULL, 0},

    {"model.network.target", TIM_FIELD_NAME, AT(network.kind), 0, 0, network_targets, 0},
    {"model.network.params.input_size", TIM_FIELD_INT, AT(network.input_size), 1, 65536, NULL, 0},
    {"model.network.params.patch_size", TIM_FIELD_INT, AT(network.patch_size), 1, 64, NULL, 0},
    {"model.network.params.in_channels", TIM_FIELD_INT, AT(network.in_channels), 1, 4096, NULL, 0},
    {"model.network.params.class_dropout_prob", TIM_FIELD_DOUBLE, AT(network.class_dropout_prob), 0, 1, NULL, CLASS},
    {"model.network.params.num_classes", TIM_FIELD_INT, AT(network.num_classes), 1, 1e6, NULL, CLASS},
    {"model.network.params.cap_feat_dim", TIM_FIELD_INT, AT(network.cap_feat_dim), 1, 65536, NULL, TEXT},
    {"model.network.params.depth", TIM_FIELD_INT, AT(network.depth), 1, 1024, NULL, 0},
    {"model.network.params.hidden_size", TIM_FIELD_INT, AT(network.hidden_size), 4, 65536, NULL, 0},
    {"model.network.params.num_heads", TIM_FIELD_INT, AT(network.num_heads), 1, 16384, NULL, 0},
    {"model.network.params.encoder_depth", TIM_FIELD_INT, AT(network.encoder_depth), 1, 1024, NULL, 0},
    {"model.network.params.mlp_ratio", TIM_FIELD_DOUBLE, AT(network.mlp_ratio), 0.01, 64, NULL, 0},
    {"model.network.params.z_dim", TIM_FIELD_INT, AT(network.z_dim), 1, 65536, NULL, 0},
    {"model.network.params.projector_dim", TIM_FIELD_INT, AT(network.projector_dim), 1, 65536, NULL, 0},
    {"model.network.params.lora_hidden_size", TIM_FIELD_INT_OR_NULL, AT(network.lora_hidden_size), 0, 65536, NULL, 0},
    {"model.network.params.new_condition", TIM_FIELD_NAME, AT(network.new_condition), 0, 0, conditions, 0},
    {"model.network.params.use_new_embed", TIM_FIELD_BOOL, AT(network.use_new_embed), 0, 0, NULL, 0},
    {"model.network.params.qk_norm", TIM_FIELD_BOOL, AT(network.qk_norm), 0, 0, NULL, 0},
    {"model.network.params.distance_aware", TIM_FIELD_BOOL, AT(network.distance_aware), 0, 0, NULL, 0},
    {"model.network.params.input_skip", TIM_FIELD_BOOL, AT(network.input_skip), 0, 0, NULL, 0},
    {.path = "model.network.params.use_checkpoint", .type = TIM_FIELD_SKIP},

    {"model.vae_dir", TIM_FIELD_TEXT, AT(vae_dir), 0, 0, NULL, 0},
    {"model.text_encoder_dir", TIM_FIELD_TEXT, AT(text_encoder_dir), 0, 0, NULL, 0},
    {.path = "model.proportion_empty_prompts", .type = TIM_FIELD_SKIP},
    {"model.use_last_hidden_state", TIM_FIELD_BOOL, AT(use_last_hidden_state), 0, 0, NULL, 0},
    {"model.max_seq_length", TIM_FIELD_INT, AT(max_seq_length), 1, 65536, NULL, 0},
    {.path = "model.enc_dir", .type = TIM_FIELD_SKIP},
    {"model.ckpt", TIM_FIELD_FIXED, 0, 0, 0, from_scratch, 0},
    {"model.proj_coeff", TIM_FIELD_DOUBLE, AT(training.proj_coeff), 0, 1e6, NULL, 0},
    {"model.use_ema", TIM_FIELD_FIXED, 0, 0, 0, averaged, 0},
    {"model.ema_decay", TIM_FIELD_DOUBLE, AT(training.ema_decay), 0, 1, NULL, 0},
    {"model.ema_warmup", TIM_FIELD_BOOL, AT(training.ema_warmup), 0, 0, NULL, 0},

    {"data.data_type", TIM_FIELD_TEXT, AT(data_type), 0, 0, NULL, 0},
    {"data.dataset.data_dir", TIM_FIELD_TEXT, AT(data_dir), 0, 0, NULL, 0},
    {"data.dataset.mirror", TIM_FIELD_BOOL, AT(data_mirror), 0, 0, NULL, 0},
    {"data.dataset.spread", TIM_FIELD_DOUBLE, AT(data_spread), 0, 10, NULL, 0},
    {.path = "data.dataset.latent_dir", .type = TIM_FIELD_SKIP},
    {.path = "data.dataset.image_dir", .type = TIM_FIELD_SKIP},
    {.path = "data.dataset.image_size", .type = TIM_FIELD_SKIP},
    {.path = "data.dataset.root_dir", .type = TIM_FIELD_SKIP},
    {.path = "data.dataset.packed_json", .type = TIM_FIELD_SKIP},
    {.path = "data.dataset.jsonl_dir", .type = TIM_FIELD_SKIP},
    {"data.dataloader.batch_size", TIM_FIELD_INT, AT(training.batch_size), 1, 1e6, NULL, 0},
    {.path = "data.dataloader.num_workers", .type = TIM_FIELD_SKIP},

    {"training.max_train_steps", TIM_FIELD_INT64, AT(training.max_train_steps), 0, 1e12, NULL, 0},
    {"training.checkpointing_steps", TIM_FIELD_INT64, AT(training.checkpointing_steps), 1, 1e12, NULL, 0},
    {"training.checkpoints_total_limit", TIM_FIELD_INT, AT(training.checkpoints_total_limit), 0, 1e6, NULL, 0},
    {.path = "training.checkpoint_list", .type = TIM_FIELD_SKIP},
    {"training.resume_from_checkpoint", TIM_FIELD_FIXED, 0, 0, 0, from_latest, 0},
    {"training.coupling_batches", TIM_FIELD_INT, AT(training.coupling_batches), 0, 4096, NULL, 0},
    {"training.composed_start_step", TIM_FIELD_INT64, AT(training.composed_start_step), 0, 1e12, NULL, 0},
    {"training.data_spread_start_step", TIM_FIELD_INT64, AT(training.data_spread_start_step), 0, 1e12, NULL, 0},
    {"training.expected_loss_start_step", TIM_FIELD_INT64, AT(training.expected_loss_start_step), 0, 1e12, NULL, 0},
    {"training.guidance_start_step", TIM_FIELD_INT64, AT(training.guidance_start_step), 0, 1e12, NULL, 0},
    {"training.learning_rate", TIM_FIELD_DOUBLE, AT(training.learning_rate), 0, 1e3, NULL, 0},
    {"training.learning_rate_base_batch_size", TIM_FIELD_INT, AT(training.learning_rate_base_batch_size), 1, 1e9, NULL, 0},
    {"training.scale_lr", TIM_FIELD_BOOL, AT(training.scale_lr), 0, 0, NULL, 0},
    {"training.lr_scheduler", TIM_FIELD_NAME, AT(training.lr_scheduler), 0, 0, schedules, 0},
    {"training.lr_warmup_steps", TIM_FIELD_INT64, AT(training.lr_warmup_steps), 0, 1e12, NULL, 0},
    {"training.min_learning_rate", TIM_FIELD_DOUBLE, AT(training.min_learning_rate), 0, 1e3, NULL, 0},
    {"training.gradient_accumulation_steps", TIM_FIELD_ONLY, 0, 0, 0, only_one, 0},
    {"training.optimizer.target", TIM_FIELD_NAME, AT(training.optimizer), 0, 0, optimizers, 0},
    {"training.optimizer.params.momentum", TIM_FIELD_DOUBLE, AT(training.momentum), 0, 0.9999999, NULL, 0},
    {"training.optimizer.params.betas.0", TIM_FIELD_DOUBLE, AT(training.beta1), 0, 0.9999999, NULL, 0},
    {"training.optimizer.params.betas.1", TIM_FIELD_DOUBLE, AT(training.beta2), 0, 0.9999999, NULL, 0},
    {"training.optimizer.params.weight_decay", TIM_FIELD_DOUBLE, AT(training.weight_decay), 0, 1e3, NULL, 0},
    {"training.optimizer.params.eps", TIM_FIELD_DOUBLE, AT(training.eps), 1e-30, 1, NULL, 0},
    {"training.max_grad_norm", TIM_FIELD_DOUBLE, AT(training.max_grad_norm), 0, 1e9, NULL, 0},
    {"training.mixed_precision", TIM_FIELD_NAME, AT(training.mixed_precision), 0, 0, precisions, 0},
    {.path = "training.allow_tf32", .type = TIM_FIELD_SKIP},
    {.path = "training.fsdp_config", .type = TIM_FIELD_SKIP},
    {.path = "training.proportion_empty_prompts", .type = TIM_FIELD_SKIP},
    {.path = "training.validation_steps", .type = TIM_FIELD_SKIP},
    {.path = "training.tracker", .type = TIM_FIELD_SKIP},
    {.path = "training.tracker_project_name", .type = TIM_FIELD_SKIP},
    {.path = "training.tracker_kwargs", .type = TIM_FIELD_SKIP},
};
/* clang-format on */

enum { FIELD_COUNT = sizeof fields / sizeof *fields };
_Static_assert((int)FIELD_COUNT <= (int)TIM_MAX_FIELDS, "TimFieldSet has a place for every field");

const TimField *tim_fields_get(size_t *count) {
    *count = FIELD_COUNT;
    return fields;
}

/* ---- paths ---- */

/* True if `path` lies below the first `length` bytes of `section`. */
static bool is_below(const char *path, const char *section, size_t length) {
    return strncmp(path, section, length) == 0 && path[length] == '.';
}

/* The field of that path, or the one without effect above it. */
static const TimField *find_field(const char *path) {
    for (size_t i = 0; i < FIELD_COUNT; i++) {
        const bool above = fields[i].type == TIM_FIELD_SKIP && is_below(path, fields[i].path, strlen(fields[i].path));
        if (above || strcmp(fields[i].path, path) == 0) return &fields[i];
    }
    return NULL;
}

/* True if fields lie below the first `length` bytes of `path`. */
static bool is_section(const char *path, size_t length) {
    for (size_t i = 0; i < FIELD_COUNT; i++)
        if (is_below(fields[i].path, path, length)) return true;
    return false;
}

bool tim_field_applies(const TimField *field, const TimConfig *config) {
    if (field->kinds == 0) return true;
    static const char network[] = "model.network";
    const bool of_network = is_below(field->path, network, sizeof network - 1);
    const unsigned kind = of_network ? (unsigned)config->network.kind : (unsigned)config->transport.kind;
    return kind < CHAR_BIT * sizeof field->kinds && (field->kinds >> kind & 1U);
}

/* ---- storing ---- */

static bool is_null(const TimFieldValue *value) {
    static const char *const spellings[] = {"", "~", "null", "Null", "NULL"};
    for (size_t i = 0; i < sizeof spellings / sizeof *spellings && !value->quoted; i++)
        if (strcmp(value->text, spellings[i]) == 0) return true;
    return false;
}

static TimStatus fail_value(TimStatus status, const TimField *field, const TimFieldValue *value, const char *wanted,
                            TimError *err) {
    return tim_fail(err, status, "%s is %s'%.60s'; it must be %s", field->path, value->quoted ? "the text " : "", value->text,
                    wanted);
}

static TimStatus fail_type(const TimField *field, const TimFieldValue *value, const char *wanted, TimError *err) {
    return fail_value(TIM_E_FORMAT, field, value, wanted, err);
}

/* 010: YAML 1.1, and with it the published code, reads an octal number. */
static bool has_leading_zero(const TimFieldValue *value) {
    const char *digits = value->text + (*value->text == '-' || *value->text == '+');
    return !value->quoted && digits[0] == '0' && digits[1] >= '0' && digits[1] <= '9';
}

static TimStatus store_integer(void *place, const TimField *field, const TimFieldValue *value, TimError *err) {
    long long number = 0;
    const bool null = field->type == TIM_FIELD_INT_OR_NULL && is_null(value);
    const bool wide = field->type == TIM_FIELD_INT64;
    if (has_leading_zero(value)) return fail_type(field, value, "written without the leading zero, which makes it octal", err);
    if (!null &&
        (value->quoted || !tim_number_parse_integer(value->text, wide ? INT64_MIN : INT_MIN, wide ? INT64_MAX : INT_MAX, &number)))
        return fail_type(field, value, wide ? "an integer of 64 bits" : "an integer of 32 bits", err);
    if (wide)
        *(int64_t *)place = number;
    else
        *(int *)place = (int)number;
    return TIM_OK;
}

static TimStatus store_double(double *place, const TimField *field, const TimFieldValue *value, TimError *err) {
    if (has_leading_zero(value)) return fail_type(field, value, "written without the leading zero, which makes it octal", err);
    if (!value->quoted && tim_number_parse(value->text, place)) return TIM_OK;
    return fail_type(field, value, "a number", err);
}

static TimStatus store_bool(bool *place, const TimField *field, const TimFieldValue *value, TimError *err) {
    static const char *const spellings[] = {"false", "true", "False", "True", "FALSE", "TRUE"};
    for (size_t i = 0; i < sizeof spellings / sizeof *spellings && !value->quoted; i++) {
        if (strcmp(value->text, spellings[i]) != 0) continue;
        *place = i % 2;
        return TIM_OK;
    }
    return fail_type(field, value, "true or false", err);
}

static TimStatus store_text(char **place, const TimFieldValue *value, TimError *err) {
    tim_free(*place);
    *place = NULL;
    return is_null(value) ? TIM_OK : tim_copy_text(place, value->text, err);
}

static void list_names(const char *const *names, char *out, size_t size) {
    size_t used = 0;
    for (; *names && used < size; names++) used += (size_t)snprintf(out + used, size - used, "%s%s", used ? ", " : "", *names);
}

static TimStatus store_name(void *place, const TimField *field, const TimFieldValue *value, TimError *err) {
    for (int i = 0; field->names[i]; i++) {
        if (strcmp(field->names[i], value->text) != 0) continue;
        memcpy(place, &i, sizeof i);
        return TIM_OK;
    }
    char wanted[256] = "one of ";
    list_names(field->names, wanted + strlen(wanted), sizeof wanted - strlen(wanted));
    const bool elsewhere = tim_ends_with(field->path, ".target"); /* a network, transport or optimizer that is not here */
    return fail_value(elsewhere ? TIM_E_UNSUPPORTED : TIM_E_FORMAT, field, value, wanted, err);
}

static TimStatus check_only(const TimField *field, const TimFieldValue *value, TimError *err) {
    double wanted, given;
    if (strcmp(value->text, field->names[0]) == 0) return TIM_OK;
    if (tim_number_parse(field->names[0], &wanted) && tim_number_parse(value->text, &given) && given == wanted) return TIM_OK;
    return tim_fail(err, TIM_E_UNSUPPORTED, "%s is '%.60s'; only %s is implemented", field->path, value->text, field->names[0]);
}

static bool is_of_training(const TimField *field) {
    static const char training[] = "training";
    return is_below(field->path, training, sizeof training - 1);
}

/* The first such value. */
static void note_untrainable(TimConfig *config, const TimField *field, const TimFieldValue *value, const char *known,
                             const char *remedy) {
    if (*config->untrainable) return;
    (void)snprintf(config->untrainable, sizeof config->untrainable, "%s is '%.60s'; training knows only %s: %s", field->path,
                   value->text, known, remedy);
}

/* A value of training's that is not known here: the model can be drawn from all the same. */
static TimStatus allow_drawing(TimConfig *config, const TimField *field, const TimFieldValue *value, TimStatus status) {
    char known[256];
    if (status == TIM_OK || !is_of_training(field)) return status;
    list_names(field->names, known, sizeof known);
    note_untrainable(config, field, value, known, "set it so");
    return TIM_OK;
}

/* What is noted ends with "..." where it does not fit. */
static void note_without_effect(TimConfig *config, const char *path) {
    char *notes = config->without_effect;
    const size_t used = strlen(notes), room = sizeof config->without_effect - used;
    const int length = snprintf(notes + used, room, "%s%s", used ? ", " : "", path);
    if (length < 0 || (size_t)length >= room) memcpy(notes + sizeof config->without_effect - 4, "...", 4);
}

/* The words of YAML may begin with a capital or be capitals. */
static void check_fixed(TimConfig *config, const TimField *field, const TimFieldValue *value) {
    const char *const wanted = field->names[0], *const remedy = field->names[1];
    const bool both_null = is_null(value) && strcmp(wanted, "null") == 0;
    if (!both_null && strcasecmp(value->text, wanted) != 0) note_untrainable(config, field, value, wanted, remedy);
}

static TimStatus store(TimConfig *config, const TimField *field, const TimFieldValue *value, TimError *err) {
    void *place = (char *)config + field->offset;
    switch (field->type) {
    case TIM_FIELD_INT:
    case TIM_FIELD_INT_OR_NULL:
    case TIM_FIELD_INT64:
        return store_integer(place, field, value, err);
    case TIM_FIELD_DOUBLE:
        return store_double(place, field, value, err);
    case TIM_FIELD_BOOL:
        return store_bool(place, field, value, err);
    case TIM_FIELD_TEXT:
        return store_text(place, value, err);
    case TIM_FIELD_NAME:
        return allow_drawing(config, field, value, store_name(place, field, value, err));
    case TIM_FIELD_ONLY:
        return allow_drawing(config, field, value, check_only(field, value, err));
    case TIM_FIELD_FIXED:
        check_fixed(config, field, value);
        return TIM_OK;
    case TIM_FIELD_SKIP:
        if (!value->text || !is_null(value)) note_without_effect(config, field->path);
        return TIM_OK;
    }
    return tim_fail(err, TIM_E_INTERNAL, "%s has the unknown type %d", field->path, (int)field->type);
}

/* The keys that have an effect in `section`, each once: the table keeps a section's fields together. */
static void list_keys(const TimConfig *config, const char *section, size_t length, TimKeyList *list) {
    for (size_t i = 0; i < FIELD_COUNT; i++) {
        const bool idle = fields[i].type == TIM_FIELD_SKIP || !tim_field_applies(&fields[i], config);
        if (idle || !is_below(fields[i].path, section, length)) continue;
        const char *key = fields[i].path + length + 1;
        tim_key_list_add(list, key, strcspn(key, "."));
    }
}

static TimStatus fail_unknown(const TimConfig *config, const char *path, TimError *err) {
    const char *dot = strrchr(path, '.');
    const size_t length = (size_t)(dot - path);
    TimKeyList list = {.meant = dot + 1};
    char keys[300];
    list_keys(config, path, length, &list);
    tim_key_list_print(&list, keys, sizeof keys);
    return tim_fail(err, TIM_E_FORMAT, "unknown key '%.60s' in %.*s; allowed: %s", dot + 1, (int)length, path, keys);
}

/* A section of the model that stands at the top level would leave all its defaults, and nothing of it is of use to another tool. */
static TimStatus check_stray(const char *root, TimError *err) {
    char inner[80];
    const int length = snprintf(inner, sizeof inner, "model.%s", root);
    if (length < 0 || (size_t)length >= sizeof inner || !is_section(inner, (size_t)length)) return TIM_OK;
    return tim_fail(err, TIM_E_FORMAT, "the section '%s' stands at the top level, where it has no effect; it belongs into 'model'",
                    root);
}

/* A value whose path is no field: a section, an unknown key in one, or what another tool keeps beside ours. A misspelt key in a
 * section would silently leave a default. */
static TimStatus skip_value(TimConfig *config, const TimFieldValue *value, TimError *err) {
    const size_t root = strcspn(value->path, ".");
    const bool holds_keys = !value->text || is_null(value);
    if (is_section(value->path, strlen(value->path)))
        return holds_keys ? TIM_OK : tim_fail(err, TIM_E_FORMAT, "%s is '%.60s'; it must hold keys", value->path, value->text);
    if (is_section(value->path, root)) return fail_unknown(config, value->path, err);
    if (value->path[root] != '\0') return TIM_OK; /* below one that was noted */
    TIM_TRY(check_stray(value->path, err));
    note_without_effect(config, value->path);
    return TIM_OK;
}

TimStatus tim_field_assign(TimConfig *config, TimFieldSet *seen, const TimFieldValue *value, TimError *err) {
    const TimField *field = find_field(value->path);
    if (!field) return skip_value(config, value, err);
    if (!tim_field_applies(field, config)) return fail_unknown(config, value->path, err);
    if (strcmp(field->path, value->path) != 0) return TIM_OK; /* below a key without effect, which is noted */
    if (!value->text && field->type != TIM_FIELD_SKIP)
        return tim_fail(err, TIM_E_FORMAT, "%s holds keys or a list; it must be a single value", field->path);
    if (seen->has[field - fields]) return tim_fail(err, TIM_E_FORMAT, "%s is given twice; remove one", field->path);
    seen->has[field - fields] = true;
    return store(config, field, value, err);
}

/* ---- reading back ---- */

const char *tim_field_text(const TimField *field, const TimConfig *config) {
    return *(char *const *)(const void *)((const char *)config + field->offset);
}

void tim_field_format(const TimField *field, const TimConfig *config, char *out, size_t size) {
    const void *place = (const char *)config + field->offset;
    switch (field->type) {
    case TIM_FIELD_INT:
        snprintf(out, size, "%d", *(const int *)place);
        return;
    case TIM_FIELD_INT_OR_NULL:
        snprintf(out, size, *(const int *)place ? "%d" : "null", *(const int *)place);
        return;
    case TIM_FIELD_INT64:
        snprintf(out, size, "%lld", (long long)*(const int64_t *)place);
        return;
    case TIM_FIELD_DOUBLE:
        tim_number_print(*(const double *)place, out, size);
        return;
    case TIM_FIELD_BOOL:
        snprintf(out, size, "%s", *(const bool *)place ? "true" : "false");
        return;
    case TIM_FIELD_NAME: /* quoted, because a bare no is false in YAML */
        snprintf(out, size, "\"%s\"", field->names[*(const int *)place]);
        return;
    case TIM_FIELD_ONLY:
    case TIM_FIELD_FIXED:
        snprintf(out, size, "%s", field->names[0]);
        return;
    case TIM_FIELD_TEXT:
    case TIM_FIELD_SKIP:
        break;
    }
    snprintf(out, size, "null");
}
