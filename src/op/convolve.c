#include "op/convolve.h"

#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "op/widen.h"

#if defined(TIM_HAVE_ONEDNN)
#include "base/threads.h"
#include "op/onednn.h"
#endif

struct TimConvolve {
    TimConvolveShape shape; /* what the caller has */
    TimConvolveShape piece; /* what one call convolves: the same, or with copies some of it */
    TimConvolvePass pass;
    bool copies; /* what is bf16 goes through fp32 copies */
    size_t work;
#if defined(TIM_HAVE_ONEDNN)
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    dnnl_primitive_t primitive; /* NULL: plain */
    dnnl_primitive_t repack; /* W into the primitive's layout before it, or g_W out of it (and added) after it; NULL: same layout */
    dnnl_memory_t x, y, bias, scratch;
    dnnl_memory_t w, packed; /* as the caller has it, as the primitive wants it */
    size_t packed_at;        /* offset in the workspace, after the scratch pad */
#endif
};

/* ---- plain ---- */

/* One output pixel and the pixels under its window. */
typedef struct Spot {
    WindowRange range;
    int64_t x0, y, top, left; /* first row of the picture; row of the output; where the window starts, padding included */
} Spot;

static int64_t output_rows(const TimConvolveShape *s) {
    return s->pictures * window_out_h(&s->window) * window_out_w(&s->window);
}

static Spot spot_of(const TimConvolveShape *s, int64_t row) {
    const int64_t out_w = window_out_w(&s->window), out_h = window_out_h(&s->window);
    const int64_t y = row / out_w % out_h, x = row % out_w, picture = row / (out_w * out_h);
    return (Spot){window_range(&s->window, y, x), picture * s->window.height * s->window.width, row,
                  y * s->window.stride - window_top(&s->window), x * s->window.stride - window_left(&s->window)};
}

static int64_t x_index(const TimConvolveShape *s, const Spot *at, int64_t i, int64_t j) {
    return (at->x0 + i * s->window.width + j) * s->x_stride;
}

/* Input channels of a group, and the first one that output channel o sees. */
static int64_t group_channels(const TimConvolveShape *s) {
    return s->in_channels / s->groups;
}

static int64_t first_channel(const TimConvolveShape *s, int64_t o) {
    return o / (s->out_channels / s->groups) * group_channels(s);
}

/* Index of W(o, c, i - top, j - left). */
static int64_t w_index(const TimConvolveShape *s, const Spot *at, int64_t o, int64_t c, int64_t i, int64_t j) {
    return ((o * group_channels(s) + c) * s->window.kernel_h + i - at->top) * s->window.kernel_w + j - at->left;
}

static float output_at(const TimConvolveShape *s, const Spot *at, int64_t o, const float *x, const float *w) {
    const int64_t channels = group_channels(s), first = first_channel(s, o);
    float sum = 0;
    for (int64_t i = at->range.top; i < at->range.bottom; i++)
        for (int64_t j = at->range.left; j < at->range.right; j++)
            for (int64_t c = 0; c < channels; c++) sum += x[x_index(s, at, i, j) + first + c] * w[w_index(s, at, o, c, i, j)];
    return sum;
}

static float activated(const TimConvolveShape *s, float v) {
    return s->silu ? v / (1.0F + expf(-v)) : v;
}

static void run_plain_y(const TimConvolveShape *s, const float *x, const float *w, const float *bias, float *y) {
#pragma omp parallel for num_threads(s->threads) schedule(static)
    for (int64_t row = 0; row < output_rows(s); row++) {
        const Spot at = spot_of(s, row);
        for (int64_t o = 0; o < s->out_channels; o++)
            y[row * s->y_stride + o] = activated(s, output_at(s, &at, o, x, w) + (s->has_bias ? bias[o] : 0));
    }
}

/* Pictures in parallel: windows of one picture overlap. */
static void run_plain_g_x(const TimConvolveShape *s, float *g_x, const float *w, const float *g_y) {
    const int64_t pixels = (int64_t)s->window.height * s->window.width, spots = output_rows(s) / s->pictures;
#pragma omp parallel for num_threads(s->threads) schedule(static)
    for (int64_t b = 0; b < s->pictures; b++) {
        for (int64_t r = b * pixels; r < (b + 1) * pixels; r++)
            memset(g_x + r * s->x_stride, 0, (size_t)s->in_channels * sizeof *g_x);
        for (int64_t row = b * spots; row < (b + 1) * spots; row++) {
            const Spot at = spot_of(s, row);
            for (int64_t i = at.range.top; i < at.range.bottom; i++)
                for (int64_t j = at.range.left; j < at.range.right; j++)
                    for (int64_t c = 0; c < group_channels(s); c++)
                        for (int64_t o = 0; o < s->out_channels; o++)
                            g_x[x_index(s, &at, i, j) + first_channel(s, o) + c] +=
                                g_y[row * s->y_stride + o] * w[w_index(s, &at, o, c, i, j)];
        }
    }
}

static void run_plain_g_w(const TimConvolveShape *s, const float *x, float *g_w, const float *g_y) {
#pragma omp parallel for num_threads(s->threads) schedule(static)
    for (int64_t o = 0; o < s->out_channels; o++)
        for (int64_t row = 0; row < output_rows(s); row++) {
            const Spot at = spot_of(s, row);
            for (int64_t i = at.range.top; i < at.range.bottom; i++)
                for (int64_t j = at.range.left; j < at.range.right; j++)
                    for (int64_t c = 0; c < group_channels(s); c++)
                        g_w[w_index(s, &at, o, c, i, j)] +=
                            g_y[row * s->y_stride + o] * x[x_index(s, &at, i, j) + first_channel(s, o) + c];
        }
}

/* ---- bf16 through fp32 copies in the workspace: where it is plain, and where the library has none ---- */

static size_t weight_count(const TimConvolveShape *s) {
    return (size_t)(s->out_channels * group_channels(s) * s->window.kernel_h * s->window.kernel_w);
}

static int64_t input_rows(const TimConvolveShape *s) {
    return s->pictures * s->window.height * s->window.width;
}

/* Where the copies of W and y, and what follows them, begin: elements. */
typedef struct Copies {
    size_t w_at, y_at, after_at;
} Copies;

static Copies copies_of(const TimConvolveShape *s) {
    Copies c = {0};
    if (s->in == TIM_BF16) {
        c.w_at = tim_whole_lines((size_t)(input_rows(s) * s->in_channels));
        c.y_at = c.w_at + tim_whole_lines(weight_count(s));
    }
    c.after_at = c.y_at + (s->out == TIM_BF16 ? tim_whole_lines((size_t)(output_rows(s) * s->out_channels)) : 0);
    return c;
}

static bool has_bf16(const TimConvolveShape *s) {
    return s->in == TIM_BF16 || s->out == TIM_BF16;
}

/* Rows of output whose copies are made at a time; several, so that the rows that pieces share stay few. */
static int64_t rows_of_piece(const TimConvolveShape *s) {
    const TimWindow *w = &s->window;
    const int64_t x_row = (int64_t)w->width * s->in_channels * w->stride, y_row = window_out_w(w) * s->out_channels;
    const int64_t rows = wide_rows(s->copy_bytes, x_row + y_row);
    return rows < 8 ? 8 : rows;
}

/* From here on the plan copies, piece by piece: some pictures, or of large ones some rows of the output, with what lies above and
 * below them in the copy, zeros where that is padding. */
static void begin_copies(TimConvolve *p) {
    const int64_t rows = rows_of_piece(&p->shape), height = window_out_h(&p->shape.window), whole = rows / height;
    TimConvolveShape *piece = &p->piece;
    p->copies = true;
    if (p->shape.in != TIM_BF16) return;
    if (whole < piece->pictures) piece->pictures = whole > 0 ? whole : 1;
    if (whole > 0) return;
    piece->window.height = (int)((rows - 1) * piece->window.stride + piece->window.kernel_h);
    piece->window.pad_y = 0;
}

/* The shape of the copies: fp32, and close where they are copies. */
static TimConvolveShape widened(const TimConvolveShape *s) {
    TimConvolveShape wide = *s;
    if (s->in == TIM_BF16) wide.in = TIM_F32, wide.x_stride = s->in_channels;
    if (s->out == TIM_BF16) wide.out = TIM_F32, wide.y_stride = s->out_channels;
    return wide;
}

/* ---- oneDNN ---- */

#if defined(TIM_HAVE_ONEDNN)

typedef struct Descs {
    dnnl_memory_desc_t x, y, w, any_w, bias;
} Descs;

/* Pictures (B, C, H, W) as oneDNN names the axes, stored as rows of channels `stride` apart. */
static dnnl_status_t describe_pictures(dnnl_memory_desc_t *desc, int64_t pictures, int64_t channels, int64_t h, int64_t w,
                                       int64_t stride, TimDtype dtype) {
    const dnnl_dims_t dims = {pictures, channels, h, w};
    const dnnl_dims_t strides = {h * w * stride, 1, w * stride, stride};
    return dnnl_memory_desc_init_by_strides(desc, 4, dims, onednn_dtype(dtype), strides);
}

static dnnl_status_t describe_weights(dnnl_memory_desc_t *desc, const TimConvolveShape *s, bool any) {
    const dnnl_dims_t whole = {s->out_channels, s->in_channels, s->window.kernel_h, s->window.kernel_w};
    const dnnl_dims_t grouped = {s->groups, s->out_channels / s->groups, group_channels(s), s->window.kernel_h, s->window.kernel_w};
    const bool one = s->groups == 1;
    return dnnl_memory_desc_init_by_tag(desc, one ? 4 : 5, one ? whole : grouped, onednn_dtype(s->in),
                                        any   ? dnnl_format_tag_any
                                        : one ? dnnl_oihw
                                              : dnnl_goihw);
}

static dnnl_status_t describe_all(Descs *d, const TimConvolveShape *s) {
    const TimWindow *w = &s->window;
    const dnnl_dims_t bias = {s->out_channels};
    dnnl_status_t status = describe_pictures(&d->x, s->pictures, s->in_channels, w->height, w->width, s->x_stride, s->in);
    if (status == dnnl_success)
        status = describe_pictures(&d->y, s->pictures, s->out_channels, window_out_h(w), window_out_w(w), s->y_stride, s->out);
    if (status == dnnl_success) status = describe_weights(&d->w, s, false);
    if (status == dnnl_success) status = describe_weights(&d->any_w, s, true);
    if (status == dnnl_success) status = dnnl_memory_desc_init_by_tag(&d->bias, 1, bias, dnnl_f32, dnnl_x);
    return status;
}

/* oneDNN's padding on the far sides is what makes the last window end inside: less than the near one where the stride leaves a
 * rest. */
static dnnl_status_t describe_pass(dnnl_convolution_desc_t *desc, const TimConvolve *p, const Descs *d) {
    const TimWindow *w = &p->piece.window;
    const dnnl_dims_t strides = {w->stride, w->stride}, dilates = {0, 0}, near = {window_top(w), window_left(w)};
    const dnnl_dims_t far = {(window_out_h(w) - 1) * w->stride + w->kernel_h - w->height - near[0],
                             (window_out_w(w) - 1) * w->stride + w->kernel_w - w->width - near[1]};
    if (p->pass == TIM_CONVOLVE_Y)
        return dnnl_dilated_convolution_forward_desc_init(desc, dnnl_forward_training, dnnl_convolution_direct, &d->x, &d->any_w,
                                                          p->shape.has_bias ? &d->bias : NULL, &d->y, strides, dilates, near, far);
    if (p->pass == TIM_CONVOLVE_G_X)
        return dnnl_dilated_convolution_backward_data_desc_init(desc, dnnl_convolution_direct, &d->x, &d->any_w, &d->y, strides,
                                                                dilates, near, far);
    return dnnl_dilated_convolution_backward_weights_desc_init(desc, dnnl_convolution_direct, &d->x, &d->any_w, NULL, &d->y,
                                                               strides, dilates, near, far);
}

static dnnl_status_t append_silu(dnnl_primitive_attr_t attributes) {
    dnnl_post_ops_t post_ops;
    dnnl_status_t status = dnnl_post_ops_create(&post_ops);
    if (status != dnnl_success) return status;
    status = dnnl_post_ops_append_eltwise(post_ops, 1.0F, dnnl_eltwise_swish, 1.0F, 0.0F);
    if (status == dnnl_success) status = dnnl_primitive_attr_set_post_ops(attributes, post_ops);
    dnnl_post_ops_destroy(post_ops);
    return status;
}

/* The pass, and through `packed` the layout in which it wants the weights. */
static dnnl_status_t make_primitive(TimConvolve *p, const Descs *d, dnnl_primitive_desc_t forward, dnnl_memory_desc_t *packed) {
    dnnl_primitive_attr_t attributes = NULL;
    dnnl_convolution_desc_t desc;
    dnnl_primitive_desc_t made = NULL;
    dnnl_status_t status = onednn_attributes(&attributes, false);
    if (status == dnnl_success && p->shape.silu) status = append_silu(attributes);
    if (status == dnnl_success) status = describe_pass(&desc, p, d);
    if (status == dnnl_success) status = dnnl_primitive_desc_create(&made, &desc, attributes, p->engine, forward);
    if (status == dnnl_success) {
        const bool gradient = p->pass == TIM_CONVOLVE_G_W;
        *packed = *dnnl_primitive_desc_query_md(made, gradient ? dnnl_query_diff_weights_md : dnnl_query_weights_md, 0);
        const dnnl_memory_desc_t *scratch = dnnl_primitive_desc_query_md(made, dnnl_query_scratchpad_md, 0);
        p->packed_at = tim_round_up(dnnl_memory_desc_get_size(scratch), TIM_ALIGNMENT);
        status = dnnl_memory_create(&p->scratch, scratch, p->engine, DNNL_MEMORY_NONE);
    }
    if (status == dnnl_success) status = dnnl_primitive_create(&p->primitive, made);
    if (made) dnnl_primitive_desc_destroy(made);
    if (attributes) dnnl_primitive_attr_destroy(attributes);
    return status;
}

/* A backward pass has to be told which forward pass it belongs to. */
static dnnl_status_t forward_hint(dnnl_primitive_desc_t *hint, const TimConvolve *p, const Descs *d) {
    *hint = NULL;
    if (p->pass == TIM_CONVOLVE_Y) return dnnl_success;
    TimConvolve forward = {.shape = p->shape, .piece = p->piece, .pass = TIM_CONVOLVE_Y};
    forward.shape.has_bias = false;
    dnnl_convolution_desc_t desc;
    const dnnl_status_t status = describe_pass(&desc, &forward, d);
    return status == dnnl_success ? dnnl_primitive_desc_create(hint, &desc, NULL, p->engine, NULL) : status;
}

static dnnl_status_t make_repack(TimConvolve *p, const dnnl_memory_desc_t *w, const dnnl_memory_desc_t *packed) {
    const bool gradient = p->pass == TIM_CONVOLVE_G_W;
    dnnl_status_t status = dnnl_memory_create(&p->w, w, p->engine, DNNL_MEMORY_NONE);
    if (status == dnnl_success) status = dnnl_memory_create(&p->packed, packed, p->engine, DNNL_MEMORY_NONE);
    p->work = (p->copies ? copies_of(&p->piece).after_at * sizeof(float) : 0) + p->packed_at + dnnl_memory_desc_get_size(packed);
    if (status != dnnl_success || (!gradient && dnnl_memory_desc_equal(w, packed))) return status;
    dnnl_primitive_attr_t attributes = NULL;
    dnnl_primitive_desc_t made = NULL;
    status = onednn_attributes(&attributes, gradient);
    if (status == dnnl_success)
        status = dnnl_reorder_primitive_desc_create(&made, gradient ? packed : w, p->engine, gradient ? w : packed, p->engine,
                                                    attributes);
    if (status == dnnl_success) status = dnnl_primitive_create(&p->repack, made);
    if (made) dnnl_primitive_desc_destroy(made);
    if (attributes) dnnl_primitive_attr_destroy(attributes);
    return status;
}

static dnnl_status_t plan_onednn(TimConvolve *p) {
    Descs d;
    dnnl_memory_desc_t packed;
    dnnl_primitive_desc_t hint = NULL;
    dnnl_status_t status = dnnl_engine_create(&p->engine, dnnl_cpu, 0);
    if (status == dnnl_success) status = dnnl_stream_create(&p->stream, p->engine, dnnl_stream_default_flags);
    const TimConvolveShape shape = p->copies ? widened(&p->piece) : p->piece;
    if (status == dnnl_success) status = describe_all(&d, &shape);
    if (status == dnnl_success) status = forward_hint(&hint, p, &d);
    if (status == dnnl_success) status = make_primitive(p, &d, hint, &packed);
    if (hint) dnnl_primitive_desc_destroy(hint);
    if (status == dnnl_success) status = make_repack(p, &d.w, &packed);
    if (status == dnnl_success) status = dnnl_memory_create(&p->x, &d.x, p->engine, DNNL_MEMORY_NONE);
    if (status == dnnl_success) status = dnnl_memory_create(&p->y, &d.y, p->engine, DNNL_MEMORY_NONE);
    if (status == dnnl_success) status = dnnl_memory_create(&p->bias, &d.bias, p->engine, DNNL_MEMORY_NONE);
    return status;
}

static void free_onednn(TimConvolve *p) {
    const dnnl_memory_t memories[] = {p->x, p->y, p->bias, p->scratch, p->w, p->packed};
    for (size_t i = 0; i < sizeof memories / sizeof *memories; i++)
        if (memories[i]) dnnl_memory_destroy(memories[i]);
    if (p->repack) dnnl_primitive_destroy(p->repack);
    if (p->primitive) dnnl_primitive_destroy(p->primitive);
    if (p->stream) dnnl_stream_destroy(p->stream);
    if (p->engine) dnnl_engine_destroy(p->engine);
    p->x = p->y = p->bias = p->scratch = p->w = p->packed = NULL;
    p->repack = p->primitive = NULL, p->stream = NULL, p->engine = NULL;
}

static void repack(const TimConvolve *p, dnnl_memory_t from, dnnl_memory_t to) {
    const dnnl_exec_arg_t args[] = {{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, to}};
    dnnl_primitive_execute(p->repack, p->stream, 2, args);
}

static void execute(const TimConvolve *p) {
    const dnnl_memory_t w = p->repack ? p->packed : p->w;
    const dnnl_exec_arg_t y[] = {{DNNL_ARG_SRC, p->x},
                                 {DNNL_ARG_WEIGHTS, w},
                                 {DNNL_ARG_DST, p->y},
                                 {DNNL_ARG_SCRATCHPAD, p->scratch},
                                 {DNNL_ARG_BIAS, p->bias}};
    const dnnl_exec_arg_t g_x[] = {
        {DNNL_ARG_DIFF_SRC, p->x}, {DNNL_ARG_WEIGHTS, w}, {DNNL_ARG_DIFF_DST, p->y}, {DNNL_ARG_SCRATCHPAD, p->scratch}};
    const dnnl_exec_arg_t g_w[] = {
        {DNNL_ARG_SRC, p->x}, {DNNL_ARG_DIFF_WEIGHTS, w}, {DNNL_ARG_DIFF_DST, p->y}, {DNNL_ARG_SCRATCHPAD, p->scratch}};
    const dnnl_exec_arg_t *const args[] = {[TIM_CONVOLVE_Y] = y, [TIM_CONVOLVE_G_X] = g_x, [TIM_CONVOLVE_G_W] = g_w};
    dnnl_primitive_execute(p->primitive, p->stream, p->pass == TIM_CONVOLVE_Y && p->shape.has_bias ? 5 : 4, args[p->pass]);
}

static void run_onednn(const TimConvolve *p, void *x, void *w, const float *bias, void *y, void *work) {
    const int before = tim_threads_enter(p->shape.threads);
    dnnl_memory_set_data_handle_v2(p->x, x, p->stream);
    dnnl_memory_set_data_handle_v2(p->y, y, p->stream);
    dnnl_memory_set_data_handle_v2(p->w, w, p->stream);
    dnnl_memory_set_data_handle_v2(p->bias, onednn_handle(bias), p->stream);
    dnnl_memory_set_data_handle_v2(p->scratch, work, p->stream);
    dnnl_memory_set_data_handle_v2(p->packed, (char *)work + p->packed_at, p->stream);
    if (p->repack && p->pass != TIM_CONVOLVE_G_W) repack(p, p->w, p->packed);
    execute(p);
    if (p->pass == TIM_CONVOLVE_G_W) repack(p, p->packed, p->w);
    dnnl_stream_wait(p->stream);
    tim_threads_leave(p->shape.threads, before);
}

static TimStatus plan_library(TimConvolve *plan, TimError *err) {
    const int before = tim_threads_enter(plan->shape.threads);
    if (has_bf16(&plan->shape) && !onednn_has_bf16()) begin_copies(plan);
    dnnl_status_t status = plan_onednn(plan);
    if (status == dnnl_unimplemented && has_bf16(&plan->shape) && !plan->copies) {
        free_onednn(plan);
        begin_copies(plan);
        status = plan_onednn(plan);
    }
    tim_threads_leave(plan->shape.threads, before);
    if (status == dnnl_success) return TIM_OK;
    const TimWindow *w = &plan->shape.window;
    return tim_fail(
        err, status == dnnl_out_of_memory ? TIM_E_MEMORY : TIM_E_INTERNAL,
        "oneDNN refuses the convolution of (%lld, %lld, %d, %d) by %lld kernels of %d x %d in %lld groups with status %d",
        (long long)plan->shape.pictures, (long long)plan->shape.in_channels, w->height, w->width,
        (long long)plan->shape.out_channels, w->kernel_h, w->kernel_w, (long long)plan->shape.groups, (int)status);
}

#endif

/* ---- either ---- */

static void run_plain(const TimConvolve *p, const TimConvolveShape *s, void *x, void *w, const float *bias, void *y) {
    if (p->pass == TIM_CONVOLVE_Y) run_plain_y(s, x, w, bias, y);
    if (p->pass == TIM_CONVOLVE_G_X) run_plain_g_x(s, x, w, y);
    if (p->pass == TIM_CONVOLVE_G_W) run_plain_g_w(s, x, w, y);
}

/* `s`: of the operands given, which may be copies. */
static void run(const TimConvolve *p, const TimConvolveShape *s, void *x, void *w, const float *bias, void *y, void *work) {
#if defined(TIM_HAVE_ONEDNN)
    if (p->primitive) {
        run_onednn(p, x, w, bias, y, work);
        return;
    }
#endif
    (void)work;
    run_plain(p, s, x, w, bias, y);
}

/* The pictures of a piece from `b` on, in fp32: rows top ... of each, as many as a piece has, zeros above and below the picture. A
 * piece of several pictures has all their rows. */
static void copy_rows(const TimConvolve *p, float *out, const TimBf16 *x, int64_t b, int64_t top) {
    const TimConvolveShape *s = &p->shape;
    const int64_t height = s->window.height, width = s->window.width, count = p->piece.window.height;
    const int64_t first = top < 0 ? 0 : top, end = top + count < height ? top + count : height;
    const int64_t rows = p->piece.pictures * (end - first);
    const size_t row = (size_t)(width * s->in_channels), above = (size_t)(first - top) * row;
    memset(out, 0, above * sizeof *out);
    widen_rows(out + above, x + (b * height + first) * width * s->x_stride, rows * width, s->in_channels, s->x_stride, s->threads);
    memset(out + above + (size_t)rows * row, 0, (size_t)(top + count - end) * row * sizeof *out);
}

/* Rows first ... of the output of the pictures from `b` on; x is read as it is where it is f32, which no plan cuts. */
static void run_piece(const TimConvolve *p, void *x, void *w, const float *bias, void *y, float *work, int64_t b, int64_t first) {
    const TimConvolveShape *s = &p->shape, wide = widened(&p->piece);
    const Copies at = copies_of(&p->piece);
    const int64_t row = (b * window_out_h(&s->window) + first) * window_out_w(&s->window) * s->y_stride;
    const int64_t top = first * s->window.stride - window_top(&s->window) + window_top(&p->piece.window);
    const bool widens = s->in == TIM_BF16, narrows = s->out == TIM_BF16;
    if (widens) copy_rows(p, work, x, b, top);
    run(p, &wide, widens ? work : x, w, bias, narrows ? work + at.y_at : (float *)y + row, work + at.after_at);
    if (narrows) narrow_rows((TimBf16 *)y + row, work + at.y_at, output_rows(&wide), s->out_channels, s->y_stride, s->threads);
}

/* y alone: there are no gradients in bf16. */
static void run_copies(const TimConvolve *p, void *x, void *w, const float *bias, void *y, float *work) {
    const TimConvolveShape *s = &p->shape;
    const int64_t height = window_out_h(&s->window), rows = window_out_h(&p->piece.window);
    if (s->in == TIM_BF16) {
        float *wide_w = work + copies_of(&p->piece).w_at;
        const int64_t of_a_channel = (int64_t)weight_count(s) / s->out_channels;
        widen_rows(wide_w, w, s->out_channels, of_a_channel, of_a_channel, s->threads);
        w = wide_w;
    }
    for (int64_t b = 0; b < s->pictures; b += p->piece.pictures)
        for (int64_t first = 0; first < height; first += rows)
            run_piece(p, x, w, bias, y, work, piece_begin(b, p->piece.pictures, s->pictures), piece_begin(first, rows, height));
}

/* ---- interface ---- */

TimStatus tim_convolve_new(TimConvolve **out, TimConvolvePass pass, const TimConvolveShape *shape, TimError *err) {
    TimConvolve *plan;
    *out = NULL;
    TIM_TRY(tim_new(&plan, 1, sizeof *plan, "a convolution's plan", err));
    plan->shape = plan->piece = *shape;
    plan->pass = pass;
#if defined(TIM_HAVE_ONEDNN)
    const bool plain = shape->plain;
#else
    const bool plain = true;
#endif
    if (plain && has_bf16(shape)) begin_copies(plan);
    plan->work = plan->copies ? copies_of(&plan->piece).after_at * sizeof(float) : 0;
#if defined(TIM_HAVE_ONEDNN)
    const TimStatus status = plain ? TIM_OK : plan_library(plan, err);
    if (status != TIM_OK) {
        tim_convolve_free(plan);
        return status;
    }
#endif
    *out = plan;
    return TIM_OK;
}

void tim_convolve_free(TimConvolve *plan) {
    if (!plan) return;
#if defined(TIM_HAVE_ONEDNN)
    free_onednn(plan);
#endif
    tim_free(plan);
}

size_t tim_convolve_work(const TimConvolve *plan) {
    return plan->work;
}

void tim_convolve_run(const TimConvolve *plan, void *x, void *w, const float *bias, void *y, void *work) {
    if (plan->copies)
        run_copies(plan, x, w, bias, y, work);
    else
        run(plan, &plan->shape, x, w, bias, y, work);
}
