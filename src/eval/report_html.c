/* The report as one page of HTML: a verdict, three plots, the table of all means, pictures, facts, definitions, values by seed.
 * Invariant: a text of the report reaches the page through tim_markup_html only; everything else is written here. The page's own
 * policy forbids scripts and requests, should that ever fail. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "eval/markup.h"
#include "eval/plot_svg.h"
#include "eval/report_parts.h"
#include "eval/subject.h"
#include "io/file.h"
#include "io/png.h"
#include "tim/eval.h"

typedef struct Page {
    const TimReport *report;
    TimBuffer out;
    TimBuffer png; /* the picture being embedded */
    TimStatus status;
    TimError *err;
} Page;

static void put(Page *page, const char *text) {
    tim_buffer_text(&page->out, text);
}

static void put_escaped(Page *page, const char *text) {
    tim_markup_html(&page->out, text);
}

static bool known(const char *text) {
    return text && *text;
}

/* ---- head ---- */

static const char *model_name(const TimReport *report) {
    return known(report->model.name) ? report->model.name : "Unnamed model";
}

static void put_head(Page *page, const char *what) {
    put(page,
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
        "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'\">\n"
        "<title>");
    put_escaped(page, model_name(page->report));
    tim_buffer_format(&page->out, " – %s</title>\n<style>\n", what);
    for (const char *const *piece = tim_report_style; *piece; piece++) put(page, *piece);
    put(page, "</style>\n</head>\n<body>\n");
}

/* A name that turns the direction of writing turns its own only. */
static void put_isolated(Page *page, const char *text) {
    put(page, "<bdi>");
    put_escaped(page, text);
    put(page, "</bdi>");
}

/* 12,345: digits in groups of three. */
static void put_count(Page *page, int64_t count) {
    char digits[24];
    TimBuffer text = {0};
    tim_buffer_format(&text, "%lld", (long long)count);
    const size_t length = text.count < sizeof digits ? text.count : 0;
    if (length) memcpy(digits, text.bytes, length);
    page->out.failed = page->out.failed || text.failed;
    tim_buffer_done(&text);
    for (size_t i = 0; i < length; i++) {
        if (i > 0 && digits[i - 1] != '-' && (length - i) % 3 == 0) put(page, ",");
        tim_buffer_add(&page->out, &digits[i], 1);
    }
}

static void put_title(Page *page) {
    const TimReport *report = page->report;
    put(page, "<header>\n<p class=\"kicker\">Evaluation of a Transition Model");
    if (known(report->data.name)) put(page, " on "), put_isolated(page, report->data.name);
    if (known(report->run.date)) put(page, ", "), put_isolated(page, report->run.date);
    put(page, "</p>\n<h1>");
    put_isolated(page, model_name(report));
    put(page, "</h1>\n<p class=\"verdict\">");
    tim_report_verdict(&page->out, report);
    put(page, "</p>\n</header>\n<main>\n");
}

static void put_heading(Page *page, const char *heading) {
    tim_buffer_format(&page->out, "<h2>%s</h2>\n", heading);
}

/* ---- plots ---- */

static int by_x(const void *a, const void *b) {
    const TimPlotPoint *p = a, *q = b;
    return (p->x > q->x) - (p->x < q->x);
}

/* What a plot shows of a row at x. */
typedef double (*RowValue)(const TimReportRow *row);

static double cost_of(const TimReportRow *row) {
    return (double)tim_report_cost(row);
}

static double seconds_of(const TimReportRow *row) {
    const double speed = row->scores[TIM_MEASURE_SPEED].mean;
    return speed > 0 ? 1 / speed : NAN;
}

/* The rows of one mode with a finite x, by rising x; `points` has room for all rows. */
static int collect(TimPlotPoint *points, const TimReport *report, TimSampleMode mode, RowValue x, TimMeasure measure) {
    int count = 0;
    for (int i = 0; i < report->row_count; i++) {
        const TimReportRow *row = &report->rows[i];
        const TimReportScore *score = &row->scores[measure];
        if (row->mode == mode && isfinite(x(row))) points[count++] = (TimPlotPoint){x(row), score->mean, score->error};
    }
    if (count > 0) qsort(points, (size_t)count, sizeof *points, by_x);
    return count;
}

static void fill_series(TimPlot *plot, TimPlotPoint *points, const TimReport *report, RowValue x, TimMeasure measure) {
    for (int mode = 0; mode < TIM_PLOT_SERIES; mode++) {
        TimPlotPoint *at = points + (size_t)mode * (size_t)report->row_count;
        plot->series[mode] = (TimPlotSeries){tim_mode_name(mode), at, collect(at, report, mode, x, measure)};
    }
}

/* What times were measured on. */
static void put_machine(Page *page) {
    const TimReport *report = page->report;
    if (!report->run.processor) return;
    put(page, " Time on ");
    put_escaped(page, report->run.processor);
    tim_buffer_format(&page->out, report->run.threads == 1 ? ", %d thread." : ", %d threads.", report->run.threads);
}

static void put_plot(Page *page, const TimPlot *plot, const char *heading, const char *note, bool timed) {
    if (!tim_plot_has_points(plot)) return;
    tim_buffer_format(&page->out, "<figure>\n<figcaption><h3>%s</h3></figcaption>\n", heading);
    tim_plot_draw(&page->out, plot);
    tim_buffer_format(&page->out, "<p class=\"note\">%s", note);
    if (timed) put_machine(page);
    put(page, "</p>\n</figure>\n");
}

static void put_frechet_plots(Page *page, TimPlotPoint *points) {
    const TimReport *report = page->report;
    TimPlot plot = {.id = "frechet-evaluations",
                    .title = "Fréchet distance by number of evaluations",
                    .x_name = "evaluations for a picture",
                    .y_name = "Fréchet distance",
                    .x_log = true,
                    .y_log = true,
                    .x_ticks_at_points = true,
                    .level = report->real[TIM_MEASURE_FRECHET],
                    .level_name = "real pictures"};
    fill_series(&plot, points, report, cost_of, TIM_MEASURE_FRECHET);
    put_plot(page, &plot, "Distance by evaluations",
             report->run.seeds > 1 ? "Lower is better. Bars: one standard error over seeds." : "Lower is better.", false);
    plot.id = "frechet-seconds";
    plot.title = "Fréchet distance by seconds for a picture";
    plot.x_name = "seconds for a picture";
    plot.x_ticks_at_points = false;
    fill_series(&plot, points, report, seconds_of, TIM_MEASURE_FRECHET);
    put_plot(page, &plot, "Distance by time", "Lower and further left is better.", true);
}

static void put_agreement_plot(Page *page, TimPlotPoint *points) {
    TimPlot plot = {.id = "agreement",
                    .title = "Class agreement by number of evaluations",
                    .x_name = "evaluations for a picture",
                    .y_name = "Class agreement",
                    .x_log = true,
                    .percent = true,
                    .x_ticks_at_points = true,
                    .level = page->report->real[TIM_MEASURE_AGREEMENT],
                    .level_name = "real pictures"};
    fill_series(&plot, points, page->report, cost_of, TIM_MEASURE_AGREEMENT);
    put_plot(page, &plot, "Agreement with the class",
             page->report->run.seeds > 1 ? "Higher is better. Bars: one standard error over seeds." : "Higher is better.", false);
}

static TimStatus put_plots(Page *page) {
    TimPlotPoint *points;
    const TimReport *report = page->report;
    if (report->row_count == 0) return TIM_OK;
    TIM_TRY(tim_new(&points, (size_t)report->row_count, TIM_PLOT_SERIES * sizeof *points, "the points of a plot", page->err));
    put(page, "<section class=\"plots\" aria-label=\"Plots\">\n");
    put_frechet_plots(page, points);
    put_agreement_plot(page, points);
    put(page, "</section>\n");
    tim_free(points);
    return TIM_OK;
}

/* ---- tables of numbers ---- */

/* The mean and its error. */
static void put_score(Page *page, TimMeasure measure, const TimReportScore *score) {
    put(page, "<td>");
    tim_report_put_score(&page->out, measure, score->mean, score->error);
    put(page, "</td>");
}

static void put_values(Page *page, TimMeasure measure, const TimReportScore *score) {
    const bool there = isfinite(score->mean) && score->values;
    put(page, there ? "<td>" : "<td>–");
    for (int i = 0; there && i < page->report->run.seeds; i++) {
        if (i > 0) put(page, "<br>");
        tim_report_put_score(&page->out, measure, score->values[i], NAN);
    }
    put(page, "</td>");
}

typedef void (*PutScore)(Page *page, TimMeasure measure, const TimReportScore *score);

/* Whether they say more than the steps: where steps are guided, they do. */
static bool has_evaluations(const TimReport *report) {
    for (int i = 0; i < report->row_count; i++)
        if (report->rows[i].evaluations != report->rows[i].steps) return true;
    return false;
}

static void put_row(Page *page, const TimReportRow *row, PutScore put_cell) {
    tim_buffer_format(&page->out, "<tr><th scope=\"row\">%d</th>", row->steps);
    if (has_evaluations(page->report)) {
        put(page, "<td>");
        put_count(page, row->evaluations);
        put(page, "</td>");
    }
    for (int i = 0; i < TIM_MEASURE_COUNT; i++)
        if (tim_report_has(page->report, i)) put_cell(page, i, &row->scores[i]);
    put(page, "</tr>\n");
}

static int column_count(const TimReport *report) {
    int count = 1 + has_evaluations(report);
    for (int i = 0; i < TIM_MEASURE_COUNT; i++) count += tim_report_has(report, i);
    return count;
}

static void put_group(Page *page, const char *name) {
    tim_buffer_format(&page->out, "<tbody>\n<tr class=\"group\"><th colspan=\"%d\" scope=\"rowgroup\"><span>%s</span></th></tr>\n",
                      column_count(page->report), name);
}

static void put_mode(Page *page, TimSampleMode mode, PutScore put_cell) {
    const TimReport *report = page->report;
    bool any = false;
    for (int i = 0; i < report->row_count; i++) {
        if (report->rows[i].mode != mode) continue;
        if (!any) put_group(page, mode == TIM_SAMPLE_TRANSITION ? "Transition mode" : "Diffusion mode");
        put_row(page, &report->rows[i], put_cell);
        any = true;
    }
    if (any) put(page, "</tbody>\n");
}

static void put_columns(Page *page) {
    put(page, "<thead><tr><th scope=\"col\">Steps</th>");
    if (has_evaluations(page->report)) put(page, "<th scope=\"col\">Evaluations</th>");
    for (int i = 0; i < TIM_MEASURE_COUNT; i++)
        if (tim_report_has(page->report, i)) tim_buffer_format(&page->out, "<th scope=\"col\">%s</th>", tim_measures[i].title);
    put(page, "</tr></thead>\n");
}

/* Real pictures as a row of the same table. */
static void put_real(Page *page) {
    const double *real = page->report->real;
    put_group(page, "Real pictures");
    put(page, has_evaluations(page->report) ? "<tr><th scope=\"row\">–</th><td>–</td>" : "<tr><th scope=\"row\">–</th>");
    for (int i = 0; i < TIM_MEASURE_COUNT; i++)
        if (tim_report_has(page->report, i)) put_score(page, i, &(TimReportScore){.mean = real[i], .error = NAN});
    put(page, "</tr>\n</tbody>\n");
}

/* The region takes the focus, so that a keyboard can scroll it. */
static void begin_table(Page *page, const char *name, const char *class) {
    tim_buffer_format(&page->out,
                      "<div class=\"scroll\" role=\"region\" aria-label=\"%s\" tabindex=\"0\">\n<table class=\"numbers%s\">\n",
                      name, class);
    put_columns(page);
}

/* What a number of the table is; a report without seeds has none to speak of. */
static void put_means_note(Page *page) {
    const TimReport *report = page->report;
    if (report->run.seeds == 0) return;
    put(page, "<p class=\"note\">");
    if (report->run.seeds > 1) {
        put(page, "Means over ");
        put_count(page, report->run.seeds);
        put(page, " seeds ± their standard error");
    } else {
        put(page, "Values of one seed, so without errors");
    }
    if (report->run.samples > 0) {
        put(page, "; ");
        put_count(page, report->run.samples);
        put(page, " pictures for each row and seed");
    }
    put(page, ".");
    if (isfinite(report->real[TIM_MEASURE_FRECHET]))
        put(page,
            " Real: as many training pictures against the test pictures; agreement and distances are those of the test pictures.");
    put(page, "</p>\n");
}

static void put_means(Page *page) {
    put_heading(page, "Numbers");
    put_means_note(page);
    begin_table(page, "Means", "");
    for (int mode = 0; mode < 2; mode++) put_mode(page, mode, put_score);
    put_real(page);
    put(page, "</table>\n</div>\n");
}

static bool has_values(const TimReport *report) {
    for (int i = 0; i < report->row_count; i++)
        for (int m = 0; m < TIM_MEASURE_COUNT; m++)
            if (report->rows[i].scores[m].values && isfinite(report->rows[i].scores[m].mean)) return true;
    return false;
}

static void put_seeds(Page *page) {
    if (page->report->run.seeds < 2 || !has_values(page->report)) return;
    put_heading(page, "Every seed");
    put(page, "<p class=\"note\">The values behind the means, seed by seed in the same order.</p>\n");
    begin_table(page, "Values of every seed", " seeds");
    for (int mode = 0; mode < 2; mode++) put_mode(page, mode, put_values);
    put(page, "</table>\n</div>\n");
}

/* ---- pictures ---- */

static size_t picture_size(const TimReportPictures *p) {
    return (size_t)p->height * (size_t)p->width * (size_t)p->channels; /* checked: fits */
}

/* An <img> up to its alternative text. The pixels are only read. */
static void begin_picture(Page *page, const uint8_t *pixels) {
    const TimReportPictures *p = &page->report->pictures;
    const TimImage image = {(uint8_t *)(uintptr_t)pixels, p->height, p->width, p->channels};
    page->png.count = 0;
    if (page->status == TIM_OK) page->status = tim_image_encode_png(&page->png, &image, page->err);
    tim_buffer_format(&page->out, "<img width=\"%d\" height=\"%d\" src=\"data:image/png;base64,", p->width, p->height);
    tim_buffer_base64(&page->out, page->png.bytes, page->png.count);
    put(page, "\" alt=\"");
}

static void put_class(Page *page, int column) {
    const char *const *names = page->report->pictures.class_names;
    if (names && known(names[column]))
        put_escaped(page, names[column]);
    else
        tim_buffer_format(&page->out, "%d", column);
}

static void put_sheet_head(Page *page) {
    put(page, "<thead><tr><th class=\"steps\" scope=\"col\">Steps</th>");
    for (int c = 0; c < page->report->pictures.columns; c++) {
        put(page, "<th scope=\"col\"><bdi>");
        put_class(page, c);
        put(page, "</bdi></th>");
    }
    put(page, "</tr></thead>\n");
}

static void put_sheet_row(Page *page, TimSampleMode mode, int row) {
    const TimReportPictures *p = &page->report->pictures;
    tim_buffer_format(&page->out, "<tr><th scope=\"row\">%d</th>", page->report->run.steps[row]);
    for (int c = 0; c < p->columns; c++) {
        const size_t index = (size_t)row * (size_t)p->columns + (size_t)c;
        put(page, "<td>");
        begin_picture(page, p->sheets[mode] + index * picture_size(p));
        put_class(page, c);
        const int steps = page->report->run.steps[row];
        tim_buffer_format(&page->out, ", %d step%s\"></td>\n", steps, steps == 1 ? "" : "s");
    }
    put(page, "</tr>\n");
}

/* So many columns that they would be too small to see scroll instead. */
static void put_sheet(Page *page, TimSampleMode mode) {
    enum { LEAST_COLUMN = 26, LABELS = 40 };
    const TimReport *report = page->report;
    if (!report->pictures.sheets[mode] || report->run.step_count == 0 || report->pictures.columns == 0) return;
    const char *name = mode == TIM_SAMPLE_TRANSITION ? "Transition mode" : "Diffusion mode";
    tim_buffer_format(&page->out,
                      "<figure>\n<figcaption><h3>%s</h3></figcaption>\n"
                      "<div class=\"scroll\" role=\"region\" aria-label=\"Pictures, %s\" tabindex=\"0\">\n"
                      "<table class=\"sheet\" style=\"min-width:%lldpx\">\n",
                      name, tim_mode_name(mode), LABELS + (long long)LEAST_COLUMN * report->pictures.columns);
    put_sheet_head(page);
    put(page, "<tbody>\n");
    for (int row = 0; row < report->run.step_count; row++) put_sheet_row(page, mode, row);
    put(page, "</tbody>\n</table>\n</div>\n</figure>\n");
}

static bool has_sheets(const TimReport *report) {
    const bool any = report->pictures.sheets[0] || report->pictures.sheets[1];
    return any && report->run.step_count > 0 && report->pictures.columns > 0;
}

static void put_sheets(Page *page) {
    if (!has_sheets(page->report)) return;
    put_heading(page, "Pictures");
    put(page,
        "<p class=\"note\">A column is a class, a row a number of steps. All rows of a column start from the same noise.</p>\n"
        "<div class=\"sheets\">\n");
    for (int mode = 0; mode < 2; mode++) put_sheet(page, mode);
    put(page, "</div>\n");
}

static void put_pair(Page *page, const TimReportPair *pair) {
    put(page, "<li><div class=\"pair\">\n");
    begin_picture(page, pair->generated);
    put(page, "generated\">\n");
    begin_picture(page, pair->training);
    put(page, "nearest training picture\">\n</div>\n<p>");
    if (isfinite(pair->distance)) {
        put(page, "<b>");
        tim_report_put_score(&page->out, TIM_MEASURE_DISTANCE, pair->distance, NAN);
        put(page, "</b>");
    }
    if (pair->steps > 0)
        tim_buffer_format(&page->out, " %s, %d step%s", tim_mode_name(pair->mode), pair->steps, pair->steps == 1 ? "" : "s");
    if (pair->training_index >= 0) tim_buffer_format(&page->out, "<br>training picture %lld", (long long)pair->training_index);
    put(page, "</p></li>\n");
}

/* What the distances below have to be compared with. */
static void put_scale(Page *page) {
    const TimReport *report = page->report;
    if (isfinite(report->near_distance)) {
        put(page, " One test picture in a hundred is nearer than ");
        tim_report_put_score(&page->out, TIM_MEASURE_DISTANCE, report->near_distance, NAN);
        put(page, ".");
    }
    if (isfinite(report->real[TIM_MEASURE_DISTANCE])) {
        put(page, " The median of the test pictures is ");
        tim_report_put_score(&page->out, TIM_MEASURE_DISTANCE, report->real[TIM_MEASURE_DISTANCE], NAN);
        put(page, ".");
    }
}

static void put_pairs(Page *page) {
    const TimReportPictures *p = &page->report->pictures;
    if (p->pair_count == 0) return;
    put_heading(page, "Nearest training pictures");
    put(page, "<p class=\"note\">Left a generated picture, right the training picture nearest to it, the closest pairs first. ");
    put(page, "A copy would show as two equal pictures.");
    put_scale(page);
    put(page, "</p>\n<ul class=\"pairs\">\n");
    for (int i = 0; i < p->pair_count; i++) put_pair(page, &p->pairs[i]);
    put(page, "</ul>\n");
}

/* ---- facts ---- */

static void begin_facts(Page *page, const char *heading) {
    tim_buffer_format(&page->out, "<div>\n<h3>%s</h3>\n<dl>\n", heading);
}

static void end_facts(Page *page) {
    put(page, "</dl>\n</div>\n");
}

static void put_fact(Page *page, const char *name, const char *text) {
    if (!known(text)) return;
    tim_buffer_format(&page->out, "<dt>%s</dt><dd>", name);
    put_isolated(page, text);
    put(page, "</dd>\n");
}

static void put_hash(Page *page, const char *text) {
    if (!known(text)) return;
    put(page, "<dt>Hash</dt><dd class=\"hash\">");
    put_isolated(page, text);
    put(page, "</dd>\n");
}

static void put_number_fact(Page *page, const char *name, int64_t count, bool there) {
    if (!there) return;
    tim_buffer_format(&page->out, "<dt>%s</dt><dd>", name);
    put_count(page, count);
    put(page, "</dd>\n");
}

static void put_model(Page *page) {
    const TimReport *report = page->report;
    begin_facts(page, "Model");
    put_fact(page, "Name", report->model.name);
    put_number_fact(page, "Parameters", report->model.parameters, report->model.parameters > 0);
    put_number_fact(page, "Training steps", report->model.training_steps, report->model.training_steps >= 0);
    put_fact(page, "Configuration", report->model.config);
    put_hash(page, report->model.hash);
    end_facts(page);
}

static void put_judges(Page *page) {
    const TimReport *report = page->report;
    begin_facts(page, "Features and reference");
    put_fact(page, "Network", report->features.name);
    if (isfinite(report->features.test_accuracy)) {
        put(page, "<dt>Its accuracy</dt><dd>");
        tim_report_put_score(&page->out, TIM_MEASURE_AGREEMENT, report->features.test_accuracy, NAN);
        put(page, " % of the test pictures</dd>\n");
    }
    put_hash(page, report->features.hash);
    put_fact(page, "Data", report->data.name);
    put_fact(page, "Training data", report->data.training_name);
    put_number_fact(page, "Training pictures", report->data.training_count, report->data.training_count > 0);
    put_number_fact(page, "Test pictures", report->data.test_count, report->data.test_count > 0);
    end_facts(page);
}

static void put_steps(Page *page) {
    if (page->report->run.step_count == 0) return;
    put(page, "<dt>Steps</dt><dd>");
    for (int i = 0; i < page->report->run.step_count; i++)
        tim_buffer_format(&page->out, "%s%d", i > 0 ? ", " : "", page->report->run.steps[i]);
    put(page, "</dd>\n");
}

static void put_run(Page *page) {
    const TimReport *report = page->report;
    begin_facts(page, "Run");
    put_number_fact(page, "Pictures a row", report->run.samples, report->run.samples > 0);
    put_number_fact(page, "Seeds", report->run.seeds, report->run.seeds > 0);
    if (report->run.seeds > 0)
        tim_buffer_format(&page->out, "<dt>First seed</dt><dd>%llu</dd>\n", (unsigned long long)report->run.seed);
    put_steps(page);
    put_number_fact(page, "Batch", report->run.batch, report->run.batch > 0);
    put_number_fact(page, "Threads", report->run.threads, report->run.threads > 0);
    put_fact(page, "Processor", report->run.processor);
    put_fact(page, "Instructions", report->run.isa);
    put_fact(page, "Precision", report->run.precision);
    put_fact(page, "libtim", report->run.version);
    put_fact(page, "Date", report->run.date);
    end_facts(page);
}

static void put_facts(Page *page) {
    put_heading(page, "What was judged");
    put(page, "<div class=\"facts\">\n");
    put_model(page);
    put_judges(page);
    put_run(page);
    put(page, "</div>\n");
}

static void put_definitions(Page *page) {
    put_heading(page, "What the measures mean");
    put(page, "<dl class=\"words\">\n");
    for (int i = 0; i < TIM_MEASURE_COUNT; i++)
        tim_buffer_format(&page->out, "<div><dt>%s</dt><dd>%s <cite>(%s)</cite></dd></div>\n", tim_measures[i].title,
                          tim_measures[i].definition, tim_measures[i].source);
    put(page, "</dl>\n");
}

/* ---- the whole ---- */

static TimStatus put_page(Page *page) {
    put_head(page, "evaluation");
    put_title(page);
    TIM_TRY(put_plots(page));
    put_means(page);
    put_sheets(page);
    put_pairs(page);
    put_facts(page);
    put_definitions(page);
    put_seeds(page);
    put(page, "</main>\n</body>\n</html>\n");
    return page->status;
}

/* ---- the demo's page ---- */

/* An image file in the page, whole. */
static TimStatus put_file(Page *page, const char *path, const char *caption) {
    TimFile file;
    TIM_TRY(tim_file_open(&file, path, page->err));
    put(page, "<figure class=\"drawn\">\n<div class=\"scroll\" role=\"region\" aria-label=\"The sheet\" tabindex=\"0\">\n"
              "<img alt=\"The sheet\" src=\"data:image/png;base64,");
    tim_buffer_base64(&page->out, file.data, file.size);
    tim_buffer_format(&page->out, "\">\n</div>\n<p class=\"note\">%s</p>\n</figure>\n", caption);
    tim_file_close(&file);
    return TIM_OK;
}

static TimStatus put_demo(Page *page, const char *sheet) {
    put_head(page, "any number of steps");
    put(page, "<header>\n<p class=\"kicker\">tim.c</p>\n<h1>One set of weights, any number of steps</h1>\n<p class=\"verdict\">");
    tim_report_verdict(&page->out, page->report);
    put(page, "</p>\n</header>\n<main>\n");
    TIM_TRY(put_file(page, sheet,
                     "Drawn just now on this machine: a column is a class, a row a number of evaluations of the network, "
                     "all rows of a column from the same noise."));
    put_heading(page, "Quality by steps");
    put(page, "<p class=\"note\">From the report that comes with the model");
    if (known(page->report->features.name)) put(page, ", in the features of "), put_isolated(page, page->report->features.name);
    if (known(page->report->features.hash)) put(page, " (hash "), put_isolated(page, page->report->features.hash), put(page, ")");
    put(page, ".</p>\n");
    TIM_TRY(put_plots(page));
    put_means(page);
    put_definitions(page);
    put(page, "</main>\n</body>\n</html>\n");
    return page->status;
}

/* ---- files ---- */

/* The whole page, or with `sheet` the demo's. */
static TimStatus write_page(const TimReport *report, const char *sheet, const char *path, TimError *err) {
    Page page = {.report = report, .err = err};
    TIM_TRY(tim_report_check(report, err));
    TimStatus status = sheet ? put_demo(&page, sheet) : put_page(&page);
    if (status == TIM_OK) status = tim_buffer_write(&page.out, path, err);
    tim_buffer_done(&page.out);
    tim_buffer_done(&page.png);
    return status;
}

TimStatus tim_report_write_html(const TimReport *report, const char *path, TimError *err) {
    return write_page(report, NULL, path, err);
}

/* `path`, which was read into `report`, has to tell of the weights of `model`. */
static TimStatus check_weights(const TimReport *report, const TimModel *model, const char *path, TimError *err) {
    char hash[TIM_HASH_TEXT];
    if (!model) return TIM_OK;
    TIM_TRY(tim_hash_set(hash, &model->frozen.set, err));
    if (report->model.hash && strcmp(hash, report->model.hash) == 0) return TIM_OK;
    return tim_fail(err, TIM_E_ARGUMENT, "%s: is of other weights (%.12s...) than these (%.12s...); have them judged by tim eval",
                    path, report->model.hash ? report->model.hash : "?", hash);
}

TimStatus tim_report_write_demo(const char *report, const TimModel *model, const char *sheet, const char *path, TimError *err) {
    TimReportFile file;
    TIM_TRY(tim_report_read(&file, report, err));
    TimStatus status = check_weights(&file.report, model, report, err);
    if (status == TIM_OK) status = write_page(&file.report, sheet, path, err);
    tim_report_file_done(&file);
    return status;
}
