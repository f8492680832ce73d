/* The program tim as a user meets it: the commands beside sample, from a model's files to its training and evaluation. Runs
 * ../cli/tim of its own build from the root of the sources; writes into a temporary directory. */
#include <limits.h>
#include <math.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <jansson.h>

#include "cli_fixture.h"
#include "tim/eval.h"
#include "tim/image.h"

/* ---- convert, inspect, verify, synth ---- */

static void test_convert_bf16_model_draws(void **state) {
    (void)state;
    assert_runs("convert --model model --out half");
    assert_runs("inspect half");
    assert_contains(printed, "BF16");
    assert_runs("sample --model half --steps 1 --classes 0 --out half.png");
}

static void test_convert_missing_model_exits_1(void **state) {
    (void)state;
    assert_fails("convert --model nowhere --out half2", 1, "nowhere");
    assert_fails("convert --model model", 2, "--out");
}

/* What is in the folder is another model's. */
static void test_convert_and_synth_replace_only_when_told(void **state) {
    (void)state;
    write_text("two.json", "{\"tensors\": {\"a.weight\": [2]}}");
    assert_runs("convert --model model --out there");
    assert_runs("synth two.json two");
    assert_fails("convert --model model --out there --precision fp32", 1,
                 "there/model.safetensors is there already; give --overwrite to replace it, or another folder");
    assert_fails("synth two.json two", 1, "two/model.safetensors is there already; give --overwrite");
    assert_int_equal(unlink(in_folder("there/model.safetensors")), 0);
    assert_fails("convert --model model --out there", 1, "there/config.yaml is there already");
    assert_runs("convert --model model --out there --precision fp32 --overwrite");
    assert_runs("synth two.json two --overwrite");
    assert_fails("convert --model there --out there --overwrite", 1, "give another folder");
    assert_int_equal(mkdir(in_folder("plan"), 0777), 0);
    write_text("plan/config.json", "{\"tensors\": {\"a.weight\": [2]}}");
    assert_fails("synth plan/config.json plan --overwrite", 1, "'plan/config.json' is the manifest, and would be replaced");
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
    assert_int_equal(mkdir(in_folder("best"), 0777), 0);
    assert_int_equal(symlink("../own/model.safetensors", in_folder("best/model.safetensors")), 0);
    assert_fails("convert --model best/model.safetensors --config kept/config.yaml --out own", 1, "give another folder");
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
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) assert_contains(printed, parts[i]);
    assert_string_equal(said, "");
    assert_runs("inspect model/config.yaml"); /* the configuration alone */
    assert_contains(printed, "class-to-image");
    assert_null(strstr(printed, " parameters in "));
}

static void test_inspect_json_is_json(void **state) {
    (void)state;
    json_error_t cause;
    assert_runs("inspect --json model/model.safetensors");
    json_t *root = json_loads(printed, JSON_REJECT_DUPLICATES, &cause);
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

static void test_inspect_any_safetensors_shows_its_tensors(void **state) {
    (void)state;
    TimSafetensorsWriter writer;
    const size_t dims[] = {2, 3};
    const int64_t data[6] = {0};
    assert_int_equal(mkdir(in_folder("other"), 0777), 0);
    assert_ok(tim_safetensors_writer_init(&writer, &err));
    assert_ok(tim_safetensors_writer_add(&writer, "bad\033[31mname", TIM_I64, 2, dims, data, &err));
    assert_ok(tim_safetensors_writer_add(&writer, "a\xC2\x9Bm\xC2\xA0z", TIM_U8, 0, NULL, data, &err));
    assert_ok(tim_safetensors_writer_save(&writer, in_folder("other/any.safetensors"), &err));
    tim_safetensors_writer_done(&writer);
    assert_runs("inspect other/any.safetensors");
    assert_contains(printed, "7 parameters in 2 tensors, 49 bytes");
    assert_contains(printed, "bad [31mname");
    assert_contains(printed, "(2, 3)");
    assert_contains(printed, "U8    ()");
    assert_contains(printed, "a m\xC2\xA0z"); /* U+009B is the terminal's too, U+00A0 a space */
    assert_null(strchr(printed, '\033'));

    write_text("other/config.yaml", "model: {network: {target: another.Program}}\n");
    assert_runs("inspect other/any.safetensors"); /* not asked for: said, and the tensors are shown */
    assert_contains(said, "other/config.yaml");
    assert_contains(printed, "7 parameters");
    assert_fails("inspect other/any.safetensors --config other/config.yaml", 1, "other/config.yaml");
    assert_runs("inspect --json other/any.safetensors");
    json_t *root = json_loads(printed, 0, NULL);
    assert_non_null(root);
    assert_true(json_is_null(json_object_get(root, "config")));
    json_decref(root);
    assert_contains(printed, "\"bad\\u001b[31mname\"");
    assert_contains(printed, "\"a\\u009bm\xC2\xA0z\"");
}

static void test_inspect_failures_exit_1(void **state) {
    (void)state;
    assert_fails("inspect nowhere", 1, "nowhere");
    write_text("bad.yaml", "model: {network: {target: another.Program}}\n");
    assert_fails("inspect bad.yaml", 1, "bad.yaml");
    write_text("bad.json", "{");
    assert_fails("inspect bad.json", 1, "bad.json");
    assert_fails("inspect .", 1, "none of model.safetensors");
}

static void test_verify_says_what_would_run(void **state) {
    (void)state;
    assert_runs("verify --model model");
    assert_contains(printed, "all parts are there and fit each other");
    assert_string_equal(said, "");
    assert_exits("verify --model nowhere", "", 1);
    assert_runs("verify --model model --tokenizer nowhere");
    assert_string_equal(said, "tim verify: the model draws classes: --tokenizer has no effect\n");
}

/* Folders and files may have any name. */
static void test_verify_paths_obey_nothing(void **state) {
    (void)state;
    assert_int_equal(symlink("model", in_folder("mo\033]0;del\a")), 0);
    assert_runs("verify --model 'mo\033]0;del\a'");
    assert_contains(printed, "mo?]0;del?/model.safetensors");
}

static void test_synth_writes_what_inspect_shows(void **state) {
    (void)state;
    static const char manifest[] = "{\"tensors\": {\"a.weight\": [2, 3]}}";
    write_text("manifest.json", manifest);
    assert_runs("synth manifest.json made/up --precision fp32");
    assert_contains(printed, "1 tensors");
    assert_runs("inspect made/up");
    assert_contains(printed, "a.weight");
    assert_fails("synth nowhere.json made/there", 1, "nowhere.json");
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
    save_model(name, &config);
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
    assert_ok(tim_sheet_draw(&image, &sheet, &err));
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
    assert_true(strlen(printed) > (size_t)length);
    assert_string_equal(printed + strlen(printed) - (size_t)length, end);
}

static void test_demo_sheet_has_labels_and_pictures(void **state) {
    (void)state;
    TimImage sheet, blank = blank_demo_sheet();
    save_demo_model("models");
    assert_int_equal(mkdir(in_folder("deep"), 0777), 0); /* one folder is there, one is made */
    assert_runs("demo --model models --out deep/demo --seed 3 --threads 1");
    assert_contains(printed, "models: 0.");
    assert_contains(printed, "\n  32 evaluations ");
    assert_ends_with_path("deep/demo/sheet.png");
    assert_ok(tim_image_read_png(&sheet, in_folder("deep/demo/sheet.png"), &err));
    assert_same_frame(&sheet, &blank);
    tim_image_done(&sheet);
    tim_image_done(&blank);
}

/* A report that an earlier model left: its figures are not this one's. */
static void test_demo_report_of_other_weights_is_left_out(void **state) {
    (void)state;
    char page[PATH_MAX];
    save_demo_model("models");
    FILE *stream = fopen(in_folder("models/report.json"), "w");
    assert_non_null(stream);
    fputs("{\"format\": \"tim-report\", \"version\": 1, \"model\": {\"hash\": \"0123456789abcdef\"},"
          " \"rows\": [{\"mode\": \"transition\", \"steps\": 1, \"evaluations\": 1}]}",
          stream);
    fclose(stream);
    assert_runs("demo --model models --out other-report --seed 3");
    assert_contains(said, "note: no page: models/report.json: is of other weights (0123456789ab...) than these (");
    assert_runs("demo --model models/model.safetensors --out other-report --seed 3");
    assert_contains(said, "note: no page: models/report.json: is of other weights (0123456789ab...) than these (");
    assert_ends_with_path("other-report/sheet.png");
    snprintf(page, sizeof page, "%s", in_folder("other-report/index.html"));
    assert_int_equal(access(page, F_OK), -1);
    assert_int_equal(remove(in_folder("models/report.json")), 0);
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
    assert_exits("demo --model model --out model/config.yaml/demo", "", 1);
    assert_contains(said, "model/config.yaml: cannot make the folder");
    assert_null(strstr(said, "bootstrap")); /* the model is there */
}

/* ---- bench ---- */

static void test_bench_list_names_cases(void **state) {
    (void)state;
    assert_runs("bench --list");
    assert_contains(printed, "train_small:jvp\n");
    assert_contains(printed, "\nxl256\n");
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
    json_t *root = json_loads(printed, JSON_REJECT_DUPLICATES, NULL);
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

/* PICTURES pictures of CLASSES classes in the folder `data`, once to learn from and once as test pictures: class k is a bar in row
 * 2 k. */
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
    assert_ok(tim_config_write(&config, in_folder("train.yaml"), &err));
}

static void test_train_previews_and_eval_judges(void **state) {
    (void)state;
    char log[TEXT_BYTES];
    write_pictures();
    write_training_config();
    assert_runs("classifier --train data:train --test data:test --epochs 3 --batch 8 --out judge.safetensors");
    assert_contains(printed, "epoch  3 of 3");
    assert_runs(
        "train --config train.yaml --out run --steps 4 --preview-every 2 --classifier judge.safetensors --reference data:test "
        "--preview-pictures 20");
    assert_contains(said, "step      2   at 1: Frechet");
    read_text(in_folder("run/log.jsonl"), log);
    assert_contains(log, "{\"step\": 2, \"pictures\": 20, \"frechet_1\": ");
    TimImage sheet;
    assert_ok(tim_image_read_png(&sheet, in_folder("run/samples/step-000004.png"), &err));
    assert_true(sheet.width > 3 * SIDE * CLASSES && sheet.height > 3 * SIDE * 5);
    tim_image_done(&sheet);
    assert_runs(
        "eval --model run/checkpoints/checkpoint-4 --classifier judge.safetensors --reference data:test --training data:train "
        "--steps 1,2 --samples 16 --seeds 2 --out report");
    assert_contains(printed, "  8 of 8  diffusion ");
    assert_contains(printed, "report/report.html");
    assert_int_equal(access(in_folder("report/report.json"), R_OK), 0);
}

/* Pictures from elsewhere: the reference itself is as near as can be, knows its classes, and has no report. */
static void test_eval_judges_pictures_without_a_model(void **state) {
    (void)state;
    assert_runs("eval --pictures data:test --classifier judge.safetensors --reference data:test --training data:train");
    assert_contains(printed, "80 pictures of data:test against data:test\n");
    assert_contains(printed, "\nthese pictures ");
    assert_contains(printed, "\nreal pictures ");
    assert_contains(printed, "1.000   1.000    100.0 %");
    assert_fails("eval --pictures absent --classifier judge.safetensors --reference data:test", 1, "tim eval: absent");
    assert_fails("eval --pictures data:test --model model --classifier judge.safetensors", 2, "either --model");
    assert_fails("eval --classifier judge.safetensors", 2, "either --model");
    assert_fails("eval --pictures data:test --out report", 2, "--out has no effect on --pictures");
    assert_fails("eval --pictures data:test --samples 5", 2, "--samples has no effect on --pictures");
    assert_fails("eval --pictures data:test --suite adm --training data:train", 2,
                 "--training has no effect on --pictures with --suite adm");
    assert_fails("eval --model model", 2, "--model wants --out");
    assert_fails("eval --model model --out report --suite adm", 2, "--suite adm judges --pictures");
    assert_fails("eval --pictures data:test --reference data:test --suite adm", 2, "wants the weights of the FID network");
    assert_fails("eval --pictures data:test --reference data:test --classifier judge.safetensors --suite adm", 1,
                 "judge.safetensors: the tensor 'fc.weight' (1008, 2048) is missing");
}

/* A path need not be UTF-8, and JSON must be. */
static void test_eval_json_of_any_path_parses(void **state) {
    (void)state;
    assert_int_equal(symlink("data", in_folder("d\xE9\xC3\xA9")), 0);
    assert_runs("eval --pictures 'd\xE9\xC3\xA9:test' --classifier judge.safetensors --reference data:test --json");
    json_t *own = json_loads(printed, 0, NULL);
    assert_non_null(own);
    assert_string_equal(json_string_value(json_object_get(own, "pictures")), "d\xEF\xBF\xBD\xC3\xA9:test");
    json_decref(own);
}

static double real_of(const json_t *object, const char *key) {
    const json_t *value = json_object_get(object, key);
    assert_true(json_is_number(value));
    return json_number_value(value);
}

/* The numbers of a program that reads them: of our own features with those of real pictures beside, and ADM's of Inception. */
static void test_eval_pictures_json_has_every_figure(void **state) {
    (void)state;
    char words[2 * PATH_MAX], manifest[PATH_MAX], hash[TIM_HASH_TEXT];
    json_error_t at;
    assert_runs("eval --pictures data:test --classifier judge.safetensors --reference data:test --training data:train --json");
    json_t *own = json_loads(printed, JSON_REJECT_DUPLICATES, &at);
    assert_non_null(own);
    assert_int_equal(json_integer_value(json_object_get(own, "count")), 80);
    assert_ok(tim_weights_hash(hash, in_folder("judge.safetensors"), &err));
    assert_string_equal(json_string_value(json_object_get(own, "features_sha256")), hash);
    assert_true(real_of(own, "agreement") == 1 && real_of(own, "recall") == 1 && real_of(own, "real_agreement") == 1);
    json_decref(own);
    assert_non_null(realpath("tests/golden/manifests/inception_v3_fid.json", manifest));
    snprintf(words, sizeof words, "synth %s inception", manifest);
    assert_runs(words);
    assert_runs("sample --model model --out judged/ --count 5");
    assert_runs("eval --suite adm --pictures judged --reference judged --classifier inception --json");
    json_t *adm = json_loads(printed, JSON_REJECT_DUPLICATES, &at);
    assert_non_null(adm);
    assert_int_equal(json_integer_value(json_object_get(adm, "reference_count")), 5);
    assert_true(fabs(real_of(adm, "fid")) < 1e-6 && fabs(real_of(adm, "sfid")) < 1e-6 && real_of(adm, "precision") == 1);
    assert_true(real_of(adm, "inception_score") >= 1 && json_is_false(json_object_get(adm, "reference_statistics")));
    json_decref(adm);
    assert_runs("eval --suite adm --pictures judged --reference judged --classifier inception");
    assert_contains(printed, "5 pictures of judged against 5 of judged, as ADM's evaluation suite\n");
    assert_contains(printed, "features of inception, SHA-256 ");
    assert_fails("eval --model model --out report --json", 2, "--json is of --pictures");
}

/* Options that the longer runs leave out. */
static void test_train_and_eval_options_of_shorter_runs_hold(void **state) {
    (void)state;
    char text[TEXT_BYTES];
    assert_runs(
        "train --config train.yaml --out brief --steps 100000 --minutes 0.03 --log-every 1 --lr 1e-4 --micro-batch 3 --threads 1");
    read_text(in_folder("brief/log.jsonl"), text);
    assert_contains(text, "{\"step\": 1, ");
    assert_contains(text, "\"lr\": 3.125e-06,"); /* times the batch of 8, by the published 256 */
    assert_null(strstr(text, "{\"step\": 100000, "));
    static const char *const precisions[][2] = {{"fp32", "mixed_precision: \"no\"\n"}, {"bf16", "mixed_precision: \"bf16\"\n"}};
    for (int i = 0; i < 2; i++) {
        char words[128];
        snprintf(words, sizeof words, "train --config train.yaml --out %s --steps 1 --isa generic --precision %s", precisions[i][0],
                 precisions[i][0]);
        assert_runs(words);
        snprintf(words, sizeof words, "%s/configs/config.yaml", precisions[i][0]);
        read_text(in_folder(words), text);
        assert_contains(text, precisions[i][1]);
    }
    assert_runs(
        "eval --model run/checkpoints/checkpoint-4 --classifier judge.safetensors --reference data:test --training data:train "
        "--samples 20 --seeds 1 --steps 1 --no-diffusion --out brief/report --threads 1");
    assert_null(strstr(printed, "diffusion"));
    assert_int_equal(access(in_folder("brief/report/report.html"), R_OK), 0);
    const char *again =
        "eval --model run/checkpoints/checkpoint-4 --config train.yaml --classifier judge.safetensors --reference data:test "
        "--samples 20 "
        "--seeds 1 --steps 1 --no-diffusion --out brief/report --threads 1 --seed 5 --batch 7 --precision fp32 --isa generic";
    char words[512];
    assert_fails(again, 1, "tells of an evaluation with seed=0, and this is one with seed=5; ask for the same to go on with it");
    snprintf(words, sizeof words, "%s --overwrite", again);
    assert_runs(words);
    json_t *report = json_load_file(in_folder("brief/report/report.json"), 0, NULL);
    const json_t *r = json_object_get(report, "run");
    assert_true(json_integer_value(json_object_get(r, "first_seed")) == 5 && json_integer_value(json_object_get(r, "batch")) == 7);
    assert_string_equal(json_string_value(json_object_get(r, "precision")), "fp32");
    assert_string_equal(json_string_value(json_object_get(r, "isa")), "generic");
    json_decref(report);
    assert_runs("classifier --train data:train --test data:test --epochs 1 --batch 8 --out a.safetensors");
    assert_runs("classifier --train data:train --test data:test --epochs 1 --batch 8 --out b.safetensors --seed 1");
    assert_runs("classifier --train data:train --test data:test --epochs 1 --batch 8 --out d.safetensors --lr 1e-4");
    static const char *const others[] = {"b.safetensors", "d.safetensors"};
    for (int i = 0; i < 2; i++) assert_same_files(in_folder("a.safetensors"), in_folder(others[i]), false);
}

/* What stands in where nothing is named is Fashion-MNIST's, and a distance from it says nothing of other pictures. */
static void test_own_pictures_are_not_judged_as_fashion(void **state) {
    (void)state;
    char log[TEXT_BYTES];
    assert_shell("mkdir -p judge && cp judge.safetensors judge/model.safetensors");
    assert_fails(
        "eval --model run/checkpoints/checkpoint-4 --classifier judge --out own", 1,
        "has learned pictures of data, not Fashion-MNIST: name real ones as --reference, such as data:test, and a classifier");
    assert_runs(
        "eval --model run/checkpoints/checkpoint-4 --classifier judge --reference data:test --samples 20 --seeds 1 --steps 1 "
        "--no-diffusion --out own");
    assert_runs("train --config train.yaml --out mine --steps 1 --preview-every 1 --classifier judge --preview-pictures 20");
    read_text(in_folder("mine/log.jsonl"), log);
    assert_contains(log, "\"frechet_1\": ");
}

/* Where the run was written to is what its user has in mind. */
static void test_a_runs_folder_is_told_from_a_models(void **state) {
    (void)state;
    assert_fails("sample --model run --out x.png", 1,
                 "run: is the folder of a training; give one of its checkpoints, run/checkpoints/checkpoint-N");
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
    assert_ok(tim_config_write(&config, in_folder("escape.yaml"), &err));
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

/* What is printed must not land in a file that took the place of the closed output, and that it was lost shows. */
static void test_eval_closed_output_keeps_what_is_finished(void **state) {
    (void)state;
    char text[TEXT_BYTES];
    assert_shell("{ \"$tim\" eval --model run/checkpoints/checkpoint-4 --classifier judge.safetensors --reference data:test "
                 "--steps 1,2 --samples 16 --seeds 1 --out silent >&- 2>stderr; test $? = 1; }");
    read_text(in_folder("stderr"), text);
    assert_contains(text, "the standard output cannot be written");
    read_text(in_folder("silent/finished.txt"), text);
    assert_null(strstr(text, "Frechet"));
}

/* "tim WORDS", ended by SIGTERM once the shell's `begun` holds, exits with `code`. */
static void assert_interrupted(const char *words, const char *begun, int code) {
    char line[TEXT_BYTES];
    assert_true(snprintf(line, sizeof line,
                         "{ rm -f stdout; OMP_NUM_THREADS=1 \"$tim\" %s >stdout 2>stderr & } && until %s || ! kill -0 $!; do "
                         "sleep 0.02; done && kill -TERM $! && { wait $!; test $? = %d; }",
                         words, begun, code) < (int)sizeof line);
    assert_shell(line);
    read_text(in_folder("stdout"), printed);
    read_text(in_folder("stderr"), said);
}

/* Nothing that cannot become whole is left on the disk. */
static void test_sample_interrupted_leaves_no_part_of_an_npz(void **state) {
    (void)state;
    assert_interrupted("sample --model model --count 1000000 --out part.npz", "test -e part.npz.tmp", 1);
    assert_contains(said, "sampling was stopped");
    assert_shell("test ! -e part.npz.tmp && test ! -e part.npz");
}

/* It writes what it has learned: thousands of epochs are not waited for. */
static void test_classifier_interrupted_writes_the_file(void **state) {
    (void)state;
    assert_interrupted("classifier --train data:train --test data:test --epochs 10000 --batch 8 --out early.safetensors",
                       "grep -q epoch stdout", 128 + SIGTERM);
    assert_contains(printed, "; interrupted\n");
    assert_int_equal(access(in_folder("early.safetensors"), R_OK), 0);
}

/* As with `| tee` when Ctrl-C ends both: whoever read what is said is gone, and nothing that was learned is lost. */
static void test_train_whose_reader_is_gone_saves(void **state) {
    (void)state;
    assert_shell("{ sleep 0.2; exec \"$tim\" train --config train.yaml --out unread --steps 4 --log-every 1; } 2>&1 | true");
    assert_int_equal(access(in_folder("unread/checkpoints/checkpoint-4/model.safetensors"), R_OK), 0);
}

/* nohup and shells say so for what runs in the background: it is not for Ctrl-C to end. */
static void test_train_ignored_signal_does_not_end_it(void **state) {
    (void)state;
    assert_shell(
        "{ (trap '' INT HUP; exec \"$tim\" train --config train.yaml --out deaf --steps 40 >stdout 2>stderr) & } && until "
        "test -s deaf/configs/config.yaml || ! kill -0 $!; do sleep 0.02; done && kill -INT $! && kill -HUP $! && wait $!");
    read_text(in_folder("stdout"), printed);
    assert_contains(printed, "deaf: done after 40 of 40 steps");
}

/* A preview that was asked for and cannot be made ends the run, which keeps what it has. */
static void test_train_preview_fails_saves_first(void **state) {
    (void)state;
    assert_int_equal(mkdir(in_folder("broken"), 0777), 0);
    write_text("broken/samples", "no folder");
    assert_exits("train --config train.yaml --out broken --steps 4 --preview-every 2", "", 1);
    assert_contains(said, "broken/samples");
    assert_contains(printed, "broken: a preview failed after 2 of 4 steps");
    assert_int_equal(access(in_folder("broken/checkpoints/checkpoint-2/model.safetensors"), R_OK), 0);
}

/* Who ends a run does not wait until ten thousand pictures are drawn and judged. */
static void test_train_interrupted_in_a_preview_saves_at_once(void **state) {
    (void)state;
    assert_interrupted(
        "train --config train.yaml --out hasty --steps 40 --preview-every 1 --classifier judge.safetensors --reference "
        "data:test --preview-pictures 10000",
        "test -e hasty/samples/step-000001.png", 128 + SIGTERM);
    assert_shell("! grep -q frechet hasty/log.jsonl");
    assert_contains(printed, "hasty: interrupted after 1 of 40 steps");
    assert_int_equal(access(in_folder("hasty/checkpoints/checkpoint-1/model.safetensors"), R_OK), 0);
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
        cmocka_unit_test(test_convert_bf16_model_draws),
        cmocka_unit_test(test_convert_missing_model_exits_1),
        cmocka_unit_test(test_convert_into_its_own_folder_refused),
        cmocka_unit_test(test_convert_and_synth_replace_only_when_told),
        cmocka_unit_test(test_inspect_shows_model),
        cmocka_unit_test(test_inspect_json_is_json),
        cmocka_unit_test(test_inspect_any_safetensors_shows_its_tensors),
        cmocka_unit_test(test_inspect_failures_exit_1),
        cmocka_unit_test(test_verify_says_what_would_run),
        cmocka_unit_test(test_verify_paths_obey_nothing),
        cmocka_unit_test(test_synth_writes_what_inspect_shows),
        cmocka_unit_test(test_demo_sheet_has_labels_and_pictures),
        cmocka_unit_test(test_demo_report_of_other_weights_is_left_out),
        cmocka_unit_test(test_demo_same_seed_same_sheet),
        cmocka_unit_test(test_demo_failures_say_what_and_the_remedy),
        cmocka_unit_test(test_bench_list_names_cases),
        cmocka_unit_test(test_bench_json_has_every_figure),
        cmocka_unit_test(test_train_previews_and_eval_judges),
        cmocka_unit_test(test_train_and_eval_options_of_shorter_runs_hold),
        cmocka_unit_test(test_own_pictures_are_not_judged_as_fashion),
        cmocka_unit_test(test_a_runs_folder_is_told_from_a_models),
        cmocka_unit_test(test_train_classifier_is_opened_first),
        cmocka_unit_test(test_train_configuration_misread_is_said),
        cmocka_unit_test(test_train_idle_keys_obey_nothing),
        cmocka_unit_test(test_train_notes_obey_nothing),
        cmocka_unit_test(test_train_resumed_otherwise_is_said),
        cmocka_unit_test(test_eval_closed_output_keeps_what_is_finished),
        cmocka_unit_test(test_sample_interrupted_leaves_no_part_of_an_npz),
        cmocka_unit_test(test_classifier_interrupted_writes_the_file),
        cmocka_unit_test(test_train_whose_reader_is_gone_saves),
        cmocka_unit_test(test_train_ignored_signal_does_not_end_it),
        cmocka_unit_test(test_train_preview_fails_saves_first),
        cmocka_unit_test(test_train_interrupted_in_a_preview_saves_at_once),
        cmocka_unit_test(test_eval_judges_pictures_without_a_model),
        cmocka_unit_test(test_eval_json_of_any_path_parses),
        cmocka_unit_test(test_eval_pictures_json_has_every_figure),
        cmocka_unit_test(test_eval_failures_exit_1_and_say_what),
    };
    return cmocka_run_group_tests(tests, set_up, remove_all);
}
