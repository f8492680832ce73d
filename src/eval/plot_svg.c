/* Invariant: the axes are laid out first, over everything that will be drawn, and alone decide where a value lies. */
#include "eval/plot_svg.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { WIDTH = 360, HEIGHT = 280, LEFT = 46, RIGHT = 348, TOP = 34, BOTTOM = 232 }; /* user units; the frame of the data */

static const double letter_width = 7; /* of a label's letter, rather too wide: fonts differ */

/* One axis: `from` and `to` are where `low` and `high` lie. With `logarithmic`, low and high are logarithms. */
typedef struct Axis {
    double low, high, from, to;
    bool logarithmic;
    bool share; /* shows 0 ... 1 only */
} Axis;

typedef struct Frame {
    Axis x, y;
} Frame;

static bool shows(const Axis *axis, double value) {
    return isfinite(value) && (!axis->logarithmic || value > 0) && (!axis->share || (value >= 0 && value <= 1));
}

static double place(const Axis *axis, double value) {
    const double v = axis->logarithmic ? log10(value) : value;
    return axis->from + (axis->to - axis->from) * ((v - axis->low) / (axis->high - axis->low));
}

static bool shows_point(const Frame *frame, const TimPlotPoint *point) {
    return shows(&frame->x, point->x) && shows(&frame->y, point->y);
}

/* ---- layout ---- */

static void include(Axis *axis, double value) {
    if (!shows(axis, value)) return;
    const double v = axis->logarithmic ? log10(value) : value;
    axis->low = fmin(axis->low, v);
    axis->high = fmax(axis->high, v);
}

static void include_point(Frame *frame, const TimPlotPoint *point) {
    if (!shows_point(frame, point)) return;
    include(&frame->x, point->x);
    include(&frame->y, point->y);
    if (!isfinite(point->error)) return;
    include(&frame->y, point->y - point->error);
    include(&frame->y, point->y + point->error);
}

/* A margin inside the frame, and a width of its own where all values are equal. */
static void widen(Axis *axis, double share, double least) {
    double margin = (axis->high - axis->low) * share;
    if (axis->high - axis->low < least) margin = least;
    axis->low -= margin;
    axis->high += margin;
}

/* Room for the level's label above it, where nothing lies higher. */
static void make_headroom(Axis *axis, double level) {
    const double share = 18.0 / (BOTTOM - TOP);
    if (!shows(axis, level)) return;
    const double v = axis->logarithmic ? log10(level) : level, least = (v - share * axis->low) / (1 - share);
    const bool highest = axis->high - v < 0.2 * (axis->high - axis->low);
    if (highest && axis->high < least) axis->high = least;
}

static Frame lay_out(const TimPlot *plot) {
    Frame frame = {.x = {INFINITY, -INFINITY, LEFT, RIGHT, plot->x_log}, .y = {INFINITY, -INFINITY, BOTTOM, TOP, plot->y_log}};
    frame.y.share = plot->percent;
    for (int s = 0; s < TIM_PLOT_SERIES; s++)
        for (int i = 0; i < plot->series[s].count; i++) include_point(&frame, &plot->series[s].points[i]);
    include(&frame.y, plot->level);
    widen(&frame.x, 0.05, plot->x_log ? 0.2 : fmax(fabs(frame.x.high) * 0.05, 1e-9));
    widen(&frame.y, 0.08, plot->y_log ? 0.2 : plot->percent ? 0.02 : fmax(fabs(frame.y.high) * 0.05, 1e-9));
    if (plot->percent) { /* no room for more than all or less than nothing, but for half a marker */
        frame.y.high = fmin(frame.y.high, 1.005);
        frame.y.low = fmax(frame.y.low, -0.005);
    }
    make_headroom(&frame.y, plot->level);
    return frame;
}

bool tim_plot_has_points(const TimPlot *plot) {
    const Frame frame = {.x.logarithmic = plot->x_log, .y.logarithmic = plot->y_log, .y.share = plot->percent};
    for (int s = 0; s < TIM_PLOT_SERIES; s++)
        for (int i = 0; i < plot->series[s].count; i++)
            if (shows_point(&frame, &plot->series[s].points[i])) return true;
    return false;
}

/* ---- ticks ---- */

enum { MOST_TICKS = 48, MANY_TICKS = 10 };

typedef struct Ticks {
    double values[MOST_TICKS];
    int count;
} Ticks;

static void add_tick(Ticks *ticks, const Axis *axis, double value) {
    const double v = axis->logarithmic ? log10(value) : value;
    if (axis->share && value > 1 + 1e-9) return;
    if (v >= axis->low && v <= axis->high && ticks->count < MOST_TICKS) ticks->values[ticks->count++] = value;
}

/* The factors at every `decades` powers of ten. */
static Ticks decade_ticks(const Axis *axis, const double *factors, int count, int decades) {
    Ticks ticks = {.count = 0};
    const int first = (int)floor(axis->low / decades) * decades;
    for (int power = first; power <= axis->high && ticks.count < MOST_TICKS; power += decades)
        for (int i = 0; i < count; i++) add_tick(&ticks, axis, factors[i] * pow(10, power));
    return ticks;
}

/* 1, 2, 5, 10; with more decades 1, 10, then every other, and so on. */
static Ticks log_ticks(const Axis *axis) {
    static const double factors[] = {1, 2, 5, 3, 4, 6, 7, 8, 9};
    enum { FEW_TICKS = 3 };
    Ticks ticks = decade_ticks(axis, factors, 3, 1);
    if (ticks.count < FEW_TICKS) ticks = decade_ticks(axis, factors, 9, 1);
    for (int decades = 1; ticks.count > MANY_TICKS; decades++) ticks = decade_ticks(axis, factors, 1, decades);
    return ticks;
}

/* Multiples of the smallest 1, 2 or 5 times a power of ten that gives few of them. */
static Ticks linear_ticks(const Axis *axis) {
    Ticks ticks = {.count = 0};
    const double rough = (axis->high - axis->low) / 5, power = pow(10, floor(log10(rough)));
    const double step = power * (rough / power > 5 ? 10 : rough / power > 2 ? 5 : rough / power > 1 ? 2 : 1);
    const double first = ceil(axis->low / step);
    for (int i = 0; i <= MANY_TICKS; i++) add_tick(&ticks, axis, (first + i) * step + 0.0); /* + 0: not minus zero */
    return ticks;
}

/* The smallest x of any point above `above`; infinite after the last. */
static double next_x(const TimPlot *plot, const Frame *frame, double above) {
    double next = INFINITY;
    for (int s = 0; s < TIM_PLOT_SERIES; s++)
        for (int i = 0; i < plot->series[s].count; i++) {
            const TimPlotPoint *point = &plot->series[s].points[i];
            if (shows_point(frame, point) && point->x > above) next = fmin(next, point->x);
        }
    return next;
}

static Ticks point_ticks(const TimPlot *plot, const Frame *frame) {
    Ticks ticks = {.count = 0};
    for (double x = next_x(plot, frame, -INFINITY); isfinite(x) && ticks.count < MOST_TICKS; x = next_x(plot, frame, x))
        ticks.values[ticks.count++] = x;
    return ticks;
}

static Ticks axis_ticks(const Axis *axis) {
    return axis->logarithmic ? log_ticks(axis) : linear_ticks(axis);
}

/* 6 digits hold any tick; a share is shown in percent. The C locale is that of tim_buffer_format. */
static void put_tick_value(TimBuffer *out, double value, bool percent) {
    tim_buffer_format(out, percent ? "%.4g %%" : "%.6g", percent ? 100 * value : value);
}

static double tick_width(double value) {
    char text[32];
    return letter_width * snprintf(text, sizeof text, "%.6g", value);
}

static void draw_x_ticks(TimBuffer *out, const Frame *frame, const Ticks *ticks) {
    double free = -INFINITY; /* from here on a label finds room */
    for (int i = 0; i < ticks->count; i++) {
        const double x = place(&frame->x, ticks->values[i]), half = tick_width(ticks->values[i]) / 2;
        tim_buffer_format(out, "<path class=\"tick\" d=\"M%.1f %dv5\"/>", x, BOTTOM);
        if (x - half < free) continue;
        tim_buffer_format(out, "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">", x, BOTTOM + 19);
        put_tick_value(out, ticks->values[i], false);
        tim_buffer_text(out, "</text>\n");
        free = x + half + letter_width;
    }
}

static void draw_y_ticks(TimBuffer *out, const Frame *frame, const Ticks *ticks, bool percent) {
    for (int i = 0; i < ticks->count; i++) {
        const double y = place(&frame->y, ticks->values[i]);
        tim_buffer_format(out, "<path class=\"grid\" d=\"M%d %.1fH%d\"/>", LEFT, y, RIGHT);
        tim_buffer_format(out, "<text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">", LEFT - 6, y + 4);
        put_tick_value(out, ticks->values[i], percent);
        tim_buffer_text(out, "</text>\n");
    }
}

static void draw_axes(TimBuffer *out, const TimPlot *plot, const Frame *frame) {
    const Ticks x = plot->x_ticks_at_points ? point_ticks(plot, frame) : axis_ticks(&frame->x), y = axis_ticks(&frame->y);
    draw_y_ticks(out, frame, &y, plot->percent);
    draw_x_ticks(out, frame, &x);
    tim_buffer_format(out, "<path class=\"axis\" d=\"M%d %dH%d\"/>", LEFT, BOTTOM, RIGHT);
    tim_buffer_format(out, "<text class=\"name\" x=\"%d\" y=\"%d\" text-anchor=\"middle\">%s</text>\n", (LEFT + RIGHT) / 2,
                      BOTTOM + 40, plot->x_name);
}

/* ---- data ---- */

static const char *const series_class[TIM_PLOT_SERIES] = {"a", "b"};

static void draw_marker(TimBuffer *out, int series, double x, double y) {
    if (series == 0)
        tim_buffer_format(out, "<circle class=\"mark\" cx=\"%.1f\" cy=\"%.1f\" r=\"4\"", x, y);
    else
        tim_buffer_format(out, "<path class=\"mark\" d=\"M%.1f %.1fl5 5 -5 5 -5 -5z\"", x, y - 5);
}

/* From one standard error below to one above, cut at the frame: on a logarithmic axis the lower end may lie at infinity. */
static void draw_bar(TimBuffer *out, const Frame *frame, const TimPlotPoint *point) {
    if (!isfinite(point->error) || point->error <= 0) return;
    const double x = place(&frame->x, point->x), low = point->y - point->error;
    const double bottom = shows(&frame->y, low) ? fmin(place(&frame->y, low), BOTTOM) : BOTTOM;
    const double top = fmax(place(&frame->y, point->y + point->error), TOP);
    tim_buffer_format(out, "<path class=\"bar\" d=\"M%.1f %.1fV%.1fM%.1f %.1fh6M%.1f %.1fh6\"/>", x, bottom, top, x - 3, bottom,
                      x - 3, top);
}

static void draw_line(TimBuffer *out, const Frame *frame, const TimPlotSeries *series) {
    char command = 'M';
    tim_buffer_text(out, "<path class=\"line\" d=\"");
    for (int i = 0; i < series->count; i++) {
        const TimPlotPoint *point = &series->points[i];
        if (!shows_point(frame, point)) continue;
        tim_buffer_format(out, "%c%.1f %.1f", command, place(&frame->x, point->x), place(&frame->y, point->y));
        command = 'L';
    }
    tim_buffer_text(out, "\"/>\n");
}

static bool has_points(const Frame *frame, const TimPlotSeries *series) {
    for (int i = 0; i < series->count; i++)
        if (shows_point(frame, &series->points[i])) return true;
    return false;
}

static void draw_point(TimBuffer *out, const TimPlot *plot, const Frame *frame, int s, const TimPlotPoint *point) {
    draw_bar(out, frame, point);
    draw_marker(out, s, place(&frame->x, point->x), place(&frame->y, point->y));
    tim_buffer_format(out, "><title>%s: %.4g, ", plot->series[s].name, point->x);
    put_tick_value(out, point->y, plot->percent);
    tim_buffer_text(out, s == 0 ? "</title></circle>\n" : "</title></path>\n");
}

static void draw_series(TimBuffer *out, const TimPlot *plot, const Frame *frame, int s) {
    const TimPlotSeries *series = &plot->series[s];
    if (!has_points(frame, series)) return;
    tim_buffer_format(out, "<g class=\"%s\">", series_class[s]);
    draw_line(out, frame, series);
    for (int i = 0; i < series->count; i++)
        if (shows_point(frame, &series->points[i])) draw_point(out, plot, frame, s, &series->points[i]);
    tim_buffer_text(out, "</g>\n");
}

/* ---- the level and its label ---- */

/* Height of a series at x in user units, between its points; NaN outside. */
static double height_at(const Frame *frame, const TimPlotSeries *series, double x) {
    const TimPlotPoint *before = NULL;
    for (int i = 0; i < series->count; i++) {
        const TimPlotPoint *point = &series->points[i];
        if (!shows_point(frame, point)) continue;
        const double at = place(&frame->x, point->x), y = place(&frame->y, point->y);
        const double from = before ? place(&frame->x, before->x) : at - 6, from_y = before ? place(&frame->y, before->y) : y;
        if (x >= from && x <= at + 6) return at > from ? from_y + (y - from_y) * (fmin(x, at) - from) / (at - from) : y;
        before = point;
    }
    return NAN;
}

/* How far all series stay from the height y between x0 and x1. */
static double clearance(const TimPlot *plot, const Frame *frame, double x0, double x1, double y) {
    enum { PROBES = 16 };
    double least = HEIGHT;
    for (int s = 0; s < TIM_PLOT_SERIES; s++)
        for (int i = 0; i <= PROBES; i++) {
            const double gap = fabs(height_at(frame, &plot->series[s], x0 + (x1 - x0) * i / PROBES) - y);
            if (isfinite(gap)) least = fmin(least, gap);
        }
    return least;
}

/* Letters as wide as a label can be: its name, ": " and a number. */
static double label_width(const TimPlot *plot) {
    return letter_width * (double)(strlen(plot->level_name) + 8);
}

/* As many digits as the table of numbers has: a level is measured, where a tick is round. */
static void put_level_value(TimBuffer *out, double value, bool percent) {
    if (fabs(value) >= 1000)
        put_tick_value(out, value, percent);
    else
        tim_buffer_format(out, percent ? "%.3g %%" : "%.3g", percent ? 100 * value : value);
}

/* At either end, above or below the line: where the series leave most room. Drawn last, over a line that still crosses it. */
static void draw_level_label(TimBuffer *out, const TimPlot *plot, const Frame *frame) {
    if (!shows(&frame->y, plot->level)) return;
    const double y = place(&frame->y, plot->level);
    double best = -1, best_y = y - 6;
    bool at_right = false;
    for (int i = 0; i < 4; i++) {
        const bool right = i & 1, below = i & 2;
        const double baseline = below ? y + 15 : y - 6, x0 = right ? RIGHT - label_width(plot) : LEFT;
        const double room = clearance(plot, frame, x0, x0 + label_width(plot), baseline - 4);
        if (baseline > BOTTOM - 2 || baseline < TOP + 10 || room <= best) continue;
        best = room, best_y = baseline, at_right = right;
    }
    tim_buffer_format(out,
                      "<text class=\"level-name\" x=\"%d\" y=\"%.1f\" text-anchor=\"%s\">%s: ", at_right ? RIGHT - 2 : LEFT + 4,
                      best_y, at_right ? "end" : "start", plot->level_name);
    put_level_value(out, plot->level, plot->percent);
    tim_buffer_text(out, "</text>\n");
}

static void draw_level(TimBuffer *out, const TimPlot *plot, const Frame *frame) {
    if (!shows(&frame->y, plot->level)) return;
    const double y = place(&frame->y, plot->level);
    tim_buffer_format(out, "<path class=\"level\" d=\"M%d %.1fH%d\"/>", LEFT, y, RIGHT);
}

/* ---- the whole ---- */

/* Width of a name in the legend, with its marker before it and a blank behind it. */
static double legend_width(const TimPlotSeries *series) {
    return 26 + letter_width * (double)strlen(series->name);
}

/* The y axis' name at the left, the series' at the right of one line. */
static void draw_head(TimBuffer *out, const TimPlot *plot, const Frame *frame) {
    double x = RIGHT + 12;
    tim_buffer_format(out, "<text class=\"name\" x=\"4\" y=\"16\">%s</text>\n", plot->y_name);
    for (int s = 0; s < TIM_PLOT_SERIES; s++)
        if (has_points(frame, &plot->series[s])) x -= legend_width(&plot->series[s]);
    for (int s = 0; s < TIM_PLOT_SERIES; s++) {
        if (!has_points(frame, &plot->series[s])) continue;
        tim_buffer_format(out, "<g class=\"%s\">", series_class[s]);
        draw_marker(out, s, x + 5, 12);
        tim_buffer_format(out, "/><text class=\"series\" x=\"%.1f\" y=\"16\">%s</text></g>\n", x + 14, plot->series[s].name);
        x += legend_width(&plot->series[s]);
    }
}

/* The points as a sentence, for those who do not see them. */
static void put_description(TimBuffer *out, const TimPlot *plot, const Frame *frame) {
    tim_buffer_format(out, "%s by %s.", plot->y_name, plot->x_name);
    for (int s = 0; s < TIM_PLOT_SERIES; s++) {
        const char *separator = ": ";
        if (!has_points(frame, &plot->series[s])) continue;
        tim_buffer_format(out, " %s", plot->series[s].name);
        for (int i = 0; i < plot->series[s].count; i++) {
            const TimPlotPoint *point = &plot->series[s].points[i];
            if (!shows_point(frame, point)) continue;
            tim_buffer_format(out, "%s%.4g at %.4g", separator, point->y, point->x);
            separator = ", ";
        }
        tim_buffer_text(out, ".");
    }
    if (shows(&frame->y, plot->level)) tim_buffer_format(out, " %s: %.4g.", plot->level_name, plot->level);
}

void tim_plot_draw(TimBuffer *out, const TimPlot *plot) {
    if (!tim_plot_has_points(plot)) return;
    const Frame frame = lay_out(plot);
    tim_buffer_format(out,
                      "<svg class=\"plot\" viewBox=\"0 0 %d %d\" role=\"img\" aria-labelledby=\"%s-title %s-desc\">\n"
                      "<title id=\"%s-title\">%s</title>\n<desc id=\"%s-desc\">",
                      WIDTH, HEIGHT, plot->id, plot->id, plot->id, plot->title, plot->id);
    put_description(out, plot, &frame);
    tim_buffer_text(out, "</desc>\n");
    draw_axes(out, plot, &frame);
    draw_level(out, plot, &frame);
    for (int s = TIM_PLOT_SERIES - 1; s >= 0; s--) draw_series(out, plot, &frame, s);
    draw_level_label(out, plot, &frame);
    draw_head(out, plot, &frame);
    tim_buffer_text(out, "</svg>\n");
}
