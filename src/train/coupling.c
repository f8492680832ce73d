#include "train/coupling.h"

#include <string.h>

#include "base/memory.h"
#include "base/rng.h"
#include "op/matmul.h"
#include "train/assignment.h"
#include "train/streams.h"

/* A class is assigned in groups of at most so many: the work grows with the cube of it, what is gained hardly
 * (docs/experiments.md). */
enum { GROUP = 256 };

/* What one thread works with. */
typedef struct Desk {
    TimMatmul *product;
    float *x, *z; /* (GROUP, picture) */
    float *gain;  /* (GROUP, GROUP): x z^T, since |x - z|^2 = |x|^2 + |z|^2 - 2 x z */
    void *work;   /* of the product */
    TimAssignment assignment;
    uint32_t column[GROUP];
} Desk;

/* Members first ... first + count - 1 of `members`. */
typedef struct Group {
    size_t first, count;
} Group;

struct TimCoupling {
    TimCouplingShape shape;
    size_t pool;        /* samples */
    TimSamples samples; /* of the pool */
    uint32_t *members;  /* (pool): samples by class */
    uint32_t *noise_of; /* (pool): which of the pool's noises a sample has */
    size_t *class_end;  /* (classes + 1): of each class in `members` */
    Group *groups;      /* (pool) */
    size_t group_count;
    uint64_t seed, position; /* of the pool that is held */
    int64_t step;            /* its first; -1: none is held */
    Desk *desks;             /* (threads) */
};

/* ---- making ---- */

static TimStatus make_desk(Desk *desk, size_t picture, TimError *err) {
    const TimMatmulShape product = tim_matmul_of_rows(GROUP, GROUP, (int64_t)picture);
    const char *what = "the coupling of pictures and noise";
    TIM_TRY(tim_matmul_new(&desk->product, &product, err));
    TIM_TRY(tim_new(&desk->x, GROUP * picture, sizeof(float), what, err));
    TIM_TRY(tim_new(&desk->z, GROUP * picture, sizeof(float), what, err));
    TIM_TRY(tim_new(&desk->gain, GROUP * GROUP, sizeof(float), what, err));
    TIM_TRY(tim_new(&desk->work, tim_matmul_work(desk->product), 1, what, err));
    return tim_assignment_init(&desk->assignment, GROUP, err);
}

static TimStatus fill(TimCoupling *c, TimError *err) {
    const char *what = "the coupling of pictures and noise";
    size_t elements, group;
    if (!tim_mul_size(c->shape.batches, c->shape.batch, &c->pool) || !tim_mul_size(c->pool, c->shape.picture, &elements) ||
        !tim_mul_size(GROUP, c->shape.picture, &group) || c->pool > UINT32_MAX)
        return tim_fail(err, TIM_E_MEMORY,
                        "training.coupling_batches is %zu: so many batches of %zu pictures do not fit into memory",
                        c->shape.batches, c->shape.batch);
    TIM_TRY(tim_new(&c->samples.x, elements, sizeof(float), what, err));
    TIM_TRY(tim_new(&c->samples.labels, c->pool, sizeof(int64_t), what, err));
    TIM_TRY(tim_new(&c->samples.dropped, c->pool, sizeof(int64_t), what, err));
    TIM_TRY(tim_new(&c->members, c->pool, sizeof(uint32_t), what, err));
    TIM_TRY(tim_new(&c->noise_of, c->pool, sizeof(uint32_t), what, err));
    TIM_TRY(tim_new(&c->class_end, c->shape.classes + 1, sizeof(size_t), what, err));
    TIM_TRY(tim_new(&c->groups, c->pool, sizeof(Group), what, err));
    TIM_TRY(tim_new(&c->desks, (size_t)c->shape.threads, sizeof(Desk), what, err));
    for (int i = 0; i < c->shape.threads; i++) TIM_TRY(make_desk(&c->desks[i], c->shape.picture, err));
    return TIM_OK;
}

TimStatus tim_coupling_new(TimCoupling **out, const TimCouplingShape *shape, TimError *err) {
    TimCoupling *c;
    *out = NULL;
    TIM_TRY(tim_new(&c, 1, sizeof *c, "the coupling of pictures and noise", err));
    c->shape = *shape;
    c->step = -1;
    const TimStatus status = shape->batches ? fill(c, err) : TIM_OK;
    if (status != TIM_OK) {
        tim_coupling_free(c);
        return status;
    }
    *out = c;
    return TIM_OK;
}

static void free_desk(Desk *desk) {
    void *const blocks[] = {desk->x, desk->z, desk->gain, desk->work};
    tim_matmul_free(desk->product);
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++) tim_free(blocks[i]);
    tim_assignment_done(&desk->assignment);
}

void tim_coupling_free(TimCoupling *c) {
    if (!c) return;
    void *const blocks[] = {c->samples.x, c->samples.labels, c->samples.dropped, c->members, c->noise_of, c->class_end, c->groups};
    for (int i = 0; c->desks && i < c->shape.threads; i++) free_desk(&c->desks[i]);
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++) tim_free(blocks[i]);
    tim_free(c->desks);
    tim_free(c);
}

/* ---- the pairs of a pool ---- */

/* Noise `index` of the pool that begins with step `first`: number index % batch of its step. */
static void draw(const TimCouplingShape *shape, uint64_t seed, int64_t first, size_t index, float *z) {
    const uint64_t stream = tim_stream(TIM_STREAM_NOISE, (uint64_t)first + index / shape->batch);
    tim_rng_normal(z, shape->picture, seed, stream, index % shape->batch * shape->picture);
}

/* Cuts members first ... end - 1 into groups of nearly equal size. */
static void add_groups(TimCoupling *c, size_t first, size_t end) {
    const size_t count = end - first, pieces = (count + GROUP - 1) / GROUP;
    for (size_t p = 0; p < pieces; p++) {
        const size_t begin = count * p / pieces;
        c->groups[c->group_count++] = (Group){first + begin, count * (p + 1) / pieces - begin};
    }
}

/* Samples by class, in order of their numbers within a class: by counting. */
static void sort_by_class(TimCoupling *c) {
    const size_t classes = c->shape.classes;
    memset(c->class_end, 0, (classes + 1) * sizeof *c->class_end);
    for (size_t i = 0; i < c->pool; i++) c->class_end[c->samples.labels[i] + 1]++;
    for (size_t k = 0; k < classes; k++) c->class_end[k + 1] += c->class_end[k]; /* so far the begin of class k + 1 */
    for (size_t i = 0; i < c->pool; i++) c->members[c->class_end[c->samples.labels[i]]++] = (uint32_t)i;
    c->group_count = 0;
    for (size_t k = 0; k < classes; k++) add_groups(c, k ? c->class_end[k - 1] : 0, c->class_end[k]);
}

static void assign_group(const TimCoupling *c, Desk *desk, const Group *group) {
    const uint32_t *members = c->members + group->first;
    const size_t picture = c->shape.picture;
    for (size_t i = 0; i < group->count; i++) {
        memcpy(desk->x + i * picture, c->samples.x + members[i] * picture, picture * sizeof *desk->x);
        draw(&c->shape, c->seed, c->step, members[i], desk->z + i * picture);
    }
    tim_matmul_run(desk->product, desk->x, desk->z, NULL, desk->gain, desk->work);
    tim_assign(&desk->assignment, desk->gain, group->count, GROUP, desk->column);
    for (size_t i = 0; i < group->count; i++) c->noise_of[members[i]] = members[desk->column[i]];
}

/* The pool that begins with step `first` and sample `position`, unless it is held. */
static void hold_pool(TimCoupling *c, TimData *data, uint64_t seed, int64_t first, uint64_t position) {
    const int threads = c->shape.threads;
    if (c->step == first && c->seed == seed && c->position == position) return;
    c->step = first, c->seed = seed, c->position = position;
    tim_data_read(data, seed, position, c->pool, &c->samples, threads);
    sort_by_class(c);
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int t = 0; t < threads; t++)
        for (size_t g = (size_t)t; g < c->group_count; g += (size_t)threads) assign_group(c, &c->desks[t], &c->groups[g]);
}

void tim_coupling_noise(TimCoupling *c, TimData *data, uint64_t seed, int64_t step, uint64_t position, float *z) {
    const TimCouplingShape *shape = &c->shape;
    const size_t in_pool = c->pool ? (size_t)step % shape->batches : 0;
    const bool coupled =
        c->pool && position >= in_pool * shape->batch; /* not where the pool would begin before the first picture */
    const size_t place = coupled ? in_pool : 0, begin = place * shape->batch; /* of the step in its pool */
    const int64_t first = step - (int64_t)place;
    if (coupled) hold_pool(c, data, seed, first, position - begin);
#pragma omp parallel for num_threads(shape->threads) schedule(static)
    for (size_t i = 0; i < shape->batch; i++)
        draw(shape, seed, first, coupled ? c->noise_of[begin + i] : i, z + i * shape->picture);
}
