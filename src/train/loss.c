#include "train/loss.h"

#include <math.h>
#include <string.h>

/* Each norm is at least this in a cosine (PyTorch's cosine_similarity). */
static const double smallest_norm = 1e-8;

/* Differences well above this count by their size, those below by their square. */
static const double corner = 0.003;

/* Two vectors with elements `stride` apart. */
typedef struct Pair {
    const float *a, *b;
    size_t count, stride;
} Pair;

typedef struct Cosine {
    double cos, norm_a, norm_b;
} Cosine;

static Cosine cosine(Pair p) {
    double dot = 0, aa = 0, bb = 0;
    for (size_t i = 0; i < p.count; i++) {
        const double a = p.a[i * p.stride], b = p.b[i * p.stride];
        dot += a * b;
        aa += a * a;
        bb += b * b;
    }
    const Cosine c = {0, fmax(sqrt(aa), smallest_norm), fmax(sqrt(bb), smallest_norm)};
    return (Cosine){dot / (c.norm_a * c.norm_b), c.norm_a, c.norm_b};
}

/* g += scale * d(1 - cos)/da */
static void add_cosine_gradient(float *g, Pair p, double scale) {
    const Cosine c = cosine(p);
    for (size_t i = 0; i < p.count; i++) {
        const double a = p.a[i * p.stride], b = p.b[i * p.stride];
        const double through_norm = c.norm_a > smallest_norm ? c.cos * a / (c.norm_a * c.norm_a) : 0;
        g[i * p.stride] += (float)(scale * (through_norm - b / (c.norm_a * c.norm_b)));
    }
}

static double finite_or_bound(double loss) {
    if (isnan(loss)) return 0;
    if (isinf(loss)) return loss > 0 ? 1e5 : -1e5;
    return loss;
}

/* |d|, rounded off */
static double absolute(double d) {
    return sqrt(d * d + corner * corner);
}

/* |d_b - d_a| with d = f - target; where `g` is given, g += scale * d|d_b - d_a| / df. */
static double edge(float *g, const float *f, const float *target, size_t a, size_t b, double scale) {
    const double d = ((double)f[b] - (double)target[b]) - ((double)f[a] - (double)target[a]), size = absolute(d);
    if (!g) return size;
    const double slope = scale * d / size;
    g[a] -= (float)slope;
    g[b] += (float)slope;
    return size;
}

/* The sum over right and lower neighbours, and its gradient likewise. */
static double edges(float *g, const float *f, const float *target, TimLossShape s, double scale) {
    double sum = 0;
    for (size_t i = 0; i < s.channels * s.positions; i++) {
        const size_t p = i % s.positions;
        if ((p + 1) % s.width) sum += edge(g, f, target, i, i + 1, scale);
        if (p + s.width < s.positions) sum += edge(g, f, target, i, i + s.width, scale);
    }
    return sum;
}

static bool has_edges(TimLossShape s) {
    return s.absolute && s.edges > 0;
}

static double difference_part(const float *f, const float *target, TimLossShape s) {
    const size_t count = s.channels * s.positions;
    double sum = 0;
    for (size_t i = 0; i < count; i++) {
        const double d = (double)f[i] - (double)target[i];
        sum += s.absolute ? absolute(d) : d * d;
    }
    if (has_edges(s)) sum += s.edges * edges(NULL, f, target, s, 0);
    const double mean = sum / (double)count;
    return s.absolute ? mean * mean : mean;
}

static double direction_part(const float *f, const float *target, TimLossShape s) {
    double sum = 0;
    for (size_t p = 0; s.direction && p < s.positions; p++)
        sum += 1.0 - cosine((Pair){f + p, target + p, s.channels, s.positions}).cos;
    return sum / (double)s.positions;
}

double tim_loss(const float *f, const float *target, TimLossShape shape) {
    return finite_or_bound(difference_part(f, target, shape)) + finite_or_bound(direction_part(f, target, shape));
}

void tim_loss_gradient(float *g, const float *f, const float *target, TimLossShape shape, double scale) {
    const size_t count = shape.channels * shape.positions;
    memset(g, 0, count * sizeof *g);
    const double difference = difference_part(f, target, shape);
    if (!isfinite(difference) || !isfinite(direction_part(f, target, shape))) return;
    const double factor = 2.0 * scale / (double)count, mean = sqrt(difference); /* of the absolute ones */
    for (size_t i = 0; i < count; i++) {
        const double d = (double)f[i] - (double)target[i];
        g[i] = (float)(factor * (shape.absolute ? mean * d / absolute(d) : d));
    }
    if (has_edges(shape)) edges(g, f, target, shape, factor * mean * shape.edges);
    for (size_t p = 0; shape.direction && p < shape.positions; p++)
        add_cosine_gradient(g + p, (Pair){f + p, target + p, shape.channels, shape.positions}, scale / (double)shape.positions);
}

double tim_alignment_loss(const float *h, const float *target, size_t tokens, size_t width) {
    double sum = 0;
    for (size_t n = 0; n < tokens; n++) sum += 1.0 - cosine((Pair){h + n * width, target + n * width, width, 1}).cos;
    return finite_or_bound(sum / (double)tokens);
}

void tim_alignment_gradient(float *g, const float *h, const float *target, size_t tokens, size_t width, double scale) {
    memset(g, 0, tokens * width * sizeof *g);
    if (!isfinite(tim_alignment_loss(h, target, tokens, width))) return;
    for (size_t n = 0; n < tokens; n++)
        add_cosine_gradient(g + n * width, (Pair){h + n * width, target + n * width, width, 1}, scale / (double)tokens);
}
