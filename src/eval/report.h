/* The report of an evaluation: a plain record that the judge fills, and two writers that only read it.
 * Everything is borrowed; a text that is NULL, a count of 0 and a number that is not finite mean "not known", and what is not
 * known is left out of the page and null in the JSON. A report of all zeros is valid. Files: docs/report.md. */
#ifndef TIM_EVAL_REPORT_H
#define TIM_EVAL_REPORT_H

#include <stdint.h>

#include "base/error.h"
#include "tim/sample.h"

/* What is measured of a set of pictures. tim_measures in report_parts.c says how each is called and defined. */
typedef enum TimMeasure {
    TIM_MEASURE_FRECHET,
    TIM_MEASURE_FRECHET_LIMIT, /* of ever more pictures */
    TIM_MEASURE_FRECHET_2000,  /* of the first 2000 */
    TIM_MEASURE_KERNEL,
    TIM_MEASURE_PRECISION,      /* 0 ... 1 */
    TIM_MEASURE_RECALL,         /* 0 ... 1 */
    TIM_MEASURE_AGREEMENT,      /* 0 ... 1: predicted class is the one asked for */
    TIM_MEASURE_DISTANCE,       /* median distance to the nearest training picture */
    TIM_MEASURE_DISTANCE_RATIO, /* the same in units of the test pictures' */
    TIM_MEASURE_NEAR_SHARE,     /* 0 ... 1: nearer than the 1st percentile of the test pictures' distances */
    TIM_MEASURE_SPEED,          /* pictures a second */
    TIM_MEASURE_COUNT
} TimMeasure;

/* A measure over the seeds. */
typedef struct TimReportScore {
    double mean;          /* not finite: absent */
    double error;         /* standard error of the mean; not finite: not known, as with one seed */
    const double *values; /* (run.seeds) or NULL */
} TimReportScore;

/* The score of the `seeds` values: their mean and its standard error (NaN below two). Absent if any value is not finite. */
TimReportScore tim_report_score(const double *values, int seeds);

/* One setting of the sampler. */
typedef struct TimReportRow {
    TimSampleMode mode;
    int steps;
    int64_t evaluations; /* of the network for a picture; at least 1, or 0 */
    TimReportScore scores[TIM_MEASURE_COUNT];
} TimReportRow;

/* A generated picture beside its nearest training picture, each (height, width, channels) as in TimReportPictures. */
typedef struct TimReportPair {
    const uint8_t *generated, *training;
    double distance;
    int64_t training_index; /* -1: not known */
    TimSampleMode mode;     /* with the steps: how the picture was drawn */
    int steps;              /* 0: not known, and neither is the mode */
} TimReportPair;

/* Pictures for the eye, all of one size. */
typedef struct TimReportPictures {
    int height, width, channels;    /* 1 ... TIM_IMAGE_MAX_SIDE; 1 or 3. Not looked at where there are no pictures */
    int columns;                    /* classes of a sheet */
    const char *const *class_names; /* (columns); the array or any entry may be NULL */
    const uint8_t *sheets[2];       /* by mode: (run.step_count, columns, height, width, channels), one noise a column; or NULL */
    const TimReportPair *pairs;     /* (pair_count), the closest first */
    int pair_count;
} TimReportPictures;

typedef struct TimReport {
    struct {
        const char *name;
        int64_t parameters;
        const char *hash;       /* of the weights' file */
        int64_t training_steps; /* -1: not known */
        const char *config;     /* a summary; may have several lines */
    } model;
    struct {
        const char *name;
        const char *hash;
        double test_accuracy; /* 0 ... 1 */
    } features;
    struct {
        const char *name, *training_name;   /* NULL: that of the same set */
        int64_t training_count, test_count; /* pictures */
    } data;
    struct {
        int64_t samples;  /* pictures for each row and seed */
        int seeds;        /* values of each score */
        uint64_t seed;    /* the first; the others follow */
        const int *steps; /* (step_count), the rows of the sheets */
        int step_count;
        int threads;
        const char *processor; /* what it calls itself */
        const char *isa;
        int batch;
        const char *precision;
        const char *version; /* of the library */
        const char *date;    /* in the caller's words, so that the same run gives the same bits */
    } run;
    double
        real[TIM_MEASURE_COUNT]; /* of real pictures: as many training pictures as a row has, judged as if they were generated, but
                                     * agreement and distances of the test pictures */
    double near_distance;        /* the 1st percentile of the test pictures' distances to their nearest training picture */
    const TimReportRow *rows;
    int row_count;
    TimReportPictures pictures;
} TimReport;

/* Writes the report as JSON, without pictures: keys in a fixed order, numbers that read back to the same bits, nothing for what is
 * not finite but null. Texts that are not UTF-8 are repaired. `path` is replaced only when the file is whole.
 * Errors: TIM_E_ARGUMENT for a field out of range, named with its value; TIM_E_IO; TIM_E_MEMORY. Any thread. */
TimStatus tim_report_write_json(const TimReport *report, const char *path, TimError *err);

/* Writes the report as one HTML page that needs nothing else: styles, plots (SVG) and pictures (PNG) are in it, scripts are not.
 * Every text of the report is escaped: names may be hostile. Errors: as tim_report_write_json. Any thread. */
TimStatus tim_report_write_html(const TimReport *report, const char *path, TimError *err);

#endif
