/* The program tim as a user meets it, on models of texts and of latents: prompts as they are given, pictures that can be drawn
 * again, layouts of the evaluations, and what is said of every part. Runs ../cli/tim of its own build from the root of the sources;
 * writes into a temporary directory. */
#include <pty.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "program.h"
#include "small_parts.h"
#include "tim/image.h"

static int set_up(void **state) {
    return find_program("../cli/tim") ? make_parts(state) : -1;
}

/* ---- pictures ---- */

static void assert_picture(const char *name, int height, int width) {
    TimImage image;
    assert_ok(tim_image_read(&image, in_folder(name), &err));
    assert_int_equal(image.height, height), assert_int_equal(image.width, width), assert_int_equal(image.channels, 3);
    tim_image_done(&image);
}

static void assert_near_picture(const char *name, const char *other, int most) {
    TimImage a, b;
    assert_ok(tim_image_read(&a, in_folder(name), &err));
    assert_ok(tim_image_read(&b, in_folder(other), &err));
    assert_int_equal(a.height, b.height), assert_int_equal(a.width, b.width);
    assert_same_pixels(a.pixels, b.pixels, (size_t)a.height * (size_t)a.width * 3, most);
    tim_image_done(&a), tim_image_done(&b);
}

static void assert_same_picture(const char *name, const char *other) {
    assert_near_picture(name, other, 0);
}

static void assert_other_picture(const char *name, const char *other) {
    TimImage a, b;
    assert_ok(tim_image_read(&a, in_folder(name), &err));
    assert_ok(tim_image_read(&b, in_folder(other), &err));
    assert_int_equal(a.height, b.height), assert_int_equal(a.width, b.width);
    assert_memory_not_equal(a.pixels, b.pixels, (size_t)a.height * (size_t)a.width * 3);
    tim_image_done(&a), tim_image_done(&b);
}

/* ---- prompts ---- */

static void test_cli_prompt_makes_a_picture_that_can_be_drawn_again(void **state) {
    (void)state;
    assert_runs("sample --model text --prompt 'a red cube, \xC3\xA9' --steps 2 --size 96x32 --seed 7 --guidance 2.5 --out a.png");
    assert_picture("a.png", 32, 96);
    assert_runs("sample --like a.png --out b.png");
    assert_same_picture("a.png", "b.png");
    assert_runs("sample --model text --prompt cube --init a.png --strength 0.5 --out c.png");
    assert_picture("c.png", 32, 96);
    assert_runs("sample --like c.png --out d.png");
    assert_same_picture("c.png", "d.png");
    assert_runs("sample --model text --prompt cube --count 3 --out sheet.png");
}

static void test_cli_prompts_of_a_file_and_typed_ones_are_drawn(void **state) {
    (void)state;
    static const char lines[] = "a red cube\r\n\n{\"prompt\": \"two dogs\", \"seed\": 3, \"width\": 32, \"steps\": 2}\n";
    write_text("prompts.jsonl", lines);
    assert_runs("sample --model text --prompts prompts.jsonl --count 2 --out lines/");
    assert_picture("lines/000001.png", SIZE, SIZE);
    assert_picture("lines/000003.png", SIZE, 32);
    assert_int_equal(access(in_folder("lines/000004.png"), F_OK), -1);
    assert_runs("sample --like lines/000003.png --out again.png");
    assert_same_picture("lines/000003.png", "again.png");
    assert_exits("sample --model text --prompts - --out typed/", "a red cube\n\n\xFF\ntwo dogs", 1);
    assert_contains(said, "1 of the prompts not drawn");
    assert_same_picture("typed/000000.png", "lines/000000.png");
    assert_picture("typed/000001.png", SIZE, SIZE); /* the line that is no UTF-8 cost only itself */
}

/* What another run puts into the folder meanwhile stays, and costs no line. */
static void test_cli_typed_prompts_go_on_behind_what_others_put_there(void **state) {
    (void)state;
    assert_shell("{ echo a red cube; until test -e shared/000000.png; do sleep 0.1; done; echo other > shared/000001.png; "
                 "echo two dogs; } | \"$tim\" sample --model text --prompts - --out shared/");
    assert_shell("test \"$(cat shared/000001.png)\" = other");
    assert_picture("shared/000002.png", SIZE, SIZE);
}

/* Of large pictures no more are drawn together than may be lost together: the bound on memory is that of one. */
static void test_cli_large_pictures_of_a_folder_are_drawn_one_by_one(void **state) {
    (void)state;
    char one[TEXT_BYTES];
    write_text("four.txt", "a\nb\nc\nd\n");
    assert_exits("sample --model text --prompt a --size 1024x1024 --memory 1M --out large.png", "", 1);
    snprintf(one, sizeof one, "%s", strstr(said, "the run needs"));
    assert_exits("sample --model text --prompts four.txt --size 1024x1024 --memory 1M --out large/", "", 1);
    assert_contains(said, one);
    assert_exits("sample --model text --prompts four.txt --size 1024x1024 --memory 1M --batch 4 --out large/", "", 1);
    assert_null(strstr(said, one));
}

/* The bound is on all that the process holds, also for having counted it; how much of the libraries is mapped differs a little. */
static void test_cli_memory_is_what_the_process_takes(void **state) {
    (void)state;
    assert_runs("sample --model text --prompt a --size 1024x1024 --memory 94M --out bound.png");
#if !defined(__SANITIZE_ADDRESS__)
    if (resident > 100.0 * 1048576) fail_msg("%.1f MiB were resident of 94", resident / 1048576);
#endif
}

enum { SHOWN_BYTES = 1 << 15 };

/* Runs `tim WORDS` on a terminal on which `typed` is typed; returns the exit code, and what the terminal shows in `shown`. */
static int tim_on_terminal(const char *words, const char *typed, char shown[SHOWN_BYTES]) {
    char line[TEXT_BYTES];
    size_t count = 0;
    int terminal, status;
    snprintf(line, sizeof line, "cd '%s' && export OMP_NUM_THREADS=1 && exec '%s' %s", folder, program, words);
    const pid_t child = forkpty(&terminal, NULL, NULL, NULL);
    assert_true(child >= 0);
    if (child == 0) {
        execl("/bin/sh", "sh", "-c", line, (char *)NULL);
        _exit(127);
    }
    assert_int_equal(write(terminal, typed, strlen(typed)), strlen(typed));
    for (ssize_t got; count < SHOWN_BYTES - 1 && (got = read(terminal, shown + count, SHOWN_BYTES - 1 - count)) > 0;)
        count += (size_t)got; /* until the program ends, which is an error to read */
    shown[count] = '\0';
    close(terminal);
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* Without a prompt it asks for them on a terminal, until the end is typed; a failure there is said, and is no failure of the
 * whole. */
static void test_cli_asks_for_prompts_on_a_terminal(void **state) {
    (void)state;
    static char shown[SHOWN_BYTES];
    const int code = tim_on_terminal("sample --model text --out chat/", "a red cube\n\xFF\ntwo dogs\n\004", shown);
    if (code != 0) fail_msg("exit code %d: %s", code, shown);
    int asked = 0;
    for (const char *at = shown; (at = strstr(at, "prompt> ")); at++) asked++;
    assert_int_equal(asked, 4);
    assert_non_null(strstr(shown, "chat/000000.png: "));
    assert_non_null(strstr(shown, "tim sample: standard input: line 2: the prompt of picture 1: "));
    assert_non_null(strstr(shown, "step 1 of 1")); /* the progress */
    assert_runs("sample --model text --prompt 'a red cube' --out red.png");
    assert_runs("sample --model text --prompt 'two dogs' --first 1 --out dogs.png");
    assert_same_picture("chat/000000.png", "red.png");
    assert_same_picture("chat/000001.png", "dogs.png");
    assert_exits("sample --model text --out chat2/", "a red cube\n", 1); /* no terminal */
    assert_contains(said, "the model draws texts: give --prompt TEXT");
}

/* What a line may say for itself is what the command line says for all, and lines that differ by the seed alone are one batch. */
static void test_cli_settings_of_a_line_are_those_of_the_command(void **state) {
    (void)state;
    static const char lines[] =
        "{\"prompt\": \"a red cube\", \"seed\": 1, \"steps\": 4, \"guidance\": 3, \"guidance_low\": 0.3, \"guidance_high\": 1.5, "
        "\"stochasticity\": 0.1, \"negative_prompt\": \"two dogs\"}\n"
        "{\"prompt\": \"a red cube\", \"seed\": 2, \"steps\": 4, \"guidance\": 3, \"guidance_low\": 0.3, \"guidance_high\": 1.5, "
        "\"stochasticity\": 0.1, \"negative_prompt\": \"two dogs\"}\n";
    write_text("own.jsonl", lines);
    assert_runs("sample --model text --prompts own.jsonl --precision fp32 --out own/");
    assert_runs("sample --model text --prompt 'a red cube' --first 1 --seed 2 --steps 4 --guidance 3 --guidance-low 0.3 "
                "--guidance-high 1.5 --stochasticity 0.1 --negative-prompt 'two dogs' --precision fp32 --out one.png");
    assert_near_picture("own/000001.png", "one.png", 1);
    assert_runs("sample --like one.png --out again2.png");
    assert_same_picture("one.png", "again2.png");
    assert_runs("sample --like one.png --guidance-low 0 --out all.png"); /* the last of four steps starts from 0.25 */
    assert_other_picture("one.png", "all.png");
    assert_runs("sample --like one.png --negative-prompt '' --out without.png");
    assert_runs("sample --model text --prompt 'a red cube' --first 1 --seed 2 --steps 4 --guidance 3 --guidance-low 0.3 "
                "--guidance-high 1.5 --stochasticity 0.1 --precision fp32 --out without2.png");
    assert_same_picture("without.png", "without2.png");
}

/* A picture to start from goes through tiles as well. */
static void test_cli_tiled_can_be_drawn_again(void **state) {
    (void)state;
    assert_runs("sample --model class --classes 1 --size 96x128 --count 1 --tiled --out tiled.png");
    assert_runs("sample --like tiled.png --out tiled2.png");
    assert_same_picture("tiled.png", "tiled2.png");
    assert_runs("sample --model class --classes 2 --size 96x128 --count 1 --tiled --init tiled.png --out tiled3.png");
    assert_runs("sample --model class --count 1 --imitate times --steps 4 --init tiled.png --strength 1 --out small.png");
    assert_contains(said, "--init has no effect but on the size");
    assert_runs("sample --model class --count 1 --imitate times --steps 4 --out small.png");
    assert_contains(said, "--imitate times has no effect");
    assert_runs("sample --model class --count 1 --imitate times --steps 4 --stochasticity 0.1 --out small.png");
    assert_null(strstr(said, "--imitate times")); /* jumps end between the quarters */
    assert_runs("verify --model class --text-encoder text/text_encoder --tokenizer x");
    assert_contains(said, "--text-encoder has no effect");
    assert_contains(said, "--tokenizer has no effect");
    assert_runs("sample --model class --count 1 --precision bf16 --decoder-precision fp32 --out wide.png");
    assert_runs("sample --like wide.png --out wide2.png");
    assert_same_picture("wide.png", "wide2.png");
    assert_runs("sample --model class --count 1 --precision bf16 --out narrow.png");
    assert_other_picture("wide.png", "narrow.png");
    assert_runs("sample --model text --prompt a --caption-tokens 9 --out padded.png");
    assert_runs("sample --like padded.png --out padded2.png");
    assert_same_picture("padded.png", "padded2.png");
    assert_runs("sample --model text --prompt a --out own.png");
    assert_other_picture("padded.png", "own.png");
    assert_runs("sample --model class --tiled --count 1 --out small.png");
    assert_contains(said, "--tiled has no effect");
}

/* ---- inspect, verify ---- */

static void assert_shown(const char *words, const char *const *parts) {
    assert_runs(words);
    for (int i = 0; parts[i]; i++) assert_contains(printed, parts[i]);
}

/* Every kind of file that a model consists of. */
static void test_cli_inspect_shows_every_part(void **state) {
    (void)state;
    const char *const gemma[] = {"parameters in",
                                 "text encoder, Gemma 3",
                                 "num_hidden_layers               2\n",
                                 "tokenizer, SentencePiece",
                                 "pieces",
                                 "bos_piece                       <s>\n",
                                 NULL};
    const char *const tokenizer[] = {"tokenizer, SentencePiece", "eos_piece                       </s>\n", NULL};
    const char *const dc[] = {"autoencoder, AutoencoderDC", "pixels_per_latent               32\n", "ViT", NULL};
    const char *const kl[] = {"autoencoder, AutoencoderKL", "block_out_channels              16, 32, 48, 48\n", NULL};
    const char *const yaml[] = {"configuration of TiM", "text-to-image", "vae_dir                         maker/dc-ae-f32\n", NULL};
    const char *const json[] = {"\"tokenizer\": {\"kind\": \"tokenizer.json\", \"pieces\": ", "\"config\": null", NULL};
    assert_shown("inspect text/text_encoder", gemma);
    assert_shown("inspect text/text_encoder/tokenizer.model", tokenizer);
    const char *const encoder[] = {"text encoder, T5", "feed_forward", "tokenizer, SentencePiece", NULL};
    make_t5("t5");
    assert_shown("inspect t5", encoder);
    assert_shown("inspect text/vae", dc);
    assert_shown("inspect class/vae/config.json", kl);
    assert_shown("inspect text/config.yaml", yaml);
    copy_file("tests/golden/tokenizer/bpe_tokenizer.json", "tokenizer.json");
    assert_shown("inspect --json tokenizer.json", json);
    const char *const weights = "{\"weight_map\": {\"a\": \"missing.safetensors\"}}";
    assert_shown("inspect hub/tokenizer", tokenizer);
    assert_string_equal(said, ""); /* nobody expects weights there */
    write_text("hub/tokenizer/model.safetensors.index.json", weights);
    assert_fails("inspect hub/tokenizer", 1, "missing.safetensors");
    assert_int_equal(remove(in_folder("hub/tokenizer/model.safetensors.index.json")), 0);
    static const char t5[] = "{\"model_type\": \"t5\", \"d_ff\": 2.5}";
    write_text("config.json", t5);
    assert_fails("inspect config.json", 1, "d_ff");
    static const char other[] = "{\"model_type\": \"bert\"}";
    write_text("config.json", other);
    assert_fails("inspect config.json", 1, "model_type gemma3_text, t5 or mt5");
}

/* What misleads is said to whoever might believe it, and cannot paint on the terminal. */
static void test_cli_verify_of_half_an_autoencoder_says_what_it_cannot(void **state) {
    (void)state;
    put_decoder("decoder", "dc_ae_tiny");
    assert_shown("verify --model text --autoencoder decoder", (const char *const[]){"runs, but not for --init: ", NULL});
    assert_fails("sample --model class --count 1 --imitate '\033[2Jx' --out small.png", 2, "[2Jx");
    assert_null(strchr(said, 033));
}

static void test_cli_inspect_knows_official_weights(void **state) {
    (void)state;
    static TimStoredTensor tensors[MOST_TENSORS];
    static char texts[MOST_TENSORS][TIM_OLD_NAME_BYTES];
    const char *const parts[] = {"parameters in", "configuration of TiM", "num_classes                     1000\n", NULL};
    mkdir(in_folder("b4"), 0777);
    write_zeros(in_folder("b4/weights.safetensors"), tensors, read_manifest("tim_b_p4.json", tensors, texts));
    assert_shown("inspect b4", parts);
    assert_int_equal(remove(in_folder("b4/weights.safetensors")), 0);
}

/* ---- pictures and words that come back, and what is said ---- */

/* A prompt with lines that look like those behind it. */
static void test_cli_prompt_with_lines_of_the_settings_comes_back(void **state) {
    (void)state;
    assert_runs("sample --model text --prompt 'a\nNegative prompt: b\nSteps: 9' --out odd.png");
    assert_runs("sample --like odd.png --out odd2.png");
    assert_same_picture("odd.png", "odd2.png");
    assert_runs(
        "sample --model text --prompt a --negative-prompt 'x\nNegative prompt: y' --guidance 2 --guidance-high 2 --out odd.png");
    assert_runs("sample --like odd.png --out odd2.png");
    assert_same_picture("odd.png", "odd2.png");
    assert_runs("sample --model text --prompt 'Negative prompt: b' --guidance 2 --guidance-high 2 --out odd.png");
    assert_runs("sample --like odd.png --out odd2.png");
    assert_same_picture("odd.png", "odd2.png");
}

/* Of a list it is said only where no prompt is shorter. */
static void test_cli_caption_tokens_without_effect_is_said(void **state) {
    (void)state;
    static const char lines[] = "a\n{\"prompt\": \"two dogs and a tree\", \"seed\": 3}\n";
    write_text("mixed.jsonl", lines);
    assert_runs("sample --model text --prompt a --caption-tokens 1 --out x.png");
    assert_contains(said, "--caption-tokens 1 has no effect: every caption has as many tokens or more");
    assert_runs("sample --model text --prompts mixed.jsonl --caption-tokens 4 --out mixed/");
    assert_string_equal(said, "");
}

static void test_cli_negative_prompt_without_effect_is_said(void **state) {
    (void)state;
    assert_runs("sample --model text --prompt a --negative-prompt b --out x.png");
    assert_contains(said, "the negative prompt has no effect");
    assert_runs("sample --model text --prompt a --guidance 2 --guidance-high 2 --negative-prompt 'a b c d e f g h i j k l "
                "m n o p q r s' "
                "--out x.png");
    assert_contains(said, "the end of the negative prompt is not seen");
    assert_fails("sample --model class --negative-prompt b --out x.png", 1, "have no captions: leave out --negative-prompt");
    assert_fails("sample --model class --caption-tokens 8 --classes 3 --out x.png", 1, "leave out --caption-tokens");
}

static void assert_absent(const char *name) {
    assert_int_equal(access(in_folder(name), F_OK), -1);
}

/* A picture is its number's: prompt, settings and noise, wherever the run begins. */
static void test_cli_first_goes_on_where_a_run_ended(void **state) {
    (void)state;
    static const char lines[] = "a red cube\n{\"prompt\": \"two dogs\", \"seed\": 3, \"steps\": 2}\na cat\n";
    static const char geneval[] = "{\"prompt\": \"a bench\"}\n{\"prompt\": \"a dog\"}\n";
    write_text("three.jsonl", lines);
    write_text("meta2.jsonl", geneval);
    assert_runs("sample --model text --prompts three.jsonl --count 2 --out whole/");
    assert_runs("sample --model text --prompts three.jsonl --count 2 --first 3 --out rest/");
    assert_same_picture("whole/000003.png", "rest/000003.png");
    assert_same_picture("whole/000004.png", "rest/000004.png");
    assert_same_picture("whole/000005.png", "rest/000005.png");
    assert_absent("rest/000002.png"), assert_absent("rest/000006.png");
    assert_fails("sample --model text --prompts three.jsonl --first 3 --out rest/", 1,
                 "--first: 3 is beyond the last picture of three.jsonl, which is 2");
    assert_runs("sample --model text --prompts meta2.jsonl --layout geneval --out all/");
    assert_runs("sample --model text --prompts meta2.jsonl --layout geneval --first 4 --out later/");
    assert_same_picture("all/00001/samples/00002.png", "later/00001/samples/00002.png");
    assert_absent("later/00000");
    assert_fails("sample --model text --prompts meta2.jsonl --layout geneval --size 8224x8224 --out grid/", 1,
                 "--size: 8224 pixels a side");
    assert_absent("grid/00000");
    write_text("one.txt", "a dog\n");
    assert_runs("sample --model text --prompts one.txt --count 4 --first 2 --out one.png");
    assert_runs("sample --like one.png --out one2.png");
    assert_same_picture("one.png", "one2.png");
    assert_fails("sample --model text --prompts - --out read/ < .", 1, "standard input: Is a directory");
}

/* Pictures that are there stay, typed prompts go on after them. */
static void test_cli_folders_are_not_overwritten(void **state) {
    (void)state;
    static const char geneval[] = "{\"prompt\": \"a bench\"}\n{\"prompt\": \"a dog\"}\n";
    write_text("meta3.jsonl", geneval);
    assert_exits("sample --model text --prompts - --out session/", "a red cube\n  \n", 0);
    assert_exits("sample --model text --prompts - --out session", "two dogs\n", 0);
    assert_absent("session/000002.png");
    FILE *stream = fopen(in_folder("stdout"), "r");
    assert_non_null(stream);
    assert_non_null(fgets(said, sizeof said, stream));
    fclose(stream);
    assert_contains(said, "session/000001.png: ");
    assert_exits("sample --model text --prompts - --out session --first 1", "a cat\n", 1);
    assert_contains(said, "session/000001.png is there already; give --overwrite to replace it, or --first 2");
    assert_runs("sample --model text --prompts meta3.jsonl --layout geneval --out gen/");
    assert_exits("sample --model text --prompts meta3.jsonl --layout geneval --out gen/", "", 1);
    assert_contains(said, "gen/00000/samples/00003.png is there already; give --overwrite to replace it, or another folder");
    assert_int_equal(unlink(in_folder("gen/00001/samples/00003.png")), 0); /* as where a run was cut off within a group */
    assert_exits("sample --model text --prompts meta3.jsonl --layout geneval --out gen/", "", 1);
    assert_contains(said, "gen/00000/samples/00003.png is there already; give --overwrite to replace it, or --first 4");
    assert_runs("sample --model text --prompts meta3.jsonl --layout geneval --out gen/ --first 4");
    assert_picture("gen/00001/samples/00003.png", SIZE, SIZE);
    assert_runs("sample --model text --prompts meta3.jsonl --layout geneval --out gen/ --overwrite");
}

/* The picture of a strip may have been taken away; the strip is kept as pictures are. */
static void test_cli_strip_alone_is_not_overwritten(void **state) {
    (void)state;
    assert_runs("sample --model text --prompt a --strip --steps 2 --out strips/");
    assert_int_equal(unlink(in_folder("strips/000000.png")), 0);
    assert_fails("sample --model text --prompt b --strip --steps 2 --out strips/", 1,
                 "strips/000000-strip.png is there already; give --overwrite to replace it, or --first 1 to go on after the last");
    assert_absent("strips/000000.png");
    assert_exits("sample --model text --prompts - --strip --steps 2 --out strips/", "b\n", 0); /* goes on after it */
    assert_absent("strips/000000.png");
    assert_picture("strips/000001.png", SIZE, SIZE);
    assert_runs("sample --model text --prompt b --out strips/"); /* replaces no strip */
    assert_runs("sample --model text --prompt b --strip --steps 2 --overwrite --out strips/");
}

/* Every line's own settings are looked at before the first picture. */
static void test_cli_settings_of_a_later_line_refused_first(void **state) {
    (void)state;
    static const char lines[] = "a red cube\n{\"prompt\": \"two dogs\", \"width\": 33}\n";
    write_text("late.jsonl", lines);
    assert_fails("sample --model text --prompts late.jsonl --out late/", 1, "late.jsonl: line 2: width is 33; give a multiple of");
    static const char group[] = "{\"prompt\": \"a\", \"seed\": 1}\nb\xff\n";
    write_text("group.jsonl", group);
    assert_fails("sample --model text --prompts group.jsonl --out late/", 1, "group.jsonl: line 2: ");
    assert_absent("late/000000.png");
    assert_fails("sample --model text --prompt a --size 16384x32 --out x.webp", 1,
                 "x.webp: WebP has at most 16383 pixels a side, not 16384");
}

/* No size is that of all. */
static void test_cli_size_of_pictures_that_differ_is_not_said(void **state) {
    (void)state;
    write_text("sizes.jsonl", "{\"prompt\": \"a\", \"width\": 32}\nb\n{\"prompt\": \"a\", \"width\": 32}\n");
    assert_runs("sample --model text --prompts sizes.jsonl --out sizes/");
    assert_contains(printed, "sizes/: 3 pictures in ");
    write_text("seeds.jsonl", "{\"prompt\": \"a\", \"width\": 32}\n{\"prompt\": \"b\", \"steps\": 2, \"width\": 32}\n");
    assert_runs("sample --model text --prompts seeds.jsonl --out seeds/");
    assert_contains(printed, "seeds/: 2 pictures of 32 x 64 in ");
}

/* Typed JSON is read as that of a file. */
static void test_cli_typed_json_has_settings(void **state) {
    (void)state;
    static const char typed[] =
        " \t\n {\"prompt\": \"two dogs\", \"seed\": 3, \"width\": 32, \"guidance\": 0}\n{\"prompt\": \"a\", \"step\": 2}\n"
        "{\"prompt\": \"a\", \"width\": 0, \"height\": 32}\n";
    assert_exits("sample --model text --prompts - --guidance 3 --guidance-high 2 --out json/", typed,
                 1); /* two of three are drawn */
    assert_contains(said, "standard input: line 3: 'step' is none of prompt, seed, steps, width, height, guidance, guidance_low, "
                          "guidance_high, stochasticity, negative_prompt; did you mean 'steps'?");
    assert_picture("json/000000.png", SIZE, 32);
    assert_picture("json/000001.png", 32, SIZE); /* 0 is the model's own */
    assert_absent("json/000002.png");
    char size[64];
    snprintf(size, sizeof size, "--size 32x%d", SIZE);
    char words[PATH_BYTES];
    snprintf(words, sizeof words, "sample --model text --prompt 'two dogs' --seed 3 %s --out plain.png", size);
    assert_runs(words);
    assert_same_picture("json/000000.png", "plain.png");
}

/* With --like, prompts of a file take the place of the picture's own. */
static void test_cli_like_with_other_prompts_draws_those(void **state) {
    (void)state;
    static const char lines[] = "a red cube\ntwo dogs\n";
    write_text("two.txt", lines);
    assert_runs("sample --model text --prompt 'a, cat' --seed 7 --steps 2 --first 9 --out from.png");
    assert_runs("sample --like from.png --prompts two.txt --out liked/");
    assert_runs("sample --model text --prompts two.txt --seed 7 --steps 2 --out plainly/");
    assert_same_picture("liked/000001.png", "plainly/000001.png");
    assert_absent("liked/000002.png");
    assert_runs("sample --model text --prompts two.txt --count 3 --seed 7 --out sheet2.png");
    assert_runs("sample --like sheet2.png --out sheet3.png");
    assert_same_picture("sheet2.png", "sheet3.png");
    assert_runs("sample --model text --prompt cube --count 3 --out sheet4.png");
    assert_runs("sample --like sheet4.png --out sheet5.png");
    assert_same_picture("sheet4.png", "sheet5.png");
}

/* With --like, what the words say pictures show takes the place of the picture's own, also where that is of the other kind. */
static void test_cli_like_with_a_model_of_the_other_kind_draws_its_words(void **state) {
    (void)state;
    static const char lines[] = "a red cube\ntwo dogs\n";
    write_text("other.txt", lines);
    assert_runs("sample --model class --classes 1 --count 1 --seed 7 --precision fp32 --out c.png");
    assert_runs("sample --like c.png --model text --prompt a --out c2.png");
    assert_runs("sample --model text --prompt a --seed 7 --precision fp32 --rounding c2i --size 64x64 --out c3.png");
    assert_same_picture("c2.png", "c3.png");
    assert_runs("sample --like c.png --model text --prompts other.txt --out other/");
    assert_picture("other/000001.png", SIZE, SIZE);
    assert_runs("sample --model text --prompt a --negative-prompt b --caption-tokens 3 --seed 7 --precision fp32 --guidance 2 "
                "--guidance-high 2 --out t.png");
    assert_runs("sample --like t.png --model class --classes 1 --out t2.png");
    assert_runs(
        "sample --model class --classes 1 --count 1 --seed 7 --precision fp32 --guidance 2 --guidance-high 2 --rounding t2i "
        "--size 64x64 --out t3/");
    assert_same_picture("t2.png", "t3/000000.png");
    assert_runs("sample --like t3/000000.png --model text --prompts other.txt --out other2/");
    assert_picture("other2/000001.png", SIZE, SIZE);
    assert_runs("sample --model text --prompts other.txt --out sheet6.png");
    assert_runs("sample --like sheet6.png --model class --classes 1,0 --out sheet7.png");
    assert_null(strstr(said, "other.txt"));
    assert_fails("sample --like t.png --model class --classes 1 --negative-prompt b --out t2.png", 1,
                 "leave out --negative-prompt");
    assert_fails("sample --like c.png --model text --classes 1 --prompt a --out c2.png", 1, "give --prompt in place of --classes");
}

static void assert_misread(const char *text, const char *layout, const char *says) {
    char words[PATH_BYTES];
    write_text("bad.txt", text);
    snprintf(words, sizeof words, "sample --model text --prompts bad.txt --layout %s --out bad/", layout);
    assert_fails(words, 1, says);
    assert_contains(said, "bad.txt");
}

static void test_cli_bad_prompt_files_named(void **state) {
    (void)state;
    assert_misread("\n\n", "plain", "no prompt in it");
    assert_misread("a\n{\"prompt\": 3}\n", "plain", "line 2: there is no text 'prompt'");
    assert_misread("{\"prompt\": \"a\", \"steps\": 0}\n", "plain", "line 1: 'steps' is 0; give a whole number from 1");
    assert_misread("\n \t \n", "plain", "no prompt in it");
    assert_misread("{\"prompt\": \"a\", \"steps\": 2.7}\n", "plain", "line 1: 'steps' is 2.7; give a whole number from 1 to 65535");
    assert_misread("a\n {\"prompt\": \"a\", \"guidance\": \"2\"}\n", "plain",
                   "line 2: 'guidance' is \"2\"; give a number from 0 to 1000");
    assert_misread("{\"prompt\": \"a\", \"step\": 2}\n", "plain", "line 1: 'step' is none of prompt, seed,");
    assert_misread("{\"promt\": \"a\"}\n", "plain", "line 1: 'promt' is none of prompt, seed,");
    assert_misread("{\"seed\": 1}\n", "plain", "line 1: there is no text 'prompt'");
    assert_misread("{\"prompt\"", "plain", "line 1: it is no JSON object");
    assert_misread("a\n", "geneval", "line 1: it is no JSON object");
    assert_misread("[]", "mjhq", "no JSON object of prompts");
    assert_misread("{\"prompt\": \"a\", \"\\u001b]0;owned\\u0007\": 1}\n", "plain",
                   "'?]0;owned?' is none of prompt"); /* nothing for the terminal */
    assert_misread("\xEF\xBB\xBF{\"prompt\": \"a\", \"step\": 2}\n", "plain",
                   "line 1: 'step' is none of prompt, seed,"); /* behind a mark */
    assert_misread("{\"x\": {\"prompt\": \"a\"}}", "mjhq", "the entry 'x': there is no text 'category'");
    assert_misread("{\"x\": {\"prompt\": \"a\", \"category\": \"../..\"}}", "mjhq", "no plain name");
}

/* Taken as a line of text it would be drawn in silence. */
static void test_cli_prompts_in_a_json_array_refused(void **state) {
    (void)state;
    static const char says[] =
        "line 1: it begins a JSON array; give its objects one a line, without brackets and commas around them";
    assert_misread("[{\"prompt\": \"a cat\", \"seed\": 3}, {\"prompt\": \"a dog\"}]\n", "plain", says);
    assert_misread("[\n  {\"prompt\": \"a cat\"},\n  {\"prompt\": \"a dog\"}\n]\n", "plain", says);
    assert_misread("[{\"prompt\": \"a cat\"},\n {\"prompt\": \"a dog\"}]\n", "plain", says);
    assert_misread("\xEF\xBB\xBF [ { \"prompt\": \"a cat\" } ]", "plain", says);
    assert_misread("[{\"prompt\": \"a cat\"}]\n", "geneval", says);
    write_text("brackets.txt", "[a red cube] on [1, 2]\n[]\n[{two|three} dogs]\n");
    assert_runs("sample --model text --prompts brackets.txt --out brackets/");
    assert_picture("brackets/000002.png", SIZE, SIZE);
}

/* A prompt is named by where it stands; what the command line says for all is no line's fault. */
static void test_cli_bad_prompt_named_by_its_line(void **state) {
    (void)state;
    write_text("cafe.txt", "ok\n\ncaf\xE9\n");
    assert_fails("sample --model text --prompts cafe.txt --count 4 --out q/", 1, "cafe.txt: line 3: the prompt of picture 4: ");
    assert_fails("sample --model text --prompts cafe.txt --count 4 --first 2 --memory 8G --batch 3 --out q/", 1,
                 "cafe.txt: line 3: the prompt of picture 4: ");
    assert_exits("sample --model text --prompts - --out q/ < cafe.txt", "", 1);
    assert_contains(said, "standard input: line 3: the prompt of picture 1: ");
    mkdir(in_folder("cafes"), 0777);
    write_text("cafes/au lait.txt", "ok\n");
    write_text("cafes/noir.txt", "caf\xE9\n");
    assert_fails("sample --model text --prompts cafes --layout dpg --out q2/", 1,
                 "cafes: the prompt 'noir': the prompt of picture 4: ");
    write_text("fine.jsonl", "a\n{\"prompt\": \"b\", \"steps\": 2}\n");
    assert_fails("sample --model text --prompts cafe.txt --size 33x32 --out q3/", 1, "tim sample: width is 33; give a multiple of");
    assert_fails("sample --model text --prompts fine.jsonl --size 33x32 --out q3/", 1,
                 "tim sample: width is 33; give a multiple of");
    write_text("fine.meta", "{\"prompt\": \"a\"}\n");
    assert_fails("sample --model text --prompts fine.meta --layout geneval --size 8224x8224 --out q3/", 1,
                 "tim sample: --size: 8224 pixels a side");
    assert_fails("sample --model text --prompt caf\xE9 --out q.png", 1, "tim sample: the prompt of picture 0: ");
}

/* The picture is made of the four, row by row, and no two of these are the same. */
static void assert_grid(const char *name, const char *const parts[4]) {
    TimImage grid, images[4];
    const size_t row = (size_t)SIZE * 3;
    assert_ok(tim_image_read(&grid, in_folder(name), &err));
    assert_int_equal(grid.height, 2 * SIZE), assert_int_equal(grid.width, 2 * SIZE);
    for (int i = 0; i < 4; i++) {
        assert_ok(tim_image_read(&images[i], in_folder(parts[i]), &err));
        for (int j = 0; j < i; j++) assert_memory_not_equal(images[i].pixels, images[j].pixels, SIZE * row);
        for (int y = 0; y < SIZE; y++)
            assert_memory_equal(grid.pixels + (size_t)(i / 2 * SIZE + y) * 2 * row + (size_t)(i % 2) * row,
                                images[i].pixels + (size_t)y * row, row);
    }
    for (int i = 0; i < 4; i++) tim_image_done(&images[i]);
    tim_image_done(&grid);
}

static void test_cli_layouts_are_those_of_the_evaluations(void **state) {
    (void)state;
    static const char geneval[] =
        "{\"tag\": \"single_object\", \"prompt\": \"a bench\"}\n{\"tag\": \"two\", \"prompt\": \"a dog\"}\n",
                      mjhq[] = "{\"ab12\": {\"category\": \"animals\", \"prompt\": \"a dog\"}}";
    char line[128] = "";
    write_text("meta.jsonl", geneval);
    assert_runs("sample --model text --prompts meta.jsonl --layout geneval --batch 3 --out geneval/");
    assert_picture("geneval/00001/samples/00003.png", SIZE, SIZE);
    assert_grid("geneval/00001/grid.png",
                (const char *const[]){"geneval/00001/samples/00000.png", "geneval/00001/samples/00001.png",
                                      "geneval/00001/samples/00002.png", "geneval/00001/samples/00003.png"});
    assert_runs("sample --model text --prompts meta.jsonl --layout geneval --precision fp32 --out gen32/");
    assert_runs("sample --like gen32/00001/samples/00002.png --out liked-gen.png");
    assert_near_picture("liked-gen.png", "gen32/00001/samples/00002.png", 1);
    FILE *stream = fopen(in_folder("geneval/00001/metadata.jsonl"), "r");
    assert_non_null(stream);
    assert_non_null(fgets(line, sizeof line, stream));
    fclose(stream);
    assert_string_equal(line, "{\"tag\": \"two\", \"prompt\": \"a dog\"}\n");
    write_text("mjhq.json", mjhq);
    assert_runs("sample --model text --prompts mjhq.json --layout mjhq --out mjhq/");
    assert_picture("mjhq/animals/ab12.jpg", SIZE, SIZE);
    assert_runs("sample --model text --prompts mjhq.json --layout mjhq --rounding c2i --out mjhq-c2i/");
    assert_runs("sample --model text --prompts mjhq.json --layout mjhq --rounding t2i --out mjhq-t2i/");
    assert_same_picture("mjhq/animals/ab12.jpg", "mjhq-c2i/animals/ab12.jpg"); /* as its script, unlike other texts */
    assert_other_picture("mjhq/animals/ab12.jpg", "mjhq-t2i/animals/ab12.jpg");
    mkdir(in_folder("dpg_prompts"), 0777);
    write_text("dpg_prompts/0.txt", "a dog\n");
    assert_runs("sample --model text --prompts dpg_prompts --layout dpg --out dpg/");
    assert_runs("sample --model text --prompt 'a dog' --count 4 --out four/");
    assert_grid("dpg/0.png", (const char *const[]){"four/000000.png", "four/000001.png", "four/000002.png", "four/000003.png"});
    write_text("dpg_prompts/0.a.txt", "a cat\n"); /* between the two that have one name */
    write_text("dpg_prompts/0.txt~", "a dog\n");  /* an editor's copy */
    write_text("dpg_prompts/0.Z", "a cow\n");
    assert_fails("sample --model text --prompts dpg_prompts --layout dpg --out dpg2/", 1,
                 "0.txt: another prompt's picture is called 0.png too");
    assert_int_equal(remove(in_folder("dpg_prompts/0.Z")), 0);
    assert_fails("sample --model text --prompts dpg_prompts --layout dpg --out dpg2/", 1,
                 "0.txt~: another prompt's picture is called 0.png too");
    assert_int_equal(remove(in_folder("dpg_prompts/0.txt~")), 0);
    assert_runs("sample --model text --prompts dpg_prompts --layout dpg --out dpg2/");
    assert_picture("dpg2/0.a.png", 2 * SIZE, 2 * SIZE);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cli_prompt_makes_a_picture_that_can_be_drawn_again),
        cmocka_unit_test(test_cli_prompts_of_a_file_and_typed_ones_are_drawn),
        cmocka_unit_test(test_cli_typed_prompts_go_on_behind_what_others_put_there),
        cmocka_unit_test(test_cli_large_pictures_of_a_folder_are_drawn_one_by_one),
        cmocka_unit_test(test_cli_memory_is_what_the_process_takes),
        cmocka_unit_test(test_cli_asks_for_prompts_on_a_terminal),
        cmocka_unit_test(test_cli_settings_of_a_line_are_those_of_the_command),
        cmocka_unit_test(test_cli_tiled_can_be_drawn_again),
        cmocka_unit_test(test_cli_inspect_shows_every_part),
        cmocka_unit_test(test_cli_verify_of_half_an_autoencoder_says_what_it_cannot),
        cmocka_unit_test(test_cli_inspect_knows_official_weights),
        cmocka_unit_test(test_cli_prompt_with_lines_of_the_settings_comes_back),
        cmocka_unit_test(test_cli_caption_tokens_without_effect_is_said),
        cmocka_unit_test(test_cli_negative_prompt_without_effect_is_said),
        cmocka_unit_test(test_cli_first_goes_on_where_a_run_ended),
        cmocka_unit_test(test_cli_folders_are_not_overwritten),
        cmocka_unit_test(test_cli_strip_alone_is_not_overwritten),
        cmocka_unit_test(test_cli_settings_of_a_later_line_refused_first),
        cmocka_unit_test(test_cli_size_of_pictures_that_differ_is_not_said),
        cmocka_unit_test(test_cli_typed_json_has_settings),
        cmocka_unit_test(test_cli_like_with_other_prompts_draws_those),
        cmocka_unit_test(test_cli_like_with_a_model_of_the_other_kind_draws_its_words),
        cmocka_unit_test(test_cli_bad_prompt_files_named),
        cmocka_unit_test(test_cli_bad_prompt_named_by_its_line),
        cmocka_unit_test(test_cli_prompts_in_a_json_array_refused),
        cmocka_unit_test(test_cli_layouts_are_those_of_the_evaluations),
    };
    return cmocka_run_group_tests(tests, set_up, remove_all);
}
