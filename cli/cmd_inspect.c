/* tim inspect: what a model or any file of tensors holds, for people or (--json) for programs.
 * Names and texts come from files that may be hostile: control characters never reach the terminal as they are. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "commands.h"
#include "options.h"
#include "tim/config.h"
#include "tim/file.h"

/* ---- the configuration as a list ---- */

typedef struct Field {
    const char *key;
    char value[64];
    bool quoted; /* in JSON: a text */
} Field;

enum { MAX_FIELDS = 32 };

typedef struct Fields {
    Field items[MAX_FIELDS];
    int count;
} Fields;

static void add_text(Fields *fields, const char *key, const char *value) {
    Field *field = &fields->items[fields->count++];
    *field = (Field){.key = key, .quoted = true};
    snprintf(field->value, sizeof field->value, "%s", value);
}

static void add_int(Fields *fields, const char *key, int value) {
    Field *field = &fields->items[fields->count++];
    *field = (Field){.key = key};
    snprintf(field->value, sizeof field->value, "%d", value);
}

static void add_real(Fields *fields, const char *key, double value) {
    Field *field = &fields->items[fields->count++];
    *field = (Field){.key = key};
    snprintf(field->value, sizeof field->value, "%.15g", value);
}

static void add_bool(Fields *fields, const char *key, bool value) {
    Field *field = &fields->items[fields->count++];
    *field = (Field){.key = key};
    snprintf(field->value, sizeof field->value, "%s", value ? "true" : "false");
}

static void add_network(Fields *fields, const TimNetworkConfig *n) {
    static const char *const conditions[] = {"t-r", "r", "t,r", "t,t-r", "r,t-r", "t,r,t-r"};
    add_text(fields, "network", n->kind == TIM_NETWORK_C2I ? "class-to-image" : "text-to-image");
    add_int(fields, "input_size", n->input_size);
    add_int(fields, "patch_size", n->patch_size);
    add_int(fields, "in_channels", n->in_channels);
    add_int(fields, "depth", n->depth);
    add_int(fields, "hidden_size", n->hidden_size);
    add_int(fields, "num_heads", n->num_heads);
    add_real(fields, "mlp_ratio", n->mlp_ratio);
    add_int(fields, "lora_hidden_size", n->lora_hidden_size);
    add_int(fields, "encoder_depth", n->encoder_depth);
    add_int(fields, "z_dim", n->z_dim);
    add_int(fields, "projector_dim", n->projector_dim);
    if (n->kind == TIM_NETWORK_C2I) {
        add_int(fields, "num_classes", n->num_classes);
        add_real(fields, "class_dropout_prob", n->class_dropout_prob);
    } else {
        add_int(fields, "cap_feat_dim", n->cap_feat_dim);
    }
    add_text(fields, "new_condition", conditions[n->new_condition]);
    add_bool(fields, "use_new_embed", n->use_new_embed);
    add_bool(fields, "qk_norm", n->qk_norm);
    add_bool(fields, "distance_aware", n->distance_aware);
    add_bool(fields, "input_skip", n->input_skip);
}

static void add_transport(Fields *fields, const TimTransportConfig *t) {
    static const char *const names[] = {"OT_FM", "TrigFlow", "EDM", "VP_SDE", "VE_SDE"};
    add_text(fields, "transport", names[t->kind]);
    add_real(fields, "sigma_d", t->sigma_d);
    add_real(fields, "T_max", t->t_max);
    add_real(fields, "T_min", t->t_min);
}

static void list_config(Fields *fields, const TimConfig *config) {
    *fields = (Fields){.count = 0};
    add_network(fields, &config->network);
    add_transport(fields, &config->transport);
    if (config->data_type) add_text(fields, "data_type", config->data_type);
    if (config->vae_dir) add_text(fields, "vae_dir", config->vae_dir);
    if (config->text_encoder_dir) add_text(fields, "text_encoder_dir", config->text_encoder_dir);
}

/* ---- printing ---- */

/* One line of text: control characters become spaces. */
static void print_plain(const char *text) {
    for (; *text; text++) putchar((unsigned char)*text < 0x20 || *text == 0x7F ? ' ' : *text);
}

/* A JSON string; the text is UTF-8. */
static void print_quoted(const char *text) {
    putchar('"');
    for (; *text; text++) {
        const unsigned char c = (unsigned char)*text;
        if (c == '"' || c == '\\')
            printf("\\%c", c);
        else if (c < 0x20 || c == 0x7F)
            printf("\\u%04x", c);
        else
            putchar(c);
    }
    putchar('"');
}

/* What is shown. */
typedef struct Subject {
    const char *path;
    TimTensorFile *file;
    uint64_t elements, bytes; /* of all tensors */
    bool configured;
    Fields config;
} Subject;

static void print_shape(const TimFileTensor *tensor, const char *open, const char *close) {
    fputs(open, stdout);
    for (int i = 0; i < tensor->rank; i++) printf("%s%" PRIu64, i ? ", " : "", tensor->dims[i]);
    fputs(close, stdout);
}

static int longest_name(const TimTensorFile *file) {
    size_t longest = 0;
    TimFileTensor tensor;
    for (size_t i = 0; tim_tensor_file_tensor(file, i, &tensor, NULL) == TIM_OK; i++)
        if (strlen(tensor.name) > longest) longest = strlen(tensor.name);
    return longest < 80 ? (int)longest : 80;
}

static void print_text_tensors(const TimTensorFile *file) {
    const int width = longest_name(file);
    TimFileTensor tensor;
    if (tim_tensor_file_count(file) > 0) puts("\ntensors");
    for (size_t i = 0; tim_tensor_file_tensor(file, i, &tensor, NULL) == TIM_OK; i++) {
        const int length = (int)strlen(tensor.name);
        fputs("  ", stdout);
        print_plain(tensor.name);
        printf("%*s  %-4s  ", length < width ? width - length : 0, "", tensor.dtype);
        print_shape(&tensor, "(", ")\n");
    }
}

static void print_text(const Subject *s) {
    const char *key, *value;
    print_plain(s->path);
    printf("\n%" PRIu64 " parameters in %zu tensors, %" PRIu64 " bytes\n", s->elements, tim_tensor_file_count(s->file), s->bytes);
    if (s->configured) puts("\nconfiguration");
    for (int i = 0; s->configured && i < s->config.count; i++) {
        printf("  %-20s", s->config.items[i].key);
        print_plain(s->config.items[i].value);
        putchar('\n');
    }
    if (tim_tensor_file_text_count(s->file) > 0) puts("\nmetadata");
    for (size_t i = 0; tim_tensor_file_text(s->file, i, &key, &value, NULL) == TIM_OK; i++) {
        fputs("  ", stdout);
        print_plain(key);
        fputs(": ", stdout);
        print_plain(value);
        putchar('\n');
    }
    print_text_tensors(s->file);
}

static void print_json_config(const Subject *s) {
    fputs(",\n  \"config\": ", stdout);
    if (!s->configured) {
        fputs("null", stdout);
        return;
    }
    for (int i = 0; i < s->config.count; i++) {
        const Field *field = &s->config.items[i];
        printf("%s\"%s\": ", i ? ", " : "{", field->key);
        if (field->quoted)
            print_quoted(field->value);
        else
            fputs(field->value, stdout);
    }
    putchar('}');
}

static void print_json_texts(const TimTensorFile *file) {
    const char *key, *value;
    fputs(",\n  \"metadata\": {", stdout);
    for (size_t i = 0; tim_tensor_file_text(file, i, &key, &value, NULL) == TIM_OK; i++) {
        fputs(i ? ", " : "", stdout);
        print_quoted(key);
        fputs(": ", stdout);
        print_quoted(value);
    }
    putchar('}');
}

static void print_json_tensors(const TimTensorFile *file) {
    TimFileTensor tensor;
    fputs(",\n  \"tensors\": [", stdout);
    for (size_t i = 0; tim_tensor_file_tensor(file, i, &tensor, NULL) == TIM_OK; i++) {
        fputs(i ? ",\n    {\"name\": " : "\n    {\"name\": ", stdout);
        print_quoted(tensor.name);
        printf(", \"dtype\": \"%s\", \"shape\": ", tensor.dtype);
        print_shape(&tensor, "[", "]}");
    }
    fputs("]\n}\n", stdout);
}

static void print_json(const Subject *s) {
    fputs("{\n  \"file\": ", stdout);
    print_quoted(s->path);
    printf(",\n  \"parameters\": %" PRIu64 ",\n  \"bytes\": %" PRIu64, s->elements, s->bytes);
    print_json_config(s);
    print_json_texts(s->file);
    print_json_tensors(s->file);
}

/* ---- finding ---- */

enum { MAX_PATH = 4096 };

static bool is_file(const char *path) {
    struct stat info;
    return stat(path, &info) == 0 && S_ISREG(info.st_mode);
}

/* config.yaml in the folder of the file `path`. */
static bool config_path(char out[MAX_PATH], const char *path) {
    const char *slash = strrchr(path, '/');
    const int length = snprintf(out, MAX_PATH, "%.*sconfig.yaml", slash ? (int)(slash - path + 1) : 0, path);
    return length >= 0 && length < MAX_PATH;
}

static bool read_config(Subject *s, const char *path) {
    TimError err;
    TimConfig config;
    const TimStatus status = tim_config_read(&config, path, &err);
    if (status == TIM_OK)
        list_config(&s->config, &config);
    else
        fprintf(stderr, "tim inspect: %s\n", err.text);
    tim_config_done(&config);
    s->configured = status == TIM_OK;
    return s->configured;
}

static void measure(Subject *s) {
    TimFileTensor tensor;
    for (size_t i = 0; tim_tensor_file_tensor(s->file, i, &tensor, NULL) == TIM_OK; i++) {
        s->elements += tensor.count;
        s->bytes += tensor.bytes;
    }
}

/* A configuration that lies there without being asked for may be another program's: then the tensors are still shown. */
static bool find_config(Subject *s, const char *given) {
    char beside[MAX_PATH];
    if (given) return read_config(s, given);
    if (config_path(beside, s->path) && is_file(beside)) read_config(s, beside);
    return true;
}

static ExitCode inspect(const char *path, const char *config, bool json) {
    TimError err;
    Subject subject = {0};
    if (tim_tensor_file_open(&subject.file, path, &err) != TIM_OK) {
        fprintf(stderr, "tim inspect: %s\n", err.text);
        return EXIT_FAILED;
    }
    subject.path = tim_tensor_file_path(subject.file);
    const bool found = find_config(&subject, config);
    measure(&subject);
    if (found) (json ? print_json : print_text)(&subject);
    tim_tensor_file_close(subject.file);
    return found ? EXIT_FINE : EXIT_FAILED;
}

int cmd_inspect(int count, char **words) {
    const char *config = NULL;
    bool json = false;
    const Option options[] = {
        option_text("config", &config, "YAML", "configuration (default: config.yaml beside the file)"),
        option_flag("json", &json, "for programs: one JSON object"),
    };
    const CommandLine line = {
        .command = "inspect",
        .summary = "Shows the configuration, parameters, metadata and tensors of a model, or of any file of tensors.",
        .operands = "DIR|FILE",
        .options = options,
        .option_count = sizeof options / sizeof *options,
        .min_operands = 1,
        .max_operands = 1,
        .notes = "A file is safetensors, a file of torch.save (.bin, .pt, .pth; nothing in it is run), or the index of several\n"
                 "(.safetensors.index.json). Of a folder, its model.safetensors is shown, diffusion_pytorch_model.safetensors, the "
                 "index\n"
                 "of one of these, or pytorch_model.bin.",
    };
    Operands operands;
    ExitCode code;
    if (!command_line_parse(&line, count, words, &operands, &code)) return code;
    return inspect(operands.items[0], config, json);
}
