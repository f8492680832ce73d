/* A contact sheet: title, column labels, then rows of magnified pictures behind their labels, on white.
 *
 *   margin | gutter (row labels) | cell | gap | cell | ... | margin
 *
 * Invariant: the Layout is computed first and alone decides where things lie; drawing only reads it, so nothing can overlap. */
#include <string.h>

#include "base/memory.h"
#include "io/font.h"
#include "tim/image.h"

enum {
    MARGIN = 14,         /* around everything */
    GAP = 4,             /* between cells; holds a frame on either side */
    LABEL_PAD = 8,       /* at text scale 1: what a label leaves blank in its column */
    LABEL_GAP = 8,       /* between labels and pictures */
    TITLE_GAP = 12,      /* below the title */
    MAX_SCALE = 64,      /* of a picture */
    MAX_LABEL = 128,     /* pixels at text scale 1: what a column label may widen its column to */
    MAX_ROW_LABEL = 256, /* the same for the gutter */
    MAX_TITLE = 640,     /* and for the sheet */
    PAPER = 255,
    FRAME = 214,
    TITLE_INK = 24,
    LABEL_INK = 72
};

/* In pixels. int64_t holds any side: at most TIM_IMAGE_MAX_SIDE cells of TIM_IMAGE_MAX_SIDE * MAX_SCALE. */
typedef struct Layout {
    int64_t picture_width, picture_height;
    int64_t cell_height;
    int gutter;               /* width of the row labels, 0 without any */
    int64_t labels_y;         /* top of the column labels */
    int64_t cells_x, cells_y; /* upper left corner of the first cell */
    int64_t width, height;
} Layout;

static int64_t larger(int64_t a, int64_t b) {
    return a > b ? a : b;
}

static TimTextStyle title_style(const TimSheet *sheet) {
    return (TimTextStyle){.scale = sheet->text_scale, .bold = true, .ink = TITLE_INK};
}

static TimTextStyle label_style(const TimSheet *sheet) {
    return (TimTextStyle){.scale = sheet->text_scale, .ink = LABEL_INK};
}

static const char *label_at(const char *const *labels, int index) {
    return labels && labels[index] ? labels[index] : "";
}

/* `limit` is at text scale 1. */
static int label_width(const TimSheet *sheet, const char *label, int limit) {
    return tim_text_width(label, label_style(sheet), limit * sheet->text_scale);
}

/* The width of the widest row label. */
static int gutter_width(const TimSheet *sheet) {
    int width = 0;
    for (int i = 0; sheet->row_labels && i < sheet->rows; i++)
        width = (int)larger(width, label_width(sheet, label_at(sheet->row_labels, i), MAX_ROW_LABEL));
    return width;
}

/* Wide enough for the picture and for the label with a blank beside it. */
static int64_t column_width(const Layout *layout, const TimSheet *sheet, int column) {
    const int label = label_width(sheet, label_at(sheet->column_labels, column), MAX_LABEL);
    return larger(layout->picture_width, label ? label + LABEL_PAD * sheet->text_scale : 0);
}

static void lay_out_columns(Layout *layout, const TimSheet *sheet) {
    const char *title = sheet->title ? sheet->title : "";
    const int title_width = tim_text_width(title, title_style(sheet), MAX_TITLE * sheet->text_scale);
    layout->picture_width = (int64_t)sheet->width * sheet->scale;
    layout->gutter = gutter_width(sheet);
    layout->cells_x = MARGIN + (layout->gutter ? layout->gutter + LABEL_GAP : 0);
    int64_t right = layout->cells_x - GAP;
    for (int i = 0; i < sheet->columns; i++) right += GAP + column_width(layout, sheet, i);
    layout->width = larger(right, MARGIN + title_width) + MARGIN;
}

static void lay_out_rows(Layout *layout, const TimSheet *sheet) {
    const int line = TIM_FONT_HEIGHT * sheet->text_scale;
    layout->picture_height = (int64_t)sheet->height * sheet->scale;
    layout->cell_height = larger(layout->picture_height, sheet->row_labels ? line : 0);
    layout->labels_y = MARGIN + (sheet->title ? line + TITLE_GAP : 0);
    layout->cells_y = layout->labels_y + (sheet->column_labels ? line + LABEL_GAP : 0);
    layout->height = layout->cells_y + sheet->rows * (layout->cell_height + GAP) - GAP + MARGIN;
}

static TimStatus check_sheet(const TimSheet *sheet, TimError *err) {
    const int side = TIM_IMAGE_MAX_SIDE;
    if (sheet->rows < 1 || sheet->columns < 1 || sheet->rows > side || sheet->columns > side)
        return tim_fail(err, TIM_E_ARGUMENT, "sheet: %d rows, %d columns; each must be 1 ... %d", sheet->rows, sheet->columns,
                        side);
    if (sheet->height < 1 || sheet->width < 1 || sheet->height > side || sheet->width > side)
        return tim_fail(err, TIM_E_ARGUMENT, "sheet: pictures of height %d, width %d; each must be 1 ... %d", sheet->height,
                        sheet->width, side);
    if (sheet->scale < 1 || sheet->scale > MAX_SCALE || sheet->text_scale < 1 || sheet->text_scale > 2)
        return tim_fail(err, TIM_E_ARGUMENT, "sheet: scale %d, text scale %d; give 1 ... %d and 1 ... 2", sheet->scale,
                        sheet->text_scale, MAX_SCALE);
    return TIM_OK;
}

static TimStatus lay_out(Layout *layout, const TimSheet *sheet, TimError *err) {
    TIM_TRY(check_sheet(sheet, err));
    lay_out_columns(layout, sheet);
    lay_out_rows(layout, sheet);
    if (layout->width <= TIM_IMAGE_MAX_SIDE && layout->height <= TIM_IMAGE_MAX_SIDE) return TIM_OK;
    return tim_fail(err, TIM_E_ARGUMENT, "sheet: %lld x %lld pixels, more than %d a side; give fewer pictures or a smaller scale",
                    (long long)layout->height, (long long)layout->width, TIM_IMAGE_MAX_SIDE);
}

static TimStatus make_paper(TimImage *image, const Layout *layout, const TimSheet *sheet, TimError *err) {
    TIM_TRY(tim_image_new(image, (int)layout->height, (int)layout->width, sheet->channels, err));
    memset(image->pixels, PAPER, (size_t)image->height * (size_t)image->width * (size_t)image->channels);
    return TIM_OK;
}

static uint8_t *pixel_at(const TimImage *image, int x, int y) {
    return image->pixels + ((size_t)y * (size_t)image->width + (size_t)x) * (size_t)image->channels;
}

/* A ring of one pixel outside the picture, which shows where a picture on a white ground ends. */
static void draw_frame(TimImage *image, int left, int top, int width, int height) {
    const size_t channels = (size_t)image->channels;
    for (int y = top - 1; y <= top + height; y++) {
        const bool edge = y < top || y == top + height;
        memset(pixel_at(image, left - 1, y), FRAME, channels * (edge ? (size_t)width + 2 : 1));
        memset(pixel_at(image, left + width, y), FRAME, channels);
    }
}

static void draw_picture(TimImage *image, int left, int top, const uint8_t *picture, const TimSheet *sheet) {
    const size_t channels = (size_t)sheet->channels, row = (size_t)sheet->width * channels;
    for (int y = 0; y < sheet->height * sheet->scale; y++)
        for (int x = 0; x < sheet->width * sheet->scale; x++)
            memcpy(pixel_at(image, left + x, top + y),
                   picture + (size_t)(y / sheet->scale) * row + (size_t)(x / sheet->scale) * channels, channels);
}

static int64_t row_y(const Layout *layout, int row) {
    return layout->cells_y + row * (layout->cell_height + GAP);
}

static void draw_cell(TimImage *image, const Layout *layout, const TimSheet *sheet, int row, int column, int64_t x) {
    const size_t size = (size_t)sheet->height * (size_t)sheet->width * (size_t)sheet->channels;
    const size_t index = (size_t)row * (size_t)sheet->columns + (size_t)column;
    const int64_t y = row_y(layout, row) + (layout->cell_height - layout->picture_height) / 2;
    draw_frame(image, (int)x, (int)y, (int)layout->picture_width, (int)layout->picture_height);
    draw_picture(image, (int)x, (int)y, sheet->pictures + index * size, sheet);
}

/* Label and cells of one column, centred in the `width` pixels right of x. */
static void draw_column(TimImage *image, const Layout *layout, const TimSheet *sheet, int column, int64_t x, int64_t width) {
    const char *label = label_at(sheet->column_labels, column);
    const int limit = (int)larger(width - LABEL_PAD * sheet->text_scale, 0);
    const int text = tim_text_width(label, label_style(sheet), limit);
    tim_text_draw(image, (int)(x + (width - text) / 2), (int)layout->labels_y, label, limit, label_style(sheet));
    for (int row = 0; row < sheet->rows; row++)
        draw_cell(image, layout, sheet, row, column, x + (width - layout->picture_width) / 2);
}

static void draw_columns(TimImage *image, const Layout *layout, const TimSheet *sheet) {
    int64_t x = layout->cells_x;
    for (int column = 0; column < sheet->columns; column++) {
        const int64_t width = column_width(layout, sheet, column);
        draw_column(image, layout, sheet, column, x, width);
        x += width + GAP;
    }
}

static void draw_row_label(TimImage *image, const Layout *layout, const TimSheet *sheet, int row) {
    const char *label = label_at(sheet->row_labels, row);
    const int width = tim_text_width(label, label_style(sheet), layout->gutter);
    /* Capitals are 9 high: their middle, not that of the line, is level with the picture's. */
    const int64_t y = row_y(layout, row) + layout->cell_height / 2 - 5 * sheet->text_scale;
    tim_text_draw(image, MARGIN + layout->gutter - width, (int)y, label, layout->gutter, label_style(sheet));
}

static void draw_title_and_row_labels(TimImage *image, const Layout *layout, const TimSheet *sheet) {
    const int title_limit = (int)layout->width - 2 * MARGIN;
    if (sheet->title) tim_text_draw(image, MARGIN, MARGIN, sheet->title, title_limit, title_style(sheet));
    for (int i = 0; sheet->row_labels && i < sheet->rows; i++) draw_row_label(image, layout, sheet, i);
}

TimStatus tim_sheet_size(int *height, int *width, const TimSheet *sheet, TimError *err) {
    Layout layout;
    TIM_TRY(lay_out(&layout, sheet, err));
    *height = (int)layout.height, *width = (int)layout.width;
    return TIM_OK;
}

TimStatus tim_sheet_draw(TimImage *image, const TimSheet *sheet, TimError *err) {
    Layout layout;
    *image = (TimImage){0};
    TIM_TRY(lay_out(&layout, sheet, err));
    if (!sheet->pictures) return tim_fail(err, TIM_E_ARGUMENT, "sheet: pictures is NULL; give rows * columns pictures");
    TIM_TRY(make_paper(image, &layout, sheet, err));
    draw_title_and_row_labels(image, &layout, sheet);
    draw_columns(image, &layout, sheet);
    return TIM_OK;
}
