/* A report.json that another run wrote, read and made into the demo's page. */
#include <stdlib.h>
#include <string.h>

#include "fuzz/folder.h"
#include "fuzz/targets.h"
#include "tim/eval.h"
#include "tim/image.h"

static const char *sheet(char path[FUZZ_PATH]) {
    static bool written;
    uint8_t pixels[4] = {0, 80, 160, 240};
    const TimImage image = {.pixels = pixels, .height = 2, .width = 2, .channels = 1};
    TimError err;
    fuzz_path(path, "sheet.png");
    if (!written && tim_image_write_png(&image, path, NULL, 0, &err) != TIM_OK) abort();
    written = true;
    return path;
}

int fuzz_report(const uint8_t *data, size_t size) {
    char report[FUZZ_PATH], picture[FUZZ_PATH], page[FUZZ_PATH];
    TimError err;
    fuzz_file(report, "report.json", data, size);
    return fuzz_taken(tim_report_write_demo(report, NULL, sheet(picture), fuzz_path(page, "demo.html"), &err), &err);
}
