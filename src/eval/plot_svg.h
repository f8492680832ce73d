/* Small line plots as inline SVG: two series, error bars, one level across. Drawn for a width of about 350 pixels, so that three
 * stand side by side on a desk and one fills a phone with its letters still readable. */
#ifndef TIM_EVAL_PLOT_SVG_H
#define TIM_EVAL_PLOT_SVG_H

#include <stdbool.h>

#include "io/buffer.h"

enum { TIM_PLOT_SERIES = 2 };

typedef struct TimPlotPoint {
    double x, y;
    double error; /* of y; not finite: no bar */
} TimPlotPoint;

/* Series differ by colour, marker and dashes; the style sheet has the colours. */
typedef struct TimPlotSeries {
    const char *name;
    const TimPlotPoint *points; /* (count) by rising x; those that an axis cannot show are left out */
    int count;
} TimPlotSeries;

/* All texts are put as they stand: the caller's own words, never a user's. */
typedef struct TimPlot {
    const char *id;              /* unique on its page */
    const char *title;           /* for those who do not see it */
    const char *x_name, *y_name; /* shown at the axes */
    bool x_log, y_log;           /* an axis is logarithmic, or */
    bool percent;                /* y is a share, shown as 100 times its value */
    bool x_ticks_at_points;      /* instead of at round numbers */
    TimPlotSeries series[TIM_PLOT_SERIES];
    double level; /* drawn as a line across; not finite, or not positive on a logarithmic axis: none */
    const char *level_name;
} TimPlot;

/* True if there is a point to draw. */
bool tim_plot_has_points(const TimPlot *plot);

/* Appends the <svg>, if there is a point to draw. */
void tim_plot_draw(TimBuffer *out, const TimPlot *plot);

#endif
