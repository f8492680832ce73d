/* The program tim as a user meets it: exit codes, messages, files. Runs ../cli/tim of its own build; writes into a temporary
 * directory. */
#define _GNU_SOURCE /* memmem */
#include <dirent.h>
#include <limits.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

#include "io/file.h"
#include "model/store.h"
#include "small_model.h"
#include "tim/eval.h"
#include "tim/image.h"

enum { PATH_BYTES = 512, TEXT_BYTES = 16384 };

static char folder[] = "/tmp/tim-cli-XXXXXX";
static char program[PATH_MAX];
static char out[TEXT_BYTES], said[TEXT_BYTES]; /* stdout and stderr of the last run */
static TimError err;

/* ---- fixtures ---- */

static bool find_program(void) {
    char self[PATH_MAX];
    const ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
    if (length <= 0) return false;
    self[length] = '\0';
    for (int i = 0; i < 2; i++) *strrchr(self, '/') = '\0';
    return snprintf(program, sizeof program, "%.*s/cli/tim", PATH_MAX - 16, self) > 0 && access(program, X_OK) == 0;
}

/* Random weights for `config`, in the folder `name`. */
static TimStatus save_model(const char *name, const TimConfig *config) {
    const TimNetworkOptions options = {.isa = tim_isa_best(), .threads = 1};
    const TimStoredText text = {"made by", "hash\twith \"quotes\""};
    char path[PATH_BYTES];
    TimModel *model;
    TIM_TRY(tim_model_new(&model, config, &options, &err));
    TimStatus status = fill_hash_weights(model, &err);
    snprintf(path, sizeof path, "%s/%s", folder, name);
    if (status == TIM_OK) status = tim_model_save(config, model->f32, &model->params, TIM_F32, &text, 1, path, &err);
    tim_model_close(model);
    return status;
}

static int set_up(void **state) {
    (void)state;
    const TimConfig config = small_config(TIM_TRANSPORT_OT_FM);
    if (!find_program() || !mkdtemp(folder)) return -1;
    return save_model("model", &config) == TIM_OK ? 0 : -1;
}

/* Files, and folders of files. */
static void remove_tree(const char *path) {
    DIR *dir = opendir(path);
    if (!dir) return;
    for (const struct dirent *entry = readdir(dir); entry; entry = readdir(dir)) {
        char inner[2 * PATH_BYTES];
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
        snprintf(inner, sizeof inner, "%s/%s", path, entry->d_name);
        if (unlink(inner) != 0) remove_tree(inner);
    }
    closedir(dir);
    rmdir(path);
}

static int tear_down(void **state) {
    (void)state;
    remove_tree(folder);
    return 0;
}

/* A path in the temporary directory; four may be in use at a time. */
static const char *in_folder(const char *name) {
    static char paths[4][PATH_BYTES];
    static int turn;
    char *path = paths[turn++ % 4];
    snprintf(path, PATH_BYTES, "%s/%s", folder, name);
    return path;
}

static void read_text(const char *path, char text[TEXT_BYTES]) {
    FILE *stream = fopen(path, "rb");
    assert_non_null(stream);
    text[fread(text, 1, TEXT_BYTES - 1, stream)] = '\0';
    fclose(stream);
}

/* Runs "tim ARGUMENTS" in the temporary directory; returns the exit code. */
static int tim(const char *arguments) {
    char line[TEXT_BYTES];
    snprintf(line, sizeof line, "cd '%s' && OMP_NUM_THREADS=1 '%s' %s >stdout 2>stderr", folder, program, arguments);
    const int status = system(line);
    read_text(in_folder("stdout"), out);
    read_text(in_folder("stderr"), said);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void write_text(const char *name, const char *text) {
    FILE *stream = fopen(in_folder(name), "w");
    assert_non_null(stream);
    fputs(text, stream);
    assert_int_equal(fclose(stream), 0);
}

static void assert_contains(const char *text, const char *part) {
    if (strstr(text, part)) return;
    print_error("\"%s\" does not contain \"%s\"\n", text, part);
    fail();
}

static void assert_runs(const char *arguments) {
    const int code = tim(arguments);
    if (code == 0) return;
    print_error("tim %s: exit code %d: %s\n", arguments, code, said);
    fail();
}

/* Fails with `code`, one message that contains `part`, and nothing on stdout. */
static void assert_fails(const char *arguments, int code, const char *part) {
    assert_int_equal(tim(arguments), code);
    assert_contains(said, part);
    assert_string_equal(out, "");
}

static void assert_same_files(const char *a, const char *b, bool same) {
    TimFile first, second;
    assert_int_equal(tim_file_open(&first, a, &err), TIM_OK);
    assert_int_equal(tim_file_open(&second, b, &err), TIM_OK);
    assert_int_equal(first.size == second.size && memcmp(first.data, second.data, first.size) == 0, same);
    tim_file_close(&first);
    tim_file_close(&second);
}

/* ---- the program ---- */

static void test_tim_help_and_version(void **state) {
    (void)state;
    assert_runs("--help");
    assert_contains(out, "sample");
    assert_contains(out, "inspect");
    assert_runs("--version");
    assert_contains(out, "tim 0.");
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
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) assert_contains(out, parts[i]);
    assert_runs("inspect -h");
    assert_contains(out, "usage: tim inspect DIR|FILE [options]");
}

static void test_command_line_wrong_exits_2_and_says_what(void **state) {
    (void)state;
    const char *const cases[][2] = {
        {"sample --out a.png", "--model is required"},
        {"sample --model model", "--out is required"},
        {"sample --model", "--model needs a value"},
        {"sample --model --out a.png", "--model needs a value"},
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
        assert_int_equal(tim(words), 1);
        read_text(in_folder("full"), said);
        assert_contains(said, "tim: the standard output cannot be written: ");
    }
}

/* ---- sample ---- */

static void test_sample_sheet_has_all_pictures(void **state) {
    (void)state;
    TimImage one, grid;
    assert_runs("sample --model model --out one.png --classes 2");
    assert_contains(out, "one.png: 1 picture of 8 x 8");
    assert_runs("sample --model model --out grid.png --classes 0,1,3 --steps 1,2,4");
    assert_contains(out, "grid.png: 9 pictures");
    assert_int_equal(tim_image_read_png(&one, in_folder("one.png"), &err), TIM_OK);
    assert_int_equal(tim_image_read_png(&grid, in_folder("grid.png"), &err), TIM_OK);
    assert_true(one.width >= 96 && one.height >= 96);
    assert_true(grid.width >= 3 * 96 && grid.height >= 3 * 96);
    tim_image_done(&one);
    tim_image_done(&grid);
    assert_runs("sample --model model --out many.png --count 10");
    assert_contains(out, "10 pictures");
}

static void test_sample_folder_holds_single_pictures(void **state) {
    (void)state;
    TimImage image;
    char content[TEXT_BYTES];
    assert_runs("sample --model model --out files/ --count 3 --first 7 --steps 2 --seed 5");
    assert_int_equal(tim_image_read_png(&image, in_folder("files/000009.png"), &err), TIM_OK);
    assert_int_equal(image.height, SIDE);
    assert_int_equal(image.channels, 1);
    tim_image_done(&image);
    assert_int_equal(access(in_folder("files/000006.png"), F_OK), -1);
    assert_int_equal(access(in_folder("files/000010.png"), F_OK), -1);
    read_text(in_folder("files/000009.png"), content);
    TimFile file;
    assert_int_equal(tim_file_open(&file, in_folder("files/000009.png"), &err), TIM_OK);
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
    assert_int_equal(tim_file_open(&file, in_folder("set.npz"), &err), TIM_OK);
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
    assert_int_equal(tim_file_open(&file, in_folder("named.npz"), &err), TIM_OK);
    assert_non_null(memmem(file.data, file.size, labels, 4 * sizeof *labels));
    tim_file_close(&file);
}

static void save_imagenet_model(void) {
    TimConfig config = small_config(TIM_TRANSPORT_OT_FM);
    config.network.num_classes = 1000;
    assert_int_equal(save_model("imagenet", &config), TIM_OK);
}

/* Numbers: those beside the names in lists of published samples (DiT draws 207, 360, 387, 974, 88, 979, 417, 279). */
static void test_sample_classes_by_name(void **state) {
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
    assert_int_equal(tim_file_open(&file, in_folder("named/000000.png"), &err), TIM_OK);
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
    assert_runs("sample --like sheet.png --out again.png --classes 0,2");
    assert_same_files(in_folder("sheet.png"), in_folder("again.png"), false);
    assert_int_equal(unlink(in_folder("linked.safetensors")), 0);
}

/* Commas, colons and quotes in paths are quoted as other tools do, and the rounding is kept. */
static void test_sample_like_reads_odd_paths_and_rounding(void **state) {
    (void)state;
    TimFile file;
    const TimConfig config = small_config(TIM_TRANSPORT_OT_FM);
    assert_int_equal(save_model("a, Seed: 3, \"b\\", &config), TIM_OK);
    assert_runs("sample --model model --out odd,png/ --count 1");
    assert_runs(
        "sample --model 'a, Seed: 3, \"b\\' --init 'odd,png/000000.png' --out odd.png --classes 1,2 --rounding t2i --seed 7");
    assert_runs("sample --like odd.png --out again.png");
    assert_same_files(in_folder("odd.png"), in_folder("again.png"), true);
    assert_int_equal(tim_file_open(&file, in_folder("again.png"), &err), TIM_OK);
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
    assert_runs("sample --like wide/000000.png --width 0 --out own.png");
    assert_int_equal(tim_image_read_png(&image, in_folder("own.png"), &err), TIM_OK);
    assert_int_equal(image.width, SIDE), assert_int_equal(image.height, 8);
    tim_image_done(&image);
    assert_fails("sample --model model --out x.png --width 7", 1, "such as 8, or 0 for the model's own");
}

static void test_sample_words_in_any_case(void **state) {
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
    assert_int_equal(tim_image_read_png(&a, in_folder("first/000009.png"), &err), TIM_OK);
    assert_int_equal(tim_image_read_png(&b, in_folder("again.png"), &err), TIM_OK);
    assert_int_equal(tim_image_read_png(&c, in_folder("other.png"), &err), TIM_OK);
    assert_int_equal(b.height, SIDE);
    assert_memory_equal(a.pixels, b.pixels, PIXELS);
    assert_memory_not_equal(a.pixels, c.pixels, PIXELS);
    tim_image_done(&a), tim_image_done(&b), tim_image_done(&c);
    assert_runs("sample --model model --out p.webp --classes 1");
    assert_runs("sample --model model --out p.jpg --classes 1");
    assert_int_equal(tim_image_read(&a, in_folder("p.webp"), &err), TIM_OK);
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
    assert_int_equal(tim_image_read_png(&a, in_folder("start/000000.png"), &err), TIM_OK);
    assert_int_equal(tim_image_read_png(&b, in_folder("near/000000.png"), &err), TIM_OK);
    for (int i = 0; i < PIXELS; i++) assert_true(abs(a.pixels[i] - b.pixels[i]) <= 3);
    tim_image_done(&a), tim_image_done(&b);
    assert_int_equal(tim_image_read_png(&b, in_folder("far/000000.png"), &err), TIM_OK);
    assert_int_equal(b.width, 16), assert_int_equal(b.height, 8);
    tim_image_done(&b);
    assert_fails("sample --model model --out x.png --init nowhere.png", 1, "nowhere.png");
    assert_fails("sample --model model --out x.png --size 16", 2, "--size: '16' does not fit; give WIDTHxHEIGHT");
}

/* Bytes that "tim ARGUMENTS" had in memory at most; 0: it failed. In a process of its own, which has waited for no other child. */
static double resident(const char *arguments) {
    int ends[2];
    double bytes = 0;
    assert_int_equal(pipe(ends), 0);
    const pid_t child = fork();
    if (child == 0) {
        struct rusage usage;
        const int code = tim(arguments);
        getrusage(RUSAGE_CHILDREN, &usage);
        if (code == 0) bytes = 1024.0 * (double)usage.ru_maxrss;
        _exit(write(ends[1], &bytes, sizeof bytes) != sizeof bytes);
    }
    assert_int_equal(read(ends[0], &bytes, sizeof bytes), sizeof bytes);
    waitpid(child, NULL, 0);
    close(ends[0]), close(ends[1]);
    return bytes;
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
    assert_int_equal(tim(words), 1);
    assert_contains(said, "the run needs about ");
    const double bound = 1e6 * (0.1 + strtod(strstr(said, "about ") + 6, NULL));
    snprintf(words, sizeof words, line, model, bound);
    const double held = resident(words);
    if (held <= 0.7 * bound || held > bound) print_error("%.1f MB held of %.1f\n", 1e-6 * held, 1e-6 * bound);
    assert_true(held > 0.7 * bound && held <= bound);
    snprintf(words, sizeof words, "sample --model %s --out memory.npz --memory 1M",
             model); /* copies in fp32, refused before they are made */
    assert_fails(words, 1, "its weights take 15.6 MB beside the file, and the run may have 1.0 MB; allow more, or give a file");
}

/* A picture from someone else may name files. */
static void test_sample_like_says_what_it_reads(void **state) {
    (void)state;
    TimImage image;
    static const char *const texts[] = {"Steps: 1, Model: model, Prompts: /dev/zero", "Steps: 1, Model: model, Prompts: -",
                                        "Steps: 1, Model: model, Prompts: no\x1b[2Jwhere"};
    const TimImageText init = {"parameters", "Steps: 1, Model: model, Init: own.png"};
    assert_int_equal(tim_image_new(&image, SIDE, SIDE, 1, &err), TIM_OK);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        const TimImageText text = {"parameters", texts[i]};
        assert_int_equal(tim_image_write_png(&image, in_folder("theirs.png"), &text, 1, &err), TIM_OK);
        assert_fails("sample --like theirs.png --out like.png", 1, "there is no file of prompts ");
        assert_contains(said, ", which theirs.png names\n");
        assert_null(strchr(said, '\x1b'));
    }
    assert_int_equal(tim_image_write_png(&image, in_folder("own.png"), NULL, 0, &err), TIM_OK);
    assert_int_equal(tim_image_write_png(&image, in_folder("theirs.png"), &init, 1, &err), TIM_OK);
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
    assert_int_equal(tim_image_read_png(&sheet, in_folder("places.png"), &err), TIM_OK);
    for (int row = 0; row < 3; row++) {
        char words[256], name[64];
        snprintf(words, sizeof words, "sample --model model --out places%d/ --classes 0,1,3 --steps %s --seed 6", row, steps[row]);
        assert_runs(words);
        for (int column = 0; column < 3; column++) {
            snprintf(name, sizeof name, "places%d/00000%d.png", row, column);
            assert_int_equal(tim_image_read_png(&picture, in_folder(name), &err), TIM_OK);
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
    assert_int_equal(tim_image_read_png(&first, in_folder("stages/000001.png"), &err), TIM_OK);
    assert_runs("sample --model model --out stages/ --count 2 --seed 3 --mode diffusion --steps 3 --strip --overwrite");
    assert_int_equal(tim_image_read_png(&last, in_folder("stages/000001.png"), &err), TIM_OK);
    assert_int_equal(tim_image_read_png(&beside, in_folder("stages/000001-strip.png"), &err), TIM_OK);
    assert_runs("sample --model model --out strip.png --count 2 --seed 3 --mode diffusion --steps 3 --strip");
    assert_int_equal(tim_image_read_png(&strip, in_folder("strip.png"), &err), TIM_OK);
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
    assert_int_equal(tim_image_read_png(&sheet, in_folder("sheet.png"), &err), TIM_OK);
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
    assert_int_equal(save_model("wide", &config), TIM_OK);
    for (size_t i = 0; i < RUNS; i++) {
        char words[256], path[64];
        snprintf(words, sizeof words, line, runs[i][0], runs[i][1], runs[i][2]);
        assert_runs(words);
        snprintf(path, sizeof path, "%s000000.png", runs[i][1]);
        assert_int_equal(tim_image_read_png(&images[i], in_folder(path), &err), TIM_OK);
    }
    const size_t bytes = 16 * PIXELS;
    assert_memory_equal(images[0].pixels, images[1].pixels, bytes);
    assert_memory_not_equal(images[2].pixels, images[3].pixels, bytes);
    assert_memory_not_equal(images[0].pixels, images[4].pixels, bytes);
    assert_memory_not_equal(images[3].pixels, images[5].pixels, bytes);
    assert_runs("sample --like im-both/000000.png --out again.png");
    assert_int_equal(tim_image_read_png(&again, in_folder("again.png"), &err), TIM_OK);
    assert_memory_equal(images[5].pixels, again.pixels, bytes);
    tim_image_done(&again);
    for (size_t i = 0; i < RUNS; i++) tim_image_done(&images[i]);
    assert_fails("sample --model wide --out x.png --imitate times,rope", 2, "--imitate: 'rope' does not fit; give times, rotary");
    assert_runs("sample --model wide --steps 4 --out t.png --imitate times");
    assert_contains(said, "has no effect");
    config.transport.last_jump = 0.1; /* 1, 0.7, 0.4, 0.1: none of bf16's */
    assert_int_equal(save_model("wide-jump", &config), TIM_OK);
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

/* ---- inspect ---- */

static void test_convert_bf16_model_draws(void **state) {
    (void)state;
    assert_int_equal(tim("convert --model model --out half"), 0);
    assert_int_equal(tim("inspect half"), 0);
    assert_non_null(strstr(out, "BF16"));
    assert_int_equal(tim("sample --model half --steps 1 --classes 0 --out half.png"), 0);
}

static void test_convert_missing_model_exits_1(void **state) {
    (void)state;
    assert_int_equal(tim("convert --model nowhere --out half2"), 1);
    assert_non_null(strstr(said, "nowhere"));
    assert_int_equal(tim("convert --model model"), 2);
}

/* The weights and the configuration that are read are not replaced, however the folder is written. */
static void test_convert_into_its_own_folder_refused(void **state) {
    (void)state;
    assert_runs("convert --model model --out own --precision fp32");
    assert_runs("convert --model model --out kept --precision fp32");
    assert_fails("convert --model own --out own", 1, "'own' is the folder of own, which would be replaced; give another folder");
    assert_fails("convert --model own/model.safetensors --out ./own/", 1, "give another folder");
    assert_fails("convert --model model --config own/config.yaml --out own", 1, "own/config.yaml, which would be replaced");
    assert_int_equal(symlink("own", in_folder("linked")), 0);
    assert_fails("convert --model own --out linked", 1, "give another folder");
    assert_same_files(in_folder("own/model.safetensors"), in_folder("kept/model.safetensors"), true);
    assert_same_files(in_folder("own/config.yaml"), in_folder("kept/config.yaml"), true);
}

static void test_inspect_shows_model(void **state) {
    (void)state;
    assert_runs("inspect model");
    const char *const parts[] = {"model/model.safetensors",
                                 " parameters in ",
                                 "class-to-image",
                                 "num_classes",
                                 "OT_FM",
                                 "made by: hash with \"quotes\"",
                                 "x_embedder.proj.weight",
                                 "F32",
                                 "(24, 1, 2, 2)"};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) assert_contains(out, parts[i]);
    assert_string_equal(said, "");
    assert_runs("inspect model/config.yaml"); /* the configuration alone */
    assert_contains(out, "class-to-image");
    assert_null(strstr(out, " parameters in "));
}

static void test_inspect_json_is_json(void **state) {
    (void)state;
    json_error_t cause;
    assert_runs("inspect --json model/model.safetensors");
    json_t *root = json_loads(out, JSON_REJECT_DUPLICATES, &cause);
    assert_non_null(root);
    assert_true(json_integer_value(json_object_get(root, "parameters")) > 1000);
    const json_t *config = json_object_get(root, "config");
    assert_int_equal(json_integer_value(json_object_get(config, "num_classes")), CLASSES);
    assert_true(json_is_true(json_object_get(config, "qk_norm")));
    assert_string_equal(json_string_value(json_object_get(json_object_get(root, "metadata"), "made by")), "hash\twith \"quotes\"");
    const json_t *tensor = json_array_get(json_object_get(root, "tensors"), 0);
    assert_string_equal(json_string_value(json_object_get(tensor, "dtype")), "F32");
    assert_true(json_array_size(json_object_get(tensor, "shape")) >= 1);
    json_decref(root);
}

static void write_file(const char *path, const char *text) {
    FILE *stream = fopen(path, "wb");
    assert_non_null(stream);
    assert_true(fputs(text, stream) >= 0);
    assert_int_equal(fclose(stream), 0);
}

static void test_inspect_any_safetensors(void **state) {
    (void)state;
    TimSafetensorsWriter writer;
    const size_t dims[] = {2, 3};
    const int64_t data[6] = {0};
    assert_int_equal(mkdir(in_folder("other"), 0777), 0);
    assert_int_equal(tim_safetensors_writer_init(&writer, &err), TIM_OK);
    assert_int_equal(tim_safetensors_writer_add(&writer, "bad\033[31mname", TIM_I64, 2, dims, data, &err), TIM_OK);
    assert_int_equal(tim_safetensors_writer_add(&writer, "a\xC2\x9Bm\xC2\xA0z", TIM_U8, 0, NULL, data, &err), TIM_OK);
    assert_int_equal(tim_safetensors_writer_save(&writer, in_folder("other/any.safetensors"), &err), TIM_OK);
    tim_safetensors_writer_done(&writer);
    assert_runs("inspect other/any.safetensors");
    assert_contains(out, "7 parameters in 2 tensors, 49 bytes");
    assert_contains(out, "bad [31mname");
    assert_contains(out, "(2, 3)");
    assert_contains(out, "U8    ()");
    assert_contains(out, "a m\xC2\xA0z"); /* U+009B is the terminal's too, U+00A0 a space */
    assert_null(strchr(out, '\033'));

    write_file(in_folder("other/config.yaml"), "model: {network: {target: another.Program}}\n");
    assert_runs("inspect other/any.safetensors"); /* not asked for: said, and the tensors are shown */
    assert_contains(said, "other/config.yaml");
    assert_contains(out, "7 parameters");
    assert_fails("inspect other/any.safetensors --config other/config.yaml", 1, "other/config.yaml");
    assert_runs("inspect --json other/any.safetensors");
    json_t *root = json_loads(out, 0, NULL);
    assert_non_null(root);
    assert_true(json_is_null(json_object_get(root, "config")));
    json_decref(root);
    assert_contains(out, "\"bad\\u001b[31mname\"");
    assert_contains(out, "\"a\\u009bm\xC2\xA0z\"");
}

static void test_inspect_failures_exit_1(void **state) {
    (void)state;
    assert_fails("inspect nowhere", 1, "nowhere");
    write_file(in_folder("bad.yaml"), "model: {network: {target: another.Program}}\n");
    assert_fails("inspect bad.yaml", 1, "bad.yaml");
    write_file(in_folder("bad.json"), "{");
    assert_fails("inspect bad.json", 1, "bad.json");
    assert_fails("inspect .", 1, "none of model.safetensors");
}

static void test_verify_says_what_would_run(void **state) {
    (void)state;
    assert_runs("verify --model model");
    assert_contains(out, "all parts are there and fit each other");
    assert_string_equal(said, "");
    assert_int_equal(tim("verify --model nowhere"), 1);
    assert_runs("verify --model model --tokenizer nowhere");
    assert_string_equal(said, "tim verify: the model draws classes: --tokenizer has no effect\n");
}

/* Folders and files may have any name. */
static void test_verify_paths_obey_nothing(void **state) {
    (void)state;
    assert_int_equal(symlink("model", in_folder("mo\033]0;del\a")), 0);
    assert_runs("verify --model 'mo\033]0;del\a'");
    assert_contains(out, "mo?]0;del?/model.safetensors");
}

static void test_synth_writes_what_inspect_shows(void **state) {
    (void)state;
    static const char manifest[] = "{\"tensors\": {\"a.weight\": [2, 3]}}";
    write_text("manifest.json", manifest);
    assert_runs("synth manifest.json made/up --precision fp32");
    assert_contains(out, "1 tensors");
    assert_runs("inspect made/up");
    assert_contains(out, "a.weight");
    assert_fails("synth nowhere.json made/up", 1, "nowhere.json");
}

/* ---- demo ---- */

enum { DEMO_ROWS = 5, DEMO_COLUMNS = 10, DEMO_SIDE = 28 };

/* Of the demo's shape: gray pictures of 28 x 28 pixels, ten classes, the data set that names them. */
static void save_demo_model(const char *name) {
    static char data_type[] = "fashion-mnist";
    TimConfig config = small_config(TIM_TRANSPORT_OT_FM);
    config.network.input_size = DEMO_SIDE;
    config.network.patch_size = 4;
    config.network.num_classes = DEMO_COLUMNS;
    config.data_type = data_type;
    assert_int_equal(save_model(name, &config), TIM_OK);
}

/* The demo's sheet with black pictures. */
static TimImage blank_demo_sheet(void) {
    static const uint8_t pictures[DEMO_ROWS * DEMO_COLUMNS * DEMO_SIDE * DEMO_SIDE];
    static const char *const columns[] = {"T-shirt", "trouser", "pullover", "dress", "coat",
                                          "sandal",  "shirt",   "sneaker",  "bag",   "ankle boot"};
    static const char *const rows[] = {"1 evaluation", "2 evaluations", "4 evaluations", "8 evaluations", "32 evaluations"};
    const TimSheet sheet = {.rows = DEMO_ROWS,
                            .columns = DEMO_COLUMNS,
                            .height = DEMO_SIDE,
                            .width = DEMO_SIDE,
                            .channels = 1,
                            .pictures = pictures,
                            .title = "tim.c: one set of weights, any number of steps",
                            .column_labels = columns,
                            .row_labels = rows,
                            .scale = 3,
                            .text_scale = 1};
    TimImage image;
    assert_int_equal(tim_sheet_draw(&image, &sheet, &err), TIM_OK);
    return image;
}

/* Labels and paper are nowhere black: where `blank` is not, the two must agree. */
static void assert_same_frame(const TimImage *sheet, const TimImage *blank) {
    const size_t pixels = (size_t)blank->height * (size_t)blank->width;
    size_t drawn = 0;
    assert_int_equal(sheet->height, blank->height);
    assert_int_equal(sheet->width, blank->width);
    assert_int_equal(sheet->channels, 1);
    for (size_t i = 0; i < pixels; i++) {
        if (blank->pixels[i] != 0) assert_int_equal(sheet->pixels[i], blank->pixels[i]);
        drawn += blank->pixels[i] == 0 && sheet->pixels[i] != 0;
    }
    assert_true(drawn > pixels / 10); /* pictures are there */
}

/* The last line of stdout is the whole path of the file. */
static void assert_ends_with_path(const char *name) {
    char whole[PATH_MAX], end[PATH_MAX + 2];
    assert_non_null(realpath(in_folder(name), whole));
    const int length = snprintf(end, sizeof end, "\n%s\n", whole);
    assert_true(strlen(out) > (size_t)length);
    assert_string_equal(out + strlen(out) - (size_t)length, end);
}

static void test_demo_sheet_has_labels_and_pictures(void **state) {
    (void)state;
    TimImage sheet, blank = blank_demo_sheet();
    save_demo_model("models");
    assert_int_equal(mkdir(in_folder("deep"), 0777), 0); /* one folder is there, one is made */
    assert_runs("demo --model models --out deep/demo --seed 3 --threads 1");
    assert_contains(out, "models: 0.");
    assert_contains(out, "\n  32 evaluations ");
    assert_ends_with_path("deep/demo/sheet.png");
    assert_int_equal(tim_image_read_png(&sheet, in_folder("deep/demo/sheet.png"), &err), TIM_OK);
    assert_same_frame(&sheet, &blank);
    tim_image_done(&sheet);
    tim_image_done(&blank);
}

static void test_demo_same_seed_same_sheet(void **state) {
    (void)state;
    save_demo_model("models");
    assert_runs("demo --model models --out first --seed 3");
    assert_runs("demo --model models --out again/ --seed 3");
    assert_runs("demo --model models --out other --seed 4");
    assert_same_files(in_folder("first/sheet.png"), in_folder("again/sheet.png"), true);
    assert_same_files(in_folder("first/sheet.png"), in_folder("other/sheet.png"), false);
}

static void test_demo_failures_say_what_and_the_remedy(void **state) {
    (void)state;
    assert_fails("demo", 1, "models/fashion");
    assert_contains(said, "./bootstrap demo");
    assert_contains(said, "tim train --config");
    assert_int_equal(access(in_folder("out"), F_OK), -1); /* nothing was made */
    assert_fails("demo --out=", 2, "--out: name a folder");
    assert_int_equal(tim("demo --model model --out model/config.yaml/demo"), 1);
    assert_contains(said, "model/config.yaml: cannot make the folder");
    assert_null(strstr(said, "bootstrap")); /* the model is there */
}

/* ---- bench ---- */

static void test_bench_list_names_cases(void **state) {
    (void)state;
    assert_runs("bench --list");
    assert_contains(out, "train_small:jvp\n");
    assert_contains(out, "\nxl256\n");
    assert_fails("bench train_smal:jvp", 2, "no case is called 'train_smal:jvp'; did you mean 'train_small:jvp'?");
    assert_fails("bench xyzzyxyzzy", 2, "no case is called 'xyzzyxyzzy'; --list names them");
    assert_fails("bench --precision fp16", 2, "--precision: 'fp16' does not fit; give one of bf16, fp32, both");
}

static double positive(const json_t *object, const char *key) {
    const double value = json_number_value(json_object_get(object, key));
    if (!(value > 0)) print_error("\"%s\" is %g\n", key, value);
    assert_true(value > 0);
    return value;
}

static void assert_op_is_whole(const json_t *op) {
    assert_non_null(json_string_value(json_object_get(op, "name")));
    positive(op, "forward_s");
    assert_true(json_is_number(json_object_get(op, "jvp_s")));
    assert_true(json_is_number(json_object_get(op, "vjp_s")));
}

static void test_bench_json_has_every_figure(void **state) {
    (void)state;
#if defined(__SANITIZE_ADDRESS__)
    skip(); /* the cases are too large for it */
#endif
    assert_runs("bench --json --runs 1 train_small:none");
    json_t *root = json_loads(out, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(root);
    const json_t *cases = json_object_get(root, "cases"), *only = json_array_get(cases, 0), *ops = json_object_get(only, "ops");
    const double peak = positive(json_object_get(root, "peak"), "bf16");
    positive(json_object_get(root, "peak"), "f32");
    assert_int_equal(json_integer_value(json_object_get(root, "threads")), 1);
    assert_int_equal(json_array_size(cases), 1);
    assert_string_equal(json_string_value(json_object_get(only, "case")), "train_small:none");
    assert_string_equal(json_string_value(json_object_get(only, "precision")), "bf16");
    assert_int_equal(json_integer_value(json_object_get(only, "runs")), 1);
    const double rate = positive(only, "gflop") / positive(only, "median_s");
    assert_true(fabs(positive(only, "gflop_per_s") - rate) < 1e-3 * rate);
    assert_true(fabs(positive(only, "percent_of_peak") - 100 * rate / peak) < 0.1 * rate / peak);
    assert_true(positive(only, "min_s") <= positive(only, "median_s"));
    positive(only, "memory_mib");
    assert_true(json_array_size(ops) > 4);
    for (size_t i = 0; i < json_array_size(ops); i++) assert_op_is_whole(json_array_get(ops, i));
    json_decref(root);
}

/* ---- classifier, train, eval: from pictures to a report ---- */

static void write_idx(const char *name, const uint8_t *header, size_t header_bytes, const uint8_t *data, size_t bytes) {
    FILE *stream = fopen(in_folder(name), "wb");
    assert_non_null(stream);
    assert_int_equal(fwrite(header, 1, header_bytes, stream), header_bytes);
    assert_int_equal(fwrite(data, 1, bytes, stream), bytes);
    assert_int_equal(fclose(stream), 0);
}

/* PICTURES pictures of CLASSES classes in the folder `data`, once to learn from and once as test pictures: class k is a bar in row 2 k. */
static void write_pictures(void) {
    enum { PICTURES = 80 };
    static const uint8_t image_header[] = {0, 0, 8, 3, 0, 0, 0, PICTURES, 0, 0, 0, SIDE, 0, 0, 0, SIDE};
    static const uint8_t label_header[] = {0, 0, 8, 1, 0, 0, 0, PICTURES};
    uint8_t pixels[PICTURES * PIXELS] = {0}, labels[PICTURES];
    for (int i = 0; i < PICTURES; i++) {
        labels[i] = (uint8_t)(i % CLASSES);
        for (int x = 0; x < SIDE; x++) pixels[i * PIXELS + 2 * labels[i] * SIDE + x] = (uint8_t)(200 + i % 50);
    }
    assert_int_equal(mkdir(in_folder("data"), 0777), 0);
    write_idx("data/train-images-idx3-ubyte", image_header, sizeof image_header, pixels, sizeof pixels);
    write_idx("data/train-labels-idx1-ubyte", label_header, sizeof label_header, labels, sizeof labels);
    write_idx("data/t10k-images-idx3-ubyte", image_header, sizeof image_header, pixels, sizeof pixels);
    write_idx("data/t10k-labels-idx1-ubyte", label_header, sizeof label_header, labels, sizeof labels);
}

static void write_training_config(void) {
    char data[] = "idx", place[] = "data";
    TimConfig config = small_config(TIM_TRANSPORT_OT_FM);
    config.data_type = data, config.data_dir = place;
    config.training.batch_size = 8, config.transition.use_dir_loss = false;
    assert_int_equal(tim_config_write(&config, in_folder("train.yaml"), &err), TIM_OK);
}

static void test_train_previews_and_eval_judges(void **state) {
    (void)state;
    char log[TEXT_BYTES];
    write_pictures();
    write_training_config();
    assert_runs("classifier --train data:train --test data:test --epochs 3 --batch 8 --out judge.safetensors");
    assert_contains(out, "epoch  3 of 3");
    assert_runs(
        "train --config train.yaml --out run --steps 4 --preview-every 2 --classifier judge.safetensors --reference data:test "
        "--preview-pictures 20");
    assert_contains(said, "step      2   at 1: Frechet");
    read_text(in_folder("run/log.jsonl"), log);
    assert_contains(log, "{\"step\": 2, \"pictures\": 20, \"frechet_1\": ");
    TimImage sheet;
    assert_int_equal(tim_image_read_png(&sheet, in_folder("run/samples/step-000004.png"), &err), TIM_OK);
    assert_true(sheet.width > 3 * SIDE * CLASSES && sheet.height > 3 * SIDE * 5);
    tim_image_done(&sheet);
    assert_runs(
        "eval --model run/checkpoints/checkpoint-4 --classifier judge.safetensors --reference data:test --training data:train "
        "--steps 1,2 --samples 16 --seeds 2 --out report");
    assert_contains(out, "  8 of 8  diffusion ");
    assert_contains(out, "report/report.html");
    assert_int_equal(access(in_folder("report/report.json"), R_OK), 0);
}

/* Pictures from elsewhere: the reference itself is as near as can be, knows its classes, and has no report. */
static void test_eval_judges_pictures_without_a_model(void **state) {
    (void)state;
    assert_runs("eval --pictures data:test --classifier judge.safetensors --reference data:test --training data:train");
    assert_contains(out, "80 pictures of data:test against data:test\n");
    assert_contains(out, "\nthese pictures ");
    assert_contains(out, "\nreal pictures ");
    assert_contains(out, "1.000   1.000    100.0 %");
    assert_fails("eval --pictures absent --classifier judge.safetensors --reference data:test", 1, "tim eval: absent");
    assert_fails("eval --pictures data:test --model model --classifier judge.safetensors", 2, "either --model");
    assert_fails("eval --classifier judge.safetensors", 2, "either --model");
    assert_fails("eval --pictures data:test --out report", 2, "--out has no effect on --pictures");
    assert_fails("eval --pictures data:test --samples 5", 2, "--samples has no effect on --pictures");
    assert_fails("eval --pictures data:test --suite adm --training data:train", 2,
                 "--training has no effect on --pictures with --suite adm");
    assert_fails("eval --model model", 2, "--model wants --out");
    assert_fails("eval --model model --out report --suite adm", 2, "--suite adm judges --pictures");
    assert_fails("eval --pictures data:test --reference data:test --classifier judge.safetensors --suite adm", 1,
                 "judge.safetensors: the tensor 'fc.weight' (1008, 2048) is missing");
}

static double real_of(const json_t *object, const char *key) {
    const json_t *value = json_object_get(object, key);
    assert_true(json_is_number(value));
    return json_number_value(value);
}

/* The numbers of a program that reads them: of our own features with those of real pictures beside, and ADM's of Inception. */
static void test_eval_pictures_as_json(void **state) {
    (void)state;
    char words[2 * PATH_MAX], manifest[PATH_MAX], hash[TIM_HASH_TEXT];
    json_error_t at;
    assert_runs("eval --pictures data:test --classifier judge.safetensors --reference data:test --training data:train --json");
    json_t *own = json_loads(out, JSON_REJECT_DUPLICATES, &at);
    assert_non_null(own);
    assert_int_equal(json_integer_value(json_object_get(own, "count")), 80);
    assert_int_equal(tim_weights_hash(hash, in_folder("judge.safetensors"), &err), TIM_OK);
    assert_string_equal(json_string_value(json_object_get(own, "features_sha256")), hash);
    assert_true(real_of(own, "agreement") == 1 && real_of(own, "recall") == 1 && real_of(own, "real_agreement") == 1);
    json_decref(own);
    assert_non_null(realpath("tests/golden/manifests/inception_v3_fid.json", manifest));
    snprintf(words, sizeof words, "synth %s inception", manifest);
    assert_runs(words);
    assert_runs("sample --model model --out judged/ --count 5");
    assert_runs("eval --suite adm --pictures judged --reference judged --classifier inception --json");
    json_t *adm = json_loads(out, JSON_REJECT_DUPLICATES, &at);
    assert_non_null(adm);
    assert_int_equal(json_integer_value(json_object_get(adm, "reference_count")), 5);
    assert_true(fabs(real_of(adm, "fid")) < 1e-6 && fabs(real_of(adm, "sfid")) < 1e-6 && real_of(adm, "precision") == 1);
    assert_true(real_of(adm, "inception_score") >= 1 && json_is_false(json_object_get(adm, "reference_statistics")));
    json_decref(adm);
    assert_runs("eval --suite adm --pictures judged --reference judged --classifier inception");
    assert_contains(out, "5 pictures of judged against 5 of judged, as ADM's evaluation suite\n");
    assert_contains(out, "features of inception, SHA-256 ");
    assert_fails("eval --model model --out report --json", 2, "--json is of --pictures");
}

/* Options that the longer runs leave out. */
static void test_train_and_eval_of_few_words(void **state) {
    (void)state;
    char text[TEXT_BYTES];
    assert_runs(
        "train --config train.yaml --out brief --steps 100000 --minutes 0.03 --log-every 1 --lr 1e-4 --micro-batch 3 --threads 1");
    read_text(in_folder("brief/log.jsonl"), text);
    assert_contains(text, "{\"step\": 1, ");
    assert_runs(
        "eval --model run/checkpoints/checkpoint-4 --classifier judge.safetensors --reference data:test --training data:train "
        "--samples 20 --seeds 1 --steps 1 --no-diffusion --out brief/report --threads 1");
    assert_null(strstr(out, "diffusion"));
    assert_int_equal(access(in_folder("brief/report/report.html"), R_OK), 0);
}

/* A wrong classifier is known before the first step, and one that nobody would ask is refused. */
static void test_train_classifier_is_opened_first(void **state) {
    (void)state;
    assert_fails("train --config train.yaml --out unborn --steps 4 --preview-every 2 --classifier absent", 1, "absent");
    assert_int_equal(access(in_folder("unborn"), F_OK), -1);
    assert_fails("train --config train.yaml --out unborn --steps 4 --classifier judge.safetensors", 2, "--preview-every");
    assert_fails("train --config train.yaml --out unborn --steps 4 --preview-every 2 --reference data:test", 2,
                 "name a --classifier");
}

static void test_train_configuration_misread_is_said(void **state) {
    (void)state;
    write_text("slip.yaml", "training:\n  max_trian_steps: 4\n");
    assert_fails("train --config slip.yaml --out unborn", 1,
                 "slip.yaml: line 2: unknown key 'max_trian_steps' in training; allowed: max_train_steps, ");
    write_text("idle.yaml", "model: {use_ema: false, enc_dir: radio.pth}\ntraining: {checkpoint_list: [1, 2]}\n");
    assert_fails("train --config idle.yaml --out unborn", 1,
                 "note: idle.yaml: these keys have no effect here: model.enc_dir, training.checkpoint_list\n");
    assert_contains(said, "model.use_ema is 'false'");
}

/* Keys of a configuration are text, and nothing for the terminal to obey. */
static void test_train_idle_keys_obey_nothing(void **state) {
    (void)state;
    write_text("owned.yaml", "\"\\e]0;owned\\a\\e[2J\": 1\nmodel: {use_ema: false}\n");
    assert_fails("train --config owned.yaml --out unborn", 1, "have no effect here: ?]0;owned??[2J\n");
}

/* So is what a checkpoint says of itself. */
static void test_train_notes_obey_nothing(void **state) {
    (void)state;
    char data[] = "idx", place[] = "da\033[2Jta";
    TimConfig config = small_config(TIM_TRANSPORT_OT_FM);
    config.data_type = data, config.data_dir = place;
    config.training.batch_size = 8, config.transition.use_dir_loss = false;
    assert_int_equal(symlink("data", in_folder(place)), 0);
    assert_int_equal(tim_config_write(&config, in_folder("escape.yaml"), &err), TIM_OK);
    assert_runs("train --config escape.yaml --out escape --steps 1");
    assert_runs("train --config train.yaml --out escape --steps 2");
    assert_contains(said, "note: data.dataset.data_dir: was da?[2Jta, is data\n");
}

static void test_train_resumed_otherwise_is_said(void **state) {
    (void)state;
    assert_runs("train --config train.yaml --out branches --steps 4");
    assert_runs("train --config train.yaml --out branches --steps 5 --batch 4 --seed 9");
    assert_contains(said, "note: data.dataloader.batch_size: was 8, is 4\n");
    assert_contains(said, "note: seed: was 0, is 9; the checkpoint's stays\n");
    assert_runs("train --config train.yaml --out branches --steps 4 --resume branches/checkpoints/checkpoint-4");
    assert_contains(said, "branches/checkpoints/checkpoint-5.abandoned\n");
}

/* It writes what it has learned: thousands of epochs are not waited for. */
static void test_classifier_interrupted_writes_the_file(void **state) {
    (void)state;
    char line[TEXT_BYTES];
    snprintf(
        line, sizeof line,
        "cd '%s' && { rm -f stdout; OMP_NUM_THREADS=1 '%s' classifier --train data:train --test data:test --epochs 10000 --batch 8 "
        "--out early.safetensors >stdout 2>stderr & } && until grep -q epoch stdout || ! kill -0 $!; do sleep 0.1; done && kill "
        "-TERM $! && wait "
        "$!",
        folder, program);
    const int status = system(line);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    read_text(in_folder("stdout"), out);
    assert_contains(out, "; interrupted\n");
    assert_int_equal(access(in_folder("early.safetensors"), R_OK), 0);
}

/* A preview that was asked for and cannot be made ends the run, which keeps what it has. */
static void test_train_preview_fails_saves_first(void **state) {
    (void)state;
    assert_int_equal(mkdir(in_folder("broken"), 0777), 0);
    write_text("broken/samples", "no folder");
    assert_int_equal(tim("train --config train.yaml --out broken --steps 4 --preview-every 2"), 1);
    assert_contains(said, "broken/samples");
    assert_int_equal(access(in_folder("broken/checkpoints/checkpoint-2/model.safetensors"), R_OK), 0);
}

static void test_eval_failures_exit_1_and_say_what(void **state) {
    (void)state;
    assert_fails("eval --model model --out report --classifier absent", 1, "tim eval: absent: ");
    assert_fails("eval --model absent --out report --classifier judge.safetensors", 1, "tim eval: absent");
    assert_fails("eval --pictures data:test --reference data:test", 1, "name the file as --classifier");
    assert_fails("eval --model model --out model/config.yaml/report --classifier judge.safetensors", 1,
                 "tim eval: model/config.yaml: cannot make the folder");
    assert_int_equal(mkdir(in_folder("shipped"), 0777), 0);
    write_text("shipped/report.json", "{}"); /* of another evaluation, which left nothing to go on from */
    assert_fails("eval --model model --out shipped --classifier judge.safetensors --reference data:test", 1,
                 "shipped/report.json is there");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tim_help_and_version),
        cmocka_unit_test(test_command_help_lists_every_option),
        cmocka_unit_test(test_command_line_wrong_exits_2_and_says_what),
        cmocka_unit_test(test_output_that_is_lost_exits_1),
        cmocka_unit_test(test_sample_sheet_has_all_pictures),
        cmocka_unit_test(test_sample_folder_holds_single_pictures),
        cmocka_unit_test(test_sample_npz_has_pictures_and_labels),
        cmocka_unit_test(test_sample_classes_by_name),
        cmocka_unit_test(test_sample_class_names_refused),
        cmocka_unit_test(test_sample_same_command_same_file),
        cmocka_unit_test(test_sample_first_goes_on_where_a_run_ended),
        cmocka_unit_test(test_sample_output_refused_before_drawing),
        cmocka_unit_test(test_sample_folder_is_not_overwritten),
        cmocka_unit_test(test_sample_like_draws_a_sheet_again),
        cmocka_unit_test(test_sample_like_reads_odd_paths_and_rounding),
        cmocka_unit_test(test_sample_side_of_0_is_the_models_own),
        cmocka_unit_test(test_sample_words_in_any_case),
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
        cmocka_unit_test(test_convert_bf16_model_draws),
        cmocka_unit_test(test_convert_missing_model_exits_1),
        cmocka_unit_test(test_convert_into_its_own_folder_refused),
        cmocka_unit_test(test_inspect_shows_model),
        cmocka_unit_test(test_inspect_json_is_json),
        cmocka_unit_test(test_inspect_any_safetensors),
        cmocka_unit_test(test_inspect_failures_exit_1),
        cmocka_unit_test(test_verify_says_what_would_run),
        cmocka_unit_test(test_verify_paths_obey_nothing),
        cmocka_unit_test(test_synth_writes_what_inspect_shows),
        cmocka_unit_test(test_demo_sheet_has_labels_and_pictures),
        cmocka_unit_test(test_demo_same_seed_same_sheet),
        cmocka_unit_test(test_demo_failures_say_what_and_the_remedy),
        cmocka_unit_test(test_bench_list_names_cases),
        cmocka_unit_test(test_bench_json_has_every_figure),
        cmocka_unit_test(test_train_previews_and_eval_judges),
        cmocka_unit_test(test_train_and_eval_of_few_words),
        cmocka_unit_test(test_train_classifier_is_opened_first),
        cmocka_unit_test(test_train_configuration_misread_is_said),
        cmocka_unit_test(test_train_idle_keys_obey_nothing),
        cmocka_unit_test(test_train_notes_obey_nothing),
        cmocka_unit_test(test_train_resumed_otherwise_is_said),
        cmocka_unit_test(test_classifier_interrupted_writes_the_file),
        cmocka_unit_test(test_train_preview_fails_saves_first),
        cmocka_unit_test(test_eval_judges_pictures_without_a_model),
        cmocka_unit_test(test_eval_pictures_as_json),
        cmocka_unit_test(test_eval_failures_exit_1_and_say_what),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
