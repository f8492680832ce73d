/* patchify: x (B, C H W) -> (B N, C p p), tokens row-major over (H/p, W/p), channel first inside a token: the order of a
 * convolution's kernel, so that the patch embedding is a linear layer on its weight.
 * unpatchify: (B N, p p C) -> (B, C H W), channel last inside a token. Both only move elements: tangents and cotangents move
 * alike. */
#include "op/kernel.h"

typedef struct Geometry {
    int64_t channels, height, width, patch, tokens_w, tokens;
} Geometry;

static Geometry geometry_of(const TimPatchParams *p) {
    const int64_t w = p->width / p->patch, h = p->height / p->patch;
    return (Geometry){p->channels, p->height, p->width, p->patch, w, w * h};
}

static TimStatus check(const TimNode *node, TimError *err) {
    const TimPatchParams *p = &node->params.patch;
    return require(node, node->n_in == 1 && p->patch > 0 && p->height % p->patch == 0 && p->width % p->patch == 0,
                   "the sides are not multiples of the patch", err);
}

static TimStatus infer_patchify(TimNode *node, TimError *err) {
    TIM_TRY(check(node, err));
    const TimPatchParams *p = &node->params.patch;
    const Geometry s = geometry_of(p);
    TIM_TRY(require(node, node->in[0].dtype == TIM_F32 && node->in[0].cols == s.channels * s.height * s.width, "wants f32 pictures",
                    err));
    node->n_out = 1;
    node->out[0] = matrix_of(p->out, node->in[0].rows * s.tokens, s.channels * s.patch * s.patch);
    return want_scratch(node, 2 * scratch_floats(node->out[0].cols), err);
}

static TimStatus infer_unpatchify(TimNode *node, TimError *err) {
    TIM_TRY(check(node, err));
    const Geometry s = geometry_of(&node->params.patch);
    const TimMatrix *x = &node->in[0];
    TIM_TRY(require(node, is_float(x) && x->cols == s.channels * s.patch * s.patch && x->rows % s.tokens == 0,
                    "wants tokens of pictures", err));
    node->n_out = 1;
    node->out[0] = matrix_of(TIM_F32, x->rows / s.tokens, s.channels * s.height * s.width);
    return want_scratch(node, 2 * scratch_floats(x->cols), err);
}

typedef enum Move { GATHER, SCATTER, SCATTER_ADD } Move;

/* Moves token `index` between `values` and its patch of `picture`; the element order is c, y, x or y, x, c. */
static void move_token(Geometry s, bool channel_first, Move move, int64_t index, float *picture, float *values) {
    const int64_t top = index / s.tokens_w * s.patch, left = index % s.tokens_w * s.patch;
    for (int64_t c = 0; c < s.channels; c++)
        for (int64_t y = 0; y < s.patch; y++)
            for (int64_t x = 0; x < s.patch; x++) {
                const int64_t at = channel_first ? (c * s.patch + y) * s.patch + x : (y * s.patch + x) * s.channels + c;
                float *pixel = &picture[(c * s.height + top + y) * s.width + left + x];
                if (move == GATHER)
                    values[at] = *pixel;
                else
                    *pixel = values[at] + (move == SCATTER_ADD ? *pixel : 0);
            }
}

/* Every pixel lies in exactly one token's patch, so scattering and gathering need no order. */
static void to_tokens(const TimNode *node, const TimMatrix *pictures, const TimMatrix *tokens, bool channel_first, bool add) {
    const Geometry s = geometry_of(&node->params.patch);
    const size_t width = scratch_floats(tokens->cols);
#pragma omp parallel for num_threads(node->threads) schedule(static)
    for (int part = 0; part < node->threads; part++) {
        float *scratch = (float *)node->work + (size_t)part * 2 * width;
        const int64_t end = tokens->rows * (part + 1) / node->threads;
        for (int64_t r = tokens->rows * part / node->threads; r < end; r++) {
            move_token(s, channel_first, GATHER, r % s.tokens, tim_matrix_f32(pictures, r / s.tokens), scratch);
            row_write(tokens, r, scratch, add);
        }
    }
}

static void to_pictures(const TimNode *node, const TimMatrix *tokens, const TimMatrix *pictures, bool channel_first, bool add) {
    const Geometry s = geometry_of(&node->params.patch);
    const size_t width = scratch_floats(tokens->cols);
#pragma omp parallel for num_threads(node->threads) schedule(static)
    for (int part = 0; part < node->threads; part++) {
        float *scratch = (float *)node->work + (size_t)part * 2 * width;
        const int64_t end = tokens->rows * (part + 1) / node->threads;
        for (int64_t r = tokens->rows * part / node->threads; r < end; r++) {
            const float *row = row_read(tokens, r, scratch);
            if (row != scratch) memcpy(scratch, row, (size_t)tokens->cols * sizeof *row);
            move_token(s, channel_first, add ? SCATTER_ADD : SCATTER, r % s.tokens, tim_matrix_f32(pictures, r / s.tokens),
                       scratch);
        }
    }
}

static void forward_patchify(const TimNode *node) {
    to_tokens(node, &node->in[0], &node->out[0], true, false);
}

static void jvp_patchify(const TimNode *node) {
    to_tokens(node, &node->t_in[0], &node->t_out[0], true, false);
}

static void vjp_patchify(const TimNode *node) {
    to_pictures(node, &node->g_out[0], &node->g_in[0], true, node->add_in[0]);
}

static void forward_unpatchify(const TimNode *node) {
    to_pictures(node, &node->in[0], &node->out[0], false, false);
}

static void jvp_unpatchify(const TimNode *node) {
    to_pictures(node, &node->t_in[0], &node->t_out[0], false, false);
}

static void vjp_unpatchify(const TimNode *node) {
    to_tokens(node, &node->g_out[0], &node->g_in[0], false, node->add_in[0]);
}

extern const TimOp TIM_ISA_SYMBOL(tim_op_patchify), TIM_ISA_SYMBOL(tim_op_unpatchify);
const TimOp TIM_ISA_SYMBOL(tim_op_patchify) = {"patchify",       infer_patchify, NULL,        NULL,
                                               forward_patchify, vjp_patchify,   jvp_patchify};
const TimOp TIM_ISA_SYMBOL(tim_op_unpatchify) = {"unpatchify",       infer_unpatchify, NULL,          NULL,
                                                 forward_unpatchify, vjp_unpatchify,   jvp_unpatchify};
