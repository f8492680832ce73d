/* What training promises: initial weights, order of the pictures, schedules, steps, checkpoints and whole runs.
 * The networks and the pictures are as small as they get. Runs from the root of the sources; writes into a
 * temporary directory only. */
#include <dirent.h>
#include <float.h>
#include <limits.h>
#include <math.h>
#include <setjmp.h>
#include <signal.h>
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

#include "base/memory.h"
#include "base/rng.h"
#include "fixture.h"
#include "io/config_diff.h"
#include "io/file.h"
#include "op/matmul.h"
#include "train/assignment.h"
#include "train/checkpoint.h"
#include "train/checkpoints.h"
#include "train/coupling.h"
#include "train/folder.h"
#include "train/init.h"
#include "train/lane.h"
#include "train/log.h"
#include "train/loss.h"
#include "train/loss_scale.h"
#include "train/schedule.h"
#include "train/streams.h"
#include "train/time_pairs.h"
#include "train/trainer.h"
#include "transport/transport.h"

enum { PICTURES = 37, SIDE = 8, CLASSES = 4, BATCH = 8 };

/* ---- fixtures ---- */

static bool exists(const char *path) {
    struct stat info;
    return stat(path, &info) == 0;
}

static void assert_close(double actual, double expected, double tolerance) {
    if (fabs(actual - expected) <= tolerance) return;
    print_error("%.17g is not within %g of %.17g\n", actual, tolerance, expected);
    fail();
}

/* Picture i: its number in the first pixel, elsewhere bright in the quarter that its class i mod 4 names. */
static uint8_t pixel(int i, int y, int x) {
    if (y == 0 && x == 0) return (uint8_t)i;
    const int quarter = 2 * (y >= SIDE / 2) + (x >= SIDE / 2);
    return quarter == i % CLASSES ? 230 : 20;
}

static void write_pictures(const char *dir, uint8_t highest_class) {
    static const uint8_t image_head[] = {0, 0, 8, 3, 0, 0, 0, PICTURES, 0, 0, 0, SIDE, 0, 0, 0, SIDE},
                         label_head[] = {0, 0, 8, 1, 0, 0, 0, PICTURES};
    uint8_t images[sizeof image_head + PICTURES * SIDE * SIDE], labels[sizeof label_head + PICTURES];
    char path[TIM_MAX_PATH];
    memcpy(images, image_head, sizeof image_head);
    memcpy(labels, label_head, sizeof label_head);
    for (int i = 0; i < PICTURES; i++) {
        labels[sizeof label_head + (size_t)i] = (uint8_t)(i % CLASSES);
        for (int p = 0; p < SIDE * SIDE; p++)
            images[sizeof image_head + (size_t)(i * SIDE * SIDE + p)] = pixel(i, p / SIDE, p % SIDE);
    }
    labels[sizeof labels - 1] = highest_class;
    assert_ok(tim_folder_make(dir, &err));
    snprintf(path, sizeof path, "%s/train-images-idx3-ubyte", dir);
    write_file(path, images, sizeof images);
    snprintf(path, sizeof path, "%s/train-labels-idx1-ubyte", dir);
    write_file(path, labels, sizeof labels);
}

static int make_folder(void **state) {
    (void)state;
    if (!mkdtemp(folder)) return -1;
    write_pictures(in_folder("pictures"), 0);
    return 0;
}

static int remove_folder(void **state) {
    (void)state;
    return tim_folder_remove(folder, &err) == TIM_OK ? 0 : -1;
}

/* A configuration that trains in milliseconds. */
static TimConfig tiny(TimPrecision precision) {
    TimConfig config;
    tim_config_init(&config);
    TimNetworkConfig *n = &config.network;
    n->input_size = SIDE, n->patch_size = 4, n->in_channels = 1, n->num_classes = CLASSES, n->class_dropout_prob = 0.1;
    n->depth = n->encoder_depth = 1, n->hidden_size = 16, n->num_heads = 1, n->lora_hidden_size = 4,
    n->z_dim = n->projector_dim = 1;
    n->use_new_embed = n->distance_aware = true;
    config.transition.derivative_type = TIM_DERIVATIVE_JVP, config.transition.weight_time_type = TIM_WEIGHT_SQRT;
    config.transition.diffusion_ratio = 0.5, config.transition.consistency_ratio = 0.1;
    config.transition.weight_time_tangent = true;
    TimTrainingConfig *t = &config.training;
    t->batch_size = BATCH, t->mixed_precision = precision, t->learning_rate = 3e-3, t->scale_lr = false;
    t->lr_scheduler = TIM_SCHEDULE_CONSTANT_WITH_WARMUP, t->lr_warmup_steps = 3;
    t->ema_decay = 0.99, t->ema_warmup = true, t->max_train_steps = 6, t->checkpointing_steps = 2, t->checkpoints_total_limit = 2;
    assert_ok(tim_copy_text(&config.data_type, "idx", &err));
    assert_ok(tim_copy_text(&config.data_dir, in_folder("pictures"), &err));
    return config;
}

/* ---- initial weights ---- */

static void add(TimParams *params, const char *name, int64_t rows, int64_t cols, TimInit init) {
    int index;
    assert_ok(tim_params_add(params, name, 2, (int64_t[]){rows, cols}, init, &index, &err));
}

static float *init(const TimParams *params, uint64_t seed, int threads) {
    float *weights;
    assert_ok(tim_new(&weights, params->elements, sizeof *weights, "weights", &err));
    tim_init_weights(weights, params, seed, threads);
    return weights;
}

static void moments_of(const float *values, size_t count, double *mean, double *deviation, double *largest) {
    double sum = 0, squares = 0;
    *largest = 0;
    for (size_t i = 0; i < count; i++) {
        sum += values[i], squares += (double)values[i] * values[i];
        *largest = fmax(*largest, fabs((double)values[i]));
    }
    *mean = sum / (double)count;
    *deviation = sqrt(squares / (double)count - *mean * *mean);
}

static void test_init_each_kind_has_its_distribution(void **state) {
    (void)state;
    enum { ROWS = 300, COLS = 100 };
    TimParams params = {0};
    add(&params, "zero", ROWS, COLS, TIM_INIT_ZERO);
    add(&params, "one", ROWS, COLS, TIM_INIT_ONE);
    add(&params, "normal", ROWS, COLS, TIM_INIT_NORMAL);
    add(&params, "xavier", ROWS, COLS, TIM_INIT_XAVIER);
    float *weights = init(&params, 1, 2);
    const double bound = sqrt(6.0 / (ROWS + COLS));
    static const double expected_mean[] = {0, 1, 0, 0};
    const double deviation[] = {0, 0, 0.02, bound / sqrt(3.0)}, largest[] = {0, 1, 0.08, bound};
    for (int i = 0; i < 4; i++) {
        double mean, found, most;
        moments_of(weights + params.items[i].offset, ROWS * COLS, &mean, &found, &most);
        assert_close(mean, expected_mean[i], 4 * deviation[i] / sqrt(ROWS * COLS));
        assert_close(found, deviation[i], 0.02 * deviation[i] + 1e-12);
        assert_close(most, largest[i], i == 2 ? 0.02 : 1e-3 * bound);
    }
    tim_free(weights);
    tim_params_done(&params);
}

static void test_init_any_thread_count_gives_the_same_bits(void **state) {
    (void)state;
    TimParams params = {0};
    add(&params, "a", 77, 333, TIM_INIT_XAVIER);
    add(&params, "b", 5, 3001, TIM_INIT_NORMAL);
    float *one = init(&params, 5, 1), *four = init(&params, 5, 4), *other = init(&params, 6, 4);
    assert_memory_equal(one, four, params.elements * sizeof *one);
    assert_memory_not_equal(one, other, params.elements * sizeof *one);
    tim_free(one), tim_free(four), tim_free(other);
    tim_params_done(&params);
}

static void test_init_parameter_depends_on_its_name_alone(void **state) {
    (void)state;
    enum { COUNT = 100 * 100 };
    TimParams forward = {0}, backward = {0};
    add(&forward, "a", 100, 100, TIM_INIT_XAVIER), add(&forward, "b", 100, 100, TIM_INIT_XAVIER);
    add(&backward, "b", 100, 100, TIM_INIT_XAVIER), add(&backward, "a", 100, 100, TIM_INIT_XAVIER);
    float *first = init(&forward, 9, 1), *second = init(&backward, 9, 1);
    const float *a = first + forward.items[0].offset, *b = first + forward.items[1].offset;
    assert_memory_equal(a, second + backward.items[1].offset, COUNT * sizeof *a);
    double product = 0, square = 0;
    for (size_t i = 0; i < COUNT; i++) product += (double)a[i] * b[i], square += (double)a[i] * a[i];
    assert_close(product / square, 0, 0.05); /* five standard deviations of independent numbers */
    tim_free(first), tim_free(second);
    tim_params_done(&forward), tim_params_done(&backward);
}

static void test_init_network_fused_and_patch_weights_are_single_matrices(void **state) {
    (void)state;
    TimConfig config = tiny(TIM_PRECISION_F32);
    TimParams params = {0};
    assert_ok(tim_network_params(&params, &config.network, &err));
    float *weights = init(&params, 0, 1);
    static const struct {
        const char *name;
        double fans; /* D = 16, C p p = 16 */
    } cases[] = {{"x_embedder.proj.weight", 16 + 16}, {"blocks.0.attn.qkv.weight", 48 + 16}};
    for (size_t c = 0; c < 2; c++) {
        const TimParam *param = &params.items[tim_params_find(&params, cases[c].name)];
        double mean, deviation, largest;
        moments_of(weights + param->offset, param->count, &mean, &deviation, &largest);
        assert_close(largest, sqrt(6.0 / cases[c].fans), 0.02);
        assert_true(largest <= sqrt(6.0 / cases[c].fans));
    }
    tim_free(weights);
    tim_params_done(&params);
    tim_config_done(&config);
}

/* ---- data ---- */

typedef struct Drawn {
    float x[3 * PICTURES * SIDE * SIDE];
    int64_t labels[3 * PICTURES], dropped[3 * PICTURES];
} Drawn;

static TimData *open_data(bool mirror, double dropout) {
    TimConfig config = tiny(TIM_PRECISION_F32);
    TimData *data;
    config.data_mirror = mirror;
    config.network.class_dropout_prob = dropout;
    assert_ok(tim_data_open(&data, &config, &err));
    tim_config_done(&config);
    return data;
}

static void draw(TimData *data, uint64_t first, size_t count, Drawn *drawn) {
    tim_data_read(data, 3, first, count, &(TimSamples){drawn->x, drawn->labels, drawn->dropped}, 2);
}

/* The number that picture k of `drawn` carries in its first pixel. */
static int number_of(const Drawn *drawn, size_t k) {
    return (int)lround(((double)drawn->x[k * SIDE * SIDE] + 1.0) * 127.5);
}

static void test_data_order_is_a_permutation_of_seed_and_epoch(void **state) {
    (void)state;
    enum { COUNT = 1000 };
    uint32_t orders[4][COUNT];
    bool seen[COUNT] = {false};
    tim_data_order(orders[0], COUNT, 1, 0);
    tim_data_order(orders[1], COUNT, 1, 0);
    tim_data_order(orders[2], COUNT, 1, 1);
    tim_data_order(orders[3], COUNT, 2, 0);
    assert_memory_equal(orders[0], orders[1], sizeof orders[0]);
    int moved = 0, kept[2] = {0, 0};
    for (uint32_t i = 0; i < COUNT; i++) {
        assert_false(seen[orders[0][i]]);
        seen[orders[0][i]] = true;
        moved += orders[0][i] != i;
        for (int k = 0; k < 2; k++) kept[k] += orders[2 + k][i] == orders[0][i];
    }
    assert_true(moved > COUNT - 10 && kept[0] < 10 && kept[1] < 10); /* one place in COUNT stays by chance, on average */
}

static void test_data_read_each_epoch_has_every_picture_once(void **state) {
    (void)state;
    TimData *data = open_data(false, 0.1);
    Drawn drawn;
    int times[PICTURES] = {0};
    for (uint64_t at = 0; at < 3 * PICTURES; at += BATCH) { /* 37 is no multiple of 8: batches cross both borders */
        const size_t count = at + BATCH <= 3 * PICTURES ? BATCH : (size_t)(3 * PICTURES - at);
        draw(data, at, count, &drawn);
        for (size_t k = 0; k < count; k++) {
            const int number = number_of(&drawn, k);
            assert_in_range(number, 0, PICTURES - 1);
            assert_int_equal(times[number]++, (int)((at + k) / PICTURES));
            assert_int_equal(drawn.labels[k], number == PICTURES - 1 ? 0 : number % CLASSES);
        }
    }
    tim_data_close(data);
}

static void test_data_read_pieces_equal_the_whole(void **state) {
    (void)state;
    TimData *data = open_data(true, 0.3);
    static Drawn whole, piece;
    draw(data, 0, 3 * PICTURES, &whole);
    for (uint64_t at = 3 * PICTURES; at-- > 0;) { /* backwards, one at a time */
        draw(data, at, 1, &piece);
        assert_memory_equal(piece.x, whole.x + at * SIDE * SIDE, SIDE * SIDE * sizeof *piece.x);
        assert_int_equal(piece.labels[0], whole.labels[at]);
        assert_int_equal(piece.dropped[0], whole.dropped[at]);
    }
    tim_data_close(data);
}

static void test_data_read_pixels_span_minus_one_to_one(void **state) {
    (void)state;
    TimData *data = open_data(false, 0);
    static Drawn drawn;
    draw(data, 0, PICTURES, &drawn);
    for (size_t k = 0; k < PICTURES; k++)
        for (int p = 0; p < SIDE * SIDE; p++) {
            const float expected = (float)pixel(number_of(&drawn, k), p / SIDE, p % SIDE) / 127.5F - 1.0F;
            assert_true(drawn.x[k * SIDE * SIDE + (size_t)p] == expected);
        }
    tim_data_close(data);
}

/* By the side on which the quarter of its class is bright. */
static bool is_mirrored(const Drawn *drawn, size_t k) {
    const int64_t label = drawn->labels[k];
    const int64_t y = label < 2 ? 1 : SIDE - 1;
    const bool bright_left = drawn->x[k * SIDE * SIDE + (size_t)(y * SIDE)] > 0;
    return bright_left == (label % 2 == 1);
}

static void test_data_read_drops_and_mirrors_their_share(void **state) {
    (void)state;
    enum { COUNT = 3 * PICTURES, ROUNDS = 40, ALL = COUNT * ROUNDS };
    TimData *data = open_data(true, 0.3);
    static Drawn drawn;
    int dropped = 0, mirrored = 0, both = 0;
    for (int round = 0; round < ROUNDS; round++) {
        draw(data, (uint64_t)round * COUNT, COUNT, &drawn);
        for (size_t k = 0; k < COUNT; k++) {
            const bool mirror = is_mirrored(&drawn, k), drop = drawn.dropped[k] == CLASSES;
            if (!drop) assert_int_equal(drawn.dropped[k], drawn.labels[k]);
            dropped += drop, mirrored += mirror, both += drop && mirror;
        }
    }
    assert_close((double)dropped / ALL, 0.3, 0.03); /* four standard deviations or more */
    assert_close((double)mirrored / ALL, 0.5, 0.03);
    assert_close((double)both / ALL, 0.15, 0.03);
    tim_data_close(data);
}

static void test_data_read_without_dropout_keeps_all_labels(void **state) {
    (void)state;
    TimData *data = open_data(false, 0);
    static Drawn drawn;
    draw(data, 0, 3 * PICTURES, &drawn);
    assert_memory_equal(drawn.labels, drawn.dropped, sizeof drawn.labels);
    tim_data_close(data);
}

/* The means of all pictures drawn in so many epochs that half of each is mirrored, or of one epoch. */
static void check_means(bool mirror) {
    enum { EPOCHS = 400, ROW = SIDE * SIDE };
    TimData *data = open_data(mirror, 0.3);
    static Drawn drawn;
    float *means;
    static double sums[(CLASSES + 1) * ROW];
    int counts[CLASSES + 1] = {0};
    memset(sums, 0, sizeof sums);
    for (int epoch = 0; epoch < (mirror ? EPOCHS : 1); epoch++) {
        draw(data, (uint64_t)epoch * PICTURES, PICTURES, &drawn);
        for (size_t k = 0; k < PICTURES; k++) {
            const int64_t rows[2] = {drawn.labels[k], CLASSES};
            for (int j = 0; j < 2; j++) {
                for (int p = 0; p < ROW; p++) sums[rows[j] * ROW + p] += (double)drawn.x[k * ROW + (size_t)p];
                counts[rows[j]]++;
            }
        }
    }
    assert_ok(tim_data_means(&means, data, &err));
    for (int c = 0; c <= CLASSES; c++)
        for (int p = 0; p < ROW; p++)
            assert_close(means[c * ROW + p], sums[c * ROW + p] / counts[c], mirror ? 0.1 : 1e-5); /* 5 standard deviations */
    tim_free(means);
    tim_data_close(data);
}

static void test_data_means_are_those_of_what_is_drawn(void **state) {
    (void)state;
    check_means(false);
    check_means(true);
}

static void assert_no_data(const TimConfig *config, TimStatus status, const char *part) {
    TimData *data;
    assert_int_equal(tim_data_open(&data, config, &err), status);
    assert_null(data);
    assert_says(part);
}

static void test_data_open_unfit_set_says_why(void **state) {
    (void)state;
    TimConfig config = tiny(TIM_PRECISION_F32);
    config.network.num_classes = CLASSES - 1;
    assert_no_data(&config, TIM_E_ARGUMENT, "num_classes is 3");
    config.network.num_classes = CLASSES;
    config.network.input_size = 2 * SIDE;
    assert_no_data(&config, TIM_E_ARGUMENT, "8 x 8");
    config.network.input_size = SIDE;
    config.network.in_channels = 3;
    assert_no_data(&config, TIM_E_ARGUMENT, "3 channels");
    config.network.in_channels = 1;
    tim_free(config.data_dir);
    config.data_dir = NULL;
    assert_no_data(&config, TIM_E_ARGUMENT, "data.dataset.data_dir");
    strcpy(config.data_type, "png");
    assert_no_data(&config, TIM_E_UNSUPPORTED, "'png'; training reads fashion-mnist and idx");
    tim_config_done(&config);
}

static void test_data_open_no_fashion_mnist_names_the_package(void **state) {
    (void)state;
    TimConfig config;
    tim_config_init(&config);
    config.data_type = (char[]){"fashion-mnist"};
    config.data_dir = (char[]){"/nonexistent"};
    assert_no_data(&config, TIM_E_IO, "dataset-fashion-mnist");
}

/* ---- which noise goes with which picture ---- */

enum { SMALL = 6 }; /* rows: 720 orders */

static double assigned(const float *gain, size_t stride, const uint32_t *column, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += (double)gain[i * stride + column[i]];
    return sum;
}

/* The greatest sum of all orders that agree with `column` up to `row`. */
static double best_of_all(const float *gain, uint32_t *column, size_t row, size_t n) {
    if (row == n) return assigned(gain, SMALL, column, n);
    double best = -HUGE_VAL;
    for (size_t i = row; i < n; i++) {
        const uint32_t here = column[row];
        column[row] = column[i], column[i] = here;
        best = fmax(best, best_of_all(gain, column, row + 1, n));
        column[i] = column[row], column[row] = here;
    }
    return best;
}

static void test_assign_is_the_best_of_all_orders(void **state) {
    (void)state;
    TimAssignment work = {0};
    float gain[SMALL * SMALL];
    uint32_t column[SMALL], order[SMALL];
    assert_ok(tim_assignment_init(&work, SMALL, &err));
    for (uint64_t problem = 0; problem < 60; problem++) {
        const size_t n = 1 + problem % SMALL;
        tim_rng_normal(gain, SMALL * SMALL, 5, problem, 0);
        for (int i = 0; problem % 2 && i < SMALL * SMALL; i++) gain[i] = roundf(gain[i]); /* many sums are equal */
        for (size_t i = 0; i < n; i++) order[i] = (uint32_t)i;
        tim_assign(&work, gain, n, SMALL, column);
        unsigned taken = 0;
        for (size_t i = 0; i < n; i++) taken |= 1U << column[i];
        assert_int_equal(taken, (1U << n) - 1);
        assert_close(assigned(gain, SMALL, column, n), best_of_all(gain, order, 0, n), 1e-12);
    }
    tim_assignment_done(&work);
}

/* scipy.optimize.linear_sum_assignment (SciPy 1.17.1) on the same 200 x 200 numbers has the sum 519.601829410. */
static void test_assign_equals_scipy(void **state) {
    (void)state;
    enum { N = 200 };
    TimAssignment work = {0};
    static float gain[N * N];
    uint32_t column[N];
    tim_rng_normal(gain, N * N, 1, 7, 0);
    assert_ok(tim_assignment_init(&work, N, &err));
    tim_assign(&work, gain, N, N, column);
    assert_close(assigned(gain, N, column, N), 519.601829410, 1e-8);
    tim_assignment_done(&work);
}

enum { POOL_BATCHES = 12, POOL = POOL_BATCHES * BATCH, PIXELS = SIDE * SIDE, FIRST_STEP = 24, FIRST_SAMPLE = FIRST_STEP * BATCH };

static TimCoupling *new_coupling(size_t batches, int threads) {
    TimCoupling *coupling;
    const TimCouplingShape shape = {.batches = batches, .batch = BATCH, .picture = PIXELS, .classes = CLASSES, .threads = threads};
    assert_ok(tim_coupling_new(&coupling, &shape, &err));
    return coupling;
}

static void noise_of_step(TimCoupling *coupling, TimData *data, int step, float *z) {
    tim_coupling_noise(coupling, data, 3, FIRST_STEP + step, (uint64_t)(FIRST_SAMPLE + step * BATCH), z);
}

static double product(const float *x, const float *z) {
    double sum = 0;
    for (int k = 0; k < PIXELS; k++) sum += (double)x[k] * (double)z[k];
    return sum;
}

typedef struct Pool {
    Drawn samples;
    float drawn[POOL * PIXELS], coupled[POOL * PIXELS];
} Pool;

static void fill_pool(Pool *pool) {
    TimData *data = open_data(true, 0.1);
    TimCoupling *plain = new_coupling(0, 2), *coupling = new_coupling(POOL_BATCHES, 2);
    for (int step = 0; step < POOL_BATCHES; step++) {
        noise_of_step(plain, data, step, pool->drawn + step * BATCH * PIXELS);
        noise_of_step(coupling, data, step, pool->coupled + step * BATCH * PIXELS);
    }
    draw(data, FIRST_SAMPLE, POOL, &pool->samples);
    tim_coupling_free(plain), tim_coupling_free(coupling);
    tim_data_close(data);
}

static void test_coupling_none_leaves_pairs_as_drawn(void **state) {
    (void)state;
    static Pool pool;
    float z[PIXELS];
    fill_pool(&pool);
    for (size_t i = 0; i < POOL; i++) {
        const uint64_t stream = tim_stream(TIM_STREAM_NOISE, FIRST_STEP + i / BATCH);
        tim_rng_normal(z, PIXELS, 3, stream, i % BATCH * PIXELS);
        assert_memory_equal(z, pool.drawn + i * PIXELS, sizeof z);
    }
}

static void test_coupling_exchanges_noise_within_a_class(void **state) {
    (void)state;
    static Pool pool;
    int times[POOL] = {0}, moved = 0;
    double before = 0, after = 0;
    fill_pool(&pool);
    for (size_t i = 0; i < POOL; i++) {
        const float *z = pool.coupled + i * PIXELS;
        size_t from = 0;
        while (from < POOL && memcmp(z, pool.drawn + from * PIXELS, PIXELS * sizeof *z) != 0) from++;
        assert_true(from < POOL);
        assert_int_equal(times[from]++, 0);
        assert_int_equal(pool.samples.labels[i], pool.samples.labels[from]);
        moved += from != i;
        before += product(pool.samples.x + i * PIXELS, pool.drawn + i * PIXELS);
        after += product(pool.samples.x + i * PIXELS, z);
    }
    assert_true(moved > POOL / 2);
    assert_true(after > before + POOL); /* two kinds of pictures a class: about 2.5 a sample are to be had */
}

/* A pool of one class is more than one group. */
static void test_coupling_large_classes_are_cut(void **state) {
    (void)state;
    enum { BATCHES = 256 }; /* 2048 samples of 4 classes: two groups each or more */
    TimData *data = open_data(true, 0.1);
    TimCoupling *plain = new_coupling(0, 2), *coupling = new_coupling(BATCHES, 2);
    static float drawn[BATCHES * BATCH], coupled[BATCHES * BATCH]; /* the first number of each noise */
    float z[BATCH * PIXELS];
    double sums[2] = {0};
    for (int step = 0; step < BATCHES; step++) {
        tim_coupling_noise(plain, data, 3, step, (uint64_t)(step * BATCH), z);
        for (int i = 0; i < BATCH; i++) drawn[step * BATCH + i] = z[i * PIXELS];
        tim_coupling_noise(coupling, data, 3, step, (uint64_t)(step * BATCH), z);
        for (int i = 0; i < BATCH; i++) coupled[step * BATCH + i] = z[i * PIXELS];
    }
    for (int i = 0; i < BATCHES * BATCH; i++) sums[0] += (double)drawn[i], sums[1] += (double)coupled[i];
    assert_memory_not_equal(drawn, coupled, sizeof drawn);
    assert_close(sums[0], sums[1], 1e-9 * BATCHES * BATCH); /* floats of one kind, added in double: another order only */
    tim_coupling_free(plain), tim_coupling_free(coupling);
    tim_data_close(data);
}

/* Whatever came before, another step of the pool or of another one, and whatever the threads. */
static void test_coupling_is_a_function_of_the_step(void **state) {
    (void)state;
    static Pool pool;
    float z[BATCH * PIXELS];
    fill_pool(&pool);
    TimData *data = open_data(true, 0.1);
    TimCoupling *one = new_coupling(POOL_BATCHES, 1), *three = new_coupling(POOL_BATCHES, 3);
    for (int step = POOL_BATCHES; step-- > 0;) {
        noise_of_step(one, data, step, z);
        assert_memory_equal(z, pool.coupled + step * BATCH * PIXELS, sizeof z);
        noise_of_step(three, data, step + POOL_BATCHES, z);
        noise_of_step(three, data, step, z);
        assert_memory_equal(z, pool.coupled + step * BATCH * PIXELS, sizeof z);
    }
    tim_coupling_free(one), tim_coupling_free(three);
    tim_data_close(data);
}

/* A resumed run with larger batches: its pool would begin before the first picture. */
static void test_coupling_too_early_for_a_pool_leaves_pairs_as_drawn(void **state) {
    (void)state;
    enum { STEP = POOL_BATCHES - 1 };
    TimData *data = open_data(true, 0.1);
    TimCoupling *plain = new_coupling(0, 2), *coupling = new_coupling(POOL_BATCHES, 2);
    float drawn[BATCH * PIXELS], coupled[BATCH * PIXELS];
    tim_coupling_noise(plain, data, 3, STEP, STEP * BATCH - 1, drawn);
    tim_coupling_noise(coupling, data, 3, STEP, STEP * BATCH - 1, coupled);
    assert_memory_equal(drawn, coupled, sizeof drawn);
    tim_coupling_noise(coupling, data, 3, STEP, STEP * BATCH, coupled);
    assert_memory_not_equal(drawn, coupled, sizeof drawn);
    tim_coupling_free(plain), tim_coupling_free(coupling);
    tim_data_close(data);
}

static void test_coupling_new_too_large_is_named(void **state) {
    (void)state;
    TimCoupling *coupling;
    const TimCouplingShape shape = {.batches = 4096, .batch = SIZE_MAX / 64, .picture = PIXELS, .classes = CLASSES, .threads = 1};
    assert_int_equal(tim_coupling_new(&coupling, &shape, &err), TIM_E_MEMORY);
    assert_null(coupling);
    assert_says("coupling_batches is 4096");
}

/* ---- Muon ---- */

enum { MUON_SIZE = 24, MUON_STEPS = 3 };

/* A (6, 4), a (4, 6) and two parameters that are not matrices of a block. */
static void make_muon_params(TimParams *params) {
    static const struct {
        const char *name;
        int64_t rows, cols;
    } all[] = {{"x.weight", 4, 6}, {"blocks.0.tall.weight", 6, 4}, {"blocks.0.wide.weight", 4, 6}, {"last.weight", 6, 4}};
    for (int i = 0; i < 4; i++) {
        int index;
        const int64_t dims[] = {all[i].rows, all[i].cols};
        assert_ok(tim_params_add(params, all[i].name, 2, dims, TIM_INIT_ZERO, &index, &err));
    }
}

/* Weights of three updates; parameter k starts at cos(0.7 i + k - 1), with gradient sin(1.3 i (step + 1) + k - 1) + 0.1 ((7 i +
 * step) mod 5). */
static void run_muon(const TimParams *params, TimDtype product, int threads, float *weights, float *ema, TimBf16 *bf16) {
    float gradients[4 * 32] = {0}, first[4 * 32] = {0}, second[4 * 32] = {0};
    TimMuon *muon;
    assert_true(params->elements <= sizeof first / sizeof *first);
    assert_ok(tim_muon_new(&muon, params, product, threads, &err));
    for (size_t k = 0; k < params->count; k++)
        for (int i = 0; i < MUON_SIZE; i++) weights[params->items[k].offset + (size_t)i] = (float)cos(0.7 * i + (double)k - 1);
    for (int step = 0; step < MUON_STEPS; step++) {
        for (size_t k = 0; k < params->count; k++)
            for (int i = 0; i < MUON_SIZE; i++)
                gradients[params->items[k].offset + (size_t)i] =
                    (float)(sin(1.3 * i * (step + 1) + (double)k - 1) + 0.1 * ((i * 7 + step) % 5));
        const TimAdamWVectors vectors = {weights, first, second, ema, gradients, bf16, params->elements};
        const TimAdamWStep s = {1e-2, 0.9, 0.95, 1e-6, 0.1, step + 1, 1.0, 0.5, threads};
        tim_muon_update(muon, &vectors, &s, 0.9);
    }
    tim_muon_free(muon);
}

/* By torch.optim.Muon 2.13 (lr 1e-2, weight_decay 0.1, momentum 0.9, nesterov, "match_rms_adamw"), its products in fp64. */
static const float muon_expected[2][MUON_SIZE] = {
    {0.995685010F, 0.754437810F, 0.165426457F, -0.503864136F, -0.935663488F, -0.939645100F, -0.496297476F, 0.182165221F,
     0.772754090F, 1.001183951F, 0.744637513F, 0.146756401F,  -0.520434826F, -0.944051004F, -0.925414410F, -0.481354897F,
     0.198291299F, 0.779634311F, 0.996381536F, 0.743131420F,  0.126525212F,  -0.535565540F, -0.951482168F, -0.919649603F},
    {0.530448116F, -0.131747343F, -0.736167145F, -0.995147734F, -0.789231959F, -0.219739545F, 0.464839779F,  0.922459353F,
     0.947495070F, 0.523055598F,  -0.155145041F, -0.747799421F, -0.996582159F, -0.778506546F, -0.197733337F, 0.473313940F,
     0.927735434F, 0.941816838F,  0.510920469F,  -0.167425057F, -0.765058815F, -1.001122324F, -0.767487471F, -0.174470876F}};

static void check_muon(TimDtype product, int threads, double tolerance) {
    TimParams params = {0};
    float weights[4 * 32] = {0};
    make_muon_params(&params);
    run_muon(&params, product, threads, weights, NULL, NULL);
    for (size_t k = 1; k <= 2; k++)
        for (int i = 0; i < MUON_SIZE; i++)
            assert_close(weights[params.items[k].offset + (size_t)i], muon_expected[k - 1][i], tolerance);
    tim_params_done(&params);
}

static void test_muon_matrices_of_blocks_move_as_torch_moves_them(void **state) {
    (void)state;
    for (int threads = 1; threads <= 3; threads++) check_muon(TIM_F32, threads, 2e-6);
    check_muon(TIM_BF16, 1, 4e-4); /* torch rounds as well, and differs by 1.6e-4 from the values above */
}

static void test_muon_other_parameters_move_by_adamw(void **state) {
    (void)state;
    TimParams params = {0};
    float weights[4 * 32] = {0}, expected[MUON_SIZE], first[MUON_SIZE] = {0}, second[MUON_SIZE] = {0}, g[MUON_SIZE];
    make_muon_params(&params);
    run_muon(&params, TIM_F32, 2, weights, NULL, NULL);
    for (size_t k = 0; k < 4; k += 3) {
        memset(first, 0, sizeof first), memset(second, 0, sizeof second);
        for (int i = 0; i < MUON_SIZE; i++) expected[i] = (float)cos(0.7 * i + (double)k - 1);
        for (int step = 0; step < MUON_STEPS; step++) {
            for (int i = 0; i < MUON_SIZE; i++)
                g[i] = (float)(sin(1.3 * i * (step + 1) + (double)k - 1) + 0.1 * ((i * 7 + step) % 5));
            const TimAdamWVectors vectors = {expected, first, second, NULL, g, NULL, MUON_SIZE};
            tim_adamw_update(&vectors, &(TimAdamWStep){1e-2, 0.9, 0.95, 1e-6, 0.1, step + 1, 1.0, 0.5, 1});
        }
        assert_memory_equal(weights + params.items[k].offset, expected, sizeof expected);
    }
    tim_params_done(&params);
}

static void test_muon_average_and_rounded_copy_follow(void **state) {
    (void)state;
    TimParams params = {0};
    float weights[4 * 32] = {0}, ema[4 * 32] = {0};
    TimBf16 bf16[4 * 32];
    make_muon_params(&params);
    run_muon(&params, TIM_F32, 1, weights, ema, bf16);
    for (size_t k = 0; k < params.count; k++)
        for (size_t i = params.items[k].offset; i < params.items[k].offset + MUON_SIZE; i++) {
            assert_int_equal(bf16[i], tim_bf16_from_f32(weights[i]));
            assert_close(ema[i], 0.875 * weights[i], 0.05); /* 1 - 0.5^3 of weights that moved by less */
        }
    tim_params_done(&params);
}

/* ---- schedule ---- */

static double factor(TimSchedule schedule, int64_t warmup, int64_t step) {
    const TimTrainingConfig config = {
        .lr_scheduler = schedule, .lr_warmup_steps = warmup, .max_train_steps = 110, .learning_rate = 1};
    return tim_learning_rate(&config, step);
}

static void test_schedule_values_are_those_of_diffusers(void **state) {
    (void)state;
    static const struct {
        TimSchedule schedule;
        int64_t warmup, step;
        double expected;
    } cases[] = {
        {TIM_SCHEDULE_CONSTANT, 10, 0, 1},
        {TIM_SCHEDULE_CONSTANT, 10, 109, 1},
        {TIM_SCHEDULE_CONSTANT_WITH_WARMUP, 10, 0, 0},
        {TIM_SCHEDULE_CONSTANT_WITH_WARMUP, 10, 4, 0.4},
        {TIM_SCHEDULE_CONSTANT_WITH_WARMUP, 10, 10, 1},
        {TIM_SCHEDULE_CONSTANT_WITH_WARMUP, 0, 0, 1},
        {TIM_SCHEDULE_LINEAR, 10, 5, 0.5},
        {TIM_SCHEDULE_LINEAR, 10, 10, 1},
        {TIM_SCHEDULE_LINEAR, 10, 35, 0.75},
        {TIM_SCHEDULE_LINEAR, 10, 110, 0},
        {TIM_SCHEDULE_LINEAR, 10, 500, 0},
        {TIM_SCHEDULE_COSINE, 10, 5, 0.5},
        {TIM_SCHEDULE_COSINE, 10, 10, 1},
        {TIM_SCHEDULE_COSINE, 10, 35, 0.85355339059327378},
        {TIM_SCHEDULE_COSINE, 10, 60, 0.5},
        {TIM_SCHEDULE_COSINE, 10, 110, 0},
        {TIM_SCHEDULE_COSINE, 10, 500, 0},
        {TIM_SCHEDULE_COSINE, 110, 110, 1},
    };
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++)
        assert_close(factor(cases[c].schedule, cases[c].warmup, cases[c].step), cases[c].expected, 1e-15);
}

static void test_schedule_scale_lr_multiplies_by_the_batch(void **state) {
    (void)state;
    TimTrainingConfig config = {.learning_rate = 1e-4, .batch_size = 64, .learning_rate_base_batch_size = 256};
    assert_close(tim_learning_rate(&config, 0), 1e-4, 1e-18);
    config.scale_lr = true;
    assert_close(tim_learning_rate(&config, 0), 0.25e-4, 1e-18);
}

static void test_schedule_falls_no_further_than_the_least_rate(void **state) {
    (void)state;
    TimTrainingConfig config = {.learning_rate = 4, .min_learning_rate = 1, .lr_scheduler = TIM_SCHEDULE_LINEAR};
    config.lr_warmup_steps = 10, config.max_train_steps = 110, config.batch_size = 64, config.learning_rate_base_batch_size = 256;
    static const double expected[][2] = {{0, 0}, {1, 0.4}, {10, 4}, {60, 2}, {85, 1}, {86, 1}, {110, 1}, {500, 1}};
    for (int scaled = 0; scaled < 2; scaled++) {
        config.scale_lr = scaled;
        for (size_t i = 0; i < sizeof expected / sizeof *expected; i++)
            assert_close(tim_learning_rate(&config, (int64_t)expected[i][0]), expected[i][1] * (scaled ? 0.25 : 1), 1e-15);
    }
}

/* ---- steps ---- */

static const TimTrainerOptions options = {.seed = UINT64_MAX - 7, .threads = 1};

static TimTrainer *new_trainer(const TimConfig *config) {
    TimTrainer *trainer;
    assert_ok(tim_trainer_new(&trainer, config, &options, &err));
    return trainer;
}

static void run_steps(TimTrainer *trainer, int count) {
    TimTrainReport report;
    for (int i = 0; i < count; i++) assert_ok(tim_trainer_step(trainer, &report, &err));
}

static void assert_same_trainer(const TimTrainer *a, const TimTrainer *b) {
    const size_t bytes = a->model->params.elements * sizeof(float);
    assert_memory_equal(&a->state, &b->state, sizeof a->state);
    assert_memory_equal(&a->loss_scale, &b->loss_scale, sizeof a->loss_scale);
    assert_memory_equal(a->model->f32, b->model->f32, bytes);
    assert_memory_equal(a->ema->f32, b->ema->f32, bytes);
    assert_memory_equal(a->moments, b->moments, 2 * bytes);
    if (a->model->bf16) assert_memory_equal(a->model->bf16, b->model->bf16, bytes / 2);
}

static void test_trainer_step_reports_what_it_did(void **state) {
    (void)state;
    TimConfig config = tiny(TIM_PRECISION_F32);
    TimTrainer *trainer = new_trainer(&config);
    TimTrainReport report;
    assert_memory_equal(trainer->model->f32, trainer->ema->f32, trainer->model->params.elements * sizeof(float));
    for (int step = 0; step < 5; step++) {
        assert_ok(tim_trainer_step(trainer, &report, &err));
        assert_int_equal(report.step, step + 1);
        assert_int_equal(report.skipped, 0);
        assert_close(report.learning_rate, 3e-3 * fmin(1, step / 3.0), 1e-12);
        assert_close(report.ema_decay, (1.0 + step) / (10.0 + step), 1e-12);
        assert_true(report.loss > 0 && report.denoising > 0 && report.grad_norm > 0 && report.proj == 0);
        assert_true(report.seconds > 0 && report.pictures_per_second > 0);
    }
    assert_int_equal(tim_trainer_steps(trainer), 5);
    tim_trainer_free(trainer);
    tim_config_done(&config);
}

/* ---- losses, and the loss to expect ---- */

enum { LOSS_CHANNELS = 2, LOSS_HEIGHT = 2, LOSS_WIDTH = 3, LOSS_COUNT = LOSS_CHANNELS * LOSS_HEIGHT * LOSS_WIDTH };

/* |d|, rounded off, of two pixels' differences from their target. */
static double loss_size(const float *f, const float *target, int next, int i) {
    const double before = i < 0 ? 0 : (double)f[i] - (double)target[i];
    return sqrt(pow((double)f[next] - (double)target[next] - before, 2) + 0.003 * 0.003);
}

static void check_absolute_loss(double edges) {
    const TimLossShape shape = {LOSS_CHANNELS, LOSS_HEIGHT * LOSS_WIDTH, false, true, edges, LOSS_WIDTH};
    static const float target[LOSS_COUNT] = {0, 0.5F, -1, 0.25F, 3, 0, 1, 1, 0, -2, 0.1F, 0.7F};
    static const float f[LOSS_COUNT] = {0, 0.51F, -0.5F, -0.5F, 2.75F, 1, 1, 0.9F, 0.3F, -1, 0, 0.71F};
    float g[LOSS_COUNT], near[LOSS_COUNT];
    double sum = 0;
    for (int i = 0; i < LOSS_COUNT; i++) sum += loss_size(f, target, i, -1);
    for (int c = 0; c < LOSS_CHANNELS; c++)
        for (int y = 0; y < LOSS_HEIGHT; y++)
            for (int x = 0; x < LOSS_WIDTH; x++) {
                const int i = (c * LOSS_HEIGHT + y) * LOSS_WIDTH + x;
                if (x > 0) sum += edges * loss_size(f, target, i, i - 1);
                if (y > 0) sum += edges * loss_size(f, target, i, i - LOSS_WIDTH);
            }
    assert_close(tim_loss(f, target, shape), pow(sum / LOSS_COUNT, 2), 1e-12);
    tim_loss_gradient(g, f, target, shape, 3);
    for (int i = 0; i < LOSS_COUNT; i++) {
        const float h = 1.0F / 4096;
        memcpy(near, f, sizeof near);
        near[i] = f[i] + h;
        const double above = tim_loss(near, target, shape);
        near[i] = f[i] - h;
        assert_close(g[i], 3 * (above - tim_loss(near, target, shape)) / (2.0 * (double)h), 1e-4);
    }
    near[0] = NAN;
    assert_true(tim_loss(near, target, shape) == 0);
    tim_loss_gradient(g, near, target, shape, 3);
    for (int i = 0; i < LOSS_COUNT; i++) assert_true(g[i] == 0);
}

static void test_loss_absolute_is_its_formula_and_the_gradient_its_difference(void **state) {
    (void)state;
    check_absolute_loss(0);
    check_absolute_loss(0.7);
}

static void test_loss_bin_is_one_of_its_transport(void **state) {
    (void)state;
    for (TimTransportKind kind = TIM_TRANSPORT_OT_FM; kind <= TIM_TRANSPORT_VE_SDE; kind++) {
        TimTransportConfig transport;
        tim_transport_config_init(&transport, kind);
        size_t last = 0;
        for (int i = 0; i <= 100; i++) {
            const double t = transport.t_min + (transport.t_max - transport.t_min) * i / 100;
            const size_t bin = tim_loss_bin(&transport, t);
            assert_true(bin < TIM_LOSS_BINS && bin >= last); /* later times, higher bins */
            last = bin;
        }
        assert_true(last > tim_loss_bin(&transport, transport.t_min));
    }
}

static void test_loss_expected_is_the_geometric_mean_of_the_past(void **state) {
    (void)state;
    TimLossScale scale = {0};
    assert_true(tim_loss_expected(&scale, 5) == 0);
    tim_loss_learn(&scale, 5, 2), tim_loss_learn(&scale, 5, 32), tim_loss_learn(&scale, 5, 1);
    assert_close(tim_loss_expected(&scale, 5), 4, 1e-5);
    tim_loss_learn(&scale, 5, NAN), tim_loss_learn(&scale, 5, INFINITY), tim_loss_learn(&scale, 5, 0),
        tim_loss_learn(&scale, 5, -1);
    assert_close(tim_loss_expected(&scale, 5), 4, 1e-5);
    assert_true(tim_loss_expected(&scale, 4) == 0);
    for (int i = 0; i < 3000; i++) tim_loss_learn(&scale, 5, 0.5F); /* what was long ago no longer counts */
    assert_close(tim_loss_expected(&scale, 5), 0.5, 1e-5);
}

/* Nine targets of -0.1 and one of 0.9, where F = 0 is their mean: gradient 0 if all weigh alike, but not with the weights 1 /
 * loss. */
static double gradient_at_the_mean(const float *expected_loss) {
    enum { COUNT = 10, ALL = COUNT * SIDE * SIDE };
    static float x[ALL], z[ALL];
    const int64_t labels[COUNT] = {0};
    double times[COUNT], sum = 0;
    TimLosses losses = {0};
    TimConfig config = tiny(TIM_PRECISION_F32);
    config.transition.use_dir_loss = false;
    TimTrainer *t = new_trainer(&config); /* the last layer begins with 0 */
    for (int i = 0; i < ALL; i++) x[i] = i < 9 * SIDE * SIDE ? 0.1F : -0.9F;
    for (int i = 0; i < COUNT; i++) times[i] = 0.7;
    const TimBatch batch = {.size = COUNT,
                            .diffusion = COUNT,
                            .x = x,
                            .z = z,
                            .t = times,
                            .r = times,
                            .condition.labels = labels,
                            .expected_loss = expected_loss};
    assert_ok(tim_objective_step(t->objective, &batch, &t->model->weights, NULL, t->gradients, &losses, &err));
    const TimParam *bias = &t->model->params.items[tim_params_find(&t->model->params, "final_layer.linear.bias")];
    for (size_t i = 0; i < bias->count; i++) sum += fabs((double)t->gradients[bias->offset + i]);
    assert_close(losses.denoising, 0.09, 1e-6);
    if (expected_loss && *expected_loss > 0) assert_close(losses.weighted, 0.09 / (0.2 + 1e-5), 1e-6);
    tim_trainer_free(t);
    tim_config_done(&config);
    return sum;
}

static void test_objective_expected_loss_leaves_the_mean_the_optimum(void **state) {
    (void)state;
    static const float expected[] = {0.2F, 0.2F, 0.2F, 0.2F, 0.2F, 0.2F, 0.2F, 0.2F, 0.2F, 0.2F}, unknown[10] = {0};
    assert_close(gradient_at_the_mean(expected), 0, 1e-6);
    assert_true(gradient_at_the_mean(NULL) > 1);
    assert_true(gradient_at_the_mean(unknown) > 1);
}

static double losses_seen(const TimTrainer *t) {
    double seen = 0;
    for (size_t i = 0; i < TIM_LOSS_BINS; i++) seen += (double)t->loss_scale.count[i];
    return seen;
}

/* From its step on, and of diffusion samples only. */
static void test_trainer_learns_what_loss_to_expect(void **state) {
    (void)state;
    TimConfig config = tiny(TIM_PRECISION_F32);
    const size_t diffusion = tim_time_share(config.transition.diffusion_ratio, BATCH);
    TimTrainer *plain = new_trainer(&config);
    config.transition.expected_loss = true, config.training.expected_loss_start_step = 1;
    TimTrainer *expecting = new_trainer(&config);
    const size_t bytes = plain->model->params.elements * sizeof(float);
    assert_true(diffusion > 0 && diffusion < BATCH);
    run_steps(plain, 2), run_steps(expecting, 2);
    assert_memory_equal(expecting->model->f32, plain->model->f32, bytes); /* nothing is known yet */
    assert_true(losses_seen(expecting) == (double)diffusion);
    run_steps(plain, 5), run_steps(expecting, 5);
    assert_memory_not_equal(expecting->model->f32, plain->model->f32, bytes);
    assert_true(losses_seen(expecting) == (double)(6 * diffusion));
    for (size_t i = diffusion; i < BATCH; i++) assert_true(expecting->batch.expected_loss[i] == 0);
    tim_trainer_free(plain), tim_trainer_free(expecting);
    tim_config_done(&config);
}

/* The loss at r = t on fixed pictures, noise and times: that of transitions is too noisy to compare over a few steps. */
static double diffusion_loss(TimTrainer *trainer) {
    enum { COUNT = 32 };
    static float x[COUNT * SIDE * SIDE], z[COUNT * SIDE * SIDE];
    int64_t labels[COUNT], dropped[COUNT];
    double times[COUNT];
    TimLosses losses = {0};
    tim_data_read(trainer->data, 1, 0, COUNT, &(TimSamples){x, labels, dropped}, 1);
    tim_rng_normal(z, COUNT * SIDE * SIDE, 1, 1, 0);
    for (int i = 0; i < COUNT; i++) times[i] = (i + 0.5) / COUNT;
    const TimBatch batch = {.size = COUNT, .diffusion = COUNT, .x = x, .z = z, .t = times, .r = times, .condition.labels = labels};
    assert_ok(tim_objective_step(trainer->objective, &batch, &trainer->model->weights, NULL, trainer->gradients, &losses, &err));
    return losses.denoising;
}

/* Side by side or one after the other: the same losses and weights up to the order of sums. */
/* What the configuration says of the update arrives there: one step of AdamW by hand from the gradient that it used. */
static void test_trainer_update_is_the_configurations(void **state) {
    (void)state;
    TimConfig config = tiny(TIM_PRECISION_F32);
    TimTrainingConfig *c = &config.training;
    c->optimizer = TIM_OPTIMIZER_ADAMW, c->max_grad_norm = 1e-3, c->weight_decay = 0.3, c->eps = 1e-4;
    c->beta1 = 0.6, c->beta2 = 0.7, c->learning_rate = 0.01, c->lr_warmup_steps = 0, c->scale_lr = false;
    TimTrainer *t = new_trainer(&config);
    const size_t count = t->model->params.elements;
    float *weights = calloc(count, sizeof *weights);
    assert_non_null(weights);
    memcpy(weights, t->model->f32, count * sizeof *weights);
    TimTrainReport report;
    assert_ok(tim_trainer_step(t, &report, &err));
    double norm = 0;
    for (size_t i = 0; i < count; i++) norm += (double)t->gradients[i] * (double)t->gradients[i];
    norm = sqrt(norm);
    assert_close((float)report.grad_norm, norm, 1e-5 * norm);
    assert_true(norm > 1e-2); /* it is clipped */
    for (size_t i = 0; i < count; i++) {
        const double g = (double)t->gradients[i] * 1e-3 / (norm + 1e-6), first = 0.4 * g, second = 0.3 * g * g, w = weights[i];
        const double step = first / (1 - 0.6) / (sqrt(second / (1 - 0.7)) + 1e-4);
        assert_close(t->model->f32[i], w - report.learning_rate * 0.3 * w - report.learning_rate * step, 2e-6);
    }
    free(weights);
    tim_trainer_free(t);
    tim_config_done(&config);
}

static void test_trainer_threads_change_rounding_only(void **state) {
    (void)state;
    TimConfig config = tiny(TIM_PRECISION_F32);
    TimTrainReport reports[4];
    TimTrainer *trainers[4];
    for (int i = 0; i < 4; i++) {
        static const int threads[] = {1, 2, 3, 11}; /* more than the pictures of a batch */
        assert_ok(tim_trainer_new(&trainers[i], &config, &(TimTrainerOptions){.seed = 3, .threads = threads[i]}, &err));
        assert_ok(tim_trainer_step(trainers[i], &reports[i], &err));
        assert_close(reports[i].loss, reports[0].loss, 1e-6 * reports[0].loss);
        assert_close(reports[i].denoising, reports[0].denoising, 1e-6 * reports[0].denoising);
        assert_close(reports[i].grad_norm, reports[0].grad_norm, 1e-5 * reports[0].grad_norm);
        for (size_t k = 0; k < trainers[0]->model->params.elements; k++)
            assert_close(trainers[i]->gradients[k], trainers[0]->gradients[k], 1e-5 * reports[0].grad_norm);
    }
    for (int i = 0; i < 4; i++) tim_trainer_free(trainers[i]);
    tim_config_done(&config);
}

static void test_trainer_loss_falls_over_100_steps(void **state) {
    (void)state;
    TimConfig config = tiny(TIM_PRECISION_F32);
    config.transition.use_dir_loss = false; /* the direction of one channel is its sign, which has no gradient */
    TimTrainer *trainer = new_trainer(&config);
    const double before = diffusion_loss(trainer);
    run_steps(trainer, 100);
    const double after = diffusion_loss(trainer);
    if (!(after < 0.6 * before)) fail_msg("the loss went from %g to %g", before, after);
    tim_trainer_free(trainer);
    tim_config_done(&config);
}

static void test_trainer_gradient_not_finite_skips_the_update(void **state) {
    (void)state;
    TimConfig config = tiny(TIM_PRECISION_BF16);
    TimTrainer *trainer = new_trainer(&config), *other = new_trainer(&config);
    TimTrainReport report;
    run_steps(trainer, 2), run_steps(other, 2);
    const size_t place = trainer->model->params.items[tim_params_find(&trainer->model->params, "x_embedder.proj.bias")].offset;
    const float kept = trainer->model->f32[place];
    trainer->model->f32[place] = INFINITY;
    tim_model_weights_changed(trainer->model);
    assert_ok(tim_trainer_step(trainer, &report, &err));
    assert_true(report.skipped_now && !isfinite(report.grad_norm));
    assert_int_equal(report.skipped, 1);
    assert_int_equal(report.step, 3);
    trainer->model->f32[place] = kept;
    tim_model_weights_changed(trainer->model);
    other->state.step++, other->state.skipped++, other->state.position += BATCH; /* nothing else may have changed */
    assert_same_trainer(trainer, other);
    run_steps(trainer, 2), run_steps(other, 2);
    assert_same_trainer(trainer, other);
    tim_trainer_free(trainer), tim_trainer_free(other);
    tim_config_done(&config);
}

static void test_trainer_guidance_runs_on_the_ema(void **state) {
    (void)state;
    TimConfig config = tiny(TIM_PRECISION_BF16);
    config.transport.enhance_target = true, config.transport.w_cond = 0.5, config.transport.w_gt = 1.0;
    TimTrainer *trainer = new_trainer(&config);
    assert_non_null(trainer->ema->bf16);
    run_steps(trainer, 3);
    for (size_t i = 0; i < trainer->ema->params.elements; i++)
        assert_int_equal(trainer->ema->bf16[i], tim_bf16_from_f32(trainer->ema->f32[i]));
    tim_trainer_free(trainer);
    config.network.class_dropout_prob = 0;
    assert_int_equal(tim_trainer_new(&trainer, &config, &options, &err), TIM_E_ARGUMENT);
    assert_says("class_dropout_prob");
    tim_config_done(&config);
}

/* Before its step guidance changes nothing, afterwards it does: held against a training without any. A network that has just begun
 * says the same with and without its class, so the effect takes some steps. */
static void test_trainer_guidance_starts_at_its_step(void **state) {
    (void)state;
    TimConfig config = tiny(TIM_PRECISION_F32);
    TimTrainer *plain = new_trainer(&config);
    config.transport.enhance_target = true, config.transport.w_cond = 0.5, config.transport.w_gt = 1.0;
    config.training.guidance_start_step = 2;
    TimTrainer *guided = new_trainer(&config);
    const size_t bytes = plain->model->params.elements * sizeof(float);
    run_steps(plain, 2), run_steps(guided, 2);
    assert_memory_equal(guided->model->f32, plain->model->f32, bytes);
    run_steps(plain, 4), run_steps(guided, 4);
    assert_memory_not_equal(guided->model->f32, plain->model->f32, bytes);
    tim_trainer_free(plain), tim_trainer_free(guided);
    tim_config_done(&config);
}

/* Three of eight samples lie in the window, and four are evaluated: each sample's target is the one that it has alone. */
static void test_objective_guides_some_samples_as_each_alone(void **state) {
    (void)state;
    enum { COUNT = 8 };
    static float x[COUNT * PIXELS], z[COUNT * PIXELS], together[COUNT * PIXELS], plain[COUNT * PIXELS], alone[PIXELS];
    int64_t labels[COUNT], dropped[COUNT], null[COUNT];
    double times[COUNT];
    TimConfig config = tiny(TIM_PRECISION_F32);
    config.transport.enhance_target = true, config.transport.w_cond = 0.5, config.transport.w_gt = 1.0;
    config.transport.w_start = 0.3, config.transport.w_end = 0.6;
    TimTrainer *t = new_trainer(&config);
    run_steps(t, 20);
    tim_data_read(t->data, 1, 0, COUNT, &(TimSamples){x, labels, dropped}, 1);
    tim_rng_normal(z, COUNT * PIXELS, 1, 1, 0);
    for (int i = 0; i < COUNT; i++) times[i] = (i + 0.5) / COUNT, null[i] = CLASSES;
    for (int k = -2; k < COUNT; k++) { /* all without guidance, all, each */
        const int i = k < 0 ? 0 : k;
        const TimBatch batch = {.size = k < 0 ? COUNT : 1,
                                .diffusion = k < 0 ? COUNT : 1,
                                .x = x + i * PIXELS,
                                .z = z + i * PIXELS,
                                .t = times + i,
                                .r = times + i,
                                .condition.labels = labels + i,
                                .teacher.labels = labels + i,
                                .null.labels = null + i,
                                .unguided = k == -2};
        TimLosses losses = {.target = k == -2 ? plain : k == -1 ? together : alone};
        assert_ok(tim_objective_step(t->objective, &batch, &t->model->weights, &t->ema->weights, t->gradients, &losses, &err));
        if (k < 0) continue;
        const bool guided = k >= 2 && k <= 4;
        for (int p = 0; p < PIXELS; p++) assert_close(alone[p], together[k * PIXELS + p], 1e-5);
        if (memcmp(plain + k * PIXELS, together + k * PIXELS, sizeof alone) ? !guided : guided)
            fail_msg("sample %d at %g is guided: %d", k, times[k], !guided);
    }
    tim_trainer_free(t);
    tim_config_done(&config);
}

static void assert_refused(const TimConfig *config, const TimTrainerOptions *with, TimStatus status, const char *part) {
    TimTrainer *trainer;
    assert_int_equal(tim_trainer_new(&trainer, config, with, &err), status);
    assert_null(trainer);
    assert_says(part);
}

static void test_trainer_new_bad_values_are_named(void **state) {
    (void)state;
    TimConfig config = tiny(TIM_PRECISION_F32);
    assert_refused(&config, &(TimTrainerOptions){.threads = -1}, TIM_E_ARGUMENT, "threads is -1");
    assert_refused(&config, &(TimTrainerOptions){.micro_batch = -3}, TIM_E_ARGUMENT, "micro_batch is -3");
    assert_refused(&config, &(TimTrainerOptions){.isa = "mmx"}, TIM_E_ARGUMENT, "'mmx'");
    config.training.batch_size = 0;
    assert_refused(&config, &options, TIM_E_ARGUMENT, "batch_size is 0");
    config.training.batch_size = BATCH;
    config.network.kind = TIM_NETWORK_T2I;
    assert_refused(&config, &options, TIM_E_UNSUPPORTED, "text network");
    assert_refused(&config, NULL, TIM_E_ARGUMENT, "options");
    assert_refused(NULL, &options, TIM_E_ARGUMENT, "configuration");
    tim_config_done(&config);
}

static void test_trainer_new_other_training_is_refused(void **state) {
    (void)state;
    TimConfig config = tiny(TIM_PRECISION_F32);
    snprintf(config.untrainable, sizeof config.untrainable, "model.use_ema is 'false'");
    assert_refused(&config, &options, TIM_E_UNSUPPORTED, "use_ema");
    config.untrainable[0] = '\0';
    config.training.proj_coeff = 1;
    assert_refused(&config, &options, TIM_E_UNSUPPORTED, "model.proj_coeff is 1");
    assert_says("set it to 0");
    config.training.proj_coeff = 0;
    assert_ok(tim_copy_text(&config.vae_dir, "stabilityai/sd-vae-ft-ema", &err)); /* left in a copy of a published configuration */
    assert_refused(&config, &options, TIM_E_UNSUPPORTED, "model.vae_dir is 'stabilityai/sd-vae-ft-ema'");
    tim_config_done(&config);
}

static void set_transport(TimConfig *config, TimTransportKind kind) {
    tim_transport_config_init(&config->transport, kind);
}

static void assert_trains(const TimConfig *config) {
    TimTrainer *trainer = new_trainer(config);
    tim_trainer_free(trainer);
}

/* tan ends at pi/2, t / (1 - t) at 1: what lies beyond made roots of negative numbers, and every step of EDM was skipped. */
static void test_trainer_new_time_weight_beyond_its_end_is_refused(void **state) {
    (void)state;
    TimConfig config = tiny(TIM_PRECISION_F32);
    set_transport(&config, TIM_TRANSPORT_EDM);
    assert_refused(&config, &options, TIM_E_ARGUMENT, "model.transition_loss.weight_time_tangent");
    assert_says("EDM");
    config.transition.weight_time_type = TIM_WEIGHT_CONSTANT;
    assert_trains(&config); /* nothing is asked of the tangent */
    config.transition.weight_time_type = TIM_WEIGHT_SQUARE;
    set_transport(&config, TIM_TRANSPORT_VE_SDE);
    assert_refused(&config, &options, TIM_E_ARGUMENT, "VE_SDE");
    config.transport.sigma_max = config.transport.t_max = 1.5;
    assert_trains(&config);
    set_transport(&config, TIM_TRANSPORT_TRIGFLOW);
    assert_trains(&config);
    config.transition.weight_time_tangent = false, config.transition.weight_time_sigmoid = true;
    assert_refused(&config, &options, TIM_E_ARGUMENT, "weight_time_sigmoid");
    set_transport(&config, TIM_TRANSPORT_VP_SDE);
    assert_trains(&config);
    tim_config_done(&config);
}

/* ---- tapes of a lane ---- */

/* Rows are for what there is, not for what there may be. */
static void test_trainer_micro_batch_beyond_the_batch_costs_nothing(void **state) {
    (void)state;
    TimConfig config = tiny(TIM_PRECISION_F32);
    TimTrainer *t;
    assert_ok(tim_trainer_new(&t, &config, &(TimTrainerOptions){.threads = 1, .micro_batch = INT_MAX}, &err));
    tim_trainer_free(t);
    tim_config_done(&config);
}

/* One more than the lane holds: that in use stays, where it is. */
static void test_lane_full_table_keeps_the_tape_in_use(void **state) {
    (void)state;
    TimConfig config = tiny(TIM_PRECISION_F32);
    TimTrainer *t;
    TimLane lane = {0};
    TimNetwork *in_use, *other;
    assert_ok(tim_trainer_new(&t, &config, &options, &err));
    assert_ok(tim_lane_init(&lane, 1, SIDE * SIDE, &err));
    for (int64_t batch = 1; batch <= TIM_LANE_TAPES + 1; batch++) {
        const TimNetworkShape first = {.batch = 1, .height = SIDE, .width = SIDE},
                              next = {.batch = batch, .height = SIDE, .width = SIDE};
        assert_ok(tim_lane_network(&lane, TIM_FOR_TRAINING, &config.network, &first, &t->model->options, &t->model->params, &in_use,
                                   &err));
        const TimNetwork *before = in_use;
        assert_ok(tim_lane_network(&lane, TIM_FOR_EVALUATION, &config.network, &next, &t->model->options, &t->model->params, &other,
                                   &err));
        assert_ptr_equal(in_use, before);
        assert_true(in_use->shape.batch == 1 && other->shape.batch == batch && in_use != other);
    }
    assert_int_equal(lane.tape_count, TIM_LANE_TAPES);
    tim_lane_done(&lane);
    tim_trainer_free(t);
    tim_config_done(&config);
}

/* ---- the direction of the derivative ---- */

enum { JUMPS = 4, JUMP_PIXELS = JUMPS * SIDE * SIDE };

/* F at x + h v, t + h, r */
static void evaluate(TimTrainer *t, const TimWeights *weights, const TimBatch *batch, const float *x, const float *v, double h,
                     const double *r, float *f) {
    TimNetwork n;
    const TimNetworkShape shape = {.batch = JUMPS, .height = SIDE, .width = SIDE};
    assert_ok(tim_network_new(&n, &t->model->config.network, &shape, &t->model->options, &t->model->params, &err));
    assert_ok(tim_tape_bind(n.tape, weights, NULL, &err));
    const TimMatrix in = tim_tape_value(n.tape, n.x), of_t = tim_tape_value(n.tape, n.t), of_r = tim_tape_value(n.tape, n.r);
    for (int i = 0; i < JUMP_PIXELS; i++) ((float *)in.data)[i] = x[i] + (float)h * v[i];
    for (int k = 0; k < JUMPS; k++) {
        *tim_matrix_f32(&of_t, k) = (float)(batch->t[k] + h);
        *tim_matrix_f32(&of_r, k) = (float)r[k];
    }
    memcpy(tim_tape_value(n.tape, n.labels).data, batch->condition.labels, JUMPS * sizeof(int64_t));
    tim_tape_forward(n.tape, false);
    memcpy(f, tim_tape_value(n.tape, n.f).data, JUMP_PIXELS * sizeof *f);
    tim_network_done(&n);
}

/* A drawn batch of JUMPS samples and its points at `times`. */
static void draw_jumps(TimTrainer *t, const double *times, float *x, float *z, float *x_t, int64_t *labels) {
    int64_t dropped[JUMPS];
    tim_data_read(t->data, 1, 0, JUMPS, &(TimSamples){x, labels, dropped}, 1);
    tim_rng_normal(z, JUMP_PIXELS, 1, 1, 0);
    for (int i = 0; i < JUMP_PIXELS; i++) {
        const float at = (float)times[i / (SIDE * SIDE)];
        x_t[i] = (1 - at) * x[i] + at * z[i];
    }
}

/* Root mean square of target - (v - (t - r) dF/dt) over that of (t - r) dF/dt, with the derivative along `direction` by
 * differences. */
static double target_error(TimTrainer *t, const TimBatch *batch, const float *x_t, const float *direction, const float *target) {
    static float above[JUMP_PIXELS], below[JUMP_PIXELS];
    const double h = 2e-3;
    double error = 0, size = 0;
    evaluate(t, &t->model->weights, batch, x_t, direction, h, batch->r, above);
    evaluate(t, &t->model->weights, batch, x_t, direction, -h, batch->r, below);
    for (int i = 0; i < JUMP_PIXELS; i++) {
        const int k = i / (SIDE * SIDE);
        const double part = (batch->t[k] - batch->r[k]) * ((double)above[i] - (double)below[i]) / (2 * h);
        const double expected = (double)batch->z[i] - (double)batch->x[i] - part;
        error += ((double)target[i] - expected) * ((double)target[i] - expected), size += part * part;
    }
    return sqrt(error / size);
}

static void check_direction(bool average) {
    static float x[JUMP_PIXELS], z[JUMP_PIXELS], x_t[JUMP_PIXELS], own[JUMP_PIXELS], averaged[JUMP_PIXELS], target[JUMP_PIXELS];
    static const double times[JUMPS] = {0.9, 0.7, 0.5, 0.3}, ends[JUMPS] = {0.1, 0, 0.4, 0};
    int64_t labels[JUMPS];
    TimConfig config = tiny(TIM_PRECISION_F32);
    config.transition.average_direction = average;
    TimTrainer *t = new_trainer(&config);
    TimLosses losses = {.target = target};
    run_steps(t, 30);
    draw_jumps(t, times, x, z, x_t, labels);
    const TimBatch batch = {.size = JUMPS, .x = x, .z = z, .t = times, .r = ends, .condition.labels = labels};
    for (int i = 0; i < JUMP_PIXELS; i++) own[i] = z[i] - x[i];
    evaluate(t, &t->ema->weights, &batch, x_t, own, 0, times, averaged);
    assert_ok(tim_objective_step(t->objective, &batch, &t->model->weights, &t->ema->weights, t->gradients, &losses, &err));
    assert_close(target_error(t, &batch, x_t, average ? averaged : own, target), 0, 2e-3);
    assert_true(target_error(t, &batch, x_t, average ? own : averaged, target) > 0.1);
    tim_trainer_free(t);
    tim_config_done(&config);
}

static void test_objective_direction_is_the_pairs_own_velocity(void **state) {
    (void)state;
    check_direction(false);
}

static void test_objective_direction_is_the_averages_on_request(void **state) {
    (void)state;
    check_direction(true);
}

static void test_trainer_direction_needs_velocities_and_the_exact_derivative(void **state) {
    (void)state;
    TimConfig config = tiny(TIM_PRECISION_BF16);
    config.transition.average_direction = true;
    TimTrainer *trainer = new_trainer(&config);
    assert_non_null(trainer->ema->bf16); /* the average is evaluated */
    run_steps(trainer, 2);
    tim_trainer_free(trainer);
    config.transition.derivative_type = TIM_DERIVATIVE_DDE;
    assert_refused(&config, &options, TIM_E_ARGUMENT, "set derivative_type to jvp");
    config.transition.derivative_type = TIM_DERIVATIVE_JVP;
    set_transport(&config, TIM_TRANSPORT_EDM);
    assert_refused(&config, &options, TIM_E_ARGUMENT, "EDM's does not");
    tim_config_done(&config);
}

/* ---- composed samples ---- */

enum { COMPOSED_GRADIENTS = 4096 };

/* The last two of four samples: three jumps of the average by hand; of the last jump's length, where that is not 0, whatever the
 * sampler's. */
static void check_composed(double last_jump) {
    enum { COMPOSED = 2, FIRST = (JUMPS - COMPOSED) * SIDE * SIDE, STEPS = 3 };
    static float x[JUMP_PIXELS], z[JUMP_PIXELS], x_t[JUMP_PIXELS], at[JUMP_PIXELS], f[JUMP_PIXELS], target[JUMP_PIXELS];
    static const double times[JUMPS] = {0.9, 0.7, 1, 0.6}, ends[JUMPS] = {0.1, 0, 0, 0.3};
    float weights[JUMPS], own[JUMPS], expected[JUMPS] = {0};
    int64_t labels[JUMPS];
    TimConfig config = tiny(TIM_PRECISION_F32);
    config.transition.composed_jumps = STEPS;
    config.transition.composed_last_jump = last_jump, config.transport.last_jump = 0.05;
    config.transition.use_dir_loss = false;
    TimTrainer *t = new_trainer(&config);
    TimLosses losses = {.target = target, .time_weight = weights, .per_sample = own};
    run_steps(t, 30);
    draw_jumps(t, times, x, z, x_t, labels);
    TimBatch batch = {.size = JUMPS, .composed = COMPOSED, .x = x, .z = z, .t = times, .r = ends, .condition.labels = labels};
    batch.expected_loss = expected;
    assert_ok(tim_objective_step(t->objective, &batch, &t->model->weights, &t->ema->weights, t->gradients, &losses, &err));
    memcpy(at, x_t, sizeof at);
    for (int j = 0; j < STEPS; j++) {
        const bool last = j == STEPS - 1;
        double from[JUMPS], to[JUMPS], told[JUMPS];
        for (int k = 0; k < JUMPS; k++) {
            const double length = (times[k] - ends[k] - last_jump * 4 / STEPS) / (last_jump > 0 ? STEPS - 1 : STEPS);
            from[k] = times[k] - j * length, to[k] = last ? ends[k] : from[k] - length;
            told[k] = last_jump > 0 && last && ends[k] == 0 ? from[k] : to[k];
        }
        evaluate(t, &t->ema->weights, &(TimBatch){.t = from, .condition.labels = labels}, at, at, 0, told, f);
        for (int i = 0; i < JUMP_PIXELS; i++) at[i] -= (float)(from[i / (SIDE * SIDE)] - to[i / (SIDE * SIDE)]) * f[i];
    }
    for (int i = FIRST; i < JUMP_PIXELS; i++) {
        const int k = i / (SIDE * SIDE);
        assert_close(target[i], (x_t[i] - at[i]) / (float)(times[k] - ends[k]), 2e-5);
    }
    for (int k = JUMPS - COMPOSED; k < JUMPS; k++) assert_true(weights[k] == 1 && own[k] > 0);
    batch.diffusion = JUMPS - COMPOSED + 1;
    assert_int_equal(tim_objective_step(t->objective, &batch, &t->model->weights, &t->ema->weights, t->gradients, &losses, &err),
                     TIM_E_ARGUMENT);
    assert_says("3 diffusion and 2 composed");
    tim_trainer_free(t);
    tim_config_done(&config);
}

static void test_objective_composed_target_is_what_the_averages_jumps_do(void **state) {
    (void)state;
    check_composed(0);
    check_composed(0.2);
}

/* One step of composed samples alone, the first after others: its gradients and losses. */
static void learn_composed(TimConfig *config, float *gradients, TimLosses *losses) {
    static const double times[JUMPS] = {1, 1, 1, 1}, ends[JUMPS] = {0};
    static float x[JUMP_PIXELS], z[JUMP_PIXELS], x_t[JUMP_PIXELS];
    int64_t labels[JUMPS];
    TimTrainer *t = new_trainer(config);
    run_steps(t, 30);
    draw_jumps(t, times, x, z, x_t, labels);
    const TimBatch batch = {.size = JUMPS, .composed = JUMPS, .x = x, .z = z, .t = times, .r = ends, .condition.labels = labels};
    const size_t count = t->model->params.elements;
    memset(t->gradients, 0, count * sizeof *gradients);
    assert_ok(tim_objective_step(t->objective, &batch, &t->model->weights, &t->ema->weights, t->gradients, losses, &err));
    assert_true(count >= COMPOSED_GRADIENTS);
    memcpy(gradients, t->gradients, COMPOSED_GRADIENTS * sizeof *gradients);
    tim_trainer_free(t);
}

static void test_objective_composed_weight_and_edges_count(void **state) {
    (void)state;
    static float plain[COMPOSED_GRADIENTS], other[COMPOSED_GRADIENTS];
    float own[JUMPS], with_edges[JUMPS];
    TimConfig config = tiny(TIM_PRECISION_F32);
    config.transition.use_dir_loss = false, config.transition.composed_ratio = 0.5, config.transition.composed_jumps = 2;
    config.training.composed_start_step = 100;
    TimLosses losses = {.per_sample = own}, lighter = {0}, edges = {.per_sample = with_edges};
    learn_composed(&config, plain, &losses);
    config.transition.composed_weight = 0.25;
    learn_composed(&config, other, &lighter);
    assert_true(losses.weighted > 0 && lighter.weighted == 0.25 * losses.weighted);
    double norm = 0;
    for (int i = 0; i < COMPOSED_GRADIENTS; i++) {
        norm += fabs((double)plain[i]);
        assert_close(other[i], 0.25F * plain[i], 1e-7);
    }
    assert_true(norm > 0);
    config.transition.composed_edges = 1;
    learn_composed(&config, other, &edges);
    for (int k = 0; k < JUMPS; k++) assert_true(with_edges[k] > own[k]);
    tim_config_done(&config);
}

/* Where the jump of the target ends, of composed samples alone. */
static void end_composed(TimConfig *config, const float *means, float *end, int64_t *labels) {
    static const double times[JUMPS] = {1, 1, 1, 1}, ends[JUMPS] = {0};
    static float x[JUMP_PIXELS], z[JUMP_PIXELS], x_t[JUMP_PIXELS], target[JUMP_PIXELS];
    TimTrainer *t = new_trainer(config);
    TimLosses losses = {.target = target};
    run_steps(t, 30);
    draw_jumps(t, times, x, z, x_t, labels);
    labels[JUMPS - 1] = CLASSES; /* as dropped */
    TimBatch batch = {.size = JUMPS, .composed = JUMPS, .x = x, .z = z, .t = times, .r = ends, .condition.labels = labels};
    if (means) {
        assert_int_equal(
            tim_objective_step(t->objective, &batch, &t->model->weights, &t->ema->weights, t->gradients, &losses, &err),
            TIM_E_ARGUMENT);
        assert_says("mean pictures");
    }
    batch.means = means;
    assert_ok(tim_objective_step(t->objective, &batch, &t->model->weights, &t->ema->weights, t->gradients, &losses, &err));
    for (int i = 0; i < JUMP_PIXELS; i++) end[i] = x_t[i] - target[i];
    tim_trainer_free(t);
}

static void test_objective_composed_spread_moves_ends_from_the_mean_of_the_class(void **state) {
    (void)state;
    enum { ROW = SIDE * SIDE };
    static float means[(CLASSES + 1) * ROW], plain[JUMP_PIXELS], spread[JUMP_PIXELS];
    int64_t labels[JUMPS];
    TimConfig config = tiny(TIM_PRECISION_F32);
    config.transition.use_dir_loss = false, config.transition.composed_ratio = 0.5, config.transition.composed_jumps = 2;
    config.training.composed_start_step = 100;
    for (int i = 0; i < (CLASSES + 1) * ROW; i++) means[i] = (float)(i % 7) / 7.0F - 0.4F;
    end_composed(&config, NULL, plain, labels);
    config.transition.composed_spread = 1.25;
    end_composed(&config, means, spread, labels);
    for (int i = 0; i < JUMP_PIXELS; i++) {
        const float mean = means[labels[i / ROW] * ROW + i % ROW];
        assert_close(spread[i], mean + 1.25F * (plain[i] - mean), 2e-5);
    }
    tim_config_done(&config);
}

/* The trainer hands the objective the means of its data. */
static void test_trainer_composed_spread_learns_the_means(void **state) {
    (void)state;
    float *means;
    TimConfig config = tiny(TIM_PRECISION_F32);
    config.transition.use_dir_loss = false, config.transition.composed_ratio = 0.25, config.transition.composed_jumps = 2;
    TimTrainer *plain = new_trainer(&config);
    config.transition.composed_spread = 1.25;
    TimTrainer *spread = new_trainer(&config);
    assert_null(plain->batch.means);
    assert_ok(tim_data_means(&means, spread->data, &err));
    assert_memory_equal(spread->batch.means, means, (CLASSES + 1) * SIDE * SIDE * sizeof *means);
    tim_free(means);
    run_steps(plain, 3), run_steps(spread, 3);
    assert_memory_not_equal(spread->model->f32, plain->model->f32, plain->model->params.elements * sizeof(float));
    tim_trainer_free(plain), tim_trainer_free(spread);
    tim_config_done(&config);
}

/* From their step on; drawn are the pictures that a training without shows. */
static void test_trainer_data_spread_starts_at_its_step(void **state) {
    (void)state;
    enum { ROW = SIDE * SIDE };
    float *means;
    TimConfig config = tiny(TIM_PRECISION_F32);
    TimTrainer *plain = new_trainer(&config);
    config.data_spread = 1.25, config.training.data_spread_start_step = 2;
    TimTrainer *spread = new_trainer(&config);
    assert_ok(tim_data_means(&means, plain->data, &err));
    run_steps(plain, 2), run_steps(spread, 2);
    assert_same_trainer(plain, spread);
    run_steps(plain, 1), run_steps(spread, 1);
    const TimSamples *a = &plain->batch.samples, *b = &spread->batch.samples;
    for (int i = 0; i < BATCH * ROW; i++) {
        const float mean = means[a->labels[i / ROW] * ROW + i % ROW];
        assert_close(b->x[i], mean + 1.25F * (a->x[i] - mean), 1e-6);
    }
    assert_memory_not_equal(spread->model->f32, plain->model->f32, plain->model->params.elements * sizeof(float));
    tim_free(means);
    tim_trainer_free(plain), tim_trainer_free(spread);
    tim_config_done(&config);
}

/* From its step on: those samples go from T_max to T_min, and the average is there for them in bf16. */
static void test_trainer_composed_samples_start_at_their_step(void **state) {
    (void)state;
    TimConfig config = tiny(TIM_PRECISION_BF16);
    TimTrainer *plain = new_trainer(&config);
    config.transition.composed_ratio = 0.25, config.transition.composed_jumps = 2;
    config.training.composed_start_step = 2;
    TimTrainer *composed = new_trainer(&config);
    const size_t bytes = plain->model->params.elements * sizeof(float);
    const int share = (int)rint(0.25 * BATCH);
    assert_non_null(composed->ema->bf16);
    run_steps(plain, 2), run_steps(composed, 2);
    assert_memory_equal(composed->model->f32, plain->model->f32, bytes);
    run_steps(plain, 3), run_steps(composed, 3);
    assert_memory_not_equal(composed->model->f32, plain->model->f32, bytes);
    for (int i = BATCH - share; i < BATCH; i++) assert_true(composed->batch.t[i] == 1 && composed->batch.r[i] == 0);
    assert_true(composed->batch.t[BATCH - share - 1] < 1);
    tim_trainer_free(plain), tim_trainer_free(composed);
    tim_config_done(&config);
}

/* T_min is no number of fp32: a composed sample's last jump leads to the mean all the same, as the sampler's does. */
static void test_trainer_composed_samples_end_as_the_sampler_does(void **state) {
    (void)state;
    TimConfig config = tiny(TIM_PRECISION_F32);
    const TimTransportConfig *transport = &config.transport;
    config.transition.composed_ratio = 0.25, config.transition.composed_jumps = 3;
    config.transport.t_min = 0.001, config.transport.last_jump = config.transition.composed_last_jump = 0.1;
    TimTrainer *t = new_trainer(&config);
    run_steps(t, 1);
    const double from = tim_transport_time(transport, t->batch.t[BATCH - 1], t->batch.r[BATCH - 1], 3, 2);
    assert_true(t->batch.t[BATCH - 1] == 1);
    assert_true(from == tim_transport_time(transport, 1, 0.001, 3, 2));
    assert_true(tim_transport_told(transport, 3, from, t->batch.r[BATCH - 1]) == from);
    tim_trainer_free(t);
    tim_config_done(&config);
}

/* An average stays about its weights whatever its decay rounds to: weights about 1, beside the same sum in fp64. */
static void test_average_is_not_drawn_off_its_weights(void **state) {
    (void)state;
    enum { STEPS = 400000 };
    static const double decays[] = {0.999, 0.9999, 0.99999};
    static float weights[STEPS];
    tim_rng_uniform(weights, STEPS, 3, 0, 0);
    for (size_t d = 0; d < sizeof decays / sizeof *decays; d++) {
        float weight, ema = 1;
        double exact = 1, off = 0;
        const TimAdamWVectors vectors = {.weights = &weight, .ema = &ema, .count = 1};
        for (int i = 0; i < STEPS; i++) {
            weight = 0.5F + weights[i];
            tim_adamw_follow(&vectors, decays[d], 0, 1);
            exact = decays[d] * exact + (1 - decays[d]) * (double)weight;
            off += ((double)ema - exact) / STEPS;
        }
        if (fabs(off) > 5e-6) fail_msg("decay %g: off by %.2e", decays[d], off);
    }
}

/* ---- weights to begin with ---- */

static void test_trainer_init_begins_with_the_average(void **state) {
    (void)state;
    TimConfig config = tiny(TIM_PRECISION_F32);
    TimTrainer *first = new_trainer(&config), *second;
    run_steps(first, 5);
    assert_ok(tim_trainer_save(first, in_folder("init-5"), &err));
    TimTrainerOptions from = options;
    from.init = in_folder("init-5");
    assert_ok(tim_trainer_new(&second, &config, &from, &err));
    const size_t bytes = first->model->params.elements * sizeof(float);
    assert_memory_equal(second->model->f32, first->ema->f32, bytes);
    assert_memory_equal(second->ema->f32, first->ema->f32, bytes);
    assert_int_equal(tim_trainer_steps(second), 0);
    tim_trainer_free(second);
    config.network.depth++;
    assert_refused(&config, &from, TIM_E_FORMAT, "init-5");
    from.init = in_folder("init-none");
    assert_refused(&config, &from, TIM_E_IO, "init-none");
    tim_trainer_free(first);
    tim_config_done(&config);
}

/* ---- checkpoints ---- */

/* Its second moments are not there, and AdamW would leap. */
static void test_trainer_resume_muon_with_adamw_refused(void **state) {
    (void)state;
    TimConfig config = tiny(TIM_PRECISION_F32);
    config.training.optimizer = TIM_OPTIMIZER_MUON;
    TimTrainer *muon = new_trainer(&config);
    assert_ok(tim_trainer_save(muon, in_folder("muon-0"), &err));
    run_steps(muon, 5); /* blocks stand still at first */
    assert_ok(tim_trainer_save(muon, in_folder("muon-5"), &err));
    config.training.optimizer = TIM_OPTIMIZER_ADAMW;
    TimTrainer *adamw = new_trainer(&config);
    assert_int_equal(tim_trainer_resume(adamw, in_folder("muon-5"), &err), TIM_E_ARGUMENT);
    assert_says("muon-5/optimizer.safetensors: Muon made it");
    assert_ok(tim_trainer_resume(adamw, in_folder("muon-0"), &err)); /* nothing was updated yet */
    run_steps(adamw, 1);
    assert_ok(tim_trainer_save(adamw, in_folder("adamw-1"), &err));
    assert_ok(tim_trainer_resume(muon, in_folder("adamw-1"), &err)); /* a direction is all that Muon takes over */
    tim_trainer_free(muon), tim_trainer_free(adamw);
    tim_config_done(&config);
}

/* What AdamW left before Muon took over is too old to divide by. */
static void test_trainer_resume_adamw_after_muon_after_adamw_refused(void **state) {
    (void)state;
    TimConfig config = tiny(TIM_PRECISION_F32);
    TimTrainer *adamw = new_trainer(&config);
    run_steps(adamw, 3);
    assert_ok(tim_trainer_save(adamw, in_folder("adamw-3"), &err));
    config.training.optimizer = TIM_OPTIMIZER_MUON;
    TimTrainer *muon = new_trainer(&config);
    assert_ok(tim_trainer_resume(muon, in_folder("adamw-3"), &err));
    run_steps(muon, 1);
    assert_ok(tim_trainer_save(muon, in_folder("muon-4"), &err));
    assert_int_equal(tim_trainer_resume(adamw, in_folder("muon-4"), &err), TIM_E_ARGUMENT);
    assert_says("muon-4/optimizer.safetensors: Muon made it");
    tim_trainer_free(muon), tim_trainer_free(adamw);
    tim_config_done(&config);
}

typedef struct Resumption {
    TimPrecision precision;
    TimOptimizer optimizer;
    int coupling_batches;
    bool expected_loss;
    double composed_ratio;
} Resumption;

static void check_resume(const Resumption *r, const char *name) {
    static const TimTrainerOptions threaded = {.seed = 3, .threads = 2}, other_seed = {.seed = 4, .threads = 2};
    TimConfig config = tiny(r->precision);
    config.training.optimizer = r->optimizer, config.training.coupling_batches = r->coupling_batches;
    config.transition.expected_loss = r->expected_loss, config.transition.composed_ratio = r->composed_ratio;
    TimTrainer *whole, *stopped, *resumed;
    assert_ok(tim_trainer_new(&whole, &config, &threaded, &err));
    assert_ok(tim_trainer_new(&stopped, &config, &threaded, &err));
    run_steps(whole, 7); /* crosses the end of an epoch */
    run_steps(stopped, 3);
    assert_ok(tim_trainer_save(stopped, in_folder(name), &err));
    assert_ok(tim_trainer_new(&resumed, &config, &other_seed, &err));
    assert_ok(tim_trainer_resume(resumed, in_folder(name), &err)); /* brings its own seed */
    assert_same_trainer(stopped, resumed);
    run_steps(resumed, 4);
    assert_same_trainer(whole, resumed);
    tim_trainer_free(whole), tim_trainer_free(stopped), tim_trainer_free(resumed);
    tim_config_done(&config);
}

static void test_trainer_resume_fp32_has_the_bits_of_no_stop(void **state) {
    (void)state;
    check_resume(&(Resumption){.precision = TIM_PRECISION_F32}, "resume-f32");
}

static void test_trainer_resume_bf16_has_the_bits_of_no_stop(void **state) {
    (void)state;
    check_resume(&(Resumption){.precision = TIM_PRECISION_BF16}, "resume-bf16");
}

static void test_trainer_resume_muon_has_the_bits_of_no_stop(void **state) {
    (void)state;
    check_resume(&(Resumption){.precision = TIM_PRECISION_BF16, .optimizer = TIM_OPTIMIZER_MUON}, "muon");
}

static void test_trainer_resume_expecting_losses_has_the_bits_of_no_stop(void **state) {
    (void)state;
    check_resume(&(Resumption){.precision = TIM_PRECISION_F32, .expected_loss = true}, "expecting");
}

static void test_trainer_resume_composed_has_the_bits_of_no_stop(void **state) {
    (void)state;
    check_resume(&(Resumption){.precision = TIM_PRECISION_BF16, .expected_loss = true, .composed_ratio = 0.25}, "composed");
}

/* The third step is in the middle of a pool. */
static void test_trainer_resume_coupled_has_the_bits_of_no_stop(void **state) {
    (void)state;
    check_resume(&(Resumption){.precision = TIM_PRECISION_F32, .coupling_batches = 4}, "coupled");
}

static void test_trainer_save_is_a_model_that_opens(void **state) {
    (void)state;
    TimConfig config = tiny(TIM_PRECISION_F32);
    TimTrainer *trainer = new_trainer(&config);
    TimModel *model;
    run_steps(trainer, 3);
    assert_ok(tim_trainer_save(trainer, in_folder("as-model"), &err));
    assert_ok(tim_model_open(&model, in_folder("as-model"), NULL, &(TimModelOptions){.precision = TIM_PRECISION_F32}, &err));
    for (size_t i = 0; i < model->params.count; i++) {
        const TimParam *p = &model->params.items[i];
        assert_memory_equal(model->weights.f32[i], trainer->ema->f32 + p->offset, p->count * sizeof(float));
    }
    assert_true(model->config.training.ema_warmup); /* the whole configuration came along */
    assert_string_equal(model->config.data_type, "idx");
    tim_model_close(model);
    tim_trainer_free(trainer);
    tim_config_done(&config);
}

static void assert_not_resumed(TimTrainer *trainer, const char *checkpoint, const char *part) {
    const TimStatus status = tim_trainer_resume(trainer, checkpoint, &err);
    assert_true(status == TIM_E_FORMAT || status == TIM_E_IO || status == TIM_E_UNSUPPORTED);
    assert_says(part);
}

static void test_trainer_resume_truncated_names_the_file_and_older_loads(void **state) {
    (void)state;
    static const char *const files[] = {TIM_STATE_FILE, "model.safetensors", TIM_RAW_WEIGHTS_FILE, TIM_OPTIMIZER_FILE};
    TimConfig config = tiny(TIM_PRECISION_F32);
    TimTrainer *trainer = new_trainer(&config), *other = new_trainer(&config);
    assert_ok(tim_trainer_save(trainer, in_folder("whole"), &err));
    for (size_t f = 0; f < 4; f++) {
        char path[TIM_MAX_PATH];
        struct stat info;
        assert_ok(tim_trainer_save(trainer, in_folder("cut"), &err));
        assert_ok(tim_path(path, &err, "%s/%s", in_folder("cut"), files[f]));
        assert_int_equal(stat(path, &info), 0);
        for (int quarters = 3; quarters >= 0; quarters--) {
            assert_int_equal(truncate(path, info.st_size * quarters / 4), 0);
            assert_not_resumed(other, in_folder("cut"), path);
        }
        assert_int_equal(unlink(path), 0);
        assert_not_resumed(other, in_folder("cut"), path);
    }
    assert_ok(tim_trainer_resume(other, in_folder("whole"), &err));
    assert_same_trainer(trainer, other);
    tim_trainer_free(trainer), tim_trainer_free(other);
    tim_config_done(&config);
}

#define STATE_OF_STEP_1 "{\"version\": 1, \"step\": 1, \"skipped\": 0, \"seed\": 1, \"position\": 8"

static void test_trainer_resume_bad_state_says_what(void **state) {
    (void)state;
    static const struct {
        const char *text, *part;
    } cases[] = {
        {"", "no JSON"},
        {"[]", "'version' is missing"},
        {"{\"version\": 2}", "version 2"},
        {"{\"version\": 1, \"step\": 1.5, \"skipped\": 0, \"seed\": 1, \"position\": 8}", "'step'"},
        {"{\"version\": 1, \"step\": -1, \"skipped\": 0, \"seed\": 1, \"position\": 8}", "'step'"},
        {"{\"version\": 1, \"step\": 1, \"skipped\": 2, \"seed\": 1, \"position\": 8}", "2 of 1"},
        {"{\"version\": 1, \"step\": 1, \"skipped\": 0, \"seed\": 1}", "'position'"},
        {STATE_OF_STEP_1 ", \"expected_loss\": 3}", "no list of 12 pairs"},
        {STATE_OF_STEP_1 ", \"expected_loss\": [[0, 1]]}", "no list of 12 pairs"},
    };
    TimConfig config = tiny(TIM_PRECISION_F32);
    TimTrainer *trainer = new_trainer(&config);
    assert_ok(tim_trainer_save(trainer, in_folder("state"), &err));
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        write_file(in_folder("state/" TIM_STATE_FILE), cases[c].text, strlen(cases[c].text));
        assert_not_resumed(trainer, in_folder("state"), cases[c].part);
        assert_says("state/" TIM_STATE_FILE);
    }
    assert_int_equal(truncate(in_folder("state/" TIM_STATE_FILE), (16 << 20) + 1), 0);
    assert_not_resumed(trainer, in_folder("state"), TIM_STATE_FILE ": it has 16777217 bytes");
    tim_trainer_free(trainer);
    tim_config_done(&config);
}

static void test_trainer_resume_other_network_says_so(void **state) {
    (void)state;
    TimConfig config = tiny(TIM_PRECISION_F32);
    TimTrainer *trainer = new_trainer(&config);
    assert_ok(tim_trainer_save(trainer, in_folder("other"), &err));
    tim_trainer_free(trainer);
    config.network.hidden_size = 32;
    trainer = new_trainer(&config);
    assert_not_resumed(trainer, in_folder("other"), "model.safetensors");
    tim_trainer_free(trainer);
    tim_config_done(&config);
}

static void test_trainer_save_failing_write_leaves_the_old_one(void **state) {
    (void)state;
    TimConfig config = tiny(TIM_PRECISION_F32);
    TimTrainer *trainer = new_trainer(&config), *other = new_trainer(&config);
    struct rlimit before, small;
    assert_ok(tim_trainer_save(other, in_folder("full"), &err));
    run_steps(trainer, 1);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    small = before, small.rlim_cur = 20000; /* bytes: enough for the configuration, not for weights */
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    const TimStatus status = tim_trainer_save(trainer, in_folder("full"), &err);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(status, TIM_E_IO);
    assert_says("full" TIM_FOLDER_WRITTEN "/model.safetensors");
    assert_false(exists(in_folder("full" TIM_FOLDER_WRITTEN)) || exists(in_folder("full" TIM_FOLDER_REMOVED)));
    assert_ok(tim_trainer_resume(trainer, in_folder("full"), &err));
    assert_same_trainer(trainer, other);
    tim_trainer_free(trainer), tim_trainer_free(other);
    tim_config_done(&config);
}

/* Saves checkpoint after checkpoint until it is killed. */
static void save_forever(TimTrainer *trainer, const char *run) {
    for (int64_t n = 0;; n++) {
        char path[TIM_MAX_PATH];
        trainer->state.step = n % 3;
        if (tim_path(path, NULL, "%s/checkpoint-%d", run, (int)(n % 3)) != TIM_OK ||
            tim_trainer_save(trainer, path, NULL) != TIM_OK || tim_checkpoint_rotate(run, 2, n % 3, NULL) != TIM_OK)
            _exit(1);
    }
}

static void test_trainer_save_killed_leaves_whole_checkpoints_only(void **state) {
    (void)state;
    TimConfig config = tiny(TIM_PRECISION_F32);
    TimTrainer *trainer = new_trainer(&config);
    const char *run = in_folder("killed");
    char first[TIM_MAX_PATH];
    int resumed = 0;
    assert_ok(tim_path(first, &err, "%s/checkpoint-0", run));
    for (useconds_t wait_us = 20000; wait_us < 60000; wait_us += 7001) {
        const pid_t child = fork();
        if (child == 0) save_forever(trainer, run);
        for (int i = 0; !exists(first) && i < 10000; i++) usleep(1000); /* however slow the disk is */
        usleep(wait_us);
        int status;
        assert_int_equal(kill(child, SIGKILL), 0);
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFSIGNALED(status));
        for (int n = 0; n < 3; n++) {
            char path[TIM_MAX_PATH];
            assert_ok(tim_path(path, &err, "%s/checkpoint-%d", run, n));
            if (!exists(path)) continue;
            assert_ok(tim_trainer_resume(trainer, path, &err));
            resumed++;
        }
    }
    assert_true(resumed > 0);
    tim_trainer_free(trainer);
    tim_config_done(&config);
}

static void make_folders(const char *in, const char *const *names) {
    char path[TIM_MAX_PATH];
    for (; *names; names++) {
        assert_ok(tim_path(path, &err, "%s/%s/inner", in, *names));
        assert_ok(tim_folder_make(path, &err));
    }
}

static void assert_all(const char *in, const char *const *names, bool there) {
    char path[TIM_MAX_PATH];
    for (; *names; names++) {
        assert_ok(tim_path(path, &err, "%s/%s", in, *names));
        if (exists(path) != there) fail_msg("%s is %sthere", path, there ? "not " : "");
    }
}

static void test_checkpoint_rotate_keeps_the_largest_and_the_newest(void **state) {
    (void)state;
    static const char *const gone[] = {"checkpoint-5", "checkpoint-10", NULL}, *const kept[] = {
                                                                                   "checkpoint-9",    "checkpoint-100",
                                                                                   "checkpoint-1x",   "checkpoint-+3",
                                                                                   "checkpoint-0003", "checkpoint-0999",
                                                                                   "other",           NULL};
    const char *rotated = in_folder("rotate");
    int64_t latest;
    make_folders(rotated, gone), make_folders(rotated, kept);
    assert_ok(tim_checkpoint_rotate(rotated, 0, 9, &err)); /* no limit */
    assert_all(rotated, gone, true);
    assert_ok(tim_checkpoint_rotate(rotated, 2, 9, &err));
    assert_all(rotated, gone, false), assert_all(rotated, kept, true);
    assert_ok(tim_checkpoint_latest(&latest, rotated, &err));
    assert_int_equal(latest, 100);
    assert_ok(tim_checkpoint_latest(&latest, in_folder("nowhere"), &err));
    assert_int_equal(latest, -1);
}

/* What a killed run left goes, and nothing that a user may have put there: copies, also of the checkpoint that is removed. */
static void test_checkpoint_rotate_leaves_what_is_not_its_own(void **state) {
    (void)state;
    static const char *const leftovers[] = {"checkpoint-7" TIM_FOLDER_WRITTEN, "checkpoint-8" TIM_FOLDER_REMOVED,
                                            "checkpoint-6" TIM_FOLDER_WRITTEN TIM_FOLDER_REMOVED, NULL},
                             *const copies[] = {"checkpoint-best.old",
                                                "checkpoint-best.tmp",
                                                "checkpoint-5.old",
                                                "checkpoint-7.tmp",
                                                "checkpoint-best" TIM_FOLDER_WRITTEN,
                                                "checkpoint-" TIM_FOLDER_REMOVED,
                                                "checkpoint-8" TIM_FOLDER_REMOVED ".copy",
                                                "other.old",
                                                NULL},
                             *const checkpoints[] = {"checkpoint-5", "checkpoint-7", NULL};
    const char *own = in_folder("own");
    make_folders(own, leftovers), make_folders(own, copies), make_folders(own, checkpoints);
    assert_ok(tim_checkpoint_rotate(own, 1, 7, &err));
    assert_all(own, copies, true), assert_all(own, leftovers, false);
    assert_false(exists(in_folder("own/checkpoint-5")));
    assert_true(exists(in_folder("own/checkpoint-7")));
}

/* ---- runs ---- */

/* What a run told. */
typedef struct Told {
    int events[TIM_TRAIN_ENDED + 1];
    int64_t stop_at; /* ends the run when so many steps are done */
    char started[TIM_MAX_PATH], saved[TIM_MAX_PATH];
    char notes[8192]; /* lines */
    int64_t step;
    TimTrainEnd end;
} Told;

static bool listen(const TimTrainProgress *progress, void *user) {
    Told *told = user;
    told->events[progress->event]++;
    told->step = progress->step;
    told->end = progress->end;
    if (progress->event == TIM_TRAIN_STARTED) snprintf(told->started, TIM_MAX_PATH, "%s", progress->path ? progress->path : "");
    if (progress->event == TIM_TRAIN_SAVED) snprintf(told->saved, TIM_MAX_PATH, "%s", progress->path);
    if (progress->note)
        snprintf(told->notes + strlen(told->notes), sizeof told->notes - strlen(told->notes), "%s\n", progress->note);
    assert_int_equal(progress->note != NULL, progress->event == TIM_TRAIN_NOTED);
    assert_int_equal(progress->pictures, PICTURES);
    assert_int_equal(progress->report != NULL, progress->event == TIM_TRAIN_STEP || progress->event == TIM_TRAIN_LOGGED);
    return !told->stop_at || progress->event != TIM_TRAIN_STEP || progress->step < told->stop_at;
}

static TimTrainOptions run_options(const char *out, const char *resume, Told *told) {
    return (TimTrainOptions){.trainer = options, .out = out, .resume = resume, .log_every = 2, .progress = listen, .user = told};
}

static TimStatus run(const TimConfig *config, const char *out, const char *resume, Told *told) {
    const TimTrainOptions with = run_options(out, resume, told);
    return tim_train(config, &with, &err);
}

/* The steps that the log has lines for, in their order. */
static int logged_steps(const char *path, long long steps[32]) {
    FILE *stream = fopen(path, "r");
    assert_non_null(stream);
    char line[1024];
    int count = 0;
    for (; fgets(line, sizeof line, stream); count++) {
        assert_int_equal(sscanf(line, "{\"step\": %lld, ", &steps[count]), 1);
        assert_non_null(strstr(line, "\"denoising\": "));
        assert_string_equal(line + strlen(line) - 2, "}\n");
    }
    fclose(stream);
    return count;
}

enum { PUBLISHINGS = 100 };

/* Publishes a folder again and again, in a process of its own. */
static void publish_many_times(void) {
    for (int i = 0; i < PUBLISHINGS; i++) {
        char name[32];
        snprintf(name, sizeof name, "published" TIM_FOLDER_WRITTEN "/%d", i);
        if (tim_folder_make(in_folder(name), NULL) != TIM_OK ||
            tim_folder_publish(in_folder("published" TIM_FOLDER_WRITTEN), in_folder("published"), NULL) != TIM_OK)
            _exit(1);
    }
    _exit(0);
}

/* Whenever a kill comes, there is a folder under the name. */
static void test_train_published_folder_is_always_there(void **state) {
    (void)state;
    int missing = 0, result = -1;
    assert_ok(tim_folder_make(in_folder("published"), &err));
    const pid_t child = fork();
    if (child == 0) publish_many_times();
    assert_true(child > 0);
    while (waitpid(child, &result, WNOHANG) == 0) missing += access(in_folder("published"), F_OK) != 0;
    assert_int_equal(result, 0);
    assert_int_equal(missing, 0);
    assert_int_equal(access(in_folder("published/99"), F_OK), 0);
    assert_int_not_equal(access(in_folder("published" TIM_FOLDER_WRITTEN), F_OK), 0);
    assert_int_not_equal(access(in_folder("published" TIM_FOLDER_REMOVED), F_OK), 0);
}

static void test_train_run_leaves_the_published_layout(void **state) {
    (void)state;
    TimConfig config = tiny(TIM_PRECISION_F32), again;
    Told told = {0};
    long long steps[32];
    config.training.max_train_steps = 5;
    assert_ok(run(&config, in_folder("layout"), NULL, &told));
    assert_int_equal(told.step, 5);
    assert_int_equal(told.end, TIM_TRAIN_FINISHED);
    static const int events[] = {
        [TIM_TRAIN_STARTED] = 1, [TIM_TRAIN_STEP] = 5, [TIM_TRAIN_LOGGED] = 3, [TIM_TRAIN_SAVED] = 3, [TIM_TRAIN_ENDED] = 1};
    assert_memory_equal(told.events, events, sizeof events);
    assert_false(exists(in_folder("layout/checkpoints/checkpoint-2")));
    assert_true(exists(in_folder("layout/checkpoints/checkpoint-4/state.json")));
    assert_true(exists(in_folder("layout/checkpoints/checkpoint-5/optimizer.safetensors")));
    assert_int_equal(logged_steps(in_folder("layout/log.jsonl"), steps), 3);
    assert_true(steps[0] == 2 && steps[1] == 4 && steps[2] == 5);
    assert_ok(tim_config_read(&again, in_folder("layout/configs/config.yaml"), &err));
    assert_true(again.training.ema_warmup && again.training.max_train_steps == 5 && !again.data_mirror);
    tim_config_done(&again);
    tim_config_done(&config);
}

static void assert_same_checkpoint(const TimConfig *config, const char *a, const char *b) {
    TimTrainer *first = new_trainer(config), *second = new_trainer(config);
    assert_ok(tim_trainer_resume(first, a, &err));
    assert_ok(tim_trainer_resume(second, b, &err));
    assert_same_trainer(first, second);
    tim_trainer_free(first), tim_trainer_free(second);
}

static void test_train_interrupted_run_ends_with_the_bits_of_a_whole_one(void **state) {
    (void)state;
    TimConfig config = tiny(TIM_PRECISION_F32);
    Told told = {0};
    long long steps[32];
    assert_ok(run(&config, in_folder("whole-run"), NULL, &told));
    told = (Told){.stop_at = 3};
    assert_ok(run(&config, in_folder("broken-run"), "none", &told));
    assert_int_equal(told.end, TIM_TRAIN_CANCELLED);
    assert_string_equal(told.started, "");
    assert_string_equal(told.saved, in_folder("broken-run/checkpoints/checkpoint-3"));
    told = (Told){0};
    assert_ok(run(&config, in_folder("broken-run"), "latest", &told));
    assert_string_equal(told.started, in_folder("broken-run/checkpoints/checkpoint-3"));
    assert_int_equal(told.events[TIM_TRAIN_STEP], 3);
    assert_same_checkpoint(&config, in_folder("whole-run/checkpoints/checkpoint-6"),
                           in_folder("broken-run/checkpoints/checkpoint-6"));
    assert_int_equal(logged_steps(in_folder("broken-run/log.jsonl"), steps), 4);
    assert_true(steps[0] == 2 && steps[1] == 3 && steps[2] == 4 && steps[3] == 6);
    tim_config_done(&config);
}

static void test_train_finished_run_does_nothing_more(void **state) {
    (void)state;
    TimConfig config = tiny(TIM_PRECISION_F32);
    Told told = {0};
    assert_ok(run(&config, in_folder("done"), NULL, &told));
    assert_int_equal(mkdir(in_folder("done/checkpoints/checkpoint-5" TIM_FOLDER_WRITTEN), 0777), 0);
    told = (Told){0};
    assert_ok(run(&config, in_folder("done"), NULL, &told));
    assert_int_equal(told.end, TIM_TRAIN_FINISHED);
    assert_true(told.events[TIM_TRAIN_STEP] == 0 && told.events[TIM_TRAIN_SAVED] == 0 && told.events[TIM_TRAIN_ENDED] == 1);
    assert_false(exists(in_folder("done/checkpoints/checkpoint-5" TIM_FOLDER_WRITTEN))); /* a killed run's, which takes room */
    tim_config_done(&config);
}

static void test_train_time_limit_saves_and_ends(void **state) {
    (void)state;
    TimConfig config = tiny(TIM_PRECISION_F32);
    Told told = {0};
    config.training.max_train_steps = 1000000;
    config.training.checkpointing_steps = 1000000;
    TimTrainOptions with = run_options(in_folder("short"), NULL, &told);
    with.minutes = 0.2 / 60;
    assert_ok(tim_train(&config, &with, &err));
    assert_int_equal(told.end, TIM_TRAIN_TIME_UP);
    assert_true(told.step > 0 && told.step < 1000000);
    assert_int_equal(told.events[TIM_TRAIN_SAVED], 1);
    assert_true(exists(told.saved));
    tim_config_done(&config);
}

static void test_train_new_run_over_checkpoints_is_refused(void **state) {
    (void)state;
    TimConfig config = tiny(TIM_PRECISION_F32);
    Told told = {.stop_at = 1};
    assert_ok(run(&config, in_folder("twice"), "none", &told));
    assert_int_equal(run(&config, in_folder("twice"), "none", &told), TIM_E_ARGUMENT);
    assert_says("checkpoint-1 of another run");
    assert_int_equal(run(&config, in_folder("twice"), "", &told), TIM_E_ARGUMENT); /* a shell's unset variable */
    assert_says("resume is an empty text");
    assert_true(exists(in_folder("twice/checkpoints/checkpoint-1")));
    tim_config_done(&config);
}

static void test_train_unwritable_folder_says_so(void **state) {
    (void)state;
    TimConfig config = tiny(TIM_PRECISION_F32);
    Told told = {0};
    write_file(in_folder("file"), "x", 1);
    assert_int_equal(run(&config, in_folder("file/run"), NULL, &told), TIM_E_IO);
    assert_says("file: cannot make the folder");
    assert_int_equal(run(&config, "/proc/tim", NULL, &told), TIM_E_IO);
    assert_says("/proc/tim: cannot make the folder");
    assert_int_equal(run(&config, "", NULL, &told), TIM_E_ARGUMENT);
    assert_int_equal(tim_train(&config, NULL, &err), TIM_E_ARGUMENT);
    tim_config_done(&config);
}

static void test_train_broken_latest_is_named_and_older_goes_on(void **state) {
    (void)state;
    TimConfig config = tiny(TIM_PRECISION_F32);
    Told told = {0};
    assert_ok(run(&config, in_folder("broken"), NULL, &told));
    assert_int_equal(truncate(in_folder("broken/checkpoints/checkpoint-6/model_1.safetensors"), 1000), 0);
    assert_true(run(&config, in_folder("broken"), NULL, &told) != TIM_OK);
    assert_says("checkpoint-6/model_1.safetensors");
    assert_says("older checkpoint");
    told = (Told){0};
    assert_ok(run(&config, in_folder("broken"), in_folder("broken/checkpoints/checkpoint-4"), &told));
    assert_int_equal(told.events[TIM_TRAIN_STEP], 2);
    assert_true(exists(in_folder("broken/checkpoints/checkpoint-6.abandoned"))); /* the broken one */
    tim_config_done(&config);
}

static void assert_noted(const Told *told, const char *part) {
    if (strstr(told->notes, part)) return;
    print_error("\"%s\" is not among the notes:\n%s", part, told->notes);
    fail();
}

static void test_train_says_what_never_begins(void **state) {
    (void)state;
    TimConfig config = tiny(TIM_PRECISION_F32);
    Told told = {0};
    config.training.max_train_steps = 3;
    config.training.guidance_start_step = 3, config.training.composed_start_step = 9; /* nothing is composed */
    config.transport.enhance_target = true, config.transport.w_cond = 0.5;
    config.training.expected_loss_start_step = 2, config.transition.expected_loss = true;
    config.data_spread = 1.1, config.training.data_spread_start_step = 4;
    config.training.lr_warmup_steps = 3;
    assert_ok(run(&config, in_folder("late"), NULL, &told));
    assert_noted(&told, "training.guidance_start_step is 3 and the training ends with step 3: guidance of the target never begins");
    assert_noted(&told, "training.data_spread_start_step is 4 and the training ends with step 3: pictures are never spread");
    assert_noted(&told, "training.lr_warmup_steps is 3 and the training ends with step 3: the rate still rises at the end");
    assert_null(strstr(told.notes, "composed"));
    assert_null(strstr(told.notes, "expected_loss"));
    tim_config_done(&config);
}

static void test_train_slow_precision_is_told(void **state) {
    (void)state;
    static const char note[] = "training.mixed_precision is bf16, which this processor does not multiply: fp32 is faster here";
    TimConfig config = tiny(TIM_PRECISION_BF16);
    Told told = {.stop_at = 1};
    assert_ok(run(&config, in_folder("told-bf16"), NULL, &told));
    assert_int_equal(strstr(told.notes, note) != NULL, tim_matmul_copies_bf16());
    config.training.mixed_precision = TIM_PRECISION_F32;
    told = (Told){.stop_at = 1};
    assert_ok(run(&config, in_folder("told-fp32"), NULL, &told));
    assert_null(strstr(told.notes, "mixed_precision"));
    tim_config_done(&config);
}

static void test_train_share_below_a_sample_is_told(void **state) {
    (void)state;
    TimConfig config = tiny(TIM_PRECISION_F32);
    Told told = {0};
    config.transition.composed_ratio = 0.02;
    config.training.max_train_steps = 2;
    assert_ok(run(&config, in_folder("shares"), NULL, &told));
    assert_noted(&told,
                 "model.transition_loss.composed_ratio is 0.02, of a batch of 8 less than a sample: composed samples never begin");
    tim_config_done(&config);
}

/* The weights to begin with are gone; those of the checkpoint take their place anyway. */
static void test_train_goes_on_without_the_weights_it_began_with(void **state) {
    (void)state;
    TimConfig config = tiny(TIM_PRECISION_F32);
    Told told = {.stop_at = 2};
    assert_ok(run(&config, in_folder("origin"), NULL, &told));
    TimTrainOptions with = run_options(in_folder("follower"), NULL, &told);
    with.trainer.init = in_folder("origin/checkpoints/checkpoint-2");
    assert_ok(tim_train(&config, &with, &err));
    assert_int_equal(rename(in_folder("origin"), in_folder("origin-moved")), 0);
    told = (Told){0};
    assert_ok(tim_train(&config, &with, &err));
    assert_noted(&told, "the weights are those of");
    tim_config_done(&config);
}

/* As a run leaves it that is killed after it put another's checkpoints out of its way, before its first own. */
static void test_train_new_run_over_abandoned_checkpoints_is_refused(void **state) {
    (void)state;
    TimConfig config = tiny(TIM_PRECISION_F32);
    Told told = {.stop_at = 1};
    assert_ok(run(&config, in_folder("killed"), NULL, &told));
    assert_int_equal(rename(in_folder("killed/checkpoints/checkpoint-1"), in_folder("killed/checkpoints/checkpoint-1.abandoned")),
                     0);
    assert_int_equal(run(&config, in_folder("killed"), NULL, &told), TIM_E_ARGUMENT);
    assert_says("no checkpoint but checkpoint-1.abandoned");
    assert_true(exists(in_folder("killed/log.jsonl")));
    told = (Told){0};
    assert_ok(run(&config, in_folder("killed"), in_folder("killed/checkpoints/checkpoint-1.abandoned"), &told));
    tim_config_done(&config);
}

/* Lines of the log: its steps, one after the other. */
static void assert_log(const char *name, const char *steps) {
    char line[1024], seen[256] = "";
    FILE *stream = fopen(in_folder(name), "r");
    assert_non_null(stream);
    while (fgets(line, sizeof line, stream)) {
        long long step = -1;
        sscanf(line, "{\"step\": %lld", &step);
        snprintf(seen + strlen(seen), sizeof seen - strlen(seen), " %lld", step);
    }
    fclose(stream);
    assert_string_equal(seen, steps);
}

/* What an ended run logged beyond its checkpoint is not there twice, and nothing of it is lost. */
static void test_train_log_tells_of_one_run(void **state) {
    (void)state;
    char kept[TIM_MAX_PATH];
    FILE *stream = fopen(in_folder("log.jsonl"), "w");
    assert_non_null(stream);
    fputs("{\"step\": 2, \"a\": 1}\nsomething else\n{\"step\": 4, \"pictures\": 1}\n{\"step\": 6}\n{\"step\": 8", stream);
    fclose(stream);
    assert_ok(tim_log_cut(kept, in_folder("log.jsonl"), 8, &err));
    assert_string_equal(kept, "");
    assert_log("log.jsonl", " 2 -1 4 6 8");
    assert_ok(tim_log_cut(kept, in_folder("log.jsonl"), 4, &err));
    assert_string_equal(kept, in_folder("log.jsonl.before"));
    assert_log("log.jsonl", " 2 -1 4");
    assert_log("log.jsonl.before", " 2 -1 4 6 8");
    assert_ok(tim_log_cut(kept, in_folder("log.jsonl"), 3, &err));
    assert_string_equal(kept, in_folder("log.jsonl.before-2"));
    assert_log("log.jsonl", " 2 -1");
    assert_ok(tim_log_cut(kept, in_folder("none.jsonl"), 3, &err));
    assert_string_equal(kept, "");
}

static void test_train_older_checkpoint_begins_a_branch(void **state) {
    (void)state;
    TimConfig config = tiny(TIM_PRECISION_F32);
    Told told = {0};
    assert_ok(run(&config, in_folder("branch"), NULL, &told)); /* leaves 4 and 6 */
    config.training.max_train_steps = 5;
    told = (Told){0};
    assert_ok(run(&config, in_folder("branch"), in_folder("branch/checkpoints/checkpoint-4"), &told));
    assert_noted(&told, "checkpoint-6.abandoned");
    assert_noted(&told, "goes beyond step 4: the whole of it is kept as ");
    assert_true(exists(in_folder("branch/checkpoints/checkpoint-6.abandoned/model.safetensors")));
    assert_true(exists(in_folder("branch/checkpoints/checkpoint-4")) && exists(in_folder("branch/checkpoints/checkpoint-5")));
    config.training.max_train_steps = 6;
    told = (Told){0};
    assert_ok(run(&config, in_folder("branch"), NULL, &told));
    assert_string_equal(told.started, in_folder("branch/checkpoints/checkpoint-5"));
    told = (Told){0};
    assert_ok(run(&config, in_folder("branch"), in_folder("branch/checkpoints/checkpoint-5"), &told));
    assert_true(exists(in_folder("branch/checkpoints/checkpoint-6.abandoned-2")));
    tim_config_done(&config);
}

/* All that lies in the folder is of another run then. */
static void test_train_checkpoint_from_elsewhere_begins_a_branch(void **state) {
    (void)state;
    TimConfig config = tiny(TIM_PRECISION_F32);
    Told told = {.stop_at = 3};
    assert_ok(run(&config, in_folder("elsewhere"), NULL, &told));
    told = (Told){.stop_at = 1};
    assert_ok(run(&config, in_folder("visited"), NULL, &told));
    config.training.max_train_steps = 3;
    told = (Told){0};
    assert_ok(run(&config, in_folder("visited"), in_folder("elsewhere/checkpoints/checkpoint-3"), &told));
    assert_true(exists(in_folder("visited/checkpoints/checkpoint-1.abandoned")));
    assert_false(exists(in_folder("visited/checkpoints/checkpoint-1")));
    assert_int_equal(told.events[TIM_TRAIN_STEP], 0);
    assert_true(exists(in_folder("visited/checkpoints/checkpoint-3"))); /* or the next run would be a new one */
    config.training.max_train_steps = 4;
    told = (Told){0};
    assert_ok(run(&config, in_folder("visited"), NULL, &told));
    assert_string_equal(told.started, in_folder("visited/checkpoints/checkpoint-3"));
    tim_config_done(&config);
}

/* Nor are the checkpoints beside it those that led to it. */
static void test_train_abandoned_checkpoint_begins_a_branch(void **state) {
    (void)state;
    TimConfig config = tiny(TIM_PRECISION_F32);
    Told told = {0};
    assert_ok(run(&config, in_folder("left"), NULL, &told));
    config.training.max_train_steps = 4;
    told = (Told){0};
    assert_ok(run(&config, in_folder("left"), in_folder("left/checkpoints/checkpoint-4"), &told));
    assert_true(exists(in_folder("left/checkpoints/checkpoint-6.abandoned")));
    config.training.max_train_steps = 6;
    told = (Told){0};
    assert_ok(run(&config, in_folder("left"), in_folder("left/checkpoints/checkpoint-6.abandoned"), &told));
    assert_true(exists(in_folder("left/checkpoints/checkpoint-6")));
    assert_true(exists(in_folder("left/checkpoints/checkpoint-4.abandoned")));
    tim_config_done(&config);
}

/* The user's own may lie where a run writes its configuration: what it says is not lost, whatever else the run is told. */
static void test_train_leaves_a_configuration_that_is_there(void **state) {
    (void)state;
    TimConfig config = tiny(TIM_PRECISION_F32);
    char text[4096], found[4096];
    Told told = {.stop_at = 1};
    const char *path = in_folder("mine/configs/config.yaml");
    assert_ok(tim_folder_make(in_folder("mine/configs"), &err));
    assert_ok(tim_config_write(&config, path, &err));
    FILE *stream = fopen(path, "a");
    assert_non_null(stream);
    fputs("# mine\n", stream);
    fclose(stream);
    read_start(path, text, sizeof text);
    assert_ok(run(&config, in_folder("mine"), NULL, &told));
    read_start(in_folder("mine/configs/config.yaml"), found, sizeof found);
    assert_string_equal(found, text);
    assert_string_equal(told.notes, "");
    assert_ok(tim_folder_erase(in_folder("mine/checkpoints"), &err));
    config.training.max_train_steps = 3;
    told = (Told){.stop_at = 1};
    assert_ok(run(&config, in_folder("mine"), NULL, &told));
    assert_noted(&told, "mine/configs/config.yaml.until-0");
    read_start(in_folder("mine/configs/config.yaml.until-0"), found, sizeof found);
    assert_string_equal(found, text);
    tim_config_done(&config);
}

/* What the steps before a failure learned is there. */
static void test_train_failing_log_saves_first(void **state) {
    (void)state;
    TimConfig config = tiny(TIM_PRECISION_F32);
    Told told = {.stop_at = 2};
    assert_ok(run(&config, in_folder("mute"), NULL, &told));
    assert_int_equal(unlink(in_folder("mute/log.jsonl")), 0);
    assert_int_equal(mkdir(in_folder("mute/log.jsonl"), 0777), 0); /* no line can be added */
    told = (Told){0};
    assert_int_equal(run(&config, in_folder("mute"), NULL, &told), TIM_E_IO);
    assert_says("mute/log.jsonl");
    assert_true(exists(in_folder("mute/checkpoints/checkpoint-4")) || exists(in_folder("mute/checkpoints/checkpoint-3")));
    tim_config_done(&config);
}

/* The same command typed twice would write to the same files. */
static void test_train_folder_of_a_running_training_refused(void **state) {
    (void)state;
    TimConfig config = tiny(TIM_PRECISION_F32);
    Told told = {.stop_at = 1};
    int lock;
    assert_ok(tim_folder_make(in_folder("busy"), &err));
    assert_ok(tim_folder_lock(&lock, in_folder("busy"), &err));
    assert_int_equal(run(&config, in_folder("busy"), NULL, &told), TIM_E_IO);
    assert_says("busy: another run writes to this folder");
    tim_folder_unlock(lock);
    assert_ok(run(&config, in_folder("busy"), NULL, &told));
    tim_config_done(&config);
}

static void test_train_resumed_otherwise_says_what_differs(void **state) {
    (void)state;
    TimConfig config = tiny(TIM_PRECISION_F32), was;
    Told told = {.stop_at = 3};
    assert_ok(run(&config, in_folder("changed"), NULL, &told));
    told = (Told){.stop_at = 4};
    assert_ok(run(&config, in_folder("changed"), NULL, &told));
    assert_string_equal(told.notes, "");
    assert_false(exists(in_folder("changed/configs/config.yaml.until-3")));
    config.training.batch_size = 4, config.training.learning_rate = 1e-3;
    told = (Told){.stop_at = 5};
    TimTrainOptions with = run_options(in_folder("changed"), NULL, &told);
    with.trainer.seed = 77;
    assert_ok(tim_train(&config, &with, &err));
    assert_noted(&told, "data.dataloader.batch_size: was 8, is 4\n");
    assert_noted(&told, "training.learning_rate: was 0.003, is 0.001\n");
    assert_noted(&told, "seed: was ");
    assert_noted(&told, ", is 77; the checkpoint's stays\n");
    assert_noted(&told, "config.yaml.until-4");
    assert_ok(tim_config_read(&was, in_folder("changed/configs/config.yaml.until-4"), &err));
    assert_int_equal(was.training.batch_size, 8);
    tim_config_done(&was);
    assert_ok(tim_config_read(&was, in_folder("changed/configs/config.yaml"), &err));
    assert_int_equal(was.training.batch_size, 4);
    tim_config_done(&was);
    tim_config_done(&config);
}

/* A checkpoint whose weights, though finite, give no finite gradient. */
static void save_huge_weights(const TimConfig *config, const char *path) {
    TimTrainer *trainer = new_trainer(config);
    trainer->model->f32[0] = FLT_MAX;
    assert_ok(tim_trainer_save(trainer, path, &err));
    tim_trainer_free(trainer);
}

static void test_train_skipped_steps_are_logged_without_numbers(void **state) {
    (void)state;
    TimConfig config = tiny(TIM_PRECISION_F32);
    Told told = {.stop_at = 2};
    char line[1024] = "";
    save_huge_weights(&config, in_folder("huge"));
    assert_ok(run(&config, in_folder("skips"), in_folder("huge"), &told));
    FILE *stream = fopen(in_folder("skips/log.jsonl"), "r");
    assert_non_null(stream);
    assert_non_null(fgets(line, sizeof line, stream));
    fclose(stream);
    assert_non_null(strstr(line, "{\"step\": 2, \"skipped\": 2, \"loss\": null, "));
    assert_non_null(strstr(line, "\"ema_decay\": null"));
    tim_config_done(&config);
}

/* What was there before the weights went wrong stays, and the run says so. */
static void test_train_that_learns_nothing_more_ends_and_keeps_what_was(void **state) {
    (void)state;
    TimConfig config = tiny(TIM_PRECISION_F32);
    Told told = {0};
    config.training.max_train_steps = 1000, config.training.checkpointing_steps = 1;
    save_huge_weights(&config, in_folder("wrong"));
    assert_int_equal(run(&config, in_folder("diverged"), in_folder("wrong"), &told), TIM_E_ARGUMENT);
    assert_says("no gradient of steps 1 to 100 was finite");
    assert_says("the newest in ");
    assert_says("diverged/checkpoints: checkpoint-0)");
    assert_says("smaller training.learning_rate");
    assert_int_equal(told.events[TIM_TRAIN_SAVED], 1);
    assert_true(exists(in_folder("diverged/checkpoints/checkpoint-0")));
    assert_false(exists(in_folder("diverged/checkpoints/checkpoint-100")));
    tim_config_done(&config);
}

static void test_train_configurations_are_sound(void **state) {
    (void)state;
    TimConfig config, again;
    assert_ok(tim_config_read(&config, "configs/fashion.yaml", &err));
    assert_ok(tim_config_check(&config, &err));
    assert_true(!*config.without_effect && !*config.untrainable);
    assert_true(config.training.ema_warmup && config.data_type && !config.vae_dir && config.transition.composed_ratio > 0);
    config.data_mirror = true;
    assert_ok(tim_config_write(&config, in_folder("demo.yaml"), &err));
    assert_ok(tim_config_read(&again, in_folder("demo.yaml"), &err));
    assert_true(again.training.ema_warmup && again.data_mirror && again.training.learning_rate == config.training.learning_rate);
    tim_config_done(&config);
    tim_config_done(&again);
    assert_ok(tim_config_read(&config, "configs/fashion_published.yaml", &err));
    assert_ok(tim_config_check(&config, &err));
    assert_int_equal(config.training.optimizer, TIM_OPTIMIZER_ADAMW);
    tim_config_done(&config);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_init_each_kind_has_its_distribution),
        cmocka_unit_test(test_init_any_thread_count_gives_the_same_bits),
        cmocka_unit_test(test_init_parameter_depends_on_its_name_alone),
        cmocka_unit_test(test_init_network_fused_and_patch_weights_are_single_matrices),
        cmocka_unit_test(test_data_order_is_a_permutation_of_seed_and_epoch),
        cmocka_unit_test(test_data_read_each_epoch_has_every_picture_once),
        cmocka_unit_test(test_data_read_pieces_equal_the_whole),
        cmocka_unit_test(test_data_read_pixels_span_minus_one_to_one),
        cmocka_unit_test(test_data_read_drops_and_mirrors_their_share),
        cmocka_unit_test(test_data_read_without_dropout_keeps_all_labels),
        cmocka_unit_test(test_data_means_are_those_of_what_is_drawn),
        cmocka_unit_test(test_assign_is_the_best_of_all_orders),
        cmocka_unit_test(test_assign_equals_scipy),
        cmocka_unit_test(test_coupling_none_leaves_pairs_as_drawn),
        cmocka_unit_test(test_coupling_exchanges_noise_within_a_class),
        cmocka_unit_test(test_coupling_large_classes_are_cut),
        cmocka_unit_test(test_coupling_is_a_function_of_the_step),
        cmocka_unit_test(test_coupling_too_early_for_a_pool_leaves_pairs_as_drawn),
        cmocka_unit_test(test_coupling_new_too_large_is_named),
        cmocka_unit_test(test_data_open_unfit_set_says_why),
        cmocka_unit_test(test_data_open_no_fashion_mnist_names_the_package),
        cmocka_unit_test(test_muon_matrices_of_blocks_move_as_torch_moves_them),
        cmocka_unit_test(test_muon_other_parameters_move_by_adamw),
        cmocka_unit_test(test_muon_average_and_rounded_copy_follow),
        cmocka_unit_test(test_schedule_values_are_those_of_diffusers),
        cmocka_unit_test(test_schedule_scale_lr_multiplies_by_the_batch),
        cmocka_unit_test(test_schedule_falls_no_further_than_the_least_rate),
        cmocka_unit_test(test_trainer_step_reports_what_it_did),
        cmocka_unit_test(test_trainer_update_is_the_configurations),
        cmocka_unit_test(test_trainer_threads_change_rounding_only),
        cmocka_unit_test(test_trainer_loss_falls_over_100_steps),
        cmocka_unit_test(test_trainer_gradient_not_finite_skips_the_update),
        cmocka_unit_test(test_trainer_guidance_runs_on_the_ema),
        cmocka_unit_test(test_trainer_guidance_starts_at_its_step),
        cmocka_unit_test(test_objective_guides_some_samples_as_each_alone),
        cmocka_unit_test(test_trainer_new_bad_values_are_named),
        cmocka_unit_test(test_trainer_new_other_training_is_refused),
        cmocka_unit_test(test_trainer_new_time_weight_beyond_its_end_is_refused),
        cmocka_unit_test(test_trainer_resume_fp32_has_the_bits_of_no_stop),
        cmocka_unit_test(test_trainer_resume_bf16_has_the_bits_of_no_stop),
        cmocka_unit_test(test_trainer_resume_muon_has_the_bits_of_no_stop),
        cmocka_unit_test(test_trainer_resume_composed_has_the_bits_of_no_stop),
        cmocka_unit_test(test_trainer_resume_coupled_has_the_bits_of_no_stop),
        cmocka_unit_test(test_loss_absolute_is_its_formula_and_the_gradient_its_difference),
        cmocka_unit_test(test_loss_bin_is_one_of_its_transport),
        cmocka_unit_test(test_loss_expected_is_the_geometric_mean_of_the_past),
        cmocka_unit_test(test_objective_expected_loss_leaves_the_mean_the_optimum),
        cmocka_unit_test(test_trainer_learns_what_loss_to_expect),
        cmocka_unit_test(test_trainer_micro_batch_beyond_the_batch_costs_nothing),
        cmocka_unit_test(test_lane_full_table_keeps_the_tape_in_use),
        cmocka_unit_test(test_objective_direction_is_the_pairs_own_velocity),
        cmocka_unit_test(test_objective_direction_is_the_averages_on_request),
        cmocka_unit_test(test_objective_composed_target_is_what_the_averages_jumps_do),
        cmocka_unit_test(test_objective_composed_weight_and_edges_count),
        cmocka_unit_test(test_objective_composed_spread_moves_ends_from_the_mean_of_the_class),
        cmocka_unit_test(test_trainer_composed_spread_learns_the_means),
        cmocka_unit_test(test_trainer_data_spread_starts_at_its_step),
        cmocka_unit_test(test_trainer_composed_samples_start_at_their_step),
        cmocka_unit_test(test_trainer_composed_samples_end_as_the_sampler_does),
        cmocka_unit_test(test_trainer_init_begins_with_the_average),
        cmocka_unit_test(test_average_is_not_drawn_off_its_weights),
        cmocka_unit_test(test_trainer_resume_muon_with_adamw_refused),
        cmocka_unit_test(test_trainer_direction_needs_velocities_and_the_exact_derivative),
        cmocka_unit_test(test_trainer_resume_expecting_losses_has_the_bits_of_no_stop),
        cmocka_unit_test(test_trainer_save_is_a_model_that_opens),
        cmocka_unit_test(test_trainer_resume_truncated_names_the_file_and_older_loads),
        cmocka_unit_test(test_trainer_resume_bad_state_says_what),
        cmocka_unit_test(test_trainer_resume_other_network_says_so),
        cmocka_unit_test(test_trainer_save_failing_write_leaves_the_old_one),
        cmocka_unit_test(test_trainer_save_killed_leaves_whole_checkpoints_only),
        cmocka_unit_test(test_checkpoint_rotate_keeps_the_largest_and_the_newest),
        cmocka_unit_test(test_checkpoint_rotate_leaves_what_is_not_its_own),
        cmocka_unit_test(test_train_published_folder_is_always_there),
        cmocka_unit_test(test_train_run_leaves_the_published_layout),
        cmocka_unit_test(test_train_interrupted_run_ends_with_the_bits_of_a_whole_one),
        cmocka_unit_test(test_train_finished_run_does_nothing_more),
        cmocka_unit_test(test_train_time_limit_saves_and_ends),
        cmocka_unit_test(test_train_new_run_over_checkpoints_is_refused),
        cmocka_unit_test(test_train_unwritable_folder_says_so),
        cmocka_unit_test(test_train_broken_latest_is_named_and_older_goes_on),
        cmocka_unit_test(test_train_says_what_never_begins),
        cmocka_unit_test(test_train_log_tells_of_one_run),
        cmocka_unit_test(test_train_older_checkpoint_begins_a_branch),
        cmocka_unit_test(test_train_checkpoint_from_elsewhere_begins_a_branch),
        cmocka_unit_test(test_train_abandoned_checkpoint_begins_a_branch),
        cmocka_unit_test(test_train_slow_precision_is_told),
        cmocka_unit_test(test_train_share_below_a_sample_is_told),
        cmocka_unit_test(test_train_goes_on_without_the_weights_it_began_with),
        cmocka_unit_test(test_train_new_run_over_abandoned_checkpoints_is_refused),
        cmocka_unit_test(test_trainer_resume_adamw_after_muon_after_adamw_refused),
        cmocka_unit_test(test_train_leaves_a_configuration_that_is_there),
        cmocka_unit_test(test_train_failing_log_saves_first),
        cmocka_unit_test(test_train_folder_of_a_running_training_refused),
        cmocka_unit_test(test_train_resumed_otherwise_says_what_differs),
        cmocka_unit_test(test_train_skipped_steps_are_logged_without_numbers),
        cmocka_unit_test(test_train_that_learns_nothing_more_ends_and_keeps_what_was),
        cmocka_unit_test(test_train_configurations_are_sound),
    };
    return cmocka_run_group_tests_name("train", tests, make_folder, remove_folder);
}
