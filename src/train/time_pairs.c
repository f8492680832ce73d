#include "train/time_pairs.h"

#include <math.h>

#include "base/rng.h"
#include "transport/transport.h"

/* To fp32, but below `end` as the time is: the nearest fp32 to pi / 2 is beyond it. */
static double rounded(double time, double end) {
    const float nearest = (float)time;
    return (double)nearest < end ? nearest : nextafterf(nearest, 0);
}

/* Two times of one sample. Block b of a stream is the numbers 4b ... 4b + 3, made from four words: its first two normal numbers
 * use words 0 and 1, its last two uniform numbers words 2 and 3, so all four are independent. */
static void two_times(double out[2], const TimTransportConfig *config, uint64_t seed, uint64_t stream, uint64_t block) {
    const TimTransport *transport = tim_transport_get(config->kind);
    float normal[2], uniform[2];
    tim_rng_normal(normal, 2, seed, stream, 4 * block);
    tim_rng_uniform(uniform, 2, seed, stream, 4 * block + 2);
    for (int k = 0; k < 2; k++) out[k] = rounded(transport->sample_time(config, normal[k], uniform[k]), transport->end(config));
}

/* Halves to even as the published code rounds; relies on the default rounding mode. */
size_t tim_time_share(double ratio, size_t batch) {
    const double count = rint(ratio * (double)batch);
    return count < (double)batch ? (size_t)fmax(count, 0.0) : batch;
}

size_t tim_time_pairs(double *t, double *r, size_t batch, const TimTransportConfig *transport,
                      const TimTransitionConfig *transition, uint64_t seed, uint64_t stream, uint64_t step) {
    const size_t n_diffusion = tim_time_share(transition->diffusion_ratio, batch);
    const size_t wanted = tim_time_share(transition->consistency_ratio, batch), rest = batch - n_diffusion;
    const size_t n_consistency = wanted < rest ? wanted : rest;
    for (size_t i = 0; i < batch; i++) {
        double drawn[2];
        two_times(drawn, transport, seed, stream, (step << 32) + i);
        t[i] = fmax(drawn[0], drawn[1]);
        r[i] = i < n_diffusion ? t[i] : fmin(drawn[0], drawn[1]);
        if (i >= batch - n_consistency) r[i] = fmin(t[i], (float)transport->t_min);
    }
    return n_diffusion;
}
