/* y = x * W + b, then [SiLU], over pictures whose pixels are rows:
 *   x (B H W, C), W (O, C/groups kh kw) dense, b (O) f32, y (B H' W', O); H' = (H + 2 pad - kh) / stride + 1 rounded down, with
 *   `pad_end` (H + pad - kh) / stride + 1. Padding is zero. x and W are f32 or bf16; x in f32 is rounded to a bf16 W.
 * All f32 and without SiLU it has derivatives:
 * vjp: g_x = the transpose applied to g_y;  g_W += g_y x;  g_b += column sums of g_y.   jvp: t_y = t_x * W. */
#include "op/convolve.h"
#include "op/sums.h"

enum { X, W, BIAS }; /* the inputs */

enum { Y, T_Y, G_X, G_W, PASSES };

typedef struct Plan {
    TimConvolve *pass[PASSES];
    size_t ahead; /* bytes of the workspace before the passes' own: a g_x before it is added, or x in another dtype */
} Plan;

static int64_t groups_of(const TimNode *node) {
    const int groups = node->params.convolution.groups;
    return groups ? groups : 1;
}

static TimStatus infer(TimNode *node, TimError *err) {
    const TimConvolutionParams *p = &node->params.convolution;
    const TimMatrix *x = &node->in[X], *w = &node->in[W];
    const int64_t groups = groups_of(node);
    TIM_TRY(require(node, node->n_in == (p->has_bias ? 3 : 2) && is_float(x) && is_float(w),
                    "wants x, W and the bias if it has one", err));
    TIM_TRY(require(node, w->dtype == TIM_BF16 || (x->dtype == TIM_F32 && p->out == TIM_F32),
                    "has an f32 W: x and y must be f32 too", err));
    TIM_TRY(
        require(node, groups > 0 && x->cols % groups == 0 && w->rows % groups == 0, "the groups do not divide the channels", err));
    TIM_TRY(require(node, window_fits(&p->window, x->rows), "wants rows of whole pictures and a window that fits them", err));
    TIM_TRY(require(node, w->cols == x->cols / groups * p->window.kernel_h * p->window.kernel_w && w->stride == w->cols,
                    "W does not have kh kw weights for each channel of a group", err));
    TIM_TRY(require(node, !p->has_bias || (node->in[BIAS].cols == w->rows && node->in[BIAS].dtype == TIM_F32),
                    "the bias does not fit W", err));
    const int64_t pictures = x->rows / ((int64_t)p->window.height * p->window.width);
    node->n_out = 1;
    node->out[0] = matrix_of(p->out, pictures * window_out_h(&p->window) * window_out_w(&p->window), w->rows);
    node->vjp_reads_in = 1U << X | 1U << W;
    node->params_in = 1U << W | 1U << BIAS;
    return TIM_OK;
}

static TimStatus plan_pass(TimNode *node, Plan *plan, int which, const TimMatrix *x, const TimMatrix *y, bool has_bias,
                           TimError *err) {
    static const TimConvolvePass kinds[PASSES] = {
        [Y] = TIM_CONVOLVE_Y, [T_Y] = TIM_CONVOLVE_Y, [G_X] = TIM_CONVOLVE_G_X, [G_W] = TIM_CONVOLVE_G_W};
    const TimWindow *w = &node->params.convolution.window;
    const TimConvolveShape shape = {.window = *w,
                                    .pictures = x->rows / ((int64_t)w->height * w->width),
                                    .in_channels = x->cols,
                                    .out_channels = y->cols,
                                    .x_stride = x->stride,
                                    .y_stride = y->stride,
                                    .groups = groups_of(node),
                                    .in = node->in[W].dtype,
                                    .out = y->dtype,
                                    .has_bias = has_bias,
                                    .silu = node->params.convolution.silu,
                                    .plain = node->isa == TIM_ISA_REF,
                                    .threads = node->threads};
    return tim_convolve_new(&plan->pass[which], kinds[which], &shape, err);
}

/* g_x as the library writes it: itself, or a dense one in the workspace that is added afterwards. */
static TimMatrix written_g_x(const TimNode *node) {
    TimMatrix g_x = node->g_in[X];
    if (node->add_in[X]) g_x.data = node->work, g_x.stride = g_x.cols;
    return g_x;
}

/* x has to be converted first. */
static bool converts(const TimNode *node) {
    return node->in[X].dtype != node->in[W].dtype;
}

/* x as the passes see it: itself, or a dense copy in the workspace. */
static TimMatrix read_x(const TimNode *node) {
    TimMatrix x = node->in[X];
    if (converts(node)) x.data = node->work, x.stride = x.cols, x.dtype = node->in[W].dtype;
    return x;
}

static TimStatus check_passes(const TimNode *node, TimError *err) {
    const bool derivable = node->in[W].dtype == TIM_F32 && !node->params.convolution.silu;
    if (derivable || (!node->t_out[0].rows && !node->g_in[X].rows && !node->g_in[W].rows)) return TIM_OK;
    return tim_fail(err, TIM_E_UNSUPPORTED,
                    "op convolution has neither vjp nor jvp in bf16 or with SiLU; record in f32 with SiLU as an op of its own, or "
                    "without gradients and tangents");
}

static TimStatus plan_all(TimNode *node, Plan *plan, TimError *err) {
    const TimMatrix used = read_x(node), *x = &used, *y = &node->out[0], *g_y = &node->g_out[0];
    TIM_TRY(check_passes(node, err));
    TIM_TRY(plan_pass(node, plan, Y, x, y, node->params.convolution.has_bias, err));
    if (node->t_out[0].rows) TIM_TRY(plan_pass(node, plan, T_Y, &node->t_in[X], &node->t_out[0], false, err));
    const TimMatrix g_x = written_g_x(node);
    if (g_x.rows) TIM_TRY(plan_pass(node, plan, G_X, &g_x, g_y, false, err));
    if (node->g_in[W].rows) TIM_TRY(plan_pass(node, plan, G_W, x, g_y, false, err));
    return TIM_OK;
}

static void release(TimNode *node) {
    Plan *plan = node->plan;
    if (!plan) return;
    for (int i = 0; i < PASSES; i++) tim_convolve_free(plan->pass[i]);
    tim_free(plan);
    node->plan = NULL;
}

static TimStatus prepare(TimNode *node, TimError *err) {
    Plan *plan;
    TIM_TRY(tim_new(&plan, 1, sizeof *plan, "a convolution's plans", err));
    node->plan = plan;
    TIM_TRY(plan_all(node, plan, err));
    size_t passes = 0;
    for (int i = 0; i < PASSES; i++)
        if (plan->pass[i] && tim_convolve_work(plan->pass[i]) > passes) passes = tim_convolve_work(plan->pass[i]);
    if ((node->g_in[X].rows && node->add_in[X]) || converts(node))
        plan->ahead = /* up to whole lines, as convolve.h wants its workspace */
            tim_round_up((size_t)(node->in[X].rows * node->in[X].cols) * tim_dtype_size(node->in[W].dtype), TIM_ALIGNMENT);
    node->work_bytes = plan->ahead + passes;
    return want_scratch(node, column_sums_scratch(node->out[0].cols), err);
}

static void run(const TimNode *node, int which, const TimMatrix *x, const TimMatrix *w, const TimMatrix *b, const TimMatrix *y) {
    const Plan *plan = node->plan;
    tim_convolve_run(plan->pass[which], x->data, w->data, b ? b->data : NULL, y->data, (char *)node->work + plan->ahead);
}

static void forward(const TimNode *node) {
    const TimMatrix x = read_x(node);
#pragma omp parallel for num_threads(node->threads) schedule(static) if (converts(node))
    for (int64_t r = 0; r < (converts(node) ? x.rows : 0); r++)
        narrow(tim_matrix_bf16(&x, r), tim_matrix_f32(&node->in[X], r), x.cols);
    run(node, Y, &x, &node->in[W], node->params.convolution.has_bias ? &node->in[BIAS] : NULL, &node->out[0]);
}

static void jvp(const TimNode *node) {
    run(node, T_Y, &node->t_in[X], &node->in[W], NULL, &node->t_out[0]);
}

static void add_rows(const TimNode *node, const TimMatrix *to, const TimMatrix *from) {
#pragma omp parallel for num_threads(node->threads) schedule(static)
    for (int64_t r = 0; r < to->rows; r++) add_row(tim_matrix_f32(to, r), tim_matrix_f32(from, r), to->cols);
}

static void vjp(const TimNode *node) {
    const TimMatrix *g_y = &node->g_out[0];
    if (node->g_in[BIAS].data) add_column_sums(node, g_y, node->g_in[BIAS].data, node->work);
    if (node->g_in[W].data) run(node, G_W, &node->in[X], &node->g_in[W], NULL, g_y);
    if (!node->g_in[X].data) return;
    const TimMatrix g_x = written_g_x(node);
    run(node, G_X, &g_x, &node->in[W], NULL, g_y);
    if (node->add_in[X]) add_rows(node, &node->g_in[X], &g_x);
}

extern const TimOp TIM_ISA_SYMBOL(tim_op_convolution);
const TimOp TIM_ISA_SYMBOL(tim_op_convolution) = {"convolution", infer, prepare, release, forward, vjp, jvp};
