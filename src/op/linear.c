/* y = x W' + b:  x (R, K), W (N, K), b (N), y (R, N).
 * vjp: g_x = g_y W;  g_W += g_y' x;  g_b += column sums of g_y.   jvp: t_y = t_x W' (weights have no tangent).
 * Matrix-product inputs have the dtype of W: an x or g_y of another dtype is converted into the workspace first. */
#include "op/matmul.h"
#include "op/outer.h"
#include "op/stored.h"
#include "op/sums.h"

enum { X, W, BIAS }; /* the inputs */

enum { Y, T_Y, G_X, G_W, PRODUCTS };

typedef struct Plan {
    TimMatmul *product[PRODUCTS];
    size_t x_at;      /* where in the workspace vjp puts a converted x: behind g_y, if that is converted too */
    size_t converted; /* bytes of the workspace that hold converted inputs, before the products' own */
} Plan;

static bool differs(const TimMatrix *m, TimDtype dtype) {
    return m->rows && m->dtype != dtype;
}

static TimStatus infer(TimNode *node, TimError *err) {
    const TimLinearParams *p = &node->params.linear;
    const TimMatrix *x = &node->in[X], *w = &node->in[W];
    TIM_TRY(require(node, node->n_in == (p->has_bias ? 3 : 2) && is_float(x) && is_float(w),
                    "wants x, W and the bias if it has one", err));
    TIM_TRY(require(node, w->dtype == TIM_BF16 || (x->dtype == TIM_F32 && p->out == TIM_F32),
                    "has an f32 W: x and y must be f32 too", err));
    TIM_TRY(require(node, x->cols == w->cols, "W has other columns than x", err));
    TIM_TRY(require(node, !p->has_bias || (node->in[BIAS].cols == w->rows && node->in[BIAS].dtype == TIM_F32),
                    "the bias does not fit W", err));
    node->n_out = 1;
    node->out[0] = matrix_of(p->out, x->rows, w->rows);
    node->vjp_reads_in = 1U << X | 1U << W;
    node->params_in = 1U << W | 1U << BIAS;
    return TIM_OK;
}

static TimStatus plan_product(const TimNode *node, Plan *plan, int which, TimMatmulShape shape, TimError *err) {
    shape.plain = node->isa == TIM_ISA_REF;
    shape.threads = node->threads;
    return tim_matmul_new(&plan->product[which], &shape, err);
}

/* The row stride of x or g_y as the product sees it: a converted one is dense. */
static int64_t stride_as(const TimMatrix *m, TimDtype dtype) {
    return m->dtype == dtype ? m->stride : m->cols;
}

static TimMatmulShape shape_y(const TimNode *node) {
    const TimMatrix *x = &node->in[X], *w = &node->in[W], *y = &node->out[0];
    return (TimMatmulShape){.m = x->rows,
                            .n = w->rows,
                            .k = w->cols,
                            .lda = stride_as(x, w->dtype),
                            .ldb = w->stride,
                            .ldc = y->stride,
                            .b_transposed = true,
                            .in = w->dtype,
                            .out = y->dtype,
                            .has_bias = node->params.linear.has_bias};
}

static TimMatmulShape shape_t_y(const TimNode *node) {
    const TimMatrix *t_x = &node->t_in[X], *t_y = &node->t_out[0];
    TimMatmulShape shape = shape_y(node);
    shape.m = t_y->rows, shape.has_bias = false;
    shape.lda = stride_as(t_x, shape.in), shape.ldc = t_y->stride;
    return shape;
}

static TimMatmulShape shape_g_x(const TimNode *node) {
    const TimMatrix *w = &node->in[W], *g_y = &node->g_out[0], *g_x = &node->g_in[X];
    return (TimMatmulShape){.m = node->in[X].rows,
                            .n = w->cols,
                            .k = w->rows,
                            .lda = stride_as(g_y, w->dtype),
                            .ldb = w->stride,
                            .ldc = g_x->stride,
                            .in = w->dtype,
                            .out = g_x->dtype,
                            .add = node->add_in[X]};
}

static TimMatmulShape shape_g_w(const TimNode *node) {
    const TimMatrix *x = &node->in[X], *w = &node->in[W], *g_y = &node->g_out[0];
    return (TimMatmulShape){.m = w->rows,
                            .n = w->cols,
                            .k = x->rows,
                            .lda = stride_as(g_y, w->dtype),
                            .a_transposed = true,
                            .ldb = stride_as(x, w->dtype),
                            .ldc = node->g_in[W].stride,
                            .in = w->dtype,
                            .out = TIM_F32,
                            .add = true};
}

/* The products of the passes that are wanted, but for those that run without a plan. */
static TimStatus plan_all(const TimNode *node, Plan *plan, TimError *err) {
    const TimMatrix *x = &node->in[X], *t_x = &node->t_in[X], *w = &node->in[W];
    if (!stored_serves(x, w)) TIM_TRY(plan_product(node, plan, Y, shape_y(node), err));
    if (node->t_out[0].rows && !stored_serves(t_x, w)) TIM_TRY(plan_product(node, plan, T_Y, shape_t_y(node), err));
    if (node->g_in[X].rows) TIM_TRY(plan_product(node, plan, G_X, shape_g_x(node), err));
    if (node->g_in[W].rows && !outer_serves(&node->g_out[0], x)) TIM_TRY(plan_product(node, plan, G_W, shape_g_w(node), err));
    return TIM_OK;
}

static void release(TimNode *node) {
    Plan *plan = node->plan;
    if (!plan) return;
    for (int i = 0; i < PRODUCTS; i++) tim_matmul_free(plan->product[i]);
    tim_free(plan);
    node->plan = NULL;
}

/* Converted inputs are all threads' together; behind them come the products or the sums of a bias. An outer sum converts
 * nothing. */
static TimStatus plan_work(TimNode *node, size_t products, TimError *err) {
    const Plan *plan = node->plan;
    const TimMatrix *w = &node->in[W];
    const bool outer = node->g_in[W].rows && !plan->product[G_W];
    if (node->g_in[BIAS].rows) TIM_TRY(want_scratch(node, column_sums_scratch(node->out[0].cols), err));
    if (products > node->work_bytes) node->work_bytes = products;
    if (!tim_add_size(node->work_bytes, plan->converted, &node->work_bytes))
        return tim_fail(err, TIM_E_MEMORY, "linear: its workspace does not fit; use a smaller batch or picture");
    if (!outer) return TIM_OK;
    return want_scratch(node, scratch_floats((int64_t)outer_scratch(w->rows, w->cols, node->threads)), err);
}

static TimStatus prepare(TimNode *node, TimError *err) {
    Plan *plan;
    TIM_TRY(tim_new(&plan, 1, sizeof *plan, "a linear layer's plan", err));
    node->plan = plan;
    TIM_TRY(plan_all(node, plan, err));
    size_t products = 0;
    for (int i = 0; i < PRODUCTS; i++)
        if (plan->product[i] && tim_matmul_work(plan->product[i]) > products) products = tim_matmul_work(plan->product[i]);
    const TimMatrix *w = &node->in[W];
    const TimMatrix *const packed[] = {&node->in[X], &node->t_in[X]}; /* of fewer rows, a tangent may be served alone */
    for (size_t i = 0; i < sizeof packed / sizeof *packed; i++)
        if (stored_serves(packed[i], w) && stored_bytes(packed[i]->rows, w->cols) > products)
            products = stored_bytes(packed[i]->rows, w->cols);
    const size_t size = tim_dtype_size(w->dtype), x = tim_round_up((size_t)(node->in[X].rows * w->cols) * size, TIM_ALIGNMENT),
                 g = tim_round_up((size_t)(node->in[X].rows * w->rows) * size, TIM_ALIGNMENT);
    if (differs(&node->g_out[0], w->dtype)) plan->x_at = g;
    plan->converted = plan->x_at + (differs(&node->in[X], w->dtype) || differs(&node->t_in[X], w->dtype) ? x : 0);
    return plan_work(node, products, err);
}

/* `m` in `dtype`: its own data, or a dense copy at `space`. Only f32 is ever converted, to bf16: infer refuses the rest. */
static const void *as_dtype(const TimNode *node, const TimMatrix *m, TimDtype dtype, void *space) {
    if (m->dtype == dtype) return m->data;
    const TimMatrix copy = {.data = space, .rows = m->rows, .cols = m->cols, .stride = m->cols, .dtype = dtype};
#pragma omp parallel for num_threads(node->threads) schedule(static)
    for (int64_t r = 0; r < m->rows; r++) narrow(tim_matrix_bf16(&copy, r), tim_matrix_f32(m, r), m->cols);
    return space;
}

static void *after(void *work, size_t bytes) {
    return (char *)work + bytes;
}

/* y = x W' + b by the planned product, or without one on W as stored. */
static void multiply(const TimNode *node, const TimMatmul *product, const TimMatrix *y, const TimMatrix *x, const float *bias) {
    const Plan *plan = node->plan;
    const TimMatrix *w = &node->in[W];
    void *work = after(node->work, plan->converted);
    TimMatrix as = *x;
    as.data = (void *)as_dtype(node, x, w->dtype, node->work);
    as.stride = stride_as(x, w->dtype), as.dtype = w->dtype;
    if (product)
        tim_matmul_run(product, as.data, w->data, bias, y->data, work);
    else
        stored_product(y, &as, w, bias, work, node->threads);
}

static void forward(const TimNode *node) {
    const Plan *plan = node->plan;
    multiply(node, plan->product[Y], &node->out[0], &node->in[X], node->in[BIAS].data);
}

static void jvp(const TimNode *node) {
    const Plan *plan = node->plan;
    multiply(node, plan->product[T_Y], &node->t_out[0], &node->t_in[X], NULL);
}

static void vjp(const TimNode *node) {
    const Plan *plan = node->plan;
    const TimDtype dtype = node->in[W].dtype;
    void *work = after(node->work, plan->converted);
    const TimMatrix *g_y = &node->g_out[0];
    if (node->g_in[BIAS].data) add_column_sums(node, g_y, node->g_in[BIAS].data, work);
    const void *g = as_dtype(node, g_y, dtype, node->work);
    if (node->g_in[W].data && !plan->product[G_W]) {
        outer_sum(&node->g_in[W], g_y, &node->in[X], node->work, node->threads);
    } else if (node->g_in[W].data) {
        const void *x = as_dtype(node, &node->in[X], dtype, after(node->work, plan->x_at));
        tim_matmul_run(plan->product[G_W], g, x, NULL, node->g_in[W].data, work);
    }
    if (node->g_in[X].data) tim_matmul_run(plan->product[G_X], g, node->in[W].data, NULL, node->g_in[X].data, work);
}

extern const TimOp TIM_ISA_SYMBOL(tim_op_linear);
const TimOp TIM_ISA_SYMBOL(tim_op_linear) = {"linear", infer, prepare, release, forward, vjp, jvp};
