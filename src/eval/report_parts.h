/* What the writers of a report share: its check, the names of measures, numbers for the eye, and the verdict. */
#ifndef TIM_EVAL_REPORT_PARTS_H
#define TIM_EVAL_REPORT_PARTS_H

#include <stdbool.h>

#include "eval/report.h"
#include "io/buffer.h"

/* How a measure is called, shown and defined. Texts are UTF-8 without characters that markup would have to escape. */
typedef struct TimMeasureInfo {
    const char *key;   /* in the JSON */
    const char *title; /* in tables, with the unit */
    bool percent;      /* shown as 100 times its value */
    int decimals;      /* shown at most */
    const char *definition;
    const char *source;
} TimMeasureInfo;

extern const TimMeasureInfo tim_measures[TIM_MEASURE_COUNT];

/* "transition" or "diffusion". */
const char *tim_mode_name(TimSampleMode mode);

/* Evaluations of the network for a picture, or the steps where they are not known. */
int64_t tim_report_cost(const TimReportRow *row);

/* Errors: TIM_E_ARGUMENT for a count, mode or size that the writers could not follow. */
TimStatus tim_report_check(const TimReport *report, TimError *err);

/* Appends the value of a measure as its title announces it: three digits, or as many as show the first digit of `error`, which
 * follows unless it is not finite: "34.1 <small>± 0.2</small>". A mean that is not finite becomes a dash. */
void tim_report_put_score(TimBuffer *out, TimMeasure measure, double mean, double error);

/* Appends two sentences, plain text: how the distance depends on the number of evaluations, and how the model compares with
 * diffusion mode and whether it copies. They claim no more than the numbers do. */
void tim_report_verdict(TimBuffer *out, const TimReport *report);

/* True if `measure` is there in any row or of the real pictures. */
bool tim_report_has(const TimReport *report, TimMeasure measure);

/* A report read from its JSON: names, what is measured of real pictures, and the means of all rows. It owns what `report`
 * borrows. */
typedef struct TimReportFile {
    TimReport report;
    TimReportRow *rows;
    struct json_t *json;
} TimReportFile;

/* Errors: TIM_E_IO; TIM_E_FORMAT for what is no report, naming the file. */
TimStatus tim_report_read(TimReportFile *file, const char *path, TimError *err);
void tim_report_file_done(TimReportFile *file);

/* The style sheet of the page, in pieces up to a NULL. */
extern const char *const tim_report_style[];

#endif
