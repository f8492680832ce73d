#include "eval/inception_score.h"

#include <math.h>
#include <string.h>

#include "base/memory.h"

TimStatus tim_inception_score_init(TimInceptionScore *score, size_t classes, size_t split, TimError *err) {
    *score = (TimInceptionScore){.classes = classes, .split = split};
    TIM_TRY(tim_new(&score->row, classes, sizeof *score->row, "probabilities of classes", err));
    return tim_new(&score->sum, classes, sizeof *score->sum, "probabilities of classes", err);
}

void tim_inception_score_done(TimInceptionScore *score) {
    tim_free(score->row);
    tim_free(score->sum);
    *score = (TimInceptionScore){0};
}

/* row = softmax of the logits; returns sum p log p. */
static double soften(double *row, const float *logits, size_t classes) {
    double most = -INFINITY, sum = 0, entropy = 0;
    for (size_t c = 0; c < classes; c++) most = fmax(most, (double)logits[c]);
    for (size_t c = 0; c < classes; c++) sum += row[c] = exp((double)logits[c] - most);
    for (size_t c = 0; c < classes; c++) {
        row[c] /= sum;
        entropy += row[c] * ((double)logits[c] - most - log(sum));
    }
    return entropy;
}

/* sum_i sum_c p log m = count sum_c m log m */
static double open_score(const TimInceptionScore *s) {
    double mean_entropy = 0;
    for (size_t c = 0; c < s->classes; c++) {
        const double mean = s->sum[c] / (double)s->count;
        if (mean > 0) mean_entropy += mean * log(mean);
    }
    return exp(s->entropy / (double)s->count - mean_entropy);
}

static void close_split(TimInceptionScore *s) {
    s->total += open_score(s);
    s->splits++;
    memset(s->sum, 0, s->classes * sizeof *s->sum);
    s->count = 0;
    s->entropy = 0;
}

void tim_inception_score_add(TimInceptionScore *s, const float *logits) {
    s->entropy += soften(s->row, logits, s->classes);
    for (size_t c = 0; c < s->classes; c++) s->sum[c] += s->row[c];
    if (++s->count == s->split) close_split(s);
}

double tim_inception_score(const TimInceptionScore *s) {
    const double total = s->total + (s->count ? open_score(s) : 0);
    return total / (double)(s->splits + (s->count > 0));
}
