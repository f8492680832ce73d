/* A report with plausible numbers, two modes and three seeds, for the tests of its writers. */
#ifndef TIM_TESTS_REPORT_SAMPLE_H
#define TIM_TESTS_REPORT_SAMPLE_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "eval/report.h"

enum { SAMPLE_STEPS = 6, SAMPLE_ROWS = 2 * SAMPLE_STEPS, SAMPLE_SEEDS = 3, SAMPLE_CLASSES = 10, SAMPLE_SIDE = 8, SAMPLE_PAIRS = 4 };

typedef struct SampleReport {
    TimReport report; /* points into what follows */
    TimReportRow rows[SAMPLE_ROWS];
    double values[SAMPLE_ROWS][TIM_MEASURE_COUNT][SAMPLE_SEEDS];
    uint8_t pictures[2][SAMPLE_STEPS][SAMPLE_CLASSES][SAMPLE_SIDE * SAMPLE_SIDE];
    TimReportPair pairs[SAMPLE_PAIRS];
} SampleReport;

static const int sample_steps[SAMPLE_STEPS] = {1, 2, 4, 8, 32, 128};
static const char *const sample_classes[SAMPLE_CLASSES] = {"T-shirt", "Trouser", "Pullover", "Dress", "Coat",
                                                           "Sandal",  "Shirt",   "Sneaker",  "Bag",   "Ankle boot"};

/* By mode and steps; the mean over the seeds is this. */
static double sample_mean(int mode, int step, TimMeasure measure) {
    static const double table[][2][SAMPLE_STEPS] = {
        [TIM_MEASURE_FRECHET] = {{45.2, 38.1, 36.3, 35.2, 34.3, 34.1}, {902, 301, 121, 60.4, 36.2, 34.3}},
        [TIM_MEASURE_FRECHET_2000] = {{48.1, 41.2, 39.4, 38.3, 37.4, 37.2}, {910, 309, 129, 63.4, 39.3, 37.4}},
        [TIM_MEASURE_FRECHET_LIMIT] = {{43.1, 36.2, 34.4, 33.3, 32.4, 32.2}, {900, 299, 119, 58.4, 34.3, 32.4}},
        [TIM_MEASURE_KERNEL] = {{.0312, .0251, .0233, .0224, .0216, .0215}, {.902, .291, .109, .0487, .0236, .0217}},
        [TIM_MEASURE_PRECISION] = {{.681, .702, .711, .714, .716, .717}, {.012, .182, .421, .603, .707, .716}},
        [TIM_MEASURE_RECALL] = {{.472, .513, .527, .531, .536, .537}, {.001, .094, .281, .442, .529, .536}},
        [TIM_MEASURE_AGREEMENT] = {{.903, .921, .928, .933, .936, .937}, {.412, .703, .852, .911, .934, .937}},
        [TIM_MEASURE_DISTANCE] = {{6.81, 6.62, 6.55, 6.52, 6.51, 6.50}, {14.2, 10.1, 8.31, 7.22, 6.58, 6.51}},
        [TIM_MEASURE_SPEED] = {{412, 209, 105, 52.7, 13.2, 3.31}, {415, 210, 106, 52.9, 13.2, 3.32}},
    };
    if (measure == TIM_MEASURE_DISTANCE_RATIO) return sample_mean(mode, step, TIM_MEASURE_DISTANCE) / 6.42;
    if (measure == TIM_MEASURE_NEAR_SHARE) return mode ? 0.001 * (step + 1) : 0.008 + 0.001 * step;
    return table[measure][mode][step];
}

static void sample_row(SampleReport *sample, int index) {
    static const double spread[SAMPLE_SEEDS] = {-0.011, 0.004, 0.007};
    const int mode = index / SAMPLE_STEPS, step = index % SAMPLE_STEPS;
    TimReportRow *row = &sample->rows[index];
    *row = (TimReportRow){.mode = mode, .steps = sample_steps[step], .evaluations = sample_steps[step]};
    for (int m = 0; m < TIM_MEASURE_COUNT; m++) {
        for (int s = 0; s < SAMPLE_SEEDS; s++)
            sample->values[index][m][s] = sample_mean(mode, step, m) * (1 + spread[(s + index) % SAMPLE_SEEDS]);
        row->scores[m] = tim_report_score(sample->values[index][m], SAMPLE_SEEDS);
    }
}

static void sample_fill_pictures(SampleReport *sample) {
    uint8_t *bytes = &sample->pictures[0][0][0][0];
    for (size_t i = 0; i < sizeof sample->pictures; i++) bytes[i] = (uint8_t)(i * 37 + i / 7);
    for (int i = 0; i < SAMPLE_PAIRS; i++)
        sample->pairs[i] = (TimReportPair){.generated = sample->pictures[0][1][i],
                                           .training = sample->pictures[1][2][i],
                                           .distance = 2.1 + 0.13 * i,
                                           .training_index = 1000 * i,
                                           .steps = sample_steps[i]};
}

static void sample_fill(SampleReport *sample) {
    static const double real[TIM_MEASURE_COUNT] = {
        [TIM_MEASURE_FRECHET] = 2.61,   [TIM_MEASURE_FRECHET_LIMIT] = .85, [TIM_MEASURE_FRECHET_2000] = 4.2,
        [TIM_MEASURE_KERNEL] = .00021,  [TIM_MEASURE_PRECISION] = .742,    [TIM_MEASURE_RECALL] = .738,
        [TIM_MEASURE_AGREEMENT] = .921, [TIM_MEASURE_DISTANCE] = 6.42,     [TIM_MEASURE_DISTANCE_RATIO] = 1,
        [TIM_MEASURE_NEAR_SHARE] = .01, [TIM_MEASURE_SPEED] = NAN};
    memset(sample, 0, sizeof *sample);
    for (int i = 0; i < SAMPLE_ROWS; i++) sample_row(sample, i);
    sample_fill_pictures(sample);
    sample->report = (TimReport){
        .model = {"fashion-small", 5343248, "1f2e3d4c5b6a79880123456789abcdef0123456789abcdef0123456789abcdef", 60000,
                  "8 blocks of width 192, 6 heads, patch 2, 28 x 28 gray, 10 classes; OT-FM"},
        .features = {"judge-28, 64 features", "ab12cd34ef56ab12cd34ef56ab12cd34ef56ab12cd34ef56ab12cd34ef56ab12", .9312},
        .data = {"Fashion-MNIST", "Fashion-MNIST:train", 60000, 10000},
        .run = {10000, SAMPLE_SEEDS, 0, sample_steps, SAMPLE_STEPS, 2, "EPYC", "avx512_bf16", 64, "bf16", "0.1.0", "31 March 2026"},
        .near_distance = 2.93,
        .rows = sample->rows,
        .row_count = SAMPLE_ROWS,
        .pictures = {SAMPLE_SIDE,
                     SAMPLE_SIDE,
                     1,
                     SAMPLE_CLASSES,
                     sample_classes,
                     {&sample->pictures[0][0][0][0], &sample->pictures[1][0][0][0]},
                     sample->pairs,
                     SAMPLE_PAIRS}};
    memcpy(sample->report.real, real, sizeof real);
}

#endif
