/* A sheet that shows what steps buy: classes across, numbers of steps down, the same noise within a column. */
#ifndef TIM_CLI_STEP_SHEET_H
#define TIM_CLI_STEP_SHEET_H

#include <stddef.h>

#include "tim/sample.h"

enum { STEP_SHEET_MAX_ROWS = 16, STEP_SHEET_MAX_COLUMNS = 10 };

typedef struct StepSheet {
    const int *steps; /* (rows) */
    int rows;         /* at most STEP_SHEET_MAX_ROWS */
    uint64_t seed;
    const char *title;
    const TimImageText *texts; /* for the PNG file, (text_count) */
    size_t text_count;
    void (*told)(const char *label, double seconds); /* of each row, after it is drawn; NULL: nobody asks */
} StepSheet;

/* Draws the first classes of the model (at most STEP_SHEET_MAX_COLUMNS) and writes the sheet as a PNG file. */
TimStatus step_sheet_write(TimModel *model, const StepSheet *sheet, const char *path, TimError *err);

#endif
