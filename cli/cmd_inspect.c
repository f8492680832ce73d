/* tim inspect: what a model, one of its files or any file of tensors holds, for people or (--json) for programs.
 * Names and texts come from files that may be hostile: control characters never reach the terminal as they are. */
#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "commands.h"
#include "options.h"
#include "support.h"
#include "tim/facts.h"
#include "tim/file.h"
#include "tim/pipeline.h"

/* ---- printing ---- */

/* One line of text, of which nothing makes a terminal do anything: control characters become spaces. */
static void print_plain(const char *text) {
    for (; *text; text++) {
        const unsigned control = control_of(text);
        putchar(control ? ' ' : *text);
        text += control >= 0x80;
    }
}

/* What is shown. */
typedef struct Subject {
    const char *path;
    TimTensorFile *file;        /* NULL: no weights */
    uint64_t elements, bytes;   /* of all tensors */
    TimFacts config, tokenizer; /* without a kind: there is none */
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

static void print_text_facts(const TimFacts *facts) {
    if (!facts->kind) return;
    printf("\n%s\n", facts->kind);
    for (int i = 0; i < facts->count; i++) {
        printf("  %-31s ", facts->items[i].key);
        print_plain(facts->items[i].value);
        putchar('\n');
    }
}

static void print_text_metadata(const TimTensorFile *file) {
    const char *key, *value;
    if (tim_tensor_file_text_count(file) > 0) puts("\nmetadata");
    for (size_t i = 0; tim_tensor_file_text(file, i, &key, &value, NULL) == TIM_OK; i++) {
        fputs("  ", stdout);
        print_plain(key);
        fputs(": ", stdout);
        print_plain(value);
        putchar('\n');
    }
}

static void print_text(const Subject *s) {
    print_plain(s->path);
    putchar('\n');
    if (s->file)
        printf("%" PRIu64 " parameters in %zu tensors, %" PRIu64 " bytes\n", s->elements, tim_tensor_file_count(s->file), s->bytes);
    print_text_facts(&s->config);
    print_text_facts(&s->tokenizer);
    if (!s->file) return;
    print_text_metadata(s->file);
    print_text_tensors(s->file);
}

static void print_json_facts(const char *key, const TimFacts *facts) {
    printf(",\n  \"%s\": ", key);
    if (!facts->kind) {
        fputs("null", stdout);
        return;
    }
    fputs("{\"kind\": ", stdout);
    print_quoted(facts->kind);
    for (int i = 0; i < facts->count; i++) {
        const TimFact *fact = &facts->items[i];
        printf(", \"%s\": ", fact->key);
        if (fact->text)
            print_quoted(fact->value);
        else
            fputs(fact->value, stdout);
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
    fputs("]", stdout);
}

static void print_json(const Subject *s) {
    fputs("{\n  \"file\": ", stdout);
    print_quoted(s->path);
    if (s->file) printf(",\n  \"parameters\": %" PRIu64 ",\n  \"bytes\": %" PRIu64, s->elements, s->bytes);
    print_json_facts("config", &s->config);
    print_json_facts("tokenizer", &s->tokenizer);
    if (s->file) {
        print_json_texts(s->file);
        print_json_tensors(s->file);
    }
    fputs("\n}\n", stdout);
}

/* ---- finding ---- */

static bool is_kind(const char *path, mode_t kind) {
    struct stat info;
    return stat(path, &info) == 0 && (info.st_mode & S_IFMT) == kind;
}

/* `name` in the folder `path`, or in that of the file `path`. */
static bool path_in(char out[MAX_PATH_BYTES], const char *path, const char *name) {
    const bool folder = is_kind(path, S_IFDIR);
    const char *slash = strrchr(path, '/');
    const int keep = folder ? (int)strlen(path) : slash ? (int)(slash - path) : 0;
    const int length = snprintf(out, MAX_PATH_BYTES, "%.*s%s%s", keep, path, folder || slash ? "/" : "", name);
    return length >= 0 && length < MAX_PATH_BYTES && is_kind(out, S_IFREG);
}

static bool say(const TimError *err) {
    fprintf(stderr, "tim inspect: %s\n", err->text);
    return false;
}

static bool say_no_config(const char *path) {
    fprintf(stderr, "tim inspect: --config: %s is a tokenizer; give a configuration\n", path);
    return false;
}

static bool read_facts(Subject *s, const char *path) {
    TimError err;
    TimFacts facts;
    if (tim_facts_read(&facts, path, &err) != TIM_OK) return say(&err);
    *(facts.tokenizer ? &s->tokenizer : &s->config) = facts;
    return true;
}

/* The first of `names` that lies there. One that was not asked for may be another program's: then the rest is still shown. */
static void find_facts(Subject *s, const char *path, const char *const *names) {
    char found[MAX_PATH_BYTES];
    for (int i = 0; names[i]; i++)
        if (path_in(found, path, names[i])) {
            read_facts(s, found);
            return;
        }
}

/* Official weights bring the configuration with their tensors' names and shapes. */
static void find_published(Subject *s, const char *path) {
    TimConfig config;
    const TimPipelineParts parts = {.model = path};
    if (tim_pipeline_read_config(&config, &parts, NULL) == TIM_OK) tim_facts_of_config(&s->config, &config);
    tim_config_done(&config);
}

static void measure(Subject *s) {
    TimFileTensor tensor;
    for (size_t i = 0; tim_tensor_file_tensor(s->file, i, &tensor, NULL) == TIM_OK; i++) {
        s->elements += tensor.count;
        s->bytes += tensor.bytes;
    }
}

/* Whether the folder has a file that may be one of weights, sound or not. */
static bool has_weights(const char *folder) {
    static const char *const ends[] = {".safetensors", ".index.json", ".bin", ".pt", ".pth", NULL};
    bool found = false;
    DIR *stream = opendir(folder);
    for (const struct dirent *entry; stream && (entry = readdir(stream));)
        for (int i = 0; ends[i]; i++) found |= ends_with(entry->d_name, ends[i]);
    if (stream) closedir(stream);
    return found;
}

static bool has_config(const char *path) {
    char found[MAX_PATH_BYTES];
    return path_in(found, path, "config.yaml") || path_in(found, path, "config.json");
}

/* The weights and what lies beside them; a folder may hold a tokenizer or a configuration alone. */
static bool look(Subject *s, const char *path, const char *config) {
    static const char *const configs[] = {"config.yaml", "config.json", NULL}, *const tokenizers[] = {"tokenizer.json",
                                                                                                      "tokenizer.model",
                                                                                                      "spiece.model", NULL};
    TimError err;
    if (config && !read_facts(s, config)) return false;
    if (config && !s->config.kind) return say_no_config(config);
    if (!config) find_facts(s, path, configs);
    if (is_kind(path, S_IFDIR)) find_facts(s, path, tokenizers);
    const TimStatus status = tim_tensor_file_open(&s->file, path, &err);
    if (status == TIM_OK) {
        s->path = tim_tensor_file_path(s->file);
        if (!config && !has_config(path)) find_published(s, path);
        measure(s);
        return true;
    }
    return (is_kind(path, S_IFDIR) && (s->config.kind || s->tokenizer.kind) && !has_weights(path)) || say(&err);
}

static ExitCode inspect(const char *path, const char *config, bool json) {
    Subject subject = {.path = path};
    const bool plain = is_kind(path, S_IFREG) && tim_facts_known(path);
    const bool found = plain && !config ? read_facts(&subject, path) : look(&subject, path, config);
    if (found) (json ? print_json : print_text)(&subject);
    tim_tensor_file_close(subject.file);
    return found ? EXIT_FINE : EXIT_FAILED;
}

int cmd_inspect(int count, char **words) {
    const char *config = NULL;
    bool json = false;
    const Option options[] = {
        option_text("config", &config, "FILE", "configuration (default: config.yaml or config.json beside the file)"),
        option_flag("json", &json, "for programs: one JSON object"),
    };
    const CommandLine line = {
        .command = "inspect",
        .summary = "Shows the configuration, tokenizer, parameters, metadata and tensors of a model's folder, or one of its files.",
        .operands = "DIR|FILE",
        .options = options,
        .option_count = sizeof options / sizeof *options,
        .min_operands = 1,
        .max_operands = 1,
        .notes = "A file is safetensors, a file of torch.save (.bin, .pt, .pth; nothing in it is run), or the index of several "
                 "(.safetensors.index.json). "
                 "Of a folder, its model.safetensors is shown, diffusion_pytorch_model.safetensors, the index of one of these, "
                 "diffusion_pytorch_model.bin, pytorch_model.bin, or the only file of weights of another name. Of what is no "
                 "weights: a configuration of TiM "
                 "(.yaml), of a text encoder or an autoencoder (config.json), a tokenizer (tokenizer.json, tokenizer.model, "
                 "spiece.model).",
    };
    Operands operands;
    ExitCode code;
    if (!command_line_parse(&line, count, words, &operands, &code)) return code;
    return inspect(operands.items[0], config, json);
}
