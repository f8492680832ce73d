/* The judge: its classifier learns, what it says of pictures is right where the answer is known, and an evaluation reports it.
 * Pictures are made here: gray, 8 x 8, a bright quadrant says the class. Writes into a temporary directory only. */
#include <limits.h>
#include <locale.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

#include "base/memory.h"
#include "base/rng.h"
#include "eval/finished.h"
#include "eval/judge.h"
#include "eval/report_parts.h"
#include "eval/subject.h"
#include "io/file.h"
#include "io/safetensors.h"
#include "model/store.h"
#include "small_model.h"
#include "tim/bench.h"
#include "tim/eval.h"

enum { TRAIN = 800, TEST = 200, PATH_BYTES = 256 };

static char folder[] = "/tmp/tim-judge-XXXXXX";
static TimError err;
static uint8_t train_pixels[TRAIN * PIXELS], test_pixels[TEST * PIXELS];
static int64_t train_labels[TRAIN], test_labels[TEST];

/* A path in the temporary directory; eight may be in use at a time. */
static const char *in_folder(const char *name) {
    static char paths[8][PATH_BYTES];
    static int turn;
    char *path = paths[turn++ % 8];
    snprintf(path, PATH_BYTES, "%s/%s", folder, name);
    return path;
}

/* ---- fixtures ---- */

/* Noise everywhere, and 100 more in the quadrant of the class: mirroring moves it, so classes come in left-right pairs of one
 * quadrant row: class k is bright in row k / 2, thin where k is even and wide where it is odd. */
static void make_picture(uint8_t *out, int64_t label, uint64_t seed, uint64_t index) {
    float noise[PIXELS];
    tim_rng_uniform(noise, PIXELS, seed, index, 0);
    for (int p = 0; p < PIXELS; p++) {
        const int y = p / SIDE, x = p % SIDE, low = label % 2 ? 1 : 3;
        const bool bright = y / (SIDE / 2) == label / 2 && x >= low && x < SIDE - low;
        out[p] = (uint8_t)(60.0F * noise[p] + (bright ? 130.0F : 20.0F));
    }
}

static void make_set(uint8_t *pixels, int64_t *labels, int64_t count, uint64_t seed) {
    for (int64_t i = 0; i < count; i++) {
        labels[i] = i % CLASSES;
        make_picture(pixels + i * PIXELS, labels[i], seed, (uint64_t)i);
    }
}

static TimClassifierOptions training_options(void) {
    TimClassifierOptions o;
    tim_classifier_options_init(&o);
    o.train = in_folder("train.npz"), o.test = in_folder("test.npz"), o.out = in_folder("judge.safetensors");
    o.epochs = 4, o.batch = 40;
    return o;
}

static int set_up(void **state) {
    (void)state;
    if (!mkdtemp(folder)) return -1;
    make_set(train_pixels, train_labels, TRAIN, 1);
    make_set(test_pixels, test_labels, TEST, 2);
    if (tim_npz_write_adm(in_folder("train.npz"), train_pixels, TRAIN, SIDE, SIDE, 1, train_labels, &err)) return -1;
    if (tim_npz_write_adm(in_folder("test.npz"), test_pixels, TEST, SIDE, SIDE, 1, test_labels, &err)) return -1;
    const TimClassifierOptions options = training_options();
    return tim_classifier_train(&options, NULL, &err) == TIM_OK ? 0 : -1;
}

static int tear_down(void **state) {
    (void)state;
    static const char *const names[] = {"train.npz",
                                        "test.npz",
                                        "judge.safetensors",
                                        "again.safetensors",
                                        "plain.safetensors",
                                        "even.npz",
                                        "report/report.json",
                                        "report/report.html",
                                        "report/finished.txt",
                                        "report",
                                        "model/config.yaml",
                                        "model/model.safetensors",
                                        "model",
                                        "rows.json",
                                        "parts/config.yaml",
                                        "parts/model.safetensors.index.json",
                                        "parts/even.safetensors",
                                        "parts/odd.safetensors",
                                        "parts"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) remove(in_folder(names[i]));
    return rmdir(folder);
}

static TimJudge *open_judge(const char *training) {
    TimJudge *judge;
    const TimJudgeOptions o = {
        .classifier = in_folder("judge.safetensors"), .reference = in_folder("test.npz"), .training = training, .threads = 1};
    assert_int_equal(tim_judge_open(&judge, &o, &err), TIM_OK);
    return judge;
}

static TimPictures pictures_of(uint8_t *pixels, int64_t count) {
    return (TimPictures){.pixels = pixels, .count = count, .height = SIDE, .width = SIDE, .channels = 1};
}

static void assert_fails(TimStatus status, TimStatus expected, const char *part) {
    assert_int_equal(status, expected);
    if (!strstr(err.text, part)) fail_msg("the error '%s' does not speak of '%s'", err.text, part);
}

/* ---- the classifier ---- */

static void test_classifier_learns_and_file_keeps_it(void **state) {
    (void)state;
    TimClassifier c;
    float logits[TEST * CLASSES];
    int hits = 0;
    assert_int_equal(tim_classifier_open(&c, in_folder("judge.safetensors"), tim_isa_best(), 1, &err), TIM_OK);
    tim_classifier_run(&c, test_pixels, TEST, NULL, logits);
    for (int i = 0; i < TEST; i++) hits += tim_classifier_class(logits + i * CLASSES, CLASSES) == test_labels[i];
    assert_true(hits >= 0.97 * TEST);
    assert_true(fabs(c.test_accuracy - (double)hits / TEST) < 1e-4);
    tim_classifier_done(&c);
}

static bool same_bytes(const char *name, const char *other) {
    FILE *a = fopen(in_folder(name), "rb"), *b = fopen(in_folder(other), "rb");
    assert_true(a && b);
    int x, y;
    do x = getc(a), y = getc(b);
    while (x == y && x != EOF);
    fclose(a), fclose(b);
    return x == y;
}

static void test_classifier_twice_gives_same_bits(void **state) {
    (void)state;
    TimClassifierOptions o = training_options();
    o.out = in_folder("again.safetensors");
    assert_int_equal(tim_classifier_train(&o, NULL, &err), TIM_OK);
    assert_true(same_bytes("judge.safetensors", "again.safetensors"));
    o.no_mirror = true;
    assert_int_equal(tim_classifier_train(&o, NULL, &err), TIM_OK);
    assert_false(same_bytes("judge.safetensors", "again.safetensors"));
}

/* Pictures that are their own mirror images train the same with and without: the shifts stay. */
static void test_classifier_mirrors_and_does_nothing_else(void **state) {
    (void)state;
    static uint8_t pixels[TRAIN * PIXELS];
    for (int i = 0; i < TRAIN * PIXELS; i++) {
        const int x = i % SIDE, row = i - x;
        pixels[i] = train_pixels[row + (x < SIDE / 2 ? x : SIDE - 1 - x)];
    }
    assert_int_equal(tim_npz_write_adm(in_folder("even.npz"), pixels, TRAIN, SIDE, SIDE, 1, train_labels, &err), TIM_OK);
    TimClassifierOptions o = training_options();
    o.train = in_folder("even.npz"), o.out = in_folder("again.safetensors"), o.epochs = 1;
    assert_int_equal(tim_classifier_train(&o, NULL, &err), TIM_OK);
    o.out = in_folder("plain.safetensors"), o.no_mirror = true;
    assert_int_equal(tim_classifier_train(&o, NULL, &err), TIM_OK);
    assert_true(same_bytes("again.safetensors", "plain.safetensors"));
}

/* The batch a picture is run in changes nothing, also where the last one is not full. */
static void test_classifier_batches_do_not_matter(void **state) {
    (void)state;
    TimClassifier c;
    float whole[TEST * TIM_CLASSIFIER_FEATURES], one[TIM_CLASSIFIER_FEATURES];
    assert_int_equal(tim_classifier_open(&c, in_folder("judge.safetensors"), tim_isa_best(), 2, &err), TIM_OK);
    tim_classifier_run(&c, test_pixels, TEST, whole, NULL);
    for (int i = 0; i < TEST; i += 37) {
        tim_classifier_run(&c, test_pixels + i * PIXELS, 1, one, NULL);
        for (int k = 0; k < TIM_CLASSIFIER_FEATURES; k++)
            assert_true(fabsf(one[k] - whole[i * TIM_CLASSIFIER_FEATURES + k]) < 1e-5F);
    }
    tim_classifier_done(&c);
}

static void test_classifier_bad_options_named(void **state) {
    (void)state;
    TimClassifierOptions o = training_options();
    o.epochs = 0;
    assert_fails(tim_classifier_train(&o, NULL, &err), TIM_E_ARGUMENT, "epochs is 0");
    o = training_options(), o.threads = -1;
    assert_fails(tim_classifier_train(&o, NULL, &err), TIM_E_ARGUMENT, "threads is -1; give 1 to 4096");
    o = training_options(), o.threads = 4097;
    assert_fails(tim_classifier_train(&o, NULL, &err), TIM_E_ARGUMENT, "threads is 4097; give 1 to 4096");
    o = training_options(), o.batch = TRAIN + 1;
    assert_fails(tim_classifier_train(&o, NULL, &err), TIM_E_ARGUMENT, "fewer than the batch of 801");
    static const uint8_t flat[4 * 2 * 40] = {0};
    static const int64_t labels[4] = {0, 1, 0, 1};
    assert_int_equal(tim_npz_write_adm(in_folder("flat.npz"), flat, 4, 2, 40, 1, labels, &err), TIM_OK);
    o = training_options(), o.train = in_folder("flat.npz"), o.batch = 2;
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s", o.train);
    o.train = o.test = path;
    assert_fails(tim_classifier_train(&o, NULL, &err), TIM_E_ARGUMENT, "pictures of 40 x 2, and a classifier's are 4 to 1024");
    assert_int_equal(remove(path), 0);
    o = training_options(), o.learning_rate = 1e30;
    assert_fails(tim_classifier_train(&o, NULL, &err), TIM_E_ARGUMENT,
                 "the gradient of step 2 is not finite; give a learning rate below 1e+30");
    o = training_options(), o.learning_rate = NAN;
    assert_fails(tim_classifier_train(&o, NULL, &err), TIM_E_ARGUMENT, "learning rate");
    o = training_options(), o.train = in_folder("absent");
    assert_fails(tim_classifier_train(&o, NULL, &err), TIM_E_IO, "absent");
    o = training_options(), o.out = in_folder("train.npz/such/folder");
    assert_fails(tim_classifier_train(&o, NULL, &err), TIM_E_IO, "train.npz: cannot make the folder");
}

/* The largest shape that metadata may ask for would take 350 MB before its weights were missed; numbers of another name are. */
static void test_classifier_file_of_other_kind_refused(void **state) {
    (void)state;
    const TimClassifierShape largest = {4, 1024, 1024, 100000}, shape = {1, SIDE, SIDE, CLASSES};
    static const float numbers[300000];
    static const int64_t dims[] = {sizeof numbers / sizeof *numbers};
    TimParams params = {0};
    TimClassifier c;
    int index;
    const char *path = in_folder("plain.safetensors");
    assert_int_equal(tim_classifier_save(&largest, NULL, &params, 0.5, path, &err), TIM_OK);
    assert_fails(tim_classifier_open(&c, path, tim_isa_best(), 1, &err), TIM_E_FORMAT,
                 "0 numbers, where a classifier of its metadata has 13187744");
    assert_int_equal(tim_params_add(&params, "other", 1, dims, TIM_INIT_ZERO, &index, &err), TIM_OK);
    assert_int_equal(tim_classifier_save(&shape, numbers, &params, 0.5, path, &err), TIM_OK);
    assert_fails(tim_classifier_open(&c, path, tim_isa_best(), 1, &err), TIM_E_FORMAT, "'other'");
    tim_classifier_done(&c);
    tim_params_done(&params);
}

static void test_classifier_damaged_file_names_the_tensor(void **state) {
    (void)state;
    TimClassifier c;
    char says[160];
    assert_int_equal(tim_classifier_open(&c, in_folder("judge.safetensors"), tim_isa_best(), 1, &err), TIM_OK);
    const char *path = in_folder("plain.safetensors");
    c.weights[c.params.items[1].offset + 2] = NAN;
    assert_int_equal(tim_classifier_save(&c.shape, c.weights, &c.params, 0.5, path, &err), TIM_OK);
    snprintf(says, sizeof says, "element 2 of the tensor '%s' is NaN; the file is damaged", c.params.items[1].name);
    tim_classifier_done(&c);
    assert_fails(tim_classifier_open(&c, path, tim_isa_best(), 1, &err), TIM_E_FORMAT, says);
}

static double saved_accuracy(double accuracy) {
    TimClassifier c;
    assert_int_equal(tim_classifier_open(&c, in_folder("judge.safetensors"), tim_isa_best(), 1, &err), TIM_OK);
    const char *path = in_folder("plain.safetensors");
    assert_int_equal(tim_classifier_save(&c.shape, c.weights, &c.params, accuracy, path, &err), TIM_OK);
    tim_classifier_done(&c);
    assert_int_equal(tim_classifier_open(&c, path, tim_isa_best(), 1, &err), TIM_OK);
    const double read = c.test_accuracy;
    tim_classifier_done(&c);
    return read;
}

/* A program that embeds the library may write its numbers with a comma; a file is the same for all. */
static void test_classifier_accuracy_survives_a_comma_locale(void **state) {
    (void)state;
    static const char *const locales[] = {"C", "de_DE.UTF-8", "fr_FR.UTF-8", "de_DE.utf8"};
    int tried = 0;
    for (size_t i = 0; i < sizeof locales / sizeof *locales; i++) {
        if (!setlocale(LC_NUMERIC, locales[i])) continue;
        tried++;
        const double read = saved_accuracy(0.93921), none = saved_accuracy(NAN);
        TimClassifier shipped;
        assert_int_equal(tim_classifier_open(&shipped, "models/fashion-judge/model.safetensors", tim_isa_best(), 1, &err), TIM_OK);
        const double known = shipped.test_accuracy;
        tim_classifier_done(&shipped);
        setlocale(LC_NUMERIC, "C");
        assert_true(read == 0.9392 && isnan(none) && known == 0.9392);
    }
    if (tried < 2) skip(); /* no locale with a comma */
}

/* The classifier that comes along, on Debian's test pictures: its file tells the truth. Sanitizers cost too much for all of
 * them. */
static void test_shipped_classifier_knows_clothes(void **state) {
    (void)state;
#if defined(__SANITIZE_ADDRESS__)
    const int64_t count = 500;
    const double least = 0.90, most_off = 0.03;
#else
    const int64_t count = 10000;
    const double least = 0.93, most_off = 1e-3; /* another instruction set may turn a few pictures over */
#endif
    TimPictureArray test;
    TimClassifier c;
    float *logits;
    int64_t hits = 0;
    assert_int_equal(tim_picture_array_read(&test, "fashion-mnist:test", count, &err), TIM_OK);
    assert_int_equal(tim_classifier_open(&c, "models/fashion-judge/model.safetensors", tim_isa_best(), 2, &err), TIM_OK);
    assert_int_equal(tim_new(&logits, (size_t)(count * c.shape.classes), sizeof *logits, "logits", &err), TIM_OK);
    tim_classifier_run(&c, test.pixels, count, NULL, logits);
    for (int64_t i = 0; i < count; i++)
        hits += tim_classifier_class(logits + i * c.shape.classes, c.shape.classes) == test.labels[i];
    assert_true((double)hits >= least * (double)count);
    assert_true(fabs((double)hits / (double)count - c.test_accuracy) <= most_off + 1e-9);
    tim_free(logits);
    tim_classifier_done(&c);
    tim_picture_array_done(&test);
}

/* The hash that a report gives of its model or features is that of the file. */
static void assert_hash(const json_t *report, const char *key, const char *path) {
    char hash[TIM_HASH_TEXT];
    assert_int_equal(tim_hash_file(hash, path, &err), TIM_OK);
    assert_string_equal(json_string_value(json_object_get(json_object_get(report, key), "hash")), hash);
}

/* The model that comes along draws what it is asked for, as its report says; and the report is of these weights, in these eyes. */
static void test_shipped_model_draws_clothes(void **state) {
    (void)state;
#if defined(__SANITIZE_ADDRESS__)
    enum { COUNT = 20 };
#else
    enum { COUNT = 200 };
#endif
    const TimModelOptions options = {.precision = TIM_PRECISION_BF16};
    TimModel *model;
    TimSampleOptions sample;
    TimPictures pictures;
    TimClassifier c;
    static float logits[COUNT * 10];
    int hits = 0;
    assert_int_equal(tim_model_open(&model, "models/fashion", NULL, &options, &err), TIM_OK);
    assert_int_equal(tim_classifier_open(&c, "models/fashion-judge/model.safetensors", tim_isa_best(), 2, &err), TIM_OK);
    tim_sample_options_init(&sample);
    sample.count = COUNT, sample.steps = 4;
    assert_int_equal(tim_sample(model, &sample, &pictures, NULL, &err), TIM_OK);
    tim_classifier_run(&c, pictures.pixels, COUNT, NULL, logits);
    for (int64_t i = 0; i < COUNT; i++) hits += tim_classifier_class(logits + i * 10, 10) == i % 10;
    if (hits < COUNT * 85 / 100) fail_msg("%d of %d pictures are what they should be", hits, COUNT);
    json_t *report = json_load_file("models/fashion/report.json", 0, NULL);
    assert_hash(report, "model", "models/fashion/model.safetensors");
    assert_hash(report, "features", "models/fashion-judge/model.safetensors");
    json_decref(report);
    tim_pictures_done(&pictures);
    tim_classifier_done(&c);
    tim_model_close(model);
}

/* ---- the judge ---- */

static void test_judge_reference_itself_is_perfect(void **state) {
    (void)state;
    TimJudge *judge = open_judge(in_folder("test.npz"));
    const TimPictures p = pictures_of(test_pixels, TEST);
    TimJudgement j;
    assert_int_equal(tim_judge_pictures(judge, &p, test_labels, &j, &err), TIM_OK);
    assert_true(fabs(j.frechet) < 1e-6);
    assert_true(j.precision == 1 && j.recall == 1);
    assert_true(j.agreement >= 0.97);
    assert_true(j.distance == 0); /* every one of them is a training picture */
    tim_judge_close(judge);
}

static void test_judge_tells_new_pictures_from_copies(void **state) {
    (void)state;
    TimJudge *judge = open_judge(in_folder("train.npz"));
    TimPictures p = pictures_of(test_pixels, TEST);
    TimJudgement fresh, copied;
    assert_int_equal(tim_judge_pictures(judge, &p, test_labels, &fresh, &err), TIM_OK);
    p.pixels = train_pixels;
    assert_int_equal(tim_judge_pictures(judge, &p, train_labels, &copied, &err), TIM_OK);
    assert_true(fresh.distance > 0.03 && fresh.near < 0.02);
    assert_true(copied.distance == 0 && copied.near == 1);
    assert_true(copied.frechet > 0 && copied.frechet < 0.05); /* other pictures of the same kind */
    tim_judge_close(judge);
}

/* The distance is the root mean square over the pixels of values from 0 to 1. */
static void test_judge_distance_in_units_of_pixels(void **state) {
    (void)state;
    TimJudge *judge = open_judge(in_folder("train.npz"));
    uint8_t moved[PIXELS];
    TimNearPair pairs[TIM_FINISHED_PAIRS];
    int count;
    for (int p = 0; p < PIXELS; p++) moved[p] = (uint8_t)(train_pixels[17 * PIXELS + p] + (p % 2 ? 5 : 1));
    const TimPictures one = pictures_of(moved, 1);
    assert_int_equal(tim_judge_closest(judge, &one, pairs, &count, &err), TIM_OK);
    assert_true(count == 1 && pairs[0].picture == 0 && pairs[0].training == 17);
    assert_true(fabs(pairs[0].distance - sqrt(13.0) / 255) < 1e-7);
    const TimPictures all = pictures_of(test_pixels, TEST);
    assert_int_equal(tim_judge_closest(judge, &all, pairs, &count, &err), TIM_OK);
    assert_int_equal(count, TIM_FINISHED_PAIRS);
    for (int i = 1; i < count; i++) assert_true(pairs[i - 1].distance <= pairs[i].distance);
    assert_true(fabs(pairs[0].distance - judge->reference_distances[0]) < 1e-7);
    assert_true(fabs(pairs[count - 1].distance - judge->reference_distances[count - 1]) < 1e-7);
    tim_judge_close(judge);
}

static void test_judge_noise_is_far(void **state) {
    (void)state;
    TimJudge *judge = open_judge(NULL);
    uint8_t noise[TEST * PIXELS];
    for (size_t i = 0; i < sizeof noise; i++) noise[i] = (uint8_t)tim_rng_word(9, 0, i);
    const TimPictures p = pictures_of(noise, TEST), real = pictures_of(train_pixels, TEST);
    TimJudgement far, near, quick;
    assert_int_equal(tim_judge_pictures(judge, &p, NULL, &far, &err), TIM_OK);
    assert_int_equal(tim_judge_pictures(judge, &real, NULL, &near, &err), TIM_OK);
    assert_int_equal(tim_judge_quickly(judge, &p, NULL, &quick, &err), TIM_OK);
    assert_true(far.frechet > 20 * near.frechet && far.kernel > 20 * fabs(near.kernel));
    assert_true(far.recall < 0.5 && near.recall > 0.7);
    assert_true(isnan(far.agreement) && isnan(far.distance)); /* neither labels nor training pictures */
    assert_true(quick.frechet == far.frechet && isnan(quick.kernel));
    tim_judge_close(judge);
}

/* Judges every other picture of each class; of each second class the other ones, so that halves of few are as large. */
static double half_distance(TimJudge *judge, int64_t which) {
    static uint8_t half[TRAIN * PIXELS];
    int64_t count = 0;
    for (int64_t i = 0; i < TRAIN; i++)
        if ((i % CLASSES + i / CLASSES) % 2 == which) memcpy(half + count++ * PIXELS, train_pixels + i * PIXELS, PIXELS);
    const TimPictures p = pictures_of(half, count);
    TimJudgement j;
    assert_int_equal(count, TRAIN / 2);
    assert_int_equal(tim_judge_quickly(judge, &p, NULL, &j, &err), TIM_OK);
    assert_true(isnan(j.frechet_limit));
    return j.frechet;
}

static void test_judge_limit_from_two_halves(void **state) {
    (void)state;
    TimJudge *judge = open_judge(NULL);
    const TimPictures all = pictures_of(train_pixels, TRAIN), few = pictures_of(train_pixels, 20);
    TimJudgement j, unlabelled;
    const double halves = half_distance(judge, 0) + half_distance(judge, 1);
    assert_int_equal(tim_judge_pictures(judge, &all, train_labels, &j, &err), TIM_OK);
    assert_true(fabs(j.frechet_limit - (2 * j.frechet - halves / 2)) < 1e-9);
    assert_true(j.frechet_limit < j.frechet);
    /* classes in turn, and nobody says so: halves must not be those of five classes each */
    assert_int_equal(tim_judge_pictures(judge, &all, NULL, &unlabelled, &err), TIM_OK);
    assert_true(fabs(unlabelled.frechet_limit - j.frechet_limit) < 0.5 * j.frechet);
    assert_int_equal(tim_judge_pictures(judge, &few, NULL, &j, &err), TIM_OK);
    assert_true(isnan(j.frechet_limit) && isfinite(j.frechet)); /* halves of fewer pictures than features */
    tim_judge_close(judge);
}

static void test_judge_first_2000_are_those_of_a_shorter_run(void **state) {
    (void)state;
    enum { FIRST = 2000, MORE = 2100 };
    static uint8_t pixels[MORE * PIXELS];
    TimJudge *judge = open_judge(NULL);
    for (int64_t i = 0; i < MORE; i++) make_picture(pixels + i * PIXELS, i % CLASSES, 77, (uint64_t)i);
    const TimPictures all = pictures_of(pixels, MORE), first = pictures_of(pixels, FIRST), fewer = pictures_of(pixels, FIRST - 1);
    TimJudgement long_run, short_run, least;
    assert_int_equal(tim_judge_pictures(judge, &all, NULL, &long_run, &err), TIM_OK);
    assert_int_equal(tim_judge_pictures(judge, &first, NULL, &short_run, &err), TIM_OK);
    assert_int_equal(tim_judge_pictures(judge, &fewer, NULL, &least, &err), TIM_OK);
    assert_true(long_run.frechet_2000 == short_run.frechet && short_run.frechet_2000 == short_run.frechet);
    assert_true(long_run.frechet != long_run.frechet_2000 && isnan(least.frechet_2000));
    tim_judge_close(judge);
}

/* The first would be those of a few classes. */
static void test_judge_2000_of_what_comes_by_class_are_spread(void **state) {
    (void)state;
    enum { FEW = 2000, MORE = 2500 };
    static uint8_t pixels[MORE * PIXELS], spread[FEW * PIXELS];
    static int64_t labels[MORE];
    TimJudge *judge = open_judge(NULL);
    for (int64_t i = 0; i < MORE; i++) {
        labels[i] = i * CLASSES / MORE;
        make_picture(pixels + i * PIXELS, labels[i], 77, (uint64_t)i);
    }
    for (int64_t i = 0; i < FEW; i++) memcpy(spread + i * PIXELS, pixels + i * MORE / FEW * PIXELS, PIXELS);
    const TimPictures all = pictures_of(pixels, MORE), some = pictures_of(spread, FEW);
    TimJudgement by_class, shuffled, expected;
    assert_int_equal(tim_judge_pictures(judge, &all, labels, &by_class, &err), TIM_OK);
    assert_int_equal(tim_judge_pictures(judge, &some, NULL, &expected, &err), TIM_OK);
    assert_true(fabs(by_class.frechet_2000 - expected.frechet) <= 1e-6 * expected.frechet);
    labels[0] = labels[MORE - 1]; /* no longer by class: the first */
    assert_int_equal(tim_judge_pictures(judge, &all, labels, &shuffled, &err), TIM_OK);
    assert_true(shuffled.frechet_2000 > 1.5 * by_class.frechet_2000);
    tim_judge_close(judge);
}

static void test_judge_misfits_named(void **state) {
    (void)state;
    TimJudge *judge = open_judge(NULL);
    TimPictures p = pictures_of(test_pixels, 3);
    TimJudgement j;
    assert_fails(tim_judge_pictures(judge, &p, NULL, &j, &err), TIM_E_ARGUMENT, "3 pictures");
    p = pictures_of(test_pixels, 10), p.width = 4;
    assert_fails(tim_judge_pictures(judge, &p, NULL, &j, &err), TIM_E_ARGUMENT, "4 x 8");
    tim_judge_close(judge);
    TimJudgeOptions o = {.classifier = in_folder("train.npz"), .reference = in_folder("test.npz")};
    assert_fails(tim_judge_open(&judge, &o, &err), TIM_E_FORMAT, "train.npz");
    o.classifier = in_folder("judge.safetensors"), o.reference = in_folder("absent.npz");
    assert_fails(tim_judge_open(&judge, &o, &err), TIM_E_IO, "absent.npz");
    assert_null(strstr(err.text, "idx")); /* a name mistyped is no folder of IDX files */
    o.reference = NULL;
    assert_fails(tim_judge_open(&judge, &o, &err), TIM_E_ARGUMENT, "a reference");
    assert_fails(tim_judge_open(&judge, NULL, &err), TIM_E_ARGUMENT, "a reference");
    assert_null(judge);
    /* a file without tensors that speaks of large pictures: memory for few of them, and the first tensor is missed */
    static const char header[] = "{\"__metadata__\":{\"channels\":\"1\",\"height\":\"256\",\"width\":\"256\",\"classes\":\"10\"}}";
    const uint64_t length = sizeof header - 1;
    FILE *stream = fopen(in_folder("plain.safetensors"), "wb");
    assert_non_null(stream);
    fwrite(&length, sizeof length, 1, stream);
    fwrite(header, 1, length, stream);
    assert_int_equal(fclose(stream), 0);
    o.classifier = in_folder("plain.safetensors"), o.reference = in_folder("test.npz");
    assert_fails(tim_judge_open(&judge, &o, &err), TIM_E_FORMAT, "plain.safetensors");
}

/* The set that does not fit is named, before the network looks at the others. */
static void test_judge_sets_that_do_not_fit_are_named(void **state) {
    (void)state;
    TimJudge *judge;
    TimJudgement j;
    int64_t labels[20], count;
    uint8_t wide[4 * 2 * PIXELS];
    for (int i = 0; i < 20; i++) labels[i] = i;
    memset(wide, 7, sizeof wide);
    const char *odd = in_folder("odd.npz");
    TimJudgeOptions o = {
        .classifier = in_folder("judge.safetensors"), .reference = in_folder("test.npz"), .training = odd, .threads = 1};
    assert_int_equal(tim_npz_write_adm(odd, train_pixels, 3, SIDE, SIDE, 1, NULL, &err), TIM_OK);
    assert_fails(tim_judge_open(&judge, &o, &err), TIM_E_ARGUMENT, "odd.npz has 3 pictures; at least 4 are needed");
    assert_int_equal(tim_npz_write_adm(odd, train_pixels, 20, SIDE, SIDE, 1, labels, &err), TIM_OK);
    o.reference = odd, o.training = NULL;
    assert_fails(tim_judge_open(&judge, &o, &err), TIM_E_ARGUMENT,
                 "odd.npz: picture 4 has the class 4; the classifier knows 0 to 3");
    judge = open_judge(NULL);
    assert_fails(tim_judge_set(judge, odd, &count, &j, &err), TIM_E_ARGUMENT, "odd.npz: picture 4 has the class 4");
    assert_int_equal(tim_npz_write_adm(odd, wide, 4, SIDE, 2 * SIDE, 1, NULL, &err), TIM_OK);
    assert_fails(tim_judge_set(judge, odd, &count, &j, &err), TIM_E_ARGUMENT, "odd.npz: ");
    assert_int_equal(remove(odd), 0);
    tim_judge_close(judge);
}

static void test_bench_without_a_run_refused(void **state) {
    (void)state;
    TimBenchResult result;
    TimBenchPeak peak;
    const char *name = tim_bench_case(0);
    assert_fails(tim_bench_run(&result, name, NULL, &err), TIM_E_ARGUMENT, "options");
    assert_fails(tim_bench_run(&result, name, &(TimBenchOptions){0}, &err), TIM_E_ARGUMENT, "at least 1 run");
    assert_fails(tim_bench_peak(&peak, NULL, &err), TIM_E_ARGUMENT, "options");
}

/* With fewer pictures every distance is larger, that of real ones too. */
static void test_floor_is_of_as_many(void **state) {
    (void)state;
    TimJudge *judge = open_judge(in_folder("train.npz"));
    TimJudgement floor, few, all;
    uint8_t some[30 * PIXELS]; /* evenly spaced in their order by class, of which each has as many */
    for (int64_t i = 0; i < 30; i++) {
        const int64_t place = i * TRAIN / 30, each = TRAIN / CLASSES;
        memcpy(some + i * PIXELS, train_pixels + (place % each * CLASSES + place / each) * PIXELS, PIXELS);
    }
    const TimPictures thirty = pictures_of(some, 30);
    assert_int_equal(tim_judge_floor(judge, 30, &floor, &err), TIM_OK);
    assert_int_equal(tim_judge_quickly(judge, &thirty, NULL, &few, &err), TIM_OK);
    assert_true(floor.frechet == few.frechet);
    assert_int_equal(tim_judge_floor(judge, TRAIN, &all, &err), TIM_OK);
    assert_true(all.frechet < floor.frechet);
    assert_int_equal(tim_judge_floor(judge, TRAIN + 1, &few, &err), TIM_OK); /* there are not as many */
    assert_true(isnan(few.frechet) && isnan(few.recall) && isfinite(few.kernel) && isfinite(few.frechet_limit));
    tim_judge_close(judge);
}

/* Nothing is nearer than nothing: copies of the reference are not told by it. */
static void test_judge_reference_of_copies_says_nothing_of_copying(void **state) {
    (void)state;
    TimJudge *judge;
    const TimJudgeOptions o = {
        .classifier = in_folder("judge.safetensors"), .reference = in_folder("train.npz"), .training = in_folder("train.npz")};
    const TimPictures copies = pictures_of(train_pixels, 20);
    TimJudgement j, floor;
    assert_int_equal(tim_judge_open(&judge, &o, &err), TIM_OK);
    assert_int_equal(tim_judge_pictures(judge, &copies, NULL, &j, &err), TIM_OK);
    assert_int_equal(tim_judge_floor(judge, 20, &floor, &err), TIM_OK);
    assert_true(isnan(j.near) && isnan(floor.near) && j.distance == 0);
    tim_judge_close(judge);
}

/* Agreement with classes that the classifier has never heard of would be a number without a meaning. */
static void test_judge_unknown_classes_refused(void **state) {
    (void)state;
    TimJudge *judge = open_judge(NULL);
    const TimPictures p = pictures_of(test_pixels, 10);
    int64_t labels[10] = {0};
    TimJudgement j;
    labels[7] = CLASSES;
    assert_fails(tim_judge_pictures(judge, &p, labels, &j, &err), TIM_E_ARGUMENT, "picture 7 has the class");
    assert_fails(tim_judge_check(judge, SIDE, SIDE, 1, CLASSES + 1, &err), TIM_E_ARGUMENT, "classes; the classifier knows");
    assert_fails(tim_judge_check(judge, SIDE, SIDE, 3, CLASSES, &err), TIM_E_ARGUMENT, "with 3 channels");
    assert_non_null(strstr(err.text, "test.npz")); /* the reference */
    assert_int_equal(tim_judge_check(judge, SIDE, SIDE, 1, CLASSES, &err), TIM_OK);
    tim_judge_close(judge);
}

/* ---- the evaluation ---- */

static void save_small_model(void) {
    const TimConfig config = small_config(TIM_TRANSPORT_OT_FM);
    const TimNetworkOptions options = {.isa = tim_isa_best(), .threads = 1};
    const TimStoredText steps = {"training_steps", "17"};
    TimModel *model;
    assert_int_equal(tim_model_new(&model, &config, &options, &err), TIM_OK);
    assert_int_equal(fill_hash_weights(model, &err), TIM_OK);
    assert_int_equal(tim_model_save(&config, model->f32, &model->params, TIM_F32, &steps, 1, in_folder("model"), &err), TIM_OK);
    tim_model_close(model);
}

/* The model ends its paths at `t_max`; else it is the same. */
static void save_config(double t_max) {
    TimConfig config = small_config(TIM_TRANSPORT_OT_FM);
    config.transport.t_max = t_max;
    assert_int_equal(tim_config_write(&config, in_folder("model/config.yaml"), &err), TIM_OK);
}

static TimEvalOptions eval_options(void) {
    static const int steps[] = {1, 3};
    TimEvalOptions o;
    tim_eval_options_init(&o);
    o.model = in_folder("model"), o.reference = in_folder("test.npz"), o.classifier = in_folder("judge.safetensors");
    o.training = in_folder("train.npz"), o.out = in_folder("report");
    o.steps = steps, o.step_count = 2, o.samples = 40, o.seeds = 2, o.threads = 1, o.precision = TIM_PRECISION_F32;
    o.overwrite = true;
    return o;
}

static void test_eval_reports_what_the_judge_says(void **state) {
    (void)state;
    save_small_model();
    const TimEvalOptions o = eval_options();
    assert_int_equal(tim_eval(&o, &err), TIM_OK);
    json_t *report = json_load_file(in_folder("report/report.json"), 0, NULL);
    assert_non_null(report);
    const json_t *rows = json_object_get(report, "rows");
    assert_int_equal(json_array_size(rows), 4);
    assert_int_equal(json_integer_value(json_object_get(json_object_get(report, "model"), "training_steps")), 17);
    assert_hash(report, "model", in_folder("model/model.safetensors"));
    assert_hash(report, "features", in_folder("judge.safetensors"));

    TimModel *model;
    TimPictures p;
    TimSampleOptions sample;
    TimJudgement j;
    tim_sample_options_init(&sample);
    sample.count = 40, sample.steps = 3, sample.seed = 1;
    assert_int_equal(tim_model_open(&model, o.model, NULL, &(TimModelOptions){.threads = 1}, &err), TIM_OK);
    assert_int_equal(tim_sample(model, &sample, &p, NULL, &err), TIM_OK);
    TimJudge *judge = open_judge(NULL);
    assert_int_equal(tim_judge_quickly(judge, &p, NULL, &j, &err), TIM_OK);
    const json_t *scores = json_object_get(json_array_get(rows, 1), "frechet");
    const double reported = json_number_value(json_array_get(json_object_get(scores, "values"), 1));
    assert_true(fabs(reported - j.frechet) < 1e-3 * j.frechet);
    tim_judge_close(judge);
    tim_pictures_done(&p);
    tim_model_close(model);
    json_decref(report);
}

static void test_eval_folder_of_another_run_refused(void **state) {
    (void)state;
    int lock;
    const TimEvalOptions o = eval_options();
    assert_int_equal(tim_folder_lock(&lock, in_folder("report"), &err), TIM_OK);
    assert_fails(tim_eval(&o, &err), TIM_E_IO, "report: another run writes to this folder");
    tim_folder_unlock(lock);
    assert_int_equal(tim_eval(&o, &err), TIM_OK);
}

static bool stop_at_once(const TimEvalProgress *progress, void *user) {
    *(int *)user = progress->total;
    return false;
}

static void test_eval_stopped_writes_no_report(void **state) {
    (void)state;
    int total = 0;
    TimEvalOptions o = eval_options();
    remove(in_folder("report/report.json"));
    o.progress = stop_at_once, o.user = &total;
    assert_int_equal(tim_eval(&o, &err), TIM_E_CANCELLED);
    assert_int_equal(total, 8);
    assert_int_not_equal(access(in_folder("report/report.json"), F_OK), 0);
}

/* The Frechet distances of a report's rows, seed by seed. */
static void read_distances(double out[8]) {
    json_t *report = json_load_file(in_folder("report/report.json"), 0, NULL);
    assert_non_null(report);
    for (size_t i = 0; i < 8; i++) {
        const json_t *row = json_array_get(json_object_get(report, "rows"), i / 2);
        out[i] = json_number_value(json_array_get(json_object_get(json_object_get(row, "frechet"), "values"), i % 2));
    }
    assert_int_equal(json_array_size(json_object_get(report, "neighbours")), TIM_FINISHED_PAIRS);
    json_decref(report);
}

/* Ends the run after so many settings; the first of a run says how fast it was drawn. */
typedef struct Stop {
    int after;
    double first_speed;
} Stop;

static bool stop_after(const TimEvalProgress *progress, void *user) {
    Stop *stop = user;
    if (progress->done == 1) stop->first_speed = progress->pictures_per_second;
    return progress->done < stop->after;
}

static TimStatus evaluate(int64_t samples, Stop *stop) {
    TimEvalOptions o = eval_options();
    o.samples = samples, o.progress = stop_after, o.user = stop;
    return tim_eval(&o, &err);
}

static void write_end(const char *name, const char *mode, const char *text) {
    FILE *stream = fopen(in_folder(name), mode);
    assert_non_null(stream);
    fputs(text, stream);
    fclose(stream);
}

/* What was done before is not drawn again, and what a crash or a stranger left in the file does no harm. */
static void test_eval_ended_goes_on(void **state) {
    (void)state;
    double whole[8], resumed[8];
    Stop all = {.after = 100}, first = {.after = 3}, second = {.after = 100}, other = {.after = 1};
    assert_int_equal(evaluate(40, &all), TIM_OK);
    read_distances(whole);
    assert_int_equal(remove(in_folder("report/finished.txt")), 0);

    assert_int_equal(evaluate(40, &first), TIM_E_CANCELLED);
    write_end("report/finished.txt", "ab", "1 3 0 3 12.5 0.1 0.2");
    assert_int_equal(evaluate(40, &second), TIM_OK);
    assert_true(second.first_speed == first.first_speed);
    read_distances(resumed);
    assert_memory_equal(resumed, whole, sizeof whole);

    TimEvalOptions careful = eval_options();
    careful.samples = 41, careful.overwrite = false;
    assert_fails(tim_eval(&careful, &err), TIM_E_ARGUMENT,
                 "report/finished.txt: tells of an evaluation with samples=40, and this is one with samples=41; ask");
    assert_int_equal(evaluate(40, &second), TIM_OK);
    assert_true(second.first_speed == first.first_speed);
    assert_int_equal(evaluate(41, &other), TIM_E_CANCELLED);
    assert_true(other.first_speed != first.first_speed);
    write_end("report/finished.txt", "wb", "tim-eval-finished 5 of something else\n0 1 0 1 7 1 0 0 0 0 0 0 0 0 0 0\n");
    assert_int_equal(evaluate(40, &second), TIM_OK);
    assert_true(second.first_speed != 1);
    read_distances(resumed);
    assert_memory_equal(resumed, whole, sizeof whole);
}

/* A user can go on only if told what to ask for. */
static void test_finished_of_other_settings_names_the_first(void **state) {
    (void)state;
    static const struct {
        const char *line, *said;
    } cases[] = {
        {"tim-eval-finished 5 a=1 b=20 c=3\n", "lines.txt: tells of an evaluation with b=20, and this is one with b=2; ask"},
        {"tim-eval-finished 5 a=1 b=2 c=\n", "with c=, and this is one with c=3;"},
        {"tim-eval-finished 5 a=1 b=2\n", "lines.txt: does not begin as this version writes it"},
        {"tim-eval-finished 5 a=1 b=2 c=3", "lines.txt: does not begin as this version writes it"},
        {"tim-eval-finished 4 a=1 b=2 c=3\n", "does not begin as this version writes it"},
        {"", "does not begin as this version writes it"},
    };
    TimFinished finished;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        write_end("lines.txt", "wb", cases[i].line);
        assert_fails(tim_finished_open(&finished, in_folder("lines.txt"), "a=1 b=2 c=3", false, &err), TIM_E_ARGUMENT,
                     cases[i].said);
        tim_finished_close(&finished);
    }
    assert_int_equal(remove(in_folder("lines.txt")), 0);
}

/* A report of which nothing says how it was made is not to be lost, nor is one found out to be unwritable when all is drawn. */
static void test_eval_keeps_reports_that_it_did_not_write(void **state) {
    (void)state;
    static const char *const names[] = {"report/report.json", "report/report.html"};
    assert_int_equal(tim_folder_make(in_folder("report"), &err), TIM_OK);
    remove(in_folder("report/finished.txt")), remove(in_folder(names[0])), remove(in_folder(names[1]));
    for (int i = 0; i < 2; i++) {
        write_end(names[i], "wb", "precious");
        TimEvalOptions o = eval_options();
        o.overwrite = false;
        assert_fails(tim_eval(&o, &err), TIM_E_ARGUMENT, names[i]);
        remove(in_folder(names[i]));
        assert_int_equal(tim_folder_make(in_folder(names[i]), &err), TIM_OK);
        o = eval_options();
        assert_fails(tim_eval(&o, &err), TIM_E_ARGUMENT, "is no file, and would be replaced; give the report another folder");
        remove(in_folder(names[i]));
    }
    assert_int_not_equal(access(in_folder("report/finished.txt"), F_OK), 0);
}

/* A damaged line in the middle costs its own setting, not hours of those after it; what is no file is not taken for an empty one. */
static void test_finished_damaged_line_costs_itself_alone(void **state) {
    (void)state;
    TimFinished finished;
    TimFinishedSetting setting = {.mode = TIM_SAMPLE_TRANSITION, .evaluations = 1};
    char text[4][2048];
    assert_int_equal(tim_finished_open(&finished, in_folder("lines.txt"), "a subject", false, &err), TIM_OK);
    for (setting.steps = 1; setting.steps <= 3; setting.steps++)
        assert_int_equal(tim_finished_add(&finished, &setting, &err), TIM_OK);
    tim_finished_close(&finished);
    FILE *stream = fopen(in_folder("lines.txt"), "rb");
    assert_non_null(stream);
    for (int i = 0; i < 4; i++) assert_non_null(fgets(text[i], sizeof *text, stream));
    fclose(stream);
    write_end("lines.txt", "wb", text[0]);
    write_end("lines.txt", "ab", text[1]);
    write_end("lines.txt", "ab", "0 2 zero\n");
    write_end("lines.txt", "ab", text[3]);
    assert_int_equal(tim_finished_open(&finished, in_folder("lines.txt"), "a subject", false, &err), TIM_OK);
    assert_non_null(tim_finished_find(&finished, TIM_SAMPLE_TRANSITION, 1, 0));
    assert_null(tim_finished_find(&finished, TIM_SAMPLE_TRANSITION, 2, 0));
    assert_non_null(tim_finished_find(&finished, TIM_SAMPLE_TRANSITION, 3, 0));
    tim_finished_close(&finished);
    assert_int_equal(remove(in_folder("lines.txt")), 0);
    assert_fails(tim_finished_open(&finished, folder, "a subject", true, &err), TIM_E_IO, folder);
    tim_finished_close(&finished);
}

/* Its pictures are the same, its speed is not this processor's. */
static void test_eval_taken_over_from_another_processor_has_no_speed(void **state) {
    (void)state;
    char head[512], first[2048], line[4096];
    Stop stop = {.after = 1}, all = {.after = 100};
    remove(in_folder("report/finished.txt"));
    assert_int_equal(evaluate(40, &stop), TIM_E_CANCELLED);
    FILE *stream = fopen(in_folder("report/finished.txt"), "rb");
    assert_non_null(stream);
    assert_true(fgets(head, sizeof head, stream) && fgets(first, sizeof first, stream));
    fclose(stream);
    char *place = first;
    for (int word = 0; word < 4; word++) place = strchr(place, ' ') + 1;
    snprintf(line, sizeof line, "%s%.*s7%s", head, (int)(place - first), first, strchr(place, ' '));
    write_end("report/finished.txt", "wb", line);
    assert_int_equal(evaluate(40, &all), TIM_OK);
    json_t *report = json_load_file(in_folder("report/report.json"), 0, NULL);
    const json_t *rows = json_object_get(report, "rows");
    const json_t *speed = json_object_get(json_array_get(rows, 0), "pictures_per_second"),
                 *frechet = json_object_get(json_array_get(rows, 0), "frechet"),
                 *other = json_object_get(json_array_get(rows, 1), "pictures_per_second");
    assert_false(json_is_number(json_object_get(speed, "mean")));
    assert_true(json_is_number(json_object_get(frechet, "mean")));
    assert_true(json_is_number(json_object_get(other, "mean")));
    json_decref(report);
}

/* A file that was tampered with: a neighbour that is not there is passed over, those after it are shown. */
static void test_eval_damaged_neighbour_left_out(void **state) {
    (void)state;
    char line[5 * 2048], rest[8][2048] = {""};
    int count = 0;
    Stop first = {.after = 3}, second = {.after = 100};
    remove(in_folder("report/finished.txt"));
    assert_int_equal(evaluate(40, &first), TIM_E_CANCELLED);
    FILE *stream = fopen(in_folder("report/finished.txt"), "rb");
    assert_non_null(stream);
    while (count < 8 && fgets(rest[count], sizeof *rest, stream)) count++;
    fclose(stream);
    assert_int_equal(count, 4);
    char *place = rest[3];
    for (int word = 0; word < 17; word++) place = strchr(place, ' ') + 1;
    snprintf(line, sizeof line, "%s%s%s%.*s9999%s", rest[0], rest[1], rest[2], (int)(place - rest[3]), rest[3], strchr(place, ' '));
    write_end("report/finished.txt", "wb", line);
    assert_int_equal(evaluate(40, &second), TIM_OK);
    json_t *report = json_load_file(in_folder("report/report.json"), 0, NULL);
    assert_int_equal(json_array_size(json_object_get(report, "neighbours")), TIM_FINISHED_PAIRS - 1);
    json_decref(report);
}

/* The same weights under another configuration, or in another set's eyes, draw other pictures. */
static void test_eval_ended_with_other_settings_begins_anew(void **state) {
    (void)state;
    Stop first = {.after = 1}, second = {.after = 1}, third = {.after = 1};
    assert_int_equal(evaluate(40, &first), TIM_E_CANCELLED);
    save_config(0.5);
    assert_int_equal(evaluate(40, &second), TIM_E_CANCELLED);
    assert_true(second.first_speed != first.first_speed);
    save_config(1);
    assert_int_equal(evaluate(40, &first), TIM_E_CANCELLED);
    assert_int_equal(tim_npz_write_adm(in_folder("test.npz"), test_pixels, TEST - 1, SIDE, SIDE, 1, test_labels, &err), TIM_OK);
    assert_int_equal(evaluate(40, &third), TIM_E_CANCELLED);
    assert_true(third.first_speed != first.first_speed);
    assert_int_equal(tim_npz_write_adm(in_folder("test.npz"), test_pixels, TEST, SIDE, SIDE, 1, test_labels, &err), TIM_OK);
}

/* The small model's tensors of even or odd number, those of odd number times `factor`. */
static void write_part(const char *name, const TimSafetensors *all, size_t first, float factor) {
    TimSafetensorsWriter writer;
    float *scaled[64];
    size_t count = 0;
    assert_int_equal(tim_safetensors_writer_init(&writer, &err), TIM_OK);
    for (size_t i = first; i < all->count; i += 2) {
        const TimStoredTensor *t = &all->tensors[i];
        assert_true(count < 64);
        assert_int_equal(tim_new(&scaled[count], t->count, sizeof(float), "a tensor", &err), TIM_OK);
        memcpy(scaled[count], t->data, t->bytes);
        for (size_t k = 0; k < t->count; k++) scaled[count][k] *= factor;
        assert_int_equal(tim_safetensors_writer_add(&writer, t->name, t->dtype, t->rank, t->dims, scaled[count], &err), TIM_OK);
        count++;
    }
    assert_int_equal(tim_safetensors_writer_save(&writer, in_folder(name), &err), TIM_OK);
    tim_safetensors_writer_done(&writer);
    for (size_t i = 0; i < count; i++) tim_free(scaled[i]);
}

/* The small model in two files with their index, in the folder `parts`; all weights of the second times `factor`. */
static void write_parts(float factor) {
    TimSafetensors all;
    const TimConfig config = small_config(TIM_TRANSPORT_OT_FM);
    json_t *map = json_object();
    assert_int_equal(tim_safetensors_open(&all, in_folder("model/model.safetensors"), &err), TIM_OK);
    assert_int_equal(tim_folder_make(in_folder("parts"), &err), TIM_OK);
    write_part("parts/even.safetensors", &all, 0, 1), write_part("parts/odd.safetensors", &all, 1, factor);
    for (size_t i = 0; i < all.count; i++)
        json_object_set_new(map, all.tensors[i].name, json_string(i % 2 ? "odd.safetensors" : "even.safetensors"));
    json_t *index = json_pack("{so}", "weight_map", map);
    assert_int_equal(json_dump_file(index, in_folder("parts/model.safetensors.index.json"), 0), 0);
    json_decref(index);
    assert_int_equal(tim_config_write(&config, in_folder("parts/config.yaml"), &err), TIM_OK);
    tim_safetensors_close(&all);
}

static TimStatus evaluate_parts(Stop *stop) {
    TimEvalOptions o = eval_options();
    o.model = in_folder("parts"), o.progress = stop_after, o.user = stop;
    return tim_eval(&o, &err);
}

static void test_eval_failure_says_in_which_setting(void **state) {
    (void)state;
    Stop all = {.after = 100};
    write_parts(NAN);
    assert_int_equal(evaluate_parts(&all), TIM_E_FORMAT);
    assert_non_null(strstr(err.text, "parts: transition mode, 1 steps, seed 0: step 1 of 1 led to"));
}

/* The same index over another file is another model. */
static void test_eval_replaced_part_begins_anew(void **state) {
    (void)state;
    Stop first = {.after = 1}, again = {.after = 1}, other = {.after = 1};
    write_parts(1);
    assert_int_equal(evaluate_parts(&first), TIM_E_CANCELLED);
    assert_int_equal(evaluate_parts(&again), TIM_E_CANCELLED);
    assert_true(again.first_speed == first.first_speed);
    write_parts(1.5F);
    assert_int_equal(evaluate_parts(&other), TIM_E_CANCELLED);
    assert_true(other.first_speed != first.first_speed);
}

/* A hostile report is not waited for: the verdict compares all rows with all. */
static void test_report_of_too_many_rows_refused(void **state) {
    (void)state;
    for (size_t rows = 256; rows <= 257; rows++) {
        TimReportFile file;
        json_t *list = json_array();
        for (size_t i = 0; i < rows; i++)
            json_array_append_new(list, json_pack("{sssisi}", "mode", "transition", "steps", (int)i, "evaluations", (int)i));
        json_t *report = json_pack("{sssiso}", "format", "tim-report", "version", 1, "rows", list);
        assert_int_equal(json_dump_file(report, in_folder("rows.json"), 0), 0);
        json_decref(report);
        const TimStatus status = tim_report_read(&file, in_folder("rows.json"), &err);
        if (rows == 256)
            assert_int_equal(status, TIM_OK);
        else
            assert_fails(status, TIM_E_FORMAT, "rows.json: 257 rows; a report has 1 to 256");
        tim_report_file_done(&file);
    }
}

/* The steps of the first neighbour in the report. */
static int64_t neighbour_steps(void) {
    json_t *report = json_load_file(in_folder("report/report.json"), 0, NULL);
    const json_t *neighbours = json_object_get(report, "neighbours");
    assert_int_equal(json_array_size(neighbours), TIM_FINISHED_PAIRS);
    const int64_t steps = json_integer_value(json_object_get(json_array_get(neighbours, 0), "steps"));
    json_decref(report);
    return steps;
}

/* Copies are looked for among the pictures of the most steps, wherever these stand in the list, and also where an earlier run that
 * was to take more steps has drawn these pictures without looking. */
static void test_eval_searches_pictures_of_most_steps(void **state) {
    (void)state;
    static const int rising[] = {1, 2, 3}, falling[] = {2, 1};
    Stop stop = {.after = 4}, all = {.after = 100};
    TimEvalOptions o = eval_options();
    o.diffusion = false, o.progress = stop_after, o.user = &stop;
    o.steps = rising, o.step_count = 3;
    remove(in_folder("report/finished.txt"));
    assert_int_equal(tim_eval(&o, &err), TIM_E_CANCELLED);
    o.steps = falling, o.step_count = 2, o.user = &all;
    assert_int_equal(tim_eval(&o, &err), TIM_OK);
    assert_int_equal(neighbour_steps(), 2);
}

/* Whatever tim_model_open reads, under any name. */
static void test_eval_weights_under_another_name(void **state) {
    (void)state;
    TimEvalOptions o = eval_options();
    Stop all = {.after = 100};
    o.progress = stop_after, o.user = &all;
    assert_int_equal(rename(in_folder("model/model.safetensors"), in_folder("model/ema.safetensors")), 0);
    const TimStatus status = tim_eval(&o, &err);
    assert_int_equal(rename(in_folder("model/ema.safetensors"), in_folder("model/model.safetensors")), 0);
    assert_int_equal(status, TIM_OK);
}

static void test_eval_bad_options_named(void **state) {
    (void)state;
    TimEvalOptions o = eval_options();
    o.step_count = 0;
    assert_fails(tim_eval(&o, &err), TIM_E_ARGUMENT, "numbers of steps");
    static const int zero[] = {1, 0};
    o = eval_options(), o.steps = zero, o.step_count = 2;
    assert_fails(tim_eval(&o, &err), TIM_E_ARGUMENT, "a number of steps is 0; give 1 to 65535");
    static const int twice[] = {1, 4, 1};
    o = eval_options(), o.steps = twice, o.step_count = 3;
    assert_fails(tim_eval(&o, &err), TIM_E_ARGUMENT, "the number of steps 1 is given twice; give each once");
    o = eval_options(), o.steps = NULL;
    assert_fails(tim_eval(&o, &err), TIM_E_ARGUMENT, "0 numbers of steps");
    o = eval_options(), o.batch = -1;
    assert_fails(tim_eval(&o, &err), TIM_E_ARGUMENT, "batch is -1");
    assert_fails(tim_eval(NULL, &err), TIM_E_ARGUMENT, "options");
    o = eval_options(), o.samples = 1LL << 40;
    assert_fails(tim_eval(&o, &err), TIM_E_ARGUMENT, "give 4 to 2147483647");
    o = eval_options(), o.samples = 3;
    assert_fails(tim_eval(&o, &err), TIM_E_ARGUMENT, "samples is 3");
    o = eval_options(), o.seeds = 0;
    assert_fails(tim_eval(&o, &err), TIM_E_ARGUMENT, "seeds is 0");
    o = eval_options(), o.seed = 1ULL << 63;
    assert_fails(tim_eval(&o, &err), TIM_E_ARGUMENT, "seed is 9223372036854775808; give 0 to");
    o = eval_options(), o.model = in_folder("absent");
    assert_fails(tim_eval(&o, &err), TIM_E_IO, "absent");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_classifier_learns_and_file_keeps_it),
        cmocka_unit_test(test_classifier_twice_gives_same_bits),
        cmocka_unit_test(test_classifier_mirrors_and_does_nothing_else),
        cmocka_unit_test(test_classifier_batches_do_not_matter),
        cmocka_unit_test(test_classifier_bad_options_named),
        cmocka_unit_test(test_classifier_file_of_other_kind_refused),
        cmocka_unit_test(test_classifier_damaged_file_names_the_tensor),
        cmocka_unit_test(test_classifier_accuracy_survives_a_comma_locale),
        cmocka_unit_test(test_shipped_classifier_knows_clothes),
        cmocka_unit_test(test_shipped_model_draws_clothes),
        cmocka_unit_test(test_judge_reference_itself_is_perfect),
        cmocka_unit_test(test_judge_tells_new_pictures_from_copies),
        cmocka_unit_test(test_judge_distance_in_units_of_pixels),
        cmocka_unit_test(test_judge_noise_is_far),
        cmocka_unit_test(test_judge_limit_from_two_halves),
        cmocka_unit_test(test_judge_first_2000_are_those_of_a_shorter_run),
        cmocka_unit_test(test_judge_2000_of_what_comes_by_class_are_spread),
        cmocka_unit_test(test_judge_misfits_named),
        cmocka_unit_test(test_judge_sets_that_do_not_fit_are_named),
        cmocka_unit_test(test_bench_without_a_run_refused),
        cmocka_unit_test(test_floor_is_of_as_many),
        cmocka_unit_test(test_judge_reference_of_copies_says_nothing_of_copying),
        cmocka_unit_test(test_judge_unknown_classes_refused),
        cmocka_unit_test(test_eval_reports_what_the_judge_says),
        cmocka_unit_test(test_eval_folder_of_another_run_refused),
        cmocka_unit_test(test_eval_stopped_writes_no_report),
        cmocka_unit_test(test_eval_ended_goes_on),
        cmocka_unit_test(test_finished_of_other_settings_names_the_first),
        cmocka_unit_test(test_eval_keeps_reports_that_it_did_not_write),
        cmocka_unit_test(test_finished_damaged_line_costs_itself_alone),
        cmocka_unit_test(test_eval_taken_over_from_another_processor_has_no_speed),
        cmocka_unit_test(test_eval_damaged_neighbour_left_out),
        cmocka_unit_test(test_eval_ended_with_other_settings_begins_anew),
        cmocka_unit_test(test_eval_failure_says_in_which_setting),
        cmocka_unit_test(test_eval_replaced_part_begins_anew),
        cmocka_unit_test(test_report_of_too_many_rows_refused),
        cmocka_unit_test(test_eval_searches_pictures_of_most_steps),
        cmocka_unit_test(test_eval_weights_under_another_name),
        cmocka_unit_test(test_eval_bad_options_named),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
