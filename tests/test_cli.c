/* The program tim as a user meets it: help, command lines, and sample on a model of classes. Runs ../cli/tim of its own build from
 * the root of the sources; writes into a temporary directory. */
#define _GNU_SOURCE /* memmem */
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli_fixture.h"
#include "tim/image.h"

/* ---- the program ---- */

static void test_tim_help_and_version_shown_and_unknown_commands_refused(void **state) {
    (void)state;
    assert_runs("--help");
    assert_contains(printed, "sample");
    assert_contains(printed, "inspect");
    assert_runs("--version");
    assert_contains(printed, "tim 0.");
    assert_fails("", 2, "usage: tim COMMAND");
    assert_fails("smaple", 2, "no command is called 'smaple'; did you mean 'sample'?");
    assert_fails("xyzzy", 2, "no command is called 'xyzzy'\n");
}

static void test_command_help_lists_every_option(void **state) {
    (void)state;
    assert_runs("sample --help");
    const char *const parts[] = {"usage: tim sample --out PATH [options]",
                                 "--model DIR|FILE",
                                 "--steps N[,N...]",
                                 "--mode transition|diffusion",
                                 "--guidance-high X",
                                 "--isa"};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) assert_contains(printed, parts[i]);
    assert_runs("inspect -h");
    assert_contains(printed, "usage: tim inspect DIR|FILE [options]");
}

static void test_command_line_wrong_exits_2_and_says_what(void **state) {
    (void)state;
    const char *const cases[][2] = {
        {"sample --out a.png", "--model is required"},
        {"sample --model model", "--out is required"},
        {"sample --model", "--model needs a value"},
        {"sample --model --out a.png", "--model needs a value; one that begins with -- is given as --model=VALUE"},
        {"sample --model model --out a.png --step 4", "unknown option --step; did you mean --steps?"},
        {"sample --model model --out a.png --zzzzzz 4", "unknown option --zzzzzz\n"},
        {"sample --model model --out a.png -s 4", "unknown option -s; options begin with --"},
        {"sample --model model --out a.png extra", "'extra' is one word too many"},
        {"sample --model model --out a.png --steps 0",
         "--steps: '0' does not fit; give whole numbers with commas between them, each from 1 to 65535"},
        {"sample --model model --out a.png --steps 1,,2", "--steps: '1,,2'"},
        {"sample --model model --out a.png --steps=", "--steps: ''"},
        {"sample --model model --out a.png --count 1x", "--count: '1x' does not fit; give a whole number from 1 to"},
        {"sample --model model --out a.png --count 99999999999999999999", "--count: '99999999999999999999'"},
        {"sample --model model --out a.png --seed -1", "--seed: '-1' does not fit; give a whole number from 0 to 2^64 - 1"},
        {"sample --model model --out a.png --guidance two", "--guidance: 'two' does not fit; give a number from 0 to 1000"},
        {"sample --model model --out a.png --guidance nan", "--guidance: 'nan'"},
        {"sample --model model --out a.png --mode trans", "--mode: 'trans' does not fit; give one of transition, diffusion"},
        {"sample --model model --out a.gif", "--out: 'a.gif' must end in .npz, .png, .jpg, .webp or /"},
        {"sample --model model --out a.png --memory 6X", "--memory: '6X' does not fit; give bytes, or a number with K, M or G"},
        {"sample --model model --out a.npz --steps 1,2", "--steps takes several numbers only for a sheet"},
        {"sample --model model --out a.png --size 64x96 --width 128", "--size and --width: give one of them"},
        {"sample --model model --out a.png --size 64x96 --height 0", "--size and --height: give one of them"},
        {"sample --model model --out a.png --strength 0.7", "--strength says how much of --init is drawn anew: give a picture"},
        {"sample --model model --out a.png --memory 6GiX", "--memory: '6GiX' does not fit"},
        {"sample --model model --out a/ --prompts x --layout geneval --count 2",
         "there are 4 pictures of each prompt; leave it out"},
        {"sample --model model --out a/ --prompts x --layout dpg --first 7",
         "--first: 7 does not fit; with --layout dpg give a multiple of 4"},
        {"inspect", "name DIR|FILE"},
        {"inspect a b", "'b' is one word too many"},
        {"inspect model --json=yes", "--json takes no value"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_fails(cases[i][0], 2, cases[i][1]);
        assert_contains(said, "--help'.\n");
    }
}

/* A full disk behind the standard output is no success. */
static void test_output_that_is_lost_exits_1(void **state) {
    (void)state;
    static const char *const lines[] = {"inspect model", "inspect model --json", "verify --model model", "sample --help",
                                        "--version"};
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        char words[PATH_BYTES];
        snprintf(words, sizeof words, "%s >/dev/full 2>full; (exit $?)", lines[i]);
        assert_exits(words, "", 1);
        read_text(in_folder("full"), said);
        assert_contains(said, "tim: the standard output cannot be written: ");
    }
}

/* ---- sample ---- */

static void test_sample_sheet_has_all_pictures(void **state) {
    (void)state;
    TimImage one, grid;
    assert_runs("sample --model model --out one.png --classes 2");
    assert_contains(printed, "one.png: 1 picture of 8 x 8");
    assert_runs("sample --model model --out grid.png --classes 0,1,3 --steps 1,2,4");
    assert_contains(printed, "grid.png: 9 pictures");
    assert_ok(tim_image_read_png(&one, in_folder("one.png"), &err));
    assert_ok(tim_image_read_png(&grid, in_folder("grid.png"), &err));
    assert_true(one.width >= 96 && one.height >= 96);
    assert_true(grid.width >= 3 * 96 && grid.height >= 3 * 96);
    tim_image_done(&one);
    tim_image_done(&grid);
    assert_runs("sample --model model --out many.png --count 10");
    assert_contains(printed, "10 pictures");
}

static void test_sample_folder_holds_single_pictures(void **state) {
    (void)state;
    TimImage image;
    assert_runs("sample --model model --out files/ --count 3 --first 7 --steps 2 --seed 5");
    assert_ok(tim_image_read_png(&image, in_folder("files/000009.png"), &err));
    assert_int_equal(image.height, SIDE);
    assert_int_equal(image.channels, 1);
    tim_image_done(&image);
    assert_int_equal(access(in_folder("files/000006.png"), F_OK), -1);
    assert_int_equal(access(in_folder("files/000010.png"), F_OK), -1);
    TimFile file;
    assert_ok(tim_file_open(&file, in_folder("files/000009.png"), &err));
    assert_non_null(memmem(file.data, file.size, "parameters", 10));
    assert_non_null(memmem(file.data, file.size, "Seed: 5", 7));
    assert_non_null(memmem(file.data, file.size, "Picture: 9, Class: 1", 20)); /* 9 mod 4 classes */
    tim_file_close(&file);
    assert_runs("sample --model model --out files --count 1"); /* it exists: no '/' needed */
    assert_int_equal(access(in_folder("files/000000.png"), F_OK), 0);
}

static void test_sample_npz_has_pictures_and_labels(void **state) {
    (void)state;
    TimFile file;
    assert_runs(
        "sample --model model/model.safetensors --config model/config.yaml --out set.npz --classes 3,1 --count 5 --batch 2");
    assert_ok(tim_file_open(&file, in_folder("set.npz"), &err));
    assert_memory_equal(file.data, "PK", 2);
    assert_non_null(memmem(file.data, file.size, "'|u1'", 5));
    assert_non_null(memmem(file.data, file.size, "(5, 8, 8, 1)", 12));
    const int64_t labels[5] = {3, 1, 3, 1, 3};
    assert_non_null(memmem(file.data, file.size, labels, sizeof labels));
    tim_file_close(&file);
}

/* The labels of 4 pictures in the npz of the last run. */
static void assert_labels(const int64_t labels[4]) {
    TimFile file;
    assert_ok(tim_file_open(&file, in_folder("named.npz"), &err));
    assert_non_null(memmem(file.data, file.size, labels, 4 * sizeof *labels));
    tim_file_close(&file);
}

static void save_imagenet_model(void) {
    TimConfig config = small_config(TIM_TRANSPORT_OT_FM);
    config.network.num_classes = 1000;
    save_model("imagenet", &config);
}

/* Numbers: those beside the names in lists of published samples (DiT draws 207, 360, 387, 974, 88, 979, 417, 279). */
static void test_sample_classes_by_name_are_those_numbers(void **state) {
    (void)state;
    save_imagenet_model();
    assert_runs("sample --model imagenet --out named.npz --classes 'golden retriever,otter, lesser_panda ,GEYSER'");
    assert_labels((const int64_t[]){207, 360, 387, 974});
    assert_runs("sample --model imagenet --out named.npz --classes 'macaw,valley,balloon,Arctic fox'");
    assert_labels((const int64_t[]){88, 979, 417, 279});
    assert_runs("sample --model imagenet --out named.npz --classes 'Tinca tinca,999,toilet paper,tench'");
    assert_labels((const int64_t[]){0, 999, 999, 0});
    TimFile file;
    assert_runs("sample --model imagenet --out named/ --classes 'alopex_Lagopus'");
    assert_ok(tim_file_open(&file, in_folder("named/000000.png"), &err));
    assert_non_null(memmem(file.data, file.size, "Class: 279, Class name: Arctic fox", 34));
    tim_file_close(&file);
    assert_runs("sample --like named/000000.png --out named.npz --count 4");
    assert_labels((const int64_t[]){279, 279, 279, 279});
}

static void test_sample_class_names_refused(void **state) {
    (void)state;
    const char *const cases[][2] = {
        {"crane", "several classes are called 'crane': 134 (crane), 517 (crane); give one of the numbers"},
        {"Maillot", "'maillot': 638 (maillot), 639 (maillot)"},
        {"panda", "'panda': 387 (lesser panda), 388 (giant panda)"},
        {"tensh", "no class is called 'tensh'; near it: tench"},
        {"retriever", "no class is called 'retriever'; near it: golden retriever, labrador retriever"},
        {"xyzzyxyzzy", "no class is called 'xyzzyxyzzy'\n"},
        {"1,,2", "nothing between two commas"},
        {"1000", "class 1000 of picture 0; the model has the classes 0 to 999"},
    };
    save_imagenet_model();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char line[256];
        snprintf(line, sizeof line, "sample --model imagenet --out x.png --classes %s", cases[i][0]);
        assert_fails(line, 1, cases[i][1]);
    }
    assert_fails("sample --model model --out x.png --classes tench", 1, "'tench' is no number, and the names");
}

static void test_sample_same_command_same_file(void **state) {
    (void)state;
    assert_runs("sample --model model --out a.npz --count 6 --steps 3 --guidance 2 --seed 18446744073709551615");
    assert_runs("sample --model model --out b.npz --count 6 --steps 3 --guidance=2 --seed=18446744073709551615");
    assert_runs("sample --model model --out c.npz --count 6 --steps 3 --guidance 2 --seed 1");
    assert_same_files(in_folder("a.npz"), in_folder("b.npz"), true);
    assert_same_files(in_folder("a.npz"), in_folder("c.npz"), false);
}

static int occurrences(const char *text, const char *part) {
    int count = 0;
    for (const char *at = strstr(text, part); at; at = strstr(at + 1, part)) count++;
    return count;
}

/* A picture is its number's, wherever the run begins. */
static void test_sample_first_goes_on_where_a_run_ended(void **state) {
    (void)state;
    static const char *const names[] = {"000002.png", "000003.png", "000004.png"};
    assert_runs("sample --model model --out whole/ --classes 2,1,3 --count 5 --steps 2");
    assert_runs("sample --model model --out rest/ --classes 2,1,3 --count 3 --steps 2 --first 2");
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char whole[64], rest[64];
        snprintf(whole, sizeof whole, "whole/%s", names[i]);
        snprintf(rest, sizeof rest, "rest/%s", names[i]);
        assert_same_files(in_folder(whole), in_folder(rest), true);
    }
    assert_int_equal(access(in_folder("rest/000001.png"), F_OK), -1);
    assert_runs("sample --model model --out named.npz --classes 2,1,3 --count 4 --first 1");
    assert_labels((const int64_t[]){1, 3, 2, 1});
}

/* What cannot be written is refused before the weights are opened, and harms nothing. */
static void test_sample_output_refused_before_drawing(void **state) {
    (void)state;
    assert_runs("sample --model model --out there.png --classes 1");
    assert_runs("sample --model model --out kept.png --classes 1");
    assert_runs("convert --model model --out bare");
    assert_int_equal(unlink(in_folder("bare/model.safetensors")), 0);
    assert_fails("sample --model bare --out nodir/x.png", 1,
                 "nodir/x.png: cannot be written: No such file or directory; does its folder");
    assert_fails("sample --model bare --out nodir/x.npz", 1, "nodir/x.npz: cannot be written");
    assert_fails("sample --model bare --out there.png/x.jpg", 1, "there.png/x.jpg: cannot be written: Not a directory");
    assert_fails("sample --model bare --out there.png", 1, "bare");
    assert_fails("sample --model model --out there.png --count 200 --steps 1,2", 1,
                 "there.png: a sheet of 2 rows and 200 columns with pictures of 96 x 96 pixels would be larger than the 16384");
    assert_fails("sample --model model --out there.png --count 100000", 1, "25000 rows and 4 columns are too many for one sheet");
    assert_same_files(in_folder("there.png"), in_folder("kept.png"), true);
    assert_int_equal(access(in_folder("there.png.tmp"), F_OK), -1);
}

static void test_sample_folder_is_not_overwritten(void **state) {
    (void)state;
    assert_runs("sample --model model --out twice/ --count 3 --seed 1");
    assert_runs("sample --model model --out once/ --count 3 --seed 1");
    assert_fails("sample --model model --out twice --count 3 --seed 2", 1,
                 "twice/000000.png is there already; give --overwrite to replace it, or --first 3 to go on after the last");
    assert_fails("sample --model model --out twice/ --count 3 --seed 2 --first 2", 1, "twice/000002.png is there already");
    assert_fails("sample --model model --out twice/ --count 1", 1, "or --first 3 to go on after the last");
    assert_same_files(in_folder("twice/000002.png"), in_folder("once/000002.png"), true);
    assert_runs("sample --model model --out twice/ --count 2 --seed 1 --first 3");
    assert_runs("sample --model model --out twice/ --count 3 --seed 2 --overwrite");
    assert_same_files(in_folder("twice/000002.png"), in_folder("once/000002.png"), false);
    assert_int_equal(access(in_folder("twice/000004.png"), F_OK), 0);
}

static void link_model(const char *name) {
    char to[PATH_BYTES];
    snprintf(to, sizeof to, "%s", in_folder(name));
    assert_int_equal(symlink("model/model.safetensors", to), 0);
}

/* A sheet, and one picture of a class, come back as they were. */
static void test_sample_like_draws_a_sheet_again(void **state) {
    (void)state;
    static const char *const lines[] = {"--classes 2", "--classes 2,0 --steps 1,2 --first 3", "--count 5 --guidance 2 --steps 2",
                                        "--classes 1,3 --count 4 --seed 9"};
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        char words[PATH_BYTES];
        snprintf(words, sizeof words, "sample --model model --out sheet.png %s", lines[i]);
        assert_runs(words);
        assert_runs("sample --like sheet.png --out again.png");
        assert_same_files(in_folder("sheet.png"), in_folder("again.png"), true);
    }
    link_model("linked.safetensors"); /* without a configuration beside it */
    assert_runs("sample --model linked.safetensors --config model/config.yaml --classes 1 --out sheet.png");
    assert_runs("sample --like sheet.png --out again.png");
    assert_same_files(in_folder("sheet.png"), in_folder("again.png"), true);
    assert_runs("sample --like sheet.png --model model --out again.png"); /* with the new model's own */
    assert_runs("sample --like sheet.png --out again.png --classes 0,2"); /* both, though the sheet has one picture */
    assert_runs("sample --model linked.safetensors --config model/config.yaml --classes 0,2 --out sheet.png");
    assert_same_files(in_folder("sheet.png"), in_folder("again.png"), true);
    assert_int_equal(unlink(in_folder("linked.safetensors")), 0);
}

/* Commas, colons and quotes in paths are quoted as other tools do, and the rounding is kept. */
static void test_sample_like_reads_odd_paths_and_rounding(void **state) {
    (void)state;
    TimFile file;
    const TimConfig config = small_config(TIM_TRANSPORT_OT_FM);
    save_model("a, Seed: 3, \"b\\", &config);
    assert_runs("sample --model model --out odd,png/ --count 1");
    assert_runs(
        "sample --model 'a, Seed: 3, \"b\\' --init 'odd,png/000000.png' --out odd.png --classes 1,2 --rounding t2i --seed 7");
    assert_runs("sample --like odd.png --out again.png");
    assert_same_files(in_folder("odd.png"), in_folder("again.png"), true);
    assert_ok(tim_file_open(&file, in_folder("again.png"), &err));
    static const char model[] = "Model: \"a, Seed: 3, \\\"b\\\\\", ", rest[] = "Rounding: t2i",
                      init[] = "Init: \"odd,png/000000.png\"";
    assert_non_null(memmem(file.data, file.size, model, strlen(model)));
    assert_non_null(memmem(file.data, file.size, rest, strlen(rest)));
    assert_non_null(memmem(file.data, file.size, init, strlen(init)));
    tim_file_close(&file);
}

/* 0 takes the place of what a picture says, and is what the text of a wrong size names. */
static void test_sample_side_of_0_is_the_models_own(void **state) {
    (void)state;
    TimImage image;
    assert_runs("sample --model model --out wide/ --count 1 --size 16x8");
    assert_contains(said, "tim sample: the network has learned pictures of 8 x 8 alone, and 16 x 8 (width x height)");
    assert_runs("sample --like wide/000000.png --width 0 --out own.png");
    assert_ok(tim_image_read_png(&image, in_folder("own.png"), &err));
    assert_int_equal(image.width, SIDE), assert_int_equal(image.height, 8);
    tim_image_done(&image);
    assert_fails("sample --model model --out x.png --width 7", 1, "such as 8, or 0 for the model's own");
}

static void test_sample_words_in_any_case_mean_the_same(void **state) {
    (void)state;
    assert_runs("sample --model model --out upper.PNG --classes 1 --size 16X8 --memory 6gb");
    assert_runs("sample --model model --out lower.png --classes 1 --width 16 --height 8 --memory 6g");
    assert_same_files(in_folder("upper.PNG"), in_folder("lower.png"), true);
}

/* The picture says how it was drawn; other options change what they say. */
static void test_sample_like_draws_it_again(void **state) {
    (void)state;
    assert_runs("sample --model model --out first/ --count 3 --first 7 --steps 2 --seed 5 --guidance 2 --guidance-high 1.5");
    assert_runs("sample --like first/000009.png --out again.png");
    assert_runs("sample --like first/000009.png --out other.png --seed 6");
    TimImage a, b, c;
    assert_ok(tim_image_read_png(&a, in_folder("first/000009.png"), &err));
    assert_ok(tim_image_read_png(&b, in_folder("again.png"), &err));
    assert_ok(tim_image_read_png(&c, in_folder("other.png"), &err));
    assert_int_equal(b.height, SIDE);
    assert_memory_equal(a.pixels, b.pixels, PIXELS);
    assert_memory_not_equal(a.pixels, c.pixels, PIXELS);
    tim_image_done(&a), tim_image_done(&b), tim_image_done(&c);
    assert_runs("sample --model model --out p.webp --classes 1");
    assert_runs("sample --model model --out p.jpg --classes 1");
    assert_ok(tim_image_read(&a, in_folder("p.webp"), &err));
    tim_image_done(&a);
    assert_fails("sample --like p.webp --out q.png", 1, "no PNG file");
    assert_fails("sample --like first/000009.png --out q.png --strength 0.5", 2, "--strength says how much of --init");
    assert_fails("sample --like nowhere.png --out q.png", 1, "nowhere.png");
}

/* At strength next to nothing the picture is the one it starts from. */
static void test_sample_init_starts_from_a_picture(void **state) {
    (void)state;
    TimImage a, b;
    assert_runs("sample --model model --out start/ --count 1 --steps 4 --seed 5");
    assert_runs("sample --model model --out near/ --count 1 --steps 1 --init start/000000.png --strength 0.001");
    assert_runs("sample --model model --out far/ --count 1 --steps 1 --init start/000000.png --strength 1 --size 16x8");
    assert_ok(tim_image_read_png(&a, in_folder("start/000000.png"), &err));
    assert_ok(tim_image_read_png(&b, in_folder("near/000000.png"), &err));
    for (int i = 0; i < PIXELS; i++) assert_true(abs(a.pixels[i] - b.pixels[i]) <= 3);
    tim_image_done(&a), tim_image_done(&b);
    assert_runs("sample --model model --out inwidth/ --count 1 --steps 1 --init far/000000.png --width 32"); /* of 16 x 8 */
    assert_ok(tim_image_read_png(&b, in_folder("inwidth/000000.png"), &err));
    assert_true(b.width == 32 && b.height == 16);
    tim_image_done(&b);
    assert_ok(tim_image_read_png(&b, in_folder("far/000000.png"), &err));
    assert_int_equal(b.width, 16), assert_int_equal(b.height, 8);
    tim_image_done(&b);
    assert_fails("sample --model model --out x.png --init nowhere.png", 1, "nowhere.png");
    assert_fails("sample --model model --out ./start/000000.png --init start/000000.png --strength 0.5 --count 1", 1,
                 "'./start/000000.png' is the picture of --init, which would be replaced");
    assert_fails("sample --model model --init start/000000.png --out ./start/ --overwrite", 1,
                 "--init: 'start/000000.png' lies in './start/', where --overwrite may replace it");
    assert_int_equal(rename(in_folder("start/000000.png"), in_folder("start/photo.png")), 0); /* which is not written over */
    assert_runs("sample --model model --init start/photo.png --strength 0.5 --count 1 --out ./start/ --overwrite");
    assert_fails("sample --model model --seed $(printf '\\033[31mX') --out a.png", 2, "--seed: '?[31mX' does not fit");
    assert_exits("$(printf '\\033[31mX')", "", 2);
    assert_contains(said, "no command is called '?[31mX'");
    assert_fails("sample --model model --out x.png --size 16", 2, "--size: '16' does not fit; give WIDTHxHEIGHT");
}

/* The least bound that is not refused holds, as the kernel counts, and is not far above. */
static void test_sample_memory_is_kept(void **state) {
    (void)state;
#ifdef __SANITIZE_ADDRESS__
    skip(); /* which holds far more */
#endif
    char model[PATH_MAX], words[2 * PATH_MAX];
    static const char line[] =
        "sample --model %s --precision bf16 --count 400 --batch 400 --steps 2 --out memory.npz --memory %.0f";
    assert_non_null(realpath("models/fashion", model));
    snprintf(words, sizeof words, line, model, 2e6);
    assert_fails(words, 1, "the run needs about ");
    const double bound = 1e6 * (0.1 + strtod(strstr(said, "about ") + 6, NULL));
    snprintf(words, sizeof words, line, model, bound);
    assert_runs(words);
    const double held = resident;
    if (held <= 0.7 * bound || held > bound) print_error("%.1f MB held of %.1f\n", 1e-6 * held, 1e-6 * bound);
    assert_true(held > 0.7 * bound && held <= bound);
    snprintf(words, sizeof words, "sample --model %s --out memory.npz --memory 1M",
             model); /* copies in fp32, refused before they are made */
    assert_fails(words, 1, "its weights take 17.7 MB beside the file, and the run may have 1.0 MB; allow more, or give a file");
}

/* A picture from someone else may name files. */
static void test_sample_like_says_what_it_reads(void **state) {
    (void)state;
    TimImage image;
    static const char *const texts[] = {"Steps: 1, Model: model, Prompts: /dev/zero", "Steps: 1, Model: model, Prompts: -",
                                        "Steps: 1, Model: model, Prompts: no\x1b[2Jwhere"};
    const TimImageText init = {"parameters", "Steps: 1, Model: model, Init: own.png"};
    assert_ok(tim_image_new(&image, SIDE, SIDE, 1, &err));
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        const TimImageText text = {"parameters", texts[i]};
        assert_ok(tim_image_write_png(&image, in_folder("theirs.png"), &text, 1, &err));
        assert_fails("sample --like theirs.png --out like.png", 1, "there is no file of prompts ");
        assert_contains(said, ", which theirs.png names\n");
        assert_null(strchr(said, '\x1b'));
    }
    assert_ok(tim_image_write_png(&image, in_folder("own.png"), NULL, 0, &err));
    assert_ok(tim_image_write_png(&image, in_folder("theirs.png"), &init, 1, &err));
    assert_runs("sample --like theirs.png --out like.png --classes 1");
    assert_contains(said, "starts from own.png, which theirs.png names\n");
    assert_runs("sample --like theirs.png --out like.png --classes 1 --init own.png");
    assert_null(strstr(said, "names"));
    tim_image_done(&image);
}

/* Where the magnified picture stands in the sheet. */
static bool find_in_sheet(const TimImage *sheet, const TimImage *picture, int scale, int *y, int *x) {
    for (int top = 0; top + picture->height * scale <= sheet->height; top++)
        for (int left = 0; left + picture->width * scale <= sheet->width; left++) {
            int same = 0;
            for (int i = 0; i < PIXELS && same == i; i++)
                same += sheet->pixels[(top + i / SIDE * scale) * sheet->width + left + i % SIDE * scale] == picture->pixels[i];
            *y = top, *x = left;
            if (same == PIXELS) return true;
        }
    return false;
}

static bool sheet_shows(const TimImage *sheet, const TimImage *picture, int scale) {
    int y, x;
    return find_in_sheet(sheet, picture, scale, &y, &x);
}

/* A row is a number of steps, a column a class, in their order. */
static void test_sample_sheet_has_each_picture_in_its_place(void **state) {
    (void)state;
    static const char *const steps[] = {"1", "2", "4"};
    TimImage sheet, picture;
    int y[3][3], x[3][3];
    assert_runs("sample --model model --out places.png --classes 0,1,3 --steps 1,2,4 --seed 6");
    assert_ok(tim_image_read_png(&sheet, in_folder("places.png"), &err));
    for (int row = 0; row < 3; row++) {
        char words[256], name[64];
        snprintf(words, sizeof words, "sample --model model --out places%d/ --classes 0,1,3 --steps %s --seed 6", row, steps[row]);
        assert_runs(words);
        for (int column = 0; column < 3; column++) {
            snprintf(name, sizeof name, "places%d/00000%d.png", row, column);
            assert_ok(tim_image_read_png(&picture, in_folder(name), &err));
            assert_true(find_in_sheet(&sheet, &picture, 96 / SIDE, &y[row][column], &x[row][column]));
            tim_image_done(&picture);
        }
    }
    for (int row = 0; row < 3; row++)
        for (int column = 0; column < 3; column++) {
            assert_true(row == 0 || y[row][column] >= y[row - 1][column] + 96);
            assert_true(column == 0 || x[row][column] >= x[row][column - 1] + 96);
        }
    tim_image_done(&sheet);
}

/* What would change nothing is said. */
static void test_sample_settings_without_effect_said(void **state) {
    (void)state;
    assert_runs("sample --model model --out quiet.png --steps 2 --stochasticity 0.3");
    assert_contains(said, "stochasticity 0.3 has no effect with --steps 2");
    assert_runs("sample --model model --out quiet.png --steps 4 --guidance 0.5");
    assert_contains(said, "guidance 0.5 has no effect: 1 is none");
    assert_runs("sample --model model --out quiet.png --steps 4 --guidance-high 0.5");
    assert_contains(said, "the window of guidance has no effect without --guidance");
    assert_runs("sample --model model --steps 1 --count 1 --decoder-precision fp32 --out a.png");
    assert_contains(said, "--decoder-precision has no effect");
    assert_runs("sample --model model --out quiet.png --steps 4 --guidance 2 --stochasticity 0.3");
    assert_null(strstr(said, "no effect"));
}

static void test_sample_stochasticity_and_windows_come_back(void **state) {
    (void)state;
    assert_runs(
        "sample --model model --out noisy.png --steps 4 --stochasticity 0.3 --guidance 2 --guidance-low 0.2 --guidance-high 0.9");
    assert_runs("sample --like noisy.png --out again.png");
    assert_same_files(in_folder("noisy.png"), in_folder("again.png"), true);
    assert_runs("sample --like noisy.png --out again.png --stochasticity 0");
    assert_same_files(in_folder("noisy.png"), in_folder("again.png"), false);
    assert_runs("sample --like noisy.png --out again.png --guidance-low 0.6");
    assert_same_files(in_folder("noisy.png"), in_folder("again.png"), false);
}

/* In diffusion mode the first of a strip is what one step draws, and the last the picture. */
static void test_sample_strip_from_one_step_to_the_picture(void **state) {
    (void)state;
    TimImage first, last, strip, beside;
    const int scale = 96 / SIDE;
    assert_runs("sample --model model --out stages/ --count 2 --seed 3 --mode diffusion --steps 1");
    assert_int_equal(access(in_folder("stages/000001-strip.png"), F_OK), -1);
    assert_ok(tim_image_read_png(&first, in_folder("stages/000001.png"), &err));
    assert_runs("sample --model model --out stages/ --count 2 --seed 3 --mode diffusion --steps 3 --strip --overwrite");
    assert_ok(tim_image_read_png(&last, in_folder("stages/000001.png"), &err));
    assert_ok(tim_image_read_png(&beside, in_folder("stages/000001-strip.png"), &err));
    assert_runs("sample --model model --out strip.png --count 2 --seed 3 --mode diffusion --steps 3 --strip");
    assert_ok(tim_image_read_png(&strip, in_folder("strip.png"), &err));
    assert_true(sheet_shows(&beside, &first, scale) && sheet_shows(&beside, &last, scale));
    assert_true(sheet_shows(&strip, &first, scale) && sheet_shows(&strip, &last, scale));
    assert_true(strip.width >= 3 * 96 && strip.width < 5 * 96 && strip.height >= 2 * 96 && strip.height < 3 * 96);
    assert_memory_not_equal(first.pixels, last.pixels, PIXELS);
    tim_image_done(&first), tim_image_done(&last), tim_image_done(&strip), tim_image_done(&beside);
    assert_fails("sample --model model --out x.png --strip --steps 1,2", 2, "--strip wants one number of --steps");
    assert_fails("sample --model model --out x.npz --strip", 2, "--strip wants one number of --steps");
    assert_fails("sample --model model --out x.png --strip --steps 164", 1,
                 "a sheet of 16 rows and 164 columns with pictures of 96 x 96");
    assert_fails("sample --model model --out x.png --strip --count 200", 1,
                 "a sheet of 200 rows and 1 columns with pictures of 96 x 96");
}

/* A strip comes back as a strip, and the picture beside it as a picture. */
static void test_sample_like_draws_a_strip_again(void **state) {
    (void)state;
    TimImage sheet;
    assert_runs("sample --model model --out strips/ --count 2 --seed 3 --steps 3 --strip");
    assert_runs("sample --like strips/000001-strip.png --out again.png");
    assert_same_files(in_folder("strips/000001-strip.png"), in_folder("again.png"), true);
    assert_runs("sample --like strips/000001.png --out restrips/");
    assert_same_files(in_folder("strips/000001.png"), in_folder("restrips/000001.png"), true);
    assert_int_equal(access(in_folder("restrips/000001-strip.png"), F_OK), -1);
    assert_runs("sample --model model --out rows.png --count 2 --seed 3 --steps 3 --strip");
    assert_runs("sample --like rows.png --out again.png");
    assert_same_files(in_folder("rows.png"), in_folder("again.png"), true);
    assert_runs("sample --like strips/000001-strip.png --steps 1,2 --out sheet.png"); /* of two numbers there is no strip */
    assert_ok(tim_image_read_png(&sheet, in_folder("sheet.png"), &err));
    assert_true(sheet.height > 2 * 96);
    tim_image_done(&sheet);
}

/* Rotary angles change every picture, times none of 4 steps; the picture remembers, and --like draws it again. */
static void test_sample_imitate_changes_what_it_says(void **state) {
    (void)state;
    const char *const line = "sample --model wide --steps %s --seed 3 --count 1 --out %s %s";
    const char *const runs[][3] = {{"4", "im/", ""},
                                   {"4", "im-times/", "--imitate times"},
                                   {"5", "im-five/", ""},
                                   {"5", "im-five-times/", "--imitate times"},
                                   {"4", "im-rotary/", "--imitate rotary"},
                                   {"5", "im-both/", "--imitate times,rotary"}};
    enum { RUNS = sizeof runs / sizeof *runs };
    TimImage images[RUNS], again;
    TimConfig config = small_config(TIM_TRANSPORT_OT_FM);
    config.network.input_size = 4 * SIDE; /* positions up to 15 */
    save_model("wide", &config);
    for (size_t i = 0; i < RUNS; i++) {
        char words[256], path[64];
        snprintf(words, sizeof words, line, runs[i][0], runs[i][1], runs[i][2]);
        assert_runs(words);
        snprintf(path, sizeof path, "%s000000.png", runs[i][1]);
        assert_ok(tim_image_read_png(&images[i], in_folder(path), &err));
    }
    const size_t bytes = 16 * PIXELS;
    assert_memory_equal(images[0].pixels, images[1].pixels, bytes);
    assert_memory_not_equal(images[2].pixels, images[3].pixels, bytes);
    assert_memory_not_equal(images[0].pixels, images[4].pixels, bytes);
    assert_memory_not_equal(images[3].pixels, images[5].pixels, bytes);
    assert_runs("sample --like im-both/000000.png --out again.png");
    assert_ok(tim_image_read_png(&again, in_folder("again.png"), &err));
    assert_memory_equal(images[5].pixels, again.pixels, bytes);
    tim_image_done(&again);
    for (size_t i = 0; i < RUNS; i++) tim_image_done(&images[i]);
    assert_fails("sample --model wide --out x.png --imitate times,rope", 2, "--imitate: 'rope' does not fit; give times, rotary");
    assert_runs("sample --model wide --steps 4 --out t.png --imitate times");
    assert_contains(said, "has no effect");
    config.transport.last_jump = 0.1; /* 1, 0.7, 0.4, 0.1: none of bf16's */
    save_model("wide-jump", &config);
    assert_runs("sample --model wide-jump --steps 4 --out t.png --imitate times");
    assert_string_equal(said, "");
}

static void test_sample_guidance_without_effect_said_once(void **state) {
    (void)state;
    assert_runs("sample --model model --out g.png --guidance 2.5 --steps 1 --count 40 --batch 3");
    assert_int_equal(occurrences(said, "guidance 2.5 has no effect with --steps 1"), 1);
    assert_runs("sample --model model --out g.png --guidance 2.5 --steps 4");
    assert_string_equal(said, "");
    assert_runs("sample --model model --out g.png --guidance 2.5 --guidance-high 1.5 --steps 1");
    assert_string_equal(said, "");
}

static void test_sample_failures_exit_1_and_say_what(void **state) {
    (void)state;
    const char *const cases[][2] = {
        {"sample --model nowhere --out x.png", "nowhere"},
        {"sample --model model --config nowhere.yaml --out x.png", "nowhere.yaml"},
        {"sample --model model --out x.png --classes 4", "class 4 of picture 0; the model has the classes 0 to 3"},
        {"sample --model model --out x.png --height 7", "height is 7; give a multiple of 2 up to 16384, such as 8"},
        {"sample --model model --out none/x.png", "none/x.png"},
        {"sample --model model --out none/x.npz", "none/x.npz"},
        {"sample --model model --out model/config.yaml/x/", "model/config.yaml: cannot make the folder"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) assert_fails(cases[i][0], 1, cases[i][1]);
    assert_runs("sample --model model --out new/folders/ --count 1"); /* folders are made, with those above them */
    assert_int_equal(rename(in_folder("model/config.yaml"), in_folder("model/config")), 0);
    assert_fails("sample --model model --out x.png", 1, "model/config.yaml");
    assert_contains(said, "--config");
    assert_contains(said, "configs/");
    assert_int_equal(rename(in_folder("model/config"), in_folder("model/config.yaml")), 0);
    assert_int_equal(access(in_folder("x.png"), F_OK), -1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tim_help_and_version_shown_and_unknown_commands_refused),
        cmocka_unit_test(test_command_help_lists_every_option),
        cmocka_unit_test(test_command_line_wrong_exits_2_and_says_what),
        cmocka_unit_test(test_output_that_is_lost_exits_1),
        cmocka_unit_test(test_sample_sheet_has_all_pictures),
        cmocka_unit_test(test_sample_folder_holds_single_pictures),
        cmocka_unit_test(test_sample_npz_has_pictures_and_labels),
        cmocka_unit_test(test_sample_classes_by_name_are_those_numbers),
        cmocka_unit_test(test_sample_class_names_refused),
        cmocka_unit_test(test_sample_same_command_same_file),
        cmocka_unit_test(test_sample_first_goes_on_where_a_run_ended),
        cmocka_unit_test(test_sample_output_refused_before_drawing),
        cmocka_unit_test(test_sample_folder_is_not_overwritten),
        cmocka_unit_test(test_sample_like_draws_a_sheet_again),
        cmocka_unit_test(test_sample_like_reads_odd_paths_and_rounding),
        cmocka_unit_test(test_sample_side_of_0_is_the_models_own),
        cmocka_unit_test(test_sample_words_in_any_case_mean_the_same),
        cmocka_unit_test(test_sample_like_draws_it_again),
        cmocka_unit_test(test_sample_init_starts_from_a_picture),
        cmocka_unit_test(test_sample_memory_is_kept),
        cmocka_unit_test(test_sample_like_says_what_it_reads),
        cmocka_unit_test(test_sample_strip_from_one_step_to_the_picture),
        cmocka_unit_test(test_sample_like_draws_a_strip_again),
        cmocka_unit_test(test_sample_sheet_has_each_picture_in_its_place),
        cmocka_unit_test(test_sample_settings_without_effect_said),
        cmocka_unit_test(test_sample_stochasticity_and_windows_come_back),
        cmocka_unit_test(test_sample_imitate_changes_what_it_says),
        cmocka_unit_test(test_sample_guidance_without_effect_said_once),
        cmocka_unit_test(test_sample_failures_exit_1_and_say_what),
    };
    return cmocka_run_group_tests(tests, set_up, remove_all);
}
