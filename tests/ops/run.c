/* One run of a case on a node laid out by hand, with more freedom than the tape takes: any matrix may be columns of a wider one.
 * All memory is filled with NaN patterns, different for each matrix, so that a stray read shows in the results and a stray write in
 * the pattern. What the op's node says that the vjp does not read is wiped before the vjp: the tape gives that memory away. */
#include <omp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/bf16.h"
#include "base/memory.h"
#include "ops/ops.h"

enum { MARGIN = 32 }; /* 16-bit words before and after a matrix: one cache line */

/* A matrix inside memory that is all `mark` elsewhere. */
typedef struct Piece {
    TimMatrix m;
    uint16_t *memory;
    size_t words;
    uint16_t mark;
} Piece;

enum {
    IN = 0,
    T_IN = IN + TIM_OP_MAX_IN,
    G_IN = T_IN + TIM_OP_MAX_IN,
    OUT = G_IN + TIM_OP_MAX_IN,
    T_OUT = OUT + TIM_OP_MAX_OUT,
    G_OUT = T_OUT + TIM_OP_MAX_OUT,
    SAVE = G_OUT + TIM_OP_MAX_OUT,
    WORK = SAVE + TIM_OP_MAX_SAVE,
    PIECES
};

typedef struct Trial {
    OpCase c; /* in the dtypes of this run */
    OpSetup setup;
    TimNode node;
    Piece piece[PIECES];
} Trial;

/* ---- memory ---- */

static void wipe(Piece *p) {
    for (size_t i = 0; i < p->words; i++) p->memory[i] = p->mark;
}

/* Gives piece `index` memory for this shape. A padded one is the middle of three side by side, as k is in a projection. */
static TimMatrix place(Trial *t, int index, TimMatrix shape, bool padded) {
    Piece *p = &t->piece[index];
    const size_t words = tim_dtype_size(shape.dtype) / sizeof(uint16_t);
    p->mark = (uint16_t)(0xFFC0 + index);
    p->m = shape;
    p->m.stride = padded ? 3 * shape.cols : shape.cols;
    p->words = (size_t)(p->m.rows * p->m.stride) * words + (size_t)2 * MARGIN;
    p->memory = tim_alloc(p->words, sizeof *p->memory);
    if (!p->memory) abort();
    p->m.data = p->memory + MARGIN + (padded ? (size_t)shape.cols * words : 0);
    wipe(p);
    return p->m;
}

static bool marked(const Piece *p, const uint16_t *from, const uint16_t *to) {
    for (; from < to; from++)
        if (*from != p->mark) return false;
    return true;
}

static bool intact(const Piece *p) {
    if (!p->memory) return true;
    const size_t words = tim_dtype_size(p->m.dtype) / sizeof(uint16_t);
    const uint16_t *done = p->memory;
    for (int64_t r = 0; r < p->m.rows; r++) {
        const uint16_t *row = (const uint16_t *)p->m.data + (size_t)(r * p->m.stride) * words;
        if (!marked(p, done, row)) return false;
        done = row + (size_t)p->m.cols * words;
    }
    return marked(p, done, p->memory + p->words);
}

static double get(const TimMatrix *m, int64_t row, int64_t col) {
    if (m->dtype == TIM_F32) return tim_matrix_f32(m, row)[col];
    if (m->dtype == TIM_BF16) return tim_bf16_to_f32(tim_matrix_bf16(m, row)[col]);
    return (double)((const int64_t *)m->data)[row * m->stride + col];
}

static void put(const TimMatrix *m, int64_t row, int64_t col, double value) {
    if (m->dtype == TIM_F32)
        tim_matrix_f32(m, row)[col] = (float)value;
    else if (m->dtype == TIM_BF16)
        tim_matrix_bf16(m, row)[col] = tim_bf16_from_f32((float)value);
    else
        ((int64_t *)m->data)[row * m->stride + col] = (int64_t)value;
}

static OpTensor read_all(const TimMatrix *m) {
    if (!m->data) return (OpTensor){0};
    const OpTensor out = ops_tensor_new(m->rows, m->cols, m->dtype);
    for (int64_t r = 0; r < m->rows; r++)
        for (int64_t col = 0; col < m->cols; col++) out.v[r * m->cols + col] = get(m, r, col);
    return out;
}

static void fill(const TimMatrix *m, const OpCase *c, OpRole role, int i) {
    OpTensor values = ops_values(c, role, i);
    for (int64_t r = 0; r < m->rows; r++)
        for (int64_t col = 0; col < m->cols; col++) put(m, r, col, values.v[r * m->cols + col]);
    ops_tensor_free(&values);
}

static bool holds(const TimMatrix *m, const OpCase *c, OpRole role, int i) {
    OpTensor values = ops_values(c, role, i);
    bool same = true;
    for (int64_t r = 0; r < m->rows; r++)
        for (int64_t col = 0; col < m->cols; col++) same &= get(m, r, col) == values.v[r * m->cols + col];
    ops_tensor_free(&values);
    return same;
}

/* ---- the node ---- */

static TimDtype without_bf16(TimDtype dtype) {
    return dtype == TIM_BF16 ? TIM_F32 : dtype;
}

/* The same case computed and stored in f32. */
static OpCase in_f32(OpCase c) {
    for (int i = 0; i < c.n_in; i++) c.in[i].dtype = without_bf16(c.in[i].dtype);
    if (c.kind == TIM_OP_CAST) c.params.cast.dtype = TIM_F32;
    if (c.kind == TIM_OP_CHANNEL_NORM) c.params.channel_norm.out = TIM_F32;
    if (c.kind == TIM_OP_CONVOLUTION) c.params.convolution.out = TIM_F32;
    if (c.kind == TIM_OP_GROUP_NORM) c.params.group_norm.out = TIM_F32;
    if (c.kind == TIM_OP_LINEAR) c.params.linear.out = TIM_F32;
    if (c.kind == TIM_OP_MODULATE) c.params.modulate.out = TIM_F32;
    if (c.kind == TIM_OP_PATCHIFY) c.params.patch.out = TIM_F32;
    if (c.kind == TIM_OP_RMS_NORM) c.params.rms_norm.out = TIM_F32;
    if (c.kind == TIM_OP_UPSAMPLE) c.params.upsample.out = TIM_F32;
    return c;
}

static TimNode bare_node(const OpCase *c, TimIsa isa) {
    TimNode node = {.op = tim_op_get(c->kind, isa),
                    .params = c->params,
                    .isa = isa,
                    .threads = 1,
                    .samples = c->samples,
                    .tangent_samples = c->tangent_samples,
                    .n_in = c->n_in};
    for (int i = 0; i < c->n_in; i++)
        node.in[i] = (TimMatrix){.rows = c->in[i].rows, .cols = c->in[i].cols, .stride = c->in[i].cols, .dtype = c->in[i].dtype};
    return node;
}

static void must(TimStatus status, const TimError *err) {
    if (status != TIM_OK) fail_msg("%s", err->text);
}

TimNode ops_node(const OpCase *c, TimIsa isa) {
    TimError err;
    TimNode node = bare_node(c, isa);
    must(node.op->infer(&node, &err), &err);
    return node;
}

bool ops_has_bf16(const OpCase *c) {
    const TimNode node = ops_node(c, TIM_ISA_REF);
    bool found = false;
    for (int i = 0; i < node.n_in; i++) found |= node.in[i].dtype == TIM_BF16;
    for (int i = 0; i < node.n_out; i++) found |= node.out[i].dtype == TIM_BF16;
    return found;
}

static TimMatrix tangent_shape(const Trial *t, TimMatrix m) {
    m.rows = m.rows / t->c.samples * t->c.tangent_samples;
    return m;
}

static bool has_tangents(const OpCase *c) {
    return c->tangents && c->tangent_samples > 0;
}

static void place_inputs(Trial *t) {
    TimNode *n = &t->node;
    for (int i = 0; i < n->n_in; i++) {
        const OpInput *input = &t->c.in[i];
        const bool padded = t->setup.padded && !input->param;
        TimMatrix g = n->in[i];
        if (input->param) g.dtype = TIM_F32;
        if (has_tangents(&t->c) && t->c.tangents >> i & 1) n->t_in[i] = place(t, T_IN + i, tangent_shape(t, n->in[i]), padded);
        if (t->c.wanted >> i & 1) n->g_in[i] = place(t, G_IN + i, g, padded);
        n->add_in[i] = (t->setup.add >> i & 1) || input->param;
        n->in[i] = place(t, IN + i, n->in[i], padded);
    }
}

static void place_outputs(Trial *t) {
    TimNode *n = &t->node;
    for (int i = 0; i < n->n_out; i++) {
        if (has_tangents(&t->c)) n->t_out[i] = place(t, T_OUT + i, tangent_shape(t, n->out[i]), t->setup.padded);
        if (t->c.wanted && t->c.seeded >> i & 1) n->g_out[i] = place(t, G_OUT + i, n->out[i], t->setup.padded);
        n->out[i] = place(t, OUT + i, n->out[i], t->setup.padded);
    }
    for (int i = 0; i < n->n_save; i++) n->save[i] = place(t, SAVE + i, n->save[i], false);
}

static void trial_new(Trial *t, const OpCase *c, OpSetup setup) {
    TimError err;
    *t = (Trial){.c = setup.in_f32 ? in_f32(*c) : *c, .setup = setup};
    TimNode *n = &t->node;
    *n = bare_node(&t->c, setup.isa);
    n->threads = setup.threads;
    must(n->op->infer(n, &err), &err);
    place_inputs(t);
    place_outputs(t);
    if (n->op->prepare) must(n->op->prepare(n, &err), &err);
    const TimMatrix work = {.rows = 1, .cols = (int64_t)n->work_bytes / 2, .dtype = TIM_BF16};
    n->work = place(t, WORK, work, false).data;
}

static void trial_free(Trial *t) {
    if (t->node.op->release) t->node.op->release(&t->node);
    for (int i = 0; i < PIECES; i++) tim_free(t->piece[i].memory);
}

/* ---- passes ---- */

/* `c` is the case in its own dtypes: they say how the values are rounded. */
static void fill_inputs(Trial *t, const OpCase *c) {
    const TimNode *n = &t->node;
    for (int i = 0; i < n->n_in; i++) {
        fill(&n->in[i], c, OPS_INPUT, i);
        if (n->t_in[i].data) fill(&n->t_in[i], c, OPS_TANGENT, i);
        if (n->g_in[i].data && n->add_in[i]) fill(&n->g_in[i], c, OPS_BASE, i);
    }
    for (int i = 0; i < n->n_out; i++)
        if (n->g_out[i].data) fill(&n->g_out[i], c, OPS_COTANGENT, i);
}

static void forward(Trial *t, OpRun *run) {
    const TimNode *n = &t->node;
    n->op->forward(n);
    for (int i = 0; i < n->n_out; i++) run->out[i] = read_all(&n->out[i]);
    wipe(&t->piece[WORK]);
    if (!has_tangents(&t->c)) return;
    n->op->jvp(n);
    for (int i = 0; i < n->n_out; i++) run->t_out[i] = read_all(&n->t_out[i]);
    wipe(&t->piece[WORK]);
}

static bool inputs_hold(const Trial *t, const OpCase *c) {
    const TimNode *n = &t->node;
    bool same = true;
    for (int i = 0; i < n->n_in; i++) {
        same &= holds(&n->in[i], c, OPS_INPUT, i);
        if (n->t_in[i].data) same &= holds(&n->t_in[i], c, OPS_TANGENT, i);
    }
    for (int i = 0; i < n->n_out; i++)
        if (n->g_out[i].data) same &= holds(&n->g_out[i], c, OPS_COTANGENT, i);
    return same;
}

static void backward(Trial *t, OpRun *run) {
    const TimNode *n = &t->node;
    for (int i = 0; i < n->n_in; i++)
        if (!t->c.in[i].param && !(n->vjp_reads_in >> i & 1)) wipe(&t->piece[IN + i]);
    for (int i = 0; i < n->n_out; i++)
        if (!(n->vjp_reads_out >> i & 1)) wipe(&t->piece[OUT + i]);
    n->op->vjp(n);
    for (int i = 0; i < n->n_in; i++) run->g_in[i] = read_all(&n->g_in[i]);
}

OpRun ops_run(const OpCase *c, OpSetup setup) {
    Trial t;
    OpRun run = {0};
    omp_set_num_threads(setup.threads); /* oneDNN goes by this number, not by the node's */
    trial_new(&t, c, setup);
    fill_inputs(&t, c);
    forward(&t, &run);
    run.contained = inputs_hold(&t, c);
    if (c->wanted) backward(&t, &run);
    for (int i = 0; i < PIECES; i++) run.contained &= intact(&t.piece[i]);
    trial_free(&t);
    return run;
}

void ops_run_free(OpRun *run) {
    for (int i = 0; i < TIM_OP_MAX_OUT; i++) ops_tensor_free(&run->out[i]), ops_tensor_free(&run->t_out[i]);
    for (int i = 0; i < TIM_OP_MAX_IN; i++) ops_tensor_free(&run->g_in[i]);
}
