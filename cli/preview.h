/* What a training looks like while it runs: a sheet of pictures by steps in the run's folder, and, with a classifier, a quick
 * Frechet distance in its log, so that a bad run is seen early. */
#ifndef TIM_CLI_PREVIEW_H
#define TIM_CLI_PREVIEW_H

#include "tim/eval.h"
#include "tim/train.h"

typedef struct Preview {
    int64_t every;          /* steps; 0: never */
    int64_t pictures;       /* for the distance */
    const char *classifier; /* its file; NULL: only the sheet */
    const char *reference;
    const char *out; /* folder of the run */
    int threads;     /* 0: as many as OpenMP would use */
    const char *isa; /* NULL: the best this processor has */
    TimJudge *judge; /* open between the first and the last of the calls below; NULL without a classifier */
} Preview;

/* Opens what previews of the network in `config` need, so that a wrong file is known before the training begins. */
TimStatus preview_open(Preview *preview, const TimConfig *config, TimError *err);

/* Whether step `step` has one. */
bool preview_due(const Preview *preview, int64_t step);

/* Writes <out>/samples/step-N.png and, judged, a line to <out>/log.jsonl and stderr. TIM_E_CANCELLED where an interruption came
 * while pictures were drawn for the judge: then there is no line. */
TimStatus preview_draw(Preview *preview, const TimTrainProgress *progress, TimError *err);

/* Also after a failure of preview_open, and without it. */
void preview_done(Preview *preview);

#endif
