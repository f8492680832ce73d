/* embed: a program as a user of libtim writes it, built by tests/run from what `meson install` puts into a folder: headers and
 * library by pkg-config, nothing of the source. `embed MODEL VERSION` draws a picture with that model, of the library of that
 * version. */
#include <stdio.h>
#include <string.h>
#include <tim/model.h>
#include <tim/sample.h>
#include <tim/status.h>

int main(int count, char **words) {
    TimModel *model;
    TimPictures pictures;
    TimSampleOptions options;
    TimError err;
    if (count != 3 || strcmp(tim_version(), words[2]) != 0) {
        fprintf(stderr, "usage: embed MODEL VERSION; the library's version is %s\n", tim_version());
        return 2;
    }
    if (tim_model_open(&model, words[1], NULL, NULL, &err) != TIM_OK) {
        fprintf(stderr, "embed: %s\n", err.text);
        return 1;
    }
    tim_sample_options_init(&options);
    options.steps = 2;
    const TimStatus status = tim_sample(model, &options, &pictures, NULL, &err);
    if (status != TIM_OK) fprintf(stderr, "embed: %s\n", err.text);
    unsigned bright = 0;
    for (int64_t i = 0; status == TIM_OK && i < (int64_t)pictures.height * pictures.width; i++) bright += pictures.pixels[i] > 100;
    tim_pictures_done(&pictures);
    tim_model_close(model);
    printf("%d passed, %d failed\n", bright > 20, bright <= 20); /* a piece of clothing, not an empty picture */
    return bright > 20 ? 0 : 1;
}
