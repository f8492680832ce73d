#include "eval/report_parts.h"

#include <math.h>

/* The words say nothing that depends on the network of the features, which the report names. */
const TimMeasureInfo tim_measures[TIM_MEASURE_COUNT] = {
    [TIM_MEASURE_FRECHET] = {"frechet", "Fréchet distance", false, 4,
                             "Distance between two normal distributions, fitted to the features of the generated and of the real "
                             "pictures. Lower is better. A published FID has Inception's features and so another scale.",
                             "Heusel et al. 2017, arXiv 1706.08500"},
    [TIM_MEASURE_FRECHET_LIMIT] =
        {"frechet_limit", "Limit of the distance", false, 4,
         "What the Fréchet distance would fall to with ever more generated pictures: twice that of all less "
         "the mean of those of two halves, since what few pictures add is inverse to their number. It compares "
         "between different numbers of pictures.",
         "after Chong and Forsyth 2020, arXiv 1911.07023"},
    [TIM_MEASURE_FRECHET_2000] =
        {"frechet_2000", "Distance of 2000", false, 4,
         "The Fréchet distance of the first 2000 pictures of each seed alone: what a shorter run of the same "
         "seeds, with --samples 2000, finds again.",
         "Heusel et al. 2017, arXiv 1706.08500"},
    [TIM_MEASURE_KERNEL] = {"kernel", "Kernel distance", false, 6,
                            "Unbiased estimate of the squared maximum mean discrepancy of the features under a cubic kernel. Lower "
                            "is better; between equal distributions it is zero on average and can be negative.",
                            "Bińkowski et al. 2018, arXiv 1801.01401"},
    [TIM_MEASURE_PRECISION] =
        {"precision", "Precision", false, 3,
         "Share of generated pictures that lie among the real ones, in the space of features. Higher is better.",
         "Kynkäänniemi et al. 2019, arXiv 1904.06991"},
    [TIM_MEASURE_RECALL] = {"recall", "Recall", false, 3,
                            "Share of real pictures that lie among the generated ones, in the space of features. Higher is better.",
                            "Kynkäänniemi et al. 2019, arXiv 1904.06991"},
    [TIM_MEASURE_AGREEMENT] =
        {"agreement", "Class agreement, %", true, 1,
         "Share of pictures in which a classifier trained on real pictures sees the class that was asked for.",
         "“GAN-test” of Shmelkov et al. 2018, arXiv 1807.09499"},
    [TIM_MEASURE_DISTANCE] = {"nearest_distance", "Nearest training", false, 3,
                              "Distance from a picture to the training picture nearest to it, as the root mean square over the "
                              "pixels of values from 0 to 1; "
                              "the median over the pictures.",
                              "after Meehan et al. 2020, arXiv 2004.05675"},
    [TIM_MEASURE_DISTANCE_RATIO] =
        {"nearest_distance_ratio", "Ratio to test", false, 2,
         "The same divided by that of the test pictures: near 1 for new pictures, far below 1 for copies.",
         "after Meehan et al. 2020, arXiv 2004.05675"},
    [TIM_MEASURE_NEAR_SHARE] =
        {"near_share", "Very near, %", true, 2,
         "Share of pictures that are nearer to a training picture than all but 1 % of the test pictures are: "
         "about 1 % for new pictures, more for copies.",
         "after Meehan et al. 2020, arXiv 2004.05675"},
    [TIM_MEASURE_SPEED] = {"pictures_per_second", "Pictures/s", false, 3,
                           "Generated pictures for each second of sampling, all threads together.", "wall clock of this run"},
};

const char *tim_mode_name(TimSampleMode mode) {
    return mode == TIM_SAMPLE_DIFFUSION ? "diffusion" : "transition";
}

int64_t tim_report_cost(const TimReportRow *row) {
    return row->evaluations > 0 ? row->evaluations : row->steps;
}

TimReportScore tim_report_score(const double *values, int seeds) {
    double sum = 0, squares = 0;
    for (int i = 0; i < seeds; i++) sum += values[i];
    const double mean = seeds > 0 ? sum / seeds : NAN;
    for (int i = 0; i < seeds; i++) squares += (values[i] - mean) * (values[i] - mean);
    return (TimReportScore){
        .mean = mean, .error = seeds > 1 ? sqrt(squares / (seeds - 1.0) / seeds) : NAN, .values = seeds > 0 ? values : NULL};
}

bool tim_report_has(const TimReport *report, TimMeasure measure) {
    bool has = isfinite(report->real[measure]);
    for (int i = 0; i < report->row_count; i++) has = has || isfinite(report->rows[i].scores[measure].mean);
    return has;
}

/* ---- check ---- */

static TimStatus check_count(const char *name, int count, const void *items, TimError *err) {
    if (count < 0) return tim_fail(err, TIM_E_ARGUMENT, "report: %s is %d; give 0 or more", name, count);
    if (count > 0 && !items) return tim_fail(err, TIM_E_ARGUMENT, "report: %s is %d without their array; give it", name, count);
    return TIM_OK;
}

static TimStatus check_draw(const char *what, int index, TimSampleMode mode, int steps, TimError *err) {
    if (mode != TIM_SAMPLE_TRANSITION && mode != TIM_SAMPLE_DIFFUSION)
        return tim_fail(err, TIM_E_ARGUMENT, "report: %s %d: mode %d; give TIM_SAMPLE_TRANSITION or TIM_SAMPLE_DIFFUSION", what,
                        index, (int)mode);
    if (steps < 0) return tim_fail(err, TIM_E_ARGUMENT, "report: %s %d: %d steps; give 0 or more", what, index, steps);
    return TIM_OK;
}

static TimStatus check_rows(const TimReport *report, TimError *err) {
    for (int i = 0; i < report->row_count; i++) {
        const TimReportRow *row = &report->rows[i];
        TIM_TRY(check_draw("row", i, row->mode, row->steps, err));
        if (row->evaluations < 0)
            return tim_fail(err, TIM_E_ARGUMENT, "report: row %d: %lld evaluations; give 0 or more", i,
                            (long long)row->evaluations);
    }
    return TIM_OK;
}

static TimStatus check_pairs(const TimReportPictures *pictures, TimError *err) {
    for (int i = 0; i < pictures->pair_count; i++) {
        const TimReportPair *pair = &pictures->pairs[i];
        TIM_TRY(check_draw("pair", i, pair->mode, pair->steps, err));
        if (!pair->generated || !pair->training)
            return tim_fail(err, TIM_E_ARGUMENT, "report: pair %d: a picture is NULL; give both", i);
    }
    return TIM_OK;
}

static TimStatus check_size(const TimReportPictures *p, TimError *err) {
    const bool any = p->sheets[0] || p->sheets[1] || p->pair_count > 0;
    const bool sides = p->height >= 1 && p->height <= TIM_IMAGE_MAX_SIDE && p->width >= 1 && p->width <= TIM_IMAGE_MAX_SIDE;
    if (!any || (sides && (p->channels == 1 || p->channels == 3))) return TIM_OK;
    return tim_fail(err, TIM_E_ARGUMENT,
                    "report: pictures of height %d, width %d, %d channels; sides are 1 ... %d, channels 1 or 3", p->height,
                    p->width, p->channels, TIM_IMAGE_MAX_SIDE);
}

TimStatus tim_report_check(const TimReport *report, TimError *err) {
    const TimReportPictures *pictures = &report->pictures;
    TIM_TRY(check_count("row_count", report->row_count, report->rows, err));
    TIM_TRY(check_count("step_count", report->run.step_count, report->run.steps, err));
    TIM_TRY(check_count("pair_count", pictures->pair_count, pictures->pairs, err));
    TIM_TRY(check_count("seeds", report->run.seeds, report, err));
    TIM_TRY(check_count("columns", pictures->columns, report, err));
    TIM_TRY(check_rows(report, err));
    TIM_TRY(check_pairs(pictures, err));
    return check_size(pictures, err);
}

/* ---- numbers ---- */

enum { MOST_DECIMALS = 6 };

/* Digits after the point, at most `most`, or more where an error would be all zeros; -1 asks for an exponent: beyond these bounds
 * rows of zeros would hide the number. */
static int decimals_of(double value, double error, int most) {
    const double size = fabs(value);
    if (size >= 1e7 || (size != 0 && size < 1e-5 && most >= MOST_DECIMALS)) return -1;
    int decimals = size != 0 ? 2 - (int)floor(log10(size)) : 0;
    if (isfinite(error) && error > 1e-9 && error < 1e7) {
        decimals = (int)fmax(decimals, -floor(log10(error)));
        while (most < MOST_DECIMALS && error < 0.5 * pow(10, -most)) most++;
    }
    return decimals < 0 ? 0 : decimals > most ? most : decimals;
}

static void put_digits(TimBuffer *out, double size, int decimals) {
    if (decimals < 0)
        tim_buffer_format(out, "%.2e", size);
    else
        tim_buffer_format(out, "%.*f", decimals, size);
}

static void put_signed(TimBuffer *out, double value, int decimals) {
    if (value < 0) tim_buffer_text(out, "\xE2\x88\x92");
    put_digits(out, fabs(value), decimals);
}

void tim_report_put_score(TimBuffer *out, TimMeasure measure, double mean, double error) {
    const TimMeasureInfo *info = &tim_measures[measure];
    const double unit = info->percent ? 100 : 1;
    if (!isfinite(unit * mean)) { /* finite, and a hundred times it too */
        tim_buffer_text(out, "–");
        return;
    }
    const int decimals = decimals_of(unit * mean, unit * error, info->decimals);
    put_signed(out, unit * mean, decimals);
    if (isfinite(unit * error)) {
        tim_buffer_text(out, " <small>± ");
        put_digits(out, unit * error, decimals_of(unit * error, NAN, 0) < 0 ? -1 : decimals);
        tim_buffer_text(out, "</small>");
    }
}
