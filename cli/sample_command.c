/* The command line of tim sample. */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "sample.h"
#include "sample_layout.h"
#include "support.h"

static const char *const layout_words[] = {"plain", "geneval", "dpg", "mjhq", NULL}; /* PromptLayout */

/* ---- the table ---- */

static const char notes[] =
    "--out x.npz\tarr_0, uint8 (count, height, width, channels), and arr_1, the classes: the layout of ADM's evaluation\n"
    "--out x.png\tone prompt's picture, or one labelled sheet; with --steps 1,2,4 a row for each number of steps, from the same "
    "noise\n"
    "--out x/\t000000.png, 000001.png, ...; pictures that are there are not replaced without --overwrite, and prompts that are "
    "typed "
    "go on after the highest number\n"
    "--prompts\ttakes of a line's own, where it is a JSON object: seed, steps, width, height, guidance, guidance_low, "
    "guidance_high, "
    "stochasticity, negative_prompt\n"
    "--strip\tmakes a row of each picture: for every step the picture its jump would end at if it went on to the end (a clean "
    "estimate, "
    "no evaluation more), the last being the picture itself; in a folder beside it, 000000-strip.png\n"
    "--imitate\trounds to bf16 what the published samplers round: times (those of 1, 2, 4, ... 256 equal steps are exact), and the "
    "angles of the rotary embedding (all pictures differ). The published figures were made so; training knows neither\n"
    "--classes\ttakes numbers and any of a class's names, such as \"golden retriever,207,tench\", where the names are known: "
    "ImageNet, "
    "Fashion-MNIST\n"
    "A picture depends on the seed, its number, its class or prompt and the options, and but for rounding not on --batch. "
    "Picture N shows prompt N / count, or class N of --classes in turn, whatever --first is.";

/* Options that were given, which their values do not tell from the defaults. */
typedef struct Given {
    bool strength, width, height;
} Given;

static bool parse(SampleRequest *r, Given *g, int count, char **words, ExitCode *code) {
    bool given[64] = {false};
    const Option options[] = {
        option_text("model", &r->parts.model, "DIR|FILE", "folder with weights, the file, or a published YAML; required"),
        option_text("config", &r->parts.config, "YAML",
                    "configuration (default: config.yaml beside the weights, or the official one)"),
        option_text("text-encoder", &r->parts.text_encoder, "DIR|FILE", "Gemma 3 or T5 (default: found beside the model)"),
        option_text("tokenizer", &r->parts.tokenizer, "DIR|FILE", "its tokenizer (default: found beside the model)"),
        option_text("autoencoder", &r->parts.autoencoder, "DIR|FILE", "AutoencoderKL or DC (default: found beside the model)"),
        option_required(option_text("out", &r->out, "PATH", "x.png, x.jpg, x.webp, x.npz or folder/; required")),
        option_flag("overwrite", &r->overwrite, "replace pictures that are in the folder already"),
        option_text("prompt", &r->prompt, "TEXT", "what the pictures show, for a model of texts"),
        option_text("prompts", &r->prompts_file, "FILE|FOLDER",
                    "prompts, one a line or JSON objects (prompt, and seed, steps, width, ...: see below); -: as they are typed"),
        option_text("negative-prompt", &r->sample.negative_prompt, "TEXT",
                    "what guidance leads away from (default: the empty prompt)"),
        option_int("caption-tokens", &r->sample.caption_tokens, 1, 65536,
                   "pad shorter captions to N tokens, as the published runs to the longest of a batch (default: none)"),
        option_choice("layout", &r->layout, layout_words,
                      "of the pictures in the folder (default plain): as these evaluations read it"),
        option_text("like", &r->like, "PNG", "settings of a picture drawn before, where no other option says otherwise"),
        option_list("steps", &r->steps, 1, TIM_SAMPLE_MAX_STEPS, "jumps from noise to picture (default 1); several for a sheet"),
        option_choice("mode", &r->mode, sample_mode_words, "what the network is asked for (default transition)"),
        option_text(
            "classes", &r->classes_text, "CLASS[,CLASS...]",
            "classes to draw, in turn: numbers, or names of ImageNet or Fashion-MNIST (default: 0, 1, ... as many as --count)"),
        option_int64("count", &r->count, 1, SAMPLE_MAX_COUNT,
                     "pictures (default: one of each of --classes, else 16; with prompts: of each, 1)"),
        option_int64("first", &r->first, 0, (double)SAMPLE_MAX_FIRST,
                     "number of the first picture, to go on where a run into a folder ended (default 0)"),
        option_uint64("seed", &r->sample.seed, "start of the random numbers (default 0)"),
        option_real("guidance", &r->sample.guidance, 0, 1000, "classifier-free guidance; 1 is none (default 1)"),
        option_real("guidance-low", &r->sample.guidance_low, -1, 2, "guide only where t > X T_max (default 0)"),
        option_real("guidance-high", &r->sample.guidance_high, -1, 2, "guide only where t < X T_max (default 1)"),
        option_real("stochasticity", &r->sample.stochasticity, 0, 1000, "share of fresh noise in each jump (default 0)"),
        option_flag("strip", &r->strip, "write a row of what each picture was expected to become after every step"),
        option_text("init", &r->init, "PICTURE", "picture to start from: PNG, JPEG or WebP, resized"),
        option_real("strength", &r->sample.strength, 1e-3, 1, "how much of --init is drawn anew; 1 leaves nothing (default 0.7)"),
        option_text("size", &r->size, "WxH",
                    "width x height in pixels (default: the model's; with --init the picture's); in place of the next two"),
        option_int("height", &r->sample.height, 0, TIM_IMAGE_MAX_SIDE,
                   "pixels; 0: the default of --size, with --init in proportion (default 0)"),
        option_int("width", &r->sample.width, 0, TIM_IMAGE_MAX_SIDE,
                   "pixels; 0: the default of --size, with --init in proportion (default 0)"),
        option_choice("rounding", &r->rounding, sample_rounding_words,
                      "how a number becomes a byte (default c2i; of models of texts t2i, but of --layout mjhq c2i)"),
        option_int("batch", &r->batch, 1, 65536, "pictures evaluated at a time (default 16; of large ones into a folder fewer)"),
        option_text("memory", &r->memory, "N", "bytes to stay within, such as 6G; K, M, G of 1024 (default: no bound)"),
        option_flag("tiled", &r->sample.tiled,
                    "decode in overlapping tiles, as diffusers does: less memory, not the whole picture's result"),
        option_choice("precision", &r->precision, sample_precision_words,
                      "of the matrix products (default fp32; of models on latents bf16)"),
        option_choice("decoder-precision", &r->decoder_precision, sample_precision_words,
                      "of the autoencoder's products (default: as --precision; the published scripts: fp32)"),
        option_text("imitate", &r->imitate, "times|rotary[,...]", "roundings of the published samplers (default: none)"),
        option_threads(&r->threads),
        option_isa(&r->isa),
    };
    _Static_assert(sizeof options / sizeof *options <= sizeof given / sizeof *given, "every option has a place");
    const CommandLine line = {.given = given,
                              .command = "sample",
                              .summary = "Draws pictures of prompts or classes.",
                              .options = options,
                              .option_count = sizeof options / sizeof *options,
                              .notes = notes};
    Operands none;
    const bool go_on = command_line_parse(&line, count, words, &none, code);
    const TimSampleOptions *o = &r->sample;
    *g = (Given){command_line_given(&line, &o->strength), command_line_given(&line, &o->width),
                 command_line_given(&line, &o->height)};
    return go_on;
}

/* ---- what a picture drawn before says ---- */

/* Prompts of the words take the place of the picture's classes; a list of them also that of its prompt, number and count. */
static void prefer_prompts(SampleRequest *r, const SampleRequest *said) {
    if (said->prompt || said->prompts_file) r->classes_text = said->classes_text;
    if (said->prompt) r->prompts_file = said->prompts_file;
    if (!said->prompts_file) return;
    r->prompt = said->prompt, r->single = false;
    r->first = said->first, r->count = said->count;
}

/* Classes of the words take the place of the picture's prompts and of what only those have. A list of them brings its own number,
 * and is more than one picture. */
static void prefer_classes(SampleRequest *r, const SampleRequest *said) {
    if (!said->classes_text) return;
    r->prompt = said->prompt, r->prompts_file = said->prompts_file;
    r->sample.negative_prompt = said->sample.negative_prompt;
    r->sample.caption_tokens = said->sample.caption_tokens;
    r->count = said->count;
    if (strchr(said->classes_text, ',')) r->single = false;
}

/* Another model has other parts. */
static void prefer_model(SampleRequest *r, const SampleRequest *said) {
    if (said->parts.model) r->parts = said->parts;
}

/* A strip is a row of one number of steps in a picture of its own: where the words want none such, there is none. */
static void prefer_rows(SampleRequest *r, const SampleRequest *said) {
    if (!said->strip && (r->steps.count > 1 || r->layout || ends_with(r->out, ".npz"))) r->strip = false;
}

/* A picture of someone else's may name any file: what is read because of it is said, and prompts are those of a plain file. */
static ExitCode check_files(const SampleRequest *r, const SampleRequest *said) {
    struct stat info;
    const bool init = r->init && !said->init, prompts = r->prompts_file && !said->prompts_file,
               plain = prompts && stat(r->prompts_file, &info) == 0 && S_ISREG(info.st_mode);
    if (init) say_disarmed("tim sample", "starts from %.1000s, which %.1000s names", r->init, r->like);
    if (prompts)
        say_disarmed("tim sample", "%s %.1000s, which %.1000s names",
                     plain ? "draws the prompts of" : "there is no file of prompts", r->prompts_file, r->like);
    return prompts && !plain ? EXIT_FAILED : EXIT_FINE;
}

/* The words are read again: what they say comes after what the picture says. */
static ExitCode read_like(SampleRequest *r, char text[SAMPLE_TEXT_BYTES], int count, char **words) {
    TimError err;
    ExitCode code = EXIT_FAILED;
    Given given;
    const SampleRequest said = *r;
    if (sample_like(r, r->like, text, &err) != TIM_OK) {
        fprintf(stderr, "tim sample: %s\n", err.text);
        return EXIT_FAILED;
    }
    parse(r, &given, count, words, &code);
    prefer_prompts(r, &said);
    prefer_classes(r, &said);
    prefer_model(r, &said);
    prefer_rows(r, &said);
    return code == EXIT_FINE ? check_files(r, &said) : code;
}

/* ---- checks that the table cannot make ---- */

/* Of the command line's own words, before a picture adds to them. */
static ExitCode check_words(const SampleRequest *r, const Given *given) {
    if (r->prompt && r->prompts_file) return command_line_misused("sample", "--prompt and --prompts: give one of them");
    if (r->size && (given->width || given->height))
        return command_line_misused("sample", "--size and --%s: give one of them", given->width ? "width" : "height");
    if (r->layout && r->count)
        return command_line_misused("sample", "--count: with --layout %s there are %d pictures of each prompt; leave it out",
                                    layout_words[r->layout], layout_pictures((PromptLayout)r->layout));
    return EXIT_FINE;
}

static bool find_form(const char *path, SampleForm *form) {
    struct stat info;
    if (ends_with(path, "/") || (stat(path, &info) == 0 && S_ISDIR(info.st_mode)))
        *form = SAMPLE_FOLDER;
    else if (ends_with(path, ".npz"))
        *form = SAMPLE_NPZ;
    else if (ends_with(path, ".png") || ends_with(path, ".jpg") || ends_with(path, ".jpeg") || ends_with(path, ".webp"))
        *form = SAMPLE_SHEET; /* or one picture */
    else
        return false;
    return true;
}

static ExitCode check_layout(SampleRequest *r) {
    if (!r->layout) return EXIT_FINE;
    const int each = layout_pictures((PromptLayout)r->layout);
    if (!r->prompts_file || r->form != SAMPLE_FOLDER)
        return command_line_misused("sample", "--layout wants --prompts, and a folder for --out: end it with /");
    if (r->first > 0 && r->first % each)
        return command_line_misused("sample",
                                    "--first: %lld does not fit; with --layout %s give a multiple of %d, the pictures of a prompt",
                                    (long long)r->first, layout_words[r->layout], each);
    r->form = SAMPLE_LAYOUT;
    return EXIT_FINE;
}

static ExitCode check_out(SampleRequest *r) {
    if (!find_form(r->out, &r->form))
        return command_line_misused("sample", "--out: '%s' must end in .npz, .png, .jpg, .webp or /, or be a folder", r->out);
    if (r->steps.count > 1 && r->form != SAMPLE_SHEET)
        return command_line_misused("sample", "--steps takes several numbers only for a sheet, --out something.png");
    if (r->strip && (r->steps.count > 1 || r->layout || r->form == SAMPLE_NPZ))
        return command_line_misused("sample", "--strip wants one number of --steps, and a picture or a plain folder for --out");
    if (sample_reads_input(r) && (r->form != SAMPLE_FOLDER || r->layout))
        return command_line_misused("sample", "prompts from the terminal go into a plain folder: end --out with /");
    return check_layout(r);
}

/* "times,rotary". */
static ExitCode read_imitate(SampleRequest *r) {
    for (const char *at = r->imitate; at;) {
        const size_t length = strcspn(at, ",");
        const bool times = length == 5 && strncmp(at, "times", length) == 0,
                   rotary = length == 6 && strncmp(at, "rotary", length) == 0;
        if (!times && !rotary)
            return command_line_misused(
                "sample", "--imitate: '%.*s' does not fit; give times, rotary, or both with a comma between", (int)length, at);
        r->sample.rounded_times |= times;
        r->rounded_rotary |= rotary;
        at = at[length] ? at + length + 1 : NULL;
    }
    return EXIT_FINE;
}

static ExitCode check_values(SampleRequest *r) {
    if (r->memory && !sample_parse_bytes(r->memory, &r->sample.memory))
        return command_line_misused("sample", "--memory: '%s' does not fit; give bytes, or a number with K, M or G, such as 6G",
                                    r->memory);
    if (r->size && !sample_parse_size(r->size, &r->sample))
        return command_line_misused("sample", "--size: '%s' does not fit; give WIDTHxHEIGHT, such as 1024x768, sides from 1 to %d",
                                    r->size, TIM_IMAGE_MAX_SIDE);
    return read_imitate(r);
}

static ExitCode check_request(SampleRequest *r, const Given *given) {
    if (!r->parts.model) return command_line_misused("sample", "--model is required");
    if (given->strength && !r->init)
        return command_line_misused("sample", "--strength says how much of --init is drawn anew: give a picture");
    if (check_out(r) != EXIT_FINE || check_values(r) != EXIT_FINE) return EXIT_MISUSED;
    const bool one = (r->single || r->prompt) && r->count <= 1;
    if (r->form == SAMPLE_SHEET && one && r->steps.count == 1) r->form = SAMPLE_PICTURE;
    r->sample.mode = r->mode ? TIM_SAMPLE_DIFFUSION : TIM_SAMPLE_TRANSITION;
    return EXIT_FINE;
}

bool sample_reads_input(const SampleRequest *r) {
    return r->prompts_file && strcmp(r->prompts_file, "-") == 0;
}

bool sample_read_words(SampleRequest *r, char text[SAMPLE_TEXT_BYTES], int count, char **words, ExitCode *code) {
    Given given;
    if (!parse(r, &given, count, words, code)) return false;
    *code = check_words(r, &given);
    if (*code == EXIT_FINE && r->like) *code = read_like(r, text, count, words);
    if (*code != EXIT_FINE) return false;
    *code = check_request(r, &given);
    if (*code != EXIT_FINE && r->like) say_disarmed("tim sample", "what the words do not say is as %.1000s says", r->like);
    return *code == EXIT_FINE;
}
