/* What Inception v3 does around its network, whose values tests/golden/eval holds: folding, files, pictures. Writes into a
 * temporary directory only. */
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

#include "base/bf16.h"
#include "base/memory.h"
#include "eval/adm_suite.h"
#include "eval/judge.h"
#include "io/npz.h"
#include "io/safetensors.h"
#include "model/inception_v3.h"
#include "near.h"
#include "nn/hash_weights.h"

enum { UNITS = 94 };

static char folder[] = "/tmp/tim-inception-XXXXXX", path[64];
static TimError err;

static int make_folder(void **state) {
    (void)state;
    if (!mkdtemp(folder)) return -1;
    snprintf(path, sizeof path, "%s/weights.safetensors", folder);
    return 0;
}

static int remove_folder(void **state) {
    (void)state;
    unlink(path);
    return rmdir(folder);
}

static void assert_ok(TimStatus status) {
    if (status == TIM_OK) return;
    print_error("%s: %s\n", tim_status_name(status), err.text);
    fail();
}

static void assert_fails(TimStatus status, TimStatus expected, const char *part) {
    assert_int_equal(status, expected);
    if (strstr(err.text, part)) return;
    print_error("\"%s\" does not say \"%s\"\n", err.text, part);
    fail();
}

static TimIsa machine(void) {
    TimIsa isa;
    assert_ok(tim_isa_choose(NULL, &isa, &err));
    return isa;
}

static TimInception network(int64_t batch) {
    TimInception inception;
    assert_ok(tim_inception_init(&inception, batch, machine(), 2, &err));
    return inception;
}

/* ---- weights ---- */

static bool ends_with(const char *text, const char *end) {
    const size_t length = strlen(text), tail = strlen(end);
    return length >= tail && strcmp(text + length - tail, end) == 0;
}

/* What `read_plain` gives for a vector; a kernel's element i is i mod 7. */
typedef struct Plain {
    double gain, bias, mean, var;
    int tensors; /* asked for */
} Plain;

static TimStatus read_plain(void *from, const char *name, int rank, const size_t *dims, double *out, TimError *error) {
    (void)error;
    Plain *p = from;
    size_t count = 1;
    p->tensors++;
    for (int i = 0; i < rank; i++) count *= dims[i];
    for (size_t i = 0; i < count; i++) {
        if (ends_with(name, ".conv.weight")) out[i] = (double)(i % 7);
        if (ends_with(name, ".bn.weight")) out[i] = p->gain;
        if (ends_with(name, ".bn.bias")) out[i] = p->bias;
        if (ends_with(name, ".bn.running_mean")) out[i] = p->mean;
        if (ends_with(name, ".bn.running_var")) out[i] = p->var;
    }
    return TIM_OK;
}

/* 2 (W x - 4) / sqrt(0.249 + 0.001) + 3 = 4 W x - 13 */
static void test_inception_batch_norm_is_folded(void **state) {
    (void)state;
    TimInception n = network(1);
    Plain plain = {.gain = 2, .bias = 3, .mean = 4, .var = 0.249};
    assert_ok(tim_inception_set_weights(&n, read_plain, &plain, &err));
    assert_int_equal(plain.tensors, 5 * UNITS);
    assert_int_equal(n.params.count, 2 * UNITS);
    for (size_t p = 0; p < n.params.count; p++)
        for (size_t i = 0; i < n.params.items[p].count; i++) {
            const float expected = p % 2 ? -13.0F : 4.0F * (float)(i % 7), value = n.weights[n.params.items[p].offset + i];
            if (fabsf(value - expected) > 1e-6F) fail_msg("%s[%zu] is %g, not %g", n.params.items[p].name, i, value, expected);
        }
    tim_inception_done(&n);
}

static void test_inception_bad_variance_refused(void **state) {
    (void)state;
    static const double bad[] = {-1e-9, NAN, -INFINITY};
    TimInception n = network(1);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        Plain plain = {.gain = 1, .var = bad[i]};
        assert_fails(tim_inception_set_weights(&n, read_plain, &plain, &err), TIM_E_FORMAT, "'Conv2d_1a_3x3.bn.running_var'");
    }
    Plain plain = {.gain = NAN, .var = 1};
    assert_fails(tim_inception_set_weights(&n, read_plain, &plain, &err), TIM_E_FORMAT,
                 "the unit 'Conv2d_1a_3x3' has weights that are not finite");
    tim_inception_done(&n);
}

/* ---- files ---- */

/* A file of one tensor. */
static void write_one(const char *name, TimDtype dtype, int rank, const size_t *dims) {
    static const float zeros[32 * 3 * 3 * 3];
    TimSafetensorsWriter writer;
    assert_ok(tim_safetensors_writer_init(&writer, &err));
    assert_ok(tim_safetensors_writer_add(&writer, name, dtype, rank, dims, zeros, &err));
    assert_ok(tim_safetensors_writer_save(&writer, path, &err));
    tim_safetensors_writer_done(&writer);
}

static void test_inception_wrong_files_name_the_tensor(void **state) {
    (void)state;
    static const size_t right[] = {32, 3, 3, 3}, wrong[] = {32, 3, 3, 1}, vector[] = {32};
    static const struct {
        const char *name;
        TimDtype dtype;
        int rank;
        const size_t *dims;
        const char *text;
    } cases[] = {
        {"fc.bias", TIM_F32, 1, vector, "'Conv2d_1a_3x3.conv.weight' (32, 3, 3, 3) is missing"},
        {"Conv2d_1a_3x3.conv.weight", TIM_F32, 4, right, "'Conv2d_1a_3x3.bn.weight' (32) is missing"},
        {"Conv2d_1a_3x3.conv.weight", TIM_F32, 4, wrong, "has the shape (32, 3, 3, 1), and Inception v3 wants (32, 3, 3, 3)"},
        {"Conv2d_1a_3x3.conv.weight", TIM_F32, 1, vector, "has the shape (32), and"},
        {"Conv2d_1a_3x3.conv.weight", TIM_I32, 4, right, "of type I32"},
        {"AuxLogits.conv0.conv.weight", TIM_F32, 1, vector, "'AuxLogits.conv0.conv.weight' (32) belongs to no layer"},
        {"Conv2d_1a_3x3.conv.bias", TIM_F32, 1, vector, "'Conv2d_1a_3x3.conv.bias' (32) belongs to no layer"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        TimInception n;
        write_one(cases[i].name, cases[i].dtype, cases[i].rank, cases[i].dims);
        assert_fails(tim_inception_open(&n, path, 1, machine(), 1, &err), TIM_E_FORMAT, cases[i].text);
        assert_non_null(strstr(err.text, path));
        assert_null(n.weights);
    }
}

static void test_inception_no_file_fails(void **state) {
    (void)state;
    TimInception n;
    unlink(path);
    assert_fails(tim_inception_open(&n, path, 1, machine(), 1, &err), TIM_E_IO, path);
}

/* The official tensors as a file and, rounded as they are in it, as a TimInceptionRead. */
typedef struct Stored {
    TimSafetensorsWriter writer;
    TimBf16 *values[5 * UNITS]; /* from tim_alloc; the writer borrows them */
    int count;
} Stored;

static TimStatus store_hash(void *to, const char *name, int rank, const size_t *dims, double *out, TimError *error) {
    Stored *s = to;
    size_t count = 1;
    for (int i = 0; i < rank; i++) count *= dims[i];
    float *values = tim_alloc(count, sizeof *values);
    TimBf16 *rounded = s->values[s->count++] = tim_alloc(count, sizeof *rounded);
    assert_true(values && rounded);
    assert_ok(tim_hash_weights(name, dims, rank, TIM_HASH_INCEPTION, values, error));
    for (size_t i = 0; i < count; i++) {
        rounded[i] = tim_bf16_from_f32(values[i]);
        out[i] = tim_bf16_to_f32(rounded[i]);
    }
    tim_free(values);
    return tim_safetensors_writer_add(&s->writer, name, TIM_BF16, rank, dims, rounded, error);
}

/* Fills `n` and writes the same weights to a file, with what such files hold besides. */
static void store(TimInception *n) {
    static TimBf16 fc[TIM_INCEPTION_CLASSES * TIM_INCEPTION_FEATURES];
    static const int64_t batches = 7;
    static const size_t fc_dims[] = {TIM_INCEPTION_CLASSES, TIM_INCEPTION_FEATURES};
    static Stored s;
    s.count = 0;
    for (size_t i = 0; i < sizeof fc / sizeof *fc; i++) fc[i] = tim_bf16_from_f32((float)(i * i % 101) / 500 - 0.1F);
    assert_ok(tim_safetensors_writer_init(&s.writer, &err));
    assert_ok(
        tim_safetensors_writer_add(&s.writer, "Mixed_7c.branch_pool.bn.num_batches_tracked", TIM_I64, 0, NULL, &batches, &err));
    assert_ok(tim_safetensors_writer_add(&s.writer, "fc.weight", TIM_BF16, 2, fc_dims, fc, &err));
    assert_ok(tim_inception_set_weights(n, store_hash, &s, &err));
    assert_ok(tim_safetensors_writer_save(&s.writer, path, &err));
    tim_safetensors_writer_done(&s.writer);
    for (int i = 0; i < s.count; i++) tim_free(s.values[i]);
}

enum { COUNT = 3, HEIGHT = 20, WIDTH = 31, PIXELS = HEIGHT * WIDTH };

static void fill_pictures(uint8_t *gray, uint8_t *color) {
    for (int i = 0; i < COUNT * PIXELS; i++) {
        gray[i] = (uint8_t)(i * i / 7 + i / PIXELS * 50);
        for (int c = 0; c < 3; c++) color[3 * i + c] = gray[i];
    }
}

static void assert_close(const float *actual, const float *expected, size_t count) {
    float most = 0, error = 0;
    for (size_t i = 0; i < count; i++) {
        assert_true(isfinite(actual[i]) && isfinite(expected[i])); /* fmaxf passes a NaN over */
        most = fmaxf(most, fabsf(expected[i]));
        error = fmaxf(error, fabsf(actual[i] - expected[i]));
    }
    assert_true(most > 0);
    if (!(error <= 1e-5F * most)) fail_msg("%g from features of %g", error, most);
}

/* Every way to the same features: by file or by hand, a remainder of a batch, gray or its three equal channels. */
static void test_inception_file_batches_and_gray_give_the_same_features(void **state) {
    (void)state;
    static uint8_t gray[COUNT * PIXELS], color[3 * COUNT * PIXELS];
    static float planes[3 * PIXELS], expected[COUNT * TIM_INCEPTION_FEATURES], features[COUNT * TIM_INCEPTION_FEATURES];
    TimInception by_hand = network(1), opened;
    fill_pictures(gray, color);
    store(&by_hand);
    assert_ok(tim_inception_open(&opened, path, 2, machine(), 2, &err));
    assert_memory_equal(opened.weights, by_hand.weights, by_hand.params.elements * sizeof(float));
    for (int i = 0; i < COUNT; i++) {
        const TimInceptionNetwork *n = &by_hand.network;
        for (int p = 0; p < 3 * PIXELS; p++) planes[p] = (float)gray[i * PIXELS + p % PIXELS] / 255.0F;
        tim_inception_prepare(tim_tape_value(n->tape, n->x).data, planes, HEIGHT, WIDTH);
        tim_tape_forward(n->tape, false);
        memcpy(expected + i * TIM_INCEPTION_FEATURES, tim_tape_value(n->tape, n->outputs[TIM_INCEPTION_POOL]).data,
               TIM_INCEPTION_FEATURES * sizeof(float));
    }
    assert_ok(tim_inception_run(&opened, color, COUNT, HEIGHT, WIDTH, 3, features, &err));
    assert_close(features, expected, COUNT * TIM_INCEPTION_FEATURES);
    memset(features, 0, sizeof features);
    assert_ok(tim_inception_run(&opened, gray, COUNT, HEIGHT, WIDTH, 1, features, &err));
    assert_close(features, expected, COUNT * TIM_INCEPTION_FEATURES);
    tim_inception_done(&by_hand);
    tim_inception_done(&opened);
}

static void test_inception_classes_of_another_network_refused(void **state) {
    (void)state;
    static const size_t dims[] = {4, 8}, kernel[] = {32, 3, 3, 3};
    float *classes;
    write_one("fc.weight", TIM_F32, 2, dims);
    assert_fails(tim_inception_read_classes(&classes, path, &err), TIM_E_FORMAT, "has the shape (4, 8), and the FID network wants");
    assert_null(classes);
    write_one("Conv2d_1a_3x3.conv.weight", TIM_F32, 4, kernel);
    assert_fails(tim_inception_read_classes(&classes, path, &err), TIM_E_FORMAT, "'fc.weight' (1008, 2048) is missing");
    assert_non_null(strstr(err.text, path));
}

/* ---- ADM's suite ---- */

enum { ADM_SET = 5 };

static uint8_t adm_pixels[ADM_SET * 3 * PIXELS];

/* Adds the moments of `m`, with `shift` added to the first mean, as float32 or float64. */
static void add_moments(TimNpz *npz, const TimMoments *m, double shift, const char *mean_name, const char *name) {
    const uint64_t dims[] = {m->width, m->width};
    float *mean = tim_alloc(m->width, sizeof *mean);
    assert_non_null(mean);
    for (size_t c = 0; c < m->width; c++) mean[c] = (float)(m->mean[c] + (c == 0 ? shift : 0));
    assert_ok(tim_npz_begin(npz, mean_name, "<f4", 4, dims, 1, &err));
    assert_ok(tim_npz_write(npz, mean, m->width * sizeof *mean, &err));
    assert_ok(tim_npz_end(npz, &err));
    assert_ok(tim_npz_begin(npz, name, "<f8", 8, dims, 2, &err));
    assert_ok(tim_npz_write(npz, m->covariance, m->width * m->width * sizeof(double), &err));
    assert_ok(tim_npz_end(npz, &err));
    tim_free(mean);
}

static void add_pictures(TimNpz *npz) {
    static const uint64_t dims[] = {ADM_SET, HEIGHT, WIDTH, 3};
    assert_ok(tim_npz_begin(npz, "arr_0", "|u1", 1, dims, 4, &err));
    assert_ok(tim_npz_write(npz, adm_pixels, sizeof adm_pixels, &err));
    assert_ok(tim_npz_end(npz, &err));
}

/* The pictures alone, and the same with moments of their own whose means lie 2 and 3 beside the pictures'. */
static void write_adm_sets(TimInception *n, const char *plain, const char *with_moments) {
    TimAdmSet set;
    TimNpz npz;
    assert_ok(tim_adm_set_init(&set, ADM_SET, &err));
    for (size_t i = 0; i < sizeof adm_pixels; i++) adm_pixels[i] = (uint8_t)(i * i / 7 + i / PIXELS * 50);
    for (int64_t i = 0; i < ADM_SET; i++) {
        assert_ok(tim_inception_put(n, 0, TIM_INCEPTION_AS_GRAPH, adm_pixels + i * 3 * PIXELS, HEIGHT, WIDTH, 3, &err));
        assert_ok(tim_adm_set_add(&set, n, 1, &err));
    }
    assert_fails(tim_adm_set_add(&set, n, 1, &err), TIM_E_ARGUMENT, "for a set of 5 that holds 5");
    assert_ok(tim_moments_finish(&set.pool, &err));
    assert_ok(tim_moments_finish(&set.spatial, &err));
    assert_ok(tim_npz_open(&npz, plain, &err));
    add_pictures(&npz);
    assert_ok(tim_npz_close(&npz, &err));
    assert_ok(tim_npz_open(&npz, with_moments, &err));
    add_moments(&npz, &set.pool, 2, "mu", "sigma");
    add_pictures(&npz);
    add_moments(&npz, &set.spatial, 3, "mu_s", "sigma_s");
    assert_ok(tim_npz_close(&npz, &err));
    tim_adm_set_done(&set);
}

/* 1.3 KB of an npz may claim as many pictures, which would want 10 GB; only those that come get room. */
static void test_inception_adm_set_has_room_for_what_comes(void **state) {
    (void)state;
    TimAdmSet set;
    TimInception n = network(1);
    static const uint8_t picture[3 * PIXELS];
    assert_ok(tim_adm_set_init(&set, (int64_t)1 << 40, &err));
    assert_int_equal(set.room, 0);
    assert_ok(tim_inception_put(&n, 0, TIM_INCEPTION_AS_GRAPH, picture, HEIGHT, WIDTH, 3, &err));
    assert_ok(tim_adm_set_add(&set, &n, 1, &err));
    set.room = 1; /* as if it were full */
    const float first = set.features[0], last = set.features[TIM_INCEPTION_FEATURES - 1];
    assert_ok(tim_adm_set_add(&set, &n, 1, &err));
    assert_int_equal(set.room, 2);
    assert_true(set.features[0] == first && set.features[TIM_INCEPTION_FEATURES - 1] == last);
    assert_memory_equal(set.features, set.features + TIM_INCEPTION_FEATURES, TIM_INCEPTION_FEATURES * sizeof(float));
    tim_adm_set_done(&set);
    tim_inception_done(&n);
}

/* Two halves of one class each: by order every split has a score of 1, dealt it has that of both classes. */
static void test_inception_score_of_what_comes_by_class(void **state) {
    (void)state;
    enum { ALL = 6000, HALF = ALL / 2 };
    TimAdmSet set;
    float *classes = calloc((size_t)TIM_INCEPTION_CLASSES * TIM_INCEPTION_FEATURES, sizeof *classes);
    double score;
    assert_non_null(classes);
    classes[0] = classes[TIM_INCEPTION_FEATURES + 1] = 1;
    assert_ok(tim_adm_set_init(&set, ALL, &err));
    set.features = tim_alloc(ALL, TIM_INCEPTION_FEATURES * sizeof *set.features);
    assert_non_null(set.features);
    for (size_t i = 0; i < ALL; i++) set.features[i * TIM_INCEPTION_FEATURES + i / HALF] = 1e4F; /* logits of certain classes */
    set.count = set.room = ALL;
    assert_ok(tim_adm_set_score(&score, &set, classes, &err)); /* splits of 3000 + 2000 and of 1000 */
    assert_near(score, (exp(0.6 * log(1 / 0.6) + 0.4 * log(1 / 0.4)) + 1) / 2, 1e-12);
    set.by_class = true;
    assert_ok(tim_adm_set_score(&score, &set, classes, &err));
    assert_near(score, 2, 1e-12);
    tim_adm_set_done(&set);
    free(classes);
}

static bool stop_at_end(int64_t done, int64_t total, void *user) {
    *(int64_t *)user = done;
    return done < total;
}

/* By files: a set is its own likeness, a file's own moments count, and these do not touch precision and recall. */
static void test_inception_adm_suite_takes_moments_of_files(void **state) {
    (void)state;
    char plain[64], with_moments[64];
    int64_t told = 0;
    TimAdmScores s;
    TimInception n = network(1);
    snprintf(plain, sizeof plain, "%s/plain.npz", folder);
    snprintf(with_moments, sizeof with_moments, "%s/moments.npz", folder);
    store(&n);
    write_adm_sets(&n, plain, with_moments);
    tim_inception_done(&n);

    TimAdmOptions o = {.classifier = path, .pictures = plain, .reference = plain, .threads = 2};
    assert_ok(tim_adm_suite(&o, &s, &err));
    assert_true(s.fid < 1e-3 && s.sfid < 1e-3 && s.precision == 1 && s.recall == 1 && !s.reference_moments);
    assert_true(s.pictures == ADM_SET && s.reference == ADM_SET && s.inception_score > 1 && s.inception_score < ADM_SET);
    o.reference = with_moments;
    assert_ok(tim_adm_suite(&o, &s, &err));
    assert_true(s.reference_moments && s.precision == 1 && s.recall == 1);
    assert_near(s.fid, 4, 4e-3F);
    assert_near(s.sfid, 9, 9e-3F);
    o.progress = stop_at_end, o.user = &told;
    assert_fails(tim_adm_suite(&o, &s, &err), TIM_E_CANCELLED, "after 10 of 10 pictures");
    assert_int_equal(told, 10);
    remove(plain);
    remove(with_moments);
}

/* Sound arrays that cannot be moments, and moments without their other half. */
static void test_inception_adm_moments_hostile_refused(void **state) {
    (void)state;
    char file[64];
    TimAdmSet set;
    TimNpz npz;
    TimMoments m;
    snprintf(file, sizeof file, "%s/hostile.npz", folder);
    assert_ok(tim_adm_set_init(&set, 4, &err));
    assert_ok(tim_moments_init(&m, TIM_INCEPTION_FEATURES, &err));

    assert_ok(tim_npz_open(&npz, file, &err));
    add_moments(&npz, &m, 0, "mu", "sigma");
    assert_ok(tim_npz_close(&npz, &err));
    assert_fails(tim_adm_set_read_moments(&set, file, &err), TIM_E_FORMAT, "no member mu_s.npy");
    assert_false(set.given);
    tim_adm_set_done(&set);

    m.covariance[TIM_INCEPTION_FEATURES + 1] = -1;
    assert_ok(tim_adm_set_init(&set, 4, &err));
    assert_ok(tim_npz_open(&npz, file, &err));
    add_moments(&npz, &m, 0, "mu", "sigma");
    assert_ok(tim_npz_close(&npz, &err));
    assert_fails(tim_adm_set_read_moments(&set, file, &err), TIM_E_FORMAT, "mu, sigma: the variance of column 1 is -1");
    assert_non_null(strstr(err.text, file));
    tim_adm_set_done(&set);

    m.width = TIM_ADM_SPATIAL;
    assert_ok(tim_adm_set_init(&set, 4, &err));
    assert_ok(tim_npz_open(&npz, file, &err));
    add_moments(&npz, &m, 0, "mu", "sigma");
    assert_ok(tim_npz_close(&npz, &err));
    assert_fails(tim_adm_set_read_moments(&set, file, &err), TIM_E_FORMAT, "(2023); wanted is");
    tim_adm_set_done(&set);
    tim_moments_done(&m);
    remove(file);
}

/* As the judge's network: the file alone says that it is Inception, features are the network's, and of classes it knows nothing. */
static void test_inception_judges_pictures(void **state) {
    (void)state;
    enum { SET = 6 };
    static uint8_t pixels[SET * 3 * PIXELS];
    static float features[SET * TIM_INCEPTION_FEATURES];
    static const int64_t labels[SET] = {0, 1, 2, 0, 1, 2};
    char set[64];
    snprintf(set, sizeof set, "%s/set.npz", folder);
    for (size_t i = 0; i < sizeof pixels; i++) pixels[i] = (uint8_t)(i * i / 7 + i / PIXELS * 50);
    TimInception n = network(1);
    store(&n);
    assert_ok(tim_inception_run(&n, pixels, SET, HEIGHT, WIDTH, 3, features, &err));
    tim_inception_done(&n);
    assert_ok(tim_npz_write_adm(set, pixels, SET, HEIGHT, WIDTH, 3, labels, &err));

    TimJudge *judge;
    TimJudgement j;
    const TimJudgeOptions options = {.classifier = path, .reference = set, .threads = 2};
    const TimPictures pictures = {.pixels = pixels, .count = SET, .height = HEIGHT, .width = WIDTH, .channels = 3};
    assert_ok(tim_judge_open(&judge, &options, &err));
    remove(set);
    assert_close(judge->reference_view.features, features, SET * TIM_INCEPTION_FEATURES);
    assert_ok(tim_judge_pictures(judge, &pictures, labels, &j, &err));
    assert_true(fabs(j.frechet) < 1e-3 && j.precision == 1 && j.recall == 1);
    assert_true(isnan(j.agreement));
    tim_judge_close(judge);
}

/* ---- pictures ---- */

typedef struct Sample {
    int c, y, x;
    float value;
} Sample;

static void compare_samples(const float *picture, int height, int width, const Sample *samples, size_t count) {
    float *x = tim_alloc(3 * TIM_INCEPTION_PIXELS, sizeof *x);
    assert_non_null(x);
    tim_inception_prepare(x, picture, height, width);
    for (size_t i = 0; i < count; i++) {
        const Sample *s = &samples[i];
        assert_near(x[s->c * TIM_INCEPTION_PIXELS + s->y * TIM_INCEPTION_SIDE + s->x], s->value, 1e-5F);
    }
    tim_free(x);
}

/* Expected values: torch's interpolate(mode='bilinear', align_corners=False), then 2 v - 1. */
static void test_inception_prepare_is_torchs_bilinear(void **state) {
    (void)state;
    static float small[3 * 4 * 5], tall[3 * 700];
    static const Sample larger[] = {{0, 0, 0, -1.0F},           {0, 298, 298, -0.78125F},   {1, 100, 50, 0.54916847F},
                                    {2, 17, 260, -0.70098245F}, {2, 150, 149, 0.21942925F}, {0, 37, 38, -0.96794361F}};
    static const Sample smaller[] = {{0, 0, 0, -0.76949203F},
                                     {0, 298, 298, -0.55292892F},
                                     {1, 100, 50, -0.08147383F},
                                     {2, 17, 260, -0.76092219F},
                                     {2, 150, 149, -0.63289738F}};
    for (int i = 0; i < 3 * 4 * 5; i++) {
        const int c = i / 20, y = i / 5 % 4, x = i % 5;
        small[i] = (float)((37 * c + 11 * y * y + 7 * x * x * x + 3 * y * x) % 64) / 64;
    }
    for (int i = 0; i < 3 * 700; i++) tall[i] = (float)((37 * (i / 700) + 11 * (i % 700) * (i % 700)) % 64) / 64;
    compare_samples(small, 4, 5, larger, sizeof larger / sizeof *larger);
    compare_samples(tall, 700, 1, smaller, sizeof smaller / sizeof *smaller);
}

/* Expected values: TensorFlow 2.21's compat.v1.image.resize_bilinear without aligned corners and without half pixel centres, then
 * (v - 128) / 128. */
static void test_inception_graph_input_is_tensorflows(void **state) {
    (void)state;
    static const struct {
        int height, width;
        Sample samples[6];
    } cases[] = {{20,
                  31,
                  {{0, 0, 0, -1.0F},
                   {0, 298, 298, -0.765625F},
                   {1, 100, 50, -0.46301621198654175F},
                   {2, 17, 260, -0.22506749629974365F},
                   {2, 150, 149, -0.5001895427703857F},
                   {1, 297, 3, -0.9461747407913208F}}},
                 {700,
                  1,
                  {{0, 0, 0, -1.0F},
                   {0, 298, 298, -0.16212797164916992F},
                   {1, 100, 50, -0.8633898496627808F},
                   {2, 17, 260, 0.2931652069091797F},
                   {2, 150, 149, -0.20774483680725098F},
                   {1, 297, 3, 0.3742694854736328F}}},
                 {299,
                  299,
                  {{0, 0, 0, -1.0F},
                   {0, 298, 298, 0.71875F},
                   {1, 100, 50, -0.8046875F},
                   {2, 17, 260, -0.7734375F},
                   {2, 150, 149, -0.515625F},
                   {1, 297, 3, 0.3828125F}}}};
    static uint8_t picture[3 * TIM_INCEPTION_PIXELS];
    for (size_t i = 0; i < sizeof picture; i++) picture[i] = (uint8_t)(i * i / 7 + i * 3);
    TimInception n = network(2);
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        assert_ok(tim_inception_put(&n, 1, TIM_INCEPTION_AS_GRAPH, picture, cases[k].height, cases[k].width, 3, &err));
        const TimMatrix x = tim_tape_value(n.network.tape, n.network.x);
        for (size_t i = 0; i < 6; i++) {
            const Sample *s = &cases[k].samples[i];
            assert_near(tim_matrix_f32(&x, 1)[s->c * TIM_INCEPTION_PIXELS + s->y * TIM_INCEPTION_SIDE + s->x], s->value, 1e-6F);
        }
    }
    tim_inception_done(&n);
}

static void test_inception_prepare_keeps_its_own_size(void **state) {
    (void)state;
    const size_t count = 3 * TIM_INCEPTION_PIXELS;
    float *picture = tim_alloc(count, sizeof *picture), *x = tim_alloc(count, sizeof *x);
    assert_true(picture && x);
    tim_hash_uniform("a picture", count, picture);
    tim_inception_prepare(x, picture, TIM_INCEPTION_SIDE, TIM_INCEPTION_SIDE);
    for (size_t i = 0; i < count; i++) assert_near(x[i], 2 * picture[i] - 1, 1e-6F);
    tim_free(picture);
    tim_free(x);
}

static void test_inception_bad_pictures_refused(void **state) {
    (void)state;
    static const struct {
        int64_t count;
        int height, width, channels;
        TimStatus status;
    } bad[] = {{1, 0, 1, 3, TIM_E_ARGUMENT}, {1, 1, -1, 3, TIM_E_ARGUMENT}, {1, 1, 1, 2, TIM_E_ARGUMENT},
               {1, 1, 1, 4, TIM_E_ARGUMENT}, {-1, 1, 1, 3, TIM_E_ARGUMENT}, {1, 2147483647, 2147483647, 3, TIM_E_MEMORY}};
    const uint8_t picture[4] = {0};
    float features[TIM_INCEPTION_FEATURES];
    TimInception n = network(1);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(tim_inception_run(&n, picture, bad[i].count, bad[i].height, bad[i].width, bad[i].channels, features, &err),
                         bad[i].status);
    assert_ok(tim_inception_run(&n, picture, 0, 1, 1, 1, features, &err));
    tim_inception_done(&n);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_inception_batch_norm_is_folded),
        cmocka_unit_test(test_inception_bad_variance_refused),
        cmocka_unit_test(test_inception_wrong_files_name_the_tensor),
        cmocka_unit_test(test_inception_classes_of_another_network_refused),
        cmocka_unit_test(test_inception_adm_set_has_room_for_what_comes),
        cmocka_unit_test(test_inception_score_of_what_comes_by_class),
        cmocka_unit_test(test_inception_adm_suite_takes_moments_of_files),
        cmocka_unit_test(test_inception_adm_moments_hostile_refused),
        cmocka_unit_test(test_inception_graph_input_is_tensorflows),
        cmocka_unit_test(test_inception_no_file_fails),
        cmocka_unit_test(test_inception_file_batches_and_gray_give_the_same_features),
        cmocka_unit_test(test_inception_judges_pictures),
        cmocka_unit_test(test_inception_prepare_is_torchs_bilinear),
        cmocka_unit_test(test_inception_prepare_keeps_its_own_size),
        cmocka_unit_test(test_inception_bad_pictures_refused),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
