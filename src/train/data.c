#include "train/data.h"

#include <string.h>

#include "base/memory.h"
#include "base/pixel.h"
#include "base/rng.h"
#include "io/idx.h"
#include "train/streams.h"

struct TimData {
    TimIdxData set;
    bool mirror;
    int64_t null_class;
    double dropout;
    uint32_t *order; /* (count), of `epoch` under `seed` */
    uint64_t epoch, seed;
};

/* ---- opening ---- */

static TimStatus find_dir(const char **out, const TimConfig *config, TimError *err) {
    const char *type = config->data_type ? config->data_type : "";
    const bool fashion_mnist = strcmp(type, "fashion-mnist") == 0;
    *out = config->data_dir;
    if (!fashion_mnist && strcmp(type, "idx") != 0)
        return tim_fail(err, TIM_E_UNSUPPORTED, "data.data_type is '%.60s'; training reads fashion-mnist and idx", type);
    if (!*out && !fashion_mnist)
        return tim_fail(err, TIM_E_ARGUMENT, "data.data_type is idx, but data.dataset.data_dir does not say where the files are");
    if (!*out) *out = TIM_IDX_FASHION_MNIST;
    return TIM_OK;
}

static TimStatus check_pictures(const TimIdxData *set, const TimNetworkConfig *network, const char *dir, TimError *err) {
    if (network->kind != TIM_NETWORK_C2I)
        return tim_fail(err, TIM_E_UNSUPPORTED, "%s holds classes; the text network needs captions: use the target %s", dir,
                        "tim.models.c2i.tim_model.TiM");
    if (network->in_channels != 1 || network->input_size != set->height || network->input_size != set->width)
        return tim_fail(err, TIM_E_ARGUMENT,
                        "%s holds gray pictures of %d x %d (width x height); the network is made for %d x %d with %d channels: "
                        "change input_size and in_channels",
                        dir, set->width, set->height, network->input_size, network->input_size, network->in_channels);
    if (set->count > UINT32_MAX)
        return tim_fail(err, TIM_E_UNSUPPORTED, "%s holds %zu pictures; at most %u are read", dir, set->count, UINT32_MAX);
    return TIM_OK;
}

static TimStatus check_labels(const TimIdxData *set, int num_classes, const char *dir, TimError *err) {
    for (size_t i = 0; i < set->count; i++)
        if (set->labels[i] >= num_classes)
            return tim_fail(err, TIM_E_ARGUMENT, "%s: picture %zu has the class %d; num_classes is %d and must be larger", dir, i,
                            set->labels[i], num_classes);
    return TIM_OK;
}

static TimStatus load(TimData *data, const TimConfig *config, TimError *err) {
    const char *dir;
    TIM_TRY(find_dir(&dir, config, err));
    TIM_TRY(tim_idx_read(&data->set, dir, "train", err));
    TIM_TRY(check_pictures(&data->set, &config->network, dir, err));
    TIM_TRY(check_labels(&data->set, config->network.num_classes, dir, err));
    TIM_TRY(tim_new(&data->order, data->set.count, sizeof *data->order, "the order of the pictures", err));
    tim_data_order(data->order, data->set.count, data->seed, data->epoch);
    return TIM_OK;
}

TimStatus tim_data_open(TimData **out, const TimConfig *config, TimError *err) {
    TimData *data;
    *out = NULL;
    TIM_TRY(tim_new(&data, 1, sizeof *data, "the data set", err));
    data->mirror = config->data_mirror;
    data->null_class = config->network.num_classes;
    data->dropout = config->network.class_dropout_prob;
    const TimStatus status = load(data, config, err);
    if (status != TIM_OK) {
        tim_data_close(data);
        return status;
    }
    *out = data;
    return TIM_OK;
}

void tim_data_close(TimData *data) {
    if (!data) return;
    tim_idx_done(&data->set);
    tim_free(data->order);
    tim_free(data);
}

size_t tim_data_count(const TimData *data) {
    return data->set.count;
}

/* ---- order ---- */

/* Uniform on 0 ... bound - 1 up to 2^-32: the upper half of a 64-bit word times the bound. */
static uint32_t below(uint64_t bound, uint64_t word) {
    return (uint32_t)((word >> 32) * bound >> 32);
}

/* Fisher and Yates, with numbers that are functions of their place. */
void tim_data_order(uint32_t *order, size_t count, uint64_t seed, uint64_t epoch) {
    for (size_t i = 0; i < count; i++) order[i] = (uint32_t)i;
    for (size_t i = count; i > 1; i--) {
        const uint32_t j = below(i, tim_rng_word(seed, tim_stream(TIM_STREAM_ORDER, epoch), i - 1)), last = order[i - 1];
        order[i - 1] = order[j];
        order[j] = last;
    }
}

/* ---- reading ---- */

static bool happens(double probability, uint64_t seed, TimStreamUse use, uint64_t number) {
    float u;
    tim_rng_uniform(&u, 1, seed, tim_stream(use, 0), number);
    return u < probability;
}

static void copy_picture(const TimData *data, float *out, size_t picture, bool mirror) {
    const size_t height = (size_t)data->set.height, width = (size_t)data->set.width;
    const uint8_t *pixels = data->set.images + picture * height * width;
    for (size_t y = 0; y < height; y++)
        for (size_t x = 0; x < width; x++) {
            const size_t from = mirror ? width - 1 - x : x;
            out[y * width + x] = tim_pixel_from_byte(pixels[y * width + from]);
        }
}

/* Sample `number` of the sequence, which shows `picture`, into place i of the batch. */
static void read_sample(const TimData *data, uint64_t seed, uint64_t number, size_t picture, const TimSamples *out, size_t i) {
    const size_t pixels = (size_t)data->set.height * (size_t)data->set.width;
    const bool mirror = data->mirror && happens(0.5, seed, TIM_STREAM_MIRROR, number);
    copy_picture(data, out->x + i * pixels, picture, mirror);
    out->labels[i] = data->set.labels[picture];
    out->dropped[i] = happens(data->dropout, seed, TIM_STREAM_DROPOUT, number) ? data->null_class : out->labels[i];
}

static void keep_order(TimData *data, uint64_t seed, uint64_t epoch) {
    if (data->seed == seed && data->epoch == epoch) return;
    tim_data_order(data->order, data->set.count, seed, epoch);
    data->seed = seed;
    data->epoch = epoch;
}

void tim_data_read(TimData *data, uint64_t seed, uint64_t first, size_t count, const TimSamples *out, int threads) {
    const uint64_t length = data->set.count;
    for (size_t done = 0; done < count;) { /* one epoch's share after the other */
        const uint64_t place = (first + done) % length;
        const size_t share = count - done < length - place ? count - done : (size_t)(length - place);
        keep_order(data, seed, (first + done) / length);
#pragma omp parallel for num_threads(threads) schedule(static)
        for (size_t i = 0; i < share; i++) read_sample(data, seed, first + done + i, data->order[place + i], out, done + i);
        done += share;
    }
}

/* ---- means ---- */

/* Adds a picture, or where samples are mirrored the mean of it and its mirror image, to `sum`. */
static void add_picture(const TimData *data, double *sum, size_t picture) {
    const size_t height = (size_t)data->set.height, width = (size_t)data->set.width;
    const uint8_t *pixels = data->set.images + picture * height * width;
    for (size_t y = 0; y < height; y++)
        for (size_t x = 0; x < width; x++) {
            const size_t opposite = data->mirror ? width - 1 - x : x;
            const float pixel = tim_pixel_from_byte(pixels[y * width + x]),
                        other = tim_pixel_from_byte(pixels[y * width + opposite]);
            sum[y * width + x] += ((double)pixel + (double)other) / 2;
        }
}

/* sums[c] = the sum of the `counts[c]` pictures of class c, at last that of all */
static void sum_classes(const TimData *data, double *sums, size_t *counts, size_t pixels) {
    const size_t classes = (size_t)data->null_class;
    for (size_t i = 0; i < data->set.count; i++) {
        add_picture(data, sums + data->set.labels[i] * pixels, i);
        counts[data->set.labels[i]]++;
    }
    for (size_t c = 0; c < classes; c++) {
        for (size_t p = 0; p < pixels; p++) sums[classes * pixels + p] += sums[c * pixels + p];
        counts[classes] += counts[c];
    }
}

/* The mean pictures of `rows` rows of sums; of all pictures, the last row, where there are none. */
static void divide(float *means, const double *sums, const size_t *counts, size_t rows, size_t pixels) {
    for (size_t c = 0; c < rows; c++) {
        const size_t from = counts[c] ? c : rows - 1;
        for (size_t p = 0; p < pixels; p++) means[c * pixels + p] = (float)(sums[from * pixels + p] / (double)counts[from]);
    }
}

TimStatus tim_data_means(float **means, const TimData *data, TimError *err) {
    const size_t pixels = (size_t)data->set.height * (size_t)data->set.width, rows = (size_t)data->null_class + 1;
    double *sums = NULL;
    size_t *counts = NULL, elements;
    *means = NULL;
    if (!tim_mul_size(rows, pixels, &elements))
        return tim_fail(err, TIM_E_MEMORY, "%zu mean pictures do not fit into memory", rows);
    TimStatus status = tim_new(&sums, elements, sizeof *sums, "the mean pictures", err);
    if (status == TIM_OK) status = tim_new(&counts, rows, sizeof *counts, "the mean pictures", err);
    if (status == TIM_OK) status = tim_new(means, elements, sizeof **means, "the mean pictures", err);
    if (status == TIM_OK) {
        sum_classes(data, sums, counts, pixels);
        divide(*means, sums, counts, rows, pixels);
    }
    tim_free(sums);
    tim_free(counts);
    return status;
}

void tim_data_spread(float *x, const float *means, int64_t label, size_t pixels, double by) {
    const float *mean = means + (size_t)label * pixels;
    for (size_t p = 0; p < pixels; p++) x[p] = (float)((double)mean[p] + by * ((double)x[p] - (double)mean[p]));
}
