/* The verdict: two sentences made from the numbers, for readers who read nothing else.
 * Invariant: "falls", "rises", "lower" and "higher" are said only of differences that seeds alone make in 5 % of all cases, "gets
 * worse" on the way only of one that they make in 5 % of all curves of six rows; where errors are not known the sentence says so,
 * and any difference counts. */
#include <math.h>

#include "eval/report_parts.h"

/* Of two scores a and b. */
typedef enum Outcome { LOWER, EQUAL, HIGHER } Outcome;

static const TimReportScore *frechet(const TimReportRow *row) {
    return &row->scores[TIM_MEASURE_FRECHET];
}

/* A number of standard errors by the number of seeds, from 2 on, and of ever more. */
enum { QUANTILES = 8 };
typedef struct Threshold {
    double quantiles[QUANTILES], many;
} Threshold;

/* Of two means of `seeds` values with one spread: Student's t with 2 (seeds - 1) degrees of freedom, beyond which lie 5 % - */
static const Threshold of_two = {{4.30, 2.78, 2.45, 2.31, 2.23, 2.18, 2.14, 2.12}, 2.1};
/* - and 1 %: six equal rows, each against the best before it, then show a rise in 5 % of all cases. */
static const Threshold of_rows = {{9.92, 4.60, 3.71, 3.36, 3.17, 3.05, 2.98, 2.92}, 2.8};

static double standard_errors(const Threshold *t, int seeds) {
    return seeds < 2 ? t->quantiles[0] : seeds - 2 < QUANTILES ? t->quantiles[seeds - 2] : t->many;
}

static Outcome compare_beyond(const Threshold *threshold, const TimReport *report, const TimReportRow *a, const TimReportRow *b) {
    const double error_a = frechet(a)->error, error_b = frechet(b)->error;
    const double difference = frechet(a)->mean - frechet(b)->mean;
    const double error = isfinite(error_a) && isfinite(error_b) ? hypot(error_a, error_b) : 0;
    if (fabs(difference) <= standard_errors(threshold, report->run.seeds) * error) return EQUAL;
    return difference < 0 ? LOWER : HIGHER;
}

static Outcome compare(const TimReport *report, const TimReportRow *a, const TimReportRow *b) {
    return compare_beyond(&of_two, report, a, b);
}

/* The measured row of a mode with the fewest evaluations above those of `before` (NULL: of all); NULL after the last. */
static const TimReportRow *next_row(const TimReport *report, TimSampleMode mode, const TimReportRow *before) {
    const TimReportRow *found = NULL;
    for (int i = 0; i < report->row_count; i++) {
        const TimReportRow *row = &report->rows[i];
        if (row->mode != mode || !isfinite(frechet(row)->mean)) continue;
        if (before && tim_report_cost(row) <= tim_report_cost(before)) continue;
        if (!found || tim_report_cost(row) < tim_report_cost(found)) found = row;
    }
    return found;
}

/* What the transition rows show, in the order of their evaluations. */
typedef struct Curve {
    const TimReportRow *first, *last, *best; /* NULL without any row */
    const TimReportRow *rise_from, *rise_to; /* the largest rise above the best so far; NULL if there is none */
    bool errors;                             /* all are known */
} Curve;

static void follow(const TimReport *report, Curve *curve, const TimReportRow *row) {
    const double rise = curve->rise_to ? frechet(curve->rise_to)->mean - frechet(curve->rise_from)->mean : 0;
    if (!curve->first) curve->first = curve->best = row;
    if (compare_beyond(&of_rows, report, row, curve->best) == HIGHER && frechet(row)->mean - frechet(curve->best)->mean > rise)
        curve->rise_from = curve->best, curve->rise_to = row;
    if (frechet(row)->mean < frechet(curve->best)->mean) curve->best = row;
    curve->last = row;
    curve->errors = curve->errors && isfinite(frechet(row)->error);
}

static Curve read_curve(const TimReport *report) {
    Curve curve = {.errors = true};
    for (const TimReportRow *row = next_row(report, TIM_SAMPLE_TRANSITION, NULL); row;
         row = next_row(report, TIM_SAMPLE_TRANSITION, row))
        follow(report, &curve, row);
    return curve;
}

static void put_mean(TimBuffer *out, const TimReportRow *row) {
    tim_report_put_score(out, TIM_MEASURE_FRECHET, frechet(row)->mean, NAN);
}

static void put_cost(TimBuffer *out, const TimReportRow *row) {
    tim_buffer_format(out, "%lld", (long long)tim_report_cost(row));
}

static void put_evaluations(TimBuffer *out, const TimReportRow *row) {
    put_cost(out, row);
    tim_buffer_text(out, tim_report_cost(row) == 1 ? " evaluation" : " evaluations");
}

/* Few digits are enough for "so many times". */
static void put_factor(TimBuffer *out, double factor) {
    tim_buffer_format(out, factor < 10 ? "%.2f" : factor < 1e6 ? "%.0f" : "%.1e", factor);
}

static void put_percent(TimBuffer *out, double share) {
    tim_buffer_format(out, "%.1f %%", 100 * share);
}

/* ---- the first sentence ---- */

static void put_change(TimBuffer *out, const TimReport *report, const Curve *curve) {
    const Outcome change = compare(report, curve->last, curve->first);
    tim_buffer_text(out, change == LOWER ? " falls from " : change == HIGHER ? " rises from " : " is ");
    put_mean(out, curve->first);
    tim_buffer_text(out, " with ");
    put_evaluations(out, curve->first);
    tim_buffer_text(out, change == EQUAL ? " and " : " to ");
    put_mean(out, curve->last);
    tim_buffer_text(out, " with ");
    put_cost(out, curve->last);
    if (change == EQUAL) tim_buffer_text(out, ", no clear difference");
}

static void put_way(TimBuffer *out, const TimReport *report, const Curve *curve) {
    const Outcome change = compare(report, curve->last, curve->first);
    if (!curve->rise_to) {
        if (change == LOWER) tim_buffer_text(out, " without a clear rise in between");
        return;
    }
    if (curve->rise_from == curve->first && curve->rise_to == curve->last) return; /* has been said */
    tim_buffer_text(out, change == HIGHER ? ", most of all from " : ", but gets worse from ");
    put_cost(out, curve->rise_from);
    tim_buffer_text(out, " to ");
    put_evaluations(out, curve->rise_to);
    tim_buffer_text(out, " (");
    put_mean(out, curve->rise_from);
    tim_buffer_text(out, " to ");
    put_mean(out, curve->rise_to);
    tim_buffer_text(out, ")");
}

/* "34.0 is 13 times the 2.60 of real pictures" */
static void put_against_real(TimBuffer *out, double mean, double real) {
    if (mean <= real) {
        tim_buffer_text(out, "no higher than the ");
    } else if (real > 0) {
        put_factor(out, mean / real);
        tim_buffer_text(out, " times the ");
    } else {
        tim_buffer_text(out, "above the ");
    }
    tim_report_put_score(out, TIM_MEASURE_FRECHET, real, NAN);
    tim_buffer_text(out, " of real pictures");
}

static void put_best(TimBuffer *out, const Curve *curve, double real) {
    tim_buffer_text(out, curve->first == curve->last ? "; that is " : "; the best, ");
    if (curve->first != curve->last) {
        put_mean(out, curve->best);
        tim_buffer_text(out, ", is ");
    }
    put_against_real(out, frechet(curve->best)->mean, real);
}

static void put_single(TimBuffer *out, const Curve *curve) {
    tim_buffer_text(out, " is ");
    put_mean(out, curve->first);
    tim_buffer_text(out, " with ");
    put_evaluations(out, curve->first);
}

static void put_quality(TimBuffer *out, const TimReport *report) {
    const Curve curve = read_curve(report);
    if (!curve.first) {
        tim_buffer_text(out,
                        "The Fréchet distance was not measured in transition mode, so nothing can be said of quality by steps.");
        return;
    }
    tim_buffer_text(out, "The Fréchet distance in transition mode");
    if (!curve.errors) tim_buffer_text(out, " (errors not known)");
    if (curve.first == curve.last) {
        put_single(out, &curve);
    } else {
        put_change(out, report, &curve);
        put_way(out, report, &curve);
    }
    if (isfinite(report->real[TIM_MEASURE_FRECHET])) put_best(out, &curve, report->real[TIM_MEASURE_FRECHET]);
    tim_buffer_text(out, ".");
}

/* ---- the second: diffusion mode ---- */

/* The first measured diffusion row with as many evaluations as `row`; NULL if there is none. */
static const TimReportRow *partner(const TimReport *report, const TimReportRow *row) {
    for (int i = 0; i < report->row_count; i++) {
        const TimReportRow *other = &report->rows[i];
        const bool measured = other->mode == TIM_SAMPLE_DIFFUSION && isfinite(frechet(other)->mean);
        if (measured && tim_report_cost(other) == tim_report_cost(row)) return other;
    }
    return NULL;
}

/* Whether all errors of the comparison are known. */
static bool has_errors(const TimReport *report) {
    for (const TimReportRow *row = next_row(report, TIM_SAMPLE_TRANSITION, NULL); row;
         row = next_row(report, TIM_SAMPLE_TRANSITION, row)) {
        const TimReportRow *other = partner(report, row);
        if (other && !(isfinite(frechet(row)->error) && isfinite(frechet(other)->error))) return false;
    }
    return true;
}

/* The next transition row after `before` whose distance compares with its partner's as `outcome`. */
static const TimReportRow *next_with(const TimReport *report, Outcome outcome, const TimReportRow *before) {
    const TimReportRow *row = next_row(report, TIM_SAMPLE_TRANSITION, before);
    for (; row; row = next_row(report, TIM_SAMPLE_TRANSITION, row)) {
        const TimReportRow *other = partner(report, row);
        if (other && compare(report, row, other) == outcome) return row;
    }
    return NULL;
}

/* ", lower with 1, 2 and 4"; returns whether there was one. */
static bool put_outcome(TimBuffer *out, const TimReport *report, Outcome outcome, const char *words, bool later) {
    const TimReportRow *row = next_with(report, outcome, NULL);
    if (!row) return false;
    tim_buffer_format(out, "%s%s with ", later ? ", " : "", words);
    put_cost(out, row);
    for (row = next_with(report, outcome, row); row;) {
        const TimReportRow *next = next_with(report, outcome, row);
        tim_buffer_text(out, next ? ", " : " and ");
        put_cost(out, row);
        row = next;
    }
    return true;
}

static bool has_partner(const TimReport *report) {
    return next_with(report, LOWER, NULL) || next_with(report, EQUAL, NULL) || next_with(report, HIGHER, NULL);
}

static void put_comparison(TimBuffer *out, const TimReport *report) {
    if (!has_partner(report)) {
        tim_buffer_text(out, "Diffusion mode was not measured with the same numbers of evaluations");
        return;
    }
    tim_buffer_text(out, "Against diffusion mode with as many evaluations");
    tim_buffer_text(out, has_errors(report) ? " it is " : ", errors not known, it is ");
    bool later = put_outcome(out, report, LOWER, "lower", false);
    later = put_outcome(out, report, EQUAL, "not clearly different", later) || later;
    put_outcome(out, report, HIGHER, "higher", later);
}

/* ---- the second: copying ---- */

/* The ends of what all rows show; NaN if no row does. */
typedef struct Nearness {
    double ratio; /* smallest ratio of median distances */
    double share; /* largest share of very near pictures; 1 % is expected */
    bool low;     /* some row's ratio is well below 1, and not by chance */
    bool many;    /* some row's share is beyond double what is expected, and not by chance */
} Nearness;

/* The standard error that a score has by chance: of as many pictures as were looked at and as many test pictures as they are
 * compared with, each of which has the variance `variance`, or as the seeds show. */
static double chance(const TimReport *report, const TimReportScore *score, double variance) {
    const double pictures = (double)report->run.samples * report->run.seeds, tests = (double)report->data.test_count;
    const double by_number = sqrt((pictures > 0 ? variance / pictures : 0) + (tests > 0 ? variance / tests : 0));
    return isfinite(score->error) ? fmax(score->error, by_number) : by_number;
}

static bool are_many(const TimReport *report, const TimReportScore *share) {
    const double high = 0.02, expected = 0.01;
    return share->mean - 2 * chance(report, share, expected) > high;
}

/* A median of n distances of test pictures has an error of 0.43 / sqrt(n) of itself where they spread as Fashion-MNIST's do. */
static bool is_low(const TimReport *report, const TimReportScore *ratio) {
    const double low = 0.8, spread = 0.5;
    return ratio->mean + 2 * chance(report, ratio, spread * spread) < low;
}

/* Of the transition mode where there is one: pictures that few evaluations of the other blur lie near everything. */
static Nearness read_nearness(const TimReport *report) {
    Nearness nearness = {NAN, NAN, false, false};
    bool transition = false;
    for (int i = 0; i < report->row_count; i++) transition |= report->rows[i].mode == TIM_SAMPLE_TRANSITION;
    for (int i = 0; i < report->row_count; i++) {
        if (transition && report->rows[i].mode != TIM_SAMPLE_TRANSITION) continue;
        const TimReportScore *ratio = &report->rows[i].scores[TIM_MEASURE_DISTANCE_RATIO];
        const TimReportScore *share = &report->rows[i].scores[TIM_MEASURE_NEAR_SHARE];
        if (isfinite(ratio->mean)) nearness.ratio = fmin(nearness.ratio, ratio->mean); /* fmin and fmax pass a NaN over */
        if (isfinite(share->mean)) nearness.share = fmax(nearness.share, share->mean);
        nearness.low |= isfinite(ratio->mean) && is_low(report, ratio);
        nearness.many |= isfinite(share->mean) && are_many(report, share);
    }
    return nearness;
}

static void put_nearness(TimBuffer *out, const Nearness *nearness) {
    if (isfinite(nearness->ratio)) {
        tim_buffer_text(out, "median distance to the nearest training picture at least ");
        put_factor(out, nearness->ratio);
        tim_buffer_text(out, " times that of test pictures");
    }
    if (isfinite(nearness->ratio) && isfinite(nearness->share)) tim_buffer_text(out, ", ");
    if (isfinite(nearness->share)) {
        tim_buffer_text(out, "at most ");
        put_percent(out, nearness->share);
        tim_buffer_text(out, " very near where 1 % is expected");
    }
}

/* Copies would be at distance zero. A model that smooths its pictures is a little nearer than new ones without copying any, so only
 * more than double the expected share or a median well below 1, beyond chance, is called a sign; and pictures far from everything
 * cannot show one. */
static void put_copying(TimBuffer *out, const TimReport *report) {
    const double high_ratio = 1.25;
    const Nearness nearness = read_nearness(report);
    if (!isfinite(nearness.ratio) && !isfinite(nearness.share)) {
        tim_buffer_text(out, "; copying was not tested.");
        return;
    }
    const bool sign = nearness.low || nearness.many;
    tim_buffer_text(out, sign ? "; there are signs of copying (" : "; there is no sign of copying (");
    put_nearness(out, &nearness);
    tim_buffer_text(out, ")");
    if (!sign && nearness.ratio > high_ratio) tim_buffer_text(out, ", which says little of pictures that far from all others");
    tim_buffer_text(out, ".");
}

void tim_report_verdict(TimBuffer *out, const TimReport *report) {
    put_quality(out, report);
    tim_buffer_text(out, " ");
    put_comparison(out, report);
    put_copying(out, report);
}
