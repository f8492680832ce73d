#include "train/loss_scale.h"

#include <math.h>

#include "transport/transport.h"

enum { LENGTH = 128 }; /* samples of a bin that its mean remembers */

size_t tim_loss_bin(const TimTransportConfig *transport, double t) {
    const TimPath path = tim_transport_get(transport->kind)->path(transport, t);
    const double place = log(path.sigma / path.alpha) + TIM_LOSS_BINS / 2.0;
    if (!(place >= 1)) return 0;
    return place < TIM_LOSS_BINS ? (size_t)place : TIM_LOSS_BINS - 1;
}

float tim_loss_expected(const TimLossScale *scale, size_t bin) {
    return scale->count[bin] > 0 ? expf(scale->log_mean[bin]) : 0.0F;
}

void tim_loss_learn(TimLossScale *scale, size_t bin, float loss) {
    if (!(loss > 0) || !isfinite(loss)) return;
    if (scale->count[bin] < LENGTH) scale->count[bin]++;
    scale->log_mean[bin] += (logf(loss) - scale->log_mean[bin]) / scale->count[bin];
}
