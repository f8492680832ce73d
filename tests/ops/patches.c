/* patchify and unpatchify: moves of elements. */
#include "ops/ops.h"

static const TimPatchParams grids[] = {
    {.channels = 1, .height = 1, .width = 1, .patch = 1},  {.channels = 3, .height = 4, .width = 4, .patch = 2},
    {.channels = 4, .height = 6, .width = 4, .patch = 2},  {.channels = 1, .height = 2, .width = 8, .patch = 1},
    {.channels = 2, .height = 9, .width = 6, .patch = 3},  {.channels = 4, .height = 16, .width = 34, .patch = 2},
    {.channels = 3, .height = 28, .width = 4, .patch = 4}, {.channels = 32, .height = 5, .width = 3, .patch = 1},
};
enum { GRIDS = sizeof grids / sizeof *grids };

static int64_t token_count(TimPatchParams p) {
    return (int64_t)(p.height / p.patch) * (p.width / p.patch);
}

static OpCase case_of(TimOpKind kind, size_t index) {
    const TimPatchParams p = grids[index % GRIDS];
    const int64_t pictures = 1 + (int64_t)(index / GRIDS) % 3;
    OpCase c = ops_case(kind, pictures, index);
    c.params.patch = p;
    c.n_in = 1;
    c.in[0] = (OpInput){.rows = pictures, .cols = (int64_t)p.channels * p.height * p.width, .dtype = TIM_F32};
    c.tangents = c.wanted = 1;
    return c;
}

static void list_patchify(OpCases *cases, TimDtype dtype) {
    for (size_t i = 0; i < 3 * GRIDS; i++) {
        OpCase c = case_of(TIM_OP_PATCHIFY, i);
        c.params.patch.out = dtype;
        ops_add(cases, c);
    }
}

static void list_unpatchify(OpCases *cases, TimDtype dtype) {
    for (size_t i = 0; i < 3 * GRIDS; i++) {
        OpCase c = case_of(TIM_OP_UNPATCHIFY, i);
        const TimPatchParams p = c.params.patch;
        c.in[0].rows *= token_count(p);
        c.in[0].cols = (int64_t)p.channels * p.patch * p.patch;
        c.in[0].dtype = dtype;
        ops_add(cases, c);
    }
}

/* Where pixel (channel, y, x) of a picture lies among the picture's tokens. */
static int64_t place_in_tokens(TimPatchParams p, bool channel_first, int64_t channel, int64_t y, int64_t x) {
    const int64_t token = y / p.patch * (p.width / p.patch) + x / p.patch, dy = y % p.patch, dx = x % p.patch;
    const int64_t inside = channel_first ? (channel * p.patch + dy) * p.patch + dx : (dy * p.patch + dx) * p.channels + channel;
    return token * p.channels * p.patch * p.patch + inside;
}

static void move(TimPatchParams p, int64_t pictures, bool channel_first, const double *from, double *to, bool to_tokens) {
    const int64_t size = (int64_t)p.channels * p.height * p.width;
    for (int64_t i = 0; i < pictures * size; i++) {
        const int64_t picture = i / size, channel = i % size / (p.height * p.width), y = i / p.width % p.height, x = i % p.width;
        const int64_t at = picture * size + place_in_tokens(p, channel_first, channel, y, x);
        if (to_tokens)
            to[at] = from[i];
        else
            to[i] = from[at];
    }
}

static void patchify(const OpCase *c, double *const *in, double *const *out) {
    move(c->params.patch, c->in[0].rows, true, in[0], out[0], true);
}

const OpSuite ops_suite_patchify = {"patchify", list_patchify, patchify};

static void unpatchify(const OpCase *c, double *const *in, double *const *out) {
    move(c->params.patch, c->in[0].rows / token_count(c->params.patch), false, in[0], out[0], false);
}

const OpSuite ops_suite_unpatchify = {"unpatchify", list_unpatchify, unpatchify};
